//! How the dashboard's files are served: under a strict policy, whole, and by reading requests alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod support;

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use support::{Coordinator, create, get, ok, within};

const PAGES: [&str; 3] = ["/", "/gates/a", "/gates/release-42/prod"];

async fn send(
    coordinator: &Coordinator,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(format!("http://{}{path}", coordinator.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (parts, body) = within(client.request(request.body(Body::empty()).unwrap())).await.unwrap().into_parts();
    let body = within(body.collect()).await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.into()).unwrap())
}

/// Reads every file that the page is made of: what it names, and what those name.
async fn files(coordinator: &Coordinator) -> Vec<(String, HeaderMap, String)> {
    let mut left = vec!["/".to_owned()];
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    while let Some(path) = left.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let (status, headers, text) = send(coordinator, Method::GET, &path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path} is named and missing");
        for quoted in text.split('"').skip(1).step_by(2) {
            if quoted.starts_with("/assets/") {
                left.push(quoted.to_owned());
            } else if let Some(module) = quoted.strip_prefix("./") {
                left.push(format!("/assets/{module}"));
            }
        }
        files.push((path, headers, text));
    }
    files
}

#[tokio::test]
async fn the_page_is_served_for_the_list_and_for_every_gate() {
    let coordinator = Coordinator::start().await;
    let (_, _, list) = send(&coordinator, Method::GET, "/", &[]).await;
    assert!(list.starts_with("<!doctype html>"), "{list}");
    for path in PAGES {
        let (status, headers, page) = send(&coordinator, Method::GET, path, &[]).await;
        assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap()));
        assert_eq!(page, list, "{path}");
    }
    for path in ["/gates", "/gates/", "/assets/", "/assets/none.js", "/assets/../main.js", "/index.html"] {
        let (status, ..) = send(&coordinator, Method::GET, path, &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn all_that_a_page_names_exists_and_is_under_the_policy() {
    let coordinator = Coordinator::start().await;
    let files = files(&coordinator).await;
    let kinds: BTreeSet<_> = files.iter().map(|(path, ..)| path.rsplit('.').next().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["/", "css", "js", "svg"]));
    let kept = std::fs::read_dir("src/http/dashboard").unwrap().count();
    assert_eq!(files.len(), kept, "a file is kept that no page names");
    for (path, headers, text) in files {
        let policy = headers["content-security-policy"].to_str().unwrap();
        for rule in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        for rule in ["frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'", "require-trusted-types-for"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["cache-control"], "no-cache", "{path}");

        // The one address in them is the name of a language.
        let addresses = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!addresses.contains("://"), "{path} names another host");
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=", "onclick="]
        {
            assert!(!text.contains(markup), "{path} has {markup}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_known_is_not_sent_again() {
    let coordinator = Coordinator::start().await;
    let (_, headers, text) = send(&coordinator, Method::GET, "/assets/main.js", &[]).await;
    let etag = headers["etag"].to_str().unwrap();
    let (status, headers, body) = send(&coordinator, Method::GET, "/assets/main.js", &[("if-none-match", etag)]).await;
    assert_eq!((status, body.as_str(), headers["etag"].to_str().unwrap()), (StatusCode::NOT_MODIFIED, "", etag));
    let (status, _, body) = send(&coordinator, Method::GET, "/assets/style.css", &[("if-none-match", etag)]).await;
    assert_eq!((status, body.is_empty()), (StatusCode::OK, false));

    let (status, headers, body) = send(&coordinator, Method::HEAD, "/assets/main.js", &[]).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    assert_eq!(headers["content-length"].to_str().unwrap(), text.len().to_string());
}

#[tokio::test]
async fn pages_only_read() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let before = ok(gates.create_gate(create("a"))).await;
    for path in PAGES.into_iter().chain(["/assets/main.js"]) {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let (status, headers, _) = send(&coordinator, method, path, &[]).await;
            assert_eq!((status, headers["allow"].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
        }
        send(&coordinator, Method::GET, &format!("{path}?approve=a"), &[]).await;
    }
    assert_eq!(ok(gates.get_gate(get("a"))).await, before);
}
