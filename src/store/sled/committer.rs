//! The one thread that writes: it takes what is queued, writes it as one batch, flushes once, then answers all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;
use std::{io, mem};

use tokio::sync::{mpsc, oneshot};

use super::batch::{Batch, Writes};
use super::feed::Published;
use super::forget::Forgetting;
use super::watchdog::Watchdog;
use super::{Shared, panic_text};
use crate::domain::{Event, Revision};
use crate::metrics::{BATCH_EVENTS, SYNC_SECONDS};
use crate::store::{Change, Error, Old, RequestKey};

/// The most changes in one batch: a flush costs the same for one as for many, and nobody waits long for the others.
const BATCH_JOBS_MAX: usize = 256;

/// The size of records from which a batch takes no more: a few of sled's segments of 512 KiB.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The most changes that wait for the next batch. Who comes later waits for a place.
const QUEUE_JOBS_MAX: usize = BATCH_JOBS_MAX;

/// What the committer is asked to do.
pub enum Job {
    /// Commit a change, whose event has this record.
    Commit(Box<Change>, Vec<u8>, Reply<Arc<Event>>),
    /// Remember a request, whose answer begins with an event and has this record.
    Remember(RequestKey, Revision, Vec<u8>, Reply<()>),
    /// Write records that are no events.
    Write(Writes, Reply<()>),
    /// Forget some of what is old, and say whether there is more.
    Forget(Old, Reply<bool>),
}

/// Where an answer goes. Who asked may have gone.
pub type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// The committer's thread and the way to it.
pub struct Committer {
    jobs: mpsc::Sender<Job>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Committer {
    /// Starts behind the last revision.
    pub fn start(shared: &Arc<Shared>, last: Revision) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS_MAX);
        let watchdog = Watchdog::start(shared)?;
        let worker = Worker { shared: Arc::clone(shared), watchdog, last, batch: 0 };
        let thread = thread::Builder::new().name("store-committer".to_owned()).spawn(move || worker.run(queue))?;
        Ok(Self { jobs, thread: Some(thread), shared: Arc::clone(shared) })
    }

    /// Has a job done, and waits for its answer.
    pub async fn submit<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let answered = async {
            // If there is no committer to take it, there is none to answer.
            let _: Result<(), _> = self.jobs.send(job(reply)).await;
            answer.await
        };
        tokio::select! {
            biased;
            Ok(answer) = answered => answer,
            // Not the committer's answer: it may hang.
            failure = self.shared.feed.failed() => Err(failure),
        }
    }
}

/// Waits for the committer, so that what it holds is closed.
impl Drop for Committer {
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel(1);
        drop(mem::replace(&mut self.jobs, closed));
        if let Some(thread) = self.thread.take()
            // A flush that hangs would hang the end of the process.
            && (thread.is_finished() || self.shared.feed.failure().is_none())
        {
            // It has caught its panics.
            let _: Result<(), _> = thread.join();
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    watchdog: Watchdog,
    last: Revision,
    /// The number of the last batch that was written.
    batch: u64,
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut next = None;
        while let Some(job) = next.take().or_else(|| queue.blocking_recv()) {
            if let Err(error) = self.shared.writable() {
                job.refuse(error);
                continue;
            }
            // sled panics where it finds its own state broken.
            let done = catch_unwind(AssertUnwindSafe(|| match job {
                Job::Forget(old, reply) => {
                    self.forget(old, reply);
                    None
                }
                job => self.write_batch(job, &mut queue),
            }));
            next = done.unwrap_or_else(|panic| {
                self.shared.fail(&panic_text(&*panic));
                None
            });
        }
    }

    /// Writes what is queued, and returns a job that has to be done by itself.
    fn write_batch(&mut self, first: Job, queue: &mut mpsc::Receiver<Job>) -> Option<Job> {
        let shared = Arc::clone(&self.shared);
        let mut batch = Batch::new(&shared.disk, self.last, shared.feed.counts(), shared.feed.forgotten());
        let mut alone = None;
        let mut answers = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            bytes += job.record_bytes();
            match job.add_to(&mut batch) {
                Ok(answer) => answers.push(answer),
                Err(job) => {
                    alone = Some(job);
                    break;
                }
            }
            let is_full = answers.len() >= BATCH_JOBS_MAX || bytes >= BATCH_BYTES;
            next = if is_full { None } else { queue.try_recv().ok() };
        }
        let is_empty = batch.is_empty();
        let (writes, published) = batch.into_parts();
        if !is_empty && let Err(error) = self.make_durable(writes, published) {
            let why = shared.fail(&error.to_string());
            for answer in answers {
                answer.refuse(&why);
            }
            return alone;
        }
        // Conflicts too are answered only now: what they lost against can be read.
        answers.into_iter().for_each(Answer::send);
        alone
    }

    fn forget(&mut self, old: Old, reply: Reply<bool>) {
        let shared = Arc::clone(&self.shared);
        let feed = &shared.feed;
        let answer =
            Forgetting::of(&shared.disk, feed.forgotten(), self.last, feed.counts(), old).and_then(|forgetting| {
                let Forgetting { writes, until, more, counts, .. } = forgetting;
                if until > feed.forgotten() {
                    // First, so that nobody takes for complete what is about to be removed.
                    feed.forgetting(until);
                    let written = self.make_durable(writes, Published { events: Vec::new(), counts });
                    written.map_err(|error| Error::Failed(shared.fail(&error.to_string())))?;
                }
                Ok(more)
            });
        // Who asked may have gone.
        drop(reply.send(answer));
    }

    fn make_durable(&mut self, writes: sled::Batch, published: Published) -> sled::Result<()> {
        let disk = &self.shared.disk;
        self.batch += 1;
        self.shared.feed.applying(self.batch);
        disk.db.apply_batch(writes)?;
        #[cfg(test)]
        disk.call_before_flush();
        let began = Instant::now();
        self.watchdog.watch(|| disk.db.flush())?;
        metrics::histogram!(SYNC_SECONDS).record(began.elapsed());
        if !published.events.is_empty() {
            metrics::histogram!(BATCH_EVENTS).record(u32::try_from(published.events.len()).unwrap_or(u32::MAX));
        }
        self.last = published.events.last().map_or(self.last, |(event, _)| event.revision());
        self.shared.feed.publish(self.batch, published);
        Ok(())
    }
}

impl Job {
    fn record_bytes(&self) -> usize {
        match self {
            Self::Commit(_, record, _) | Self::Remember(_, _, record, _) => record.len(),
            Self::Write(writes, _) => writes.iter().flat_map(|(_, record)| record).map(Vec::len).sum(),
            Self::Forget(..) => 0,
        }
    }

    /// Adds itself to a batch, unless it looks at what is written and so has to be done alone.
    fn add_to(self, batch: &mut Batch<'_>) -> Result<Answer, Self> {
        Ok(match self {
            Self::Commit(change, record, reply) => Answer::Commit(reply, batch.commit(*change, &record)),
            Self::Remember(key, first, record, reply) => Answer::Done(reply, batch.remember(key, first, &record)),
            Self::Write(writes, reply) => {
                batch.write(writes);
                Answer::Done(reply, Ok(()))
            }
            Self::Forget(..) => return Err(self),
        })
    }

    fn refuse(self, error: Error) {
        match self {
            Self::Commit(_, _, reply) => Answer::Commit(reply, Err(error)),
            Self::Remember(_, _, _, reply) | Self::Write(_, reply) => Answer::Done(reply, Err(error)),
            // Who asked may have gone.
            Self::Forget(_, reply) => return drop(reply.send(Err(error))),
        }
        .send();
    }
}

/// An answer that waits for the flush.
enum Answer {
    Commit(Reply<Arc<Event>>, Result<Arc<Event>, Error>),
    Done(Reply<()>, Result<(), Error>),
}

impl Answer {
    fn send(self) {
        // Who asked may have gone.
        match self {
            Self::Commit(reply, answer) => drop(reply.send(answer)),
            Self::Done(reply, answer) => drop(reply.send(answer)),
        }
    }

    fn refuse(self, why: &Arc<str>) {
        let failed = Error::Failed(Arc::clone(why));
        match self {
            Self::Commit(reply, _) => Self::Commit(reply, Err(failed)),
            Self::Done(reply, _) => Self::Done(reply, Err(failed)),
        }
        .send();
    }
}
