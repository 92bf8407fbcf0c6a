//! Changes in bursts, made in a process of its own so that its writes and syncs can be recorded.

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use gatepost::domain::{
    Ballot, Command as Ask, Event, EventKind, Gate, GateName, Prefix, Principal, Revision, Spec, Status, Uid, decide,
};
use gatepost::store::sled::Sled;
use gatepost::store::{Change, ListQuery, Old, Request, RequestKey, Store};

/// A small cache, so that pages are read back.
pub const CACHE_BYTES: u64 = 8 * 1024 * 1024;

const DIRECTORY: &str = "GATEPOST_TEST_WORKLOAD";

/// The name of the file that is written to at each acknowledgement, beside the store's directory.
pub const ACKNOWLEDGED: &str = "acknowledged";

/// The name of a store that keeps all events, beside the store's directory, where that one forgets.
pub const KEPT: &str = "kept";

/// What to do to a store.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How many changes to ask for at once, one number for each burst.
    pub bursts: &'static [usize],
    /// How often to go through the bursts.
    pub times: usize,
    /// How many gates there are at most.
    pub gates: usize,
    /// The longest description of a gate, in bytes.
    pub description_max: usize,
    /// How many of the latest events retention keeps, after each burst; 0 keeps all.
    pub keep: u64,
    /// Chooses another series of changes.
    pub seed: u64,
}

/// Runs as a test, and, where a recording asks for it, on the recording's directory.
#[tokio::test]
async fn each_burst_is_acknowledged_with_the_next_revisions() {
    if let Ok(asked) = env::var(DIRECTORY) {
        let mut words = asked.splitn(7, ' ');
        let mut next = || words.next().unwrap();
        let (bursts, times) = (next().split(',').map(|size| size.parse().unwrap()).collect(), next().parse().unwrap());
        let workload = Workload {
            bursts: Vec::leak(bursts),
            times,
            gates: next().parse().unwrap(),
            description_max: next().parse().unwrap(),
            keep: next().parse().unwrap(),
            seed: next().parse().unwrap(),
        };
        workload.run(Path::new(next())).await;
        // As a kill: nothing is closed.
        std::process::exit(0);
    }
    let dir = tempfile::tempdir().unwrap();
    let workload = Workload { bursts: &[1, 10, 50], times: 3, gates: 60, description_max: 100, keep: 0, seed: 0 };
    let acknowledged = workload.run(&dir.path().join("data")).await;
    assert_eq!(acknowledged, 3 * 61);
}

impl Workload {
    /// Runs it in a process of its own, under the command that `words` begin.
    pub fn run_under(self, words: &[&str], data: &Path) {
        let bursts: Vec<_> = self.bursts.iter().map(ToString::to_string).collect();
        let (bursts, data) = (bursts.join(","), data.to_str().unwrap());
        let Self { times, gates, description_max, keep, seed, .. } = self;
        let asked = format!("{bursts} {times} {gates} {description_max} {keep} {seed} {data}");
        let output = Command::new(words[0])
            .args(&words[1..])
            .arg(env::current_exe().unwrap())
            .args(["--exact", "workload::each_burst_is_acknowledged_with_the_next_revisions"])
            .env(DIRECTORY, asked)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Changes gates in bursts, and returns the last revision.
    async fn run(self, data: &Path) -> u64 {
        let store = Sled::open(data, CACHE_BYTES).unwrap();
        let mut acknowledged = File::create(data.with_file_name(ACKNOWLEDGED)).unwrap();
        // Another for each part of a store's life, so that no gate and no request comes twice.
        let mut random = fastrand::Rng::with_seed(self.seed ^ store.revision().0);
        let kept = (self.keep > 0).then(|| Sled::open(&data.with_file_name(KEPT), CACHE_BYTES).unwrap());
        let mut gates = listed(&store).await;
        for burst in self.bursts.repeat(self.times) {
            let numbers = random.choose_multiple(0..self.gates, burst);
            let commits = numbers.into_iter().map(|number| {
                let before = gates.get(&number).cloned();
                let event = self.next(number, before.as_ref(), &mut random);
                let (store, mut acknowledged) = (&store, &acknowledged);
                let request = Some(Request { key: request(&event), fingerprint: [7; 32], time: event.time });
                async move {
                    let event = store.commit(Change { before, event, request }).await.unwrap();
                    acknowledged.write_all(format!("{}\n", event.revision()).as_bytes()).unwrap();
                    (number, event)
                }
            });
            let events: Vec<(usize, Arc<Event>)> = join_all(commits).await;
            let mut revisions: Vec<_> = events.iter().map(|(_, event)| event.revision()).collect();
            revisions.sort();
            assert!(revisions.is_sorted_by(|a, b| a.next() == *b) && revisions.last() == Some(&store.revision()));
            for (number, event) in &events {
                match event.kind {
                    EventKind::Deleted => gates.remove(number),
                    _ => gates.insert(*number, event.gate.clone()),
                };
            }
            if let Some(kept) = &kept {
                copy(events.into_iter().map(|(_, event)| event).collect(), kept).await;
                self.forget(&store).await;
                gates = listed(&store).await;
            }
        }
        acknowledged.flush().unwrap();
        store.revision().0
    }

    async fn forget(&self, store: &Sled) {
        let until = store.revision();
        let below = Revision(until.next().0.saturating_sub(self.keep));
        while store.forget(Old { before: SystemTime::UNIX_EPOCH, below, until }).await.unwrap() {}
    }

    /// Says what happens to a gate next: all that can happen to one, over time.
    fn next(&self, number: usize, gate: Option<&Gate>, random: &mut fastrand::Rng) -> Event {
        let by = || Principal::parse("alice").unwrap();
        let ask = match gate.map(|gate| gate.status) {
            None => {
                let description = "x".repeat(random.usize(..=self.description_max));
                let timeout = Some(Duration::from_secs(random.u64(1..1_000)));
                let uid = Uid(format!("{:032x}", random.u128(..)));
                Ask::Create { uid, spec: Spec { description, timeout, ..Spec::default() }, requester: by() }
            }
            Some(Status::Pending) if random.bool() => Ask::Wait { round: None, uid: None, by: by() },
            Some(Status::Pending | Status::Waiting) if random.bool() => Ask::Reject(Ballot::from(by())),
            Some(Status::Pending | Status::Waiting) => Ask::Approve(Ballot::from(by())),
            Some(_) if random.u8(..4) == 0 => Ask::Delete { by: by().into(), etag: None },
            Some(_) => Ask::Reset { by: by() },
        };
        let name = GateName::parse("gate", &format!("burst/{number}")).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000);
        decide(&name, gate, &ask, now).unwrap().unwrap()
    }
}

async fn listed(store: &Sled) -> BTreeMap<usize, Gate> {
    let prefix = Prefix::parse("prefix", "").unwrap();
    let query = ListQuery { prefix, unresolved: false, after: None, limit: usize::MAX };
    let gates = store.list(query).await.unwrap().gates;
    gates.into_iter().map(|gate| (gate.name.as_str().rsplit('/').next().unwrap().parse().unwrap(), gate)).collect()
}

/// Copies the events of a burst to another store, where they get the same revisions.
async fn copy(mut events: Vec<Arc<Event>>, kept: &Sled) {
    events.sort_by_key(|event| event.revision());
    for event in events {
        // What this one has forgotten, that one still has.
        let before = kept.get(&event.gate.name).await.unwrap();
        let copied = kept.commit(Change { before, event: (*event).clone(), request: None }).await.unwrap();
        assert_eq!(copied, event);
    }
}

/// Names the request of an event: each kind comes once in a round.
pub fn request(event: &Event) -> RequestKey {
    let id = format!("{}:{}:{:?}", event.gate.uid, event.gate.round, event.kind);
    RequestKey::new(&Principal::parse("alice").unwrap(), &id, None)
}
