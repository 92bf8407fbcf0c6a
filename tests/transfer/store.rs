//! A store that is filled step by step, and its export as lines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost::domain::{
    Authentication, Ballot, Command, Event, Facts, Gate, GateName, Identity, Inputs, Link, Party, Prefix, Principal,
    Revision, Ruling, Spec, Subject, Uid, Verdict, WebhookName, decide,
};
use gatepost::store::{
    Change, DeadLetter, HistoryQuery, HistoryScope, Old, Outbox, OutboxChange, Request, RequestKey, Store, Topic,
};
use gatepost::transfer::{self, Error, File, Imported};
use serde_json::Value;
use tempfile::TempDir;

/// What somebody does to a gate.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Create { rich: bool },
    Approve,
    Reject,
    BreakGlass,
    Wait,
    Report,
    Settle,
    Expire,
    Reset,
    Delete,
}

pub fn name(number: u8) -> GateName {
    GateName::parse("gate", &format!("gates/{number}")).unwrap()
}

pub fn principal(number: u8) -> Principal {
    Principal::parse(&format!("person-{number}")).unwrap()
}

pub fn webhook(text: &str) -> WebhookName {
    WebhookName::parse("name", text).unwrap()
}

/// A moment, some seconds after the start.
pub fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_750_000_000 + seconds, 123_456_789)
}

/// Acts on a gate, as somebody and at a time, unless that is refused or changes nothing.
pub async fn act(store: &dyn Store, gate: u8, act: Act, by: u8, seconds: u64) -> Option<Arc<Event>> {
    change(store, gate, act, by, seconds, None).await
}

/// Acts on a gate as a request that can be repeated.
pub async fn change(
    store: &dyn Store,
    gate: u8,
    act: Act,
    by: u8,
    seconds: u64,
    request: Option<Request>,
) -> Option<Arc<Event>> {
    let before = store.get(&name(gate)).await.unwrap();
    let event = decide(&name(gate), before.as_ref(), &command(act, by, seconds, before.as_ref()), at(seconds));
    Some(store.commit(Change { before, event: event.ok()??, request }).await.unwrap())
}

fn command(act: Act, by: u8, seconds: u64, gate: Option<&Gate>) -> Command {
    // What a gate can hold, all of it, and characters that JSON has other ways to write.
    let text = |what: &str| format!("{what} of {seconds} \u{1f680} \" \\ \u{7f}\u{2028}\n\t");
    let authentication = [Authentication::Anonymous, Authentication::Jwt, Authentication::Token][usize::from(by) % 3];
    let identity = Identity { authentication, ..principal(by).into() };
    let ballot = Ballot {
        comment: text("comment"),
        on_behalf_of: text("boss"),
        inputs: Inputs((0..=by.saturating_mul(40)).collect()),
        ..identity.clone().into()
    };
    match act {
        Act::Create { rich } => {
            let spec = Spec { timeout: Some(Duration::from_millis(2_500)), ..Spec::default() };
            let rich_spec = Spec {
                title: text("title"),
                description: text("description"),
                labels: [("k".to_owned(), text("label")), ("a".to_owned(), String::new())].into(),
                links: vec![Link { title: text("link"), url: "https://ci.example.org/1".to_owned() }],
                required_approvals: 2,
                subject: Some(Subject { uri: "oci://app".to_owned(), digest: "sha256:1".to_owned() }),
                approvers: (0..4).map(|number| Party::Principal(principal(number))).collect(),
                forbid_requester: Some(false),
                ..spec.clone()
            };
            let uid = Uid(format!("uid-{seconds}"));
            Command::Create { uid, spec: if rich { rich_spec } else { spec }, requester: principal(by) }
        }
        Act::Approve => Command::Approve(ballot),
        Act::Reject => Command::Reject(ballot),
        Act::BreakGlass => Command::BreakGlass(ballot),
        Act::Wait => Command::Wait { round: None, uid: None, by: principal(by) },
        Act::Report => {
            let facts = BTreeMap::from([(format!("fact-{by}"), text("value"))]);
            Command::ReportEvidence { facts: Facts::parse(facts).unwrap(), round: None, by: principal(by) }
        }
        Act::Settle => {
            let etag = gate.map_or_else(|| panic!("there is a gate to settle"), Gate::etag);
            Command::Settle(Ruling { rule: "rule".to_owned(), verdict: Verdict::Approve, etag })
        }
        Act::Expire => Command::Expire,
        Act::Reset => Command::Reset { by: principal(by) },
        Act::Delete => Command::Delete { by: identity, etag: None },
    }
}

/// A request of an id.
pub fn request(id: &str, seconds: u64) -> Request {
    let fingerprint = [u8::try_from(seconds % 256).unwrap(); 32];
    Request { key: RequestKey::new(&principal(0), id, None), fingerprint, time: at(seconds) }
}

/// Says how far a webhook has come, and what it gave up.
pub async fn save(store: &dyn Store, of: &str, place: Revision, letters: &[(u64, Revision)]) {
    let outbox = Outbox { place, warned: at(place.0), next_letter: letters.len() as u64 };
    let letter = |(number, revision): &(u64, Revision)| DeadLetter {
        number: *number,
        message_id: format!("message-{number}"),
        topic: Topic::ALL[usize::try_from(number % 4).unwrap()],
        gate: name(1),
        round: gatepost::domain::Round::FIRST,
        revision: *revision,
        attempts: 3,
        problem: "503 \"Busy\"".to_owned(),
        time: at(*number),
    };
    let put = letters.iter().map(letter).collect();
    store.save_outbox(&webhook(of), OutboxChange { outbox, put, remove: vec![] }).await.unwrap();
}

/// Forgets everything below a revision that may be forgotten.
pub async fn forget(store: &dyn Store, below: Revision) {
    let old = Old { before: SystemTime::UNIX_EPOCH, below, until: Revision(u64::MAX) };
    while store.forget(old).await.unwrap() {}
}

/// All events that are kept.
pub async fn events(store: &dyn Store) -> Vec<Arc<Event>> {
    let scope = HistoryScope::Group(Prefix::default());
    store.history(HistoryQuery { scope, after: Revision::ZERO, limit: 10_000 }).await.unwrap().events
}

/// An export as lines.
pub async fn export(store: &dyn Store) -> Vec<Value> {
    let mut file = Vec::new();
    transfer::export(store, at(0), &mut file).await.unwrap();
    String::from_utf8(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Exports one store, and imports that into another.
pub async fn move_over(from: &dyn Store, to: &dyn Store) -> Result<Imported, Error> {
    let (path, _home) = exported(from).await;
    File::check(&path).unwrap().import(to).await
}

/// Exports a store to a file.
pub async fn exported(store: &dyn Store) -> (std::path::PathBuf, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("gates.jsonl");
    transfer::export(store, at(0), std::fs::File::create(&path).unwrap()).await.unwrap();
    (path, home)
}
