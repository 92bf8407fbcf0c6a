//! Three members of etcd and three coordinators, on hosts of a network of their own, some of which are killed, paused and
//! cut off while many clients use them. Whatever happens, there is one history, which everybody is told.
//!
//! It needs root, `ip`, `iptables` and `etcd`, and says where it was skipped, and why. `GATEPOST_TEST_LEADERS`,
//! `GATEPOST_TEST_CUT_OFF`, `GATEPOST_TEST_PAUSED`, `GATEPOST_TEST_COMPACTIONS` and `GATEPOST_TEST_QUORUMS` say how many
//! faults to inject; `GATEPOST_TEST_SEED` repeats the choices.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

mod burst;
mod compaction;
mod cut_off;
mod leader;
mod load;
mod net;
mod operators;
mod paused;
mod quorum;
mod workers;
mod world;

#[path = "../support/chance.rs"]
mod chance;
#[allow(dead_code, reason = "this binary counts in words of its own")]
#[path = "../simulation/check.rs"]
mod check;
#[path = "../support/linearizable.rs"]
mod linearizable;
#[allow(dead_code, reason = "this binary needs a running process only")]
#[path = "../program/process.rs"]
mod process;
#[path = "../support/seen.rs"]
mod seen;
#[path = "../support/coordinator.rs"]
mod support;
#[path = "../support/watched.rs"]
mod watched;

use support::kept;
