//! Every cell of the transition table, and what holds within it.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::domain::{
    Authentication, EventKind, Facts, Inputs, Principal, Resolution, Revision, Ruling, Spec, Subject, Uid, Vote,
};

mod entitled;
mod given;
mod reported;

use given::{
    answer, approve, break_glass, create, deadline, decision, delete, event, forever, gate, looked_at, name, of,
    principal, reject, report, reset, resolved, settle, spec, touched, unattended, vote, wait, word,
};

const START: SystemTime = UNIX_EPOCH;
const TIMEOUT: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_nanos(1);

#[test]
fn every_status_answers_every_command_as_the_table_says() {
    use Command::*;
    let (by_ann, no_by_ann, fact, glass) = (approve("ann"), reject("ann"), report("a", "1"), break_glass("ann"));
    let commands = [create(spec(1)), wait(), by_ann, no_by_ann, settle(), fact, Expire, reset(), delete(), glass];
    let (pending, waiting) = (Some(gate(spec(1), &[])), Some(gate(spec(1), &[wait()])));
    let (waiting_for_two, waiting_forever) = (Some(gate(spec(2), &[wait()])), Some(gate(forever(), &[wait()])));
    let [approved, rejected, timed_out] = resolved().map(Some);
    let (soon, due, late) = (deadline() - TICK, deadline(), deadline() + TIMEOUT);
    #[rustfmt::skip]
    let table = [
        //                        create   wait     approve         reject          settle          report           expire    reset    delete   break_glass
        (&None,            late, "Created NotFound NotFound        NotFound        NotFound        NotFound         NotFound  NotFound NotFound NotFound"),
        (&pending,         late, "nothing Waiting  APPROVED        REJECTED        APPROVED        EvidenceReported NotDue    Reset    Deleted  APPROVED"),
        (&waiting,         soon, "nothing nothing  APPROVED        REJECTED        APPROVED        EvidenceReported NotDue    Reset    Deleted  APPROVED"),
        (&waiting,         due,  "Overdue Overdue  Overdue         Overdue         Overdue         Overdue          TIMED_OUT Overdue  Overdue  Overdue"),
        (&waiting,         late, "Overdue Overdue  Overdue         Overdue         Overdue         Overdue          TIMED_OUT Overdue  Overdue  Overdue"),
        (&waiting_for_two, soon, "Exists  nothing  Voted           REJECTED        APPROVED        EvidenceReported NotDue    Reset    Deleted  APPROVED"),
        (&waiting_forever, late, "Exists  nothing  APPROVED        REJECTED        APPROVED        EvidenceReported NotDue    Reset    Deleted  APPROVED"),
        (&approved,        late, "nothing nothing  AlreadyResolved AlreadyResolved AlreadyResolved AlreadyResolved  NotDue    Reset    Deleted  AlreadyResolved"),
        (&rejected,        late, "nothing nothing  AlreadyResolved AlreadyResolved AlreadyResolved AlreadyResolved  NotDue    Reset    Deleted  AlreadyResolved"),
        (&timed_out,       late, "nothing nothing  AlreadyResolved AlreadyResolved AlreadyResolved AlreadyResolved  NotDue    Reset    Deleted  AlreadyResolved"),
    ];

    for command in &commands {
        // A new command does not compile here: give it a column.
        let (Create { .. }
        | Wait { .. }
        | Approve(_)
        | Reject(_)
        | BreakGlass(_)
        | Settle(_)
        | ReportEvidence { .. }
        | Expire
        | Reset { .. }
        | Delete { .. }) = command;
    }
    for (gate, now, row) in table {
        let answer = |command: &Command| decide(&name(), gate.as_ref(), &looked_at(gate.as_ref(), command), now);
        let answers = commands.each_ref().map(|command| word(&answer(command)));
        assert_eq!(answers.to_vec(), row.split_whitespace().collect::<Vec<_>>(), "at {now:?}: {gate:#?}");
    }
    let has_row = |status| table.iter().any(|(gate, ..)| gate.as_ref().is_some_and(|gate| gate.status == status));
    assert_eq!(Status::ALL.map(has_row), [true; 5]);
}

#[test]
fn a_new_gate_is_pending_unless_it_is_to_be_approved_by_nobody() {
    let auto_approved = Some(unattended(Cause::AutoApprove, START));
    for (auto_approve, status, resolution) in [(false, Status::Pending, None), (true, Status::Approved, auto_approved)]
    {
        let spec = Spec { auto_approve, ..spec(2) };
        let expected = Gate {
            name: name(),
            uid: Uid("uid".into()),
            round: Round::FIRST,
            status,
            spec: spec.clone().into(),
            votes: vec![],
            evidence: BTreeMap::new(),
            resolution,
            requester: principal("requester"),
            create_time: START,
            update_time: START,
            wait_time: None,
            first_waiter: None,
            deadline: None,
            revision: Revision::ZERO,
        };
        let created = decide(&name(), None, &create(spec), START);
        assert_eq!(created, Ok(Some(of(EventKind::Created, Some("requester"), expected))));
    }
}

#[test]
fn creating_again_names_the_fields_that_differ() {
    let other = Spec { title: "another".into(), timeout: None, ..spec(1) };
    let exists = Refusal::Exists { gate: name(), fields: vec!["timeout", "title"] };
    for gate in [gate(spec(1), &[]), gate(spec(1), &[wait()])].into_iter().chain(resolved()) {
        assert_eq!(answer(&gate, &create(other.clone()), START), Err(exists.clone()), "{}", gate.status);
    }
}

#[test]
fn the_first_wait_sets_the_deadline() {
    let pending = gate(spec(2), &[approve("ann")]);
    let now = START + 7 * TICK;
    let (wait_time, first_waiter, deadline) = (Some(now), Some(principal("worker")), Some(now + TIMEOUT));
    let expected = Gate { status: Status::Waiting, wait_time, first_waiter, deadline, ..touched(&pending, now) };
    assert_eq!(event(&pending, &wait(), now), of(EventKind::Waiting, Some("worker"), expected));

    let forever = gate(forever(), &[wait()]);
    assert_eq!((forever.wait_time, forever.deadline), (Some(START), None));
}

#[test]
fn a_vote_that_does_not_resolve_leaves_all_else_alone() {
    for before in [gate(spec(2), &[]), gate(spec(2), &[wait()])] {
        let now = deadline() - TICK;
        let expected = Gate { votes: vec![vote("ann", Verdict::Approve, now)], ..touched(&before, now) };
        assert_eq!(event(&before, &approve("ann"), now), of(EventKind::Voted, Some("ann"), expected));
    }
}

#[test]
fn a_timeout_is_by_nobody_however_late_it_comes() {
    let waiting = gate(spec(2), &[wait(), approve("ann")]);
    for now in [deadline(), deadline() + TICK, deadline() + TIMEOUT] {
        let resolution = Some(unattended(Cause::Timeout, now));
        let expected = Gate { status: Status::TimedOut, resolution, ..touched(&waiting, now) };
        assert_eq!(event(&waiting, &Command::Expire, now), of(EventKind::Resolved, None, expected));
    }
}

#[test]
fn a_timeout_that_is_not_due_is_refused_with_the_deadline() {
    let not_due = |deadline| Err(Refusal::NotDue { gate: name(), deadline });
    assert_eq!(answer(&gate(spec(1), &[]), &Command::Expire, deadline()), not_due(None));
    assert_eq!(answer(&gate(forever(), &[wait()]), &Command::Expire, deadline() + 1000 * TIMEOUT), not_due(None));
    assert_eq!(answer(&gate(spec(1), &[wait()]), &Command::Expire, deadline() - TICK), not_due(Some(deadline())));
    for resolved in resolved() {
        assert_eq!(answer(&resolved, &Command::Expire, deadline()), not_due(Some(deadline())), "{}", resolved.status);
    }
}

#[test]
fn an_overdue_gate_says_so_before_it_checks_anything() {
    let waiting = gate(spec(1), &[wait()]);
    let wrong = Ballot { round: Round::new(9), etag: Some(Etag("0-uid".into())), ..principal("ann").into() };
    let delete = Command::Delete { by: principal("admin").into(), etag: Some(Etag("0-uid".into())) };
    let wait = Command::Wait { round: Round::new(9), uid: None, by: principal("worker") };
    for command in [wait, Command::Approve(wrong.clone()), Command::Reject(wrong), delete, create(spec(2))] {
        assert_eq!(answer(&waiting, &command, deadline()), Err(Refusal::Overdue { gate: name() }), "{command:?}");
    }
}

#[test]
fn a_decision_keeps_all_that_its_voter_said() {
    let now = START + TICK;
    let word = || ("the board".to_owned(), "looks good".to_owned());
    let (on_behalf_of, comment) = word();
    let said = Ballot { on_behalf_of, comment, inputs: Inputs(vec![1, 2]), ..principal("ann").into() };
    let (on_behalf_of, reason) = word();
    let resolution = Resolution { on_behalf_of, reason, inputs: Inputs(vec![1, 2]), ..decision("ann", now) };
    let pending = gate(spec(1), &[]);
    for (command, status, verdict) in [
        (Command::Approve(said.clone()), Status::Approved, Verdict::Approve),
        (Command::Reject(said), Status::Rejected, Verdict::Reject),
    ] {
        let (on_behalf_of, comment) = word();
        let vote = Vote { comment, on_behalf_of, ..vote("ann", verdict, now) };
        let resolution = Some(resolution.clone());
        let expected = Gate { status, votes: vec![vote], resolution, ..touched(&pending, now) };
        assert_eq!(event(&pending, &command, now), of(EventKind::Resolved, Some("ann"), expected));
    }
}

#[test]
fn the_last_approval_needed_resolves_and_is_named_also_before_anyone_waits() {
    let voters = ["ann", "bob", "cid"];
    let [ann, bob, cid] = voters.map(approve);
    let lacking = gate(spec(3), &[ann.clone(), wait(), bob.clone()]);
    assert_eq!((lacking.status, lacking.approvals_missing(), lacking.resolution), (Status::Waiting, 1, None));
    for commands in [
        vec![ann.clone(), bob.clone(), cid.clone()],
        vec![wait(), ann.clone(), bob.clone(), cid.clone()],
        vec![ann, bob, wait(), cid],
    ] {
        let gate = gate(spec(3), &commands);
        assert_eq!((gate.status, gate.approvals_missing()), (Status::Approved, 0));
        assert_eq!(gate.resolution.as_ref().unwrap().by, Some(principal("cid")));
        assert_eq!(gate.votes, voters.map(|voter| vote(voter, Verdict::Approve, START)));
        assert_eq!(answer(&gate, &wait(), START), Ok(None));
    }
}

#[test]
fn a_voter_counts_once() {
    // One's own vote has changed the etag that one looked at.
    let etag = Some(gate(spec(2), &[]).etag());
    let louder = Ballot { comment: "again, and louder".into(), etag, ..principal("ann").into() };
    for voted in [gate(spec(2), &[approve("ann")]), gate(spec(2), &[wait(), approve("ann")])] {
        for again in [approve("ann"), Command::Approve(louder.clone())] {
            assert_eq!(answer(&voted, &again, START + TICK), Ok(None), "{}", voted.status);
        }
    }
}

#[test]
fn a_rejection_resolves_at_once_and_takes_the_place_of_the_same_voters_approval() {
    use Verdict::{Approve, Reject};
    let before = gate(spec(3), &[wait(), approve("ann"), approve("bob")]);
    for (voter, votes) in [
        ("ann", vec![("bob", Approve), ("ann", Reject)]),
        ("cid", vec![("ann", Approve), ("bob", Approve), ("cid", Reject)]),
    ] {
        let votes = votes.into_iter().map(|(voter, verdict)| vote(voter, verdict, START)).collect();
        let resolution = Some(decision(voter, START));
        let expected = Gate { status: Status::Rejected, votes, resolution, ..touched(&before, START) };
        assert_eq!(event(&before, &reject(voter), START), of(EventKind::Resolved, Some(voter), expected));
    }
}

#[test]
fn a_reset_begins_a_bare_round() {
    let now = deadline() - TICK;
    let undecided = [gate(spec(2), &[approve("ann")]), gate(spec(2), &[wait(), approve("ann")])];
    let auto_approved = gate(Spec { auto_approve: true, ..spec(1) }, &[]);
    for before in undecided.into_iter().chain(resolved()).chain([auto_approved]) {
        let expected = Gate {
            round: Round::new(2).unwrap(),
            status: Status::Pending,
            votes: vec![],
            resolution: None,
            wait_time: None,
            first_waiter: None,
            deadline: None,
            ..touched(&before, now)
        };
        assert_eq!(event(&before, &reset(), now), of(EventKind::Reset, Some("admin"), expected));
    }
    let third = gate(spec(1), &[wait(), reset(), reset()]);
    assert_eq!(third.round, Round::new(3).unwrap());
    assert_eq!(event(&third, &wait(), deadline()).gate.deadline, Some(deadline() + TIMEOUT));
}

#[test]
fn a_delete_cancels_an_undecided_gate_and_keeps_how_another_was_decided() {
    let now = START + TICK;
    let cancelled = Resolution { cause: Cause::Cancelled, ..decision("admin", now) };
    for before in [gate(spec(1), &[]), gate(spec(2), &[wait(), approve("ann")])] {
        let resolution = Some(cancelled.clone());
        let expected = Gate { status: Status::Rejected, resolution, ..touched(&before, now) };
        assert_eq!(event(&before, &delete(), now), of(EventKind::Deleted, Some("admin"), expected));
    }
    for before in resolved() {
        assert_eq!(event(&before, &delete(), now), of(EventKind::Deleted, Some("admin"), touched(&before, now)));
    }
}

#[test]
fn a_wait_may_pin_its_round() {
    for commands in [vec![reset()], vec![reset(), wait()], vec![reset(), reject("bob")]] {
        let gate = gate(spec(1), &commands);
        let pinned = |round| Command::Wait { round: Some(round), uid: None, by: principal("worker") };
        assert!(answer(&gate, &wait(), START).is_ok());
        assert_eq!(answer(&gate, &pinned(gate.round), START), answer(&gate, &wait(), START));
        for round in [Round::FIRST, gate.round.next()] {
            let mismatch = Refusal::RoundMismatch { gate: name(), round, current: gate.round };
            assert_eq!(answer(&gate, &pinned(round), START), Err(mismatch));
        }
    }
}

#[test]
fn a_ballot_is_checked_for_round_then_resolution_then_etag_then_digest() {
    let (open, decided) = (gate(spec(1), &[reset(), wait()]), gate(spec(1), &[reset(), reject("bob")]));
    let (good, bad) = ("sha256:aa".to_owned(), "sha256:bb".to_owned());
    let digest = |given: &str| Ballot { subject_digest: Some(given.to_owned()), ..principal("ann").into() };
    let wrong = Ballot { round: Some(Round::FIRST), etag: Some(Etag("0-uid".into())), ..digest(&bad) };
    let right_round = Ballot { round: Some(open.round), ..wrong.clone() };
    let right_etag = Ballot { etag: Some(open.etag()), ..right_round.clone() };
    let right = Ballot { subject_digest: Some(good.clone()), ..right_etag.clone() };

    for verdict in [Command::Approve, Command::Reject] {
        let refusal = |gate, ballot: &Ballot| answer(gate, &verdict(ballot.clone()), START).unwrap_err();
        let other_round = Refusal::RoundMismatch { gate: name(), round: Round::FIRST, current: open.round };
        assert_eq!(refusal(&open, &wrong), other_round);
        assert_eq!(refusal(&decided, &wrong), other_round);
        assert_eq!(refusal(&decided, &right_round), Refusal::AlreadyResolved(Box::new(decided.clone())));
        assert_eq!(refusal(&open, &right_round), Refusal::EtagMismatch { gate: name(), current: open.etag() });
        let changed = |given: &String, current: &str| {
            let (given, current) = (given.clone(), current.to_owned());
            Refusal::SubjectChanged { gate: name(), given, current }
        };
        assert_eq!(refusal(&open, &right_etag), changed(&bad, &good));
        assert_eq!(event(&open, &verdict(right.clone()), START).kind, EventKind::Resolved);
        assert_eq!(refusal(&gate(forever(), &[]), &digest(&good)), changed(&good, ""));
        assert_eq!(event(&gate(forever(), &[]), &verdict(digest("")), START).kind, EventKind::Resolved);
    }
}

#[test]
fn a_delete_may_pin_the_etag_and_every_event_makes_a_new_one() {
    let delete = |etag| Command::Delete { by: principal("admin").into(), etag: Some(etag) };
    let older = gate(spec(1), &[]);
    for newer in [wait(), reject("ann"), reset()].map(|command| gate(spec(1), &[command])) {
        let mismatch = Refusal::EtagMismatch { gate: name(), current: newer.etag() };
        assert_eq!(answer(&newer, &delete(older.etag()), START), Err(mismatch));
        assert_eq!(event(&newer, &delete(newer.etag()), START).kind, EventKind::Deleted);
    }
}

#[test]
fn a_stamp_reaches_the_gate_and_only_a_new_resolution() {
    let stamps = |event: &Event| (event.revision().0, event.gate.resolution.as_ref().map(|it| it.revision.0));
    let resolved = event(&gate(spec(1), &[wait()]), &approve("ann"), START);
    assert_eq!(stamps(&resolved), (0, Some(0)));
    let resolved = resolved.stamped(Revision(7));
    assert_eq!(stamps(&resolved), (7, Some(7)));
    let deleted = event(&resolved.gate, &delete(), START).stamped(Revision(9));
    assert_eq!(stamps(&deleted), (9, Some(7)));
}
