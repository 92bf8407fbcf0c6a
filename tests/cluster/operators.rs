//! Those who create, decide and reset gates.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use gatepost::client::{Client, Error};
use gatepost::proto::*;

use crate::chance::Chance;
use crate::linearizable::{Answered, Asked, Decision, Did, NEVER};
use crate::load::Progress;
use crate::seen::{refused, seen};
use crate::support::{approve, create, get, reject, reset};
use crate::world::answer_of;

/// The longest pause between two calls.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Gates that are in use at a time. After a while others are.
const IN_USE: u64 = 4;
const IN_USE_FOR: Duration = Duration::from_secs(2);

/// What a gate asks for, by its name: a decision for ever, or in a short or a longer time.
pub fn spec(gate: &str) -> Spec {
    let number: u64 = gate.split_once("/g").unwrap().1.parse().unwrap();
    let seconds = [0, 2, 7][usize::try_from(number % 3).unwrap()];
    let timeout = (seconds > 0).then_some(gatepost::proto::Duration { seconds, nanos: 0 });
    Spec { timeout, ..Spec::default() }
}

/// Returns the number of the nth decision of somebody.
pub fn number(somebody: u64, nth: u64) -> u64 {
    somebody * 1_000_000 + nth
}

/// Nanoseconds since 1970: what happened at the coordinators is on the same clock.
pub fn now() -> i64 {
    nanos(SystemTime::now().into())
}

/// Nanoseconds to a time that a coordinator says.
pub fn nanos(time: Timestamp) -> i64 {
    time.seconds * 1_000_000_000 + i64::from(time.nanos)
}

pub struct Operator {
    number: u64,
    client: Client,
    calls: u64,
    chance: Chance,
    progress: Arc<Progress>,
    did: Vec<Did>,
}

impl Operator {
    pub fn new(number: u64, client: Client, chance: Chance, progress: Arc<Progress>) -> Self {
        Self { number, client, calls: 0, chance, progress, did: Vec::new() }
    }

    /// Works until the load ends, and returns what was asked and answered.
    pub async fn work(mut self) -> Vec<Did> {
        while !self.progress.stop.is_cancelled() {
            tokio::time::sleep(self.chance.pause(PAUSE_MAX)).await;
            let gate = self.progress.pick(&mut self.chance);
            // Nobody decides on what they have not looked at.
            let Some(looked) = self.call(&gate, Asked::Get).await else {
                self.call(&gate, Asked::Create).await;
                continue;
            };
            match self.chance.below(8) {
                0 => self.call(&gate, Asked::Create).await,
                1 | 2 => self.call(&gate, Asked::Reset).await,
                turn => self.decide(&gate, looked.round, turn % 2 == 0).await,
            };
        }
        self.did
    }

    /// Decides whatever is left to decide.
    pub async fn decide_all(&mut self) {
        let left = answer_of(async || self.client.list(ListGatesRequest::default()).await).await;
        for gate in left.gates.iter().filter(|gate| gate.resolution.is_none()) {
            self.decide(&gate.name, gate.round, true).await;
        }
    }

    pub fn into_did(self) -> Vec<Did> {
        self.did
    }

    /// Decides on the round that was looked at: an attempt that arrives late then decides no other.
    pub async fn decide(&mut self, gate: &str, round: u32, approves: bool) -> Option<Gate> {
        let number = number(self.number, self.calls);
        self.call(gate, Asked::Decide(Decision { number, approves, round })).await
    }

    /// Calls again and again, as the same request, until there is an answer. None: it was refused.
    pub async fn call(&mut self, gate: &str, asked: Asked) -> Option<Gate> {
        self.calls += 1;
        let client = u32::try_from(self.number).unwrap();
        let request_id = format!("{client}-{}", self.calls);
        let mut unanswered: Option<Did> = None;
        loop {
            let from = now();
            let answer = ask(&self.client, gate, asked, &request_id).await;
            let answered = answered(&answer);
            let mut did = Did { gate: gate.into(), client, asked, answered, from, to: now() };
            match (unanswered.take(), answered) {
                (None, _) => {}
                // It was done once, be it now or before.
                (Some(first), Answered::Gate(_) | Answered::Unknown) => did.from = first.from,
                // It was not done now, but an attempt may still be on its way.
                (Some(first), Answered::Missing | Answered::Resolved(_) | Answered::OtherRound(_)) => {
                    self.did.push(first);
                }
            }
            if answered != Answered::Unknown {
                if asked != Asked::Get && matches!(answered, Answered::Gate(_)) {
                    self.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                self.did.push(did);
                return answer.ok();
            }
            did.to = NEVER;
            unanswered = Some(did);
        }
    }
}

async fn ask(client: &Client, gate: &str, asked: Asked, request_id: &str) -> Result<Gate, Error> {
    let request_id = request_id.to_owned();
    match asked {
        Asked::Create => client.create(CreateGateRequest { spec: Some(spec(gate)), request_id, ..create(gate) }).await,
        Asked::Get => client.get(get(gate)).await,
        Asked::Reset => client.reset(ResetGateRequest { request_id, ..reset(gate) }).await,
        Asked::Decide(Decision { number, approves, round }) => {
            let on_behalf_of = number.to_string();
            if approves {
                client.approve(ApproveRequest { on_behalf_of, request_id, round, ..approve(gate) }).await
            } else {
                client.reject(RejectRequest { on_behalf_of, request_id, round, ..reject(gate) }).await
            }
        }
        Asked::Arrive | Asked::Expire => unreachable!("workers arrive, and nobody asks for a timeout"),
    }
}

/// What an answer says.
pub fn answered(answer: &Result<Gate, Error>) -> Answered {
    match answer {
        Ok(gate) => Answered::Gate(seen(gate)),
        Err(error) if error.is_transient() => Answered::Unknown,
        Err(Error::Refused(refusal)) => refused(&refusal.reason, |key| &refusal.metadata[key]),
        Err(other) => panic!("{other}"),
    }
}

impl Progress {
    /// Picks one of the gates that are in use now.
    pub fn pick(&self, chance: &mut Chance) -> String {
        let from = self.begin.elapsed().as_secs() / IN_USE_FOR.as_secs() * IN_USE / 2;
        format!("load/g{}", from + chance.below(IN_USE))
    }
}
