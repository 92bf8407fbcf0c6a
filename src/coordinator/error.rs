//! Why a call is not carried out.

use crate::domain::{GateName, Principal, Refusal, Revision, Round};
use crate::store;

use super::access::Permission;

/// Why a call is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gate does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller may not do it.
    #[error("{principal} has no grant to {permission} {}", gate.as_ref().map_or("every gate", GateName::as_str))]
    Denied {
        /// Who calls.
        principal: Principal,
        /// What they may not do.
        permission: Permission,
        /// To which gate; none: to all.
        gate: Option<GateName>,
    },
    /// The place is none that a page before has ended at.
    #[error("page_token is not the next_page_token of a page before, or what it is about was forgotten: start over")]
    NoSuchPage,
    /// What the caller showed to prove who they are was withdrawn while the call went on.
    #[error("the credentials of this call are not valid any more: call again with others")]
    Revoked,
    /// The gate has no such round.
    #[error("gate {gate} has no round {round}: it is in round {current}")]
    RoundNotFound {
        /// The gate.
        gate: GateName,
        /// The round that was asked for.
        round: Round,
        /// The gate's round.
        current: Round,
    },
    /// The gate exists with another spec, and the caller wants to wait on it.
    #[error(
        "gate {gate} exists with another spec (it differs in {}): \
         leave the spec out to join it as it is, or use another name",
        fields.join(", ")
    )]
    SpecConflict {
        /// The gate.
        gate: GateName,
        /// The fields of the spec that differ.
        fields: Vec<&'static str>,
    },
    /// The only round that the caller waits on was reset before anyone decided it.
    #[error("round {round} of gate {gate} was reset before it was decided: wait on round {next_round}")]
    RoundReset {
        /// The gate.
        gate: GateName,
        /// The round.
        round: Round,
        /// The round that the reset began.
        next_round: Round,
    },
    /// The caller used the id of a request for another one.
    #[error("request_id {id:?} was used for another request: use a new one for each request")]
    RequestIdReused {
        /// The id.
        id: String,
    },
    /// The call is about more than one call may be.
    #[error("there are more than {limit} {what}: use a narrower prefix")]
    LimitExceeded {
        /// What is counted.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// As many wait on the gate as may.
    #[error("{limit} workers wait on gate {gate} already, and no more may: see waiters_per_gate")]
    TooManyWaiters {
        /// The gate.
        gate: GateName,
        /// How many may wait on one.
        limit: usize,
    },
    /// There are as many gates as there may be.
    #[error("there are {limit} gates, and no more may be: delete some, keep them for less long, or see gates")]
    TooManyGates {
        /// How many there may be.
        limit: u64,
    },
    /// The watch is to start behind what has happened: its revision is another store's, or this one has been restored.
    #[error("revision {start} has not happened here: the last one is {last}, so it is another store's or a lost one")]
    RevisionAhead {
        /// The revision to start from.
        start: Revision,
        /// The last revision there is.
        last: Revision,
    },
    /// The watch has taken nothing for too long, and holds nothing any more.
    #[error("the watch took nothing for too long and was cut off: resume from revision {resume}")]
    WatcherTooSlow {
        /// The revision to resume from (inclusive).
        resume: Revision,
    },
    /// The coordinator is about to stop.
    #[error("the coordinator is stopping: connect again")]
    Draining,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Says of a create that was part of a wait what it means for the wait.
    pub(super) fn into_spec_conflict(self) -> Self {
        match self {
            Self::Refused(Refusal::Exists { gate, fields }) => Self::SpecConflict { gate, fields },
            other => other,
        }
    }
}
