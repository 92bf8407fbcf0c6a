//! Who waits on which gate now, and how an event reaches them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::domain::{Event, GateName, Waiter};
use crate::metrics::{Live, WAITERS};
use crate::store::Crowd;

use super::Error;

/// The live waits of all gates.
pub(super) struct Waiters {
    /// How many may wait on one gate.
    max: usize,
    /// Told when somebody has come to a gate or gone; none if nobody asks.
    moved: Option<Notify>,
    // Held for a look-up at a time and never across an await.
    rooms: Mutex<Rooms>,
}

#[derive(Default)]
struct Rooms {
    next_seat: u64,
    of: HashMap<GateName, Room>,
    /// Where somebody has come or gone since it was asked for; always empty if nobody asks.
    moved: HashSet<GateName>,
}

/// Those who wait on one gate. Its channel holds the latest event only, so that a slow waiter costs nothing, and a
/// terminal event is the last one in it: the room is left to those who sit in it, and the next to come opens another.
struct Room {
    events: watch::Sender<Option<Arc<Event>>>,
    /// By seat, and so longest first.
    waiters: BTreeMap<u64, Waiter>,
}

impl Waiters {
    /// Makes room for so many at each gate, and notes who comes and goes if it will be asked for.
    pub fn new(max: usize, notes_moves: bool) -> Self {
        Self { max, moved: notes_moves.then(Notify::new), rooms: Mutex::default() }
    }

    /// Takes a seat: every event of the gate that is published from now on reaches it, or a later one does.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyWaiters`].
    pub fn sit(self: &Arc<Self>, name: &GateName, waiter: Waiter) -> Result<Seat, Error> {
        let mut rooms = self.lock();
        if rooms.of.get(name).map_or(0, |room| room.waiters.len()) >= self.max {
            return Err(Error::TooManyWaiters { gate: name.clone(), limit: self.max });
        }
        rooms.next_seat += 1;
        let number = rooms.next_seat;
        let room = rooms.of.entry(name.clone()).or_insert_with(|| {
            let (events, _) = watch::channel(None);
            Room { events, waiters: BTreeMap::new() }
        });
        room.waiters.insert(number, waiter);
        let events = room.events.subscribe();
        self.note(&mut rooms, name);
        Ok(Seat { waiters: self.clone(), name: name.clone(), number, events, _counted: Live::new(WAITERS) })
    }

    /// Hands an event to those who wait on its gate.
    pub fn publish(&self, event: Arc<Event>) {
        let mut rooms = self.lock();
        let ends_round = event.ends_round();
        // The name is needed after the event has been handed over only if the room closes.
        if ends_round {
            if let Some(room) = rooms.of.remove(&event.gate.name) {
                self.note(&mut rooms, &event.gate.name);
                room.events.send_replace(Some(event));
            }
        } else if let Some(room) = rooms.of.get(&event.gate.name) {
            room.events.send_replace(Some(event));
        }
    }

    /// Closes every room: those who wait have to look at their gates again.
    pub fn close_rooms(&self) {
        let mut rooms = self.lock();
        let closed = mem::take(&mut rooms.of);
        for name in closed.keys() {
            self.note(&mut rooms, name);
        }
    }

    /// Returns the `limit` longest waiters of a gate, and how many there are.
    pub fn of(&self, name: &GateName, limit: usize) -> Crowd {
        self.lock().of.get(name).map_or_else(Crowd::default, |room| Crowd {
            waiters: room.waiters.values().take(limit).cloned().collect(),
            count: room.waiters.len(),
        })
    }

    /// Waits until somebody has come or gone, and returns the gates where that was since the last time.
    ///
    /// Dropping the future loses nothing.
    pub async fn moved(&self) -> HashSet<GateName> {
        loop {
            let moved = mem::take(&mut self.lock().moved);
            match &self.moved {
                // A notice that came since is kept.
                Some(notify) if moved.is_empty() => notify.notified().await,
                Some(_) => return moved,
                None => std::future::pending().await,
            }
        }
    }

    /// Has gates returned once more as those where somebody has come or gone.
    pub fn mark(&self, gates: &HashSet<GateName>) {
        let mut rooms = self.lock();
        for name in gates {
            self.note(&mut rooms, name);
        }
    }

    fn note(&self, rooms: &mut Rooms, name: &GateName) {
        if let Some(notify) = &self.moved {
            rooms.moved.insert(name.clone());
            notify.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        // Nothing panics while it is held, and if it did, the map would still be whole.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.waiters.note(&mut rooms, &self.name);
        }
    }
}
