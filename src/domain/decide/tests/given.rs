//! Gates and commands that the tests begin with.

use super::*;

/// Makes a gate and runs the commands on it, all at the start; each event takes the next revision.
pub(super) fn gate(spec: Spec, commands: &[Command]) -> Gate {
    let created = decide(&name(), None, &create(spec), START).unwrap().unwrap().stamped(Revision(1)).gate;
    commands.iter().fold(created, |gate, command| event(&gate, command, START).stamped(gate.revision.next()).gate)
}

/// The gates that are resolved: each timed out or was decided after a wait at the start.
pub(super) fn resolved() -> [Gate; 3] {
    let waiting = gate(spec(1), &[wait()]);
    [(approve("ann"), START), (reject("ann"), START), (Command::Expire, deadline())]
        .map(|(command, now)| event(&waiting, &command, now).stamped(Revision(3)).gate)
}

pub(super) fn answer(gate: &Gate, command: &Command, now: SystemTime) -> Result<Option<Event>, Refusal> {
    decide(&name(), Some(gate), command, now)
}

pub(super) fn event(gate: &Gate, command: &Command, now: SystemTime) -> Event {
    answer(gate, command, now).unwrap().unwrap()
}

/// The event that made `gate`, before its stamp.
pub(super) fn of(kind: EventKind, actor: Option<&str>, gate: Gate) -> Event {
    Event { kind, actor: actor.map(principal), time: gate.update_time, gate }
}

/// What every event changes.
pub(super) fn touched(gate: &Gate, now: SystemTime) -> Gate {
    Gate { update_time: now, revision: Revision::ZERO, ..gate.clone() }
}

pub(super) fn unattended(cause: Cause, time: SystemTime) -> Resolution {
    let (on_behalf_of, reason, inputs) = (String::new(), String::new(), Inputs::default());
    Resolution { cause, by: None, authentication: None, on_behalf_of, reason, inputs, time, revision: Revision::ZERO }
}

pub(super) fn decision(by: &str, time: SystemTime) -> Resolution {
    let authentication = Some(Authentication::Anonymous);
    Resolution { by: Some(principal(by)), authentication, ..unattended(Cause::Decision, time) }
}

pub(super) fn vote(voter: &str, verdict: Verdict, time: SystemTime) -> Vote {
    let (comment, on_behalf_of, authentication) = (String::new(), String::new(), Authentication::Anonymous);
    Vote { voter: principal(voter), verdict, comment, on_behalf_of, authentication, time }
}

/// When a round times out that is waited on at the start.
pub(super) fn deadline() -> SystemTime {
    START + TIMEOUT
}

pub(super) fn spec(required_approvals: u32) -> Spec {
    let subject = Some(Subject { uri: "https://example.com/image".into(), digest: "sha256:aa".into() });
    Spec { timeout: Some(TIMEOUT), required_approvals, subject, ..Spec::default() }
}

pub(super) fn forever() -> Spec {
    Spec { timeout: None, subject: None, ..spec(1) }
}

pub(super) fn name() -> GateName {
    GateName::parse("gate", "release-42/prod").unwrap()
}

pub(super) fn principal(text: &str) -> Principal {
    Principal::parse(text).unwrap()
}

pub(super) fn create(spec: Spec) -> Command {
    Command::Create { uid: Uid("uid".into()), spec, requester: principal("requester") }
}

pub(super) fn wait() -> Command {
    Command::Wait { round: None, uid: None, by: principal("worker") }
}

pub(super) fn approve(voter: &str) -> Command {
    Command::Approve(principal(voter).into())
}

pub(super) fn reject(voter: &str) -> Command {
    Command::Reject(principal(voter).into())
}

pub(super) fn break_glass(voter: &str) -> Command {
    Command::BreakGlass(Ballot { comment: "the site is down".into(), ..principal(voter).into() })
}

pub(super) fn reset() -> Command {
    Command::Reset { by: principal("admin") }
}

pub(super) fn delete() -> Command {
    Command::Delete { by: principal("admin").into(), etag: None }
}

/// The table's word for an answer.
pub(super) fn word(answer: &Result<Option<Event>, Refusal>) -> String {
    match answer {
        Ok(None) => "nothing".into(),
        Ok(Some(event)) if event.kind == EventKind::Resolved => event.gate.status.to_string(),
        Ok(Some(event)) => format!("{:?}", event.kind),
        Err(refusal) => format!("{refusal:?}").split(|c: char| !c.is_alphanumeric()).take(1).collect(),
    }
}

pub(super) fn settle() -> Command {
    let etag = Etag("none".into());
    Command::Settle(Ruling { rule: "tests-passed".into(), verdict: Verdict::Approve, etag })
}

/// Makes a ruling one on this very state of a gate.
pub(super) fn looked_at(gate: Option<&Gate>, command: &Command) -> Command {
    match (gate, command) {
        (Some(gate), Command::Settle(ruling)) => Command::Settle(Ruling { etag: gate.etag(), ..ruling.clone() }),
        _ => command.clone(),
    }
}

pub(super) fn report(key: &str, value: &str) -> Command {
    let facts = Facts::parse(BTreeMap::from([(key.to_owned(), value.to_owned())])).unwrap();
    Command::ReportEvidence { facts, round: None, by: principal("ci") }
}
