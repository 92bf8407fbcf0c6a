//! The embedded store: a log of events in sled, durable before it is acknowledged or shown.
//!
//! The log is the truth, and all else are indexes of revisions in the same atomic batch (see `keys`). One thread
//! writes (`committer`), and tells the readers what is durable (`feed`). A reader that sees more in the tree than is
//! durable waits for it.

use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use tracing::Instrument;

use self::committer::{Committer, Job};
use self::disk::{Disk, parse_pointer};
use self::feed::{Changes, Feed};
use self::room::Room;
use super::recent::CHANGES_MAX;
use super::{
    Answer, Change, Counts, DeadLetter, DeadlinePlace, Error, HistoryPage, HistoryQuery, HistoryScope, ListPage,
    ListQuery, Old, Outbox, OutboxChange, Request, RequestKey, Store, codec,
};
use crate::domain::{Event, Gate, GateName, Revision, Round, WebhookName};
use crate::metrics::COMMIT_SECONDS;

mod barrier;
mod batch;
mod committer;
mod disk;
mod feed;
mod forget;
mod keys;
mod length;
mod lists;
mod open;
mod outbox;
mod room;
mod watchdog;

/// How many events that cannot be read, or were forgotten, are stepped over to find the last.
const UNREADABLE_MAX: u64 = 64;

/// Keeps everything in one directory of this machine.
pub struct Sled {
    id: String,
    // Dropped first: it ends the thread that writes.
    committer: Committer,
    shared: Arc<Shared>,
    /// Kept for as long as failed syncs concern this store.
    _on_failed_sync: Arc<barrier::Listener>,
}

/// What the committer and the readers share.
struct Shared {
    disk: Disk,
    feed: Feed,
    room: Room,
    flush_max: Duration,
}

impl Sled {
    /// Opens the store in a directory, and makes it if there is none. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process has it open, [`Error::Corrupt`] if it cannot be read, [`Error::Open`] if the
    /// system refuses.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, Error> {
        Self::open_with(dir, cache_bytes, watchdog::FLUSH_MAX)
    }

    fn open_with(dir: &Path, cache_bytes: u64, flush_max: Duration) -> Result<Self, Error> {
        let open::Opened { disk, room, id, revision, forgotten, counts } = open::open(dir, cache_bytes)?;
        let shared = Arc::new(Shared { disk, feed: Feed::new(revision, forgotten, counts), room, flush_max });
        let committer = Committer::start(&shared, revision);
        let committer = committer.map_err(|source| Error::Open { path: dir.to_owned(), source })?;
        let weak = Arc::downgrade(&shared);
        let on_failed_sync: Arc<barrier::Listener> = Arc::new(move || {
            if let Some(shared) = weak.upgrade() {
                shared.fail("a sync failed");
            }
        });
        barrier::on_failure(Arc::downgrade(&on_failed_sync));
        Ok(Self { id, committer, shared, _on_failed_sync: on_failed_sync })
    }

    /// Reads where it is called: a point read takes microseconds. sled panics where it finds its own state broken.
    fn look<T>(&self, look: impl FnOnce(&Disk) -> Result<T, Error>) -> Result<T, Error> {
        catch_unwind(AssertUnwindSafe(|| look(&self.shared.disk))).unwrap_or_else(|panic| Err(broken(&*panic)))
    }

    /// Reads off the async threads: sled may have to go to the disk many times.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || read(&shared)).await {
            Ok(answer) => answer,
            Err(error) => Err(match error.try_into_panic() {
                Ok(panic) => broken(&*panic),
                Err(_) => Error::Failed("the process is ending".into()),
            }),
        }
    }
}

impl fmt::Debug for Sled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sled").field("id", &self.id).field("feed", &self.shared.feed).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Sled {
    fn id(&self) -> &str {
        &self.id
    }

    fn revision(&self) -> Revision {
        self.shared.feed.durable()
    }

    fn oldest(&self) -> Revision {
        self.shared.feed.forgotten().next()
    }

    async fn latest(&self) -> Result<Revision, Error> {
        Ok(self.revision())
    }

    async fn counts(&self) -> Result<Counts, Error> {
        Ok(self.shared.feed.counts())
    }

    async fn bytes(&self) -> Result<u64, Error> {
        self.read(|shared| Ok(shared.disk.db.size_on_disk().unwrap_or_default())).await
    }

    async fn ready(&self) -> Result<(), Error> {
        // A disk that hangs does not answer.
        self.read(Shared::writable).await
    }

    async fn get(&self, name: &GateName) -> Result<Option<Gate>, Error> {
        let feed = &self.shared.feed;
        let Some(event) = self.look(|disk| disk.pointed_event(&keys::gate(keys::GATES, name)))? else {
            // What took it away may not be durable.
            return feed.settled().await.map(|()| None);
        };
        feed.reached(event.revision()).await?;
        Ok(Some(event.gate))
    }

    async fn past_round(&self, gate: &Gate, round: Round) -> Result<Option<Gate>, Error> {
        // The caller has read the gate, so how it came to its round is durable.
        if round >= gate.round {
            return Ok(None);
        }
        let event = self.look(|disk| disk.pointed_event(&keys::round(&gate.uid, round)))?;
        Ok(event.map(|event| event.gate))
    }

    async fn list(&self, query: ListQuery) -> Result<ListPage, Error> {
        let page = self.read(move |shared| shared.list(&query)).await?;
        self.shared.feed.settled().await?;
        Ok(page)
    }

    async fn deadlines(&self, after: &DeadlinePlace, limit: usize) -> Result<Vec<(SystemTime, GateName)>, Error> {
        let range = keys::deadlines(after);
        let deadlines = self.read(move |shared| shared.deadlines(range, limit)).await?;
        self.shared.feed.settled().await?;
        Ok(deadlines)
    }

    async fn commit(&self, change: Change) -> Result<Arc<Event>, Error> {
        let record = codec::encode_event(&change.event)?;
        let began = Instant::now();
        let committing = self.committer.submit(|reply| Job::Commit(Box::new(change), record, reply));
        let committed = committing.instrument(tracing::info_span!("commit")).await?;
        metrics::histogram!(COMMIT_SECONDS).record(began.elapsed());
        Ok(committed)
    }

    async fn remember(&self, request: Request, answer: Vec<Revision>) -> Result<(), Error> {
        let record = codec::encode_answer(&request.fingerprint, &answer, request.time)?;
        let first = answer.into_iter().min().unwrap_or_else(|| self.revision());
        self.committer.submit(|reply| Job::Remember(request.key, first, record, reply)).await
    }

    async fn answer(&self, key: &RequestKey) -> Result<Option<Answer>, Error> {
        // An answer is never taken back, so its absence is durable.
        let Some(answer) = self.look(|disk| disk.answer(key))? else { return Ok(None) };
        self.shared.feed.settled().await?;
        Ok(Some(answer))
    }

    async fn answers(&self, after: Option<RequestKey>, limit: usize) -> Result<Vec<(RequestKey, Answer)>, Error> {
        let answers = self.read(move |shared| shared.disk.answers(after.as_ref()).take(limit).collect()).await?;
        self.shared.feed.settled().await?;
        Ok(answers)
    }

    async fn event(&self, revision: Revision) -> Result<Option<Arc<Event>>, Error> {
        if revision > self.revision() {
            return Ok(None);
        }
        Ok(self.look(|disk| disk.event(revision))?.map(Arc::new))
    }

    async fn last_event(&self) -> Result<Option<Arc<Event>>, Error> {
        let last = self.revision();
        for back in 0..UNREADABLE_MAX.min(last.0) {
            match self.event(Revision(last.0 - back)).await {
                Ok(Some(event)) => return Ok(Some(event)),
                // Forgotten, or not written.
                Ok(None) => {}
                Err(error @ Error::Corrupt { .. }) => tracing::error!("{error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, Error> {
        if query.after >= self.revision() {
            return Ok(HistoryPage { events: Vec::new(), next: None });
        }
        self.read(move |shared| match &query.scope {
            HistoryScope::Gate(name) => shared.gate_history(name, query.after, query.limit),
            HistoryScope::Group(prefix) => shared.group_history(prefix, query.after, query.limit),
        })
        .await
    }

    async fn changes_after(&self, revision: Revision) -> Result<Vec<Arc<Event>>, Error> {
        let events = match self.shared.feed.after(revision).await? {
            Changes::Recent(events) => events,
            Changes::Logged(until) => {
                let read = move |shared: &Shared| {
                    let events = shared.disk.events(revision, until).take(CHANGES_MAX);
                    events.map(|event| event.map(Arc::new)).collect()
                };
                self.read(read).await?
            }
        };
        self.shared.feed.keeps_all_after(revision)?;
        Ok(events)
    }

    async fn forget(&self, old: Old) -> Result<bool, Error> {
        self.committer.submit(|reply| Job::Forget(old, reply)).await
    }

    async fn webhooks(&self) -> Result<Vec<WebhookName>, Error> {
        let webhooks = self.read(|shared| shared.disk.webhooks()).await?;
        self.shared.feed.settled().await?;
        Ok(webhooks)
    }

    async fn outbox(&self, webhook: &WebhookName) -> Result<Option<Outbox>, Error> {
        let outbox = self.look(|disk| disk.outbox(webhook))?;
        self.shared.feed.settled().await?;
        Ok(outbox)
    }

    async fn save_outbox(&self, webhook: &WebhookName, change: OutboxChange) -> Result<(), Error> {
        let writes = outbox::writes(webhook, &change)?;
        self.committer.submit(|reply| Job::Write(writes, reply)).await
    }

    async fn begin_import(&self) -> Result<(), Error> {
        self.committer.submit(|reply| Job::Write(open::import_writes(true), reply)).await
    }

    async fn end_import(&self) -> Result<(), Error> {
        self.committer.submit(|reply| Job::Write(open::import_writes(false), reply)).await
    }

    async fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let webhook = webhook.clone();
        let letters = self.read(move |shared| shared.disk.dead_letters(&webhook, from, limit)).await?;
        self.shared.feed.settled().await?;
        Ok(letters)
    }
}

impl Shared {
    /// Fails for good, and says why. What sled still holds is never written: a failed sync must not be tried again,
    /// because the system may have thrown the data away and then reports success.
    fn fail(&self, why: &str) -> Arc<str> {
        // sled flushes when its last handle is dropped: this one never is.
        mem::forget(self.disk.db.clone());
        let why: Arc<str> = why.into();
        self.feed.fail(&why);
        why
    }

    /// Says whether anything can be written now.
    fn writable(&self) -> Result<(), Error> {
        match (self.feed.failure(), self.room.takes_a_batch()) {
            (Some(why), _) => Err(Error::Failed(why)),
            (None, Ok(true)) => Ok(()),
            (None, Ok(false)) => Err(Error::Full),
            // A directory that cannot be asked for its room cannot be written to.
            (None, Err(error)) => Err(Error::Failed(error.to_string().into())),
        }
    }
}

/// Makes the error of a panic.
fn broken(panic: &(dyn Any + Send)) -> Error {
    Error::Corrupt { place: "its directory".to_owned(), problem: panic_text(panic) }
}

/// Reads what a panic says.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it broke off: {}", text.unwrap_or("no reason was given"))
}

#[cfg(test)]
mod tests;
