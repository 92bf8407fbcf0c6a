//! `gatepost can`: what the grants of a configuration file allow somebody, and why.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::exit;
use super::failure::Failure;
use super::output;
use super::text::escape;
use crate::auth::Permission;
use crate::config::file;
use crate::domain::{GateName, Group, Principal};

/// The flags of `gatepost can`.
#[derive(Args)]
pub(super) struct CanArgs {
    /// Who: the name that a token, a certificate or a JWT gives them
    principal: String,

    /// What they want to do
    action: Action,

    /// To which gate; every gate there could be if left out
    gate: Option<String>,

    /// Configuration file that holds the grants
    #[arg(long, env = "GATEPOST_CONFIG", value_name = "FILE")]
    config: PathBuf,

    /// A group that their certificate or JWT puts them in; those of their tokens and of the file are known. Can be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
}

/// What somebody may want to do.
#[derive(ValueEnum, Clone, Copy)]
enum Action {
    View,
    Create,
    Exempt,
    Wait,
    Report,
    Approve,
    Reject,
    Reset,
    Delete,
    BreakGlass,
    Webhooks,
}

impl From<Action> for Permission {
    fn from(action: Action) -> Self {
        match action {
            Action::View => Self::View,
            Action::Create => Self::Create,
            Action::Exempt => Self::Exempt,
            Action::Wait => Self::Wait,
            Action::Report => Self::Report,
            Action::Approve | Action::Reject => Self::Decide,
            Action::Reset => Self::Reset,
            Action::Delete => Self::Delete,
            Action::BreakGlass => Self::BreakGlass,
            Action::Webhooks => Self::Webhooks,
        }
    }
}

/// Says whether they may, grant by grant.
pub(super) fn run(args: &CanArgs) -> Result<u8, Failure> {
    let here = |error: &dyn std::error::Error| Failure::Here(error.to_string());
    let gate = args.gate.as_deref().map(|gate| GateName::parse("gate", gate)).transpose();
    let gate = gate.map_err(|invalid| here(&invalid))?;
    let principal = Principal::parse(&args.principal).map_err(|invalid| here(&invalid))?;
    let groups: Result<BTreeSet<_>, _> = args.groups.iter().map(|group| Group::parse(group)).collect();
    let groups = groups.map_err(|invalid| here(&invalid))?;
    let settings =
        file::read(&args.config).map_err(|error| here(&error))?.identities().map_err(|error| here(&error))?;
    if !settings.has_identities() {
        output::line("yes: nobody is asked who they are, and everybody may do everything")?;
        return Ok(exit::OK);
    }

    let permission = Permission::from(args.action);
    let identity = settings.named(principal, groups);
    let may = settings.grants.allows(&identity, permission, gate.as_ref());
    let gate_text = gate.as_ref().map_or("every gate", GateName::as_str);
    let (answer, cannot) = if may { ("yes", "") } else { ("no", "not ") };
    output::line(&format!("{answer}: {} may {cannot}{permission} {gate_text}", escape(identity.principal.as_str())))?;
    let groups: Vec<_> = identity.groups.iter().map(|group| escape(group.as_str())).collect();
    if !groups.is_empty() {
        output::line(&format!("  groups: {}", groups.join(", ")))?;
    }
    for (number, (grant, refuses)) in (1..).zip(settings.grants.explain(&identity, permission, gate.as_ref())) {
        let why = refuses.map_or_else(|| "allows it".to_owned(), |refuses| refuses.to_string());
        output::line(&format!("  grant {number}, {}: {why}", escape(&grant)))?;
    }
    Ok(if may { exit::OK } else { exit::REJECTED })
}
