//! The domain against a model: random commands at random times, and after each the same answer and the same gates.
//!
//! The model is written from the guide's words, in numbers and plain text, and shares no code with the domain.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/reference.rs"]
mod reference;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::domain::{
    Authentication, Ballot, Cause, Command, Etag, Event, EventKind, Facts, Gate, GateName, Identity, OnTimeout, Party,
    Principal, Refusal, Resolution, Revision, Round, Ruling, Spec, Status, Subject, Uid, Verdict, decide,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use reference::{Answer, Ask, End, FACTS, Model, ModelGate, Pin, Step, Terms, VOTERS, Word, is_verified};

prop_state_machine! {
    // No file of seeds: a failure prints its shortest sequence, which belongs into the tests of `decide` by name.
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn gates_answer_and_change_as_the_model_does(sequential 1..120 => Domain);
}

#[test]
fn the_random_commands_reach_every_answer_often() {
    let mut runner = TestRunner::deterministic();
    let mut times = BTreeMap::new();
    for _ in 0..50 {
        let (mut model, steps, _) = Model::sequential_strategy(120).new_tree(&mut runner).unwrap().current();
        for step in &steps {
            model = Model::apply(model, step);
            if matches!(step, Step::Ask(..)) {
                *times.entry(model.answer).or_insert(0) += 1;
            }
        }
    }
    let rare: Vec<_> = Answer::ALL.iter().filter(|answer| times.get(answer).is_none_or(|times| *times < 20)).collect();
    assert!(rare.is_empty(), "{rare:?} in {times:?}");
}

/// The real gates, driven as a store would drive them, and all that may never change.
#[derive(Default)]
struct Domain {
    gates: BTreeMap<usize, Gate>,
    revision: Revision,
    /// The etag that each name's gate had before its last event.
    stale_etags: HashMap<usize, Etag>,
    rounds: HashMap<Uid, Round>,
    deadlines: HashMap<(Uid, Round), SystemTime>,
    resolutions: HashMap<(Uid, Round), (Status, Resolution)>,
}

impl StateMachineTest for Domain {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        Self::default()
    }

    fn apply(mut domain: Self, model: &Model, step: Step) -> Self {
        let Step::Ask(number, ask) = step else { return domain };
        let name = GateName::parse("gate", &format!("gates/{number}")).unwrap();
        let command = domain.command(number, &ask, model.steps);
        let result = decide(&name, domain.gates.get(&number), &command, time(model.now));
        assert_eq!(answer(&result), model.answer, "{command:?}");

        if let Ok(Some(event)) = result {
            assert_eq!(Some(seen(&event.gate)), model.changed, "{command:?}");
            domain.commit(number, event);
        }
        domain
    }

    fn check_invariants(domain: &Self, model: &Model) {
        let gates: BTreeMap<_, _> = domain.gates.iter().map(|(number, gate)| (*number, seen(gate))).collect();
        assert_eq!(gates, model.gates);
    }
}

impl Domain {
    fn command(&self, number: usize, ask: &Ask, step: u32) -> Command {
        let gate = self.gates.get(&number);
        let operator = || identity(VOTERS);
        let round = |pin| match pin {
            Pin::Free => None,
            Pin::Right => gate.map(|gate| gate.round),
            Pin::Wrong => gate.map(|gate| Round::new(gate.round.get() - 1).unwrap_or(gate.round.next())),
        };
        let etag = |pin| match pin {
            Pin::Free => None,
            Pin::Right => gate.map(Gate::etag),
            Pin::Wrong => Some(self.stale_etags.get(&number).cloned().unwrap_or(Etag("none".into()))),
        };
        let digest = |pin| match pin {
            Pin::Free => None,
            Pin::Right => gate.map(|gate| gate.spec.subject.clone().unwrap_or_default().digest),
            Pin::Wrong => Some("sha256:other".into()),
        };
        match *ask {
            Ask::Create { terms, by } => {
                Command::Create { uid: Uid(step.to_string()), spec: spec(terms), requester: principal(by) }
            }
            Ask::Wait { by, round: pin } => Command::Wait { round: round(pin), uid: None, by: principal(by) },
            Ask::Vote { voter, word, round: round_pin, etag: etag_pin, digest: digest_pin } => {
                let ballot = Ballot {
                    round: round(round_pin),
                    etag: etag(etag_pin),
                    subject_digest: digest(digest_pin),
                    ..identity(voter).into()
                };
                match word {
                    Word::Yes => Command::Approve(ballot),
                    Word::No => Command::Reject(ballot),
                    Word::BreakGlass => Command::BreakGlass(ballot),
                }
            }
            Ask::Settle { approves, is_stale } => {
                let verdict = if approves { Verdict::Approve } else { Verdict::Reject };
                let etag = etag(if is_stale { Pin::Wrong } else { Pin::Right }).unwrap_or(Etag("none".into()));
                Command::Settle(Ruling { rule: "rule".into(), verdict, etag })
            }
            Ask::Report { fact, value, round: pin } => {
                let facts = Facts::parse([(fact.to_string(), value.to_string())].into()).unwrap();
                Command::ReportEvidence { facts, round: round(pin), by: operator().principal }
            }
            Ask::Expire => Command::Expire,
            Ask::Reset => Command::Reset { by: operator().principal },
            Ask::Delete { etag: pin } => Command::Delete { by: operator(), etag: etag(pin) },
        }
    }

    /// Stamps an event, checks it against all that happened before, and keeps its gate.
    fn commit(&mut self, number: usize, event: Event) {
        assert_eq!(event.revision(), Revision::ZERO, "only a store gives revisions");
        self.revision = Revision(self.revision.0 + 1 + self.revision.0 % 3);
        let event = event.stamped(self.revision);
        let (kind, gate) = (event.kind, event.gate);
        assert_eq!(gate.revision, self.revision);
        let this_round = (gate.uid.clone(), gate.round);

        let round = self.rounds.entry(gate.uid.clone()).or_insert(gate.round);
        assert!(*round <= gate.round, "round {round} fell to {}", gate.round);
        *round = gate.round;

        if let Some(deadline) = self.deadlines.get(&this_round) {
            assert_eq!(gate.deadline, Some(*deadline), "the deadline moved");
        } else if let Some(deadline) = gate.deadline {
            self.deadlines.insert(this_round.clone(), deadline);
        }

        let voters: BTreeSet<_> = gate.votes.iter().map(|vote| &vote.voter).collect();
        assert_eq!(voters.len(), gate.votes.len(), "somebody has two votes");

        assert_eq!(gate.status.is_terminal(), gate.resolution.is_some());
        let first = self.resolutions.get(&this_round).cloned();
        match (gate.resolution.clone().map(|resolution| (gate.status, resolution)), first) {
            (None, None) => {}
            (Some((status, resolution)), None) => {
                assert_eq!(resolution.revision, gate.revision);
                assert!(resolution.cause == Cause::Timeout || status != Status::TimedOut);
                assert_eq!(resolution.by.is_none(), resolution.authentication.is_none());
                let by_nobody = matches!(resolution.cause, Cause::Timeout | Cause::AutoApprove | Cause::Policy);
                assert_eq!(resolution.by.is_none(), by_nobody);
                let in_time = gate.deadline.is_none_or(|deadline| resolution.time < deadline);
                assert_eq!(in_time, resolution.cause != Cause::Timeout, "decided too late, or timed out too early");
                self.resolutions.insert(this_round, (status, resolution));
            }
            (now, first) => assert_eq!(now, first, "the round has another resolution"),
        }

        if let Some(before) = self.gates.insert(number, gate) {
            self.stale_etags.insert(number, before.etag());
        }
        if kind == EventKind::Deleted {
            self.gates.remove(&number);
        }
    }
}

/// Names an answer as the model does.
fn answer(result: &Result<Option<Event>, Refusal>) -> Answer {
    match result {
        Ok(None) => Answer::Nothing,
        Ok(Some(event)) => match (event.kind, event.gate.status) {
            (EventKind::Created, _) => Answer::Created,
            (EventKind::Waiting, _) => Answer::Waiting,
            (EventKind::Voted, _) => Answer::Voted,
            (EventKind::EvidenceReported, _) => Answer::EvidenceReported,
            (EventKind::Resolved, Status::Approved) => Answer::Approved,
            (EventKind::Resolved, Status::Rejected) => Answer::Rejected,
            (EventKind::Resolved, Status::TimedOut) => Answer::TimedOut,
            (EventKind::Resolved, status) => panic!("resolved, and {status}"),
            (EventKind::Reset, _) => Answer::Reset,
            (EventKind::Deleted, _) => Answer::Deleted,
        },
        Err(refusal) => match refusal {
            Refusal::NotFound(_) => Answer::NotFound,
            Refusal::Exists { .. } => Answer::Exists,
            Refusal::Overdue { .. } => Answer::Overdue,
            Refusal::NotDue { .. } => Answer::NotDue,
            Refusal::AlreadyResolved(_) => Answer::AlreadyResolved,
            Refusal::RoundMismatch { .. } => Answer::RoundMismatch,
            Refusal::EtagMismatch { .. } => Answer::EtagMismatch,
            Refusal::SubjectChanged { .. } => Answer::SubjectChanged,
            Refusal::NotAnApprover { .. } => Answer::NotAnApprover,
            Refusal::OwnGate { .. } | Refusal::OwnApproval { .. } => Answer::OwnGate,
            Refusal::TooEarly { .. } => Answer::TooEarly,
            Refusal::TooManyFacts { .. } => panic!("a model of {FACTS} facts has room for them"),
        },
    }
}

/// Shows a gate as the model sees it.
fn seen(gate: &Gate) -> ModelGate {
    let seen = ModelGate {
        uid: gate.uid.0.parse().unwrap(),
        terms: Terms {
            timeout: gate.spec.timeout.map(nanos),
            approvals: gate.spec.required_approvals.try_into().unwrap(),
            auto_approve: gate.spec.auto_approve,
            has_subject: gate.spec.subject.is_some(),
            deciders: gate.spec.approvers.len(),
            forbids_requester: gate.spec.forbid_requester,
            min_wait: gate.spec.min_wait.map(nanos),
            silence: match gate.spec.on_timeout {
                OnTimeout::TimeOut => "TIMED_OUT",
                OnTimeout::Approve => "APPROVED",
                OnTimeout::Reject => "REJECTED",
            },
        },
        requester: person(&gate.requester),
        round: gate.round.get(),
        updated: since_epoch(gate.update_time),
        first_wait: gate.wait_time.map(since_epoch).zip(gate.first_waiter.as_ref().map(person)),
        votes: gate.votes.iter().map(|vote| (person(&vote.voter), vote.verdict == Verdict::Approve)).collect(),
        evidence: gate.evidence.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap())).collect(),
        end: gate.resolution.as_ref().map(|resolution| End {
            status: gate.status.as_str(),
            cause: resolution.cause.as_str(),
            by: resolution.by.as_ref().map(person),
            time: since_epoch(resolution.time),
        }),
    };
    // What the model does not keep, but can tell.
    assert_eq!(gate.status.as_str(), seen.status());
    assert_eq!(gate.deadline.map(since_epoch), seen.deadline());
    assert_eq!(usize::try_from(gate.approvals_missing()).unwrap(), seen.approvals_missing());
    seen
}

fn spec(terms: Terms) -> Spec {
    Spec {
        timeout: terms.timeout.map(Duration::from_nanos),
        auto_approve: terms.auto_approve,
        required_approvals: terms.approvals.try_into().unwrap(),
        subject: terms.has_subject.then(|| Subject { uri: String::new(), digest: "sha256:subject".into() }),
        approvers: (0..terms.deciders).map(|decider| Party::Principal(principal(decider))).collect(),
        forbid_requester: terms.forbids_requester,
        min_wait: terms.min_wait.map(Duration::from_nanos),
        on_timeout: match terms.silence {
            "APPROVED" => OnTimeout::Approve,
            "REJECTED" => OnTimeout::Reject,
            _ => OnTimeout::TimeOut,
        },
        ..Spec::default()
    }
}

fn principal(person: usize) -> Principal {
    Principal::parse(&person.to_string()).unwrap()
}

fn identity(person: usize) -> Identity {
    let authentication = if is_verified(person) { Authentication::Jwt } else { Authentication::Anonymous };
    Identity { authentication, ..principal(person).into() }
}

fn person(principal: &Principal) -> usize {
    principal.as_str().parse().unwrap()
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn since_epoch(time: SystemTime) -> u64 {
    nanos(time.duration_since(UNIX_EPOCH).unwrap())
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap()
}
