//! A reply that is lost: the call is made again with its request id, gets the answer that was lost, and nothing happens
//! twice.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use gatepost::client::Client;
use gatepost::proto::*;

use crate::chance::{Chance, times};
use crate::proxy::{Network, Proxy};
use crate::server::Server;
use crate::support::{again, approve, create, get, history, ok, reject, reset, within};

/// Calls whose replies are lost together.
const AT_ONCE: usize = 25;

/// One call of each kind that changes a gate, on a gate of its own.
#[derive(Clone, Copy)]
enum Verb {
    Create,
    Approve,
    Reject,
    Reset,
}

impl Verb {
    async fn call(self, client: &Client, gate: &str) -> Result<Gate, gatepost::client::Error> {
        let request_id = format!("id-{gate}");
        match self {
            Self::Create => client.create(CreateGateRequest { request_id, ..create(gate) }).await,
            Self::Approve => client.approve(ApproveRequest { request_id, ..approve(gate) }).await,
            Self::Reject => client.reject(RejectRequest { request_id, ..reject(gate) }).await,
            Self::Reset => client.reset(ResetGateRequest { request_id, ..reset(gate) }).await,
        }
    }

    /// The same, by a client that has to find an id itself.
    async fn call_plainly(self, client: &Client, gate: &str) -> Result<Gate, gatepost::client::Error> {
        match self {
            Self::Create => client.create(create(gate)).await,
            Self::Approve => client.approve(approve(gate)).await,
            Self::Reject => client.reject(reject(gate)).await,
            Self::Reset => client.reset(reset(gate)).await,
        }
    }

    fn told(self) -> EventType {
        match self {
            Self::Create => EventType::Created,
            Self::Approve | Self::Reject => EventType::Resolved,
            Self::Reset => EventType::Reset,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_reply_was_lost_gets_the_same_answer_when_it_is_repeated_and_happens_once() {
    let mut chance = Chance::new("replies");
    let mut server = Server::start();
    let batches = times("LOST_REPLIES", 200).div_ceil(AT_ONCE);
    for batch in 0..batches {
        let proxy = Proxy::before(server.address).await;
        let through = Client::new(&proxy.address.to_string()).unwrap();
        let gates: Vec<_> = (0..AT_ONCE).map(|i| format!("batch-{batch}/g{i}")).collect();
        let verbs: Vec<_> =
            gates.iter().map(|_| chance.of(&[Verb::Create, Verb::Approve, Verb::Reject, Verb::Reset])).collect();
        for (gate, verb) in gates.iter().zip(&verbs) {
            if !matches!(verb, Verb::Create) {
                ok(server.gates().create_gate(create(gate))).await;
            }
        }
        // The connection is there before its replies are lost.
        let missing = through.get(get("missing")).await.unwrap_err();
        assert!(missing.refusal("GATE_NOT_FOUND").is_some(), "{missing}");
        proxy.set(Network::RepliesLost);
        let begin = Instant::now();
        let is_killed = batch % 2 == 0;
        let calls = join_all(gates.iter().zip(&verbs).enumerate().map(|(i, (gate, verb))| {
            let through = &through;
            async move {
                // A client repeats for two seconds only: a server that is started again may take longer.
                if is_killed || i % 2 == 1 {
                    again(async || verb.call(through, gate).await).await
                } else {
                    verb.call_plainly(through, gate).await
                }
            }
        }));
        let meanwhile = async {
            let client = server.client();
            join_all(gates.iter().zip(&verbs).map(|(gate, verb)| until_done(&client, gate, verb.told()))).await;
            if is_killed {
                server.kill();
                server.start_again();
            }
            let lost_for = begin.elapsed();
            proxy.set(Network::Good);
            proxy.cut();
            lost_for
        };
        let (answers, lost_for) = within(join(calls, meanwhile)).await;

        let direct = server.client();
        for (i, (gate, answer)) in gates.iter().zip(answers).enumerate() {
            let answer = match answer {
                // On a busy machine the replies may be lost for longer than a client repeats what it asks.
                Err(error) if error.is_transient() && lost_for > Duration::from_secs(1) => continue,
                answer => answer.unwrap_or_else(|error| panic!("{gate}: {error}")),
            };
            let events = direct.history(history(gate)).await.unwrap();
            let made: Vec<_> = events.iter().filter(|event| event.r#type() == verbs[i].told()).collect();
            assert_eq!(made.len(), 1, "{gate}: {events:#?}");
            assert_eq!(made[0].gate.as_ref(), Some(&answer), "{gate} is answered what happened");
            if i % 2 == 1 {
                // And for ever after, whatever became of the gate.
                direct.reset(reset(gate)).await.unwrap();
                assert_eq!(verbs[i].call(&direct, gate).await.unwrap(), answer);
            }
        }
    }
    println!("replies: {} lost", batches * AT_ONCE);
}

/// Waits until the server has done what it was asked, whatever became of the reply.
async fn until_done(client: &Client, gate: &str, event: EventType) {
    let mut look = tokio::time::interval(Duration::from_millis(2));
    within(async {
        loop {
            let events = client.history(history(gate)).await.unwrap_or_default();
            let types: HashSet<_> = events.iter().map(Event::r#type).collect();
            if types.contains(&event) {
                return;
            }
            look.tick().await;
        }
    })
    .await;
}
