//! The service, with each call measured and traced: those over gRPC, and those over JSON, which are made on it too.

use std::time::Instant;

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{KeyRef, MetadataMap};
use tonic::{Code, Request, Response, Status};
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::metrics::CALL_SECONDS;
use crate::proto::gate_service_server::GateService;
use crate::proto::{
    ApproveRequest, CreateGateRequest, DeleteGateRequest, Gate, GetGateRequest, ListEventsRequest, ListEventsResponse,
    ListGatesRequest, ListGatesResponse, RejectRequest, ReportEvidenceRequest, ResetGateRequest, ResetGatesRequest,
    ResetGatesResponse, WaitRequest, WatchRequest,
};

/// A service whose calls are measured and traced.
pub struct Observed<S>(pub S);

#[tonic::async_trait]
impl<S: GateService> GateService for Observed<S> {
    type WaitStream = S::WaitStream;
    type WatchStream = S::WatchStream;

    async fn create_gate(&self, request: Request<CreateGateRequest>) -> Result<Response<Gate>, Status> {
        observed("CreateGate", request, |request| self.0.create_gate(request)).await
    }

    async fn get_gate(&self, request: Request<GetGateRequest>) -> Result<Response<Gate>, Status> {
        observed("GetGate", request, |request| self.0.get_gate(request)).await
    }

    async fn list_gates(&self, request: Request<ListGatesRequest>) -> Result<Response<ListGatesResponse>, Status> {
        observed("ListGates", request, |request| self.0.list_gates(request)).await
    }

    async fn delete_gate(&self, request: Request<DeleteGateRequest>) -> Result<Response<()>, Status> {
        observed("DeleteGate", request, |request| self.0.delete_gate(request)).await
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Result<Response<Self::WaitStream>, Status> {
        observed("Wait", request, |request| self.0.wait(request)).await
    }

    async fn approve(&self, request: Request<ApproveRequest>) -> Result<Response<Gate>, Status> {
        observed("Approve", request, |request| self.0.approve(request)).await
    }

    async fn reject(&self, request: Request<RejectRequest>) -> Result<Response<Gate>, Status> {
        observed("Reject", request, |request| self.0.reject(request)).await
    }

    async fn report_evidence(&self, request: Request<ReportEvidenceRequest>) -> Result<Response<Gate>, Status> {
        observed("ReportEvidence", request, |request| self.0.report_evidence(request)).await
    }

    async fn reset_gate(&self, request: Request<ResetGateRequest>) -> Result<Response<Gate>, Status> {
        observed("ResetGate", request, |request| self.0.reset_gate(request)).await
    }

    async fn reset_gates(&self, request: Request<ResetGatesRequest>) -> Result<Response<ResetGatesResponse>, Status> {
        observed("ResetGates", request, |request| self.0.reset_gates(request)).await
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        observed("Watch", request, |request| self.0.watch(request)).await
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        observed("ListEvents", request, |request| self.0.list_events(request)).await
    }
}

async fn observed<I, O, F>(
    method: &'static str,
    request: Request<I>,
    call: impl FnOnce(Request<I>) -> F,
) -> Result<O, Status>
where
    F: Future<Output = Result<O, Status>>,
{
    let began = Instant::now();
    let span = tracing::info_span!(
        "call",
        otel.name = format_args!("gatepost.v1.GateService/{method}"),
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = "gatepost.v1.GateService",
        rpc.method = method,
        rpc.grpc.status_code = Empty,
    );
    adopt(&span, request.metadata());
    let answer = call(request).instrument(span.clone()).await;
    let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
    span.record("rpc.grpc.status_code", i32::from(code));
    if is_ours(code) {
        span.record("otel.status_code", "ERROR");
    }
    if let (Err(status), Code::PermissionDenied) = (&answer, code) {
        span.in_scope(|| tracing::info!(method, "not allowed: {}", status.message()));
    }
    metrics::histogram!(CALL_SECONDS, "method" => method, "code" => name(code)).record(began.elapsed());
    answer
}

/// The names of gRPC's codes, each at its number.
static NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn name(code: Code) -> &'static str {
    usize::try_from(i32::from(code)).ok().and_then(|number| NAMES.get(number)).unwrap_or(&"UNKNOWN")
}

/// Says whether a refusal is a fault of the server, and not of what was asked.
fn is_ours(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss | Code::DeadlineExceeded)
}

/// Puts a span into the trace that the caller says it is part of (W3C's `traceparent`).
fn adopt(span: &Span, metadata: &MetadataMap) {
    // Where nothing is traced.
    if span.is_disabled() {
        return;
    }
    let parent = TraceContextPropagator::new().extract(&Carrier(metadata));
    // It is refused where the layer that traces is missing.
    let _: Result<_, _> = span.set_parent(parent);
}

struct Carrier<'a>(&'a MetadataMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        let names = self.0.keys().map(|key| match key {
            KeyRef::Ascii(name) => name.as_str(),
            KeyRef::Binary(name) => name.as_str(),
        });
        names.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_own_name() {
        for number in 0..=16 {
            let code = Code::from_i32(number);
            let camel = format!("{code:?}").to_uppercase();
            assert_eq!(name(code).replace('_', ""), camel);
        }
    }
}
