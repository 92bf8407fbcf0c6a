//! Takes connections: only so many, and none that says nothing for long.
//!
//! Who holds a place without a word gives it up first, so that a flood of silent connections keeps nobody out who speaks.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_stream::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::tls::{Stream as Bytes, Tls};
use crate::metrics::{CONNECTIONS, Live};

/// How long a new connection may take to say [`GREETING_BYTES`], the handshake of TLS included.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// What a client says first, at the least: the preface of HTTP/2 (RFC 9113, section 3.4).
const GREETING_BYTES: usize = 24;

/// How long to wait after the system refuses a connection, for want of files say: until others have ended.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Accepts connections for ever, at most `max` at a time; with TLS, if it is given.
pub fn accept(listener: TcpListener, max: usize, tls: Option<Arc<Tls>>) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Places { max, taken: Mutex::default() });
    stream! {
        loop {
            match listener.accept().await {
                Ok((tcp, _)) => {
                    // Messages are small and each is waited for.
                    if let Err(error) = tcp.set_nodelay(true) {
                        tracing::debug!("a connection may be slow: {error}");
                    }
                    let info = tcp.connect_info();
                    let bytes = match &tls {
                        Some(tls) => tls.accept(tcp),
                        None => Bytes::Plain(tcp),
                    };
                    match places.take() {
                        Some(place) => yield Ok(Connection::new(bytes, info, place)),
                        None => tracing::warn!("a connection was refused: {max} are open, and all are in use"),
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!("no connection can be taken: {error}");
                    places.lock().free_one();
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

/// The places for connections.
struct Places {
    max: usize,
    // Held to count, and never across an await.
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    /// The number of the last connection.
    last: u64,
    /// The connections that have not spoken yet, oldest first, and how to end each.
    silent: BTreeMap<u64, CancellationToken>,
}

impl Taken {
    /// Ends the connection that has been silent for longest, if there is one. Its place is free a little later.
    fn free_one(&mut self) -> bool {
        self.silent.pop_first().inspect(|(_, end)| end.cancel()).is_some()
    }
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing in here panics half-way through a change.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.count >= self.max && !taken.free_one() {
            return None;
        }
        taken.count += 1;
        taken.last += 1;
        let (number, end) = (taken.last, CancellationToken::new());
        taken.silent.insert(number, end.clone());
        Some(Place { places: Arc::clone(self), number, end, _counted: Live::new(CONNECTIONS) })
    }
}

/// A connection's place, given up when dropped.
struct Place {
    places: Arc<Places>,
    number: u64,
    /// Asks the connection to give it up.
    end: CancellationToken,
    _counted: Live,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.count -= 1;
        taken.silent.remove(&self.number);
    }
}

/// An accepted connection.
pub struct Connection {
    bytes: Bytes,
    info: TcpConnectInfo,
    place: Place,
    /// Completes when it has been silent for too long; none once it has spoken.
    silence: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// How much it has said of its greeting.
    greeted: usize,
}

impl Connection {
    fn new(bytes: Bytes, info: TcpConnectInfo, place: Place) -> Self {
        let asked = place.end.clone().cancelled_owned();
        let silence = Box::pin(async move {
            // Either ends it.
            let _ = timeout(GREETING_TIMEOUT, asked).await;
        });
        Self { bytes, info, place, silence: Some(silence), greeted: 0 }
    }

    /// Counts what it says. It may come too late: its place is another's then.
    fn has_said(&mut self, bytes: usize) -> io::Result<()> {
        self.greeted += bytes;
        if self.greeted >= GREETING_BYTES {
            self.silence = None;
            let kept = self.place.places.lock().silent.remove(&self.place.number);
            kept.ok_or_else(was_silent)?;
        }
        Ok(())
    }
}

fn was_silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it said nothing for too long")
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.bytes).poll_read(cx, buf);
        let Some(silence) = &mut self.silence else { return read };
        if let Poll::Ready(Ok(())) = read {
            return Poll::Ready(self.has_said(buf.filled().len() - before));
        }
        match silence.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(was_silent())),
            Poll::Pending => read,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.bytes.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }
}
