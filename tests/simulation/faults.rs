//! What goes wrong, and when: by chance, for a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use turmoil::Sim;

use crate::chance::Chance;
use crate::network::{COORDINATOR, Scissors};
use crate::world::FAULTY;

/// The longest pause before the next fault. Faults overlap.
const PAUSE_MAX: Duration = Duration::from_millis(1200);
/// How long faults last at most: for a moment, longer than a call tries, longer than a silent connection is kept.
const LENGTHS: [Duration; 4] =
    [Duration::from_millis(80), Duration::from_millis(800), Duration::from_secs(5), Duration::from_secs(15)];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Nothing gets through, either way. What is on its way is lost.
    Partition,
    RequestsLost,
    RepliesLost,
    /// Nothing gets through, until all of it does.
    Hold,
    /// Every connection breaks, and both ends hear of it.
    Cut,
    /// The coordinator's machine is gone, and says good-bye to nobody.
    Crash,
    /// The coordinator ends in good order. It is started again at once.
    Stop,
}

/// The faults of a world.
pub struct Faults {
    users: Vec<String>,
    scissors: Scissors,
    stop: Arc<Notify>,
    chance: Chance,
    next: Duration,
    /// What has to be mended, and when.
    open: Vec<(Duration, Fault, Vec<String>)>,
    told: Vec<String>,
}

impl Faults {
    pub fn new(users: Vec<String>, scissors: Scissors, stop: Arc<Notify>, chance: Chance) -> Self {
        Self { users, scissors, stop, chance, next: Duration::ZERO, open: Vec::new(), told: Vec::new() }
    }

    /// What happened, in order.
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// Mends what is due, and breaks something new if it is time.
    pub fn go_on(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        let is_over = now >= FAULTY;
        let due: Vec<_> = self.open.extract_if(.., |(until, ..)| is_over || *until <= now).collect();
        for (_, fault, users) in due {
            mend(sim, fault, &users);
        }
        if !sim.is_host_running(COORDINATOR) && !self.open.iter().any(|(_, fault, _)| *fault == Fault::Crash) {
            self.start(sim);
        }
        if is_over || now < self.next {
            return;
        }
        self.next = now + self.chance.pause(PAUSE_MAX);
        let fault = self.chance.of(&[
            Fault::Partition,
            Fault::RequestsLost,
            Fault::RepliesLost,
            Fault::RepliesLost,
            Fault::Hold,
            Fault::Cut,
            Fault::Cut,
            Fault::Crash,
            Fault::Stop,
        ]);
        let users = self.some_users();
        let length_max = self.chance.of(&LENGTHS);
        let length = self.chance.pause(length_max);
        self.told.push(format!("{now:?}: {fault:?} for {length:?}, {users:?}"));
        self.strike(sim, fault, &users);
        self.open.push((now + length, fault, users));
    }

    fn strike(&self, sim: &mut Sim<'_>, fault: Fault, users: &[String]) {
        let each = users.iter().map(String::as_str);
        match fault {
            Fault::Partition => each.for_each(|user| sim.partition(user, COORDINATOR)),
            Fault::RequestsLost => each.for_each(|user| sim.partition_oneway(user, COORDINATOR)),
            Fault::RepliesLost => each.for_each(|user| sim.partition_oneway(COORDINATOR, user)),
            Fault::Hold => each.for_each(|user| sim.hold(user, COORDINATOR)),
            Fault::Cut => self.scissors.cut(),
            Fault::Crash => {
                self.silence(sim);
                sim.crash(COORDINATOR);
            }
            Fault::Stop => self.stop.notify_waiters(),
        }
    }

    /// Starts the coordinator, with nothing left of the one before.
    fn start(&self, sim: &mut Sim<'_>) {
        self.silence(sim);
        sim.bounce(COORDINATOR);
        connect(sim, &self.users);
    }

    /// What the coordinator still sends gets nowhere. When it is taken down, its connections are closed in the order of
    /// numbers that are counted over the whole process, so that closing them would not be the same twice.
    fn silence(&self, sim: &Sim<'_>) {
        for user in &self.users {
            sim.partition_oneway(COORDINATOR, user.as_str());
        }
    }

    /// One of them, some, or all.
    fn some_users(&mut self) -> Vec<String> {
        let share = self.chance.of(&[1, 3, 10]);
        self.users.iter().filter(|_| self.chance.below(10) < share).cloned().collect()
    }
}

fn mend(sim: &Sim<'_>, fault: Fault, users: &[String]) {
    match fault {
        Fault::Partition | Fault::RequestsLost | Fault::RepliesLost | Fault::Hold => connect(sim, users),
        // A coordinator is started when it is found down; connections are made again by themselves.
        Fault::Cut | Fault::Crash | Fault::Stop => {}
    }
}

/// Whatever is wrong with the links: what was held is let go, and the next gets through.
fn connect(sim: &Sim<'_>, users: &[String]) {
    for user in users {
        sim.release(user.as_str(), COORDINATOR);
        sim.repair(user.as_str(), COORDINATOR);
    }
}
