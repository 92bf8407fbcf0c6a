//! Where the gates are: in a directory of this machine, or in a cluster of etcd.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Deserializer};

use super::Age;
use super::file::within;
use super::webhook::{Secret, one_of};

/// Where the gates are, unless it is told otherwise.
pub const DATA_DIR: &str = "gatepost-data";
/// Memory for the page cache of the embedded store, in MiB.
pub const CACHE_MIB: u64 = 64;
const CACHE_MIB_RANGE: RangeInclusive<u64> = 1..=1_048_576;
/// What all keys in etcd begin with.
const PREFIX: &str = "/gatepost/";
/// The longest prefix, in bytes: keys are short.
const PREFIX_BYTES_MAX: usize = 128;
/// What holds the password of etcd, where no file does.
const PASSWORD_ENV: &str = "GATEPOST_ETCD_PASSWORD";

/// The flags that say where the gates are, as written.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreArgs {
    /// Where the gates are: in a directory of this machine, or in an etcd that several coordinators share [default: sled]
    #[arg(long, env = "GATEPOST_STORE", value_enum, value_name = "sled|etcd", hide_possible_values = true)]
    pub store: Option<Kind>,

    /// Directory that holds the gates; made if it is missing (sled only) [default: gatepost-data]
    #[arg(long, env = "GATEPOST_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Memory for the store's page cache, in MiB (sled only) [default: 64]
    #[arg(long, env = "GATEPOST_CACHE_MIB", value_name = "MIB",
          value_parser = clap::value_parser!(u64).range(CACHE_MIB_RANGE))]
    pub cache_mib: Option<u64>,

    /// Members of etcd, as `host:port,host:port,host:port` or with `https://` before each (etcd only)
    #[arg(long, env = "GATEPOST_ETCD_ENDPOINTS", value_name = "URLS", value_delimiter = ',')]
    pub etcd_endpoints: Vec<String>,

    /// What all keys in etcd begin with, and nothing else there does (etcd only) [default: /gatepost/]
    #[arg(long, env = "GATEPOST_ETCD_PREFIX", value_name = "PREFIX")]
    pub etcd_prefix: Option<String>,

    /// Roots that the certificates of etcd lead to, in PEM (etcd only). Not set: those of the system
    #[arg(long, env = "GATEPOST_ETCD_CA", value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,

    /// Certificate to show to etcd, in PEM (etcd only)
    #[arg(long, env = "GATEPOST_ETCD_CERT", value_name = "FILE")]
    pub etcd_cert: Option<PathBuf>,

    /// Private key of that certificate, in PEM (etcd only)
    #[arg(long, env = "GATEPOST_ETCD_KEY", value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,

    /// User of etcd (etcd only). The password is in the variable `GATEPOST_ETCD_PASSWORD`, or in a file
    #[arg(long, env = "GATEPOST_ETCD_USER", value_name = "NAME")]
    pub etcd_user: Option<String>,

    /// File that holds the password of etcd (etcd only)
    #[arg(long, env = "GATEPOST_ETCD_PASSWORD_FILE", value_name = "FILE")]
    pub etcd_password_file: Option<PathBuf>,
}

impl StoreArgs {
    /// Names a flag that does nothing for a kind of store, if one is given.
    fn idle(&self, kind: Kind) -> Option<&'static str> {
        let flags: &[_] = match kind {
            Kind::Sled => &[
                ("--etcd-endpoints", !self.etcd_endpoints.is_empty()),
                ("--etcd-prefix", self.etcd_prefix.is_some()),
                ("--etcd-ca", self.etcd_ca.is_some()),
                ("--etcd-cert", self.etcd_cert.is_some()),
                ("--etcd-key", self.etcd_key.is_some()),
                ("--etcd-user", self.etcd_user.is_some()),
                ("--etcd-password-file", self.etcd_password_file.is_some()),
            ],
            Kind::Etcd => &[("--data-dir", self.data_dir.is_some()), ("--cache-mib", self.cache_mib.is_some())],
        };
        flags.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag)
    }
}

/// `[store]`: each key as the flag of that name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreFile {
    /// Where the gates are.
    pub kind: Option<Kind>,
    /// Directory that holds them.
    pub data_dir: Option<PathBuf>,
    /// Memory for the page cache, in MiB.
    #[serde(default, deserialize_with = "cache_mib")]
    pub cache_mib: Option<u64>,
    /// How long what is resolved is kept.
    pub retention: Option<Age>,
    /// How many of the latest events are kept.
    pub retention_events: Option<u64>,
}

/// `[etcd]`: each key as the flag of that name, without `etcd-`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdFile {
    /// Its members.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// What all keys begin with.
    pub prefix: Option<String>,
    /// Roots that its certificates lead to.
    pub ca: Option<PathBuf>,
    /// Certificate to show to it.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// User.
    pub user: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Variable with the password.
    pub password_env: Option<String>,
}

/// A kind of store.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Embedded, for one coordinator.
    #[default]
    Sled,
    /// A cluster that several coordinators share.
    Etcd,
}

/// Where the gates are, once it makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In a directory of this machine.
    Sled {
        /// The directory.
        data_dir: PathBuf,
        /// Memory for the page cache.
        cache_bytes: u64,
    },
    /// In a cluster of etcd.
    Etcd(Etcd),
}

/// Says it for people.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sled { data_dir, .. } => data_dir.display().fmt(f),
            Self::Etcd(Etcd { endpoints, prefix, .. }) => write!(f, "{prefix} of etcd at {}", endpoints.join(",")),
        }
    }
}

/// A cluster of etcd, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// Its members, as URLs.
    pub endpoints: Vec<String>,
    /// What all keys begin with.
    pub prefix: String,
    /// Roots that its certificates lead to, in PEM. None: those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate to show to it, and its private key, in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Who the coordinator is to it.
    pub login: Option<Login>,
}

/// A user of etcd.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// The password is a secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why the store cannot be taken as told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no member to ask.
    #[error("the store is in etcd: say where, with --etcd-endpoints host:2379,host:2379 or endpoints of [etcd]")]
    NoEndpoints,
    /// Nobody says whether they are asked.
    #[error(
        "[etcd] has endpoints, and the store is in a directory: give --store etcd, or kind of [store], as it is meant"
    )]
    NotEtcd,
    /// It would do nothing.
    #[error(
        "{flag} (or the variable for it) is given, and the store is in a directory: give --store etcd too, or leave it out"
    )]
    NotForSled {
        /// The flag.
        flag: &'static str,
    },
    /// It would do nothing.
    #[error("{flag} (or the variable for it) is given, and the store is in etcd: leave it out")]
    NotForEtcd {
        /// The flag.
        flag: &'static str,
    },
    /// A member is nowhere.
    #[error("the endpoint {0:?} of etcd: write it as host:2379, http://host:2379 or https://host:2379")]
    Endpoint(String),
    /// Some members would be asked in the open.
    #[error("the endpoints of etcd are reached by https all of them, or none")]
    Mixed,
    /// A member would be asked twice.
    #[error("the endpoint {0} of etcd is given twice")]
    Twice(String),
    /// Nobody would look at the certificates.
    #[error("certificates for etcd are given, and its endpoints are reached by http: write https://")]
    NoTls,
    /// Keys would not stand together.
    #[error(
        "the prefix {0:?} of etcd: write it as /gatepost/, with a slash at the end, in at most {PREFIX_BYTES_MAX} visible ASCII characters"
    )]
    Prefix(String),
    /// A part of a certificate is missing.
    #[error("a certificate for etcd and its key go together: give both --etcd-cert and --etcd-key")]
    HalfCertificate,
    /// A part of a login is missing.
    #[error("a user of etcd and a password go together: {0}")]
    Login(String),
}

/// Makes sense of flags and of the file.
pub(super) fn validated(args: StoreArgs, file: StoreFile, etcd: EtcdFile) -> Result<Store, Error> {
    let told = args.store.or(file.kind);
    let kind = told.unwrap_or_default();
    if let Some(flag) = args.idle(kind) {
        return Err(match kind {
            Kind::Sled => Error::NotForSled { flag },
            Kind::Etcd => Error::NotForEtcd { flag },
        });
    }
    let endpoints = if args.etcd_endpoints.is_empty() { etcd.endpoints } else { args.etcd_endpoints };
    match kind {
        Kind::Sled if told.is_none() && !endpoints.is_empty() => Err(Error::NotEtcd),
        Kind::Sled => Ok(Store::Sled {
            data_dir: args.data_dir.or(file.data_dir).unwrap_or_else(|| DATA_DIR.into()),
            cache_bytes: args.cache_mib.or(file.cache_mib).unwrap_or(CACHE_MIB) * 1024 * 1024,
        }),
        Kind::Etcd => {
            let ca = args.etcd_ca.or(etcd.ca);
            let identity = match (args.etcd_cert.or(etcd.cert), args.etcd_key.or(etcd.key)) {
                (Some(cert), Some(key)) => Some((cert, key)),
                (None, None) => None,
                _ => return Err(Error::HalfCertificate),
            };
            let endpoints = urls(&endpoints, ca.is_some() || identity.is_some())?;
            let prefix = args.etcd_prefix.or(etcd.prefix).unwrap_or_else(|| PREFIX.to_owned());
            let is_visible = prefix.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_visible || !prefix.ends_with('/') || prefix.len() < 2 || prefix.len() > PREFIX_BYTES_MAX {
                return Err(Error::Prefix(prefix));
            }
            let user = args.etcd_user.or(etcd.user);
            let password_file = args.etcd_password_file.or(etcd.password_file);
            let login = login(user, password_file, etcd.password_env)?;
            Ok(Store::Etcd(Etcd { endpoints, prefix, ca, identity, login }))
        }
    }
}

fn login(user: Option<String>, file: Option<PathBuf>, env: Option<String>) -> Result<Option<Login>, Error> {
    let has_password = file.is_some() || env.is_some();
    let Some(user) = user else {
        let problem = "give --etcd-user, or leave the password out";
        return if has_password { Err(Error::Login(problem.to_owned())) } else { Ok(None) };
    };
    let env = if has_password { env } else { Some(PASSWORD_ENV.to_owned()) };
    let password = one_of("password", None::<Secret>, file, env).map_err(Error::Login)?;
    Ok(Some(Login { user, password: password.unwrap_or_default() }))
}

/// Reads where members are. Without a scheme they are reached by https if there is anything about certificates.
fn urls(endpoints: &[String], has_tls: bool) -> Result<Vec<String>, Error> {
    let mut urls = Vec::new();
    for text in endpoints.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let scheme = if has_tls { "https" } else { "http" };
        let url = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
        let url = url.trim_end_matches('/').to_owned();
        let (scheme, authority) = url.split_once("://").unwrap_or_default();
        let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(['/', '@', '?', '#']) && port.parse::<u16>().is_ok()
        });
        if !["http", "https"].contains(&scheme) || !has_port {
            return Err(Error::Endpoint(text.to_owned()));
        }
        urls.push(url);
    }
    let schemes: BTreeSet<_> = urls.iter().map(|url| url.starts_with("https://")).collect();
    match (schemes.len(), schemes.contains(&false)) {
        (0, _) => return Err(Error::NoEndpoints),
        (1, true) if has_tls => return Err(Error::NoTls),
        (1, _) => {}
        _ => return Err(Error::Mixed),
    }
    let mut seen = BTreeSet::new();
    match urls.iter().find(|url| !seen.insert(url.as_str())) {
        Some(twice) => Err(Error::Twice(twice.clone())),
        None => Ok(urls),
    }
}

fn cache_mib<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    within(deserializer, &CACHE_MIB_RANGE)
}

#[cfg(test)]
mod tests;
