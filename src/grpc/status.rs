//! The one table from errors to gRPC statuses.
//!
//! Every status carries one `google.rpc.ErrorInfo`, whose metadata has the values that a program needs to go on.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use tonic::body::Body;
use tonic::codegen::http::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::coordinator::{Error, StoreError};
use crate::domain::{Gate, Invalid, InvalidKind, Refusal, limits};
use crate::proto::{ERROR_DOMAIN, REQUEST_BYTES_MAX};
use crate::webhooks;

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        let reason = match invalid.kind {
            InvalidKind::Name => "INVALID_NAME",
            InvalidKind::Spec => "INVALID_SPEC",
            InvalidKind::Argument => "INVALID_ARGUMENT",
        };
        bad_request(reason, invalid.field, &invalid.problem, &invalid.to_string(), [])
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Refused(refusal) => of_refusal(refusal, &message),
            Error::Denied { principal, permission, gate } => {
                let gate = gate.map(|gate| gate.to_string()).unwrap_or_default();
                let metadata =
                    [("principal", principal.to_string()), ("permission", permission.to_string()), ("gate", gate)];
                status(Code::PermissionDenied, "PERMISSION_DENIED", &message, metadata)
            }
            Error::NoSuchPage => bad_request("INVALID_ARGUMENT", "page_token", &message, &message, []),
            Error::Revoked => unauthenticated(&message),
            Error::RoundNotFound { gate, round, current } => {
                let rounds = [("round", round.to_string()), ("current_round", current.to_string())];
                let metadata = [("gate", gate.to_string())].into_iter().chain(rounds);
                status(Code::NotFound, "ROUND_NOT_FOUND", &message, metadata)
            }
            Error::SpecConflict { gate, fields } => {
                let metadata = [("gate", gate.to_string()), ("fields", fields.join(","))];
                status(Code::FailedPrecondition, "SPEC_CONFLICT", &message, metadata)
            }
            Error::RoundReset { gate, round, next_round } => {
                let numbers = [("round", round.to_string()), ("next_round", next_round.to_string())];
                let metadata = [("gate", gate.to_string())].into_iter().chain(numbers);
                status(Code::FailedPrecondition, "ROUND_RESET", &message, metadata)
            }
            Error::RequestIdReused { id } => {
                bad_request("REQUEST_ID_REUSED", "request_id", &message, &message, [("request_id", id)])
            }
            Error::LimitExceeded { what, limit } => {
                let metadata = [("limit", limit.to_string()), ("what", what.to_owned())];
                status(Code::ResourceExhausted, "LIMIT_EXCEEDED", &message, metadata)
            }
            Error::TooManyWaiters { gate, limit } => {
                let metadata = [("limit", limit.to_string()), ("what", "waiters of one gate".to_owned())];
                let metadata = metadata.into_iter().chain([("gate", gate.to_string())]);
                status(Code::ResourceExhausted, "LIMIT_EXCEEDED", &message, metadata)
            }
            Error::TooManyGates { limit } => {
                let metadata = [("limit", limit.to_string()), ("what", "gates".to_owned())];
                status(Code::ResourceExhausted, "LIMIT_EXCEEDED", &message, metadata)
            }
            Error::RevisionAhead { start, last } => {
                let metadata = [("start_revision", start.to_string()), ("last_revision", last.to_string())];
                status(Code::OutOfRange, "REVISION_AHEAD", &message, metadata)
            }
            Error::WatcherTooSlow { resume } => {
                let metadata = [("resume_revision", resume.to_string())];
                status(Code::ResourceExhausted, "WATCHER_TOO_SLOW", &message, metadata)
            }
            Error::Draining => status(Code::Unavailable, "DRAINING", &message, []),
            Error::Store(error) => of_store(&error, &message),
        }
    }
}

impl From<webhooks::Error> for Status {
    fn from(error: webhooks::Error) -> Self {
        let message = error.to_string();
        match error {
            webhooks::Error::NoSuchWebhook(name) => {
                status(Code::NotFound, "WEBHOOK_NOT_FOUND", &message, [("webhook", name)])
            }
            webhooks::Error::NoSuchLetter { webhook, number } => {
                let metadata = [("webhook", webhook.to_string()), ("number", number.to_string())];
                status(Code::NotFound, "DEAD_LETTER_NOT_FOUND", &message, metadata)
            }
            webhooks::Error::EventForgotten { oldest, .. } => {
                status(Code::OutOfRange, "REVISION_COMPACTED", &message, [("oldest_revision", oldest.to_string())])
            }
            webhooks::Error::Draining => Error::Draining.into(),
            webhooks::Error::Elsewhere => status(Code::Unavailable, "WEBHOOKS_ELSEWHERE", &message, []),
            webhooks::Error::Store(error) => of_store(&error, &message),
        }
    }
}

/// Refuses a call whose caller has not proved who they are.
#[must_use]
pub fn unauthenticated(problem: &str) -> Status {
    status(Code::Unauthenticated, "UNAUTHENTICATED", problem, [])
}

/// Refuses a call of somebody who makes too many, for as long as `wait`.
#[must_use]
pub fn rate_limited(wait: Duration) -> Status {
    let message = format!("too many calls: try again in {} ms", wait.as_millis().max(1));
    let mut details = info("RATE_LIMITED", []);
    details.set_retry_info(Some(wait));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// Gives the errors that the transport makes before a handler is reached their place in the table: a message above the
/// limit, and one that cannot be read.
#[must_use]
pub fn with_reason(response: Response<Body>) -> Response<Body> {
    let Some(bare) = Status::from_header_map(response.headers()).filter(|status| status.details().is_empty()) else {
        return response;
    };
    let message = bare.message();
    match bare.code() {
        Code::OutOfRange => {
            let metadata = [("limit", REQUEST_BYTES_MAX.to_string()), ("what", "bytes in one request".to_owned())];
            status(Code::ResourceExhausted, "LIMIT_EXCEEDED", message, metadata).into_http()
        }
        Code::Internal => status(Code::InvalidArgument, "INVALID_MESSAGE", message, []).into_http(),
        _ => response,
    }
}

fn of_refusal(refusal: Refusal, message: &str) -> Status {
    use Code::{Aborted, AlreadyExists, FailedPrecondition, NotFound, PermissionDenied};

    let gate = |gate: String| ("gate", gate);
    match refusal {
        Refusal::NotFound(name) => status(NotFound, "GATE_NOT_FOUND", message, [gate(name.to_string())]),
        Refusal::Exists { gate: name, fields } => {
            let metadata = [gate(name.to_string()), ("fields", fields.join(","))];
            status(AlreadyExists, "GATE_EXISTS", message, metadata)
        }
        Refusal::AlreadyResolved(resolved) => {
            status(FailedPrecondition, "GATE_ALREADY_RESOLVED", message, winner(&resolved))
        }
        // The fence answers the one by timing the gate out, and asks for nothing that the other refuses.
        Refusal::Overdue { gate: name } | Refusal::NotDue { gate: name, .. } => {
            status(Code::Internal, "INTERNAL", message, [gate(name.to_string())])
        }
        Refusal::NotAnApprover { gate: name, principal, approvers } => {
            let approvers: Vec<_> = approvers.iter().map(ToString::to_string).collect();
            let who = [("principal", principal.to_string()), ("approvers", approvers.join(","))];
            let metadata = [gate(name.to_string())].into_iter().chain(who);
            status(PermissionDenied, "NOT_AN_APPROVER", message, metadata)
        }
        Refusal::OwnGate { gate: name, principal } | Refusal::OwnApproval { gate: name, principal } => {
            let metadata = [gate(name.to_string()), ("principal", principal.to_string())];
            status(PermissionDenied, "OWN_GATE", message, metadata)
        }
        Refusal::TooEarly { gate: name, not_before, .. } => {
            let metadata = [gate(name.to_string()), ("not_before", not_before.map(time).unwrap_or_default())];
            status(FailedPrecondition, "TOO_EARLY", message, metadata)
        }
        Refusal::EtagMismatch { gate: name, current } => {
            let metadata = [gate(name.to_string()), ("etag", current.to_string())];
            status(Aborted, "ETAG_MISMATCH", message, metadata)
        }
        Refusal::RoundMismatch { gate: name, round, current } => {
            let rounds = [("round", round.to_string()), ("current_round", current.to_string())];
            status(Aborted, "ROUND_MISMATCH", message, [gate(name.to_string())].into_iter().chain(rounds))
        }
        Refusal::TooManyFacts { gate: name } => {
            let limit = ("limit", limits::FACTS_MAX_COUNT.to_string());
            let metadata = [gate(name.to_string()), limit, ("what", "facts of one round".to_owned())];
            status(Code::ResourceExhausted, "LIMIT_EXCEEDED", message, metadata)
        }
        Refusal::SubjectChanged { gate: name, given, current } => {
            let digests = [("subject_digest", given), ("current_digest", current)];
            status(Aborted, "SUBJECT_CHANGED", message, [gate(name.to_string())].into_iter().chain(digests))
        }
    }
}

/// Who decided a gate, and when.
fn winner(gate: &Gate) -> HashMap<&'static str, String> {
    let mut metadata = HashMap::from([
        ("gate", gate.name.to_string()),
        ("round", gate.round.to_string()),
        ("status", gate.status.to_string()),
    ]);
    if let Some(resolution) = &gate.resolution {
        let by = resolution.by.as_ref().map(ToString::to_string).unwrap_or_default();
        metadata.extend([
            ("cause", resolution.cause.as_str().to_owned()),
            ("by", by),
            ("on_behalf_of", resolution.on_behalf_of.clone()),
            ("time", time(resolution.time)),
            ("revision", resolution.revision.to_string()),
        ]);
    }
    metadata
}

fn of_store(error: &StoreError, message: &str) -> Status {
    let unavailable = || status(Code::Unavailable, "STORE_UNAVAILABLE", message, []);
    match error {
        // The fence decides again on a conflict, and webhooks refer to who leads; should one come this far, trying again
        // is the answer too.
        StoreError::Conflict
        | StoreError::Deposed
        | StoreError::Locked { .. }
        | StoreError::Open { .. }
        | StoreError::Unavailable { .. }
        | StoreError::Failed(_) => unavailable(),
        StoreError::Full => status(Code::ResourceExhausted, "STORE_FULL", message, []),
        StoreError::Compacted { oldest } => {
            status(Code::OutOfRange, "REVISION_COMPACTED", message, [("oldest_revision", oldest.to_string())])
        }
        StoreError::TooLarge { bytes_max, .. } => {
            let metadata = [("limit", bytes_max.to_string()), ("what", "bytes in one event".to_owned())];
            status(Code::ResourceExhausted, "LIMIT_EXCEEDED", message, metadata)
        }
        StoreError::Corrupt { place, .. } => {
            status(Code::DataLoss, "STORE_CORRUPT", message, [("place", place.clone())])
        }
    }
}

fn status(
    code: Code,
    reason: &str,
    message: &str,
    metadata: impl IntoIterator<Item = (&'static str, String)>,
) -> Status {
    Status::with_error_details(code, message, info(reason, metadata))
}

fn bad_request<const N: usize>(
    reason: &str,
    field: &str,
    problem: &str,
    message: &str,
    metadata: [(&'static str, String); N],
) -> Status {
    let mut details = info(reason, [("field", field.to_owned())].into_iter().chain(metadata));
    details.add_bad_request_violation(field, problem);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

fn info(reason: &str, metadata: impl IntoIterator<Item = (&'static str, String)>) -> ErrorDetails {
    let metadata: HashMap<String, String> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata)
}

fn time(time: SystemTime) -> String {
    Timestamp::from(time).to_string()
}
