//! Waits and watches tell what their contracts promise, over real gRPC: nothing is missed, and they end as they should.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod coordinator;

use std::time::{Duration, Instant};

use coordinator::*;
use gatepost::proto::*;
use prost_types::value::Kind;
use tonic::{Code, Streaming};
use tonic_types::StatusExt;

/// Reads so many events from a watch, all that come before them being events too.
async fn events(watch: &mut Streaming<WatchResponse>, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        let message = next(watch).await;
        assert!(message.created.is_none() && message.progress.is_none(), "{message:?}");
        events.extend(message.events);
    }
    assert_eq!(events.len(), count, "{events:#?}");
    events
}

/// Opens a watch and returns it once it is in place, with the revision that it starts behind.
async fn watching(gates: &mut Gates, request: WatchRequest) -> (Streaming<WatchResponse>, WatchCreated) {
    let mut watch = ok(gates.watch(request)).await;
    let first = next(&mut watch).await;
    assert!(first.events.is_empty() && first.progress.is_none());
    let created = first.created.expect("the first message has created");
    assert!(!created.store_id.is_empty());
    (watch, created)
}

fn told_of(events: &[Event]) -> Vec<(&str, EventType)> {
    events.iter().map(|event| (event.name.as_str(), event.r#type())).collect()
}

#[tokio::test]
async fn a_wait_tells_the_gate_at_once_and_ends_with_the_approval_and_its_inputs() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let mut wait = ok(gates.wait(wait_with("release-42/prod", within_ms(3_600_000)))).await;
    let waiting = told_waiting(&mut wait, 1).await;
    assert_eq!((waiting.waiter_count, waiting.waiters.len()), (0, 0), "live fields are for unary calls");
    let (since, deadline) = (waiting.wait_time.unwrap(), waiting.deadline.unwrap());
    assert_eq!((deadline.seconds - since.seconds, deadline.nanos), (3600, since.nanos));

    let percent = prost_types::Value { kind: Some(Kind::NumberValue(5.0)) };
    let inputs = Struct { fields: [("percent".to_owned(), percent)].into() };
    let request = ApproveRequest { inputs: Some(inputs.clone()), comment: "go".into(), ..approve("release-42/prod") };
    let approved = ok(gates.approve(request)).await;
    let last = told(&mut wait).await;
    assert_eq!(last, Gate { waiters: vec![], waiter_count: 0, ..approved });
    let resolution = last.resolution.unwrap();
    assert_eq!((resolution.inputs, resolution.reason.as_str()), (Some(inputs), "go"));
    ended(&mut wait).await.unwrap();
}

#[tokio::test]
async fn a_rejection_is_a_result_for_every_waiter() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let mut first = ok(gates.wait(wait_with("a", Spec::default()))).await;
    let waiting = told_waiting(&mut first, 1).await;
    let mut second = ok(coordinator.gates().wait(wait("a"))).await;
    assert_eq!(told(&mut second).await, waiting);
    ok(gates.reject(RejectRequest { reason: "smoke tests fail".into(), ..reject("a") })).await;
    for wait in [&mut first, &mut second] {
        let rejected = outcome(wait).await;
        assert_eq!((rejected.status(), rejected.deadline), (GateStatus::Rejected, None));
        assert_eq!(rejected.resolution.unwrap().reason, "smoke tests fail");
    }
}

#[tokio::test]
async fn an_approval_before_anyone_waits_lets_the_wait_through_at_once() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let approved = ok(gates.approve(approve("a"))).await;
    let mut wait = ok(gates.wait(wait_with("a", Spec::default()))).await;
    assert_eq!(told(&mut wait).await, approved);
    ended(&mut wait).await.unwrap();
}

#[tokio::test]
async fn a_timeout_never_comes_early_and_stays_until_a_reset() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let began = Instant::now();
    let mut wait = ok(gates.wait(wait_with("a", within_ms(60)))).await;
    let timed_out = outcome(&mut wait).await;
    assert!(began.elapsed() >= Duration::from_millis(60));
    let resolution = timed_out.resolution.clone().unwrap();
    assert_eq!((timed_out.status(), resolution.cause()), (GateStatus::TimedOut, Cause::Timeout));
    assert_eq!((resolution.by.as_str(), timed_out.votes.len()), ("", 0));
    let (ended_at, deadline) = (resolution.time.unwrap(), timed_out.deadline.unwrap());
    assert!((ended_at.seconds, ended_at.nanos) >= (deadline.seconds, deadline.nanos));

    assert_eq!(outcome(&mut ok(gates.wait(coordinator::wait("a"))).await).await, timed_out);
    let late = refused(gates.approve(approve("a"))).await.get_details_error_info().unwrap();
    assert_eq!((late.metadata["cause"].as_str(), late.metadata["by"].as_str()), ("TIMEOUT", ""));

    ok(gates.reset_gate(reset("a"))).await;
    ok(gates.approve(approve("a"))).await;
    let approved = outcome(&mut ok(gates.wait(coordinator::wait("a"))).await).await;
    assert_eq!((approved.round, approved.status()), (2, GateStatus::Approved));
}

#[tokio::test]
async fn a_wait_follows_a_reset_of_an_undecided_round() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let mut wait = ok(gates.wait(wait_with("a", within_ms(3_600_000)))).await;
    told_waiting(&mut wait, 1).await;
    ok(gates.reset_gate(reset("a"))).await;
    let again = told_waiting(&mut wait, 2).await;
    assert!(again.deadline.is_some());
    ok(gates.approve(approve("a"))).await;
    let approved = outcome(&mut wait).await;
    assert_eq!((approved.round, approved.status(), approved.deadline), (2, GateStatus::Approved, again.deadline));
}

#[tokio::test]
async fn a_wait_on_one_round_ends_with_that_round() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let first = ok(gates.approve(approve("a"))).await;
    ok(gates.reset_gate(reset("a"))).await;
    let pinned = |round| WaitRequest { round, ..wait("a") };
    assert_eq!(outcome(&mut ok(gates.wait(pinned(1))).await).await, first);

    let mut wait = ok(gates.wait(pinned(2))).await;
    told_waiting(&mut wait, 2).await;
    ok(gates.reset_gate(reset("a"))).await;
    let reset = ended(&mut wait).await.unwrap_err();
    let told = reset.get_details_error_info().unwrap();
    assert_eq!((reset.code(), told.reason.as_str()), (Code::FailedPrecondition, "ROUND_RESET"));
    assert_eq!(told.metadata["next_round"], "3");
}

#[tokio::test]
async fn a_deletion_cancels_those_who_wait() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let mut wait = ok(gates.wait(wait_with("a", Spec::default()))).await;
    told_waiting(&mut wait, 1).await;
    ok(gates.delete_gate(delete("a"))).await;
    let cancelled = outcome(&mut wait).await;
    assert_eq!(cancelled.status(), GateStatus::Rejected);
    assert_eq!(cancelled.resolution.unwrap().cause(), Cause::Cancelled);
}

#[tokio::test]
async fn those_who_wait_are_shown_while_they_are_connected() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let waiter = |id: &str| Waiter { id: id.into(), host: "ci-7".into(), note: "step 3".into(), since: None };
    let mut waits = Vec::new();
    for id in ["job-1", "job-2"] {
        let request = WaitRequest { waiter: Some(waiter(id)), ..wait_with("a", Spec::default()) };
        let mut wait = ok(gates.wait(request)).await;
        told_waiting(&mut wait, 1).await;
        waits.push(wait);
    }
    let gate = ok(gates.get_gate(get("a"))).await;
    assert_eq!(gate.waiter_count, 2);
    assert!(gate.waiters.iter().all(|waiter| waiter.since.is_some()));
    let shown: Vec<_> = gate.waiters.into_iter().map(|shown| Waiter { since: None, ..shown }).collect();
    assert_eq!(shown, [waiter("job-1"), waiter("job-2")]);
    assert_eq!(ok(gates.list_gates(list("a"))).await.gates[0].waiter_count, 2);

    drop(waits);
    // The coordinator learns of it when the reset of the streams arrives.
    let gone = async {
        let mut look = tokio::time::interval(Duration::from_millis(2));
        while ok(gates.get_gate(get("a"))).await.waiter_count > 0 {
            look.tick().await;
        }
    };
    within(gone).await;
    let left = ok(gates.get_gate(get("a"))).await;
    assert_eq!((left.waiters.len(), left.status()), (0, GateStatus::Waiting));
}

#[tokio::test]
async fn a_watch_tells_what_happens_from_now_on_in_order() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let before = ok(gates.create_gate(create("a"))).await;
    let (mut watch, created) = watching(&mut gates, watch("")).await;
    assert!(created.revision >= before.revision);
    let mut wait = ok(gates.wait(wait("a"))).await;
    told_waiting(&mut wait, 1).await;
    let approved = ok(gates.approve(approve("a"))).await;
    ok(gates.reset_gate(reset("a"))).await;
    ok(gates.delete_gate(delete("a"))).await;

    let told = events(&mut watch, 4).await;
    let types: Vec<_> = told.iter().map(Event::r#type).collect();
    assert_eq!(types, [EventType::Waiting, EventType::Resolved, EventType::Reset, EventType::Deleted]);
    assert!(told.is_sorted_by(|one, next| one.revision < next.revision));
    assert_eq!((told[1].actor.as_str(), told[1].revision), ("anonymous", approved.revision));
    assert_eq!(told[1].gate, Some(Gate { waiters: vec![], waiter_count: 0, ..approved }));
}

#[tokio::test]
async fn a_watch_tells_what_exists_first_if_it_is_asked_to() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    for name in ["g/a", "g/b", "other"] {
        ok(gates.create_gate(create(name))).await;
    }
    let b = ok(gates.approve(approve("g/b"))).await;
    let request = WatchRequest { initial_state: true, ..watch("g") };
    let (mut watch, created) = watching(&mut gates, request).await;
    let existing = events(&mut watch, 2).await;
    assert_eq!(told_of(&existing), [("g/a", EventType::Existing), ("g/b", EventType::Existing)]);
    assert_eq!(existing[1].gate.as_ref(), Some(&b));
    assert_eq!(next(&mut watch).await.progress, Some(WatchProgress { revision: created.revision }));
    ok(gates.reject(reject("g/a"))).await;
    assert_eq!(told_of(&events(&mut watch, 1).await), [("g/a", EventType::Resolved)]);
}

#[tokio::test]
async fn a_watch_tells_only_of_its_group_and_of_the_statuses_it_asks_for() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let (mut group, _) = watching(&mut gates, watch("r-1")).await;
    let statuses = vec![GateStatus::Rejected.into(), GateStatus::Pending.into()];
    let (mut some, _) = watching(&mut gates, WatchRequest { statuses, ..watch("") }).await;
    for name in ["r-10/x", "r-1/x", "r-1"] {
        ok(gates.create_gate(create(name))).await;
        ok(gates.approve(approve(name))).await;
    }
    ok(gates.reset_gate(reset("r-10/x"))).await;
    ok(gates.reject(reject("r-10/x"))).await;
    ok(gates.reset_gate(reset("r-1"))).await;

    let (created, resolved) = (EventType::Created, EventType::Resolved);
    assert_eq!(
        told_of(&events(&mut group, 5).await),
        [("r-1/x", created), ("r-1/x", resolved), ("r-1", created), ("r-1", resolved), ("r-1", EventType::Reset),]
    );
    assert_eq!(
        told_of(&events(&mut some, 6).await),
        [
            ("r-10/x", created),
            ("r-1/x", created),
            ("r-1", created),
            ("r-10/x", EventType::Reset),
            ("r-10/x", resolved),
            ("r-1", EventType::Reset),
        ]
    );
}

#[tokio::test]
async fn a_watch_resumes_at_a_revision_and_includes_it() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let approved = ok(gates.approve(approve("a"))).await;
    let again = ok(gates.reset_gate(reset("a"))).await;

    let from = |start_revision| WatchRequest { start_revision, ..watch("a") };
    let (mut all, _) = watching(&mut gates, from(1)).await;
    assert_eq!(events(&mut all, 3).await, ok(gates.list_events(history("a"))).await.events);
    let (mut rest, created) = watching(&mut gates, from(approved.revision)).await;
    assert_eq!(created.revision, approved.revision - 1);
    let told = events(&mut rest, 2).await;
    assert_eq!((told[0].revision, told[1].revision), (approved.revision, again.revision));

    // What has not happened yet is waited for, and nothing before it is told.
    let (mut later, _) = watching(&mut gates, from(again.revision + 1)).await;
    let rejected = ok(gates.reject(reject("a"))).await;
    for watch in [&mut all, &mut rest, &mut later] {
        assert_eq!(events(watch, 1).await[0].gate.as_ref(), Some(&rejected));
    }
}
