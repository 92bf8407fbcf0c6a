//! Tests that try to break what README guarantees, with the real program wherever it can be.
//!
//! Each run takes other choices, and prints the seed that repeats them. `GATEPOST_TEST_…` variables make the runs longer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

mod clock;
mod connections;
mod cuts;
mod floods;
mod order;
mod proxy;
mod races;
mod replies;
mod requests;
mod server;
mod stored;
mod watchers;

#[path = "../support/chance.rs"]
mod chance;
#[path = "../support/linearizable.rs"]
mod linearizable;
#[allow(dead_code, reason = "this binary needs the grammar only")]
#[path = "../../fuzz/properties/names.rs"]
mod names;
#[allow(dead_code, reason = "this binary sends signals of its own")]
#[path = "../program/process.rs"]
mod process;
#[path = "../support/seen.rs"]
mod seen;
#[path = "../support/coordinator.rs"]
mod support;
#[path = "../support/watched.rs"]
mod watched;

use support::kept;
