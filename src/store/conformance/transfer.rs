//! What moving a store to another one needs: reading all of it, and writing a log that has gaps.

use super::*;
use crate::domain::{EventKind, WebhookName};
use crate::store::{Old, Outbox, OutboxChange};

/// All answers are read, a few at a time, each as it was given.
pub async fn answers_are_read_in_the_order_of_their_keys(store: Arc<dyn Store>) {
    assert_eq!(store.answers(None, 9).await.unwrap(), []);
    let revision = make(&*store, "a").await.revision();
    let mut keys = Vec::new();
    for number in 0..7 {
        let request = Request { time: at(number), ..request(&number.to_string()) };
        keys.push(request.key);
        // Some in more than one part.
        let revisions = if number % 2 == 0 { vec![revision] } else { vec![Revision(u64::MAX - number); 1000] };
        store.remember(request, revisions).await.unwrap();
    }
    keys.sort();

    let mut read = Vec::new();
    while let page = store.answers(read.last().map(|(key, _)| *key), 3).await.unwrap()
        && !page.is_empty()
    {
        assert!(page.len() <= 3);
        read.extend(page);
    }
    assert_eq!(read.iter().map(|(key, _)| *key).collect::<Vec<_>>(), keys);
    for (key, answer) in read {
        assert_eq!(store.answer(&key).await.unwrap(), Some(answer));
    }
    let third = store.answer(&request("3").key).await.unwrap().unwrap();
    assert_eq!((third.time, third.revisions), (at(3), vec![Revision(u64::MAX - 3); 1000]));
    assert_eq!(store.answers(Some(RequestKey([0xff; 32])), 9).await.unwrap(), []);
}

/// Each webhook is named once, however much is kept for it.
pub async fn webhooks_are_those_with_an_outbox(store: Arc<dyn Store>) {
    assert_eq!(store.webhooks().await.unwrap(), []);
    let names = ["b", "a", "a.b"].map(|name| WebhookName::parse("name", name).unwrap());
    for name in &names {
        let outbox = Outbox { place: Revision(1), warned: at(0), next_letter: 1 };
        store.save_outbox(name, OutboxChange { outbox, put: vec![], remove: vec![] }).await.unwrap();
    }
    let found = store.webhooks().await.unwrap();
    assert_eq!(found.iter().map(WebhookName::as_str).collect::<Vec<_>>(), ["a", "a.b", "b"]);
}

/// A log whose resets were forgotten still has its past rounds, and they are kept as others are.
pub async fn a_past_round_ends_whatever_begins_the_next(store: Arc<dyn Store>) {
    make(&*store, "a").await;
    let first = act(&*store, "a", approve("alice"), 1).await;
    let all = Old { before: SystemTime::UNIX_EPOCH, below: first.revision(), until: first.revision() };
    while store.forget(all).await.unwrap() {}

    let reset = change(&name("a"), Some(first.gate.clone()), &reset(), 2).event;
    let waiting = change(&name("a"), Some(reset.gate), &wait(), 3).event;
    assert_eq!(waiting.kind, EventKind::Waiting);
    let change = Change { before: Some(first.gate.clone()), event: waiting, request: None };
    let waiting = store.commit(change).await.unwrap();
    assert_eq!(store.past_round(&waiting.gate, Round::FIRST).await.unwrap().as_ref(), Some(&first.gate));

    let all = Old { below: Revision(u64::MAX), until: Revision(u64::MAX), ..all };
    while store.forget(all).await.unwrap() {}
    assert_eq!(store.past_round(&waiting.gate, Round::FIRST).await.unwrap().as_ref(), Some(&first.gate));
    act(&*store, "a", approve("alice"), 4).await;
    assert_eq!(store.past_round(&waiting.gate, Round::FIRST).await.unwrap().as_ref(), Some(&first.gate));
}
