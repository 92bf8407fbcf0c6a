//! What goes on while the store is out of reach, and after.

use tokio::time::{sleep, timeout as within};

use super::*;
use crate::store::memory::faulty::{Fault, Faulty};

/// A coordinator whose store can be out of reach, and another one of the same store that reaches it all the while.
struct World {
    store: Arc<Faulty>,
    here: Arc<Coordinator>,
    running: JoinHandle<Result<Infallible, store::Error>>,
    there: Arc<Coordinator>,
}

impl World {
    fn new() -> Self {
        let (memory, clock) = (Memory::new(), clock());
        let there = Coordinator::new(Arc::new(memory.join()), clock.clone(), Retention::default());
        let store = Faulty::new(memory.join());
        let here = Coordinator::new(store.clone(), clock, Retention::default());
        let running = run(&here);
        Self { store, here, running, there }
    }

    /// Waits at the one whose store can be out of reach.
    async fn wait(&self, gate: &str, spec: Spec) -> Wait {
        let mut waiting = wait(&self.here, gate, None, Some(spec)).await;
        assert_eq!(waiting.next().await.unwrap().unwrap().status, Status::Waiting);
        waiting
    }
}

fn is_unavailable<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Store(store::Error::Unavailable { .. })))
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_told_stays_and_hears_of_what_was_decided_meanwhile() {
    let world = World::new();
    let waiting = tokio::spawn(outcome(world.wait("a", Spec::default()).await));
    world.store.set(Fault::Away);
    sleep(10 * MINUTE).await;
    approve(&world.there, "a", "alice").await.unwrap();
    sleep(10 * MINUTE).await;
    assert!(!waiting.is_finished());
    world.store.set(Fault::None);
    assert_eq!(within(MINUTE, waiting).await.unwrap().unwrap().status, Status::Approved);
    assert!(!world.running.is_finished(), "the coordinator runs on");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_has_to_look_again_tries_until_the_store_is_back() {
    let world = World::new();
    let mut waiting = world.wait("a", Spec::default()).await;
    // It has yet to follow to the new round when the store goes away.
    world.there.reset(&call("alice"), &name("a")).await.unwrap();
    sleep(MINUTE).await;
    world.store.set(Fault::Away);
    assert!(within(10 * MINUTE, waiting.next()).await.is_err(), "it waits");
    world.store.set(Fault::None);
    let gate = within(MINUTE, waiting.next()).await.expect("it is told").unwrap().unwrap();
    assert_eq!((gate.round.get(), gate.status), (2, Status::Waiting));
    assert!(!world.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_a_wait_that_tries() {
    let world = World::new();
    let mut waiting = world.wait("a", Spec::default()).await;
    world.there.reset(&call("alice"), &name("a")).await.unwrap();
    sleep(MINUTE).await;
    world.store.set(Fault::Away);
    let waiting = tokio::spawn(async move { waiting.next().await });
    sleep(MINUTE).await;
    world.here.drain();
    assert!(matches!(within(MINUTE, waiting).await.unwrap().unwrap(), Err(Error::Draining)));
}

#[tokio::test(start_paused = true)]
async fn calls_and_new_waits_are_refused_at_once_and_nothing_is_done() {
    let world = World::new();
    let before = world.here.create(&call("ci"), &name("a"), Spec::default()).await.unwrap().gate;
    world.store.set(Fault::Away);
    let begin = Instant::now();
    assert!(is_unavailable(&approve(&world.here, "a", "alice").await));
    assert!(is_unavailable(&world.here.get(&Caller::anonymous(), &name("a"), None).await));
    let created = world.here.wait(&call("worker"), query("b", None, Some(Spec::default()))).await;
    assert!(is_unavailable(&created));
    assert!(is_unavailable(&wait(&world.here, "a", None, None).await.next().await));
    assert!(world.here.ready().await.is_err());
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(world.there.get(&Caller::anonymous(), &name("a"), None).await.unwrap().gate, before);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_can_be_repeated_asks_a_store_that_is_away_only_once() {
    let store = Faulty::new(Memory::new());
    // It does not run, so that nobody else asks.
    let coordinator = Coordinator::new(store.clone(), clock(), Retention::default());
    store.set(Fault::Away);
    assert!(is_unavailable(&coordinator.create(&repeatable("r", 1), &name("a"), Spec::default()).await));
    assert_eq!(store.refused(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_answer_is_lost_is_acknowledged_only_if_it_is_found() {
    let world = World::new();
    for gate in ["a", "b"] {
        world.here.create(&call("ci"), &name(gate), Spec::default()).await.unwrap();
    }
    world.store.set(Fault::Mute);
    assert!(is_unavailable(&approve(&world.here, "a", "alice").await), "nobody knows");
    let approve = async || {
        let ballot = Ballot::from(who("alice"));
        world.here.approve(&repeatable("r", 1), &name("b"), ballot, false).await.map(|view| view.gate)
    };
    let gate = approve().await.unwrap();
    assert_eq!((gate.status, gate.revision), (Status::Approved, Revision(4)), "it was found by its id");
    world.store.set(Fault::None);
    assert_eq!(approve().await.unwrap(), gate);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_comes_in_an_outage_is_met_after_it() {
    for fault in [Fault::Away, Fault::Mute] {
        let world = World::new();
        let waiting = world.wait("a", timeout(MINUTE)).await;
        world.store.set(fault);
        sleep(10 * MINUTE).await;
        world.store.set(Fault::None);
        let gate = within(Duration::from_secs(3), outcome(waiting)).await.expect("it is met");
        assert_eq!(gate.status, Status::TimedOut);
        assert!(!world.running.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_stays_and_misses_nothing() {
    let world = World::new();
    let query = WatchQuery { prefix: Prefix::default(), statuses: Vec::new(), after: None, initial_state: false };
    let mut watch = std::pin::pin!(world.here.watch(Caller::anonymous(), query));
    assert!(matches!(watch.next().await, Some(Ok(WatchItem::Created { .. }))));
    world.store.set(Fault::Away);
    world.there.create(&call("ci"), &name("a"), Spec::default()).await.unwrap();
    for _ in 0..30 {
        assert!(matches!(watch.next().await, Some(Ok(WatchItem::Progress(Revision::ZERO)))));
    }
    world.store.set(Fault::None);
    let Some(Ok(WatchItem::Events(events))) = watch.next().await else { panic!() };
    assert_eq!(events[0].gate.name, name("a"));
}

#[tokio::test(start_paused = true)]
async fn who_came_in_an_outage_is_shown_elsewhere_after_it() {
    let world = World::new();
    let waiting = world.wait("a", Spec::default()).await;
    // Before it was told.
    world.store.set(Fault::Away);
    sleep(MINUTE).await;
    world.store.set(Fault::None);
    sleep(3 * Duration::from_secs(1)).await;
    let shown = async || world.there.get(&Caller::anonymous(), &name("a"), None).await.unwrap().waiter_count;
    assert_eq!(shown().await, 1);
    world.store.set(Fault::Away);
    drop(waiting);
    sleep(MINUTE).await;
    assert_eq!(shown().await, 1);
    world.store.set(Fault::None);
    sleep(3 * Duration::from_secs(1)).await;
    assert_eq!(shown().await, 0);
}
