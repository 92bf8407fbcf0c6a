//! The domain as messages: how gates and events are spelled out in answers, streams and notifications.

use std::time::SystemTime;

use prost::Message;
use prost_types::{Struct, Timestamp};

use super::generated as proto;
use crate::domain::{
    Authentication, Cause, Event, EventKind, Gate, Inputs, Link, OnTimeout, Principal, Resolution, Revision, Spec,
    Status, Verdict, Vote,
};

/// A gate as it is kept, without those who wait on it.
impl From<&Gate> for proto::Gate {
    fn from(gate: &Gate) -> Self {
        Self {
            name: gate.name.to_string(),
            uid: gate.uid.to_string(),
            round: gate.round.get(),
            status: proto::GateStatus::from(gate.status).into(),
            spec: Some(spec_message(&gate.spec)),
            resolution: gate.resolution.as_ref().map(|resolved| resolution(resolved, gate.status)),
            votes: gate.votes.iter().map(vote).collect(),
            approvals_missing: gate.approvals_missing(),
            evidence: gate.evidence.clone(),
            waiters: Vec::new(),
            waiter_count: 0,
            requester: gate.requester.to_string(),
            create_time: Some(gate.create_time.into()),
            update_time: Some(gate.update_time.into()),
            wait_time: gate.wait_time.map(Timestamp::from),
            first_waiter: principal(gate.first_waiter.as_ref()),
            deadline: gate.deadline.map(Timestamp::from),
            revision: gate.revision.0,
            // What would be, but is not, has no state to name.
            etag: if gate.revision == Revision::ZERO { String::new() } else { gate.etag().0 },
        }
    }
}

/// Something that happened.
impl From<&Event> for proto::Event {
    fn from(event: &Event) -> Self {
        let kind = match event.kind {
            EventKind::Created => proto::EventType::Created,
            EventKind::Waiting => proto::EventType::Waiting,
            EventKind::Voted => proto::EventType::Voted,
            EventKind::Resolved => proto::EventType::Resolved,
            EventKind::Reset => proto::EventType::Reset,
            EventKind::Deleted => proto::EventType::Deleted,
            EventKind::EvidenceReported => proto::EventType::EvidenceReported,
        };
        event_message(&event.gate, kind, event.time, event.actor.as_ref())
    }
}

impl proto::Event {
    /// What exists, told as an event.
    #[must_use]
    pub fn existing(gate: &Gate) -> Self {
        event_message(gate, proto::EventType::Existing, gate.update_time, None)
    }
}

fn event_message(after: &Gate, kind: proto::EventType, time: SystemTime, actor: Option<&Principal>) -> proto::Event {
    proto::Event {
        revision: after.revision.0,
        name: after.name.to_string(),
        round: after.round.get(),
        r#type: kind.into(),
        time: Some(time.into()),
        actor: principal(actor),
        gate: Some(after.into()),
    }
}

fn spec_message(spec: &Spec) -> proto::Spec {
    proto::Spec {
        // Bounded by the domain far below what a message can hold.
        timeout: spec.timeout.and_then(|timeout| timeout.try_into().ok()),
        auto_approve: spec.auto_approve,
        title: spec.title.clone(),
        description: spec.description.clone(),
        labels: spec.labels.clone(),
        links: spec
            .links
            .iter()
            .map(|Link { title, url }| proto::Link { title: title.clone(), url: url.clone() })
            .collect(),
        required_approvals: spec.required_approvals,
        subject: spec.subject.as_ref().map(|s| proto::Subject { uri: s.uri.clone(), digest: s.digest.clone() }),
        on_timeout: match spec.on_timeout {
            OnTimeout::TimeOut => proto::OnTimeout::TimeOut,
            OnTimeout::Approve => proto::OnTimeout::Approve,
            OnTimeout::Reject => proto::OnTimeout::Reject,
        }
        .into(),
        min_wait: spec.min_wait.and_then(|min_wait| min_wait.try_into().ok()),
        approvers: spec.approvers.iter().map(ToString::to_string).collect(),
        forbid_requester: spec.forbid_requester,
    }
}

fn resolution(resolution: &Resolution, status: Status) -> proto::Resolution {
    proto::Resolution {
        status: proto::GateStatus::from(status).into(),
        cause: match resolution.cause {
            Cause::Decision => proto::Cause::Decision,
            Cause::AutoApprove => proto::Cause::AutoApprove,
            Cause::Policy => proto::Cause::Policy,
            Cause::Timeout => proto::Cause::Timeout,
            Cause::BreakGlass => proto::Cause::BreakGlass,
            Cause::Cancelled => proto::Cause::Cancelled,
        }
        .into(),
        by: principal(resolution.by.as_ref()),
        on_behalf_of: resolution.on_behalf_of.clone(),
        reason: resolution.reason.clone(),
        inputs: inputs(&resolution.inputs),
        time: Some(resolution.time.into()),
        revision: resolution.revision.0,
        authentication: resolution.authentication.map_or(0, |by| proto::Authentication::from(by).into()),
    }
}

/// Inputs were a message when they came, so they decode.
fn inputs(inputs: &Inputs) -> Option<Struct> {
    (!inputs.0.is_empty()).then(|| Struct::decode(inputs.0.as_slice()).ok()).flatten()
}

fn vote(vote: &Vote) -> proto::Vote {
    proto::Vote {
        voter: vote.voter.to_string(),
        verdict: match vote.verdict {
            Verdict::Approve => proto::Verdict::Approve,
            Verdict::Reject => proto::Verdict::Reject,
        }
        .into(),
        comment: vote.comment.clone(),
        on_behalf_of: vote.on_behalf_of.clone(),
        time: Some(vote.time.into()),
        authentication: proto::Authentication::from(vote.authentication).into(),
    }
}

impl From<Authentication> for proto::Authentication {
    fn from(authentication: Authentication) -> Self {
        match authentication {
            Authentication::Anonymous => Self::Anonymous,
            Authentication::Certificate => Self::Certificate,
            Authentication::Token => Self::Token,
            Authentication::Jwt => Self::Jwt,
        }
    }
}

impl From<Status> for proto::GateStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Waiting => Self::Waiting,
            Status::Approved => Self::Approved,
            Status::Rejected => Self::Rejected,
            Status::TimedOut => Self::TimedOut,
        }
    }
}

fn principal(principal: Option<&Principal>) -> String {
    principal.map(ToString::to_string).unwrap_or_default()
}
