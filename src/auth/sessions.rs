//! The sessions of browsers: what somebody showed once, signed here and held by their browser.
//!
//! Nothing of a session is kept here. It says who was verified, and by which token, or with which settings a JWT was
//! read, so that a token that is withdrawn or settings that change end it. The key that signs it lives as long as the
//! process, unless several coordinators are configured to have one.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use rustls::crypto::aws_lc_rs::default_provider;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{TokenDigest, Unauthenticated, Verified};
use crate::domain::{Authentication, Group, Identity, Principal};

/// How long a session lasts: a day's work.
pub const LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// The longest session, which browsers still take as a cookie.
const BYTES_MAX: usize = 3_500;
const ALGORITHM: Algorithm = Algorithm::HS256;
const KEY_BYTES: usize = 32;

/// What sessions are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey([u8; KEY_BYTES]);

impl SessionKey {
    /// The shortest secret, in characters: as long as the key that is made of it.
    pub const SECRET_MIN: usize = KEY_BYTES;

    /// Makes a key of a secret that several coordinators have; none if it is too short.
    #[must_use]
    pub fn of(secret: &str) -> Option<Self> {
        (secret.chars().count() >= Self::SECRET_MIN).then(|| Self(Sha256::digest(secret).into()))
    }

    /// Makes a key that nobody else has.
    fn random() -> Result<Self, rustls::Error> {
        let mut key = [0; KEY_BYTES];
        default_provider().secure_random.fill(&mut key).map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
        Ok(Self(key))
    }
}

/// It is a secret.
impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey")
    }
}

/// Signs sessions, and knows its own again.
pub struct Sessions {
    signing: EncodingKey,
    checking: DecodingKey,
}

/// What a session says.
#[derive(Deserialize, Serialize)]
struct Claims {
    sub: String,
    groups: BTreeSet<String>,
    /// The digest of the token that was shown; none if that was a JWT.
    token: Option<String>,
    /// The digest of the settings by which the JWT that was shown was read; none if that was a token.
    settings: Option<String>,
    /// When it ends, in seconds since 1970.
    exp: u64,
}

impl Sessions {
    /// Makes sessions with a key, or with one of their own.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
    pub fn new(key: Option<SessionKey>) -> Result<Self, rustls::Error> {
        let SessionKey(key) = key.map_or_else(SessionKey::random, Ok)?;
        Ok(Self { signing: EncodingKey::from_secret(&key), checking: DecodingKey::from_secret(&key) })
    }

    /// Begins a session of somebody who was verified. It ends with what they have shown, at the latest.
    ///
    /// # Errors
    ///
    /// If it is longer than a browser takes.
    pub fn begin(&self, verified: &Verified, now: SystemTime) -> Result<String, Unauthenticated> {
        let ends = verified.expires.map_or(now + LASTS, |expires| expires.min(now + LASTS));
        let claims = Claims {
            sub: verified.identity.principal.to_string(),
            groups: verified.identity.groups.iter().map(ToString::to_string).collect(),
            token: verified.token.map(TokenDigest::to_hex),
            settings: verified.settings_digest.clone(),
            exp: ends.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        };
        let session = encode(&Header::new(ALGORITHM), &claims, &self.signing);
        session.ok().filter(|session| session.len() <= BYTES_MAX).ok_or(Unauthenticated::TooLongForSession)
    }

    /// Reads a session: who was verified when it began.
    ///
    /// # Errors
    ///
    /// If it was not begun with this key, or it has ended.
    pub fn verify(&self, session: &str, now: SystemTime) -> Result<Verified, Unauthenticated> {
        let mut rules = Validation::new(ALGORITHM);
        // By the time that is given.
        rules.validate_exp = false;
        let ended = Unauthenticated::SessionEnded;
        let claims = decode::<Claims>(session, &self.checking, &rules).map_err(|_| ended)?.claims;
        let expires = UNIX_EPOCH + Duration::from_secs(claims.exp);
        if expires <= now {
            return Err(ended);
        }
        let token = claims.token.as_deref().map(|hex| TokenDigest::from_hex(hex).ok_or(ended)).transpose()?;
        let groups = claims.groups.iter().map(|group| Group::parse(group)).collect::<Result<_, _>>();
        let identity = Identity {
            principal: Principal::parse(&claims.sub).map_err(|_| ended)?,
            groups: groups.map_err(|_| ended)?,
            authentication: if token.is_some() { Authentication::Token } else { Authentication::Jwt },
        };
        Ok(Verified { identity, token, settings_digest: claims.settings, expires: Some(expires) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(token: Option<TokenDigest>, expires: Option<SystemTime>) -> Verified {
        let identity = Identity {
            principal: Principal::parse("alice").unwrap(),
            groups: [Group::parse("ops").unwrap()].into(),
            authentication: if token.is_some() { Authentication::Token } else { Authentication::Jwt },
        };
        let settings_digest = token.is_none().then(|| "0123".to_owned());
        Verified { identity, token, settings_digest, expires }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    #[test]
    fn a_session_says_who_was_verified_until_it_ends() {
        let sessions = Sessions::new(None).unwrap();
        for token in [None, Some(TokenDigest::of("gp_x"))] {
            let session = sessions.begin(&verified(token, None), at(0)).unwrap();
            let last = at(LASTS.as_secs() - 1);
            assert_eq!(sessions.verify(&session, last), Ok(verified(token, Some(at(LASTS.as_secs())))));
            assert_eq!(sessions.verify(&session, at(LASTS.as_secs())), Err(Unauthenticated::SessionEnded));
            let other = Sessions::new(None).unwrap();
            assert_eq!(other.verify(&session, at(0)), Err(Unauthenticated::SessionEnded), "another process's");
        }
    }

    #[test]
    fn coordinators_with_one_key_take_each_others_sessions() {
        let key = |secret: &str| SessionKey::of(secret).unwrap();
        let secret = "0123456789abcdef0123456789abcdef";
        let [one, two] = [(); 2].map(|()| Sessions::new(Some(key(secret))).unwrap());
        let session = one.begin(&verified(None, None), at(0)).unwrap();
        assert!(two.verify(&session, at(1)).is_ok());
        let other = Sessions::new(Some(key(&secret.replace('0', "1")))).unwrap();
        assert_eq!(other.verify(&session, at(1)), Err(Unauthenticated::SessionEnded));
        assert_eq!(SessionKey::of(&secret[1..]), None, "too short");
        assert!(!format!("{:?}", key(secret)).contains("01"));
    }

    #[test]
    fn a_session_ends_with_what_was_shown() {
        let sessions = Sessions::new(None).unwrap();
        let session = sessions.begin(&verified(None, Some(at(60))), at(0)).unwrap();
        assert!(sessions.verify(&session, at(59)).is_ok() && sessions.verify(&session, at(60)).is_err());
    }

    #[test]
    fn what_was_changed_or_is_unsigned_is_no_session() {
        let sessions = Sessions::new(None).unwrap();
        let session = sessions.begin(&verified(None, None), at(0)).unwrap();
        let [head, claims, sign] = session.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
        let other = sessions.begin(&Verified { expires: Some(at(9)), ..verified(None, None) }, at(0)).unwrap();
        let others = other.split('.').nth(1).unwrap();
        // {"alg":"none","typ":"JWT"}
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        for wrong in [
            String::new(),
            format!("{head}.{others}.{sign}"),
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{sign}"),
        ] {
            assert_eq!(sessions.verify(&wrong, at(0)), Err(Unauthenticated::SessionEnded), "{wrong}");
        }
    }

    #[test]
    fn a_session_that_no_browser_would_keep_is_not_begun() {
        let mut many = verified(None, None);
        many.identity.groups = (0..500).map(|n| Group::parse(&format!("group-{n}")).unwrap()).collect();
        assert_eq!(Sessions::new(None).unwrap().begin(&many, at(0)), Err(Unauthenticated::TooLongForSession));
    }
}
