//! What the server is told: flags and environment, turned into one validated [`Config`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

/// The flags of `gatepost serve`, as written.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Address to listen on
    #[arg(long, env = "GATEPOST_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,

    /// Directory that holds the gates; made if it is missing
    #[arg(long, env = "GATEPOST_DATA_DIR", value_name = "DIR", default_value = "gatepost-data")]
    pub data_dir: PathBuf,

    /// Memory for the store's page cache, in MiB
    #[arg(long, env = "GATEPOST_CACHE_MIB", value_name = "MIB", default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub cache_mib: u64,

    /// Time for open calls to end after SIGTERM or Ctrl-C, in seconds
    #[arg(long, env = "GATEPOST_DRAIN_SECONDS", value_name = "SECONDS", default_value_t = 8,
          value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub drain_seconds: u64,

    /// Listen on an address that other machines reach, without any protection
    #[arg(long, env = "GATEPOST_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
}

/// What the server is told, once it makes sense.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the gates are.
    pub data_dir: PathBuf,
    /// Memory for the store's page cache.
    pub cache_bytes: u64,
    /// How long open calls may take to end once the server stops.
    pub drain: Duration,
}

/// Why the server cannot be started as told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Everybody who reaches the address could decide every gate.
    #[error(
        "{0} can be reached from other machines, and nothing protects it yet: \
         listen on 127.0.0.1, or give --insecure if the network itself is trusted"
    )]
    Exposed(SocketAddr),
}

impl TryFrom<ServeArgs> for Config {
    type Error = Error;

    fn try_from(args: ServeArgs) -> Result<Self, Error> {
        if !args.listen.ip().is_loopback() && !args.insecure {
            return Err(Error::Exposed(args.listen));
        }
        Ok(Self {
            listen: args.listen,
            data_dir: args.data_dir,
            cache_bytes: args.cache_mib * 1024 * 1024,
            drain: Duration::from_secs(args.drain_seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(listen: &str, insecure: bool) -> ServeArgs {
        let listen = listen.parse().unwrap();
        ServeArgs { listen, data_dir: "data".into(), cache_mib: 2, drain_seconds: 3, insecure }
    }

    #[test]
    fn only_loopback_is_served_unless_insecure_is_given() {
        for listen in ["127.0.0.1:7070", "127.8.8.8:0", "[::1]:7070"] {
            assert!(Config::try_from(args(listen, false)).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:7070", "[::]:7070", "192.168.1.2:7070"] {
            let exposed = Error::Exposed(listen.parse().unwrap());
            assert_eq!(Config::try_from(args(listen, false)).unwrap_err(), exposed, "{listen}");
            assert!(Config::try_from(args(listen, true)).is_ok(), "{listen}");
        }
    }

    #[test]
    fn units_are_converted() {
        let config = Config::try_from(args("127.0.0.1:0", false)).unwrap();
        assert_eq!((config.cache_bytes, config.drain), (2 * 1024 * 1024, Duration::from_secs(3)));
    }
}
