//! What a watch tells.

use std::pin::Pin;

use tokio_stream::Stream;

use super::*;
use crate::domain::EventKind;

type Items = Pin<Box<dyn Stream<Item = Result<WatchItem, Error>>>>;

fn query(prefix: &str) -> WatchQuery {
    let prefix = Prefix::parse("prefix", prefix).unwrap();
    WatchQuery { prefix, statuses: Vec::new(), after: None, initial_state: false }
}

/// A watch that is in place.
async fn watch(on: &Arc<Coordinator>, query: WatchQuery) -> (Items, Revision) {
    let mut items: Items = Box::pin(on.watch(query));
    let Some(Ok(WatchItem::Created { revision, .. })) = items.next().await else { panic!() };
    (items, revision)
}

/// The next `count` events, as revision, gate and kind.
async fn events(items: &mut Items, count: usize) -> Vec<(u64, String, EventKind)> {
    let mut events = Vec::new();
    while events.len() < count {
        if let WatchItem::Events(batch) = items.next().await.unwrap().unwrap() {
            events.extend(batch.iter().map(|e| (e.revision().0, e.gate.name.to_string(), e.kind)));
        }
    }
    events
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_and_only_of_the_group() {
    let gates = start();
    let (mut items, revision) = watch(&gates, query("r")).await;
    assert_eq!(revision, Revision::ZERO);
    for gate in ["r/a", "other", "r/b"] {
        gates.create(&call("ci"), &name(gate), Spec::default()).await.unwrap();
    }
    approve(&gates, "r/a", "alice").await.unwrap();
    let expected = [(1, "r/a", EventKind::Created), (3, "r/b", EventKind::Created), (4, "r/a", EventKind::Resolved)];
    assert_eq!(events(&mut items, 3).await, expected.map(|(r, g, k)| (r, g.to_owned(), k)));
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_statuses_tells_only_those() {
    let gates = start();
    let (mut items, _) = watch(&gates, WatchQuery { statuses: vec![Status::Rejected], ..query("") }).await;
    gates.create(&call("ci"), &name("a"), Spec::default()).await.unwrap();
    reject(&gates, "a", "alice").await.unwrap();
    assert_eq!(events(&mut items, 1).await, [(2, "a".to_owned(), EventKind::Resolved)]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_revision_tells_what_happened_since() {
    let gates = start();
    for gate in ["a", "b", "c"] {
        gates.create(&call("ci"), &name(gate), Spec::default()).await.unwrap();
    }
    let (mut items, _) = watch(&gates, WatchQuery { after: Some(Revision(1)), ..query("") }).await;
    let told: Vec<_> = events(&mut items, 2).await.into_iter().map(|(revision, ..)| revision).collect();
    assert_eq!(told, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_initial_state_comes_first_and_nothing_twice() {
    let gates = start();
    for i in 0..200 {
        gates.create(&call("ci"), &name(&format!("g{i:03}")), Spec::default()).await.unwrap();
    }
    let (mut items, revision) = watch(&gates, WatchQuery { initial_state: true, ..query("") }).await;
    assert_eq!(revision, Revision(200));
    // Between the watch's place and the reading of what exists: told as existing, not again as an event.
    approve(&gates, "g199", "alice").await.unwrap();
    let mut existing = Vec::new();
    loop {
        match items.next().await.unwrap().unwrap() {
            WatchItem::Existing(gates) => existing.extend(gates),
            WatchItem::Progress(revision) => break assert_eq!(revision, Revision(200)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(existing.len(), 200);
    assert_eq!(existing.last().unwrap().status, Status::Approved);
    reject(&gates, "g000", "alice").await.unwrap();
    assert_eq!(events(&mut items, 1).await, [(202, "g000".to_owned(), EventKind::Resolved)]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_says_how_far_it_is() {
    let gates = start();
    let (mut items, _) = watch(&gates, query("r")).await;
    gates.create(&call("ci"), &name("other"), Spec::default()).await.unwrap();
    let begin = gates.now();
    let Some(Ok(WatchItem::Progress(revision))) = items.next().await else { panic!() };
    assert_eq!(revision, Revision(1));
    assert!(gates.now() >= begin + Duration::from_secs(20));
}
