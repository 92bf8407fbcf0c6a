//! The suite that every store passes, and what only a store on disk has to do.

mod durability;
mod failure;
mod length;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::domain::{Command, Spec};
use crate::store::conformance::{
    act, approve, at, change, changes_until, conformance, create, delete, make, name, prefix, request, reset, wait,
};

const CACHE_BYTES: u64 = 8 * 1024 * 1024;

conformance!(temporary());

fn temporary() -> (Sled, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(dir.path()), dir)
}

fn open(dir: &Path) -> Sled {
    Sled::open(dir, CACHE_BYTES).unwrap()
}

/// Counts the barriers of a store from now on, and lets them fail.
#[cfg(target_os = "linux")]
fn count_barriers(dir: &TempDir, fail: bool) -> Arc<AtomicUsize> {
    let barriers = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&barriers);
    barrier::observer::observe(dir.path(), move || {
        counter.fetch_add(1, Ordering::SeqCst);
        fail
    });
    barriers
}

#[tokio::test]
async fn what_an_import_left_half_done_is_not_opened() {
    let (store, dir) = temporary();
    store.begin_import().await.unwrap();
    make(&store, "a").await;
    drop(store);
    for _ in 0..2 {
        let refused = Sled::open(dir.path(), CACHE_BYTES).unwrap_err().to_string();
        assert!(refused.contains("an import into it broke off: remove the directory"), "{refused}");
    }

    let (store, dir) = temporary();
    store.begin_import().await.unwrap();
    make(&store, "a").await;
    store.end_import().await.unwrap();
    drop(store);
    assert!(open(dir.path()).get(&name("a")).await.unwrap().is_some());
}

fn with_timeout(seconds: u64) -> Command {
    create(Spec { timeout: Some(Duration::from_secs(seconds)), ..Spec::default() })
}

#[tokio::test]
async fn opening_again_keeps_everything() {
    let (store, dir) = temporary();
    act(&store, "a", with_timeout(10), 0).await;
    act(&store, "a", wait(), 1).await;
    let first = act(&store, "a", approve("alice"), 2).await;
    act(&store, "a", reset(), 3).await;
    let gate = act(&store, "a", wait(), 4).await.gate.clone();
    make(&store, "gone").await;
    act(&store, "gone", delete(), 5).await;
    let (one, two) = (request("one"), request("two"));
    let change = change(&name("b"), None, &create(Spec::default()), 6);
    let last = store.commit(Change { request: Some(one.clone()), ..change }).await.unwrap().revision();
    store.remember(two.clone(), vec![first.revision(), last]).await.unwrap();
    let (hook, outbox) =
        (WebhookName::parse("name", "a").unwrap(), Outbox { place: last, warned: at(5), next_letter: 1 });
    let change = OutboxChange { outbox: outbox.clone(), put: vec![], remove: vec![] };
    store.save_outbox(&hook, change).await.unwrap();
    let (id, events) = (store.id().to_owned(), changes_until(&store, last).await);
    drop(store);

    let store = open(dir.path());
    assert_eq!((store.id(), store.revision()), (id.as_str(), last));
    assert_eq!(store.get(&gate.name).await.unwrap().as_ref(), Some(&gate));
    assert_eq!(store.outbox(&hook).await.unwrap(), Some(outbox));
    assert_eq!(store.get(&name("gone")).await.unwrap(), None);
    assert_eq!(store.past_round(&gate, Round::FIRST).await.unwrap().as_ref(), Some(&first.gate));
    assert_eq!(store.answer(&one.key).await.unwrap().unwrap().revisions, [last]);
    assert_eq!(store.answer(&two.key).await.unwrap().unwrap().revisions, [first.revision(), last]);
    assert_eq!(store.deadlines(&DeadlinePlace::START, 9).await.unwrap(), [(at(14), gate.name.clone())]);
    let query = ListQuery { prefix: prefix(""), unresolved: true, after: None, limit: 9 };
    let page = store.list(query).await.unwrap();
    assert_eq!(page.gates.iter().map(|gate| gate.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let query = HistoryQuery { scope: HistoryScope::Gate(name("a")), after: Revision::ZERO, limit: 9 };
    assert_eq!(store.history(query).await.unwrap().events, events[..5]);

    // First from the log, then from memory.
    assert_eq!(changes_until(&store, last).await, events);
    let next = make(&store, "c").await;
    assert!(next.revision() > last);
    assert_eq!(store.changes_after(last).await.unwrap(), [Arc::clone(&next)]);
    assert_eq!(changes_until(&store, next.revision()).await.len(), events.len() + 1);
}

#[tokio::test]
async fn who_is_far_behind_reads_the_log() {
    let (store, _dir) = temporary();
    let mut last = Revision::ZERO;
    // More than is kept in memory.
    for number in 0..100 {
        let spec = Spec { description: "x".repeat(100_000), ..Spec::default() };
        last = act(&store, &number.to_string(), create(spec), 0).await.revision();
    }
    assert!(matches!(store.shared.feed.after(Revision::ZERO).await.unwrap(), Changes::Logged(_)));
    let events = changes_until(&store, last).await;
    assert!(events.iter().map(|event| event.revision().0).eq(1..=100));
}

#[tokio::test]
async fn the_index_of_unresolved_gates_holds_no_others() {
    let (store, _dir) = temporary();
    for gate in ["approved", "deleted", "pending", "reset", "waiting"] {
        act(&store, gate, with_timeout(10), 0).await;
    }
    act(&store, "auto", create(Spec { auto_approve: true, ..Spec::default() }), 0).await;
    act(&store, "approved", approve("alice"), 1).await;
    act(&store, "deleted", delete(), 1).await;
    act(&store, "reset", approve("alice"), 1).await;
    act(&store, "reset", reset(), 2).await;
    act(&store, "waiting", wait(), 1).await;

    let index = store.shared.disk.index(keys::group(keys::UNRESOLVED, &prefix(""), None));
    let names = index.map(|entry| keys::gate_name(&entry.unwrap().0).unwrap());
    assert!(names.eq(["pending", "reset", "waiting"].map(name)));
}

#[test]
fn two_cannot_open_a_store() {
    let (store, dir) = temporary();
    let second = Sled::open(dir.path(), CACHE_BYTES);
    assert!(matches!(&second, Err(Error::Locked { path }) if path == dir.path()), "{second:?}");
    drop(store);
    // Ours is enough: it is there before sled looks at its files.
    let lock = fs::File::open(dir.path().join("LOCK")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(matches!(Sled::open(dir.path(), CACHE_BYTES), Err(Error::Locked { .. })));
    drop(lock);
    // At once, and many times over: dropping it has closed it.
    for _ in 0..5 {
        drop(open(dir.path()));
    }
}

#[test]
fn a_store_is_made_with_the_directories_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let nested = dir.path().join("a/b");
    drop(open(&nested));
    assert!(nested.join("sled").is_dir());

    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Sled::open(&file.join("c"), CACHE_BYTES).unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error}");
}

#[test]
fn a_half_written_snapshot_is_removed() {
    let (store, dir) = temporary();
    drop(store);
    let snapshot = dir.path().join("sled/snap.0000000000000FFF.generating");
    fs::write(&snapshot, "half").unwrap();
    drop(open(dir.path()));
    assert!(!snapshot.exists());
}

#[test]
fn a_newer_layout_is_refused() {
    let (store, dir) = temporary();
    store.shared.disk.db.insert(keys::FORMAT, &[2]).unwrap();
    drop(store);
    let error = Sled::open(dir.path(), CACHE_BYTES).unwrap_err().to_string();
    assert!(error.contains("a newer gatepost wrote it, in format 2; this one reads format 1"), "{error}");
}

#[test]
fn what_is_no_store_is_refused() {
    let foreign = tempfile::tempdir().unwrap();
    let db = sled::open(foreign.path().join("sled")).unwrap();
    db.insert("some", "thing").unwrap();
    drop(db);
    let error = Sled::open(foreign.path(), CACHE_BYTES).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { problem, .. } if problem.contains("restore a backup")), "{error}");

    let broken = tempfile::tempdir().unwrap();
    fs::create_dir(broken.path().join("sled")).unwrap();
    fs::write(broken.path().join("sled/conf"), "no configuration").unwrap();
    let error = Sled::open(broken.path(), CACHE_BYTES).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { problem, .. } if problem.contains("restore a backup")), "{error}");
}

#[tokio::test]
async fn gates_are_counted_at_once_after_a_start_and_anew_where_they_never_were() {
    let (store, dir) = temporary();
    make(&store, "a").await;
    make(&store, "b").await;
    act(&store, "b", approve("alice"), 1).await;
    let counts = store.counts().await.unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!((store.shared.disk.counts().unwrap(), store.counts().await.unwrap()), (Some(counts), counts));

    // As by a gatepost that did not count.
    store.shared.disk.db.remove(keys::COUNTS).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!((store.shared.disk.counts().unwrap(), store.counts().await.unwrap()), (None, counts));
    make(&store, "c").await;
    let counts = store.counts().await.unwrap();
    drop(store);
    assert_eq!(open(dir.path()).shared.disk.counts().unwrap(), Some(counts));
}
