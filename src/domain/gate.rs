//! A gate: one decision point, in its current round.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::identity::Authentication;
use super::name::{GateName, Principal, Revision, Round};
use super::spec::Spec;

/// A gate as it stands at `revision`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// What it is called.
    pub name: GateName,
    /// Which gate of that name it is: one that is deleted and made again has another.
    pub uid: Uid,
    /// Which time around it is being decided.
    pub round: Round,
    /// Where the round stands.
    pub status: Status,
    /// What it asks for; shared, because it never changes.
    pub spec: Arc<Spec>,
    /// The votes of this round, oldest first, one for each voter.
    pub votes: Vec<Vote>,
    /// What programs have reported about this round.
    pub evidence: BTreeMap<String, String>,
    /// How the round ended; set exactly when `status` is terminal.
    pub resolution: Option<Resolution>,
    /// Who created it.
    pub requester: Principal,
    /// When it was created.
    pub create_time: SystemTime,
    /// When it last changed.
    pub update_time: SystemTime,
    /// When the first worker of this round reached it.
    pub wait_time: Option<SystemTime>,
    /// Who that worker was: as the requester, somebody the round is decided for.
    pub first_waiter: Option<Principal>,
    /// When this round times out. Set once, by the first wait of the round.
    pub deadline: Option<SystemTime>,
    /// The revision of its last event.
    pub revision: Revision,
}

impl Gate {
    /// Counts the approvals that this round still needs; 0 once it is resolved.
    #[must_use]
    pub fn approvals_missing(&self) -> u32 {
        if self.status.is_terminal() {
            return 0;
        }
        let approvals = self.votes.iter().filter(|vote| vote.verdict == Verdict::Approve).count();
        self.spec.required_approvals.saturating_sub(u32::try_from(approvals).unwrap_or(u32::MAX))
    }

    /// Says whether somebody asks for this round: whoever created the gate, and whoever first waited.
    #[must_use]
    pub fn is_asked_for_by(&self, principal: &Principal) -> bool {
        self.requester == *principal || self.first_waiter.as_ref() == Some(principal)
    }

    /// Says whether nobody had waited on the round when people approved it, and somebody who would be the first to is one
    /// of them, though they may not approve what they ask for.
    #[must_use]
    pub fn was_approved_by_its_first(&self, waiter: &Principal) -> bool {
        let is_decision = self.resolution.as_ref().is_some_and(|resolution| resolution.cause == Cause::Decision);
        let is_own = |vote: &Vote| vote.voter == *waiter && self.spec.forbids_requester(vote.authentication);
        self.status == Status::Approved && is_decision && self.wait_time.is_none() && self.votes.iter().any(is_own)
    }

    /// Says whether the round waits and its deadline has come: at the deadline itself it has.
    #[must_use]
    pub fn is_overdue(&self, now: SystemTime) -> bool {
        self.status == Status::Waiting && self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Names this state of the gate: a store never gives a revision twice, and the uid tells gates apart.
    #[must_use]
    pub fn etag(&self) -> Etag {
        Etag(format!("{:x}-{}", self.revision.0, self.uid))
    }
}

/// Where a round stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nobody has waited on this round yet.
    Pending,
    /// A worker has reached the gate.
    Waiting,
    /// Execution may continue.
    Approved,
    /// Execution must not continue.
    Rejected,
    /// The deadline passed before a decision.
    TimedOut,
}

impl Status {
    /// Every status there is.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Waiting, Self::Approved, Self::Rejected, Self::TimedOut];

    /// Says whether the round has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Waiting => false,
            Self::Approved | Self::Rejected | Self::TimedOut => true,
        }
    }

    /// Returns the word that the API uses: `TIMED_OUT`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Waiting => "WAITING",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
            Self::TimedOut => "TIMED_OUT",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Approve,
    /// Stop.
    Reject,
}

/// One person's word on one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Who voted, as verified.
    pub voter: Principal,
    /// What they said.
    pub verdict: Verdict,
    /// Why.
    pub comment: String,
    /// Whom they said they spoke for: claimed, not verified.
    pub on_behalf_of: String,
    /// How it was verified who voted.
    pub authentication: Authentication,
    /// When.
    pub time: SystemTime,
}

/// Why a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Enough people voted.
    Decision,
    /// The gate was created approved.
    AutoApprove,
    /// A rule of the coordinator decided.
    Policy,
    /// The deadline passed.
    Timeout,
    /// Somebody overrode what the gate asks for.
    BreakGlass,
    /// The gate was deleted before it was decided.
    Cancelled,
}

impl Cause {
    /// Returns the word that the API uses: `AUTO_APPROVE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "DECISION",
            Self::AutoApprove => "AUTO_APPROVE",
            Self::Policy => "POLICY",
            Self::Timeout => "TIMEOUT",
            Self::BreakGlass => "BREAK_GLASS",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// How a round ended; the gate's status is the verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// Why it ended.
    pub cause: Cause,
    /// Who decided, as verified; nobody for a timeout or a rule.
    pub by: Option<Principal>,
    /// How it was verified who decided; none where nobody did.
    pub authentication: Option<Authentication>,
    /// Whom they said they spoke for: claimed, not verified.
    pub on_behalf_of: String,
    /// The comment of the approval, the reason of the rejection, or the name of the rule.
    pub reason: String,
    /// What the approver hands to the workers.
    pub inputs: Inputs,
    /// When it ended.
    pub time: SystemTime,
    /// The revision of the event that ended it.
    pub revision: Revision,
}

/// What an approver hands to the workers: an encoded `google.protobuf.Struct`, opaque here, empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs(pub Vec<u8>);

/// Tells a gate from others that had its name. Opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uid(pub String);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one state of one gate. Opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etag(pub String);

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
