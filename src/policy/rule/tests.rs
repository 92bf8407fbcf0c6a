//! What rules may say, and what they then do.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::policy::expression::{FUNCTIONS, VARIABLES};
use crate::proto::{GateStatus, Spec, Subject};

const WAITED: Duration = Duration::from_secs(90);

fn rule(name: &str, when: &str, action: Action) -> Settings {
    Settings { name: name.into(), prefix: String::new(), when: when.into(), action }
}

/// A gate that has waited for a minute and a half.
fn gate() -> Gate {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    Gate {
        name: "release-42/prod".into(),
        round: 2,
        status: GateStatus::Waiting.into(),
        requester: "ci".into(),
        spec: Some(Spec {
            title: "Ship?".into(),
            labels: map(&[("team", "web"), ("a/b", "")]),
            required_approvals: 2,
            timeout: Some(prost_types::Duration { seconds: 300, nanos: 0 }),
            subject: Some(Subject { uri: String::new(), digest: "sha256:ab".into() }),
            ..Spec::default()
        }),
        evidence: map(&[("tests", "passed"), ("coverage", "87")]),
        wait_time: Some(UNIX_EPOCH.into()),
        ..Gate::default()
    }
}

fn outcome(rules: Vec<Settings>, gate: &Gate) -> Outcome {
    let rules = Rules::new(rules).unwrap();
    on_deep_stack(|| rules.evaluate(gate, UNIX_EPOCH + WAITED))
}

fn said(when: &str) -> Outcome {
    outcome(vec![rule("r", when, Action::Approve)], &gate())
}

#[test]
fn a_rule_sees_the_gate() {
    let approved = Outcome::Decided { rule: "r".into(), action: Action::Approve };
    for when in [
        "name == 'release-42/prod' && name.startsWith('release-') && round == 2 && requester == 'ci'",
        "labels.team == 'web' && 'a/b' in labels && !has(labels.stage)",
        "spec.title == 'Ship?' && spec.required_approvals == 2 && !spec.auto_approve && spec.timeout_seconds == 300.0",
        "subject.digest.startsWith('sha256:') && !has(subject.uri)",
        "has(evidence.tests) && evidence.tests == 'passed' && int(evidence.coverage) >= 80",
        "waiting_seconds > 60.0 && waiting_seconds > 60 && waiting_seconds < 120",
        "evidence.all(key, key.matches('^[a-z]+$')) && evidence.exists(key, evidence[key] == 'passed')",
    ] {
        assert_eq!(said(when), approved, "{when}");
    }
    assert_eq!(said("evidence.tests == 'failed'"), Outcome::Undecided);
}

#[test]
fn the_first_rule_that_holds_decides() {
    let rules = || {
        vec![
            rule("never", "false", Action::Approve),
            rule("red", "evidence.tests != 'passed'", Action::Reject),
            rule("green", "evidence.tests == 'passed'", Action::Approve),
            rule("all", "true", Action::Reject),
        ]
    };
    assert_eq!(outcome(rules(), &gate()), Outcome::Decided { rule: "green".into(), action: Action::Approve });
    let failed = Gate { evidence: [("tests".to_owned(), "failed".to_owned())].into(), ..gate() };
    assert_eq!(outcome(rules(), &failed), Outcome::Decided { rule: "red".into(), action: Action::Reject });
}

#[test]
fn a_rule_is_about_the_gates_below_its_prefix() {
    let about = |prefix: &str| {
        let settings = Settings { prefix: prefix.into(), ..rule("r", "true", Action::Approve) };
        outcome(vec![settings], &gate()) != Outcome::Undecided
    };
    assert!(about("") && about("release-42") && about("release-42/prod"));
    assert!(!about("release-4") && !about("release-42/prod/eu"));
}

#[test]
fn a_rule_that_cannot_say_decides_nothing_and_nor_do_those_behind_it() {
    for when in ["evidence.lint == 'ok'", "name", "1 / 0 == 1", "int(name) > 1", "name.matches('(')"] {
        let rules = vec![rule("odd", when, Action::Reject), rule("all", "true", Action::Approve)];
        let Outcome::Failed { rule, problem } = outcome(rules, &gate()) else { panic!("{when} decided") };
        assert_eq!(rule, "odd");
        assert!(!problem.is_empty() && problem.len() <= 256, "{problem}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_refused_at_start() {
    let refused = |when: &str| Rules::new(vec![rule("r", when, Action::Approve)]).unwrap_err().to_string();
    assert!(refused("evidence.tests ==").contains("Syntax") || refused("evidence.tests ==").contains("syntax"));
    assert!(refused("gate.name == 'a'").ends_with(
        "there is no gate to look at: there are name, round, requester, labels, spec, subject, evidence, waiting_seconds"
    ));
    assert!(refused("shout(name)").contains("there is no function shout: there are has, contains,"));
    assert!(refused("").contains("rule r: when = \"\": "));
    assert!(refused(&format!("name == '{}'", "x".repeat(1024))).contains("at most 1024 are allowed"));
    let nested = "labels.all(a, labels.all(b, labels.all(c, true)))";
    assert!(refused(nested).contains("chained more than 2 deep"));
    assert!(refused("[[1].map(a, [2].map(b, [3].map(c, c)))].size() > 0").contains("chained more than 2 deep"));
    assert!(
        refused("{'k': labels.all(a, labels.all(b, labels.all(c, true)))}['k']").contains("chained more than 2 deep")
    );
    let doubling = format!("[name]{}.size() > 0", ".map(a, a + a)".repeat(3));
    assert!(refused(&doubling).contains("chained more than 2 deep"));
    assert!(refused("_shout(name)").contains("there is no function _shout"));
    assert_eq!(said("labels.all(a, labels.exists(b, a == b)) && evidence.all(c, true)"), said("true"), "two deep");
}

#[test]
fn the_deepest_expression_is_no_danger() {
    // Whether it is refused or evaluated: it ends.
    for when in ["(".repeat(500) + "true" + &")".repeat(500), "!".repeat(1000) + "true", "-".repeat(1000) + "1 == 1"] {
        if let Ok(rules) = Rules::new(vec![rule("r", &when, Action::Approve)]) {
            on_deep_stack(|| assert_ne!(rules.evaluate(&gate(), UNIX_EPOCH), Outcome::Undecided, "{when}"));
        }
    }
}

#[test]
fn rules_have_names_of_their_own() {
    for name in ["", "a b", "ü", &"x".repeat(65)] {
        assert!(matches!(Rules::new(vec![rule(name, "true", Action::Approve)]), Err(Error::Name(_))), "{name}");
    }
    let twice = vec![rule("r", "true", Action::Approve), rule("r", "false", Action::Approve)];
    assert!(matches!(Rules::new(twice), Err(Error::Repeated(name)) if name == "r"));
    let prefix = Settings { prefix: "a//b".into(), ..rule("r", "true", Action::Approve) };
    assert!(matches!(Rules::new(vec![prefix]), Err(Error::Prefix { .. })));
}

#[test]
fn the_documented_rules_can_be_taken_and_all_that_rules_see_is_documented() {
    let documentation = include_str!("../../../docs/rules.md");
    for text in [documentation, include_str!("../../../README.md")] {
        let examples = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let files: Vec<_> = examples.map(|text| toml::from_str::<crate::config::file::File>(text).unwrap()).collect();
        assert!(files.iter().any(|file| !file.rule.is_empty()));
        for file in files {
            Rules::new(file.rule).unwrap();
        }
    }
    for name in VARIABLES.iter().chain(&FUNCTIONS) {
        assert!(documentation.contains(&format!("`{name}`")), "{name} is not documented");
    }
}
