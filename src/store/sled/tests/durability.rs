//! Nothing is acknowledged or shown before it is durable, and what is durable is where sled syncs it.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use super::*;
use crate::store::conformance::is_pending;

/// Holds the committer between a batch's write and its flush. Dropped to let it go on.
struct Held(#[allow(dead_code, reason = "dropped to let the committer go on")] mpsc::Sender<()>);

/// Holds the next batch. The answer waits until it is held.
fn hold_next_batch(store: &Sled) -> impl FnOnce() -> Held + use<> {
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let hold = move || {
        entered.send(()).unwrap();
        assert!(released.recv().is_err());
    };
    *store.shared.disk.before_flush.lock().unwrap() = Some(Box::new(hold));
    move || {
        has_entered.recv().unwrap();
        Held(release)
    }
}

/// Polls commits once each, which queues them in their order.
async fn queue<F: Future + Unpin>(commits: &mut [F]) {
    for commit in commits {
        assert!(is_pending(commit).await);
    }
}

#[test]
fn nothing_is_shown_before_it_is_durable() {
    // One thread for reads, so that whatever runs on it comes after the reads that were begun before.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (store, _dir) = temporary();
        make(&store, "untouched").await;
        let gone = make(&store, "gone").await.gate.clone();
        act(&store, "waits", with_timeout(10), 0).await;
        let waits = act(&store, "waits", wait(), 0).await.gate.clone();
        let durable = store.revision();

        // The first batch is held so that all else comes together in the second.
        let first = hold_next_batch(&store);
        let mut early = pin!(make(&store, "early"));
        assert!(is_pending(&mut early).await);
        let first = first();
        let with_request = Change {
            request: Some(request("with an event")),
            ..change(&name("made"), None, &create(Spec::default()), 1)
        };
        let mut commits = [
            store.commit(with_request),
            store.commit(change(&gone.name, Some(gone.clone()), &delete(), 1)),
            store.commit(change(&waits.name, Some(waits.clone()), &approve("alice"), 1)),
        ];
        queue(&mut commits).await;
        let mut remembered = store.remember(request("without"), vec![durable]);
        assert!(is_pending(&mut remembered).await);
        let second = hold_next_batch(&store);
        drop(first);
        let second = second();
        let early = early.await;

        // The second batch is in the tree, and not durable.
        assert_eq!(store.shared.disk.pointer(&keys::gate(keys::GATES, &gone.name)).unwrap(), None);
        assert_eq!(store.revision(), early.revision());
        assert_eq!(store.event(early.revision().next()).await.unwrap(), None);
        assert!(store.get(&name("untouched")).await.unwrap().is_some(), "it need not wait");
        let query = HistoryQuery { scope: HistoryScope::Gate(waits.name.clone()), after: Revision::ZERO, limit: 9 };
        assert_eq!(store.history(query.clone()).await.unwrap().events.len(), 2);
        let group = HistoryQuery { scope: HistoryScope::Group(prefix("")), ..query };
        assert_eq!(store.history(group).await.unwrap().events.last(), Some(&early));

        let made = name("made");
        let mut gets = [store.get(&made), store.get(&gone.name), store.get(&waits.name)];
        let (one, two) = (request("with an event").key, request("without").key);
        let mut answers = [store.answer(&one), store.answer(&two)];
        let query = ListQuery { prefix: prefix(""), unresolved: true, after: None, limit: 9 };
        let mut list = store.list(query);
        let start = DeadlinePlace::START;
        let mut deadlines = store.deadlines(&start, 9);
        let mut changes = store.changes_after(early.revision());
        for _ in 0..2 {
            queue(&mut gets).await;
            queue(&mut answers).await;
            queue(&mut commits).await;
            assert!(is_pending(&mut remembered).await);
            assert!(is_pending(&mut list).await);
            assert!(is_pending(&mut deadlines).await);
            assert!(is_pending(&mut changes).await);
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        }

        drop(second);
        let [made, gone, waits] = gets;
        assert!(made.await.unwrap().is_some());
        assert!(gone.await.unwrap().is_none());
        assert!(waits.await.unwrap().unwrap().status.is_terminal());
        for answer in answers {
            assert!(answer.await.unwrap().is_some());
        }
        let listed = list.await.unwrap();
        assert_eq!(
            listed.gates.iter().map(|gate| gate.name.as_str()).collect::<Vec<_>>(),
            ["early", "made", "untouched"]
        );
        assert_eq!(deadlines.await.unwrap(), []);
        let changes = changes.await.unwrap();
        assert_eq!(changes.len(), 3);
        for (commit, change) in commits.into_iter().zip(changes) {
            assert_eq!(commit.await.unwrap(), change);
        }
        remembered.await.unwrap();
    });
}

#[tokio::test]
async fn a_conflict_is_answered_when_it_can_be_read() {
    let (store, _dir) = temporary();
    let held = hold_next_batch(&store);
    let create = || change(&name("a"), None, &create(Spec::default()), 0);
    let mut early = pin!(make(&store, "early"));
    assert!(is_pending(&mut early).await);
    let held = held();
    let mut commits = [store.commit(create()), store.commit(create())];
    queue(&mut commits).await;
    let second = hold_next_batch(&store);
    drop(held);
    let second = second();
    queue(&mut commits).await;

    drop(second);
    let [won, lost] = commits;
    assert!(matches!(lost.await, Err(Error::Conflict)));
    assert!(store.get(&name("a")).await.unwrap().is_some());
    won.await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn each_commit_is_a_barrier() {
    let (store, dir) = temporary();
    let barriers = count_barriers(&dir, false);
    let process = barrier::count();
    for number in 1..=20 {
        make(&store, &number.to_string()).await;
        let counted = barriers.load(Ordering::SeqCst);
        assert!(counted >= number, "{counted} barriers in {number} commits");
        assert!(barrier::count() >= process + u64::try_from(number).unwrap());
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn commits_that_arrive_together_share_a_flush() {
    let (store, dir) = temporary();
    let barriers = count_barriers(&dir, false);
    let held = hold_next_batch(&store);
    let mut first = pin!(make(&store, "first"));
    assert!(is_pending(&mut first).await);
    let held = held();
    let names: Vec<_> = (0..200).map(|number| name(&number.to_string())).collect();
    let mut commits: Vec<_> =
        names.iter().map(|name| store.commit(change(name, None, &create(Spec::default()), 0))).collect();
    queue(&mut commits).await;

    drop(held);
    first.await;
    for commit in commits {
        commit.await.unwrap();
    }
    // One for each batch, and some where sled's buffer of 512 KiB was full.
    let counted = barriers.load(Ordering::SeqCst);
    assert!((2..10).contains(&counted), "{counted} barriers for 2 batches");
}

/// sled writes what is too large for its log to files of their own, and never syncs them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_too_large_for_the_log() {
    const GATES: usize = 120;
    let (store, dir) = temporary();
    let store = Arc::new(store);
    let longest = |number: usize| format!("{number:060}/{0}/{0}/{0}", "x".repeat(63));

    let writers = (0..GATES).map(|number| {
        let store = Arc::clone(&store);
        let gate = longest(number);
        tokio::spawn(async move {
            let spec = Spec { description: "x".repeat(codec::RECORD_BYTES_MAX - 2_000), ..Spec::default() };
            act(&*store, &gate, create(spec), 0).await;
            act(&*store, &gate, wait(), 1).await;
            let request = request(&number.to_string());
            store.remember(request, vec![Revision(u64::MAX); 12_000]).await.unwrap();
            if number % 2 == 0 {
                act(&*store, &gate, approve("alice"), 2).await;
            }
            if number % 3 == 0 {
                act(&*store, &gate, delete(), 3).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let blobs = fs::read_dir(dir.path().join("sled/blobs")).unwrap().count();
    assert_eq!(blobs, 0);
    let gate = store.get(&name(&longest(1))).await.unwrap().unwrap();
    assert_eq!(gate.spec.description.len(), codec::RECORD_BYTES_MAX - 2_000);
}
