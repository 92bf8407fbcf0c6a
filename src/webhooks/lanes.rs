//! What is to be delivered, a lane for each gate: pure, with the time as an argument.
//!
//! Of each lane only the first message is out, so that a gate's messages come in order. Dead letters that are delivered
//! again have lanes of their own: they come after all else, take nothing's room and hold nothing up. While several gates
//! fail and none succeeds, the receiver itself is taken to be down: one message at a time is tried then, with growing
//! pauses.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::domain::{GateName, Revision};

/// Messages of the log and of deadlines that are held. The log has the rest.
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
    /// Whose it is.
    pub gate: GateName,
    /// What made it.
    pub origin: Origin,
    /// How late it is counts from here.
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

/// A lane: the one of a gate, or the one of its dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LaneName {
    /// The gate.
    pub gate: GateName,
    /// Whether it is for dead letters that are delivered again.
    pub is_of_letters: bool,
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
    /// Why that failed the last time; never tried: why another message failed.
    pub problem: String,
}

/// What is to be delivered to one receiver.
#[derive(Debug)]
pub struct Lanes<M> {
    by_name: HashMap<LaneName, Lane<M>>,
    /// Messages that are held, and how many of them are dead letters.
    held: usize,
    letters: usize,
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
    /// Why an attempt failed the last time.
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
    /// Why that failed the last time.
    problem: Option<String>,
    /// The first message is not sent before.
    resume: SystemTime,
    turn: u64,
}

impl<M> Parcel<M> {
    /// Says which lane it goes in.
    pub fn lane(&self) -> LaneName {
        LaneName { gate: self.gate.clone(), is_of_letters: self.is_letter() }
    }

    fn is_letter(&self) -> bool {
        matches!(self.origin, Origin::Letter(_))
    }
}

impl<M: Clone> Lanes<M> {
    /// Makes lanes that give a message up when it is so late.
    pub fn new(give_up_after: Duration, max_pause: Duration) -> Self {
        Self {
            by_name: HashMap::new(),
            held: 0,
            letters: 0,
            out: 0,
            next_turn: 0,
            give_up_after,
            max_pause,
            failing: HashSet::new(),
            pauses: pauses(max_pause),
            resume: SystemTime::UNIX_EPOCH,
            last_problem: "its turn did not come in time".to_owned(),
        }
    }

    /// Counts the messages that are held.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Says whether more should be taken from the log.
    pub fn has_room(&self) -> bool {
        self.held - self.letters < HELD_MAX
    }

    /// Adds a message behind those of its lane.
    pub fn push(&mut self, parcel: Parcel<M>) {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.held += 1;
        self.letters += usize::from(parcel.is_letter());
        let lane = self.by_name.entry(parcel.lane()).or_insert_with(|| Lane {
            queue: VecDeque::new(),
            is_out: false,
            attempts: 0,
            pauses: pauses(self.max_pause),
            problem: None,
            resume: SystemTime::UNIX_EPOCH,
            turn,
        });
        lane.queue.push_back(parcel);
    }

    /// Takes a message to send now, if there is one. It is out until [`Self::delivered`] or [`Self::failed`].
    ///
    /// Dead letters come last. What was tried least comes first: a receiver that cannot take some messages gets the
    /// others.
    pub fn next(&mut self, now: SystemTime) -> Option<Parcel<M>> {
        if now < self.resume || self.out >= self.out_max() {
            return None;
        }
        let ready = self.resting().filter(|(_, lane)| lane.resume <= now);
        let (name, _) = ready.min_by_key(|(name, lane)| (name.is_of_letters, lane.attempts, lane.turn))?;
        let name = name.clone();
        let lane = self.by_name.get_mut(&name)?;
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
        self.resting().map(|(_, lane)| lane.resume.max(self.resume)).min()
    }

    /// Says that the message of a lane that was out was delivered, and returns it.
    pub fn delivered(&mut self, name: &LaneName) -> Option<Parcel<M>> {
        self.failing.clear();
        self.pauses = pauses(self.max_pause);
        self.back(name);
        self.shift(name).map(|(parcel, _)| parcel)
    }

    /// Says that the message of a lane that was out has failed, and returns it if trying again does not help.
    pub fn failed(&mut self, name: &LaneName, now: SystemTime, failure: Failure) -> Option<Dead<M>> {
        self.back(name);
        // Who says when to come back is there.
        match failure.retry_after {
            Some(asked) => self.resume = self.resume.max(now + asked.min(RETRY_AFTER_MAX)),
            None if self.is_down() => {}
            None => drop(self.failing.insert(name.gate.clone())),
        }
        self.last_problem.clone_from(&failure.problem);
        if self.is_down() {
            self.resume = self.resume.max(now + self.pauses.next().unwrap_or(self.max_pause));
        }
        let lane = self.by_name.get_mut(name)?;
        lane.attempts += 1;
        lane.resume = now + lane.pauses.next().unwrap_or(self.max_pause);
        lane.problem = Some(failure.problem);
        if failure.is_final { self.drop_first(name) } else { None }
    }

    /// Gives up what is late, tried or not: so nothing is held for longer, however slow the receiver is.
    pub fn give_up(&mut self, now: SystemTime) -> Vec<Dead<M>> {
        let give_up_after = self.give_up_after;
        let is_late = |parcel: &Parcel<M>| now.duration_since(parcel.since).is_ok_and(|late| late >= give_up_after);
        let late = |lane: &Lane<M>| !lane.is_out && lane.queue.front().is_some_and(is_late);
        let names: Vec<_> = self.by_name.iter().filter(|(_, lane)| late(lane)).map(|(name, _)| name.clone()).collect();
        let mut dead = Vec::new();
        for name in names {
            while self.by_name.get(&name).is_some_and(late) {
                dead.extend(self.drop_first(&name));
            }
        }
        dead
    }

    /// Removes a dead letter, and says whether that was done: not if it is not held, or out.
    pub fn withdraw(&mut self, number: u64) -> bool {
        let place = |lane: &Lane<M>| lane.queue.iter().position(|parcel| parcel.origin == Origin::Letter(number));
        let Some((name, place)) = self.by_name.iter().find_map(|(name, lane)| Some((name.clone(), place(lane)?)))
        else {
            return false;
        };
        match self.by_name.get_mut(&name) {
            Some(lane) if place > 0 => {
                lane.queue.remove(place);
                self.held -= 1;
                self.letters -= 1;
                true
            }
            Some(lane) if lane.is_out => false,
            _ => self.shift(&name).is_some(),
        }
    }

    /// Returns what made each message that is held.
    pub fn origins(&self) -> impl Iterator<Item = Origin> + '_ {
        self.by_name.values().flat_map(|lane| lane.queue.iter().map(|parcel| parcel.origin))
    }

    fn is_down(&self) -> bool {
        self.failing.len() >= DOWN_AT
    }

    fn out_max(&self) -> usize {
        if self.is_down() { 1 } else { OUT_MAX }
    }

    /// Returns the lanes whose first message can be sent once it has rested. Those of dead letters wait for their gate's.
    fn resting(&self) -> impl Iterator<Item = (&LaneName, &Lane<M>)> {
        self.by_name.iter().filter(|(name, lane)| {
            let ahead = name.is_of_letters.then(|| LaneName { is_of_letters: false, ..(*name).clone() });
            !lane.is_out && ahead.is_none_or(|ahead| !self.by_name.contains_key(&ahead))
        })
    }

    fn back(&mut self, name: &LaneName) {
        if let Some(lane) = self.by_name.get_mut(name)
            && lane.is_out
        {
            lane.is_out = false;
            self.out -= 1;
        }
    }

    fn drop_first(&mut self, name: &LaneName) -> Option<Dead<M>> {
        let problem = self.by_name.get_mut(name)?.problem.take().unwrap_or_else(|| self.last_problem.clone());
        self.shift(name).map(|(parcel, attempts)| Dead { parcel, attempts, problem })
    }

    /// Removes the first message of a lane, and gives the next one a fresh start.
    fn shift(&mut self, name: &LaneName) -> Option<(Parcel<M>, u32)> {
        let lane = self.by_name.get_mut(name)?;
        let parcel = lane.queue.pop_front()?;
        let attempts = lane.attempts;
        self.held -= 1;
        self.letters -= usize::from(parcel.is_letter());
        lane.attempts = 0;
        lane.pauses = pauses(self.max_pause);
        lane.problem = None;
        lane.resume = SystemTime::UNIX_EPOCH;
        lane.turn = self.next_turn;
        self.next_turn += 1;
        if lane.queue.is_empty() {
            self.by_name.remove(name);
        }
        Some((parcel, attempts))
    }
}

fn pauses(max: Duration) -> ExponentialBackoff {
    let pauses = ExponentialBuilder::new().with_min_delay(PAUSE_MIN.min(max)).with_max_delay(max);
    pauses.without_max_times().with_jitter().build()
}

#[cfg(test)]
mod tests;
