//! Callers side by side: what each does is timed, one call after the other.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::report::{Latency, ended};
use crate::cli::failure::Failure;
use crate::client::{Client, Error};

/// When callers stop.
#[derive(Clone, Copy)]
pub(super) enum Stop {
    /// When there is nothing left to do.
    Never,
    /// At a time, or earlier when there is nothing left to do.
    At(Instant),
}

/// What callers did.
pub(super) struct Measured {
    pub(super) latency: Latency,
    pub(super) elapsed: Duration,
}

impl Measured {
    pub(super) fn new() -> Self {
        Self { latency: Latency::new(), elapsed: Duration::ZERO }
    }

    /// Adds what was done later.
    pub(super) fn add(&mut self, more: &Self) {
        self.latency.add(&more.latency);
        self.elapsed += more.elapsed;
    }

    pub(super) fn per_second(&self) -> f64 {
        self.latency.count_f64() / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Lets each client be a caller: it makes one call after the other until there is none left to make.
///
/// # Errors
///
/// The first call that fails: figures of a coordinator that fails would say nothing.
pub(super) async fn measure<T, F>(
    clients: &[Client],
    stop: Stop,
    call: impl Fn(Client) -> Option<F> + Clone + Send + 'static,
) -> Result<Measured, Failure>
where
    F: Future<Output = Result<T, Error>> + Send,
{
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for client in clients {
        let (client, call) = (client.clone(), call.clone());
        callers.spawn(async move {
            let mut latency = Latency::new();
            while !stop.is_over()
                && let Some(calling) = call(client.clone())
            {
                let sent = Instant::now();
                calling.await?;
                latency.record(sent.elapsed());
            }
            Ok::<_, Error>(latency)
        });
    }
    let mut latency = Latency::new();
    while let Some(caller) = callers.join_next().await {
        latency.add(&ended(caller)??);
    }
    Ok(Measured { latency, elapsed: began.elapsed() })
}

impl Stop {
    fn is_over(self) -> bool {
        match self {
            Self::Never => false,
            Self::At(time) => Instant::now() >= time,
        }
    }
}
