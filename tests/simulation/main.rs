//! The coordinator with its own client in a simulated world: a network that delays, holds, cuts and loses, a coordinator
//! that crashes and stops, stores that take time. A seed decides everything, and prints itself.
//!
//! `GATEPOST_TEST_SIMULATIONS` says how many worlds to live through, `GATEPOST_TEST_SEED` which one is the first. With
//! `cargo simulate` a seed repeats a whole run on the memory store. sled has threads of its own, so there a seed repeats
//! the choices only, and so it does everywhere with `cargo test`, where tokio takes no seed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod check;
mod coordinator;
mod faults;
mod network;
mod operators;
mod store;
mod workers;
mod world;

#[path = "../support/chance.rs"]
mod chance;
#[path = "../support/linearizable.rs"]
mod linearizable;
#[path = "../support/seen.rs"]
mod seen;
#[path = "../support/watched.rs"]
mod watched;

use chance::{Chance, times};
use world::{Disk, World};

#[test]
fn what_a_faulty_network_does_to_many_workers_and_operators_breaks_no_promise() {
    live("simulation", "SIMULATIONS", 4, Disk::memory);
}

#[test]
fn what_a_faulty_network_does_breaks_no_promise_on_sled() {
    live("simulation on sled", "SIMULATIONS_ON_SLED", 1, Disk::sled);
}

/// Says which seed it was, if what it decides ends in a panic.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("GATEPOST_TEST_SEED={} repeats it", self.0);
        }
    }
}

/// Lives through as many worlds as asked for, each with a seed of its own.
fn live(test: &str, count: &str, default: usize, disk: fn() -> Disk) {
    let first = Chance::new(test).seed();
    let mut total = check::Total::default();
    for seed in (first..).take(times(count, default)) {
        let _seed = Seed(seed);
        let told = World::live(seed, disk());
        let checked = told.and_then(|told| check::check(&told).map(|()| told));
        match checked {
            Ok(told) => total.add(&told),
            Err(wrong) => panic!("{test}: GATEPOST_TEST_SEED={seed}: {wrong}"),
        }
    }
    println!("{test}: {total}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    // tokio wakes those who watch the same value in an order by chance, and only then takes its seed from turmoil.
    if !cfg!(tokio_unstable) {
        println!("SKIPPED: needs --cfg tokio_unstable, as `cargo simulate` gives");
        return;
    }
    let seed = Chance::new("simulation twice").seed();
    let [one, again] = [(); 2].map(|()| World::live(seed, Disk::memory()).unwrap().transcript());
    if let Some((line, again)) = one.lines().zip(again.lines()).find(|(line, again)| line != again) {
        panic!("GATEPOST_TEST_SEED={seed}: the second run went another way:\n{line}\n{again}");
    }
    assert_eq!(one.lines().count(), again.lines().count());
    let other = World::live(seed + 1, Disk::memory()).unwrap().transcript();
    assert_ne!(one, other, "another seed is another run");
}
