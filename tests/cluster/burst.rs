//! Many decisions at once, for a fault to come upon.

use std::time::Duration;

use futures_util::future::join_all;
use gatepost::proto::ApproveRequest;
use tokio::task::JoinHandle;
use tonic_types::StatusExt;

use crate::chance::Chance;
use crate::linearizable::{Answered, Asked, Decision, Did, NEVER};
use crate::load::Load;
use crate::operators::{now, number};
use crate::seen::{refused, seen};
use crate::support::{Gates, approve, get, ok};
use crate::world::{direct, gates, made};

const GATES: usize = 200;
/// The longest that they have been under way: some are done by then, and some have not begun.
const BEFORE_MAX: Duration = Duration::from_millis(800);

/// Gates, each of which is approved once.
pub struct Burst {
    pub gates: Vec<String>,
    begun: Vec<JoinHandle<Did>>,
}

impl Burst {
    /// Makes the gates, at a coordinator.
    pub async fn new(host: u8, group: &str) -> Self {
        let gates: Vec<_> = (0..GATES).map(|number| format!("{group}/g{number}")).collect();
        let client = direct(host);
        join_all(gates.iter().map(|gate| made(&client, gate))).await;
        Self { gates, begun: Vec::new() }
    }

    /// Begins to approve all of them at some coordinators, and returns in the middle of that.
    pub async fn begin(&mut self, load: &mut Load, chance: &mut Chance, hosts: &[u8]) {
        let mut connections: Vec<_> = hosts.iter().map(|host| gates(*host)).collect();
        // Each is there before it is needed.
        for connection in &mut connections {
            ok(connection.get_gate(get(&self.gates[0]))).await;
        }
        let somebody = load.number();
        let decide = |(gate, connection): (&String, &Gates)| decide(connection.clone(), gate.clone(), somebody);
        let decisions = self.gates.iter().zip(connections.iter().cycle()).map(decide);
        self.begun = decisions.map(tokio::spawn).collect();
        tokio::time::sleep(chance.pause(BEFORE_MAX)).await;
    }

    /// Returns what came of each.
    pub async fn end(self) -> Vec<Did> {
        join_all(self.begun).await.into_iter().map(Result::unwrap).collect()
    }
}

/// Approves, however long that takes.
async fn decide(mut gates: Gates, gate: String, somebody: u64) -> Did {
    let from = now();
    let nth = gate.rsplit_once('g').unwrap().1.parse().unwrap();
    let number = number(somebody, nth);
    let request = ApproveRequest { on_behalf_of: number.to_string(), ..approve(&gate) };
    let answered = match gates.approve(request).await {
        Ok(gate) => Answered::Gate(seen(gate.get_ref())),
        Err(status) => {
            let info = status.get_details_error_info().unwrap_or_else(|| panic!("{status:?}"));
            match info.reason.as_str() {
                "STORE_UNAVAILABLE" => Answered::Unknown,
                reason => refused(reason, |key| &info.metadata[key]),
            }
        }
    };
    let to = if answered == Answered::Unknown { NEVER } else { now() };
    let asked = Asked::Decide(Decision { number, approves: true, round: 0 });
    Did { gate, client: u32::try_from(somebody).unwrap(), asked, answered, from, to }
}
