//! The issuer's keys, from a file or a URL, and kept up to date.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How often a file is looked at, as that of the certificate.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The shortest pause between two requests to a URL, whoever shows unknown keys and however it fails.
const PAUSE_MIN: Duration = Duration::from_secs(10);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest set of keys: hundreds of them, with their certificates.
const BYTES_MAX: usize = 1024 * 1024;

/// Where the issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// Where the issuer publishes them.
    Url {
        /// Where.
        url: Url,
        /// How often they are fetched.
        refresh: Duration,
    },
}

impl Source {
    /// Says whether another is the same place, however often either is looked at.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(mine), Self::File(other)) => mine == other,
            (Self::Url { url: mine, .. }, Self::Url { url: other, .. }) => mine == other,
            _ => false,
        }
    }

    /// Returns how often it is looked at.
    pub(super) fn interval(&self) -> Duration {
        match self {
            Self::File(_) => LOOK_EVERY,
            Self::Url { refresh, .. } => *refresh,
        }
    }
}

/// Why there are no keys, or not those that there are now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there is no set of keys.
    #[error("{place} holds no set of keys: {problem}")]
    Malformed {
        /// The file or the URL.
        place: String,
        /// Why.
        problem: String,
    },
    /// What is there is a set of keys, and none of them can be used.
    #[error("{} has no public key that signatures can be checked with", path.display())]
    Keyless {
        /// The file.
        path: PathBuf,
    },
    /// The URL does not answer as it should.
    #[error("{url} cannot be fetched: {problem}")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        problem: String,
    },
}

/// One key of the issuer.
pub(super) struct Key {
    id: Option<String>,
    algorithm: Option<KeyAlgorithm>,
    pub public: DecodingKey,
}

/// The keys, kept up to date.
pub(super) struct Jwks {
    place: Place,
    // Held to copy or set a pointer, and never across an await.
    current: RwLock<Current>,
    wanted: Notify,
}

enum Place {
    File(PathBuf),
    Url { http: Client, url: Url },
}

/// The keys as they were last right, and what they were read from; none: nothing was read yet.
#[derive(Clone)]
struct Current {
    read: Option<Arc<[u8]>>,
    keys: Arc<[Key]>,
}

impl Key {
    /// Says whether what names this key, if it names one, and is signed in this way may be checked with it.
    pub fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let is_named = id.is_none_or(|id| self.id.as_deref() == Some(id));
        let is_for = self.algorithm.is_none_or(|mine| mine == KeyAlgorithm::from(algorithm));
        is_named && is_for && self.public.family().algorithms().contains(&algorithm)
    }
}

impl Jwks {
    /// Reads the file, which has to have keys, or gets ready to fetch: an issuer that does not answer yet keeps nobody
    /// from starting.
    pub fn open(source: Source) -> Result<Self, Error> {
        let mut current = Current { read: None, keys: Arc::default() };
        let place = match source {
            Source::File(path) => {
                current = Current::parse(&path.display(), &read(&path)?)?;
                if current.keys.is_empty() {
                    return Err(Error::Keyless { path });
                }
                Place::File(path)
            }
            Source::Url { url, .. } => {
                let http = client().map_err(|error| unreachable(&url, error))?;
                Place::Url { http, url }
            }
        };
        Ok(Self { place, current: RwLock::new(current), wanted: Notify::new() })
    }

    /// Returns the keys as they are now.
    pub fn keys(&self) -> Arc<[Key]> {
        self.current().keys
    }

    /// Says that a key was asked for that is not there.
    pub fn look_again(&self) {
        self.wanted.notify_one();
    }

    /// Looks so often, and takes up the keys whenever they change. Those that are there stay while no set of them can
    /// be had; a set without any withdraws them.
    pub async fn follow(&self, interval: Duration) -> Infallible {
        let mut told = None;
        loop {
            let begin = Instant::now();
            let looked = self.look().await;
            let is_right = looked.is_ok();
            match looked {
                Ok(false) => told = None,
                Ok(true) => {
                    told = None;
                    let (number, place) = (self.keys().len(), &self.place);
                    if number == 0 {
                        tracing::warn!("every JWT is refused: {place} has no key that signatures can be checked with");
                    } else {
                        tracing::info!("{number} keys of the issuer are taken from {place}");
                    }
                }
                Err(error) => {
                    let problem = error.to_string();
                    // Once for as long as it is so.
                    if told.as_ref() != Some(&problem) {
                        tracing::error!("the issuer's keys stay as they were: {problem}");
                        told = Some(problem);
                    }
                }
            }
            self.pause(begin, interval, is_right).await;
        }
    }

    /// Takes up the keys if they have changed, and says whether they have.
    async fn look(&self) -> Result<bool, Error> {
        let read = match &self.place {
            Place::File(path) => tokio::fs::read(path).await.map_err(|source| unreadable(path, source))?,
            Place::Url { http, url } => fetch(http, url).await?,
        };
        if self.current().read.as_deref() == Some(&*read) {
            return Ok(false);
        }
        let current = Current::parse(&self.place, &read)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(true)
    }

    /// Waits until it is time to look again after a look that began then.
    async fn pause(&self, begin: Instant, interval: Duration, was_right: bool) {
        if matches!(self.place, Place::File(_)) {
            return tokio::time::sleep(interval).await;
        }
        let soonest = begin + PAUSE_MIN;
        let latest = if was_right { begin + interval } else { soonest };
        tokio::select! {
            () = sleep_until(latest) => {}
            () = self.wanted.notified() => sleep_until(soonest.min(latest)).await,
        }
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Current {
    fn parse(place: &impl fmt::Display, read: &[u8]) -> Result<Self, Error> {
        let malformed =
            |error: serde_json::Error| Error::Malformed { place: place.to_string(), problem: error.to_string() };
        let set: Set = serde_json::from_slice(read).map_err(malformed)?;
        Ok(Self { read: Some(read.into()), keys: set.keys.into_iter().filter_map(key).collect() })
    }
}

/// Without what may be secret: not the query or the credentials.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url { url, .. } => f.write_str(&shown(url)),
        }
    }
}

/// A set of keys. Those of a kind that nobody knows yet are left out, one by one.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Reads a public key. A secret one could be used by whoever reads the set.
fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let is_public = !matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
    let is_for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    let public = DecodingKey::from_jwk(&jwk).ok().filter(|_| is_public && is_for_signatures)?;
    // A curve has one algorithm; an RSA key without one has several.
    let algorithm = jwk.common.key_algorithm.or(match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Some(KeyAlgorithm::ES256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => Some(KeyAlgorithm::ES384),
        _ => None,
    });
    Some(Key { id: jwk.common.key_id, algorithm, public })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { path: path.to_owned(), source }
}

/// Makes what keys are fetched with. A redirect could lead away from what was configured, so none is followed.
fn client() -> Result<Client, reqwest::Error> {
    let client = Client::builder().user_agent(concat!("gatepost/", env!("CARGO_PKG_VERSION")));
    client.redirect(Policy::none()).timeout(TIMEOUT).build()
}

async fn fetch(http: &Client, url: &Url) -> Result<Vec<u8>, Error> {
    let failed = |error| unreachable(url, error);
    let refused = |problem: String| Error::Unreachable { url: shown(url), problem };
    let mut answer = http.get(url.clone()).send().await.map_err(failed)?;
    if answer.status() != StatusCode::OK {
        return Err(refused(format!("HTTP {}", answer.status())));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > BYTES_MAX {
            return Err(refused(format!("it answers with more than {BYTES_MAX} bytes")));
        }
    }
    Ok(bytes)
}

fn unreachable(url: &Url, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let cause = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
    Error::Unreachable { url: shown(url), problem: cause.map(ToString::to_string).unwrap_or_default() }
}

fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests;
