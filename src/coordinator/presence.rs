//! Tells the other coordinators of the store who waits here, and everybody who waits at any of them.

use std::convert::Infallible;
use std::time::Duration;

use crate::domain::GateName;
use crate::store::{self, Crowd, WAITERS_SHOWN_MAX};

use super::Coordinator;
use super::outage::Outage;

/// The pause between two announcements: who comes and goes meanwhile costs the store nothing.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(200);

/// Announces who waits at each gate where somebody came or went, until the store fails.
pub(super) async fn run(coordinator: &Coordinator) -> Result<Infallible, store::Error> {
    let Some(peers) = coordinator.store.peers() else { return std::future::pending().await };
    let mut outage = Outage::new("telling the other coordinators who waits here");
    loop {
        let gates = coordinator.waiters.moved().await;
        let crowd = |gate: &GateName| (gate.clone(), coordinator.waiters.of(gate, WAITERS_SHOWN_MAX));
        let announced = peers.announce(gates.iter().map(crowd).collect()).await;
        if outage.outlast(announced).await?.is_none() {
            coordinator.waiters.mark(&gates);
        }
        tokio::time::sleep(ANNOUNCE_PAUSE).await;
    }
}

impl Coordinator {
    /// Returns who waits on a gate, at whichever coordinator.
    pub(super) fn waiters_of(&self, gate: &GateName) -> Crowd {
        let here = self.waiters.of(gate, WAITERS_SHOWN_MAX);
        match self.store.peers() {
            Some(peers) => Crowd::join([&here, &peers.elsewhere(gate)]),
            None => here,
        }
    }
}
