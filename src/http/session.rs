//! The sessions of the dashboard: a token that is shown once, and a cookie from then on.
//!
//! The cookie is sent to this site only, by this site's pages only, and no script can read it (`HttpOnly`,
//! `SameSite=Strict`). What changes something has to come from a page of this site besides: see `hosts`.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cookie::{Cookie, SameSite, time};
use serde::Deserialize;
use serde_json::json;
use tonic::{Code, Status};

use super::call::read_body;
use super::message::invalid;
use super::status::{self, json_response, refused};
use crate::auth::{Guard, SESSION_LASTS};
use crate::coordinator::Caller;

/// Where sessions begin and end, and where their page asks whose it is.
pub const PATH: &str = "/v1/session";

/// What holds a session. With the prefix `__Host-` no other host can set it, nor see it without TLS.
pub const COOKIE: &str = "gatepost-session";
pub const COOKIE_WITH_TLS: &str = "__Host-gatepost-session";

/// The largest body of a log-in: a longer token fits no header of a call either.
const TOKEN_BODY_BYTES_MAX: usize = 16 * 1024;

/// How sessions are begun.
#[derive(Clone)]
pub struct Door {
    /// Who lets them in.
    pub guard: Arc<Guard>,
    /// Whether browsers reach the server with TLS, be it that of a proxy.
    pub has_tls: bool,
    /// Whether it is open to a network without anything that protects it.
    pub insecure: bool,
}

/// Serves the sessions.
pub fn router(door: Door) -> Router {
    let others = async || status::method_not_allowed(&[Method::GET, Method::POST, Method::DELETE]);
    Router::new().route(PATH, get(show).post(begin).delete(end).fallback(others)).with_state(door)
}

/// Says whether a request comes before anybody can have said who they are.
pub fn is_open(method: &Method, path: &str) -> bool {
    path == PATH && [Method::POST, Method::DELETE].contains(method)
}

/// Returns the session that a request shows. With TLS, only one that no other host can have set.
///
/// Of several, all but one were set by another program on this host: none of them is taken, or somebody could be made to
/// decide in another's session without noticing.
#[must_use]
pub fn shown(headers: &HeaderMap, has_tls: bool) -> Option<String> {
    let mut sessions = cookies(headers).filter(|cookie| cookie.name() == name(has_tls));
    let session = sessions.next()?;
    Some(if sessions.next().is_some() { String::new() } else { session.value().to_owned() })
}

/// Says whether a request shows anything that is meant for a session.
pub fn is_shown(headers: &HeaderMap) -> bool {
    cookies(headers).any(|cookie| [COOKIE, COOKIE_WITH_TLS].contains(&cookie.name()))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Cookie<'_>> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies.flat_map(Cookie::split_parse).filter_map(Result::ok)
}

fn name(has_tls: bool) -> &'static str {
    if has_tls { COOKIE_WITH_TLS } else { COOKIE }
}

/// Says who calls, to their own page.
async fn show(State(door): State<Door>, request: Request) -> Response {
    let Some(caller) = request.extensions().get::<Caller>() else {
        return status::response(&refused(Code::Unauthenticated, "UNAUTHENTICATED", "nobody has asked who calls"));
    };
    let identity = &caller.identity;
    let groups: Vec<_> = identity.groups.iter().map(ToString::to_string).collect();
    let said = json!({
        "principal": identity.principal.as_str(),
        "groups": groups,
        "asks": door.guard.identities().authenticator.asks(),
        "session": shown(request.headers(), door.has_tls).is_some(),
        "insecure": door.insecure,
    });
    json_response(said.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    token: String,
}

async fn begin(State(door): State<Door>, request: Request) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, TOKEN_BODY_BYTES_MAX).await?;
    let Begin { token } = serde_json::from_slice(&body).map_err(|_| invalid("send {\"token\": \"...\"}"))?;
    let begun = door.guard.log_in(token.trim(), SystemTime::now());
    let (session, identity) =
        begun.map_err(|problem| refused(Code::Unauthenticated, "UNAUTHENTICATED", &problem.to_string()))?;
    let lasts = time::Duration::try_from(SESSION_LASTS).unwrap_or_default();
    let said = json!({"principal": identity.principal.as_str()}).to_string();
    Ok(with_cookie(&door, session, lasts, json_response(said)))
}

async fn end(State(door): State<Door>) -> Response {
    with_cookie(&door, String::new(), time::Duration::ZERO, json_response("{}".to_owned()))
}

fn with_cookie(door: &Door, session: String, lasts: time::Duration, mut response: Response) -> Response {
    set_cookie(&mut response, door.has_tls, session, lasts);
    response
}

/// Has the browser forget a session that has ended, so that whatever else it shows counts the next time.
pub fn forget(response: &mut Response) {
    for has_tls in [true, false] {
        set_cookie(response, has_tls, String::new(), time::Duration::ZERO);
    }
}

fn set_cookie(response: &mut Response, has_tls: bool, session: String, lasts: time::Duration) {
    let cookie = Cookie::build((name(has_tls), session)).path("/").http_only(true).same_site(SameSite::Strict);
    let cookie = cookie.secure(has_tls).max_age(lasts).build();
    if let Ok(value) = HeaderValue::from_str(&cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

struct Refused(Status);

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        status::response(&self.0)
    }
}
