//! Follows the log for one webhook, and delivers what it is to be told.
//!
//! Nothing is written when a gate is decided: the log is the outbox. What is saved, once a second at most, is the place
//! up to which all is settled. Losing it repeats messages, with the ids that they had.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::lanes::{Failure, LaneName, Lanes, Origin, Parcel};
use super::message::{Message, Sender};
use super::sender::Transport;
use super::settings::{Format, Webhook};
use super::status::Shared;
use crate::coordinator::{Coordinator, DeadLetter, DeadlinePlace, Outage, Outbox, OutboxChange, StoreError, Topic};
use crate::domain::Revision;
use crate::metrics::{WEBHOOK_ATTEMPTS, WEBHOOK_DEAD_LETTERS, WEBHOOK_PENDING};

mod follow;
mod letters;

/// How long what has changed may stay unsaved.
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// Dead letters or deadlines that are read at a time.
const PAGE: usize = 256;

/// What an operator asks for.
pub enum Command {
    /// Deliver a dead letter again.
    Redeliver(u64, Reply),
    /// Remove a dead letter.
    Delete(u64, Reply),
}

impl Command {
    /// Answers that another coordinator does it.
    pub fn refer(self) {
        let (Self::Redeliver(_, reply) | Self::Delete(_, reply)) = self;
        // Who asked may have gone.
        drop(reply.send(Err(Error::Elsewhere)));
    }
}

/// Where the answer goes. Who asked may have gone.
pub type Reply = oneshot::Sender<Result<(), Error>>;

/// How an attempt ended.
type Ended = Result<(Id, Result<(), Failure>), JoinError>;

/// What every courier of one webhook has.
#[derive(Clone)]
pub struct Errand {
    pub webhook: Arc<Webhook>,
    pub coordinator: Arc<Coordinator>,
    pub transport: Arc<dyn Transport>,
    pub sender: Sender,
    pub shared: Arc<Shared>,
    /// Where the webhook begins if it is new.
    pub new: Outbox,
}

/// Delivers to one webhook.
pub struct Courier {
    webhook: Arc<Webhook>,
    coordinator: Arc<Coordinator>,
    transport: Arc<dyn Transport>,
    sender: Sender,
    shared: Arc<Shared>,
    outage: Outage,
    lanes: Lanes<Message>,
    /// The attempts that are under way.
    attempts: JoinSet<Result<(), Failure>>,
    attempted: HashMap<Id, LaneName>,
    /// When it was opened: what is older is no later than from here.
    opened: SystemTime,
    /// How far the log was read.
    followed: Revision,
    /// How far the deadlines were looked at.
    warned: DeadlinePlace,
    /// When to look at the next, once the log was read up to `warn_from`.
    next_warning: Option<SystemTime>,
    warn_from: Revision,
    /// The dead letters there are, those of them that are to be delivered once there is room, and those that are held.
    letters: BTreeSet<u64>,
    asked: BTreeSet<u64>,
    redelivering: BTreeSet<u64>,
    next_letter: u64,
    /// What was saved last, and what is to be saved next: of a dead letter that is given up again, only the last.
    saved: Outbox,
    put: BTreeMap<u64, DeadLetter>,
    remove: Vec<u64>,
    save_at: Option<Instant>,
}

impl Courier {
    /// Reads how far the webhook has come.
    ///
    /// # Errors
    ///
    /// The store's; [`StoreError::Deposed`] if another coordinator leads.
    pub async fn open(errand: Errand) -> Result<Self, StoreError> {
        let Errand { webhook, coordinator, transport, sender, shared, new } = errand;
        let saved = coordinator.outbox(&webhook.name, &new).await?;
        let mut letters = BTreeSet::new();
        let mut from = 0;
        loop {
            let page = coordinator.dead_letters(&webhook.name, from, PAGE).await?;
            letters.extend(page.iter().map(|letter| letter.number));
            match page.last() {
                Some(last) => from = last.number + 1,
                None => break,
            }
        }
        let now = coordinator.now();
        let mut courier = Self {
            lanes: Lanes::new(webhook.give_up_after, webhook.max_pause),
            attempts: JoinSet::new(),
            attempted: HashMap::new(),
            opened: now,
            followed: saved.place,
            // No further than it would be now: `warn_before` may have been longer, or the clock ahead.
            warned: DeadlinePlace::before(saved.warned.min(now + webhook.warn_before)),
            next_warning: webhook.topics.contains(&Topic::Expiring).then_some(now),
            warn_from: Revision::ZERO,
            asked: BTreeSet::new(),
            redelivering: BTreeSet::new(),
            next_letter: saved.next_letter.max(letters.last().map_or(0, |last| last + 1)),
            letters,
            save_at: None,
            put: BTreeMap::new(),
            remove: Vec::new(),
            // So that one that is new is saved before anything can happen: it begins there after a restart too.
            saved: Outbox { next_letter: 0, ..saved },
            outage: Outage::new(format!("saving the place of webhook {}", webhook.name)),
            webhook,
            coordinator,
            transport,
            sender,
            shared,
        };
        courier.save().await?;
        courier.tell();
        Ok(courier)
    }

    /// Delivers until it is told to stop, then saves how far it has come; or until another coordinator leads, which goes
    /// on from what was saved. What is under way then is cut off, and repeated.
    ///
    /// # Errors
    ///
    /// The store's; [`StoreError::Deposed`] if another coordinator leads. Nothing that a receiver does is an error.
    pub async fn run(
        mut self,
        commands: &mut mpsc::Receiver<Command>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let coordinator = Arc::clone(&self.coordinator);
        let mut deposed = pin!(coordinator.deposed());
        // A task of its own, so that what it has begun to read is not read again in the next turn.
        let mut reading = JoinSet::new();
        loop {
            self.load().await?;
            self.send();
            self.tell();
            let has_room = self.lanes.has_room();
            if has_room && reading.is_empty() {
                let (coordinator, followed) = (Arc::clone(&coordinator), self.followed);
                reading.spawn(async move { coordinator.changes_after(followed).await });
            }
            let (wake_at, save_at) = (self.lanes.wake_at(), self.save_at);
            let warn_at = self.next_warning.filter(|_| has_room && self.followed >= self.warn_from);
            tokio::select! {
                () = stop.cancelled() => break,
                () = &mut deposed => return Ok(()),
                Some(read) = reading.join_next(), if has_room => match read {
                    Ok(changes) => self.follow(changes).await?,
                    Err(error) => resume_unwind(error.into_panic()),
                },
                Some(ended) = self.attempts.join_next_with_id() => self.settle(ended),
                () = until(&coordinator, wake_at) => {}
                () = until(&coordinator, warn_at) => self.warn().await?,
                Some(command) = commands.recv() => self.obey(command).await,
                () = tokio::time::sleep_until(save_at.unwrap_or_else(Instant::now)), if save_at.is_some() => {
                    self.save().await?;
                }
            }
        }
        self.attempts.shutdown().await;
        self.save().await
    }

    /// Sends what may be sent now.
    fn send(&mut self) {
        let now = self.coordinator.now();
        for dead in self.lanes.give_up(now) {
            self.bury(dead);
        }
        while let Some(parcel) = self.lanes.next(now) {
            let (webhook, sender) = (Arc::clone(&self.webhook), self.sender.clone());
            let (transport, lane) = (Arc::clone(&self.transport), parcel.lane());
            let attempt = self.attempts.spawn(async move {
                let message = parcel.message;
                let body = match &webhook.format {
                    Format::Standard(_) => sender.standard(&message).map_err(|error| Failure {
                        problem: format!("it cannot be written as JSON: {error}"),
                        retry_after: None,
                        is_final: true,
                    })?,
                    Format::Slack => sender.slack(&message),
                };
                transport.post(&webhook, &sender.id(&message), body).await
            });
            self.attempted.insert(attempt.id(), lane);
        }
    }

    /// Takes in how an attempt ended.
    fn settle(&mut self, ended: Ended) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => {
                let problem = format!("the attempt broke off: {error}");
                (error.id(), Err(Failure { problem, retry_after: None, is_final: false }))
            }
        };
        let Some(lane) = self.attempted.remove(&id) else { return };
        let now = self.coordinator.now();
        self.changed();
        match result {
            Ok(()) => {
                self.measure("delivered");
                self.shared.succeeded(now);
                if let Some(Parcel { origin: Origin::Letter(number), .. }) = self.lanes.delivered(&lane) {
                    self.redelivering.remove(&number);
                    self.discard(number);
                }
            }
            Err(failure) => {
                self.measure("failed");
                tracing::warn!("webhook {} could not tell of {}: {}", self.webhook.name, lane.gate, failure.problem);
                self.shared.failed(now, &failure.problem);
                if let Some(dead) = self.lanes.failed(&lane, now, failure) {
                    self.bury(dead);
                }
            }
        }
    }

    fn changed(&mut self) {
        self.save_at.get_or_insert_with(|| Instant::now() + SAVE_AFTER);
    }

    /// Saves how far it has come. If the store is full or away, deliveries go on: what is not saved is repeated after a
    /// restart.
    async fn save(&mut self) -> Result<(), StoreError> {
        match self.save_now().await {
            Err(error) if error.passes() => Ok(()),
            saved => saved,
        }
    }

    /// Saves how far it has come, with what was given up on the way; if it cannot, it is tried again later.
    async fn save_now(&mut self) -> Result<(), StoreError> {
        self.save_at = None;
        let outbox = self.outbox();
        if outbox == self.saved && self.put.is_empty() && self.remove.is_empty() {
            return Ok(());
        }
        let put = self.put.values().cloned().collect();
        let change = OutboxChange { outbox: outbox.clone(), put, remove: self.remove.clone() };
        match self.coordinator.save_outbox(&self.webhook.name, change).await {
            Ok(()) => {
                self.outage.end();
                self.saved = outbox;
                self.put.clear();
                self.remove.clear();
                Ok(())
            }
            Err(error) => {
                if error.passes() {
                    self.outage.tell(&error);
                }
                self.changed();
                Err(error)
            }
        }
    }

    /// Says how far all is settled: up to the oldest that is held.
    fn outbox(&self) -> Outbox {
        let mut outbox = Outbox { place: self.followed, warned: self.warned.time, next_letter: self.next_letter };
        for origin in self.lanes.origins() {
            match origin {
                Origin::Event(revision) => outbox.place = outbox.place.min(Revision(revision.0 - 1)),
                Origin::Deadline(deadline) => outbox.warned = outbox.warned.min(deadline),
                Origin::Letter(_) => {}
            }
        }
        outbox
    }

    fn measure(&self, outcome: &'static str) {
        metrics::counter!(WEBHOOK_ATTEMPTS, "webhook" => self.webhook.name.to_string(), "outcome" => outcome)
            .increment(1);
    }

    fn tell(&self) {
        measure_held(&self.webhook, self.lanes.len(), self.letters.len());
        self.shared.tell(self.saved.place, self.lanes.len(), self.letters.len());
    }
}

impl Errand {
    /// Forgets how the webhook fares: another coordinator knows, if there are any.
    pub fn leave(&self) {
        measure_held(&self.webhook, 0, 0);
        self.shared.clear(self.coordinator.has_peers());
    }
}

#[allow(clippy::cast_precision_loss, reason = "few enough")]
fn measure_held(webhook: &Webhook, pending: usize, letters: usize) {
    let webhook = webhook.name.to_string();
    metrics::gauge!(WEBHOOK_PENDING, "webhook" => webhook.clone()).set(pending as f64);
    metrics::gauge!(WEBHOOK_DEAD_LETTERS, "webhook" => webhook).set(letters as f64);
}

/// Sleeps until a time, or for ever if there is none.
async fn until(coordinator: &Coordinator, time: Option<SystemTime>) {
    match time {
        Some(time) => coordinator.sleep_until(time).await,
        None => std::future::pending().await,
    }
}
