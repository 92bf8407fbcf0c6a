//! What is asked of the model of gates, and what it answers.

use super::Terms;

/// One step: time goes on, or somebody asks something of a gate.
#[derive(Clone, Debug)]
pub enum Step {
    Later(u64),
    /// Until the deadline of a gate, and so many nanoseconds past it.
    ToDeadline(usize, i8),
    Ask(usize, Ask),
}

/// What is asked of a gate.
#[derive(Clone, Debug)]
pub enum Ask {
    Create {
        terms: Terms,
        by: usize,
    },
    Wait {
        by: usize,
        round: Pin,
    },
    Vote {
        voter: usize,
        word: Word,
        round: Pin,
        etag: Pin,
        digest: Pin,
    },
    /// By a rule, which always says which state it looked at.
    Settle {
        approves: bool,
        is_stale: bool,
    },
    Report {
        fact: usize,
        value: usize,
        round: Pin,
    },
    Expire,
    Reset,
    Delete {
        etag: Pin,
    },
}

/// What somebody says of a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Word {
    Yes,
    No,
    BreakGlass,
}

/// Whether the asker says which round, state or content they mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pin {
    Free,
    Right,
    Wrong,
}

/// What is answered: what happened, nothing, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    Created,
    Waiting,
    Voted,
    EvidenceReported,
    Approved,
    Rejected,
    TimedOut,
    Reset,
    Deleted,
    Nothing,
    NotFound,
    Exists,
    Overdue,
    NotDue,
    AlreadyResolved,
    RoundMismatch,
    EtagMismatch,
    SubjectChanged,
    NotAnApprover,
    OwnGate,
    TooEarly,
}

impl Answer {
    /// Every answer there is.
    pub const ALL: [Self; 21] = {
        use Answer::*;
        [
            Created,
            Waiting,
            Voted,
            EvidenceReported,
            Approved,
            Rejected,
            TimedOut,
            Reset,
            Deleted,
            Nothing,
            NotFound,
            Exists,
            Overdue,
            NotDue,
            AlreadyResolved,
            RoundMismatch,
            EtagMismatch,
            SubjectChanged,
            NotAnApprover,
            OwnGate,
            TooEarly,
        ]
    };

    pub fn is_event(self) -> bool {
        self <= Self::Deleted
    }
}
