//! Waits, watches and calls against a coordinator that follows a script, in paused time.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::codegen::http::Uri;
use tonic::transport::Server;
use tonic::{Code, Request};
use tonic_types::{ErrorDetails, StatusExt};
use tower::util::BoxCloneSyncService;

use super::*;
use crate::proto::gate_service_server::{GateService, GateServiceServer};
use crate::proto::{
    EventType, GateStatus, Heartbeat, ListEventsResponse, ListGatesResponse, ResetGatesResponse, Spec, WaitResponse,
    WatchCreated, WatchProgress, WatchResponse, wait_response,
};

mod several;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What each call is answered, in turn, and what was asked.
#[derive(Default)]
struct Script {
    waits: Mutex<VecDeque<Answers<WaitResponse>>>,
    waits_asked: Mutex<Vec<WaitRequest>>,
    watches: Mutex<VecDeque<Answers<WatchResponse>>>,
    watches_asked: Mutex<Vec<WatchRequest>>,
    approvals: Mutex<VecDeque<Result<Gate, Status>>>,
    approvals_asked: Mutex<Vec<ApproveRequest>>,
    deletions: Mutex<VecDeque<Result<(), Status>>>,
    pages: Mutex<VecDeque<ListGatesResponse>>,
}

fn next<T>(answers: &Mutex<VecDeque<T>>) -> Result<T, Status> {
    answers.lock().unwrap().pop_front().ok_or_else(|| Status::unimplemented("the script is over"))
}

#[tonic::async_trait]
impl GateService for Script {
    type WaitStream = Answers<WaitResponse>;
    type WatchStream = Answers<WatchResponse>;

    async fn wait(&self, request: Request<WaitRequest>) -> Result<Response<Self::WaitStream>, Status> {
        self.waits_asked.lock().unwrap().push(request.into_inner());
        next(&self.waits).map(Response::new)
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.watches_asked.lock().unwrap().push(request.into_inner());
        next(&self.watches).map(Response::new)
    }

    async fn approve(&self, request: Request<ApproveRequest>) -> Result<Response<Gate>, Status> {
        self.approvals_asked.lock().unwrap().push(request.into_inner());
        match next(&self.approvals) {
            Ok(answer) => answer.map(Response::new),
            // As a coordinator that has stopped running.
            Err(_) => std::future::pending().await,
        }
    }

    async fn list_gates(&self, request: Request<ListGatesRequest>) -> Result<Response<ListGatesResponse>, Status> {
        let mut page = next(&self.pages)?;
        // Shows which page was asked for.
        page.gates.push(gate(&request.into_inner().page_token, 1, GateStatus::Pending));
        Ok(Response::new(page))
    }

    async fn report_evidence(&self, _: Request<ReportEvidenceRequest>) -> Result<Response<Gate>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn create_gate(&self, _: Request<CreateGateRequest>) -> Result<Response<Gate>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_gate(&self, _: Request<GetGateRequest>) -> Result<Response<Gate>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn delete_gate(&self, _: Request<DeleteGateRequest>) -> Result<Response<()>, Status> {
        next(&self.deletions)?.map(Response::new)
    }

    async fn reject(&self, _: Request<RejectRequest>) -> Result<Response<Gate>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn reset_gate(&self, _: Request<ResetGateRequest>) -> Result<Response<Gate>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn reset_gates(&self, _: Request<ResetGatesRequest>) -> Result<Response<ResetGatesResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_events(&self, _: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Serves the script over in-memory connections, which know no time but the test's.
fn client_of(script: &Arc<Script>) -> Client {
    client_through(script, Server::builder())
}

/// Does the same through a server with other limits.
fn client_through(script: &Arc<Script>, server: Server) -> Client {
    let connect = connector(script, server);
    Client::with_connector("scripted:1", |endpoint| endpoint.connect_with_connector_lazy(connect.clone())).unwrap()
}

/// Makes a connection in memory to the coordinator at an address.
type Connect = BoxCloneSyncService<Uri, TokioIo<DuplexStream>, std::io::Error>;

/// Connects to a server of the script.
fn connector(script: &Arc<Script>, mut server: Server) -> Connect {
    let (connections, accepted) = tokio::sync::mpsc::unbounded_channel();
    let service = GateServiceServer::from_arc(script.clone());
    let incoming = UnboundedReceiverStream::new(accepted).map(Ok::<_, std::io::Error>);
    tokio::spawn(server.add_service(service).serve_with_incoming(incoming));
    BoxCloneSyncService::new(tower::service_fn(move |_| {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let sent = connections.send(there).map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        std::future::ready(sent.map(|()| TokioIo::new(here)))
    }))
}

fn answers<T: Send + 'static>(answers: Vec<Result<T, Status>>) -> Answers<T> {
    Box::pin(tokio_stream::iter(answers))
}

fn gate(uid: &str, round: u32, status: GateStatus) -> Gate {
    Gate { name: "a".into(), uid: uid.into(), round, status: status.into(), ..Gate::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "stands beside refusals in a script")]
fn shows(round: u32, status: GateStatus) -> Result<WaitResponse, Status> {
    Ok(WaitResponse { message: Some(wait_response::Message::Gate(gate("u", round, status))) })
}

fn refuses<T>(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Result<T, Status> {
    let metadata: HashMap<_, _> = metadata.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    Err(Status::with_error_details(code, reason, ErrorDetails::with_error_info(reason, "gatepost", metadata)))
}

fn request() -> WaitRequest {
    WaitRequest { gate: "a".into(), spec: Some(Spec::default()), ..WaitRequest::default() }
}

#[tokio::test(start_paused = true)]
async fn a_wait_survives_a_cut_a_drain_and_a_reset_while_away() {
    let script = Arc::new(Script::default());
    *script.waits.lock().unwrap() = [
        answers(vec![Err(Status::unavailable("not yet"))]),
        answers(vec![shows(1, GateStatus::Pending), shows(1, GateStatus::Waiting)]),
        answers(vec![refuses(Code::Unavailable, "DRAINING", &[])]),
        answers(vec![refuses(Code::FailedPrecondition, "ROUND_RESET", &[("next_round", "2")])]),
        answers(vec![shows(2, GateStatus::Waiting), shows(2, GateStatus::Approved)]),
    ]
    .into();

    let outcome = client_of(&script).wait(request()).outcome().await.unwrap();

    assert_eq!(outcome, Outcome::Approved(gate("u", 2, GateStatus::Approved)));
    let asked = script.waits_asked.lock().unwrap();
    let asked: Vec<_> = asked.iter().map(|request| (request.round, request.spec.is_some())).collect();
    assert_eq!(asked, [(0, true), (0, true), (1, false), (1, false), (2, false)]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_tells_of_disconnects_and_ends_with_the_round() {
    let script = Arc::new(Script::default());
    *script.waits.lock().unwrap() =
        [answers(vec![shows(1, GateStatus::Waiting)]), answers(vec![shows(1, GateStatus::TimedOut)])].into();

    let mut wait = client_of(&script).wait(request());
    let mut told = Vec::new();
    while let Some(update) = wait.next().await.unwrap() {
        told.push(match update {
            Update::Gate(gate) => gate.status().as_str_name().to_owned(),
            Update::Disconnected { error, .. } => error.to_string(),
        });
    }
    let cut = "cannot reach http://scripted:1 (the stream ended before the round did)";
    assert_eq!(told, ["GATE_STATUS_WAITING", cut, "GATE_STATUS_TIMED_OUT"]);
    assert!(matches!(wait.outcome().await, Err(Error::Over { .. })));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_wait_connected_and_silence_does_not() {
    let heartbeats = async_stream::stream! {
        yield shows(1, GateStatus::Waiting);
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            yield Ok(WaitResponse { message: Some(wait_response::Message::Heartbeat(Heartbeat {})) });
        }
        std::future::pending::<()>().await;
    };
    let script = Arc::new(Script::default());
    *script.waits.lock().unwrap() =
        [Box::pin(heartbeats) as Answers<_>, answers(vec![shows(1, GateStatus::Rejected)])].into();

    let begin = Instant::now();
    let outcome = client_of(&script).wait(request()).outcome().await.unwrap();

    assert!(matches!(outcome, Outcome::Rejected(_)));
    // Ten heartbeats, the silence, a pause of 100 to 200 ms.
    let took = begin.elapsed();
    assert!((Duration::from_millis(260_100)..Duration::from_millis(260_300)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_caps_how_long_streams_last_ends_neither_a_wait_nor_a_watch() {
    let cuts =
        || [Code::DeadlineExceeded, Code::Cancelled, Code::Internal, Code::Aborted].map(|code| Status::new(code, ""));
    let script = Arc::new(Script::default());
    let mut waits: VecDeque<_> = cuts().map(|cut| answers(vec![shows(1, GateStatus::Waiting), Err(cut)])).into();
    waits.push_back(answers(vec![shows(1, GateStatus::Approved)]));
    *script.waits.lock().unwrap() = waits;
    let mut watches: VecDeque<_> = cuts().map(|cut| answers(vec![Err(cut)])).into();
    watches.push_back(answers(vec![Err(Status::permission_denied("not you"))]));
    *script.watches.lock().unwrap() = watches;
    let client = client_of(&script);

    assert!(matches!(client.wait(request()).outcome().await, Ok(Outcome::Approved(_))));

    let mut watch = client.watch(WatchRequest::default());
    for _ in cuts() {
        assert!(matches!(watch.next().await, Ok(Some(Notice::Disconnected { .. }))));
    }
    assert!(matches!(watch.next().await, Err(Error::Refused(refusal)) if refusal.code == Code::PermissionDenied));
}

#[tokio::test(start_paused = true)]
async fn calls_do_not_queue_behind_waits() {
    let script = Arc::new(Script::default());
    let for_ever = tokio_stream::once(shows(1, GateStatus::Waiting)).chain(tokio_stream::pending());
    *script.waits.lock().unwrap() = [Box::pin(for_ever) as Answers<_>].into();
    *script.approvals.lock().unwrap() = [Ok(gate("u", 1, GateStatus::Approved))].into();
    let client = client_through(&script, Server::builder().max_concurrent_streams(1));

    let mut wait = client.wait(request());
    assert!(matches!(wait.next().await, Ok(Some(Update::Gate(_)))));
    assert!(client.approve(ApproveRequest::default()).await.is_ok());
    drop(wait);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_was_deleted_while_away_ends_the_wait() {
    let script = Arc::new(Script::default());
    *script.waits.lock().unwrap() = [
        answers(vec![shows(1, GateStatus::Waiting)]),
        answers(vec![refuses(Code::NotFound, "GATE_NOT_FOUND", &[("gate", "a")])]),
    ]
    .into();
    assert!(matches!(client_of(&script).wait(request()).outcome().await, Err(Error::Deleted { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_watch_resumes_after_what_it_saw() {
    let event = |revision| crate::proto::Event { revision, r#type: EventType::Voted.into(), ..Default::default() };
    let created = |revision| Some(WatchCreated { revision, store_id: "s".into() });
    let first = WatchResponse { created: created(4), ..WatchResponse::default() };
    let events = WatchResponse { events: vec![event(5), event(6)], ..WatchResponse::default() };
    let bookmark = WatchResponse { progress: Some(WatchProgress { revision: 9 }), ..WatchResponse::default() };
    let second = WatchResponse { created: created(9), events: vec![event(10)], ..WatchResponse::default() };
    let other_store = WatchCreated { revision: 0, store_id: "t".into() };
    let third = WatchResponse { created: Some(other_store), ..WatchResponse::default() };
    let script = Arc::new(Script::default());
    *script.watches.lock().unwrap() = [
        answers(vec![Ok(first), Ok(events), Ok(bookmark)]),
        answers(vec![Ok(second), refuses(Code::ResourceExhausted, "WATCHER_TOO_SLOW", &[])]),
        answers(vec![Ok(third)]),
    ]
    .into();

    let mut watch = client_of(&script).watch(WatchRequest::default());
    let mut seen = Vec::new();
    let end = loop {
        match watch.next().await {
            Ok(Some(Notice::Event(event))) => seen.push(event.revision),
            Ok(Some(Notice::Progress(_) | Notice::Disconnected { .. })) => {}
            Ok(None) => panic!("the watch ended without an error"),
            Err(error) => break error,
        }
    };

    assert!(matches!(end, Error::Replaced { .. }), "{end}");
    assert_eq!(seen, [5, 6, 10]);
    let asked = script.watches_asked.lock().unwrap();
    assert_eq!(asked.iter().map(|request| request.start_revision).collect::<Vec<_>>(), [0, 10, 11]);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_repeated_with_the_same_request_id_while_the_coordinator_is_unavailable() {
    let script = Arc::new(Script::default());
    *script.approvals.lock().unwrap() = [
        refuses(Code::Unavailable, "STORE_UNAVAILABLE", &[]),
        Err(Status::unavailable("gone")),
        Ok(gate("u", 1, GateStatus::Approved)),
    ]
    .into();

    let approved = client_of(&script).approve(ApproveRequest { gate: "a".into(), ..Default::default() }).await;

    assert_eq!(approved.unwrap().status(), GateStatus::Approved);
    let asked = script.approvals_asked.lock().unwrap();
    assert!(asked.len() == 3 && asked.iter().all(|request| *request == asked[0] && !request.request_id.is_empty()));
}

/// Refuses a call that is one too many for now.
fn too_soon<T>(wait: Duration) -> Result<T, Status> {
    let mut details = ErrorDetails::with_error_info("RATE_LIMITED", "gatepost", HashMap::new());
    details.set_retry_info(Some(wait));
    Err(Status::with_error_details(Code::ResourceExhausted, "too many calls", details))
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_one_too_many_is_repeated_no_sooner_than_it_may() {
    let script = Arc::new(Script::default());
    let approved = || Ok(gate("u", 1, GateStatus::Approved));
    *script.approvals.lock().unwrap() = [too_soon(Duration::from_millis(1_500)), approved()].into();
    let begin = Instant::now();
    client_of(&script).approve(ApproveRequest::default()).await.unwrap();
    assert_eq!(begin.elapsed().as_millis() / 100, 15);

    // Longer than a person waits at a prompt.
    *script.approvals.lock().unwrap() = [too_soon(Duration::from_secs(3)), approved()].into();
    let error = client_of(&script).approve(ApproveRequest::default()).await.unwrap_err();
    assert_eq!(error.refusal("RATE_LIMITED").unwrap().retry_in, Some(Duration::from_secs(3)));
}

#[tokio::test(start_paused = true)]
async fn waits_and_watches_that_are_one_too_many_begin_when_they_may() {
    let wait = Duration::from_secs(90);
    let script = Arc::new(Script::default());
    *script.waits.lock().unwrap() =
        [answers(vec![too_soon(wait)]), answers(vec![shows(1, GateStatus::Approved)])].into();
    let begin = Instant::now();
    client_of(&script).wait(request()).outcome().await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 90);

    let first = WatchResponse { progress: Some(WatchProgress { revision: 9 }), ..WatchResponse::default() };
    *script.watches.lock().unwrap() = [answers(vec![too_soon(wait)]), answers(vec![Ok(first)])].into();
    let mut watch = client_of(&script).watch(WatchRequest::default());
    let begin = Instant::now();
    assert!(matches!(watch.next().await, Ok(Some(Notice::Disconnected { retry_in, .. })) if retry_in == wait));
    assert!(matches!(watch.next().await, Ok(Some(Notice::Progress(9)))));
    assert_eq!(begin.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_answered_ends() {
    let script = Arc::new(Script::default());
    let begin = Instant::now();

    let error = client_of(&script).approve(ApproveRequest::default()).await.unwrap_err();

    assert_eq!(error.to_string(), "cannot reach http://scripted:1 (no answer in time)");
    assert!((calls::TIMEOUT..calls::TIMEOUT * 2).contains(&begin.elapsed()), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_not_repeated() {
    let script = Arc::new(Script::default());
    let conflict = refuses(Code::FailedPrecondition, "GATE_ALREADY_RESOLVED", &[]);
    *script.approvals.lock().unwrap() = [conflict, Ok(Gate::default())].into();

    let request = ApproveRequest { gate: "a".into(), request_id: "mine".into(), ..Default::default() };
    let error = client_of(&script).approve(request).await.unwrap_err();

    assert!(error.refusal("GATE_ALREADY_RESOLVED").is_some());
    let asked = script.approvals_asked.lock().unwrap();
    assert_eq!(asked.iter().map(|request| request.request_id.as_str()).collect::<Vec<_>>(), ["mine"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_follows_its_pages_and_says_from_where_to_watch() {
    let script = Arc::new(Script::default());
    let page = |token: &str, revision| ListGatesResponse { next_page_token: token.into(), revision, gates: vec![] };
    *script.pages.lock().unwrap() = [page("x", 7), page("xx", 8), page("", 9)].into();
    let list = client_of(&script).list(ListGatesRequest::default()).await.unwrap();
    assert_eq!(list.gates.iter().map(|gate| gate.uid.as_str()).collect::<Vec<_>>(), ["", "x", "xx"]);
    // What happened while it was read may be missing on the first page.
    assert_eq!(list.revision, 7);
}
