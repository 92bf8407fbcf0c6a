//! The `[limits]` of the configuration file: how much anybody may ask of the coordinator.
//!
//! What is fixed is where it is held: what one gate and one decision may hold in [`crate::domain::limits`], the fields of a
//! call in `grpc/convert.rs`. docs/operations.md lists all of it.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::duration;

/// Most bytes in the headers of one call; of HTTP/1 with the address that it asks for.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The table, with what it does not name as it is by default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections that are open at a time: each is a file, and systems allow a process some ten thousands.
    pub connections: NonZeroUsize,
    /// Connections of one peer at a time, by its address; of IPv6 a whole /64, which is what one host is given. Enough
    /// for two thousand workers behind one address, and a quarter of all.
    pub connections_per_peer: NonZeroUsize,
    /// Calls on one HTTP/2 connection at a time: a thousand workers behind one proxy.
    pub streams_per_connection: NonZeroU32,
    /// How long a new connection may take to say what it speaks, the handshake of TLS included.
    #[serde(deserialize_with = "time")]
    pub handshake_timeout: Duration,
    /// How long an HTTP/1 connection may take to send the headers of its next request, and so how long it may be idle.
    #[serde(deserialize_with = "time")]
    pub header_timeout: Duration,
    /// How old a connection may become before it takes no more calls. None: any age. Waits resume by themselves, but
    /// each costs a connection and a read: only who has to spread connections anew, or to end them, wants an age.
    #[serde(deserialize_with = "some_time")]
    pub connection_age: Option<Duration>,
    /// How long the calls of a connection that is too old have to end, before it is cut.
    #[serde(deserialize_with = "time")]
    pub connection_age_grace: Duration,
    /// Waits on one gate at a time.
    pub waiters_per_gate: NonZeroUsize,
    /// Gates that there may be; 0 sets no bound. A start takes a second or two with a million.
    pub gates: u64,
    /// Calls of one principal in a second, over time; 0 sets no bound.
    pub requests_per_second: u32,
    /// Calls of one principal at once, after it has made none for a while.
    pub burst: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: count(16_384),
            connections_per_peer: count(4_096),
            streams_per_connection: number(1_024),
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(30),
            connection_age: None,
            connection_age_grace: Duration::from_secs(30),
            waiters_per_gate: count(20_000),
            gates: 1_000_000,
            requests_per_second: 1_000,
            burst: number(5_000),
        }
    }
}

/// Of constants that are not 0.
fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    time(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_as_it_is_by_default() {
        let limits: Limits = toml::from_str("gates = 7\nconnection_age = '1h'\nheader_timeout = '2s'").unwrap();
        let (age, header_timeout) = (Some(Duration::from_secs(3_600)), Duration::from_secs(2));
        assert_eq!(limits, Limits { gates: 7, connection_age: age, header_timeout, ..Limits::default() });
        assert_eq!(toml::from_str::<Limits>("").unwrap(), Limits::default());
    }

    #[test]
    fn what_would_let_nobody_in_is_refused() {
        for (text, problem) in [
            ("connections = 0", "nonzero"),
            ("connections_per_peer = 0", "nonzero"),
            ("streams_per_connection = 0", "nonzero"),
            ("waiters_per_gate = -1", "nonzero"),
            ("burst = 0", "nonzero"),
            ("requests_per_second = -5", "-5"),
            ("handshake_timeout = '0s'", "longer than nothing"),
            ("header_timeout = 5", "string"),
            ("connection_age = 'soon'", "30s, 5m"),
            ("conections = 5", "unknown field `conections`"),
        ] {
            let error = toml::from_str::<Limits>(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
