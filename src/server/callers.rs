//! Asks of every request who calls, before anything else looks at it: no route can forget to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use super::connections::Remote;
use crate::auth::{Guard, Rates, Shown, Unauthenticated};
use crate::coordinator::Caller;
use crate::metrics::REFUSED_CALLS;
use crate::{grpc, http};

/// What is answered without asking: whether the server is alive and ready.
const OPEN: [&str; 4] = ["/healthz", "/readyz", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];

/// When to try again a call that was one too many of those which nobody is asked for: most of them are answered at once.
const OPEN_CALL_AGAIN: Duration = Duration::from_secs(1);

/// Why calls are refused here, as it is counted.
const UNAUTHENTICATED: &str = "unauthenticated";
const RATE_LIMITED: &str = "rate_limited";

/// What a request has to pass.
pub struct Gatekeeper {
    guard: Arc<Guard>,
    rates: Rates,
    has_tls: bool,
}

/// Lets a request through with its caller, or refuses it.
pub async fn identify(State(keeper): State<Arc<Gatekeeper>>, mut request: Request, next: Next) -> Response {
    let remote = request.extensions().get::<Remote>();
    if is_open(request.method(), request.uri().path()) {
        let Some(remote) = remote else { return next.run(request).await };
        let Some(call) = remote.open_calls.begin() else { return Refusal::TooMany(OPEN_CALL_AGAIN).answer(&request) };
        return next.run(request).await.map(|body| call.answered_with(body));
    }
    match keeper.caller(&request) {
        Ok(caller) => {
            if let Some(remote) = remote {
                remote.place.keep();
            }
            request.extensions_mut().insert(caller);
        }
        Err(refusal) => return refusal.answer(&request),
    }
    next.run(request).await
}

fn is_open(method: &Method, path: &str) -> bool {
    OPEN.contains(&path) || http::is_open(method, path)
}

impl Gatekeeper {
    /// Makes one that asks a guard who calls, and lets each principal call so often. `has_tls` is whether browsers reach
    /// the server with TLS.
    pub fn new(guard: Arc<Guard>, rates: Rates, has_tls: bool) -> Self {
        for reason in [UNAUTHENTICATED, RATE_LIMITED] {
            metrics::counter!(REFUSED_CALLS, "reason" => reason).increment(0);
        }
        Self { guard, rates, has_tls }
    }

    fn caller(&self, request: &Request) -> Result<Caller, Refusal> {
        // What a proxy in front has asked for is not meant for a server that asks nobody.
        if !self.guard.identities().authenticator.asks() {
            return Ok(Caller::anonymous());
        }
        let remote = request.extensions().get::<Remote>();
        let certificate = remote.and_then(|remote| remote.certificate.get());
        let shown = Shown { bearer: bearer(request.headers())?, certificate };
        // Browsers speak no gRPC, and nobody else has a session.
        let session = if http::is_grpc(request) { None } else { http::session_of(request.headers(), self.has_tls) };
        let caller = self.guard.admit(&shown, session.as_deref(), SystemTime::now())?;
        self.rates.check(caller.identity.principal.as_str()).map_err(Refusal::TooMany)?;
        Ok(caller)
    }
}

/// Why a request gets no further.
enum Refusal {
    /// Nobody knows who calls.
    Unauthenticated(Unauthenticated),
    /// Too many are made, by its caller or on its connection: how long to wait.
    TooMany(Duration),
}

impl From<Unauthenticated> for Refusal {
    fn from(problem: Unauthenticated) -> Self {
        Self::Unauthenticated(problem)
    }
}

impl Refusal {
    fn answer(self, request: &Request) -> Response {
        let has_ended = matches!(self, Self::Unauthenticated(Unauthenticated::SessionEnded));
        let (reason, status) = match self {
            Self::Unauthenticated(problem) => (UNAUTHENTICATED, grpc::unauthenticated(&problem.to_string())),
            Self::TooMany(wait) => (RATE_LIMITED, grpc::rate_limited(wait)),
        };
        metrics::counter!(REFUSED_CALLS, "reason" => reason).increment(1);
        let peer = request.extensions().get::<Remote>().map(|remote| remote.peer);
        tracing::debug!(?peer, path = request.uri().path(), "a call was refused: {}", status.message());
        let mut answer = if http::is_grpc(request) { status.into_http() } else { http::refused(&status) };
        if has_ended {
            http::forget_session(&mut answer);
        }
        answer
    }
}

/// Reads the token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Unauthenticated> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let value = value.to_str().map_err(|_| Unauthenticated::NoBearer)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim_start())),
        _ => Err(Unauthenticated::NoBearer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_meant_to_be_shown() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            bearer(&headers).map(|token| token.map(str::to_owned))
        };
        for text in ["Bearer gp_1", "bearer gp_1", "BEARER  gp_1"] {
            assert_eq!(read(text), Ok(Some("gp_1".to_owned())), "{text}");
        }
        for text in ["gp_1", "Basic Z3BfMTo=", "Bearer", ""] {
            assert_eq!(read(text), Err(Unauthenticated::NoBearer), "{text}");
        }
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
    }
}
