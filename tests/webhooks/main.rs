//! Webhooks of the real program: a receiver that fails, hangs and dies gets every event at least once, signed, in order
//! for each gate, through kills of the coordinator; and holds up nobody.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod commands;
mod delivery;
#[path = "../support/kept.rs"]
mod kept;
#[allow(dead_code, reason = "this binary needs little of it")]
#[path = "../program/process.rs"]
mod process;
mod receiver;
