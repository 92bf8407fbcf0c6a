//! Between the API's messages and the domain: requests are parsed here once, answers are spelled out here.

use std::time::{Duration, SystemTime};

use prost::{Message, Name};
use prost_types::Value;
use prost_types::value::Kind;
use sha2::{Digest, Sha256};
use tonic::{Request, Status};

use crate::coordinator::{Call, Caller, ListPlace, RequestId, View, WaitQuery};
use crate::domain::{
    Ballot, Etag, GateName, Identity, Inputs, Invalid, InvalidKind, Link, OnTimeout, Party, Revision, Round, Spec,
    Status as GateStatus, Subject, Uid, Waiter, limits,
};
use crate::proto;

use super::status::unauthenticated;

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

/// Takes a request apart: who calls, as it was found out before the call came here, and what they ask.
pub fn received<M>(mut request: Request<M>) -> Result<(Caller, M), Status> {
    let caller = request.extensions_mut().remove::<Caller>();
    // A way into the server that asks nobody who they are lets nobody in.
    let caller = caller.ok_or_else(|| unauthenticated("nobody has asked who calls"))?;
    Ok((caller, request.into_inner()))
}

/// Says who calls, and how to know the call again: by its id and its whole body.
pub fn call<M: Message + Name>(caller: Caller, request_id: &str, body: &M) -> Result<Call, Invalid> {
    if request_id.is_empty() {
        return Ok(Call { caller, request: None });
    }
    if request_id.len() > REQUEST_ID_MAX || !request_id.bytes().all(|b| b.is_ascii_graphic()) {
        let problem = format!("has to have 1 to {REQUEST_ID_MAX} printable ASCII characters without spaces");
        return Err(Invalid::new(InvalidKind::Argument, "request_id", problem));
    }
    let mut digest = Sha256::new();
    digest.update(M::full_name());
    digest.update(body.encode_to_vec());
    Ok(Call { caller, request: Some(RequestId { id: request_id.to_owned(), fingerprint: digest.finalize().into() }) })
}

pub fn spec(spec: proto::Spec) -> Result<Spec, Invalid> {
    let invalid = |field, problem: &str| Invalid::new(InvalidKind::Spec, field, problem);
    let duration = |field, duration: Option<proto::Duration>, problem| {
        duration.map(|duration| Duration::try_from(duration).map_err(|_| invalid(field, problem))).transpose()
    };
    // A party is a text of its own; what is wrong with it is wrong with the spec.
    let party = |text: &String| {
        Party::parse("spec.approvers", text).map_err(|invalid| Invalid { kind: InvalidKind::Spec, ..invalid })
    };
    Spec {
        timeout: duration("spec.timeout", spec.timeout, "is negative: leave it out to wait for ever")?,
        on_timeout: match proto::OnTimeout::try_from(spec.on_timeout) {
            Ok(proto::OnTimeout::Unspecified | proto::OnTimeout::TimeOut) => OnTimeout::TimeOut,
            Ok(proto::OnTimeout::Approve) => OnTimeout::Approve,
            Ok(proto::OnTimeout::Reject) => OnTimeout::Reject,
            Err(_) => return Err(invalid("spec.on_timeout", "is none of OnTimeout: use TIME_OUT, APPROVE or REJECT")),
        },
        min_wait: duration("spec.min_wait", spec.min_wait, "is negative: leave it out to let approvals count at once")?,
        approvers: spec.approvers.iter().map(party).collect::<Result<_, _>>()?,
        forbid_requester: spec.forbid_requester,
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

pub fn approval(request: &proto::ApproveRequest, voter: Identity) -> Result<Ballot, Invalid> {
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
        comment: match broken_glass(request)? {
            Some(reason) => reason,
            None => text("comment", &request.comment, limits::COMMENT_MAX)?,
        },
        inputs: Inputs(inputs),
        round: Round::new(request.round),
        etag: etag(&request.etag)?,
        subject_digest: some(text("subject_digest", &request.subject_digest, limits::DIGEST_MAX)?),
    })
}

/// Returns why an approval overrides what the gate asks for, if it does.
fn broken_glass(request: &proto::ApproveRequest) -> Result<Option<String>, Invalid> {
    let field = "break_glass_reason";
    let invalid = |problem| Err(Invalid::new(InvalidKind::Argument, field, problem));
    match request.break_glass_reason.as_str() {
        "" => Ok(None),
        _ if !request.comment.is_empty() => invalid("goes without comment: it is the reason"),
        reason if reason.trim().is_empty() => invalid("is blank: say why"),
        reason => text(field, reason, limits::COMMENT_MAX).map(Some),
    }
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

pub fn rejection(request: &proto::RejectRequest, voter: Identity) -> Result<Ballot, Invalid> {
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

pub fn statuses(numbers: &[i32]) -> Result<Vec<GateStatus>, Invalid> {
    let unknown = |number| {
        let problem = format!("has {number}, which is no status: use those of GateStatus other than UNSPECIFIED");
        Invalid::new(InvalidKind::Argument, "statuses", problem)
    };
    let known =
        |number: &i32| GateStatus::ALL.into_iter().find(|status| proto::GateStatus::from(*status) as i32 == *number);
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

/// What the token of a place begins with that no name tells. Names begin otherwise.
const HIDDEN: &str = "@";

/// Reads the token of a list.
pub fn list_place(token: &str) -> Option<ListPlace> {
    match token.strip_prefix(HIDDEN) {
        Some(revision) => revision.parse().ok().map(|revision| ListPlace::Hidden(Revision(revision))),
        None => GateName::parse("page_token", token).ok().map(ListPlace::Gate),
    }
}

/// Writes the token of a list.
pub fn list_token(place: ListPlace) -> String {
    match place {
        ListPlace::Gate(name) => name.to_string(),
        ListPlace::Hidden(revision) => format!("{HIDDEN}{revision}"),
    }
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
