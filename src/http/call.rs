//! Makes the call of a route, and answers with what it answers.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, Method, header};
use axum::response::Response;
use prost::{Message, Name};
use tokio::time::timeout;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::message::{self, invalid};
use super::routes::{Route, Rpc, Sets};
use super::status::{internal, json_response, too_large, too_slow};
use super::stream;
use crate::proto;
use crate::proto::gate_service_server::GateService;

/// Largest body of a request. Its message is bounded as a gRPC request is, and JSON is seldom twice as long.
pub const BODY_BYTES_MAX: usize = 2 * proto::REQUEST_BYTES_MAX;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The headers that name a trace (W3C's Trace Context).
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// What a request says, besides its method.
pub struct Said {
    body: Vec<u8>,
    /// Which trace the caller says that it is part of.
    trace: HeaderMap,
    /// What was found out about the request before it came here: who calls.
    extensions: Extensions,
    /// How each field that is not in the body is shown, its name and its text.
    fields: Vec<(&'static str, &'static str, String)>,
}

/// Makes the call.
pub async fn make<S: GateService>(
    service: &S,
    route: &'static Route,
    gate: String,
    request: Request,
) -> Result<Response, Status> {
    let (parts, body) = request.into_parts();
    let trace =
        TRACE.iter().filter_map(|name| Some((HeaderName::from_static(name), parts.headers.get(*name)?.clone())));
    let extensions = parts.extensions.clone();
    let mut said = Said { body: Vec::new(), trace: trace.collect(), extensions, fields: Vec::new() };
    let mut poll_for = None;
    for (name, text) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        let Some(query) = route.query.iter().find(|query| query.name == name) else {
            return Err(invalid(&format!("{name:?} is not known here")));
        };
        match query.sets {
            Sets::Field(field) => said.fields.push((query.name, field, text.into_owned())),
            Sets::Poll if poll_for.is_some() => return Err(message::given_twice(query.name)),
            Sets::Poll => poll_for = Some(stream::poll_for(query.name, &text)?),
        }
    }
    if !gate.is_empty() {
        said.fields.push(("gate", "gate", gate));
    }
    if parts.method == Method::POST {
        said.body = read_body(&parts.headers, body, BODY_BYTES_MAX).await?;
    }

    match route.rpc {
        Rpc::CreateGate => answer(service.create_gate(said.message()?).await),
        Rpc::GetGate => answer(service.get_gate(said.message()?).await),
        Rpc::ListGates => answer(service.list_gates(said.message()?).await),
        Rpc::DeleteGate => service.delete_gate(said.message()?).await.map(|_| json_response("{}".to_owned())),
        Rpc::Approve => answer(service.approve(said.message()?).await),
        Rpc::Reject => answer(service.reject(said.message()?).await),
        Rpc::ReportEvidence => answer(service.report_evidence(said.message()?).await),
        Rpc::ResetGate => answer(service.reset_gate(said.message()?).await),
        Rpc::ResetGates => answer(service.reset_gates(said.message()?).await),
        Rpc::ListEvents => answer(service.list_events(said.message()?).await),
        Rpc::Wait => {
            let waited = service.wait(said.message()?).await?.into_inner();
            to_response(&stream::outcome(waited, poll_for.unwrap_or(stream::POLL)).await?)
        }
        Rpc::Watch => {
            said.fields.extend(stream::resume(&parts.headers, &said.fields)?);
            stream::events(service.watch(said.message()?).await?.into_inner()).await
        }
    }
}

impl Said {
    fn message<M: Message + Name + Default>(&self) -> Result<tonic::Request<M>, Status> {
        let metadata = MetadataMap::from_headers(self.trace.clone());
        let message = message::read(&self.body, &self.fields)?;
        Ok(tonic::Request::from_parts(metadata, self.extensions.clone(), message))
    }
}

fn answer<M: Message + Name>(answer: Result<tonic::Response<M>, Status>) -> Result<Response, Status> {
    to_response(answer?.get_ref())
}

fn to_response<M: Message + Name>(message: &M) -> Result<Response, Status> {
    to_json(message).map(json_response)
}

pub fn to_json<M: Message + Name>(message: &M) -> Result<String, Status> {
    proto::to_json(message).map_err(|error| internal(&error))
}

pub async fn read_body(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Vec<u8>, Status> {
    let body = timeout(BODY_TIMEOUT, to_bytes(body, bytes_max)).await.map_err(|_| too_slow(BODY_TIMEOUT))?;
    let body = body.map_err(|_| {
        let problem = format!("the body is longer than {bytes_max} bytes, or was cut off");
        too_large(&problem, bytes_max, "bytes in one body")
    })?;
    let is_json =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if body.is_empty() || is_json {
        Ok(body.into())
    } else {
        Err(invalid("the body has to be JSON: send it with the header Content-Type: application/json"))
    }
}
