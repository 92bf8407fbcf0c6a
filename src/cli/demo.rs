//! `gatepost demo`: a deployment pipeline whose worker blocks at two gates.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::failure::{Failure, chain};
use super::telemetry::Telemetry;
use super::{SERVER_DEFAULT, ServerArgs, exit, output, sentence, text, wait};
use crate::client::{Client, Outcome};
use crate::config::{self, Age, Config, LogFormat, ServeArgs, StoreArgs};
use crate::proto::{self, Gate, GateStatus, Spec, WaitRequest};
use crate::server::Server;

/// The pipeline. Each step needs the one before it.
const STEPS: [Step; 6] = [
    Step::Work("build"),
    Step::Work("test"),
    Step::Gate("review_gate", "Do the tests convince you?"),
    Step::Work("deploy_staging"),
    Step::Gate("deploy_gate", "Does staging look good?"),
    Step::Work("deploy_prod"),
];

/// Memory for the temporary store's page cache: a handful of gates.
const CACHE_MIB: u64 = 8;
/// How long the temporary coordinator may take to end; nobody is connected by then.
const DRAIN_SECONDS: u64 = 1;

/// The flags of `gatepost demo`.
#[derive(Args)]
pub(super) struct DemoArgs {
    /// How long each gate waits for a decision
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = config::duration)]
    timeout: Duration,

    /// Create the gates approved, so that nobody is asked
    #[arg(long)]
    auto_approve: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// A step of the pipeline.
#[derive(Clone, Copy)]
enum Step {
    /// Work, done at once here.
    Work(&'static str),
    /// A decision, with what it is about.
    Gate(&'static str, &'static str),
}

/// Runs the pipeline on the coordinator that is named, or else on a temporary one.
pub(super) async fn run(args: DemoArgs) -> Result<u8, Failure> {
    if args.server.server.is_some() {
        return pipeline(&args.server.client()?, &args).await;
    }

    // Held to the end: the log is written for as long as it is there.
    let _telemetry = Telemetry::start("warn", LogFormat::Text, None)?;
    let failed =
        |error: &dyn std::error::Error| Failure::Here(format!("the temporary coordinator failed: {}", chain(error)));
    let directory = tempfile::Builder::new().prefix("gatepost-demo-").tempdir().map_err(|error| failed(&error))?;
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(loopback).await.map_err(|error| failed(&error))?;
    let listen = listener.local_addr().map_err(|error| failed(&error))?;
    let args_of_server = ServeArgs {
        listen: Some(listen),
        store: StoreArgs {
            data_dir: Some(directory.path().to_owned()),
            cache_mib: Some(CACHE_MIB),
            ..StoreArgs::default()
        },
        retention: Some(Age(None)),
        drain_seconds: Some(DRAIN_SECONDS),
        ..ServeArgs::default()
    };
    let config = Config::new(args_of_server)?;

    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::open(&config).await.map_err(|error| failed(&error))?;
    let mut coordinator = pin!(server.serve(listener, async move {
        // Dropping the sender is the signal.
        let _ = stopped.await;
    }));
    let client = Client::new(&format!("http://{listen}"))?;
    let result = tokio::select! {
        result = pipeline(&client, &args) => result,
        ended = &mut coordinator => return Err(match ended {
            Ok(()) => Failure::Here("the temporary coordinator ended too early".to_owned()),
            Err(error) => failed(&error),
        }),
    };
    drop(stop);
    coordinator.await.map_err(|error| failed(&error))?;
    result.map_err(|failure| match failure {
        Failure::Interrupted(_) => Failure::Interrupted("the temporary coordinator is gone, and its gates".to_owned()),
        other => other,
    })
}

/// Runs the steps, skips what lies downstream of a gate that is not approved, and tells how each ended.
async fn pipeline(client: &Client, args: &DemoArgs) -> Result<u8, Failure> {
    let run = format!("demo-{:06x}", uuid::Uuid::new_v4().as_fields().0 >> 8);
    output::line(&format!("{run}: a deployment pipeline with two gates, on {}\n", client.address()))?;

    let mut ends = Vec::new();
    let mut stopped_by: Option<Outcome> = None;
    for step in STEPS {
        let end = match (step, &stopped_by) {
            (step, Some(outcome)) => {
                let gate = text::escape(&outcome.gate().name);
                output::line(&format!("{}: skipped, because {gate} was not approved", step.name()))?;
                "skipped"
            }
            (Step::Work(name), None) => {
                output::line(&format!("{name}: done"))?;
                "succeeded"
            }
            (Step::Gate(name, title), None) => {
                let outcome = block(client, args, &format!("{run}/{name}"), title).await?;
                let end = word(&outcome);
                if !matches!(outcome, Outcome::Approved(_)) {
                    stopped_by = Some(outcome);
                }
                end
            }
        };
        ends.push((step.name(), end));
    }

    let lines: Vec<_> = ends.iter().map(|(name, end)| format!("  {name:<15} {end}")).collect();
    output::line(&format!("\n{run} ended:\n{}", lines.join("\n")))?;
    Ok(stopped_by.as_ref().map_or(exit::OK, exit::of))
}

/// Blocks on one gate, and says how to decide it.
async fn block(client: &Client, args: &DemoArgs, gate: &str, title: &str) -> Result<Outcome, Failure> {
    let timeout = proto::Duration::try_from(args.timeout);
    let spec = Spec {
        timeout: Some(timeout.map_err(|error| Failure::Here(format!("--timeout: {error}")))?),
        auto_approve: args.auto_approve,
        title: title.to_owned(),
        ..Spec::default()
    };
    let waiter = Some(wait::waiter(None, "gatepost demo".to_owned()));
    let request = WaitRequest { gate: gate.to_owned(), spec: Some(spec), waiter, ..WaitRequest::default() };
    let on_change = |gate: &Gate| match gate.status() {
        GateStatus::Waiting if gate.votes.is_empty() => output::line(&how_to_decide(gate, client.address())),
        _ => Ok(()),
    };
    let outcome = wait::follow(client.wait(request), gate, on_change).await?;
    output::line(&sentence::outcome(outcome.gate(), jiff::Timestamp::now()))?;
    Ok(outcome)
}

fn how_to_decide(gate: &Gate, address: &str) -> String {
    let (program, name) = (program(), text::escape(&gate.name));
    let server = if address == SERVER_DEFAULT { String::new() } else { format!(" --server {address}") };
    let title = gate.spec.as_ref().map(|spec| text::escape(&spec.title)).unwrap_or_default();
    format!(
        "{name} waits for you: {title} In another terminal, run one of\n  \
         {program} approve {name}{server}\n  \
         {program} reject {name} --reason \"not yet\"{server}"
    )
}

/// Returns what to type for this program: its name where the shell finds it, or else its whole path.
fn program() -> String {
    let name = "gatepost".to_owned();
    if std::env::args_os().next().is_some_and(|typed| typed == name.as_str()) {
        return name;
    }
    let Ok(path) = std::env::current_exe() else { return name };
    let path = path.display().to_string();
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if is_plain { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Approved(_) => "succeeded",
        Outcome::Rejected(_) => "rejected",
        Outcome::TimedOut(_) => "timed out",
    }
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Work(name) | Self::Gate(name, _) => name,
        }
    }
}
