//! The places for connections: only so many, of one peer and in all.
//!
//! Who holds a place without a call that was let in gives it up first, so that a flood of silent connections, or of those
//! that nobody knows, keeps nobody out who is known.
//! A peer that has as many as it may takes the place of one of its own, and never that of another peer.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::metrics::{CONNECTIONS, Live};

/// Who connects: an address; of IPv6 the whole network that one host is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

impl Peer {
    /// The peer with an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Why there is no place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// For anybody.
    #[error("{0} are open, and all are in use")]
    All(usize),
    /// For this peer.
    #[error("{0} of this peer are open, and all are in use")]
    Peer(usize),
}

/// The places for connections.
pub struct Places {
    max: usize,
    max_per_peer: usize,
    // Held to count, and never across an await.
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    /// The number of the last connection.
    last: u64,
    /// The peers of the connections without a call that was let in, oldest first.
    unknown: BTreeMap<u64, Peer>,
    /// What each peer has, of those who have any.
    of: HashMap<Peer, Held>,
}

/// What one peer has.
#[derive(Default)]
struct Held {
    count: usize,
    /// The connections without a call that was let in, oldest first, and how to ask each to give up its place.
    unknown: BTreeMap<u64, CancellationToken>,
}

impl Taken {
    /// Ends the connection of a peer that has been unknown for longest, if there is one. Its place is free a little later.
    fn free_one_of(&mut self, peer: Peer) -> bool {
        let oldest = self.of.get_mut(&peer).and_then(|held| held.unknown.pop_first());
        let Some((number, end)) = oldest else { return false };
        self.unknown.remove(&number);
        end.cancel();
        true
    }

    /// Does the same with the one of all peers that has been unknown for longest.
    fn free_one(&mut self) -> bool {
        let oldest = self.unknown.first_key_value().map(|(_, peer)| *peer);
        oldest.is_some_and(|peer| self.free_one_of(peer))
    }
}

impl Places {
    /// Makes so many places, so many of them for each peer.
    pub fn new(max: usize, max_per_peer: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_peer, taken: Mutex::default() })
    }

    /// Takes a place, one that an unknown connection gives up if need be.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn take(self: &Arc<Self>, peer: Peer) -> Result<Place, Full> {
        let mut taken = self.lock();
        if taken.of.get(&peer).is_some_and(|held| held.count >= self.max_per_peer) {
            // One place for another: there is room in all as there was.
            if !taken.free_one_of(peer) {
                return Err(Full::Peer(self.max_per_peer));
            }
        } else if taken.count >= self.max && !taken.free_one() {
            return Err(Full::All(self.max));
        }
        taken.count += 1;
        taken.last += 1;
        let (number, end) = (taken.last, CancellationToken::new());
        taken.unknown.insert(number, peer);
        let held = taken.of.entry(peer).or_default();
        held.count += 1;
        held.unknown.insert(number, end.clone());
        Ok(Place {
            places: Arc::clone(self),
            peer,
            number,
            end,
            kept: AtomicBool::new(false),
            _counted: Live::new(CONNECTIONS),
        })
    }

    /// Asks the connection that has been unknown for longest to give up its place.
    pub fn free_one(&self) {
        self.lock().free_one();
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing in here panics half-way through a change.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, given up when dropped.
pub struct Place {
    places: Arc<Places>,
    peer: Peer,
    number: u64,
    /// Asks the connection to give it up.
    end: CancellationToken,
    kept: AtomicBool,
    _counted: Live,
}

impl Place {
    /// Completes when another wants the place.
    pub fn wanted(&self) -> impl Future<Output = ()> + Send + 'static {
        self.end.clone().cancelled_owned()
    }

    /// Keeps the place from now on: a call of somebody was let in. If another has it already, that is too late.
    pub fn keep(&self) {
        // Each call says so.
        if self.kept.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut taken = self.places.lock();
        taken.unknown.remove(&self.number);
        if let Some(held) = taken.of.get_mut(&self.peer) {
            held.unknown.remove(&self.number);
        }
    }

    /// Says whether no other gets the place any more. One that was wanted before is not kept.
    pub fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed) && !self.end.is_cancelled()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keep();
        let mut taken = self.places.lock();
        taken.count -= 1;
        if let Entry::Occupied(mut held) = taken.of.entry(self.peer) {
            held.get_mut().count -= 1;
            if held.get().count == 0 {
                held.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(max: usize, max_per_peer: usize) -> Arc<Places> {
        Places::new(max, max_per_peer)
    }

    fn peer(address: &str) -> Peer {
        Peer::of(address.parse().unwrap())
    }

    fn become_known(place: &Place) {
        place.keep();
        assert!(place.is_kept());
    }

    #[test]
    fn a_peer_that_has_all_it_may_gives_up_its_own_unknown_ones_only() {
        let places = places(10, 2);
        let (one, other) = (peer("10.0.0.1"), peer("10.0.0.2"));
        let others = places.take(other).unwrap();
        let first = places.take(one).unwrap();
        let second = places.take(one).unwrap();
        become_known(&first);
        let third = places.take(one).unwrap();
        assert!(second.end.is_cancelled() && !others.end.is_cancelled() && !first.end.is_cancelled());
        drop(second);
        become_known(&third);
        assert_eq!(places.take(one).err(), Some(Full::Peer(2)));
        assert!(places.take(other).is_ok());
        drop(third);
        assert!(places.take(one).is_ok());
    }

    #[test]
    fn whoever_has_been_unknown_for_longest_gives_way_when_all_places_are_taken() {
        let places = places(2, 2);
        let first = places.take(peer("10.0.0.1")).unwrap();
        let second = places.take(peer("10.0.0.2")).unwrap();
        let third = places.take(peer("10.0.0.3")).unwrap();
        assert!(first.end.is_cancelled() && !second.end.is_cancelled());
        drop(first);
        become_known(&second);
        become_known(&third);
        assert_eq!(places.take(peer("10.0.0.3")).err(), Some(Full::All(2)));
    }

    #[test]
    fn a_place_that_another_has_is_kept_too_late() {
        let places = places(1, 1);
        let first = places.take(peer("10.0.0.1")).unwrap();
        let second = places.take(peer("10.0.0.2")).unwrap();
        first.keep();
        assert!(!first.is_kept());
        become_known(&second);
    }

    #[test]
    fn nothing_is_kept_of_who_is_gone() {
        let places = places(4, 4);
        drop([places.take(peer("10.0.0.1")), places.take(peer("10.0.0.1")), places.take(peer("::1"))]);
        let taken = places.lock();
        assert!(taken.count == 0 && taken.unknown.is_empty() && taken.of.is_empty());
    }

    #[test]
    fn a_peer_is_an_address_or_a_network_of_ipv6() {
        assert_eq!(peer("2001:db8:1:2:3::4"), peer("2001:db8:1:2:ffff::1"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
    }
}
