//! `gatepost create`, `get`, `list`, `reset` and `delete`.

use clap::Args;
use jiff::Timestamp;

use super::failure::Failure;
use super::output::{self, Output};
use super::spec::SpecArgs;
use super::status::{StatusArg, word};
use super::text::escape;
use super::{Globals, sentence, table};
use crate::client::Client;
use crate::proto::{
    CreateGateRequest, DeleteGateRequest, Gate, GetGateRequest, ListGatesRequest, ResetGateRequest, ResetGatesRequest,
};

/// The flags of `gatepost create`.
#[derive(Args)]
pub(super) struct CreateArgs {
    /// The gate, such as release-42/prod
    gate: String,

    /// Names this call, so that repeating it gets the same answer [default: a random one]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,

    #[command(flatten)]
    spec: SpecArgs,
}

/// The flags of `gatepost get`.
#[derive(Args)]
pub(super) struct GetArgs {
    /// The gate
    gate: String,

    /// Show how this past round ended
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    round: u32,
}

/// The flags of `gatepost list`.
#[derive(Args)]
pub(super) struct ListArgs {
    /// Only gates below these leading segments
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,

    /// Only gates with this status; can be repeated, or separated by commas
    #[arg(long, value_name = "STATUS", value_delimiter = ',', ignore_case = true)]
    status: Vec<StatusArg>,
}

/// The flags of `gatepost reset`.
#[derive(Args)]
pub(super) struct ResetArgs {
    /// The gate
    #[arg(required_unless_present = "prefix")]
    gate: Option<String>,

    /// Reset all gates below these leading segments
    #[arg(long, value_name = "PREFIX", conflicts_with = "gate")]
    prefix: Option<String>,

    /// Names this call, so that repeating it gets the same answer [default: a random one]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// The flags of `gatepost delete`.
#[derive(Args)]
pub(super) struct DeleteArgs {
    /// The gate
    gate: String,

    /// Delete only if the gate is still in this state
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    etag: String,
}

/// Creates a gate.
pub(super) async fn create(globals: &Globals, args: CreateArgs) -> Result<(), Failure> {
    let request = CreateGateRequest { gate: args.gate, spec: args.spec.spec()?, request_id: args.request_id };
    let client = globals.client()?;
    // The answer is the same whether the gate was there or not, and only people are told which.
    let before = match globals.output {
        Output::Text => existing(&client, &request.gate).await?,
        Output::Json => None,
    };
    let gate = client.create(request).await?;
    if let Some(warning) = sentence::too_few_voters(&gate) {
        output::warning(&warning);
    }
    globals.output.write(&gate, |gate| created(gate, before.as_ref()))
}

/// Shows a gate.
pub(super) async fn get(globals: &Globals, args: GetArgs) -> Result<(), Failure> {
    let gate = globals.client()?.get(GetGateRequest { gate: args.gate, round: args.round }).await?;
    globals.output.write(&gate, |gate| table::details(gate, Timestamp::now()))
}

/// Lists gates.
pub(super) async fn list(globals: &Globals, args: ListArgs) -> Result<(), Failure> {
    let statuses = StatusArg::numbers(&args.status);
    let request = ListGatesRequest { prefix: args.prefix, statuses, ..ListGatesRequest::default() };
    let gates = globals.client()?.list(request).await?.gates;
    globals.output.write_all(&gates, "no gates", |gates| table::rows(gates, Timestamp::now()))
}

/// Begins a new round of a gate or a group.
pub(super) async fn reset(globals: &Globals, args: ResetArgs) -> Result<(), Failure> {
    let (client, request_id) = (globals.client()?, args.request_id);
    let gates = match (args.gate, args.prefix) {
        (_, Some(prefix)) => client.reset_group(ResetGatesRequest { prefix, request_id }).await?,
        (gate, None) => {
            let gate = gate.unwrap_or_default();
            vec![client.reset(ResetGateRequest { gate, request_id }).await?]
        }
    };
    if gates.is_empty() {
        output::note("no gates");
    }
    gates.iter().try_for_each(|gate| globals.output.write(gate, was_reset))
}

/// Deletes a gate.
pub(super) async fn delete(globals: &Globals, args: DeleteArgs) -> Result<(), Failure> {
    globals.client()?.delete(DeleteGateRequest { gate: args.gate.clone(), etag: args.etag }).await?;
    globals.output.write(&(), |()| format!("{} deleted", escape(&args.gate)))
}

/// Returns the gate of a name, if there is one.
async fn existing(client: &Client, name: &str) -> Result<Option<Gate>, Failure> {
    match client.get(GetGateRequest { gate: name.to_owned(), round: 0 }).await {
        Ok(gate) => Ok(Some(gate)),
        Err(error) if error.refusal("GATE_NOT_FOUND").is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says whether the gate in the answer was there before. A gate that two make in the same moment is new to both.
fn created(gate: &Gate, before: Option<&Gate>) -> String {
    let name = escape(&gate.name);
    match before.filter(|before| before.uid == gate.uid) {
        // A call that is repeated gets its first answer, older than what is there.
        Some(before) => {
            let newest = if before.revision > gate.revision { before } else { gate };
            format!("{name} exists already, {}", word(newest.status()))
        }
        None => format!("{name} created, {}", word(gate.status())),
    }
}

fn was_reset(gate: &Gate) -> String {
    format!("{} is {} again, in round {}", escape(&gate.name), word(gate.status()), gate.round)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::GateStatus;

    fn gate(uid: &str, revision: u64, status: GateStatus) -> Gate {
        Gate { name: "a".into(), uid: uid.into(), revision, status: status.into(), ..Gate::default() }
    }

    #[test]
    fn a_gate_that_was_there_is_not_called_created() {
        use GateStatus::{Approved, Pending, Waiting};

        assert_eq!(created(&gate("u", 1, Pending), None), "a created, pending");
        assert_eq!(created(&gate("u", 2, Waiting), Some(&gate("u", 2, Waiting))), "a exists already, waiting");
        assert_eq!(created(&gate("u", 3, Approved), Some(&gate("u", 2, Waiting))), "a exists already, approved");
        // The answer of an earlier call, repeated.
        assert_eq!(created(&gate("u", 1, Pending), Some(&gate("u", 3, Approved))), "a exists already, approved");
        // Deleted by somebody between the two calls.
        assert_eq!(created(&gate("v", 4, Pending), Some(&gate("u", 2, Waiting))), "a created, pending");
    }
}
