//! Keys that change, and what is refused of a set of them.

use std::future::Future;

use axum::Router;
use axum::http::StatusCode as Code;
use axum::routing::get;
use jsonwebtoken::Algorithm;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::tests::Signer;
use super::*;

/// How long anything may take before a test fails: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

fn set(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.public()).collect::<Vec<_>>()}).to_string()
}

fn ids(jwks: &Jwks) -> Vec<String> {
    jwks.keys().iter().filter_map(|key| key.id.clone()).collect()
}

/// An issuer that answers with what it is told to.
async fn issuer(answer: watch::Receiver<(Code, String)>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys?secret=1", listener.local_addr().unwrap()).parse().unwrap();
    let answer = move || {
        let (code, body) = answer.borrow().clone();
        async move { (code, [("location", "/elsewhere")], body) }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/keys", get(answer))).await.unwrap() });
    url
}

fn key_of(id: &'static str) -> Signer {
    Signer::new(Some(id), Algorithm::EdDSA)
}

#[tokio::test]
async fn keys_of_a_url_are_taken_up_and_kept_while_others_cannot_be_had() {
    let (answer, answers) = watch::channel((Code::OK, set(&[&key_of("k1")])));
    let url = issuer(answers).await;
    let jwks = Jwks::open(Source::Url { url, refresh: Duration::from_secs(300) }).unwrap();
    assert!(ids(&jwks).is_empty(), "nothing is fetched before it is followed");
    assert!(within(jwks.look()).await.unwrap());
    assert_eq!(ids(&jwks), ["k1"]);
    assert!(!within(jwks.look()).await.unwrap(), "nothing has changed");

    for (code, body, problem) in [
        (Code::INTERNAL_SERVER_ERROR, set(&[&key_of("k2")]), "HTTP 500"),
        (Code::FOUND, set(&[&key_of("k2")]), "HTTP 302"),
        (Code::OK, String::new(), "holds no set of keys"),
        (Code::OK, json!({"keys": {}}).to_string(), "holds no set of keys"),
        (Code::OK, format!("{}{}", set(&[&key_of("k2")]), " ".repeat(BYTES_MAX)), "more than 1048576 bytes"),
    ] {
        answer.send_replace((code, body));
        let error = within(jwks.look()).await.unwrap_err().to_string();
        assert!(error.contains(problem) && !error.contains("secret"), "{error}");
        assert_eq!(ids(&jwks), ["k1"], "{problem}");
    }

    answer.send_replace((Code::OK, set(&[&key_of("k2"), &key_of("k3")])));
    assert!(within(jwks.look()).await.unwrap());
    assert_eq!(ids(&jwks), ["k2", "k3"], "a key that is no longer published is no longer trusted");
}

#[tokio::test]
async fn no_key_is_trusted_once_the_issuer_has_withdrawn_them_all() {
    let (answer, answers) = watch::channel((Code::OK, String::new()));
    let url = issuer(answers).await;
    let jwks = Jwks::open(Source::Url { url, refresh: Duration::from_secs(300) }).unwrap();
    assert!(within(jwks.look()).await.is_err(), "an answer without anything is no set of keys");
    let mut encrypts = key_of("k1").public();
    encrypts["use"] = "enc".into();
    for none in [json!({"keys": []}), json!({"keys": [encrypts]})] {
        answer.send_replace((Code::OK, set(&[&key_of("k1")])));
        assert!(within(jwks.look()).await.unwrap());
        assert_eq!(ids(&jwks), ["k1"]);
        answer.send_replace((Code::OK, none.to_string()));
        assert!(within(jwks.look()).await.unwrap());
        assert!(jwks.keys().is_empty(), "{none}");
    }
}

#[tokio::test]
async fn a_file_has_to_have_a_key_at_the_start_and_may_withdraw_it_later() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let open = || Jwks::open(Source::File(file.path().into()));
    let none = json!({"keys": []}).to_string();
    std::fs::write(&file, &none).unwrap();
    let error = open().err().unwrap().to_string();
    assert!(error.ends_with("has no public key that signatures can be checked with"), "{error}");

    std::fs::write(&file, set(&[&key_of("k1")])).unwrap();
    let jwks = open().unwrap();
    std::fs::write(&file, &none).unwrap();
    assert!(within(jwks.look()).await.unwrap());
    assert!(jwks.keys().is_empty());
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_keeps_nobody_from_starting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let jwks = Jwks::open(Source::Url { url, refresh: Duration::from_secs(300) }).unwrap();
    assert!(matches!(within(jwks.look()).await, Err(Error::Unreachable { .. })));
}

#[tokio::test]
async fn keys_are_followed_by_themselves() {
    let (answer, answers) = watch::channel((Code::OK, set(&[&key_of("k1")])));
    let url = issuer(answers).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    std::fs::write(&file, set(&[&key_of("k1")])).unwrap();
    let fetched = Jwks::open(Source::Url { url, refresh: Duration::from_millis(1) }).unwrap();
    let read = Jwks::open(Source::File(file.clone())).unwrap();
    assert_eq!(ids(&read), ["k1"]);

    answer.send_replace((Code::OK, set(&[&key_of("k2")])));
    std::fs::write(&file, set(&[&key_of("k2")])).unwrap();
    let both = async {
        while [&fetched, &read].iter().any(|jwks| ids(jwks) != ["k2"]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        never = fetched.follow(Duration::from_millis(1)) => match never {},
        never = read.follow(LOOK_EVERY) => match never {},
        () = within(both) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_looked_for_at_once_and_no_more_often_than_each_ten_seconds() {
    let (url, refresh) = ("http://127.0.0.1:1/".parse().unwrap(), Duration::from_secs(300));
    let jwks = Jwks::open(Source::Url { url, refresh }).unwrap();
    let begin = Instant::now();
    jwks.pause(begin, refresh, true).await;
    assert_eq!(begin.elapsed(), refresh);
    let again = Instant::now();
    jwks.pause(again, refresh, false).await;
    assert_eq!(again.elapsed(), PAUSE_MIN, "after a failure it is tried again soon");

    let again = Instant::now();
    for _ in 0..3 {
        jwks.look_again();
    }
    jwks.pause(again, refresh, true).await;
    assert_eq!(again.elapsed(), PAUSE_MIN, "asked for soon after a look");
    let again = Instant::now();
    jwks.pause(again, refresh, true).await;
    assert_eq!(again.elapsed(), refresh, "asked for three times is looked for once");
    let past = Instant::now() - Duration::from_secs(60);
    let again = Instant::now();
    jwks.look_again();
    jwks.pause(past, refresh, true).await;
    assert_eq!(again.elapsed(), Duration::ZERO, "asked for long after a look");
}

#[test]
fn only_public_keys_for_signatures_are_taken_and_unknown_kinds_left_out() {
    let named = |id: &str, mut key: Value| {
        key["kid"] = id.into();
        key
    };
    let mut encrypts = key_of("").public();
    encrypts["use"] = "enc".into();
    let keys = [
        named("right", key_of("").public()),
        named("curve", Signer::new(None, Algorithm::ES256).public()),
        named("secret", json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"})),
        named("encrypts", encrypts),
        named("novel", json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"})),
        json!(5),
    ];
    let current = Current::parse(&"here", json!({"keys": keys}).to_string().as_bytes()).unwrap();
    let ids: Vec<_> = current.keys.iter().filter_map(|key| key.id.as_deref()).collect();
    assert_eq!(ids, ["right", "curve"]);
    let fits = |id, algorithm| current.keys.iter().filter(|key| key.fits(algorithm, id)).count();
    assert_eq!(fits(None, Algorithm::EdDSA), 1);
    assert_eq!((fits(Some("curve"), Algorithm::ES256), fits(Some("curve"), Algorithm::EdDSA)), (1, 0));
    assert_eq!((fits(Some("curve"), Algorithm::ES384), fits(Some("other"), Algorithm::ES256)), (0, 0));
}
