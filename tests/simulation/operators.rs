//! Those who create, decide and reset gates.

use std::time::{Duration, SystemTime};

use gatepost::client::{Client, Error, Notice};
use gatepost::proto::*;
use tokio::time::timeout;

use crate::chance::Chance;
use crate::coordinator::EPOCH;
use crate::linearizable::{Answered, Asked, Decision, Did, NEVER};
use crate::network;
use crate::seen::{refused, seen};
use crate::world::{FAULTY, World};

/// What each does.
const TURNS: u64 = 50;
/// The longest pause between two.
const PAUSE_MAX: Duration = Duration::from_millis(700);
/// How near to a deadline one may wait for, to decide at it.
const AIM_MAX: Duration = Duration::from_secs(5);
/// How long before a deadline a decision is made that aims at it: about what it takes to arrive.
const AIM: Duration = Duration::from_millis(80);
/// Gates that are in use at a time. After a while others are.
const IN_USE: u64 = 4;
const IN_USE_FOR: Duration = Duration::from_secs(2);

/// Picks one of the gates that are in use now.
pub fn pick(chance: &mut Chance) -> String {
    let from = turmoil::sim_elapsed().unwrap().as_secs() / IN_USE_FOR.as_secs() * IN_USE / 2;
    name(from + chance.below(IN_USE))
}

fn name(number: u64) -> String {
    format!("{}/g{number}", ["a", "b"][usize::from(number.is_multiple_of(2))])
}

/// What a gate asks for, by its name: a decision for ever, or in a short or a longer time.
pub fn spec(gate: &str) -> Spec {
    let number: u64 = gate.split_once("/g").unwrap().1.parse().unwrap();
    let seconds = [0, 2, 7][usize::try_from(number % 3).unwrap()];
    let timeout = (seconds > 0).then_some(gatepost::proto::Duration { seconds, nanos: 0 });
    Spec { timeout, ..Spec::default() }
}

/// Nanoseconds since the start.
pub fn now() -> i64 {
    i64::try_from(turmoil::sim_elapsed().unwrap().as_nanos()).unwrap()
}

/// Nanoseconds from the start to a time that the coordinator says.
pub fn nanos(time: Timestamp) -> i64 {
    let time = SystemTime::try_from(time).unwrap().duration_since(SystemTime::UNIX_EPOCH + EPOCH);
    i64::try_from(time.unwrap().as_nanos()).unwrap()
}

pub struct Operator {
    number: u64,
    client: Client,
    world: World,
    chance: Chance,
    decisions: u64,
}

impl Operator {
    pub fn new(number: usize, world: World, chance: Chance) -> Self {
        Self { number: u64::try_from(number).unwrap(), client: network::client(), world, chance, decisions: 0 }
    }

    pub async fn work(mut self) {
        for _ in 0..TURNS {
            tokio::time::sleep(self.chance.pause(PAUSE_MAX)).await;
            let gate = pick(&mut self.chance);
            // Nobody decides on what they have not looked at.
            let Some(looked) = self.look(&gate).await else { continue };
            match self.chance.below(8) {
                0 => self.create(&gate).await,
                1 | 2 => self.reset(&gate).await,
                turn => {
                    if turn < 5 {
                        self.until_deadline(&looked).await;
                    }
                    let approves = self.chance.below(2) == 0;
                    self.decide(&looked, approves).await;
                }
            }
        }
    }

    /// Decides on whatever waits, as soon as it does, for as long as the network is faulty.
    pub async fn be_quick(mut self) {
        let waiting = WatchRequest { statuses: vec![GateStatus::Waiting.into()], ..WatchRequest::default() };
        let mut watch = self.client.watch(waiting);
        while let Ok(Ok(Some(notice))) = timeout(FAULTY, watch.next()).await {
            if turmoil::sim_elapsed().unwrap() > FAULTY {
                return;
            }
            if let Notice::Event(event) = notice
                && let Some(gate) = event.gate
                && self.chance.below(2) == 0
            {
                self.decide(&gate, true).await;
            }
        }
    }

    /// Decides whatever is left to decide.
    pub async fn decide_all(&mut self) {
        let Ok(left) = self.client.list(ListGatesRequest::default()).await else { return };
        for gate in left.gates.iter().filter(|gate| gate.resolution.is_none()) {
            self.decide(gate, true).await;
        }
    }

    /// Reads a gate. One that is missing is created.
    async fn look(&self, gate: &str) -> Option<Gate> {
        let from = now();
        let read = self.client.get(GetGateRequest { gate: gate.into(), round: 0 }).await;
        let answered = self.tell(gate, Asked::Get, from, &read);
        if answered == Answered::Missing {
            self.create(gate).await;
        }
        read.ok()
    }

    async fn create(&self, gate: &str) {
        let from = now();
        let request = CreateGateRequest { gate: gate.into(), spec: Some(spec(gate)), ..CreateGateRequest::default() };
        let created = self.client.create(request).await;
        self.tell(gate, Asked::Create, from, &created);
    }

    async fn reset(&self, gate: &str) {
        let from = now();
        let reset = self.client.reset(ResetGateRequest { gate: gate.into(), ..ResetGateRequest::default() }).await;
        self.tell(gate, Asked::Reset, from, &reset);
    }

    /// Decides on the round that was looked at: an attempt that arrives late then decides no other.
    async fn decide(&mut self, looked: &Gate, approves: bool) {
        self.decisions += 1;
        let (gate, round) = (looked.name.clone(), looked.round);
        let decision = Decision { number: self.number * 1_000_000 + self.decisions, approves, round };
        let (from, on_behalf_of) = (now(), decision.number.to_string());
        let decided = if approves {
            let request = ApproveRequest { gate, on_behalf_of, round, ..ApproveRequest::default() };
            self.client.approve(request).await
        } else {
            let request = RejectRequest { gate, on_behalf_of, round, ..RejectRequest::default() };
            self.client.reject(request).await
        };
        self.tell(&looked.name, Asked::Decide(decision), from, &decided);
    }

    /// Waits until a gate's deadline has almost come, if that is soon.
    async fn until_deadline(&mut self, gate: &Gate) {
        let Some(deadline) = gate.deadline else { return };
        let left = Duration::from_nanos(u64::try_from(nanos(deadline) - now()).unwrap_or_default());
        if left < AIM_MAX {
            tokio::time::sleep(left.saturating_sub(self.chance.pause(AIM))).await;
        }
    }

    /// Tells what was asked and answered.
    fn tell(&self, gate: &str, asked: Asked, from: i64, answer: &Result<Gate, Error>) -> Answered {
        let answered = match answer {
            Ok(gate) => Answered::Gate(seen(gate)),
            Err(error) if error.is_transient() => Answered::Unknown,
            Err(Error::Refused(refusal)) => refused(&refusal.reason, |key| &refusal.metadata[key]),
            Err(other) => panic!("{asked:?} of {gate}: {other}"),
        };
        // What was not answered may still be on its way.
        let to = if answered == Answered::Unknown { NEVER } else { now() };
        let client = u32::try_from(self.number).unwrap();
        self.world.told.borrow_mut().did.push(Did { gate: gate.into(), client, asked, answered, from, to });
        answered
    }
}
