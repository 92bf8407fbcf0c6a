//! Has a courier deliver to one webhook while this coordinator leads.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::courier::{Command, Courier, Errand};
use crate::coordinator::{Outage, StoreError};

/// Where commands for one webhook come in, and its courier goes out from.
pub struct Office {
    errand: Errand,
    commands: mpsc::Receiver<Command>,
    /// The first courier; none yet where other coordinators may lead.
    courier: Option<Courier>,
}

impl Office {
    /// Reads how far the webhook has come, if there are no other coordinators that could be ahead of this one.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn open(errand: Errand, commands: mpsc::Receiver<Command>) -> Result<Self, StoreError> {
        errand.coordinator.keep_for(&errand.webhook.name);
        errand.leave();
        let courier = if errand.coordinator.has_peers() { None } else { Some(Courier::open(errand.clone()).await?) };
        Ok(Self { errand, commands, courier })
    }

    /// Delivers whenever this coordinator leads, from what was saved last, until it is told to stop.
    ///
    /// # Errors
    ///
    /// The store's, unless they pass by themselves.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut outage = Outage::new(format!("webhook {}", self.errand.webhook.name));
        while !stop.is_cancelled() {
            let opened = if let Some(courier) = self.courier.take() {
                Ok(courier)
            } else {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    () = self.errand.coordinator.elected() => Courier::open(self.errand.clone()).await,
                    Some(command) = self.commands.recv() => {
                        command.refer();
                        continue;
                    }
                }
            };
            let ended = match opened {
                Ok(courier) => {
                    outage.end();
                    courier.run(&mut self.commands, &stop).await
                }
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => self.errand.leave(),
                // Another one leads, as will be seen soon.
                Err(StoreError::Deposed) => {
                    self.errand.leave();
                    tokio::time::sleep(Outage::PAUSE).await;
                }
                failed => drop(outage.outlast(failed).await?),
            }
        }
        Ok(())
    }
}
