//! From gRPC statuses to HTTP answers: the code of each, and a `google.rpc.Status` as JSON.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::proto::{ERROR_DOMAIN, JsonError};

/// Answers with a status.
pub fn response(status: &Status) -> Response {
    let mut response = json_response(body(status).to_string());
    *response.status_mut() = http_code(status);
    if status.code() == Code::Unauthenticated {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"gatepost\""));
    }
    if let Some(wait) = retry_in(status) {
        // In whole seconds, and never too early.
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
    }
    response
}

/// How long the caller has to wait before the same call is taken.
fn retry_in(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// Answers with JSON, on a line of its own in a terminal.
pub fn json_response(mut json: String) -> Response {
    json.push('\n');
    let mut response = Response::new(Body::from(json));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // What is answered now is not what will be.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Answers where the path has routes, but none of this method.
pub fn method_not_allowed(allowed: &[Method]) -> Response {
    let methods = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let mut response = response(&refused(Code::Unimplemented, "METHOD_NOT_ALLOWED", &format!("use {methods} here")));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

pub fn no_such_path(path: &str) -> Status {
    refused(Code::NotFound, "PATH_NOT_FOUND", &format!("there is nothing at {path}: the API begins at /v1/gates"))
}

/// Makes a status of this API's own. The reasons of the service are in its table.
pub fn refused(code: Code, reason: &str, message: &str) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []))
}

/// The reason of what is larger than is ever taken.
const LIMIT_EXCEEDED: &str = "LIMIT_EXCEEDED";

/// Refuses what is too large, as the service does.
pub fn too_large(message: &str, limit: usize, what: &str) -> Status {
    let metadata = [("limit".to_owned(), limit.to_string()), ("what".to_owned(), what.to_owned())];
    let details = ErrorDetails::with_error_info(LIMIT_EXCEEDED, ERROR_DOMAIN, metadata);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// The reason of what does not come to an end.
const BODY_TIMEOUT: &str = "BODY_TIMEOUT";

/// Refuses what takes too long to come.
pub fn too_slow(limit: Duration) -> Status {
    let message = format!("the body did not come within {} seconds", limit.as_secs());
    refused(Code::DeadlineExceeded, BODY_TIMEOUT, &message)
}

/// Makes the status of a message that has no JSON, which no caller can bring about.
pub fn internal(error: &JsonError) -> Status {
    refused(Code::Internal, "INTERNAL", &error.to_string())
}

/// The JSON of a status: a `google.rpc.Status`.
pub fn body(status: &Status) -> Value {
    let details = status.get_error_details();
    let info = details.error_info().map(|info| {
        json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": info.reason,
            "domain": info.domain,
            "metadata": info.metadata,
        })
    });
    let bad_request = details.bad_request().map(|bad_request| {
        let violations = bad_request.field_violations.iter();
        let violations =
            violations.map(|violation| json!({"field": violation.field, "description": violation.description}));
        json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": violations.collect::<Vec<_>>(),
        })
    });
    let retry = retry_in(status).and_then(|wait| prost_types::Duration::try_from(wait).ok());
    let retry =
        retry.map(|wait| json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": wait.to_string()}));
    json!({
        "code": i32::from(status.code()),
        "message": status.message(),
        "details": info.into_iter().chain(bad_request).chain(retry).collect::<Vec<_>>(),
    })
}

/// What is too large is not to be sent again, which clients do after a 429.
fn http_code(status: &Status) -> StatusCode {
    let details = status.get_error_details();
    match details.error_info() {
        Some(info) if info.reason == LIMIT_EXCEEDED => StatusCode::PAYLOAD_TOO_LARGE,
        Some(info) if info.reason == BODY_TIMEOUT => StatusCode::REQUEST_TIMEOUT,
        _ => code(status.code()),
    }
}

/// The mapping of `google/rpc/code.proto`.
pub fn code(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // Nginx's word for a client that went away.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_too_many_calls_is_told_when_to_come_back() {
        let status = crate::grpc::rate_limited(Duration::from_millis(1_250));
        let response = response(&status);
        assert_eq!(
            (response.status(), &response.headers()["retry-after"]),
            (StatusCode::TOO_MANY_REQUESTS, &"2".parse().unwrap())
        );
        let details = &body(&status)["details"];
        assert_eq!(details[0]["reason"], "RATE_LIMITED");
        assert_eq!(details[1], json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.250s"}));
    }
}
