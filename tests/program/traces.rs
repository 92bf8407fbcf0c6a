//! Traces reach a collector, in the trace that the caller names; and one that is not there holds up nothing.

use std::process::Child;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport};

use crate::process::{http, ready, serve};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const CALLER: u64 = 0x00f0_67aa_0ba9_02b7;

/// Takes spans and passes them on.
struct Collector(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        for resource in resources.iter().filter_map(|it| it.resource.as_ref()) {
            let name = resource.attributes.iter().find(|it| it.key == "service.name").and_then(|it| it.value.as_ref());
            assert!(format!("{name:?}").contains("\"gates-eu\""), "{name:?}");
        }
        for span in resources.into_iter().flat_map(|it| it.scope_spans).flat_map(|it| it.spans) {
            self.0.send(span).unwrap();
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Starts a coordinator that sends traces somewhere, makes and approves a gate over HTTP, stops it with SIGTERM, and
/// returns what it ended with.
fn decide(collector: &str) -> Option<i32> {
    let home = tempfile::tempdir().unwrap();
    let mut command = serve("127.0.0.1:0", &home.path().join("data"));
    let (mut process, said) =
        ready(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector).env("OTEL_SERVICE_NAME", "gates-eu"));
    let address = said.split("http://").nth(1).unwrap().split(',').next().unwrap();
    let traceparent = format!("00-{TRACE:032x}-{CALLER:016x}-01");
    let headers = [("Content-Type", "application/json"), ("traceparent", traceparent.as_str())];
    for (path, body) in [("/v1/gates", r#"{"gate":"a"}"#), ("/v1/gates/a:approve", "{}")] {
        assert_eq!(http(address, "POST", path, &headers, body).0, 200, "{path}");
    }
    assert_eq!(http(address, "POST", "/v1/gates/a:reject", &headers, "{}").0, 400);
    stop(&mut process.0)
}

fn stop(process: &mut Child) -> Option<i32> {
    kill_process(Pid::from_child(process), Signal::TERM).unwrap();
    process.wait().unwrap().code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_commits_are_spans_of_the_callers_trace() {
    let (taken, mut spans) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let collector = transport::Server::builder().add_service(TraceServiceServer::new(Collector(taken)));
    tokio::spawn(collector.serve_with_incoming(TcpListenerStream::new(listener)));

    let ended = tokio::task::spawn_blocking(move || decide(&address)).await.unwrap();
    assert_eq!(ended, Some(0));
    // All are here: the process sent the last ones before it ended.
    let mut all = Vec::new();
    while let Ok(span) = spans.try_recv() {
        all.push(span);
    }
    let [create, approve, reject] = ["CreateGate", "Approve", "Reject"].map(|method| {
        let name = format!("gatepost.v1.GateService/{method}");
        let found: Vec<_> = all.iter().filter(|span| span.name == name).collect();
        let [span] = found[..] else { panic!("{name}: {all:#?}") };
        assert_eq!(span.trace_id, TRACE.to_be_bytes(), "{name}");
        assert_eq!(span.parent_span_id, CALLER.to_be_bytes(), "{name}");
        span
    });
    let commits_of =
        |call: &Span| all.iter().filter(|span| span.name == "commit" && span.parent_span_id == call.span_id).count();
    assert_eq!([create, approve, reject].map(commits_of), [1, 1, 0]);
    // A refusal is no fault of the server.
    assert_eq!(reject.status.as_ref().map_or(0, |status| status.code), 0);
    let code = reject.attributes.iter().find(|it| it.key == "rpc.grpc.status_code").and_then(|it| it.value.clone());
    assert!(format!("{code:?}").contains("IntValue(9)"), "{code:?}");
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_up_nothing() {
    // Bound and not served: it takes connections and answers none.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    assert_eq!(tokio::task::spawn_blocking(move || decide(&address)).await.unwrap(), Some(0));
}

#[tokio::test]
async fn an_empty_endpoint_is_none() {
    assert_eq!(tokio::task::spawn_blocking(|| decide("")).await.unwrap(), Some(0));
}
