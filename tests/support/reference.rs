//! A model of gates, from the guide's words: what is asked, what is answered, and how gates look after it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

/// Gates that are asked for.
pub const GATES: usize = 3;
/// People who vote. Whoever creates, waits, resets and deletes is the person after the last.
pub const VOTERS: usize = 3;
/// Facts that are reported, each with one of so many values.
pub const FACTS: usize = 2;

/// What a gate is created with, as far as the model cares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    pub timeout: Option<u64>,
    pub approvals: usize,
    pub auto_approve: bool,
    pub has_subject: bool,
}

/// All terms that are asked for.
pub const TERMS: [Terms; 5] = [
    Terms { timeout: Some(SECOND), approvals: 1, auto_approve: false, has_subject: true },
    Terms { timeout: Some(SECOND), approvals: 2, auto_approve: false, has_subject: false },
    Terms { timeout: Some(2 * SECOND), approvals: 3, auto_approve: false, has_subject: true },
    Terms { timeout: None, approvals: 2, auto_approve: false, has_subject: true },
    Terms { timeout: Some(SECOND), approvals: 1, auto_approve: true, has_subject: false },
];

const SECOND: u64 = 1_000_000_000;

/// All gates at one time, and what was last answered.
#[derive(Clone, Debug)]
pub struct Model {
    pub now: u64,
    pub steps: u32,
    pub gates: BTreeMap<usize, ModelGate>,
    pub answer: Answer,
    /// The gate that the last step changed, also if it is gone.
    pub changed: Option<ModelGate>,
}

/// A gate; its status follows from how far it came.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelGate {
    /// The step that created it.
    pub uid: u32,
    pub terms: Terms,
    pub round: u32,
    pub updated: u64,
    pub first_wait: Option<u64>,
    /// Who voted, and whether for it; the oldest vote first.
    pub votes: Vec<(usize, bool)>,
    pub evidence: BTreeMap<usize, usize>,
    pub end: Option<End>,
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub status: &'static str,
    pub cause: &'static str,
    pub by: Option<usize>,
    pub time: u64,
}

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
    },
    Wait {
        round: Pin,
    },
    Vote {
        voter: usize,
        approves: bool,
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
}

impl Answer {
    /// Every answer there is.
    pub const ALL: [Self; 18] = {
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
        ]
    };

    fn is_event(self) -> bool {
        self <= Self::Deleted
    }
}

impl ModelGate {
    pub fn status(&self) -> &'static str {
        match (&self.end, self.first_wait) {
            (Some(end), _) => end.status,
            (None, Some(_)) => "WAITING",
            (None, None) => "PENDING",
        }
    }

    pub fn deadline(&self) -> Option<u64> {
        Some(self.first_wait? + self.terms.timeout?)
    }

    pub fn approvals_missing(&self) -> usize {
        // A vote against ends the round, so that all votes of an open one are for it.
        if self.end.is_some() { 0 } else { self.terms.approvals - self.votes.len() }
    }

    fn is_overdue(&self, now: u64) -> bool {
        self.end.is_none() && self.deadline().is_some_and(|deadline| now >= deadline)
    }

    fn ended(&mut self, status: &'static str, cause: &'static str, by: Option<usize>, time: u64) {
        self.end = Some(End { status, cause, by, time });
    }
}

impl Model {
    fn ask(&mut self, name: usize, ask: &Ask) -> Answer {
        let now = self.now;
        let Some(gate) = self.gates.get_mut(&name) else {
            let Ask::Create { terms } = *ask else { return Answer::NotFound };
            let mut gate = ModelGate {
                uid: self.steps,
                terms,
                round: 1,
                updated: now,
                first_wait: None,
                votes: vec![],
                evidence: BTreeMap::new(),
                end: None,
            };
            if terms.auto_approve {
                gate.ended("APPROVED", "AUTO_APPROVE", None, now);
            }
            self.gates.insert(name, gate);
            return Answer::Created;
        };
        if gate.is_overdue(now) && !matches!(ask, Ask::Expire) {
            return Answer::Overdue;
        }
        if let Ask::Wait { round: Pin::Wrong }
        | Ask::Vote { round: Pin::Wrong, .. }
        | Ask::Report { round: Pin::Wrong, .. } = ask
        {
            return Answer::RoundMismatch;
        }
        match *ask {
            Ask::Create { terms } if terms == gate.terms => Answer::Nothing,
            Ask::Create { .. } => Answer::Exists,
            Ask::Wait { .. } if gate.status() != "PENDING" => Answer::Nothing,
            Ask::Wait { .. } => {
                gate.first_wait = Some(now);
                Answer::Waiting
            }
            Ask::Vote { .. } | Ask::Settle { .. } | Ask::Report { .. } if gate.end.is_some() => Answer::AlreadyResolved,
            Ask::Report { fact, value, .. } => match gate.evidence.insert(fact, value) {
                Some(known) if known == value => Answer::Nothing,
                _ => Answer::EvidenceReported,
            },
            Ask::Settle { is_stale: true, .. } => Answer::EtagMismatch,
            Ask::Settle { approves: true, .. } => {
                gate.ended("APPROVED", "POLICY", None, now);
                Answer::Approved
            }
            Ask::Settle { approves: false, .. } => {
                gate.ended("REJECTED", "POLICY", None, now);
                Answer::Rejected
            }
            Ask::Vote { voter, approves: true, .. } if gate.votes.contains(&(voter, true)) => Answer::Nothing,
            Ask::Vote { etag: Pin::Wrong, .. } | Ask::Delete { etag: Pin::Wrong } => Answer::EtagMismatch,
            Ask::Vote { digest: Pin::Wrong, .. } => Answer::SubjectChanged,
            Ask::Vote { voter, approves: true, .. } => {
                gate.votes.push((voter, true));
                if gate.votes.len() < gate.terms.approvals {
                    return Answer::Voted;
                }
                gate.ended("APPROVED", "DECISION", Some(voter), now);
                Answer::Approved
            }
            Ask::Vote { voter, approves: false, .. } => {
                gate.votes.retain(|vote| vote.0 != voter);
                gate.votes.push((voter, false));
                gate.ended("REJECTED", "DECISION", Some(voter), now);
                Answer::Rejected
            }
            Ask::Expire if gate.is_overdue(now) => {
                gate.ended("TIMED_OUT", "TIMEOUT", None, now);
                Answer::TimedOut
            }
            Ask::Expire => Answer::NotDue,
            Ask::Reset => {
                *gate = ModelGate {
                    first_wait: None,
                    votes: vec![],
                    evidence: BTreeMap::new(),
                    end: None,
                    round: gate.round + 1,
                    ..*gate
                };
                Answer::Reset
            }
            Ask::Delete { .. } => {
                if gate.end.is_none() {
                    gate.ended("REJECTED", "CANCELLED", Some(VOTERS), now);
                }
                Answer::Deleted
            }
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self { now: SECOND, steps: 0, gates: BTreeMap::new(), answer: Answer::Nothing, changed: None }).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let pin = || prop_oneof![6 => Just(Pin::Free), 2 => Just(Pin::Right), 1 => Just(Pin::Wrong)];
        let vote = (0..VOTERS, prop::bool::weighted(0.8), pin(), pin(), pin())
            .prop_map(|(voter, approves, round, etag, digest)| Ask::Vote { voter, approves, round, etag, digest });
        let ask = prop_oneof![
            4 => prop::sample::select(&TERMS[..]).prop_map(|terms| Ask::Create { terms }),
            4 => pin().prop_map(|round| Ask::Wait { round }),
            8 => vote,
            1 => any::<(bool, bool)>().prop_map(|(approves, is_stale)| Ask::Settle { approves, is_stale }),
            3 => (0..FACTS, 0..2_usize, pin()).prop_map(|(fact, value, round)| Ask::Report { fact, value, round }),
            3 => Just(Ask::Expire),
            1 => Just(Ask::Reset),
            1 => pin().prop_map(|etag| Ask::Delete { etag }),
        ];
        prop_oneof![
            8 => (0..GATES, ask).prop_map(|(gate, ask)| Step::Ask(gate, ask)),
            1 => prop_oneof![Just(0), Just(1), 0..SECOND].prop_map(Step::Later),
            1 => (0..GATES, -1..=1_i8).prop_map(|(gate, past)| Step::ToDeadline(gate, past)),
        ]
        .boxed()
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        model.steps += 1;
        (model.answer, model.changed) = (Answer::Nothing, None);
        match *step {
            Step::Later(nanos) => model.now += nanos,
            Step::ToDeadline(name, past) => {
                // Time does not go back.
                let deadline = model.gates.get(&name).and_then(ModelGate::deadline);
                model.now = deadline.map_or(0, |deadline| deadline.saturating_add_signed(past.into())).max(model.now);
            }
            Step::Ask(name, ref ask) => {
                model.answer = model.ask(name, ask);
                if model.answer.is_event() {
                    let gate = model.gates.get_mut(&name).expect("an event has a gate");
                    gate.updated = model.now;
                    model.changed = Some(gate.clone());
                }
                if model.answer == Answer::Deleted {
                    model.gates.remove(&name);
                }
            }
        }
        model
    }
}
