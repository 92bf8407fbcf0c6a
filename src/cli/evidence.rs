//! `gatepost evidence`.

use clap::Args;

use super::failure::Failure;
use super::text::{self, escape};
use super::{Globals, sentence};
use crate::proto::{Gate, ReportEvidenceRequest};

/// The flags of `gatepost evidence`.
#[derive(Args)]
pub(super) struct EvidenceArgs {
    /// The gate
    gate: String,

    /// What is known, such as tests=passed; can be repeated
    #[arg(value_name = "KEY=VALUE", value_parser = text::pair, required = true)]
    facts: Vec<(String, String)>,

    /// Report only if this is the gate's round
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    round: u32,

    /// Names this call, so that repeating it gets the same answer [default: a random one]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// Reports facts and tells what the gate knows then.
pub(super) async fn run(globals: &Globals, args: EvidenceArgs) -> Result<(), Failure> {
    let EvidenceArgs { gate, facts, round, request_id } = args;
    if let Some(key) = text::repeated(facts.iter().map(|(key, _)| key)) {
        return Err(Failure::Usage(format!("{key} is given twice: a fact has one value")));
    }
    let request = ReportEvidenceRequest { gate, round, facts: facts.into_iter().collect(), request_id };
    let gate = globals.client()?.report_evidence(request).await?;
    globals.output.write(&gate, known)
}

fn known(gate: &Gate) -> String {
    format!("{} has the evidence {}", escape(&gate.name), sentence::evidence(gate))
}
