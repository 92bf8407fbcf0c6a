//! What an issuer has signed about a caller: a JSON Web Token, as OIDC has them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use jsonwebtoken::Algorithm;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value, json};

use super::{Unauthenticated, Verified, principal, verified};
use crate::domain::{Authentication, Group};

mod jwks;

use jwks::Jwks;
pub use jwks::{Error, Source};

/// The issuer that is trusted, and how what it says is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who signs, exactly as `iss` has it.
    pub issuer: String,
    /// For whom: one of them has to be in `aud`.
    pub audiences: Vec<String>,
    /// How it may be signed.
    pub algorithms: Vec<Algorithm>,
    /// Where the issuer's keys are.
    pub keys: Source,
    /// How far the issuer's clock and this one may be apart.
    pub leeway: Duration,
    /// The claim that names the principal.
    pub principal_claim: String,
    /// What is put before it.
    pub principal_prefix: String,
    /// The claim that lists groups, in an array or separated by spaces.
    pub groups_claim: String,
    /// What is put before each of them.
    pub groups_prefix: String,
}

impl Settings {
    /// Returns what decides whom a JWT names: neither where the keys are, nor how far the clocks may be apart.
    pub(super) fn reading(&self) -> Value {
        let Self {
            issuer,
            audiences,
            algorithms,
            keys: _,
            leeway: _,
            principal_claim,
            principal_prefix,
            groups_claim,
            groups_prefix,
        } = self;
        json!([issuer, audiences, algorithms, principal_claim, principal_prefix, groups_claim, groups_prefix])
    }
}

/// The issuer, with its keys as they were last seen.
pub(super) struct Jwt {
    settings: Settings,
    keys: Arc<Jwks>,
}

/// Says whether a text is meant to be a JWT: it has dots, as no token has.
pub(super) fn is_jwt(text: &str) -> bool {
    text.contains('.')
}

impl Jwt {
    /// Takes the keys of the one before, if they come from the same place, however often they are fetched.
    pub(super) fn new(settings: Settings, before: Option<&Self>) -> Result<Self, Error> {
        let keys = match before.filter(|before| before.settings.keys.is_same_place(&settings.keys)) {
            Some(before) => Arc::clone(&before.keys),
            None => Arc::new(Jwks::open(settings.keys.clone())?),
        };
        Ok(Self { settings, keys })
    }

    pub(super) async fn follow_keys(&self) -> Infallible {
        self.keys.follow(self.settings.keys.interval()).await
    }

    /// Says whom a JWT is about: first whether the issuer has signed it, then what it says.
    pub(super) fn verify(&self, jwt: &str, now: SystemTime) -> Result<Verified, Unauthenticated> {
        let claims = self.signed(jwt)?;
        let Settings { issuer, audiences, leeway, .. } = &self.settings;
        if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err(Unauthenticated::WrongIssuer);
        }
        let is_audience = |value: &Value| audiences.iter().any(|audience| value.as_str() == Some(audience));
        if !match claims.get("aud") {
            Some(Value::Array(values)) => values.iter().any(is_audience),
            value => value.is_some_and(is_audience),
        } {
            return Err(Unauthenticated::WrongAudience);
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = leeway.as_secs_f64();
        let expires = claims.get("exp").and_then(Value::as_f64).ok_or(Unauthenticated::MalformedJwt)? + leeway;
        if expires <= now {
            return Err(Unauthenticated::ExpiredJwt);
        }
        let begins = claims.get("nbf").map(|value| value.as_f64().ok_or(Unauthenticated::MalformedJwt)).transpose()?;
        if begins.is_some_and(|begins| begins > now + leeway) {
            return Err(Unauthenticated::EarlyJwt);
        }
        let expires = Duration::try_from_secs_f64(expires).ok().and_then(|since| UNIX_EPOCH.checked_add(since));
        Ok(Verified { expires, ..self.named(&claims)? })
    }

    /// Returns what the issuer has signed.
    fn signed(&self, jwt: &str) -> Result<Map<String, Value>, Unauthenticated> {
        let header = decode_header(jwt).map_err(|_| Unauthenticated::MalformedJwt)?;
        if !self.settings.algorithms.contains(&header.alg) {
            return Err(Unauthenticated::WrongAlgorithm);
        }
        // It lists what has to be understood, and nothing of it is.
        if header.crit.is_some() {
            return Err(Unauthenticated::MalformedJwt);
        }
        let keys = self.keys.keys();
        let mut wrong = Unauthenticated::UnknownKey;
        for key in keys.iter().filter(|key| key.fits(header.alg, header.kid.as_deref())) {
            match decode(jwt, &key.public, &signature_alone(header.alg)) {
                Ok(token) => return Ok(token.claims),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {
                    wrong = Unauthenticated::WrongSignature;
                }
                Err(_) => return Err(Unauthenticated::MalformedJwt),
            }
        }
        if wrong == Unauthenticated::UnknownKey || header.kid.is_none() {
            self.keys.look_again();
        }
        Err(wrong)
    }

    /// Says whom it names.
    fn named(&self, claims: &Map<String, Value>) -> Result<Verified, Unauthenticated> {
        let Settings { principal_claim, principal_prefix, groups_claim, groups_prefix, .. } = &self.settings;
        let name = claims.get(principal_claim).and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = format!("{principal_prefix}{}", name.ok_or(Unauthenticated::NamelessJwt)?);
        let principal = principal(&name).map_err(|_| Unauthenticated::NamelessJwt)?;
        let names: Vec<&str> = match claims.get(groups_claim) {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(names)) => names.split_whitespace().collect(),
            _ => Vec::new(),
        };
        // One that could not be configured is no group that anything was granted to.
        let groups: BTreeSet<_> =
            names.into_iter().filter_map(|name| Group::parse(&format!("{groups_prefix}{name}")).ok()).collect();
        Ok(verified(principal, groups, Authentication::Jwt))
    }
}

/// Checks the signature and nothing else: time is an argument here.
fn signature_alone(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

#[cfg(test)]
mod tests;
