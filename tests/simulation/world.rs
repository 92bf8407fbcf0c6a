//! A world: one coordinator, those who use it, and what happens to the network between them.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatepost::client::Client;
use gatepost::proto::*;
use gatepost::store::memory::Memory;
use gatepost::store::sled::Sled;
use gatepost::store::{self, Store};
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use turmoil::Builder;

use crate::chance::Chance;
use crate::faults::Faults;
use crate::linearizable::Did;
use crate::network::{self, COORDINATOR, Scissors};
use crate::watched::{Recorded, record};
use crate::workers::Waited;
use crate::{coordinator, operators, workers};

const WORKERS: usize = 5;
const OPERATORS: usize = 4;
const WATCHERS: usize = 3;
/// How finely time is simulated. Messages take longer than that, so that an effect never comes before its cause.
const TICK: Duration = Duration::from_millis(10);
const LATENCY_MIN: Duration = Duration::from_millis(11);
const LATENCY_MAX: Duration = Duration::from_millis(60);
/// How long the network is faulty.
pub const FAULTY: Duration = Duration::from_secs(30);
/// When whoever still waits has been forgotten: some minutes after the last fault, and more than any client's pause.
const END: Duration = Duration::from_secs(400);

/// Where a coordinator keeps its data: what survives its crash.
#[derive(Clone)]
pub enum Disk {
    Memory(Arc<Memory>),
    Sled(Rc<TempDir>),
}

impl Disk {
    pub fn memory() -> Self {
        Self::Memory(Arc::new(Memory::new()))
    }

    pub fn sled() -> Self {
        Self::Sled(Rc::new(tempfile::tempdir().unwrap()))
    }

    pub fn has_threads(&self) -> bool {
        matches!(self, Self::Sled(_))
    }

    pub fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Memory(store) => store.clone(),
            Self::Sled(dir) => Arc::new(open(&dir.path().join("data"))),
        }
    }
}

/// Opens a store whose last owner may not have let go of it yet.
fn open(dir: &Path) -> Sled {
    const CACHE_BYTES: u64 = 8 * 1024 * 1024;
    loop {
        match Sled::open(dir, CACHE_BYTES) {
            Err(store::Error::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// What those who live in a world tell of it.
#[derive(Default)]
pub struct Told {
    pub did: Vec<Did>,
    pub waits: Vec<Waited>,
    pub watches: Vec<(WatchRequest, Recorded)>,
    /// All that happened.
    pub log: Vec<Event>,
    pub faults: Vec<String>,
}

/// What they share.
#[derive(Clone)]
pub struct World {
    pub told: Rc<RefCell<Told>>,
    operators: Rc<Cell<usize>>,
    workers: Rc<Cell<usize>>,
    /// The last revision, once nothing more will happen.
    end: watch::Sender<Option<u64>>,
}

impl World {
    /// Lives through one world.
    pub fn live(seed: u64, disk: Disk) -> Result<Told, String> {
        let mut chance = Chance::of_seed(seed);
        // The client's pauses have random parts, from this thread's source.
        fastrand::seed(seed);
        let mut sim = Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .min_message_latency(LATENCY_MIN)
            .max_message_latency(LATENCY_MAX)
            .simulation_duration(END)
            .enable_random_order()
            // Larger than what is on its way while a link is held.
            .tcp_capacity(4096)
            .build();
        let world = Self {
            told: Rc::default(),
            operators: Rc::new(Cell::new(OPERATORS)),
            workers: Rc::new(Cell::new(WORKERS)),
            end: watch::Sender::new(None),
        };

        let stop = Arc::new(Notify::new());
        let starts = RefCell::new(chance.fork());
        let (scissors, stopped) = (Scissors::default(), stop.clone());
        let cut = scissors.clone();
        sim.host(COORDINATOR, move || {
            coordinator::run(disk.clone(), starts.borrow_mut().fork(), cut.clone(), stopped.clone())
        });
        let mut users = Vec::new();
        for number in 0..OPERATORS {
            let (user, world, chance) = (format!("operator-{number}"), world.clone(), chance.fork());
            users.push(user.clone());
            sim.client(user, async move {
                let operator = operators::Operator::new(number, world.clone(), chance);
                if number == 0 {
                    operator.be_quick().await;
                } else {
                    operator.work().await;
                }
                world.operators.update(|left| left - 1);
                Ok(())
            });
        }
        for number in 0..WORKERS {
            let (user, world, chance) = (format!("worker-{number}"), world.clone(), chance.fork());
            users.push(user.clone());
            sim.client(user, async move {
                workers::Worker::new(number, world.clone(), chance).work().await;
                world.workers.update(|left| left - 1);
                Ok(())
            });
        }
        for number in 0..WATCHERS {
            let (user, world) = (format!("watcher-{number}"), world.clone());
            users.push(user.clone());
            sim.client(user, async move {
                world.watch(number).await;
                Ok(())
            });
        }
        let (closing, last) = (world.clone(), chance.fork());
        users.push("closer".to_owned());
        sim.client("closer", async move {
            closing.close(last).await;
            Ok(())
        });

        let mut faults = Faults::new(users, scissors, stop, chance);
        loop {
            match sim.step() {
                Ok(true) => break,
                Ok(false) => faults.go_on(&mut sim),
                Err(error) => {
                    let (working, waiting) = (world.operators.get(), world.workers.get());
                    let left = format!("{working} operators still work, {waiting} workers still wait");
                    return Err(format!("{error}: {left}\n{}", faults.told().join("\n")));
                }
            }
        }
        drop(sim);
        let mut told = world.told.take();
        told.faults = faults.told().to_vec();
        Ok(told)
    }

    /// Follows what happens to the end.
    async fn watch(&self, number: usize) {
        // All from the first event on, which has not happened yet, or with what exists first; one of a group only.
        let prefix = if number == 2 { "a" } else { "" }.to_owned();
        let request = match number {
            1 => WatchRequest { prefix, initial_state: true, ..WatchRequest::default() },
            _ => WatchRequest { prefix, start_revision: 1, ..WatchRequest::default() },
        };
        let recorded = record(&network::client(), request.clone(), self.end.subscribe(), || {}).await;
        self.told.borrow_mut().watches.push((request, recorded));
    }

    /// Once the operators have done their work, decides what they left, until nobody waits any more. Then reads the log.
    async fn close(&self, chance: Chance) {
        let mut closer = operators::Operator::new(OPERATORS, self.clone(), chance);
        let mut look = tokio::time::interval(Duration::from_secs(1));
        while self.operators.get() > 0 || turmoil::sim_elapsed().unwrap() < FAULTY {
            look.tick().await;
        }
        while self.workers.get() > 0 {
            closer.decide_all().await;
            look.tick().await;
        }
        let client = network::client();
        let last = CreateGateRequest { gate: "a/last".into(), ..CreateGateRequest::default() };
        let last = client.create(last).await.unwrap();
        self.end.send_replace(Some(last.revision));
        self.told.borrow_mut().log = all(&client).await;
    }
}

async fn all(client: &Client) -> Vec<Event> {
    client.history(ListEventsRequest { page_size: 1000, ..ListEventsRequest::default() }).await.unwrap()
}

impl Told {
    /// Everything, without what is random on purpose: the uids.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for fault in &self.faults {
            writeln!(text, "{fault}").unwrap();
        }
        for did in &self.did {
            writeln!(text, "{did:?}").unwrap();
        }
        for waited in &self.waits {
            writeln!(text, "{waited:?}").unwrap();
        }
        for (request, Recorded { events, bookmarks, cuts }) in &self.watches {
            let revisions: Vec<_> = events.iter().map(|event| event.revision).collect();
            writeln!(text, "{request:?} {revisions:?} {bookmarks:?} {cuts}").unwrap();
        }
        for Event { revision, name, round, r#type, time, .. } in &self.log {
            writeln!(text, "{revision} {name} {round} {type} {time:?}").unwrap();
        }
        text
    }
}
