//! What the store does when the disk fails, or does not hold what was written.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;
use std::thread;

use super::*;

/// sled writes where a small batch ends, and then the batch, which only a flush does.
#[cfg(target_os = "linux")]
const WRITES_OF_A_BATCH: usize = 2;

/// Drops a store, and waits for its committer, which a drop does not after a failure.
#[cfg(target_os = "linux")]
fn end(store: Sled) -> Arc<Shared> {
    let shared = Arc::clone(&store.shared);
    drop(store);
    while Arc::strong_count(&shared) > 1 {
        thread::yield_now();
    }
    shared
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_failed_sync_is_the_last() {
    let (store, dir) = temporary();
    let before = make(&store, "before").await;
    let syncs = count_barriers(&dir, true);

    let failed = store.commit(change(&name("a"), None, &create(Spec::default()), 0)).await;
    assert!(matches!(failed, Err(Error::Failed(_))), "{failed:?}");
    let failed = store.commit(change(&name("b"), None, &create(Spec::default()), 0)).await;
    assert!(matches!(failed, Err(Error::Failed(_))), "{failed:?}");
    let failed = store.remember(request("one"), vec![]).await;
    assert!(matches!(failed, Err(Error::Failed(_))), "{failed:?}");
    assert!(matches!(store.ready().await, Err(Error::Failed(_))));
    let failed = store.get(&name("a")).await;
    assert!(matches!(failed, Err(Error::Failed(_))), "it may or may not be durable: {failed:?}");

    // What was acknowledged is still told, and then the failure.
    assert_eq!(store.get(&name("before")).await.unwrap().as_ref(), Some(&before.gate));
    assert_eq!(store.changes_after(Revision::ZERO).await.unwrap(), [Arc::clone(&before)]);
    let failed = store.changes_after(before.revision()).await;
    assert!(matches!(failed, Err(Error::Failed(_))), "{failed:?}");
    end(store);
    let tried = syncs.load(Ordering::SeqCst);
    assert!((1..=WRITES_OF_A_BATCH).contains(&tried), "{tried} syncs: one was tried again");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_flush_that_hangs_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sled::open_with(dir.path(), CACHE_BYTES, Duration::from_millis(100)).unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    barrier::observer::observe(dir.path(), move || released.lock().unwrap().recv().is_err());

    let failed = store.commit(change(&name("a"), None, &create(Spec::default()), 0)).await;
    assert!(matches!(&failed, Err(Error::Failed(why)) if why.contains("did not end")), "{failed:?}");
    let failed = store.changes_after(Revision::ZERO).await;
    assert!(matches!(failed, Err(Error::Failed(_))), "{failed:?}");
    // It does not wait for the flush.
    drop(store);
    drop(release);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_panic_of_the_committer_is_a_failure() {
    let (store, dir) = temporary();
    let syncs = count_barriers(&dir, false);
    *store.shared.disk.before_flush.lock().unwrap() = Some(Box::new(|| panic!("out of luck")));
    for gate in ["a", "b"] {
        let failed = store.commit(change(&name(gate), None, &create(Spec::default()), 0)).await;
        assert!(matches!(&failed, Err(Error::Failed(why)) if why.contains("out of luck")), "{failed:?}");
    }

    let shared = end(store);
    assert_eq!(shared.disk.pointer(&keys::gate(keys::GATES, &name("b"))).unwrap(), None);
    drop(shared);
    let tried = syncs.load(Ordering::SeqCst);
    assert!(tried < WRITES_OF_A_BATCH, "{tried} syncs: sled has flushed what had failed");
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let (store, _dir) = temporary();
    let db = &store.shared.disk.db;
    let spec = Spec { description: "x".repeat(10_000), ..Spec::default() };
    let gate = act(&store, "a", create(spec), 0).await.gate.clone();
    make(&store, "other").await;
    let (first, last) = (b"e\0\0\0\0\0\0\0\x01\0", b"e\0\0\0\0\0\0\0\x01\x82");
    let expect = async |expected: &str| {
        let error = store.get(&gate.name).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        // It hides no other, and holds up nothing that goes through all.
        let query = ListQuery { prefix: prefix(""), unresolved: true, after: None, limit: 9 };
        let listed = store.list(query).await.unwrap().gates;
        assert_eq!(listed.iter().map(|gate| gate.name.as_str()).collect::<Vec<_>>(), ["other"]);
        assert!(
            !store
                .forget(Old { before: SystemTime::UNIX_EPOCH, below: Revision(100), until: Revision(u64::MAX) })
                .await
                .unwrap()
        );
    };

    let whole = db.insert(first, b"\x02").unwrap().unwrap();
    expect("event 1 cannot be read: it was written by a newer gatepost").await;
    db.remove(first).unwrap();
    expect(r#"the record "e\x00\x00\x00\x00\x00\x00\x00\x01" cannot be read: a part of it is missing"#).await;
    db.insert(first, whole).unwrap();
    db.remove(last).unwrap();
    expect("its end is missing").await;
    db.remove(first).unwrap();
    db.remove(b"e\0\0\0\0\0\0\0\x01\x01").unwrap();
    expect("the index points to it").await;
    db.insert(keys::gate(keys::GATES, &gate.name), b"?").unwrap();
    expect(r#"the record "ga" cannot be read: it is no revision"#).await;

    // Other gates are not concerned.
    act(&store, "other", approve("alice"), 1).await;
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_keeps_reading_until_there_is_room() {
    let (store, _dir) = temporary();
    let before = make(&store, "before").await;
    store.shared.room.reserve_bytes.store(u64::MAX, Ordering::SeqCst);
    let refused = store.commit(change(&name("a"), None, &create(Spec::default()), 0)).await;
    assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    assert!(matches!(store.ready().await, Err(Error::Full)));
    assert!(matches!(store.remember(request("one"), vec![before.revision()]).await, Err(Error::Full)));
    let old = Old { before: SystemTime::UNIX_EPOCH, below: Revision(100), until: Revision(u64::MAX) };
    assert!(matches!(store.forget(old).await, Err(Error::Full)));
    assert_eq!(store.get(&name("before")).await.unwrap().as_ref(), Some(&before.gate));
    assert_eq!(store.get(&name("a")).await.unwrap(), None);

    store.shared.room.reserve_bytes.store(room::RESERVE_BYTES, Ordering::SeqCst);
    store.ready().await.unwrap();
    assert_eq!(make(&store, "a").await.revision(), before.revision().next());
}

#[tokio::test]
async fn readers_have_room_to_split_what_the_last_batch_filled() {
    let (store, dir) = temporary();
    let log = dir.path().join("sled/db");
    let large = || create(Spec { description: "d".repeat(8192), ..Spec::default() });
    for number in 0.. {
        act(&store, &number.to_string(), large(), 0).await;
        let log = std::fs::metadata(&log).unwrap();
        let allocated = log.blocks() * 512;
        assert!(allocated >= log.len() + 1024 * 1024, "{allocated} bytes for a log of {}", log.len());
        // For longer than what is set aside at first lasts.
        if log.len() > 10 * 1024 * 1024 {
            break;
        }
    }
}
