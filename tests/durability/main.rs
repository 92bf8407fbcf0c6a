//! What is acknowledged survives: kills, power cuts, torn files, failing syncs and full disks, of the real program and of
//! its store.
//!
//! Each random test prints its seed; `GATEPOST_TEST_SEED` sets it. `GATEPOST_TEST_KILLS`, `GATEPOST_TEST_CUTS`,
//! `GATEPOST_TEST_IMAGES`, `GATEPOST_TEST_TEARS`, `GATEPOST_TEST_FAILURES` and `GATEPOST_TEST_FULL_DISKS` say how many
//! faults to inject. What needs root, loop devices or strace says where it was skipped, and why.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod check;
mod kills;
mod load;
mod server;
mod settings;

#[cfg(target_os = "linux")]
mod failed_syncs;
#[cfg(target_os = "linux")]
mod full_disk;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod images;
#[cfg(target_os = "linux")]
mod loop_device;
#[cfg(target_os = "linux")]
#[path = "../support/memory.rs"]
mod memory;
#[cfg(target_os = "linux")]
mod power_cuts;
#[cfg(target_os = "linux")]
mod recording;
#[cfg(target_os = "linux")]
mod strace;
#[cfg(target_os = "linux")]
mod torn;
#[cfg(target_os = "linux")]
mod truth;
#[cfg(target_os = "linux")]
mod workload;
