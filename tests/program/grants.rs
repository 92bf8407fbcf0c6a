//! Grants: asked about before they are in force, and taken up without a restart.

use crate::process::{Coordinator, Ran, gatepost};

/// Somebody's token, and the table that makes it known.
fn token(principal: &str) -> (String, String) {
    let made = Ran::from(gatepost(&["token", "new", "--principal", principal]).output().unwrap());
    assert_eq!(made.code, Some(0), "{}", made.err);
    (made.out.trim().to_owned(), made.err.split_once("\n\n").unwrap().1.to_owned())
}

#[test]
fn whether_somebody_may_is_said_with_the_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("gatepost.toml");
    let grants = "
        [[group]]
        name = 'release-managers'
        members = ['alice']
        [[grant]]
        to = ['group:release-managers', 'group:on-call']
        roles = ['approver']
        on = ['prod']
        [[grant]]
        to = ['bob']
        roles = ['viewer']
        on = ['**']
        break_glass = true
    ";
    std::fs::write(&config, token("bob").1 + grants).unwrap();
    let can = |arguments: &[&str]| {
        Ran::from(gatepost(&[&["can"], arguments].concat()).env("GATEPOST_CONFIG", &config).output().unwrap())
    };
    let alice = can(&["alice", "approve", "prod/x"]);
    assert_eq!(alice.code, Some(0), "{}", alice.err);
    assert_eq!(
        alice.out,
        "yes: alice may decide prod/x\n  groups: release-managers\n  \
         grant 1, approver on prod to group:release-managers, group:on-call: allows it\n  \
         grant 2, viewer, break_glass on ** to bob: it is to somebody else\n"
    );
    for (arguments, allowed) in [
        (&["alice", "reject", "prod"][..], true),
        (&["alice", "approve", "staging"], false),
        (&["alice", "delete", "prod/x"], false),
        (&["alice", "break-glass", "prod/x"], false),
        (&["bob", "break-glass", "prod/x"], true),
        (&["bob", "approve", "prod/x"], false),
        (&["bob", "view"], true),
        (&["alice", "view"], false),
        (&["carol", "approve", "prod/x"], false),
        (&["carol", "approve", "prod/x", "--group", "on-call"], true),
    ] {
        let said = can(arguments);
        assert_eq!(said.code, Some(if allowed { 0 } else { 10 }), "{arguments:?}: {}{}", said.out, said.err);
        assert!(said.out.starts_with(if allowed { "yes: " } else { "no: " }), "{}", said.out);
    }
    let wrong = can(&["alice", "approve", "/prod"]);
    assert!(wrong.code == Some(1) && wrong.err.contains("empty segment"), "{}", wrong.err);
    std::fs::write(&config, "").unwrap();
    assert!(can(&["anybody", "delete", "a"]).out.starts_with("yes: nobody is asked"));
}

#[test]
fn a_grant_that_was_added_or_withdrawn_counts_from_the_signal_on() {
    let (shown, table) = token("alice");
    let grant = |role: &str| format!("{table}[[grant]]\nto = ['alice']\nroles = ['{role}']\non = ['m']\n");
    let coordinator = Coordinator::configured(&grant("viewer"));
    let create = || Ran::from(coordinator.command(&["create", "m/a"]).env("GATEPOST_TOKEN", &shown).output().unwrap());
    let refused = create();
    assert!(refused.code == Some(1) && refused.err.contains("alice has no grant to create m/a"), "{}", refused.err);
    let nobody = coordinator.run(&["create", "m/a"]);
    assert!(nobody.code == Some(1) && nobody.err.contains("nothing says who calls"), "{}", nobody.err);

    assert!(coordinator.reload(&grant("worker")).contains("as the configuration has them now"));
    assert_eq!(create().code, Some(0));
    // What is wrong is not taken up, in part or as a whole.
    assert!(coordinator.reload(&grant("king")).contains("all stays as it was"));
    assert!(coordinator.reload("").contains("all stays as it was"));
    assert_eq!(create().code, Some(0));
    assert!(coordinator.reload(&grant("viewer")).contains("as the configuration has them now"));
    assert_eq!(create().code, Some(1));
}
