//! What is kept for webhooks.

use super::*;
use crate::domain::WebhookName;
use crate::store::{DeadLetter, Outbox, OutboxChange, Topic};

fn webhook(text: &str) -> WebhookName {
    WebhookName::parse("name", text).unwrap()
}

fn outbox(place: u64) -> Outbox {
    Outbox { place: Revision(place), warned: at(place), next_letter: place + 1 }
}

fn letter(number: u64, problem: &str) -> DeadLetter {
    DeadLetter {
        number,
        message_id: format!("message-{number}"),
        topic: Topic::Resolved,
        gate: name("release-42/prod"),
        round: Round::FIRST,
        revision: Revision(number),
        attempts: 3,
        problem: problem.to_owned(),
        time: at(number),
    }
}

async fn save(store: &dyn Store, of: &str, place: u64, put: Vec<DeadLetter>, remove: Vec<u64>) {
    store.save_outbox(&webhook(of), OutboxChange { outbox: outbox(place), put, remove }).await.unwrap();
}

/// What was saved last is read, for each webhook by itself.
pub async fn an_outbox_is_read_as_it_was_saved(store: Arc<dyn Store>) {
    assert_eq!(store.outbox(&webhook("a")).await.unwrap(), None);
    save(&*store, "a", 3, vec![], vec![]).await;
    save(&*store, "a", 7, vec![], vec![]).await;
    save(&*store, "a.b", 5, vec![], vec![]).await;
    assert_eq!(store.outbox(&webhook("a")).await.unwrap(), Some(outbox(7)));
    assert_eq!(store.outbox(&webhook("a.b")).await.unwrap(), Some(outbox(5)));
    assert_eq!(store.outbox(&webhook("b")).await.unwrap(), None);
    assert_eq!(all_events(&*store).await, [], "it is no event");
}

/// Dead letters come and go by their numbers.
pub async fn dead_letters_are_kept_until_they_are_removed(store: Arc<dyn Store>) {
    save(&*store, "a", 1, vec![letter(1, "one"), letter(2, "two"), letter(256, "three")], vec![]).await;
    save(&*store, "a.b", 1, vec![letter(2, "of another")], vec![]).await;
    let read = async |of, from, limit| store.dead_letters(&webhook(of), from, limit).await.unwrap();
    assert_eq!(read("a", 0, 9).await, [letter(1, "one"), letter(2, "two"), letter(256, "three")]);
    assert_eq!(read("a", 2, 1).await, [letter(2, "two")]);
    assert_eq!(read("a", 257, 9).await, []);

    save(&*store, "a", 2, vec![letter(2, "two again")], vec![1, 99]).await;
    assert_eq!(read("a", 0, 9).await, [letter(2, "two again"), letter(256, "three")]);
    assert_eq!(read("a.b", 0, 9).await, [letter(2, "of another")]);
    assert_eq!(read("b", 0, 9).await, []);
}

/// Nothing is saved with it.
pub async fn a_dead_letter_too_large_is_refused(store: Arc<dyn Store>) {
    save(&*store, "a", 1, vec![letter(1, &"x".repeat(3 * 1024))], vec![]).await;
    let put = vec![letter(2, "two"), letter(3, &"x".repeat(4 * 1024))];
    let change = OutboxChange { outbox: outbox(2), put, remove: vec![1] };
    let result = store.save_outbox(&webhook("a"), change).await;
    assert!(matches!(result, Err(Error::TooLarge { bytes: 4096.., bytes_max: 4096 })), "{result:?}");
    assert_eq!(store.outbox(&webhook("a")).await.unwrap(), Some(outbox(1)));
    assert_eq!(store.dead_letters(&webhook("a"), 0, 9).await.unwrap().len(), 1);
}

/// Saving and forgetting leave each other alone.
pub async fn an_outbox_is_never_forgotten(store: Arc<dyn Store>) {
    act(&*store, "a", create(Spec { auto_approve: true, ..Spec::default() }), 0).await;
    save(&*store, "a", 1, vec![letter(1, "one")], vec![]).await;
    let all = crate::store::Old { before: at(9), below: Revision::ZERO, until: Revision(u64::MAX) };
    while store.forget(all).await.unwrap() {}
    assert_eq!(all_events(&*store).await, []);
    assert_eq!(store.outbox(&webhook("a")).await.unwrap(), Some(outbox(1)));
    assert_eq!(store.dead_letters(&webhook("a"), 0, 9).await.unwrap(), [letter(1, "one")]);
}

/// Deadlines go on behind a place, also among those of the same time.
pub async fn deadlines_go_on_behind_a_place(store: Arc<dyn Store>) {
    for (gate, seconds) in [("b", 20), ("a/x", 20), ("a", 20), ("c", 10), ("a-b", 30)] {
        let spec = Spec { timeout: Some(Duration::from_secs(seconds)), ..Spec::default() };
        act(&*store, gate, create(spec), 0).await;
        act(&*store, gate, wait(), 0).await;
    }
    let read = async |after, limit| {
        let deadlines = store.deadlines(&after, limit).await.unwrap();
        deadlines.into_iter().map(|(_, name)| name.to_string()).collect::<Vec<_>>()
    };
    let behind = |seconds, gate: &str| DeadlinePlace { time: at(seconds), gate: Some(name(gate)) };
    assert_eq!(read(DeadlinePlace::START, 9).await, ["c", "a", "a/x", "b", "a-b"]);
    assert_eq!(read(DeadlinePlace::before(at(20)), 2).await, ["a", "a/x"]);
    assert_eq!(read(behind(20, "a"), 9).await, ["a/x", "b", "a-b"]);
    assert_eq!(read(behind(20, "a/x"), 9).await, ["b", "a-b"]);
    // The gate need not be there.
    assert_eq!(read(behind(10, "zzz"), 1).await, ["a"]);
    assert_eq!(read(behind(30, "a-b"), 9).await, [""; 0]);
}
