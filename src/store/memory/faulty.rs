//! The store in memory, which can be out of reach for a while: as one that is on other machines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::watch;

use super::Memory;
use crate::domain::{Event, Gate, GateName, Revision, Round, WebhookName};
use crate::store::{
    Answer, Change, Counts, Crowd, DeadLetter, DeadlinePlace, Error, HistoryPage, HistoryQuery, ListPage, ListQuery,
    Old, Outbox, OutboxChange, Peers, Request, RequestKey, Store,
};

/// What is wrong with the way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Nothing reaches it.
    Away,
    /// Changes reach it, and their answers do not come back.
    Mute,
    /// It answers a gate a second after it was asked for it.
    Slow,
    /// It has the gates, and none of their events.
    Torn,
}

/// A store that is out of reach when a test says so.
pub struct Faulty {
    store: Memory,
    fault: watch::Sender<Fault>,
    announced: AtomicUsize,
    refused: AtomicUsize,
    reading: AtomicUsize,
    reading_max: AtomicUsize,
}

impl Faulty {
    /// Makes a store that is in reach.
    #[must_use]
    pub fn new(store: Memory) -> Arc<Self> {
        let fault = watch::Sender::new(Fault::None);
        let [announced, refused, reading, reading_max] = [const { AtomicUsize::new(0) }; 4];
        Arc::new(Self { store, fault, announced, refused, reading, reading_max })
    }

    /// Changes what is wrong. What is under way is cut off if it is away then.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Returns how often it was told who waits.
    pub fn announced(&self) -> usize {
        self.announced.load(Ordering::Relaxed)
    }

    /// Returns how often it was asked for something, and out of reach.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns for how many gates it was asked at a time, at most.
    pub fn reading_max(&self) -> usize {
        self.reading_max.load(Ordering::Relaxed)
    }

    async fn reach<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.is_away() => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(unavailable())
            }
            answer = call => answer,
        }
    }

    async fn is_away(&self) {
        drop(self.fault.subscribe().wait_for(|fault| *fault == Fault::Away).await);
    }

    async fn change<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let answer = self.reach(call).await?;
        if *self.fault.borrow() == Fault::Mute { Err(unavailable()) } else { Ok(answer) }
    }
}

fn unavailable() -> Error {
    Error::Unavailable { problem: "it is out of reach".into() }
}

#[async_trait]
impl Store for Faulty {
    fn id(&self) -> &str {
        self.store.id()
    }

    fn revision(&self) -> Revision {
        self.store.revision()
    }

    async fn latest(&self) -> Result<Revision, Error> {
        self.reach(self.store.latest()).await
    }

    fn oldest(&self) -> Revision {
        self.store.oldest()
    }

    async fn counts(&self) -> Result<Counts, Error> {
        self.reach(self.store.counts()).await
    }

    async fn bytes(&self) -> Result<u64, Error> {
        self.reach(self.store.bytes()).await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.reach(self.store.ready()).await
    }

    async fn get(&self, name: &GateName) -> Result<Option<Gate>, Error> {
        if *self.fault.borrow() == Fault::Slow {
            let reading = self.reading.fetch_add(1, Ordering::Relaxed) + 1;
            self.reading_max.fetch_max(reading, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.reading.fetch_sub(1, Ordering::Relaxed);
        }
        self.reach(self.store.get(name)).await
    }

    async fn past_round(&self, gate: &Gate, round: Round) -> Result<Option<Gate>, Error> {
        self.reach(self.store.past_round(gate, round)).await
    }

    async fn list(&self, query: ListQuery) -> Result<ListPage, Error> {
        self.reach(self.store.list(query)).await
    }

    async fn deadlines(&self, after: &DeadlinePlace, limit: usize) -> Result<Vec<(SystemTime, GateName)>, Error> {
        self.reach(self.store.deadlines(after, limit)).await
    }

    async fn commit(&self, change: Change) -> Result<Arc<Event>, Error> {
        self.change(self.store.commit(change)).await
    }

    async fn remember(&self, request: Request, answer: Vec<Revision>) -> Result<(), Error> {
        self.change(self.store.remember(request, answer)).await
    }

    async fn answer(&self, key: &RequestKey) -> Result<Option<Answer>, Error> {
        self.reach(self.store.answer(key)).await
    }

    async fn answers(&self, after: Option<RequestKey>, limit: usize) -> Result<Vec<(RequestKey, Answer)>, Error> {
        self.reach(self.store.answers(after, limit)).await
    }

    async fn event(&self, revision: Revision) -> Result<Option<Arc<Event>>, Error> {
        let event = self.reach(self.store.event(revision)).await?;
        Ok(event.filter(|_| *self.fault.borrow() != Fault::Torn))
    }

    async fn last_event(&self) -> Result<Option<Arc<Event>>, Error> {
        self.reach(self.store.last_event()).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, Error> {
        self.reach(self.store.history(query)).await
    }

    async fn changes_after(&self, revision: Revision) -> Result<Vec<Arc<Event>>, Error> {
        self.reach(self.store.changes_after(revision)).await
    }

    async fn forget(&self, old: Old) -> Result<bool, Error> {
        self.change(self.store.forget(old)).await
    }

    async fn webhooks(&self) -> Result<Vec<WebhookName>, Error> {
        self.reach(self.store.webhooks()).await
    }

    async fn begin_import(&self) -> Result<(), Error> {
        self.change(self.store.begin_import()).await
    }

    async fn end_import(&self) -> Result<(), Error> {
        self.change(self.store.end_import()).await
    }

    async fn outbox(&self, webhook: &WebhookName) -> Result<Option<Outbox>, Error> {
        self.reach(self.store.outbox(webhook)).await
    }

    async fn save_outbox(&self, webhook: &WebhookName, change: OutboxChange) -> Result<(), Error> {
        self.change(self.store.save_outbox(webhook, change)).await
    }

    async fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.reach(self.store.dead_letters(webhook, from, limit)).await
    }

    fn peers(&self) -> Option<&dyn Peers> {
        self.store.peers().map(|_| self as &dyn Peers)
    }
}

#[async_trait]
impl Peers for Faulty {
    async fn announce(&self, crowds: Vec<(GateName, Crowd)>) -> Result<(), Error> {
        self.announced.fetch_add(1, Ordering::Relaxed);
        self.change(self.store.announce(crowds)).await
    }

    fn elsewhere(&self, gate: &GateName) -> Crowd {
        self.store.elsewhere(gate)
    }

    async fn elected(&self) {
        self.store.elected().await;
    }

    async fn leave(&self) {
        self.store.leave().await;
    }

    async fn deposed(&self) {
        self.store.deposed().await;
    }
}
