//! A bad network between clients and a server.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Good,
    /// Everything takes so long, each way.
    Slow(Duration),
    /// What the server says is lost; what it is told arrives.
    RepliesLost,
    /// New connections are reset.
    Refusing,
}

/// Stands before a server. Ends when dropped.
pub struct Proxy {
    pub address: SocketAddr,
    network: watch::Sender<Network>,
    /// Counts the cuts: a connection lasts until the next.
    cuts: watch::Sender<usize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (network, now) = watch::channel(Network::Good);
        let (cuts, cut) = watch::channel(0);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, now.clone(), cut.clone()));
            }
        });
        Self { address, network, cuts, accepting }
    }

    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Resets every connection there is.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn connect(
    mut client: TcpStream,
    server: SocketAddr,
    network: watch::Receiver<Network>,
    mut cut: watch::Receiver<usize>,
) {
    cut.mark_unchanged();
    // A reset, not an orderly end: what was on its way is gone.
    client.set_zero_linger().unwrap();
    if *network.borrow() == Network::Refusing {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    server.set_zero_linger().unwrap();
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    tokio::select! {
        () = pass(from_client, to_server, &network, false) => {}
        () = pass(from_server, to_client, &network, true) => {}
        _ = cut.changed() => {}
    }
}

async fn pass(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, network: &watch::Receiver<Network>, is_reply: bool) {
    let mut bytes = vec![0; 16 * 1024];
    // A reply that follows a lost one could not be understood: from then on the connection says nothing.
    let mut is_lost = false;
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let now = *network.borrow();
        if let Network::Slow(time) = now {
            tokio::time::sleep(time).await;
        }
        is_lost |= is_reply && now == Network::RepliesLost;
        if !is_lost && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn it_passes_loses_cuts_and_refuses() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::before(server.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    let mut byte = [0];
    proxy.set(Network::Slow(Duration::from_millis(1)));
    client.write_all(b"a").await.unwrap();
    accepted.read_exact(&mut byte).await.unwrap();
    accepted.write_all(b"b").await.unwrap();
    client.read_exact(&mut byte).await.unwrap();
    assert_eq!(byte, *b"b");

    proxy.set(Network::RepliesLost);
    accepted.write_all(b"c").await.unwrap();
    client.write_all(b"d").await.unwrap();
    accepted.read_exact(&mut byte).await.unwrap();
    assert_eq!(byte, *b"d");
    proxy.cut();
    assert!(client.read(&mut byte).await.is_err(), "neither a byte nor an orderly end");
    assert!(accepted.read(&mut byte).await.is_err());

    proxy.set(Network::Refusing);
    let mut refused = TcpStream::connect(proxy.address).await.unwrap();
    assert!(refused.read(&mut byte).await.is_err());
}
