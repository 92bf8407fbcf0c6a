//! What the server is told: flags, environment and file, turned into one validated [`Config`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use jiff::{Span, SpanRelativeTo};
use serde::{Deserialize, Deserializer, de};

pub use danger::Danger;
use danger::danger;
use file::File;
use limits::Limits;
pub use store::{Store, StoreArgs};

use crate::auth::{self, SessionKey};
use crate::policy::{self, Rules};
use crate::webhooks::{self, Webhook};

mod danger;
pub mod file;
pub mod hosts;
pub mod identity;
pub mod limits;
pub mod store;
pub mod webhook;

/// Where it listens, unless it is told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);
/// How long what is resolved is kept: 90 days.
const RETENTION: Age = Age(Some(Duration::from_secs(90 * 86_400)));
/// Time for open calls to end, in seconds.
const DRAIN_SECONDS: u64 = 8;
const DRAIN_SECONDS_RANGE: RangeInclusive<u64> = 0..=3_600;

/// The flags of `gatepost serve`, as written. What is not given is what the configuration file says, or the default.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Configuration file, in TOML. Flags and the environment override what it says
    #[arg(long, env = "GATEPOST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address to listen on [default: 127.0.0.1:7070]
    #[arg(long, env = "GATEPOST_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<SocketAddr>,

    /// Where the gates are.
    #[command(flatten)]
    pub store: StoreArgs,

    /// How long what is resolved is kept: resolved gates, past events and request ids. `forever` keeps them all
    /// [default: 90d]
    #[arg(long, env = "GATEPOST_RETENTION", value_name = "AGE")]
    pub retention: Option<Age>,

    /// How many of the latest events are kept, whatever their age; 0 sets no bound [default: 0]
    #[arg(long, env = "GATEPOST_RETENTION_EVENTS", value_name = "COUNT")]
    pub retention_events: Option<u64>,

    /// How many connections are open at a time. Silent ones give way to new ones [default: 16384]
    #[arg(long, env = "GATEPOST_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<NonZeroUsize>,

    /// Time for open calls to end after SIGTERM or Ctrl-C, in seconds [default: 8]
    #[arg(long, env = "GATEPOST_DRAIN_SECONDS", value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(DRAIN_SECONDS_RANGE))]
    pub drain_seconds: Option<u64>,

    /// How the log is written to the standard error: for people, or one JSON object a line [default: text]
    #[arg(long, env = "GATEPOST_LOG_FORMAT", value_enum, value_name = "text|json", hide_possible_values = true)]
    pub log_format: Option<LogFormat>,

    /// Collector that takes traces over gRPC, as `http://127.0.0.1:4317`. Not set: nothing is traced
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Certificate to serve with, in PEM, with those that lead to its root. Taken up again when the file changes
    #[arg(long, env = "GATEPOST_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, in PEM
    #[arg(long, env = "GATEPOST_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Let in only clients with a certificate of these roots, in PEM
    #[arg(long, env = "GATEPOST_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Listen on an address that other machines reach, although nothing keeps those who reach it from deciding
    #[arg(long, env = "GATEPOST_INSECURE", value_name = "BOOL", value_parser = BoolishValueParser::new(),
          num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub insecure: Option<bool>,
}

/// How the log is written.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
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

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
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
    /// The file that it was told in, to be read again.
    pub file: Option<PathBuf>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether it may listen there although nothing keeps those who reach it from deciding.
    pub is_insecure: bool,
    /// Where the gates are.
    pub store: Store,
    /// How old what is resolved may become; none keeps it for ever.
    pub retention_age: Option<Duration>,
    /// How many of the latest events are kept; none sets no bound.
    pub retention_events: Option<u64>,
    /// How much anybody may ask of it.
    pub limits: Limits,
    /// How long open calls may take to end once the server stops.
    pub drain: Duration,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Who takes traces.
    pub otlp_endpoint: Option<String>,
    /// Where people reach the coordinator, without a slash at the end; none is the address that it listens on.
    pub public_url: Option<String>,
    /// Names that it is reached by, besides this host's own.
    pub hosts: Vec<String>,
    /// The certificate to serve with; none serves without TLS.
    pub tls: Option<TlsFiles>,
    /// Who may call.
    pub auth: auth::Settings,
    /// What the sessions of browsers are signed with; none is a key of this process's own.
    pub session_key: Option<SessionKey>,
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
    /// Whether clients without a certificate are let in too, to show a token.
    pub client_optional: bool,
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
    /// A name that no request is sent to.
    #[error(transparent)]
    Host(#[from] hosts::Error),
    /// The rules in it cannot be taken.
    #[error(transparent)]
    Rules(#[from] policy::Error),
    /// The store makes no sense.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Not only events have revisions in etcd.
    #[error("retention_events counts by revisions, which in etcd others use too: give only retention")]
    RetentionEvents,
    /// A webhook makes no sense.
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
    /// An identity makes no sense.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// A part of TLS is missing.
    #[error("a certificate and its key go together: give both --tls-cert and --tls-key, or cert and key of [tls]")]
    HalfCertificate,
    /// Clients would be asked for certificates in vain.
    #[error("certificates of clients need TLS: give --tls-cert and --tls-key too, or cert and key of [tls]")]
    ClientsWithoutTls,
    /// Whoever has no certificate could show nothing else.
    #[error("client_optional of [tls] is for clients that show tokens: configure [[token]] or [jwt]")]
    OptionalForNobody,
    /// Nobody would have a certificate to be named by.
    #[error("[certificates] needs roots that certificates of clients lead to: client_ca of [tls], or --tls-client-ca")]
    NoClientRoots,
    /// Other machines reach it, and that is dangerous.
    #[error("{danger}: {}, or give --insecure if the network itself is trusted", danger.remedy())]
    Insecure {
        /// Why.
        danger: Danger,
    },
}

impl Config {
    /// Makes a configuration of flags and the file that they name.
    ///
    /// # Errors
    ///
    /// All that is wrong: first the file, which is read as a whole or not at all, then each of its parts.
    pub fn new(args: ServeArgs) -> Result<Self, Vec<Error>> {
        let file = args.config.as_deref().map(file::read).transpose().map_err(|error| vec![error.into()])?;
        let mut problems = Vec::new();
        let config = Self::checked(args, file.unwrap_or_default(), &mut problems);
        config.filter(|_| problems.is_empty()).ok_or(problems)
    }

    fn checked(args: ServeArgs, file: File, problems: &mut Vec<Error>) -> Option<Self> {
        let auth = keep(file.identities(), problems);
        let session_key = keep(identity::session_key(file.session), problems);
        let webhooks = keep(webhook::validated(file.webhook), problems);
        let public_url = keep(file.public_url.map(public_url).transpose(), problems);
        let hosts = keep(hosts::validated(file.hosts, public_url.as_ref().and_then(Option::as_deref)), problems);
        let rules = keep(Rules::new(file.rule), problems);
        let client_ca = args.tls_client_ca.or(file.tls.client_ca);
        let client_optional = file.tls.client_optional.unwrap_or_default();
        let tls = match (args.tls_cert.or(file.tls.cert), args.tls_key.or(file.tls.key)) {
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key, client_ca, client_optional })),
            (None, None) if client_ca.is_some() => Err(Error::ClientsWithoutTls),
            (None, None) => Ok(None),
            _ => Err(Error::HalfCertificate),
        };
        let tls = keep(tls, problems);
        let retention_events = args.retention_events.or(file.store.retention_events);
        let retention_age = args.retention.or(file.store.retention).unwrap_or(RETENTION).0;
        let store = keep(store::validated(args.store, file.store, file.etcd), problems);
        let config = Self {
            auth: auth?,
            session_key: session_key?,
            webhooks: webhooks?,
            public_url: public_url?,
            hosts: hosts?,
            rules: Arc::new(rules?),
            tls: tls?,
            file: args.config,
            listen: args.listen.or(file.server.listen).unwrap_or(LISTEN),
            is_insecure: args.insecure.or(file.server.insecure).unwrap_or_default(),
            store: store?,
            retention_age,
            retention_events: retention_events.filter(|events| *events > 0),
            limits: Limits { connections: args.max_connections.unwrap_or(file.limits.connections), ..file.limits },
            drain: Duration::from_secs(args.drain_seconds.or(file.server.drain_seconds).unwrap_or(DRAIN_SECONDS)),
            log_format: args.log_format.or(file.log.format).unwrap_or_default(),
            // OpenTelemetry takes an empty variable for one that is not set.
            otlp_endpoint: args.otlp_endpoint.or(file.log.otlp_endpoint).filter(|url| !url.is_empty()),
        };
        keep(config.is_served_safely(&config.auth), problems);
        if config.retention_events.is_some() && matches!(config.store, Store::Etcd(_)) {
            problems.push(Error::RetentionEvents);
        }
        Some(config)
    }

    /// Reads again who may call, and nothing else. All of it is right, or nothing is taken.
    ///
    /// # Errors
    ///
    /// As [`Self::new`], for this part of the file.
    pub fn identities_again(&self) -> Result<auth::Settings, Error> {
        let file = self.file.as_deref().map(file::read).transpose()?.unwrap_or_default();
        let auth = file.identities()?;
        self.is_served_safely(&auth)?;
        Ok(auth)
    }

    /// Checks that nothing is dangerous that `--insecure` does not allow, and that certificates are there to be read.
    fn is_served_safely(&self, auth: &auth::Settings) -> Result<(), Error> {
        let tls = self.tls.as_ref();
        if auth.certificates.is_some() && tls.is_none_or(|tls| tls.client_ca.is_none()) {
            return Err(Error::NoClientRoots);
        }
        if tls.is_some_and(|tls| tls.client_optional) && !auth.has_bearers() {
            return Err(Error::OptionalForNobody);
        }
        let danger = danger(self.listen, self.tls.as_ref(), auth);
        danger.filter(|_| !self.is_insecure).map_or(Ok(()), |danger| Err(Error::Insecure { danger }))
    }

    /// Says what is dangerous about how it is served.
    #[must_use]
    pub fn danger(&self) -> Option<Danger> {
        danger(self.listen, self.tls.as_ref(), &self.auth)
    }

    /// Returns the URL of an address that it listens on.
    #[must_use]
    pub fn url_of(&self, address: SocketAddr) -> String {
        format!("{}://{address}", if self.tls.is_some() { "https" } else { "http" })
    }
}

/// Takes note of a problem, to look for others.
fn keep<T, E: Into<Error>>(result: Result<T, E>, problems: &mut Vec<Error>) -> Option<T> {
    result.map_err(|error| problems.push(error.into())).ok()
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

#[cfg(test)]
mod tests;
