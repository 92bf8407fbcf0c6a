//! Takes connections: as many as there are places for, and none that says nothing for long.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use async_stream::stream;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::open_calls::OpenCalls;
use super::places::{Peer, Place, Places};
use super::tls::{Stream as Bytes, Tls};
use crate::config::limits::Limits;

/// What a client says first, at the least: the preface of HTTP/2 (RFC 9113, section 3.4).
const GREETING_BYTES: usize = 24;

/// How long to wait after the system refuses a connection, for want of files say: until others have ended.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// How often the log says that connections are refused: a flood of them is none of lines.
const REFUSED_EVERY: Duration = Duration::from_secs(1);

/// Accepts connections for ever, as many at a time as the limits say; with TLS, if it is given.
pub fn accept(
    listener: TcpListener,
    limits: &Limits,
    tls: Option<Arc<Tls>>,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let places = Places::new(limits.connections.get(), limits.connections_per_peer.get());
    let handshake_timeout = limits.handshake_timeout;
    let mut quiet_until = Instant::now();
    stream! {
        loop {
            match listener.accept().await {
                Ok((tcp, address)) => {
                    // Messages are small and each is waited for.
                    if let Err(error) = tcp.set_nodelay(true) {
                        tracing::debug!("a connection may be slow: {error}");
                    }
                    let certificate = Arc::default();
                    let bytes = match &tls {
                        Some(tls) => tls.accept(tcp, Arc::clone(&certificate)),
                        None => Bytes::Plain(tcp),
                    };
                    let peer = Peer::of(address.ip());
                    match places.take(peer) {
                        Ok(place) => {
                            let (place, open_calls) = (Arc::new(place), OpenCalls::default());
                            let remote = Remote { peer, certificate, place, open_calls };
                            yield Ok(Connection::new(bytes, remote, handshake_timeout));
                        }
                        Err(full) if quiet_until <= Instant::now() => {
                            quiet_until = Instant::now() + REFUSED_EVERY;
                            tracing::warn!("connections are refused, such as one of {address}: {full}");
                        }
                        Err(_) => {}
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!("no connection can be taken: {error}");
                    places.free_one();
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub struct Remote {
    /// Where they are.
    pub peer: Peer,
    /// The certificate that they have proved to be theirs; not set while no handshake has shown one.
    pub certificate: Arc<OnceLock<CertificateDer<'static>>>,
    /// The place of the connection, which is kept once a call of somebody was let in.
    pub place: Arc<Place>,
    /// The calls on it that are answered without asking who calls.
    pub open_calls: OpenCalls,
}

/// An accepted connection.
pub struct Connection {
    bytes: Bytes,
    remote: Remote,
    /// Completes when it has been silent for too long, and from its greeting on, when another needs its place; none once
    /// the place is kept.
    silence: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// How much it has said of its greeting.
    greeted: usize,
}

impl Connection {
    fn new(bytes: Bytes, remote: Remote, handshake_timeout: Duration) -> Self {
        let asked = remote.place.wanted();
        let silence = Box::pin(async move {
            // Either ends it.
            let _ = timeout(handshake_timeout, asked).await;
        });
        Self { bytes, remote, silence: Some(silence), greeted: 0 }
    }

    /// Says whether it has to end: it has been silent for too long, or another has its place. Whoever reads or writes asks,
    /// because a connection that is not read any more has to end too.
    fn has_to_end(&mut self, cx: &mut Context<'_>) -> bool {
        if self.remote.place.is_kept() {
            self.silence = None;
        }
        self.silence.as_mut().is_some_and(|silence| silence.as_mut().poll(cx).is_ready())
    }

    /// Counts what it says. Once it has greeted it may take its time, unless another needs its place.
    fn has_said(&mut self, bytes: usize) {
        let was_greeting = self.greeted < GREETING_BYTES;
        self.greeted += bytes;
        if was_greeting && self.greeted >= GREETING_BYTES {
            self.silence = Some(Box::pin(self.remote.place.wanted()));
        }
    }
}

fn was_silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it said nothing for too long")
}

impl Connected for Connection {
    type ConnectInfo = Remote;

    fn connect_info(&self) -> Remote {
        self.remote.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.bytes).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = read {
            self.has_said(buf.filled().len() - before);
        }
        if self.has_to_end(cx) { Poll::Ready(Err(was_silent())) } else { read }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.has_to_end(cx) {
            return Poll::Ready(Err(was_silent()));
        }
        Pin::new(&mut self.bytes).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.has_to_end(cx) {
            return Poll::Ready(Err(was_silent()));
        }
        Pin::new(&mut self.bytes).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.bytes.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_to_end(cx) {
            return Poll::Ready(Err(was_silent()));
        }
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// A connection that has greeted, in the only place there is, and the client's end of it.
    async fn greeted(places: &Arc<Places>) -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, address) = listener.accept().await.unwrap();
        let peer = Peer::of(address.ip());
        let place = Arc::new(places.take(peer).unwrap());
        let remote = Remote { peer, certificate: Arc::default(), place, open_calls: OpenCalls::default() };
        let mut connection = Connection::new(Bytes::Plain(server), remote, Duration::from_secs(60));
        client.write_all(&[b'x'; GREETING_BYTES]).await.unwrap();
        connection.read_exact(&mut [0; GREETING_BYTES]).await.unwrap();
        (connection, client)
    }

    #[tokio::test]
    async fn whoever_is_only_written_to_gives_way_too() {
        let places = Places::new(1, 1);
        let (mut connection, _client) = greeted(&places).await;
        connection.write_all(b"an answer that nobody reads").await.unwrap();
        let _other = places.take(connection.remote.peer).unwrap();
        assert_eq!(connection.write(b"more").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(connection.flush().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(connection.read(&mut [0; 1]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn whoever_is_known_keeps_their_place() {
        let places = Places::new(1, 1);
        let (mut connection, mut client) = greeted(&places).await;
        connection.remote.place.keep();
        assert!(places.take(connection.remote.peer).is_err());
        connection.write_all(b"an answer").await.unwrap();
        client.read_exact(&mut [0; 9]).await.unwrap();
    }
}
