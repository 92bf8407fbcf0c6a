//! etcd forgets what a coordinator has yet to be told.

use gatepost::proto::WatchRequest;
use jiff::Timestamp;

use crate::chance::{Chance, times};
use crate::load::Load;
use crate::support::{get, wait};
use crate::world::{HOSTS, World, direct, made, until};

/// What a coordinator logs when it is told nothing any more.
const LOST: &str = "the feed of the store was lost";
/// What it logs when it is told again.
const GOES_ON: &str = "the feed of the store goes on";

/// Returns since when a coordinator is told again, as a part of its log says: the line may come later than that.
fn since(log: &str) -> Option<Timestamp> {
    let line = log.lines().find(|line| line.contains(GOES_ON))?;
    Some(line.split_whitespace().next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_is_behind_a_compaction_misses_nothing() {
    const TEST: &str = "cluster: compacted";
    let Some(world) = World::start_or_skip(TEST).await else { return };
    let mut chance = Chance::new(TEST);
    let mut load = Load::begin(&mut chance);
    for host in 0..HOSTS {
        load.watch(direct(host), WatchRequest { start_revision: 1, ..WatchRequest::default() });
    }
    for time in 0..times("COMPACTIONS", 2) {
        load.until_more().await;
        let host = chance.of(&[0, 1, 2]);
        let other = (host + 1) % HOSTS;
        let gate = format!("waited/{time}");
        made(&direct(host), &gate).await;
        load.wait(direct(host), wait(&gate));
        until("it waits there", async || direct(host).get(get(&gate)).await.is_ok_and(|gate| gate.waiter_count == 1))
            .await;

        let cut = world.cut_from_etcd(host);
        let mut log = String::new();
        until(LOST, async || {
            log = world.log(host);
            log.rfind(LOST) > log.rfind(GOES_ON)
        })
        .await;
        // Its end is reset away before the one who waits can be told of it.
        load.decide(other, &gate, true).await.unwrap();
        load.reset(other, &gate).await;
        load.until_more().await;
        let revision = world.compact(other).await;
        load.suffers(format!("compacted to {revision} while coordinator {host} was cut off"));
        load.until_more().await;
        drop(cut);
        let ready = world.until_ready(host, true).await;
        let mut told = None;
        until(GOES_ON, async || {
            told = since(&world.log(host)[log.len()..]);
            told.is_some()
        })
        .await;
        assert!(told.unwrap() <= ready, "it was ready, and was told nothing until {told:?}");
    }
    load.until_more().await;
    load.end(TEST).await;
}
