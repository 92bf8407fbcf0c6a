//! Cases about many gates and their history.

use super::*;

pub async fn gates_are_listed_in_the_order_of_their_names(store: Arc<dyn Store>) {
    let mut last = Revision::ZERO;
    for gate in ["b", "a-b", "a/b", "a", "a/b/c", "ab", "a.b", "a/B", "a0"] {
        last = make(&*store, gate).await.revision();
    }
    let query = ListQuery { prefix: prefix(""), unresolved: false, after: None, limit: 100 };
    let page = store.list(query).await.unwrap();
    assert_eq!(names(&page.gates), ["a", "a/B", "a/b", "a/b/c", "a-b", "a.b", "a0", "ab", "b"]);
    assert!(page.gates.is_sorted_by(|a, b| a.name < b.name));
    assert!(page.revision >= last && page.revision <= store.latest().await.unwrap());
}

pub async fn lists_hold_a_group_and_go_on_behind_a_gate(store: Arc<dyn Store>) {
    for gate in ["a", "a/1", "a/1/x", "a/2", "a-b", "b", "b/1"] {
        make(&*store, gate).await;
    }
    let list = async |group: &str, after: Option<&str>, limit: usize| {
        let query = ListQuery { prefix: prefix(group), unresolved: false, after: after.map(name), limit };
        let gates = store.list(query).await.unwrap().gates;
        names(&gates).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };

    assert_eq!(list("a", None, 10).await, ["a", "a/1", "a/1/x", "a/2"]);
    assert_eq!(list("a/1", None, 10).await, ["a/1", "a/1/x"]);
    assert_eq!(list("a", None, 2).await, ["a", "a/1"]);
    assert_eq!(list("a", Some("a/1"), 2).await, ["a/1/x", "a/2"]);
    assert_eq!(list("a", Some("a/2"), 2).await, [""; 0]);
    assert_eq!(list("a", Some("a/1/no-such"), 9).await, ["a/1/x", "a/2"], "the gate need not exist");
    assert_eq!(list("b", Some("a"), 9).await, ["b", "b/1"], "before the group");
    assert_eq!(list("a", Some("b"), 9).await, [""; 0], "behind the group");
    assert_eq!(list("", Some("a/2"), 2).await, ["a-b", "b"]);
    assert_eq!(list("no-such", None, 9).await, [""; 0]);
    assert_eq!(list("", None, 0).await, [""; 0]);
}

pub async fn unresolved_gates_are_listed(store: Arc<dyn Store>) {
    for gate in ["a", "a/approved", "a/deleted", "a/reset", "a/waiting", "b"] {
        make(&*store, gate).await;
    }
    act(&*store, "a/auto", create(Spec { auto_approve: true, ..Spec::default() }), 0).await;
    act(&*store, "a/approved", wait(), 1).await;
    act(&*store, "a/approved", approve("alice"), 2).await;
    act(&*store, "a/deleted", delete(), 1).await;
    act(&*store, "a/reset", approve("alice"), 1).await;
    act(&*store, "a/reset", reset(), 2).await;
    act(&*store, "a/waiting", wait(), 1).await;

    let query = ListQuery { prefix: prefix("a"), unresolved: true, after: None, limit: 10 };
    let page = store.list(query.clone()).await.unwrap();
    assert_eq!(names(&page.gates), ["a", "a/reset", "a/waiting"]);
    let page = store.list(ListQuery { after: Some(name("a")), limit: 1, ..query }).await.unwrap();
    assert_eq!(names(&page.gates), ["a/reset"]);
}

pub async fn deadlines_are_those_of_waiting_gates(store: Arc<dyn Store>) {
    let expect = async |expected: &[(u64, &str)]| {
        let deadlines = store.deadlines(&DeadlinePlace::START, 10).await.unwrap();
        let expected: Vec<_> = expected.iter().map(|(seconds, gate)| (at(*seconds), name(gate))).collect();
        assert_eq!(deadlines, expected);
    };
    for (gate, seconds) in [("c/x", 30), ("a", 20), ("b", 20), ("d", 10)] {
        let spec = Spec { timeout: Some(Duration::from_secs(seconds)), ..Spec::default() };
        act(&*store, gate, create(spec), 0).await;
    }
    make(&*store, "for-ever").await;
    act(&*store, "for-ever", wait(), 0).await;
    expect(&[]).await;

    for gate in ["a", "b", "c/x", "d"] {
        act(&*store, gate, wait(), 0).await;
    }
    expect(&[(10, "d"), (20, "a"), (20, "b"), (30, "c/x")]).await;
    assert_eq!(store.deadlines(&DeadlinePlace::START, 1).await.unwrap(), [(at(10), name("d"))]);

    act(&*store, "d", Command::Expire, 10).await;
    expect(&[(20, "a"), (20, "b"), (30, "c/x")]).await;
    act(&*store, "a", approve("alice"), 11).await;
    act(&*store, "b", delete(), 11).await;
    act(&*store, "c/x", reset(), 11).await;
    expect(&[]).await;
    act(&*store, "c/x", wait(), 12).await;
    act(&*store, "d", reset(), 12).await;
    act(&*store, "d", wait(), 13).await;
    expect(&[(23, "d"), (42, "c/x")]).await;
}

pub async fn the_history_of_a_gate_has_all_its_generations(store: Arc<dyn Store>) {
    let mut expected = vec![make(&*store, "a").await];
    make(&*store, "a/b").await;
    make(&*store, "ab").await;
    expected.push(act(&*store, "a", delete(), 1).await);
    expected.push(act(&*store, "a", create(Spec { title: "again".into(), ..Spec::default() }), 2).await);
    expected.push(act(&*store, "a", wait(), 3).await);

    let query = HistoryQuery { scope: HistoryScope::Gate(name("a")), after: Revision::ZERO, limit: 3 };
    let page = store.history(query.clone()).await.unwrap();
    assert_eq!(page.events, expected[..3]);
    let page = store.history(HistoryQuery { after: page.next.unwrap(), ..query.clone() }).await.unwrap();
    assert_eq!((page.events.as_slice(), page.next), (&expected[3..], None));
    let page = store.history(HistoryQuery { limit: 4, ..query.clone() }).await.unwrap();
    assert_eq!((page.events.as_slice(), page.next), (&expected[..], None), "a full page may be the last");
    for scope in [HistoryScope::Gate(name("a")), HistoryScope::Group(prefix(""))] {
        let page = store.history(HistoryQuery { scope, after: Revision(u64::MAX), limit: 3 }).await.unwrap();
        assert_eq!((page.events, page.next), (vec![], None), "behind the end");
    }
    let scope = HistoryScope::Gate(name("no-such"));
    assert_eq!(store.history(HistoryQuery { scope, ..query }).await.unwrap().events, []);
}

pub async fn the_history_of_a_group_is_paged(store: Arc<dyn Store>) {
    let mut expected = Vec::new();
    for number in 0..20 {
        expected.push(make(&*store, &format!("group/{number}")).await);
        make(&*store, &format!("group-{number}")).await;
    }
    expected.push(act(&*store, "group/3", delete(), 1).await);

    for (limit, group) in [(1, "group"), (4, "group"), (100, "group"), (7, "")] {
        let query = HistoryQuery { scope: HistoryScope::Group(prefix(group)), after: Revision::ZERO, limit };
        let (mut events, mut next) = (Vec::new(), Some(Revision::ZERO));
        while let Some(after) = next {
            let page = store.history(HistoryQuery { after, ..query.clone() }).await.unwrap();
            assert!(page.events.len() <= limit);
            events.extend(page.events);
            assert!(page.next.is_none_or(|next| next > after), "it goes on");
            next = page.next;
        }
        events.retain(|event| prefix("group").contains(&event.gate.name));
        assert_eq!(events, expected, "pages of {limit}");
    }
}

pub async fn an_event_is_read_by_its_revision(store: Arc<dyn Store>) {
    let event = make(&*store, "a").await;
    assert_eq!(store.event(Revision::ZERO).await.unwrap(), None);
    assert_eq!(store.event(event.revision().next()).await.unwrap(), None);
    assert_eq!(store.event(event.revision()).await.unwrap(), Some(event));
}
