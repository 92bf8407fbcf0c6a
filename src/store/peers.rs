//! Other coordinators of the same store: who waits there, and which of them does what only one may do.

use async_trait::async_trait;

use super::Error;
use crate::domain::{GateName, Waiter};

/// Most waiters that are told and shown of one gate; more are only counted.
pub const WAITERS_SHOWN_MAX: usize = 100;

/// What coordinators of one store tell each other, beside the feed.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Tells the others who waits here, in the place of what was told of the same gates before; an empty crowd has gone.
    ///
    /// It holds until it is told otherwise, or for some seconds after this coordinator has ended.
    async fn announce(&self, crowds: Vec<(GateName, Crowd)>) -> Result<(), Error>;

    /// Returns who waits on a gate at the others, as far as they have told.
    fn elsewhere(&self, gate: &GateName) -> Crowd;

    /// Waits until this coordinator leads: it does what only one of them may do at a time.
    ///
    /// A coordinator that hangs may take itself for the leader for longer than it is. So [`super::Store::save_outbox`] and
    /// [`super::Store::forget`] of one that no longer leads are refused with [`Error::Deposed`].
    async fn elected(&self);

    /// Waits until this coordinator does not lead.
    async fn deposed(&self);

    /// Leaves, so that the others need not wait until its end is noticed. Nobody waits here any more by then.
    async fn leave(&self);
}

/// Those who wait on a gate at one coordinator, or at several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    /// The longest waiters.
    pub waiters: Vec<Waiter>,
    /// How many wait.
    pub count: usize,
}

impl Crowd {
    /// Joins those who wait at several coordinators: all are counted, and as many named as are shown.
    pub fn join<'a>(crowds: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for Self { waiters, count } in crowds {
            all.waiters.extend_from_slice(waiters);
            all.count += count;
        }
        all.waiters.sort_by_key(|waiter| waiter.since);
        all.waiters.truncate(WAITERS_SHOWN_MAX);
        all
    }
}
