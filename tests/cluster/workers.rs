//! Those who wait.

use std::sync::Arc;
use std::time::Duration;

use gatepost::client::{Client, Error, Outcome, Update};
use gatepost::proto::*;

use crate::chance::Chance;
use crate::linearizable::{Answered, Asked, Did, Seen};
use crate::load::Progress;
use crate::operators::{now, spec};
use crate::seen::seen;
use crate::support::{get, wait, wait_with};

/// The longest pause between two waits.
const PAUSE_MAX: Duration = Duration::from_millis(300);

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
    number: u64,
    client: Client,
    chance: Chance,
    progress: Arc<Progress>,
    did: Vec<Did>,
}

impl Worker {
    pub fn new(number: u64, client: Client, chance: Chance, progress: Arc<Progress>) -> Self {
        Self { number, client, chance, progress, did: Vec::new() }
    }

    /// Waits until the load ends, and returns what was told.
    pub async fn work(mut self) -> (Vec<Did>, Vec<Waited>) {
        let mut waits = Vec::new();
        while !self.progress.stop.is_cancelled() {
            tokio::time::sleep(self.chance.pause(PAUSE_MAX)).await;
            let gate = self.progress.pick(&mut self.chance);
            let request = match self.round(&gate).await {
                Some(round) => WaitRequest { round, ..wait(&gate) },
                None => wait_with(&gate, spec(&gate)),
            };
            waits.push(self.wait(request).await);
        }
        (self.did, waits)
    }

    /// Sometimes picks the current round, to wait for no other.
    async fn round(&mut self, gate: &str) -> Option<u32> {
        if self.chance.below(3) > 0 {
            return None;
        }
        self.client.get(get(gate)).await.ok().map(|gate| gate.round)
    }

    async fn wait(&mut self, request: WaitRequest) -> Waited {
        let from = now();
        let waited = follow(&self.client, request).await;
        if let (0, Some(&(to, first))) = (waited.round, waited.told.first()) {
            // The first that a wait is told is the gate as it is.
            let (gate, client) = (waited.gate.clone(), u32::try_from(self.number).unwrap());
            self.did.push(Did { gate, client, asked: Asked::Get, answered: Answered::Gate(first), from, to });
        }
        waited
    }
}

/// Waits to the end.
pub async fn follow(client: &Client, request: WaitRequest) -> Waited {
    let (gate, round) = (request.gate.clone(), request.round);
    let mut waited = Waited { gate, round, told: Vec::new(), ended: Ended::Resolved, cuts: 0 };
    let mut wait = client.wait(request);
    loop {
        match wait.next().await {
            Ok(Some(Update::Gate(gate))) => {
                waited.told.push((now(), seen(&gate)));
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
