//! Who decides a gate, from when on, and what silence means, over real gRPC and without identities.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod coordinator;

use std::time::SystemTime;

use coordinator::*;
use gatepost::proto::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn created_with(gate: &str, spec: Spec) -> CreateGateRequest {
    CreateGateRequest { spec: Some(spec), ..create(gate) }
}

fn break_glass(gate: &str, reason: &str) -> ApproveRequest {
    ApproveRequest { break_glass_reason: reason.into(), ..approve(gate) }
}

/// Why a call was refused: the code, the reason, and the values that a program needs.
fn why(status: &Status) -> (Code, String, Vec<(String, String)>) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{status:?}"));
    let mut metadata: Vec<_> = info.metadata.into_iter().collect();
    metadata.sort();
    (status.code(), info.reason, metadata)
}

fn values(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn at(time: Option<Timestamp>) -> SystemTime {
    time.unwrap().try_into().unwrap()
}

#[tokio::test]
async fn whoever_is_no_approver_is_told_who_is() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let approvers = vec!["alice".into(), "group:release-managers".into()];
    ok(gates.create_gate(created_with("a", Spec { approvers, ..Spec::default() }))).await;
    let who = [("approvers", "alice,group:release-managers"), ("gate", "a"), ("principal", "anonymous")];
    for status in [refused(gates.approve(approve("a"))).await, refused(gates.reject(reject("a"))).await] {
        assert_eq!(why(&status), (Code::PermissionDenied, "NOT_AN_APPROVER".into(), values(&who)));
    }
    // Everybody authenticated is nobody here.
    let approvers = vec!["group:authenticated".into()];
    ok(gates.create_gate(created_with("b", Spec { approvers, ..Spec::default() }))).await;
    assert_eq!(why(&refused(gates.approve(approve("b"))).await).1, "NOT_AN_APPROVER");
    let approvers = vec!["anonymous".into()];
    ok(gates.create_gate(created_with("c", Spec { approvers, ..Spec::default() }))).await;
    assert_eq!(ok(gates.approve(approve("c"))).await.status(), GateStatus::Approved);
}

#[tokio::test]
async fn one_s_own_gate_is_for_others_to_approve_where_the_spec_says_so() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let forbidding = Spec { forbid_requester: Some(true), ..Spec::default() };
    ok(gates.create_gate(created_with("a", forbidding.clone()))).await;
    let status = refused(gates.approve(approve("a"))).await;
    let who = [("gate", "a"), ("principal", "anonymous")];
    assert_eq!(why(&status), (Code::PermissionDenied, "OWN_GATE".into(), values(&who)));
    assert_eq!(ok(gates.reject(reject("a"))).await.status(), GateStatus::Rejected);

    let mut waiting = ok(gates.wait(wait_with("b", Spec::default()))).await;
    assert_eq!(told_waiting(&mut waiting, 1).await.first_waiter, "anonymous");
    let approved = ok(gates.approve(approve("b"))).await;
    assert_eq!(approved.resolution.unwrap().authentication(), Authentication::Anonymous, "nobody is verified");
    assert_eq!(approved.votes[0].authentication(), Authentication::Anonymous);
    assert_eq!(ok(gates.reset_gate(reset("b"))).await.first_waiter, "");
}

#[tokio::test]
async fn an_approval_before_its_time_is_refused_and_not_kept() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let spec = Spec { min_wait: within_ms(300).timeout, ..within_ms(60_000) };
    ok(gates.create_gate(created_with("a", spec))).await;
    let nobody_waits = why(&refused(gates.approve(approve("a"))).await);
    let none = values(&[("gate", "a"), ("not_before", "")]);
    assert_eq!(nobody_waits, (Code::FailedPrecondition, "TOO_EARLY".into(), none));

    let hour = std::time::Duration::from_secs(3600);
    let mut long =
        ok(gates.wait(wait_with("b", Spec { min_wait: within_ms(3_600_000).timeout, ..Spec::default() }))).await;
    let not_before = Timestamp::from(at(told_waiting(&mut long, 1).await.wait_time) + hour).to_string();
    let status = refused(gates.approve(approve("b"))).await;
    let values = values(&[("gate", "b"), ("not_before", &not_before)]);
    assert_eq!(why(&status), (Code::FailedPrecondition, "TOO_EARLY".into(), values));
    assert_eq!(ok(gates.get_gate(get("b"))).await.votes, []);

    let mut waiting = ok(gates.wait(wait("a"))).await;
    let since = at(told_waiting(&mut waiting, 1).await.wait_time);
    let approved = loop {
        match within(gates.approve(approve("a"))).await {
            Ok(approved) => break approved.into_inner(),
            Err(status) => assert_eq!(why(&status).1, "TOO_EARLY"),
        }
    };
    let time = at(approved.resolution.unwrap().time);
    assert!(time.duration_since(since).unwrap() >= std::time::Duration::from_millis(300));
    assert_eq!(outcome(&mut waiting).await.status(), GateStatus::Approved);
}

#[tokio::test]
async fn a_rule_waits_as_long_as_people_have_to_and_across_a_restart() {
    let rule = "[[rule]]\nname = \"all\"\nwhen = \"true\"\naction = \"approve\"\n";
    let mut coordinator = Coordinator::start_with(rule).await;
    let spec = Spec { min_wait: within_ms(1000).timeout, ..Spec::default() };
    for (gate, restarts) in [("a", false), ("b", true)] {
        let mut waiting = ok(coordinator.gates().wait(wait_with(gate, spec.clone()))).await;
        told_waiting(&mut waiting, 1).await;
        if restarts {
            coordinator = coordinator.restart().await;
            waiting = ok(coordinator.gates().wait(wait(gate))).await;
        }
        let approved = outcome(&mut waiting).await;
        let resolution = approved.resolution.unwrap();
        assert_eq!((resolution.status(), resolution.cause()), (GateStatus::Approved, Cause::Policy));
        assert_eq!((resolution.by.as_str(), resolution.authentication()), ("", Authentication::Unspecified));
        let waited = at(resolution.time).duration_since(at(approved.wait_time)).unwrap();
        assert!(waited >= std::time::Duration::from_secs(1), "{waited:?}");
    }
}

#[tokio::test]
async fn silence_means_what_the_spec_says() {
    let coordinator = Coordinator::start().await;
    for (gate, on_timeout, status) in [
        ("a", OnTimeout::Unspecified, GateStatus::TimedOut),
        ("b", OnTimeout::TimeOut, GateStatus::TimedOut),
        ("c", OnTimeout::Approve, GateStatus::Approved),
        ("d", OnTimeout::Reject, GateStatus::Rejected),
    ] {
        let spec = Spec { on_timeout: on_timeout.into(), ..within_ms(50) };
        let mut waiting = ok(coordinator.gates().wait(wait_with(gate, spec))).await;
        let ended = outcome(&mut waiting).await;
        let resolution = ended.resolution.unwrap();
        assert_eq!((ended.status.try_into(), resolution.status()), (Ok(status), status));
        assert_eq!((resolution.cause(), resolution.by.as_str()), (Cause::Timeout, ""));
        assert!(at(resolution.time) >= at(ended.deadline));
    }
}

#[tokio::test]
async fn breaking_the_glass_approves_alone_and_is_told_as_what_it_is() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let spec = Spec {
        approvers: vec!["alice".into(), "bob".into()],
        required_approvals: 2,
        forbid_requester: Some(true),
        min_wait: within_ms(3_600_000).timeout,
        ..Spec::default()
    };
    let mut waiting = ok(gates.wait(wait_with("a", spec))).await;
    let seen = told_waiting(&mut waiting, 1).await;

    for (wrong, field) in [
        (ApproveRequest { comment: "and".into(), ..break_glass("a", "the site is down") }, "break_glass_reason"),
        (break_glass("a", " \n"), "break_glass_reason"),
        (break_glass("a", &"x".repeat(2049)), "break_glass_reason"),
    ] {
        let status = refused(gates.approve(wrong)).await;
        assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_ARGUMENT".into(), values(&[("field", field)])));
    }
    let stale = ApproveRequest { etag: "0-x".into(), ..break_glass("a", "the site is down") };
    assert_eq!(why(&refused(gates.approve(stale)).await).1, "ETAG_MISMATCH");
    let only = ApproveRequest { validate_only: true, ..break_glass("a", "the site is down") };
    assert_eq!(ok(gates.approve(only)).await.status(), GateStatus::Approved);
    assert_eq!(ok(gates.get_gate(get("a"))).await.revision, seen.revision, "that was only checked");

    let request = ApproveRequest { request_id: "1".into(), ..break_glass("a", "the site is down") };
    let broken = ok(gates.approve(request.clone())).await;
    let resolution = broken.resolution.clone().unwrap();
    assert_eq!((resolution.status(), resolution.cause()), (GateStatus::Approved, Cause::BreakGlass));
    assert_eq!((resolution.by.as_str(), resolution.reason.as_str()), ("anonymous", "the site is down"));
    assert_eq!((broken.votes.len(), broken.votes[0].comment.as_str()), (1, "the site is down"));
    assert_eq!(outcome(&mut waiting).await.resolution, Some(resolution));
    let same = Gate { waiters: Vec::new(), waiter_count: 0, ..broken };
    assert_eq!(ok(gates.approve(request)).await, same, "a repetition gets the same answer");
    let again = refused(gates.approve(break_glass("a", "again"))).await;
    let (code, reason, metadata) = why(&again);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "GATE_ALREADY_RESOLVED"));
    assert!(metadata.contains(&("cause".to_owned(), "BREAK_GLASS".to_owned())), "{metadata:?}");
}
