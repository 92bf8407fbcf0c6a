//! Who waits on which gate now, and how an event reaches them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::domain::{Event, GateName};
use crate::metrics::{Live, WAITERS};

/// A worker that waits on a gate, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Its own name for itself.
    pub id: String,
    /// Where it runs.
    pub host: String,
    /// Anything a person may want to know.
    pub note: String,
    /// Since when it waits.
    pub since: SystemTime,
}

/// The live waits of all gates.
///
/// A std mutex: it is held for a look-up at a time and never across an await.
#[derive(Default)]
pub(super) struct Waiters(Mutex<Rooms>);

#[derive(Default)]
struct Rooms {
    next_seat: u64,
    of: HashMap<GateName, Room>,
}

/// Those who wait on one gate. Its channel holds the latest event only, so that a slow waiter costs nothing, and a
/// terminal event is the last one in it: the room is left to those who sit in it, and the next to come opens another.
struct Room {
    events: watch::Sender<Option<Arc<Event>>>,
    /// By seat, and so longest first.
    waiters: BTreeMap<u64, Waiter>,
}

impl Waiters {
    /// Takes a seat: every event of the gate that is published from now on reaches it, or a later one does.
    pub fn sit(self: &Arc<Self>, name: &GateName, waiter: Waiter) -> Seat {
        let mut rooms = self.lock();
        rooms.next_seat += 1;
        let number = rooms.next_seat;
        let room = rooms.of.entry(name.clone()).or_insert_with(|| {
            let (events, _) = watch::channel(None);
            Room { events, waiters: BTreeMap::new() }
        });
        room.waiters.insert(number, waiter);
        Seat {
            waiters: self.clone(),
            name: name.clone(),
            number,
            events: room.events.subscribe(),
            _counted: Live::new(WAITERS),
        }
    }

    /// Hands an event to those who wait on its gate.
    pub fn publish(&self, event: Arc<Event>) {
        let mut rooms = self.lock();
        let ends_round = event.ends_round();
        // The name is needed after the event has been handed over only if the room closes.
        if ends_round {
            if let Some(room) = rooms.of.remove(&event.gate.name) {
                room.events.send_replace(Some(event));
            }
        } else if let Some(room) = rooms.of.get(&event.gate.name) {
            room.events.send_replace(Some(event));
        }
    }

    /// Returns the `limit` longest waiters of a gate, and how many there are.
    pub fn of(&self, name: &GateName, limit: usize) -> (Vec<Waiter>, usize) {
        self.lock().of.get(name).map_or_else(Default::default, |room| {
            (room.waiters.values().take(limit).cloned().collect(), room.waiters.len())
        })
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        // Nothing panics while it is held, and if it did, the map would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiter's place at a gate, given up when dropped.
pub(super) struct Seat {
    waiters: Arc<Waiters>,
    name: GateName,
    number: u64,
    events: watch::Receiver<Option<Arc<Event>>>,
    _counted: Live,
}

impl Seat {
    /// Waits for the gate's latest event; none once the round that the seat was taken in is over and told.
    ///
    /// Dropping the future loses nothing.
    pub async fn event(&mut self) -> Option<Arc<Event>> {
        self.events.changed().await.ok()?;
        self.events.borrow_and_update().clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = self.waiters.lock();
        if let Some(room) = rooms.of.get_mut(&self.name) {
            room.waiters.remove(&self.number);
            if room.waiters.is_empty() {
                rooms.of.remove(&self.name);
            }
        }
    }
}
