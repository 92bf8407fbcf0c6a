//! The JSON API over real HTTP: each route does what the gRPC call does, and refuses as it does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod support;

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use support::{Coordinator, approve, create, get, ok, within};

/// A plain HTTP client of a coordinator.
struct Http {
    client: Client<HttpConnector, Body>,
    base: String,
}

impl Http {
    fn of(coordinator: &Coordinator) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, base: format!("http://{}", coordinator.address()) }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<impl BodyExt<Data = Bytes, Error: std::fmt::Debug> + Unpin + use<>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        within(self.client.request(request.body(Body::from(body.to_owned())).unwrap())).await.unwrap()
    }

    async fn json(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, HeaderMap, Value) {
        let response = self.send(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let body = within(body.collect()).await.unwrap().to_bytes();
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, headers, answer) = self.json(Method::GET, path, &[], "").await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(
            (&headers["content-type"], &headers["cache-control"]),
            (&"application/json".parse().unwrap(), &"no-store".parse().unwrap())
        );
        answer
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, _, answer) = self.try_post(path, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn try_post(&self, path: &str, body: &Value) -> (StatusCode, HeaderMap, Value) {
        self.json(Method::POST, path, &[("content-type", "application/json; charset=utf-8")], &body.to_string()).await
    }
}

fn reason(answer: &Value) -> &str {
    answer["details"][0]["reason"].as_str().unwrap()
}

#[tokio::test]
async fn each_route_makes_its_call() {
    let coordinator = Coordinator::start().await;
    let http = Http::of(&coordinator);
    let created =
        http.post("/v1/gates", &json!({"gate": "a/b", "spec": {"timeout": "300s", "title": "Deploy?"}})).await;
    assert_eq!((&created["status"], &created["spec"]["timeout"]), (&json!("GATE_STATUS_PENDING"), &json!("300s")));
    assert_eq!(http.get("/v1/gates/a/b").await, created);
    assert_eq!(http.get("/v1/gates/a%2Fb?round=1").await, created);

    let approved = http.post("/v1/gates/a/b:approve", &json!({"comment": "fine", "inputs": {"percent": 5}})).await;
    assert_eq!(approved["resolution"]["reason"], "fine");
    assert_eq!(approved["resolution"]["inputs"]["percent"], 5.0);
    let reset = http.post("/v1/gates/a/b:reset", &json!({})).await;
    let known = http.post("/v1/gates/a/b:reportEvidence", &json!({"facts": {"tests": "passed"}})).await;
    assert_eq!(known["evidence"], json!({"tests": "passed"}));
    assert_eq!(reset["round"], 2);
    let rejected = http.post("/v1/gates/a/b:reject", &json!({"reason": "no", "round": 2})).await;
    assert_eq!(
        (&rejected["status"], &rejected["resolution"]["reason"]),
        (&json!("GATE_STATUS_REJECTED"), &json!("no"))
    );
    let resets = http.post("/v1/gates:reset", &json!({"prefix": "a"})).await;
    assert_eq!(resets["gates"][0]["round"], 3);

    http.post("/v1/gates", &json!({"gate": "c", "spec": {"auto_approve": true}})).await;
    let listed = http.get("/v1/gates?status=PENDING&status=GATE_STATUS_APPROVED&page_size=1").await;
    assert_eq!((&listed["gates"][0]["name"], &listed["gates"][1]), (&json!("a/b"), &Value::Null));
    let token = listed["nextPageToken"].as_str().unwrap();
    let listed = http.get(&format!("/v1/gates?status=PENDING&status=APPROVED&page_size=1&page_token={token}")).await;
    assert_eq!(listed["gates"][0]["name"], "c");
    assert_eq!(http.get("/v1/gates?prefix=a&status=APPROVED").await["gates"], Value::Null);

    let kinds = |history: &Value| -> Vec<String> {
        history["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    let history = http.get("/v1/gates/a/b/events").await;
    assert_eq!(kinds(&history).len(), 6);
    assert_eq!(kinds(&http.get("/v1/events?prefix=a").await), kinds(&history));
    assert_eq!(kinds(&http.get("/v1/events").await).len(), 7);

    let (status, _, answer) = http.json(Method::DELETE, "/v1/gates/c", &[], "").await;
    assert_eq!((status, answer), (StatusCode::OK, json!({})));
    let (status, _, answer) = http.json(Method::GET, "/v1/gates/c", &[], "").await;
    assert_eq!((status, reason(&answer)), (StatusCode::NOT_FOUND, "GATE_NOT_FOUND"));
    assert_eq!(answer["code"], 5);
    assert_eq!(answer["details"][0]["metadata"]["gate"], "c");
}

#[tokio::test]
async fn what_gates_refuse_is_told_as_a_status() {
    let coordinator = Coordinator::start().await;
    let http = Http::of(&coordinator);
    http.post("/v1/gates", &json!({"gate": "a"})).await;
    http.post("/v1/gates/a:reject", &json!({"reason": "canary"})).await;
    for (path, body, code, expected) in [
        ("/v1/gates/a:approve", json!({}), StatusCode::BAD_REQUEST, "GATE_ALREADY_RESOLVED"),
        ("/v1/gates/a:approve", json!({"round": 7}), StatusCode::CONFLICT, "ROUND_MISMATCH"),
        ("/v1/gates/b:approve", json!({}), StatusCode::NOT_FOUND, "GATE_NOT_FOUND"),
        ("/v1/gates", json!({"gate": "a", "spec": {"title": "b"}}), StatusCode::CONFLICT, "GATE_EXISTS"),
        ("/v1/gates", json!({"gate": "a//b"}), StatusCode::BAD_REQUEST, "INVALID_NAME"),
        ("/v1/gates/a%00b:approve", json!({}), StatusCode::BAD_REQUEST, "INVALID_NAME"),
        ("/v1/gates/a%ffb:approve", json!({}), StatusCode::BAD_REQUEST, "INVALID_NAME"),
        ("/v1/gates/a:approve", json!({"gate": "b"}), StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        ("/v1/gates/a:approve", json!({"coment": "x"}), StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        ("/v1/gates/a:approve?round=1", json!({}), StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        ("/v1/gates/a:decide", json!({}), StatusCode::NOT_FOUND, "PATH_NOT_FOUND"),
        ("/v1/nothing", json!({}), StatusCode::NOT_FOUND, "PATH_NOT_FOUND"),
    ] {
        let (status, _, answer) = http.try_post(path, &body).await;
        assert_eq!((status, reason(&answer)), (code, expected), "{path} {body}: {answer}");
        assert_eq!(answer["details"][0]["domain"], "gatepost");
    }
    let (_, _, answer) = http.try_post("/v1/gates", &json!({"gate": "-"})).await;
    assert_eq!(answer["details"][1]["fieldViolations"][0]["field"], "gate");
}

#[tokio::test]
async fn what_is_no_request_of_ours_is_refused() {
    let coordinator = Coordinator::start().await;
    let http = Http::of(&coordinator);
    http.post("/v1/gates", &json!({"gate": "a"})).await;
    let json = ("content-type", "application/json");
    let nested = format!(r#"{{"inputs":{{"a":{}{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let long = format!(r#"{{"comment":"{}"}}"#, "x".repeat(300 * 1024));
    let own = coordinator.address().to_string();
    let own_site = format!("http://{own}");
    let approve = "/v1/gates/a:approve";
    for (headers, body, code, expected) in [
        (vec![json], nested.as_str(), StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        (vec![json], long.as_str(), StatusCode::PAYLOAD_TOO_LARGE, "LIMIT_EXCEEDED"),
        (vec![json], "{", StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        (vec![], "{}", StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        (vec![("content-type", "text/plain")], "{}", StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        (vec![json, ("origin", "http://evil.example")], "{}", StatusCode::FORBIDDEN, "OTHER_SITE"),
        (vec![("origin", "null")], "", StatusCode::FORBIDDEN, "OTHER_SITE"),
    ] {
        let (status, _, answer) = http.json(Method::POST, approve, &headers, body).await;
        assert_eq!((status, reason(&answer)), (code, expected), "{headers:?}: {answer}");
    }
    for path in ["/v1/gates/a:approve", "/v1/gates/a:reject", "/v1/gates/a:reset", "/v1/gates/a:reportEvidence"] {
        let (status, headers, answer) = http.json(Method::GET, path, &[], "").await;
        assert_eq!((status, &headers["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap()), "{answer}");
    }
    for path in
        ["/v1/gates?colour=red", "/v1/gates?status=OPEN", "/v1/gates?page_size=x", "/v1/gates/a:wait?timeout=1h"]
    {
        let (status, _, answer) = http.json(Method::GET, path, &[], "").await;
        assert_eq!((status, reason(&answer)), (StatusCode::BAD_REQUEST, "INVALID_MESSAGE"), "{path}: {answer}");
    }
    assert_eq!(http.get("/v1/gates/a").await["status"], "GATE_STATUS_PENDING");
    let (status, ..) = http.json(Method::POST, approve, &[("origin", own_site.as_str())], "").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_long_poll_waits_for_the_decision_or_until_its_time_is_over() {
    let coordinator = Coordinator::start().await;
    let http = Http::of(&coordinator);
    http.post("/v1/gates", &json!({"gate": "a"})).await;
    let gate = http.get("/v1/gates/a:wait?timeout=0.001s").await;
    assert_eq!(gate["status"], "GATE_STATUS_WAITING");

    let mut gates = coordinator.gates();
    let waited = async { http.get("/v1/gates/a:wait?timeout=60s&round=1").await };
    let decided = async {
        while ok(gates.get_gate(get("a"))).await.waiter_count == 0 {}
        ok(gates.approve(approve("a"))).await
    };
    let (waited, decided) = tokio::join!(waited, decided);
    assert_eq!(
        (&waited["status"], &waited["revision"]),
        (&json!("GATE_STATUS_APPROVED"), &json!(decided.revision.to_string()))
    );
    // Nobody waits any more, and who asks later is answered at once.
    assert_eq!(http.get("/v1/gates/a:wait").await["status"], "GATE_STATUS_APPROVED");
    let (status, _, answer) = http.json(Method::GET, "/v1/gates/b:wait", &[], "").await;
    assert_eq!((status, reason(&answer)), (StatusCode::NOT_FOUND, "GATE_NOT_FOUND"));
}

/// Reads server-sent events up to one of a type, each as its fields by name.
async fn read_until(
    body: &mut (impl BodyExt<Data = Bytes, Error: std::fmt::Debug> + Unpin),
    text: &mut String,
    kind: &str,
) -> Vec<BTreeMap<String, String>> {
    let mut events = Vec::new();
    loop {
        while let Some((event, rest)) = text.split_once("\n\n") {
            let fields = event.lines().filter_map(|line| line.split_once(": "));
            let fields: BTreeMap<_, _> = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let rest = rest.to_owned();
            *text = rest;
            let is_last = fields.get("event").is_some_and(|event| event == kind);
            events.push(fields);
            if is_last {
                return events;
            }
        }
        let frame = within(body.frame()).await.expect("the stream has ended").unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
}

#[tokio::test]
async fn a_watch_sends_events_and_resumes_behind_the_last_one() {
    let coordinator = Coordinator::start().await;
    let http = Http::of(&coordinator);
    let mut gates = coordinator.gates();
    ok(gates.create_gate(create("a/b"))).await;

    let mut watch = http.send(Method::GET, "/v1/watch?prefix=a&initial_state=true", &[], "").await;
    assert_eq!(watch.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let events = read_until(watch.body_mut(), &mut text, "progress").await;
    assert_eq!(events[0]["event"], "created");
    assert_eq!(events[1]["event"], "gate");
    assert!(!events[1].contains_key("id"), "what exists is no place to resume from");
    let approved = ok(gates.approve(approve("a/b"))).await.revision.to_string();
    let events = read_until(watch.body_mut(), &mut text, "gate").await;
    let event: Value = serde_json::from_str(&events.last().unwrap()["data"]).unwrap();
    assert_eq!((&event["gate"]["status"], &event["revision"]), (&json!("GATE_STATUS_APPROVED"), &json!(approved)));
    let last = events.last().unwrap()["id"].clone();
    assert_eq!(last, approved);
    drop(watch);

    let mut created = Vec::new();
    for gate in ["a/c", "a/d"] {
        created.push(ok(gates.create_gate(create(gate))).await.revision.to_string());
    }
    let mut watch = http.send(Method::GET, "/v1/watch?prefix=a", &[("last-event-id", &last)], "").await;
    let mut text = String::new();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(read_until(watch.body_mut(), &mut text, "gate").await.pop());
    }
    let ids: Vec<_> = seen.iter().map(|event| event["id"].as_str()).collect();
    assert_eq!(ids, created);

    // A stop ends it, and says so.
    let stopping = coordinator.begin_stop();
    let events = read_until(watch.body_mut(), &mut text, "error").await;
    let status: Value = serde_json::from_str(&events.last().unwrap()["data"]).unwrap();
    assert_eq!(reason(&status), "DRAINING");
    drop(watch);
    stopping.stopped().await;

    let coordinator = Coordinator::start().await;
    let http = Http::of(&coordinator);
    let (status, _, answer) = http.json(Method::GET, "/v1/watch", &[("last-event-id", "7777777")], "").await;
    assert_eq!((status, reason(&answer)), (StatusCode::BAD_REQUEST, "REVISION_AHEAD"));
    let (status, _, answer) = http.json(Method::GET, "/v1/watch", &[("last-event-id", "x")], "").await;
    assert_eq!((status, reason(&answer)), (StatusCode::BAD_REQUEST, "INVALID_MESSAGE"));
}

#[tokio::test]
async fn a_grpc_client_is_told_that_a_call_is_unknown() {
    let coordinator = Coordinator::start().await;
    let mut grpc = tonic::client::Grpc::new(coordinator.channel());
    within(grpc.ready()).await.unwrap();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/gatepost.v1.GateService/Nothing");
    let codec = tonic_prost::ProstCodec::<gatepost::proto::Gate, gatepost::proto::Gate>::default();
    let request = tonic::Request::new(gatepost::proto::Gate::default());
    let status = within(grpc.unary(request, path, codec)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_field_that_may_be_absent_is_told_from_one_that_is_false() {
    let coordinator = Coordinator::start().await;
    let http = Http::of(&coordinator);
    let json = [("content-type", "application/json")];
    for (gate, spec, kept) in [
        ("absent", json!({"title": "t"}), Value::Null),
        ("null", json!({"forbidRequester": null}), Value::Null),
        ("false", json!({"forbidRequester": false}), json!(false)),
        ("true", json!({"forbid_requester": true, "minWait": "0.5s", "approvers": ["group:ops"]}), json!(true)),
    ] {
        let body = json!({"gate": gate, "spec": spec}).to_string();
        let (status, _, created) = http.json(Method::POST, "/v1/gates", &json, &body).await;
        assert_eq!(status, StatusCode::OK, "{created}");
        assert_eq!(created["spec"]["forbidRequester"], kept, "{gate}");
        assert_eq!(created["spec"]["onTimeout"], "ON_TIMEOUT_TIME_OUT");
    }
    let (status, _, refusal) = http.json(Method::POST, "/v1/gates/true:approve", &json, "{}").await;
    assert_eq!((status, &refusal["details"][0]["reason"]), (StatusCode::FORBIDDEN, &json!("NOT_AN_APPROVER")));
    let body = json!({"breakGlassReason": "the site is down"}).to_string();
    let (_, _, broken) = http.json(Method::POST, "/v1/gates/true:approve", &json, &body).await;
    assert_eq!(broken["resolution"]["cause"], "CAUSE_BREAK_GLASS");
    assert_eq!(broken["resolution"]["authentication"], "AUTHENTICATION_ANONYMOUS");
}
