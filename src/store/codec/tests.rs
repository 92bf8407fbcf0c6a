//! Tests of the codec: golden bytes, round trips, and bytes that cannot be read.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample;

use super::*;
use crate::domain::{Group, limits};
use crate::store::{DeadLetter, Outbox, Topic};

mod any;

use any::any_event;

/// The revision that the golden events were committed at.
const REVISION: Revision = Revision(42);

/// Golden bytes, and what they say. The bytes were written once, and are never written again.
macro_rules! golden {
    ($file:literal, $event:expr) => {
        (include_bytes!(concat!("../../../tests/golden/", $file)).as_slice(), $event)
    };
}

#[test]
fn golden_events_are_read_and_written() {
    let approved_before = Resolution { revision: Revision(41), ..resolution(Cause::Decision) };
    let golden = [
        golden!("event-created-v1.bin", event(EventKind::Created, Status::Approved, resolution(Cause::AutoApprove))),
        golden!("event-waiting-v1.bin", event(EventKind::Waiting, Status::Waiting, None)),
        golden!("event-voted-v1.bin", event(EventKind::Voted, Status::Waiting, None)),
        golden!("event-resolved-v1.bin", event(EventKind::Resolved, Status::Rejected, resolution(Cause::Decision))),
        golden!("event-timed-out-v1.bin", timed_out()),
        golden!("event-reset-v1.bin", event(EventKind::Reset, Status::Pending, None)),
        golden!("event-deleted-v1.bin", event(EventKind::Deleted, Status::Approved, approved_before)),
        golden!("event-evidence-v1.bin", evidence_reported()),
        golden!("event-settled-v1.bin", settled()),
        golden!("event-cancelled-v1.bin", event(EventKind::Deleted, Status::Rejected, resolution(Cause::Cancelled))),
        golden!("event-break-glass-v1.bin", glass_broken()),
    ];
    for (bytes, event) in golden {
        assert_eq!(encode_event(&event).unwrap(), bytes, "{:?}", event.kind);
        let stamped = event.stamped(REVISION);
        assert_eq!(decode_event(REVISION, bytes).unwrap(), stamped);
        assert_eq!(encode_event(&stamped).unwrap(), bytes, "stamping is no part of the record");
    }
}

#[test]
fn golden_answers_are_read_and_written() {
    let bytes = include_bytes!("../../../tests/golden/request-v1.bin").as_slice();
    let answer = Answer { fingerprint: [0xa5; 32], revisions: vec![Revision(42), Revision(u64::MAX)], time: at(9) };
    assert_eq!(encode_answer(&answer.fingerprint, &answer.revisions, at(9)).unwrap(), bytes);
    assert_eq!(decode_answer("the request", bytes).unwrap(), answer);
}

#[test]
fn golden_records_of_webhooks_are_read_and_written() {
    let bytes = include_bytes!("../../../tests/golden/outbox-v1.bin").as_slice();
    let outbox = Outbox { place: Revision(42), warned: at(9), next_letter: 300 };
    assert_eq!(encode_outbox(&outbox).unwrap(), bytes);
    assert_eq!(decode_outbox("it", bytes).unwrap(), outbox);

    let bytes = include_bytes!("../../../tests/golden/dead-letter-v1.bin").as_slice();
    let letter = DeadLetter {
        number: 299,
        message_id: "0b8c4a3e-42-resolved".to_owned(),
        topic: Topic::Resolved,
        gate: GateName::parse("gate", "release-42/prod").unwrap(),
        round: Round::FIRST,
        revision: Revision(42),
        attempts: 17,
        problem: "HTTP 500".to_owned(),
        time: at(9),
    };
    assert_eq!(encode_dead_letter(&letter).unwrap(), bytes);
    assert_eq!(decode_dead_letter("it", 299, bytes).unwrap(), letter);
    for topic in Topic::ALL {
        let letter = DeadLetter { topic, ..letter.clone() };
        assert_eq!(decode_dead_letter("it", 299, &encode_dead_letter(&letter).unwrap()).unwrap(), letter);
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let problem = |bytes: &[u8]| match decode_event(REVISION, bytes) {
        Err(Error::Corrupt { place, problem }) => {
            assert_eq!(place, "event 42");
            problem
        }
        other => panic!("{other:?}"),
    };
    let spoiled = |spoil: &dyn Fn(&mut record::Event, &mut record::Gate)| {
        let bytes = encode_event(&event(EventKind::Resolved, Status::Approved, resolution(Cause::Decision))).unwrap();
        let mut event = record::Event::decode(&bytes[1..]).unwrap();
        let mut gate = event.gate.take().unwrap();
        spoil(&mut event, &mut gate);
        event.gate = Some(gate);
        problem(&encode(&event).unwrap())
    };

    assert_eq!(problem(&[]), "it is empty");
    assert_eq!(problem(&[0, 1]), "there is no format 0");
    assert_eq!(problem(&[2]), "it was written by a newer gatepost, in format 2; this one reads format 1");
    assert!(problem(&[1, 0xff]).contains("Protobuf"));
    assert_eq!(problem(&[1, 8, 1]), "it has no gate");
    assert!(spoiled(&|event, _| event.kind = 99).contains("the kind of event 99"));
    assert!(spoiled(&|event, _| event.kind = 0).contains("the kind of event 0"));
    assert!(spoiled(&|event, _| event.actor = "\n".into()).contains("principal"));
    assert!(spoiled(&|_, gate| gate.status = 99).contains("the status 99"));
    assert!(spoiled(&|_, gate| gate.status = 1).contains("PENDING"));
    assert!(spoiled(&|_, gate| gate.resolution = None).contains("APPROVED"));
    assert!(spoiled(&|_, gate| gate.resolution.as_mut().unwrap().cause = 6).contains("the cause 6"));
    assert!(spoiled(&|_, gate| gate.name = "a//b".into()).contains("empty segment"));
    assert!(spoiled(&|_, gate| gate.uid.clear()).contains("uid"));
    assert!(spoiled(&|_, gate| gate.round = 0).contains("round"));
    assert!(spoiled(&|_, gate| gate.spec = None).contains("spec"));
    assert!(spoiled(&|_, gate| gate.requester.clear()).contains("principal"));
    assert!(spoiled(&|_, gate| gate.votes[0].authentication = 9).contains("the authentication 9"));
    assert!(spoiled(&|_, gate| gate.spec.as_mut().unwrap().on_timeout = 9).contains("the end of a timeout 9"));
    assert!(spoiled(&|_, gate| gate.spec.as_mut().unwrap().approvers = vec!["group:".into()]).contains("group"));
    assert!(spoiled(&|_, gate| gate.votes.push(gate.votes[0].clone())).contains("two votes of alice"));

    let short = encode(&record::Request { fingerprint: vec![1; 31], ..record::Request::default() }).unwrap();
    let error = decode_answer("the request", &short).unwrap_err();
    assert!(error.to_string().contains("the request cannot be read: its fingerprint has 31 bytes"), "{error}");
}

#[test]
fn the_largest_gate_fits_a_record() {
    let text = |bytes| "x".repeat(bytes);
    let largest_principal = |number: usize| principal_of(&format!("{number:0>width$}", width = Principal::BYTES_MAX));
    let largest_party = |number: usize| {
        Party::parse("approvers", &format!("group:{number:0>width$}", width = Group::BYTES_MAX)).unwrap()
    };
    let label =
        |number: usize| (format!("{number:0>width$}", width = limits::LABEL_KEY_MAX), text(limits::LABEL_VALUE_MAX));
    let vote = |number: u32| Vote {
        voter: largest_principal(number as usize),
        verdict: Verdict::Approve,
        comment: text(limits::COMMENT_MAX),
        on_behalf_of: text(limits::ON_BEHALF_OF_MAX),
        authentication: Authentication::Jwt,
        time: at(u64::from(u32::MAX)),
    };
    let largest_link = Link { title: text(limits::LINK_TITLE_MAX), url: text(limits::URL_MAX) };
    let spec = Spec {
        timeout: Some(limits::TIMEOUT_MAX),
        title: text(limits::TITLE_MAX),
        description: text(limits::DESCRIPTION_MAX),
        labels: (0..limits::LABELS_MAX_COUNT).map(label).collect(),
        links: vec![largest_link; limits::LINKS_MAX_COUNT],
        required_approvals: limits::REQUIRED_APPROVALS_MAX,
        subject: Some(Subject { uri: text(limits::URL_MAX), digest: text(limits::DIGEST_MAX) }),
        approvers: (0..limits::APPROVERS_MAX_COUNT).map(largest_party).collect(),
        ..spec()
    };
    let resolution = Resolution {
        by: Some(largest_principal(0)),
        on_behalf_of: text(limits::ON_BEHALF_OF_MAX),
        reason: text(limits::COMMENT_MAX),
        inputs: Inputs(vec![0xff; limits::INPUTS_MAX]),
        ..resolution(Cause::Decision)
    };
    let mut event = event(EventKind::Resolved, Status::Approved, resolution);
    event.actor = Some(largest_principal(0));
    event.gate.name = GateName::parse("gate", &vec![text(GateName::SEGMENT_BYTES_MAX); 4].join("/")).unwrap();
    event.gate.requester = largest_principal(0);
    event.gate.first_waiter = Some(largest_principal(0));
    event.gate.spec = Arc::new(spec);
    let fact = |number| (label(number).0, text(limits::FACT_VALUE_MAX));
    event.gate.evidence = (0..limits::FACTS_MAX_COUNT).map(fact).collect();
    // A rejection can come on top of all approvals but the last.
    event.gate.votes = (0..limits::REQUIRED_APPROVALS_MAX).map(vote).collect();

    let bytes = encode_event(&event).unwrap().len();
    assert!((64 * 1024..112 * 1024).contains(&bytes), "{bytes}");
}

#[test]
fn a_record_too_long_is_refused() {
    let mut event = event(EventKind::Created, Status::Pending, None);
    event.gate.spec = Arc::new(Spec { title: "x".repeat(RECORD_BYTES_MAX), ..Spec::default() });
    assert!(matches!(encode_event(&event), Err(Error::TooLarge { bytes, bytes_max }) if bytes > bytes_max));
    let revisions = vec![Revision(u64::MAX); 20_000];
    assert!(matches!(encode_answer(&[0; 32], &revisions, at(0)), Err(Error::TooLarge { .. })));
    assert!(encode_answer(&[0; 32], &revisions[..10_000], at(0)).is_ok());
}

#[test]
fn times_that_cannot_be_written_become_the_nearest() {
    assert_eq!(nanos(UNIX_EPOCH - Duration::from_secs(1)), 0);
    assert_eq!(nanos(UNIX_EPOCH + Duration::from_secs(1 << 40)), u64::MAX);
    assert_eq!(nanos(time(u64::MAX)), u64::MAX);
}

proptest! {
    #[test]
    fn events_survive(event in any_event(), revision in 2_000_u64..) {
        let bytes = encode_event(&event).unwrap();
        prop_assert_eq!(decode_event(Revision(revision), &bytes).unwrap(), event.stamped(Revision(revision)));
    }

    #[test]
    fn events_survive_as_json(event in any_event()) {
        let text = json::write_event(&event).unwrap().to_string();
        prop_assert_eq!(json::read_event(serde_json::from_str(&text).unwrap()).unwrap(), event);
    }

    #[test]
    fn damaged_events_are_read_or_refused(event in any_event(), place: sample::Index, byte: u8, cut: bool) {
        let mut bytes = encode_event(&event).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if cut {
            bytes.truncate(place);
        }
        let _: Result<_, _> = decode_event(REVISION, &bytes);
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::new(1_750_000_000 + seconds, 123_456_789)
}

fn principal_of(text: &str) -> Principal {
    Principal::parse(text).unwrap()
}

fn spec() -> Spec {
    Spec {
        timeout: Some(Duration::new(90, 1)),
        auto_approve: true,
        title: "Ship 42?".into(),
        description: "Every test passed.\nGrüße".into(),
        labels: BTreeMap::from([("team".into(), "core".into()), ("a/b".into(), String::new())]),
        links: vec![Link { title: "run".into(), url: "https://ci.example/42".into() }],
        required_approvals: 2,
        subject: Some(Subject { uri: "oci://example/app".into(), digest: "sha256:ab".into() }),
        ..Spec::default()
    }
}

fn resolution(cause: Cause) -> Resolution {
    Resolution {
        cause,
        by: Some(principal_of("alice")),
        authentication: Some(Authentication::Anonymous),
        on_behalf_of: "the team".into(),
        reason: "it is fine".into(),
        inputs: Inputs(vec![10, 0]),
        time: at(4),
        revision: Revision::ZERO,
    }
}

fn by_nobody(cause: Cause) -> Resolution {
    Resolution { by: None, authentication: None, ..resolution(cause) }
}

/// A gate with every field set that gates had before identities, after an event at 4 s.
fn event(kind: EventKind, status: Status, resolution: impl Into<Option<Resolution>>) -> Event {
    let vote = |voter, verdict| Vote {
        voter: principal_of(voter),
        verdict,
        comment: "it is fine".into(),
        on_behalf_of: "the team".into(),
        authentication: Authentication::Anonymous,
        time: at(3),
    };
    let gate = Gate {
        name: GateName::parse("gate", "release-42/prod").unwrap(),
        uid: Uid("3f0c9f2e-uid".into()),
        round: Round::new(3).unwrap(),
        status,
        spec: Arc::new(spec()),
        votes: vec![vote("alice", Verdict::Approve), vote("bob", Verdict::Reject)],
        evidence: BTreeMap::new(),
        resolution: resolution.into(),
        requester: principal_of("ci"),
        create_time: at(1),
        update_time: at(4),
        wait_time: Some(at(2)),
        first_waiter: None,
        deadline: Some(at(92)),
        revision: Revision::ZERO,
    };
    Event { kind, actor: Some(principal_of("alice")), time: at(4), gate }
}

fn timed_out() -> Event {
    let resolution = Resolution { inputs: Inputs::default(), ..by_nobody(Cause::Timeout) };
    Event { actor: None, ..event(EventKind::Resolved, Status::TimedOut, resolution) }
}

/// All that says who decides a gate, when, and how it was verified who they are.
fn glass_broken() -> Event {
    let by_jwt = Some(Authentication::Jwt);
    let resolution = Resolution { authentication: by_jwt, ..resolution(Cause::BreakGlass) };
    let mut event = event(EventKind::Resolved, Status::Approved, resolution);
    event.gate.first_waiter = Some(principal_of("spiffe://prod/worker"));
    event.gate.votes[0].authentication = Authentication::Certificate;
    event.gate.votes[1].authentication = Authentication::Token;
    let approvers = ["alice", "group:release-managers"].map(|text| Party::parse("approvers", text).unwrap());
    event.gate.spec = Arc::new(Spec {
        approvers: approvers.into(),
        forbid_requester: Some(true),
        min_wait: Some(Duration::new(30, 2)),
        on_timeout: OnTimeout::Reject,
        ..spec()
    });
    event
}

fn evidence_reported() -> Event {
    let mut event = event(EventKind::EvidenceReported, Status::Waiting, None);
    event.gate.evidence = BTreeMap::from([("tests".into(), "passed".into()), ("coverage".into(), String::new())]);
    event
}

fn settled() -> Event {
    let resolution = Resolution { reason: "tests-passed".into(), ..by_nobody(Cause::Policy) };
    Event { actor: None, ..event(EventKind::Resolved, Status::Approved, resolution) }
}
