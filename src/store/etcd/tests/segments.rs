//! The log goes on from segment to segment, and whoever has not heard of one loses nothing.

use super::*;

#[tokio::test]
async fn the_log_goes_on_through_segments() {
    let prefix = member::prefix();
    let (Some(one), Some(other)) = (open(&prefix).await, open(&prefix).await) else { return };
    let mut expected = Vec::new();
    for number in 0..30_u64 {
        // As if a segment were full.
        if number % 7 == 6 {
            one.shared.end_segment(number / 7, Revision(u64::MAX)).await;
        }
        // The other does not know of it yet.
        let store = if number % 2 == 0 { &one } else { &other };
        expected.push(make(store, &format!("g{number}")).await);
    }
    assert_eq!(one.shared.segments.last().0, 4);
    let revisions: Vec<_> = expected.iter().map(|event| event.revision()).collect();
    assert_eq!(all_events(&other).await, revisions);
    let fresh = open(&prefix).await.unwrap();
    assert_eq!(changes_until(&fresh, revisions[29]).await, expected);
    for event in &expected {
        assert_eq!(fresh.event(event.revision()).await.unwrap().as_ref(), Some(event));
    }
    assert_eq!(fresh.shared.last_event().await.unwrap().as_ref(), expected.last());
}

#[tokio::test]
async fn segments_that_hold_nothing_are_forgotten() {
    let Some(store) = leading().await else { return };
    let spec = || Spec { auto_approve: true, ..Spec::default() };
    for number in 0..6_u64 {
        act(&store, &format!("g{number}"), create(if number == 2 { Spec::default() } else { spec() }), number).await;
        store.shared.end_segment(number, Revision(u64::MAX)).await;
    }
    let all = Old { before: at(99), below: Revision::ZERO, until: Revision(u64::MAX) };
    while store.forget(all).await.unwrap() {}
    let (segments, _) = store.shared.client.range(txn::scan(keys::segments_from(0), 0)).await.unwrap();
    let left: Vec<_> = segments.iter().filter_map(|kv| keys::parse_segment(&kv.key)).collect();
    assert_eq!(left, [2, 6], "that of the gate that is undecided, and that which goes on");
    let kept = store.get(&name("g2")).await.unwrap().unwrap();
    assert!(store.event(kept.revision).await.unwrap().is_some());
    let next = act(&store, "h", create(spec()), 7).await;
    assert_eq!(all_events(&store).await, [kept.revision, next.revision()]);
}

#[tokio::test]
async fn nothing_is_written_to_a_segment_that_is_over_though_the_next_is_forgotten() {
    let Some(store) = leading().await else { return };
    let spec = || Spec { auto_approve: true, ..Spec::default() };
    let undecided = make(&store, "undecided").await.gate.clone();
    // What a coordinator knows that writes nothing meanwhile.
    let late = keys::EventId { segment: 0, hint: undecided.revision.0, name: name("undecided") };
    for number in 0..3 {
        store.shared.begin_segment(number + 1).await.unwrap();
        act(&store, &format!("g{number}"), create(spec()), number).await;
    }
    let all = Old { before: at(99), below: Revision::ZERO, until: Revision(u64::MAX) };
    while store.forget(all).await.unwrap() {}
    let begun = async || {
        let (segments, _) = store.shared.client.range(txn::scan(keys::segments_from(0), 0)).await.unwrap();
        segments.iter().filter_map(|kv| keys::parse_segment(&kv.key)).collect::<Vec<_>>()
    };
    assert_eq!(begun().await, [0, 3]);

    let decided = change(&name("undecided"), Some(undecided), &approve("alice"), 9);
    assert_eq!(store.shared.commit_as(late, &decided).await.unwrap(), None, "it goes on elsewhere");
    store.shared.begin_segment(1).await.unwrap();
    assert_eq!(begun().await, [0, 3], "none is begun between others");
    let decided = store.commit(decided).await.unwrap();
    assert_eq!(all_events(&store).await.last(), Some(&decided.revision()));
    assert_eq!(store.event(decided.revision()).await.unwrap(), Some(decided));
}

#[tokio::test]
async fn where_segments_begin_is_read_once() {
    let prefix = member::prefix();
    let (Some(store), Some(other)) = (open(&prefix).await, open(&prefix).await) else { return };
    let mut events = Vec::new();
    for number in 0..4_u64 {
        events.push(make(&store, &format!("g{number}")).await.revision());
        store.shared.begin_segment(number + 1).await.unwrap();
    }
    for (segment, revision) in (0..).zip(&events) {
        assert_eq!(other.shared.segment_of(*revision).await.unwrap(), segment);
    }
    assert_eq!(other.shared.segment_of(Revision::ZERO).await.unwrap(), 0);
    assert_eq!(other.shared.segments.latest(3), [4, 3, 2]);
}
