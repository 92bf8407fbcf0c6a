//! Where gates are kept: one trait, so that the embedded store and a distributed one behave alike.
//!
//! A store is a log of events, each stamped with a revision and holding the gate after it; all else is an index into
//! the log. A change is durable before [`Store::commit`] answers, and before any method or the feed shows it.

pub mod codec;
mod counts;
pub mod etcd;
mod keys;
pub mod memory;
mod outbox;
mod peers;
mod recent;
pub mod sled;

#[cfg(test)]
mod conformance;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::domain::{Event, Gate, GateName, Prefix, Principal, Revision, Round, WebhookName};

pub use counts::Counts;
pub use outbox::{DeadLetter, DeadlinePlace, Outbox, OutboxChange, Topic};
pub use peers::{Crowd, Peers, WAITERS_SHOWN_MAX};

/// Keeps gates, their history, the answered requests, and how far webhooks have come.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Names the store, from its creation on: another store has another id. A copy has the same.
    fn id(&self) -> &str;

    /// Returns how far the feed has come: the revision of the last event that it can tell now.
    fn revision(&self) -> Revision;

    /// Returns a revision that no event acknowledged before the call comes after, whichever coordinator made it.
    async fn latest(&self) -> Result<Revision, Error>;

    /// Returns the oldest revision that the feed can start from: every event from it on is kept.
    fn oldest(&self) -> Revision;

    /// Counts the gates by status.
    async fn counts(&self) -> Result<Counts, Error>;

    /// Returns how large the store is, in bytes; 0 where it is nowhere but in memory.
    async fn bytes(&self) -> Result<u64, Error>;

    /// Says whether a change could be written now, and [`Store::changes_after`] tells of all that are.
    ///
    /// # Errors
    ///
    /// What they would answer with: [`Error::Full`] or [`Error::Failed`]; [`Error::Unavailable`] also while what happens
    /// is told late.
    async fn ready(&self) -> Result<(), Error>;

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

    /// Reads how requests were answered, in the order of their keys, behind a key.
    async fn answers(&self, after: Option<RequestKey>, limit: usize) -> Result<Vec<(RequestKey, Answer)>, Error>;

    /// Reads the event at a revision.
    async fn event(&self, revision: Revision) -> Result<Option<Arc<Event>>, Error>;

    /// Reads the last event that can be read, if it is among the latest; one that cannot be read concerns only its gate.
    async fn last_event(&self) -> Result<Option<Arc<Event>>, Error>;

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
    /// the first of the events that answer it. [`Self::oldest`] grows behind what was looked at. What is kept as the state of a
    /// gate goes when it no longer is that, at the latest with the next call.
    ///
    /// # Errors
    ///
    /// [`Error::Deposed`] if another coordinator leads.
    async fn forget(&self, old: Old) -> Result<bool, Error>;

    /// Names the webhooks for which something was saved, in the order of their names.
    async fn webhooks(&self) -> Result<Vec<WebhookName>, Error>;

    /// Reads how far a webhook has come; none if nothing was saved for it.
    async fn outbox(&self, webhook: &WebhookName) -> Result<Option<Outbox>, Error>;

    /// Saves how far a webhook has come, and what has become of its dead letters.
    ///
    /// # Errors
    ///
    /// [`Error::Deposed`] if another coordinator leads, or has led since this one read how far the webhook has come.
    async fn save_outbox(&self, webhook: &WebhookName, change: OutboxChange) -> Result<(), Error>;

    /// Reads the dead letters of a webhook in the order of their numbers, from a number on.
    async fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Begins to take in what another store held. Until [`Self::end_import`], also after a crash, nobody can open the store,
    /// and others that have it open cannot write: a part of it must not be served as the whole.
    async fn begin_import(&self) -> Result<(), Error>;

    /// Says that all of it is there.
    async fn end_import(&self) -> Result<(), Error>;

    /// Returns the other coordinators of the store; none where it can have only one.
    fn peers(&self) -> Option<&dyn Peers> {
        None
    }
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

/// Returns the gate as an event leaves its round behind; none if the round goes on, or another gate begins.
///
/// Whatever the event's kind: where what came between was forgotten, a kept log has no [`EventKind::Reset`].
///
/// [`EventKind::Reset`]: crate::domain::EventKind::Reset
fn round_ended<'a>(before: Option<&'a Gate>, event: &Event) -> Option<&'a Gate> {
    before.filter(|gate| gate.uid == event.gate.uid && gate.round != event.gate.round)
}

/// Names a request: the SHA-256 of whose it is, of the caller's id for it, and of the gate that a part of it concerns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub [u8; 32]);

impl RequestKey {
    /// Names a request by the caller's id, 1 to 128 printable ASCII characters; a part of one about many gates, by the
    /// gate too.
    #[must_use]
    pub fn new(principal: &Principal, id: &str, part: Option<&GateName>) -> Self {
        let mut digest = Sha256::new();
        digest.update(principal.as_str());
        // No principal has this byte, no id and no name.
        digest.update([0]);
        digest.update(id);
        if let Some(part) = part {
            digest.update([0]);
            digest.update(part.as_str());
        }
        Self(digest.finalize().into())
    }
}

impl FromStr for RequestKey {
    type Err = String;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} names no request: that takes 64 hexadecimal digits");
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
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
    /// When the request was made.
    pub time: SystemTime,
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
    /// The gate is not what the caller read, or the request is answered. Trying again helps, after reading again.
    #[error("the gate has changed since it was read")]
    Conflict,
    /// Another coordinator leads, or did since, and does what only one may do. Trying again does not help.
    #[error("another coordinator leads: it does this now")]
    Deposed,
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
    #[error("the store is full: make room on its disk, or in its etcd and end the alarm there, then try again")]
    Full,
    /// The store cannot be reached, or has no quorum. Trying again helps once it is back; whether what was asked for was
    /// done is not known.
    #[error("the store is unavailable: {problem}")]
    Unavailable {
        /// What happened instead.
        problem: String,
    },
    /// A write could not be made durable. The store acknowledges nothing from then on, and the process has to end.
    #[error("the store has failed and accepts nothing more: {0}")]
    Failed(Arc<str>),
}

impl Error {
    /// Says whether it passes by itself, and the same call may succeed later: whoever works in the background waits then.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Full | Self::Unavailable { .. } => true,
            Self::Conflict
            | Self::Deposed
            | Self::Compacted { .. }
            | Self::TooLarge { .. }
            | Self::Locked { .. }
            | Self::Corrupt { .. }
            | Self::Open { .. }
            | Self::Failed(_) => false,
        }
    }
}
