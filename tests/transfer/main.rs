//! Moving gates between stores: nothing is lost on the way, and what is not whole is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod cluster;
#[path = "../support/etcd.rs"]
mod etcd;
mod history;
mod meanwhile;
mod moves;
mod refused;
mod store;
