//! What a watch tells.

use std::pin::Pin;

use tokio_stream::Stream;

use super::*;
use crate::domain::EventKind;

/// Longer than a watch may take nothing.
const STALL: Duration = Duration::from_secs(30);

type Items = Pin<Box<dyn Stream<Item = Result<WatchItem, Error>> + Send>>;

fn watching(prefix: &str) -> WatchQuery {
    let prefix = Prefix::parse("prefix", prefix).unwrap();
    WatchQuery { prefix, statuses: Vec::new(), after: None, initial_state: false }
}

/// A watch that is in place.
async fn watch(on: &Arc<Coordinator>, query: WatchQuery) -> (Items, Revision) {
    let mut items: Items = Box::pin(on.watch(Caller::anonymous(), query));
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
    let (mut items, revision) = watch(&gates, watching("r")).await;
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
    let (mut items, _) = watch(&gates, WatchQuery { statuses: vec![Status::Rejected], ..watching("") }).await;
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
    let (mut items, _) = watch(&gates, WatchQuery { after: Some(Revision(1)), ..watching("") }).await;
    let told: Vec<_> = events(&mut items, 2).await.into_iter().map(|(revision, ..)| revision).collect();
    assert_eq!(told, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_initial_state_comes_first_and_nothing_twice() {
    let gates = start();
    for i in 0..200 {
        gates.create(&call("ci"), &name(&format!("g{i:03}")), Spec::default()).await.unwrap();
    }
    let (mut items, revision) = watch(&gates, WatchQuery { initial_state: true, ..watching("") }).await;
    assert_eq!(revision, Revision(200));
    // While what exists is being told: told as existing, not again as an event.
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
    let (mut items, _) = watch(&gates, watching("r")).await;
    gates.create(&call("ci"), &name("other"), Spec::default()).await.unwrap();
    let begin = gates.now();
    let Some(Ok(WatchItem::Progress(revision))) = items.next().await else { panic!() };
    assert_eq!(revision, Revision(1));
    assert!(gates.now() >= begin + Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_takes_nothing_is_cut_off_with_where_to_resume() {
    let gates = start();
    let (mut stalled, _) = watch(&gates, watching("")).await;
    for i in 1..=500 {
        gates.create(&call("ci"), &name(&format!("g{i}")), Spec::default()).await.unwrap();
    }
    tokio::time::sleep(2 * STALL).await;
    let mut told = Vec::new();
    let resume = loop {
        match stalled.next().await.unwrap() {
            Ok(WatchItem::Events(events)) => told.extend(events.iter().map(|event| event.revision().0)),
            Err(Error::WatcherTooSlow { resume }) => break resume,
            other => panic!("{other:?}"),
        }
    };
    assert!(stalled.next().await.is_none());
    assert!(told.len() < 500, "what it holds is bounded");

    let (mut resumed, _) = watch(&gates, WatchQuery { after: Some(Revision(resume.0 - 1)), ..watching("") }).await;
    let rest = events(&mut resumed, 500 - told.len()).await;
    told.extend(rest.into_iter().map(|(revision, ..)| revision));
    assert_eq!(told, (1..=500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_slow_watch_that_takes_something_is_not_cut_off() {
    let gates = start();
    let (mut slow, _) = watch(&gates, watching("")).await;
    for i in 1..=500 {
        gates.create(&call("ci"), &name(&format!("g{i}")), Spec::default()).await.unwrap();
    }
    let mut told = 0;
    while told < 500 {
        tokio::time::sleep(STALL * 9 / 10).await;
        if let WatchItem::Events(events) = slow.next().await.unwrap().unwrap() {
            told += events.len();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_what_is_forgotten_is_told_where_to_start() {
    let retention = Retention { age: Some(MINUTE), events: None };
    let gates = Coordinator::new(Arc::new(Memory::new()), clock(), retention);
    let running = gates.clone();
    tokio::spawn(async move { running.run().await });
    let (mut live, _) = watch(&gates, watching("")).await;
    let live = tokio::spawn(async move { events(&mut live, 5).await });
    for gate in ["a", "b"] {
        gates.create(&call("ci"), &name(gate), Spec::default()).await.unwrap();
        approve(&gates, gate, "alice").await.unwrap();
        tokio::time::sleep(3 * MINUTE).await;
    }
    let unresolved = gates.create(&call("ci"), &name("c"), Spec::default()).await.unwrap().gate;
    tokio::time::sleep(10 * MINUTE).await;

    assert!(matches!(refusal(gates.get(&Caller::anonymous(), &name("a"), None).await), Refusal::NotFound(_)));
    assert_eq!(gates.get(&Caller::anonymous(), &name("c"), None).await.unwrap().gate, unresolved);
    let (mut late, _) = watch(&gates, WatchQuery { after: Some(Revision::ZERO), ..watching("") }).await;
    let compacted = late.next().await.unwrap().unwrap_err();
    let Error::Store(StoreError::Compacted { oldest }) = compacted else { panic!("{compacted:?}") };
    assert_eq!(oldest, unresolved.revision.next());
    // The watch that was there all along has missed nothing.
    let told: Vec<_> = live.await.unwrap().into_iter().map(|(revision, ..)| revision).collect();
    assert_eq!(told, [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_is_not_told_as_existing_leaves_out_no_event() {
    let gates = start();
    for i in 0..200 {
        gates.create(&call("ci"), &name(&format!("g{i:03}")), Spec::default()).await.unwrap();
    }
    let pending = WatchQuery { statuses: vec![Status::Pending], initial_state: true, ..watching("") };
    let (mut items, _) = watch(&gates, pending).await;
    // It was pending after the watch began, and is no longer when what exists is read.
    gates.create(&call("ci"), &name("z"), Spec::default()).await.unwrap();
    wait(&gates, "z", None, None).await.next().await.unwrap();
    assert_eq!(events(&mut items, 1).await, [(201, "z".to_owned(), EventKind::Created)]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_starts_ahead_of_the_store_is_told_so() {
    let gates = start();
    gates.create(&call("ci"), &name("a"), Spec::default()).await.unwrap();
    let (mut next, _) = watch(&gates, WatchQuery { after: Some(Revision(1)), ..watching("") }).await;
    approve(&gates, "a", "alice").await.unwrap();
    assert_eq!(events(&mut next, 1).await.len(), 1);
    for after in [3, u64::MAX - 1] {
        let mut ahead =
            Box::pin(gates.watch(Caller::anonymous(), WatchQuery { after: Some(Revision(after)), ..watching("") }));
        let refused = ahead.next().await.unwrap();
        assert!(matches!(refused, Err(Error::RevisionAhead { last: Revision(2), .. })), "{refused:?}");
    }
}
