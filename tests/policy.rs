//! Evidence is kept with its round and shown to approvers; rules decide by it, and never by mistake.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod coordinator;

use std::collections::BTreeMap;

use coordinator::*;
use gatepost::proto::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Approves what is labelled so at once, and what was tested below `tested` once it has passed; stops what has failed.
const RULES: &str = r#"
[[rule]]
name = "failed"
when = "has(evidence.tests) && evidence.tests == 'failed'"
action = "reject"

[[rule]]
name = "dev"
when = "'stage' in labels && labels.stage == 'dev'"
action = "approve"

[[rule]]
name = "tests-passed"
prefix = "tested"
when = "has(evidence.tests) && evidence.tests == 'passed'"
action = "approve"

[[rule]]
name = "careless"
prefix = "careless"
when = "evidence.tests == 'passed'"
action = "approve"

[[rule]]
name = "behind-it"
prefix = "careless"
when = "true"
action = "approve"
"#;

fn facts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    report("", pairs).facts
}

fn staged(stage: &str) -> Spec {
    Spec { labels: [("stage".to_owned(), stage.to_owned())].into(), ..Spec::default() }
}

/// Who decided a gate: its status, why, by whom and the reason.
fn decision(gate: &Gate) -> (GateStatus, Cause, &str, &str) {
    let resolution = gate.resolution.as_ref().expect("it is decided");
    (gate.status(), resolution.cause(), &resolution.by, &resolution.reason)
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().expect("an ErrorInfo").reason)
}

/// Returns once the rules have looked at everything that happened so far: they look at one thing after another.
async fn rules_have_looked(gates: &mut Gates) {
    let mut wait = ok(gates.wait(wait_with("looked", staged("dev")))).await;
    assert_eq!(outcome(&mut wait).await.status(), GateStatus::Approved);
    ok(gates.delete_gate(delete("looked"))).await;
}

#[tokio::test]
async fn evidence_is_kept_with_its_round_through_a_restart() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("g"))).await;
    let reported = ok(gates.report_evidence(report("g", &[("tests", "failed"), ("lint", "ok")]))).await;
    assert_eq!(
        (reported.status(), &reported.evidence),
        (GateStatus::Pending, &facts(&[("lint", "ok"), ("tests", "failed")]))
    );
    let request = ReportEvidenceRequest { request_id: "1".into(), round: 1, ..report("g", &[("tests", "passed")]) };
    let passed = ok(gates.report_evidence(request.clone())).await;
    assert_eq!(passed.evidence, facts(&[("lint", "ok"), ("tests", "passed")]));
    assert!(passed.revision > reported.revision && passed.etag != reported.etag);
    assert_eq!(
        ok(gates.report_evidence(report("g", &[("lint", "ok")]))).await.revision,
        passed.revision,
        "nothing new"
    );

    let data_dir = coordinator.begin_stop().stopped().await;
    let coordinator = Coordinator::start_in(data_dir).await;
    let mut gates = coordinator.gates();
    assert_eq!(ok(gates.get_gate(get("g"))).await, passed);
    assert_eq!(ok(gates.report_evidence(request)).await, passed, "a repetition");
    let events = ok(gates.list_events(history("g"))).await.events;
    let reports = events.iter().filter(|event| event.r#type() == EventType::EvidenceReported);
    assert_eq!(reports.map(|event| event.actor.as_str()).collect::<Vec<_>>(), ["anonymous"; 2]);

    let next = ok(gates.reset_gate(reset("g"))).await;
    assert_eq!(next.evidence, facts(&[]), "what was found out about one round says nothing about the next");
    let late = ReportEvidenceRequest { round: 1, ..report("g", &[("tests", "passed")]) };
    assert_eq!(reason(&refused(gates.report_evidence(late)).await), (Code::Aborted, "ROUND_MISMATCH".into()));
}

#[tokio::test]
async fn evidence_has_bounds() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("g"))).await;
    let long = "x".repeat(513);
    for wrong in [&[][..], &[("a b", "c")], &[("", "c")], &[("a", &long)]] {
        let status = refused(gates.report_evidence(report("g", wrong))).await;
        assert_eq!(reason(&status), (Code::InvalidArgument, "INVALID_ARGUMENT".into()), "{wrong:?}");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "facts");
    }
    let numbered: Vec<_> = (0..33).map(|number| number.to_string()).collect();
    let numbered: Vec<_> = numbered.iter().map(|key| (key.as_str(), &long[..512])).collect();
    assert_eq!(refused(gates.report_evidence(report("g", &numbered))).await.code(), Code::InvalidArgument);
    assert_eq!(ok(gates.report_evidence(report("g", &numbered[..32]))).await.evidence.len(), 32);
    let status = refused(gates.report_evidence(report("g", &[("more", "")]))).await;
    let info = status.get_details_error_info().unwrap();
    assert_eq!((status.code(), info.reason.as_str()), (Code::ResourceExhausted, "LIMIT_EXCEEDED"));
    assert_eq!((info.metadata["gate"].as_str(), info.metadata["limit"].as_str()), ("g", "32"));
    assert_eq!(ok(gates.report_evidence(report("g", &[("0", "new")]))).await.evidence["0"], "new");
}

#[tokio::test]
async fn a_rule_decides_a_gate_as_it_starts_to_wait_and_is_named() {
    let coordinator = Coordinator::start_with(RULES).await;
    let mut gates = coordinator.gates();
    let spec = Spec { required_approvals: 3, ..staged("dev") };
    let approved = outcome(&mut ok(gates.wait(wait_with("g", spec))).await).await;
    assert_eq!(decision(&approved), (GateStatus::Approved, Cause::Policy, "", "dev"));
    assert_eq!(approved.votes, [], "nobody has voted");
    let resolved = ok(gates.list_events(history("g"))).await.events.pop().unwrap();
    assert_eq!((resolved.r#type(), resolved.actor.as_str()), (EventType::Resolved, ""));
}

#[tokio::test]
async fn evidence_releases_or_stops_those_who_wait() {
    let coordinator = Coordinator::start_with(RULES).await;
    let mut gates = coordinator.gates();
    let mut good = ok(gates.wait(wait_with("tested/good", Spec::default()))).await;
    let mut bad = ok(gates.wait(wait_with("tested/bad", Spec::default()))).await;
    let mut other = ok(gates.wait(wait_with("other", Spec::default()))).await;
    for wait in [&mut good, &mut bad, &mut other] {
        told_waiting(wait, 1).await;
    }
    ok(gates.report_evidence(report("other", &[("tests", "passed")]))).await;
    ok(gates.report_evidence(report("tested/good", &[("lint", "passed")]))).await;
    ok(gates.report_evidence(report("tested/good", &[("tests", "passed")]))).await;
    ok(gates.report_evidence(report("tested/bad", &[("tests", "failed")]))).await;
    assert_eq!(decision(&outcome(&mut good).await), (GateStatus::Approved, Cause::Policy, "", "tests-passed"));
    assert_eq!(decision(&outcome(&mut bad).await), (GateStatus::Rejected, Cause::Policy, "", "failed"));
    rules_have_looked(&mut gates).await;
    assert_eq!(ok(gates.get_gate(get("other"))).await.status(), GateStatus::Waiting, "no rule is about it");
}

#[tokio::test]
async fn a_rule_that_fails_decides_nothing_and_people_still_can() {
    let coordinator = Coordinator::start_with(RULES).await;
    let mut gates = coordinator.gates();
    let mut wait = ok(gates.wait(wait_with("careless", Spec::default()))).await;
    told_waiting(&mut wait, 1).await;
    rules_have_looked(&mut gates).await;
    assert_eq!(ok(gates.get_gate(get("careless"))).await.status(), GateStatus::Waiting);
    ok(gates.approve(approve("careless"))).await;
    assert_eq!(outcome(&mut wait).await.resolution.unwrap().cause(), Cause::Decision);
}

#[tokio::test]
async fn nothing_is_decided_before_somebody_waits() {
    let coordinator = Coordinator::start_with(RULES).await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("tested/g"))).await;
    ok(gates.report_evidence(report("tested/g", &[("tests", "passed")]))).await;
    rules_have_looked(&mut gates).await;
    assert_eq!(ok(gates.get_gate(get("tested/g"))).await.status(), GateStatus::Pending);
    let approved = outcome(&mut ok(gates.wait(wait("tested/g"))).await).await;
    assert_eq!(decision(&approved), (GateStatus::Approved, Cause::Policy, "", "tests-passed"));
}

#[tokio::test]
async fn gates_that_wait_already_are_looked_at_at_start() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let mut wait = ok(gates.wait(wait_with("tested/g", Spec::default()))).await;
    told_waiting(&mut wait, 1).await;
    ok(gates.report_evidence(report("tested/g", &[("tests", "passed")]))).await;
    drop(wait);
    let data_dir = coordinator.begin_stop().stopped().await;
    std::fs::write(data_dir.path().join("gatepost.toml"), RULES).unwrap();
    let coordinator = Coordinator::start_in(data_dir).await;
    let mut wait = ok(coordinator.gates().wait(wait_again("tested/g"))).await;
    assert_eq!(decision(&outcome(&mut wait).await), (GateStatus::Approved, Cause::Policy, "", "tests-passed"));
}

/// Waits on the first round of a gate, as one does who connects again.
fn wait_again(gate: &str) -> WaitRequest {
    WaitRequest { round: 1, ..wait(gate) }
}
