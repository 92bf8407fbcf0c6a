//! Who may do what: every call and every route by everybody, and what attackers try.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/coordinator.rs"]
mod coordinator;
#[path = "../support/dynamic.rs"]
mod dynamic;
#[allow(dead_code, reason = "this binary reads whole sources")]
#[path = "../support/rust_source.rs"]
mod rust_source;

mod attackers;
mod browsers;
mod documented;
mod issuer;
mod matrix;
mod world;
