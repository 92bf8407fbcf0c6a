//! The configuration file: what is too long for flags, as TOML.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::limits::Limits;
use super::store::{EtcdFile, StoreFile};
use super::webhook::Webhook;
use super::{DRAIN_SECONDS_RANGE, LogFormat, identity};
use crate::{auth, policy};

/// The file, as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where people reach the coordinator, for the links in notifications. Not set: the address that it listens on.
    pub public_url: Option<String>,
    /// Names that it is reached by besides those of `public_url` and of this host: `gates.example.org`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Where it listens.
    #[serde(default)]
    pub server: Server,
    /// Where the gates are, and for how long.
    #[serde(default)]
    pub store: StoreFile,
    /// The cluster that the gates are in.
    #[serde(default)]
    pub etcd: EtcdFile,
    /// The certificate to serve with.
    #[serde(default)]
    pub tls: Tls,
    /// What it tells of itself.
    #[serde(default)]
    pub log: Log,
    /// How much anybody may ask of it.
    #[serde(default)]
    pub limits: Limits,
    /// Tokens, each of a principal.
    #[serde(default)]
    pub token: Vec<identity::Token>,
    /// How certificates of clients name principals. Not set: they name nobody.
    pub certificates: Option<auth::certificates::Certificates>,
    /// The issuer that is trusted.
    pub jwt: Option<identity::Jwt>,
    /// What the sessions of browsers are signed with.
    #[serde(default)]
    pub session: identity::Session,
    /// Groups of principals.
    #[serde(default)]
    pub group: Vec<identity::Group>,
    /// What principals and groups may do.
    #[serde(default)]
    pub grant: Vec<auth::grants::Settings>,
    /// Rules that decide gates, in the order in which they are asked.
    #[serde(default)]
    pub rule: Vec<policy::Settings>,
    /// Who is told what happens to gates.
    #[serde(default)]
    pub webhook: Vec<Webhook>,
}

/// `[server]`: each key as the flag of that name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address to listen on.
    pub listen: Option<SocketAddr>,
    /// Time for open calls to end, in seconds.
    #[serde(default, deserialize_with = "drain_seconds")]
    pub drain_seconds: Option<u64>,
    /// Listen where other machines reach it, although nothing keeps those who reach it from deciding.
    pub insecure: Option<bool>,
}

/// `[tls]`: each key as the flag of that name, without `tls-`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate to serve with.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Roots whose clients are let in.
    pub client_ca: Option<PathBuf>,
    /// Let in clients without a certificate too, to show a token. No flag says that.
    pub client_optional: Option<bool>,
}

/// `[log]`: `format` as `--log-format`, and who takes traces.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How the log is written.
    pub format: Option<LogFormat>,
    /// Collector that takes traces.
    pub otlp_endpoint: Option<String>,
}

/// Why the file cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not the TOML that is expected.
    #[error("{} is no configuration of gatepost: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
}

/// Reads a file.
///
/// # Errors
///
/// If it cannot be read, or says something that is not known.
pub fn read(path: &Path) -> Result<File, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.into(), source })?;
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        // Its own text would show the line, and there may be a secret in it.
        let key = line.split_once('=').map(|(key, _)| format!("{}: ", key.trim())).unwrap_or_default();
        let problem = format!("line {}: {key}{}", before.matches('\n').count() + 1, without_text(error.message()));
        Error::Malformed { path: path.into(), problem }
    })
}

/// Takes a text that stands where something else is expected out of what serde says about it: it may be a secret.
fn without_text(message: &str) -> String {
    let cut =
        message.split_once(": string \"").and_then(|(what, rest)| Some((what, rest.rsplit_once("\", expected ")?.1)));
    cut.map_or_else(|| message.to_owned(), |(what, expected)| format!("{what}: a text, expected {expected}"))
}

fn drain_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    within(deserializer, &DRAIN_SECONDS_RANGE)
}

/// Reads a number within what the flag allows.
pub(super) fn within<'de, D: Deserializer<'de>>(
    deserializer: D,
    range: &RangeInclusive<u64>,
) -> Result<Option<u64>, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if range.contains(&number) {
        return Ok(Some(number));
    }
    Err(de::Error::custom(format!("{number} is not between {} and {}", range.start(), range.end())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ServeArgs};

    fn read_text(text: &str) -> Result<File, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gatepost.toml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(read_text("").unwrap().public_url, None);
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_place() {
        let error = read_text("public_url = \"http://gates.test\"\npublik = 1\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("publik"), "{error}");
    }

    #[test]
    fn an_error_shows_no_secret() {
        let error = read_text("[[webhook]]\nname = 'a'\nsecrett = 'whsec_0123'\n").unwrap_err().to_string();
        assert!(error.contains("line 3: unknown field `secrett`") && !error.contains("whsec"), "{error}");
        for text in ["token = 'gp_0123\", expected'", "session = 'gp_0123'", "webhook = 'gp_0123'"] {
            let error = read_text(text).unwrap_err().to_string();
            assert!(error.contains(": a text, expected ") && !error.contains("gp_0123"), "{error}");
        }
    }

    const EXAMPLE: &str = include_str!("../../examples/gatepost.toml");

    #[test]
    fn the_example_makes_sense_with_what_is_commented_out_too() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gatepost.toml");
        let config = Config::new(ServeArgs { config: Some(path), ..ServeArgs::default() }).unwrap();
        let defaults = Config::new(ServeArgs::default()).unwrap();
        assert_eq!((config.limits, config.listen, config.store), (defaults.limits, defaults.listen, defaults.store));
        assert_eq!(config.drain, defaults.drain);
        let ages = (config.retention_age, config.retention_events);
        assert_eq!(ages, (defaults.retention_age, defaults.retention_events));
        assert_eq!((config.auth.tokens.len(), config.rules.len(), config.webhooks.len()), (1, 1, 1));

        let uncommented: Vec<_> =
            EXAMPLE.lines().map(|line| commented_key(line).map_or(line, |_| &line[2..])).collect();
        toml::from_str::<File>(&uncommented.join("\n")).unwrap();
    }

    /// The key of a line such as `# refresh = "5m"`.
    fn commented_key(line: &str) -> Option<&str> {
        let (key, _) = line.strip_prefix("# ")?.split_once(" = ")?;
        key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_').then_some(key)
    }

    #[test]
    fn every_key_is_in_the_example() {
        fn keys<T: de::DeserializeOwned>() -> Vec<String> {
            let told = toml::from_str::<T>("no-such-key = 1").err().unwrap().message().to_owned();
            let names = told.split_once("expected ").unwrap().1.trim_start_matches("one of ");
            names.split(", ").flat_map(|names| names.split(" or ")).map(|name| name.replace('`', "")).collect()
        }
        let mut tables = vec![(String::new(), keys::<File>())];
        tables.extend([
            ("[server]".to_owned(), keys::<Server>()),
            ("[store]".to_owned(), keys::<StoreFile>()),
            ("[etcd]".to_owned(), keys::<EtcdFile>()),
            ("[tls]".to_owned(), keys::<Tls>()),
            ("[log]".to_owned(), keys::<Log>()),
            ("[limits]".to_owned(), keys::<Limits>()),
            ("[[token]]".to_owned(), keys::<identity::Token>()),
            ("[certificates]".to_owned(), keys::<auth::certificates::Certificates>()),
            ("[jwt]".to_owned(), keys::<identity::Jwt>()),
            ("[session]".to_owned(), keys::<identity::Session>()),
            ("[[group]]".to_owned(), keys::<identity::Group>()),
            ("[[grant]]".to_owned(), keys::<auth::grants::Settings>()),
            ("[[rule]]".to_owned(), keys::<policy::Settings>()),
            ("[[webhook]]".to_owned(), keys::<Webhook>()),
        ]);
        let mut shown = std::collections::BTreeSet::new();
        let mut table = String::new();
        for line in EXAMPLE.lines() {
            if line.starts_with('[') {
                line.clone_into(&mut table);
                shown.insert((String::new(), line.trim_matches(['[', ']']).to_owned()));
            } else if let Some(key) = commented_key(line).or_else(|| line.split_once(" = ").map(|(key, _)| key)) {
                shown.insert((table.clone(), key.to_owned()));
            }
        }
        let wanted = tables.into_iter().flat_map(|(table, keys)| keys.into_iter().map(move |key| (table.clone(), key)));
        assert_eq!(shown, wanted.collect());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("nowhere/gatepost.toml")).unwrap_err().to_string();
        assert!(error.starts_with("nowhere/gatepost.toml cannot be read: "), "{error}");
    }
}
