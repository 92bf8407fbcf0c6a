//! Compares what a coordinator has with what its clients were told before.

use std::collections::BTreeMap;

use gatepost::client::Client;
use gatepost::proto::{Event, EventType, Gate, GateStatus, GetGateRequest, ListEventsRequest, ListGatesRequest};

use crate::load::{Action, Answer, Entry};

/// Fails with a sentence.
macro_rules! ensure {
    ($holds:expr, $($problem:tt)+) => {
        if !$holds {
            return Err(format!($($problem)+));
        }
    };
}

/// Checks that everything that a client was told is there, and that everything that is there was asked for and is whole.
/// Returns how many answers were found again.
pub async fn check(address: &str, prefix: &str, entries: &[Entry]) -> Result<usize, String> {
    let client = Client::new(address).unwrap();
    let request = ListEventsRequest { prefix: prefix.to_owned(), page_size: 1_000, ..ListEventsRequest::default() };
    let events = client.history(request).await.map_err(|error| format!("no history: {error}"))?;
    let request = ListGatesRequest { prefix: prefix.to_owned(), ..ListGatesRequest::default() };
    let listed = client.list(request).await.map_err(|error| format!("no list: {error}"))?;

    ensure!(events.is_sorted_by(|a, b| a.revision < b.revision), "revisions do not grow");
    let by_revision: BTreeMap<_, _> = events.iter().map(|event| (event.revision, event)).collect();
    let mut found = 0;
    for entry in entries {
        let Some(told) = entry.gate() else { continue };
        let kept = by_revision.get(&told.revision).and_then(|event| event.gate.as_ref());
        ensure!(kept == Some(told), "{:?} {} was answered with {told:?}, and is {kept:?}", entry.action, entry.tag);
        found += 1;
    }
    for event in &events {
        ensure!(is_asked_for(event, entries), "nobody asked for {event:?}");
    }

    let mut gates: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in &events {
        gates.entry(&event.name).or_default().push(event);
    }
    ensure!(listed.len() == gates.len(), "{} gates are listed, {} have a history", listed.len(), gates.len());
    for (listed, (name, history)) in listed.iter().zip(&gates) {
        let last = history.last().and_then(|event| event.gate.as_ref());
        ensure!(Some(listed) == last, "{name} is listed as {listed:?}, its history ends with {last:?}");
        check_history(&client, history).await?;
        check_resets(history, entries)?;
    }
    Ok(found)
}

/// Checks that each event follows from the one before, and that what they left behind can be read.
async fn check_history(client: &Client, history: &[&Event]) -> Result<(), String> {
    let mut before: Option<&Gate> = None;
    let mut past: Option<&Gate> = None;
    for event in history {
        let gate = event.gate.as_ref().ok_or("an event without a gate")?;
        let resolved = gate.status == i32::from(GateStatus::Approved) || gate.status == i32::from(GateStatus::Rejected);
        let follows = match (event.r#type(), before) {
            (EventType::Created, None) => gate.round == 1 && !resolved,
            (EventType::Resolved, Some(before)) => {
                gate.round == before.round && before.resolution.is_none() && resolved && gate.votes.len() == 1
            }
            (EventType::Reset, Some(before)) => {
                past = Some(before);
                gate.round == before.round + 1 && !resolved && gate.votes.is_empty()
            }
            _ => false,
        };
        let is_whole = gate.resolution.is_some() == resolved
            && gate.revision == event.revision
            && gate.round == event.round
            && before.is_none_or(|before| before.uid == gate.uid && before.spec == gate.spec);
        ensure!(follows && is_whole, "{event:?} does not follow from {before:?}");
        before = Some(gate);
    }
    let asked = |gate: &Gate, round| client.get(GetGateRequest { gate: gate.name.clone(), round });
    if let (Some(last), Some(past)) = (before, past) {
        let read = asked(last, past.round).await.map_err(|error| error.to_string())?;
        ensure!(read == *past, "round {} is read as {read:?}, and was {past:?}", past.round);
    }
    if let Some(last) = before {
        let read = asked(last, 0).await.map_err(|error| error.to_string())?;
        ensure!(read == *last, "{} is read as {read:?}, and was {last:?}", last.name);
    }
    Ok(())
}

/// A decision names the call that made it; creations and resets do not.
fn is_asked_for(event: &Event, entries: &[Entry]) -> bool {
    let resolution = event.gate.as_ref().and_then(|gate| gate.resolution.as_ref());
    let (action, reason) = match (event.r#type(), resolution) {
        (EventType::Created, None) => (Action::Create, None),
        (EventType::Reset, None) => (Action::Reset, None),
        (EventType::Resolved, Some(it)) if it.status() == GateStatus::Approved => (Action::Approve, Some(&it.reason)),
        (EventType::Resolved, Some(it)) if it.status() == GateStatus::Rejected => (Action::Reject, Some(&it.reason)),
        _ => return false,
    };
    entries.iter().any(|entry| {
        entry.gate == event.name
            && entry.action == action
            && reason.is_none_or(|reason| *reason == entry.tag)
            && !matches!(entry.answer, Answer::Refused)
    })
}

/// Checks that a gate was reset as often as was acknowledged, or oftener by no more than what was asked.
fn check_resets(history: &[&Event], entries: &[Entry]) -> Result<(), String> {
    let name = &history[0].name;
    let resets = history.iter().filter(|event| event.r#type() == EventType::Reset).count();
    let asked = entries.iter().filter(|entry| entry.gate == *name && entry.action == Action::Reset);
    let acknowledged = asked.clone().filter(|entry| entry.gate().is_some()).count();
    let unknown = asked.filter(|entry| matches!(entry.answer, Answer::Unknown)).count();
    ensure!(
        (acknowledged..=acknowledged + unknown).contains(&resets),
        "{name} was reset {resets} times; {acknowledged} were acknowledged and {unknown} left open"
    );
    Ok(())
}
