//! Which of several coordinators delivers, and what goes on when the store is away.

use std::collections::BTreeMap;

use super::*;
use crate::store::memory::faulty::{Fault, Faulty};

/// Longer than it takes until what has changed is saved.
const SAVED: Duration = Duration::from_secs(2);

/// Two coordinators of one store with the same webhook, and the store of each. The first leads.
async fn two(retention: Retention) -> ([World; 2], [Arc<Memory>; 2]) {
    let (store, clock) = (Memory::new(), clock());
    let stores = [(); 2].map(|()| Arc::new(store.join()));
    let mut worlds = stores.each_ref().map(|store| World::of(store.clone(), clock.clone(), retention));
    for world in &mut worlds {
        world.webhook.give_up_after = 6000 * MINUTE;
        world.start().await;
    }
    tokio::time::sleep(SAVED).await;
    (worlds, stores)
}

/// The ids of what was told, each always with the same.
#[derive(Default)]
struct Told(BTreeMap<String, String>);

impl Told {
    fn note(&mut self, post: &Post) -> String {
        let told = format!("{} {}", post.told(), post.body["data"]["event"]["round"]);
        let id = self.0.entry(told.clone()).or_insert_with(|| post.id.clone());
        assert_eq!(*id, post.id, "{told} has another id");
        told
    }

    /// Delivers what there is now, and says what was told.
    fn deliver_all(&mut self, world: &mut World) -> Vec<String> {
        let posts = std::iter::from_fn(|| world.running().posts.try_recv().ok());
        let deliver = |post: Post| {
            let told = self.note(&post);
            // Whoever sent it may have been deposed since.
            drop(post.answer.send(Ok(())));
            told
        };
        posts.map(deliver).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_leader_alone_delivers_and_the_next_goes_on_from_what_was_saved() {
    let ([mut first, mut second], [store, _]) = two(Retention::default()).await;
    let mut told = Told::default();
    for gate in ["a", "b", "c", "d"] {
        second.approve_new(gate).await;
    }
    let mut posts = Vec::new();
    for _ in 0..4 {
        let post = first.post().await;
        told.note(&post);
        posts.push(post);
    }
    let [a, b, c, _hangs]: [Post; 4] = posts.try_into().ok().unwrap();
    a.answer.send(Ok(())).unwrap();
    b.answer.send(Ok(())).unwrap();
    second.is_silent_for(SAVED).await;
    // Delivered, and not saved any more.
    c.answer.send(Ok(())).unwrap();
    tokio::task::yield_now().await;
    store.abdicate();

    let mut again = vec![second.post().await, second.post().await];
    second.is_silent_for(MINUTE).await;
    again.sort_by_key(Post::told);
    assert_eq!(again.iter().map(|post| told.note(post)).collect::<Vec<_>>(), ["resolved c 1", "resolved d 1"]);
    for post in again {
        post.answer.send(Ok(())).unwrap();
    }
    first.approve_new("e").await;
    assert_eq!(second.deliver().await, "resolved e");
    first.is_silent_for(MINUTE).await;
    assert_eq!(second.saved().await.place, second.store.revision());
    // One that is stopped while another leads saves nothing, and that is no failure.
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_deposed_while_it_stops_ends_in_good_order() {
    let ([mut first, mut second], [store, _]) = two(Retention::default()).await;
    first.approve_new("a").await;
    assert_eq!(first.deliver().await, "resolved a");
    tokio::task::yield_now().await;
    store.abdicate();
    first.stop().await;
    assert_eq!(second.deliver().await, "resolved a");
}

#[tokio::test(start_paused = true)]
async fn leaders_that_change_all_the_time_leave_nothing_untold_and_keep_the_order() {
    let (mut worlds, stores) = two(Retention::default()).await;
    let mut told = Told::default();
    let mut firsts: BTreeMap<String, u64> = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for number in 0..200_usize {
        let gate = format!("g{}", number % 7);
        worlds[number % 2].approve_new(&gate).await;
        *expected.entry(gate).or_insert(0) += 1;
        tokio::time::sleep(Duration::from_millis(350)).await;
        for world in &mut worlds {
            for told in told.deliver_all(world) {
                let [_, gate, round] = told.split(' ').collect::<Vec<_>>()[..] else { panic!() };
                let (latest, round) = (firsts.entry(gate.to_owned()).or_insert(0), round.parse::<u64>().unwrap());
                assert!(round <= *latest + 1, "{gate} was told of round {round} after {latest}");
                *latest = round.max(*latest);
            }
        }
        // Now and then before what was delivered is saved.
        if number % 5 < 2 {
            stores[number % 2].abdicate();
        }
    }
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        for world in &mut worlds {
            told.deliver_all(world);
        }
    }
    for (gate, rounds) in expected {
        for round in 1..=rounds {
            assert!(told.0.contains_key(&format!("resolved {gate} {round}")), "{gate} {round} is untold");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn commands_are_for_the_leader_and_dead_letters_are_read_anywhere() {
    let ([mut first, mut second], [store, _]) = two(Retention::default()).await;
    for gate in ["a", "b"] {
        second.approve_new(gate).await;
        first.post().await.answer.send(Err(failure(true))).unwrap();
    }
    first.is_silent_for(SAVED).await;
    let letters = first.webhooks().dead_letters("ops", 0, 9).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert_eq!(second.webhooks().dead_letters("ops", 0, 9).await.unwrap(), letters);
    for number in [letters[0].number, 99] {
        assert!(matches!(second.webhooks().redeliver("ops", number).await, Err(Error::Elsewhere)));
        assert!(matches!(second.webhooks().delete("ops", number).await, Err(Error::Elsewhere)));
    }
    let status = |world: &World| world.webhooks().list().next().unwrap().1;
    assert_eq!((status(&first).dead_letters, status(&first).place), (2, first.store.revision()));
    assert_eq!((status(&second).dead_letters, status(&second).place), (0, Revision::ZERO));
    assert_eq!([&first, &second].map(|world| status(world).is_elsewhere), [false, true]);

    store.abdicate();
    tokio::time::sleep(SAVED).await;
    assert!(matches!(first.webhooks().delete("ops", letters[0].number).await, Err(Error::Elsewhere)));
    assert_eq!((status(&first).dead_letters, status(&first).last_failure), (0, None));
    assert_eq!([&first, &second].map(|world| status(world).is_elsewhere), [true, false]);
    second.webhooks().delete("ops", letters[0].number).await.unwrap();
    second.webhooks().redeliver("ops", letters[1].number).await.unwrap();
    assert_eq!(second.deliver().await, "resolved b");
    second.is_silent_for(SAVED).await;
    assert_eq!(first.webhooks().dead_letters("ops", 0, 9).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_forgets_nothing_that_has_yet_to_be_told() {
    let ([first, mut second], [store, _]) = two(Retention { age: None, events: Some(1) }).await;
    for number in 0..5 {
        first.approve_new(&format!("g{number}")).await;
    }
    tokio::time::sleep(10 * MINUTE).await;
    // It has not come to open its courier when it may forget.
    second.crash();
    store.abdicate();
    tokio::time::sleep(10 * MINUTE).await;
    assert!(second.store.oldest() <= Revision(2), "{:?}", second.store.oldest());
    second.start().await;
    tokio::time::sleep(10 * MINUTE).await;
    assert!(second.store.oldest() <= Revision(2), "{:?}", second.store.oldest());
    for _ in 0..5 {
        second.deliver().await;
    }
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(second.store.oldest(), second.store.revision());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_leaves_nothing_untold() {
    let (memory, clock) = (Memory::new(), clock());
    let store = Faulty::new(memory.join());
    let mut here = World::of(store.clone(), clock.clone(), Retention::default());
    let there = World::of(Arc::new(memory.join()), clock, Retention::default());
    here.start().await;
    // Before its courier is there.
    store.set(Fault::Away);
    there.approve_new("a").await;
    here.is_silent_for(10 * MINUTE).await;
    store.set(Fault::None);
    let mut told = Told::default();
    let first = here.post().await;
    told.note(&first);
    store.set(Fault::Away);
    first.answer.send(Ok(())).unwrap();
    tokio::time::sleep(10 * MINUTE).await;
    there.approve_new("b").await;
    for fault in [Fault::Mute, Fault::None] {
        store.set(fault);
        tokio::time::sleep(10 * MINUTE).await;
    }
    told.deliver_all(&mut here);
    assert_eq!(told.0.into_keys().collect::<Vec<_>>(), ["resolved a 1", "resolved b 1"]);
    here.is_silent_for(SAVED).await;
    assert_eq!(here.saved().await.place, there.store.revision());
    here.stop().await;
}
