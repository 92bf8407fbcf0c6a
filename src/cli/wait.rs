//! `gatepost wait`: blocks until a gate is decided.

use std::pin::pin;
use std::time::Duration;

use clap::Args;
use tokio::time::MissedTickBehavior;

use super::failure::Failure;
use super::live::Live;
use super::output::{self, Output};
use super::spec::SpecArgs;
use super::{Globals, exit, sentence, text};
use crate::client::{Error, Outcome, Update, Wait};
use crate::proto::{Gate, WaitRequest, Waiter};

/// How often the time left is brought up to date: it is shown in seconds.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The flags of `gatepost wait`.
#[derive(Args)]
pub(super) struct WaitArgs {
    /// The gate
    gate: String,

    /// Wait on exactly this round, instead of following the gate when it is reset
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    round: u32,

    /// Who waits, for people to see [default: the host and the process]
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Anything else that people may want to know about who waits
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,

    #[command(flatten)]
    spec: SpecArgs,
}

/// Waits, tells how the round ended, and returns the exit code that says so.
pub(super) async fn run(globals: &Globals, args: WaitArgs) -> Result<u8, Failure> {
    let waiter = waiter(args.id, args.note);
    let (gate, round, spec) = (args.gate, args.round, args.spec.spec()?);
    let request = WaitRequest { gate, round, spec, waiter: Some(waiter), ..WaitRequest::default() };
    let wait = globals.client()?.wait(request.clone());
    let mut warned = false;
    let outcome = follow(wait, &request.gate, |gate| {
        if let Some(warning) = sentence::too_few_voters(gate).filter(|_| !warned) {
            output::warning(&warning);
            warned = true;
        }
        match globals.output {
            // Whoever stopped reading still gets the exit code.
            Output::Json => output::even_if_closed(globals.output.write(gate, |_| String::new())),
            Output::Text => Ok(()),
        }
    })
    .await?;
    if globals.output == Output::Text {
        output::even_if_closed(output::line(&sentence::outcome(outcome.gate(), jiff::Timestamp::now())))?;
    }
    Ok(exit::of(&outcome))
}

/// Says which process waits.
pub(super) fn waiter(id: Option<String>, note: String) -> Waiter {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let id = id.unwrap_or_else(|| format!("{host}:{}", std::process::id()));
    Waiter { id, host, note, since: None }
}

/// Follows a wait to its end, shows how it goes, and calls back at each change of the gate.
pub(super) async fn follow(
    mut wait: Wait,
    name: &str,
    mut on_change: impl FnMut(&Gate) -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    let mut live = Live::new(name);
    let mut refresh = tokio::time::interval(REFRESH_INTERVAL);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let mut last = None;
    loop {
        let update = tokio::select! {
            update = wait.next() => update?.ok_or_else(|| Error::Over { gate: name.to_owned() })?,
            _ = refresh.tick() => {
                live.refresh();
                continue;
            }
            _ = &mut interrupt => return Err(Failure::Interrupted(left_behind(last.as_ref()))),
        };
        let gate = match update {
            Update::Disconnected { error, .. } => {
                live.disconnected(&error);
                continue;
            }
            Update::Gate(gate) => *gate,
        };
        // A reconnect shows the gate again.
        if last.as_ref() != Some(&gate) {
            live.suspend(|| on_change(&gate))?;
            last = Some(gate.clone());
        }
        match Outcome::try_from(gate) {
            Ok(outcome) => return Ok(outcome),
            Err(gate) => live.gate(&gate),
        }
    }
}

/// Says what a wait that is given up leaves behind: the gate, which it may have made, and the deadline, which it may have
/// started.
fn left_behind(gate: Option<&Gate>) -> String {
    match gate.map(|gate| gate.deadline.as_ref()) {
        None => "the coordinator has not answered yet".to_owned(),
        Some(None) => "the gate stays".to_owned(),
        Some(Some(deadline)) => format!("the gate stays, and its deadline runs on until {}", text::exact(deadline)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Timestamp;

    #[test]
    fn an_interrupted_wait_says_what_it_leaves_behind() {
        let deadline = Some(Timestamp { seconds: 1_767_366_245, nanos: 0 });
        let told = [None, Some(Gate::default()), Some(Gate { deadline, ..Gate::default() })];
        assert_eq!(
            told.each_ref().map(|gate| left_behind(gate.as_ref())),
            [
                "the coordinator has not answered yet",
                "the gate stays",
                "the gate stays, and its deadline runs on until 2026-01-02 15:04:05Z",
            ]
        );
    }
}
