//! What a store keeps for a webhook. The log itself is the outbox: here is only how far it was delivered.

use std::time::SystemTime;

use crate::domain::{GateName, Revision, Round};

/// How far a webhook has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// Every event up to this one is delivered, given up, or not for this webhook.
    pub place: Revision,
    /// Every deadline before this time has been warned of, or needs no warning.
    pub warned: SystemTime,
    /// The number of the next dead letter.
    pub next_letter: u64,
}

/// A change of what is kept for a webhook, made at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxChange {
    /// How far it has come.
    pub outbox: Outbox,
    /// Dead letters to keep, in the place of those with the same number. No number is here twice, nor also removed.
    pub put: Vec<DeadLetter>,
    /// The numbers of dead letters to remove.
    pub remove: Vec<u64>,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Tells it from the other dead letters of the webhook. Later ones have greater numbers.
    pub number: u64,
    /// The id that the message carried.
    pub message_id: String,
    /// What it told.
    pub topic: Topic,
    /// Of which gate.
    pub gate: GateName,
    /// In which round.
    pub round: Round,
    /// The event in it.
    pub revision: Revision,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub problem: String,
    /// When it was given up.
    pub time: SystemTime,
}

/// What a webhook tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// The first worker of a round waits.
    Waiting,
    /// A round that waits comes near its deadline.
    Expiring,
    /// A round has its resolution.
    Resolved,
    /// A round was approved by breaking the glass.
    BreakGlass,
}

impl Topic {
    /// Every topic there is.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Expiring, Self::Resolved, Self::BreakGlass];

    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Expiring => "expiring",
            Self::Resolved => "resolved",
            Self::BreakGlass => "break_glass",
        }
    }
}

/// A place among the deadlines, which are in the order of time and then of names: behind that of a gate, or before all
/// of a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadlinePlace {
    /// The time.
    pub time: SystemTime,
    /// The gate whose deadline is the last before the place; none: the place is before every deadline of that time.
    pub gate: Option<GateName>,
}

impl DeadlinePlace {
    /// Before all deadlines.
    pub const START: Self = Self::before(SystemTime::UNIX_EPOCH);

    /// Before every deadline of a time.
    #[must_use]
    pub const fn before(time: SystemTime) -> Self {
        Self { time, gate: None }
    }
}
