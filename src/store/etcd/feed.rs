//! The feed: one stream of watches, which tells what happens to gates and who waits at other coordinators.
//!
//! It begins behind what was read of the log, and so it does each time that it was lost: whether etcd still has the
//! changes since (it compacts them) makes no difference. Who waits is read beside it, and watched from then on.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_stream::wrappers::ReceiverStream;

use super::api::event::EventType;
use super::api::watch_create_request::FilterType;
use super::api::watch_request::RequestUnion;
use super::api::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use super::session::Crowds;
use super::{Shared, keys, log, txn};
use crate::domain::{Event, Revision};
use crate::store::Error;
use crate::store::recent::Recent;

/// How often etcd is asked for a sign of life.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long it may give none: a member that hangs is left then.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long to leave a cluster that cannot be watched.
const PAUSE: Duration = Duration::from_millis(500);

/// How long nothing may be told before this coordinator is not ready. A member that restarts is left sooner, so that those
/// who watch it are not all away at once.
pub const LOST_MAX: Duration = Duration::from_secs(2);
/// How many gates' crowds are read at a time: their records of at most 128 KiB, with the keys, fit one answer.
pub const CROWDS_PAGE: usize = 240;

/// The watch of events.
const EVENTS: i64 = 1;
/// The watch of those who wait.
const CROWDS: i64 = 2;

/// What was told last.
#[derive(Debug)]
pub struct Feed {
    /// How far the feed has come; why it can come no further, if so.
    told: watch::Sender<Result<Revision, Arc<str>>>,
    /// That nothing is told, while it is so. A std mutex: held to copy it.
    lost: Mutex<Option<Loss>>,
    // A std mutex: held to copy a few pointers, and never across an await.
    recent: Mutex<Recent>,
}

/// That nothing is told.
#[derive(Debug)]
struct Loss {
    since: Instant,
    problem: String,
    /// Whether it was logged: that it has yet to begin is not.
    is_logged: bool,
}

impl Feed {
    /// Begins behind a revision.
    pub fn new(after: Revision) -> Self {
        let problem = "the watch of etcd: it has yet to begin".to_owned();
        let lost = Loss { since: Instant::now(), problem, is_logged: false };
        Self {
            told: watch::Sender::new(Ok(after)),
            lost: Mutex::new(Some(lost)),
            recent: Mutex::new(Recent::new(after)),
        }
    }

    /// Returns how far it has come.
    pub fn told(&self) -> Revision {
        self.lock().end()
    }

    /// Says whether it tells what happens, or did until a moment ago.
    pub fn ready(&self) -> Result<(), Error> {
        match &*self.lost() {
            Some(loss) if loss.since.elapsed() > LOST_MAX => Err(Error::Unavailable { problem: loss.problem.clone() }),
            _ => Ok(()),
        }
    }

    /// Notes that it tells nothing, and why.
    pub fn lose(&self, problem: String) {
        let mut lost = self.lost();
        let (since, is_logged) = lost.as_ref().map_or((Instant::now(), false), |loss| (loss.since, loss.is_logged));
        if !is_logged {
            tracing::warn!("the feed of the store was lost, and is taken up again: {problem}");
        }
        *lost = Some(Loss { since, problem, is_logged: true });
    }

    /// Notes that it tells what happens.
    pub fn regain(&self) {
        let mut lost = self.lost();
        // Before anybody is told that it is ready.
        if lost.as_ref().is_some_and(|loss| loss.is_logged) {
            tracing::info!("the feed of the store goes on");
        }
        *lost = None;
    }

    /// Waits until there may be an event after a revision. Answers with the next ones, or with none if they have to be
    /// read from the log.
    pub async fn after(&self, revision: Revision) -> Result<Option<Vec<Arc<Event>>>, Error> {
        let is_news = |told: &Result<Revision, Arc<str>>| told.as_ref().map_or(true, |told| *told > revision);
        let told = self.told.subscribe().wait_for(is_news).await.map(|told| told.clone());
        match told {
            Ok(Ok(_)) => Ok(self.lock().since(revision)),
            Ok(Err(why)) => Err(Error::Failed(why)),
            Err(_) => Err(Error::Failed("it has been closed".into())),
        }
    }

    fn tell(&self, event: Event, record_bytes: usize) {
        let revision = event.revision();
        let mut recent = self.lock();
        recent.push(Arc::new(event), record_bytes);
        // Under the lock, so that what is announced is there.
        drop(self.told.send_replace(Ok(revision)));
    }

    /// Goes on behind a revision: what comes before it has been forgotten.
    fn jump(&self, to: Revision) {
        let mut recent = self.lock();
        *recent = Recent::new(to);
        drop(self.told.send_replace(Ok(to)));
    }

    /// Ends: nothing more can be told.
    fn fail(&self, why: &str) {
        drop(self.told.send_replace(Err(why.into())));
    }

    fn lost(&self) -> MutexGuard<'_, Option<Loss>> {
        // Nothing panics while it is held.
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        // Nothing in here panics half-way through a change, so poisoned or not, it is whole.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the cluster until the store fails.
pub async fn follow(shared: Arc<Shared>) -> Infallible {
    loop {
        let at = shared.client.current();
        let Err(lost) = watch_until_lost(&shared).await;
        match lost {
            Error::Unavailable { problem } => shared.feed.lose(problem),
            // etcd may refuse to read too then.
            lost if lost.passes() => shared.feed.lose(lost.to_string()),
            lost => {
                shared.feed.fail(&lost.to_string());
                return std::future::pending().await;
            }
        }
        shared.client.leave(at);
        sleep(PAUSE).await;
    }
}

/// Tells what happens, until it is lost.
pub async fn watch_until_lost(shared: &Shared) -> Result<Infallible, Error> {
    let events_from = catch_up(shared).await?;
    let (requests, outgoing) = mpsc::channel(4);
    // Queued before the stream is opened: etcd answers its head only then.
    begin(shared, &requests, EVENTS, keys::histories(), events_from).await?;
    let mut answers = shared.client.watch(ReceiverStream::new(outgoing)).await?;
    // Beside it: who waits elsewhere is only shown, and holds up no decision.
    let mut crowds = pin!(watch_crowds(shared, &requests));
    let mut ask = interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    // What was known elsewhere, and since when the member has yet to come to it.
    let mut ahead: Option<(u64, Instant)> = None;
    loop {
        let answer = tokio::select! {
            answer = timeout_at(heard + SILENCE_MAX, answers.message()) => {
                answer.map_err(|_| lost("it gives no sign of life"))?
            }
            failed = &mut crowds => {
                let Err(error) = failed;
                return Err(error);
            }
            _ = ask.tick() => {
                let (_, since) = *ahead.get_or_insert_with(|| (shared.client.seen(), Instant::now()));
                if since.elapsed() > SILENCE_MAX {
                    return Err(lost("the member is behind the others, and does not follow"));
                }
                let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
                let question = WatchRequest { request_union: Some(progress) };
                // If there is no place for it, those before it have not been taken either.
                drop(requests.try_send(question));
                continue;
            }
        };
        let answer = answer.map_err(|status| lost(status.message()))?.ok_or_else(|| lost("the stream ended"))?;
        heard = Instant::now();
        shared.client.check_cluster(answer.header.as_ref())?;
        let reached = answer.header.as_ref().map_or(Revision::ZERO, |header| txn::revision(header.revision));
        ahead = ahead.filter(|(seen, _)| reached.0 < *seen);
        take(shared, answer)?;
    }
}

/// Tells what the log has since the feed was lost, and returns where the watch begins.
async fn catch_up(shared: &Shared) -> Result<Revision, Error> {
    let mut position = shared.feed.told();
    loop {
        let page = shared.log(position, log::PAGE).await?;
        if position < page.forgotten {
            tracing::error!("events up to {} were forgotten before they were told here", page.forgotten);
            position = page.forgotten;
            shared.feed.jump(position);
            continue;
        }
        let records = shared.read_all(page.ids.iter().map(|(_, id)| txn::get(id.record())).collect()).await?;
        if records.len() < page.ids.len() && position < shared.read_forgotten().await? {
            // Some were forgotten since the log was read.
            continue;
        }
        for record in records {
            tell(shared, &record);
        }
        position = page.until;
        if !page.more {
            return Ok(position.next());
        }
    }
}

/// Reads who waits elsewhere, until that succeeds, and then has it watched.
async fn watch_crowds(shared: &Shared, requests: &mpsc::Sender<WatchRequest>) -> Result<Infallible, Error> {
    let mut is_logged = false;
    let from = loop {
        match read_crowds(shared).await {
            Err(error) if error.passes() => {
                if !std::mem::replace(&mut is_logged, true) {
                    tracing::warn!("who waits at other coordinators is shown later: {error}");
                }
                sleep(PAUSE).await;
            }
            read => break read?,
        }
    };
    begin(shared, requests, CROWDS, keys::crowds(), from).await?;
    std::future::pending().await
}

/// Reads who waits elsewhere, and returns where the watch begins.
async fn read_crowds(shared: &Shared) -> Result<Revision, Error> {
    let mut next = keys::crowds();
    let (crowds, mut first) = (Crowds::new(shared.session.peer), None);
    loop {
        let (page, revision) = shared.client.range(txn::scan(next.clone(), CROWDS_PAGE)).await?;
        // Of the first page: what has changed in it since is told.
        let first = *first.get_or_insert(revision);
        for kv in &page {
            crowds.take(kv, false);
        }
        match page.last() {
            Some(last) if page.len() == CROWDS_PAGE => next.start = keys::behind(last.key.clone()),
            _ => {
                shared.crowds.replace(crowds);
                return Ok(first.next());
            }
        }
    }
}

/// Takes in an answer. Only one of the watch of events shows that they are told.
pub fn take(shared: &Shared, answer: WatchResponse) -> Result<(), Error> {
    if answer.canceled {
        let compacted = answer.compact_revision;
        let why = if compacted > 0 { format!("etcd has compacted up to {compacted}") } else { answer.cancel_reason };
        return Err(lost(&why));
    }
    for event in answer.events {
        let is_removed = event.r#type() == EventType::Delete;
        let Some(mut kv) = event.kv else { continue };
        shared.client.relative(&mut kv.key);
        match answer.watch_id {
            EVENTS => tell(shared, &kv),
            _ => shared.crowds.take(&kv, is_removed),
        }
    }
    if answer.watch_id == EVENTS {
        shared.feed.regain();
    }
    Ok(())
}

fn tell(shared: &Shared, record: &super::api::KeyValue) {
    match log::event(record) {
        Ok(event) if event.revision() > shared.feed.told() => shared.feed.tell(event, record.value.len()),
        Ok(_) => {}
        // It concerns its gate alone.
        Err(error) => tracing::error!("an event is not told: {error}"),
    }
}

/// Asks for a watch of keys, from a revision on.
async fn begin(
    shared: &Shared,
    requests: &mpsc::Sender<WatchRequest>,
    watch_id: i64,
    keys: Range<Vec<u8>>,
    from: Revision,
) -> Result<(), Error> {
    let range = shared.client.absolute(&keys);
    // What is forgotten is not told.
    let filters = if watch_id == EVENTS { vec![FilterType::Nodelete.into()] } else { Vec::new() };
    let create = WatchCreateRequest {
        key: range.start,
        range_end: range.end,
        start_revision: txn::signed(from),
        progress_notify: true,
        filters,
        watch_id,
    };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    requests.send(request).await.map_err(|_| lost("the stream was closed"))
}

fn lost(problem: &str) -> Error {
    Error::Unavailable { problem: format!("the watch of etcd: {problem}") }
}
