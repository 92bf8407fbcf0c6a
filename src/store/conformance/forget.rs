//! What is old is forgotten, and nothing else.

use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::domain::Event;
use crate::store::Old;

/// Everything up to a revision is old.
fn up_to(last: Revision) -> Old {
    Old { before: SystemTime::UNIX_EPOCH, below: last.next(), until: Revision(u64::MAX) }
}

/// Everything is old.
fn all() -> Old {
    up_to(Revision(u64::MAX - 1))
}

async fn forget_all(store: &dyn Store, old: Old) {
    while store.forget(old).await.unwrap() {}
}

fn is_compacted(changes: &Result<Vec<Arc<Event>>, Error>, expected: Revision) -> bool {
    matches!(changes, Err(Error::Compacted { oldest }) if *oldest == expected)
}

/// A resolved gate is forgotten whole.
pub async fn a_resolved_gate_is_forgotten_with_its_past(store: Arc<dyn Store>) {
    make(&*store, "a").await;
    act(&*store, "a", approve("alice"), 1).await;
    let third = act(&*store, "a", reset(), 2).await.revision();
    let last = act(&*store, "a", approve("alice"), 3).await;
    assert_eq!(store.oldest(), Revision(1));
    forget_all(&*store, up_to(last.revision())).await;
    assert_eq!(store.get(&name("a")).await.unwrap(), None);
    assert_eq!(all_events(&*store).await, []);
    assert_eq!(store.past_round(&last.gate, Round::FIRST).await.unwrap(), None);
    assert_eq!(store.oldest(), last.revision().next());
    assert!(is_compacted(&store.changes_after(third).await, last.revision().next()));
    // A gate of that name can be made again, and revisions go on.
    let again = make(&*store, "a").await.revision();
    assert!(again > last.revision());
    assert_eq!(changes_after(&*store, last.revision()).await, [again]);
}

/// An unresolved gate keeps its state and the ends of its past rounds, however old.
pub async fn an_unresolved_gate_is_never_forgotten(store: Arc<dyn Store>) {
    make(&*store, "a").await;
    act(&*store, "a", wait(), 1).await;
    let first = act(&*store, "a", approve("alice"), 2).await;
    act(&*store, "a", reset(), 3).await;
    let waiting = act(&*store, "a", wait(), 4).await;
    let other = make(&*store, "b").await.revision();
    forget_all(&*store, all()).await;
    assert_eq!(store.get(&name("a")).await.unwrap().as_ref(), Some(&waiting.gate));
    assert_eq!(store.past_round(&waiting.gate, Round::FIRST).await.unwrap().as_ref(), Some(&first.gate));
    let kept = [first.revision(), waiting.revision(), other];
    assert_eq!(all_events(&*store).await, kept, "the ends of rounds and the states");

    // What was kept only as a state goes when it no longer is, at the latest with what is forgotten next.
    let none = up_to(Revision::ZERO);
    let second = act(&*store, "a", approve("alice"), 5).await.revision();
    forget_all(&*store, none).await;
    assert_eq!(all_events(&*store).await, [first.revision(), other, second]);
    let again = act(&*store, "a", reset(), 6).await.revision();
    let waits = act(&*store, "b", wait(), 6).await.revision();
    forget_all(&*store, none).await;
    assert_eq!(all_events(&*store).await, [first.revision(), second, again, waits]);
    act(&*store, "a", delete(), 7).await;
    forget_all(&*store, all()).await;
    assert_eq!(all_events(&*store).await, [waits]);
}

/// Only what is old is forgotten, by time as by revision.
pub async fn what_is_not_old_is_kept(store: Arc<dyn Store>) {
    let mut made = Vec::new();
    for second in 0..6 {
        let spec = Spec { auto_approve: true, ..Spec::default() };
        made.push(act(&*store, &format!("g{second}"), create(spec), second).await.revision());
    }
    forget_all(&*store, Old { until: made[0], ..up_to(made[1]) }).await;
    assert_eq!(all_events(&*store).await, made[1..]);
    forget_all(&*store, up_to(made[1])).await;
    assert_eq!(all_events(&*store).await, made[2..]);
    forget_all(&*store, Old { before: at(4), below: Revision::ZERO, until: Revision(u64::MAX) }).await;
    assert_eq!(all_events(&*store).await, made[4..]);
    assert_eq!(changes_after(&*store, made[3]).await, made[4..]);
    assert!(is_compacted(&store.changes_after(made[2]).await, made[3].next()));
}

/// A request is remembered for as long as what answers it.
pub async fn a_request_is_forgotten_with_its_answer(store: Arc<dyn Store>) {
    let (one, two) = (request("one"), request("two"));
    let made = change(&name("a"), None, &create(Spec { auto_approve: true, ..Spec::default() }), 0);
    let first = store.commit(Change { request: Some(one.clone()), ..made }).await.unwrap().revision();
    let second = make(&*store, "b").await.revision();
    store.remember(two.clone(), vec![second]).await.unwrap();
    forget_all(&*store, up_to(first)).await;
    assert_eq!(store.answer(&one.key).await.unwrap(), None);
    assert!(store.answer(&two.key).await.unwrap().is_some());
    store.remember(one, vec![second]).await.unwrap();
}

/// It takes steps, so that callers are not held up.
pub async fn much_is_forgotten_in_steps(store: Arc<dyn Store>) {
    let mut made = Vec::new();
    for number in 0..200 {
        let spec = Spec { auto_approve: true, ..Spec::default() };
        made.push(act(&*store, &format!("g{number}"), create(spec), number).await.revision());
    }
    assert!(store.forget(all()).await.unwrap());
    assert!(store.oldest() < made[100]);
    forget_all(&*store, all()).await;
    assert_eq!((store.oldest(), all_events(&*store).await.len()), (made[199].next(), 0));
}

async fn changes_after(store: &dyn Store, revision: Revision) -> Vec<Revision> {
    store.changes_after(revision).await.unwrap().iter().map(|event| event.revision()).collect()
}

/// A gate that is forgotten is no gate.
pub async fn what_is_forgotten_is_not_counted(store: Arc<dyn Store>) {
    for gate in ["a", "b", "c"] {
        make(&*store, gate).await;
    }
    act(&*store, "a", approve("alice"), 1).await;
    act(&*store, "b", wait(), 2).await;
    forget_all(&*store, all()).await;
    assert_eq!(store.counts().await.unwrap(), [Status::Waiting, Status::Pending].into_iter().collect());
    assert_eq!(store.counts().await.unwrap(), counted(&*store).await);
    act(&*store, "b", approve("alice"), 3).await;
    forget_all(&*store, all()).await;
    assert_eq!(store.counts().await.unwrap(), [Status::Pending].into_iter().collect());
}
