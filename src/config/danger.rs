//! Where it would be dangerous to serve.

use std::net::SocketAddr;

use super::TlsFiles;
use crate::auth;

/// Why it is dangerous that other machines reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Danger {
    /// Nobody is asked who they are.
    #[error("everybody who reaches {0} can decide every gate: nothing protects it")]
    Open(SocketAddr),
    /// Tokens cross the network as they are.
    #[error("whoever is between {0} and its callers can read their tokens: they go there without TLS")]
    Readable(SocketAddr),
}

impl Danger {
    /// Says what to do instead.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Open(_) => {
                "listen on 127.0.0.1, serve with TLS and know who calls (by [[token]], [jwt] or --tls-client-ca)"
            }
            Self::Readable(_) => "listen on 127.0.0.1, serve with TLS (--tls-cert and --tls-key)",
        }
    }
}

/// Says what is dangerous about serving there.
pub(super) fn danger(listen: SocketAddr, tls: Option<&TlsFiles>, auth: &auth::Settings) -> Option<Danger> {
    match tls {
        _ if listen.ip().is_loopback() => None,
        None if auth.has_identities() => Some(Danger::Readable(listen)),
        Some(tls) if auth.has_identities() || tls.client_ca.is_some() => None,
        _ => Some(Danger::Open(listen)),
    }
}
