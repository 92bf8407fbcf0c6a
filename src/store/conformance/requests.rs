//! Cases about requests that are answered once.

use super::*;

pub async fn a_request_is_recorded_with_its_event(store: Arc<dyn Store>) {
    let request = request("one");
    assert_eq!(store.answer(&request.key).await.unwrap(), None);
    let change = Change { request: Some(request.clone()), ..change(&name("a"), None, &create(Spec::default()), 1) };
    let event = store.commit(change).await.unwrap();

    let answer = store.answer(&request.key).await.unwrap().unwrap();
    assert_eq!((answer.fingerprint, answer.revisions.as_slice()), (request.fingerprint, [event.revision()].as_slice()));
    assert_eq!(store.event(answer.revisions[0]).await.unwrap(), Some(event));
}

pub async fn a_request_is_answered_once(store: Arc<dyn Store>) {
    let request = request("one");
    let create = |gate: &str| Change {
        request: Some(request.clone()),
        ..change(&name(gate), None, &create(Spec::default()), 1)
    };
    let first = store.commit(create("a")).await.unwrap();

    assert!(is_conflict(&store.commit(create("b")).await));
    assert_eq!(store.get(&name("b")).await.unwrap(), None, "the event goes with the request");
    assert!(is_conflict(&store.remember(request.clone(), vec![]).await));
    assert_eq!(store.answer(&request.key).await.unwrap().unwrap().revisions, [first.revision()]);
}

pub async fn a_conflict_records_no_request(store: Arc<dyn Store>) {
    make(&*store, "a").await;
    let request = request("one");
    let stale = Change { request: Some(request.clone()), ..change(&name("a"), None, &create(Spec::default()), 1) };
    assert!(is_conflict(&store.commit(stale).await));
    assert_eq!(store.answer(&request.key).await.unwrap(), None);

    let (first, second) = (make(&*store, "b").await.revision(), make(&*store, "c").await.revision());
    store.remember(request.clone(), vec![first, second]).await.unwrap();
    assert_eq!(store.answer(&request.key).await.unwrap().unwrap().revisions, [first, second]);
}

pub async fn requests_are_told_apart(store: Arc<dyn Store>) {
    let whole = request("one");
    let key = |principal_text: &str, id: &str, part: Option<&str>| {
        RequestKey::new(&principal(principal_text), id, part.map(name).as_ref())
    };
    let keys = [
        whole.key,
        key("alice", "one", Some("a")),
        key("alice", "one", Some("a/b")),
        key("alice", "one ", None),
        key("alice", "on", None),
        key("bob", "one", None),
    ];
    for (number, key) in (1..).zip(&keys) {
        let request = Request { key: *key, fingerprint: [number; 32], time: at(0) };
        store.remember(request, vec![Revision(number.into())]).await.unwrap();
    }
    for (number, key) in (1..).zip(&keys) {
        let answer = store.answer(key).await.unwrap().unwrap();
        assert_eq!((answer.fingerprint, answer.revisions), ([number; 32], vec![Revision(number.into())]), "{key:?}");
    }
    assert_eq!(store.answer(&key("alice", "o", None)).await.unwrap(), None);
}

pub async fn one_of_many_equal_requests_wins(store: Arc<dyn Store>) {
    let racers = (0..16).map(|racer| {
        let create = change(&name(&format!("gate-{racer}")), None, &create(Spec::default()), 1);
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(Change { request: Some(request("one")), ..create }).await })
    });

    let mut winners = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        match racer.await.unwrap() {
            Ok(event) => winners.push(event.revision()),
            Err(Error::Conflict) => {
                // A loser can read at once why it lost.
                assert!(store.answer(&request("one").key).await.unwrap().is_some());
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(winners, store.answer(&request("one").key).await.unwrap().unwrap().revisions);
}
