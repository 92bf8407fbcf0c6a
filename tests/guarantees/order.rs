//! All changes of a gate happen in one order, that of their revisions, and a round has one winner: whatever clients do at
//! once, and whatever happens to the server and the network meanwhile.

use std::time::{Duration, Instant};

use gatepost::proto::*;
use tokio::task::JoinSet;
use tonic::{Response, Status};
use tonic_types::StatusExt;

use crate::chance::{Chance, times};
use crate::linearizable::{Answered, Asked, Decision, Did, NEVER, is_linearizable};
use crate::proxy::{Network, Proxy};
use crate::seen::{is_in_order_of_revisions, is_what_the_log_says, refused, seen};
use crate::server::{Server, gates};
use crate::support::{Gates, approve, create, get, history, ok, reject, reset, wait};

const CLIENTS: u32 = 6;
const GATES: u64 = 3;
const CALLS: usize = 40;
/// How often each epoch is disturbed.
const FAULTS: usize = 4;
/// Rounds that a wait may follow the gate into before the server learns that nobody reads it.
const FOLLOWS: usize = 3;
/// When a client that has no reply stops waiting for it.
const GIVE_UP: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Kill,
    Pause,
    Cut,
    RepliesLost,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_concurrent_clients_see_has_one_order_through_kills_pauses_and_cuts() {
    let mut chance = Chance::new("order");
    let mut server = Server::start();
    let begin = Instant::now();
    let (mut calls, mut unknown) = (0, 0);
    for epoch in 0..times("EPOCHS", 5) {
        let faults = [Fault::None, Fault::Kill, Fault::Pause, Fault::Cut, Fault::RepliesLost];
        let fault = faults[epoch % faults.len()];
        let group = format!("epoch-{epoch}");
        let proxy = Proxy::before(server.address).await;
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Caller {
                number,
                begin,
                gates: gates(proxy.address),
                group: group.clone(),
                did: Vec::new(),
                chance: chance.fork(),
            };
            clients.spawn(client.run());
        }
        for _ in 0..FAULTS {
            tokio::time::sleep(chance.pause(Duration::from_millis(60))).await;
            strike(fault, &mut server, &proxy, &mut chance).await;
        }
        // Whoever waits at a coordinator that was killed is shown until its lease is over.
        let ended = tokio::time::timeout(Duration::from_secs(120), clients.join_all()).await;
        let mut seen: Vec<Did> = ended.expect("takes too long").into_iter().flatten().collect();
        let mut last =
            Caller { number: CLIENTS, begin, gates: server.gates(), group, did: Vec::new(), chance: chance.fork() };
        let events = last.read_all().await;
        seen.append(&mut last.did);
        calls += seen.len();
        unknown += seen.iter().filter(|did| did.to == NEVER).count();
        let checked = is_linearizable(&seen).and_then(|()| is_in_order_of_revisions(&seen));
        let checked = checked.and_then(|()| is_what_the_log_says(&seen, &events));
        checked.unwrap_or_else(|wrong| panic!("epoch {epoch}, {fault:?}: {wrong}"));
    }
    println!("order: {calls} calls, {unknown} of them open to the end");
}

async fn strike(fault: Fault, server: &mut Server, proxy: &Proxy, chance: &mut Chance) {
    let length = chance.pause(Duration::from_millis(80));
    match fault {
        Fault::None => {}
        Fault::Kill => {
            server.kill();
            server.start_again();
        }
        Fault::Pause => {
            server.pause();
            tokio::time::sleep(length).await;
            server.resume();
        }
        Fault::Cut => {
            proxy.set(Network::Slow(chance.pause(Duration::from_millis(5))));
            proxy.cut();
        }
        Fault::RepliesLost => {
            proxy.set(Network::RepliesLost);
            tokio::time::sleep(length).await;
            proxy.set(Network::Good);
            proxy.cut();
        }
    }
}

/// One client, and what it did.
struct Caller {
    number: u32,
    begin: Instant,
    gates: Gates,
    group: String,
    did: Vec<Did>,
    chance: Chance,
}

impl Caller {
    async fn run(mut self) -> Vec<Did> {
        for call in 0..CALLS {
            let gate = format!("{}/g{}", self.group, self.chance.below(GATES));
            let number = u64::from(self.number) * 1_000_000 + u64::try_from(call).unwrap();
            let decide = |approves| Asked::Decide(Decision { number, approves, round: 0 });
            let asked = self.chance.of(&[
                Asked::Create,
                decide(true),
                decide(true),
                decide(false),
                Asked::Reset,
                Asked::Arrive,
                Asked::Get,
                Asked::Get,
            ]);
            let request_id = match asked {
                Asked::Arrive | Asked::Get => String::new(),
                _ if self.chance.below(2) == 0 => String::new(),
                _ => format!("{gate}-{number}"),
            };
            self.call(&gate, asked, &request_id).await;
        }
        self.did
    }

    /// Calls; with a request id again and again, until there is an answer.
    async fn call(&mut self, gate: &str, asked: Asked, request_id: &str) {
        let mut unanswered: Option<Did> = None;
        loop {
            let from = self.now();
            let answered = ask(&mut self.gates, self.number, gate, asked, request_id).await;
            let mut did = Did { gate: gate.into(), client: self.number, asked, answered, from, to: self.now() };
            match (unanswered.take(), answered) {
                (None, _) => {}
                // It was done once, be it now or before.
                (Some(first), Answered::Gate(_) | Answered::Unknown) => did.from = first.from,
                // It was not done now, but an attempt may still be on its way.
                (Some(first), Answered::Missing | Answered::Resolved(_) | Answered::OtherRound(_)) => {
                    self.did.push(first);
                }
            }
            if asked == Asked::Arrive {
                self.linger(gate, &did).await;
            }
            if answered != Answered::Unknown {
                return self.did.push(did);
            }
            did.to = NEVER;
            self.until_reachable(gate).await;
            if request_id.is_empty() {
                return self.did.push(did);
            }
            unanswered = Some(did);
        }
    }

    /// A wait goes on until the server learns that nobody reads it, and until then follows the gate into new rounds.
    async fn linger(&mut self, gate: &str, did: &Did) {
        let to = match did.answered {
            Answered::Missing | Answered::Resolved(_) | Answered::OtherRound(_) => return,
            Answered::Gate(seen) if seen.phase.is_resolved() => return,
            Answered::Gate(_) => self.until_gone(gate).await,
            Answered::Unknown => NEVER,
        };
        let follows = Did { answered: Answered::Unknown, to, ..did.clone() };
        self.did.extend(vec![follows; FOLLOWS]);
    }

    async fn until_gone(&mut self, gate: &str) -> i64 {
        let mut look = tokio::time::interval(Duration::from_millis(2));
        let id = self.number.to_string();
        loop {
            let shown = tokio::time::timeout(GIVE_UP, self.gates.get_gate(get(gate))).await;
            if let Ok(Ok(shown)) = shown
                && shown.get_ref().waiters.iter().all(|waiter| waiter.id != id)
            {
                return self.now();
            }
            look.tick().await;
        }
    }

    async fn until_reachable(&mut self, gate: &str) {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while ask(&mut self.gates, self.number, gate, Asked::Get, "").await == Answered::Unknown {
            look.tick().await;
        }
    }

    /// Reads every gate, and the log.
    async fn read_all(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for gate in 0..GATES {
            let gate = format!("{}/g{gate}", self.group);
            self.call(&gate, Asked::Get, "").await;
            if matches!(self.did.last().unwrap().answered, Answered::Gate(_)) {
                let request = ListEventsRequest { page_size: 1000, ..history(&gate) };
                let page = ok(self.gates.list_events(request)).await;
                assert!(page.next_page_token.is_empty());
                events.extend(page.events);
            }
        }
        events
    }

    fn now(&self) -> i64 {
        i64::try_from(self.begin.elapsed().as_nanos()).unwrap()
    }
}

async fn ask(gates: &mut Gates, client: u32, gate: &str, asked: Asked, request_id: &str) -> Answered {
    let id = || request_id.to_owned();
    let answer = async {
        match asked {
            Asked::Create => gates.create_gate(CreateGateRequest { request_id: id(), ..create(gate) }).await,
            Asked::Get => gates.get_gate(get(gate)).await,
            Asked::Reset => gates.reset_gate(ResetGateRequest { request_id: id(), ..reset(gate) }).await,
            Asked::Decide(Decision { number, approves, round }) => {
                let (on_behalf_of, request_id) = (number.to_string(), id());
                if approves {
                    gates.approve(ApproveRequest { on_behalf_of, request_id, round, ..approve(gate) }).await
                } else {
                    gates.reject(RejectRequest { on_behalf_of, request_id, round, ..reject(gate) }).await
                }
            }
            Asked::Arrive => arrive(gates, gate, client).await,
            Asked::Expire => unreachable!("nobody asks for it"),
        }
    };
    // A reply that is lost does not come: the client gives up, and does not know.
    match tokio::time::timeout(GIVE_UP, answer).await {
        Ok(Ok(gate)) => Answered::Gate(seen(&gate.into_inner())),
        Ok(Err(status)) => match status.get_details_error_info() {
            // It may have come to it all the same.
            Some(info) if info.reason == "STORE_UNAVAILABLE" => Answered::Unknown,
            Some(info) => refused(&info.reason, |key| &info.metadata[key]),
            None => Answered::Unknown,
        },
        Err(_) => Answered::Unknown,
    }
}

async fn arrive(gates: &mut Gates, gate: &str, client: u32) -> Result<Response<Gate>, Status> {
    let waiter = Some(Waiter { id: client.to_string(), ..Waiter::default() });
    let mut messages = gates.wait(WaitRequest { waiter, ..wait(gate) }).await?.into_inner();
    match messages.message().await?.and_then(|response| response.message) {
        Some(wait_response::Message::Gate(gate)) => Ok(Response::new(gate)),
        other => panic!("a wait begins with {other:?}"),
    }
}
