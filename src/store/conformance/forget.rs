//! What is old is forgotten, and nothing else.

use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::domain::Event;
use crate::store::Old;

/// Everything below a revision is old.
fn below(revision: u64) -> Old {
    Old { before: SystemTime::UNIX_EPOCH, below: Revision(revision), until: Revision(u64::MAX) }
}

async fn forget_all(store: &dyn Store, old: Old) {
    while store.forget(old).await.unwrap() {}
}

async fn history(store: &dyn Store) -> Vec<u64> {
    let scope = HistoryScope::Group(prefix(""));
    let page = store.history(HistoryQuery { scope, after: Revision::ZERO, limit: 1000 }).await.unwrap();
    page.events.iter().map(|event| event.revision().0).collect()
}

fn is_compacted(changes: &Result<Vec<Arc<Event>>, Error>, oldest: u64) -> bool {
    matches!(changes, Err(Error::Compacted { oldest: found }) if *found == Revision(oldest))
}

/// A resolved gate is forgotten whole.
pub async fn a_resolved_gate_is_forgotten_with_its_past(store: Arc<dyn Store>) {
    make(&*store, "a").await;
    act(&*store, "a", approve("alice"), 1).await;
    act(&*store, "a", reset(), 2).await;
    let last = act(&*store, "a", approve("alice"), 3).await;
    assert_eq!(store.oldest(), Revision(1));
    forget_all(&*store, below(last.revision().next().0)).await;
    assert_eq!(store.get(&name("a")).await.unwrap(), None);
    assert_eq!(history(&*store).await, [0; 0]);
    assert_eq!(store.past_round(&last.gate, Round::FIRST).await.unwrap(), None);
    assert_eq!(store.oldest(), Revision(5));
    assert!(is_compacted(&store.changes_after(Revision(3)).await, 5));
    // A gate of that name can be made again, and revisions go on.
    assert_eq!(make(&*store, "a").await.revision(), Revision(5));
    assert_eq!(changes_after(&*store, 4).await, [5]);
}

/// An unresolved gate keeps its state and the ends of its past rounds, however old.
pub async fn an_unresolved_gate_is_never_forgotten(store: Arc<dyn Store>) {
    make(&*store, "a").await;
    act(&*store, "a", wait(), 1).await;
    let first = act(&*store, "a", approve("alice"), 2).await;
    act(&*store, "a", reset(), 3).await;
    let waiting = act(&*store, "a", wait(), 4).await;
    make(&*store, "b").await;
    forget_all(&*store, below(100)).await;
    assert_eq!(store.get(&name("a")).await.unwrap().as_ref(), Some(&waiting.gate));
    assert_eq!(store.past_round(&waiting.gate, Round::FIRST).await.unwrap().as_ref(), Some(&first.gate));
    assert_eq!(history(&*store).await, [3, 5, 6], "the ends of rounds and the states");

    // What was kept only as a state goes with the change that takes its place.
    act(&*store, "a", approve("alice"), 5).await;
    assert_eq!(history(&*store).await, [3, 6, 7]);
    act(&*store, "a", reset(), 6).await;
    act(&*store, "b", wait(), 6).await;
    assert_eq!(history(&*store).await, [3, 7, 8, 9]);
    act(&*store, "a", delete(), 7).await;
    forget_all(&*store, below(100)).await;
    assert_eq!(history(&*store).await, [9]);
}

/// Only what is old is forgotten, by time as by revision.
pub async fn what_is_not_old_is_kept(store: Arc<dyn Store>) {
    for second in 0..6 {
        act(&*store, &format!("g{second}"), create(Spec { auto_approve: true, ..Spec::default() }), second).await;
    }
    forget_all(&*store, Old { until: Revision(1), ..below(3) }).await;
    assert_eq!(history(&*store).await, [2, 3, 4, 5, 6]);
    forget_all(&*store, below(3)).await;
    assert_eq!(history(&*store).await, [3, 4, 5, 6]);
    forget_all(&*store, Old { before: at(4), below: Revision::ZERO, until: Revision(u64::MAX) }).await;
    assert_eq!(history(&*store).await, [5, 6]);
    assert_eq!(changes_after(&*store, 4).await, [5, 6]);
    assert!(is_compacted(&store.changes_after(Revision(3)).await, 5));
}

/// A request is remembered for as long as what answers it.
pub async fn a_request_is_forgotten_with_its_answer(store: Arc<dyn Store>) {
    let (one, two) = (request("one"), request("two"));
    let made = change(&name("a"), None, &create(Spec { auto_approve: true, ..Spec::default() }), 0);
    let first = store.commit(Change { request: Some(one.clone()), ..made }).await.unwrap().revision();
    let second = make(&*store, "b").await.revision();
    store.remember(two.clone(), vec![second]).await.unwrap();
    forget_all(&*store, below(first.next().0)).await;
    assert_eq!(store.answer(&one.key).await.unwrap(), None);
    assert!(store.answer(&two.key).await.unwrap().is_some());
    store.remember(one, vec![second]).await.unwrap();
}

/// It takes steps, so that callers are not held up.
pub async fn much_is_forgotten_in_steps(store: Arc<dyn Store>) {
    for number in 0..200 {
        let spec = Spec { auto_approve: true, ..Spec::default() };
        act(&*store, &format!("g{number}"), create(spec), number).await;
    }
    assert!(store.forget(below(1000)).await.unwrap());
    assert!(store.oldest() < Revision(101));
    forget_all(&*store, below(1000)).await;
    assert_eq!((store.oldest(), history(&*store).await.len()), (Revision(201), 0));
}

async fn changes_after(store: &dyn Store, revision: u64) -> Vec<u64> {
    store.changes_after(Revision(revision)).await.unwrap().iter().map(|event| event.revision().0).collect()
}

/// A gate that is forgotten is no gate.
pub async fn what_is_forgotten_is_not_counted(store: Arc<dyn Store>) {
    for gate in ["a", "b", "c"] {
        make(&*store, gate).await;
    }
    act(&*store, "a", approve("alice"), 1).await;
    act(&*store, "b", wait(), 2).await;
    forget_all(&*store, below(100)).await;
    assert_eq!(store.counts(), [Status::Waiting, Status::Pending].into_iter().collect());
    assert_eq!(store.counts(), counted(&*store).await);
    act(&*store, "b", approve("alice"), 3).await;
    forget_all(&*store, below(100)).await;
    assert_eq!(store.counts(), [Status::Pending].into_iter().collect());
}
