//! The repository's own rules: who may import whom, and what every source file keeps to.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/rust_source.rs"]
mod rust_source;

use std::collections::BTreeSet;

use rust_source::{paths, sources, tokens, without_tests};

/// What each module may import of the crate, besides itself; `store::*` is what `store` itself holds, and none of the
/// modules below it. `lib.rs` only lists the modules.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["auth", "client", "config", "domain", "metrics", "policy", "proto", "server", "store::*", "transfer"]),
    ("client", &["proto"]),
    (
        "server",
        &["auth", "config", "coordinator", "domain", "grpc", "http", "metrics", "policy", "proto", "store", "webhooks"],
    ),
    ("auth", &["coordinator", "domain", "metrics"]),
    ("grpc", &["coordinator", "domain", "metrics", "proto", "webhooks"]),
    ("http", &["auth", "coordinator", "proto"]),
    ("webhooks", &["coordinator", "domain", "metrics", "proto"]),
    ("policy", &["coordinator", "domain", "metrics", "proto"]),
    ("coordinator", &["domain", "metrics", "store::*"]),
    ("transfer", &["domain", "store"]),
    ("store", &["domain", "metrics"]),
    ("domain", &[]),
    ("metrics", &[]),
    ("config", &["auth", "domain", "policy", "webhooks"]),
    ("proto", &["domain"]),
];

/// What the domain may not use of std: it has no I/O, no clock and no threads.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::sync::Mutex",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime::now",
];

/// Where the repository's Rust is.
const SOURCES: &[&str] = &["src", "tests", "examples", "benches", "fuzz/fuzz_targets", "fuzz/properties"];

const LINES_MAX: usize = 400;

/// Files with more lines, each with the reason why it is not two.
const LONGER_FILES: &[(&str, &str)] = &[];

/// The one file that may be unsafe: it replaces a C function.
const UNSAFE_FILE: &str = "src/store/sled/barrier.rs";

#[test]
fn modules_import_only_what_they_may() {
    let files = sources(&["src"]);
    let modules: BTreeSet<_> = files.iter().map(|(file, _)| module(file).join("::")).collect();
    let tests = test_modules(&files);
    let wrong: Vec<_> = files
        .iter()
        .filter(|(file, _)| !tests.iter().any(|test| module(file).starts_with(test)))
        .flat_map(|(file, code)| forbidden(file, code, &modules))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_forbidden_import_is_seen_however_it_is_written() {
    for (file, code, path) in [
        ("src/main.rs", "fn main() { gatepost::store::open() }", "crate::store::open"),
        ("src/grpc/service.rs", "use crate::store::Store;", "crate::store::Store"),
        ("src/grpc/service.rs", "use super::super::http;", "crate::http"),
        ("src/http.rs", "use crate::{domain::Gate, grpc::{self as g, status}};", "crate::grpc"),
        ("src/http.rs", "fn f() -> crate::grpc::Status {}", "crate::grpc::Status"),
        ("src/http.rs", "use super::*;", "crate::*"),
        ("src/coordinator/mod.rs", "use crate::store::{Store, memory::Memory};", "crate::store::memory::Memory"),
        ("src/coordinator/mod.rs", "use crate::store; fn f() { store::sled::open() }", "crate::store::sled::open"),
        (
            "src/coordinator/mod.rs",
            "use crate::store as s; type T = s::memory::Memory;",
            "crate::store::memory::Memory",
        ),
        ("src/coordinator/mod.rs", "use crate::store::*;", "crate::store::*"),
        ("src/store/codec.rs", "mod generated { fn f() { super::super::super::proto::Gate } }", "crate::proto::Gate"),
        ("src/domain/gate.rs", "use crate::proto::Gate;", "crate::proto::Gate"),
        ("src/domain/gate.rs", "#[derive(prost::Message)] struct Gate;", "prost::Message"),
        ("src/domain/gate.rs", "use ::tokio_util::sync;", "tokio_util::sync"),
        ("src/domain/gate.rs", "use std::{fs, fmt};", "std::fs"),
        ("src/domain/gate.rs", "use std::time; fn f() { time::SystemTime::now() }", "std::time::SystemTime::now"),
        ("src/domain/gate.rs", "use std::time::SystemTime as T; fn f() { T::now() }", "std::time::SystemTime::now"),
        ("src/domain/gate.rs", "/* \" */ const Q: char = '\"'; use crate::config::Config;", "crate::config::Config"),
        ("src/novel.rs", "", "no rule for the module novel"),
    ] {
        assert!(check(file, code).iter().any(|wrong| wrong == &format!("{file}: {path}")), "{code}: {path}");
    }
}

#[test]
fn an_allowed_import_and_what_only_looks_like_one_are_not_complained_of() {
    for (file, code) in [
        ("src/main.rs", "use gatepost::{cli, cli::run};"),
        ("src/http/mod.rs", "use tonic::codegen::http; use super::proto; type R = http::Request<()>;"),
        ("src/coordinator/mod.rs", "use crate::store::{self, Store}; fn f(e: store::Error) { store::Error::Conflict }"),
        ("src/store/sled.rs", "use super::codec; use crate::domain::{Gate, Status::*}; use sled::Db;"),
        (
            "src/domain/gate.rs",
            "use super::name::Round; #[derive(thiserror::Error)] struct E; use std::time::SystemTime;",
        ),
        ("src/domain/gate.rs", "//! As crate::store::Store.\n/// [`tonic::Status`]\nfn f() {}"),
        (
            "src/domain/gate.rs",
            "const TEXT: &str = \"crate::store\\\" tokio::spawn\"; const RAW: &str = r#\"\"tokio::x\"#;",
        ),
        (
            "src/domain/gate.rs",
            "fn f<'a>(c: &'a char) { c == '\\'' } #[cfg(test)] mod tests { use crate::store::Store; }",
        ),
    ] {
        assert_eq!(check(file, code), Vec::<String>::new(), "{code}");
    }
}

#[test]
fn every_file_opens_with_its_documentation() {
    // A placeholder of one line has nothing to say yet.
    for (file, code) in sources(SOURCES) {
        assert!(code.starts_with("//! ") || code.lines().count() <= 1, "{file} does not open with `//! `");
    }
}

#[test]
fn no_file_is_too_long_without_a_reason() {
    for (file, code) in sources(SOURCES) {
        let excused = LONGER_FILES.iter().any(|(longer, _)| *longer == file);
        let lines = code.lines().count();
        assert_eq!(lines > LINES_MAX, excused, "{file} has {lines} lines; {LINES_MAX} are the limit");
    }
}

#[test]
fn nothing_is_unsafe_ignored_or_left_to_do() {
    for (file, code) in sources(SOURCES) {
        let found = shortcuts(&code);
        let allowed: &[&str] = if file == UNSAFE_FILE { &["unsafe"] } else { &[] };
        assert!(found.iter().all(|word| allowed.contains(word)), "{file} has {found:?}");
    }
}

#[test]
fn a_shortcut_is_seen_in_code_and_not_in_text() {
    for (code, found) in [
        ("fn f() { unsafe { g() } }", "unsafe"),
        ("#[test] #[ignore = \"slow\"] fn f() {}", "# [ ignore"),
        ("fn f() { todo!() }", "todo !"),
        ("fn f() { unimplemented! {} }", "unimplemented !"),
    ] {
        assert_eq!(shortcuts(code), [found]);
        assert!(shortcuts(&format!("// {code}\nconst TEXT: &str = r#\"{code}\"#;")).is_empty());
    }
}

/// Says what a file of the crate imports and may not, as `file: path`.
fn forbidden(file: &str, code: &str, modules: &BTreeSet<String>) -> Vec<String> {
    let module = module(file);
    let top = module.first().map_or("lib", String::as_str);
    let place: Vec<&str> = if top == "main" { vec![] } else { module.iter().map(String::as_str).collect() };
    if top == "lib" {
        return vec![];
    }
    let Some((_, may)) = MAY_IMPORT.iter().find(|(name, _)| *name == top) else {
        return vec![format!("{file}: no rule for the module {top}")];
    };
    let crates = dependencies();
    let is_forbidden = |path: &String| {
        let (root, inner) = path.split_once("::").unwrap_or((path, ""));
        if root != "crate" {
            let impure = IMPURE.iter().any(|impure| format!("{path}::").starts_with(&format!("{impure}::")));
            return top == "domain" && (impure || root != "thiserror" && crates.contains(root));
        }
        let (target, item) = inner.split_once("::").unwrap_or((inner, ""));
        let child = format!("{target}::{}", item.split("::").next().unwrap_or_default());
        let is_item = !child.ends_with("::*") && !modules.contains(&child);
        target != top && !may.iter().any(|may| *may == target || is_item && *may == format!("{target}::*"))
    };
    let (tokens, _) = without_tests(&tokens(code));
    paths(&tokens, &place).into_iter().filter(is_forbidden).map(|path| format!("{file}: {path}")).collect()
}

/// As [`forbidden`], in a crate that has the modules that the rules speak of.
fn check(file: &str, code: &str) -> Vec<String> {
    let modules = ["store::codec", "store::memory", "store::sled"].map(String::from).into();
    forbidden(file, code, &modules)
}

/// Finds words that no code of this repository should have.
fn shortcuts(code: &str) -> Vec<&'static str> {
    let code = format!(" {} ", tokens(code).join(" "));
    let words = ["unsafe", "# [ ignore", "todo !", "unimplemented !"];
    words.into_iter().filter(|word| code.contains(&format!(" {word} "))).collect()
}

/// Lists the modules that are only compiled for tests and have files of their own.
fn test_modules(files: &[(String, String)]) -> Vec<Vec<String>> {
    let of_file = |(file, code): &(String, String)| {
        let (_, names) = without_tests(&tokens(code));
        let module = module(file);
        names.into_iter().map(move |name| module.iter().cloned().chain([name]).collect())
    };
    files.iter().flat_map(of_file).collect()
}

/// Says where a file's module is: `store`, `sled` for `src/store/sled.rs`, nowhere for `src/lib.rs`.
fn module(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
    path.split('/').filter(|name| !matches!(*name, "mod" | "lib")).map(String::from).collect()
}

/// Names the crates that this one depends on.
fn dependencies() -> BTreeSet<String> {
    let manifest = include_str!("../Cargo.toml");
    let (_, from) = manifest.split_once("\n[dependencies]\n").unwrap();
    let lines = from.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split_once(' ')).map(|(name, _)| name.replace('-', "_")).collect()
}
