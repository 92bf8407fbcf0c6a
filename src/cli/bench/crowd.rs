//! Workers that wait, many at a time.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::report::{Progress, ended};
use super::target::undecided;
use crate::cli::failure::Failure;
use crate::client::{Client, Error, Outcome, Update};
use crate::proto::{WaitRequest, Waiter};

/// Waits that are opened at a time: enough to keep the coordinator busy, few enough that none has to wait long.
const OPENING_MAX: usize = 512;

/// Workers that wait, each in a call of its own. They leave when this is dropped.
pub(super) struct Crowd {
    waits: JoinSet<Result<Instant, Error>>,
}

impl Crowd {
    /// Gathers workers, who share the connections, and returns once all wait.
    pub(super) async fn gather(
        clients: &[Client],
        count: usize,
        gate: impl Fn() -> String,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let opening = Arc::new(Semaphore::new(OPENING_MAX));
        let (arrived, mut arrivals) = mpsc::unbounded_channel();
        let mut waits = JoinSet::new();
        for (client, number) in clients.iter().cycle().zip(0..count) {
            let (client, gate, opening, arrived) = (client.clone(), gate(), opening.clone(), arrived.clone());
            waits.spawn(wait(client, gate, number, opening, arrived));
        }
        for _ in 0..count {
            tokio::select! {
                biased;
                _ = arrivals.recv() => progress.add(1),
                // Nothing is decided yet.
                Some(early) = waits.join_next() => {
                    ended(early)??;
                    return Err(Failure::Here("a wait ended before its gate was decided".to_owned()));
                }
            }
        }
        Ok(Self { waits })
    }

    /// Waits until all have learned how their gate was decided, and returns when each did.
    pub(super) async fn woken(mut self) -> Result<Vec<Instant>, Failure> {
        let mut times = Vec::with_capacity(self.waits.len());
        while let Some(wait) = self.waits.join_next().await {
            times.push(ended(wait)??);
        }
        Ok(times)
    }
}

async fn wait(
    client: Client,
    gate: String,
    number: usize,
    opening: Arc<Semaphore>,
    arrived: mpsc::UnboundedSender<()>,
) -> Result<Instant, Error> {
    let waiter = Waiter { id: format!("bench:{number}"), host: "bench".to_owned(), ..Waiter::default() };
    let spec = Some(undecided());
    let request = WaitRequest { gate: gate.clone(), spec, waiter: Some(waiter), ..WaitRequest::default() };
    // The semaphore is never closed; if it were, the wait would only open earlier.
    let mut permit = opening.acquire_owned().await.ok();
    let mut wait = client.wait(request);
    while let Some(update) = wait.next().await? {
        match update {
            Update::Disconnected { error, .. } => return Err(error),
            Update::Gate(gate) => {
                if Outcome::try_from(*gate).is_ok() {
                    return Ok(Instant::now());
                }
            }
        }
        // The first answer says that the worker has its place.
        if permit.take().is_some() {
            // Whoever does not count any more needs no word.
            let _ = arrived.send(());
        }
    }
    Err(Error::Over { gate })
}
