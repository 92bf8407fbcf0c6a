//! Tells the outside what happens to gates: at least once, in order for each gate, and without ever holding up a
//! decision.
//!
//! For each webhook, at the coordinator that leads (`office`), a courier follows the log (`courier`), holds what is to be delivered in a lane for each gate
//! (`lanes`), and tries over HTTP (`sender`).

mod courier;
mod lanes;
mod message;
mod office;
mod sender;
mod settings;
mod slack;
mod status;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::coordinator::{Coordinator, StoreError};
use crate::domain::{Revision, WebhookName};
use courier::{Command, Errand, Reply};
use message::Sender;
use office::Office;
use status::Shared;

pub use crate::coordinator::{DeadLetter, Topic};
pub use sender::{Http, Transport};
pub use settings::{Format, Keys, Webhook, url};
pub use status::Status;

/// Commands that wait for a courier. Who comes later waits for a place.
const COMMANDS_MAX: usize = 16;

/// The webhooks that are configured, for those who ask about them.
#[derive(Default)]
pub struct Webhooks(Vec<Entry>);

struct Entry {
    webhook: Arc<Webhook>,
    coordinator: Arc<Coordinator>,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// Those who deliver.
#[derive(Default)]
pub struct Couriers(Vec<Office>);

/// Why something about a webhook is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No webhook of that name is configured.
    #[error("there is no webhook {0:?}: `gatepost webhooks list` shows those that are configured")]
    NoSuchWebhook(String),
    /// The webhook has no such dead letter.
    #[error("webhook {webhook} has no dead letter {number}")]
    NoSuchLetter {
        /// The webhook.
        webhook: WebhookName,
        /// The dead letter's number.
        number: u64,
    },
    /// What the dead letter told has been forgotten.
    #[error("the event at revision {revision} has been forgotten: it cannot be told again")]
    EventForgotten {
        /// The event's revision.
        revision: Revision,
        /// The oldest revision that is kept.
        oldest: Revision,
    },
    /// The coordinator is about to stop.
    #[error("the coordinator is stopping: connect again")]
    Draining,
    /// Another coordinator of the store leads.
    #[error("webhooks are delivered by another coordinator: ask that one")]
    Elsewhere,
    /// The store did not do it.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Deposed => Self::Elsewhere,
            error => Self::Store(error),
        }
    }
}

/// Reads how far each webhook has come, or, if other coordinators share the store, where it begins if it is new. From
/// then on retention keeps for it what it has yet to tell.
///
/// # Errors
///
/// The store's.
pub async fn open(
    coordinator: &Arc<Coordinator>,
    webhooks: Vec<Webhook>,
    public_url: &str,
    transport: &Arc<dyn Transport>,
) -> Result<(Webhooks, Couriers), StoreError> {
    let sender = Sender { store_id: coordinator.store_id().into(), public_url: public_url.into() };
    let new = coordinator.present().await?;
    let (mut entries, mut offices) = (Vec::new(), Vec::new());
    for webhook in webhooks {
        let (webhook, shared) = (Arc::new(webhook), Arc::new(Shared::default()));
        let (commands, to_courier) = mpsc::channel(COMMANDS_MAX);
        let errand = Errand {
            webhook: Arc::clone(&webhook),
            coordinator: Arc::clone(coordinator),
            transport: Arc::clone(transport),
            sender: sender.clone(),
            shared: Arc::clone(&shared),
            new: new.clone(),
        };
        offices.push(Office::open(errand, to_courier).await?);
        entries.push(Entry { webhook, coordinator: Arc::clone(coordinator), shared, commands });
    }
    Ok((Webhooks(entries), Couriers(offices)))
}

impl Couriers {
    /// Delivers while the coordinator leads until it is told to stop, then saves how far each has come.
    ///
    /// # Errors
    ///
    /// The store's. Nothing that a receiver does is an error.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        // Each in a task of its own, so that none holds up another or the coordinator.
        let mut running: JoinSet<_> = self.0.into_iter().map(|office| office.run(stop.clone())).collect();
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok(ended) => ended?,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
        stop.cancelled().await;
        Ok(())
    }
}

impl Webhooks {
    /// Lists the webhooks in the order of the configuration, with how they fare if this coordinator delivers.
    pub fn list(&self) -> impl Iterator<Item = (&Webhook, Status)> {
        self.0.iter().map(|entry| (&*entry.webhook, entry.shared.status()))
    }

    /// Reads dead letters of a webhook in the order of their numbers, from a number on.
    ///
    /// # Errors
    ///
    /// If there is no such webhook, or the store's.
    pub async fn dead_letters(&self, webhook: &str, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let entry = self.entry(webhook)?;
        Ok(entry.coordinator.dead_letters(&entry.webhook.name, from, limit).await?)
    }

    /// Has a dead letter delivered again, behind what its gate has to tell. It stays where it is until it is delivered.
    ///
    /// # Errors
    ///
    /// If there is no such webhook or dead letter, if its event has been forgotten, if another coordinator delivers, or
    /// the store's.
    pub async fn redeliver(&self, webhook: &str, number: u64) -> Result<(), Error> {
        self.command(webhook, |reply| Command::Redeliver(number, reply)).await
    }

    /// Removes a dead letter.
    ///
    /// # Errors
    ///
    /// If there is no such webhook or dead letter, if another coordinator delivers, or the store's.
    pub async fn delete(&self, webhook: &str, number: u64) -> Result<(), Error> {
        self.command(webhook, |reply| Command::Delete(number, reply)).await
    }

    async fn command(&self, webhook: &str, command: impl FnOnce(Reply) -> Command) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.entry(webhook)?.commands.send(command(reply)).await;
        sent.map_err(|_| Error::Draining)?;
        answer.await.unwrap_or(Err(Error::Draining))
    }

    fn entry(&self, webhook: &str) -> Result<&Entry, Error> {
        let entry = self.0.iter().find(|entry| entry.webhook.name.as_str() == webhook);
        entry.ok_or_else(|| Error::NoSuchWebhook(webhook.to_owned()))
    }
}

#[cfg(test)]
mod tests;
