//! A coordinator is cut off from etcd, or from its clients.

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::burst::Burst;
use crate::chance::{Chance, times};
use crate::load::Load;
use crate::support::{get, ok, outcome, told_waiting, wait};
use crate::world::{HOSTS, PATIENCE, World, answer_of, client, direct, gates, is_refused, made, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_is_cut_off_from_etcd_acknowledges_nothing_and_ends_no_wait() {
    const TEST: &str = "cluster: coordinator cut off from etcd";
    let Some(world) = World::start_or_skip(TEST).await else { return };
    let mut chance = Chance::new(TEST);
    let mut load = Load::begin(&mut chance);
    for time in 0..times("CUT_OFF", 1) {
        let host = chance.of(&[0, 1, 2]);
        let (waited, tried) = (format!("waited/{time}"), format!("tried/{time}"));
        for gate in [&waited, &tried] {
            made(&direct(host), gate).await;
        }
        let mut waiting = ok(gates(host).wait(wait(&waited))).await;
        told_waiting(&mut waiting, 1).await;

        let mut burst = Burst::new(host, &format!("burst/{time}")).await;
        load.suffers(format!("coordinator {host} cut off from etcd"));
        burst.begin(&mut load, &mut chance, &[host]).await;
        let cut = world.cut_from_etcd(host);
        is_refused(host, &tried).await;
        load.told.did.extend(burst.end().await);
        world.until_ready(host, false).await;
        let decided = load.decide((host + 1) % HOSTS, &waited, true).await.unwrap();
        load.until_more().await;
        drop(cut);

        assert_eq!(outcome(&mut waiting).await.resolution, decided.resolution);
        world.until_ready(host, true).await;
        assert_eq!(answer_of(async || direct(host).get(get(&tried)).await).await.resolution, None);
    }
    load.until_more().await;
    load.end(TEST).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_cut_off_from_a_coordinator_go_on_at_the_others() {
    const TEST: &str = "cluster: clients cut off";
    let Some(world) = World::start_or_skip(TEST).await else { return };
    let mut chance = Chance::new(TEST);
    let mut load = Load::begin(&mut chance);
    for time in 0..times("CUT_OFF", 1) {
        load.until_more().await;
        let host = chance.of(&[0, 1, 2]);
        let other = (host + 1) % HOSTS;
        let gate = format!("waited/{time}");
        made(&direct(host), &gate).await;
        // The waits of one client begin at all of them in turn.
        let client = client(host);
        let waits: Vec<_> = (0..HOSTS).map(|_| load.wait(client.clone(), wait(&gate))).collect();
        until("all wait", async || direct(other).get(get(&gate)).await.is_ok_and(|gate| gate.waiter_count == 3)).await;

        load.suffers(format!("coordinator {host} cut off from its clients"));
        let cut = world.cut_from_clients(host);
        load.decide(other, &gate, true).await.unwrap();
        // They are told while the coordinator of one of them still cannot be reached.
        timeout(PATIENCE, join_all(waits)).await.expect("some waits are never answered");
        load.until_more().await;
        drop(cut);
    }
    load.until_more().await;
    load.end(TEST).await;
}
