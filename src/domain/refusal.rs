//! Why a request is not carried out.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::gate::{Etag, Gate};
use super::identity::Party;
use super::name::{GateName, Principal, Round};
use super::spec::limits;

/// A value that no gate can have, found where a request is parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Invalid {
    /// What sort of value it is.
    pub kind: InvalidKind,
    /// The request's field, as a path: `spec.labels`.
    pub field: &'static str,
    /// What is wrong and what to do, as the rest of a sentence about the field.
    pub problem: String,
}

impl Invalid {
    pub(crate) fn new(kind: InvalidKind, field: &'static str, problem: impl Into<String>) -> Self {
        Self { kind, field, problem: problem.into() }
    }
}

/// What sort of value is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKind {
    /// The name of a gate, or a prefix.
    Name,
    /// What a gate asks for.
    Spec,
    /// Anything else.
    Argument,
}

/// Why a command has no event.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// There is no such gate.
    #[error("there is no gate {0}: create it, or wait on it with a spec")]
    NotFound(GateName),
    /// The gate exists with another spec, and the caller wants to create it.
    #[error("gate {gate} exists with another spec ({}): use another name, or the same spec", Fields(fields))]
    Exists {
        /// The gate.
        gate: GateName,
        /// The fields of the spec that differ.
        fields: Vec<&'static str>,
    },
    /// The round has its resolution already.
    #[error("{}", already_resolved(.0))]
    AlreadyResolved(Box<Gate>),
    /// The deadline has passed, and the round has to be timed out before anything else.
    #[error("gate {gate} is past its deadline")]
    Overdue {
        /// The gate.
        gate: GateName,
    },
    /// The gate does not wait, or its deadline has not passed, or there is none.
    #[error("gate {gate} has nothing to time out")]
    NotDue {
        /// The gate.
        gate: GateName,
        /// The deadline, if there is one.
        deadline: Option<SystemTime>,
    },
    /// The gate names who may decide it, and the caller is none of them.
    #[error("{principal} is none of those who decide gate {gate} ({}): ask one of them", Parties(approvers))]
    NotAnApprover {
        /// The gate.
        gate: GateName,
        /// The caller.
        principal: Principal,
        /// Those who may.
        approvers: Vec<Party>,
    },
    /// The caller asked for the gate, and is not to approve it as well.
    #[error("{principal} asked for gate {gate}, and so may not approve it: ask somebody else")]
    OwnGate {
        /// The gate.
        gate: GateName,
        /// The caller.
        principal: Principal,
    },
    /// The caller approved the round before anybody waited on it, and would be the one whom that lets through.
    #[error(
        "{principal} approved gate {gate} before anybody waited on it, and so is not let through by that: \
         reset it, and have somebody else approve it"
    )]
    OwnApproval {
        /// The gate.
        gate: GateName,
        /// The caller.
        principal: Principal,
    },
    /// The gate has not waited for long enough to be approved.
    #[error("gate {gate} can be approved once it has waited for {min_wait:?}: approve it then")]
    TooEarly {
        /// The gate.
        gate: GateName,
        /// How long it has to wait.
        min_wait: Duration,
        /// From when on it can be approved; none while nobody waits.
        not_before: Option<SystemTime>,
    },
    /// The gate has changed since the caller looked at it.
    #[error("gate {gate} has changed since it was read (its etag is {current} now): look again, then decide")]
    EtagMismatch {
        /// The gate.
        gate: GateName,
        /// The gate's etag.
        current: Etag,
    },
    /// The gate is in another round than the caller means.
    #[error("gate {gate} is in round {current}, not in round {round}: look again, then decide")]
    RoundMismatch {
        /// The gate.
        gate: GateName,
        /// The round that the caller means.
        round: Round,
        /// The gate's round.
        current: Round,
    },
    /// The caller decides about other content than the gate's subject.
    #[error("gate {gate} is about {}, not about {given}: look again, then decide", Digest(current))]
    SubjectChanged {
        /// The gate.
        gate: GateName,
        /// The digest that the caller decided about.
        given: String,
        /// The digest of the gate's subject, empty if it has none.
        current: String,
    },
    /// More is reported about the round than it can hold.
    #[error("gate {gate} has room for {} facts, and these would be more: report fewer", limits::FACTS_MAX_COUNT)]
    TooManyFacts {
        /// The gate.
        gate: GateName,
    },
}

fn already_resolved(gate: &Gate) -> String {
    let by = gate.resolution.as_ref().and_then(|resolution| resolution.by.as_ref());
    let by = by.map(|principal| format!(" by {principal}")).unwrap_or_default();
    let (name, status, round) = (&gate.name, gate.status, gate.round);
    format!("gate {name} is {status} already{by}, in round {round}: reset it to decide again")
}

struct Fields<'a>(&'a [&'static str]);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it differs in {}", self.0.join(", "))
    }
}

struct Parties<'a>(&'a [Party]);

impl fmt::Display for Parties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parties: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&parties.join(", "))
    }
}

struct Digest<'a>(&'a str);

impl fmt::Display for Digest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "no digest" } else { self.0 })
    }
}
