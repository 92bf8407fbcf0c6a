//! What a store was told, to compare with what it says after a fault.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use gatepost::domain::{Event, EventKind, Gate, GateName, Prefix, Revision};
use gatepost::store::sled::Sled;
use gatepost::store::{DeadlinePlace, Error, HistoryQuery, HistoryScope, ListQuery, Store};

use crate::workload::{CACHE_BYTES, KEPT, request};

/// How long a store may take to open and to be read. The longest that is right takes a second.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// How many single reads of each sort to make: all of a small store, some of a large one, the last of both.
const READS: usize = 300;

/// The log of a store that met no fault.
pub struct Truth(Vec<Arc<Event>>);

/// What is wrong with a store, or why it cannot be read.
#[derive(Debug)]
pub enum Found {
    /// It is what it was after this revision.
    State(Revision),
    /// It says that it cannot be read.
    Refusal(Error),
    /// It is what it never was.
    Wrong(String),
}

/// What reading ends early with.
enum Problem {
    Refused(Error),
    Wrong(String),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Says what is wrong if two readings differ.
macro_rules! same {
    ($what:expr, $read:expr, $expected:expr) => {{
        let (read, expected) = ($read, $expected);
        if read != expected {
            return Err(Problem::Wrong(format!("{}: {}", $what, difference(&read, &expected))));
        }
    }};
}

impl Truth {
    /// Reads the log of a store; where it forgets, of the one beside it.
    pub fn of(data: &Path) -> Self {
        let kept = data.with_file_name(KEPT);
        let store = Sled::open(if kept.exists() { &kept } else { data }, CACHE_BYTES).unwrap();
        let events = run(log(&store, Revision::ZERO, store.revision()));
        Self(events.unwrap_or_else(|_| panic!("a store that met no fault cannot be read")))
    }

    /// Returns the last revision.
    pub fn last(&self) -> Revision {
        self.0.last().map_or(Revision::ZERO, |event| event.revision())
    }

    /// Opens a store and compares all that it says, and whether it goes on from there.
    pub fn check(self: &Arc<Self>, data: &Path) -> Found {
        let (truth, data) = (Arc::clone(self), data.to_owned());
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let found = catch_unwind(AssertUnwindSafe(|| truth.check_here(&data)));
            let found = found.unwrap_or_else(|panic| Found::Wrong(format!("it panics: {}", text(&*panic))));
            // Who asked may have given up.
            drop(tell.send(found));
        });
        told.recv_timeout(HANGS_AFTER).unwrap_or_else(|error| Found::Wrong(format!("it hangs: {error}")))
    }

    fn check_here(&self, data: &Path) -> Found {
        let store = match Sled::open(data, CACHE_BYTES) {
            Ok(store) => store,
            Err(error) => return Found::Refusal(error),
        };
        match run(self.compare(&store)) {
            Ok(revision) => Found::State(revision),
            Err(Problem::Refused(error)) => Found::Refusal(error),
            Err(Problem::Wrong(problem)) => Found::Wrong(problem),
        }
    }

    async fn compare(&self, store: &Sled) -> Result<Revision, Problem> {
        let revision = store.revision();
        let Some(events) = usize::try_from(revision.0).ok().and_then(|length| self.0.get(..length)) else {
            return Err(Problem::Wrong(format!("it is at {revision}, and was never further than {}", self.0.len())));
        };
        let forgotten = usize::try_from(store.oldest().0).unwrap() - 1;
        let Some(kept) = events.get(forgotten..) else {
            return Err(Problem::Wrong(format!("it is at {revision}, and has forgotten up to {forgotten}")));
        };
        let forgotten = Revision(store.oldest().0 - 1);
        same!("the log", log(store, forgotten, revision).await?, kept);

        let mut gates: BTreeMap<GateName, &Gate> = BTreeMap::new();
        let mut past: Vec<&Gate> = Vec::new();
        let mut histories: BTreeMap<&GateName, Vec<Arc<Event>>> = BTreeMap::new();
        for event in events {
            let gate = &event.gate;
            histories.entry(&gate.name).or_default().push(Arc::clone(event));
            let before = match event.kind {
                EventKind::Deleted => gates.remove(&gate.name),
                _ => gates.insert(gate.name.clone(), gate),
            };
            past.extend(before.filter(|_| event.kind == EventKind::Reset));
        }
        // What is resolved is forgotten as a whole.
        gates.retain(|_, gate| !gate.status.is_terminal() || gate.revision > forgotten);
        for event in some(kept.iter()) {
            let answer = store.answer(&request(event)).await?.map(|answer| answer.revisions);
            same!("an answer", answer, Some(vec![event.revision()]));
        }
        if let Some(next) = self.0.get(events.len()) {
            same!("an answer never given", store.answer(&request(next)).await?, None);
        }
        let unresolved: Vec<_> = gates.values().copied().filter(|gate| !gate.status.is_terminal()).cloned().collect();
        same!("the unresolved gates", list(store, true).await?, unresolved);
        same!("the gates", list(store, false).await?, gates.values().copied().cloned().collect::<Vec<_>>());
        same!("the counts", store.counts().await?, gates.values().map(|gate| gate.status).collect());
        let waiting = gates.values().filter(|gate| !gate.status.is_terminal());
        let mut deadlines: Vec<_> = waiting.filter_map(|it| Some((it.deadline?, it.name.clone()))).collect();
        deadlines.sort();
        same!("the deadlines", store.deadlines(&DeadlinePlace::START, usize::MAX).await?, deadlines);
        for gate in some(past.into_iter()) {
            // A gate that was made again has no past.
            let Some(now) = gates.get(&gate.name).filter(|now| now.uid == gate.uid) else { continue };
            same!("a past round", store.past_round(now, gate.round).await?, Some(gate.clone()));
        }
        for (name, history) in some(histories.into_iter()) {
            let scope = HistoryScope::Gate(name.clone());
            let query = HistoryQuery { scope, after: Revision::ZERO, limit: usize::MAX };
            let read = store.history(query).await?.events;
            // Of what was forgotten, that is left which something still points to.
            let is_left = |event: &Arc<Event>| event.revision() > forgotten || read.contains(event);
            let left: Vec<_> = history.into_iter().filter(is_left).collect();
            same!("a history", read, left);
            same!("a gate", store.get(name).await?, gates.get(name).copied().cloned());
        }
        Ok(revision)
    }
}

/// Takes about [`READS`] of many.
fn some<T>(all: impl DoubleEndedIterator<Item = T> + ExactSizeIterator) -> impl Iterator<Item = T> {
    let step = 1 + all.len() / READS;
    all.rev().step_by(step)
}

async fn log(store: &Sled, after: Revision, until: Revision) -> Result<Vec<Arc<Event>>, Problem> {
    let mut events: Vec<Arc<Event>> = Vec::new();
    while let after = events.last().map_or(after, |event| event.revision())
        && after < until
    {
        let next = store.changes_after(after).await?;
        if next.is_empty() {
            return Err(Problem::Wrong(format!("the log ends at {after}, and the store is at {until}")));
        }
        events.extend(next);
    }
    Ok(events)
}

async fn list(store: &Sled, unresolved: bool) -> Result<Vec<Gate>, Problem> {
    let prefix = Prefix::parse("prefix", "").unwrap();
    Ok(store.list(ListQuery { prefix, unresolved, after: None, limit: usize::MAX }).await?.gates)
}

fn run<T>(reading: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(reading)
}

/// Shows two readings where they begin to differ.
fn difference(read: &impl std::fmt::Debug, expected: &impl std::fmt::Debug) -> String {
    let (read, expected) = (format!("{read:?}"), format!("{expected:?}"));
    let common = read.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
    let cut = |text: &str| {
        String::from_utf8_lossy(text.as_bytes().get(common.saturating_sub(60)..).unwrap_or_default())
            .chars()
            .take(300)
            .collect::<String>()
    };
    format!("it says …{}, and was …{}", cut(&read), cut(&expected))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("for no reason")
}
