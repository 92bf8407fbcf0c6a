//! The sessions of browsers over real HTTP: how they begin and end, what counts as one, and what nobody can do with one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod support;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use gatepost::auth::TokenDigest;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use support::{Coordinator, within};

const SESSION: &str = "/v1/session";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Starts a coordinator that knows alice, who decides, and eve, who may do nothing.
async fn start(more: &str) -> Coordinator {
    let token = |name: &str| {
        let digest = TokenDigest::of(&format!("gp_{name}")).to_hex();
        format!("[[token]]\nprincipal = \"{name}\"\nsha256 = \"{digest}\"\n")
    };
    let grant = "[[grant]]\nto = [\"alice\"]\nroles = [\"admin\"]\non = [\"**\"]\n";
    Coordinator::start_with(&format!("{more}\n{}{}{grant}", token("alice"), token("eve"))).await
}

async fn send(
    coordinator: &Coordinator,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, Value) {
    let method: Method = method.parse().unwrap();
    let mut request = Request::builder().method(method).uri(format!("http://{}{path}", coordinator.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = within(client.request(request.body(Body::from(body.to_owned())).unwrap())).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = within(body.collect()).await.unwrap().to_bytes();
    // To a HEAD nothing is said.
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
}

/// Logs in as a browser does. Returns the cookie as it is set, and as it is sent.
async fn log_in(coordinator: &Coordinator, token: &str) -> (String, String) {
    let origin = format!("http://{}", coordinator.address());
    let body = json!({"token": token}).to_string();
    let (status, headers, answer) = send(coordinator, "POST", SESSION, &[JSON, ("origin", &origin)], &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(headers["cache-control"], "no-store");
    let set = headers["set-cookie"].to_str().unwrap().to_owned();
    let cookie = set.split(';').next().unwrap().to_owned();
    (set, cookie)
}

fn reason(answer: &Value) -> &str {
    answer["details"][0]["reason"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_token_begins_a_session_that_says_whose_it_is() {
    let coordinator = start("").await;
    let (set, cookie) = log_in(&coordinator, "gp_alice").await;
    assert_eq!(&set[cookie.len()..], "; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200", "no TLS, so not Secure");
    assert!(cookie.starts_with("gatepost-session=") && !set.contains("gp_alice"));
    let (status, headers, answer) = send(&coordinator, "GET", SESSION, &[("cookie", &cookie)], "").await;
    assert_eq!((status, &headers["cache-control"]), (StatusCode::OK, &"no-store".parse().unwrap()));
    let said = json!({"principal": "alice", "groups": [], "asks": true, "session": true, "insecure": false});
    assert_eq!(answer, said);
    // It is good for every call, and what is shown with a call itself goes first.
    let (status, ..) = send(&coordinator, "GET", "/v1/gates", &[("cookie", &cookie)], "").await;
    assert_eq!(status, StatusCode::OK);
    let both = [("cookie", cookie.as_str()), ("authorization", "Bearer gp_eve")];
    assert_eq!(send(&coordinator, "GET", SESSION, &both, "").await.2["principal"], "eve");
    let wrong = [("cookie", cookie.as_str()), ("authorization", "Bearer gp_nobody")];
    assert_eq!(send(&coordinator, "GET", SESSION, &wrong, "").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_no_log_in_begins_nothing() {
    let coordinator = start("").await;
    let long = json!({"token": "x".repeat(600 * 1024)}).to_string();
    let right = r#"{"token":"gp_alice"}"#;
    for (headers, body, code, expected) in [
        (vec![JSON], r#"{"token":"gp_nobody"}"#, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
        (vec![JSON], r#"{"token":""}"#, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
        (vec![JSON], r#"{"token":"a.b.c"}"#, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
        (vec![JSON], r#"{"token":null}"#, StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        (vec![JSON], r#"{"token":"gp_alice","principal":"bob"}"#, StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        (vec![JSON], "{", StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        (vec![JSON], "", StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        (vec![JSON], long.as_str(), StatusCode::PAYLOAD_TOO_LARGE, "LIMIT_EXCEEDED"),
        // As the forms of other sites send.
        (vec![], right, StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        (vec![("content-type", "text/plain")], right, StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        (
            vec![("content-type", "application/x-www-form-urlencoded")],
            "token=gp_alice",
            StatusCode::BAD_REQUEST,
            "INVALID_MESSAGE",
        ),
        (vec![JSON, ("origin", "http://evil.example")], right, StatusCode::FORBIDDEN, "OTHER_SITE"),
        (vec![JSON, ("origin", "null")], right, StatusCode::FORBIDDEN, "OTHER_SITE"),
        (vec![JSON, ("sec-fetch-site", "same-site")], right, StatusCode::FORBIDDEN, "OTHER_SITE"),
    ] {
        let (status, headers, answer) = send(&coordinator, "POST", SESSION, &headers, body).await;
        assert_eq!((status, reason(&answer)), (code, expected), "{body:.60}: {answer}");
        assert!(!headers.contains_key("set-cookie"), "{body:.60}");
        assert!(!answer.to_string().contains("gp_alice"), "{answer}");
        let asks_for_bearer = headers.get("www-authenticate").is_some_and(|it| it.as_bytes().starts_with(b"Bearer"));
        assert_eq!(asks_for_bearer, code == StatusCode::UNAUTHORIZED, "no browser asks for a password by itself");
    }
}

#[tokio::test]
async fn a_session_ends_when_its_browser_forgets_it() {
    let coordinator = start("").await;
    let (_, cookie) = log_in(&coordinator, "gp_alice").await;
    let origin = format!("http://{}", coordinator.address());
    for headers in
        [vec![("cookie", cookie.as_str()), ("origin", origin.as_str())], vec![("origin", origin.as_str())], vec![]]
    {
        let (status, set, answer) = send(&coordinator, "DELETE", SESSION, &headers, "").await;
        assert_eq!((status, answer), (StatusCode::OK, json!({})));
        assert_eq!(set["set-cookie"], "gatepost-session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    }
    let other = [("cookie", cookie.as_str()), ("origin", "http://evil.example")];
    let (status, headers, answer) = send(&coordinator, "DELETE", SESSION, &other, "").await;
    assert_eq!((status, reason(&answer)), (StatusCode::FORBIDDEN, "OTHER_SITE"));
    assert!(!headers.contains_key("set-cookie"));
    // Another process knows nothing of it.
    let coordinator = coordinator.restart().await;
    let (status, _, answer) = send(&coordinator, "GET", SESSION, &[("cookie", &cookie)], "").await;
    assert_eq!(
        (status, answer["message"].as_str().unwrap()),
        (StatusCode::UNAUTHORIZED, "the session has ended: log in again")
    );
}

#[tokio::test]
async fn a_session_alone_changes_nothing_from_elsewhere() {
    let coordinator = start("").await;
    let (_, cookie) = log_in(&coordinator, "gp_alice").await;
    let host = coordinator.address().to_string();
    let own = format!("http://{host}");
    let bearer = ("authorization", "Bearer gp_alice");
    send(&coordinator, "POST", "/v1/gates", &[JSON, bearer], r#"{"gate":"a"}"#).await;
    let with = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        let cookie = [("cookie", cookie.clone())];
        cookie.into_iter().chain(more.iter().map(|(name, value)| (*name, (*value).to_owned()))).collect()
    };
    let changes = [
        ("POST", "/v1/gates/a:approve"),
        ("POST", "/v1/gates/a:reject"),
        ("POST", "/v1/gates/a:reset"),
        ("POST", "/v1/gates/a:reportEvidence"),
        ("POST", "/v1/gates"),
        ("POST", "/v1/gates:reset"),
        ("DELETE", "/v1/gates/a"),
        ("GET", "/v1/gates/a:wait?timeout=0.001s"),
        ("DELETE", SESSION),
        ("POST", SESSION),
    ];
    for (method, path) in changes {
        for headers in [
            with(&[]),
            with(&[("origin", "null")]),
            with(&[("origin", "http://evil.example")]),
            with(&[("origin", "http://127.0.0.1:1")]),
            with(&[("origin", &own), ("sec-fetch-site", "cross-site")]),
            with(&[("sec-fetch-site", "same-site")]),
            with(&[("sec-fetch-site", "none")]),
        ] {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let (status, _, answer) = send(&coordinator, method, path, &headers, "").await;
            assert_eq!((status, reason(&answer)), (StatusCode::FORBIDDEN, "OTHER_SITE"), "{method} {path} {headers:?}");
        }
    }
    let (_, _, events) = send(&coordinator, "GET", "/v1/events", &[bearer], "").await;
    assert_eq!(events["events"].as_array().unwrap().len(), 1, "{events}");
    // The page itself may, and is who it says.
    let headers = with(&[("origin", &own), ("sec-fetch-site", "same-origin"), ("content-type", "application/json")]);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let facts = r#"{"facts":{"tests":"passed"}}"#;
    let (status, _, gate) = send(&coordinator, "POST", "/v1/gates/a:reportEvidence", &headers, facts).await;
    assert_eq!((status, &gate["evidence"]["tests"]), (StatusCode::OK, &json!("passed")), "{gate}");
}

#[tokio::test]
async fn of_several_sessions_none_is_taken() {
    let coordinator = start("").await;
    let (_, alices) = log_in(&coordinator, "gp_alice").await;
    let (_, eves) = log_in(&coordinator, "gp_eve").await;
    // One is as good as the other, and another program on the host can set one for a path, which goes first.
    let both = format!("{eves}; {alices}");
    for cookies in [vec![("cookie", both.as_str())], vec![("cookie", eves.as_str()), ("cookie", alices.as_str())]] {
        let (status, _, answer) = send(&coordinator, "GET", SESSION, &cookies, "").await;
        assert_eq!((status, reason(&answer)), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"), "{answer}");
    }
    let others = format!("theme=dark; {alices}; gatepost=x");
    assert_eq!(send(&coordinator, "GET", SESSION, &[("cookie", &others)], "").await.2["principal"], "alice");
}

#[tokio::test]
async fn behind_tls_only_a_session_counts_that_no_other_host_can_have_set() {
    // As a proxy with TLS in front has it.
    let coordinator = start("public_url = \"https://gates.example.org\"").await;
    let (set, cookie) = log_in(&coordinator, "gp_alice").await;
    assert!(cookie.starts_with("__Host-gatepost-session="), "{cookie}");
    assert_eq!(&set[cookie.len()..], "; HttpOnly; SameSite=Strict; Secure; Path=/; Max-Age=43200");
    assert_eq!(send(&coordinator, "GET", SESSION, &[("cookie", &cookie)], "").await.2["principal"], "alice");
    let set_by_another_host = cookie.strip_prefix("__Host-").unwrap();
    let (status, ..) = send(&coordinator, "GET", SESSION, &[("cookie", set_by_another_host)], "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let both = format!("{set_by_another_host}; {cookie}");
    assert_eq!(send(&coordinator, "GET", SESSION, &[("cookie", &both)], "").await.2["principal"], "alice");
}

#[tokio::test]
async fn a_session_is_no_token_and_a_token_no_session() {
    let coordinator = start("").await;
    let (_, cookie) = log_in(&coordinator, "gp_alice").await;
    let session = cookie.strip_prefix("gatepost-session=").unwrap();
    let bearer = format!("Bearer {session}");
    assert_eq!(send(&coordinator, "GET", SESSION, &[("authorization", &bearer)], "").await.0, StatusCode::UNAUTHORIZED);
    let body = json!({"token": session}).to_string();
    assert_eq!(send(&coordinator, "POST", SESSION, &[JSON], &body).await.0, StatusCode::UNAUTHORIZED);
    let (status, ..) = send(&coordinator, "GET", SESSION, &[("cookie", "gatepost-session=gp_alice")], "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    // Nor does gRPC know it: browsers speak none.
    let grpc = [("cookie", cookie.as_str()), ("content-type", "application/grpc"), ("te", "trailers")];
    let (_, headers, _) = send(&coordinator, "POST", "/gatepost.v1.GateService/ListGates", &grpc, "").await;
    assert_eq!(headers["grpc-status"], (tonic::Code::Unauthenticated as i32).to_string().as_str());
}

#[tokio::test]
async fn nothing_but_the_log_in_is_open_on_its_path() {
    let coordinator = start("").await;
    for method in ["GET", "HEAD", "PUT", "PATCH", "OPTIONS"] {
        let (status, headers, _) = send(&coordinator, method, SESSION, &[], "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{method}");
        assert!(!headers.contains_key("set-cookie"), "{method}");
    }
    let bearer = [("authorization", "Bearer gp_alice")];
    let (status, headers, answer) = send(&coordinator, "PUT", SESSION, &bearer, "").await;
    assert_eq!((status, reason(&answer)), (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"));
    assert_eq!(headers["allow"], "GET, POST, DELETE");
    for path in ["/v1/session/", "/v1//session", "/v1/session%2F", "/v1/Session"] {
        assert_eq!(send(&coordinator, "POST", path, &[JSON], "{}").await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn where_nobody_is_asked_everybody_is_anonymous() {
    let coordinator = Coordinator::start().await;
    let (status, _, answer) = send(&coordinator, "GET", SESSION, &[("cookie", "gatepost-session=x")], "").await;
    let said = json!({"principal": "anonymous", "groups": [], "asks": false, "session": true, "insecure": false});
    assert_eq!((status, answer), (StatusCode::OK, said));
    let (status, headers, answer) = send(&coordinator, "POST", SESSION, &[JSON], r#"{"token":"gp_alice"}"#).await;
    assert_eq!((status, reason(&answer)), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"), "{answer}");
    assert!(!headers.contains_key("set-cookie"));
}
