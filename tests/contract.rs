//! Every unary call of the API does what its comment promises, over real gRPC.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod coordinator;

use coordinator::*;
use gatepost::proto::*;
use prost_types::value::Kind;
use tonic_types::StatusExt;

fn names(gates: &[Gate]) -> Vec<&str> {
    gates.iter().map(|gate| gate.name.as_str()).collect()
}

fn types(events: &[Event]) -> Vec<EventType> {
    events.iter().map(Event::r#type).collect()
}

#[tokio::test]
async fn a_gate_is_created_once_and_reads_as_it_was_created() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let spec = Spec {
        title: "Deploy 42".into(),
        description: "To every region.".into(),
        labels: [("team".to_owned(), "payments".to_owned())].into(),
        links: vec![Link { title: "plan".into(), url: "https://example.com/plan".into() }],
        required_approvals: 2,
        subject: Some(Subject { uri: "oci://app".into(), digest: "sha256:1f".into() }),
        on_timeout: OnTimeout::Reject.into(),
        min_wait: within_ms(500).timeout,
        approvers: vec!["alice".into(), "group:release-managers".into()],
        forbid_requester: Some(false),
        ..within_ms(1500)
    };
    let request = CreateGateRequest { spec: Some(spec.clone()), ..create("release-42/prod") };
    let created = ok(gates.create_gate(request.clone())).await;
    assert_eq!((created.name.as_str(), created.round, created.status()), ("release-42/prod", 1, GateStatus::Pending));
    assert_eq!((created.spec.as_ref(), created.requester.as_str()), (Some(&spec), "anonymous"));
    assert_eq!((created.approvals_missing, created.resolution.as_ref()), (2, None));
    assert_eq!((created.wait_time, created.deadline), (None, None));
    assert!(created.create_time.is_some() && created.create_time == created.update_time);
    assert!(created.revision > 0 && !created.uid.is_empty() && !created.etag.is_empty());

    assert_eq!(ok(gates.create_gate(request)).await, created);
    let plain = ok(gates.create_gate(create("plain"))).await.spec.unwrap();
    let defaults = Spec { required_approvals: 1, on_timeout: OnTimeout::TimeOut.into(), ..Spec::default() };
    assert_eq!(plain, defaults);
    let again = CreateGateRequest { spec: Some(defaults), ..create("plain") };
    ok(gates.create_gate(again)).await;
    assert_eq!(ok(gates.get_gate(get("release-42/prod"))).await, created);
}

#[tokio::test]
async fn an_auto_approved_gate_asks_only_after_a_reset() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let spec = Spec { auto_approve: true, ..Spec::default() };
    let created = ok(gates.create_gate(CreateGateRequest { spec: Some(spec), ..create("dry-run") })).await;
    let resolution = created.resolution.unwrap();
    assert_eq!((created.status, resolution.status), (GateStatus::Approved.into(), GateStatus::Approved.into()));
    assert_eq!((resolution.cause(), resolution.by.as_str()), (Cause::AutoApprove, ""));
    assert_eq!(resolution.revision, created.revision);
    assert_eq!(ok(gates.reset_gate(reset("dry-run"))).await.status(), GateStatus::Pending);
}

#[tokio::test]
async fn a_past_round_reads_as_it_ended() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let approved = ok(gates.approve(ApproveRequest { comment: "looks good".into(), ..approve("a") })).await;
    let second = ok(gates.reset_gate(reset("a"))).await;
    assert_eq!((second.round, second.status()), (2, GateStatus::Pending));
    assert_eq!((second.votes.len(), second.resolution.as_ref()), (0, None));
    assert_eq!((&second.uid, second.create_time), (&approved.uid, approved.create_time));
    let rejected = ok(gates.reject(RejectRequest { reason: "not today".into(), ..reject("a") })).await;
    ok(gates.reset_gate(reset("a"))).await;

    assert_eq!(ok(gates.get_gate(GetGateRequest { round: 1, ..get("a") })).await, approved);
    assert_eq!(ok(gates.get_gate(GetGateRequest { round: 2, ..get("a") })).await, rejected);
    assert_eq!(approved.resolution.unwrap().reason, "looks good");
    assert_eq!(rejected.resolution.unwrap().reason, "not today");
}

#[tokio::test]
async fn a_list_has_the_groups_gates_in_order_page_by_page() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    for name in ["r-1/b", "r-10/x", "r-1", "r-1/a/y", "r-1/c"] {
        ok(gates.create_gate(create(name))).await;
    }
    ok(gates.approve(approve("r-1/b"))).await;
    let last = ok(gates.reject(reject("r-1/c"))).await;

    let all = ok(gates.list_gates(list("r-1"))).await;
    assert_eq!(names(&all.gates), ["r-1", "r-1/a/y", "r-1/b", "r-1/c"]);
    assert!(all.revision >= last.revision && all.next_page_token.is_empty());
    assert_eq!(ok(gates.list_gates(list(""))).await.gates.len(), 5);
    assert_eq!(ok(gates.list_gates(list("r-2"))).await.gates, []);

    let mut request = ListGatesRequest { page_size: 3, ..list("r-1/") };
    let mut paged = Vec::new();
    loop {
        let page = ok(gates.list_gates(request.clone())).await;
        assert!(page.gates.len() <= 3);
        paged.extend(page.gates);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paged, all.gates);

    for (statuses, expected) in [
        (vec![GateStatus::Approved], vec!["r-1/b"]),
        (vec![GateStatus::Pending], vec!["r-1", "r-1/a/y"]),
        (vec![GateStatus::Approved, GateStatus::Rejected], vec!["r-1/b", "r-1/c"]),
        (vec![GateStatus::TimedOut], vec![]),
    ] {
        let request = ListGatesRequest { statuses: statuses.iter().map(|s| (*s).into()).collect(), ..list("r-1") };
        assert_eq!(names(&ok(gates.list_gates(request)).await.gates), expected, "{statuses:?}");
    }
}

#[tokio::test]
async fn a_deleted_gate_is_gone_and_its_history_stays() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let first = ok(gates.create_gate(create("a"))).await;
    ok(gates.delete_gate(DeleteGateRequest { etag: first.etag, ..delete("a") })).await;
    assert_eq!(ok(gates.list_gates(list(""))).await.gates, []);
    assert_eq!(refused(gates.get_gate(get("a"))).await.get_details_error_info().unwrap().reason, "GATE_NOT_FOUND");

    let events = ok(gates.list_events(history("a"))).await.events;
    assert_eq!(types(&events), [EventType::Created, EventType::Deleted]);
    let cancelled = events[1].gate.as_ref().unwrap();
    assert_eq!(cancelled.status(), GateStatus::Rejected);
    assert_eq!(cancelled.resolution.as_ref().unwrap().cause(), Cause::Cancelled);

    let second = ok(gates.create_gate(create("a"))).await;
    assert_ne!(second.uid, first.uid);
    assert_eq!((second.round, ok(gates.list_events(history("a"))).await.events.len()), (1, 3));
}

#[tokio::test]
async fn a_vote_says_who_decided_and_whom_they_claim_to_speak_for() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let request = ApproveRequest { on_behalf_of: "alice".into(), comment: "checked".into(), ..approve("a") };
    let approved = ok(gates.approve(request)).await;
    let resolution = approved.resolution.unwrap();
    assert_eq!((resolution.by.as_str(), resolution.on_behalf_of.as_str()), ("anonymous", "alice"));
    assert_eq!((resolution.cause(), resolution.reason.as_str()), (Cause::Decision, "checked"));
    assert_eq!((approved.approvals_missing, resolution.revision), (0, approved.revision));
    let [vote] = &approved.votes[..] else { panic!("{:?}", approved.votes) };
    assert_eq!((vote.voter.as_str(), vote.on_behalf_of.as_str()), ("anonymous", "alice"));
    assert_eq!((vote.verdict(), vote.comment.as_str()), (Verdict::Approve, "checked"));
}

#[tokio::test]
async fn the_same_person_counts_once_and_one_rejection_resolves() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let spec = Spec { required_approvals: 2, ..Spec::default() };
    ok(gates.create_gate(CreateGateRequest { spec: Some(spec), ..create("a") })).await;
    let voted = ok(gates.approve(approve("a"))).await;
    assert_eq!((voted.status(), voted.approvals_missing, voted.votes.len()), (GateStatus::Pending, 1, 1));
    assert_eq!(ok(gates.approve(approve("a"))).await, voted);
    let rejected = ok(gates.reject(RejectRequest { on_behalf_of: "bob".into(), ..reject("a") })).await;
    assert_eq!((rejected.status(), rejected.approvals_missing), (GateStatus::Rejected, 0));
    let events = ok(gates.list_events(history("a"))).await.events;
    assert_eq!(types(&events), [EventType::Created, EventType::Voted, EventType::Resolved]);
}

#[tokio::test]
async fn the_first_decision_wins_and_the_loser_is_told_the_winner() {
    let coordinator = Coordinator::start().await;
    let (mut gates, mut others) = (coordinator.gates(), coordinator.gates());
    ok(gates.create_gate(create("a"))).await;
    let approval = ApproveRequest { on_behalf_of: "alice".into(), ..approve("a") };
    let rejection = RejectRequest { on_behalf_of: "bob".into(), ..reject("a") };
    let race = async { tokio::join!(gates.approve(approval), others.reject(rejection)) };
    let (status, loser) = match within(race).await {
        (Ok(_), Err(loser)) => ("APPROVED", loser),
        (Err(loser), Ok(_)) => ("REJECTED", loser),
        both => panic!("{both:?}"),
    };
    let gate = ok(gates.get_gate(get("a"))).await;
    let won = gate.resolution.unwrap();
    let told = loser.get_details_error_info().unwrap();
    assert_eq!((gate.votes.len(), told.reason.as_str()), (1, "GATE_ALREADY_RESOLVED"));
    let (time, revision) = (won.time.unwrap().to_string(), won.revision.to_string());
    for (key, value) in [
        ("gate", "a"),
        ("status", status),
        ("round", "1"),
        ("cause", "DECISION"),
        ("by", "anonymous"),
        ("on_behalf_of", &won.on_behalf_of),
        ("time", &time),
        ("revision", &revision),
    ] {
        assert_eq!(told.metadata[key], value, "{key}");
    }
}

#[tokio::test]
async fn validate_only_checks_everything_and_changes_nothing() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let before = ok(gates.create_gate(create("a"))).await;
    let dry_approval = ApproveRequest { validate_only: true, ..approve("a") };
    let dry_rejection = RejectRequest { validate_only: true, ..reject("a") };
    assert_eq!(ok(gates.approve(dry_approval.clone())).await.status(), GateStatus::Approved);
    assert_eq!(ok(gates.reject(dry_rejection.clone())).await.status(), GateStatus::Rejected);
    assert_eq!(ok(gates.get_gate(get("a"))).await, before);
    assert_eq!(ok(gates.list_events(history("a"))).await.events.len(), 1);

    ok(gates.approve(approve("a"))).await;
    for refused in [refused(gates.approve(dry_approval)).await, refused(gates.reject(dry_rejection)).await] {
        assert_eq!(refused.get_details_error_info().unwrap().reason, "GATE_ALREADY_RESOLVED");
    }
}

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer_and_does_nothing() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let id = |name: &str| format!("5f0c-{name}");
    let creation = CreateGateRequest { request_id: id("create"), ..create("a") };
    let created = ok(gates.create_gate(creation.clone())).await;
    let approval = ApproveRequest { request_id: id("approve"), comment: "yes".into(), ..approve("a") };
    let approved = ok(gates.approve(approval.clone())).await;
    assert_eq!(ok(gates.approve(approval.clone())).await, approved);
    let renewal = ResetGateRequest { request_id: id("reset"), ..reset("a") };
    let renewed = ok(gates.reset_gate(renewal.clone())).await;
    assert_eq!(ok(gates.reset_gate(renewal)).await, renewed);
    let rejection = RejectRequest { request_id: id("reject"), ..reject("a") };
    let rejected = ok(gates.reject(rejection.clone())).await;
    assert_eq!(ok(gates.reject(rejection)).await, rejected);

    assert_eq!(ok(gates.approve(approval)).await, approved);
    assert_eq!(ok(gates.create_gate(creation)).await, created);
    assert_eq!(ok(gates.get_gate(get("a"))).await, rejected);
    assert_eq!(ok(gates.list_events(history("a"))).await.events.len(), 4);
}

#[tokio::test]
async fn a_group_is_reset_as_a_whole_and_nothing_beside_it() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    for name in ["run-1/test", "run-1/deploy", "run-10/deploy"] {
        ok(gates.create_gate(create(name))).await;
        ok(gates.approve(approve(name))).await;
    }
    let request = ResetGatesRequest { request_id: "again".into(), ..reset_group("run-1") };
    let first = ok(gates.reset_gates(request.clone())).await.gates;
    assert_eq!(names(&first), ["run-1/deploy", "run-1/test"]);
    assert!(first.iter().all(|gate| (gate.round, gate.status()) == (2, GateStatus::Pending)));
    assert_eq!(ok(gates.reset_gates(request)).await.gates, first);
    assert_eq!(ok(gates.list_gates(list("run-1"))).await.gates, first);
    assert_eq!(ok(gates.get_gate(get("run-10/deploy"))).await.status(), GateStatus::Approved);
}

#[tokio::test]
async fn the_history_is_read_by_gate_and_by_group_oldest_first() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    for name in ["g/a", "g/b", "other"] {
        ok(gates.create_gate(create(name))).await;
    }
    ok(gates.approve(approve("g/b"))).await;
    ok(gates.reject(reject("g/a"))).await;
    let last = ok(gates.reset_gate(reset("g/b"))).await;

    let of_gate = ok(gates.list_events(history("g/b"))).await.events;
    assert_eq!(types(&of_gate), [EventType::Created, EventType::Resolved, EventType::Reset]);
    assert_eq!(of_gate[2].gate.as_ref(), Some(&last));
    let reset = (of_gate[2].revision, of_gate[2].round, of_gate[2].actor.as_str(), of_gate[2].time);
    assert_eq!(reset, (last.revision, 2, "anonymous", last.update_time));

    let group = ListEventsRequest { prefix: "g".into(), ..ListEventsRequest::default() };
    let of_group = ok(gates.list_events(group.clone())).await.events;
    let told: Vec<_> = of_group.iter().map(|event| (event.name.as_str(), event.r#type())).collect();
    let (created, resolved) = (EventType::Created, EventType::Resolved);
    let (a, b) = ("g/a", "g/b");
    assert_eq!(told, [(a, created), (b, created), (b, resolved), (a, resolved), (b, EventType::Reset)]);
    assert!(of_group.is_sorted_by(|one, next| one.revision < next.revision));
    assert_eq!(ok(gates.list_events(ListEventsRequest::default())).await.events.len(), 6);

    for (request, all) in [(history("g/b"), of_gate), (group, of_group)] {
        let mut request = ListEventsRequest { page_size: 2, ..request };
        let mut paged = Vec::new();
        loop {
            let page = ok(gates.list_events(request.clone())).await;
            assert!(page.events.len() <= 2);
            paged.extend(page.events);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(paged, all);
    }
}

#[tokio::test]
async fn inputs_are_kept_as_they_were_given() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let nested = Struct { fields: [("ok".to_owned(), value(Kind::BoolValue(true)))].into() };
    let fields = [
        ("percent".to_owned(), value(Kind::NumberValue(12.5))),
        ("region".to_owned(), value(Kind::StringValue("größer".into()))),
        ("canary".to_owned(), value(Kind::StructValue(nested))),
    ];
    let inputs = Struct { fields: fields.into() };
    ok(gates.approve(ApproveRequest { inputs: Some(inputs.clone()), ..approve("a") })).await;
    assert_eq!(ok(gates.get_gate(get("a"))).await.resolution.unwrap().inputs, Some(inputs));
}
