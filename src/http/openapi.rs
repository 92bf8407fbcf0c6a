//! The `OpenAPI` document of the JSON API, made of the table of routes and the descriptors of the messages.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::{Method, StatusCode};
use axum::response::Response;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};
use tonic::Code;

use self::schemas::{Schemas, comment};
use super::routes::{Query, ROUTES, Route, Rpc, Sets};
use super::stream::{LAST_EVENT_ID, POLL, POLL_MAX};
use super::{message, session as sessions, status};
use crate::proto::{self, JsonError};

mod schemas;
mod session;

/// Where the document is.
pub const PATH: &str = "/openapi.json";

const ABOUT: &str = "The calls of `gatepost.v1.GateService` as JSON. Messages are in the JSON of protobuf: requests take \
names in lowerCamelCase and in snake_case, 64-bit numbers as numbers or strings, and null for what is not set; answers \
leave out what has its default. A refusal is a `google.rpc.Status`. Another method on a path is answered with 405 and \
the methods that there are in `Allow`.";

/// Answers with the document.
pub fn answer() -> Response {
    static DOCUMENT: LazyLock<Result<String, JsonError>> = LazyLock::new(|| document().map(|it| it.to_string()));
    match &*DOCUMENT {
        Ok(document) => status::json_response(document.clone()),
        Err(error) => status::response(&status::internal(error)),
    }
}

fn document() -> Result<Value, JsonError> {
    let pool = proto::descriptors()?;
    let mut schemas = Schemas::default();
    let mut paths = BTreeMap::<&str, Map<String, Value>>::new();
    for route in &ROUTES {
        let operation = operation(route, pool, &mut schemas)?;
        paths.entry(route.path).or_default().insert(route.method.as_str().to_lowercase(), operation);
    }
    let mut paths = json!(paths);
    paths[sessions::PATH] = session::operations();
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "gatepost",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "security": session::security(),
        "components": {
            "schemas": schemas.into_components(),
            "responses": refusals(),
            "securitySchemes": session::schemes(),
        },
    }))
}

fn operation(route: &Route, pool: &DescriptorPool, schemas: &mut Schemas) -> Result<Value, JsonError> {
    let method = method(pool, route.rpc)?;
    let request = method.input();
    let about = comment(&method.parent_file(), method.path());
    let mut parameters: Vec<Value> = Vec::new();
    if route.names_gate() {
        let gate = request.get_field_by_name("gate");
        let schema = json!({"type": "string", "minLength": 1});
        parameters.push(json!({
            "name": "gate",
            "in": "path",
            "required": true,
            "description": format!("{} A slash may stand as it is.", about_field(gate.as_ref())).trim(),
            "schema": schema,
        }));
    }
    parameters.extend(route.query.iter().map(|query| parameter(query, &request)));
    if route.rpc == Rpc::Watch {
        parameters.push(json!({
            "name": LAST_EVENT_ID,
            "in": "header",
            "description": "The id of the last event that was seen: the watch goes on behind it.",
            "schema": {"type": "integer", "minimum": 0, "maximum": u64::MAX - 1},
        }));
    }

    let mut responses = Map::new();
    responses.insert("200".to_owned(), success(route.rpc, &method, pool, schemas)?);
    for code in codes(route) {
        responses.insert(code.as_str().to_owned(), refusal(code.as_str()));
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": about.split(". ").next().unwrap_or_default().trim_end_matches('.'),
        "description": about,
        "parameters": parameters,
        "responses": responses,
    });
    if route.method == Method::POST {
        // What the path says, the body may not say again.
        let in_path: &[&str] = if route.names_gate() { &["gate"] } else { &[] };
        let schema = schemas.request(&request, in_path);
        operation["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
    }
    Ok(operation)
}

/// The calls are named as the service names them.
fn method(pool: &DescriptorPool, rpc: Rpc) -> Result<MethodDescriptor, JsonError> {
    let name = format!("{rpc:?}");
    let method = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    method.into_iter().find(|method| method.name() == name).ok_or(JsonError::UnknownType(name))
}

/// The call's name; with the gate, where another route makes the same call without.
fn operation_id(route: &Route) -> String {
    let is_shared = ROUTES.iter().filter(|other| other.rpc == route.rpc).count() > 1;
    format!("{:?}{}", route.rpc, if is_shared && route.names_gate() { "OfGate" } else { "" })
}

fn parameter(query: &Query, request: &MessageDescriptor) -> Value {
    let (schema, about) = match query.sets {
        Sets::Poll => {
            let (poll, poll_max) = (POLL.as_secs(), POLL_MAX.as_secs());
            let about = format!("How long to wait for a decision: {poll}s unless it is set, {poll_max}s at most.");
            (json!({"type": "string", "pattern": schemas::DURATION, "default": format!("{poll}s")}), about)
        }
        Sets::Field(path) => {
            let field = path.split('.').try_fold((request.clone(), None), |(message, _), name| {
                let field = message.get_field_by_name(name)?;
                let inner = field.kind().as_message().cloned().unwrap_or(message);
                Some((inner, Some(field)))
            });
            let field = field.and_then(|(_, field)| field);
            let schema = field.as_ref().map_or(Value::Bool(true), text_schema);
            (schema, about_field(field.as_ref()))
        }
    };
    json!({"name": query.name, "in": "query", "description": about, "schema": schema})
}

fn about_field(field: Option<&FieldDescriptor>) -> String {
    field.map(|field| comment(&field.parent_file(), field.path())).unwrap_or_default()
}

/// What the text of a parameter may be, as `message` reads it.
fn text_schema(field: &FieldDescriptor) -> Value {
    let one = match field.kind() {
        Kind::Uint32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Kind::Uint64 => json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Enum(kind) => json!({"type": "string", "enum": message::enum_texts(&kind)}),
        _ => json!({"type": "string"}),
    };
    if field.is_list() { json!({"type": "array", "items": one}) } else { one }
}

fn success(
    rpc: Rpc,
    method: &MethodDescriptor,
    pool: &DescriptorPool,
    schemas: &mut Schemas,
) -> Result<Value, JsonError> {
    let mut named = |name: &str| {
        let name = format!("gatepost.v1.{name}");
        let message = pool.get_message_by_name(&name).ok_or(JsonError::UnknownType(name))?;
        Ok::<_, JsonError>(schemas.answer(&message))
    };
    Ok(match rpc {
        Rpc::Watch => {
            for event in ["WatchCreated", "Event", "WatchProgress"] {
                named(event)?;
            }
            json!({
                "description": "Server-sent events: `created` (WatchCreated) first, then `gate` (Event), `progress` \
                    (WatchProgress), and `error` (Status) where the watch ends. Their id is the revision.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            })
        }
        Rpc::Wait => json!({
            "description": "The gate once its round is resolved, or as it is when the time is over.",
            "content": {"application/json": {"schema": named("Gate")?}},
        }),
        _ => json!({
            "description": "The call succeeded.",
            "content": {"application/json": {"schema": schemas.answer(&method.output())}},
        }),
    })
}

/// The codes of the refusals that a route may answer with.
fn codes(route: &Route) -> Vec<StatusCode> {
    let mut codes = vec![
        StatusCode::BAD_REQUEST,
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if route.names_gate() {
        codes.push(StatusCode::NOT_FOUND);
    }
    if route.changes_gates() {
        codes.push(StatusCode::CONFLICT);
    }
    if route.method == Method::POST {
        codes.push(StatusCode::PAYLOAD_TOO_LARGE);
    }
    codes
}

/// Each refusal by its HTTP code, with the gRPC codes that it stands for.
fn refusals() -> BTreeMap<String, Value> {
    let mut grpc_codes = BTreeMap::<StatusCode, Vec<String>>::new();
    for code in (1..=16).map(Code::from_i32) {
        grpc_codes.entry(status::code(code)).or_default().push(format!("{code:?}"));
    }
    grpc_codes
        .insert(StatusCode::PAYLOAD_TOO_LARGE, vec!["ResourceExhausted with the reason LIMIT_EXCEEDED".to_owned()]);
    let used: Vec<StatusCode> = ROUTES.iter().flat_map(codes).collect();
    let used = grpc_codes.into_iter().filter(|(code, _)| used.contains(code));
    used.map(|(code, grpc_codes)| {
        let mut refusal = json!({
            "description": format!("Refused: {}.{}", grpc_codes.join(", "), about(code)),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}},
        });
        if code == StatusCode::TOO_MANY_REQUESTS {
            let about = "The seconds after which the call may be made again, if that helps.";
            refusal["headers"] = json!({"Retry-After": {"description": about, "schema": {"type": "integer"}}});
        }
        (code.as_str().to_owned(), refusal)
    })
    .collect()
}

fn about(code: StatusCode) -> &'static str {
    match code {
        StatusCode::UNAUTHORIZED => " Nobody knows who calls.",
        StatusCode::FORBIDDEN => {
            " Who calls may not do that, or a page of another site would have a browser do it, or the host that is named is \
             none of those that are answered."
        }
        _ => "",
    }
}

/// Refers to one of them.
fn refusal(code: &str) -> Value {
    json!({"$ref": format!("#/components/responses/{code}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_one_operation_and_each_operation_a_route() {
        let document = document().unwrap();
        let mut operations = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            if path == sessions::PATH {
                continue;
            }
            operations.extend(methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase())));
        }
        let mut routes: Vec<_> =
            ROUTES.iter().map(|route| (route.path.to_owned(), route.method.as_str().to_owned())).collect();
        operations.sort();
        routes.sort();
        assert_eq!(operations, routes);
    }

    #[test]
    fn each_parameter_names_a_field_that_it_can_set() {
        for route in &ROUTES {
            let request = method(proto::descriptors().unwrap(), route.rpc).unwrap().input();
            assert!(!route.names_gate() || request.get_field_by_name("gate").is_some(), "{route:?}");
            for query in route.query {
                assert!(parameter(query, &request)["schema"].is_object(), "{query:?} of {route:?}");
            }
        }
    }
}
