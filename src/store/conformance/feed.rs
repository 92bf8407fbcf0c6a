//! Cases about the feed of changes.

use std::pin::pin;

use super::*;

pub async fn the_feed_is_complete_and_in_order(store: Arc<dyn Store>) {
    let writers = (0..8).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut events = Vec::new();
            for number in 0..40 {
                events.push(make(&*store, &format!("{writer}/{number}")).await);
            }
            events
        })
    });
    let mut committed = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        committed.extend(writer.await.unwrap());
    }
    committed.sort_by_key(|event| event.revision());

    assert_eq!(changes_until(&*store, committed[319].revision()).await, committed);
    let later = store.changes_after(committed[317].revision()).await.unwrap();
    assert_eq!(later, committed[318..]);
}

pub async fn the_feed_wakes_a_waiter(store: Arc<dyn Store>) {
    let first = make(&*store, "a").await.revision();
    let mut waiter = pin!(store.changes_after(first));
    assert!(is_pending(&mut waiter).await, "there is nothing yet");

    let second = make(&*store, "b").await;
    let events = waiter.await.unwrap();
    assert_eq!(events, [second]);
    assert!(store.revision() >= events[0].revision());
}

pub async fn dropping_a_wait_loses_nothing(store: Arc<dyn Store>) {
    let mut events = Vec::new();
    let mut after = Revision::ZERO;
    for number in 0..10 {
        {
            let mut waiter = pin!(store.changes_after(after));
            assert!(is_pending(&mut waiter).await);
        }
        events.push(make(&*store, &number.to_string()).await);
        let changes = store.changes_after(after).await.unwrap();
        assert_eq!(changes, events[events.len() - 1..]);
        after = changes[0].revision();
    }
}
