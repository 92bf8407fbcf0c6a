//! What is durable, and the latest of it: the one place where the committer's word reaches the readers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::domain::{Event, Revision};
use crate::store::recent::Recent;
use crate::store::{Counts, Error};

/// Tells readers what is durable.
#[derive(Debug)]
pub struct Feed {
    progress: watch::Sender<Progress>,
    /// Why nothing more will become durable; by itself, so that who only waits for this is not woken by progress.
    failure: watch::Sender<Option<Arc<str>>>,
    /// The number of the last batch that readers may already see in the tree.
    applied: AtomicU64,
    // A std mutex: held to copy a few pointers, and never across an await.
    recent: Mutex<Recent>,
}

/// What a batch makes known once it is durable.
pub struct Published {
    /// The events, with the sizes of their records.
    pub events: Vec<(Arc<Event>, usize)>,
    /// The gates by status, after them.
    pub counts: Counts,
}

#[derive(Debug, Default)]
struct Progress {
    durable: Revision,
    /// The number of the last durable batch.
    batch: u64,
    /// Events up to this one may be missing.
    forgotten: Revision,
    counts: Counts,
}

/// Where the changes after a revision are.
pub enum Changes {
    /// In memory.
    Recent(Vec<Arc<Event>>),
    /// In the log, up to this revision and beyond.
    Logged(Revision),
}

impl Feed {
    /// Makes the feed of a store whose last event is at a revision, with some forgotten, and of its gates by status.
    pub fn new(durable: Revision, forgotten: Revision, counts: Counts) -> Self {
        Self {
            progress: watch::Sender::new(Progress { durable, forgotten, counts, ..Progress::default() }),
            failure: watch::Sender::new(None),
            applied: AtomicU64::new(0),
            recent: Mutex::new(Recent::new(durable)),
        }
    }

    /// Returns the revision of the last durable event.
    pub fn durable(&self) -> Revision {
        self.progress.borrow().durable
    }

    /// Returns the revision up to which events may be missing.
    pub fn forgotten(&self) -> Revision {
        self.progress.borrow().forgotten
    }

    /// Returns the durable gates by status.
    pub fn counts(&self) -> Counts {
        self.progress.borrow().counts
    }

    /// Says that events up to a revision are about to be removed.
    pub fn forgetting(&self, until: Revision) {
        self.progress.send_modify(|progress| progress.forgotten = until);
    }

    /// Says whether every event after a revision is kept. Asked after reading them, so that none was removed meanwhile.
    pub fn keeps_all_after(&self, revision: Revision) -> Result<(), Error> {
        let forgotten = self.forgotten();
        if revision < forgotten { Err(Error::Compacted { oldest: forgotten.next() }) } else { Ok(()) }
    }

    /// Says that a batch is about to be written: readers may see it from now on.
    pub fn applying(&self, batch: u64) {
        self.applied.store(batch, Ordering::SeqCst);
    }

    /// Says that a batch is durable.
    pub fn publish(&self, batch: u64, Published { events, counts }: Published) {
        // Nothing in here panics half-way through a change, so poisoned or not, it is whole.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for (event, record_bytes) in events {
            recent.push(event, record_bytes);
        }
        let last = recent.last();
        // Under the lock, so that what is announced is there.
        self.progress.send_modify(|progress| {
            progress.batch = batch;
            progress.counts = counts;
            progress.durable = last.unwrap_or(progress.durable);
        });
    }

    /// Says that nothing more will become durable.
    pub fn fail(&self, why: &Arc<str>) {
        self.failure.send_replace(Some(Arc::clone(why)));
        // So that who waits for progress looks.
        self.progress.send_modify(|_| {});
    }

    /// Says why nothing more will become durable, if so.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure.borrow().clone()
    }

    /// Waits until nothing more will become durable.
    pub async fn failed(&self) -> Error {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(why)) => Error::Failed(Arc::clone(why)),
            Ok(None) | Err(_) => Error::Failed("it has been closed".into()),
        }
    }

    /// Waits until the event at a revision is durable.
    pub async fn reached(&self, revision: Revision) -> Result<(), Error> {
        self.until(|progress| progress.durable >= revision).await
    }

    /// Waits until all that a reader may have seen before the call is durable.
    pub async fn settled(&self) -> Result<(), Error> {
        let applied = self.applied.load(Ordering::SeqCst);
        self.until(|progress| progress.batch >= applied).await
    }

    /// Waits until there is an event after a revision, and says where. What is durable is told even after a failure.
    pub async fn after(&self, revision: Revision) -> Result<Changes, Error> {
        self.until(|progress| progress.durable > revision).await?;
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(recent.since(revision).map_or(Changes::Logged(recent.after()), Changes::Recent))
    }

    /// What holds already is told even after a failure.
    async fn until(&self, holds: impl Fn(&Progress) -> bool) -> Result<(), Error> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|progress| holds(progress) || self.failure.borrow().is_some()).await;
        match (reached.map(|progress| holds(&progress)), self.failure()) {
            (Ok(true), _) => Ok(()),
            (_, Some(why)) => Err(Error::Failed(why)),
            (_, None) => Err(Error::Failed("it has been closed".into())),
        }
    }
}
