//! What a restart repeats, and what it does not lose.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_not_delivered_is_told_after_a_stop_with_what_is_behind_it() {
    let mut world = World::new();
    world.start().await;
    for gate in ["a", "b", "c"] {
        world.approve_new(gate).await;
    }
    assert_eq!(world.deliver().await, "resolved a");
    let id = world.post().await.id;
    assert_eq!(world.deliver().await, "resolved c");
    world.is_silent_for(MINUTE).await;
    world.stop().await;
    // Decided while nobody delivers.
    world.approve_new("d").await;

    world.start().await;
    let again = world.post().await;
    assert_eq!((again.told().as_str(), again.id.as_str()), ("resolved b", id.as_str()));
    again.answer.send(Ok(())).unwrap();
    // What is behind the oldest that was not delivered comes again, with its id.
    assert_eq!(world.deliver().await, "resolved c");
    assert_eq!(world.deliver().await, "resolved d");
    world.is_silent_for(MINUTE).await;
    world.stop().await;
    world.start().await;
    world.is_silent_for(MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_and_not_saved_is_repeated_after_a_crash_and_nothing_is_lost() {
    let mut world = World::new();
    world.start().await;
    world.approve_new("a").await;
    world.approve_new("b").await;
    let first = world.post().await;
    let id = first.id.clone();
    first.answer.send(Ok(())).unwrap();
    // No time for a save.
    world.crash();
    world.start().await;
    let again = world.post().await;
    assert_eq!(again.id, id);
    again.answer.send(Ok(())).unwrap();
    assert_eq!(world.deliver().await, "resolved b");
    // Time for one.
    world.is_silent_for(2 * Duration::from_secs(1)).await;
    world.crash();
    world.start().await;
    world.is_silent_for(MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn the_place_is_below_the_oldest_that_was_not_delivered() {
    let mut world = World::new();
    world.start().await;
    let begin = world.saved().await.place;
    world.approve_new("a").await;
    world.approve_new("b").await;
    let hangs = world.post().await;
    assert_eq!(world.deliver().await, "resolved b");
    world.is_silent_for(MINUTE).await;
    // The creation of the gate is for nobody.
    assert_eq!(world.saved().await.place, Revision(begin.0 + 1));
    hangs.answer.send(Ok(())).unwrap();
    world.is_silent_for(MINUTE).await;
    assert_eq!(world.saved().await.place, world.store.revision());
}

#[tokio::test(start_paused = true)]
async fn a_new_webhook_begins_with_the_present() {
    let mut world = World::new();
    world.approve_new("before").await;
    world.start().await;
    // It is saved at once, so that a crash before the first event loses none after it.
    assert_eq!(world.saved().await.place, world.store.revision());
    world.crash();
    world.approve_new("after").await;
    world.start().await;
    assert_eq!(world.deliver().await, "resolved after");
}

#[tokio::test(start_paused = true)]
async fn retention_keeps_what_has_yet_to_be_told() {
    let mut world = World::with(Retention { age: None, events: Some(1) });
    world.webhook.give_up_after = 6000 * MINUTE;
    world.start().await;
    for number in 0..50 {
        world.approve_new(&format!("g{number}")).await;
    }
    let hangs = world.post().await;
    for _ in 0..49 {
        world.deliver().await;
    }
    tokio::time::sleep(10 * MINUTE).await;
    assert!(world.store.oldest() <= Revision(2), "{:?}", world.store.oldest());
    hangs.answer.send(Ok(())).unwrap();
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(world.store.oldest(), world.store.revision());
}

#[tokio::test(start_paused = true)]
async fn what_was_forgotten_while_it_was_not_configured_is_passed_over() {
    let mut world = World::with(Retention { age: None, events: Some(1) });
    let outbox = Outbox { place: Revision::ZERO, warned: SystemTime::UNIX_EPOCH, next_letter: 1 };
    let change = OutboxChange { outbox, put: vec![], remove: vec![] };
    world.store.save_outbox(&name_of_webhook("ops"), change).await.unwrap();
    for number in 0..20 {
        world.approve_new(&format!("g{number}")).await;
    }
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(world.store.oldest(), world.store.revision());
    world.start().await;
    assert_eq!(world.deliver().await, "resolved g19");
    world.is_silent_for(MINUTE).await;
    assert_eq!(world.saved().await.place, world.store.revision());
}

#[tokio::test(start_paused = true)]
async fn a_place_that_never_was_here_is_given_up() {
    let mut world = World::new();
    world.approve_new("a").await;
    let outbox = Outbox { place: Revision(1_000), warned: SystemTime::UNIX_EPOCH, next_letter: 1 };
    let change = OutboxChange { outbox, put: vec![], remove: vec![] };
    world.store.save_outbox(&name_of_webhook("ops"), change).await.unwrap();
    world.start().await;
    world.approve_new("b").await;
    assert_eq!(world.deliver().await, "resolved b");
}

/// How a receiver answers that wants to be left alone for ten minutes.
fn limited() -> Failure {
    Failure { problem: "HTTP 429".into(), retry_after: Some(10 * MINUTE), is_final: false }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_comes_back_tells_its_backlog_to_a_receiver_that_limits_its_rate() {
    let mut world = World::new();
    world.start().await;
    world.stop().await;
    for number in 0..5 {
        world.approve_new(&format!("g{number}")).await;
    }
    // Much longer than until a message is given up.
    tokio::time::sleep(48 * 60 * MINUTE).await;
    world.start().await;
    let mut told = Vec::new();
    for post in [world.post().await, world.post().await, world.post().await, world.post().await] {
        post.answer.send(Err(limited())).unwrap();
    }
    for _ in 0..5 {
        told.push(world.deliver().await);
    }
    told.sort();
    assert_eq!(told, (0..5).map(|number| format!("resolved g{number}")).collect::<Vec<_>>());
    assert_eq!(world.webhooks().dead_letters("ops", 0, 100).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_less_than_there_is_holds_the_log_only_for_so_long() {
    let mut world = World::with(Retention { age: None, events: Some(1) });
    world.start().await;
    let begin = Instant::now();
    let mut number = 0;
    while begin.elapsed() < 6 * 60 * MINUTE {
        world.approve_new(&format!("g{number}")).await;
        number += 1;
        // It takes one in ten minutes.
        let mut taken = number % 10 > 0;
        while let Ok(post) = world.running().posts.try_recv() {
            post.answer.send(if taken { Err(limited()) } else { Ok(()) }).unwrap();
            taken = true;
        }
        tokio::time::sleep(MINUTE).await;
    }
    tokio::time::sleep(MINUTE).await;
    let oldest = world.store.event(world.store.oldest().next()).await.unwrap().unwrap();
    let age = world.coordinator.now().duration_since(oldest.time).unwrap();
    assert!(age > 30 * MINUTE && age < 80 * MINUTE, "{age:?}");
    let letters = world.webhooks().dead_letters("ops", 0, 1000).await.unwrap();
    assert!(letters.len() > 200 && letters.iter().any(|letter| letter.attempts == 0), "{}", letters.len());
}
