//! The coordinator on the reference store, in paused time.

use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::StreamExt;

use super::*;
use crate::domain::{Cause, Event, EventKind, Round, Status, Waiter};
use crate::store::memory::Memory;

const MINUTE: Duration = Duration::from_secs(60);

/// A coordinator that runs until the test ends.
fn start() -> Arc<Coordinator> {
    start_on(Arc::new(Memory::new()))
}

fn start_on(store: Arc<dyn Store>) -> Arc<Coordinator> {
    let coordinator = Coordinator::new(store, clock(), Retention::default());
    run(&coordinator);
    coordinator
}

fn run(coordinator: &Arc<Coordinator>) -> JoinHandle<Result<Infallible, store::Error>> {
    let running = coordinator.clone();
    tokio::spawn(async move { running.run().await })
}

/// A clock that follows the paused time of a test.
fn clock() -> Clock {
    let begin = Instant::now();
    Clock::new(SystemTime::UNIX_EPOCH + 1_000_000 * MINUTE, move || begin.elapsed())
}

fn name(text: &str) -> GateName {
    GateName::parse("gate", text).unwrap()
}

fn who(text: &str) -> Principal {
    Principal::parse(text).unwrap()
}

fn call(principal: &str) -> Call {
    Call { caller: Caller::unrestricted(who(principal).into()), request: None }
}

fn repeatable(id: &str, body: u8) -> Call {
    Call { request: Some(RequestId { id: id.into(), fingerprint: [body; 32] }), ..call("alice") }
}

fn timeout(timeout: Duration) -> Spec {
    Spec { timeout: Some(timeout), ..Spec::default() }
}

fn waiter(id: &str) -> Waiter {
    Waiter { id: id.into(), host: "host".into(), note: String::new(), since: SystemTime::UNIX_EPOCH }
}

async fn wait(on: &Arc<Coordinator>, gate: &str, round: Option<u32>, spec: Option<Spec>) -> Wait {
    on.wait(&call("worker"), query(gate, round, spec)).await.unwrap()
}

fn query(gate: &str, round: Option<u32>, spec: Option<Spec>) -> WaitQuery {
    WaitQuery { gate: name(gate), round: round.and_then(Round::new), uid: None, spec, waiter: waiter("w") }
}

/// Follows a wait to its end.
async fn outcome(mut wait: Wait) -> Gate {
    let mut last = None;
    while let Some(gate) = wait.next().await.unwrap() {
        last = Some(gate);
    }
    last.unwrap()
}

async fn approve(on: &Coordinator, gate: &str, by: &str) -> Result<View, Error> {
    on.approve(&call(by), &name(gate), Ballot::from(who(by)), false).await
}

async fn reject(on: &Coordinator, gate: &str, by: &str) -> Result<View, Error> {
    on.reject(&call(by), &name(gate), Ballot::from(who(by)), false).await
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result.unwrap_err() {
        Error::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_approval_releases_every_waiter_and_says_who_and_why() {
    let gates = start();
    let mut waits = Vec::new();
    for _ in 0..10_000 {
        let mut wait = wait(&gates, "a", None, Some(Spec::default())).await;
        assert_eq!(wait.next().await.unwrap().unwrap().status, Status::Waiting);
        waits.push(wait);
    }
    assert_eq!(gates.get(&Caller::anonymous(), &name("a"), None).await.unwrap().waiter_count, 10_000);

    let ballot = Ballot { comment: "canary is green".into(), ..Ballot::from(who("alice")) };
    gates.approve(&call("alice"), &name("a"), ballot, false).await.unwrap();
    for wait in waits {
        let resolution = outcome(wait).await.resolution.unwrap();
        assert_eq!(resolution.by, Some(who("alice")));
        assert_eq!(resolution.reason, "canary is green");
    }
    assert_eq!(gates.get(&Caller::anonymous(), &name("a"), None).await.unwrap().waiter_count, 0);
}

#[tokio::test(start_paused = true)]
async fn an_approval_before_anyone_waits_lets_the_wait_through_at_once() {
    let gates = start();
    gates.create(&call("ci"), &name("a"), timeout(MINUTE)).await.unwrap();
    approve(&gates, "a", "alice").await.unwrap();
    let gate = outcome(wait(&gates, "a", None, None).await).await;
    assert_eq!((gate.status, gate.deadline), (Status::Approved, None));
}

#[tokio::test]
async fn of_many_deciders_one_wins_and_the_others_are_told_who() {
    let gates = start();
    gates.create(&call("ci"), &name("a"), Spec::default()).await.unwrap();
    let deciders = (0..64).map(|i| {
        let gates = gates.clone();
        tokio::spawn(async move {
            let by = format!("p{i}");
            if i % 2 == 0 { approve(&gates, "a", &by).await } else { reject(&gates, "a", &by).await }
        })
    });
    let results = futures_util::future::join_all(deciders).await.into_iter().map(Result::unwrap);
    let (won, lost): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    let winner = &won[0].as_ref().unwrap().gate.resolution;
    for lost in lost {
        let Refusal::AlreadyResolved(gate) = refusal(lost) else { panic!() };
        assert_eq!(&gate.resolution, winner);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_follows_a_reset_with_a_new_deadline() {
    let gates = start();
    let mut wait = wait(&gates, "a", None, Some(timeout(MINUTE))).await;
    let first = wait.next().await.unwrap().unwrap();
    tokio::time::advance(MINUTE / 2).await;
    gates.reset(&call("alice"), &name("a")).await.unwrap();
    let second = wait.next().await.unwrap().unwrap();
    assert_eq!((second.round.get(), second.status), (2, Status::Waiting));
    assert_eq!(second.deadline, first.deadline.map(|deadline| deadline + MINUTE / 2));
    approve(&gates, "a", "alice").await.unwrap();
    assert_eq!(outcome(wait).await.status, Status::Approved);
}

#[tokio::test(start_paused = true)]
async fn a_pinned_wait_ends_with_its_round() {
    let gates = start();
    gates.create(&call("ci"), &name("a"), Spec::default()).await.unwrap();
    reject(&gates, "a", "alice").await.unwrap();
    gates.reset(&call("alice"), &name("a")).await.unwrap();
    let past = outcome(wait(&gates, "a", Some(1), None).await).await;
    assert_eq!((past.round.get(), past.status), (1, Status::Rejected));

    let mut pinned = wait(&gates, "a", Some(2), None).await;
    pinned.next().await.unwrap();
    gates.reset(&call("alice"), &name("a")).await.unwrap();
    let Err(Error::RoundReset { round, next_round, .. }) = pinned.next().await else { panic!() };
    assert_eq!((round.get(), next_round.get()), (2, 3));

    let unknown = wait(&gates, "a", Some(9), None).await.next().await;
    assert!(matches!(unknown, Err(Error::RoundNotFound { .. })));
}

#[tokio::test]
async fn a_wait_never_misses_a_resolution_that_is_reset_away() {
    let gates = start();
    for i in 0..500 {
        let gate = format!("g{i}");
        let mut wait = wait(&gates, &gate, None, Some(Spec::default())).await;
        assert_eq!(wait.next().await.unwrap().unwrap().status, Status::Waiting);
        let waiting = tokio::spawn(outcome(wait));
        approve(&gates, &gate, "alice").await.unwrap();
        gates.reset(&call("alice"), &name(&gate)).await.unwrap();
        reject(&gates, &gate, "bob").await.unwrap();
        let told = waiting.await.unwrap();
        assert_eq!((told.round.get(), told.status), (1, Status::Approved));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_gate_ends_its_waits_as_cancelled() {
    let gates = start();
    let mut wait = wait(&gates, "a", None, Some(Spec::default())).await;
    wait.next().await.unwrap();
    gates.delete(&call("alice"), &name("a"), None).await.unwrap();
    let gate = outcome(wait).await;
    assert_eq!((gate.status, gate.resolution.unwrap().cause), (Status::Rejected, Cause::Cancelled));
    assert!(matches!(refusal(gates.get(&Caller::anonymous(), &name("a"), None).await), Refusal::NotFound(_)));
}

#[tokio::test(start_paused = true)]
async fn a_wait_on_a_gate_that_was_made_again_leaves_the_new_one_alone() {
    let gates = start();
    let old = gates.create(&call("ci"), &name("a"), timeout(MINUTE)).await.unwrap().gate;
    gates.delete(&call("ci"), &name("a"), None).await.unwrap();
    gates.create(&call("ci"), &name("a"), timeout(MINUTE)).await.unwrap();
    let stale = WaitQuery { uid: Some(old.uid), ..query("a", Some(1), None) };
    let mut wait = gates.wait(&call("w"), stale).await.unwrap();
    assert!(matches!(refusal(wait.next().await), Refusal::NotFound(_)));
    assert_eq!(gates.get(&Caller::anonymous(), &name("a"), None).await.unwrap().gate.status, Status::Pending);
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_differs_is_refused_with_its_fields() {
    let gates = start();
    gates.create(&call("ci"), &name("a"), timeout(MINUTE)).await.unwrap();
    let conflict = gates.wait(&call("w"), query("a", None, Some(Spec::default()))).await;
    let Err(Error::SpecConflict { fields, .. }) = conflict else { panic!() };
    assert_eq!(fields, ["timeout"]);
    assert!(wait(&gates, "a", None, Some(timeout(MINUTE))).await.next().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_gets_the_answer_of_the_first() {
    let gates = start();
    gates.create(&call("ci"), &name("a"), Spec::default()).await.unwrap();
    let ballot = || Ballot::from(who("alice"));
    let approve = |call: Call| {
        let gates = gates.clone();
        async move { gates.approve(&call, &name("a"), ballot(), false).await }
    };
    let first = approve(repeatable("r1", 1)).await.unwrap().gate;
    assert_eq!(approve(repeatable("r1", 1)).await.unwrap().gate, first);
    assert!(matches!(approve(repeatable("r1", 2)).await, Err(Error::RequestIdReused { id }) if id == "r1"));
    assert!(matches!(refusal(approve(repeatable("r2", 1)).await), Refusal::AlreadyResolved(_)));

    // Also one that changed nothing: it was already so.
    let again = |call: Call| {
        let gates = gates.clone();
        async move { gates.create(&call, &name("a"), Spec::default()).await }
    };
    let answer = again(repeatable("r3", 3)).await.unwrap().gate;
    gates.reset(&call("alice"), &name("a")).await.unwrap();
    assert_eq!(again(repeatable("r3", 3)).await.unwrap().gate, answer);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_reset_once_for_a_request() {
    let gates = start();
    for gate in ["r/a", "r/b", "s"] {
        gates.create(&call("ci"), &name(gate), Spec::default()).await.unwrap();
    }
    let group = Prefix::parse("prefix", "r").unwrap();
    let first = gates.reset_group(&repeatable("r1", 1), &group).await.unwrap();
    assert_eq!(first.iter().map(|g| (g.name.as_str(), g.round.get())).collect::<Vec<_>>(), [("r/a", 2), ("r/b", 2)]);
    gates.create(&call("ci"), &name("r/c"), Spec::default()).await.unwrap();
    assert_eq!(gates.reset_group(&repeatable("r1", 1), &group).await.unwrap(), first);
    assert_eq!(gates.reset_group(&repeatable("r2", 1), &group).await.unwrap().len(), 3);
    assert_eq!(gates.get(&Caller::anonymous(), &name("s"), None).await.unwrap().gate.round, Round::FIRST);
}

#[tokio::test(start_paused = true)]
async fn a_group_too_large_to_reset_is_left_alone() {
    let gates = start();
    for i in 0..=RESET_GATES_MAX {
        gates.create(&call("ci"), &name(&format!("r/{i}")), Spec::default()).await.unwrap();
    }
    let refused = gates.reset_group(&call("alice"), &Prefix::parse("prefix", "r").unwrap()).await;
    assert!(matches!(refused, Err(Error::LimitExceeded { limit: RESET_GATES_MAX, .. })));
    assert_eq!(gates.get(&Caller::anonymous(), &name("r/0"), None).await.unwrap().gate.round, Round::FIRST);
}

#[tokio::test(start_paused = true)]
async fn validating_a_decision_changes_nothing() {
    let gates = start();
    gates.create(&call("ci"), &name("a"), Spec::default()).await.unwrap();
    let would = gates.approve(&repeatable("r", 1), &name("a"), Ballot::from(who("alice")), true).await.unwrap();
    assert_eq!(would.gate.status, Status::Approved);
    assert_eq!(gates.get(&Caller::anonymous(), &name("a"), None).await.unwrap().gate.status, Status::Pending);
    reject(&gates, "a", "bob").await.unwrap();
    let refused = gates.approve(&call("alice"), &name("a"), Ballot::from(who("alice")), true).await;
    assert!(matches!(refusal(refused), Refusal::AlreadyResolved(_)));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_seen_while_it_waits() {
    let gates = start();
    let mut wait = wait(&gates, "a", None, Some(Spec::default())).await;
    wait.next().await.unwrap();
    let view = gates.get(&Caller::anonymous(), &name("a"), None).await.unwrap();
    assert_eq!((view.waiters, view.waiter_count), (vec![waiter("w")], 1));
    drop(wait);
    assert_eq!(gates.get(&Caller::anonymous(), &name("a"), None).await.unwrap().waiter_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_follows_a_reset_is_not_let_through_by_an_own_approval() {
    let gates = start();
    let spec = Spec { forbid_requester: Some(true), ..Spec::default() };
    gates.create(&call("ci"), &name("a"), spec).await.unwrap();
    let mut waiting = wait(&gates, "a", None, None).await;
    assert_eq!(waiting.next().await.unwrap().unwrap().status, Status::Waiting);
    // Nobody looks at it in between.
    gates.reset(&call("worker"), &name("a")).await.unwrap();
    approve(&gates, "a", "worker").await.unwrap();
    let own = Refusal::OwnApproval { gate: name("a"), principal: who("worker") };
    assert_eq!(refusal(waiting.next().await), own);
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_told_of_its_own_gate_alone() {
    let gates = start();
    let mut waiting = wait(&gates, "a", None, Some(Spec::default())).await;
    let gate = waiting.next().await.unwrap().unwrap();
    let uid = Uid("another".into());
    gates.waiters.publish(Arc::new(Event {
        kind: EventKind::Resolved,
        actor: None,
        time: gates.now(),
        gate: Gate { uid, status: Status::Approved, revision: Revision(99), ..gate.clone() },
    }));
    assert!(waiting.next().now_or_never().is_none(), "it was told of another gate");
    approve(&gates, "a", "alice").await.unwrap();
    assert_eq!(outcome(waiting).await.uid, gate.uid);
}

#[tokio::test(start_paused = true)]
async fn a_list_reads_on_past_gates_that_do_not_match() {
    let gates = start();
    for i in 0..30 {
        gates.create(&call("ci"), &name(&format!("g{i:02}")), Spec::default()).await.unwrap();
        if i % 3 != 0 {
            approve(&gates, &format!("g{i:02}"), "alice").await.unwrap();
        }
    }
    let mut query = GateQuery {
        prefix: Prefix::parse("prefix", "").unwrap(),
        statuses: vec![Status::Pending, Status::Rejected],
        after: None,
        limit: 4,
    };
    let mut listed = Vec::new();
    loop {
        let page = gates.list(&Caller::anonymous(), query.clone()).await.unwrap();
        assert!(page.views.len() <= 4);
        listed.extend(page.views.into_iter().map(|view| view.gate.name.to_string()));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(listed, (0..30).step_by(3).map(|i| format!("g{i:02}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_waits_and_watches() {
    let gates = start();
    let mut wait = wait(&gates, "a", None, Some(Spec::default())).await;
    wait.next().await.unwrap();
    let query = WatchQuery {
        prefix: Prefix::parse("prefix", "").unwrap(),
        statuses: Vec::new(),
        after: Some(Revision::ZERO),
        initial_state: false,
    };
    let watch = gates.watch(Caller::anonymous(), query);
    gates.drain();
    assert!(matches!(wait.next().await, Err(Error::Draining)));
    let items: Vec<_> = watch.collect().await;
    assert!(matches!(items.last(), Some(Err(Error::Draining))));
}

mod deadlines;
mod hidden;
mod limits;
mod outages;
mod peers;
mod watching;
