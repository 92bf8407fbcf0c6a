//! Cases about one gate at a time: commit, read, past rounds.

use std::collections::BTreeSet;

use super::*;

pub async fn a_created_gate_is_read_back(store: Arc<dyn Store>) {
    let empty = store.latest().await.unwrap();
    assert_eq!(store.get(&name("a")).await.unwrap(), None);
    assert!(!store.id().is_empty());

    let spec = Spec { title: "ship it".into(), timeout: Some(Duration::from_nanos(1_000_001)), ..Spec::default() };
    let event = act(&*store, "a", create(spec), 1).await;

    assert_eq!(store.get(&name("a")).await.unwrap().as_ref(), Some(&event.gate));
    assert!(event.revision() > empty && store.latest().await.unwrap() >= event.revision());
    assert_eq!(store.get(&name("a/b")).await.unwrap(), None);
}

pub async fn a_stale_change_conflicts(store: Arc<dyn Store>) {
    let gate = name("a");
    let created = make(&*store, "a").await.gate.clone();
    let again = store.commit(change(&gate, None, &create(Spec::default()), 1)).await;
    assert!(is_conflict(&again), "made twice");

    act(&*store, "a", wait(), 1).await;
    let stale = store.commit(change(&gate, Some(created), &approve("alice"), 2)).await;
    assert!(is_conflict(&stale), "decided on what is gone");

    let waiting = store.get(&gate).await.unwrap().unwrap();
    act(&*store, "a", delete(), 3).await;
    let deleted = store.commit(change(&gate, Some(waiting), &approve("alice"), 4)).await;
    assert!(is_conflict(&deleted), "decided on a deleted gate");
    assert_eq!(all_events(&*store).await.len(), 3);
}

pub async fn revisions_grow_and_stamp_the_gate_and_its_resolution(store: Arc<dyn Store>) {
    let created = make(&*store, "a").await;
    let other = make(&*store, "b").await;
    let resolved = act(&*store, "a", approve("alice"), 1).await;
    let deleted = act(&*store, "a", delete(), 2).await;

    let revisions: Vec<_> = [&created, &other, &resolved, &deleted].map(|event| event.revision()).into();
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    let resolution = |event: &Event| event.gate.resolution.as_ref().unwrap().revision;
    assert_eq!(resolution(&resolved), resolved.revision());
    // The deletion did not resolve it.
    assert_eq!(resolution(&deleted), resolved.revision());
    for event in [created, other, resolved, deleted] {
        assert_eq!(store.event(event.revision()).await.unwrap(), Some(event));
    }
}

pub async fn one_of_many_concurrent_changes_wins(store: Arc<dyn Store>) {
    let gate = make(&*store, "a").await.gate.clone();
    let racers = (0..32).map(|racer| {
        let change = change(&gate.name, Some(gate.clone()), &approve(&format!("racer-{racer}")), 1);
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(change).await })
    });

    let mut winners = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        match racer.await.unwrap() {
            Ok(event) => winners.push(event),
            Err(Error::Conflict) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.get(&gate.name).await.unwrap().as_ref(), Some(&winners[0].gate));
}

pub async fn many_gates_change_at_once(store: Arc<dyn Store>) {
    let writers = (0..64).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let gate = format!("many/{number}");
            let created = make(&*store, &gate).await.revision();
            [created, act(&*store, &gate, approve("alice"), 1).await.revision()]
        })
    });

    let mut revisions = BTreeSet::new();
    for writer in writers.collect::<Vec<_>>() {
        let [created, approved] = writer.await.unwrap();
        assert!(created < approved);
        revisions.extend([created, approved]);
    }
    assert_eq!(revisions.len(), 128, "no revision is given twice");
    assert_eq!(all_events(&*store).await, revisions.into_iter().collect::<Vec<_>>());
}

pub async fn a_deleted_gate_is_absent(store: Arc<dyn Store>) {
    make(&*store, "a").await;
    act(&*store, "a", wait(), 1).await;
    act(&*store, "a", delete(), 2).await;

    assert_eq!(store.get(&name("a")).await.unwrap(), None);
    for unresolved in [true, false] {
        let query = ListQuery { prefix: prefix(""), unresolved, after: None, limit: 10 };
        assert_eq!(store.list(query).await.unwrap().gates, []);
    }
}

pub async fn an_event_too_large_is_refused(store: Arc<dyn Store>) {
    let spec = Spec { description: "x".repeat(200_000), ..Spec::default() };
    let result = store.commit(change(&name("a"), None, &create(spec), 1)).await;
    assert!(matches!(result, Err(Error::TooLarge { bytes: 200_000.., .. })), "{result:?}");
    assert_eq!(all_events(&*store).await, []);
}

pub async fn past_rounds_stay_readable(store: Arc<dyn Store>) {
    let round = |number| Round::new(number).unwrap();
    make(&*store, "a").await;
    let first = act(&*store, "a", approve("alice"), 1).await;
    act(&*store, "a", reset(), 2).await;
    let second = act(&*store, "a", wait(), 3).await;
    let current = act(&*store, "a", reset(), 4).await.gate.clone();

    assert_eq!(store.past_round(&current, round(1)).await.unwrap().as_ref(), Some(&first.gate));
    assert_eq!(store.past_round(&current, round(2)).await.unwrap().as_ref(), Some(&second.gate));
    assert_eq!(store.past_round(&current, round(3)).await.unwrap(), None, "it is not past");
    assert_eq!(store.past_round(&current, round(4)).await.unwrap(), None);
    assert_eq!(store.past_round(&second.gate, round(2)).await.unwrap(), None, "it was not past then");
}

pub async fn a_gate_made_again_has_no_past(store: Arc<dyn Store>) {
    make(&*store, "a").await;
    act(&*store, "a", reset(), 1).await;
    act(&*store, "a", delete(), 2).await;
    make(&*store, "a").await;
    let again = act(&*store, "a", wait(), 3).await.gate.clone();
    assert_eq!(store.past_round(&again, Round::FIRST).await.unwrap(), None);

    let reset = act(&*store, "a", reset(), 4).await.gate.clone();
    let first = store.past_round(&reset, Round::FIRST).await.unwrap().unwrap();
    assert_eq!((first.uid, first.status), (again.uid, Status::Waiting), "not that of the gate before");
}

/// The counts are those of the gates that there are, after every kind of change.
pub async fn gates_are_counted_by_status(store: Arc<dyn Store>) {
    assert_eq!(store.counts().await.unwrap(), Counts::default());
    for gate in ["a", "b", "c", "d"] {
        make(&*store, gate).await;
    }
    act(&*store, "e", create(Spec { auto_approve: true, ..Spec::default() }), 0).await;
    for (gate, command) in [
        ("a", wait()),
        ("a", approve("alice")),
        ("b", wait()),
        ("c", reset()),
        ("d", delete()),
        ("a", reset()),
        ("b", approve("bob")),
        ("e", delete()),
    ] {
        act(&*store, gate, command, 1).await;
        assert_eq!(store.counts().await.unwrap(), counted(&*store).await);
    }
    let expected: Counts = [Status::Pending, Status::Approved, Status::Pending].into_iter().collect();
    assert_eq!(store.counts().await.unwrap(), expected);
    // A change that conflicts changes nothing.
    let stale = change(&name("a"), None, &create(Spec::default()), 2);
    assert!(is_conflict(&store.commit(stale).await));
    assert_eq!(store.counts().await.unwrap(), expected);
}
