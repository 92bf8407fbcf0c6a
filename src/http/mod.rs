//! The JSON API: the calls of the gRPC service, for those who speak HTTP; and the dashboard, which is made on it.
//!
//! It is the same service behind it, so that every rule, limit and error is the same. `routes` is the one table from
//! routes to calls; a request is read as the JSON of the call's message, and answered with the JSON of its answer.
//! `openapi` describes it, made of the same table.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use axum::routing::get;
use tonic::Status;

use self::routes::Found;
use crate::proto::gate_service_server::GateService;

mod call;
mod dashboard;
mod message;
mod openapi;
mod routes;
mod status;
mod stream;

/// Serves the JSON API of a service, and the dashboard. Other paths are answered as HTTP does, or as gRPC does to a gRPC
/// client.
pub fn router<S: GateService>(service: Arc<S>) -> Router {
    Router::new().route(openapi::PATH, get(async || openapi::answer())).fallback(handle::<S>).with_state(service)
}

async fn handle<S: GateService>(State(service): State<Arc<S>>, request: Request) -> Response {
    if is_grpc(&request) {
        return Status::unimplemented("the coordinator has no such call").into_http::<Body>();
    }
    if let Some(page) = dashboard::answer(&request) {
        return page;
    }
    match routes::find(request.method(), request.uri().path()) {
        Found::Route(route, gate) => {
            call::make(&*service, route, gate, request).await.unwrap_or_else(|status| status::response(&status))
        }
        Found::OtherMethods(methods) => status::method_not_allowed(&methods),
        Found::Nothing => status::response(&status::no_such_path(request.uri().path())),
    }
}

fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
