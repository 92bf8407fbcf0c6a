//! What is refused of a JWT, check by check.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::*;
use crate::auth::sessions::Sessions;
use crate::auth::{self, Authenticator, Shown};

/// When the tests are.
const NOW: u64 = 1_800_000_000;
const LEEWAY: u64 = 60;

/// A key of an issuer.
pub(super) struct Signer {
    id: Option<&'static str>,
    algorithm: Algorithm,
    pair: KeyPair,
    key: EncodingKey,
}

impl Signer {
    pub(super) fn new(id: Option<&'static str>, algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::ES256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Algorithm::EdDSA => KeyPair::generate_for(&PKCS_ED25519),
            _ => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let pair = pair.unwrap();
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(&pair.serialize_der()),
            Algorithm::EdDSA => EncodingKey::from_ed_der(&pair.serialize_der()),
            _ => EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap(),
        };
        Self { id, algorithm, pair, key }
    }

    /// Its public half, as the issuer publishes it.
    pub(super) fn public(&self) -> Value {
        let raw = self.pair.public_key_raw();
        let mut jwk = match self.algorithm {
            Algorithm::ES256 => {
                json!({"kty": "EC", "crv": "P-256", "x": base64url(&raw[1..33]), "y": base64url(&raw[33..])})
            }
            Algorithm::EdDSA => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(raw)}),
            algorithm => serde_json::to_value(Jwk::from_encoding_key(&self.key, algorithm).unwrap()).unwrap(),
        };
        if let Some(id) = self.id {
            jwk["kid"] = id.into();
        }
        jwk
    }

    fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }

    fn header(&self) -> Header {
        Header { kid: self.id.map(str::to_owned), ..Header::new(self.algorithm) }
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }
}

/// An issuer whose keys are in a file.
struct Issuer {
    jwt: Jwt,
    file: NamedTempFile,
}

fn settings(keys: Source) -> Settings {
    Settings {
        issuer: "https://id.test".into(),
        audiences: vec!["gatepost".into(), "gates".into()],
        algorithms: vec![Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256],
        keys,
        leeway: Duration::from_secs(LEEWAY),
        principal_claim: "sub".into(),
        principal_prefix: String::new(),
        groups_claim: "groups".into(),
        groups_prefix: String::new(),
    }
}

impl Issuer {
    fn of(signers: &[&Signer]) -> Self {
        Self::with(signers, |_| {})
    }

    fn with(signers: &[&Signer], change: impl FnOnce(&mut Settings)) -> Self {
        let file = NamedTempFile::new().unwrap();
        let keys: Vec<_> = signers.iter().map(|signer| signer.public()).collect();
        std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
        let mut settings = settings(Source::File(file.path().into()));
        change(&mut settings);
        Self { jwt: Jwt::new(settings, None).unwrap(), file }
    }

    fn verify(&self, jwt: &str) -> Result<Verified, Unauthenticated> {
        self.jwt.verify(jwt, UNIX_EPOCH + Duration::from_secs(NOW))
    }

    fn refusal(&self, jwt: &str) -> Unauthenticated {
        self.verify(jwt).unwrap_err()
    }
}

fn claims() -> Value {
    json!({"iss": "https://id.test", "aud": "gatepost", "sub": "alice", "exp": NOW + 10})
}

fn changed(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(key);
    claims
}

fn base64url(bytes: &[u8]) -> String {
    // As long as the claims below are: six bits a letter, without padding.
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let letter = |bits: &[u8]| (0..6).fold(0, |number, at| number << 1 | usize::from(*bits.get(at).unwrap_or(&0)));
    bits.chunks(6).map(|bits| char::from(LETTERS[letter(bits)])).collect()
}

#[test]
fn a_jwt_of_each_kind_of_key_names_its_principal() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256] {
        let signer = Signer::new(Some("k1"), algorithm);
        let verified = Issuer::of(&[&signer]).verify(&signer.sign(&claims())).unwrap();
        assert_eq!(verified.identity.principal.as_str(), "alice");
        assert_eq!((verified.identity.authentication, verified.token), (Authentication::Jwt, None));
        assert!(verified.identity.groups.is_empty());
        assert_eq!(verified.expires, Some(UNIX_EPOCH + Duration::from_secs(NOW + 10 + LEEWAY)));
    }
}

#[test]
fn the_time_it_is_good_for_is_held_with_the_leeway() {
    let signer = Signer::new(Some("k1"), Algorithm::EdDSA);
    let issuer = Issuer::of(&[&signer]);
    let at = |key: &str, time: u64| issuer.verify(&signer.sign(&changed(key, time.into()))).map(drop);
    assert_eq!(at("exp", NOW - LEEWAY + 1), Ok(()));
    assert_eq!(at("exp", NOW - LEEWAY), Err(Unauthenticated::ExpiredJwt));
    assert_eq!(at("nbf", NOW + LEEWAY), Ok(()));
    assert_eq!(at("nbf", NOW + LEEWAY + 1), Err(Unauthenticated::EarlyJwt));
    for wrong in [without("exp"), changed("exp", "soon".into()), changed("nbf", Value::Null)] {
        assert_eq!(issuer.refusal(&signer.sign(&wrong)), Unauthenticated::MalformedJwt, "{wrong}");
    }
    assert_eq!(issuer.refusal(&signer.sign(&changed("exp", (-1).into()))), Unauthenticated::ExpiredJwt);
    assert_eq!(issuer.verify(&signer.sign(&changed("exp", 1e300.into()))).unwrap().expires, None);
}

#[test]
fn issuer_and_audience_have_to_be_those_that_are_configured() {
    let signer = Signer::new(Some("k1"), Algorithm::EdDSA);
    let issuer = Issuer::of(&[&signer]);
    for wrong in [json!("https://id.test/"), json!("https://other.test"), json!(["https://id.test"]), json!(null)] {
        assert_eq!(issuer.refusal(&signer.sign(&changed("iss", wrong))), Unauthenticated::WrongIssuer);
    }
    assert_eq!(issuer.refusal(&signer.sign(&without("iss"))), Unauthenticated::WrongIssuer);
    for wrong in [json!("other"), json!(["other"]), json!([]), json!(""), json!({"gatepost": 1}), json!(null)] {
        assert_eq!(issuer.refusal(&signer.sign(&changed("aud", wrong))), Unauthenticated::WrongAudience);
    }
    assert_eq!(issuer.refusal(&signer.sign(&without("aud"))), Unauthenticated::WrongAudience);
    for right in [json!("gates"), json!(["other", "gatepost"])] {
        assert!(issuer.verify(&signer.sign(&changed("aud", right))).is_ok());
    }
}

#[test]
fn only_what_the_issuer_has_signed_counts() {
    let (signer, other) = (Signer::new(Some("k1"), Algorithm::EdDSA), Signer::new(Some("k1"), Algorithm::EdDSA));
    let issuer = Issuer::of(&[&signer]);
    assert_eq!(issuer.refusal(&other.sign(&claims())), Unauthenticated::WrongSignature);
    let stranger = Signer::new(Some("k2"), Algorithm::EdDSA);
    assert_eq!(issuer.refusal(&stranger.sign(&claims())), Unauthenticated::UnknownKey);
    // The claims of one with the signature of another.
    let (jwt, changed) = (signer.sign(&claims()), signer.sign(&changed("sub", "root".into())));
    let (_, signature) = jwt.rsplit_once('.').unwrap();
    let (root, _) = changed.rsplit_once('.').unwrap();
    assert_eq!(issuer.refusal(&format!("{root}.{signature}")), Unauthenticated::WrongSignature);
    for wrong in ["a.b", "a.b.c", "..", ".", &format!("{jwt}.{signature}"), &jwt[1..]] {
        assert_eq!(issuer.refusal(wrong), Unauthenticated::MalformedJwt, "{wrong}");
    }
}

#[test]
fn an_algorithm_that_is_not_configured_is_refused() {
    let signer = Signer::new(Some("k1"), Algorithm::EdDSA);
    let issuer = Issuer::with(&[&signer], |settings| settings.algorithms = vec![Algorithm::ES256]);
    assert_eq!(issuer.refusal(&signer.sign(&claims())), Unauthenticated::WrongAlgorithm);

    // A public key as a shared secret, which everybody knows.
    let issuer = Issuer::of(&[&signer]);
    let secret = EncodingKey::from_secret(signer.public()["x"].as_str().unwrap().as_bytes());
    let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS256) };
    assert_eq!(issuer.refusal(&encode(&header, &claims(), &secret).unwrap()), Unauthenticated::WrongAlgorithm);

    let none = [&br#"{"alg":"none","kid":"k1"}"#[..], claims().to_string().as_bytes()].map(base64url).join(".");
    assert_eq!(issuer.refusal(&format!("{none}.")), Unauthenticated::MalformedJwt);
    let jwt = signer.sign(&claims());
    assert_eq!(base64url(claims().to_string().as_bytes()), jwt.split('.').nth(1).unwrap(), "the test writes base64");
}

#[test]
fn what_has_to_be_understood_and_is_not_is_refused() {
    let signer = Signer::new(Some("k1"), Algorithm::EdDSA);
    let header = Header { crit: Some(vec!["b64".into()]), ..signer.header() };
    assert_eq!(Issuer::of(&[&signer]).refusal(&signer.sign_with(&header, &claims())), Unauthenticated::MalformedJwt);
}

#[test]
fn a_jwt_that_names_no_key_is_checked_with_those_that_fit() {
    let (one, other) = (Signer::new(None, Algorithm::EdDSA), Signer::new(Some("k2"), Algorithm::EdDSA));
    let (curve, stranger) = (Signer::new(None, Algorithm::ES256), Signer::new(None, Algorithm::EdDSA));
    let issuer = Issuer::of(&[&other, &curve, &one]);
    for signer in [&one, &curve] {
        assert!(issuer.verify(&signer.sign(&claims())).is_ok());
    }
    assert_eq!(issuer.refusal(&stranger.sign(&claims())), Unauthenticated::WrongSignature);
}

#[test]
fn the_principal_is_the_claim_that_is_configured_behind_its_prefix() {
    let signer = Signer::new(Some("k1"), Algorithm::EdDSA);
    let issuer = Issuer::with(&[&signer], |settings| {
        settings.principal_claim = "email".into();
        settings.principal_prefix = "oidc:".into();
    });
    let verified = issuer.verify(&signer.sign(&changed("email", "alice@test".into()))).unwrap();
    assert_eq!(verified.identity.principal.as_str(), "oidc:alice@test");
    let long = "x".repeat(251);
    for wrong in [json!(""), json!(5), json!(["alice"]), json!(null), json!("a\nb"), json!(long)] {
        assert_eq!(issuer.refusal(&signer.sign(&changed("email", wrong))), Unauthenticated::NamelessJwt);
    }
    assert_eq!(issuer.refusal(&signer.sign(&claims())), Unauthenticated::NamelessJwt, "it has no such claim");
    for name in ["anonymous", "group:ops"] {
        let refusal = Issuer::of(&[&signer]).refusal(&signer.sign(&changed("sub", name.into())));
        assert_eq!(refusal, Unauthenticated::NamelessJwt, "{name}");
    }
}

#[test]
fn groups_are_a_list_or_words() {
    let signer = Signer::new(Some("k1"), Algorithm::EdDSA);
    let issuer = Issuer::with(&[&signer], |settings| {
        settings.groups_claim = "roles".into();
        settings.groups_prefix = "idp:".into();
    });
    for (claim, groups) in [
        (json!(["ops", "release managers", 5, "x".repeat(300)]), &["idp:ops", "idp:release managers"][..]),
        (json!(" ops  dev "), &["idp:dev", "idp:ops"]),
        (json!(5), &[]),
        (json!(null), &[]),
    ] {
        let verified = issuer.verify(&signer.sign(&changed("roles", claim))).unwrap();
        assert_eq!(verified.identity.groups.iter().map(Group::as_str).collect::<Vec<_>>(), groups);
    }
}

#[test]
fn whom_a_jwt_named_by_other_settings_is_no_longer_known() {
    fn read(issuer: &Issuer, change: fn(&mut Settings)) -> Authenticator {
        let mut settings = settings(Source::File(issuer.file.path().into()));
        change(&mut settings);
        Authenticator::new(auth::Settings { jwt: Some(settings), ..auth::Settings::default() }).unwrap()
    }
    let signer = Signer::new(Some("k1"), Algorithm::EdDSA);
    let issuer = Issuer::of(&[&signer]);
    let (jwt, now) = (signer.sign(&claims()), UNIX_EPOCH + Duration::from_secs(NOW));
    let shown = Shown { bearer: Some(&jwt), certificate: None };
    let verified = read(&issuer, |_| {}).authenticate(&shown, now).unwrap();
    let sessions = Sessions::new(None).unwrap();
    let session = sessions.verify(&sessions.begin(&verified, now).unwrap(), now).unwrap();
    let are_known = |change: fn(&mut Settings)| {
        let authenticator = read(&issuer, change);
        [&verified, &session].map(|it| authenticator.identity(it).is_ok())
    };

    let same: [fn(&mut Settings); 3] = [
        |_| {},
        |settings| settings.leeway = Duration::ZERO,
        |settings| {
            let url = "https://id.test/keys".parse().unwrap();
            settings.keys = Source::Url { url, refresh: Duration::from_secs(10) };
        },
    ];
    for (number, change) in same.into_iter().enumerate() {
        assert_eq!(are_known(change), [true; 2], "{number}");
    }
    let others: [fn(&mut Settings); 7] = [
        |settings| settings.issuer = "https://other.test".into(),
        |settings| settings.audiences = vec!["gates".into()],
        |settings| settings.algorithms = vec![Algorithm::ES256],
        |settings| settings.principal_claim = "email".into(),
        |settings| settings.principal_prefix = "oidc:".into(),
        |settings| settings.groups_claim = "roles".into(),
        |settings| settings.groups_prefix = "oidc:".into(),
    ];
    for (number, change) in others.into_iter().enumerate() {
        assert_eq!(are_known(change), [false; 2], "{number}");
    }
}

#[test]
fn keys_stay_however_often_they_are_fetched_from_the_same_url() {
    let at = |url: &str, seconds| {
        let (url, refresh) = (url.parse().unwrap(), Duration::from_secs(seconds));
        settings(Source::Url { url, refresh })
    };
    let before = Jwt::new(at("https://id.test/keys", 300), None).unwrap();
    let sooner = Jwt::new(at("https://id.test/keys", 10), Some(&before)).unwrap();
    assert!(Arc::ptr_eq(&sooner.keys, &before.keys));
    assert_eq!(sooner.settings.keys.interval(), Duration::from_secs(10));
    let elsewhere = Jwt::new(at("https://id.test/others", 300), Some(&before)).unwrap();
    assert!(!Arc::ptr_eq(&elsewhere.keys, &before.keys), "those of one place are not those of another");
}

#[test]
fn keys_stay_when_the_configuration_is_read_again_and_they_come_from_the_same_place() {
    let signer = Signer::new(Some("k1"), Algorithm::EdDSA);
    let issuer = Issuer::of(&[&signer]);
    let same = Settings { issuer: "https://new.test".into(), ..settings(Source::File(issuer.file.path().into())) };
    assert!(Arc::ptr_eq(&Jwt::new(same, Some(&issuer.jwt)).unwrap().keys, &issuer.jwt.keys));
    let other = settings(Source::File("no-such-file".into()));
    assert!(matches!(Jwt::new(other, Some(&issuer.jwt)), Err(Error::Unreadable { .. })));
}
