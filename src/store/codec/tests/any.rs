//! Any event that can be written, for the round trips.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::{option, sample};

use super::*;

pub(super) fn any_event() -> impl Strategy<Value = Event> {
    use EventKind::*;
    let kind = sample::select(vec![Created, Waiting, Voted, EvidenceReported, Resolved, Reset, Deleted]);
    (kind, option::of(any_principal()), any_time(), any_gate()).prop_map(|(kind, actor, time, gate)| Event {
        kind,
        actor,
        time,
        gate,
    })
}

fn any_gate() -> impl Strategy<Value = Gate> {
    let who = ("[A-Z0-9][a-z._-]{0,9}(/[a-z0-9][A-Z.-]{0,9}){0,7}", "[a-z0-9-]{1,36}", 1..u32::MAX);
    let vote = (any::<bool>(), any::<String>(), any::<String>(), any_authentication(), any_time());
    let votes = btree_map(any_principal(), vote, 0..5);
    let times = (any_time(), any_time(), option::of((any_time(), option::of(any_principal()))), option::of(any_time()));
    let status = sample::select(Status::ALL.to_vec());
    let evidence = btree_map(any::<String>(), any::<String>(), 0..4);
    (who, any_spec(), (votes, evidence), any_principal(), times, status, any_resolution()).prop_map(
        |((name, uid, round), spec, (votes, evidence), requester, times, status, resolution)| Gate {
            name: GateName::parse("gate", &name).unwrap(),
            uid: Uid(uid),
            round: Round::new(round).unwrap(),
            status,
            spec: Arc::new(spec),
            votes: votes.into_iter().map(any_vote).collect(),
            evidence,
            resolution: status.is_terminal().then_some(resolution),
            requester,
            create_time: times.0,
            update_time: times.1,
            wait_time: times.2.as_ref().map(|(time, _)| *time),
            first_waiter: times.2.and_then(|(_, waiter)| waiter),
            deadline: times.3,
            revision: Revision::ZERO,
        },
    )
}

fn any_vote((voter, vote): (Principal, (bool, String, String, Authentication, SystemTime))) -> Vote {
    let (approve, comment, on_behalf_of, authentication, time) = vote;
    let verdict = if approve { Verdict::Approve } else { Verdict::Reject };
    Vote { voter, verdict, comment, on_behalf_of, authentication, time }
}

fn any_authentication() -> impl Strategy<Value = Authentication> {
    use Authentication::*;
    sample::select(vec![Anonymous, Certificate, Token, Jwt])
}

/// Who has to decide, and when.
fn any_terms() -> impl Strategy<Value = Spec> {
    let party = prop_oneof!["[^\\p{C}\\p{Z}:]{1,60}", "group:[^\\p{C}\\p{Z}]{1,60}"];
    let party = party.prop_map(|text| Party::parse("approvers", &text).unwrap());
    let on_timeout = sample::select(vec![OnTimeout::TimeOut, OnTimeout::Approve, OnTimeout::Reject]);
    let min_wait = option::of(any::<u64>().prop_map(Duration::from_nanos));
    (vec(party, 0..4), option::of(any::<bool>()), min_wait, on_timeout).prop_map(
        |(approvers, forbid_requester, min_wait, on_timeout)| Spec {
            approvers,
            forbid_requester,
            min_wait,
            on_timeout,
            ..Spec::default()
        },
    )
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let link = (any::<String>(), any::<String>()).prop_map(|(title, url)| Link { title, url });
    let subject = (any::<String>(), any::<String>()).prop_map(|(uri, digest)| Subject { uri, digest });
    (
        option::of(any::<u64>().prop_map(Duration::from_nanos)),
        any::<bool>(),
        any::<String>(),
        any::<String>(),
        btree_map(any::<String>(), any::<String>(), 0..4),
        vec(link, 0..4),
        any::<u32>(),
        option::of(subject),
        any_terms(),
    )
        .prop_map(
            |(timeout, auto_approve, title, description, labels, links, required_approvals, subject, terms)| Spec {
                timeout,
                auto_approve,
                title,
                description,
                labels,
                links,
                required_approvals,
                subject,
                ..terms
            },
        )
}

fn any_resolution() -> impl Strategy<Value = Resolution> {
    use Cause::*;
    let cause = sample::select(vec![Decision, AutoApprove, Policy, Timeout, BreakGlass, Cancelled]);
    let by = option::of((any_principal(), any_authentication()));
    (cause, by, any::<String>(), any::<String>(), vec(any::<u8>(), 0..50), any_time(), 0..1_000_u64).prop_map(
        |(cause, by, on_behalf_of, reason, inputs, time, revision)| Resolution {
            cause,
            authentication: by.as_ref().map(|(_, authentication)| *authentication),
            by: by.map(|(by, _)| by),
            on_behalf_of,
            reason,
            inputs: Inputs(inputs),
            time,
            revision: Revision(revision),
        },
    )
}

fn any_principal() -> impl Strategy<Value = Principal> {
    "[^\\p{C}\\p{Z}]{1,60}".prop_map(|text| principal_of(&text))
}

fn any_time() -> impl Strategy<Value = SystemTime> {
    any::<u64>().prop_map(time)
}
