//! The transition table: the only place where a gate's status changes.

use std::time::SystemTime;

use super::command::{Ballot, Command};
use super::event::Event;
use super::gate::{Cause, Etag, Gate, Status, Verdict, Vote};
use super::identity::Identity;
use super::name::{GateName, Round};
use super::refusal::Refusal;

/// Says what a command does to a gate at a time: an event, nothing (it is so already), or a refusal.
///
/// `gate` is the gate called `name`, if there is one. A gate that is past its deadline answers everything but
/// [`Command::Expire`] with [`Refusal::Overdue`]: the caller times it out and asks again, so that nothing is decided at
/// or past a deadline, however late the timer.
///
/// # Errors
///
/// [`Refusal`], with all that the caller has to know.
pub fn decide(
    name: &GateName,
    gate: Option<&Gate>,
    command: &Command,
    now: SystemTime,
) -> Result<Option<Event>, Refusal> {
    use Command::{Approve, BreakGlass, Create, Delete, Expire, Reject, ReportEvidence, Reset, Settle, Wait};
    use Status::{Approved, Pending, Rejected, TimedOut, Waiting};

    let Some(gate) = gate else {
        return match command {
            Create { uid, spec, requester } => Ok(Some(Event::created(name, uid, spec, requester, now))),
            Wait { .. }
            | Approve(_)
            | Reject(_)
            | BreakGlass(_)
            | Settle(_)
            | ReportEvidence { .. }
            | Expire
            | Reset { .. }
            | Delete { .. } => Err(Refusal::NotFound(name.clone())),
        };
    };
    if let Wait { uid: Some(uid), .. } = command
        && *uid != gate.uid
    {
        return Err(Refusal::NotFound(name.clone()));
    }
    if gate.is_overdue(now) && *command != Expire {
        return Err(Refusal::Overdue { gate: name.clone() });
    }
    check_round(gate, command)?;

    match (gate.status, command) {
        (Pending, Wait { by, .. }) => Ok(Some(Event::waiting(gate, by, now))),
        (Approved, Wait { by, .. }) if gate.was_approved_by_its_first(by) => {
            Err(Refusal::OwnApproval { gate: name.clone(), principal: by.clone() })
        }
        (Waiting | Approved | Rejected | TimedOut, Wait { .. }) => Ok(None),

        (Pending | Waiting, Approve(ballot)) => approve(gate, ballot, now),
        (Pending | Waiting, Reject(ballot)) => reject(gate, ballot, now),
        (Pending | Waiting, BreakGlass(ballot)) => {
            check_looked_at(gate, ballot)?;
            Ok(Some(Event::decided(gate, ballot, Verdict::Approve, Cause::BreakGlass, now)))
        }
        (Pending | Waiting, Settle(ruling)) => {
            check_etag(gate, Some(&ruling.etag))?;
            if ruling.verdict == Verdict::Approve {
                check_min_wait(gate, now)?;
            }
            Ok(Some(Event::settled(gate, ruling, now)))
        }
        (Pending | Waiting, ReportEvidence { facts, by, .. }) => match facts.added_to(&gate.evidence) {
            None => Err(Refusal::TooManyFacts { gate: name.clone() }),
            Some(evidence) if evidence == gate.evidence => Ok(None),
            Some(evidence) => Ok(Some(Event::evidence_reported(gate, evidence, by, now))),
        },
        (
            Approved | Rejected | TimedOut,
            Approve(_) | Reject(_) | BreakGlass(_) | Settle(_) | ReportEvidence { .. },
        ) => Err(Refusal::AlreadyResolved(Box::new(gate.clone()))),

        (Waiting, Expire) if gate.is_overdue(now) => Ok(Some(Event::timed_out(gate, now))),
        (Pending | Waiting | Approved | Rejected | TimedOut, Expire) => {
            Err(Refusal::NotDue { gate: name.clone(), deadline: gate.deadline })
        }

        (Pending | Waiting | Approved | Rejected | TimedOut, Reset { by }) => Ok(Some(Event::reset(gate, by, now))),
        (Pending | Waiting | Approved | Rejected | TimedOut, Delete { by, etag }) => {
            check_etag(gate, etag.as_ref())?;
            Ok(Some(Event::deleted(gate, by, now)))
        }
        (Pending | Waiting | Approved | Rejected | TimedOut, Create { spec, .. }) => {
            match gate.spec.differences(spec) {
                fields if fields.is_empty() => Ok(None),
                fields => Err(Refusal::Exists { gate: name.clone(), fields }),
            }
        }
    }
}

fn approve(gate: &Gate, ballot: &Ballot, now: SystemTime) -> Result<Option<Event>, Refusal> {
    // Before the etag, which one's own first vote has changed: a repetition of it says the same again.
    let approved_already = |vote: &Vote| vote.voter == ballot.voter.principal && vote.verdict == Verdict::Approve;
    if gate.votes.iter().any(approved_already) {
        return Ok(None);
    }
    check_is_approver(gate, &ballot.voter)?;
    check_is_another(gate, &ballot.voter)?;
    check_looked_at(gate, ballot)?;
    check_min_wait(gate, now)?;
    Ok(Some(match gate.approvals_missing() {
        0 | 1 => Event::decided(gate, ballot, Verdict::Approve, Cause::Decision, now),
        _ => Event::approval_recorded(gate, ballot, now),
    }))
}

fn reject(gate: &Gate, ballot: &Ballot, now: SystemTime) -> Result<Option<Event>, Refusal> {
    check_is_approver(gate, &ballot.voter)?;
    check_looked_at(gate, ballot)?;
    Ok(Some(Event::decided(gate, ballot, Verdict::Reject, Cause::Decision, now)))
}

/// Who may decide comes before what they looked at: nobody is to look again who may not decide then either.
fn check_is_approver(gate: &Gate, voter: &Identity) -> Result<(), Refusal> {
    let approvers = &gate.spec.approvers;
    if approvers.is_empty() || approvers.iter().any(|party| voter.is(party)) {
        return Ok(());
    }
    let principal = voter.principal.clone();
    Err(Refusal::NotAnApprover { gate: gate.name.clone(), principal, approvers: approvers.clone() })
}

/// One's own gate is for others to approve. To stop it needs no second person.
fn check_is_another(gate: &Gate, voter: &Identity) -> Result<(), Refusal> {
    if gate.is_asked_for_by(&voter.principal) && gate.spec.forbids_requester(voter.authentication) {
        return Err(Refusal::OwnGate { gate: gate.name.clone(), principal: voter.principal.clone() });
    }
    Ok(())
}

/// Binds people and rules alike, and approvals alone.
fn check_min_wait(gate: &Gate, now: SystemTime) -> Result<(), Refusal> {
    let Some(min_wait) = gate.spec.min_wait else { return Ok(()) };
    // Validated specs keep this far inside what a time can hold.
    let not_before = gate.wait_time.map(|since| since + min_wait);
    if not_before.is_some_and(|time| time <= now) {
        return Ok(());
    }
    Err(Refusal::TooEarly { gate: gate.name.clone(), min_wait, not_before })
}

/// The round comes before all else: whether "already resolved" is the answer depends on which round is meant.
fn check_round(gate: &Gate, command: &Command) -> Result<(), Refusal> {
    let meant = match command {
        Command::Wait { round, .. } | Command::ReportEvidence { round, .. } => *round,
        Command::Approve(ballot) | Command::Reject(ballot) | Command::BreakGlass(ballot) => ballot.round,
        Command::Create { .. }
        | Command::Settle(_)
        | Command::Expire
        | Command::Reset { .. }
        | Command::Delete { .. } => None,
    };
    let mismatch = |round: Round| Refusal::RoundMismatch { gate: gate.name.clone(), round, current: gate.round };
    meant.filter(|round| *round != gate.round).map_or(Ok(()), |round| Err(mismatch(round)))
}

/// Etag and digest come after "already resolved", so that the loser of a race is told the winner.
fn check_looked_at(gate: &Gate, ballot: &Ballot) -> Result<(), Refusal> {
    check_etag(gate, ballot.etag.as_ref())?;
    let current = gate.spec.subject.as_ref().map_or("", |subject| subject.digest.as_str());
    match &ballot.subject_digest {
        Some(given) if given != current => {
            Err(Refusal::SubjectChanged { gate: gate.name.clone(), given: given.clone(), current: current.to_owned() })
        }
        _ => Ok(()),
    }
}

fn check_etag(gate: &Gate, etag: Option<&Etag>) -> Result<(), Refusal> {
    let current = gate.etag();
    match etag {
        Some(etag) if *etag != current => Err(Refusal::EtagMismatch { gate: gate.name.clone(), current }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
