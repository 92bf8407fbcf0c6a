//! `gatepost token`: tokens, which say who calls. No coordinator is asked.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use jiff::{Timestamp, Unit};

use super::failure::Failure;
use super::output;
use crate::auth::{self, TokenDigest, tokens};
use crate::config::{self, identity};
use crate::domain::{Group, Principal};

/// The verbs of `gatepost token`.
#[derive(Subcommand)]
pub(super) enum TokenVerb {
    /// Make a token, and the table that makes it known
    ///
    /// The token goes to the standard output, to be kept by whoever it is for: it is shown this once. The table, which
    /// holds only its digest, goes to the standard error, to be put into the configuration file of the coordinator.
    New(NewArgs),
}

/// The flags of `gatepost token new`.
#[derive(Args)]
pub(super) struct NewArgs {
    /// Who calls with it
    #[arg(long, value_parser = auth::principal)]
    principal: Principal,

    /// A group that it puts them in; can be repeated
    #[arg(long, value_name = "GROUP", value_parser = identity::group)]
    group: Vec<Group>,

    /// How long it lasts, as 90d; for ever if left out
    #[arg(long, value_name = "AGE", value_parser = config::duration)]
    expires: Option<Duration>,
}

/// Makes a token.
pub(super) fn run(verb: TokenVerb) -> Result<(), Failure> {
    let TokenVerb::New(NewArgs { principal, group, expires }) = verb;
    let mut table = toml::Table::new();
    table.insert("principal".into(), principal.as_str().into());
    if !group.is_empty() {
        table.insert("groups".into(), group.iter().map(Group::as_str).collect::<Vec<_>>().into());
    }
    if let Some(age) = expires {
        table.insert("expires".into(), end(age)?.into());
    }
    let token = tokens::generate().map_err(|error| Failure::Here(format!("no token can be made: {error}")))?;
    table.insert("sha256".into(), TokenDigest::of(&token).to_hex().into());
    output::note("# For the configuration file of the coordinator:\n");
    output::note(&format!("[[token]]\n{table}"));
    output::line(&token)
}

/// Says when what lasts so long from now on ends, to the second.
fn end(age: Duration) -> Result<String, Failure> {
    let end = SystemTime::now().checked_add(age).and_then(|end| Timestamp::try_from(end).ok());
    let end = end.and_then(|end| end.round(Unit::Second).ok());
    Ok(end.ok_or_else(|| Failure::Usage("--expires is too far away".to_owned()))?.to_string())
}
