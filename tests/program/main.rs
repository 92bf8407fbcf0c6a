//! The real program, as its users run it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod bench;
mod configuration;
mod crash;
mod demo;
mod grants;
#[path = "../support/kept.rs"]
mod kept;
mod operations;
#[allow(dead_code, reason = "only the tests of webhooks configure one")]
mod process;
mod readme;
mod rules;
mod serve;
mod tour;
mod traces;
mod transfer;
mod usage;
