//! A member of a cluster of etcd: the connection to it, and which cluster it belongs to.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::Tls;
use crate::store::Error;

/// How long to try to reach an endpoint: on the network of a cluster one lost packet is made up for by then.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How often to ask an idle connection for a sign of life. etcd ends connections that ask more often than every 5 s.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// How long that sign may take.
const KEEPALIVE_MAX: Duration = Duration::from_secs(3);

/// A member of the cluster, or what is taken for one.
pub struct Member {
    /// Where it is reached.
    pub url: String,
    /// The way to it.
    pub channel: Channel,
    /// The cluster that it says it belongs to; 0 while it has not been asked.
    pub cluster: AtomicU64,
}

impl Member {
    /// Makes one, which is connected to at the first call.
    pub fn new(url: &str, tls: &Tls) -> Result<Self, Error> {
        let failed = |problem: String| Error::Unavailable { problem: format!("{url}: {problem}") };
        let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| failed(error.to_string()))?;
        if url.starts_with("https://") {
            endpoint = endpoint
                .tls_config(config_of(tls))
                .map_err(|error| failed(root_cause(&error).unwrap_or_else(|| error.to_string())))?;
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT_MAX)
            .http2_keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_MAX);
        Ok(Self { url: url.to_owned(), channel: endpoint.connect_lazy(), cluster: AtomicU64::new(0) })
    }
}

/// Says whether a version of etcd crashes on reads that are given up half-way (etcd-io/etcd#14110, #14891).
pub fn is_too_old(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    match (part(), part(), part()) {
        (3, 4, patch) => patch < 23,
        (3, 5, patch) => patch < 7,
        (major, minor, _) => (major, minor) < (3, 4),
    }
}

/// Says what lies behind an error: the layers above repeat each other.
pub fn root_cause(error: &dyn std::error::Error) -> Option<String> {
    let mut source = error.source()?;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    Some(source.to_string())
}

fn config_of(tls: &Tls) -> ClientTlsConfig {
    let config = match &tls.ca {
        Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    // A listener that says nothing would have the handshake wait for ever.
    let config = config.timeout(CONNECT_MAX);
    match &tls.identity {
        Some((cert, key)) => config.identity(Identity::from_pem(cert, key)),
        None => config,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_crash_are_told_from_others() {
        for version in ["3.3.27", "3.4.22", "3.5.0", "3.5.6", "2.3.8", ""] {
            assert!(is_too_old(version), "{version}");
        }
        for version in ["3.4.23", "3.4.37", "3.5.7", "3.5.21", "3.6.0", "3.6.0-rc.1", "4.0.0"] {
            assert!(!is_too_old(version), "{version}");
        }
    }
}
