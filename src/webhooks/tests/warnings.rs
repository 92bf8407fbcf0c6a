//! One warning before a deadline.

use super::*;
use crate::store::memory::faulty::{Fault, Faulty};

#[tokio::test(start_paused = true)]
async fn a_deadline_is_warned_of_once_and_in_time() {
    let mut world = World::new();
    world.start().await;
    let begin = Instant::now();
    world.wait("a", Some(30 * MINUTE)).await;
    assert_eq!(world.deliver().await, "waiting a");
    let warning = world.post().await;
    assert_eq!(warning.told(), "expiring a");
    let elapsed = begin.elapsed();
    assert!(elapsed >= 20 * MINUTE && elapsed < 20 * MINUTE + Duration::from_secs(1), "{elapsed:?}");
    assert_eq!(warning.body["data"]["event"]["gate"]["status"], "GATE_STATUS_WAITING");
    warning.answer.send(Ok(())).unwrap();
    world.is_silent_for(9 * MINUTE).await;
    assert_eq!(world.deliver().await, "resolved a");
    world.is_silent_for(60 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn each_round_is_warned_of_once_also_across_restarts() {
    let mut world = World::new();
    world.start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        world.wait("a", Some(30 * MINUTE)).await;
        assert_eq!(world.deliver().await, "waiting a");
        let warning = world.post().await;
        assert_eq!(warning.told(), "expiring a");
        ids.push(warning.id.clone());
        warning.answer.send(Ok(())).unwrap();
        world.is_silent_for(MINUTE).await;
        world.stop().await;
        world.start().await;
        world.is_silent_for(MINUTE).await;
        world.approve("a").await;
        assert_eq!(world.deliver().await, "resolved a");
        world.coordinator.reset(&call(), &name("a")).await.unwrap();
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_is_shorter_than_the_warning_is_warned_of_at_once() {
    let mut world = World::new();
    world.start().await;
    let begin = Instant::now();
    for gate in ["a", "b"] {
        world.wait(gate, Some(5 * MINUTE)).await;
        assert_eq!(world.deliver().await, format!("waiting {gate}"));
        assert_eq!(world.deliver().await, format!("expiring {gate}"));
    }
    assert!(begin.elapsed() < Duration::from_secs(2));
    let mut ended = [world.deliver().await, world.deliver().await];
    ended.sort();
    assert_eq!(ended, ["resolved a", "resolved b"]);
    world.is_silent_for(60 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_decided_in_time_is_not_warned_of() {
    let mut world = World::new();
    world.webhook.topics = vec![Topic::Expiring];
    world.start().await;
    world.wait("approved", Some(30 * MINUTE)).await;
    world.wait("reset", Some(30 * MINUTE)).await;
    world.wait("for-ever", None).await;
    world.is_silent_for(15 * MINUTE).await;
    world.approve("approved").await;
    world.coordinator.reset(&call(), &name("reset")).await.unwrap();
    // Another deadline, of another round.
    world.wait("reset", Some(30 * MINUTE)).await;
    world.is_silent_for(19 * MINUTE).await;
    let warning = world.post().await;
    assert_eq!((warning.told().as_str(), &warning.body["data"]["event"]["round"]), ("expiring reset", &2.into()));
}

#[tokio::test(start_paused = true)]
async fn many_deadlines_at_one_moment_are_each_warned_of_once() {
    let mut world = World::new();
    world.webhook.topics = vec![Topic::Expiring];
    world.start().await;
    // More than are read at a time, and all in one nanosecond of paused time; some before and some after the warning
    // of the others is due.
    for number in 0..300 {
        world.wait(&format!("a{number}"), Some(30 * MINUTE)).await;
    }
    tokio::time::sleep(25 * MINUTE).await;
    for number in 0..300 {
        world.wait(&format!("b{number}"), Some(5 * MINUTE)).await;
    }
    let mut told = Vec::new();
    for _ in 0..600 {
        told.push(world.deliver().await);
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 600);
    world.is_silent_for(60 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn a_warning_that_became_due_while_nothing_ran_is_made_after_the_start_unless_it_is_too_late() {
    let mut world = World::new();
    world.webhook.topics = vec![Topic::Expiring];
    world.start().await;
    world.wait("late", Some(30 * MINUTE)).await;
    world.wait("too-late", Some(22 * MINUTE)).await;
    world.is_silent_for(MINUTE).await;
    world.stop().await;
    // Set while nothing runs, and due while nothing runs.
    world.wait("unseen", Some(28 * MINUTE)).await;
    tokio::time::sleep(24 * MINUTE).await;
    world.start().await;
    let mut told = [world.deliver().await, world.deliver().await];
    told.sort();
    assert_eq!(told, ["expiring late", "expiring unseen"]);
    world.is_silent_for(60 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn a_warning_that_was_not_delivered_is_made_again_after_a_crash() {
    let mut world = World::new();
    world.webhook.topics = vec![Topic::Expiring];
    world.start().await;
    world.wait("a", Some(30 * MINUTE)).await;
    let warning = world.post().await;
    // Hangs, while much else is settled and saved.
    world.approve_new("b").await;
    tokio::time::sleep(MINUTE).await;
    world.crash();
    world.start().await;
    assert_eq!(world.post().await.id, warning.id);
}

#[tokio::test(start_paused = true)]
async fn only_gates_below_the_prefix_are_warned_of() {
    let mut world = World::new();
    world.webhook.topics = vec![Topic::Expiring];
    world.webhook.prefix = Prefix::parse("prefix", "a").unwrap();
    world.start().await;
    world.wait("b", Some(30 * MINUTE)).await;
    world.wait("a/x", Some(30 * MINUTE)).await;
    world.wait("b/short", Some(MINUTE)).await;
    world.wait("a/short", Some(MINUTE)).await;
    assert_eq!(world.deliver().await, "expiring a/short");
    assert_eq!(world.deliver().await, "expiring a/x");
    world.is_silent_for(60 * MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn a_warning_comes_after_what_it_follows_and_once() {
    // What is looked at first after a start is left to chance.
    for _ in 0..20 {
        let mut world = World::new();
        world.start().await;
        world.stop().await;
        world.wait("a", Some(30 * MINUTE)).await;
        tokio::time::sleep(25 * MINUTE).await;
        world.start().await;
        assert_eq!(world.deliver().await, "waiting a");
        assert_eq!(world.deliver().await, "expiring a");
        world.is_silent_for(4 * MINUTE).await;
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_warn_before_warns_of_nothing_too_early() {
    let mut world = World::new();
    world.webhook.topics = vec![Topic::Expiring];
    world.webhook.warn_before = 60 * MINUTE;
    world.start().await;
    world.wait("seen", Some(50 * MINUTE)).await;
    assert_eq!(world.deliver().await, "expiring seen");
    world.is_silent_for(MINUTE).await;
    world.stop().await;
    world.webhook.warn_before = 10 * MINUTE;
    world.start().await;
    let begin = Instant::now();
    world.wait("new", Some(30 * MINUTE)).await;
    assert_eq!(world.deliver().await, "expiring new");
    let elapsed = begin.elapsed();
    assert!(elapsed >= 20 * MINUTE && elapsed < 20 * MINUTE + Duration::from_secs(1), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_warning_that_is_made_again_is_the_same_message() {
    let mut world = World::new();
    world.webhook.topics = vec![Topic::Expiring];
    world.start().await;
    for (gate, timeout, told) in [("long", 30, 20 * MINUTE), ("short", 5, Duration::ZERO)] {
        let begin = world.coordinator.now();
        world.wait(gate, Some(timeout * MINUTE)).await;
        let first = world.post().await;
        assert_eq!(first.body["timestamp"], crate::proto::Timestamp::from(begin + told).to_string(), "{gate}");
        world.crash();
        tokio::time::sleep(MINUTE).await;
        world.start().await;
        let again = world.post().await;
        assert_eq!((&again.id, &again.body), (&first.id, &first.body));
        // Given up, and delivered again, it is the same too.
        again.answer.send(Err(failure(true))).unwrap();
        tokio::time::sleep(2 * MINUTE).await;
        let letter = world.webhooks().dead_letters("ops", 0, 100).await.unwrap().remove(0);
        world.webhooks().redeliver("ops", letter.number).await.unwrap();
        let again = world.post().await;
        assert_eq!((&again.id, &again.body), (&first.id, &first.body));
        again.answer.send(Ok(())).unwrap();
        world.is_silent_for(MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_whose_event_is_not_in_the_log_holds_up_nothing() {
    let store = Faulty::new(Memory::new());
    let mut world = World::of(store.clone(), clock(), Retention::default());
    world.start().await;
    world.wait("torn", Some(30 * MINUTE)).await;
    assert_eq!(world.deliver().await, "waiting torn");
    store.set(Fault::Torn);
    world.is_silent_for(21 * MINUTE).await;
    store.set(Fault::None);
    world.approve_new("b").await;
    assert_eq!(world.deliver().await, "resolved b");
}
