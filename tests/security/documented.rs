//! What `docs/security.md` says is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gatepost::auth::Permission;
use gatepost::auth::grants::Role;

const DOCUMENT: &str = include_str!("../../docs/security.md");

/// What stands between backticks in a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn the_table_of_permissions_is_that_of_the_code() {
    let rows = DOCUMENT.lines().skip_while(|line| !line.starts_with("| Permission |")).skip(2);
    let rows: Vec<Vec<&str>> =
        rows.take_while(|line| line.starts_with('|')).map(|row| row.split('|').map(str::trim).collect()).collect();
    let named: BTreeSet<&str> = rows.iter().filter_map(|row| quoted(row[1]).next()).collect();
    assert_eq!(named, Permission::ALL.iter().map(|permission| permission.as_str()).collect());
    for permission in Permission::ALL {
        let row = rows.iter().find(|row| quoted(row[1]).next() == Some(permission.as_str())).unwrap();
        for (role, says) in Role::ALL.into_iter().zip(&row[3..]) {
            assert_eq!(*says == "yes", role.has(permission), "{permission} of {}", role.as_str());
        }
    }
}

#[test]
fn each_attacker_has_tests_that_are_there() {
    let rows = DOCUMENT.lines().skip_while(|line| !line.starts_with("| # | Who |")).skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 13);
    let sources = ["src", "tests"].map(|dir| text_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir))).concat();
    let beyond = DOCUMENT.split("\n\n").find(|paragraph| paragraph.starts_with("Beyond these:")).unwrap();
    for text in rows.into_iter().map(|row| row.split('|').nth(4).unwrap()).chain([beyond]) {
        let names: Vec<_> = quoted(text).filter(|name| !name.contains('/')).collect();
        assert!(!names.is_empty(), "{text}");
        for name in names {
            let is_there = ["fn", "def"].iter().any(|word| sources.contains(&format!("{word} {name}(")));
            assert!(is_there, "there is no test {name}");
        }
    }
}

fn text_below(dir: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &text_below(&path);
        } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "py") {
            text += &fs::read_to_string(&path).unwrap();
        }
    }
    text
}
