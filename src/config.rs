//! What the server is told: flags and environment, turned into one validated [`Config`].

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use jiff::{Span, SpanRelativeTo};

use crate::policy::{self, Rules};
use crate::webhooks::{self, Webhook};

pub mod file;
pub mod webhook;

/// The flags of `gatepost serve`, as written.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Configuration file, in TOML
    #[arg(long, env = "GATEPOST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

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

    /// How long what is resolved is kept: resolved gates, past events and request ids. `forever` keeps them all
    #[arg(long, env = "GATEPOST_RETENTION", value_name = "AGE", default_value = "90d")]
    pub retention: Age,

    /// How many of the latest events are kept, whatever their age; 0 sets no bound
    #[arg(long, env = "GATEPOST_RETENTION_EVENTS", value_name = "COUNT", default_value_t = 0)]
    pub retention_events: u64,

    /// How many connections are open at a time. Silent ones give way to new ones
    #[arg(long, env = "GATEPOST_MAX_CONNECTIONS", value_name = "COUNT", default_value = "16384")]
    pub max_connections: NonZeroUsize,

    /// Time for open calls to end after SIGTERM or Ctrl-C, in seconds
    #[arg(long, env = "GATEPOST_DRAIN_SECONDS", value_name = "SECONDS", default_value_t = 8,
          value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub drain_seconds: u64,

    /// How the log is written to the standard error: for people, or one JSON object a line
    #[arg(
        long,
        env = "GATEPOST_LOG_FORMAT",
        value_enum,
        default_value_t,
        value_name = "text|json",
        hide_possible_values = true
    )]
    pub log_format: LogFormat,

    /// Collector that takes traces over gRPC, as `http://127.0.0.1:4317`. Not set: nothing is traced
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Certificate to serve with, in PEM, with those that lead to its root. Taken up again when the file changes
    #[arg(long, env = "GATEPOST_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, in PEM
    #[arg(long, env = "GATEPOST_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Let in only clients with a certificate of these roots, in PEM
    #[arg(long, env = "GATEPOST_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,

    /// Listen on an address that other machines reach, although everybody who reaches it can decide
    #[arg(long, env = "GATEPOST_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
}

/// How the log is written.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How long something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Option<Duration>);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" { Ok(Self(None)) } else { duration(text).map(|age| Self(Some(age))) }
    }
}

/// Reads a duration as people write it: `5m`, `1h 30m`, `2 days`, `PT5M`.
///
/// # Errors
///
/// What to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let hint = "write it as 30s, 5m, 1h 30m or 2d";
    let span: Span = text.parse().map_err(|_| hint.to_owned())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| hint.to_owned())?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("it has to be longer than nothing".to_owned()),
    }
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
    /// How old what is resolved may become; none keeps it for ever.
    pub retention_age: Option<Duration>,
    /// How many of the latest events are kept; none sets no bound.
    pub retention_events: Option<u64>,
    /// How many connections are open at a time.
    pub connections_max: usize,
    /// How long open calls may take to end once the server stops.
    pub drain: Duration,
    /// Where people reach the coordinator, without a slash at the end; none is the address that it listens on.
    pub public_url: Option<String>,
    /// The certificate to serve with; none serves without TLS.
    pub tls: Option<TlsFiles>,
    /// What decides gates without a person.
    pub rules: Arc<Rules>,
    /// Who is told what happens to gates.
    pub webhooks: Vec<Webhook>,
}

/// The files of the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead from it to a root, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// The roots whose clients are let in, in PEM. None: clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// Why the server cannot be started as told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file cannot be taken.
    #[error(transparent)]
    File(#[from] file::Error),
    /// Links to there would lead nowhere.
    #[error("public_url = {0:?}: write it as https://gates.example.org, without a query")]
    PublicUrl(String),
    /// The rules in it cannot be taken.
    #[error(transparent)]
    Rules(#[from] policy::Error),
    /// A webhook makes no sense.
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
    /// Everybody who reaches the address could decide every gate.
    #[error(
        "{0} can be reached from other machines, and nothing protects it: listen on 127.0.0.1, let in only clients with a \
         certificate (--tls-client-ca), or give --insecure if the network itself is trusted"
    )]
    Exposed(SocketAddr),
}

impl Config {
    /// Returns the URL of an address that it listens on.
    #[must_use]
    pub fn url_of(&self, address: SocketAddr) -> String {
        format!("{}://{address}", if self.tls.is_some() { "https" } else { "http" })
    }

    /// Says whether only clients with a certificate are let in.
    #[must_use]
    pub fn admits_only_certified(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }
}

/// Reads where people reach the coordinator, which the paths of pages are put behind.
fn public_url(text: String) -> Result<String, Error> {
    match webhooks::url(&text) {
        Ok(url) if url.query().is_none() && url.fragment().is_none() => {
            Ok(text.trim().trim_end_matches('/').to_owned())
        }
        _ => Err(Error::PublicUrl(text)),
    }
}

impl TryFrom<ServeArgs> for Config {
    type Error = Error;

    fn try_from(args: ServeArgs) -> Result<Self, Error> {
        let tls = args.tls_cert.zip(args.tls_key);
        let tls = tls.map(|(cert, key)| TlsFiles { cert, key, client_ca: args.tls_client_ca });
        let file = args.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
        let config = Self {
            webhooks: webhook::validated(file.webhook)?,
            public_url: file.public_url.map(public_url).transpose()?,
            rules: Arc::new(Rules::new(file.rule)?),
            listen: args.listen,
            tls,
            data_dir: args.data_dir,
            cache_bytes: args.cache_mib * 1024 * 1024,
            retention_age: args.retention.0,
            retention_events: Some(args.retention_events).filter(|events| *events > 0),
            connections_max: args.max_connections.get(),
            drain: Duration::from_secs(args.drain_seconds),
        };
        if !config.listen.ip().is_loopback() && !config.admits_only_certified() && !args.insecure {
            return Err(Error::Exposed(config.listen));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(listen: &str, insecure: bool) -> ServeArgs {
        let listen = listen.parse().unwrap();
        ServeArgs {
            config: None,
            listen,
            data_dir: "data".into(),
            cache_mib: 2,
            retention: "90d".parse().unwrap(),
            retention_events: 0,
            max_connections: NonZeroUsize::MIN,
            drain_seconds: 3,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            log_format: LogFormat::Text,
            otlp_endpoint: None,
            insecure,
        }
    }

    #[test]
    fn only_loopback_is_served_unless_insecure_is_given() {
        for listen in ["127.0.0.1:7070", "127.8.8.8:0", "[::1]:7070"] {
            assert!(Config::try_from(args(listen, false)).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:7070", "[::]:7070", "192.168.1.2:7070"] {
            let error = Config::try_from(args(listen, false)).unwrap_err();
            assert!(matches!(error, Error::Exposed(address) if address == listen.parse().unwrap()), "{listen}");
            assert!(Config::try_from(args(listen, true)).is_ok(), "{listen}");
            let file = || Some(PathBuf::from("x.pem"));
            let encrypted = |client_ca| {
                let tls = ServeArgs { tls_cert: file(), tls_key: file(), ..args(listen, false) };
                Config::try_from(ServeArgs { tls_client_ca: client_ca, ..tls }).is_ok()
            };
            assert!(encrypted(file()) && !encrypted(None), "{listen}: encryption alone lets everybody in");
        }
    }

    #[test]
    fn links_lead_somewhere() {
        for (text, url) in [
            ("https://gates.example.org/", "https://gates.example.org"),
            ("http://10.0.0.1:7070", "http://10.0.0.1:7070"),
            ("https://example.org/gates/", "https://example.org/gates"),
        ] {
            assert_eq!(public_url(text.to_owned()).unwrap(), url);
        }
        for text in ["", "gates.example.org", "ftp://gates.example.org", "https://a.org/?x=1", "https://a.org/#x"] {
            assert!(matches!(public_url(text.to_owned()), Err(Error::PublicUrl(_))), "{text}");
        }
    }

    #[test]
    fn units_are_converted() {
        let config = Config::try_from(args("127.0.0.1:0", false)).unwrap();
        assert_eq!((config.cache_bytes, config.drain), (2 * 1024 * 1024, Duration::from_secs(3)));
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("2s", 2),
            ("5m", 300),
            ("1h 30m", 5_400),
            ("PT5M", 300),
            ("1 day", 86_400),
            ("2w", 1_209_600),
            ("90sec", 90),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "5", "soon", "0s", "-5m", "5m ago", "1 month", "1y"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn retention_may_be_for_ever() {
        assert_eq!("forever".parse(), Ok(Age(None)));
        assert_eq!("90d".parse(), Ok(Age(Some(Duration::from_secs(90 * 86_400)))));
        assert!("never".parse::<Age>().is_err());
    }
}
