//! Speaks HTTP/1 and HTTP/2 on connections, within limits: how long headers may take and be, calls at a time, and age.
//!
//! It is hyper's server, and not tonic's around it, which has no such limits of HTTP/1.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tower::Layer;

use crate::config::limits::{HEADER_BYTES_MAX, Limits};

/// How often a silent HTTP/2 connection is asked whether it is there, and how long it may take to answer: a worker whose
/// host is gone stops counting as waiting after both. Nobody can answer in the middle of headers, so that both together
/// bound how long those may take.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves every connection that comes until `stop`, and then until each has ended. Dropping the future cuts them.
pub async fn serve<C>(
    incoming: impl Stream<Item = io::Result<C>>,
    routes: Router,
    limits: &Limits,
    stop: CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Connected + Send + Unpin + 'static,
{
    let mut connections = JoinSet::new();
    {
        // Dropped before the connections have ended, so that nobody connects to what goes away.
        let mut incoming = pin!(incoming);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = incoming.next() => match accepted {
                    Some(Ok(connection)) => {
                        connections.spawn(carry(connection, routes.clone(), limits.clone(), stop.clone()));
                    }
                    Some(Err(error)) => tracing::debug!("a connection failed: {error}"),
                    None => break,
                },
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Serves one connection to its end.
async fn carry<C>(connection: C, routes: Router, limits: Limits, stop: CancellationToken)
where
    C: AsyncRead + AsyncWrite + Connected + Send + Unpin + 'static,
{
    let service = TowerToHyperService::new(Extension(connection.connect_info()).layer(routes));
    let protocol = protocol(&limits);
    let mut served = pin!(protocol.serve_connection(TokioIo::new(connection), service));
    let grace = tokio::select! {
        ended = &mut served => return told(ended),
        () = grown_old(limits.connection_age) => limits.connection_age_grace,
        // What is left then is cut by whoever stops.
        () = stop.cancelled() => Duration::MAX,
    };
    served.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(grace, served).await {
        told(ended);
    } else {
        tracing::debug!("an old connection was cut, with calls that resume on another");
    }
}

fn told<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

fn protocol(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams_per_connection.get());
    builder
}

/// Completes when a connection that begins now is too old, give or take a tenth: those that came together go one by one.
async fn grown_old(age: Option<Duration>) {
    match age {
        Some(age) => {
            // The standard library's own source of chance.
            let thousandths = u32::try_from(RandomState::new().build_hasher().finish() % 1_000).unwrap_or_default();
            sleep(age / 10 * 9 + age / 5_000 * thousandths).await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::Instant;

    use super::*;

    /// What a client of HTTP/2 says first, and the begin of headers that say that they are 100 bytes long.
    const HEADERS_BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x64\x01\x04\0\0\0\x01";

    /// Connects to a server in memory, in paused time.
    fn connect(limits: Limits) -> DuplexStream {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let incoming = tokio_stream::once(Ok(there)).chain(tokio_stream::pending());
        let routes = Router::new().route("/", get(async || "here"));
        tokio::spawn(async move { serve(incoming, routes, &limits, CancellationToken::new()).await });
        here
    }

    /// Says a byte a second, and returns how long that goes on.
    async fn trickle(mut connection: DuplexStream, first: &[u8], byte: u8) -> Duration {
        let begin = Instant::now();
        connection.write_all(first).await.unwrap();
        let (mut reads, mut writes) = tokio::io::split(connection);
        let mut answer = Vec::new();
        tokio::select! {
            _ = reads.read_to_end(&mut answer) => {}
            () = async {
                loop {
                    sleep(Duration::from_secs(1)).await;
                    // Where it is closed, that is read.
                    let _: Result<(), _> = writes.write_all(&[byte]).await;
                }
            } => {}
        }
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn headers_of_http_1_that_take_too_long_end_the_connection() {
        let limits = Limits { header_timeout: Duration::from_secs(7), ..Limits::default() };
        let took = trickle(connect(limits), b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b'x').await;
        assert_eq!(took.as_secs(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_http_1_that_is_idle_for_too_long_ends() {
        let limits = Limits { header_timeout: Duration::from_secs(7), ..Limits::default() };
        let mut connection = connect(limits);
        connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let begin = Instant::now();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        assert_eq!(begin.elapsed().as_secs(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_of_http_2_that_take_too_long_end_the_connection() {
        let took = trickle(connect(Limits::default()), HEADERS_BEGIN, 0).await;
        assert_eq!(took, KEEPALIVE_EVERY + KEEPALIVE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_of_http_1_that_are_too_long_are_refused() {
        let mut connection = connect(Limits::default());
        let long = "x".repeat(HEADER_BYTES_MAX);
        let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_connection_ends_within_its_grace() {
        let age = Duration::from_secs(1_000);
        let limits = Limits { connection_age: Some(age), connection_age_grace: age, ..Limits::default() };
        let mut connection = connect(Limits { header_timeout: age * 10, ..limits.clone() });
        connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let begin = Instant::now();
        connection.read_to_end(&mut Vec::new()).await.unwrap();
        let took = begin.elapsed();
        assert!((age * 9 / 10..=age * 11 / 10).contains(&took), "{took:?}");
        // A call that does not end is cut.
        let took =
            trickle(connect(Limits { header_timeout: age * 10, ..limits }), b"POST / HTTP/1.1\r\nX: ", b'x').await;
        assert!((age * 9 / 10..=age * 21 / 10).contains(&took), "{took:?}");
    }
}
