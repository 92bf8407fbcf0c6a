//! Connections of the simulated network, as tonic wants them.

use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use gatepost::client::Client;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};

/// The name of the coordinator's host, and its port.
pub const COORDINATOR: &str = "coordinator";
const PORT: u16 = 7070;
/// HTTP/2 forgets streams that were reset after a second, and measures that in real time: no run takes as long as this.
const RESET_STREAMS_KEPT: Duration = Duration::from_secs(3600);

/// Makes a client on the host that calls this.
pub fn client() -> Client {
    let connector = tower::service_fn(|_| async {
        let stream = TcpStream::connect((COORDINATOR, PORT)).await?;
        Ok::<_, io::Error>(TokioIo::new(stream))
    });
    let address = format!("{COORDINATOR}:{PORT}");
    Client::with_connector(&address, |endpoint| {
        endpoint.clone().http2_reset_stream_duration(RESET_STREAMS_KEPT).connect_with_connector_lazy(connector)
    })
    .unwrap()
}

/// Breaks all connections of the coordinator, whenever it is told to.
#[derive(Clone, Default)]
pub struct Scissors(Rc<RefCell<CancellationToken>>);

impl Scissors {
    pub fn cut(&self) {
        self.0.take().cancel();
    }
}

/// Listens on the host that calls this.
pub async fn listen(scissors: Scissors) -> io::Result<impl Stream<Item = io::Result<Connection>>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    Ok(async_stream::stream! {
        loop {
            let accepted = listener.accept().await;
            let cut = scissors.0.borrow().clone();
            yield accepted.map(|(stream, _)| Connection { stream, cut: Box::pin(cut.cancelled_owned()) });
        }
    })
}

/// A simulated connection that a server accepts.
pub struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    /// Returns the stream, unless it was cut. One that waits to read hears of the cut.
    fn whole(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(Pin::new(&mut self.stream))
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.whole(cx)?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.whole(cx)?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole(cx)?.poll_shutdown(cx)
    }
}
