//! `gatepost approve` and `gatepost reject`.

use clap::Args;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::output::Output;
use super::{Globals, sentence, text};
use crate::client::{Client, Error};
use crate::proto::{ApproveRequest, Gate, RejectRequest, Struct, from_json};

/// The flags of `gatepost approve`.
#[derive(Args)]
pub(super) struct ApproveArgs {
    /// The gate
    gate: String,

    /// Why, for people
    #[arg(long, short = 'm', value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: String,

    /// Approve whatever the gate asks for, and say why; needs a permission of its own, and everybody is told
    #[arg(
        long,
        value_name = "REASON",
        conflicts_with = "comment",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    break_glass: Option<String>,

    /// A value handed to the workers: JSON, or else a string; can be repeated
    #[arg(long = "input", value_name = "KEY=JSON", value_parser = input)]
    inputs: Vec<(String, Value)>,

    #[command(flatten)]
    decision: DecisionArgs,
}

/// The flags of `gatepost reject`.
#[derive(Args)]
pub(super) struct RejectArgs {
    /// The gate
    gate: String,

    /// Why, for people
    #[arg(long, short = 'm', value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    #[command(flatten)]
    decision: DecisionArgs,
}

/// What both decisions understand.
#[derive(Args)]
struct DecisionArgs {
    /// Decide only if this is the gate's round
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    round: u32,

    /// Decide only if the gate is still in this state
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    etag: String,

    /// Decide only if the gate is about this exact content
    #[arg(long, value_name = "DIGEST", default_value = "", hide_default_value = true)]
    subject_digest: String,

    /// Whom you speak for; shown as claimed
    #[arg(long, env = "GATEPOST_ON_BEHALF_OF", value_name = "WHO", default_value = "", hide_default_value = true)]
    on_behalf_of: String,

    /// Check everything, change nothing
    #[arg(long)]
    validate_only: bool,

    /// Names this call, so that repeating it gets the same answer [default: a random one]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// Approves a gate and tells what that came to.
pub(super) async fn approve(globals: &Globals, args: ApproveArgs) -> Result<(), Failure> {
    let DecisionArgs { round, etag, subject_digest, on_behalf_of, validate_only, request_id } = args.decision;
    let request = ApproveRequest {
        gate: args.gate,
        round,
        etag,
        subject_digest,
        comment: args.comment,
        inputs: inputs(args.inputs)?,
        request_id,
        on_behalf_of,
        validate_only,
        break_glass_reason: args.break_glass.unwrap_or_default(),
    };
    let client = globals.client()?;
    let before = match globals.output {
        Output::Text => repeated(&client, &request).await?,
        Output::Json => None,
    };
    let gate = client.approve(request).await?;
    globals.output.write(&gate, |gate| match before {
        Some(before) if stands(&before, gate) => sentence::approved_already(gate),
        _ => sentence::decision(gate, validate_only),
    })
}

/// Rejects a gate and tells what that came to.
pub(super) async fn reject(globals: &Globals, args: RejectArgs) -> Result<(), Failure> {
    let DecisionArgs { round, etag, subject_digest, on_behalf_of, validate_only, request_id } = args.decision;
    let (gate, reason) = (args.gate, args.reason);
    let request = RejectRequest { gate, round, etag, subject_digest, reason, request_id, on_behalf_of, validate_only };
    let gate = globals.client()?.reject(request).await?;
    globals.output.write(&gate, |gate| sentence::decision(gate, validate_only))
}

/// Returns the gate if an approval would change nothing, because its voter has approved the round before. The answer of
/// the approval cannot tell: it is the gate with that vote either way.
async fn repeated(client: &Client, request: &ApproveRequest) -> Result<Option<Gate>, Failure> {
    let check = ApproveRequest { validate_only: true, ..request.clone() };
    match client.approve(check).await {
        // A gate that would change has no revision.
        Ok(gate) => Ok(Some(gate).filter(|gate| gate.revision != 0)),
        // The call itself meets the same, or else repeats one that was answered before.
        Err(Error::Refused(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says whether a vote that was there before still stands, so that the answer has no new one by the same voter.
fn stands(before: &Gate, answer: &Gate) -> bool {
    answer.resolution.is_none() && (&before.uid, before.round) == (&answer.uid, answer.round)
}

fn input(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("there is no = in it")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((key.to_owned(), value))
}

fn inputs(pairs: Vec<(String, Value)>) -> Result<Option<Struct>, Failure> {
    if pairs.is_empty() {
        return Ok(None);
    }
    if let Some(key) = text::repeated(pairs.iter().map(|(key, _)| key)) {
        return Err(Failure::Usage(format!("--input {key} is given twice: an input has one value")));
    }
    // Read as a field of a message that has such a field: a Struct by itself has no name to find its descriptor by.
    let inputs: Map<String, Value> = pairs.into_iter().collect();
    let request = serde_json::json!({ "inputs": inputs }).to_string();
    let request: ApproveRequest =
        from_json(&request).map_err(|error| Failure::Here(format!("--input cannot be sent: {error}")))?;
    Ok(request.inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Resolution, to_json};

    #[test]
    fn inputs_are_json_or_else_strings() {
        let pairs = ["percent=5", "ok=true", "who=alice", "list=[1,\"a\"]", "empty=", "url=https://x/?a=b"];
        let inputs = inputs(pairs.iter().map(|pair| input(pair).unwrap()).collect()).unwrap();
        let request = ApproveRequest { inputs, ..ApproveRequest::default() };
        let json = serde_json::json!({ "inputs": {
            "percent": 5.0, "ok": true, "who": "alice", "list": [1.0, "a"], "empty": "", "url": "https://x/?a=b"
        }});
        assert_eq!(serde_json::from_str::<Value>(&to_json(&request).unwrap()).unwrap(), json);
        assert!(input("percent").is_err());
    }

    #[test]
    fn an_input_with_two_values_is_refused() {
        let pairs = ["a=1", "b=1", "a=2"].map(|pair| input(pair).unwrap());
        let Err(Failure::Usage(told)) = inputs(pairs.into()) else { panic!("it was taken") };
        assert_eq!(told, "--input a is given twice: an input has one value");
    }

    #[test]
    fn a_vote_stands_until_its_round_ends() {
        let gate = |uid: &str, round| Gate { uid: uid.into(), round, ..Gate::default() };
        assert!(stands(&gate("u", 1), &gate("u", 1)));
        assert!(!stands(&gate("u", 1), &gate("u", 2)) && !stands(&gate("u", 1), &gate("v", 1)));
        let resolved = Gate { resolution: Some(Resolution::default()), ..gate("u", 1) };
        assert!(!stands(&gate("u", 1), &resolved));
    }

    #[test]
    fn without_inputs_nothing_is_sent() {
        assert_eq!(inputs(Vec::new()).unwrap(), None);
    }
}
