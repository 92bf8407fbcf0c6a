//! What is to be delivered, a lane for each gate: pure, with the time as an argument.
//!
//! Of each lane only the first message is out, so that a gate's messages come in order. While several gates fail and
//! none succeeds, the receiver itself is taken to be down: one message at a time is tried then, with growing pauses.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::domain::{GateName, Revision};

/// Messages that are held. The log has the rest.
pub const HELD_MAX: usize = 1024;
/// Messages that are out at a time: enough to hide how long a receiver takes, few enough to be no flood.
pub const OUT_MAX: usize = 8;
/// The first pause after a failure, before its random part doubles it at most.
pub const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause that a receiver may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// So many gates fail, and none succeeds, when the receiver is taken to be down. One or two may have messages that it
/// cannot take.
const DOWN_AT: usize = 3;

/// One message in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel<M> {
    /// Whose lane it goes in.
    pub gate: GateName,
    /// What made it.
    pub origin: Origin,
    /// When what it tells happened: how late it is counts from here.
    pub since: SystemTime,
    /// What is delivered.
    pub message: M,
}

/// What made a message, and so what is settled with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An event of the log.
    Event(Revision),
    /// A deadline that comes near.
    Deadline(SystemTime),
    /// Somebody who wants a dead letter delivered.
    Letter(u64),
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub problem: String,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Trying again does not help.
    pub is_final: bool,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead<M> {
    /// The message.
    pub parcel: Parcel<M>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why that failed the last time.
    pub problem: String,
}

/// What is to be delivered to one receiver.
#[derive(Debug)]
pub struct Lanes<M> {
    by_gate: HashMap<GateName, Lane<M>>,
    held: usize,
    out: usize,
    /// Gives lanes that are equally near their turn an order.
    next_turn: u64,
    give_up_after: Duration,
    /// The longest pause, before its random part.
    max_pause: Duration,
    /// Gates that failed since the last success, up to as many as say that the receiver is down.
    failing: HashSet<GateName>,
    /// The pauses since the last success, once the receiver is down.
    pauses: ExponentialBackoff,
    /// Nothing is sent before.
    resume: SystemTime,
    last_problem: String,
}

#[derive(Debug)]
struct Lane<M> {
    queue: VecDeque<Parcel<M>>,
    /// Whether the first message is out.
    is_out: bool,
    /// How often the first message was tried.
    attempts: u32,
    pauses: ExponentialBackoff,
    /// The first message is not sent before.
    resume: SystemTime,
    turn: u64,
}

impl<M: Clone> Lanes<M> {
    /// Makes lanes that give a message up when it has failed and is so late.
    pub fn new(give_up_after: Duration, max_pause: Duration) -> Self {
        Self {
            by_gate: HashMap::new(),
            held: 0,
            out: 0,
            next_turn: 0,
            give_up_after,
            max_pause,
            failing: HashSet::new(),
            pauses: pauses(max_pause),
            resume: SystemTime::UNIX_EPOCH,
            last_problem: String::new(),
        }
    }

    /// Counts the messages that are held.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Says whether more should be taken from the log.
    pub fn has_room(&self) -> bool {
        self.held < HELD_MAX
    }

    /// Adds a message behind those of its gate.
    pub fn push(&mut self, parcel: Parcel<M>) {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.held += 1;
        let lane = self.by_gate.entry(parcel.gate.clone()).or_insert_with(|| Lane {
            queue: VecDeque::new(),
            is_out: false,
            attempts: 0,
            pauses: pauses(self.max_pause),
            resume: SystemTime::UNIX_EPOCH,
            turn,
        });
        lane.queue.push_back(parcel);
    }

    /// Takes a message to send now, if there is one. It is out until [`Self::delivered`] or [`Self::failed`].
    ///
    /// What was tried least comes first: a receiver that cannot take some messages gets the others.
    pub fn next(&mut self, now: SystemTime) -> Option<Parcel<M>> {
        if now < self.resume || self.out >= self.out_max() {
            return None;
        }
        let ready = self.by_gate.values_mut().filter(|lane| !lane.is_out && lane.resume <= now);
        let lane = ready.min_by_key(|lane| (lane.attempts, lane.turn))?;
        let parcel = lane.queue.front()?.clone();
        lane.is_out = true;
        self.out += 1;
        Some(parcel)
    }

    /// Says when [`Self::next`] may have more by itself.
    pub fn wake_at(&self) -> Option<SystemTime> {
        if self.out >= self.out_max() {
            return None;
        }
        let waiting = self.by_gate.values().filter(|lane| !lane.is_out);
        waiting.map(|lane| lane.resume.max(self.resume)).min()
    }

    /// Says that the message of a gate that was out was delivered, and returns it.
    pub fn delivered(&mut self, gate: &GateName) -> Option<Parcel<M>> {
        self.failing.clear();
        self.pauses = pauses(self.max_pause);
        self.back(gate);
        self.shift(gate).map(|(parcel, _)| parcel)
    }

    /// Says that the message of a gate that was out has failed, and returns it if it is given up.
    pub fn failed(&mut self, gate: &GateName, now: SystemTime, failure: Failure) -> Option<Dead<M>> {
        self.back(gate);
        if !self.is_down() {
            self.failing.insert(gate.clone());
        }
        self.last_problem.clone_from(&failure.problem);
        if let Some(asked) = failure.retry_after {
            self.resume = self.resume.max(now + asked.min(RETRY_AFTER_MAX));
        }
        if self.is_down() {
            self.resume = self.resume.max(now + self.pauses.next().unwrap_or(self.max_pause));
        }
        let lane = self.by_gate.get_mut(gate)?;
        lane.attempts += 1;
        lane.resume = now + lane.pauses.next().unwrap_or(self.max_pause);
        let is_late = lane.queue.front().is_some_and(|parcel| is_late(parcel, now, self.give_up_after));
        if !failure.is_final && !is_late {
            return None;
        }
        self.shift(gate).map(|(parcel, attempts)| Dead { parcel, attempts, problem: failure.problem })
    }

    /// Gives up what is late while the receiver is down: that would take an attempt for each otherwise.
    pub fn give_up(&mut self, now: SystemTime) -> Vec<Dead<M>> {
        if !self.is_down() {
            return Vec::new();
        }
        let give_up_after = self.give_up_after;
        let is_late = |lane: &Lane<M>| {
            !lane.is_out && lane.queue.front().is_some_and(|parcel| is_late(parcel, now, give_up_after))
        };
        let mut dead = Vec::new();
        while let Some((gate, _)) = self.by_gate.iter().find(|(_, lane)| is_late(lane)) {
            let gate = gate.clone();
            let late = self.shift(&gate);
            dead.extend(late.map(|(parcel, attempts)| Dead { parcel, attempts, problem: self.last_problem.clone() }));
        }
        dead
    }

    /// Returns what made each message that is held.
    pub fn origins(&self) -> impl Iterator<Item = Origin> + '_ {
        self.by_gate.values().flat_map(|lane| lane.queue.iter().map(|parcel| parcel.origin))
    }

    fn is_down(&self) -> bool {
        self.failing.len() >= DOWN_AT
    }

    fn out_max(&self) -> usize {
        if self.is_down() { 1 } else { OUT_MAX }
    }

    fn back(&mut self, gate: &GateName) {
        if let Some(lane) = self.by_gate.get_mut(gate)
            && lane.is_out
        {
            lane.is_out = false;
            self.out -= 1;
        }
    }

    /// Removes the first message of a lane, and gives the next one a fresh start.
    fn shift(&mut self, gate: &GateName) -> Option<(Parcel<M>, u32)> {
        let lane = self.by_gate.get_mut(gate)?;
        let parcel = lane.queue.pop_front()?;
        let attempts = lane.attempts;
        self.held -= 1;
        lane.attempts = 0;
        lane.pauses = pauses(self.max_pause);
        lane.resume = SystemTime::UNIX_EPOCH;
        lane.turn = self.next_turn;
        self.next_turn += 1;
        if lane.queue.is_empty() {
            self.by_gate.remove(gate);
        }
        Some((parcel, attempts))
    }
}

fn is_late<M>(parcel: &Parcel<M>, now: SystemTime, give_up_after: Duration) -> bool {
    now.duration_since(parcel.since).is_ok_and(|late| late >= give_up_after)
}

fn pauses(max: Duration) -> ExponentialBackoff {
    let pauses = ExponentialBuilder::new().with_min_delay(PAUSE_MIN.min(max)).with_max_delay(max);
    pauses.without_max_times().with_jitter().build()
}

#[cfg(test)]
mod tests;
