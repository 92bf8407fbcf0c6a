//! Command lines that make no sense, and flags that are only where they do something.

use crate::process::{Ran, gatepost};

fn run(arguments: &[&str]) -> Ran {
    // Nothing listens there, and none of this comes so far.
    Ran::from(gatepost(arguments).env("GATEPOST_SERVER", "127.0.0.1:1").output().unwrap())
}

#[test]
fn the_same_key_twice_is_a_wrong_command_line() {
    for (arguments, told) in [
        (&["create", "a", "--label", "k=1", "--label", "k=2"][..], "error: --label k is given twice"),
        (&["wait", "a", "--label", "k=1", "--label", "k=2"], "error: --label k is given twice"),
        (&["evidence", "a", "k=1", "k=2"], "error: k is given twice"),
        (&["approve", "a", "--input", "k=1", "--input", "k=2"], "error: --input k is given twice"),
    ] {
        let refused = run(arguments);
        assert_eq!((refused.code, refused.err.lines().count()), (Some(2), 1), "{arguments:?}: {}", refused.err);
        assert!(refused.err.starts_with(told), "{arguments:?}: {}", refused.err);
    }
}

#[test]
fn commands_have_no_flag_that_does_nothing() {
    let verbs = [
        "create", "get", "list", "wait", "approve", "reject", "evidence", "reset", "delete", "watch", "history", "demo",
    ]
    .map(Some);
    for verb in verbs.into_iter().chain([Some("serve"), Some("completions"), None]) {
        let help = run(&verb.into_iter().chain(["--help"]).collect::<Vec<_>>()).out;
        let has = (help.contains("--server <URL>"), help.contains("--output <text|json>"));
        let should = match verb {
            Some("serve" | "completions") | None => (false, false),
            Some("demo") => (true, false),
            Some(_) => (true, true),
        };
        assert_eq!(has, should, "{verb:?}: {help}");
        // Under a heading of their own are the flags that say what a gate asks for.
        let (general, spec) = help.split_once("What the gate asks for:").unwrap_or((&help, ""));
        assert!(general.contains("--server") == has.0 && !spec.contains("--server"), "{verb:?}: {help}");
    }
}
