//! `gatepost watch` and `gatepost history`.

use clap::Args;

use super::failure::Failure;
use super::status::StatusArg;
use super::text::escape;
use super::{Globals, output, sentence};
use crate::client::Notice;
use crate::proto::{ListEventsRequest, WatchRequest};

/// The flags of `gatepost watch`.
#[derive(Args)]
pub(super) struct WatchArgs {
    /// Only gates below these leading segments
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,

    /// Only events that leave a gate with this status; can be repeated, or separated by commas
    #[arg(long, value_name = "STATUS", value_delimiter = ',', ignore_case = true)]
    status: Vec<StatusArg>,

    /// Show what exists first
    #[arg(long, conflicts_with = "since")]
    initial_state: bool,

    /// Begin with this revision instead of now
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    since: u64,
}

/// The flags of `gatepost history`.
#[derive(Args)]
pub(super) struct HistoryArgs {
    /// The gate; every gate if left out
    #[arg(default_value = "", hide_default_value = true)]
    gate: String,

    /// All gates below these leading segments
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true, conflicts_with = "gate")]
    prefix: String,
}

/// Shows events as they happen, until the process is ended.
pub(super) async fn watch(globals: &Globals, args: WatchArgs) -> Result<(), Failure> {
    let mut watch = globals.client()?.watch(WatchRequest {
        prefix: args.prefix,
        start_revision: args.since,
        statuses: StatusArg::numbers(&args.status),
        initial_state: args.initial_state,
    });
    let mut connected = true;
    while let Some(notice) = watch.next().await? {
        match notice {
            Notice::Event(event) => globals.output.write(&*event, sentence::event)?,
            Notice::Progress(_) => {}
            Notice::Disconnected { error, .. } => {
                if connected {
                    output::note(&format!("no connection, trying again: {}", escape(&error.to_string())));
                }
                connected = false;
                continue;
            }
        }
        connected = true;
    }
    Ok(())
}

/// Shows what has happened.
pub(super) async fn history(globals: &Globals, args: HistoryArgs) -> Result<(), Failure> {
    let request = ListEventsRequest { gate: args.gate, prefix: args.prefix, ..ListEventsRequest::default() };
    let events = globals.client()?.history(request).await?;
    events.iter().try_for_each(|event| globals.output.write(event, sentence::event))
}
