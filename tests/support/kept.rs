//! Where the coordinators of the tests keep their gates: each in its directory, or with `GATEPOST_TEST_STORE=etcd` each
//! behind a prefix of its own in an etcd of this process.

#![allow(dead_code, reason = "no binary needs all of it")]

use std::env;
use std::path::Path;

#[path = "etcd.rs"]
pub mod etcd;

/// Says whether they are in etcd.
pub fn in_etcd() -> bool {
    match env::var("GATEPOST_TEST_STORE").as_deref() {
        Ok("etcd") => true,
        Ok("sled") | Err(_) => false,
        Ok(other) => panic!("GATEPOST_TEST_STORE={other} is no store: sled or etcd"),
    }
}

/// Says whether a test is left out, because it is about the directory itself, and prints so.
pub fn skipped(test: &str) -> bool {
    if in_etcd() {
        println!("{test}: SKIPPED, because it is about the gates in a directory");
    }
    in_etcd()
}

/// Returns the flags of a coordinator whose directory this is: another one of that directory has the same gates.
pub fn flags(data: &Path) -> Vec<String> {
    if !in_etcd() {
        return ["--cache-mib", "8", "--data-dir", data.to_str().unwrap()].map(str::to_owned).to_vec();
    }
    let member = etcd::member_or_skip().unwrap_or_else(|| panic!("GATEPOST_TEST_STORE=etcd needs one"));
    let prefix = format!("{}/", data.to_str().unwrap());
    ["--store", "etcd", "--etcd-endpoints", &member.endpoint, "--etcd-prefix", &prefix].map(str::to_owned).to_vec()
}
