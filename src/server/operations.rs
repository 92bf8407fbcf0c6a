//! What those who run the coordinator ask: whether it is alive, whether it is ready, and what it measures.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tokio::sync::Mutex;
use tokio::time::{Instant, interval};
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::coordinator::{Caller, Coordinator, Error, Permission};
use crate::{http, metrics, store};

/// How often it is looked whether the coordinator is ready, for those who watch its health.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The text format of Prometheus.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `/healthz`, `/readyz` and `/metrics`.
pub fn router(coordinator: Arc<Coordinator>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(Arc::new(Ready::new(Arc::clone(&coordinator)))))
        .route("/metrics", get(measured))
        .with_state(coordinator)
}

/// Whether the coordinator is ready, for anybody who asks: one look at a time, and each serves all who had asked before it.
struct Ready {
    coordinator: Arc<Coordinator>,
    // One of tokio's: held while it is looked, for all others to wait for it.
    last: Mutex<Option<(Instant, Result<(), &'static str>)>>,
}

impl Ready {
    fn new(coordinator: Arc<Coordinator>) -> Self {
        Self { coordinator, last: Mutex::default() }
    }

    async fn look(&self) -> Result<(), &'static str> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        match *last {
            Some((begun, ready)) if begun > asked => ready,
            _ => {
                let begun = Instant::now();
                let ready = self.coordinator.ready().await.map_err(|error| why(&error));
                *last = Some((begun, ready));
                ready
            }
        }
    }
}

/// Says why to somebody whom nobody knows. The log says more.
fn why(error: &Error) -> &'static str {
    match error {
        Error::Draining => "the coordinator is stopping",
        Error::Store(store::Error::Full) => "the store is full",
        Error::Store(store::Error::Unavailable { .. }) => "the store cannot be reached",
        _ => "the store has failed",
    }
}

async fn ready(State(ready): State<Arc<Ready>>) -> (StatusCode, String) {
    match ready.look().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn measured(State(coordinator): State<Arc<Coordinator>>, Extension(caller): Extension<Caller>) -> Response {
    if let Err(error) = caller.check(Permission::View, None) {
        return http::refused(&error.into());
    }
    // What can be measured is worth showing without the rest.
    if let Err(error) = coordinator.measure().await {
        tracing::warn!("the gates and the store cannot be measured: {error}");
    }
    match metrics::render() {
        Some(text) => ([(header::CONTENT_TYPE, METRICS_TEXT)], text).into_response(),
        None => (StatusCode::NOT_FOUND, "nothing is measured here\n").into_response(),
    }
}

/// Tells those who ask for the health of a service what `/readyz` tells, from serving on, until the coordinator stops.
pub async fn report<S: NamedService>(coordinator: &Coordinator, health: &HealthReporter) -> Infallible {
    let mut look = interval(LOOK_EVERY);
    let mut was_ready = true;
    loop {
        look.tick().await;
        metrics::gather();
        let ready = coordinator.ready().await;
        if ready.is_ok() == was_ready {
            continue;
        }
        was_ready = !was_ready;
        match &ready {
            Ok(()) => tracing::info!("ready again"),
            Err(error) => tracing::warn!("not ready: {error}"),
        }
        tell::<S>(health, if was_ready { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
    }
}

/// Says of the service, and of the server as a whole, how they are.
async fn tell<S: NamedService>(health: &HealthReporter, status: ServingStatus) {
    for service in ["", S::NAME] {
        health.set_service_status(service, status).await;
    }
}

/// Says that the service stops. Ends the streams that watch it, which would hold up the stop: they are told first.
pub async fn stop<S: NamedService>(health: &mut HealthReporter) {
    tell::<S>(health, ServingStatus::NotServing).await;
    for service in ["", S::NAME] {
        health.clear_service_status(service).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::coordinator::{Clock, Retention};
    use crate::store::memory::Memory;

    async fn asked(coordinator: &Arc<Coordinator>, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).extension(Caller::anonymous()).body(Body::empty()).unwrap();
        let (parts, body) = router(Arc::clone(coordinator)).oneshot(request).await.unwrap().into_parts();
        (parts.status, String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap())
    }

    #[tokio::test]
    async fn a_coordinator_that_stops_is_alive_and_not_ready() {
        let clock = Clock::start(SystemTime::UNIX_EPOCH);
        let coordinator = Coordinator::new(Arc::new(Memory::new()), clock, Retention::default());
        assert_eq!(asked(&coordinator, "/readyz").await, (StatusCode::OK, "ready\n".to_owned()));
        coordinator.drain();
        let stopping = (StatusCode::SERVICE_UNAVAILABLE, "the coordinator is stopping\n".to_owned());
        assert_eq!(asked(&coordinator, "/readyz").await, stopping);
        assert_eq!(asked(&coordinator, "/healthz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_process_that_measures_nothing_says_so() {
        let clock = Clock::start(SystemTime::UNIX_EPOCH);
        let coordinator = Coordinator::new(Arc::new(Memory::new()), clock, Retention::default());
        assert_eq!(asked(&coordinator, "/metrics").await.0, StatusCode::NOT_FOUND);
    }
}
