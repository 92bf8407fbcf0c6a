//! The bytes that a store keeps: one byte that says the format, then a protobuf message of `record.proto`.
//!
//! Today's bytes have to stay readable, so they are apart from the API's messages, and `tests/golden` keeps some of each
//! format.

mod crowd;
pub mod json;
mod outbox;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;

use super::{Answer, Error, Fingerprint};
use crate::domain::{
    Authentication, Cause, Event, EventKind, Gate, GateName, Inputs, Link, OnTimeout, Party, Principal, Resolution,
    Revision, Round, Spec, Status, Subject, Uid, Verdict, Vote,
};

pub use crowd::{decode_crowd, encode_crowd};
pub use outbox::{DEAD_LETTER_BYTES_MAX, decode_dead_letter, decode_outbox, encode_dead_letter, encode_outbox};

/// The longest record. The largest gate that the domain allows stays below 112 KiB, and an answer of 10,000 events less.
pub const RECORD_BYTES_MAX: usize = 128 * 1024;

/// The format that is written: its first byte.
const FORMAT: u8 = 1;

/// Encodes an event, stamped or not: its revision is its place in the log, and not a part of the record.
pub fn encode_event(event: &Event) -> Result<Vec<u8>, Error> {
    encode(&event_record(event))
}

fn event_record(event: &Event) -> record::Event {
    record::Event {
        kind: match event.kind {
            EventKind::Created => record::EventKind::Created,
            EventKind::Waiting => record::EventKind::Waiting,
            EventKind::Voted => record::EventKind::Voted,
            EventKind::Resolved => record::EventKind::Resolved,
            EventKind::Reset => record::EventKind::Reset,
            EventKind::Deleted => record::EventKind::Deleted,
            EventKind::EvidenceReported => record::EventKind::EvidenceReported,
        }
        .into(),
        actor: text(event.actor.as_ref()),
        time: nanos(event.time),
        gate: Some(gate_record(&event.gate)),
    }
}

/// Decodes the event at a revision, and stamps it with it.
pub fn decode_event(revision: Revision, bytes: &[u8]) -> Result<Event, Error> {
    let event = decode(bytes).and_then(event).map(|event| event.stamped(revision));
    event.map_err(|problem| Error::Corrupt { place: format!("event {revision}"), problem })
}

/// Encodes how a request was answered.
pub fn encode_answer(fingerprint: &Fingerprint, revisions: &[Revision], time: SystemTime) -> Result<Vec<u8>, Error> {
    encode(&answer_record(fingerprint, revisions, time))
}

fn answer_record(fingerprint: &Fingerprint, revisions: &[Revision], time: SystemTime) -> record::Request {
    record::Request {
        fingerprint: fingerprint.to_vec(),
        revisions: revisions.iter().map(|revision| revision.0).collect(),
        time: nanos(time),
    }
}

/// Decodes how a request was answered. `place` names the record in an error.
pub fn decode_answer(place: &str, bytes: &[u8]) -> Result<Answer, Error> {
    decode(bytes).and_then(answer).map_err(|problem| Error::Corrupt { place: place.to_owned(), problem })
}

fn answer(record: record::Request) -> Parsed<Answer> {
    let fingerprint = Fingerprint::try_from(record.fingerprint);
    let fingerprint = fingerprint.map_err(|bytes| format!("its fingerprint has {} bytes", bytes.len()))?;
    let revisions = record.revisions.into_iter().map(Revision).collect();
    Ok(Answer { fingerprint, revisions, time: time(record.time) })
}

/// Writes a time as nanoseconds since 1970. Times before that, or after 2554, become the nearest it can write: only a
/// broken clock gives them.
pub(super) fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, duration_nanos)
}

/// Reads what [`nanos`] wrote.
pub(super) fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// What was read, or what is wrong with it.
type Parsed<T> = Result<T, String>;

fn encode(record: &impl Message) -> Result<Vec<u8>, Error> {
    let bytes = 1 + record.encoded_len();
    if bytes > RECORD_BYTES_MAX {
        return Err(Error::TooLarge { bytes, bytes_max: RECORD_BYTES_MAX });
    }
    let mut encoded = Vec::with_capacity(bytes);
    encoded.push(FORMAT);
    encoded.extend(record.encode_to_vec());
    Ok(encoded)
}

fn decode<T: Message + Default>(bytes: &[u8]) -> Parsed<T> {
    match bytes {
        [FORMAT, record @ ..] => T::decode(record).map_err(|error| error.to_string()),
        [newer, ..] if *newer > FORMAT => {
            Err(format!("it was written by a newer gatepost, in format {newer}; this one reads format {FORMAT}"))
        }
        [format, ..] => Err(format!("there is no format {format}")),
        [] => Err("it is empty".to_owned()),
    }
}

fn gate_record(gate: &Gate) -> record::Gate {
    record::Gate {
        name: gate.name.as_str().to_owned(),
        uid: gate.uid.0.clone(),
        round: gate.round.get(),
        status: match gate.status {
            Status::Pending => record::Status::Pending,
            Status::Waiting => record::Status::Waiting,
            Status::Approved => record::Status::Approved,
            Status::Rejected => record::Status::Rejected,
            Status::TimedOut => record::Status::TimedOut,
        }
        .into(),
        spec: Some(spec_record(&gate.spec)),
        votes: gate.votes.iter().map(vote_record).collect(),
        resolution: gate.resolution.as_ref().map(|resolution| resolution_record(resolution, gate.revision)),
        requester: gate.requester.as_str().to_owned(),
        create_time: nanos(gate.create_time),
        update_time: nanos(gate.update_time),
        wait_time: gate.wait_time.map(nanos),
        deadline: gate.deadline.map(nanos),
        evidence: gate.evidence.clone(),
        first_waiter: text(gate.first_waiter.as_ref()),
    }
}

fn spec_record(spec: &Spec) -> record::Spec {
    record::Spec {
        timeout: spec.timeout.map(duration_nanos),
        auto_approve: spec.auto_approve,
        title: spec.title.clone(),
        description: spec.description.clone(),
        labels: spec.labels.clone(),
        links: spec
            .links
            .iter()
            .map(|link| record::Link { title: link.title.clone(), url: link.url.clone() })
            .collect(),
        required_approvals: spec.required_approvals,
        subject: spec
            .subject
            .as_ref()
            .map(|subject| record::Subject { uri: subject.uri.clone(), digest: subject.digest.clone() }),
        on_timeout: match spec.on_timeout {
            OnTimeout::TimeOut => record::OnTimeout::TimeOut,
            OnTimeout::Approve => record::OnTimeout::Approve,
            OnTimeout::Reject => record::OnTimeout::Reject,
        }
        .into(),
        min_wait: spec.min_wait.map(duration_nanos),
        approvers: spec.approvers.iter().map(ToString::to_string).collect(),
        forbid_requester: spec.forbid_requester,
    }
}

fn vote_record(vote: &Vote) -> record::Vote {
    record::Vote {
        voter: vote.voter.as_str().to_owned(),
        approve: vote.verdict == Verdict::Approve,
        comment: vote.comment.clone(),
        on_behalf_of: vote.on_behalf_of.clone(),
        time: nanos(vote.time),
        authentication: authentication_record(vote.authentication).into(),
    }
}

fn authentication_record(authentication: Authentication) -> record::Authentication {
    match authentication {
        Authentication::Anonymous => record::Authentication::Anonymous,
        Authentication::Certificate => record::Authentication::Certificate,
        Authentication::Token => record::Authentication::Token,
        Authentication::Jwt => record::Authentication::Jwt,
    }
}

/// The revision of a resolution by the event itself is not known before it is committed, so it is left out.
fn resolution_record(resolution: &Resolution, own: Revision) -> record::Resolution {
    record::Resolution {
        cause: match resolution.cause {
            Cause::Decision => record::Cause::Decision,
            Cause::AutoApprove => record::Cause::AutoApprove,
            Cause::Policy => record::Cause::Policy,
            Cause::Timeout => record::Cause::Timeout,
            Cause::BreakGlass => record::Cause::BreakGlass,
            Cause::Cancelled => record::Cause::Cancelled,
        }
        .into(),
        by: text(resolution.by.as_ref()),
        on_behalf_of: resolution.on_behalf_of.clone(),
        reason: resolution.reason.clone(),
        inputs: resolution.inputs.0.clone(),
        time: nanos(resolution.time),
        revision: if resolution.revision == own { 0 } else { resolution.revision.0 },
        authentication: resolution.authentication.map_or(0, |by| authentication_record(by).into()),
    }
}

fn event(event: record::Event) -> Parsed<Event> {
    let kind = match record::EventKind::try_from(event.kind) {
        Ok(record::EventKind::Created) => EventKind::Created,
        Ok(record::EventKind::Waiting) => EventKind::Waiting,
        Ok(record::EventKind::Voted) => EventKind::Voted,
        Ok(record::EventKind::Resolved) => EventKind::Resolved,
        Ok(record::EventKind::Reset) => EventKind::Reset,
        Ok(record::EventKind::Deleted) => EventKind::Deleted,
        Ok(record::EventKind::EvidenceReported) => EventKind::EvidenceReported,
        Ok(record::EventKind::Unspecified) | Err(_) => return Err(unknown("kind of event", event.kind)),
    };
    let actor = optional_principal(&event.actor)?;
    Ok(Event { kind, actor, time: time(event.time), gate: gate(event.gate.ok_or("it has no gate")?)? })
}

fn gate(gate: record::Gate) -> Parsed<Gate> {
    let status = match record::Status::try_from(gate.status) {
        Ok(record::Status::Pending) => Status::Pending,
        Ok(record::Status::Waiting) => Status::Waiting,
        Ok(record::Status::Approved) => Status::Approved,
        Ok(record::Status::Rejected) => Status::Rejected,
        Ok(record::Status::TimedOut) => Status::TimedOut,
        Ok(record::Status::Unspecified) | Err(_) => return Err(unknown("status", gate.status)),
    };
    if gate.uid.is_empty() {
        return Err("its gate has no uid".to_owned());
    }
    if status.is_terminal() != gate.resolution.is_some() {
        return Err(format!("its gate is {status}, which does not go with the resolution"));
    }
    Ok(Gate {
        name: GateName::parse("gate.name", &gate.name).map_err(|invalid| invalid.to_string())?,
        uid: Uid(gate.uid),
        round: Round::new(gate.round).ok_or("its gate has no round")?,
        status,
        spec: Arc::new(spec(gate.spec.ok_or("its gate has no spec")?)?),
        votes: votes(gate.votes)?,
        evidence: gate.evidence,
        resolution: gate.resolution.map(resolution).transpose()?,
        requester: principal(&gate.requester)?,
        create_time: time(gate.create_time),
        update_time: time(gate.update_time),
        wait_time: gate.wait_time.map(time),
        first_waiter: optional_principal(&gate.first_waiter)?,
        deadline: gate.deadline.map(time),
        revision: Revision::ZERO,
    })
}

fn spec(spec: record::Spec) -> Parsed<Spec> {
    let party = |text: &String| Party::parse("spec.approvers", text).map_err(|invalid| invalid.to_string());
    Ok(Spec {
        timeout: spec.timeout.map(Duration::from_nanos),
        auto_approve: spec.auto_approve,
        title: spec.title,
        description: spec.description,
        labels: spec.labels,
        links: spec.links.into_iter().map(|link| Link { title: link.title, url: link.url }).collect(),
        required_approvals: spec.required_approvals,
        subject: spec.subject.map(|subject| Subject { uri: subject.uri, digest: subject.digest }),
        on_timeout: match record::OnTimeout::try_from(spec.on_timeout) {
            Ok(record::OnTimeout::TimeOut) => OnTimeout::TimeOut,
            Ok(record::OnTimeout::Approve) => OnTimeout::Approve,
            Ok(record::OnTimeout::Reject) => OnTimeout::Reject,
            Err(_) => return Err(unknown("end of a timeout", spec.on_timeout)),
        },
        min_wait: spec.min_wait.map(Duration::from_nanos),
        approvers: spec.approvers.iter().map(party).collect::<Parsed<_>>()?,
        forbid_requester: spec.forbid_requester,
    })
}

fn votes(records: Vec<record::Vote>) -> Parsed<Vec<Vote>> {
    let mut seen = BTreeSet::new();
    let vote = |vote: record::Vote| {
        let voter = principal(&vote.voter)?;
        if !seen.insert(voter.clone()) {
            return Err(format!("its gate has two votes of {voter}"));
        }
        let verdict = if vote.approve { Verdict::Approve } else { Verdict::Reject };
        Ok(Vote {
            voter,
            verdict,
            comment: vote.comment,
            on_behalf_of: vote.on_behalf_of,
            authentication: authentication(vote.authentication)?,
            time: time(vote.time),
        })
    };
    records.into_iter().map(vote).collect()
}

fn authentication(number: i32) -> Parsed<Authentication> {
    Ok(match record::Authentication::try_from(number) {
        Ok(record::Authentication::Anonymous) => Authentication::Anonymous,
        Ok(record::Authentication::Certificate) => Authentication::Certificate,
        Ok(record::Authentication::Token) => Authentication::Token,
        Ok(record::Authentication::Jwt) => Authentication::Jwt,
        Err(_) => return Err(unknown("authentication", number)),
    })
}

fn resolution(resolution: record::Resolution) -> Parsed<Resolution> {
    let cause = match record::Cause::try_from(resolution.cause) {
        Ok(record::Cause::Decision) => Cause::Decision,
        Ok(record::Cause::AutoApprove) => Cause::AutoApprove,
        Ok(record::Cause::Policy) => Cause::Policy,
        Ok(record::Cause::Timeout) => Cause::Timeout,
        Ok(record::Cause::BreakGlass) => Cause::BreakGlass,
        Ok(record::Cause::Cancelled) => Cause::Cancelled,
        Ok(record::Cause::Unspecified) | Err(_) => return Err(unknown("cause", resolution.cause)),
    };
    let by = optional_principal(&resolution.by)?;
    Ok(Resolution {
        cause,
        authentication: by.is_some().then(|| authentication(resolution.authentication)).transpose()?,
        by,
        on_behalf_of: resolution.on_behalf_of,
        reason: resolution.reason,
        inputs: Inputs(resolution.inputs),
        time: time(resolution.time),
        revision: Revision(resolution.revision),
    })
}

fn unknown(what: &str, number: i32) -> String {
    format!("it has the {what} {number}, which this gatepost does not know")
}

fn principal(text: &str) -> Parsed<Principal> {
    Principal::parse(text).map_err(|invalid| invalid.to_string())
}

fn optional_principal(text: &str) -> Parsed<Option<Principal>> {
    if text.is_empty() { Ok(None) } else { principal(text).map(Some) }
}

fn text(principal: Option<&Principal>) -> String {
    principal.map(|principal| principal.as_str().to_owned()).unwrap_or_default()
}

fn duration_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
mod record {
    include!(concat!(env!("OUT_DIR"), "/gatepost.store.rs"));
}

#[cfg(test)]
mod tests;
