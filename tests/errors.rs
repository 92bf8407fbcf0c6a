//! A refusal says why to programs: a code, one `ErrorInfo` and the field that is wrong. It changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod coordinator;

use std::collections::BTreeMap;

use coordinator::*;
use futures_util::future::join_all;
use gatepost::proto::*;
use prost_types::value::Kind;
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt};

/// Stands for a value that a test cannot know beforehand.
const ANY: &str = "*";

/// Checks a refusal against the contract: the code, and exactly one `ErrorInfo` with the reason and this metadata.
fn check(status: &Status, code: Code, reason: &str, metadata: &[(&str, &str)]) {
    assert_eq!(status.code(), code, "{reason}: {status:?}");
    assert!(!status.message().is_empty(), "{reason} has no message");
    let details = status.get_error_details_vec();
    let infos: Vec<_> = details.iter().filter(|detail| matches!(detail, ErrorDetail::ErrorInfo(_))).collect();
    let [ErrorDetail::ErrorInfo(info)] = infos[..] else { panic!("{reason}: {details:?}") };
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("gatepost", reason));
    let expected: BTreeMap<_, _> = metadata.iter().copied().collect();
    let told = info.metadata.iter().map(|(key, value)| match expected.get(key.as_str()) {
        Some(&ANY) => (key.as_str(), ANY),
        _ => (key.as_str(), value.as_str()),
    });
    assert_eq!(told.collect::<BTreeMap<_, _>>(), expected, "{reason}");
    let is_alone = details.len() == 1;
    assert_eq!(is_alone, code != Code::InvalidArgument, "{reason}: {details:?}");
}

/// Checks a refusal of a request that can never be right: the field at fault is named for programs and people.
fn check_field(status: &Status, reason: &str, field: &str) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{status:?}"));
    assert_eq!(info.metadata.get("field").map(String::as_str), Some(field), "{status:?}");
    let metadata: Vec<_> = info.metadata.keys().map(|key| (key.as_str(), ANY)).collect();
    check(status, Code::InvalidArgument, reason, &metadata);
    let violations = status.get_details_bad_request().expect("a BadRequest").field_violations;
    let [violation] = &violations[..] else { panic!("{violations:?}") };
    assert_eq!(violation.field, field);
    assert!(!violation.description.is_empty());
}

#[tokio::test]
async fn each_refusal_has_its_code_its_reason_and_its_values() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let subject = Subject { uri: "oci://app".into(), digest: "sha256:1f".into() };
    let spec = Spec { subject: Some(subject), ..Spec::default() };
    ok(gates.create_gate(CreateGateRequest { spec: Some(spec.clone()), ..create("open") })).await;
    let reset_once = ok(gates.reset_gate(reset("open"))).await;
    ok(gates.create_gate(create("done"))).await;
    let done = ok(gates.approve(ApproveRequest { on_behalf_of: "alice".into(), ..approve("done") })).await;
    let (done, revision) = (done.resolution.unwrap(), done.revision.to_string());
    let time = done.time.unwrap().to_string();

    let missing = [("gate", "missing")];
    for status in [
        refused(gates.get_gate(get("missing"))).await,
        refused(gates.delete_gate(delete("missing"))).await,
        refused(gates.approve(approve("missing"))).await,
        refused(gates.reject(reject("missing"))).await,
        refused(gates.reset_gate(reset("missing"))).await,
        refused(gates.report_evidence(report("missing", &[("a", "b")]))).await,
        refused(gates.list_events(history("missing"))).await,
        stream_refused(gates.wait(wait("missing"))).await,
    ] {
        check(&status, Code::NotFound, "GATE_NOT_FOUND", &missing);
    }

    let no_round = [("gate", "open"), ("round", "7"), ("current_round", "2")];
    let status = refused(gates.get_gate(GetGateRequest { round: 7, ..get("open") })).await;
    check(&status, Code::NotFound, "ROUND_NOT_FOUND", &no_round);

    let other = Spec { title: "other".into(), ..within_ms(1000) };
    let differs = [("gate", "done"), ("fields", "timeout,title")];
    let status = refused(gates.create_gate(CreateGateRequest { spec: Some(other.clone()), ..create("done") })).await;
    check(&status, Code::AlreadyExists, "GATE_EXISTS", &differs);
    let status = stream_refused(gates.wait(wait_with("done", other))).await;
    check(&status, Code::FailedPrecondition, "SPEC_CONFLICT", &differs);

    let winner = [
        ("gate", "done"),
        ("status", "APPROVED"),
        ("round", "1"),
        ("cause", "DECISION"),
        ("by", "anonymous"),
        ("on_behalf_of", "alice"),
        ("time", &time),
        ("revision", &revision),
    ];
    for status in [
        refused(gates.approve(approve("done"))).await,
        refused(gates.reject(reject("done"))).await,
        refused(gates.report_evidence(report("done", &[("a", "b")]))).await,
    ] {
        check(&status, Code::FailedPrecondition, "GATE_ALREADY_RESOLVED", &winner);
    }

    let next_round = [("gate", "open"), ("round", "1"), ("next_round", "2")];
    let status = stream_refused(gates.wait(WaitRequest { round: 1, ..wait("open") })).await;
    check(&status, Code::FailedPrecondition, "ROUND_RESET", &next_round);

    let etag = "1-stale".to_owned();
    let changed = [("gate", "open"), ("etag", reset_once.etag.as_str())];
    for status in [
        refused(gates.approve(ApproveRequest { etag: etag.clone(), ..approve("open") })).await,
        refused(gates.reject(RejectRequest { etag: etag.clone(), ..reject("open") })).await,
        refused(gates.delete_gate(DeleteGateRequest { etag, ..delete("open") })).await,
    ] {
        check(&status, Code::Aborted, "ETAG_MISMATCH", &changed);
    }

    let rounds = [("gate", "open"), ("round", "1"), ("current_round", "2")];
    let digests = [("gate", "open"), ("subject_digest", "sha256:2e"), ("current_digest", "sha256:1f")];
    let subject_digest = "sha256:2e".to_owned();
    for (status, reason, metadata) in [
        (refused(gates.approve(ApproveRequest { round: 1, ..approve("open") })).await, "ROUND_MISMATCH", rounds),
        (refused(gates.reject(RejectRequest { round: 1, ..reject("open") })).await, "ROUND_MISMATCH", rounds),
        (
            refused(gates.approve(ApproveRequest { subject_digest: subject_digest.clone(), ..approve("open") })).await,
            "SUBJECT_CHANGED",
            digests,
        ),
        (refused(gates.reject(RejectRequest { subject_digest, ..reject("open") })).await, "SUBJECT_CHANGED", digests),
    ] {
        check(&status, Code::Aborted, reason, &metadata);
    }
    assert_eq!(ok(gates.get_gate(get("open"))).await, reset_once);
}

#[tokio::test]
async fn a_decision_on_what_was_looked_at_is_accepted() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let subject = Subject { uri: String::new(), digest: "sha256:1f".into() };
    let spec = Spec { subject: Some(subject), ..Spec::default() };
    let seen = ok(gates.create_gate(CreateGateRequest { spec: Some(spec), ..create("a") })).await;
    let request = ApproveRequest { round: 1, etag: seen.etag, subject_digest: "sha256:1f".into(), ..approve("a") };
    let approved = ok(gates.approve(request)).await;
    assert_eq!(approved.status(), GateStatus::Approved);
    ok(gates.delete_gate(DeleteGateRequest { etag: approved.etag, ..delete("a") })).await;
}

#[tokio::test]
async fn an_id_of_another_request_is_refused() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(CreateGateRequest { request_id: "1".into(), ..create("a") })).await;
    for status in [
        refused(gates.create_gate(CreateGateRequest { request_id: "1".into(), ..create("b") })).await,
        refused(gates.approve(ApproveRequest { request_id: "1".into(), ..approve("a") })).await,
        refused(gates.reset_gate(ResetGateRequest { request_id: "1".into(), ..reset("a") })).await,
        refused(gates.reset_gates(ResetGatesRequest { request_id: "1".into(), ..reset_group("a") })).await,
    ] {
        check_field(&status, "REQUEST_ID_REUSED", "request_id");
    }
    assert_eq!(ok(gates.list_events(ListEventsRequest::default())).await.events.len(), 1);
}

#[tokio::test]
async fn an_argument_that_can_never_be_right_is_named() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let gate = ok(gates.create_gate(create("a"))).await;
    let long = |bytes| "x".repeat(bytes);
    let text = prost_types::Value { kind: Some(Kind::StringValue(long(16 * 1024))) };
    let inputs = Some(Struct { fields: [("text".to_owned(), text)].into() });
    let waiter = |waiter| WaitRequest { waiter: Some(waiter), ..wait("a") };
    let id_of = |request_id: &str| ResetGateRequest { request_id: request_id.into(), ..reset("a") };
    let both = WatchRequest { initial_state: true, start_revision: 1, ..watch("") };

    for (status, field) in [
        (refused(gates.approve(ApproveRequest { comment: long(2049), ..approve("a") })).await, "comment"),
        (refused(gates.approve(ApproveRequest { on_behalf_of: long(256), ..approve("a") })).await, "on_behalf_of"),
        (refused(gates.approve(ApproveRequest { inputs, ..approve("a") })).await, "inputs"),
        (refused(gates.reject(RejectRequest { reason: long(2049), ..reject("a") })).await, "reason"),
        (refused(gates.reject(RejectRequest { on_behalf_of: long(256), ..reject("a") })).await, "on_behalf_of"),
        (refused(gates.reset_gate(id_of(&long(129)))).await, "request_id"),
        (refused(gates.reset_gate(id_of("one two"))).await, "request_id"),
        (refused(gates.reset_gate(id_of("é"))).await, "request_id"),
        (refused(gates.list_gates(ListGatesRequest { statuses: vec![0], ..list("") })).await, "statuses"),
        (refused(gates.list_gates(ListGatesRequest { statuses: vec![99], ..list("") })).await, "statuses"),
        (refused(gates.list_gates(ListGatesRequest { page_token: "//".into(), ..list("") })).await, "page_token"),
        (refused(gates.list_events(ListEventsRequest { page_token: "x".into(), ..history("a") })).await, "page_token"),
        (refused(gates.list_events(ListEventsRequest { prefix: "a".into(), ..history("a") })).await, "prefix"),
        (stream_refused(gates.watch(both)).await, "start_revision"),
        (stream_refused(gates.watch(WatchRequest { statuses: vec![-1], ..watch("") })).await, "statuses"),
        (stream_refused(gates.wait(waiter(Waiter { id: long(256), ..Waiter::default() }))).await, "waiter.id"),
        (stream_refused(gates.wait(waiter(Waiter { host: long(256), ..Waiter::default() }))).await, "waiter.host"),
        (stream_refused(gates.wait(waiter(Waiter { note: long(256), ..Waiter::default() }))).await, "waiter.note"),
    ] {
        check_field(&status, "INVALID_ARGUMENT", field);
    }
    assert_eq!(ok(gates.get_gate(get("a"))).await, gate);
}

#[tokio::test]
async fn inputs_that_a_client_could_not_read_back_are_refused() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let nested = |levels| {
        let inner = value(Kind::BoolValue(true));
        (1..levels).fold(inner, |inner, _| value(Kind::ListValue(prost_types::ListValue { values: vec![inner] })))
    };
    let approval = |value| {
        let inputs = Some(Struct { fields: [("x".to_owned(), value)].into() });
        ApproveRequest { inputs, ..approve("a") }
    };
    for unreadable in [
        nested(25),
        prost_types::Value { kind: None },
        value(Kind::NumberValue(f64::NAN)),
        value(Kind::NumberValue(f64::INFINITY)),
    ] {
        check_field(&refused(gates.approve(approval(unreadable))).await, "INVALID_ARGUMENT", "inputs");
    }
    ok(gates.approve(approval(nested(24)))).await;
    assert_eq!(ok(gates.list_gates(list(""))).await.gates.len(), 1);
}

#[tokio::test]
async fn the_largest_revision_is_the_end_of_every_history() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let page_token = u64::MAX.to_string();
    for request in [history(""), history("a")] {
        let page = ok(gates.list_events(ListEventsRequest { page_token: page_token.clone(), ..request })).await;
        assert_eq!((page.events.len(), page.next_page_token.as_str()), (0, ""));
    }
}

#[tokio::test]
async fn a_spec_out_of_bounds_creates_nothing() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let link = |url: &str| vec![Link { title: String::new(), url: url.into() }];
    let negative = gatepost::proto::Duration { seconds: -1, nanos: 0 };
    for (spec, field) in [
        (within_ms(0), "spec.timeout"),
        (Spec { timeout: Some(negative), ..Spec::default() }, "spec.timeout"),
        (Spec { title: "x".repeat(257), ..Spec::default() }, "spec.title"),
        (Spec { labels: [("a b".to_owned(), String::new())].into(), ..Spec::default() }, "spec.labels"),
        (Spec { links: link("javascript:alert(1)"), ..Spec::default() }, "spec.links.url"),
        (Spec { required_approvals: 17, ..Spec::default() }, "spec.required_approvals"),
        (Spec { approvers: vec!["group:".into()], ..Spec::default() }, "spec.approvers"),
        (Spec { approvers: vec!["a".into(); 2], ..Spec::default() }, "spec.approvers"),
        (Spec { min_wait: Some(negative), ..Spec::default() }, "spec.min_wait"),
        (Spec { on_timeout: 9, ..within_ms(1000) }, "spec.on_timeout"),
        (Spec { on_timeout: OnTimeout::Approve.into(), ..Spec::default() }, "spec.on_timeout"),
    ] {
        let request = CreateGateRequest { spec: Some(spec.clone()), ..create("a") };
        check_field(&refused(gates.create_gate(request)).await, "INVALID_SPEC", field);
        check_field(&stream_refused(gates.wait(wait_with("a", spec))).await, "INVALID_SPEC", field);
    }
    assert_eq!(ok(gates.list_gates(list(""))).await.gates, []);
}

#[tokio::test]
async fn a_bad_name_is_refused_everywhere_and_leaves_the_store_as_it_was() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let before = ok(gates.list_gates(list(""))).await;
    let long = ["x".repeat(64), "x".repeat(300), ["x".repeat(59).as_str(); 5].join("/"), "a/".repeat(8) + "a"];
    let bad = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "./a",
        "-a",
        "_a",
        "a/.b",
        "a b",
        " a",
        "a\0",
        "\0",
        "a\0b",
        "a\n",
        "a\tb",
        "a\x1b[31m",
        "a\x7f",
        "a\u{202e}b",
        "a\u{2066}b",
        "\u{200f}a",
        "a\u{200b}",
        "\u{feff}a",
        "é",
        "e\u{301}",
        "а",
        "a\u{ff0f}b",
        "日本",
        "🦀",
        "a\\b",
        "a:b",
        "a*",
        "a?b=c",
        "a%2fb",
        "%2e%2e",
        "a;b",
        "$(a)",
        "'a'",
        "<b>",
        "a@b",
        "~",
        "a+b",
    ];
    for name in bad.iter().copied().chain(long.iter().map(String::as_str)) {
        let refusals = [
            refused(gates.create_gate(create(name))).await,
            refused(gates.get_gate(get(name))).await,
            refused(gates.delete_gate(delete(name))).await,
            refused(gates.approve(approve(name))).await,
            refused(gates.reject(reject(name))).await,
            refused(gates.reset_gate(reset(name))).await,
            refused(gates.report_evidence(report(name, &[("a", "b")]))).await,
            stream_refused(gates.wait(wait_with(name, Spec::default()))).await,
        ];
        for status in refusals {
            check_field(&status, "INVALID_NAME", "gate");
        }
        // A single `/` at the end of a prefix is welcome, and an empty one stands for all gates where that does no harm.
        if !["", "a/"].contains(&name) {
            for status in [
                refused(gates.list_gates(list(name))).await,
                refused(gates.reset_gates(reset_group(name))).await,
                stream_refused(gates.watch(watch(name))).await,
            ] {
                check_field(&status, "INVALID_NAME", "prefix");
            }
        }
    }
    check_field(&refused(gates.reset_gates(reset_group(""))).await, "INVALID_NAME", "prefix");
    assert_eq!(ok(gates.list_gates(list(""))).await.gates, before.gates);
    assert_eq!(ok(gates.list_events(ListEventsRequest::default())).await.events.len(), 1);
}

#[tokio::test]
async fn a_group_that_is_too_large_is_not_reset_at_all() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let creations = (0..=160).map(|number| {
        let mut gates = gates.clone();
        async move { ok(gates.create_gate(create(&format!("g/{number}")))).await }
    });
    let created = join_all(creations).await;
    let status = refused(gates.reset_gates(reset_group("g"))).await;
    check(&status, Code::ResourceExhausted, "LIMIT_EXCEEDED", &[("limit", "160"), ("what", "gates in one reset")]);
    let request = ListGatesRequest { page_size: 1000, ..list("g") };
    let gates_after = ok(gates.list_gates(request)).await.gates;
    assert_eq!(gates_after.len(), created.len());
    assert!(gates_after.iter().all(|gate| gate.round == 1));

    ok(gates.delete_gate(delete("g/0"))).await;
    assert_eq!(ok(gates.reset_gates(reset_group("g"))).await.gates.len(), 160);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_and_the_next_is_served() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let spec = Spec { description: "x".repeat(1024 * 1024), ..Spec::default() };
    let status = refused(gates.create_gate(CreateGateRequest { spec: Some(spec.clone()), ..create("a") })).await;
    check(&status, Code::ResourceExhausted, "LIMIT_EXCEEDED", &[("limit", "131072"), ("what", "bytes in one request")]);
    stream_refused(gates.wait(wait_with("a", spec))).await;
    assert_eq!(ok(gates.list_gates(list(""))).await.gates, []);
    assert_eq!(ok(gates.create_gate(create("a"))).await.round, 1);
}
