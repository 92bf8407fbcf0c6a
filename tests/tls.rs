//! TLS: who is let in, on gRPC and HTTP alike, and certificates that change while the coordinator runs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/coordinator.rs"]
mod coordinator;

use std::fs;
use std::path::Path;

use authority::Authority;
use coordinator::*;
use gatepost::client::{Client, Error, Outcome, Tls, Update};
use gatepost::proto::*;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A coordinator with TLS, and where its certificate lies.
struct Served {
    coordinator: Coordinator,
    files: TempDir,
}

impl Served {
    async fn start(authority: &Authority, client_ca: Option<&Authority>) -> Self {
        let files = tempfile::tempdir().unwrap();
        write(files.path(), &authority.server());
        let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
        let mut flags = vec!["--tls-cert".to_owned(), path("cert.pem"), "--tls-key".to_owned(), path("key.pem")];
        if let Some(authority) = client_ca {
            fs::write(files.path().join("client-ca.pem"), authority.pem()).unwrap();
            flags.extend(["--tls-client-ca".to_owned(), path("client-ca.pem")]);
        }
        Self { coordinator: Coordinator::start_with_flags(&flags).await, files }
    }

    fn url(&self) -> String {
        format!("https://{}", self.coordinator.address())
    }

    fn client(&self, roots: &Authority, identity: Option<(Vec<u8>, Vec<u8>)>) -> Client {
        Client::with_tls(&self.url(), &Tls { roots: Some(roots.pem()), identity }).unwrap()
    }
}

fn write(dir: &Path, (cert, key): &(Vec<u8>, Vec<u8>)) {
    fs::write(dir.join("cert.pem"), cert).unwrap();
    fs::write(dir.join("key.pem"), key).unwrap();
}

async fn can_call(client: &Client) -> Result<(), Error> {
    within(client.list(ListGatesRequest::default())).await.map(drop)
}

/// Says why a client does not get in.
async fn kept_out(client: &Client) -> String {
    match can_call(client).await.unwrap_err() {
        Error::Unreachable { problem, .. } => problem,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn grpc_and_http_are_served_to_who_trusts_the_root() {
    let authority = Authority::new();
    let served = Served::start(&authority, None).await;
    let client = served.client(&authority, None);
    within(client.create(create("a"))).await.unwrap();
    let wait = client.wait(wait("a"));
    within(client.approve(approve("a"))).await.unwrap();
    within(wait.outcome()).await.unwrap();

    let root = reqwest::Certificate::from_pem(&authority.pem()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
    let answer = within(http.get(format!("{}/v1/gates/a", served.url())).send()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_11));
    assert!(within(answer.text()).await.unwrap().contains("GATE_STATUS_APPROVED"));
}

#[tokio::test]
async fn a_wait_leaves_an_endpoint_that_never_answers_a_handshake() {
    let authority = Authority::new();
    let served = Served::start(&authority, None).await;
    // The system takes connections for it, as it does for a coordinator that is paused.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = format!("https://{},{}", silent.local_addr().unwrap(), served.url());
    let client = Client::with_tls(&urls, &Tls { roots: Some(authority.pem()), identity: None }).unwrap();
    let mut waits = Vec::new();
    // One of them begins at each.
    for _ in 0..2 {
        let mut wait = client.wait(wait_with("a", Spec::default()));
        within(async { while let Update::Disconnected { .. } = wait.next().await.unwrap().unwrap() {} }).await;
        waits.push(wait);
    }
    within(client.approve(approve("a"))).await.unwrap();
    for wait in waits {
        assert!(matches!(within(wait.outcome()).await.unwrap(), Outcome::Approved(_)));
    }
}

#[tokio::test]
async fn who_does_not_trust_the_root_or_speaks_plainly_gets_nowhere() {
    let authority = Authority::new();
    let served = Served::start(&authority, None).await;
    assert!(kept_out(&served.client(&Authority::new(), None)).await.contains("invalid peer certificate"));
    let plain = Client::new(&format!("http://{}", served.coordinator.address())).unwrap();
    kept_out(&plain).await;
    can_call(&served.client(&authority, None)).await.unwrap();
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_roots_get_in() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let served = Served::start(&servers, Some(&clients)).await;
    can_call(&served.client(&servers, Some(clients.client("alice")))).await.unwrap();
    kept_out(&served.client(&servers, None)).await;
    kept_out(&served.client(&servers, Some(Authority::new().client("alice")))).await;
    // A certificate for servers is none for clients.
    kept_out(&served.client(&servers, Some(clients.server()))).await;
}

#[tokio::test]
async fn a_certificate_that_changes_is_taken_up_while_others_use_the_old_one() {
    let (old, new) = (Authority::new(), Authority::new());
    let served = Served::start(&old, None).await;
    let before = served.client(&old, None);
    can_call(&before).await.unwrap();

    write(served.files.path(), &new.server());
    // The files are looked at once a second.
    within(async { while can_call(&served.client(&new, None)).await.is_err() {} }).await;
    assert!(kept_out(&served.client(&old, None)).await.contains("invalid peer certificate"));
    can_call(&before).await.expect("connections that are open stay open");
}

#[tokio::test]
async fn a_handshake_that_goes_nowhere_ends_and_keeps_nobody_out() {
    let authority = Authority::new();
    let served = Served::start(&authority, None).await;
    let mut stalled = TcpStream::connect(served.coordinator.address()).await.unwrap();
    // The begin of a handshake, as long as a greeting.
    stalled.write_all(&[&[0x16, 3, 1, 2, 0, 1][..], &[0; 40]].concat()).await.unwrap();
    let mut garbage = TcpStream::connect(served.coordinator.address()).await.unwrap();
    garbage.write_all(&[b'x'; 64]).await.unwrap();
    can_call(&served.client(&authority, None)).await.unwrap();
    for mut connection in [garbage, stalled] {
        // To the end or to a reset: both close it.
        let _: Result<usize, _> = within(connection.read_to_end(&mut Vec::new())).await;
    }
}
