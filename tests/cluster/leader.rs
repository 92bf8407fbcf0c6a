//! The leader of etcd is killed, or cut off from the other members.

use crate::burst::Burst;
use crate::chance::{Chance, times};
use crate::load::Load;
use crate::world::{World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_takes_nothing_with_it() {
    const TEST: &str = "cluster: leader killed";
    let Some(mut world) = World::start_or_skip(TEST).await else { return };
    let mut chance = Chance::new(TEST);
    let mut load = Load::begin(&mut chance);
    for time in 0..times("LEADERS", 2) {
        load.until_more().await;
        let mut burst = Burst::new(0, &format!("burst/{time}")).await;
        let leader = world.leader().await;
        burst.begin(&mut load, &mut chance, &[0, 1, 2]).await;
        load.suffers(format!("host {leader} killed"));
        world.kill_member(leader);
        load.told.did.extend(burst.end().await);
        load.until_more().await;
        world.start_member(leader).await;
    }
    load.until_more().await;
    load.end(TEST).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_decides_nothing_and_the_others_go_on() {
    const TEST: &str = "cluster: leader cut off";
    let Some(world) = World::start_or_skip(TEST).await else { return };
    let mut chance = Chance::new(TEST);
    let mut load = Load::begin(&mut chance);
    for time in 0..times("LEADERS", 2) {
        load.until_more().await;
        let mut burst = Burst::new(0, &format!("burst/{time}")).await;
        let leader = world.leader().await;
        burst.begin(&mut load, &mut chance, &[0, 1, 2]).await;
        load.suffers(format!("host {leader} cut off"));
        let cut = world.cut_member_off(leader);
        until("another member leads", async || world.leader().await != leader).await;
        load.told.did.extend(burst.end().await);
        load.until_more().await;
        drop(cut);
        world.until_member_follows(leader).await;
    }
    load.until_more().await;
    load.end(TEST).await;
}
