//! A store that takes its time, as a disk does: what is decided meanwhile, or crashes meanwhile, meets it half way.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use gatepost::domain::{Event, Gate, GateName, Revision, Round, WebhookName};
use gatepost::store::{
    Answer, Change, Counts, DeadLetter, DeadlinePlace, Error, HistoryPage, HistoryQuery, ListPage, ListQuery, Old,
    Outbox, OutboxChange, Request, RequestKey, Store,
};
use tokio::time::sleep;

use crate::chance::Chance;

/// The longest that a call may take before, and again after, the store does it. Each start draws one of them.
const PAUSES_MAX: [Duration; 3] = [Duration::from_millis(2), Duration::from_millis(30), Duration::from_millis(200)];

pub struct Slow {
    store: Arc<dyn Store>,
    /// The store works in threads of its own, in real time.
    has_threads: bool,
    pause_max: Duration,
    chance: Mutex<Chance>,
}

impl Slow {
    pub fn new(store: Arc<dyn Store>, has_threads: bool, mut chance: Chance) -> Self {
        Self { store, has_threads, pause_max: chance.of(&PAUSES_MAX), chance: Mutex::new(chance) }
    }

    /// A crash before the call prevents it; one after it only its answer.
    async fn slowly<T>(&self, call: impl Future<Output = T>) -> T {
        self.pause().await;
        let answer = if self.has_threads { in_no_time(call).await } else { call.await };
        self.pause().await;
        answer
    }

    async fn pause(&self) {
        let pause = {
            let mut chance = self.chance.lock().unwrap();
            if chance.below(2) == 0 { Duration::ZERO } else { chance.pause(self.pause_max) }
        };
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}

/// Awaits other threads without letting simulated time go on: it stands still while a task blocks, and would jump to the
/// next timer as soon as all tasks only wait.
async fn in_no_time<T>(call: impl Future<Output = T>) -> T {
    let (done, until_done) = channel::<()>();
    tokio::task::spawn_blocking(move || until_done.recv());
    let answer = call.await;
    drop(done);
    answer
}

#[async_trait]
impl Store for Slow {
    fn id(&self) -> &str {
        self.store.id()
    }

    fn revision(&self) -> Revision {
        self.store.revision()
    }

    fn oldest(&self) -> Revision {
        self.store.oldest()
    }

    async fn latest(&self) -> Result<Revision, Error> {
        self.slowly(self.store.latest()).await
    }

    async fn counts(&self) -> Result<Counts, Error> {
        self.slowly(self.store.counts()).await
    }

    async fn bytes(&self) -> Result<u64, Error> {
        self.store.bytes().await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.store.ready().await
    }

    async fn get(&self, name: &GateName) -> Result<Option<Gate>, Error> {
        self.slowly(self.store.get(name)).await
    }

    async fn past_round(&self, gate: &Gate, round: Round) -> Result<Option<Gate>, Error> {
        self.slowly(self.store.past_round(gate, round)).await
    }

    async fn list(&self, query: ListQuery) -> Result<ListPage, Error> {
        self.slowly(self.store.list(query)).await
    }

    async fn deadlines(&self, after: &DeadlinePlace, limit: usize) -> Result<Vec<(SystemTime, GateName)>, Error> {
        self.slowly(self.store.deadlines(after, limit)).await
    }

    async fn commit(&self, change: Change) -> Result<Arc<Event>, Error> {
        self.slowly(self.store.commit(change)).await
    }

    async fn remember(&self, request: Request, answer: Vec<Revision>) -> Result<(), Error> {
        self.slowly(self.store.remember(request, answer)).await
    }

    async fn answer(&self, key: &RequestKey) -> Result<Option<Answer>, Error> {
        self.slowly(self.store.answer(key)).await
    }

    async fn answers(&self, after: Option<RequestKey>, limit: usize) -> Result<Vec<(RequestKey, Answer)>, Error> {
        self.slowly(self.store.answers(after, limit)).await
    }

    async fn event(&self, revision: Revision) -> Result<Option<Arc<Event>>, Error> {
        self.slowly(self.store.event(revision)).await
    }

    async fn last_event(&self) -> Result<Option<Arc<Event>>, Error> {
        self.slowly(self.store.last_event()).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, Error> {
        self.slowly(self.store.history(query)).await
    }

    async fn changes_after(&self, revision: Revision) -> Result<Vec<Arc<Event>>, Error> {
        // Waits for what is yet to happen, so that time has to go on.
        let changes = self.store.changes_after(revision).await;
        self.pause().await;
        changes
    }

    async fn forget(&self, old: Old) -> Result<bool, Error> {
        self.slowly(self.store.forget(old)).await
    }

    async fn webhooks(&self) -> Result<Vec<WebhookName>, Error> {
        self.slowly(self.store.webhooks()).await
    }

    async fn outbox(&self, webhook: &WebhookName) -> Result<Option<Outbox>, Error> {
        self.slowly(self.store.outbox(webhook)).await
    }

    async fn save_outbox(&self, webhook: &WebhookName, change: OutboxChange) -> Result<(), Error> {
        self.slowly(self.store.save_outbox(webhook, change)).await
    }

    async fn begin_import(&self) -> Result<(), Error> {
        self.slowly(self.store.begin_import()).await
    }

    async fn end_import(&self) -> Result<(), Error> {
        self.slowly(self.store.end_import()).await
    }

    async fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.slowly(self.store.dead_letters(webhook, from, limit)).await
    }
}
