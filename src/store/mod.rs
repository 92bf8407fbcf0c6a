//! Where gates are kept: one trait, so that the embedded store and a distributed one behave alike.
//!
//! A store is a log of events, each stamped with a revision and holding the gate after it; all else is an index into
//! the log. A change is durable before [`Store::commit`] answers, and before any method or the feed shows it.

pub mod codec;
mod counts;
pub mod memory;
mod outbox;
pub mod sled;

#[cfg(test)]
mod conformance;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::domain::{Event, Gate, GateName, Prefix, Principal, Revision, Round, WebhookName};

pub use counts::Counts;
pub use outbox::{DeadLetter, DeadlinePlace, Outbox, OutboxChange, Topic};

/// Keeps gates, their history, the answered requests, and how far webhooks have come.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Names the store, from its creation on: another store has another id. A copy has the same.
    fn id(&self) -> &str;

    /// Returns the revision of the last durable event.
    fn revision(&self) -> Revision;

    /// Returns the oldest revision that the feed can start from: every event from it on is kept.
    fn oldest(&self) -> Revision;

    /// Counts the gates by status.
    fn counts(&self) -> Counts;

    /// Returns how large the store is, in bytes; 0 where it is nowhere but in memory.
    fn bytes(&self) -> u64;

    /// Says whether a change could be written now.
    ///
    /// # Errors
    ///
    /// What [`Store::commit`] would answer with: [`Error::Full`] or [`Error::Failed`].
    async fn writable(&self) -> Result<(), Error>;

    /// Reads a gate.
    async fn get(&self, name: &GateName) -> Result<Option<Gate>, Error>;

    /// Reads how a past round of this very gate (by its uid) ended: the gate as it was when the next round began.
    async fn past_round(&self, gate: &Gate, round: Round) -> Result<Option<Gate>, Error>;

    /// Reads gates in the order of their names.
    async fn list(&self, query: ListQuery) -> Result<ListPage, Error>;

    /// Reads the `limit` earliest deadlines of waiting gates behind a place, earliest first.
    async fn deadlines(&self, after: &DeadlinePlace, limit: usize) -> Result<Vec<(SystemTime, GateName)>, Error>;

    /// Commits one event of one gate, if the gate is still the one that was read, and its request with it.
    ///
    /// Answers with the event as stamped, once it is durable.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the gate has changed, or if the request is answered already: read both again.
    async fn commit(&self, change: Change) -> Result<Arc<Event>, Error>;

    /// Records a request that is answered by events that exist already.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the request is answered already.
    async fn remember(&self, request: Request, answer: Vec<Revision>) -> Result<(), Error>;

    /// Reads how a request was answered.
    async fn answer(&self, key: &RequestKey) -> Result<Option<Answer>, Error>;

    /// Reads the event at a revision.
    async fn event(&self, revision: Revision) -> Result<Option<Arc<Event>>, Error>;

    /// Reads the history of a gate, by name, or of a group, oldest first.
    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, Error>;

    /// Waits until there is an event after `revision`, and returns the next ones, in order and without a gap.
    ///
    /// Dropping the future loses nothing: the caller holds the place.
    ///
    /// # Errors
    ///
    /// [`Error::Compacted`] if an event after `revision` has been forgotten.
    async fn changes_after(&self, revision: Revision) -> Result<Vec<Arc<Event>>, Error>;

    /// Forgets some of what is old, and says whether there is more.
    ///
    /// A resolved gate whose last event is old is forgotten with its past rounds; of all other gates the current state
    /// and the ends of past rounds are kept, and only what happened in between is forgotten. A request is forgotten with
    /// the first of the events that answer it. [`Self::oldest`] grows behind what was looked at.
    async fn forget(&self, old: Old) -> Result<bool, Error>;

    /// Reads how far a webhook has come; none if nothing was saved for it.
    async fn outbox(&self, webhook: &WebhookName) -> Result<Option<Outbox>, Error>;

    /// Saves how far a webhook has come, and what has become of its dead letters.
    async fn save_outbox(&self, webhook: &WebhookName, change: OutboxChange) -> Result<(), Error>;

    /// Reads the dead letters of a webhook in the order of their numbers, from a number on.
    async fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error>;
}

/// What is old enough to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Old {
    /// Events before this time.
    pub before: SystemTime,
    /// Events before this revision.
    pub below: Revision,
    /// No event after this one: somebody who must miss none has yet to follow.
    pub until: Revision,
}

impl Old {
    /// Says whether an event is old by either measure.
    fn holds(&self, event: &Event) -> bool {
        event.revision() <= self.until && (event.time < self.before || event.revision() < self.below)
    }
}

/// One event to commit.
#[derive(Clone, Debug)]
pub struct Change {
    /// The gate that was read and decided on; none if there was none.
    pub before: Option<Gate>,
    /// What happens to it, not yet stamped.
    pub event: Event,
    /// The request that asks for it, if it can be repeated.
    pub request: Option<Request>,
}

/// Names a request: a caller's id for it, and the part of it that concerns one gate where it concerns many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey {
    /// Whose id it is.
    pub principal: Principal,
    /// The caller's id: 1 to 128 printable ASCII characters.
    pub id: String,
    /// The gate, for a part of a request about many.
    pub part: Option<GateName>,
}

/// A request that is answered once.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it is called.
    pub key: RequestKey,
    /// A digest of its body, to tell a repetition from a reuse of the id.
    pub fingerprint: Fingerprint,
    /// When it was made.
    pub time: SystemTime,
}

/// A digest of a request's body.
pub type Fingerprint = [u8; 32];

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The digest of the body that was answered.
    pub fingerprint: Fingerprint,
    /// The events that are the answer.
    pub revisions: Vec<Revision>,
}

/// Which gates to read.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The group.
    pub prefix: Prefix,
    /// Leaves out resolved gates, and does not touch them.
    pub unresolved: bool,
    /// Starts behind this gate.
    pub after: Option<GateName>,
    /// Reads at most so many.
    pub limit: usize,
}

/// Gates in the order of their names.
#[derive(Clone, Debug)]
pub struct ListPage {
    /// The gates; fewer than the limit where the group ends.
    pub gates: Vec<Gate>,
    /// Every change up to this revision is in the page; a later one may be.
    pub revision: Revision,
}

/// Which events to read.
#[derive(Clone, Debug)]
pub struct HistoryQuery {
    /// Of which gates.
    pub scope: HistoryScope,
    /// Starts behind this event.
    pub after: Revision,
    /// Reads at most so many.
    pub limit: usize,
}

/// Whose history to read.
#[derive(Clone, Debug)]
pub enum HistoryScope {
    /// Of every gate that had this name.
    Gate(GateName),
    /// Of every gate in the group.
    Group(Prefix),
}

/// Events, oldest first.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// Where to go on, unless this is the end. A page of a group may end early, to bound what one call reads.
    pub next: Option<Revision>,
}

/// Why a store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gate or the request is not what the caller read. Trying again helps, after reading again.
    #[error("the gate has changed since it was read")]
    Conflict,
    /// Some of the events that were asked for have been forgotten. Trying again does not help.
    #[error("events before revision {oldest} have been forgotten: start from what exists now")]
    Compacted {
        /// The oldest revision to start from.
        oldest: Revision,
    },
    /// The event does not fit a record. Trying again does not help.
    #[error("an event of {bytes} bytes does not fit a record of {bytes_max}")]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Another process has the store open. Trying again helps once that process has ended.
    #[error("{} is in use by another gatepost: stop that one, or give this one another --data-dir", path.display())]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// What is stored cannot be read. Trying again does not help.
    #[error("the store at {place} cannot be read: {problem}")]
    Corrupt {
        /// The directory or the record.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The store cannot be opened.
    #[error("the store at {} cannot be opened: {source}", path.display())]
    Open {
        /// The store's directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is too little room to write. Trying again helps once there is more; reading works all the while.
    #[error("the disk of the store is full: make room, then try again")]
    Full,
    /// A write could not be made durable. The store acknowledges nothing from then on, and the process has to end.
    #[error("the store has failed and accepts nothing more: {0}")]
    Failed(Arc<str>),
}
