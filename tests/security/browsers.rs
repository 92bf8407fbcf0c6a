//! What attackers try by way of browsers and the sessions in them.

use gatepost::proto::*;
use serde_json::Value;
use tonic::Code;

use crate::attackers::gate;
use crate::coordinator::{next, ok, reset, watch, within};
use crate::issuer::AUDIENCE;
use crate::world::{Somebody, World, of, token};

/// Begins a session in the way that the dashboard does, and returns its cookie.
async fn log_in(world: &World, principal: &'static str) -> String {
    log_in_with(world, &token(principal)).await
}

async fn log_in_with(world: &World, token: &str) -> String {
    let http = world.http(&nobody(world));
    let sent = http.post(format!("{}/v1/session", world.url())).header("content-type", "application/json");
    let sent = sent.header("origin", world.url()).body(format!("{{\"token\":\"{token}\"}}"));
    let answer = within(sent.send()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/", "__Host-"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    cookie.split(';').next().unwrap().to_owned()
}

/// Asks for a gate with a session, and returns the code of the answer.
async fn with_cookie(world: &World, cookie: &str) -> u16 {
    let http = world.http(&nobody(world));
    let asked = http.get(format!("{}/v1/gates/m/a", world.url())).header("cookie", cookie).send();
    let answer = within(asked).await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers().contains_key("set-cookie"), status == 401, "one that has ended is forgotten");
    status
}

pub fn nobody(world: &World) -> Somebody {
    world.everybody().into_iter().find(|somebody| somebody.name == "nobody").unwrap()
}

#[tokio::test]
async fn a_page_of_another_site_with_the_session_of_an_approver() {
    let world = World::start().await;
    let cookie = log_in(&world, "approver").await;
    let http = world.http(&nobody(&world));
    let send = async |origin: Option<&str>, kind: &str| {
        let mut request = http.post(format!("{}/v1/gates/m/a:approve", world.url())).body("{}");
        request = request.header("cookie", &cookie).header("content-type", kind);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let answer = within(request.send()).await.unwrap();
        let code = answer.status().as_u16();
        let body: Value = serde_json::from_str(&within(answer.text()).await.unwrap()).unwrap();
        (code, body["details"][0]["reason"].as_str().unwrap_or_default().to_owned())
    };
    for origin in [Some("https://evil.test"), Some("null"), Some("http://localhost"), None] {
        assert_eq!(send(origin, "application/json").await, (403, "OTHER_SITE".to_owned()), "{origin:?}");
    }
    // A form can send this without asking.
    assert_eq!(send(Some(&world.url()), "text/plain").await.0, 400);
    assert_eq!(gate(&world, "m/a").await.status(), GateStatus::Pending);
    assert_eq!(send(Some(&world.url()), "application/json").await.0, 200);
    let resolution = gate(&world, "m/a").await.resolution.unwrap();
    assert_eq!((resolution.by.as_str(), resolution.authentication()), ("approver", Authentication::Token));
}

#[tokio::test]
async fn a_frame_of_another_site() {
    let world = World::start().await;
    let http = world.http(&nobody(&world));
    for path in ["/", "/gates/m/a"] {
        let page = within(http.get(format!("{}{path}", world.url())).send()).await.unwrap();
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        for rule in
            ["frame-ancestors 'none'", "default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'"]
        {
            assert!(policy.contains(rule), "{policy}");
        }
    }
}

#[tokio::test]
async fn a_link_scanner_with_a_session() {
    let world = World::start().await;
    let cookie = log_in(&world, "root").await;
    let http = world.http(&nobody(&world));
    let before = gate(&world, "m/a").await;
    for verb in ["approve", "reject", "reset", "reportEvidence"] {
        for method in ["GET", "HEAD"] {
            let url = format!("{}/v1/gates/m/a:{verb}", world.url());
            let answer = http.request(method.parse().unwrap(), url).header("cookie", &cookie).send();
            assert_eq!(within(answer).await.unwrap().status(), 405, "{method} {verb}");
        }
    }
    assert_eq!(gate(&world, "m/a").await, before);
}

#[tokio::test]
async fn a_session_ends_with_the_token_that_began_it() {
    let world = World::start().await;
    let cookie = log_in(&world, "viewer").await;
    assert_eq!(with_cookie(&world, &cookie).await, 200);
    world.reload_without(&["viewer"]).unwrap();
    assert_eq!(with_cookie(&world, &cookie).await, 401);
}

#[tokio::test]
async fn what_an_issuer_said_who_is_no_longer_trusted() {
    let world = World::start().await;
    let jwt = world.issuer.jwt("ann", &["approvers"]);
    let somebody = nobody(&world).with_bearer(&*jwt);
    let cookie = log_in_with(&world, &jwt).await;
    let mut watching = ok(world.gates(&somebody).watch(watch("m"))).await;
    assert!(next(&mut watching).await.created.is_some());
    assert_eq!(with_cookie(&world, &cookie).await, 200);

    // Another in its place says nothing for those whom it did not name.
    world.reload(|text| text.replace("https://issuer.test", "https://other.test")).unwrap();
    assert_eq!(with_cookie(&world, &cookie).await, 401);
    world.reload(|text| text).unwrap();
    assert_eq!(with_cookie(&world, &cookie).await, 200);

    let without_issuer = |text: String| {
        let lines = text
            .lines()
            .filter(|line| !["[jwt]", "issuer", "audience", "jwks_file"].iter().any(|of_jwt| line.starts_with(of_jwt)));
        lines.collect::<Vec<_>>().join("\n")
    };
    world.reload(without_issuer).unwrap();
    assert_eq!(with_cookie(&world, &cookie).await, 401);
    ok(world.gates(&of("root")).reset_gate(reset("m/a"))).await;
    assert_eq!(within(watching.message()).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn what_a_jwt_said_that_is_read_otherwise_now() {
    let world = World::start().await;
    let jwt = world.issuer.jwt("ann", &["approvers"]);
    let somebody = nobody(&world).with_bearer(&*jwt);
    let cookie = log_in_with(&world, &jwt).await;
    let mut watching = ok(world.gates(&somebody).watch(watch("m"))).await;
    assert!(next(&mut watching).await.created.is_some());

    // It is for somebody else now, and would be refused.
    let audience = format!("audience = '{AUDIENCE}'");
    world.reload(|text| text.replace(&audience, "audience = 'other'")).unwrap();
    assert_eq!(with_cookie(&world, &cookie).await, 401);
    ok(world.gates(&of("root")).reset_gate(reset("m/a"))).await;
    assert_eq!(within(watching.message()).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_token_whose_end_was_brought_forward() {
    let world = World::start().await;
    let cookie = log_in(&world, "viewer").await;
    let mut watching = ok(world.gates(&of("viewer")).watch(watch("m"))).await;
    assert!(next(&mut watching).await.created.is_some());
    let over = "principal = 'viewer'\nexpires = 2020-01-01T00:00:00Z";
    world.reload(|text| text.replace("principal = 'viewer'", over)).unwrap();
    assert_eq!(with_cookie(&world, &cookie).await, 401);
    ok(world.gates(&of("root")).reset_gate(reset("m/a"))).await;
    assert_eq!(within(watching.message()).await.unwrap_err().code(), Code::Unauthenticated);
}
