//! Any bytes as the requests of a few calls.
#![no_main]

#[allow(dead_code, reason = "only the grammar is needed")]
#[path = "../properties/names.rs"]
mod names;
#[path = "../properties/requests.rs"]
mod requests;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| requests::any_bytes(bytes));
