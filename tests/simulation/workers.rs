//! Those who wait.

use std::time::Duration;

use gatepost::client::{Client, Error, Outcome, Update};
use gatepost::proto::*;

use crate::chance::Chance;
use crate::linearizable::{Answered, Asked, Did, Seen};
use crate::network;
use crate::operators::{now, pick, spec};
use crate::seen::seen;
use crate::world::World;

/// How often each waits.
const TURNS: usize = 12;
/// The longest pause between two waits.
const PAUSE_MAX: Duration = Duration::from_millis(1500);

/// A wait, and what it was told.
#[derive(Debug)]
pub struct Waited {
    pub gate: String,
    /// The only round, or 0.
    pub round: u32,
    /// The gate as it was told, in order, each with when.
    pub told: Vec<(i64, Seen)>,
    pub ended: Ended,
    pub cuts: usize,
}

/// How a wait ended.
#[derive(Debug, PartialEq)]
pub enum Ended {
    /// With the last gate that was told.
    Resolved,
    /// The only round was reset, undecided.
    Reset,
}

pub struct Worker {
    number: usize,
    client: Client,
    world: World,
    chance: Chance,
}

impl Worker {
    pub fn new(number: usize, world: World, chance: Chance) -> Self {
        Self { number, client: network::client(), world, chance }
    }

    pub async fn work(mut self) {
        for _ in 0..TURNS {
            tokio::time::sleep(self.chance.pause(PAUSE_MAX)).await;
            let gate = pick(&mut self.chance);
            let waiter = Some(Waiter { id: self.number.to_string(), ..Waiter::default() });
            let spec = Some(spec(&gate));
            let any = WaitRequest { gate: gate.clone(), spec, waiter, ..WaitRequest::default() };
            let request = match self.round(&gate).await {
                Some(round) => WaitRequest { round, spec: None, ..any },
                None => any,
            };
            let told = self.wait(request).await;
            self.world.told.borrow_mut().waits.push(told);
        }
    }

    /// Sometimes picks the current round, to wait for no other.
    async fn round(&mut self, gate: &str) -> Option<u32> {
        if self.chance.below(3) > 0 {
            return None;
        }
        let read = self.client.get(GetGateRequest { gate: gate.into(), round: 0 }).await;
        read.ok().map(|gate| gate.round)
    }

    async fn wait(&self, request: WaitRequest) -> Waited {
        let (gate, round, from) = (request.gate.clone(), request.round, now());
        let mut waited = Waited { gate, round, told: Vec::new(), ended: Ended::Resolved, cuts: 0 };
        let mut wait = self.client.wait(request);
        loop {
            match wait.next().await {
                Ok(Some(Update::Gate(gate))) => {
                    let (to, answered) = (now(), seen(&gate));
                    if waited.told.is_empty() && round == 0 {
                        self.tell(&waited.gate, from, to, answered);
                    }
                    waited.told.push((to, answered));
                    if Outcome::try_from(*gate).is_ok() {
                        return waited;
                    }
                }
                Ok(Some(Update::Disconnected { .. })) => waited.cuts += 1,
                Err(Error::Refused(refusal)) if refusal.reason == "ROUND_RESET" => {
                    return Waited { ended: Ended::Reset, ..waited };
                }
                ended => panic!("{waited:?} ended with {ended:?}"),
            }
        }
    }

    /// The first that a wait is told is the gate as it is.
    fn tell(&self, gate: &str, from: i64, to: i64, seen: Seen) {
        let client = 1000 + u32::try_from(self.number).unwrap();
        let answered = Answered::Gate(seen);
        self.world.told.borrow_mut().did.push(Did { gate: gate.into(), client, asked: Asked::Get, answered, from, to });
    }
}
