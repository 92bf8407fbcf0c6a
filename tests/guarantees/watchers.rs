//! Watches that read slowly, or not at all: they cost others nothing, and miss nothing either.

use std::io::{Error as IoError, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use gatepost::coordinator::{Call, Caller, Clock, Coordinator, Retention, WatchItem, WatchQuery};
use gatepost::domain::{self, GateName, Prefix, Principal, Revision};
use gatepost::grpc::Service;
use gatepost::proto::gate_service_server::GateServiceServer;
use gatepost::proto::*;
use gatepost::store::memory::Memory;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{self, Endpoint};
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::chance::{Chance, times};
use crate::server::Server;
use crate::support::{Gates, create, history, next, ok, watch, within};

/// What a stalled watch may hold of the server's memory, what gRPC buffers included.
const STALLED_KIB_MAX: u64 = 256;
/// What a server's memory varies by on its own.
const VARIES_KIB: u64 = 12 * 1024;

fn large(gate: &str) -> CreateGateRequest {
    CreateGateRequest { spec: Some(Spec { description: "x".repeat(4000), ..Spec::default() }), ..create(gate) }
}

async fn make(server: &Server, group: &str, count: usize) {
    let callers = (0..8).map(|caller| {
        let mut gates = server.gates();
        async move {
            for i in (caller..count).step_by(8) {
                ok(gates.create_gate(large(&format!("{group}/g{i}")))).await;
            }
        }
    });
    join_all(callers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_never_read_hold_little_and_hold_nobody_up() {
    let server = Server::start();
    let (stalled, events) = (times("STALLED_WATCHES", 40), 1_200);
    make(&server, "before", events).await;
    let mut watches = Vec::new();
    for _ in 0..stalled {
        watches.push(ok(server.gates().watch(watch(""))).await);
    }
    let mut healthy = ok(server.gates().watch(watch("after"))).await;
    next(&mut healthy).await.created.unwrap();
    let before = server.resident_kib();
    let reads = async {
        let mut told = Vec::new();
        while told.len() < events {
            told.extend(next(&mut healthy).await.events.into_iter().map(|event| event.revision));
        }
        told
    };
    let (told, ()) = futures_util::future::join(reads, make(&server, "after", events)).await;
    assert!(told.is_sorted_by(|one, next| one < next) && told.len() == events);
    let grown = server.resident_kib().saturating_sub(before);
    let bound = u64::try_from(stalled).unwrap() * STALLED_KIB_MAX + VARIES_KIB;
    println!("stalled watches: {stalled}, the server grew by {grown} KiB while 5 MiB of events came");
    assert!(grown < bound, "{grown} KiB for {stalled} watches");
    // Each goes on from where it stopped, with nothing left out, however far behind.
    let mut late = watches.pop().unwrap();
    let created = next(&mut late).await.created.unwrap().revision;
    let after = ListEventsRequest { prefix: "after".into(), page_size: 1000, ..ListEventsRequest::default() };
    let log = server.client().history(after).await.unwrap();
    let mut expected = log.iter().filter(|event| event.revision > created).map(|event| event.revision).peekable();
    while expected.peek().is_some() {
        for event in next(&mut late).await.events {
            assert_eq!(Some(event.revision), expected.next());
        }
    }
}

/// A coordinator on the reference store, served over connections that know no time but the test's.
fn serve(windows: u32) -> (Arc<Coordinator>, Gates) {
    let begin = Instant::now();
    let clock = Clock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000), move || begin.elapsed());
    let coordinator = Coordinator::new(Arc::new(Memory::new()), clock, Retention::default());
    let running = coordinator.clone();
    tokio::spawn(async move { running.run().await });

    let (connections, accepted) = tokio::sync::mpsc::unbounded_channel();
    let service = GateServiceServer::with_interceptor(Service::new(coordinator.clone()), |mut request: Request<()>| {
        request.extensions_mut().insert(Caller::anonymous());
        Ok(request)
    });
    let incoming = UnboundedReceiverStream::new(accepted).map(Ok::<_, IoError>);
    tokio::spawn(transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let connector = tower::service_fn(move |_| {
        let (here, there) = tokio::io::duplex(16 * 1024);
        let sent = connections.send(there).map_err(|_| IoError::from(ErrorKind::ConnectionRefused));
        std::future::ready(sent.map(|()| TokioIo::new(here)))
    });
    let endpoint = Endpoint::from_static("http://gatepost:1").initial_stream_window_size(windows);
    (coordinator, Gates::new(endpoint.connect_with_connector_lazy(connector)))
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_never_reads_is_cut_off_with_where_to_resume_and_misses_nothing() {
    let (_, mut gates) = serve(32 * 1024);
    let mut stalled = ok(gates.watch(watch(""))).await;
    for i in 0..400 {
        ok(gates.create_gate(large(&format!("g{i}")))).await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    // Who reads on has not lost what was sent.
    let mut told = Vec::new();
    let cut = loop {
        assert!(told.len() < 200, "it was sent {} events that it never took", told.len());
        match within(stalled.message()).await {
            Ok(Some(message)) => told.extend(message.events),
            Ok(None) => panic!("it ended without saying why"),
            Err(status) => break status,
        }
    };
    assert_eq!(cut.code(), Code::ResourceExhausted, "{cut:?}");
    let info = cut.get_details_error_info().unwrap();
    assert_eq!(info.reason, "WATCHER_TOO_SLOW");
    let resume: u64 = info.metadata["resume_revision"].parse().unwrap();
    assert_eq!(resume, told.last().map_or(1, |event| event.revision + 1));

    let mut resumed = ok(gates.watch(WatchRequest { start_revision: resume, ..watch("") })).await;
    while told.len() < 400 {
        told.extend(next(&mut resumed).await.events);
    }
    let mut log = Vec::new();
    let mut request = ListEventsRequest { page_size: 1000, ..ListEventsRequest::default() };
    while log.len() < 400 {
        let page = ok(gates.list_events(request.clone())).await;
        log.extend(page.events);
        request.page_token = page.next_page_token;
    }
    assert!(told == log, "in order, each once and none left out");
    assert_eq!(ok(gates.list_events(history("g0"))).await.events.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_are_true() {
    let mut chance = Chance::new("bookmarks");
    let (coordinator, _) = serve(64 * 1024);
    let group = Prefix::parse("prefix", "some").unwrap();
    let query =
        WatchQuery { prefix: group.clone(), statuses: Vec::new(), after: Some(Revision::ZERO), initial_state: false };
    let mut items = Box::pin(coordinator.watch(Caller::anonymous(), query));
    let writing = coordinator.clone();
    let mut pauses = chance.fork();
    let writer = tokio::spawn(async move {
        for i in 0..400 {
            let name = GateName::parse("gate", &format!("{}/g{i}", pauses.of(&["some", "other"]))).unwrap();
            let call = Call { caller: Caller::unrestricted(Principal::parse("ci").unwrap().into()), request: None };
            writing.create(&call, &name, domain::Spec::default()).await.unwrap();
            tokio::time::sleep(pauses.pause(Duration::from_secs(30))).await;
        }
        writing.drain();
    });
    let (mut told, mut bookmarks) = (Vec::new(), Vec::new());
    while let Some(Ok(item)) = pace(&mut items, &mut chance).await {
        match item {
            WatchItem::Events(events) => told.extend(events.iter().map(|event| event.revision())),
            WatchItem::Progress(revision) => bookmarks.push((told.len(), revision)),
            WatchItem::Created { .. } | WatchItem::Existing(_) => {}
        }
    }
    writer.await.unwrap();
    assert!(bookmarks.len() > 50, "{}", bookmarks.len());
    for (count, bookmark) in bookmarks {
        assert!(told[..count].iter().all(|revision| *revision <= bookmark));
        assert!(told[count..].iter().all(|revision| *revision > bookmark), "{bookmark} came before its events");
    }
}

/// Reads at a pace of its own.
async fn pace<T>(items: &mut (impl Stream<Item = T> + Unpin), chance: &mut Chance) -> Option<T> {
    tokio::time::sleep(chance.pause(Duration::from_secs(10))).await;
    items.next().await
}
