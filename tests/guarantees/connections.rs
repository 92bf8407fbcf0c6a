//! Floods of connections: those that say nothing are closed, and keep nobody out.

use std::error::Error;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::chance::times;
use crate::server::Server;
use crate::support::{approve, create, ok, outcome, refused, told, wait, within};

/// By when a connection that says nothing has to be closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_closed_and_keep_nobody_out() {
    let server = Server::start_with(|command, _| {
        command.env("GATEPOST_MAX_CONNECTIONS", "64");
    });
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

    let mut decided = 0;
    while !flood.is_finished() || decided < 20 {
        // Each on a connection of its own: it has to be let in. A client whose connection gave way before it could speak
        // tries again.
        let client = server.client();
        let gate = format!("g/{decided}");
        within(client.create(create(&gate))).await.unwrap();
        within(client.approve(approve(&gate))).await.unwrap();
        decided += 1;
    }

    for closed in flood.await.unwrap().join_all().await {
        assert!(closed.is_ok(), "open after {CLOSED_WITHIN:?}");
    }
    let grown = server.resident_kib().saturating_sub(before);
    println!("{count} silent connections, {decided} decisions meanwhile, {grown} KiB");
    assert!(grown < 64 * 1024, "{grown} KiB");
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
