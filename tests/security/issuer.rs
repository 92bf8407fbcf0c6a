//! An issuer of JWTs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.test";
pub const AUDIENCE: &str = "gatepost";

const KEY_ID: &str = "k1";

/// Somebody who signs; all say that their key is the same.
pub struct Issuer(EncodingKey);

impl Issuer {
    pub fn new() -> Self {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        Self(EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap())
    }

    /// What it publishes.
    pub fn jwks(&self) -> String {
        let mut key = serde_json::to_value(Jwk::from_encoding_key(&self.0, Algorithm::RS256).unwrap()).unwrap();
        key["kid"] = KEY_ID.into();
        json!({"keys": [key]}).to_string()
    }

    /// Signs who somebody is, for an hour.
    pub fn jwt(&self, subject: &str, groups: &[&str]) -> String {
        self.sign(&claims(subject, groups, in_seconds(3_600)))
    }

    /// Signs that it was so until an hour ago.
    pub fn expired(&self, subject: &str, groups: &[&str]) -> String {
        self.sign(&claims(subject, groups, in_seconds(-3_600)))
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::RS256) };
        encode(&header, claims, &self.0).unwrap()
    }
}

pub fn claims(subject: &str, groups: &[&str], expires: i64) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "groups": groups, "exp": expires})
}

pub fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(now.as_secs()).unwrap() + seconds
}
