//! Many clients at all coordinators at once, and what has to hold of what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use gatepost::client::Client;
use gatepost::proto::*;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::check::check;
use crate::linearizable::{Answered, Asked, Did};
use crate::operators::Operator;
use crate::watched::{Recorded, record};
use crate::workers::{Waited, Worker, follow};
use crate::world::{HOSTS, PATIENCE, Told, answer_of, client, direct, made, until};

/// At each coordinator.
const OPERATORS: usize = 2;
const WORKERS: usize = 4;
/// Changes that show that the cluster is at work.
const SOME: usize = 50;

/// What those who make the load share.
pub struct Progress {
    pub begin: Instant,
    /// Says that it is enough.
    pub stop: CancellationToken,
    /// Changes that were acknowledged.
    pub acknowledged: AtomicUsize,
}

/// A load, until it is ended.
pub struct Load {
    chance: Chance,
    progress: Arc<Progress>,
    somebodies: u64,
    operators: JoinSet<Vec<Did>>,
    workers: JoinSet<(Vec<Did>, Vec<Waited>)>,
    watches: JoinSet<(WatchRequest, Recorded)>,
    /// The last revision, once nothing more will happen.
    end: watch::Sender<Option<u64>>,
    /// What is told besides.
    pub told: Told,
}

impl Load {
    pub fn begin(chance: &mut Chance) -> Self {
        let begin = Instant::now();
        let progress = Progress { begin, stop: CancellationToken::new(), acknowledged: AtomicUsize::new(0) };
        let mut load = Self {
            chance: chance.fork(),
            progress: Arc::new(progress),
            somebodies: 0,
            operators: JoinSet::new(),
            workers: JoinSet::new(),
            watches: JoinSet::new(),
            end: watch::Sender::new(None),
            told: Told::default(),
        };
        for host in 0..HOSTS {
            for _ in 0..OPERATORS {
                let operator = load.operator(client(host));
                load.operators.spawn(operator.work());
            }
            for _ in 0..WORKERS {
                let worker = Worker::new(load.number(), client(host), load.chance.fork(), load.progress.clone());
                load.workers.spawn(worker.work());
            }
            load.watch(client(host), WatchRequest { start_revision: 1, ..WatchRequest::default() });
        }
        load.watch(client(0), WatchRequest { initial_state: true, ..WatchRequest::default() });
        load
    }

    /// Watches too, until the end.
    pub fn watch(&mut self, client: Client, request: WatchRequest) {
        let end = self.end.subscribe();
        self.watches.spawn(async move {
            let recorded = record(&client, request.clone(), end, || {}).await;
            (request, recorded)
        });
    }

    /// Waits too. What this returns ends once the wait was answered.
    pub fn wait(&mut self, client: Client, request: WaitRequest) -> oneshot::Receiver<()> {
        let (answered, is_answered) = oneshot::channel();
        self.workers.spawn(async move {
            let waited = follow(&client, request).await;
            // Nobody has to care.
            drop(answered);
            (Vec::new(), vec![waited])
        });
        is_answered
    }

    /// Decides on a gate's first round at one coordinator. None: it was decided before.
    pub async fn decide(&mut self, host: u8, gate: &str, approves: bool) -> Option<Gate> {
        let mut operator = self.operator(direct(host));
        let decided = operator.decide(gate, 1, approves).await;
        self.told.did.extend(operator.into_did());
        decided
    }

    /// Decides on the first round of each at one coordinator, all at once.
    pub async fn decide_each(&mut self, host: u8, gates: &[String], approves: bool) {
        let client = direct(host);
        let operators: Vec<_> = gates.iter().map(|gate| (gate, self.operator(client.clone()))).collect();
        let did = operators.into_iter().map(async |(gate, mut operator)| {
            operator.decide(gate, 1, approves).await;
            operator.into_did()
        });
        self.told.did.extend(join_all(did).await.into_iter().flatten());
    }

    /// Begins a new round of a gate at one coordinator.
    pub async fn reset(&mut self, host: u8, gate: &str) {
        let mut operator = self.operator(direct(host));
        operator.call(gate, Asked::Reset).await;
        self.told.did.extend(operator.into_did());
    }

    /// Returns the number of somebody new.
    pub fn number(&mut self) -> u64 {
        self.somebodies += 1;
        self.somebodies
    }

    fn operator(&mut self, client: Client) -> Operator {
        Operator::new(self.number(), client, self.chance.fork(), self.progress.clone())
    }

    /// Waits until some more changes were acknowledged.
    pub async fn until_more(&self) {
        let acknowledged = || self.progress.acknowledged.load(Ordering::Relaxed);
        let enough = acknowledged() + SOME;
        until("the clients get on", async || acknowledged() >= enough).await;
    }

    /// Notes a fault.
    pub fn suffers(&mut self, fault: impl Into<String>) {
        self.told.faults.push(fault.into());
    }

    /// Ends it, once whoever waits was answered, and checks what was told. Then prints what it was.
    pub async fn end(mut self, test: &str) {
        self.progress.stop.cancel();
        let operators = std::mem::take(&mut self.operators).join_all();
        let operators = timeout(PATIENCE, operators).await.expect("some calls are never answered");
        self.told.did.extend(operators.into_iter().flatten());
        timeout(PATIENCE, self.answer_all()).await.expect("some waits are never answered");

        let last = made(&direct(0), "last").await.revision;
        self.end.send_replace(Some(last));
        let watches = std::mem::take(&mut self.watches).join_all();
        self.told.watches.extend(timeout(PATIENCE, watches).await.expect("some watches are never told the end"));
        self.told.log = agreed().await;
        let Told { did, waits, watches, log, faults } = &self.told;
        check(&self.told).unwrap_or_else(|wrong| panic!("{test}: {faults:?}: {wrong}"));
        let is_change = |did: &&Did| did.asked != Asked::Get && matches!(did.answered, Answered::Gate(_));
        let changes = did.iter().filter(is_change).count();
        let unknown = did.iter().filter(|did| did.answered == Answered::Unknown).count();
        let (times, waits, watches, events) = (faults.len(), waits.len(), watches.len(), log.len());
        println!(
            "{test}: {times} times, {changes} changes acknowledged, {unknown} attempts without an answer, 0 lost, 0 doubled; \
             {waits} waits and {watches} watches, told of {events} events, 0 missed"
        );
    }

    /// Decides what nobody decided, until nobody waits.
    async fn answer_all(&mut self) {
        let mut closer = self.operator(client(0));
        let mut look = interval(Duration::from_millis(200));
        while !self.workers.is_empty() {
            tokio::select! {
                done = self.workers.join_next() => {
                    let (did, waits) = done.unwrap().unwrap();
                    self.told.did.extend(did);
                    self.told.waits.extend(waits);
                }
                _ = look.tick() => closer.decide_all().await,
            }
        }
        self.told.did.extend(closer.into_did());
    }
}

/// Returns all that happened, which every coordinator tells in the same way, as it does what there is.
async fn agreed() -> Vec<Event> {
    let all = (0..HOSTS).map(async |host| {
        let client = direct(host);
        let all = ListEventsRequest { page_size: 1000, ..ListEventsRequest::default() };
        let log = answer_of(async || client.history(all.clone()).await).await;
        (log, answer_of(async || client.list(ListGatesRequest::default()).await).await.gates)
    });
    let mut all = join_all(all).await;
    let (log, gates) = all.pop().unwrap();
    assert!(all.iter().all(|(other, _)| *other == log), "coordinators tell other histories");
    for (_, other) in &all {
        assert_eq!(without_waiters(other), without_waiters(&gates), "coordinators tell other gates");
    }
    log
}

/// Who waits is in no store.
fn without_waiters(gates: &[Gate]) -> Vec<Gate> {
    let without = |gate: &Gate| Gate { waiters: Vec::new(), waiter_count: 0, ..gate.clone() };
    gates.iter().map(without).collect()
}
