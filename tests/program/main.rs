//! The real program, as its users run it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod bench;
mod crash;
mod demo;
mod operations;
mod process;
mod readme;
mod serve;
mod tour;
mod traces;
mod usage;
