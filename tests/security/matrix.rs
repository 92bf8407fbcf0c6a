//! Every call and every route, by everybody. One that is added has no row here, and fails the test.

use std::collections::BTreeSet;

use prost_reflect::DescriptorPool;
use serde_json::Value;
use tonic::Code;

use crate::coordinator::within;
use crate::rust_source::sources;
use crate::world::{Let, Somebody, World, of, services, stranger};

/// Who is let in.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// Those who are known as one of these.
    Known(&'static [&'static str]),
    /// Everybody whose identity is known. What they see is what their grants say.
    AllKnown,
    /// Even those whom nobody knows.
    Everybody,
}

use Who::{AllKnown, Everybody, Known};

const VIEW: Who = Known(&["viewer", "worker", "approver", "admin", "root"]);
const WORK: Who = Known(&["worker", "admin", "root"]);
const DECIDE: Who = Known(&["approver", "admin", "root"]);
const RESET: Who = Known(&["worker", "approver", "admin", "root"]);
const ADMINISTER: Who = Known(&["admin", "root"]);
const ROOT: Who = Known(&["root"]);

/// Each call: what is sent, and who is let in.
const CALLS: &[(&str, &str, Who)] = &[
    ("gatepost.v1.GateService/CreateGate", r#"{"gate":"m/new"}"#, WORK),
    ("gatepost.v1.GateService/CreateGate", r#"{"gate":"m/auto","spec":{"autoApprove":true}}"#, ADMINISTER),
    (
        "gatepost.v1.GateService/CreateGate",
        r#"{"gate":"m/silent","spec":{"timeout":"60s","onTimeout":"ON_TIMEOUT_APPROVE"}}"#,
        ADMINISTER,
    ),
    ("gatepost.v1.GateService/CreateGate", r#"{"gate":"m/own","spec":{"forbidRequester":false}}"#, ADMINISTER),
    ("gatepost.v1.GateService/GetGate", r#"{"gate":"m/a"}"#, VIEW),
    ("gatepost.v1.GateService/GetGate", r#"{"gate":"m/nothing"}"#, VIEW),
    ("gatepost.v1.GateService/ListGates", r"{}", AllKnown),
    ("gatepost.v1.GateService/ListGates", r#"{"prefix":"m"}"#, AllKnown),
    ("gatepost.v1.GateService/Wait", r#"{"gate":"m/a"}"#, WORK),
    ("gatepost.v1.GateService/Wait", r#"{"gate":"m/new","spec":{}}"#, WORK),
    ("gatepost.v1.GateService/Wait", r#"{"gate":"m/auto-too","spec":{"autoApprove":true}}"#, ADMINISTER),
    ("gatepost.v1.GateService/Approve", r#"{"gate":"m/a","validateOnly":true}"#, DECIDE),
    ("gatepost.v1.GateService/Approve", r#"{"gate":"m/nothing"}"#, DECIDE),
    ("gatepost.v1.GateService/Approve", r#"{"gate":"m/a","breakGlassReason":"fire","validateOnly":true}"#, ROOT),
    ("gatepost.v1.GateService/Reject", r#"{"gate":"m/a","validateOnly":true}"#, DECIDE),
    ("gatepost.v1.GateService/ReportEvidence", r#"{"gate":"m/a","facts":{"tests":"passed"}}"#, WORK),
    ("gatepost.v1.GateService/ResetGate", r#"{"gate":"m/b/c"}"#, RESET),
    (
        "gatepost.v1.GateService/ResetGates",
        r#"{"prefix":"m/b"}"#,
        Known(&["worker", "approver", "admin", "root", "elsewhere"]),
    ),
    ("gatepost.v1.GateService/DeleteGate", r#"{"gate":"m/doomed"}"#, ADMINISTER),
    ("gatepost.v1.GateService/Watch", r#"{"initialState":true}"#, AllKnown),
    ("gatepost.v1.GateService/ListEvents", r"{}", AllKnown),
    ("gatepost.v1.GateService/ListEvents", r#"{"prefix":"m"}"#, AllKnown),
    ("gatepost.v1.GateService/ListEvents", r#"{"gate":"m/a"}"#, VIEW),
    ("gatepost.v1.WebhookService/ListWebhooks", r"{}", ROOT),
    ("gatepost.v1.WebhookService/ListDeadLetters", r#"{"webhook":"a"}"#, ROOT),
    ("gatepost.v1.WebhookService/RedeliverDeadLetter", r#"{"webhook":"a","number":"1"}"#, ROOT),
    ("gatepost.v1.WebhookService/DeleteDeadLetter", r#"{"webhook":"a","number":"1"}"#, ROOT),
    ("grpc.health.v1.Health/Check", r"{}", Everybody),
    ("grpc.health.v1.Health/Watch", r"{}", Everybody),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", r#"{"listServices":""}"#, AllKnown),
    ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", r#"{"listServices":""}"#, AllKnown),
];

/// Each route: as the description of the API has it, where it is asked, what is sent, and who is let in.
const ROUTES: &[(&str, &str, &str, &str, Who)] = &[
    ("POST", "/v1/gates", "/v1/gates", r#"{"gate":"m/new"}"#, WORK),
    ("POST", "/v1/gates", "/v1/gates", r#"{"gate":"m/auto","spec":{"autoApprove":true}}"#, ADMINISTER),
    ("GET", "/v1/gates", "/v1/gates", "", AllKnown),
    (
        "POST",
        "/v1/gates:reset",
        "/v1/gates:reset",
        r#"{"prefix":"m/b"}"#,
        Known(&["worker", "approver", "admin", "root", "elsewhere"]),
    ),
    ("GET", "/v1/events", "/v1/events", "", AllKnown),
    ("GET", "/v1/watch", "/v1/watch?initial_state=true", "", AllKnown),
    ("GET", "/v1/gates/{gate}/events", "/v1/gates/m/a/events", "", VIEW),
    ("GET", "/v1/gates/{gate}:wait", "/v1/gates/m/a:wait?timeout=0.001s", "", WORK),
    ("POST", "/v1/gates/{gate}:approve", "/v1/gates/m/a:approve", r#"{"validateOnly":true}"#, DECIDE),
    (
        "POST",
        "/v1/gates/{gate}:approve",
        "/v1/gates/m/a:approve",
        r#"{"breakGlassReason":"fire","validateOnly":true}"#,
        ROOT,
    ),
    ("POST", "/v1/gates/{gate}:reject", "/v1/gates/m/a:reject", r#"{"validateOnly":true}"#, DECIDE),
    ("POST", "/v1/gates/{gate}:reset", "/v1/gates/m/b/c:reset", "{}", RESET),
    ("POST", "/v1/gates/{gate}:reportEvidence", "/v1/gates/m/a:reportEvidence", r#"{"facts":{"a":"b"}}"#, WORK),
    ("GET", "/v1/gates/{gate}", "/v1/gates/m/a", "", VIEW),
    ("DELETE", "/v1/gates/{gate}", "/v1/gates/m/doomed", "", ADMINISTER),
    ("GET", "/v1/session", "/v1/session", "", AllKnown),
    // What a browser needs before anybody can have said who they are.
    ("POST", "/v1/session", "/v1/session", r#"{"token":5}"#, Everybody),
    ("DELETE", "/v1/session", "/v1/session", "", Everybody),
];

/// What the description of the API leaves out.
const OTHER_ROUTES: &[(&str, &str, Who)] = &[
    ("GET", "/openapi.json", AllKnown),
    ("GET", "/metrics", ROOT),
    ("GET", "/healthz", Everybody),
    ("GET", "/readyz", Everybody),
    ("GET", "/", Everybody),
    ("GET", "/gates/m/a", Everybody),
    ("GET", "/assets/main.js", Everybody),
    // Whatever is added later is behind the question who calls.
    ("GET", "/v1/added-later", AllKnown),
    ("POST", "/added-later", AllKnown),
    ("POST", "/", AllKnown),
];

impl Who {
    fn outcome(self, somebody: &Somebody) -> Let {
        match (self, somebody.known_as) {
            (Everybody, _) | (AllKnown, Some(_)) => Let::In,
            (Known(_) | AllKnown, None) => Let::Unknown,
            (Known(names), Some(name)) => {
                if names.contains(&name) {
                    Let::In
                } else {
                    Let::Denied
                }
            }
        }
    }
}

#[tokio::test]
async fn every_call_by_everybody() {
    let services = services();
    let known: BTreeSet<_> = CALLS.iter().map(|(call, ..)| (*call).to_owned()).collect();
    assert_eq!(known, calls_of(&services), "each call has a row, and each row a call");

    let world = World::start().await;
    for somebody in world.everybody() {
        let channel = world.channel(&somebody);
        for (call, json, who) in CALLS {
            let (service, method) = call.split_once('/').unwrap();
            let service = services.get_service_by_name(service).unwrap();
            let method = service.methods().find(|it| it.name() == method).unwrap();
            let answer = world.call(&somebody, &channel, &method, json).await;
            let outcome = Let::of(answer.as_ref());
            assert_eq!(outcome, who.outcome(&somebody), "{call} {json} by {}: {answer:?}", somebody.name);
            let shows = answer.is_ok() && format!("{answer:?}").contains("\"m/a\"");
            assert!(may_see(&somebody) || !shows, "{call} by {} shows: {answer:?}", somebody.name);
            let lists = call.ends_with("/ListGates") || call.ends_with("/ListEvents");
            assert!(shows || !may_see(&somebody) || !lists, "{call} by {} lacks: {answer:?}", somebody.name);
        }
    }
}

#[tokio::test]
async fn every_route_by_everybody() {
    let world = World::start().await;
    let root = of("root");
    let described = world.http(&root).get(format!("{}/openapi.json", world.url()));
    let described = within(described.header("authorization", root.authorization().unwrap()).send()).await.unwrap();
    let described: Value = serde_json::from_str(&within(described.text()).await.unwrap()).unwrap();
    let described: BTreeSet<(String, String)> = described["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let known = ROUTES.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(known.collect::<BTreeSet<_>>(), described, "each route has a row, and each row a route");

    let others = OTHER_ROUTES.iter().map(|(method, path, who)| (method, path, &"{}", who));
    let routes = ROUTES.iter().map(|(method, _, path, body, who)| (method, path, body, who));
    let routes: Vec<_> = routes.chain(others).collect();
    for somebody in world.everybody() {
        let http = world.http(&somebody);
        for (method, path, body, who) in &routes {
            let mut request = http.request(method.parse().unwrap(), format!("{}{path}", world.url()));
            if let Some(authorization) = somebody.authorization() {
                request = request.header("authorization", authorization);
            }
            if **method == "POST" {
                request = request.header("content-type", "application/json").body((**body).to_owned());
            }
            let mut answer = within(request.send()).await.unwrap();
            let (code, headers) = (answer.status().as_u16(), answer.headers().clone());
            let first = within(answer.chunk()).await.unwrap().unwrap_or_default();
            let text = String::from_utf8_lossy(&first).into_owned();
            let outcome = match code {
                401 => Let::Unknown,
                403 if text.contains("\"PERMISSION_DENIED\"") => Let::Denied,
                403 if text.contains("\"OWN_GATE\"") => Let::In,
                403 | 500.. => panic!("{method} {path} by {}: {code} {text}", somebody.name),
                _ => Let::In,
            };
            assert_eq!(outcome, who.outcome(&somebody), "{method} {path} by {}: {code} {text}", somebody.name);
            assert_eq!(headers.contains_key("www-authenticate"), code == 401, "{method} {path}");
            let shows = code == 200 && text.contains("\"m/a\"");
            assert!(may_see(&somebody) || !shows, "{method} {path} by {} shows: {text}", somebody.name);
            let lists = **method == "GET" && ["/v1/gates", "/v1/events"].contains(path);
            assert!(shows || !may_see(&somebody) || !lists, "{method} {path} by {} lacks: {text}", somebody.name);
        }
    }
}

#[tokio::test]
async fn who_has_a_certificate_of_another_root_does_not_even_connect() {
    let world = World::start().await;
    let stranger = stranger();
    let services = services();
    let method = services.get_service_by_name("grpc.health.v1.Health").unwrap().methods().next().unwrap();
    let status = world.call(&stranger, &world.channel(&stranger), &method, "{}").await.unwrap_err();
    assert!([Code::Unavailable, Code::Unknown].contains(&status.code()), "{status:?}");
    let sent = within(world.http(&stranger).get(format!("{}/healthz", world.url())).send()).await;
    sent.expect_err("the handshake fails");
}

#[test]
fn nothing_is_served_but_what_has_a_row() {
    let (mut routes, mut services) = (BTreeSet::new(), 0);
    let is_test = |file: &str| file.split('/').any(|part| matches!(part, "tests" | "tests.rs"));
    for (_, source) in sources(&["src"]).into_iter().filter(|(file, _)| !is_test(file)) {
        let source = source.split("#[cfg(test)]").next().unwrap();
        let adds = |call: &str| source.split(call).skip(1).map(str::to_owned).collect::<Vec<_>>();
        for call in [".route_service(", ".nest(", ".nest_service(", ".fallback_service("] {
            assert!(adds(call).is_empty(), "{call} serves what has no row here");
        }
        let first = |rest: &String| rest.split([',', ' ']).next().unwrap().to_owned();
        routes.extend(adds(".route(").iter().map(first));
        services += adds("Routes::new(").len() + adds(".add_service(").len();
    }
    // Each of these has a row; those of the API come from their table, by way of its description.
    let known = ["\"/healthz\"", "\"/metrics\"", "\"/readyz\"", "PATH", "openapi::PATH"];
    assert_eq!(routes.into_iter().collect::<Vec<_>>(), known);
    let rows: BTreeSet<_> = CALLS.iter().map(|(call, ..)| call.split('/').next().unwrap()).collect();
    assert_eq!(services, rows.len(), "each service has rows");
}

/// Says whether somebody may see the gates below `m`.
fn may_see(somebody: &Somebody) -> bool {
    !matches!(somebody.known_as, Some("elsewhere") | None)
}

fn calls_of(services: &DescriptorPool) -> BTreeSet<String> {
    let calls = services.services().flat_map(|service| {
        let methods: Vec<_> =
            service.methods().map(|method| format!("{}/{}", service.full_name(), method.name())).collect();
        methods
    });
    calls.collect()
}
