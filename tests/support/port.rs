//! A port of this machine that is nobody else's, whether anybody listens on it now or not.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port that is held until this is dropped. Who listens on it has to allow addresses to be reused, as tokio and Go do; while
/// nobody does, connections to it are refused.
pub struct Port {
    pub address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    pub fn hold() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { address: socket.local_addr().unwrap(), _held: socket }
    }
}
