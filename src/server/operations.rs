//! What those who run the coordinator ask: whether it is alive, whether it is ready, and what it measures.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tokio::time::interval;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::coordinator::{Caller, Coordinator, Permission};
use crate::{http, metrics};

/// How often it is looked whether the coordinator is ready, for those who watch its health.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The text format of Prometheus.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `/healthz`, `/readyz` and `/metrics`.
pub fn router(coordinator: Arc<Coordinator>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(measured))
        .with_state(coordinator)
}

async fn ready(State(coordinator): State<Arc<Coordinator>>) -> (StatusCode, String) {
    match coordinator.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
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
        let (code, why) = asked(&coordinator, "/readyz").await;
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert!(why.contains("stopping"), "{why}");
        assert_eq!(asked(&coordinator, "/healthz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_process_that_measures_nothing_says_so() {
        let clock = Clock::start(SystemTime::UNIX_EPOCH);
        let coordinator = Coordinator::new(Arc::new(Memory::new()), clock, Retention::default());
        assert_eq!(asked(&coordinator, "/metrics").await.0, StatusCode::NOT_FOUND);
    }
}
