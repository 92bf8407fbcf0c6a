//! Several coordinators of one store in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use tokio::sync::watch::Ref;
use uuid::Uuid;

use super::Memory;
use crate::domain::GateName;
use crate::store::{Crowd, Error, Peers};

/// One of several coordinators, and who waits there.
#[derive(Debug)]
pub(super) struct Peer {
    id: Uuid,
    crowds: HashMap<GateName, Crowd>,
}

impl Memory {
    /// Returns the same store for one more coordinator, which is a peer of all others that were made so. The one that
    /// was made first leads; dropping it elects the next.
    #[must_use]
    pub fn join(&self) -> Self {
        let id = Uuid::new_v4();
        self.shared.peers.send_modify(|peers| peers.push(Peer { id, crowds: HashMap::new() }));
        Self { shared: self.shared.clone(), peer: Some(id) }
    }

    /// Lets all others lead before it does again.
    pub fn abdicate(&self) {
        self.shared.peers.send_modify(|peers| peers.sort_by_key(|peer| Some(peer.id) == self.peer));
    }

    /// Holds the lead, so that nobody is elected meanwhile.
    pub(super) fn leads(&self) -> Result<Ref<'_, Vec<Peer>>, Error> {
        let peers = self.shared.peers.borrow();
        if self.peer.is_none() || is_first(&peers, self.peer) { Ok(peers) } else { Err(Error::Deposed) }
    }
}

#[async_trait]
impl Peers for Memory {
    async fn announce(&self, crowds: Vec<(GateName, Crowd)>) -> Result<(), Error> {
        self.shared.peers.send_if_modified(|peers| {
            if let Some(peer) = peers.iter_mut().find(|peer| Some(peer.id) == self.peer) {
                peer.crowds.extend(crowds);
                peer.crowds.retain(|_, crowd| crowd.count > 0);
            }
            // Nobody leads that did not.
            false
        });
        Ok(())
    }

    fn elsewhere(&self, gate: &GateName) -> Crowd {
        let peers = self.shared.peers.borrow();
        let others = peers.iter().filter(|peer| Some(peer.id) != self.peer);
        Crowd::join(others.filter_map(|peer| peer.crowds.get(gate)))
    }

    async fn elected(&self) {
        // It is told for as long as this is here.
        drop(self.shared.peers.subscribe().wait_for(|peers| is_first(peers, self.peer)).await);
    }

    /// Its end is noticed at once.
    async fn leave(&self) {}

    async fn deposed(&self) {
        drop(self.shared.peers.subscribe().wait_for(|peers| !is_first(peers, self.peer)).await);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.peer.is_some() {
            self.shared.peers.send_modify(|peers| peers.retain(|peer| Some(peer.id) != self.peer));
        }
    }
}

fn is_first(peers: &[Peer], peer: Option<Uuid>) -> bool {
    peers.first().map(|first| first.id) == peer
}
