//! Any bytes as a record of the store.
#![no_main]

#[path = "../properties/records.rs"]
mod records;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| records::any_bytes(bytes));
