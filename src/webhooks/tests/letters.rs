//! What is given up.

use super::*;
use crate::store::memory::faulty::{Fault, Faulty};

/// Has one message given up, and returns its dead letter.
async fn give_up(world: &mut World, gate: &str) -> DeadLetter {
    world.approve_new(gate).await;
    world.post().await.answer.send(Err(failure(true))).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.letters().await.pop().unwrap()
}

impl World {
    async fn letters(&self) -> Vec<DeadLetter> {
        self.webhooks().dead_letters("ops", 0, 100).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_too_long_is_given_up_and_the_next_is_told() {
    let mut world = World::new();
    world.start().await;
    world.approve_new("a").await;
    let first = world.post().await;
    let (id, begin) = (first.id.clone(), Instant::now());
    let mut attempts = 1;
    // So that the next is no later than half the time when this one is given up.
    tokio::time::sleep(30 * MINUTE).await;
    first.fail();
    world.approve_new("a").await;
    let next = loop {
        let post = world.post().await;
        if post.id != id {
            break post;
        }
        attempts += 1;
        post.fail();
    };
    assert!(begin.elapsed() >= 60 * MINUTE && begin.elapsed() < 63 * MINUTE, "{:?}", begin.elapsed());
    assert_eq!(next.body["data"]["event"]["round"], 2);
    next.answer.send(Ok(())).unwrap();
    tokio::time::sleep(2 * MINUTE).await;

    let letters = world.letters().await;
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(
        (letter.message_id.as_str(), letter.attempts, letter.problem.as_str()),
        (id.as_str(), attempts, "HTTP 500")
    );
    assert_eq!((letter.gate.as_str(), letter.topic, letter.number), ("a", Topic::Resolved, 1));
    assert_eq!(world.saved().await.place, world.store.revision(), "it holds nothing up any more");
    world.crash();
    world.start().await;
    world.is_silent_for(MINUTE).await;
    assert_eq!(world.letters().await, letters);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_there_before_its_place_is_passed() {
    let mut world = World::new();
    world.start().await;
    world.approve_new("a").await;
    world.post().await.answer.send(Err(failure(true))).unwrap();
    // No time for a save: it is neither dead nor passed.
    world.crash();
    world.start().await;
    assert_eq!(world.letters().await, []);
    assert_eq!(world.deliver().await, "resolved a");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_delivered_again_behind_what_its_gate_has_to_tell() {
    let mut world = World::new();
    world.start().await;
    let letter = give_up(&mut world, "a").await;
    world.approve_new("a").await;
    let ahead = world.post().await;
    world.webhooks().redeliver("ops", letter.number).await.unwrap();
    world.webhooks().redeliver("ops", letter.number).await.unwrap();
    world.is_silent_for(MINUTE).await;
    ahead.answer.send(Ok(())).unwrap();
    let again = world.post().await;
    assert_eq!(again.id, letter.message_id);
    assert_eq!(world.letters().await, std::slice::from_ref(&letter), "it stays until it is delivered");
    again.answer.send(Ok(())).unwrap();
    world.is_silent_for(MINUTE).await;
    assert_eq!(world.letters().await, []);

    let next = give_up(&mut world, "b").await;
    assert!(next.number > letter.number);
    world.crash();
    world.start().await;
    let after = give_up(&mut world, "c").await;
    assert!(after.number > next.number, "no number is given twice");
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_again_is_the_same_dead_letter() {
    let mut world = World::new();
    world.start().await;
    let letter = give_up(&mut world, "a").await;
    world.webhooks().redeliver("ops", letter.number).await.unwrap();
    world.post().await.fail();
    world.post().await.answer.send(Err(failure(true))).unwrap();
    tokio::time::sleep(MINUTE).await;
    let letters = world.letters().await;
    assert_eq!((letters.len(), letters[0].number, letters[0].attempts), (1, letter.number, 2));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_again_and_again_while_nothing_can_be_saved_is_saved_once() {
    let store = Faulty::new(Memory::new());
    let mut world = World::of(store.clone(), clock(), Retention::default());
    world.start().await;
    let letter = give_up(&mut world, "a").await;
    store.set(Fault::Mute);
    for _ in 0..2 {
        world.webhooks().redeliver("ops", letter.number).await.unwrap();
        world.post().await.answer.send(Err(failure(true))).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    store.set(Fault::None);
    world.approve_new("b").await;
    assert_eq!(world.deliver().await, "resolved b");
    world.is_silent_for(MINUTE).await;
    assert_eq!(world.saved().await.place, world.store.revision(), "its place is held up");
    assert_eq!(world.letters().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_deleted() {
    let mut world = World::new();
    world.start().await;
    let letter = give_up(&mut world, "a").await;
    world.webhooks().delete("ops", letter.number).await.unwrap();
    // Gone at once, and for good.
    world.crash();
    world.start().await;
    assert_eq!(world.letters().await, []);
    assert!(
        matches!(world.webhooks().delete("ops", letter.number).await, Err(Error::NoSuchLetter { number, .. }) if number == letter.number)
    );
    assert!(matches!(world.webhooks().redeliver("ops", 99).await, Err(Error::NoSuchLetter { number: 99, .. })));
    assert!(matches!(world.webhooks().delete("other", 1).await, Err(Error::NoSuchWebhook(name)) if name == "other"));
}

#[tokio::test(start_paused = true)]
async fn what_was_forgotten_cannot_be_told_again() {
    let mut world = World::with(Retention { age: None, events: Some(1) });
    world.start().await;
    let letter = give_up(&mut world, "a").await;
    world.approve_new("b").await;
    world.deliver().await;
    tokio::time::sleep(10 * MINUTE).await;
    let error = world.webhooks().redeliver("ops", letter.number).await.unwrap_err();
    assert!(matches!(error, Error::EventForgotten { revision, .. } if revision == letter.revision), "{error}");
    assert_eq!(world.letters().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_that_are_delivered_again_hold_up_nothing_new() {
    let mut world = World::new();
    world.start().await;
    // More than the messages of the log that are held.
    for number in 0..1100 {
        give_up(&mut world, &format!("g{number}")).await;
    }
    world.approve_new("fine").await;
    while world.deliver().await != "resolved fine" {}
    let letters = world.webhooks().dead_letters("ops", 0, 2000).await.unwrap();
    for letter in &letters {
        world.webhooks().redeliver("ops", letter.number).await.unwrap();
    }
    let hanging: Vec<_> = [world.post().await, world.post().await].into();
    let (_, status) = world.webhooks().list().next().unwrap();
    assert!(status.pending < 100, "{} are in memory", status.pending);
    // Deleted before it had its turn: it is never sent.
    world.webhooks().delete("ops", letters[20].number).await.unwrap();
    world.webhooks().delete("ops", letters[1000].number).await.unwrap();
    world.wait("new", Some(5 * MINUTE)).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let post = world.post().await;
        if post.told().ends_with(" new") {
            told.push(post.told());
        }
        post.answer.send(Ok(())).unwrap();
    }
    assert_eq!(told, ["waiting new", "expiring new"]);
    assert!(world.letters().await.len() > 50, "before most of the dead letters");
    for post in hanging {
        post.answer.send(Ok(())).unwrap();
    }
    let mut ids = Vec::new();
    while !world.webhooks().dead_letters("ops", 0, 1).await.unwrap().is_empty() {
        if let Ok(Some(post)) = timeout(2 * MINUTE, world.running().posts.recv()).await {
            ids.push(post.id.clone());
            post.answer.send(Ok(())).unwrap();
        }
    }
    for deleted in [20, 1000] {
        assert!(!ids.contains(&letters[deleted].message_id));
    }
}
