//! Follows the log for one webhook, and delivers what it is to be told.
//!
//! Nothing is written when a gate is decided: the log is the outbox. What is saved, once a second at most, is the place
//! up to which all is settled. Losing it repeats messages, with the ids that they had.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::lanes::{Dead, Failure, Lanes, Origin, Parcel};
use super::message::{Message, Sender, topic_of};
use super::sender::Transport;
use super::settings::{Format, Webhook};
use super::status::Shared;
use crate::coordinator::{Coordinator, DeadLetter, DeadlinePlace, Outbox, OutboxChange, StoreError, Topic};
use crate::domain::{Event, EventKind, GateName, Revision};

/// How long what has changed may stay unsaved.
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// How long to leave a store that is full.
const FULL_PAUSE: Duration = Duration::from_secs(10);
/// Dead letters that are kept; the oldest gives way.
const LETTERS_MAX: usize = 10_000;
/// Dead letters or deadlines that are read at a time.
const PAGE: usize = 256;
/// The longest text about a failure in characters, so that a dead letter fits one part of a record.
const PROBLEM_MAX: usize = 256;

/// What an operator asks for.
pub enum Command {
    /// Deliver a dead letter again.
    Redeliver(u64, Reply),
    /// Remove a dead letter.
    Delete(u64, Reply),
}

/// Where the answer goes. Who asked may have gone.
pub type Reply = oneshot::Sender<Result<(), Error>>;

/// How an attempt ended.
type Ended = Result<(Id, Result<(), Failure>), JoinError>;

/// Delivers to one webhook.
pub struct Courier {
    webhook: Arc<Webhook>,
    coordinator: Arc<Coordinator>,
    transport: Arc<dyn Transport>,
    sender: Sender,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    lanes: Lanes<Message>,
    /// The attempts that are under way.
    attempts: JoinSet<Result<(), Failure>>,
    attempted: HashMap<Id, GateName>,
    /// How far the log was read.
    followed: Revision,
    /// How far the deadlines were looked at.
    warned: DeadlinePlace,
    /// When to look at the next, once the log was read up to `warn_from`.
    next_warning: Option<SystemTime>,
    warn_from: Revision,
    /// The dead letters there are, and those of them that are being delivered.
    letters: BTreeSet<u64>,
    redelivering: BTreeSet<u64>,
    next_letter: u64,
    /// What was saved last, and what is to be saved next.
    saved: Outbox,
    put: Vec<DeadLetter>,
    remove: Vec<u64>,
    save_at: Option<Instant>,
}

impl Courier {
    /// Reads how far the webhook has come.
    pub async fn open(
        webhook: Arc<Webhook>,
        coordinator: Arc<Coordinator>,
        transport: Arc<dyn Transport>,
        sender: Sender,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, StoreError> {
        let saved = coordinator.outbox(&webhook.name).await?;
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
        let mut courier = Self {
            lanes: Lanes::new(webhook.give_up_after, webhook.max_pause),
            attempts: JoinSet::new(),
            attempted: HashMap::new(),
            followed: saved.place,
            warned: DeadlinePlace::before(saved.warned),
            next_warning: webhook.topics.contains(&Topic::Expiring).then(|| coordinator.now()),
            warn_from: Revision::ZERO,
            redelivering: BTreeSet::new(),
            next_letter: saved.next_letter.max(letters.last().map_or(0, |last| last + 1)),
            letters,
            save_at: None,
            put: Vec::new(),
            remove: Vec::new(),
            // So that one that is new is saved before anything can happen: it begins there after a restart too.
            saved: Outbox { next_letter: 0, ..saved },
            webhook,
            coordinator,
            transport,
            sender,
            shared,
            commands,
        };
        courier.save().await?;
        courier.tell();
        Ok(courier)
    }

    /// Delivers until it is told to stop, then saves how far it has come. What is under way then is cut off, and
    /// repeated after the next start.
    ///
    /// # Errors
    ///
    /// The store's. Nothing that a receiver does is an error.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let coordinator = Arc::clone(&self.coordinator);
        loop {
            self.send();
            self.tell();
            let has_room = self.lanes.has_room();
            let (wake_at, save_at) = (self.lanes.wake_at(), self.save_at);
            let warn_at = self.next_warning.filter(|_| has_room && self.followed >= self.warn_from);
            tokio::select! {
                () = stop.cancelled() => break,
                changes = coordinator.changes_after(self.followed), if has_room => self.follow(changes).await?,
                Some(ended) = self.attempts.join_next_with_id() => self.settle(ended),
                () = until(&coordinator, wake_at) => {}
                () = until(&coordinator, warn_at) => self.warn().await?,
                Some(command) = self.commands.recv() => self.obey(command).await?,
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
            let transport = Arc::clone(&self.transport);
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
            self.attempted.insert(attempt.id(), parcel.gate);
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
        let Some(gate) = self.attempted.remove(&id) else { return };
        let now = self.coordinator.now();
        self.changed();
        match result {
            Ok(()) => {
                self.shared.succeeded(now);
                if let Some(Parcel { origin: Origin::Letter(number), .. }) = self.lanes.delivered(&gate) {
                    self.redelivering.remove(&number);
                    self.discard(number);
                }
            }
            Err(failure) => {
                tracing::warn!("webhook {} could not tell of {gate}: {}", self.webhook.name, failure.problem);
                self.shared.failed(now, &failure.problem);
                if let Some(dead) = self.lanes.failed(&gate, now, failure) {
                    self.bury(dead);
                }
            }
        }
    }

    /// Reads on in the log.
    async fn follow(&mut self, changes: Result<Vec<Arc<Event>>, StoreError>) -> Result<(), StoreError> {
        match changes {
            Ok(events) => {
                for event in events {
                    self.take(event).await?;
                }
            }
            // Retention keeps what a webhook has yet to tell, so this one was not configured for long.
            Err(StoreError::Compacted { oldest }) => {
                let name = &self.webhook.name;
                tracing::error!(
                    "webhook {name} missed what happened from {} on: going on at {oldest}",
                    self.followed.next()
                );
                self.followed = Revision(oldest.0.saturating_sub(1));
            }
            // One event that cannot be read holds up no other.
            Err(StoreError::Corrupt { .. }) => {
                let next = self.followed.next();
                match self.coordinator.event(next).await {
                    Ok(Some(event)) => self.take(event).await?,
                    Ok(None) => self.followed = next,
                    Err(error @ StoreError::Corrupt { .. }) => {
                        tracing::error!("webhook {} leaves an event out: {error}", self.webhook.name);
                        self.followed = next;
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        self.changed();
        Ok(())
    }

    /// Takes in the next event of the log.
    async fn take(&mut self, event: Arc<Event>) -> Result<(), StoreError> {
        self.followed = event.revision();
        if !self.webhook.prefix.contains(&event.gate.name) {
            return Ok(());
        }
        let origin = Origin::Event(event.revision());
        if let Some(topic) = topic_of(&event).filter(|topic| self.webhook.topics.contains(topic)) {
            self.push(origin, topic, Arc::clone(&event), event.time);
        }
        let deadline = event.gate.deadline.filter(|_| event.kind == EventKind::Waiting);
        if let Some(deadline) = deadline.filter(|_| self.webhook.topics.contains(&Topic::Expiring)) {
            let place = DeadlinePlace { time: deadline, gate: Some(event.gate.name.clone()) };
            if place <= self.warned {
                // Whoever looks at deadlines has been there already, and has not seen this one.
                self.warn_of(origin, &event.gate.name, deadline).await?;
            } else {
                let at = self.warning_time(deadline);
                self.next_warning = Some(self.next_warning.map_or(at, |next| next.min(at)));
            }
        }
        Ok(())
    }

    /// Warns of the deadlines that are near, and notes when the next will be.
    async fn warn(&mut self) -> Result<(), StoreError> {
        self.changed();
        let now = self.coordinator.now();
        let horizon = DeadlinePlace::before(now + self.webhook.warn_before + Duration::from_nanos(1));
        while self.lanes.has_room() {
            let page = self.coordinator.deadlines(&self.warned, PAGE).await?;
            let is_last = page.len() < PAGE;
            for (deadline, gate) in page {
                if deadline >= horizon.time {
                    self.warned = self.warned.clone().max(horizon);
                    self.next_warning = Some(self.warning_time(deadline));
                    return Ok(());
                }
                if self.webhook.prefix.contains(&gate)
                    && self.warn_of(Origin::Deadline(deadline), &gate, deadline).await? > self.followed
                {
                    // The log says first what came before.
                    self.next_warning = Some(now);
                    return Ok(());
                }
                self.warned = DeadlinePlace { time: deadline, gate: Some(gate) };
            }
            if is_last {
                self.warned = self.warned.clone().max(horizon);
                self.next_warning = None;
                return Ok(());
            }
        }
        self.next_warning = Some(now);
        Ok(())
    }

    /// Warns of a deadline, if the gate still waits for it. Returns the revision up to which the log has to be read
    /// before the warning may be made; it is made if that was read.
    async fn warn_of(&mut self, origin: Origin, gate: &GateName, deadline: SystemTime) -> Result<Revision, StoreError> {
        match self.coordinator.still_waiting(gate, deadline).await {
            Ok(Some(event)) if event.revision() > self.followed && matches!(origin, Origin::Deadline(_)) => {
                self.warn_from = event.revision();
                Ok(self.warn_from)
            }
            Ok(Some(event)) => {
                let now = self.coordinator.now();
                self.push(origin, Topic::Expiring, event, now);
                Ok(Revision::ZERO)
            }
            Ok(None) => Ok(Revision::ZERO),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!("webhook {} cannot warn of {gate}: {error}", self.webhook.name);
                Ok(Revision::ZERO)
            }
            Err(error) => Err(error),
        }
    }

    fn warning_time(&self, deadline: SystemTime) -> SystemTime {
        deadline.checked_sub(self.webhook.warn_before).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn push(&mut self, origin: Origin, topic: Topic, event: Arc<Event>, time: SystemTime) {
        let gate = event.gate.name.clone();
        self.lanes.push(Parcel { gate, origin, since: time, message: Message { topic, event, time } });
    }

    /// Keeps what was given up, until somebody looks at it.
    fn bury(&mut self, dead: Dead<Message>) {
        let Dead { parcel: Parcel { gate, origin, message, .. }, attempts, problem } = dead;
        let number = match origin {
            Origin::Letter(number) if !self.redelivering.remove(&number) || !self.letters.contains(&number) => return,
            Origin::Letter(number) => number,
            Origin::Event(_) | Origin::Deadline(_) => self.next_letter,
        };
        let message_id = self.sender.id(&message);
        let (name, topic) = (&self.webhook.name, message.topic.as_str());
        tracing::error!("webhook {name} gave up {topic} of {gate} ({message_id}) after {attempts} attempts: {problem}");
        self.next_letter = self.next_letter.max(number + 1);
        self.letters.insert(number);
        self.put.push(DeadLetter {
            number,
            message_id,
            topic: message.topic,
            gate,
            round: message.event.gate.round,
            revision: message.event.revision(),
            attempts,
            problem: problem.chars().take(PROBLEM_MAX).collect(),
            time: self.coordinator.now(),
        });
        if self.letters.len() > LETTERS_MAX
            && let Some(oldest) = self.letters.first().copied()
        {
            tracing::error!(
                "webhook {} has more than {LETTERS_MAX} dead letters: the oldest is gone",
                self.webhook.name
            );
            self.discard(oldest);
        }
        self.changed();
    }

    fn discard(&mut self, number: u64) {
        if self.letters.remove(&number) {
            self.put.retain(|letter| letter.number != number);
            self.remove.push(number);
            self.changed();
        }
    }

    /// Does what an operator asks for.
    async fn obey(&mut self, command: Command) -> Result<(), StoreError> {
        let (reply, answer) = match command {
            Command::Redeliver(number, reply) => (reply, self.redeliver(number).await),
            Command::Delete(number, reply) if self.letters.contains(&number) => {
                self.discard(number);
                self.save().await?;
                // Gone only once that is durable.
                (reply, if self.remove.is_empty() { Ok(()) } else { Err(StoreError::Full.into()) })
            }
            Command::Delete(number, reply) => (reply, Err(self.no_letter(number))),
        };
        // Who asked may have gone.
        drop(reply.send(answer));
        Ok(())
    }

    /// Puts a dead letter behind what its gate has to tell. It stays a dead letter until it is delivered.
    async fn redeliver(&mut self, number: u64) -> Result<(), Error> {
        self.save().await?;
        let letter = self.coordinator.dead_letters(&self.webhook.name, number, 1).await?.pop();
        let letter = letter.filter(|letter| letter.number == number && self.letters.contains(&number));
        let letter = letter.ok_or_else(|| self.no_letter(number))?;
        let event = self.coordinator.event(letter.revision).await?;
        let oldest = self.coordinator.oldest();
        let event = event.ok_or(Error::EventForgotten { revision: letter.revision, oldest })?;
        if self.redelivering.insert(number) {
            let now = self.coordinator.now();
            let time = if letter.topic == Topic::Expiring { letter.time } else { event.time };
            let message = Message { topic: letter.topic, event, time };
            self.lanes.push(Parcel { gate: letter.gate, origin: Origin::Letter(number), since: now, message });
        }
        Ok(())
    }

    fn no_letter(&self, number: u64) -> Error {
        Error::NoSuchLetter { webhook: self.webhook.name.clone(), number }
    }

    fn changed(&mut self) {
        self.save_at.get_or_insert_with(|| Instant::now() + SAVE_AFTER);
    }

    /// Saves how far it has come, with what was given up on the way.
    async fn save(&mut self) -> Result<(), StoreError> {
        self.save_at = None;
        let outbox = self.outbox();
        if outbox == self.saved && self.put.is_empty() && self.remove.is_empty() {
            return Ok(());
        }
        let change = OutboxChange { outbox: outbox.clone(), put: self.put.clone(), remove: self.remove.clone() };
        match self.coordinator.save_outbox(&self.webhook.name, change).await {
            Ok(()) => {
                self.saved = outbox;
                self.put.clear();
                self.remove.clear();
                Ok(())
            }
            // Deliveries go on: what is not saved is repeated after a restart.
            Err(StoreError::Full) => {
                tracing::error!("webhook {} cannot save its place: {}", self.webhook.name, StoreError::Full);
                self.save_at = Some(Instant::now() + FULL_PAUSE);
                Ok(())
            }
            Err(error) => Err(error),
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

    fn tell(&self) {
        self.shared.tell(self.saved.place, self.lanes.len(), self.letters.len());
    }
}

/// Sleeps until a time, or for ever if there is none.
async fn until(coordinator: &Coordinator, time: Option<SystemTime>) {
    match time {
        Some(time) => coordinator.sleep_until(time).await,
        None => std::future::pending().await,
    }
}
