//! A model of gates, from the guide's words: what is asked, what is answered, and how gates look after it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

#[path = "reference/ask.rs"]
mod ask;

pub use ask::{Answer, Ask, Pin, Step, Word};

/// Gates that are asked for.
pub const GATES: usize = 3;
/// People who vote, create and wait. Whoever resets and deletes is the person after the last.
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
    /// So many of the first people may decide.
    pub deciders: usize,
    pub forbids_requester: Option<bool>,
    pub min_wait: Option<u64>,
    /// The status after a deadline.
    pub silence: &'static str,
}

/// Says whether it was verified who a person is: of all but the first.
pub fn is_verified(person: usize) -> bool {
    person != 0
}

const PLAIN: Terms = Terms {
    timeout: Some(SECOND),
    approvals: 1,
    auto_approve: false,
    has_subject: false,
    deciders: VOTERS,
    forbids_requester: Some(false),
    min_wait: None,
    silence: "TIMED_OUT",
};

/// All terms that are asked for.
pub const TERMS: [Terms; 8] = [
    Terms { has_subject: true, ..PLAIN },
    Terms { approvals: 2, forbids_requester: None, ..PLAIN },
    Terms { timeout: Some(2 * SECOND), approvals: 3, has_subject: true, ..PLAIN },
    Terms { timeout: None, approvals: 2, has_subject: true, deciders: 2, ..PLAIN },
    Terms { auto_approve: true, ..PLAIN },
    Terms { min_wait: Some(SECOND / 8), silence: "APPROVED", ..PLAIN },
    Terms { approvals: 2, forbids_requester: Some(true), silence: "REJECTED", ..PLAIN },
    Terms { deciders: 1, forbids_requester: None, min_wait: Some(SECOND / 2), ..PLAIN },
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
    pub requester: usize,
    pub round: u32,
    pub updated: u64,
    /// When, and who it was.
    pub first_wait: Option<(u64, usize)>,
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

impl ModelGate {
    pub fn status(&self) -> &'static str {
        match (&self.end, self.first_wait) {
            (Some(end), _) => end.status,
            (None, Some(_)) => "WAITING",
            (None, None) => "PENDING",
        }
    }

    pub fn deadline(&self) -> Option<u64> {
        Some(self.first_wait?.0 + self.terms.timeout?)
    }

    pub fn approvals_missing(&self) -> usize {
        // A vote against ends the round, so that all votes of an open one are for it.
        if self.end.is_some() { 0 } else { self.terms.approvals - self.votes.len() }
    }

    fn is_overdue(&self, now: u64) -> bool {
        self.end.is_none() && self.deadline().is_some_and(|deadline| now >= deadline)
    }

    fn may_not_approve(&self, person: usize) -> bool {
        let asks = self.requester == person || self.first_wait.is_some_and(|(_, waiter)| waiter == person);
        asks && self.terms.forbids_requester.unwrap_or(is_verified(person))
    }

    /// Says whether whoever would be the first to wait has approved the round themselves, and may not have.
    fn was_approved_by_first(&self, person: usize) -> bool {
        let is_decided = self.end.as_ref().is_some_and(|end| (end.status, end.cause) == ("APPROVED", "DECISION"));
        let may_not = self.terms.forbids_requester.unwrap_or(is_verified(person));
        is_decided && self.first_wait.is_none() && may_not && self.votes.iter().any(|vote| vote.0 == person)
    }

    fn is_early(&self, now: u64) -> bool {
        let waited = self.first_wait.map_or(0, |(time, _)| now - time);
        self.terms.min_wait.is_some_and(|min_wait| self.first_wait.is_none() || waited < min_wait)
    }

    fn ended(&mut self, status: &'static str, cause: &'static str, by: Option<usize>, time: u64) {
        self.end = Some(End { status, cause, by, time });
    }
}

impl Model {
    fn ask(&mut self, name: usize, ask: &Ask) -> Answer {
        let now = self.now;
        let Some(gate) = self.gates.get_mut(&name) else {
            let Ask::Create { terms, by } = *ask else { return Answer::NotFound };
            let mut gate = ModelGate {
                uid: self.steps,
                terms,
                requester: by,
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
        if let Ask::Wait { round: Pin::Wrong, .. }
        | Ask::Vote { round: Pin::Wrong, .. }
        | Ask::Report { round: Pin::Wrong, .. } = ask
        {
            return Answer::RoundMismatch;
        }
        match *ask {
            Ask::Create { terms, .. } if terms == gate.terms => Answer::Nothing,
            Ask::Create { .. } => Answer::Exists,
            Ask::Wait { by, .. } if gate.was_approved_by_first(by) => Answer::OwnGate,
            Ask::Wait { .. } if gate.status() != "PENDING" => Answer::Nothing,
            Ask::Wait { by, .. } => {
                gate.first_wait = Some((now, by));
                let taken_back: Vec<_> =
                    gate.votes.iter().filter(|vote| gate.may_not_approve(vote.0)).copied().collect();
                gate.votes.retain(|vote| !taken_back.contains(vote));
                Answer::Waiting
            }
            Ask::Vote { .. } | Ask::Settle { .. } | Ask::Report { .. } if gate.end.is_some() => Answer::AlreadyResolved,
            Ask::Report { fact, value, .. } => match gate.evidence.insert(fact, value) {
                Some(known) if known == value => Answer::Nothing,
                _ => Answer::EvidenceReported,
            },
            Ask::Settle { is_stale: true, .. } => Answer::EtagMismatch,
            Ask::Settle { approves: true, .. } if gate.is_early(now) => Answer::TooEarly,
            Ask::Settle { approves: true, .. } => {
                gate.ended("APPROVED", "POLICY", None, now);
                Answer::Approved
            }
            Ask::Settle { approves: false, .. } => {
                gate.ended("REJECTED", "POLICY", None, now);
                Answer::Rejected
            }
            Ask::Vote { voter, word: Word::Yes, .. } if gate.votes.contains(&(voter, true)) => Answer::Nothing,
            Ask::Vote { voter, word: Word::Yes | Word::No, .. } if voter >= gate.terms.deciders => {
                Answer::NotAnApprover
            }
            Ask::Vote { voter, word: Word::Yes, .. } if gate.may_not_approve(voter) => Answer::OwnGate,
            Ask::Vote { etag: Pin::Wrong, .. } | Ask::Delete { etag: Pin::Wrong } => Answer::EtagMismatch,
            Ask::Vote { digest: Pin::Wrong, .. } => Answer::SubjectChanged,
            Ask::Vote { word: Word::Yes, .. } if gate.is_early(now) => Answer::TooEarly,
            Ask::Vote { voter, word: Word::BreakGlass, .. } => {
                gate.votes.retain(|vote| vote.0 != voter);
                gate.votes.push((voter, true));
                gate.ended("APPROVED", "BREAK_GLASS", Some(voter), now);
                Answer::Approved
            }
            Ask::Vote { voter, word: Word::Yes, .. } => {
                gate.votes.push((voter, true));
                if gate.votes.len() < gate.terms.approvals {
                    return Answer::Voted;
                }
                gate.ended("APPROVED", "DECISION", Some(voter), now);
                Answer::Approved
            }
            Ask::Vote { voter, word: Word::No, .. } => {
                gate.votes.retain(|vote| vote.0 != voter);
                gate.votes.push((voter, false));
                gate.ended("REJECTED", "DECISION", Some(voter), now);
                Answer::Rejected
            }
            Ask::Expire if gate.is_overdue(now) => {
                gate.ended(gate.terms.silence, "TIMEOUT", None, now);
                match gate.terms.silence {
                    "APPROVED" => Answer::Approved,
                    "REJECTED" => Answer::Rejected,
                    _ => Answer::TimedOut,
                }
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
        let word = prop_oneof![16 => Just(Word::Yes), 4 => Just(Word::No), 1 => Just(Word::BreakGlass)];
        let vote = (0..VOTERS, word, pin(), pin(), pin()).prop_map(|(voter, word, round, etag, digest)| Ask::Vote {
            voter,
            word,
            round,
            etag,
            digest,
        });
        let ask = prop_oneof![
            4 => (prop::sample::select(&TERMS[..]), 0..VOTERS).prop_map(|(terms, by)| Ask::Create { terms, by }),
            4 => (0..VOTERS, pin()).prop_map(|(by, round)| Ask::Wait { by, round }),
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
