//! Two of three members of etcd are gone.

use futures_util::future::join_all;

use crate::burst::Burst;
use crate::chance::{Chance, times};
use crate::load::Load;
use crate::support::{get, ok, outcome, told_waiting, wait};
use crate::world::{HOSTS, World, answer_of, direct, gates, is_refused, made};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_acknowledged_and_all_goes_on_with_one() {
    const TEST: &str = "cluster: no majority";
    let Some(mut world) = World::start_or_skip(TEST).await else { return };
    let mut chance = Chance::new(TEST);
    let mut load = Load::begin(&mut chance);
    for time in 0..times("QUORUMS", 2) {
        load.until_more().await;
        let (waited, tried) = (format!("waited/{time}"), format!("tried/{time}"));
        for gate in [&waited, &tried] {
            made(&direct(0), gate).await;
        }
        let mut waits = Vec::new();
        for host in 0..HOSTS {
            let mut waiting = ok(gates(host).wait(wait(&waited))).await;
            told_waiting(&mut waiting, 1).await;
            waits.push(waiting);
        }

        let mut burst = Burst::new(0, &format!("burst/{time}")).await;
        let left = chance.of(&[0, 1, 2]);
        let gone = [(left + 1) % HOSTS, (left + 2) % HOSTS];
        load.suffers(format!("only member {left} left"));
        burst.begin(&mut load, &mut chance, &[0, 1, 2]).await;
        for host in gone {
            world.kill_member(host);
        }
        join_all((0..HOSTS).map(|host| is_refused(host, &tried))).await;
        load.told.did.extend(burst.end().await);
        join_all((0..HOSTS).map(|host| world.until_ready(host, false))).await;

        world.start_member(gone[0]).await;
        join_all((0..HOSTS).map(|host| world.until_ready(host, true))).await;
        assert_eq!(answer_of(async || direct(0).get(get(&tried)).await).await.resolution, None);
        let decided = load.decide(left, &waited, false).await.unwrap();
        for waiting in &mut waits {
            assert_eq!(outcome(waiting).await.resolution, decided.resolution);
        }
        load.until_more().await;
        world.start_member(gone[1]).await;
    }
    load.until_more().await;
    load.end(TEST).await;
}
