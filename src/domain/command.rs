//! What can be asked of a gate.

use super::evidence::Facts;
use super::gate::{Etag, Inputs, Uid, Verdict};
use super::identity::Identity;
use super::name::{Principal, Round};
use super::spec::Spec;

/// What somebody, or the clock, asks of a gate.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Makes the gate, unless it exists with the same spec.
    Create {
        /// Which gate of its name it will be.
        uid: Uid,
        /// What it asks for.
        spec: Spec,
        /// Who creates it.
        requester: Principal,
    },
    /// Reaches the gate: the first wait of a round sets its deadline.
    Wait {
        /// The only round to wait on; none is whichever the gate is in.
        round: Option<Round>,
        /// The only gate of that name to wait on; none is whichever there is.
        uid: Option<Uid>,
        /// Who waits.
        by: Principal,
    },
    /// Approves the round.
    Approve(Ballot),
    /// Rejects the round.
    Reject(Ballot),
    /// Approves the round whatever it asks for; the comment says why.
    BreakGlass(Ballot),
    /// Decides the round as a rule of the coordinator says.
    Settle(Ruling),
    /// Adds to what is known of the round.
    ReportEvidence {
        /// What is reported.
        facts: Facts,
        /// The only round to report on; none is whichever the gate is in.
        round: Option<Round>,
        /// Who reports.
        by: Principal,
    },
    /// Times the round out.
    Expire,
    /// Begins a new round.
    Reset {
        /// Who resets.
        by: Principal,
    },
    /// Removes the gate.
    Delete {
        /// Who deletes.
        by: Identity,
        /// The only state to delete the gate in.
        etag: Option<Etag>,
    },
}

/// What somebody decides, and what they looked at when they did.
#[derive(Clone, Debug, PartialEq)]
pub struct Ballot {
    /// Who votes, as verified.
    pub voter: Identity,
    /// Whom they say they speak for.
    pub on_behalf_of: String,
    /// The comment of an approval, the reason of a rejection.
    pub comment: String,
    /// What an approval hands to the workers.
    pub inputs: Inputs,
    /// The only round to decide.
    pub round: Option<Round>,
    /// The only state to decide the gate in.
    pub etag: Option<Etag>,
    /// The only content to decide about.
    pub subject_digest: Option<String>,
}

/// What a rule says of a gate that it looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The rule's name.
    pub rule: String,
    /// What it says.
    pub verdict: Verdict,
    /// The state of the gate that it looked at, the only one to decide the gate in.
    pub etag: Etag,
}

/// The plain word of one voter.
impl From<Identity> for Ballot {
    fn from(voter: Identity) -> Self {
        Self {
            voter,
            on_behalf_of: String::new(),
            comment: String::new(),
            inputs: Inputs::default(),
            round: None,
            etag: None,
            subject_digest: None,
        }
    }
}

/// The plain word of somebody of whom nothing but the name is known.
impl From<Principal> for Ballot {
    fn from(voter: Principal) -> Self {
        Identity::from(voter).into()
    }
}
