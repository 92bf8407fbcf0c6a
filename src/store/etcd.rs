//! The distributed store: gates in an etcd cluster, which any number of coordinators share.
//!
//! A change is one transaction, which holds only if the gate is the one that was read; etcd puts all of them in one order,
//! and its revisions are the store's. Coordinators learn what happens from one watch, whoever made it.
//! What is kept under which key is said in `etcd/keys.rs`.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::Instrument;

use self::client::Client;
use self::feed::Feed;
use self::segments::Segments;
use self::session::{Crowds, Session};
use self::txn::Txn;
use super::{
    Answer, Change, Counts, Crowd, DeadLetter, DeadlinePlace, Error, HistoryPage, HistoryQuery, HistoryScope, ListPage,
    ListQuery, Old, Outbox, OutboxChange, Peers, Request, RequestKey, Store, codec,
};
use crate::domain::{Event, Gate, GateName, Revision, Round, Status, WebhookName};
use crate::metrics::COMMIT_SECONDS;

mod client;
mod commit;
mod feed;
mod forget;
mod import;
mod keys;
mod lists;
mod log;
mod login;
mod make;
mod member;
mod segments;
mod session;
mod settings;
mod txn;

pub use settings::{Login, Settings, Tls};

/// What etcd speaks, generated from `api.proto`.
#[allow(missing_docs, clippy::pedantic, clippy::enum_variant_names, reason = "generated")]
mod api {
    tonic::include_proto!("etcdserverpb");
}

/// The layout that is written, see `etcd/keys.rs`.
const LAYOUT: &[u8] = b"1";

/// Keeps everything in a cluster of etcd.
pub struct Etcd {
    id: String,
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
}

/// What the store's tasks share.
struct Shared {
    client: Client,
    feed: Feed,
    session: Session,
    /// Who waits at other coordinators.
    crowds: Crowds,
    segments: Segments,
    /// When each webhook's outbox was written that was read here last. A std mutex: held to copy it.
    outboxes: Mutex<HashMap<WebhookName, Revision>>,
    /// The revision up to which events have been forgotten, as far as is known here.
    forgotten: AtomicU64,
    /// The revision since which an import is under way here; zero: there is none.
    import: AtomicU64,
}

impl Etcd {
    /// Opens the store behind a prefix, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if no member answers or the login is refused, [`Error::Corrupt`] if what is behind the
    /// prefix is no store, or the rest of an import, or if the prefix is that of keys of another store.
    pub async fn open(settings: &Settings) -> Result<Self, Error> {
        let client = Client::connect(settings).await?;
        make::make(&client, settings).await?;
        Self::open_with(client, settings).await
    }

    /// Opens the store behind a prefix, and makes none.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and [`Error::Corrupt`] if there is none. One among the keys of another store can be read, so that
    /// it can be moved.
    pub async fn open_existing(settings: &Settings) -> Result<Self, Error> {
        Self::open_with(Client::connect(settings).await?, settings).await
    }

    async fn open_with(client: Client, settings: &Settings) -> Result<Self, Error> {
        let read = [keys::STORE_ID, keys::FORMAT, keys::IMPORT].map(|key| txn::get(key.to_vec()));
        let outcome = client.txn(read.into_iter().fold(Txn::default(), Txn::read)).await?;
        let mut values = outcome.ranges.iter().map(|kvs| kvs.first().map(|kv| kv.value.as_slice()));
        let (id, layout, import) = (values.next().flatten(), values.next().flatten(), values.next().flatten());
        let place = || format!("{} in etcd", settings.prefix);
        let corrupt = |problem: &str| Error::Corrupt { place: place(), problem: problem.to_owned() };
        let id = id.ok_or_else(|| corrupt("there is no store behind this prefix: see --etcd-prefix"))?;
        if layout != Some(LAYOUT) {
            return Err(corrupt("another version of gatepost wrote it, in another layout: use that one to export it"));
        }
        if import.is_some() {
            let problem = format!(
                "{}: if none is, stop all coordinators of it, remove what is there with `etcdctl del --prefix {}`, and \
                 import again",
                import::UNDER_WAY,
                settings.prefix
            );
            return Err(corrupt(&problem));
        }
        let id = String::from_utf8(id.to_vec()).map_err(|_| corrupt("its id is no text"))?;

        let session = Session::new();
        let shared = Arc::new(Shared {
            client,
            feed: Feed::new(outcome.revision),
            crowds: Crowds::new(session.peer),
            session,
            segments: Segments::default(),
            outboxes: Mutex::default(),
            forgotten: AtomicU64::new(0),
            import: AtomicU64::new(0),
        });
        shared.read_segments().await?;
        shared.read_forgotten().await?;
        let tasks = [
            tokio::spawn(feed::follow(Arc::clone(&shared))).abort_handle(),
            tokio::spawn(session::keep(Arc::clone(&shared))).abort_handle(),
        ];
        Ok(Self { id, shared, tasks })
    }
}

/// Whoever does not leave is taken for gone once the lease is over.
impl Drop for Etcd {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("id", &self.id).field("client", &self.shared.client).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Etcd {
    fn id(&self) -> &str {
        &self.id
    }

    fn revision(&self) -> Revision {
        self.shared.feed.told()
    }

    async fn latest(&self) -> Result<Revision, Error> {
        Ok(self.shared.client.range(txn::get(keys::STORE_ID.to_vec())).await?.1)
    }

    fn oldest(&self) -> Revision {
        Revision(self.shared.forgotten.load(Ordering::SeqCst)).next()
    }

    async fn counts(&self) -> Result<Counts, Error> {
        let counts = Status::ALL.into_iter().map(|status| txn::count(keys::statuses(status)));
        let outcome = self.shared.client.txn(counts.fold(Txn::default(), Txn::read)).await?;
        Ok(Counts::of(Status::ALL.into_iter().zip(outcome.counts)))
    }

    async fn bytes(&self) -> Result<u64, Error> {
        self.shared.client.size().await
    }

    async fn ready(&self) -> Result<(), Error> {
        if self.shared.client.was_full() {
            let probe = Txn::default().put(keys::PROBE.to_vec(), Vec::new());
            self.shared.client.txn(probe).await?;
        }
        // A read of what is agreed on needs the same quorum as a write, but no room.
        let (import, _) = self.shared.client.range(txn::get(keys::IMPORT.to_vec())).await?;
        self.shared.refuse_import(&import)?;
        // Last: it may have been lost while the others were asked.
        self.shared.feed.ready()
    }

    async fn get(&self, name: &GateName) -> Result<Option<Gate>, Error> {
        let (gates, _) = self.shared.client.range(txn::get(keys::gate(keys::GATES, name))).await?;
        gates.first().map(|kv| Ok(log::event(kv)?.gate)).transpose()
    }

    async fn past_round(&self, gate: &Gate, round: Round) -> Result<Option<Gate>, Error> {
        if round >= gate.round {
            return Ok(None);
        }
        let key = keys::round(&gate.uid, round);
        let (rounds, _) = self.shared.client.range(txn::get(key)).await?;
        let Some(pointer) = rounds.first() else { return Ok(None) };
        let place = pointer.value.as_slice().try_into().map_err(|_| corrupt(&pointer.key, "it points to no event"))?;
        let id = keys::EventId::at(place, gate.name.clone());
        Ok(self.shared.events(&[id]).await?.pop().map(|event| event.gate.clone()))
    }

    async fn list(&self, query: ListQuery) -> Result<ListPage, Error> {
        if query.limit == 0 {
            return Ok(ListPage { gates: Vec::new(), revision: self.latest().await? });
        }
        if query.unresolved { self.shared.list_unresolved(query).await } else { self.shared.list_all(query).await }
    }

    async fn deadlines(&self, after: &DeadlinePlace, limit: usize) -> Result<Vec<(SystemTime, GateName)>, Error> {
        let (deadlines, _) = self.shared.client.range(txn::keys_only(txn::scan(keys::deadlines(after), limit))).await?;
        let parse =
            |kv: &api::KeyValue| keys::parse_deadline(&kv.key).ok_or_else(|| corrupt(&kv.key, "it is no deadline"));
        deadlines.iter().map(parse).collect()
    }

    async fn commit(&self, change: Change) -> Result<Arc<Event>, Error> {
        let began = Instant::now();
        let committed = self.shared.commit(&change).instrument(tracing::info_span!("commit")).await?;
        metrics::histogram!(COMMIT_SECONDS).record(began.elapsed());
        Ok(committed)
    }

    async fn remember(&self, request: Request, answer: Vec<Revision>) -> Result<(), Error> {
        self.shared.remember(&request, &answer).await
    }

    async fn answer(&self, key: &RequestKey) -> Result<Option<Answer>, Error> {
        self.shared.answer(key).await
    }

    async fn answers(&self, after: Option<RequestKey>, limit: usize) -> Result<Vec<(RequestKey, Answer)>, Error> {
        let (answers, _) = self.shared.client.range(txn::scan(keys::requests(after.as_ref()), limit)).await?;
        let parse = |kv: &api::KeyValue| {
            let digest = kv.key.last_chunk().ok_or_else(|| corrupt(&kv.key, "the key is too short"))?;
            Ok((RequestKey(*digest), commit::read_answer(kv)?))
        };
        answers.iter().map(parse).collect()
    }

    async fn event(&self, revision: Revision) -> Result<Option<Arc<Event>>, Error> {
        self.shared.event(revision).await
    }

    async fn last_event(&self) -> Result<Option<Arc<Event>>, Error> {
        self.shared.last_event().await
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, Error> {
        let HistoryQuery { scope, after, limit } = query;
        match scope {
            HistoryScope::Gate(name) => self.shared.history_of(&name, after, limit).await,
            HistoryScope::Group(prefix) => self.shared.history_below(&prefix, after, limit).await,
        }
    }

    async fn changes_after(&self, revision: Revision) -> Result<Vec<Arc<Event>>, Error> {
        let mut after = revision;
        loop {
            if let Some(events) = self.shared.feed.after(after).await? {
                let oldest = self.oldest();
                return if after.next() < oldest { Err(Error::Compacted { oldest }) } else { Ok(events) };
            }
            let (events, until) = self.shared.changes(after).await?;
            if !events.is_empty() {
                return Ok(events);
            }
            after = until;
        }
    }

    async fn forget(&self, old: Old) -> Result<bool, Error> {
        self.shared.forget(old).await
    }

    async fn webhooks(&self) -> Result<Vec<WebhookName>, Error> {
        let (outboxes, _) = self.shared.client.range(txn::keys_only(txn::scan(keys::outboxes(), 0))).await?;
        let parse = |kv: &api::KeyValue| keys::parse_outbox(&kv.key).ok_or_else(|| corrupt(&kv.key, "it is no name"));
        outboxes.iter().map(parse).collect()
    }

    async fn outbox(&self, webhook: &WebhookName) -> Result<Option<Outbox>, Error> {
        self.shared.outbox(webhook).await
    }

    async fn save_outbox(&self, webhook: &WebhookName, change: OutboxChange) -> Result<(), Error> {
        self.shared.save_outbox(webhook, &change).await
    }

    async fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let (found, _) = self.shared.client.range(txn::scan(keys::dead_letters(webhook, from), limit)).await?;
        let mut letters = Vec::with_capacity(found.len());
        for kv in found {
            let number = keys::letter_number(&kv.key).ok_or_else(|| corrupt(&kv.key, "the key is too short"))?;
            match codec::decode_dead_letter(&format!("dead letter {number} of {webhook}"), number, &kv.value) {
                Ok(letter) => letters.push(letter),
                // One that cannot be read hides no other.
                Err(error) => tracing::error!("a dead letter of webhook {webhook} is left out: {error}"),
            }
        }
        Ok(letters)
    }

    async fn begin_import(&self) -> Result<(), Error> {
        self.shared.begin_import().await
    }

    async fn end_import(&self) -> Result<(), Error> {
        self.shared.end_import().await
    }

    fn peers(&self) -> Option<&dyn Peers> {
        Some(self)
    }
}

#[async_trait]
impl Peers for Etcd {
    async fn announce(&self, crowds: Vec<(GateName, Crowd)>) -> Result<(), Error> {
        self.shared.announce(crowds).await
    }

    fn elsewhere(&self, gate: &GateName) -> Crowd {
        self.shared.crowds.at(gate)
    }

    async fn elected(&self) {
        self.shared.session.elected().await;
    }

    async fn leave(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        if let Some(lease) = self.shared.session.lease() {
            // If it fails, the lease ends by itself.
            drop(self.shared.client.revoke(lease).await);
        }
    }

    async fn deposed(&self) {
        self.shared.session.deposed().await;
    }
}

/// Makes the error of a record that makes no sense.
fn corrupt(key: &[u8], problem: &str) -> Error {
    Error::Corrupt { place: format!("the key \"{}\" in etcd", key.escape_ascii()), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests;
