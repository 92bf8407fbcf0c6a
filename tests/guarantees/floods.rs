//! Floods of bad handshakes beside connections that are idle: whoever means it is served, and memory has a bound.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gatepost::client::{Client, Tls};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::chance::times;
use crate::connections::{decide_beside, raise_files};
use crate::server::Server;

/// What a client of HTTP/2 says first: the preface, and settings that set nothing.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A call, in one frame of headers (RFC 7541): `GET /v1/gates` of `localhost`, on the first stream.
const CALL: &[u8] = b"\0\0\x18\x01\x05\0\0\0\x01\x82\x86\x44\x09/v1/gates\x41\x09localhost";
const STREAM_OF_CALL: u8 = 1;
/// What headers and data end a stream with.
const END_STREAM: u8 = 1;
/// A ping, which asks whether one is there, and the answer to one.
const PING: u8 = 6;
const ACK: u8 = 1;
/// So many idle connections come from one address: fewer than a peer may have.
const OF_ONE_PEER: usize = 3_000;
/// Bad handshakes that are open at a time: more than there are places left, so that they have to give way.
const BAD_AT_ONCE: usize = 2_000;
/// Held by who floods: the files that the process may open are enough for one of them.
static FLOODING: Mutex<()> = Mutex::const_new(());
/// By when a connection with nothing to say has to be closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);
/// What bad handshakes may cost in memory, in KiB, however many they are: what as many as are open at a time need, twice.
const BAD_KIB_MAX: u64 = 64 * 1024;

/// Open files of a test that makes so many connections, and of the server.
fn has_files(connections: usize) -> bool {
    let maximum = raise_files();
    let needed = u64::try_from(connections + BAD_AT_ONCE + 500).unwrap();
    let has = maximum.is_none_or(|maximum| maximum >= needed);
    if !has {
        println!("SKIPPED: {needed} open files are needed, and {maximum:?} are allowed");
    }
    has
}

/// What somebody says who means no good, or cannot speak.
fn bad(number: usize) -> Vec<u8> {
    match number % 6 {
        0 => Vec::new(),
        1 => b"GET / HT".to_vec(),
        2 => b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
        3 => fastrand::Rng::with_seed(number as u64).u64(..).to_be_bytes().repeat(64),
        // The begin of a handshake of TLS, and one that says that it is as long as can be.
        4 => [&[0x16, 3, 1, 2, 0, 1][..], &[0; 40]].concat(),
        _ => [&[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0x55; 2_000]].concat(),
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Makes one call on a connection and keeps it open, as a client's library does. It ends if the server closes it.
async fn stay_idle(mut connection: impl AsyncRead + AsyncWrite + Unpin, is_answered: mpsc::Sender<()>) {
    connection.write_all(&[GREETING, CALL].concat()).await.unwrap();
    let mut is_answered = Some(is_answered);
    loop {
        let mut head = [0; 9];
        if connection.read_exact(&mut head).await.is_err() {
            return;
        }
        let [_, _, _, kind, flags, .., stream] = head;
        let mut frame = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        connection.read_exact(&mut frame).await.unwrap();
        if stream == STREAM_OF_CALL && flags & END_STREAM != 0 {
            is_answered.take();
        }
        if kind == PING && flags & ACK == 0 {
            head[4] = ACK;
            connection.write_all(&[&head[..], &frame].concat()).await.unwrap();
        }
    }
}

/// Says what is bad, and stays for as long as it may.
async fn say_bad(number: usize, mut connection: TcpStream) {
    // It may be refused before it has spoken.
    let _: Result<(), _> = connection.write_all(&bad(number)).await;
    if !number.is_multiple_of(5) {
        let closed = async { connection.read_to_end(&mut Vec::new()).await };
        let _: Result<usize, _> = tokio::time::timeout(CLOSED_WITHIN, closed)
            .await
            .unwrap_or_else(|_| panic!("still open: number {number}, {} bytes", bad(number).len()));
    }
}

/// Floods a server that has so many idle connections, and decides all the while on connections of their own.
async fn flood(server: &Server, idle: usize, tls: Option<TlsConnector>, client: impl Fn() -> Client) {
    let _alone = FLOODING.lock().await;
    let (address, bad_count, before) = (server.address, times("BAD_HANDSHAKES", 5_000), server.resident_kib());
    let mut idling = JoinSet::new();
    let (is_answered, mut all_answered) = mpsc::channel(1);
    for number in 0..idle {
        let from = Ipv4Addr::new(127, 0, 1, u8::try_from(number / OF_ONE_PEER).unwrap());
        let connection = connect(from, address).await;
        let is_answered = is_answered.clone();
        match tls.clone() {
            None => idling.spawn(stay_idle(connection, is_answered)),
            Some(tls) => {
                let name = ServerName::try_from("localhost").unwrap();
                // One after another: who is slow to finish on a busy machine would be closed.
                let connection = tls.connect(name, connection).await.unwrap();
                idling.spawn(stay_idle(connection, is_answered))
            }
        };
    }
    drop(is_answered);
    // Ends once each has dropped its end.
    tokio::time::timeout(Duration::from_secs(60), all_answered.recv()).await.expect("some were not answered");
    let with_idle = server.resident_kib();

    let flooding = tokio::spawn(async move {
        let mut open = JoinSet::new();
        for number in 0..bad_count {
            if open.len() == BAD_AT_ONCE {
                open.join_next().await.unwrap().unwrap();
            }
            // Some of the peer that the healthy client is too. One after another: those that the server's system has no
            // room for, before the server has taken them, are not the server's.
            let from = Ipv4Addr::new(127, 0, 0, if number.is_multiple_of(2) { 1 } else { 99 });
            open.spawn(say_bad(number, connect(from, address).await));
        }
        open.join_all().await;
    });
    let (decided, slowest) = decide_beside(&flooding, client).await;
    flooding.await.unwrap();

    assert!(idling.try_join_next().is_none(), "an idle connection was closed");
    assert_eq!(idling.len(), idle);
    let (most, after) = (server.resident_kib_max(), server.resident_kib());
    println!(
        "{idle} idle connections: {} KiB each; {bad_count} bad handshakes: {} KiB more at most, {} KiB after; \
         {decided} decisions meanwhile, the slowest in {slowest:?}; {most} KiB in all",
        with_idle.saturating_sub(before) / idle as u64,
        most.saturating_sub(with_idle),
        after.saturating_sub(with_idle),
    );
    assert!(most.saturating_sub(with_idle) < BAD_KIB_MAX, "{with_idle} KiB before the flood, {most} KiB in it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_handshakes_beside_15_000_idle_connections_keep_nobody_out() {
    let idle = times("IDLE_CONNECTIONS", 15_000);
    if !has_files(idle) {
        return;
    }
    let server = Server::start_with(|command, _| quietly(command));
    flood(&server, idle, None, || server.client()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_handshakes_of_tls_beside_idle_connections_keep_nobody_out() {
    let idle = times("IDLE_TLS_CONNECTIONS", 200);
    if !has_files(idle) {
        return;
    }
    let server = Server::start_with(with_certificate);
    let root = fs::read(server.home().join("cert.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = Tls { roots: Some(root), identity: None };
    let client = || Client::with_tls(&format!("https://{}", server.address), &tls).unwrap();
    flood(&server, idle, Some(TlsConnector::from(Arc::new(config))), client).await;
}

/// Without a line for each decision.
fn quietly(command: &mut Command) {
    command.env("GATEPOST_LOG", "warn");
}

fn with_certificate(command: &mut Command, home: &Path) {
    let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    fs::write(home.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(home.join("key.pem"), key.serialize_pem()).unwrap();
    quietly(command);
    command.env("GATEPOST_TLS_CERT", home.join("cert.pem")).env("GATEPOST_TLS_KEY", home.join("key.pem"));
}
