//! What the environment says about how long to test, and with which seed.

use std::env;

/// Reads a number from the environment.
pub fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Makes the random numbers of a test, and says how to get the same again.
pub fn random(test: &str) -> fastrand::Rng {
    let seed = env::var("GATEPOST_TEST_SEED").map_or_else(
        |_| fastrand::u64(..),
        |text| text.parse().unwrap_or_else(|_| panic!("GATEPOST_TEST_SEED={text} is no number")),
    );
    println!("{test}: GATEPOST_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
