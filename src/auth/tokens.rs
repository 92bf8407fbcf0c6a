//! Tokens: random text that stands for a principal. Only its digest is configured, and shown to nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs::default_provider;
use sha2::{Digest, Sha256};

use super::{Unauthenticated, Verified, verified};
use crate::domain::{Authentication, Group, Principal};

/// What every token begins with, so that it is seen to be one where it has no business to be.
const PREFIX: &str = "gp_";
/// Random bytes of a token: nobody guesses them, so a digest that is fast to make is as good as a slow one.
const RANDOM_BYTES: usize = 32;

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenDigest([u8; 32]);

/// What is configured of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose it is.
    pub principal: Principal,
    /// The groups that it puts them in.
    pub groups: BTreeSet<Group>,
    /// When it expires.
    pub expires: Option<SystemTime>,
}

/// The tokens that are known.
///
/// They are looked up by their digest. How long that takes may tell how much of a digest is right; but whoever knew all of it
/// would still have to find 32 random bytes that lead to it.
#[derive(Clone, Debug, Default)]
pub struct Tokens(BTreeMap<TokenDigest, Token>);

/// Makes a token.
///
/// # Errors
///
/// If the system has no random bytes.
pub fn generate() -> Result<String, rustls::Error> {
    let mut bytes = [0; RANDOM_BYTES];
    default_provider().secure_random.fill(&mut bytes).map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
    Ok(format!("{PREFIX}{}", hex(&bytes)))
}

impl TokenDigest {
    /// Returns the digest of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Reads what [`to_hex`](Self::to_hex) wrote.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if text.len() != 2 * digest.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(digest))
    }

    /// Returns it as 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

/// Shows nothing of it: a token that somebody made up could be found by it.
impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest")
    }
}

impl Tokens {
    /// Adds a token.
    ///
    /// # Errors
    ///
    /// The one that has this digest already.
    pub fn add(&mut self, digest: TokenDigest, token: Token) -> Result<(), Token> {
        match self.0.insert(digest, token) {
            None => Ok(()),
            Some(other) => Err(other),
        }
    }

    /// Says how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lists them.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.values()
    }

    pub(super) fn get(&self, digest: &TokenDigest) -> Option<&Token> {
        self.0.get(digest)
    }

    /// Says whose a token is.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Verified, Unauthenticated> {
        let digest = TokenDigest::of(token);
        let Token { principal, groups, expires } = self.0.get(&digest).ok_or(Unauthenticated::UnknownToken)?;
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Unauthenticated::ExpiredToken);
        }
        let verified = verified(principal.clone(), groups.clone(), Authentication::Token);
        Ok(Verified { token: Some(digest), expires: *expires, ..verified })
    }
}

/// Writes bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
