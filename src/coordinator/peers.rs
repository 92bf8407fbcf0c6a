//! What is different where several coordinators share a store: one of them leads.

use std::convert::Infallible;

use crate::metrics::LEADER;
use crate::store;

use super::Coordinator;

/// Tells, for ever, whether this coordinator leads; nothing where there are no others.
pub(super) async fn run(coordinator: &Coordinator) -> Result<Infallible, store::Error> {
    let Some(peers) = coordinator.store.peers() else { return std::future::pending().await };
    loop {
        metrics::gauge!(LEADER).set(0);
        peers.elected().await;
        metrics::gauge!(LEADER).set(1);
        tracing::info!("this coordinator leads: it delivers webhooks, and forgets what is old");
        peers.deposed().await;
        tracing::info!("this coordinator does not lead any more");
    }
}

impl Coordinator {
    /// Says whether there may be other coordinators of the store.
    #[must_use]
    pub fn has_peers(&self) -> bool {
        self.store.peers().is_some()
    }

    /// Waits until this one does what only one of them may do: at once where there are no others.
    pub async fn elected(&self) {
        if let Some(peers) = self.store.peers() {
            peers.elected().await;
        }
    }

    /// Waits until another one may do it: for ever where there are no others.
    pub async fn deposed(&self) {
        match self.store.peers() {
            Some(peers) => peers.deposed().await,
            None => std::future::pending().await,
        }
    }
}
