//! Any text as a name.
#![no_main]

#[path = "../properties/names.rs"]
mod names;

libfuzzer_sys::fuzz_target!(|text: &str| names::any_text(text));
