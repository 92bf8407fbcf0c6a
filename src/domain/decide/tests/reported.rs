//! What is reported about a gate, and what a rule makes of it.

use super::*;
use crate::domain::limits;

#[test]
fn evidence_is_added_to_the_round_and_changes_nothing_else() {
    let waiting = gate(spec(1), &[wait(), report("tests", "failed")]);
    let reported = event(&waiting, &report("tests", "passed"), START);
    let evidence = BTreeMap::from([("tests".to_owned(), "passed".to_owned())]);
    let after = Gate { evidence, ..touched(&waiting, START) };
    assert_eq!(reported, of(EventKind::EvidenceReported, Some("ci"), after.clone()));
    assert_eq!(answer(&after, &report("tests", "passed"), START), Ok(None), "it is known already");
}

#[test]
fn evidence_is_about_one_round() {
    let waiting = gate(spec(1), &[wait(), report("tests", "passed")]);
    assert_eq!(event(&waiting, &reset(), START).gate.evidence, BTreeMap::new());
    let Command::ReportEvidence { facts, by, .. } = report("tests", "passed") else { unreachable!() };
    let late = Command::ReportEvidence { facts, round: Round::new(2), by };
    assert!(matches!(answer(&waiting, &late, START), Err(Refusal::RoundMismatch { .. })));
}

#[test]
fn a_round_holds_only_so_many_facts() {
    let full: Vec<_> = (0..limits::FACTS_MAX_COUNT).map(|number| report(&number.to_string(), "x")).collect();
    let full = gate(spec(1), &full);
    assert_eq!(answer(&full, &report("more", "x"), START), Err(Refusal::TooManyFacts { gate: name() }));
    assert_eq!(event(&full, &report("0", "y"), START).gate.evidence["0"], "y");
}

#[test]
fn a_ruling_resolves_by_nobody_and_names_its_rule() {
    let waiting = gate(spec(2), &[wait(), approve("ann")]);
    for (verdict, status) in [(Verdict::Approve, Status::Approved), (Verdict::Reject, Status::Rejected)] {
        let ruling = Ruling { rule: "tests-passed".into(), verdict, etag: waiting.etag() };
        let resolution = Resolution { reason: "tests-passed".into(), ..unattended(Cause::Policy, START) };
        let after = Gate { status, resolution: Some(resolution), ..touched(&waiting, START) };
        let settled = event(&waiting, &Command::Settle(ruling), START);
        assert_eq!(settled, of(EventKind::Resolved, None, after), "the votes stay as they were");
    }
}

#[test]
fn a_ruling_is_about_what_the_rule_looked_at() {
    let waiting = gate(spec(1), &[wait()]);
    let other = Ruling { rule: "r".into(), verdict: Verdict::Approve, etag: Etag("7-uid".into()) };
    let refused = answer(&waiting, &Command::Settle(other), START);
    assert_eq!(refused, Err(Refusal::EtagMismatch { gate: name(), current: waiting.etag() }));
}
