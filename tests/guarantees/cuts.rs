//! Connections that break at any moment: a watch goes on where it was, and a wait gets how its round ended.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use gatepost::client::{Client, Outcome, Update};
use gatepost::proto::*;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::chance::{Chance, times};
use crate::proxy::{Network, Proxy};
use crate::server::Server;
use crate::support::{approve, create, ok, reject, reset, wait};
use crate::watched::{check, record};

/// Whoever is cut off together.
const WATCHES: usize = 24;
const GATES: usize = 30;
/// Far longer than a run takes, and still an end.
const PATIENCE: Duration = Duration::from_secs(600);

/// Cuts every connection again and again, until they are put down.
struct Scissors {
    proxy: Arc<Proxy>,
    cutting: JoinHandle<()>,
}

impl Scissors {
    fn cut(proxy: &Arc<Proxy>, mut chance: Chance) -> Self {
        let (at, proxy) = (proxy.clone(), proxy.clone());
        let cutting = tokio::spawn(async move {
            loop {
                let network = chance.of(&[
                    Network::Good,
                    Network::Good,
                    Network::RepliesLost,
                    Network::Refusing,
                    Network::Slow(Duration::from_millis(2)),
                ]);
                at.set(network);
                tokio::time::sleep(chance.pause(Duration::from_millis(60))).await;
                at.set(Network::Good);
                at.cut();
                // Long enough that whoever comes back sees something now and then.
                tokio::time::sleep(chance.pause(Duration::from_millis(250))).await;
            }
        });
        Self { proxy, cutting }
    }

    /// Leaves a good network, whatever it was in the middle of.
    async fn put_down(self) {
        self.cutting.abort();
        assert!(self.cutting.await.unwrap_err().is_cancelled());
        self.proxy.set(Network::Good);
        self.proxy.cut();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_cut_off_again_and_again_is_told_every_event_once_and_in_order() {
    let mut chance = Chance::new("watch cuts");
    let server = Server::start();
    let proxy = Arc::new(Proxy::before(server.address).await);
    let cuts_wanted = times("WATCH_CUTS", 300);
    let cuts = Arc::new(AtomicUsize::new(0));
    let (end, ends) = watch::channel(None);
    let client = || Client::new(&proxy.address.to_string()).unwrap();

    let mut watches = JoinSet::new();
    for number in 0..WATCHES {
        // All from the first event on, which has not happened yet; some of one group only, or with what exists first.
        let prefix = ["", "busy"][number % 2].to_owned();
        let request = match number % 3 {
            0 => WatchRequest { prefix, initial_state: true, ..WatchRequest::default() },
            _ => WatchRequest { prefix, start_revision: 1, ..WatchRequest::default() },
        };
        let (client, ends, cuts) = (client(), ends.clone(), cuts.clone());
        watches.spawn(async move {
            (request.clone(), record(&client, request, ends, || _ = cuts.fetch_add(1, Ordering::Relaxed)).await)
        });
    }
    let scissors = Scissors::cut(&proxy, chance.fork());
    let mut gates = server.gates();
    let mut turn = 0;
    while cuts.load(Ordering::Relaxed) < cuts_wanted {
        turn += 1;
        let gate = format!("{}/g{turn}", chance.of(&["busy", "busier"]));
        ok(gates.create_gate(create(&gate))).await;
        tokio::time::sleep(chance.pause(Duration::from_millis(4))).await;
        ok(gates.approve(approve(&gate))).await;
    }
    scissors.put_down().await;
    let last = ok(gates.create_gate(create("busy/last"))).await.revision;
    end.send_replace(Some(last));
    let told = tokio::time::timeout(PATIENCE, watches.join_all()).await.unwrap();
    let log =
        server.client().history(ListEventsRequest { page_size: 1000, ..ListEventsRequest::default() }).await.unwrap();
    for (request, recorded) in &told {
        check(&log, request, recorded);
    }
    let events: usize = told.iter().map(|(_, recorded)| recorded.events.len()).sum();
    println!("watch cuts: {} cuts, {events} events in {WATCHES} watches, 0 missed", cuts.load(Ordering::Relaxed));
}

/// Gates that are decided and reset away while the workers that wait on them are cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_cut_off_gets_the_end_of_its_round_even_if_that_was_reset_away() {
    let mut chance = Chance::new("wait cuts");
    let server = Server::start();
    let proxy = Arc::new(Proxy::before(server.address).await);
    let cuts_wanted = times("WAIT_CUTS", 150);
    let cuts = AtomicUsize::new(0);
    let scissors = Scissors::cut(&proxy, chance.fork());
    let client = Client::new(&proxy.address.to_string()).unwrap();
    let gates = join_all((0..GATES).map(|number| {
        let (gate, chance) = (format!("g{number}"), chance.fork());
        follow(&server, &client, gate, chance, cuts_wanted, &cuts)
    }));
    let rounds = tokio::time::timeout(PATIENCE, gates).await.unwrap();
    scissors.put_down().await;
    let (rounds, cuts): (usize, _) = (rounds.iter().sum(), cuts.into_inner());
    println!("wait cuts: {cuts} cuts, {rounds} rounds, 0 missed");
}

/// Decides round after round of a gate, and checks what those who wait on each are told. Returns how many rounds.
async fn follow(
    server: &Server,
    client: &Client,
    gate: String,
    mut chance: Chance,
    cuts_wanted: usize,
    cuts: &AtomicUsize,
) -> usize {
    let mut gates = server.gates();
    ok(gates.create_gate(create(&gate))).await;
    let mut rounds = 0;
    while cuts.load(Ordering::Relaxed) < cuts_wanted {
        rounds += 1;
        let round = u32::try_from(rounds).unwrap();
        let (seen, mut looks) = watch::channel(HashSet::new());
        let pinned = WaitRequest { round, ..wait(&gate) };
        let waits = join(outcome(client, wait(&gate), 0, &seen, cuts), outcome(client, pinned, 1, &seen, cuts));
        let pause = chance.pause(Duration::from_millis(80));
        let approves = chance.below(2) == 0;
        let decide = async {
            // The one that names no round has to have seen this one.
            looks.wait_for(|seen| seen.contains(&0)).await.unwrap();
            tokio::time::sleep(pause).await;
            let decided =
                if approves { ok(gates.approve(approve(&gate))).await } else { ok(gates.reject(reject(&gate))).await };
            ok(gates.reset_gate(reset(&gate))).await;
            decided
        };
        let ((follows, pinned), decided) = join(waits, decide).await;
        for told in [follows, pinned] {
            let expected = Gate { waiters: Vec::new(), waiter_count: 0, ..decided.clone() };
            assert_eq!(told, expected, "round {round} of {gate}");
        }
    }
    rounds
}

async fn outcome(
    client: &Client,
    request: WaitRequest,
    number: usize,
    seen: &watch::Sender<HashSet<usize>>,
    cuts: &AtomicUsize,
) -> Gate {
    let mut wait = client.wait(request);
    loop {
        match wait.next().await.unwrap().expect("the wait ends without an outcome") {
            Update::Gate(gate) => {
                seen.send_if_modified(|seen| seen.insert(number));
                if let Ok(outcome) = Outcome::try_from(*gate) {
                    return outcome.gate().clone();
                }
            }
            Update::Disconnected { error, .. } => {
                assert!(error.is_transient(), "{error}");
                cuts.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
