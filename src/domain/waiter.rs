//! A worker that waits on a gate.

use std::time::SystemTime;

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
