//! Moving gates into a real etcd, and out of it.

use std::time::Duration;

use gatepost::store::Store;
use gatepost::store::etcd::{Etcd, Settings, Tls};
use gatepost::store::memory::Memory;
use gatepost::store::{Error, sled::Sled};
use proptest::prelude::*;
use tokio::time::timeout;

use crate::etcd::{Member, member_or_skip, prefix};
use crate::history::{Step, any_step, same, same_past, take};
use crate::store::{Act, act, export, exported, move_over};

/// How long etcd may take to answer, or a coordinator to be elected: far more than they need.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(member: &Member, prefix: &str) -> Result<Etcd, Error> {
    let endpoints = vec![member.endpoint.clone()];
    let settings = Settings { endpoints, prefix: prefix.to_owned(), tls: Tls::default(), login: None };
    let opening = async {
        loop {
            match Etcd::open(&settings).await {
                Err(Error::Unavailable { .. }) => {}
                opened => return opened,
            }
        }
    };
    timeout(PATIENCE, opening).await.unwrap()
}

async fn leading(member: &Member) -> Etcd {
    let store = open(member, &prefix()).await.unwrap();
    timeout(PATIENCE, store.peers().unwrap().elected()).await.unwrap();
    store
}

async fn there_and_back(member: &Member, steps: &[Step]) {
    let home = tempfile::tempdir().unwrap();
    let source = Sled::open(home.path(), 8 * 1024 * 1024).unwrap();
    for (step, number) in steps.iter().zip(1..) {
        take(&source, step, number).await;
    }
    let first = export(&source).await;
    let (cluster, memory) = (open(member, &prefix()).await.unwrap(), Memory::new());
    move_over(&source, &cluster).await.unwrap();
    same(&export(&cluster).await, &first);
    same_past(&source, &cluster).await;
    move_over(&cluster, &memory).await.unwrap();
    same(&export(&memory).await, &first);
    same_past(&source, &memory).await;
}

/// The same history, made there.
async fn out_of_it(member: &Member, steps: &[Step]) {
    let (cluster, memory) = (leading(member).await, Memory::new());
    for (step, number) in steps.iter().zip(1..) {
        take(&cluster, step, number).await;
    }
    move_over(&cluster, &memory).await.unwrap();
    same(&export(&memory).await, &export(&cluster).await);
    same_past(&cluster, &memory).await;
}

proptest! {
    // No file of seeds: a failure prints its shortest history.
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_by_moving_through_etcd(steps in proptest::collection::vec(any_step(), 1..60)) {
        let Some(member) = member_or_skip() else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(there_and_back(member, &steps));
        runtime.block_on(out_of_it(member, &steps));
    }
}

#[tokio::test]
async fn a_cluster_that_was_filled_in_part_is_not_opened() {
    let Some(member) = member_or_skip() else { return };
    let source = Memory::new();
    act(&source, 1, Act::Create { rich: true }, 0, 0).await.unwrap();
    let space = prefix();
    let target = open(member, &space).await.unwrap();
    target.begin_import().await.unwrap();
    let refused = open(member, &space).await.unwrap_err().to_string();
    assert!(
        refused.contains("import into it is under way, or was broken off") && refused.contains(&space),
        "{refused}"
    );
    target.end_import().await.unwrap();
    open(member, &space).await.unwrap();

    // Whatever is in it already stays as it is.
    act(&target, 2, Act::Create { rich: false }, 0, 0).await.unwrap();
    let before = export(&target).await;
    assert!(move_over(&source, &target).await.unwrap_err().to_string().contains("gates"));
    assert_eq!(export(&target).await.len(), before.len());
}

#[tokio::test]
async fn nothing_is_imported_into_what_a_coordinator_serves() {
    let Some(member) = member_or_skip() else { return };
    let source = Memory::new();
    act(&source, 1, Act::Create { rich: true }, 0, 0).await.unwrap();
    let (path, _dir) = exported(&source).await;
    let space = prefix();
    let serving = open(member, &space).await.unwrap();
    timeout(PATIENCE, serving.peers().unwrap().elected()).await.unwrap();
    let target = open(member, &space).await.unwrap();
    let refused = gatepost::transfer::File::check(&path).unwrap().import(&target).await.unwrap_err().to_string();
    assert!(refused.contains("stop all of them"), "{refused}");
    assert_eq!(serving.get(&crate::store::name(1)).await.unwrap(), None);
}
