//! `gatepost rules test`: what the rules of a configuration file would do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::{self, Output};
use super::text::{self, escape, exact};
use super::{OnGates, sentence};
use crate::client::Client;
use crate::config::file;
use crate::policy::{Action, Outcome, Rules, on_deep_stack};
use crate::proto::{Event, EventType, Gate, GateStatus, GetGateRequest, ListEventsRequest, Resolution};

/// The verbs of `gatepost rules`.
#[derive(Subcommand)]
pub(super) enum RulesVerb {
    /// Show what the rules would do to a gate, or would have done to the gates of the past
    Test(OnGates<TestArgs>),
}

/// The flags of `gatepost rules test`.
#[derive(Args)]
pub(super) struct TestArgs {
    /// A gate as it is now; every round of the past if left out
    gate: Option<String>,

    /// Configuration file that holds the rules
    #[arg(long, env = "GATEPOST_CONFIG", value_name = "FILE")]
    config: PathBuf,

    /// As if this were known of the gate too; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = text::pair, requires = "gate")]
    evidence: Vec<(String, String)>,

    /// Only the past of gates below these leading segments
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true, conflicts_with = "gate")]
    prefix: String,
}

/// Shows what the rules would do, and changes nothing.
pub(super) async fn run(verb: RulesVerb) -> Result<(), Failure> {
    let RulesVerb::Test(OnGates { args, globals }) = verb;
    let here = |error: &dyn std::error::Error| Failure::Here(error.to_string());
    let rules =
        Rules::new(file::read(&args.config).map_err(|error| here(&error))?.rule).map_err(|error| here(&error))?;
    let client = globals.client()?;
    match args.gate {
        Some(gate) => test_gate(&client, &rules, gate, args.evidence, globals.output).await,
        None => test_past(&client, &rules, args.prefix, globals.output).await,
    }
}

async fn test_gate(
    client: &Client,
    rules: &Rules,
    gate: String,
    evidence: Vec<(String, String)>,
    output: Output,
) -> Result<(), Failure> {
    let mut gate = client.get(GetGateRequest { gate, round: 0 }).await?;
    gate.evidence.extend(evidence);
    let outcome = on_deep_stack(|| rules.evaluate(&gate, SystemTime::now()));
    match output {
        Output::Text => output::line(&format!("{}: {}", escape(&gate.name), would(&outcome))),
        Output::Json => output::line(&text::escape_json(&verdict(&gate, &outcome).to_string())),
    }
}

async fn test_past(client: &Client, rules: &Rules, prefix: String, output: Output) -> Result<(), Failure> {
    let events = client.history(ListEventsRequest { prefix, ..ListEventsRequest::default() }).await?;
    let rounds = on_deep_stack(|| replay(rules, events));
    let mut counts = [0; 3];
    for Round { gate, outcome, when, end } in &rounds {
        counts[match outcome {
            Outcome::Decided { action: Action::Approve, .. } => 0,
            Outcome::Decided { action: Action::Reject, .. } => 1,
            Outcome::Undecided | Outcome::Failed { .. } => 2,
        }] += 1;
        let became = end.as_ref().map_or_else(|| "undecided".to_owned(), sentence::how);
        match output {
            Output::Text => {
                let what = would(outcome);
                output::line(&format!("{when}  {} round {}: {what}; it was {became}", escape(&gate.name), gate.round))?;
            }
            Output::Json => {
                let mut value = verdict(gate, outcome);
                value["became"] = end.as_ref().map_or(Value::Null, |end| json!(end.status().as_str_name()));
                output::line(&text::escape_json(&value.to_string()))?;
            }
        }
    }
    if output == Output::Text {
        let [approved, rejected, left] = counts;
        let rounds = rounds.len();
        output::note(&format!("{rounds} rounds: {approved} approved, {rejected} rejected, {left} left to people"));
    }
    Ok(())
}

/// A round that was waited on: what the rules would have made of it, and what became of it.
struct Round {
    gate: Gate,
    outcome: Outcome,
    /// When they would have, or when the round was last looked at.
    when: String,
    end: Option<Resolution>,
}

/// Goes through what happened, and looks at each gate where the coordinator would have.
fn replay(rules: &Rules, events: Vec<Event>) -> Vec<Round> {
    let mut order = Vec::new();
    let mut rounds: BTreeMap<(String, u32), Round> = BTreeMap::new();
    for event in events {
        let (kind, Some(gate)) = (event.r#type(), event.gate) else { continue };
        let (key, now) = ((gate.uid.clone(), gate.round), event.time);
        let is_news = matches!(kind, EventType::Waiting | EventType::EvidenceReported);
        if is_news && gate.status() == GateStatus::Waiting {
            let is_open = rounds.get(&key).is_none_or(|round| !matches!(round.outcome, Outcome::Decided { .. }));
            if is_open {
                let time = now.and_then(|time| SystemTime::try_from(time).ok()).unwrap_or(SystemTime::UNIX_EPOCH);
                let (outcome, when) = (rules.evaluate(&gate, time), now.as_ref().map(exact).unwrap_or_default());
                if rounds.insert(key.clone(), Round { gate, outcome, when, end: None }).is_none() {
                    order.push(key);
                }
            }
        } else if let Some(round) = rounds.get_mut(&key) {
            round.end = gate.resolution;
        }
    }
    order.into_iter().filter_map(|key| rounds.remove(&key)).collect()
}

fn would(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Undecided => "no rule decides it: people do".to_owned(),
        Outcome::Decided { rule, action: Action::Approve } => format!("the rule {rule} approves it"),
        Outcome::Decided { rule, action: Action::Reject } => format!("the rule {rule} rejects it"),
        Outcome::Failed { rule, problem } => {
            format!("the rule {rule} fails, so people decide: {}", escape(problem))
        }
    }
}

fn verdict(gate: &Gate, outcome: &Outcome) -> Value {
    let (rule, action, problem) = match outcome {
        Outcome::Undecided => (None, None, None),
        Outcome::Decided { rule, action } => (Some(rule), Some(action), None),
        Outcome::Failed { rule, problem } => (Some(rule), None, Some(problem)),
    };
    let action = action.map(|action| action.as_str());
    json!({"gate": gate.name, "round": gate.round, "rule": rule, "action": action, "problem": problem})
}
