//! What is bounded: each limit of the configuration file, on a real connection.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod coordinator;

use std::time::Duration;

use coordinator::*;
use gatepost::auth::TokenDigest;
use gatepost::client::{Client, Notice, Outcome, Update};
use gatepost::config::limits::{HEADER_BYTES_MAX, Limits};
use gatepost::coordinator::RESET_GATES_MAX;
use gatepost::domain::{GateName, limits as fixed};
use gatepost::http;
use gatepost::proto::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

const OPERATIONS: &str = include_str!("../docs/operations.md");
const CONVERT: &str = include_str!("../src/grpc/convert.rs");
const OPEN_CALLS: &str = include_str!("../src/server/open_calls.rs");
const RULE: &str = include_str!("../src/policy/rule.rs");

async fn start(limits: &str) -> Coordinator {
    Coordinator::start_with(&format!("[limits]\n{limits}\n")).await
}

/// Checks that a limit was exceeded, and which.
fn exceeded(status: &Status, limit: &str, what: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (info.reason.as_str(), &*info.metadata["limit"], &*info.metadata["what"]),
        ("LIMIT_EXCEEDED", limit, what)
    );
}

async fn ended(mut connection: TcpStream) -> String {
    let mut said = Vec::new();
    // To the end or to a reset: both close it.
    let _: Result<usize, _> = within(connection.read_to_end(&mut said)).await;
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn waiters_of_one_gate() {
    let coordinator = start("waiters_per_gate = 2").await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let mut first = ok(gates.wait(wait("a"))).await;
    let mut second = ok(gates.wait(wait("a"))).await;
    told(&mut first).await;
    told(&mut second).await;
    exceeded(&stream_refused(gates.wait(wait("a"))).await, "2", "waiters of one gate");
    ok(gates.approve(approve("a"))).await;
    assert_eq!(outcome(&mut first).await.status(), GateStatus::Approved);
    assert_eq!(outcome(&mut second).await.status(), GateStatus::Approved);
}

#[tokio::test]
async fn gates() {
    let coordinator = start("gates = 1").await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let mut made = vec!["a".to_owned()];
    // Where others make gates too, they are counted once a second.
    let one_too_many = loop {
        match within(gates.create_gate(create(&format!("b/{}", made.len())))).await {
            Ok(more) => made.push(more.into_inner().name),
            Err(status) => break status,
        }
    };
    assert!(made.len() == 1 || kept::in_etcd(), "{made:?}");
    exceeded(&one_too_many, "1", "gates");
    exceeded(&stream_refused(gates.wait(wait_with("b", Spec::default()))).await, "1", "gates");
    ok(gates.create_gate(create("a"))).await;
    for gate in &made {
        ok(gates.delete_gate(delete(gate))).await;
    }
    while let Err(status) = within(gates.create_gate(create("b"))).await {
        exceeded(&status, "1", "gates");
        assert!(kept::in_etcd(), "there is room again");
    }
}

#[tokio::test]
async fn streams_of_one_connection() {
    let coordinator = start("streams_per_connection = 1").await;
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a"))).await;
    let mut waiting = ok(gates.wait(wait("a"))).await;
    told(&mut waiting).await;
    // One more waits until the first has ended.
    let mut queued = std::pin::pin!(gates.get_gate(get("a")));
    let mut others = coordinator.gates();
    tokio::select! {
        answer = &mut queued => panic!("{answer:?}"),
        gate = ok(others.get_gate(get("a"))) => assert_eq!(gate.status(), GateStatus::Waiting),
    }
    // Whoever approved is told last.
    tokio::join!(ok(others.approve(approve("a"))), outcome(&mut waiting));
    drop(waiting);
    assert_eq!(within(queued).await.unwrap().into_inner().status(), GateStatus::Approved);
}

#[tokio::test]
async fn open_calls_of_one_connection() {
    let coordinator = start("").await;
    let channel = coordinator.channel();
    let mut health = HealthClient::new(channel.clone());
    let mut watches = Vec::new();
    for _ in 0..constant(OPEN_CALLS, "OPEN_CALLS_MAX") {
        let mut watch = ok(health.watch(HealthCheckRequest::default())).await;
        within(watch.message()).await.unwrap().unwrap();
        watches.push(watch);
    }
    rate_limited(&refused(health.check(HealthCheckRequest::default())).await);
    // Others are answered, and so is whoever may be asked who they are.
    ok(HealthClient::new(coordinator.channel()).check(HealthCheckRequest::default())).await;
    ok(Gates::new(channel).create_gate(create("a"))).await;
    drop(watches);
    within(async { while health.check(HealthCheckRequest::default()).await.is_err() {} }).await;
}

fn rate_limited(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "RATE_LIMITED");
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
}

#[tokio::test]
async fn calls_of_one_principal() {
    let token = |name: &str| {
        let digest = TokenDigest::of(&format!("gp_{name}")).to_hex();
        format!("[[token]]\nprincipal = '{name}'\nsha256 = '{digest}'\n")
    };
    let limits = "requests_per_second = 1\nburst = 1";
    let coordinator = start(&format!("{limits}\n{}{}", token("alice"), token("bob"))).await;
    let list = async |name: &str| {
        let mut request = Request::new(ListGatesRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer gp_{name}").parse().unwrap());
        within(coordinator.gates().list_gates(request)).await
    };
    // As many as a busy machine makes in a second come through.
    let refused = loop {
        if let Err(status) = list("alice").await {
            break status;
        }
    };
    rate_limited(&refused);
    // However they call, it is the same principal.
    let answer = loop {
        let mut connection = TcpStream::connect(coordinator.address()).await.unwrap();
        let head =
            "GET /v1/gates HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer gp_alice\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        let answer = ended(connection).await;
        if !answer.starts_with("HTTP/1.1 200 ") {
            break answer;
        }
    };
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    list("bob").await.unwrap();
}

#[tokio::test]
async fn connections_of_one_peer() {
    let coordinator = start("connections_per_peer = 1").await;
    let mut first = coordinator.gates();
    ok(first.create_gate(create("a"))).await;
    refused(coordinator.gates().create_gate(create("b"))).await;
    // The first has spoken, and so keeps its place.
    ok(first.create_gate(create("c"))).await;
    drop(first);
    within(async { while coordinator.gates().get_gate(get("c")).await.is_err() {} }).await;
}

#[tokio::test]
async fn the_time_of_a_handshake() {
    let coordinator = start("handshake_timeout = '50ms'").await;
    for half in ["", "GET / HT", "PRI * HTTP/2.0\r\n"] {
        let mut connection = TcpStream::connect(coordinator.address()).await.unwrap();
        connection.write_all(half.as_bytes()).await.unwrap();
        assert_eq!(ended(connection).await, "");
    }
}

#[tokio::test]
async fn the_time_of_headers_and_between_requests() {
    let coordinator = start("header_timeout = '50ms'").await;
    let mut half = TcpStream::connect(coordinator.address()).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ").await.unwrap();
    ended(half).await;
    let mut idle = TcpStream::connect(coordinator.address()).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answer = ended(idle).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn the_size_of_headers() {
    let coordinator = start("").await;
    let mut gates = coordinator.gates();
    let long = "x".repeat(20 * 1024);
    let mut request = Request::new(create("a"));
    request.metadata_mut().insert("x", MetadataValue::try_from(&long).unwrap());
    refused(gates.create_gate(request)).await;
    ok(gates.create_gate(create("a"))).await;

    let mut connection = TcpStream::connect(coordinator.address()).await.unwrap();
    let head = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    // Its answer may be lost with what of the headers was not read.
    let answer = ended(connection).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn the_age_of_connections_ends_no_wait_and_no_watch() {
    let coordinator = start("connection_age = '100ms'\nconnection_age_grace = '20ms'").await;
    let client = Client::new(&coordinator.address().to_string()).unwrap();
    within(client.create(create("a"))).await.unwrap();
    let mut wait = client.wait(wait("a"));
    let mut watch = client.watch(WatchRequest { start_revision: 1, ..WatchRequest::default() });
    let (mut wait_cuts, mut watch_cuts, mut seen) = (0, 0, Vec::new());
    let mut watching = async |until: &mut dyn FnMut(&Notice) -> bool| {
        loop {
            let notice = within(watch.next()).await.unwrap().unwrap();
            if let Notice::Event(event) = &notice {
                seen.push(event.revision);
            }
            if until(&notice) {
                return;
            }
        }
    };
    while wait_cuts < 2 {
        match within(wait.next()).await.unwrap().unwrap() {
            Update::Gate(gate) => assert_eq!(gate.status(), GateStatus::Waiting),
            Update::Disconnected { .. } => wait_cuts += 1,
        }
    }
    watching(&mut |notice| {
        watch_cuts += usize::from(matches!(notice, Notice::Disconnected { .. }));
        watch_cuts == 2
    })
    .await;
    // Calls are on connections that grow old too.
    for number in 0..50 {
        within(client.report_evidence(report("a", &[("number", &number.to_string())]))).await.unwrap();
    }
    let approved = within(client.approve(approve("a"))).await.unwrap();
    assert!(
        matches!(within(wait.outcome()).await.unwrap(), Outcome::Approved(gate) if gate.revision == approved.revision)
    );
    watching(&mut |notice| matches!(notice, Notice::Event(event) if event.revision == approved.revision)).await;
    let log = within(client.history(ListEventsRequest::default())).await.unwrap();
    assert_eq!(seen, log.iter().map(|event| event.revision).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_flag_goes_before_the_file() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("gatepost.toml"), "[limits]\nconnections = 1\n").unwrap();
    let file = home.path().join("gatepost.toml").to_str().unwrap().to_owned();
    let coordinator =
        Coordinator::start_with_flags(&["--max-connections".into(), "2".into(), "--config".into(), file]).await;
    let (mut first, mut second) = (coordinator.gates(), coordinator.gates());
    ok(first.create_gate(create("a"))).await;
    ok(second.create_gate(create("b"))).await;
    refused(coordinator.gates().create_gate(create("c"))).await;
}

/// The rows of a table of docs/operations.md, each with its first two cells.
fn table(header: &str) -> Vec<(String, String)> {
    let lines = OPERATIONS.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let cell = |line: &str, number| line.split('|').nth(number).unwrap().trim().replace('`', "");
    lines.take_while(|line| line.starts_with('|')).map(|line| (cell(line, 1), cell(line, 2))).collect()
}

/// Reads a number that is its module's own.
fn constant(source: &str, name: &str) -> usize {
    let (_, rest) = source.split_once(&format!("const {name}: usize = ")).unwrap();
    rest.split(';').next().unwrap().parse().unwrap()
}

#[test]
fn every_key_is_documented_with_its_default() {
    // One that is added does not compile before it is here.
    let Limits {
        connections,
        connections_per_peer,
        streams_per_connection,
        handshake_timeout,
        header_timeout,
        connection_age,
        connection_age_grace,
        waiters_per_gate,
        gates,
        requests_per_second,
        burst,
    } = Limits::default();
    let seconds = |time: Duration| format!("{}s", time.as_secs_f64());
    let expected = [
        ("connections", connections.to_string()),
        ("connections_per_peer", connections_per_peer.to_string()),
        ("streams_per_connection", streams_per_connection.to_string()),
        ("handshake_timeout", seconds(handshake_timeout)),
        ("header_timeout", seconds(header_timeout)),
        ("connection_age", connection_age.map_or("none".to_owned(), seconds)),
        ("connection_age_grace", seconds(connection_age_grace)),
        ("waiters_per_gate", waiters_per_gate.to_string()),
        ("gates", gates.to_string()),
        ("requests_per_second", requests_per_second.to_string()),
        ("burst", burst.to_string()),
    ];
    assert_eq!(table("| Key of `[limits]` |"), expected.clone().map(|(key, default)| (key.to_owned(), default)));
    for (key, default) in expected {
        let value = if default.ends_with('s') { format!("'{default}'") } else { default };
        if value != "none" {
            assert_eq!(toml::from_str::<Limits>(&format!("{key} = {value}")).unwrap(), Limits::default(), "{key}");
        }
    }
    let example = OPERATIONS.split("```toml\n[limits]\n").nth(1).unwrap().split("```").next().unwrap();
    assert_ne!(toml::from_str::<Limits>(example).unwrap(), Limits::default());
}

#[test]
fn what_is_fixed_is_documented() {
    assert_eq!(fixed::TIMEOUT_MIN, Duration::from_millis(1));
    let days = usize::try_from(fixed::TIMEOUT_MAX.as_secs() / (24 * 60 * 60)).unwrap();
    let expected = [
        ("bytes in a request's message", REQUEST_BYTES_MAX),
        ("bytes in a body of JSON", http::BODY_BYTES_MAX),
        ("bytes in the headers of a call; over HTTP/1 with its path", HEADER_BYTES_MAX),
        ("calls of a connection at a time that need no caller", constant(OPEN_CALLS, "OPEN_CALLS_MAX")),
        ("entries of a page", constant(CONVERT, "PAGE_SIZE_MAX")),
        ("bytes in a request_id", constant(CONVERT, "REQUEST_ID_MAX")),
        ("bytes in an etag", constant(CONVERT, "ETAG_MAX")),
        ("bytes in the name of a gate", GateName::BYTES_MAX),
        ("segments in the name of a gate", GateName::SEGMENTS_MAX),
        ("bytes in a segment of it", GateName::SEGMENT_BYTES_MAX),
        ("days of timeout and of min_wait, each at least 1 ms", days),
        ("votes that a gate can ask for, and so votes of a round", fixed::REQUIRED_APPROVALS_MAX as usize),
        ("approvers of a gate", fixed::APPROVERS_MAX_COUNT),
        ("bytes in a title", fixed::TITLE_MAX),
        ("bytes in a description", fixed::DESCRIPTION_MAX),
        ("labels of a gate", fixed::LABELS_MAX_COUNT),
        ("bytes in the key of a label or a fact", fixed::LABEL_KEY_MAX),
        ("bytes in the value of a label", fixed::LABEL_VALUE_MAX),
        ("links of a gate", fixed::LINKS_MAX_COUNT),
        ("bytes in the title of a link", fixed::LINK_TITLE_MAX),
        ("bytes in the URL of a link or a subject", fixed::URL_MAX),
        ("bytes in the digest of a subject", fixed::DIGEST_MAX),
        ("bytes in a comment or a reason", fixed::COMMENT_MAX),
        ("bytes in on_behalf_of", fixed::ON_BEHALF_OF_MAX),
        ("bytes in the inputs of an approval", fixed::INPUTS_MAX),
        ("levels of nesting in them", constant(CONVERT, "INPUTS_DEPTH_MAX")),
        ("bytes in id, host and note of a waiter, each", constant(CONVERT, "WAITER_TEXT_MAX")),
        ("facts of a round", fixed::FACTS_MAX_COUNT),
        ("bytes in the value of a fact", fixed::FACT_VALUE_MAX),
        ("gates that one call resets", RESET_GATES_MAX),
        ("rules of a configuration", constant(RULE, "RULES_MAX")),
    ];
    assert_eq!(table("| Fixed |"), expected.map(|(what, limit)| (what.to_owned(), limit.to_string())));
}
