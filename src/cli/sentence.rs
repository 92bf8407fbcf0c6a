//! What gates and events say to people.

use owo_colors::OwoColorize;

use super::status::{coloured, word};
use super::text::{duration, escape, exact, left, relative};
use crate::domain::Principal;
use crate::proto::{
    Authentication, Cause, Event, EventType, Gate, GateStatus, OnTimeout, Resolution, Spec, Timestamp, Verdict, Vote,
};

/// Why a coordinator without identities counts one vote only.
const ONE_VOTER: &str = "without identities, all callers are one voter";

/// Says who ended a gate's round, when, and why.
pub(super) fn outcome(gate: &Gate, now: jiff::Timestamp) -> String {
    let name = escape(&gate.name);
    let Some(resolution) = &gate.resolution else { return format!("{name} {}", coloured(gate.status())) };
    let when = resolution.time.as_ref();
    let when = when.map(|time| format!(" at {} ({})", exact(time), relative(time, now))).unwrap_or_default();
    let timeout = gate.spec.as_ref().and_then(|spec| spec.timeout.as_ref());
    let why = match (resolution.cause(), timeout) {
        (Cause::Timeout, Some(timeout)) => format!(": nobody decided within {}", duration(timeout)),
        _ => why(&resolution.reason),
    };
    format!("{name} {}{when}{why}", how(resolution))
}

/// Says where an undecided gate stands: `waiting, 1 of 2 approvals, waiting for group:ops, 4m 12s left`.
pub(super) fn standing(gate: &Gate, now: jiff::Timestamp) -> String {
    let mut said = vec![coloured(gate.status()), approvals(gate)];
    if gate.round > 1 {
        said.push(format!("round {}", gate.round));
    }
    if let Some(time) = earliest_approval(gate).filter(|time| !is_past(time, now)) {
        said.push(format!("approval counts in {}", left(&time, now)));
    }
    if let (GateStatus::Waiting, Some(deadline)) = (gate.status(), &gate.deadline) {
        let left = left(deadline, now);
        said.push(match on_timeout(gate) {
            OnTimeout::Unspecified | OnTimeout::TimeOut => format!("{left} left"),
            OnTimeout::Approve => format!("approved in {left} if nobody decides"),
            OnTimeout::Reject => format!("rejected in {left} if nobody decides"),
        });
    }
    said.join(", ")
}

/// Says from when on an approval counts; none where that is not known, or any does.
pub(super) fn earliest_approval(gate: &Gate) -> Option<Timestamp> {
    let (wait_time, min_wait) = (gate.wait_time.as_ref()?, gate.spec.as_ref()?.min_wait.as_ref()?);
    let mut time = Timestamp {
        seconds: wait_time.seconds.saturating_add(min_wait.seconds),
        nanos: wait_time.nanos.saturating_add(min_wait.nanos),
    };
    time.normalize();
    Some(time)
}

fn is_past(time: &Timestamp, now: jiff::Timestamp) -> bool {
    (time.seconds, time.nanos) <= (now.as_second(), now.subsec_nanosecond())
}

fn on_timeout(gate: &Gate) -> OnTimeout {
    gate.spec.as_ref().map_or(OnTimeout::Unspecified, Spec::on_timeout)
}

/// Says how many have approved, and who has yet to where that is known: `1 of 2 approvals, waiting for group:ops`.
pub(super) fn approvals(gate: &Gate) -> String {
    let plural = if required(gate) == 1 { "" } else { "s" };
    format!("{} approval{plural}{}", count(gate), awaited(gate))
}

/// Says the same shorter: `1 of 2, waiting for group:ops`.
pub(super) fn progress(gate: &Gate) -> String {
    format!("{}{}", count(gate), awaited(gate))
}

/// Names those who may approve an undecided gate and have not. Who is in a group is not known here.
fn awaited(gate: &Gate) -> String {
    let has_voted = |party: &String| gate.votes.iter().any(|vote| vote.voter == *party);
    let approvers = gate.spec.iter().flat_map(|spec| &spec.approvers);
    let awaited: Vec<_> = approvers.filter(|party| !has_voted(party)).map(|party| escape(party)).collect();
    let all_are_needed = usize::try_from(gate.approvals_missing).is_ok_and(|missing| missing >= awaited.len());
    let list = awaited.join(if all_are_needed { " and " } else { " or " });
    let is_told = gate.resolution.is_none() && !list.is_empty();
    if is_told { format!(", waiting for {list}") } else { String::new() }
}

/// Says how many alone: `1 of 2`.
pub(super) fn count(gate: &Gate) -> String {
    let given = gate.votes.iter().filter(|vote| vote.verdict() == Verdict::Approve).count();
    format!("{given} of {}", required(gate))
}

/// Says what a decision has come to, or would come to if it was only checked.
pub(super) fn decision(gate: &Gate, validate_only: bool) -> String {
    let name = escape(&gate.name);
    let decided = gate.resolution.is_some();
    match (decided, validate_only) {
        (true, false) => format!("{name} {}", coloured(gate.status())),
        (true, true) => format!("{name} would be {}; nothing was changed", word(gate.status())),
        (false, false) => format!("vote recorded: {name} has {}", approvals(gate)),
        (false, true) => format!("{name} would have {}; nothing was changed", approvals(gate)),
    }
}

/// Says that a voter's approval was there before.
pub(super) fn approved_already(gate: &Gate) -> String {
    let is_anonymous = gate.votes.iter().any(|vote| vote.voter == Principal::anonymous().as_str());
    let why = if is_anonymous { format!(" ({ONE_VOTER})") } else { String::new() };
    format!("you have approved already: {} has {}{why}", escape(&gate.name), approvals(gate))
}

/// Says that an undecided gate asks for more or other voters than there are, where that is known.
pub(super) fn too_few_voters(gate: &Gate) -> Option<String> {
    let anonymous = Principal::anonymous();
    if gate.resolution.is_some() || gate.requester != anonymous.as_str() {
        return None;
    }
    let (name, asked, spec) = (escape(&gate.name), required(gate), gate.spec.clone().unwrap_or_default());
    let is_approver = spec.approvers.is_empty() || spec.approvers.iter().any(|party| party == anonymous.as_str());
    if spec.forbid_requester == Some(true) || !is_approver {
        return Some(format!("nobody can approve {name}: {ONE_VOTER}, {anonymous}"));
    }
    (asked > 1).then(|| format!("{name} asks for {asked} approvals and cannot get more than 1: {ONE_VOTER}"))
}

/// Says what happened, on one line.
pub(super) fn event(event: &Event) -> String {
    let gate = event.gate.clone().unwrap_or_default();
    let what = match event.r#type() {
        EventType::Unspecified => "changed".to_owned(),
        EventType::Created if gate.status() == GateStatus::Approved => format!("created{}, approved", by(&event.actor)),
        EventType::Created => format!("created{}", by(&event.actor)),
        EventType::Waiting => match &gate.deadline {
            Some(deadline) => format!("{}, until {}", coloured(GateStatus::Waiting), exact(deadline)),
            None => coloured(GateStatus::Waiting),
        },
        EventType::Voted => {
            let voted = gate.votes.last().map(vote).unwrap_or_default();
            format!("{}: {voted}", approvals(&gate))
        }
        EventType::Resolved => {
            let resolution = gate.resolution.unwrap_or_default();
            format!("{}{}", how(&resolution), why(&resolution.reason))
        }
        EventType::EvidenceReported => format!("evidence{}: {}", by(&event.actor), evidence(&gate)),
        EventType::Reset => format!("reset{}, round {}", by(&event.actor), event.round),
        EventType::Deleted => format!("deleted{}", by(&event.actor)),
        EventType::Existing => format!("is {}", coloured(gate.status())),
    };
    let time = event.time.as_ref().map(exact).unwrap_or_default();
    format!("{time}  {:>6}  {}  {what}", event.revision, escape(&event.name))
}

/// Says what is known of a gate's round: `tests=passed, lint=ok`.
pub(super) fn evidence(gate: &Gate) -> String {
    gate.evidence.iter().map(|(key, value)| escape(&format!("{key}={value}"))).collect::<Vec<_>>().join(", ")
}

/// Says who voted, how, and why.
pub(super) fn vote(vote: &Vote) -> String {
    let verdict = match vote.verdict() {
        Verdict::Unspecified => "unknown",
        Verdict::Approve => "approve",
        Verdict::Reject => "reject",
    };
    let who = by_verified(&vote.voter, vote.authentication());
    format!("{verdict}{who}{}{}", claimed(&vote.on_behalf_of), why(&vote.comment))
}

/// Says how a round ended and who ended it: `approved by bob on behalf of alice (claimed)`.
pub(super) fn how(resolution: &Resolution) -> String {
    let status = coloured(resolution.status());
    let by = by_verified(&resolution.by, resolution.authentication());
    let who = format!("{by}{}", claimed(&resolution.on_behalf_of));
    match resolution.cause() {
        Cause::Unspecified | Cause::Decision | Cause::Timeout => format!("{status}{who}"),
        Cause::AutoApprove => format!("{status} automatically (auto_approve)"),
        Cause::Policy => format!("{status} by the rule"),
        Cause::BreakGlass => format!("{status}{who}, {}", "breaking the glass".red()),
        Cause::Superseded => format!("{status}, superseded{who}"),
        Cause::Cancelled => format!("{status}: deleted undecided{who}"),
    }
}

fn required(gate: &Gate) -> u32 {
    gate.spec.as_ref().map_or(1, |spec| spec.required_approvals.max(1))
}

fn by(principal: &str) -> String {
    if principal.is_empty() { String::new() } else { format!(" by {}", escape(principal)) }
}

/// Says who somebody is, and how that was verified where it was: ` by alice (token)`.
fn by_verified(principal: &str, authentication: Authentication) -> String {
    let how = match authentication {
        Authentication::Unspecified | Authentication::Anonymous => "",
        Authentication::Certificate => " (certificate)",
        Authentication::Token => " (token)",
        Authentication::Jwt => " (JWT)",
    };
    format!("{}{how}", by(principal))
}

fn claimed(on_behalf_of: &str) -> String {
    if on_behalf_of.is_empty() { String::new() } else { format!(" on behalf of {} (claimed)", escape(on_behalf_of)) }
}

fn why(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {}", escape(reason)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Duration;

    fn now() -> jiff::Timestamp {
        jiff::Timestamp::from_second(1_767_366_248).unwrap()
    }

    fn plain(coloured: &str) -> String {
        anstream::adapter::strip_str(coloured).to_string()
    }

    fn resolved(status: GateStatus, cause: Cause, by: &str, reason: &str) -> Gate {
        let time = Some(Timestamp { seconds: 1_767_366_245, nanos: 0 });
        let (status, by, reason) = (status.into(), by.into(), reason.into());
        let resolution = Resolution { status, cause: cause.into(), by, reason, time, ..Resolution::default() };
        Gate { name: "release-42/prod".into(), status, resolution: Some(resolution), ..Gate::default() }
    }

    #[test]
    fn an_outcome_says_who_when_and_why() {
        let mut gate = resolved(GateStatus::Approved, Cause::Decision, "anonymous", "canary is green");
        let told = "release-42/prod approved by anonymous at 2026-01-02 15:04:05Z (3s ago): canary is green";
        assert_eq!(plain(&outcome(&gate, now())), told);
        gate.resolution.as_mut().unwrap().on_behalf_of = "alice\u{1b}[2J".into();
        assert!(outcome(&gate, now()).contains("by anonymous on behalf of alice\\u{1b}[2J (claimed) at"));
    }

    #[test]
    fn a_timeout_never_looks_like_a_person() {
        let mut gate = resolved(GateStatus::TimedOut, Cause::Timeout, "", "");
        gate.spec = Some(Spec { timeout: Some(Duration { seconds: 2, nanos: 0 }), ..Spec::default() });
        let told = "release-42/prod timed out at 2026-01-02 15:04:05Z (3s ago): nobody decided within 2s";
        assert_eq!(plain(&outcome(&gate, now())), told);
    }

    #[test]
    fn causes_other_than_a_decision_are_told() {
        let told = |status, cause, by| plain(&how(resolved(status, cause, by, "").resolution.as_ref().unwrap()));
        assert_eq!(told(GateStatus::Approved, Cause::AutoApprove, "bob"), "approved automatically (auto_approve)");
        let cancelled = told(GateStatus::Rejected, Cause::Cancelled, "bob");
        assert_eq!(cancelled, "rejected: deleted undecided by bob");
        let broken = told(GateStatus::Approved, Cause::BreakGlass, "bob");
        assert_eq!(broken, "approved by bob, breaking the glass");
    }

    #[test]
    fn a_vote_says_what_is_missing() {
        let vote = Vote { verdict: Verdict::Approve.into(), ..Vote::default() };
        let spec = Some(Spec { required_approvals: 2, ..Spec::default() });
        let deadline = Some(Timestamp { seconds: 1_767_366_500, nanos: 0 });
        let (name, status) = ("a".into(), GateStatus::Waiting.into());
        let gate = Gate { name, status, spec, votes: vec![vote], deadline, round: 2, ..Gate::default() };
        assert_eq!(decision(&gate, false), "vote recorded: a has 1 of 2 approvals");
        assert_eq!(decision(&gate, true), "a would have 1 of 2 approvals; nothing was changed");
        assert_eq!(plain(&standing(&gate, now())), "waiting, 1 of 2 approvals, round 2, 4m 12s left");
    }

    #[test]
    fn whom_a_gate_waits_for_and_until_when_is_told() {
        let approvers = vec!["alice".into(), "group:release-managers".into()];
        let spec = Spec { required_approvals: 2, approvers, ..Spec::default() };
        let alice = Vote {
            verdict: Verdict::Approve.into(),
            voter: "alice".into(),
            authentication: Authentication::Token.into(),
            ..Vote::default()
        };
        let gate = Gate {
            status: GateStatus::Waiting.into(),
            votes: vec![alice.clone()],
            approvals_missing: 1,
            wait_time: Some(Timestamp { seconds: 1_767_366_200, nanos: 0 }),
            deadline: Some(Timestamp { seconds: 1_767_366_500, nanos: 0 }),
            spec: Some(spec.clone()),
            ..Gate::default()
        };
        let told = |spec: Spec| plain(&standing(&Gate { spec: Some(spec), ..gate.clone() }, now()));
        let whom = "waiting, 1 of 2 approvals, waiting for group:release-managers";
        assert_eq!(told(spec.clone()), format!("{whom}, 4m 12s left"));
        let min_wait = |seconds| Some(Duration { seconds, nanos: 0 });
        let on_timeout = OnTimeout::Approve.into();
        let early = told(Spec { min_wait: min_wait(60), on_timeout, ..spec.clone() });
        assert_eq!(early, format!("{whom}, approval counts in 12s, approved in 4m 12s if nobody decides"));
        assert_eq!(told(Spec { min_wait: min_wait(48), ..spec.clone() }), format!("{whom}, 4m 12s left"));
        assert_eq!(vote(&alice), "approve by alice (token)");
        assert_eq!(progress(&gate), "1 of 2, waiting for group:release-managers");

        let open = |approvals_missing| Gate { votes: vec![], approvals_missing, ..gate.clone() };
        assert_eq!(approvals(&open(2)), "0 of 2 approvals, waiting for alice and group:release-managers");
        assert_eq!(approvals(&open(1)), "0 of 2 approvals, waiting for alice or group:release-managers");
        let resolved = Gate { resolution: Some(Resolution::default()), ..gate.clone() };
        assert_eq!(approvals(&resolved), "1 of 2 approvals");
    }

    #[test]
    fn approvals_that_cannot_be_reached_are_told() {
        let spec = Some(Spec { required_approvals: 2, ..Spec::default() });
        let vote = Vote { verdict: Verdict::Approve.into(), voter: "anonymous".into(), ..Vote::default() };
        let gate = Gate { name: "a".into(), spec, votes: vec![vote], requester: "anonymous".into(), ..Gate::default() };
        let why = "without identities, all callers are one voter";
        let warning = format!("a asks for 2 approvals and cannot get more than 1: {why}");
        assert_eq!(too_few_voters(&gate), Some(warning));
        let told = format!("you have approved already: a has 1 of 2 approvals ({why})");
        assert_eq!(approved_already(&gate), told);

        for nobody in [
            Spec { forbid_requester: Some(true), ..Spec::default() },
            Spec { approvers: vec!["alice".into(), "group:ops".into()], ..Spec::default() },
        ] {
            let told = too_few_voters(&Gate { spec: Some(nobody), ..gate.clone() });
            assert_eq!(told, Some(format!("nobody can approve a: {why}, anonymous")));
        }
        assert_eq!(too_few_voters(&Gate { requester: "bob".into(), ..gate.clone() }), None);
        assert_eq!(too_few_voters(&Gate { spec: None, ..gate.clone() }), None);
        let by_bob = vec![Vote { voter: "bob".into(), ..gate.votes[0].clone() }];
        let told = "you have approved already: a has 1 of 2 approvals";
        assert_eq!(approved_already(&Gate { votes: by_bob, ..gate }), told);
    }
}
