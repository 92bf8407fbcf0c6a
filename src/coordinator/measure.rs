//! What the coordinator measures: how things are when somebody looks, and each decision as it comes.

use crate::domain::{Cause, Event, Principal, Resolution};
use crate::metrics::{BREAK_GLASS, DECISION_SECONDS, DECISIONS, GATES, STORE_BYTES};
use crate::store;

use super::Coordinator;

impl Coordinator {
    /// Records the gates by status, and the size of the store.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn measure(&self) -> Result<(), store::Error> {
        for (status, count) in self.store.counts().await?.iter() {
            #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in f64")]
            metrics::gauge!(GATES, "status" => status.as_str()).set(count as f64);
        }
        #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in f64")]
        metrics::gauge!(STORE_BYTES).set(self.store.bytes().await? as f64);
        Ok(())
    }
}

/// Records a decision, if an event is one, and says so in one line.
pub(super) fn decided(event: &Event) {
    let Some(Resolution { cause, by, time, .. }) = event.resolution() else { return };
    let gate = &event.gate;
    if *cause == Cause::BreakGlass {
        metrics::counter!(BREAK_GLASS).increment(1);
    }
    let (verdict, cause) = (gate.status.as_str(), cause.as_str());
    let waited = gate.wait_time.and_then(|since| time.duration_since(since).ok());
    metrics::counter!(DECISIONS, "verdict" => verdict, "cause" => cause).increment(1);
    if let Some(waited) = waited {
        metrics::histogram!(DECISION_SECONDS, "verdict" => verdict).record(waited);
    }
    tracing::info!(
        gate = gate.name.as_str(),
        round = gate.round.get(),
        status = verdict,
        cause,
        by = by.as_ref().map(Principal::as_str),
        revision = event.revision().0,
        waited_seconds = waited.map(|waited| waited.as_secs_f64()),
        "decided"
    );
}
