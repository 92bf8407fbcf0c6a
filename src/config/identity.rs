//! Who may call: `[[token]]`, `[certificates]`, `[jwt]` and `[[group]]` of the configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::Url;
use serde::{Deserialize, Deserializer, de};

use super::duration;
use super::file::File;
use super::webhook::{Secret, one_of};
use crate::auth::jwt::{self, Algorithm, Source};
use crate::auth::tokens::{self, TokenDigest, Tokens};
use crate::auth::{self, Grants, SessionKey, grants, principal};
use crate::domain::{self, Principal};
use crate::webhooks;

/// How a JWT may be signed, unless it says so.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// How far the issuer's clock and this one may be apart, unless it says so.
const LEEWAY: Duration = Duration::from_secs(60);
/// The most that they may be: a JWT is good for that much longer than its issuer says.
const LEEWAY_MAX: Duration = Duration::from_secs(10 * 60);
/// How often the issuer's keys are fetched, unless it says so.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// The most often.
const REFRESH_MIN: Duration = Duration::from_secs(10);

/// A `[[token]]`, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whose it is.
    #[serde(deserialize_with = "read_principal")]
    pub principal: Principal,
    /// The SHA-256 of the token in hexadecimal digits, or where that is written.
    pub sha256: Option<Secret>,
    /// A file that says it.
    pub sha256_file: Option<PathBuf>,
    /// A variable of the environment that says it.
    pub sha256_env: Option<String>,
    /// The groups that it puts its principal in.
    #[serde(default, deserialize_with = "read_groups")]
    pub groups: BTreeSet<domain::Group>,
    /// When it expires.
    #[serde(default, deserialize_with = "read_time")]
    pub expires: Option<Timestamp>,
}

/// `[session]`, as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The secret that all coordinators of a store have, or where that is written.
    pub key: Option<Secret>,
    /// A file that says it.
    pub key_file: Option<PathBuf>,
    /// A variable of the environment that says it.
    pub key_env: Option<String>,
}

/// Reads what sessions are signed with.
pub(super) fn session_key(session: Session) -> Result<Option<SessionKey>, Error> {
    let Session { key, key_file, key_env } = session;
    let secret = one_of("key", key, key_file, key_env).map_err(Error::Session)?;
    let short = || Error::Session(format!("the key is shorter than {} characters", SessionKey::SECRET_MIN));
    secret.map(|secret| SessionKey::of(&secret).ok_or_else(short)).transpose()
}

/// `[jwt]`, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Who signs.
    pub issuer: String,
    /// For whom.
    pub audience: OneOrMore,
    /// How it may be signed.
    pub algorithms: Option<Vec<String>>,
    /// A file with the issuer's keys.
    pub jwks_file: Option<PathBuf>,
    /// Where the issuer publishes them.
    pub jwks_url: Option<String>,
    /// How often they are fetched.
    #[serde(default, deserialize_with = "read_duration")]
    pub refresh: Option<Duration>,
    /// How far the clocks may be apart.
    #[serde(default, deserialize_with = "read_duration")]
    pub leeway: Option<Duration>,
    /// The claim that names the principal.
    pub principal_claim: Option<String>,
    /// What is put before it.
    #[serde(default)]
    pub principal_prefix: String,
    /// The claim that lists groups.
    pub groups_claim: Option<String>,
    /// What is put before each of them.
    #[serde(default)]
    pub groups_prefix: String,
}

/// One text, or some.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "it has to be text, or a list of texts")]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Some.
    More(Vec<String>),
}

/// A `[[group]]`, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What it is called.
    #[serde(deserialize_with = "read_group")]
    pub name: domain::Group,
    /// Who belongs to it.
    #[serde(deserialize_with = "read_principals")]
    pub members: BTreeSet<Principal>,
}

/// Why an identity cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A token makes no sense.
    #[error("[[token]] {number}, of {principal}: {problem}")]
    Token {
        /// Which one, the first being 1.
        number: usize,
        /// Whose it is.
        principal: Principal,
        /// What is wrong, without anything of the token.
        problem: String,
    },
    /// What sessions are signed with makes no sense.
    #[error("[session]: {0}")]
    Session(String),
    /// The issuer makes no sense.
    #[error("[jwt]: {0}")]
    Jwt(String),
    /// Two groups have the same name.
    #[error("two groups are called {0}: list all members in one")]
    RepeatedGroup(domain::Group),
    /// A grant makes no sense.
    #[error(transparent)]
    Grant(#[from] grants::Error),
    /// There is nobody who could belong to a group, or be granted something.
    #[error(
        "[[group]] and [[grant]] do nothing while nobody says who they are: configure [[token]], [jwt] or [certificates]"
    )]
    Nobody,
}

impl File {
    /// Reads who may call.
    ///
    /// # Errors
    ///
    /// The first problem there is.
    pub fn identities(&self) -> Result<auth::Settings, Error> {
        let mut tokens = Tokens::default();
        for (index, token) in self.token.iter().enumerate() {
            let added = token.digest().and_then(|digest| {
                let Token { principal, groups, expires, .. } = token.clone();
                let token = tokens::Token { principal, groups, expires: expires.map(SystemTime::from) };
                tokens.add(digest, token).map_err(|other| format!("it is also a token of {}", other.principal))
            });
            let principal = || token.principal.clone();
            added.map_err(|problem| Error::Token { number: index + 1, principal: principal(), problem })?;
        }
        let mut names = BTreeSet::new();
        let mut groups: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for Group { name, members } in &self.group {
            if !names.insert(name) {
                return Err(Error::RepeatedGroup(name.clone()));
            }
            for member in members {
                groups.entry(member.clone()).or_default().insert(name.clone());
            }
        }
        let jwt = self.jwt.clone().map(Jwt::validate).transpose().map_err(Error::Jwt)?;
        let grants = Arc::new(Grants::new(self.grant.clone())?);
        let settings = auth::Settings { tokens, certificates: self.certificates.clone(), jwt, groups, grants };
        let says_nothing = self.group.is_empty() && self.grant.is_empty();
        if !settings.has_identities() && !says_nothing {
            return Err(Error::Nobody);
        }
        Ok(settings)
    }
}

impl Token {
    fn digest(&self) -> Result<TokenDigest, String> {
        let Self { sha256, sha256_file, sha256_env, .. } = self.clone();
        let hex = one_of("sha256", sha256, sha256_file, sha256_env)?;
        let hex = hex.ok_or("it needs a sha256: `gatepost token new` makes a token with its table")?;
        TokenDigest::from_hex(hex.trim()).ok_or_else(|| "its sha256 has to be 64 hexadecimal digits".to_owned())
    }
}

impl Jwt {
    fn validate(self) -> Result<jwt::Settings, String> {
        let audiences = match self.audience {
            OneOrMore::One(audience) => vec![audience],
            OneOrMore::More(audiences) => audiences,
        };
        if self.issuer.is_empty() || audiences.is_empty() || audiences.contains(&String::new()) {
            return Err("it needs an issuer and an audience".to_owned());
        }
        let algorithms = match self.algorithms {
            Some(names) => names.iter().map(|name| algorithm(name)).collect::<Result<_, _>>()?,
            None => ALGORITHMS.to_vec(),
        };
        if algorithms.is_empty() {
            return Err("algorithms is empty: leave it out for RS256, ES256 and EdDSA".to_owned());
        }
        let keys = match (self.jwks_file, self.jwks_url, self.refresh) {
            (Some(file), None, None) => Source::File(file),
            (Some(_), None, Some(_)) => return Err("refresh is for jwks_url: the file is looked at each second".into()),
            (None, Some(url), refresh) => {
                let refresh = refresh.unwrap_or(REFRESH);
                if refresh < REFRESH_MIN {
                    return Err(format!("refresh has to be {REFRESH_MIN:?} or longer"));
                }
                Source::Url { url: jwks_url(&url)?, refresh }
            }
            _ => return Err("give one of jwks_file and jwks_url".to_owned()),
        };
        let leeway = self.leeway.unwrap_or(LEEWAY);
        if leeway > LEEWAY_MAX {
            return Err(format!("leeway has to be {LEEWAY_MAX:?} or shorter"));
        }
        Ok(jwt::Settings {
            issuer: self.issuer,
            audiences,
            algorithms,
            keys,
            leeway,
            principal_claim: self.principal_claim.unwrap_or_else(|| "sub".to_owned()),
            principal_prefix: self.principal_prefix,
            groups_claim: self.groups_claim.unwrap_or_else(|| "groups".to_owned()),
            groups_prefix: self.groups_prefix,
        })
    }
}

/// Reads the name of an algorithm that is checked with a public key: whoever checks a shared secret could sign with it.
fn algorithm(name: &str) -> Result<Algorithm, String> {
    let algorithm: Result<Algorithm, _> = name.parse();
    match algorithm {
        Ok(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) | Err(_) => Err(format!(
            "{name} is no algorithm that is allowed: use some of RS256, RS384, RS512, PS256, PS384, PS512, \
                         ES256, ES384 and EdDSA"
        )),
        Ok(algorithm) => Ok(algorithm),
    }
}

/// Reads where keys are published: whoever is in between could put theirs there.
fn jwks_url(text: &str) -> Result<Url, String> {
    let url = webhooks::url(text).map_err(|problem| problem.replace("its url", "jwks_url"))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if url.scheme() == "https" || is_here {
        return Ok(url);
    }
    Err("jwks_url has to begin with https://, unless it is on this host".to_owned())
}

fn read_principal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Principal, D::Error> {
    principal(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn read_principals<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Principal>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| principal(name).map_err(de::Error::custom)).collect()
}

fn read_group<'de, D: Deserializer<'de>>(deserializer: D) -> Result<domain::Group, D::Error> {
    group(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn read_groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<domain::Group>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| group(name).map_err(de::Error::custom)).collect()
}

/// Reads the name of a group that somebody can be put in.
///
/// # Errors
///
/// What is wrong with it.
pub fn group(name: &str) -> Result<domain::Group, String> {
    let group = domain::Group::parse(name).map_err(|invalid| invalid.to_string())?;
    if name == domain::Group::EVERYBODY || name.starts_with("group:") {
        return Err(format!("{name} cannot be the name of a group: choose another"));
    }
    Ok(group)
}

fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

/// Reads a time, in quotes or as TOML has it.
fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => text,
        toml::Value::Datetime(time) => time.to_string(),
        _ => String::new(),
    };
    text.parse().map(Some).map_err(|_| de::Error::custom("write the time with its offset, as 2027-01-31T00:00:00Z"))
}

#[cfg(test)]
mod tests;
