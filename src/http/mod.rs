//! The JSON API: the calls of the gRPC service, for those who speak HTTP; and the dashboard, which is made on it.
//!
//! It is the same service behind it, so that every rule, limit and error is the same. `routes` is the one table from
//! routes to calls; a request is read as the JSON of the call's message, and answered with the JSON of its answer.
//! `openapi` describes it, made of the same table.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::response::Response;
use axum::routing::get;
use tonic::Status;

pub use self::call::BODY_BYTES_MAX;
pub use self::hosts::{Hosts, for_hosts};
use self::routes::Found;
pub use self::session::{Door, forget as forget_session, shown as session_of};
use crate::proto::gate_service_server::GateService;

mod call;
mod dashboard;
mod hosts;
mod message;
mod openapi;
mod routes;
mod session;
mod status;
mod stream;

/// Serves the JSON API of a service, and the dashboard. Other paths are answered as HTTP does, or as gRPC does to a gRPC
/// client.
pub fn router<S: GateService>(service: Arc<S>, door: Door) -> Router {
    let openapi = get(async || openapi::answer());
    let router = Router::new().route(openapi::PATH, openapi).fallback(handle::<S>).with_state(service);
    router.merge(session::router(door))
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

/// Says whether a request is answered before its caller has said who they are: the pages where they do, and the ends of
/// sessions.
#[must_use]
pub fn is_open(method: &Method, path: &str) -> bool {
    dashboard::is_file(method, path) || session::is_open(method, path)
}

/// Answers with a refusal.
#[must_use]
pub fn refused(status: &Status) -> Response {
    status::response(status)
}

/// Says whether a request is one of gRPC.
#[must_use]
pub fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    // As gRPC says; browsers send nothing of another site with a POST without saying where from.
    request.method() == Method::POST
        && content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
