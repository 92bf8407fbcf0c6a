//! The one table of what is measured, and how it is shown to Prometheus.
//!
//! Whoever sees something happen records it there and then, by a name of this table and with the macros of the `metrics`
//! crate. In a process that did not [`install`] a recorder that costs next to nothing.

use std::sync::OnceLock;
use std::time::SystemTime;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

pub use names::*;

#[allow(missing_docs, reason = "the table says what each means")]
mod names {
    pub const GATES: &str = "gatepost_gates";
    pub const WAITERS: &str = "gatepost_waiters";
    pub const WATCHES: &str = "gatepost_watches";
    pub const CONNECTIONS: &str = "gatepost_connections";
    pub const DECISIONS: &str = "gatepost_decisions_total";
    pub const BREAK_GLASS: &str = "gatepost_break_glass_total";
    pub const DECISION_SECONDS: &str = "gatepost_decision_seconds";
    pub const CALL_SECONDS: &str = "gatepost_call_seconds";
    pub const COMMIT_SECONDS: &str = "gatepost_commit_seconds";
    pub const SYNC_SECONDS: &str = "gatepost_sync_seconds";
    pub const BATCH_EVENTS: &str = "gatepost_batch_events";
    pub const WATCH_LAG_SECONDS: &str = "gatepost_watch_lag_seconds";
    pub const REFUSED_CALLS: &str = "gatepost_refused_calls_total";
    pub const RULES: &str = "gatepost_rules_total";
    pub const WEBHOOK_ATTEMPTS: &str = "gatepost_webhook_attempts_total";
    pub const WEBHOOK_PENDING: &str = "gatepost_webhook_pending";
    pub const WEBHOOK_DEAD_LETTERS: &str = "gatepost_webhook_dead_letters";
    pub const LEADER: &str = "gatepost_leader";
    pub const STORE_BYTES: &str = "gatepost_store_bytes";
    pub const BUILD_INFO: &str = "gatepost_build_info";
    pub const START_TIME: &str = "process_start_time_seconds";
}

/// Something that is measured.
#[derive(Debug)]
pub struct Metric {
    /// Its name, as Prometheus knows it.
    pub name: &'static str,
    /// What can be asked of it.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// What it is told apart by.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub help: &'static str,
}

/// What can be asked of a metric.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// How often something happened.
    Counter,
    /// How much there is now.
    Gauge,
    /// How what happened is spread; with the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// From half a millisecond, a fast disk's sync, to ten seconds.
const FAST: Kind =
    Kind::Histogram(&[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
/// From a second, a program's decision, to a week.
const PATIENT: Kind =
    Kind::Histogram(&[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0, 604_800.0]);
/// Up to the most events that a batch takes.
const BATCH: Kind = Kind::Histogram(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]);

/// All that is measured. `docs/operations.md` shows the same table.
pub static METRICS: &[Metric] = &[
    metric(GATES, Kind::Gauge, "gates", &["status"], "The gates that there are."),
    metric(WAITERS, Kind::Gauge, "waits", &[], "Waits that are open now, long polls included."),
    metric(WATCHES, Kind::Gauge, "watches", &[], "Watches that are open now."),
    metric(CONNECTIONS, Kind::Gauge, "connections", &[], "Connections that are open now."),
    metric(DECISIONS, Kind::Counter, "rounds", &["verdict", "cause"], "Rounds that were resolved."),
    metric(BREAK_GLASS, Kind::Counter, "rounds", &[], "Rounds that somebody approved by breaking the glass."),
    metric(
        DECISION_SECONDS,
        PATIENT,
        "seconds",
        &["verdict"],
        "From the first wait of a round to its resolution; rounds that nobody waited on are left out.",
    ),
    metric(
        CALL_SECONDS,
        FAST,
        "seconds",
        &["method", "code"],
        "Calls of GateService over gRPC and JSON that reached it, until they are answered; of Wait and Watch, until they \
         begin to answer.",
    ),
    metric(
        REFUSED_CALLS,
        Kind::Counter,
        "calls",
        &["reason"],
        "Calls that were refused before anything looked at them: nobody knew who made them, or they were too many.",
    ),
    metric(COMMIT_SECONDS, FAST, "seconds", &[], "From the moment that a change is queued until it is durable."),
    metric(SYNC_SECONDS, FAST, "seconds", &[], "Making one batch of changes durable; with sled only."),
    metric(BATCH_EVENTS, BATCH, "events", &[], "Events that became durable together; with sled only."),
    metric(
        WATCH_LAG_SECONDS,
        FAST,
        "seconds",
        &[],
        "How long ago the events happened that a watch takes, the rules' own included; one that catches up takes old ones.",
    ),
    metric(RULES, Kind::Counter, "gates", &["rule", "outcome"], "Gates that a rule decided, or failed to look at."),
    metric(
        WEBHOOK_ATTEMPTS,
        Kind::Counter,
        "attempts",
        &["webhook", "outcome"],
        "Attempts to deliver a message to a webhook.",
    ),
    metric(
        WEBHOOK_PENDING,
        Kind::Gauge,
        "messages",
        &["webhook"],
        "Messages that are held to be delivered; the log has those behind them.",
    ),
    metric(WEBHOOK_DEAD_LETTERS, Kind::Gauge, "messages", &["webhook"], "Messages that were given up."),
    metric(
        LEADER,
        Kind::Gauge,
        "1 or 0",
        &[],
        "Whether this coordinator leads, of several that share a store; not there for one that shares none.",
    ),
    metric(
        STORE_BYTES,
        Kind::Gauge,
        "bytes",
        &[],
        "The size of the store's files; with etcd, of the whole database of one member.",
    ),
    metric(BUILD_INFO, Kind::Gauge, "1", &["version"], "Always 1."),
    metric(START_TIME, Kind::Gauge, "seconds since 1970", &[], "When the process started."),
];

const fn metric(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, help }
}

static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table is wrong.
    #[error(transparent)]
    Table(#[from] BuildError),
    /// The process measures already.
    #[error("something else in this process measures already")]
    Taken,
}

/// Begins to measure, for the whole process. What has no labels is there from the start, as 0, but for who leads: that
/// takes others.
///
/// # Errors
///
/// If the process measures already.
pub fn install() -> Result<(), Error> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| Error::Taken)?;
    INSTALLED.set(handle).map_err(|_| Error::Taken)?;

    for Metric { name, kind, labels, help, .. } in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Histogram(_) => metrics::describe_histogram!(*name, *help),
        }
        match kind {
            _ if !labels.is_empty() || *name == LEADER => {}
            Kind::Counter => metrics::counter!(*name).absolute(0),
            Kind::Gauge => metrics::gauge!(*name).set(0),
            Kind::Histogram(_) => drop(metrics::histogram!(*name)),
        }
    }
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!(START_TIME).set(since_1970);
    Ok(())
}

/// Shows what was measured, in the text format of Prometheus; none if nothing measures.
#[must_use]
pub fn render() -> Option<String> {
    INSTALLED.get().map(PrometheusHandle::render)
}

/// Gathers what was recorded. Called now and then, so that it takes no room where nobody asks for it.
pub fn gather() {
    if let Some(handle) = INSTALLED.get() {
        handle.run_upkeep();
    }
}

/// Counts something that is there for as long as this is.
#[derive(Debug)]
pub struct Live(&'static str);

impl Live {
    /// Counts one more.
    #[must_use]
    pub fn new(gauge: &'static str) -> Self {
        metrics::gauge!(gauge).increment(1);
        Self(gauge)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        metrics::gauge!(self.0).decrement(1);
    }
}
