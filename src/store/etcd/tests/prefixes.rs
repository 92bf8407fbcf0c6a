//! Stores that would stand among each other's keys.

use super::*;

async fn refused(settings: &Settings) -> String {
    match Etcd::open(settings).await {
        Err(Error::Corrupt { place, problem }) => format!("{place}: {problem}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_store_is_not_made_among_the_keys_of_another() {
    let Some(member) = member::member_or_skip() else { return };
    let prefix = member::prefix();
    let at = |inner: &str| settings(member, &format!("{prefix}{inner}"));
    let outer = open_at(&at("")).await;
    for inner in ["dev/", "h/", "a/b/"] {
        let told = refused(&at(inner)).await;
        let expected = format!("{prefix}{inner} in etcd: the store behind {prefix} would take its keys for its own");
        assert!(told.starts_with(&expected) && told.contains("--etcd-prefix"), "{told}");
        assert!(Etcd::open_existing(&at(inner)).await.is_err(), "it was made");
    }
    // Beside it, there is room.
    let beside = settings(member, &format!("{}-2/", prefix.trim_end_matches('/')));
    assert_ne!(open_at(&beside).await.id(), outer.id());
}

#[tokio::test]
async fn coordinators_that_start_at_once_make_one_store() {
    let Some(member) = member::member_or_skip() else { return };
    drop(leading().await);
    for _ in 0..10 {
        let settings = settings(member, &member::prefix());
        let opened = futures_util::future::join_all((0..4).map(|_| Etcd::open(&settings))).await;
        let ids: Vec<_> = opened.into_iter().map(|store| store.unwrap().id().to_owned()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}

#[tokio::test]
async fn a_store_is_not_made_around_other_keys() {
    let Some(member) = member::member_or_skip() else { return };
    let prefix = member::prefix();
    let inner = open_at(&settings(member, &format!("{prefix}dev/"))).await;
    let event = make(&inner, "a").await;
    let told = refused(&settings(member, &prefix)).await;
    assert!(told.starts_with(&format!("{prefix} in etcd: it is no store, and {prefix}dev/")), "{told}");
    assert!(Etcd::open_existing(&settings(member, &prefix)).await.is_err(), "it was made");

    // The one inside goes on, and one that was put around it all the same ends that; only reading it is left.
    let settings = settings(member, &format!("{prefix}dev/"));
    assert_eq!(open_at(&settings).await.id(), inner.id());
    let everywhere = client::Client::new(&Settings { prefix: prefix.clone(), ..settings.clone() }).unwrap();
    everywhere.txn(Txn::default().put(keys::STORE_ID.to_vec(), b"another".to_vec())).await.unwrap();
    assert!(refused(&settings).await.contains("gatepost export"));
    let read = Etcd::open_existing(&settings).await.unwrap();
    assert_eq!(all_events(&read).await, [event.revision()]);
}

#[tokio::test]
async fn an_event_under_the_key_of_another_gate_is_not_told() {
    let Some(store) = open(&member::prefix()).await else { return };
    let first = make(&store, "a").await;
    // Once it is told, what follows comes from the watch.
    let before = changes_until(&store, first.revision()).await;
    let record = codec::encode_event(&first).unwrap();
    // As a store inside would write, behind the prefix `h/`.
    let id = store.shared.next_id(None, &name("a"));
    let foreign = [b"h/".as_slice(), &id.record()].concat();
    let gate = keys::gate(keys::GATES, &name("b"));
    let txn = Txn::default().put(foreign.clone(), record.clone()).put(gate, record);
    store.shared.client.txn(txn).await.unwrap();
    let last = make(&store, "c").await;
    let after = store.changes_after(first.revision()).await.unwrap();
    assert_eq!([before, after].concat(), [first, last]);
    let kv = store.shared.client.range(txn::get(foreign)).await.unwrap().0.remove(0);
    let told = log::event(&kv).unwrap_err().to_string();
    assert!(told.contains("another gate"), "{told}");
    assert!(matches!(store.get(&name("b")).await, Err(Error::Corrupt { .. })));
}
