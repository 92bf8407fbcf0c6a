//! The one table from routes to calls.

use std::borrow::Cow;

use axum::http::Method;
use percent_encoding::percent_decode_str;

/// A call of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    CreateGate,
    GetGate,
    ListGates,
    DeleteGate,
    Wait,
    Approve,
    Reject,
    ReportEvidence,
    ResetGate,
    ResetGates,
    Watch,
    ListEvents,
}

/// A route and the call that it makes.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    /// The path, in which `{gate}` stands for the name of a gate, slashes included.
    pub path: &'static str,
    pub rpc: Rpc,
    /// What may be said behind the `?`.
    pub query: &'static [Query],
}

/// Something that may be said behind the `?`.
#[derive(Debug)]
pub struct Query {
    pub name: &'static str,
    pub sets: Sets,
}

/// What a part of the query sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sets {
    /// A field of the request, by its path.
    Field(&'static str),
    /// How long a wait polls.
    Poll,
}

/// What stands for a name in a path.
const GATE: &str = "{gate}";

const PREFIX: Query = field("prefix", "prefix");
const STATUS: Query = field("status", "statuses");
const ROUND: Query = field("round", "round");
const PAGE_SIZE: Query = field("page_size", "page_size");
const PAGE_TOKEN: Query = field("page_token", "page_token");

/// All routes. The first that fits is taken: a gate whose last segment is `events` is written with `%2Fevents`.
pub static ROUTES: [Route; 13] = [
    route(Method::POST, "/v1/gates", Rpc::CreateGate, &[]),
    route(Method::GET, "/v1/gates", Rpc::ListGates, &[PREFIX, STATUS, PAGE_SIZE, PAGE_TOKEN]),
    route(Method::POST, "/v1/gates:reset", Rpc::ResetGates, &[]),
    route(Method::GET, "/v1/events", Rpc::ListEvents, &[PREFIX, PAGE_SIZE, PAGE_TOKEN]),
    route(
        Method::GET,
        "/v1/watch",
        Rpc::Watch,
        &[PREFIX, STATUS, field("start_revision", "start_revision"), field("initial_state", "initial_state")],
    ),
    route(Method::GET, "/v1/gates/{gate}/events", Rpc::ListEvents, &[PAGE_SIZE, PAGE_TOKEN]),
    route(
        Method::GET,
        "/v1/gates/{gate}:wait",
        Rpc::Wait,
        &[
            Query { name: "timeout", sets: Sets::Poll },
            ROUND,
            field("uid", "uid"),
            field("waiter.id", "waiter.id"),
            field("waiter.host", "waiter.host"),
            field("waiter.note", "waiter.note"),
        ],
    ),
    route(Method::POST, "/v1/gates/{gate}:approve", Rpc::Approve, &[]),
    route(Method::POST, "/v1/gates/{gate}:reject", Rpc::Reject, &[]),
    route(Method::POST, "/v1/gates/{gate}:reset", Rpc::ResetGate, &[]),
    route(Method::POST, "/v1/gates/{gate}:reportEvidence", Rpc::ReportEvidence, &[]),
    route(Method::GET, "/v1/gates/{gate}", Rpc::GetGate, &[ROUND]),
    route(Method::DELETE, "/v1/gates/{gate}", Rpc::DeleteGate, &[field("etag", "etag")]),
];

const fn route(method: Method, path: &'static str, rpc: Rpc, query: &'static [Query]) -> Route {
    Route { method, path, rpc, query }
}

const fn field(name: &'static str, path: &'static str) -> Query {
    Query { name, sets: Sets::Field(path) }
}

/// What a path leads to.
#[derive(Debug)]
pub enum Found {
    /// A route, and the name of the gate in the path; empty if it names none.
    Route(&'static Route, String),
    /// Routes of other methods.
    OtherMethods(Vec<Method>),
    /// Nothing.
    Nothing,
}

/// Finds the route of a path as it was sent, with its escapes.
pub fn find(method: &Method, path: &str) -> Found {
    let mut others = Vec::new();
    let mut first = None;
    for route in &ROUTES {
        let Some(gate) = route.fits(path) else { continue };
        // Those that share the first one's path differ in their method.
        if *first.get_or_insert(route.path) != route.path {
            break;
        }
        if route.method == *method {
            return Found::Route(route, gate.into_owned());
        }
        others.push(route.method.clone());
    }
    if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
}

impl Route {
    /// Says whether the path names a gate.
    pub fn names_gate(&self) -> bool {
        self.path.contains(GATE)
    }

    /// Says whether the call may change gates: all that do not read, and a wait, which begins the time of its gate.
    pub fn changes_gates(&self) -> bool {
        self.method != Method::GET || self.rpc == Rpc::Wait
    }

    /// Says whether a path is one of this route, and which gate it names, if any.
    fn fits<'a>(&self, path: &'a str) -> Option<Cow<'a, str>> {
        let Some((head, tail)) = self.path.split_once(GATE) else {
            return (path == self.path).then_some(Cow::Borrowed(""));
        };
        let gate = path.strip_prefix(head)?.strip_suffix(tail)?;
        // No name has a colon: it is that of a verb.
        if gate.is_empty() || gate.contains(':') {
            return None;
        }
        // What is no text is no name either, and is refused as one.
        Some(percent_decode_str(gate).decode_utf8_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> Option<(Rpc, String)> {
        match find(method, path) {
            Found::Route(route, gate) => Some((route.rpc, gate)),
            Found::OtherMethods(_) | Found::Nothing => None,
        }
    }

    #[test]
    fn a_path_names_a_gate_and_a_verb() {
        for (method, path, rpc, gate) in [
            (Method::GET, "/v1/gates", Rpc::ListGates, ""),
            (Method::POST, "/v1/gates", Rpc::CreateGate, ""),
            (Method::POST, "/v1/gates:reset", Rpc::ResetGates, ""),
            (Method::GET, "/v1/gates/a", Rpc::GetGate, "a"),
            (Method::GET, "/v1/gates/a/b/c", Rpc::GetGate, "a/b/c"),
            (Method::GET, "/v1/gates/a%2Fb", Rpc::GetGate, "a/b"),
            (Method::DELETE, "/v1/gates/a/b", Rpc::DeleteGate, "a/b"),
            (Method::POST, "/v1/gates/a/b:approve", Rpc::Approve, "a/b"),
            (Method::POST, "/v1/gates/a:reject", Rpc::Reject, "a"),
            (Method::POST, "/v1/gates/a:reset", Rpc::ResetGate, "a"),
            (Method::POST, "/v1/gates/a/b:reportEvidence", Rpc::ReportEvidence, "a/b"),
            (Method::GET, "/v1/gates/a:wait", Rpc::Wait, "a"),
            (Method::GET, "/v1/gates/a/b/events", Rpc::ListEvents, "a/b"),
            (Method::GET, "/v1/gates/a%2Fevents", Rpc::GetGate, "a/events"),
            (Method::GET, "/v1/events", Rpc::ListEvents, ""),
            (Method::GET, "/v1/watch", Rpc::Watch, ""),
        ] {
            assert_eq!(found(&method, path), Some((rpc, gate.to_owned())), "{method} {path}");
        }
    }

    #[test]
    fn other_paths_and_methods_lead_nowhere() {
        for path in
            ["/", "/v1", "/v1/gates/", "/v1/gates/a:decide", "/v1/gates/:approve", "/v1/gates:approve", "/v2/gates"]
        {
            assert!(matches!(find(&Method::POST, path), Found::Nothing), "{path}");
        }
        let Found::OtherMethods(methods) = find(&Method::PUT, "/v1/gates/a") else { panic!("it leads somewhere") };
        assert_eq!(methods, [Method::GET, Method::DELETE]);
        let Found::OtherMethods(methods) = find(&Method::GET, "/v1/gates/a:approve") else { panic!("a GET decides") };
        assert_eq!(methods, [Method::POST]);
    }
}
