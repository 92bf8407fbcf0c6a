//! Gates that are moved to another store, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Coordinator, Ran, gatepost};

/// Directories and files of a test.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The names of all that is in it.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn run(arguments: &[&str], data: &Path) -> Ran {
    Ran::from(gatepost(arguments).env("GATEPOST_DATA_DIR", data).output().unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a command that has to do what it is asked.
fn done(ran: Ran) -> String {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.out
}

fn json(coordinator: &Coordinator, arguments: &[&str]) -> Vec<Value> {
    let out = done(coordinator.run(&[arguments, &["--output", "json"]].concat()));
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What everybody sees of gates and of what happened to them, but for revisions and etags.
fn seen(coordinator: &Coordinator) -> Vec<Value> {
    let mut seen = json(coordinator, &["list"]);
    seen.extend(["release-42/prod", "release-42/canary"].iter().flat_map(|gate| json(coordinator, &["history", gate])));
    for value in &mut seen {
        forget_revisions(value);
    }
    seen
}

fn forget_revisions(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !matches!(name.as_str(), "revision" | "etag"));
            fields.values_mut().for_each(forget_revisions);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_revisions),
        _ => {}
    }
}

/// A coordinator with a gate that waits in its second round, and one that is decided.
fn with_gates() -> Coordinator {
    let coordinator = Coordinator::start();
    for arguments in [
        &["create", "release-42/prod", "--title", "Ship \u{1f680} 42", "--timeout", "1h"][..],
        &["reject", "release-42/prod", "--reason", "not \"today\""],
        &["reset", "release-42/prod"],
        &["create", "release-42/canary", "--label", "team=web"],
        &["approve", "release-42/canary", "--comment", "green", "--input", "percent=5"],
    ] {
        done(coordinator.run(arguments));
    }
    let worker = coordinator.wait(&["release-42/prod"]);
    drop(worker);
    // Until it is known there that the worker is gone.
    while json(&coordinator, &["get", "release-42/prod"])[0].get("waiterCount").is_some() {
        std::thread::yield_now();
    }
    coordinator
}

#[test]
fn a_team_moves_to_another_store_and_goes_on() {
    let home = Home::new();
    let (file, data) = (home.path("gates.jsonl"), home.path("moved"));
    let mut coordinator = with_gates();
    let there = seen(&coordinator);
    let from = coordinator.data().to_owned();

    let used = run(&["export", "--output", text(&file)], &from);
    assert_eq!(used.code, Some(1));
    assert!(used.err.contains("is in use by another gatepost: stop that one"), "{}", used.err);
    assert_eq!(home.names(), [""; 0]);

    let mut moved = None;
    coordinator.crash(|| {
        let exported = run(&["export", "--output", text(&file)], &from);
        assert_eq!((exported.code, exported.out.as_str()), (Some(0), ""), "{}", exported.err);
        let said = "exported 6 events, 5 answered requests, 0 webhooks, 0 dead letters\n";
        assert_eq!(exported.err, said);
        // The same on the standard output, but for the time.
        let printed = done(run(&["export"], &from));
        let written = fs::read_to_string(&file).unwrap();
        assert!(printed.lines().skip(1).zip(written.lines().skip(1)).take(11).all(|(one, two)| one == two));

        let imported = run(&["import", text(&file)], &data);
        assert_eq!(imported.code, Some(0), "{}", imported.err);
        assert_eq!(
            imported.out,
            "imported and verified 6 events, 5 answered requests, 0 webhooks, 0 dead letters, \
             2 gates (1 WAITING, 1 APPROVED)\n"
        );
        moved = Some(Coordinator::on(&data));
    });
    let moved = moved.unwrap();
    assert_eq!(seen(&moved), there);
    let worker = moved.wait(&["release-42/prod"]);
    done(moved.run(&["approve", "release-42/prod"]));
    assert_eq!(worker.end().code, Some(0));
}

#[test]
fn nothing_is_written_over() {
    let home = Home::new();
    let (file, data) = (home.path("gates.jsonl"), home.path("data"));
    let mut coordinator = with_gates();
    let from = coordinator.data().to_owned();
    coordinator.crash(|| {
        done(run(&["export", "--output", text(&file)], &from));
        let before = fs::read(&file).unwrap();
        let again = run(&["export", "--output", text(&file)], &from);
        let problem = "gates.jsonl exists, and is not overwritten: name another file with --output\n";
        assert_eq!((again.code, again.err.ends_with(problem)), (Some(1), true), "{}", again.err);
        assert_eq!(fs::read(&file).unwrap(), before);

        let into_itself = run(&["import", text(&file)], &from);
        let problem = "error: the store to import into has gates: import into an empty one\n";
        assert_eq!((into_itself.code, into_itself.err.as_str()), (Some(1), problem));
        done(run(&["import", text(&file)], &data));
        let twice = run(&["import", text(&file)], &data);
        assert_eq!((twice.code, twice.err.as_str()), (Some(1), problem));
    });
    assert_eq!(json(&coordinator, &["list"]).len(), 2);
}

#[test]
fn a_file_that_is_not_whole_makes_no_store() {
    let home = Home::new();
    let (file, data) = (home.path("gates.jsonl"), home.path("data"));
    let mut coordinator = with_gates();
    let from = coordinator.data().to_owned();
    coordinator.crash(|| drop(done(run(&["export", "--output", text(&file)], &from))));
    let whole = fs::read_to_string(&file).unwrap();
    for (content, problem) in [
        (whole.replacen("green", "grean", 1), "line 13: its digest is not that of the lines before it"),
        (whole[..whole.len() / 2].to_owned(), "the file breaks off in it: it is not whole"),
        (String::new(), "line 1: the file is empty"),
    ] {
        fs::write(&file, content).unwrap();
        let refused = run(&["import", text(&file)], &data);
        let (err, path) = (&refused.err, text(&file));
        assert!(refused.code == Some(1) && err.contains(problem) && err.contains(path), "{err}");
        assert_eq!((err.lines().count(), home.names()), (1, vec!["gates.jsonl".to_owned()]));
    }
}

#[test]
fn what_is_not_there_is_not_made() {
    let home = Home::new();
    let (file, data) = (home.path("gates.jsonl"), home.path("data"));
    for (arguments, code, problem) in [
        (&["export", "--output", text(&file)][..], 1, "there is no store in "),
        (&["export"], 1, "there is no store in "),
        (&["import", text(&file)], 1, "gates.jsonl: No such file or directory"),
        (&["import", "-"], 2, "an import reads its file more than once: write it to a file first"),
    ] {
        let refused = run(arguments, &data);
        assert_eq!(refused.code, Some(code), "{}", refused.err);
        assert!(refused.err.contains(problem), "{}", refused.err);
        assert_eq!((refused.out.as_str(), home.names()), ("", vec![]));
    }
}
