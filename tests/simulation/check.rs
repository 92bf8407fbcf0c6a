//! What has to hold of what was told, whatever went wrong.

use std::collections::BTreeMap;
use std::fmt;

use gatepost::proto::{Event, EventType, GateStatus};

use crate::linearizable::{Answered, Asked, Did, NEVER, Phase, Seen, is_linearizable};
use crate::operators::nanos;
use crate::seen::{is_in_order_of_revisions, is_what_the_log_says, seen};
use crate::watched;
use crate::workers::{Ended, Waited};
use crate::world::Told;

pub fn check(told: &Told) -> Result<(), String> {
    let calls: Vec<Did> = told.did.iter().cloned().chain(by_themselves(&told.log)).collect();
    is_what_the_log_says(&told.did, &told.log)?;
    is_linearizable(&calls)?;
    is_in_order_of_revisions(&told.did)?;
    deadlines_are_kept(&told.log)?;
    let rounds = resolutions(&told.log);
    told.waits.iter().try_for_each(|waited| is_told_its_round(waited, &rounds))?;
    for (request, recorded) in &told.watches {
        watched::check(&told.log, request, recorded);
    }
    Ok(())
}

/// What the log shows that nobody asked for in a call that is told: waits that create and begin, and timeouts. Each took
/// effect after it was decided, and before the next was.
fn by_themselves(log: &[Event]) -> Vec<Did> {
    let mut next: BTreeMap<&str, i64> = BTreeMap::new();
    let mut did = Vec::new();
    for event in log.iter().rev() {
        let from = nanos(event.time.unwrap());
        let to = next.insert(&event.name, from).unwrap_or(NEVER);
        let gate = event.gate.as_ref().unwrap();
        let asked = match event.r#type() {
            EventType::Created => Asked::Create,
            EventType::Waiting => Asked::Arrive,
            EventType::Resolved if gate.status() == GateStatus::TimedOut => Asked::Expire,
            _ => continue,
        };
        let (gate, answered) = (event.name.clone(), Answered::Gate(seen(gate)));
        did.push(Did { gate, client: u32::MAX, asked, answered, from, to });
    }
    did
}

/// How each round ended that was decided.
fn resolutions(log: &[Event]) -> BTreeMap<(&str, u32), Seen> {
    let ends = log.iter().filter(|event| event.r#type() == EventType::Resolved);
    ends.map(|event| ((event.name.as_str(), event.round), seen(event.gate.as_ref().unwrap()))).collect()
}

/// A deadline is a timeout after the first wait; nothing times out before it, and nothing else is decided at or past it.
fn deadlines_are_kept(log: &[Event]) -> Result<(), String> {
    for event in log {
        let gate = event.gate.as_ref().unwrap();
        let timeout = gate.spec.as_ref().and_then(|spec| spec.timeout);
        let expected = gate.wait_time.zip(timeout).map(|(wait, timeout)| nanos(wait) + timeout.seconds * 1_000_000_000);
        if gate.deadline.map(nanos) != expected {
            return Err(format!("not the timeout after the first wait: {event:?}"));
        }
        let Some(resolution) = gate.resolution.as_ref().filter(|_| event.r#type() == EventType::Resolved) else {
            continue;
        };
        let is_past = expected.is_some_and(|deadline| nanos(resolution.time.unwrap()) >= deadline);
        if is_past != (gate.status() == GateStatus::TimedOut) {
            return Err(format!("timed out early, or decided too late: {event:?}"));
        }
    }
    Ok(())
}

/// A wait ends with the resolution of the first round that was resolved since it was first told of one, and not before
/// that happened.
fn is_told_its_round(waited: &Waited, resolutions: &BTreeMap<(&str, u32), Seen>) -> Result<(), String> {
    let Waited { gate, round: only, told, ended, .. } = waited;
    let resolution = |round: u32| resolutions.get(&(gate.as_str(), round));
    if *ended == Ended::Reset {
        return match resolution(*only) {
            None if *only > 0 => Ok(()),
            missed => Err(format!("{waited:?} missed {missed:?}")),
        };
    }
    let ((_, first), (_, last)) = (told.first().unwrap(), told.last().unwrap());
    let from = if *only == 0 { first.round } else { *only };
    let expected = (from..=last.round).find_map(resolution);
    if expected != Some(last) || *only != 0 && last.round != *only {
        return Err(format!("{waited:?} should have ended with {expected:?}"));
    }
    if !told.is_sorted_by(|(_, one), (_, next)| one.revision <= next.revision) {
        return Err(format!("{waited:?} went back"));
    }
    Ok(())
}

/// What was lived through.
#[derive(Default)]
pub struct Total {
    worlds: usize,
    calls: usize,
    unknown: usize,
    waits: usize,
    wait_cuts: usize,
    reset: usize,
    timed_out: usize,
    watch_cuts: usize,
    events: usize,
    faults: usize,
}

impl Total {
    pub fn add(&mut self, told: &Told) {
        self.worlds += 1;
        self.calls += told.did.len();
        self.unknown += told.did.iter().filter(|did| did.answered == Answered::Unknown).count();
        self.waits += told.waits.len();
        self.wait_cuts += told.waits.iter().map(|waited| waited.cuts).sum::<usize>();
        self.reset += told.waits.iter().filter(|waited| waited.ended == Ended::Reset).count();
        let timed_out = |waited: &&Waited| waited.told.last().is_some_and(|(_, seen)| seen.phase == Phase::TimedOut);
        self.timed_out += told.waits.iter().filter(timed_out).count();
        self.watch_cuts += told.watches.iter().map(|(_, recorded)| recorded.cuts).sum::<usize>();
        self.events += told.log.len();
        self.faults += told.faults.len();
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seeds, {} faults, {} events, ", self.worlds, self.faults, self.events)?;
        write!(f, "{} calls ({} never answered), ", self.calls, self.unknown)?;
        write!(
            f,
            "{} waits ({} timed out, {} reset, {} cuts), ",
            self.waits, self.timed_out, self.reset, self.wait_cuts
        )?;
        write!(f, "{} cuts of watches", self.watch_cuts)
    }
}
