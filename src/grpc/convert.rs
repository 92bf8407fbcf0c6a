//! Between the API's messages and the domain: requests are parsed here once, answers are spelled out here.

use std::time::{Duration, SystemTime};

use prost::{Message, Name};
use prost_types::Value;
use prost_types::value::Kind;
use sha2::{Digest, Sha256};

use crate::coordinator::{Call, RequestId, View, WaitQuery, Waiter};
use crate::domain::{
    Ballot, Etag, GateName, Inputs, Invalid, InvalidKind, Link, Principal, Revision, Round, Spec, Status, Subject, Uid,
    limits,
};
use crate::proto;

/// Longest id of a request in bytes: a UUID several times over.
const REQUEST_ID_MAX: usize = 128;
/// Longest etag in bytes: a few times those that are given.
const ETAG_MAX: usize = 255;
/// Longest text about a waiter in bytes: a host name, a job's id.
const WAITER_TEXT_MAX: usize = 255;
/// Deepest nesting of inputs: clients read about a hundred levels of messages, a level of inputs takes three of them in
/// places, and an answer adds its own.
const INPUTS_DEPTH_MAX: usize = 24;
/// Entries of a page, unless the request says how many.
const PAGE_SIZE: usize = 100;
/// Most entries of a page.
const PAGE_SIZE_MAX: usize = 1000;

// Requests.

/// Says who calls, and how to know the call again: by its id and its whole body.
pub fn call<M: Message + Name>(request_id: &str, body: &M) -> Result<Call, Invalid> {
    let principal = Principal::anonymous();
    if request_id.is_empty() {
        return Ok(Call { principal, request: None });
    }
    if request_id.len() > REQUEST_ID_MAX || !request_id.bytes().all(|b| b.is_ascii_graphic()) {
        let problem = format!("has to have 1 to {REQUEST_ID_MAX} printable ASCII characters without spaces");
        return Err(Invalid::new(InvalidKind::Argument, "request_id", problem));
    }
    let mut digest = Sha256::new();
    digest.update(M::full_name());
    digest.update(body.encode_to_vec());
    Ok(Call {
        principal,
        request: Some(RequestId { id: request_id.to_owned(), fingerprint: digest.finalize().into() }),
    })
}

/// Says who calls, where repeating the call needs no answer kept.
pub fn caller() -> Call {
    Call { principal: Principal::anonymous(), request: None }
}

pub fn spec(spec: proto::Spec) -> Result<Spec, Invalid> {
    let timeout = spec.timeout.map(|timeout| {
        Duration::try_from(timeout)
            .map_err(|_| Invalid::new(InvalidKind::Spec, "spec.timeout", "is negative: leave it out to wait for ever"))
    });
    Spec {
        timeout: timeout.transpose()?,
        auto_approve: spec.auto_approve,
        title: spec.title,
        description: spec.description,
        labels: spec.labels,
        links: spec.links.into_iter().map(|proto::Link { title, url }| Link { title, url }).collect(),
        required_approvals: spec.required_approvals.max(1),
        subject: spec
            .subject
            .filter(|subject| *subject != proto::Subject::default())
            .map(|proto::Subject { uri, digest }| Subject { uri, digest }),
    }
    .validated()
}

pub fn approval(request: &proto::ApproveRequest, voter: Principal) -> Result<Ballot, Invalid> {
    let inputs = request.inputs.as_ref().map(Message::encode_to_vec).unwrap_or_default();
    if inputs.len() > limits::INPUTS_MAX {
        let problem = format!("has {} bytes encoded; at most {} are allowed", inputs.len(), limits::INPUTS_MAX);
        return Err(Invalid::new(InvalidKind::Argument, "inputs", problem));
    }
    if let Some(problem) = request.inputs.as_ref().and_then(|inputs| json_problem(inputs.fields.values(), 1)) {
        return Err(Invalid::new(InvalidKind::Argument, "inputs", problem));
    }
    Ok(Ballot {
        voter,
        on_behalf_of: text("on_behalf_of", &request.on_behalf_of, limits::ON_BEHALF_OF_MAX)?,
        comment: text("comment", &request.comment, limits::COMMENT_MAX)?,
        inputs: Inputs(inputs),
        round: Round::new(request.round),
        etag: etag(&request.etag)?,
        subject_digest: some(text("subject_digest", &request.subject_digest, limits::DIGEST_MAX)?),
    })
}

/// Says why values are not JSON that every client can read back, inside the deepest answer.
fn json_problem<'a>(values: impl IntoIterator<Item = &'a Value>, depth: usize) -> Option<String> {
    if depth > INPUTS_DEPTH_MAX {
        return Some(format!("is nested deeper than {INPUTS_DEPTH_MAX} levels"));
    }
    values.into_iter().find_map(|value| match &value.kind {
        None => Some("has a value without a kind: use null".to_owned()),
        Some(Kind::NumberValue(number)) if !number.is_finite() => {
            Some(format!("has {number}, which is no JSON number"))
        }
        Some(Kind::NullValue(_) | Kind::NumberValue(_) | Kind::StringValue(_) | Kind::BoolValue(_)) => None,
        Some(Kind::StructValue(inner)) => json_problem(inner.fields.values(), depth + 1),
        Some(Kind::ListValue(inner)) => json_problem(&inner.values, depth + 1),
    })
}

pub fn rejection(request: &proto::RejectRequest, voter: Principal) -> Result<Ballot, Invalid> {
    Ok(Ballot {
        voter,
        on_behalf_of: text("on_behalf_of", &request.on_behalf_of, limits::ON_BEHALF_OF_MAX)?,
        comment: text("reason", &request.reason, limits::COMMENT_MAX)?,
        inputs: Inputs::default(),
        round: Round::new(request.round),
        etag: etag(&request.etag)?,
        subject_digest: some(text("subject_digest", &request.subject_digest, limits::DIGEST_MAX)?),
    })
}

pub fn etag(etag: &str) -> Result<Option<Etag>, Invalid> {
    Ok(some(text("etag", etag, ETAG_MAX)?).map(Etag))
}

pub fn name(text: &str) -> Result<GateName, Invalid> {
    GateName::parse("gate", text)
}

pub fn wait(request: proto::WaitRequest, now: SystemTime) -> Result<WaitQuery, Invalid> {
    if request.round != 0 && request.spec.is_some() {
        let problem = "goes without spec: a gate whose round is known exists";
        return Err(Invalid::new(InvalidKind::Argument, "round", problem));
    }
    let waiter = request.waiter.unwrap_or_default();
    Ok(WaitQuery {
        gate: name(&request.gate)?,
        round: Round::new(request.round),
        uid: some(request.uid).map(Uid),
        spec: request.spec.map(spec).transpose()?,
        waiter: Waiter {
            id: text("waiter.id", &waiter.id, WAITER_TEXT_MAX)?,
            host: text("waiter.host", &waiter.host, WAITER_TEXT_MAX)?,
            note: text("waiter.note", &waiter.note, WAITER_TEXT_MAX)?,
            since: now,
        },
    })
}

/// The revision before the one that a watch starts with; none where it starts now.
pub fn before(start: u64) -> Option<Revision> {
    start.checked_sub(1).map(Revision)
}

pub fn statuses(numbers: &[i32]) -> Result<Vec<Status>, Invalid> {
    let unknown = |number| {
        let problem = format!("has {number}, which is no status: use those of GateStatus other than UNSPECIFIED");
        Invalid::new(InvalidKind::Argument, "statuses", problem)
    };
    let known =
        |number: &i32| Status::ALL.into_iter().find(|status| proto::GateStatus::from(*status) as i32 == *number);
    numbers.iter().map(|number| known(number).ok_or_else(|| unknown(*number))).collect()
}

pub fn page_size(asked: u32) -> usize {
    match asked {
        0 => PAGE_SIZE,
        asked => usize::try_from(asked).unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX),
    }
}

pub fn page_token<T>(token: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Invalid> {
    if token.is_empty() {
        return Ok(None);
    }
    let invalid = || Invalid::new(InvalidKind::Argument, "page_token", "is not the next_page_token of a page before");
    parse(token).ok_or_else(invalid).map(Some)
}

fn text(field: &'static str, text: &str, bytes_max: usize) -> Result<String, Invalid> {
    if text.len() > bytes_max {
        let problem = format!("has {} bytes; at most {bytes_max} are allowed", text.len());
        return Err(Invalid::new(InvalidKind::Argument, field, problem));
    }
    Ok(text.to_owned())
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

// Answers.

/// A gate with those who wait on it now.
pub fn view(view: &View) -> proto::Gate {
    proto::Gate {
        waiters: view.waiters.iter().map(live_waiter).collect(),
        waiter_count: u32::try_from(view.waiter_count).unwrap_or(u32::MAX),
        ..proto::Gate::from(&view.gate)
    }
}

fn live_waiter(waiter: &Waiter) -> proto::Waiter {
    proto::Waiter {
        id: waiter.id.clone(),
        host: waiter.host.clone(),
        note: waiter.note.clone(),
        since: Some(waiter.since.into()),
    }
}
