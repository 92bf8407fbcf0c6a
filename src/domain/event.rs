//! What happened to a gate, and how each event changes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::command::{Ballot, Ruling};
use super::gate::{Cause, Gate, Inputs, Resolution, Status, Uid, Verdict, Vote};
use super::identity::Identity;
use super::name::{GateName, Principal, Revision, Round};
use super::spec::{OnTimeout, Spec};

/// Something that happened, with the gate after it.
///
/// Its revision is the gate's; it is [`Revision::ZERO`] until a store commits the event and stamps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Who caused it; nobody for a timeout or a rule.
    pub actor: Option<Principal>,
    /// When.
    pub time: SystemTime,
    /// The gate after it.
    pub gate: Gate,
}

/// What sort of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The gate came to be.
    Created,
    /// The first worker of the round reached it.
    Waiting,
    /// A vote was recorded that did not resolve the round.
    Voted,
    /// Facts were reported.
    EvidenceReported,
    /// The round got its one resolution.
    Resolved,
    /// A new round began.
    Reset,
    /// The gate is gone.
    Deleted,
}

impl Event {
    /// Returns its place in the store's order.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.gate.revision
    }

    /// Says whether those who wait on the gate's current round need wait no longer.
    #[must_use]
    pub fn ends_round(&self) -> bool {
        self.gate.status.is_terminal()
    }

    /// Gives the event, and what it resolved, its place in the store's order.
    #[must_use]
    pub fn stamped(mut self, revision: Revision) -> Self {
        self.gate.revision = revision;
        if let Some(resolution) = &mut self.gate.resolution
            && resolution.revision == Revision::ZERO
        {
            resolution.revision = revision;
        }
        self
    }

    pub(super) fn created(name: &GateName, uid: &Uid, spec: &Spec, requester: &Principal, now: SystemTime) -> Self {
        let (status, resolution) = if spec.auto_approve {
            (Status::Approved, Some(unattended(Cause::AutoApprove, now)))
        } else {
            (Status::Pending, None)
        };
        let gate = Gate {
            name: name.clone(),
            uid: uid.clone(),
            round: Round::FIRST,
            status,
            spec: Arc::new(spec.clone()),
            votes: Vec::new(),
            evidence: BTreeMap::new(),
            resolution,
            requester: requester.clone(),
            create_time: now,
            update_time: now,
            wait_time: None,
            first_waiter: None,
            deadline: None,
            revision: Revision::ZERO,
        };
        Self { kind: EventKind::Created, actor: Some(requester.clone()), time: now, gate }
    }

    pub(super) fn waiting(gate: &Gate, by: &Principal, now: SystemTime) -> Self {
        Self::of(gate, EventKind::Waiting, Some(by), now, |gate| {
            gate.status = Status::Waiting;
            gate.wait_time = Some(now);
            gate.first_waiter = Some(by.clone());
            // An approval that came first does not count if it turns out to be of one's own wait.
            let spec = Arc::clone(&gate.spec);
            gate.votes.retain(|vote| vote.voter != *by || !spec.forbids_requester(vote.authentication));
            // Validated specs keep this far inside what a time can hold.
            gate.deadline = gate.spec.timeout.map(|timeout| now + timeout);
        })
    }

    /// Returns the resolution, if it came with this event. A resolved gate that is deleted keeps the one it had.
    #[must_use]
    pub fn resolution(&self) -> Option<&Resolution> {
        self.gate.resolution.as_ref().filter(|resolution| resolution.revision == self.revision())
    }

    pub(super) fn approval_recorded(gate: &Gate, ballot: &Ballot, now: SystemTime) -> Self {
        let approve = Verdict::Approve;
        Self::of(gate, EventKind::Voted, Some(&ballot.voter.principal), now, |gate| {
            record_vote(gate, ballot, approve, now);
        })
    }

    pub(super) fn decided(gate: &Gate, ballot: &Ballot, verdict: Verdict, cause: Cause, now: SystemTime) -> Self {
        Self::of(gate, EventKind::Resolved, Some(&ballot.voter.principal), now, |gate| {
            record_vote(gate, ballot, verdict, now);
            gate.status = resolved_as(verdict);
            gate.resolution = Some(Resolution {
                on_behalf_of: ballot.on_behalf_of.clone(),
                reason: ballot.comment.clone(),
                inputs: ballot.inputs.clone(),
                ..attended(cause, &ballot.voter, now)
            });
        })
    }

    pub(super) fn settled(gate: &Gate, ruling: &Ruling, now: SystemTime) -> Self {
        Self::of(gate, EventKind::Resolved, None, now, |gate| {
            gate.status = resolved_as(ruling.verdict);
            gate.resolution = Some(Resolution { reason: ruling.rule.clone(), ..unattended(Cause::Policy, now) });
        })
    }

    pub(super) fn evidence_reported(
        gate: &Gate,
        evidence: BTreeMap<String, String>,
        by: &Principal,
        now: SystemTime,
    ) -> Self {
        Self::of(gate, EventKind::EvidenceReported, Some(by), now, |gate| gate.evidence = evidence)
    }

    pub(super) fn timed_out(gate: &Gate, now: SystemTime) -> Self {
        Self::of(gate, EventKind::Resolved, None, now, |gate| {
            gate.status = match gate.spec.on_timeout {
                OnTimeout::TimeOut => Status::TimedOut,
                OnTimeout::Approve => Status::Approved,
                OnTimeout::Reject => Status::Rejected,
            };
            gate.resolution = Some(unattended(Cause::Timeout, now));
        })
    }

    pub(super) fn reset(gate: &Gate, by: &Principal, now: SystemTime) -> Self {
        Self::of(gate, EventKind::Reset, Some(by), now, |gate| {
            gate.round = gate.round.next();
            gate.status = Status::Pending;
            gate.votes.clear();
            // It was about the round before.
            gate.evidence.clear();
            gate.resolution = None;
            gate.wait_time = None;
            gate.first_waiter = None;
            gate.deadline = None;
        })
    }

    pub(super) fn deleted(gate: &Gate, by: &Identity, now: SystemTime) -> Self {
        Self::of(gate, EventKind::Deleted, Some(&by.principal), now, |gate| {
            if !gate.status.is_terminal() {
                gate.status = Status::Rejected;
                gate.resolution = Some(attended(Cause::Cancelled, by, now));
            }
        })
    }

    fn of(
        gate: &Gate,
        kind: EventKind,
        actor: Option<&Principal>,
        now: SystemTime,
        change: impl FnOnce(&mut Gate),
    ) -> Self {
        let mut gate = Gate { update_time: now, revision: Revision::ZERO, ..gate.clone() };
        change(&mut gate);
        Self { kind, actor: actor.cloned(), time: now, gate }
    }
}

/// Records a vote in the place of an earlier one of the same voter.
fn record_vote(gate: &mut Gate, ballot: &Ballot, verdict: Verdict, now: SystemTime) {
    gate.votes.retain(|vote| vote.voter != ballot.voter.principal);
    gate.votes.push(Vote {
        voter: ballot.voter.principal.clone(),
        verdict,
        comment: ballot.comment.clone(),
        on_behalf_of: ballot.on_behalf_of.clone(),
        authentication: ballot.voter.authentication,
        time: now,
    });
}

fn resolved_as(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Approve => Status::Approved,
        Verdict::Reject => Status::Rejected,
    }
}

/// A resolution by somebody.
fn attended(cause: Cause, by: &Identity, now: SystemTime) -> Resolution {
    let Identity { principal, authentication, .. } = by;
    Resolution { by: Some(principal.clone()), authentication: Some(*authentication), ..unattended(cause, now) }
}

/// A resolution by nobody.
fn unattended(cause: Cause, now: SystemTime) -> Resolution {
    Resolution {
        cause,
        by: None,
        authentication: None,
        on_behalf_of: String::new(),
        reason: String::new(),
        inputs: Inputs::default(),
        time: now,
        revision: Revision::ZERO,
    }
}
