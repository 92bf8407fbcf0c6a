//! `gatepost bench`: measures what a host can bear, on a temporary coordinator or a running one.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::output::{self, Output};
use super::{Globals, OnGates, serve};
use crate::config;
use target::Target;

mod callers;
mod crowd;
mod decide;
mod disk;
mod process;
mod recover;
mod report;
mod target;
mod waiters;
mod wake;

/// The flags of `gatepost bench`.
#[derive(Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measure durable decisions per second, and how long each takes
    ///
    /// Beside them, in the same run: an RPC that stores nothing, and fdatasync alone.
    Decide(OnGates<DecideArgs>),
    /// Measure how long a decision takes to reach those who wait
    Wake(OnGates<WakeArgs>),
    /// Measure the memory that waits take
    Waiters(OnGates<WaitersArgs>),
    /// Measure how long a coordinator takes to start on what is stored
    Recover(RecoverArgs),
}

/// The flags of `gatepost bench decide`.
#[derive(Args)]
struct DecideArgs {
    /// Callers that decide side by side, each on a connection of its own
    #[arg(long, value_name = "N", default_value = "64")]
    concurrency: NonZeroUsize,

    /// How long decisions are measured; everything around them takes about twice as long again
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = config::duration)]
    duration: Duration,

    /// Resolved gates to store before; not with --server
    #[arg(long, value_name = "N", default_value_t = 0)]
    gates_stored: u32,

    #[command(flatten)]
    temporary: TemporaryArgs,
}

/// The flags of `gatepost bench wake`.
#[derive(Args)]
struct WakeArgs {
    /// Workers that wait on the gate
    #[arg(long, value_name = "N", default_value = "1")]
    waiters: NonZeroUsize,

    /// Gates to decide, one after the other
    #[arg(long, value_name = "N", default_value = "500")]
    rounds: NonZeroU32,

    #[command(flatten)]
    temporary: TemporaryArgs,
}

/// The flags of `gatepost bench waiters`.
#[derive(Args)]
struct WaitersArgs {
    /// Workers that wait at the same time
    #[arg(long, value_name = "N", default_value = "10000")]
    waiters: NonZeroUsize,

    /// Connections that they share
    #[arg(long, value_name = "N", default_value = "100")]
    connections: NonZeroUsize,

    /// Let all wait on one gate, and measure how long its approval takes to wake them
    #[arg(long)]
    one_gate: bool,

    #[command(flatten)]
    temporary: TemporaryArgs,
}

/// The flags of `gatepost bench recover`.
#[derive(Args)]
struct RecoverArgs {
    /// Resolved gates to store before
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    gates: u32,

    /// Gates that are waited on when the coordinator ends, each with a deadline
    #[arg(long, value_name = "N", default_value_t = 100)]
    waiting: u32,

    /// Starts to measure after a stop, and as many after a kill
    #[arg(long, value_name = "N", default_value = "5")]
    runs: NonZeroU32,

    /// How results are written: for people, or as one JSON object
    #[arg(long, short, value_enum, default_value_t, value_name = "text|json", hide_possible_values = true)]
    output: Output,

    #[command(flatten)]
    temporary: TemporaryArgs,
}

/// What is said about the temporary coordinator.
#[derive(Args)]
struct TemporaryArgs {
    /// Where the temporary coordinator keeps its data: the disk that is measured
    // Not the system's directory for temporary files, which is often in memory.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// Measures, and shows what came out.
pub(super) async fn run(args: BenchArgs) -> Result<(), Failure> {
    serve::raise_open_files();
    let interrupted = interrupted()?;
    let output = match &args.verb {
        Verb::Decide(OnGates { globals, .. })
        | Verb::Wake(OnGates { globals, .. })
        | Verb::Waiters(OnGates { globals, .. }) => globals.output,
        Verb::Recover(args) => args.output,
    };
    let report = tokio::select! {
        report = measure(args.verb) => report?,
        () = interrupted => return Err(Failure::Interrupted("nothing was measured".to_owned())),
    };
    output::line(&report.show(output))
}

async fn measure(verb: Verb) -> Result<report::Report, Failure> {
    let target = async |globals: &Globals, temporary: &TemporaryArgs| Target::choose(globals, &temporary.dir).await;
    match verb {
        Verb::Decide(OnGates { args, globals }) => {
            if args.gates_stored > 0 && globals.server.server.is_some() {
                let problem =
                    "--gates-stored needs a coordinator of its own: leave --server out, GATEPOST_SERVER unset";
                return Err(Failure::Here(problem.to_owned()));
            }
            decide::run(target(&globals, &args.temporary).await?, &args).await
        }
        Verb::Wake(OnGates { args, globals }) => wake::run(target(&globals, &args.temporary).await?, &args).await,
        Verb::Waiters(OnGates { args, globals }) => waiters::run(target(&globals, &args.temporary).await?, &args).await,
        Verb::Recover(args) => recover::run(&args).await,
    }
}

/// Completes when the process is told to end, so that the temporary coordinator ends with it.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::Here(format!("cannot listen to signals: {error}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
