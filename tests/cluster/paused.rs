//! A coordinator is paused in the middle of deciding, until the others take it for gone.

use crate::burst::Burst;
use crate::chance::{Chance, times};
use crate::linearizable::Answered;
use crate::load::Load;
use crate::support::{get, wait};
use crate::world::{HOSTS, World, direct, made, until};

/// What a coordinator logs when its lease is over.
const LOST: &str = "this coordinator has no lease of etcd";
/// What it logs when it has another.
const GOES_ON: &str = "this coordinator has a lease of etcd again";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_was_paused_while_it_decided_doubles_no_decision() {
    const TEST: &str = "cluster: coordinator paused";
    let Some(world) = World::start_or_skip(TEST).await else { return };
    let mut chance = Chance::new(TEST);
    let mut load = Load::begin(&mut chance);
    let mut late = 0;
    for time in 0..times("PAUSED", 2) {
        load.until_more().await;
        let host = chance.of(&[0, 1, 2]);
        let other = (host + 1) % HOSTS;
        let mut burst = Burst::new(other, &format!("paused/{time}")).await;
        // Who waits there is told for as long as the coordinator is taken for alive.
        let open = format!("open/{time}");
        made(&direct(other), &open).await;
        for gate in burst.gates.iter().step_by(20).chain([&open]) {
            load.wait(direct(host), wait(gate));
        }
        let waits = async || direct(other).get(get(&open)).await.map(|gate| gate.waiter_count > 0);
        until("others see who waits there", async || waits().await.is_ok_and(|waits| waits)).await;

        burst.begin(&mut load, &mut chance, &[host]).await;
        world.pause(host);
        load.suffers(format!("coordinator {host} paused"));
        load.decide_each(other, &burst.gates, false).await;
        // Paused for less, it goes on with what it has read, and its commits are too late. Paused for longer, it has to
        // learn that its time is over.
        if time % 2 == 1 {
            until("others take it for gone", async || waits().await.is_ok_and(|waits| !waits)).await;
            load.until_more().await;
        }
        world.resume(host);
        let did = burst.end().await;
        late += did.iter().filter(|did| matches!(did.answered, Answered::Resolved(_))).count();
        load.told.did.extend(did);
        load.decide(other, &open, true).await;
        world.until_ready(host, true).await;
        if time % 2 == 1 {
            until("it says so once", async || {
                let log = world.log(host);
                let said = |text| log.matches(text).count();
                said(LOST) > 0 && said(LOST) == said(GOES_ON)
            })
            .await;
        }
    }
    load.until_more().await;
    println!("{TEST}: {late} decisions that were under way came too late, and were told who was first");
    load.end(TEST).await;
}
