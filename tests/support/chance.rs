//! Chance that can be repeated, and how much of it a run takes.

#![allow(dead_code, reason = "no binary needs all of it")]

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of choices: `SplitMix64`.
pub struct Chance(u64);

impl Chance {
    /// Starts from `GATEPOST_TEST_SEED`, or from the time, and prints it: a test that fails shows what it printed.
    pub fn new(test: &str) -> Self {
        let seed = setting("SEED").unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_secs() << 32 | u64::from(now.subsec_nanos())
        });
        println!("{test}: GATEPOST_TEST_SEED={seed}");
        Self(seed)
    }

    /// Starts from a seed that is printed elsewhere.
    pub fn of_seed(seed: u64) -> Self {
        Self(seed)
    }

    pub fn seed(&self) -> u64 {
        self.0
    }

    /// Makes another source, for a task of its own.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let bound = u64::try_from(choices.len()).unwrap();
        choices[usize::try_from(self.below(bound)).unwrap()]
    }

    /// A pause below a bound. The pause is the fault, or its moment: nothing is awaited with it.
    pub fn pause(&mut self, bound: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(bound.as_micros()).unwrap().max(1)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// How often to try: `GATEPOST_TEST_` and a name, or a number that keeps the whole run short.
pub fn times(name: &str, default: usize) -> usize {
    setting(name).unwrap_or(default)
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let name = format!("GATEPOST_TEST_{name}");
    let text = std::env::var(&name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}
