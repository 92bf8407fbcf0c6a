//! Who calls: verified by a token, by the certificate of a connection, or by what an issuer has signed.
//!
//! All of it is decided from what is in memory. Only the keys of the issuer come from elsewhere, and are kept up to date
//! beside the calls by [`Authenticator::follow_keys`].

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use crate::coordinator::Permission;
use crate::domain::{Authentication, Group, Identity, Principal};

pub mod certificates;
pub mod grants;
mod guard;
pub mod jwt;
mod rates;
mod sessions;
pub mod tokens;

use certificates::Certificates;
pub use grants::Grants;
pub use guard::{Guard, Identities, ReplaceError};
use jwt::Jwt;
pub use rates::Rates;
pub use sessions::{LASTS as SESSION_LASTS, SessionKey};
pub use tokens::TokenDigest;
use tokens::{Token, Tokens};

/// The identities that are configured, once they make sense.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The tokens that are known.
    pub tokens: Tokens,
    /// How certificates of clients are read; none: they let a client in and name nobody.
    pub certificates: Option<Certificates>,
    /// The issuer that is trusted.
    pub jwt: Option<jwt::Settings>,
    /// The groups that principals belong to, beside those that were verified with them.
    pub groups: BTreeMap<Principal, BTreeSet<Group>>,
    /// What they may do.
    pub grants: Arc<Grants>,
}

impl Settings {
    /// Says whether callers have to say who they are.
    #[must_use]
    pub fn has_identities(&self) -> bool {
        self.has_bearers() || self.certificates.is_some()
    }

    /// Returns who somebody of a name is, when they have shown what proves it: their groups are those that are configured,
    /// and those that are given.
    #[must_use]
    pub fn named(&self, principal: Principal, mut groups: BTreeSet<Group>) -> Identity {
        let now = SystemTime::now();
        let is_good = |token: &&Token| token.principal == principal && token.expires.is_none_or(|end| end > now);
        let own = self.tokens.iter().filter(is_good).map(|token| &token.groups);
        groups.extend(own.chain(self.groups.get(&principal)).flatten().cloned());
        Identity { principal, groups, authentication: Authentication::Token }
    }

    /// Says whether callers can do so with a secret that goes with each call.
    #[must_use]
    pub fn has_bearers(&self) -> bool {
        !self.tokens.is_empty() || self.jwt.is_some()
    }
}

/// What a caller shows of themselves.
#[derive(Clone, Copy, Default)]
pub struct Shown<'a> {
    /// What came as `authorization: Bearer`.
    pub bearer: Option<&'a str>,
    /// The caller's own certificate, of a chain that the handshake has verified.
    pub certificate: Option<&'a CertificateDer<'a>>,
}

/// Who calls, and for how long that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who they are, with the groups that were verified with them.
    pub identity: Identity,
    /// The token that says so.
    pub token: Option<TokenDigest>,
    /// The digest of the settings with which a certificate or a JWT says so: with others it may say another, or nobody.
    pub settings_digest: Option<String>,
    /// When what they have shown expires.
    pub expires: Option<SystemTime>,
}

/// Why nobody knows who calls. None of it tells what was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// Nothing was shown that is understood here.
    #[error("nothing says who calls: a token is needed, or a certificate where they name principals")]
    Nothing,
    /// What was sent to say who calls is no token.
    #[error("the authorization is no token: send it as `Bearer TOKEN`")]
    NoBearer,
    /// Nobody is asked here.
    #[error("everybody is let in here: there is nothing to log in with")]
    NobodyAsks,
    /// The session was begun by another process, or is over.
    #[error("the session has ended: log in again")]
    SessionEnded,
    /// What was verified is too long for a browser to hold.
    #[error("the token says more than fits a session: use one with fewer groups")]
    TooLongForSession,
    /// The token is none that is configured: it never was, or is no longer.
    #[error("the token is not known")]
    UnknownToken,
    /// The token is known, and was for a time that is over.
    #[error("the token has expired")]
    ExpiredToken,
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    MalformedCertificate,
    /// The certificate was right when the connection was made.
    #[error("the certificate has expired")]
    ExpiredCertificate,
    /// The certificate has not what names the principal, or more than one of it.
    #[error("the certificate has no name where it should have one, or several")]
    NamelessCertificate,
    /// The JWT cannot be read, or says something that has to be understood and is not.
    #[error("the JWT cannot be read")]
    MalformedJwt,
    /// The JWT is signed in a way that is not allowed.
    #[error("the JWT is signed with an algorithm that is not allowed")]
    WrongAlgorithm,
    /// The JWT is signed with a key that the issuer has not published, or not yet.
    #[error("the JWT is signed with a key that is not known")]
    UnknownKey,
    /// The JWT is not what was signed.
    #[error("the JWT has a wrong signature")]
    WrongSignature,
    /// Another issuer made the JWT.
    #[error("the JWT is of another issuer")]
    WrongIssuer,
    /// The JWT is for somebody else.
    #[error("the JWT is for another audience")]
    WrongAudience,
    /// The JWT's time is over.
    #[error("the JWT has expired")]
    ExpiredJwt,
    /// The JWT's time has not come.
    #[error("the JWT is not valid yet")]
    EarlyJwt,
    /// The JWT names nobody.
    #[error("the JWT has no principal where it should have one")]
    NamelessJwt,
}

/// Finds out who calls.
pub struct Authenticator {
    tokens: Tokens,
    certificates: Option<Certificates>,
    jwt: Option<Jwt>,
    /// The digests of the settings with which both are read.
    certificates_digest: Option<String>,
    jwt_digest: Option<String>,
    groups: BTreeMap<Principal, BTreeSet<Group>>,
    asks: bool,
}

impl Authenticator {
    /// Makes one. Reads the issuer's keys if they are in a file; those of a URL come with
    /// [`follow_keys`](Self::follow_keys).
    ///
    /// # Errors
    ///
    /// If the issuer's keys cannot be had in the way that is configured.
    pub fn new(settings: Settings) -> Result<Self, jwt::Error> {
        Self::build(settings, None)
    }

    /// Makes the one that comes after it when the configuration is read again. What is known of the issuer's keys stays,
    /// if they come from where they came from.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn with_settings(&self, settings: Settings) -> Result<Self, jwt::Error> {
        Self::build(settings, self.jwt.as_ref())
    }

    fn build(settings: Settings, before: Option<&Jwt>) -> Result<Self, jwt::Error> {
        let asks = settings.has_identities();
        let Settings { tokens, certificates, jwt, groups, grants: _ } = settings;
        let certificates_digest = certificates.as_ref().map(|settings| digest(&json!(settings)));
        let jwt_digest = jwt.as_ref().map(|settings| digest(&settings.reading()));
        let jwt = jwt.map(|settings| Jwt::new(settings, before)).transpose()?;
        Ok(Self { tokens, certificates, jwt, certificates_digest, jwt_digest, groups, asks })
    }

    /// Says whether callers have to say who they are.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// Says who calls. A token goes before a certificate, and one that is wrong is refused whatever the certificate says.
    ///
    /// # Errors
    ///
    /// Why that is not known.
    pub fn authenticate(&self, shown: &Shown<'_>, now: SystemTime) -> Result<Verified, Unauthenticated> {
        let verified = match (shown.bearer, &self.jwt, &self.certificates, shown.certificate) {
            (Some(bearer), Some(jwt), ..) if jwt::is_jwt(bearer) => jwt.verify(bearer, now),
            (Some(bearer), ..) => self.tokens.verify(bearer, now),
            (None, _, Some(certificates), Some(certificate)) => certificates.verify(certificate, now),
            (None, ..) => Err(Unauthenticated::Nothing),
        }?;
        let settings_digest = self.settings_digest(verified.identity.authentication).cloned();
        Ok(Verified { settings_digest, ..verified })
    }

    /// Returns when what somebody had shown expires, as it is configured now.
    #[must_use]
    pub fn expires(&self, verified: &Verified) -> Option<SystemTime> {
        let token = verified.token.as_ref().and_then(|token| self.tokens.get(token));
        [verified.expires, token.and_then(|token| token.expires)].into_iter().flatten().min()
    }

    /// Says who somebody who was verified before is now, with all their groups: what is configured may have changed since.
    ///
    /// # Errors
    ///
    /// [`Unauthenticated::UnknownToken`] if the token that they had shown is no longer configured, or
    /// [`Unauthenticated::Nothing`] if what they had shown is not understood any more, or not as it was.
    pub fn identity(&self, verified: &Verified) -> Result<Identity, Unauthenticated> {
        let mut identity = verified.identity.clone();
        let is_understood = match identity.authentication {
            Authentication::Anonymous => !self.asks,
            // Known by itself, below.
            Authentication::Token => true,
            by @ (Authentication::Certificate | Authentication::Jwt) => {
                verified.settings_digest.is_some() && verified.settings_digest.as_ref() == self.settings_digest(by)
            }
        };
        if !is_understood {
            return Err(Unauthenticated::Nothing);
        }
        if let Some(token) = &verified.token {
            let token = self.tokens.get(token).ok_or(Unauthenticated::UnknownToken)?;
            (identity.principal, identity.groups) = (token.principal.clone(), token.groups.clone());
        }
        if let Some(groups) = self.groups.get(&identity.principal) {
            identity.groups.extend(groups.iter().cloned());
        }
        Ok(identity)
    }

    /// Returns the digest of the settings that say whom a certificate or a JWT names, if it names anybody.
    fn settings_digest(&self, by: Authentication) -> Option<&String> {
        match by {
            Authentication::Certificate => self.certificates_digest.as_ref(),
            Authentication::Jwt => self.jwt_digest.as_ref(),
            Authentication::Anonymous | Authentication::Token => None,
        }
    }

    /// Keeps the issuer's keys up to date, for ever. It may be dropped at any time and called again.
    pub async fn follow_keys(&self) -> Infallible {
        match &self.jwt {
            Some(jwt) => jwt.follow_keys().await,
            None => std::future::pending().await,
        }
    }
}

/// Reads the name of somebody who was verified: nobody may be called as those are who were not, or as a group.
///
/// # Errors
///
/// What is wrong with it.
pub fn principal(text: &str) -> Result<Principal, String> {
    let principal = Principal::parse(text).map_err(|invalid| invalid.to_string())?;
    if principal == Principal::anonymous() || text.starts_with("group:") {
        return Err(format!("{text} is no name for somebody who was verified"));
    }
    Ok(principal)
}

/// Makes the digest of settings. Coordinators with the same ones have the same: a session of one holds at the others.
fn digest(settings: &Value) -> String {
    let digest: [u8; 32] = Sha256::digest(settings.to_string()).into();
    tokens::hex(&digest)
}

fn verified(principal: Principal, groups: BTreeSet<Group>, by: Authentication) -> Verified {
    let identity = Identity { principal, groups, authentication: by };
    Verified { identity, token: None, settings_digest: None, expires: None }
}

#[cfg(test)]
mod tests;
