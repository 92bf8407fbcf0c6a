//! The `OpenAPI` document against the server that serves it: every answer, good or bad, is one that the document allows.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{Method, Request};
use gatepost::auth::TokenDigest;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jsonschema::Validator;
use serde_json::{Value, json};
use support::{Coordinator, within};

/// Calls of every route that succeed and that do not, in an order in which they do: what is sent, and the code that has
/// to come back. A route is named as in the document.
const CALLS: &[(&str, &str, &str, &str, u16)] = &[
    (
        "POST",
        "/v1/gates",
        "/v1/gates",
        r#"{"gate":"a/b","spec":{"timeout":"300s","labels":{"k":"v"},"links":[{"title":"t","url":"https://x.test"}]},"requestId":"1"}"#,
        200,
    ),
    ("POST", "/v1/gates", "/v1/gates", r#"{"gate":"a/b","spec":{"required_approvals":"2"}}"#, 409),
    ("POST", "/v1/gates", "/v1/gates", r#"{"gate":"-"}"#, 400),
    ("POST", "/v1/gates", "/v1/gates", r#"{"gate":"c","spec":null,"request_id":null}"#, 200),
    ("GET", "/v1/gates", "/v1/gates?status=PENDING&status=GATE_STATUS_APPROVED&page_size=1", "", 200),
    ("GET", "/v1/gates", "/v1/gates?status=OPEN", "", 400),
    ("GET", "/v1/gates/{gate}", "/v1/gates/a/b", "", 200),
    ("GET", "/v1/gates/{gate}", "/v1/gates/a%2Fb?round=1", "", 200),
    ("GET", "/v1/gates/{gate}", "/v1/gates/a/b?round=9", "", 404),
    ("GET", "/v1/gates/{gate}", "/v1/gates/a/b?round=x", "", 400),
    ("GET", "/v1/gates/{gate}:wait", "/v1/gates/a/b:wait?timeout=0.001s&waiter.id=job-7&waiter.host=ci-3", "", 200),
    ("GET", "/v1/gates/{gate}:wait", "/v1/gates/a/b:wait?timeout=1h", "", 400),
    ("GET", "/v1/gates/{gate}:wait", "/v1/gates/nothing:wait", "", 404),
    (
        "POST",
        "/v1/gates/{gate}:reportEvidence",
        "/v1/gates/a/b:reportEvidence",
        r#"{"facts":{"tests":"passed"},"round":1}"#,
        200,
    ),
    ("POST", "/v1/gates/{gate}:reportEvidence", "/v1/gates/a/b:reportEvidence", r#"{"facts":{}}"#, 400),
    ("POST", "/v1/gates/{gate}:approve", "/v1/gates/a/b:approve", r#"{"round":7}"#, 409),
    ("POST", "/v1/gates/{gate}:approve", "/v1/gates/a/b:approve", r#"{"validateOnly":true}"#, 200),
    (
        "POST",
        "/v1/gates/{gate}:approve",
        "/v1/gates/a/b:approve",
        r#"{"comment":"ok","inputs":{"n":[1,null,{}]}}"#,
        200,
    ),
    ("POST", "/v1/gates/{gate}:approve", "/v1/gates/a/b:approve", "{}", 400),
    ("POST", "/v1/gates/{gate}:approve", "/v1/gates/nothing:approve", "{}", 404),
    ("POST", "/v1/gates/{gate}:reject", "/v1/gates/a/b:reject", "{}", 400),
    ("POST", "/v1/gates/{gate}:reject", "/v1/gates/c:reject", r#"{"reason":"no"}"#, 200),
    ("POST", "/v1/gates/{gate}:reset", "/v1/gates/a/b:reset", "{}", 200),
    ("POST", "/v1/gates/{gate}:reset", "/v1/gates/nothing:reset", "{}", 404),
    ("POST", "/v1/gates:reset", "/v1/gates:reset", r#"{"prefix":"a"}"#, 200),
    ("POST", "/v1/gates:reset", "/v1/gates:reset", "{}", 400),
    ("GET", "/v1/events", "/v1/events?page_size=2", "", 200),
    ("GET", "/v1/events", "/v1/events?page_token=x", "", 400),
    ("GET", "/v1/gates/{gate}/events", "/v1/gates/a/b/events", "", 200),
    ("GET", "/v1/gates/{gate}/events", "/v1/gates/nothing/events", "", 404),
    ("GET", "/v1/watch", "/v1/watch?initial_state=true", "", 200),
    ("GET", "/v1/watch", "/v1/watch?start_revision=1000", "", 400),
    ("DELETE", "/v1/gates/{gate}", "/v1/gates/c?etag=other", "", 409),
    ("DELETE", "/v1/gates/{gate}", "/v1/gates/c", "", 200),
    ("DELETE", "/v1/gates/{gate}", "/v1/gates/c", "", 404),
];

/// Calls about sessions, of a server that asks who calls.
const SESSION_CALLS: &[(&str, &str, &str, &str, u16)] = &[
    ("GET", "/v1/session", "/v1/session", "", 200),
    ("POST", "/v1/session", "/v1/session", r#"{"token":"gp_ada"}"#, 200),
    ("POST", "/v1/session", "/v1/session", r#"{"token":"gp_eve"}"#, 401),
    ("DELETE", "/v1/session", "/v1/session", "", 200),
    ("GET", "/v1/gates", "/v1/gates", "", 200),
    ("POST", "/v1/gates/{gate}:approve", "/v1/gates/a:approve", "{}", 403),
];

/// Knows `gp_ada`, who may look.
const ASKING: &str = r#"
[[token]]
principal = "ada"
sha256 = "DIGEST"

[[grant]]
to = ["ada"]
roles = ["viewer"]
on = ["**"]
"#;

/// A document, and a server that it is about.
struct Api {
    coordinator: Coordinator,
    document: Value,
    token: Option<&'static str>,
}

impl Api {
    async fn start() -> Self {
        Self::of(Coordinator::start().await, None).await
    }

    async fn start_asking() -> Self {
        let configuration = ASKING.replace("DIGEST", &TokenDigest::of("gp_ada").to_hex());
        Self::of(Coordinator::start_with(&configuration).await, Some("gp_ada")).await
    }

    async fn of(coordinator: Coordinator, token: Option<&'static str>) -> Self {
        let mut api = Self { coordinator, document: Value::Null, token };
        let (code, kind, text) = api.send("GET", "/openapi.json", &[], "").await;
        assert_eq!((code, kind.as_str()), (200, "application/json"));
        api.document = serde_json::from_str(&text).unwrap();
        api
    }

    /// Returns the code, the content type and the body; of a stream, what it begins with.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
        let method: Method = method.parse().unwrap();
        let mut request = Request::builder().uri(format!("http://{}{path}", self.coordinator.address()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if method == Method::POST {
            request = request.header("content-type", "application/json");
        }
        if let Some(token) = self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.method(method).body(Body::from(body.to_owned())).unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let (parts, mut body) = within(client.request(request)).await.unwrap().into_parts();
        let kind = parts.headers["content-type"].to_str().unwrap().to_owned();
        let bytes = if kind == "text/event-stream" {
            within(body.frame()).await.unwrap().unwrap().into_data().unwrap()
        } else {
            within(body.collect()).await.unwrap().to_bytes()
        };
        (parts.status.as_u16(), kind, String::from_utf8(bytes.into()).unwrap())
    }

    fn operations(&self) -> BTreeMap<(String, String), &Value> {
        let paths = self.document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap();
            methods.iter().map(move |(method, operation)| ((method.to_uppercase(), path.clone()), operation))
        });
        operations.collect()
    }

    /// Follows a reference, if it is one.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        let found = self.document.pointer(reference.strip_prefix('#').unwrap());
        found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// Makes a validator of a schema. An answer has no property that its schema does not name.
    fn validator(&self, schema: &Value) -> Validator {
        let mut schemas = self.document["components"]["schemas"].clone();
        for schema in schemas.as_object_mut().unwrap().values_mut() {
            schema["additionalProperties"] = false.into();
        }
        let schema = json!({"allOf": [schema], "components": {"schemas": schemas}});
        jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
    }
}

#[tokio::test]
async fn every_answer_is_one_that_the_document_allows() {
    let (open, asking) = (Api::start().await, Api::start_asking().await);
    assert_eq!(open.document, asking.document);
    let operations = open.operations();
    let mut succeeded = BTreeSet::new();
    let calls = CALLS.iter().map(|call| (&open, call)).chain(SESSION_CALLS.iter().map(|call| (&asking, call)));
    for (api, (method, route, path, body, expected)) in calls {
        let operation = operations[&((*method).to_owned(), (*route).to_owned())];
        if let Some(schema) = operation["requestBody"]["content"]["application/json"].get("schema") {
            let body = serde_json::from_str(body).unwrap();
            assert!(api.validator(schema).is_valid(&body), "{method} {path} is not as the document says: {body}");
        }
        let (code, kind, text) = api.send(method, path, &[], body).await;
        assert_eq!(code, *expected, "{method} {path}: {text}");
        let response = api.resolve(&operation["responses"][code.to_string()]);
        let schema = response["content"].get(&kind).unwrap_or_else(|| panic!("{method} {path}: {code} as {kind}"));
        if kind == "application/json" {
            let answer = serde_json::from_str(&text).unwrap();
            let validator = api.validator(&schema["schema"]);
            let wrong: Vec<_> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{method} {path}: {answer} has {wrong:#?}");
        }
        if code == 200 {
            succeeded.insert(((*method).to_owned(), (*route).to_owned()));
        }
    }
    assert_eq!(succeeded, operations.keys().cloned().collect(), "each operation is called");
}

#[tokio::test]
async fn what_the_document_does_not_allow_is_refused() {
    let api = Api::start().await;
    let operations = api.operations();
    let create = operations[&("POST".to_owned(), "/v1/gates".to_owned())];
    let validator = api.validator(&create["requestBody"]["content"]["application/json"]["schema"]);
    for body in [
        json!({"gate": 5}),
        json!({"gat": "a"}),
        json!([]),
        json!(null),
        json!({"gate": "a", "spec": {"timeout": "1h"}}),
        json!({"gate": "a", "spec": {"timeout": 300}}),
        json!({"gate": "a", "spec": {"auto_approve": "true"}}),
        json!({"gate": "a", "spec": {"required_approvals": -1}}),
        json!({"gate": "a", "spec": {"required_approvals": "4294967296"}}),
        json!({"gate": "a", "spec": {"requiredApprovals": 1.5}}),
        json!({"gate": "a", "spec": {"labels": {"a": null}}}),
        json!({"gate": "a", "spec": {"links": [null]}}),
        json!({"gate": "a", "spec": {"forbid_requester": true, "forbidRequester": false}}),
    ] {
        assert!(!validator.is_valid(&body), "the document allows {body}");
        let (code, _, answer) = api.send("POST", "/v1/gates", &[], &body.to_string()).await;
        assert_eq!(code, 400, "{body}: {answer}");
    }
    // Refusals that have nothing to do with what is asked.
    let large = json!({"gate": "a", "spec": {"description": "x".repeat(200 * 1024)}}).to_string();
    for (method, headers, body, expected) in
        [("POST", vec![], large.as_str(), 413), ("POST", vec![("origin", "http://evil.example")], "{}", 403)]
    {
        let (code, kind, text) = api.send(method, "/v1/gates", &headers, body).await;
        assert_eq!(code, expected, "{text}");
        let response = api.resolve(&create["responses"][code.to_string()]);
        let validator = api.validator(&response["content"][kind]["schema"]);
        assert!(validator.is_valid(&serde_json::from_str(&text).unwrap()), "{text}");
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_everything_is_said_in_words() {
    let api = Api::start().await;
    let mut left = vec![&api.document];
    let mut referred = BTreeSet::new();
    while let Some(value) = left.pop() {
        if let Some(reference) = value["$ref"].as_str() {
            api.resolve(value);
            referred.insert(reference.to_owned());
        }
        match value {
            Value::Array(values) => left.extend(values),
            Value::Object(values) => left.extend(values.values()),
            _ => {}
        }
    }
    for (name, schema) in api.document["components"]["schemas"].as_object().unwrap() {
        jsonschema::meta::validate(schema).unwrap();
        // The events of a watch are named in its words.
        let is_of_watch = name.starts_with("Watch");
        assert!(is_of_watch || referred.contains(&format!("#/components/schemas/{name}")), "nobody needs {name}");
    }
    let mut ids = BTreeSet::new();
    for (route, operation) in api.operations() {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{route:?} has another's id");
        assert!(operation["description"].as_str().unwrap().len() > 20, "{route:?} says nothing");
        for parameter in operation["parameters"].as_array().unwrap() {
            assert!(parameter["description"].is_string() && parameter["schema"].is_object(), "{route:?}: {parameter}");
        }
    }
}

#[tokio::test]
async fn who_polls_is_seen() {
    let api = Api::start().await;
    api.send("POST", "/v1/gates", &[], r#"{"gate":"a"}"#).await;
    let path = "/v1/gates/a:wait?timeout=60s&waiter.id=job-7&waiter.host=ci-3&waiter.note=deploys";
    let poll = api.send("GET", path, &[], "");
    let seen = async {
        loop {
            let (_, _, text) = api.send("GET", "/v1/gates/a", &[], "").await;
            let gate: Value = serde_json::from_str(&text).unwrap();
            if let Some(waiter) = gate["waiters"].get(0) {
                api.send("POST", "/v1/gates/a:approve", &[], "{}").await;
                return waiter.clone();
            }
        }
    };
    let (_, waiter) = within(async { tokio::join!(poll, seen) }).await;
    assert_eq!((&waiter["id"], &waiter["host"], &waiter["note"]), (&json!("job-7"), &json!("ci-3"), &json!("deploys")));
}
