//! Floods of connections: those that say nothing are closed, and keep nobody out.

use std::error::Error;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use gatepost::client::Client;
use gatepost::proto::{ApproveRequest, CreateGateRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::chance::times;
use crate::server::Server;
use crate::support::{again, approve, create, get, ok, outcome, refused, told, wait, within};

/// By when a connection that says nothing has to be closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_closed_and_keep_nobody_out() {
    let server = Server::start_with(|command, _| {
        command.env("GATEPOST_MAX_CONNECTIONS", "64");
    });
    raise_files();
    let before = server.resident_kib();
    let (address, count) = (server.address, times("SILENT_CONNECTIONS", 2_000));
    let flood = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        for _ in 0..count {
            let mut connection = TcpStream::connect(address).await.unwrap();
            // To the end or to a reset: both close it.
            let closed = async move { connection.read_to_end(&mut Vec::new()).await };
            connections.spawn(tokio::time::timeout(CLOSED_WITHIN, closed));
        }
        connections
    });

    let (decided, _) = decide_beside(&flood, || server.client()).await;
    for closed in flood.await.unwrap().join_all().await {
        assert!(closed.is_ok(), "open after {CLOSED_WITHIN:?}");
    }
    let grown = server.resident_kib().saturating_sub(before);
    println!("{count} silent connections, {decided} decisions meanwhile, {grown} KiB");
    assert!(grown < 64 * 1024, "{grown} KiB");
}

/// Decides for as long as a flood goes on, and 20 times at the least, each on a connection of its own: it has to be let in.
/// Returns how often, and how long the slowest took. A client whose connection gave way before it could speak tries again.
pub async fn decide_beside<T>(flood: &JoinHandle<T>, client: impl Fn() -> Client) -> (usize, Duration) {
    let (mut decided, mut slowest) = (0, Duration::ZERO);
    while !flood.is_finished() || decided < 20 {
        let (client, gate, begin) = (client(), format!("g/{decided}"), Instant::now());
        let made = CreateGateRequest { request_id: format!("create-{decided}"), ..create(&gate) };
        within(again(async || client.create(made.clone()).await)).await.unwrap();
        let approval = ApproveRequest { request_id: format!("approve-{decided}"), ..approve(&gate) };
        within(again(async || client.approve(approval.clone()).await)).await.unwrap();
        slowest = slowest.max(begin.elapsed());
        decided += 1;
    }
    (decided, slowest)
}

/// Lets this process open as many files as it may: shells start programs with 1,024.
pub fn raise_files() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _: Result<(), _> = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    maximum
}

/// How a client of HTTP/2 begins, and goes on when it has nothing to ask.
const IDLE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_known_gives_way() {
    let server = Server::start_with(|command, _| {
        command.env("GATEPOST_MAX_CONNECTIONS", "2");
    });
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        connection.write_all(IDLE).await.unwrap();
        // The server's own greeting: it has heard this one.
        connection.read_exact(&mut [0; 9]).await.unwrap();
        idle.push(connection);
    }
    let mut first = server.gates();
    ok(first.create_gate(create("a"))).await;
    // The one that has been there for longest is closed, and only that one.
    closed(&mut idle[0]).await;
    assert!(is_open(&idle[1]));
    let mut second = server.gates();
    ok(second.approve(approve("a"))).await;
    closed(&mut idle[1]).await;
    ok(first.get_gate(get("a"))).await;
}

/// Reads until the server closes a connection, by its end or by a reset.
async fn closed(connection: &mut TcpStream) {
    while within(connection.read(&mut [0; 1024])).await.is_ok_and(|bytes| bytes > 0) {}
}

/// Says whether nothing has closed a connection yet, once what was said on it is read.
fn is_open(connection: &TcpStream) -> bool {
    loop {
        match connection.try_read(&mut [0; 1024]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_in_use_keep_their_places() {
    let server = Server::start_with(|command, _| {
        command.env("GATEPOST_MAX_CONNECTIONS", "2");
    });
    let mut first = server.gates();
    let mut second = server.gates();
    ok(first.create_gate(create("a"))).await;
    let mut waiting = ok(second.wait(wait("a"))).await;
    told(&mut waiting).await;

    let status = refused(server.gates().create_gate(create("b"))).await;
    // The connection broke: no answer of the coordinator.
    assert!(status.source().is_some(), "{status:?}");

    ok(first.approve(approve("a"))).await;
    assert_eq!(outcome(&mut waiting).await.name, "a");
}
