//! Under which names requests are answered, over real HTTP: no page of another site reaches the coordinator, neither by
//! sending requests nor by having its own name lead here (DNS rebinding).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod coordinator;

use coordinator::*;
use gatepost::proto::GateStatus;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;

const GRPC: (header::HeaderName, &str) = (header::CONTENT_TYPE, "application/grpc");

/// Everything that is no gRPC: the dashboard, the JSON API, its description, health and metrics.
const PATHS: [&str; 8] =
    ["/", "/gates/a", "/v1/gates", "/v1/watch", "/openapi.json", "/healthz", "/readyz", "/metrics"];

/// Asks, over HTTP/1.1, and returns the status and what was said.
async fn ask(
    coordinator: &Coordinator,
    method: Method,
    path: &str,
    headers: &[(header::HeaderName, &str)],
) -> (StatusCode, header::HeaderMap, String) {
    let url = format!("http://{}{path}", coordinator.address());
    let mut request = reqwest::Client::builder().http1_only().build().unwrap().request(method, url);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let answer = within(request.send()).await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    // A watch goes on for ever.
    let is_stream = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    let said = if is_stream { String::new() } else { within(answer.text()).await.unwrap() };
    (status, headers, said)
}

fn reason(said: &str) -> String {
    let said: Value = serde_json::from_str(said).unwrap_or_else(|_| panic!("{said}"));
    said["details"][0]["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn nothing_but_grpc_is_answered_under_another_name() {
    let coordinator = Coordinator::start().await;
    ok(coordinator.gates().create_gate(create("a"))).await;
    for path in PATHS {
        for host in ["evil.example", "evil.example:7070", "localhost.evil.example"] {
            let (status, _, said) = ask(&coordinator, Method::GET, path, &[(header::HOST, host)]).await;
            assert_eq!((status, reason(&said).as_str()), (StatusCode::FORBIDDEN, "OTHER_HOST"), "{path} at {host}");
            assert!(said.contains("evil.example") && said.contains("add it to hosts"), "{said}");
        }
        for host in ["localhost", "gates.localhost:7070", "127.0.0.1", "10.1.2.3:80", "[::1]:7070"] {
            let (_, _, said) = ask(&coordinator, Method::GET, path, &[(header::HOST, host)]).await;
            assert!(!said.contains("OTHER_HOST"), "{path} at {host}");
        }
    }
    let headers = [(header::HOST, "evil.example"), (header::ORIGIN, "http://evil.example")];
    let (status, _, said) = ask(&coordinator, Method::POST, "/v1/gates/a:approve", &headers).await;
    assert_eq!((status, reason(&said).as_str()), (StatusCode::FORBIDDEN, "OTHER_HOST"));
    assert_eq!(ok(coordinator.gates().get_gate(get("a"))).await.status(), GateStatus::Pending);
}

#[tokio::test]
async fn the_names_of_the_configuration_file_are_answered() {
    let file = "public_url = 'https://gates.example.org:8443/x'\nhosts = ['gatepost.internal']";
    let coordinator = Coordinator::start_with(file).await;
    ok(coordinator.gates().create_gate(create("a"))).await;
    for host in ["gates.example.org", "GATES.example.org:7070", "gatepost.internal:7070", "localhost"] {
        let (status, ..) = ask(&coordinator, Method::GET, "/v1/gates", &[(header::HOST, host)]).await;
        assert_eq!(status, StatusCode::OK, "{host}");
    }
    for host in ["example.org", "x.gatepost.internal"] {
        let (status, ..) = ask(&coordinator, Method::GET, "/v1/gates", &[(header::HOST, host)]).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{host}");
    }
    // Both are known, and they are two sites all the same.
    let approve = "/v1/gates/a:approve";
    let headers = [(header::HOST, "gates.example.org"), (header::ORIGIN, "https://gatepost.internal")];
    let (status, _, said) = ask(&coordinator, Method::POST, approve, &headers).await;
    assert_eq!((status, reason(&said).as_str()), (StatusCode::FORBIDDEN, "OTHER_SITE"));
    let headers = [(header::HOST, "gates.example.org"), (header::ORIGIN, "https://gates.example.org")];
    assert_eq!(ask(&coordinator, Method::POST, approve, &headers).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_page_cannot_speak_grpc_for_another_site() {
    let coordinator = Coordinator::start().await;
    let path = "/gatepost.v1.GateService/ListGates";
    let grpc_status = async |headers: &[(header::HeaderName, &str)]| {
        let (status, headers, _) = ask(&coordinator, Method::POST, path, headers).await;
        assert_eq!(status, StatusCode::OK);
        let code = headers.get("grpc-status").map(|code| code.to_str().unwrap().to_owned());
        (code, headers.get("grpc-message").map(|message| message.to_str().unwrap().to_owned()).unwrap_or_default())
    };
    let (code, message) =
        grpc_status(&[GRPC, (header::HOST, "evil.example"), (header::ORIGIN, "http://evil.example")]).await;
    assert!(code.as_deref() == Some("7") && message.contains("hosts"), "{code:?} {message}");
    let (code, message) = grpc_status(&[GRPC, (header::ORIGIN, "http://evil.example")]).await;
    assert!(code.as_deref() == Some("7") && message.contains("this%20site"), "{code:?} {message}");
    // Programs have no origin, and call the coordinator what they like. An empty body is no message.
    let (code, _) = grpc_status(&[GRPC, (header::HOST, "gatepost.cluster.local")]).await;
    assert_ne!(code.as_deref(), Some("7"));
}

#[tokio::test]
async fn what_a_proxy_asked_for_is_nothing_to_a_coordinator_that_asks_nobody() {
    let coordinator = Coordinator::start().await;
    let headers = [(header::AUTHORIZATION, "Basic YWxpY2U6c2VjcmV0")];
    assert_eq!(ask(&coordinator, Method::GET, "/v1/gates", &headers).await.0, StatusCode::OK);
}
