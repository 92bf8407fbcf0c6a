//! What a coordinator tells of itself: its log on the standard error, and its traces to a collector.

use std::io;
use std::time::Duration;

use opentelemetry::Key;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Metadata;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use super::failure::{Failure, chain};
use crate::config::LogFormat;

/// How long the end of the process waits for a collector that does not take the last traces.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// Log lines that wait to be written. Those beyond are dropped, so that nobody waits for who reads the log.
const LINES_MAX: usize = 16_384;

/// What has to be ended with the process. The log is written for as long as it is there.
#[must_use]
pub(super) struct Telemetry {
    /// Writes the lines that are left when it is dropped.
    _log: WorkerGuard,
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Begins to tell: events to the standard error, spans to the collector if there is one. Without, they cost nothing.
    pub fn start(level: &str, format: LogFormat, collector: Option<&str>) -> Result<Self, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::Here(format!("cannot send traces: {}", chain(error)));
        let traces = collector.map(provider).transpose().map_err(|error| failed(&error))?;
        let (writer, guard) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).finish(io::stderr());
        let mut layers = vec![log(level, format, writer)];
        // A layer that is there and takes nothing would still be asked about everything.
        layers.extend(traces.as_ref().map(spans));
        tracing_subscriber::registry().with(layers).init();
        Ok(Self { _log: guard, traces })
    }

    /// Sends what is left. A collector that cannot be reached is given up.
    pub async fn end(self) {
        let Some(traces) = self.traces else { return };
        let flushed = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(FLUSH_MAX)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!("the last traces were not taken: {error}");
        }
    }
}

/// Writes to the standard error those events that `GATEPOST_LOG` or `RUST_LOG` ask for.
fn log(level: &str, format: LogFormat, writer: NonBlocking) -> Box<dyn Layer<Registry> + Send + Sync> {
    let asked = ["GATEPOST_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let filter = EnvFilter::new(asked.as_deref().unwrap_or(level));
    // With a hint, the level that is asked for holds: without, every library would ask about every event.
    let is_event = filter_fn(|it: &Metadata<'_>| it.is_event()).with_max_level_hint(LevelFilter::TRACE);
    let filter = filter.and(is_event);
    let layer = fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => {
            let coloured = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
            layer.with_ansi(coloured).with_filter(filter).boxed()
        }
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

/// Traces our own spans.
fn spans(traces: &SdkTracerProvider) -> Box<dyn Layer<Registry> + Send + Sync> {
    let is_ours = |it: &Metadata<'_>| it.is_span() && it.target().starts_with("gatepost");
    let filter = filter_fn(is_ours).with_max_level_hint(LevelFilter::INFO);
    tracing_opentelemetry::layer().with_tracer(traces.tracer("gatepost")).with_filter(filter).boxed()
}

/// Sends spans to a collector, in batches and from a thread of its own: what is not taken in time is dropped.
fn provider(collector: &str) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(collector).build()?;
    // What the environment says comes over our own name.
    let detected = Resource::builder().build();
    let name = detected.get(&Key::from_static_str("service.name")).map(|name| name.to_string());
    let name = name.filter(|name| !name.starts_with("unknown_service")).unwrap_or_else(|| "gatepost".to_owned());
    let resource = Resource::builder().with_service_name(name).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
