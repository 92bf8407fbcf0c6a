//! Imports beside other imports, and beside coordinators that were only away.

use super::*;
use crate::store::memory::Memory;
use crate::transfer::{self, File};

fn refused<T: fmt::Debug>(answer: Result<T, Error>) {
    match answer {
        Err(Error::Unavailable { problem }) => assert!(problem.contains("import into it is under way"), "{problem}"),
        other => panic!("{other:?}"),
    }
}

async fn elected(store: &Etcd) {
    tokio::time::timeout(PATIENCE, store.elected()).await.expect("it is never elected");
}

/// Makes a file that holds one gate, `a`.
async fn file() -> (File, tempfile::TempDir) {
    let (source, home) = (Memory::new(), tempfile::tempdir().unwrap());
    make(&source, "a").await;
    let path = home.path().join("gates.jsonl");
    transfer::export(&source, at(0), std::fs::File::create(&path).unwrap()).await.unwrap();
    (File::check(&path).unwrap(), home)
}

#[tokio::test]
async fn what_was_filled_while_an_import_waited_is_left_as_it_is() {
    let prefix = member::prefix();
    let (Some(serving), Some(importing)) = (open(&prefix).await, open(&prefix).await) else { return };
    elected(&serving).await;
    let (file, _home) = file().await;
    let meanwhile = async {
        // It has found the store empty, and waits to be the only one.
        while !importing.shared.session.stands.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        let event = make(&serving, "b").await;
        serving.leave().await;
        event
    };
    let (imported, event) = tokio::join!(file.import(&importing), meanwhile);
    assert!(matches!(imported, Err(transfer::Error::NotEmpty { what: "gates" })), "{imported:?}");
    // It can be opened, and holds nothing else.
    assert_eq!(all_events(&open(&prefix).await.unwrap()).await, [event.revision()]);
}

#[tokio::test]
async fn a_coordinator_that_was_away_writes_nothing_during_an_import() {
    let prefix = member::prefix();
    let (Some(away), Some(importing)) = (open(&prefix).await, open(&prefix).await) else { return };
    importing.begin_import().await.unwrap();
    let create = || change(&name("a"), None, &create(Spec::default()), 0);
    refused(away.commit(create()).await);
    refused(away.remember(request("one"), vec![]).await);
    refused(away.ready().await);
    let event = importing.commit(create()).await.unwrap();
    importing.remember(request("one"), vec![event.revision()]).await.unwrap();
    importing.ready().await.unwrap();
    importing.end_import().await.unwrap();

    away.ready().await.unwrap();
    assert!(matches!(away.commit(create()).await, Err(Error::Conflict)));
    assert!(matches!(away.remember(request("one"), vec![]).await, Err(Error::Conflict)));
    let waiting = act(&away, "a", wait(), 1).await;
    assert_eq!(changes_until(&away, waiting.revision()).await, [event, waiting]);
}

#[tokio::test]
async fn an_import_goes_on_without_its_lease_and_nobody_takes_its_place() {
    let prefix = member::prefix();
    let (Some(away), Some(importing)) = (open(&prefix).await, open(&prefix).await) else { return };
    importing.begin_import().await.unwrap();
    // As if it had hung for longer than its lease.
    importing.tasks.iter().for_each(AbortHandle::abort);
    importing.shared.client.revoke(importing.shared.session.lease().unwrap()).await.unwrap();
    let campaign = async || {
        crate::store::etcd::session::campaign(&away.shared, away.shared.session.lease().unwrap()).await.unwrap();
        away.shared.session.leads_since()
    };
    assert_eq!(campaign().await, None);
    refused(away.begin_import().await);

    let webhook = WebhookName::parse("name", "ops").unwrap();
    let outbox = Outbox { place: Revision(1), warned: at(0), next_letter: 1 };
    let change = OutboxChange { outbox: outbox.clone(), put: vec![], remove: vec![] };
    importing.save_outbox(&webhook, change).await.unwrap();
    assert_eq!(away.outbox(&webhook).await.unwrap(), Some(outbox));

    importing.end_import().await.unwrap();
    assert!(campaign().await.is_some());
}

#[tokio::test]
async fn an_import_whose_mark_is_gone_writes_nothing() {
    let Some(store) = open(&member::prefix()).await else { return };
    store.begin_import().await.unwrap();
    store.shared.client.txn(Txn::default().delete(keys::IMPORT.to_vec())).await.unwrap();
    let refused = store.commit(change(&name("a"), None, &create(Spec::default()), 0)).await.unwrap_err().to_string();
    assert!(refused.contains("mark of this import is gone"), "{refused}");
}
