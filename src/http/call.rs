//! Makes the call of a route, and answers with what it answers.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::response::Response;
use prost::{Message, Name};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::message::{self, invalid};
use super::routes::{Route, Rpc, Sets};
use super::status::{internal, json_response, refused, too_large};
use super::stream;
use crate::proto;
use crate::proto::gate_service_server::GateService;

/// Largest body of a request. Its message is bounded as a gRPC request is, and JSON is seldom twice as long.
const BODY_BYTES_MAX: usize = 2 * proto::REQUEST_BYTES_MAX;

/// The headers that name a trace (W3C's Trace Context).
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// What a request says, besides its method.
pub struct Said {
    body: Vec<u8>,
    /// Which trace the caller says that it is part of.
    trace: HeaderMap,
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
    if parts.method != Method::GET {
        refuse_other_sites(&parts)?;
    }
    let trace =
        TRACE.iter().filter_map(|name| Some((HeaderName::from_static(name), parts.headers.get(*name)?.clone())));
    let mut said = Said { body: Vec::new(), trace: trace.collect(), fields: Vec::new() };
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
        said.body = read_body(&parts.headers, body).await?;
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
        let mut request = tonic::Request::new(message::read(&self.body, &self.fields)?);
        *request.metadata_mut() = MetadataMap::from_headers(self.trace.clone());
        Ok(request)
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

async fn read_body(headers: &HeaderMap, body: axum::body::Body) -> Result<Vec<u8>, Status> {
    let body = to_bytes(body, BODY_BYTES_MAX).await;
    let body = body.map_err(|_| {
        let problem = format!("the body is longer than {BODY_BYTES_MAX} bytes, or was cut off");
        too_large(&problem, BODY_BYTES_MAX, "bytes in one body")
    })?;
    let is_json =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if body.is_empty() || is_json {
        Ok(body.into())
    } else {
        Err(invalid("the body has to be JSON: send it with the header Content-Type: application/json"))
    }
}

/// A browser says which site a page is from that makes it send a request: only our own may.
fn refuse_other_sites(parts: &Parts) -> Result<(), Status> {
    let Some(origin) = parts.headers.get(header::ORIGIN) else { return Ok(()) };
    let site = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, site)| site);
    // HTTP/1 says in a header what HTTP/2 says in the address.
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(Authority::as_str));
    if site.is_some() && site == host {
        return Ok(());
    }
    Err(refused(Code::PermissionDenied, "OTHER_SITE", "a page of another site may not decide"))
}
