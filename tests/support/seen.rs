//! How answers and events become what the model speaks of, and what can be said of them without it.

use std::collections::BTreeMap;

use gatepost::proto::{Event, EventType, Gate, GateStatus};

use crate::linearizable::{Answered, Asked, Did, Phase, Seen};

pub fn seen(gate: &Gate) -> Seen {
    let by = || gate.resolution.as_ref().unwrap().on_behalf_of.parse().unwrap();
    let phase = match gate.status() {
        GateStatus::Pending => Phase::Pending,
        GateStatus::Waiting => Phase::Waiting,
        GateStatus::Approved => Phase::Approved(by()),
        GateStatus::Rejected => Phase::Rejected(by()),
        GateStatus::TimedOut => Phase::TimedOut,
        GateStatus::Unspecified => panic!("a gate without a status: {gate:?}"),
    };
    Seen { round: gate.round, phase, revision: gate.revision }
}

/// What a refusal says, by its reason and the values that come with it.
pub fn refused<'a>(reason: &str, value: impl Fn(&str) -> &'a str) -> Answered {
    match reason {
        "GATE_NOT_FOUND" => Answered::Missing,
        "ROUND_MISMATCH" => Answered::OtherRound(value("current_round").parse().unwrap()),
        "GATE_ALREADY_RESOLVED" => {
            let by = || value("on_behalf_of").parse().unwrap();
            let phase = match value("status") {
                "APPROVED" => Phase::Approved(by()),
                "REJECTED" => Phase::Rejected(by()),
                "TIMED_OUT" => Phase::TimedOut,
                other => panic!("resolved as {other}"),
            };
            let (round, revision) = (value("round").parse().unwrap(), value("revision").parse().unwrap());
            Answered::Resolved(Seen { round, phase, revision })
        }
        other => panic!("refused as {other}"),
    }
}

/// Says whether the revisions are in the order of time: what was answered before another call began is before it.
pub fn is_in_order_of_revisions(history: &[Did]) -> Result<(), String> {
    let seen = |did: &Did| match did.answered {
        Answered::Gate(seen) | Answered::Resolved(seen) => Some(seen.revision),
        Answered::Missing | Answered::OtherRound(_) | Answered::Unknown => None,
    };
    for before in history {
        for after in history.iter().filter(|after| after.gate == before.gate && before.to < after.from) {
            if let (Some(earlier), Some(later)) = (seen(before), seen(after))
                && later < earlier
            {
                return Err(format!("{after:?} goes back behind {before:?}"));
            }
        }
    }
    Ok(())
}

/// Says whether the log holds what was acknowledged and nothing that nobody asked for, and resolves each round once.
pub fn is_what_the_log_says(history: &[Did], events: &[Event]) -> Result<(), String> {
    let mut log: BTreeMap<u64, Seen> = BTreeMap::new();
    let mut resolutions: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    for event in events {
        log.insert(event.revision, seen(event.gate.as_ref().unwrap()));
        if event.r#type() == EventType::Resolved
            && let Some(first) = resolutions.insert((&event.name, event.round), event.revision)
        {
            return Err(format!(
                "round {} of {} was resolved at {first} and again: {event:?}",
                event.round, event.name
            ));
        }
    }
    for did in history {
        if let Answered::Gate(seen) | Answered::Resolved(seen) = did.answered
            && log.get(&seen.revision) != Some(&seen)
        {
            return Err(format!("the log has {:?} for {did:?}", log.get(&seen.revision)));
        }
    }
    for seen in log.values() {
        let asked = |number| {
            history.iter().any(|did| matches!(did.asked, Asked::Decide(decision) if decision.number == number))
        };
        if let Phase::Approved(number) | Phase::Rejected(number) = seen.phase
            && !asked(number)
        {
            return Err(format!("nobody decided {seen:?}"));
        }
    }
    Ok(())
}
