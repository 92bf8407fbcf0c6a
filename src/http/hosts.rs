//! Under which names requests are answered: a page of another site must not reach the coordinator through a browser that
//! it has told that its own name leads here (DNS rebinding), nor send it a request from elsewhere.
//!
//! Programs that speak gRPC name what they were configured with. Browsers say where a page is from (`Sec-Fetch-Site`, and
//! with some requests `Origin`) and what they take the coordinator for (`Host`), and pages can change none of it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tonic::{Code, Status};

use super::{is_grpc, routes, session, status};

/// Whether a browser sends a request for a page of the same site (W3C's Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The names, besides addresses and those that lead to the browser's own host wherever they are asked for.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<[String]>);

impl Hosts {
    /// Makes the list of names that are allowed.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| plain(name)).collect())
    }

    /// Says whether requests to a host, with or without a port, are answered.
    fn allow(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let host = plain(authority.host());
        // Whoever names an address has not been led here by a name.
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        address.parse::<std::net::IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.0.contains(&host)
    }

    /// Checks who asks for what.
    fn check(&self, request: &Request) -> Result<(), Status> {
        let origin = request.headers().get(header::ORIGIN);
        if is_grpc(request) && origin.is_none() {
            return Ok(());
        }
        let asked = asked(request.uri(), request.headers());
        if let Some(other) = asked.iter().find(|host| !host.is_some_and(|host| self.allow(host))) {
            let message = format!(
                "requests to {:?} are not answered: if it leads here, add it to hosts in the configuration file",
                other.unwrap_or_default()
            );
            return Err(status::refused(Code::PermissionDenied, "OTHER_HOST", &message));
        }
        // No other site can read an answer.
        if !changes(request) || is_of_this_site(request.headers(), asked.first().copied().flatten()) {
            return Ok(());
        }
        Err(status::refused(
            Code::PermissionDenied,
            "OTHER_SITE",
            "only a page of this site may have a browser do this",
        ))
    }
}

/// Answers requests under these hosts only.
pub fn for_hosts(router: Router, hosts: Hosts) -> Router {
    router.layer(from_fn_with_state(hosts, refuse_others))
}

async fn refuse_others(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match hosts.check(&request) {
        Ok(()) => next.run(request).await,
        Err(status) if is_grpc(&request) => status.into_http::<Body>(),
        Err(status) => status::response(&status),
    }
}

/// Says whether a request may change something. A wait does, although it is a GET: it begins the time of its gate.
fn changes(request: &Request) -> bool {
    let (method, path) = (request.method(), request.uri().path());
    ![Method::GET, Method::HEAD].contains(method)
        || matches!(routes::find(method, path), routes::Found::Route(route, _) if route.changes_gates())
}

/// Says whether no page of another site makes a browser send a request to a host.
fn is_of_this_site(headers: &HeaderMap, host: Option<&str>) -> bool {
    let fetched = headers.get(SEC_FETCH_SITE).map(|fetched| fetched == "same-origin");
    match (fetched, headers.get(header::ORIGIN)) {
        // It knows, too, that a page that came without TLS is of another site.
        (Some(false), _) => false,
        (_, Some(origin)) => host.is_some() && site(origin) == host,
        (Some(true), None) => true,
        // Only browsers have sessions, and they say where a page is from.
        (None, None) => !session::is_shown(headers),
    }
}

/// The hosts that a request names: HTTP/1 does in a header, HTTP/2 in the address. None of them is one without a name.
fn asked<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Vec<Option<&'a str>> {
    let named = headers.get_all(header::HOST).into_iter().map(|host| host.to_str().ok());
    uri.authority().map(|authority| Some(authority.as_str())).into_iter().chain(named).collect()
}

/// The host of an origin, with its port.
fn site(origin: &HeaderValue) -> Option<&str> {
    origin.to_str().ok()?.split_once("://").map(|(_, site)| site)
}

/// A name as others are compared with it.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(hosts: &Hosts, method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        use tonic_types::StatusExt;

        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refused = hosts.check(&request.body(Body::empty()).unwrap()).err()?;
        Some(refused.get_details_error_info().unwrap().reason)
    }

    #[test]
    fn addresses_this_host_and_the_names_that_are_given_are_allowed() {
        let hosts = Hosts::new(&["Gates.example.org".to_owned(), "gatepost".to_owned()]);
        for host in [
            "127.0.0.1",
            "10.0.0.7:7070",
            "[::1]:7070",
            "[2001:db8::1]",
            "localhost",
            "LOCALHOST:7070",
            "localhost.",
            "gates.localhost:80",
            "gates.example.org",
            "GATES.example.org.:8443",
            "gatepost:7070",
        ] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:7070",
            "gates.example.org.evil.example",
            "x.gates.example.org",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "::1",
            "a b",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
    }

    #[test]
    fn every_host_that_is_named_has_to_be_allowed() {
        let hosts = Hosts::default();
        let other = Some("OTHER_HOST".to_owned());
        assert_eq!(reason(&hosts, "GET", "/", &[("host", "localhost:7070")]), None);
        assert_eq!(reason(&hosts, "GET", "/", &[("host", "evil.example")]), other);
        assert_eq!(reason(&hosts, "GET", "/", &[("host", "localhost"), ("host", "evil.example")]), other);
        assert_eq!(reason(&hosts, "GET", "http://evil.example/", &[("host", "localhost")]), other);
        assert_eq!(reason(&hosts, "GET", "http://localhost/", &[]), None);
        // No browser leaves it out; those that look after health may.
        assert_eq!(reason(&hosts, "GET", "/", &[]), None);
    }

    #[test]
    fn grpc_is_asked_only_where_a_browser_sends_it() {
        let hosts = Hosts::default();
        let grpc = ("content-type", "application/grpc");
        let post = |headers: &[(&str, &str)]| reason(&hosts, "POST", "/gatepost.v1.GateService/Approve", headers);
        assert_eq!(post(&[grpc, ("host", "evil.example")]), None);
        let rebound = post(&[grpc, ("host", "evil.example"), ("origin", "http://evil.example")]);
        assert_eq!(rebound.as_deref(), Some("OTHER_HOST"));
        let sent = post(&[grpc, ("host", "localhost"), ("origin", "http://evil.example")]);
        assert_eq!(sent.as_deref(), Some("OTHER_SITE"));
        assert_eq!(post(&[grpc, ("host", "localhost"), ("origin", "http://localhost")]), None);
        // A page may read what is its own, as it takes it, without saying where it is from; gRPC is always a POST.
        let read = reason(&hosts, "GET", "/metrics", &[grpc, ("host", "evil.example")]);
        assert_eq!(read.as_deref(), Some("OTHER_HOST"));
    }

    #[test]
    fn a_page_may_send_to_its_own_host_only() {
        let hosts = Hosts::default();
        let post = |origin: &str| reason(&hosts, "POST", "/", &[("host", "localhost:7070"), ("origin", origin)]);
        assert_eq!(post("http://localhost:7070"), None);
        for origin in ["http://evil.example", "http://localhost:8080", "null", ""] {
            assert_eq!(post(origin).as_deref(), Some("OTHER_SITE"), "{origin}");
        }
        let get = reason(&hosts, "GET", "/", &[("host", "localhost"), ("origin", "http://evil.example")]);
        assert_eq!(get, None);
    }

    #[test]
    fn what_a_browser_knows_of_a_page_is_believed() {
        let hosts = Hosts::default();
        let (host, own) = (("host", "localhost:7070"), ("origin", "http://localhost:7070"));
        let post = |headers: &[(&str, &str)]| reason(&hosts, "POST", "/v1/gates/a:approve", headers);
        assert_eq!(post(&[host, own, ("sec-fetch-site", "same-origin")]), None);
        // As from a page that came without TLS under the same name.
        for fetched in ["cross-site", "same-site", "none", ""] {
            assert_eq!(post(&[host, own, ("sec-fetch-site", fetched)]).as_deref(), Some("OTHER_SITE"), "{fetched}");
        }
        let other = post(&[host, ("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")]);
        assert_eq!(other.as_deref(), Some("OTHER_SITE"));
    }

    #[test]
    fn a_wait_begins_the_time_of_a_gate_so_that_no_other_site_may_have_it_sent() {
        let hosts = Hosts::default();
        let get = |path: &str, header: (&str, &str)| reason(&hosts, "GET", path, &[("host", "localhost"), header]);
        for other in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "none"), ("cookie", "gatepost-session=x")] {
            assert_eq!(get("/v1/gates/a:wait", other).as_deref(), Some("OTHER_SITE"), "{other:?}");
            assert_eq!(get("/v1/gates/a", other), None, "{other:?}");
        }
        assert_eq!(get("/v1/gates/a:wait", ("sec-fetch-site", "same-origin")), None);
        assert_eq!(get("/v1/gates/a:wait", ("accept", "*/*")), None, "a program waits");
    }
}
