//! How a webhook fares, for those who ask.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::domain::Revision;

/// How a webhook fares.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Another coordinator delivers, and knows the rest.
    pub is_elsewhere: bool,
    /// Every event up to this one is settled, and will not be told again.
    pub place: Revision,
    /// Messages that wait or are under way.
    pub pending: usize,
    /// Messages that were given up and are kept.
    pub dead_letters: usize,
    /// When a message was last delivered, since the start.
    pub last_success: Option<SystemTime>,
    /// When an attempt last failed, since the start, and why.
    pub last_failure: Option<(SystemTime, String)>,
}

/// A status that one writes and others read. A std mutex: held to copy a few values, and never across an await.
#[derive(Debug, Default)]
pub struct Shared(Mutex<Status>);

impl Shared {
    /// Reads it.
    pub fn status(&self) -> Status {
        self.with(|status| status.clone())
    }

    pub(super) fn tell(&self, place: Revision, pending: usize, dead_letters: usize) {
        self.with(|status| {
            *status = Status { is_elsewhere: false, place, pending, dead_letters, ..status.clone() };
        });
    }

    pub(super) fn clear(&self, is_elsewhere: bool) {
        self.with(|status| *status = Status { is_elsewhere, ..Status::default() });
    }

    pub(super) fn succeeded(&self, now: SystemTime) {
        self.with(|status| status.last_success = Some(now));
    }

    pub(super) fn failed(&self, now: SystemTime, problem: &str) {
        self.with(|status| status.last_failure = Some((now, problem.to_owned())));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Status) -> T) -> T {
        // Nothing panics while it is held.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
