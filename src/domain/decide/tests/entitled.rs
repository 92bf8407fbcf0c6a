//! Who may decide a gate, from when on, and what becomes of it if nobody does.

use super::*;
use crate::domain::{Group, Identity, OnTimeout, Party};

const MIN_WAIT: Duration = Duration::from_secs(20);

fn verified(name: &str, groups: &[&str]) -> Identity {
    let groups = groups.iter().map(|group| Group::parse(group).unwrap()).collect();
    Identity { principal: principal(name), groups, authentication: Authentication::Token }
}

fn approvers(names: &[&str]) -> Vec<Party> {
    names.iter().map(|name| Party::parse("approvers", name).unwrap()).collect()
}

fn yes(voter: &Identity) -> Command {
    Command::Approve(voter.clone().into())
}

fn no(voter: &Identity) -> Command {
    Command::Reject(voter.clone().into())
}

fn wait_by(waiter: &str) -> Command {
    Command::Wait { round: None, uid: None, by: principal(waiter) }
}

fn ruling(gate: &Gate, verdict: Verdict) -> Command {
    Command::Settle(Ruling { rule: "r".into(), verdict, etag: gate.etag() })
}

#[test]
fn approvers_bind_both_verdicts_and_neither_rules_nor_breaking_the_glass() {
    let parties = approvers(&["ann", "group:ops"]);
    let asked = Spec { approvers: parties.clone(), ..spec(1) };
    for before in [gate(asked.clone(), &[]), gate(asked, &[wait()])] {
        let (ann, of_ops, other) = (verified("ann", &[]), verified("bob", &["ops"]), verified("ops", &["dev"]));
        for (command, status) in [(yes as fn(&_) -> _, Status::Approved), (no, Status::Rejected)] {
            assert_eq!(event(&before, &command(&ann), START).gate.status, status);
            assert_eq!(event(&before, &command(&of_ops), START).gate.status, status);
            let refusal =
                Refusal::NotAnApprover { gate: name(), principal: principal("ops"), approvers: parties.clone() };
            assert_eq!(answer(&before, &command(&other), START), Err(refusal));
        }
        assert_eq!(event(&before, &ruling(&before, Verdict::Approve), START).gate.status, Status::Approved);
        assert_eq!(event(&before, &Command::BreakGlass(other.into()), START).gate.status, Status::Approved);
    }
}

#[test]
fn those_who_ask_for_a_gate_may_reject_it_and_approve_it_only_if_they_may() {
    let (anonymous, token) = (Authentication::Anonymous, Authentication::Token);
    for (forbid_requester, authentication, may) in [
        (None, anonymous, true),
        (None, token, false),
        (None, Authentication::Certificate, false),
        (None, Authentication::Jwt, false),
        (Some(true), anonymous, false),
        (Some(true), token, false),
        (Some(false), anonymous, true),
        (Some(false), token, true),
    ] {
        let waiting = gate(Spec { forbid_requester, ..spec(1) }, &[wait()]);
        for (who, asks) in [("requester", true), ("worker", true), ("ann", false)] {
            let voter = Identity { authentication, ..principal(who).into() };
            let own_gate = Refusal::OwnGate { gate: name(), principal: principal(who) };
            match answer(&waiting, &yes(&voter), START) {
                Ok(approved) => assert_eq!(approved.unwrap().gate.status, Status::Approved),
                Err(refusal) => assert_eq!(refusal, own_gate),
            }
            let is_approved = answer(&waiting, &yes(&voter), START).is_ok();
            assert_eq!(is_approved, may || !asks, "{forbid_requester:?}, {authentication:?}, {who}");
            assert_eq!(event(&waiting, &no(&voter), START).gate.status, Status::Rejected);
        }
    }
}

#[test]
fn an_approval_of_whoever_becomes_the_first_waiter_is_taken_back() {
    let (ann, bob) = (verified("ann", &[]), verified("bob", &[]));
    let voted = gate(spec(3), &[yes(&ann), yes(&bob)]);
    assert_eq!(voted.approvals_missing(), 1);
    let waits = |voted: &Gate, waiter| event(voted, &wait_by(waiter), START).stamped(Revision(9)).gate;

    let by_ann = waits(&voted, "ann");
    assert_eq!((by_ann.votes.as_slice(), by_ann.approvals_missing()), (&voted.votes[1..], 2));
    let own_gate = Refusal::OwnGate { gate: name(), principal: principal("ann") };
    assert_eq!(answer(&by_ann, &yes(&ann), START), Err(own_gate));
    // Who joins later asks for nothing.
    assert_eq!(answer(&by_ann, &wait_by("bob"), START), Ok(None));

    assert_eq!(waits(&voted, "cid").votes, voted.votes, "somebody else waits");
    let allowed = gate(Spec { forbid_requester: Some(false), ..spec(3) }, &[yes(&ann)]);
    assert_eq!(waits(&allowed, "ann").votes, allowed.votes, "they may approve it");
    let unverified = gate(spec(3), &[approve("ann")]);
    assert_eq!(waits(&unverified, "ann").votes, unverified.votes, "nobody was verified");
    let resolved = gate(spec(1), &[yes(&ann)]);
    let own = Refusal::OwnApproval { gate: name(), principal: principal("ann") };
    assert_eq!(answer(&resolved, &wait_by("ann"), START), Err(own), "who would be the first to wait");
    assert_eq!(answer(&resolved, &wait_by("bob"), START), Ok(None), "what is resolved stays so");
}

#[test]
fn an_approval_counts_once_the_round_has_waited_for_long_enough() {
    let early = |not_before| Err(Refusal::TooEarly { gate: name(), min_wait: MIN_WAIT, not_before });
    let asked = Spec { min_wait: Some(MIN_WAIT), ..spec(2) };
    let (pending, waiting) = (gate(asked.clone(), &[]), gate(asked, &[wait()]));
    let in_time = START + MIN_WAIT;
    for approval in [|_: &Gate| approve("ann"), |gate: &Gate| ruling(gate, Verdict::Approve)] {
        assert_eq!(answer(&pending, &approval(&pending), in_time), early(None));
        for now in [START, in_time - TICK] {
            assert_eq!(answer(&waiting, &approval(&waiting), now), early(Some(in_time)));
        }
        for now in [in_time, in_time + TICK] {
            assert!(answer(&waiting, &approval(&waiting), now).unwrap().is_some());
        }
    }
    for rejection in [|_: &Gate| reject("ann"), |gate: &Gate| ruling(gate, Verdict::Reject)] {
        assert_eq!(event(&pending, &rejection(&pending), START).gate.status, Status::Rejected);
        assert_eq!(event(&waiting, &rejection(&waiting), START).gate.status, Status::Rejected);
    }
    assert_eq!(event(&waiting, &break_glass("ann"), START).gate.status, Status::Approved);
    let reset = event(&waiting, &reset(), START).gate;
    assert_eq!(answer(&reset, &approve("ann"), in_time), early(None), "each round waits anew");
}

#[test]
fn a_deadline_ends_a_round_as_the_spec_says_and_by_nobody() {
    for (on_timeout, status) in [
        (OnTimeout::TimeOut, Status::TimedOut),
        (OnTimeout::Approve, Status::Approved),
        (OnTimeout::Reject, Status::Rejected),
    ] {
        let waiting = gate(Spec { on_timeout, ..spec(2) }, &[wait(), approve("ann")]);
        let resolution = Some(unattended(Cause::Timeout, deadline()));
        let expected = Gate { status, resolution, ..touched(&waiting, deadline()) };
        assert_eq!(event(&waiting, &Command::Expire, deadline()), of(EventKind::Resolved, None, expected));
        assert_eq!(answer(&waiting, &reject("ann"), deadline()), Err(Refusal::Overdue { gate: name() }));
    }
}

#[test]
fn breaking_the_glass_approves_alone_whatever_the_gate_asks_for() {
    let asked = Spec {
        approvers: approvers(&["bob", "cid"]),
        forbid_requester: Some(true),
        min_wait: Some(MIN_WAIT),
        ..spec(2)
    };
    for before in [gate(asked.clone(), &[]), gate(asked, &[wait_by("requester")])] {
        let resolution = Resolution { reason: "the site is down".into(), ..decision("requester", START) };
        let comment = "the site is down".into();
        let expected = Gate {
            status: Status::Approved,
            votes: vec![Vote { comment, ..vote("requester", Verdict::Approve, START) }],
            resolution: Some(Resolution { cause: Cause::BreakGlass, ..resolution }),
            ..touched(&before, START)
        };
        let broken = event(&before, &break_glass("requester"), START);
        assert_eq!(broken, of(EventKind::Resolved, Some("requester"), expected));
    }
    let voted = gate(spec(3), &[approve("ann"), approve("bob")]);
    let broken = event(&voted, &break_glass("ann"), START).gate;
    let voters: Vec<_> = broken.votes.iter().map(|vote| vote.voter.as_str()).collect();
    assert_eq!(voters, ["bob", "ann"], "it takes the place of one's own vote");
}

#[test]
fn breaking_the_glass_is_about_what_was_looked_at() {
    let (open, decided) = (gate(spec(1), &[reset(), wait()]), gate(spec(1), &[reset(), reject("bob")]));
    let refusal = |gate, ballot: &Ballot| answer(gate, &Command::BreakGlass(ballot.clone()), START).unwrap_err();
    let free = Ballot::from(principal("ann"));
    let other_round = Ballot { round: Some(Round::FIRST), ..free.clone() };
    assert!(matches!(refusal(&decided, &other_round), Refusal::RoundMismatch { .. }));
    let other_state = Ballot { etag: Some(Etag("0-uid".into())), ..free.clone() };
    assert_eq!(refusal(&decided, &other_state), Refusal::AlreadyResolved(Box::new(decided.clone())));
    assert!(matches!(refusal(&open, &other_state), Refusal::EtagMismatch { .. }));
    let other_content = Ballot { subject_digest: Some("sha256:bb".into()), ..free };
    assert!(matches!(refusal(&open, &other_content), Refusal::SubjectChanged { .. }));
}

#[test]
fn an_approval_is_checked_for_the_winner_then_who_then_what_then_when() {
    let asked = Spec { approvers: approvers(&["requester", "ann"]), min_wait: Some(MIN_WAIT), ..spec(1) };
    let (open, decided) = (gate(asked.clone(), &[wait()]), gate(asked, &[reject("ann")]));
    let stale = Some(Etag("0-uid".into()));
    let refusal = |gate, voter: &str, etag: &Option<Etag>| {
        let ballot = Ballot { etag: etag.clone(), ..verified(voter, &[]).into() };
        answer(gate, &Command::Approve(ballot), START).unwrap_err()
    };
    assert!(matches!(refusal(&decided, "worker", &stale), Refusal::AlreadyResolved(_)));
    assert!(matches!(refusal(&open, "worker", &stale), Refusal::NotAnApprover { .. }));
    assert!(matches!(refusal(&open, "requester", &stale), Refusal::OwnGate { .. }));
    assert!(matches!(refusal(&open, "ann", &stale), Refusal::EtagMismatch { .. }));
    assert!(matches!(refusal(&open, "ann", &None), Refusal::TooEarly { .. }));
}

#[test]
fn every_decision_says_how_it_was_verified_who_made_it() {
    let waiting = gate(spec(2), &[wait()]);
    for authentication in
        [Authentication::Anonymous, Authentication::Certificate, Authentication::Token, Authentication::Jwt]
    {
        let ann = Identity { authentication, ..principal("ann").into() };
        assert_eq!(event(&waiting, &yes(&ann), START).gate.votes[0].authentication, authentication);
        let delete = Command::Delete { by: ann.clone(), etag: None };
        for command in [no(&ann), Command::BreakGlass(ann.into()), delete] {
            let resolution = event(&waiting, &command, START).gate.resolution.unwrap();
            assert_eq!(resolution.authentication, Some(authentication), "{command:?}");
        }
    }
}
