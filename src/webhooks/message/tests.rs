//! How messages look.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::domain::{Ballot, Command, GateName, OnTimeout, Principal, Revision, Spec, Uid, decide};

fn sender() -> Sender {
    Sender { store_id: "0b8c4a3e".into(), public_url: "https://gates.example.org".into() }
}

fn who(text: &str) -> Principal {
    Principal::parse(text).unwrap()
}

/// Carries commands out one after the other, a second each, and returns the events.
fn events(commands: Vec<Command>) -> Vec<Arc<Event>> {
    let name = GateName::parse("gate", "release-42/prod").unwrap();
    let mut events: Vec<Arc<Event>> = Vec::new();
    for (command, second) in commands.into_iter().zip(1..) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000 + second);
        let before = events.last().map(|event| &event.gate);
        let event = decide(&name, before, &command, now).unwrap().unwrap();
        events.push(Arc::new(event.stamped(Revision(second))));
    }
    events
}

fn create(spec: Spec) -> Command {
    Command::Create { uid: Uid("u1".into()), spec, requester: who("ci") }
}

fn wait() -> Command {
    Command::Wait { round: None, uid: None, by: who("worker") }
}

fn reject(comment: &str) -> Command {
    Command::Reject(Ballot { comment: comment.into(), ..Ballot::from(who("alice")) })
}

fn break_glass(comment: &str) -> Command {
    Command::BreakGlass(Ballot { comment: comment.into(), ..Ballot::from(who("alice")) })
}

fn reset() -> Command {
    Command::Reset { by: who("ops") }
}

fn delete() -> Command {
    Command::Delete { by: who("ops").into(), etag: None }
}

fn message(topic: Topic, event: &Arc<Event>) -> Message {
    Message { topic, event: Arc::clone(event), time: event.time }
}

fn topics(commands: Vec<Command>) -> Vec<&'static [Topic]> {
    events(commands).iter().map(|event| topics_of(event)).collect()
}

#[test]
fn a_round_is_told_once_when_it_waits_and_once_when_it_ends() {
    let (none, waiting, resolved) = ([].as_slice(), [Topic::Waiting].as_slice(), [Topic::Resolved].as_slice());
    let vote = Command::Approve(Ballot::from(who("bob")));
    let two = Spec { required_approvals: 2, ..Spec::default() };
    let commands = vec![create(two), wait(), vote, reject("no"), reset(), wait(), delete()];
    assert_eq!(topics(commands), [none, waiting, none, resolved, none, waiting, resolved]);
    let approved = Spec { auto_approve: true, ..Spec::default() };
    assert_eq!(topics(vec![create(approved), delete()]), [resolved, none], "the deletion resolves nothing");
    let broken = [Topic::Resolved, Topic::BreakGlass].as_slice();
    assert_eq!(topics(vec![create(Spec::default()), wait(), break_glass("fire")]), [none, waiting, broken]);
}

#[test]
fn an_id_is_the_same_for_the_same_thing_alone() {
    let events = events(vec![create(Spec::default()), wait(), reject("no")]);
    let id = |topic, event| sender().id(&message(topic, &events[event]));
    assert_eq!(id(Topic::Waiting, 1), "0b8c4a3e-2-waiting");
    assert_eq!(id(Topic::Resolved, 2), "0b8c4a3e-3-resolved");
    // A warning is the same whatever the gate's last event was.
    assert_eq!(id(Topic::Expiring, 1), "u1-1-expiring");
    assert_eq!(id(Topic::Expiring, 2), "u1-1-expiring");
}

#[test]
fn a_standard_message_holds_the_event_and_the_page() {
    let events = events(vec![create(Spec { title: "Größe \"42\"".into(), ..Spec::default() }), wait()]);
    let body = sender().standard(&message(Topic::Waiting, &events[1])).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["type"], "gate.waiting");
    assert_eq!(body["timestamp"], "2025-06-15T15:06:42Z");
    assert_eq!(body["data"]["url"], "https://gates.example.org/gates/release-42/prod");
    let event = &body["data"]["event"];
    assert_eq!((&event["type"], &event["revision"]), (&json!("EVENT_TYPE_WAITING"), &json!("2")));
    assert_eq!(event["gate"]["spec"]["title"], "Größe \"42\"");
    assert_eq!(body.as_object().unwrap().len(), 3);
}

#[test]
fn a_slack_message_links_to_the_page_and_mentions_nobody() {
    let evil = "<!channel> *bold* <https://evil.example.org|here> & :tada:";
    let spec = Spec { title: evil.into(), timeout: Some(Duration::from_secs(600)), ..Spec::default() };
    let events = events(vec![create(spec), wait(), reject(evil)]);
    let waiting: Value = serde_json::from_str(&sender().slack(&message(Topic::Waiting, &events[1]))).unwrap();
    assert_eq!(waiting["text"], "release-42/prod waits for approval");
    let types: Vec<_> = waiting["blocks"].as_array().unwrap().iter().map(|block| block["type"].clone()).collect();
    assert_eq!(types, ["header", "section", "context", "actions"]);
    assert_eq!(waiting["blocks"][1]["text"], json!({ "type": "plain_text", "emoji": false, "text": evil }));
    let facts = "round 1, asked for by ci, 1 of 1 approvals missing, until 2025-06-15T15:16:42Z";
    assert_eq!(waiting["blocks"][2]["elements"][0]["text"], facts);
    let button = &waiting["blocks"][3]["elements"][0];
    assert_eq!(
        (&button["type"], &button["url"]),
        (&json!("button"), &json!("https://gates.example.org/gates/release-42/prod"))
    );

    let resolved = sender().slack(&message(Topic::Resolved, &events[2]));
    let resolved: Value = serde_json::from_str(&resolved).unwrap();
    assert_eq!(resolved["text"], "release-42/prod was rejected by alice");
    assert_eq!(resolved["blocks"][1]["text"]["text"], format!("{evil}\n{evil}"));
}

#[test]
fn a_slack_message_says_plainly_that_the_glass_was_broken() {
    let events = events(vec![create(Spec::default()), wait(), break_glass("the site is down")]);
    let told = |topic| serde_json::from_str::<Value>(&sender().slack(&message(topic, &events[2]))).unwrap();
    assert_eq!(told(Topic::Resolved)["text"], "release-42/prod was approved by alice, breaking the glass");
    let alone = told(Topic::BreakGlass);
    assert_eq!(alone["text"], "Break-glass: release-42/prod was approved by alice");
    assert_eq!(alone["blocks"][1]["text"]["text"], "the site is down");
}

#[test]
fn a_deadline_that_decides_is_told_as_what_it_decided() {
    let timeout = Some(Duration::from_secs(1));
    for (on_timeout, told) in [(OnTimeout::Approve, "was approved"), (OnTimeout::Reject, "was rejected")] {
        let commands = vec![create(Spec { timeout, on_timeout, ..Spec::default() }), wait(), Command::Expire];
        let resolved = sender().slack(&message(Topic::Resolved, &events(commands)[2]));
        let resolved: Value = serde_json::from_str(&resolved).unwrap();
        assert_eq!(resolved["text"], format!("release-42/prod {told}, as nobody decided in time"));
    }
}

#[test]
fn a_slack_message_keeps_to_the_bounds_of_blocks() {
    let spec = Spec { title: "ü".repeat(128), description: "ü".repeat(4000), ..Spec::default() };
    let mut events = events(vec![create(spec), wait()]);
    let gate = &mut Arc::make_mut(&mut events[1]).gate;
    gate.requester = who(&"p".repeat(Principal::BYTES_MAX));
    gate.name = GateName::parse("gate", &["x".repeat(63).as_str(); 4].join("/")).unwrap();
    let slack: Value = serde_json::from_str(&sender().slack(&message(Topic::Waiting, &events[1]))).unwrap();
    let chars = |text: &Value| text.as_str().unwrap().chars().count();
    assert_eq!(chars(&slack["blocks"][0]["text"]["text"]), 150);
    assert_eq!(chars(&slack["blocks"][1]["text"]["text"]), 3000);
    assert!(chars(&slack["blocks"][2]["elements"][0]["text"]) <= 3000);
}
