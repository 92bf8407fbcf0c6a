//! What the coordinator measures: how things are when somebody looks, and each decision as it comes.

use crate::domain::{Event, Principal, Resolution};
use crate::metrics::{DECISION_SECONDS, DECISIONS, GATES, STORE_BYTES};

use super::Coordinator;

impl Coordinator {
    /// Records what is known without counting: the gates by status, and the size of the store.
    pub fn measure(&self) {
        for (status, count) in self.store.counts().iter() {
            #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in f64")]
            metrics::gauge!(GATES, "status" => status.as_str()).set(count as f64);
        }
        #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in f64")]
        metrics::gauge!(STORE_BYTES).set(self.store.bytes() as f64);
    }
}

/// Records a decision, if an event is one, and says so in one line.
pub(super) fn decided(event: &Event) {
    let Some(Resolution { cause, by, time, .. }) = event.resolution() else { return };
    let gate = &event.gate;
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
