//! The command line: one file for each group of verbs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{CommandFactory, Parser, Subcommand};

use crate::client::{Client, Tls, Token};
use crate::config::ServeArgs;
use failure::Failure;
use output::Output;

mod bench;
mod can;
mod check_config;
mod decide;
mod demo;
mod evidence;
mod exit;
mod export;
mod failure;
mod follow;
mod gates;
mod import;
mod live;
mod output;
mod rules;
mod sentence;
mod serve;
mod spec;
mod status;
mod store;
mod table;
mod telemetry;
mod text;
mod token;
mod wait;
mod webhooks;

/// Where `gatepost serve` listens unless it is told otherwise.
const SERVER_DEFAULT: &str = "http://127.0.0.1:7070";
/// The variable that may hold a token.
const TOKEN_ENV: &str = "GATEPOST_TOKEN";

/// Runs the command that the process was started with, and says how the process is to end.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    let code = match dispatch(cli).await {
        Ok(code) => code,
        Err(failure) => {
            failure.tell();
            failure.exit_code()
        }
    };
    ExitCode::from(code)
}

/// Approval gates: workers wait on them, people decide them from elsewhere
#[derive(Parser)]
#[command(name = "gatepost", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// Which coordinator a command talks to.
#[derive(clap::Args, Clone, Default)]
struct ServerArgs {
    #[arg(long, env = "GATEPOST_SERVER", value_name = "URL", hide_env_values = true, help_heading = None,
          help = format!("Address of the coordinator, or of several as A,B,C [default: {SERVER_DEFAULT}]"))]
    server: Option<String>,

    /// Roots that the certificate of an https:// coordinator may lead to, in PEM [default: those of the system]
    #[arg(long, env = "GATEPOST_CACERT", value_name = "FILE", help_heading = None)]
    cacert: Option<PathBuf>,

    /// Certificate to show to the coordinator, in PEM
    #[arg(long, env = "GATEPOST_CERT", value_name = "FILE", requires = "key", help_heading = None)]
    cert: Option<PathBuf>,

    /// Private key of that certificate, in PEM
    #[arg(long, env = "GATEPOST_KEY", value_name = "FILE", requires = "cert", help_heading = None)]
    key: Option<PathBuf>,

    /// File with the token that says who calls; `GATEPOST_TOKEN` may hold the token itself
    #[arg(long, env = "GATEPOST_TOKEN_FILE", value_name = "FILE", help_heading = None)]
    token_file: Option<PathBuf>,

    /// Send the token over plain HTTP to other hosts too, where whoever is in between can read it
    #[arg(long, env = "GATEPOST_TOKEN_OVER_HTTP", value_parser = BoolishValueParser::new(), help_heading = None)]
    token_over_http: bool,
}

impl ServerArgs {
    fn client(&self) -> Result<Client, Failure> {
        let client = Client::with_tls(self.server.as_deref().unwrap_or(SERVER_DEFAULT), &self.tls()?)?;
        match self.token() {
            Some(token) if self.token_over_http => Ok(client.with_token(token.even_over_http())?),
            Some(token) => Ok(client.with_token(token)?),
            None => Ok(client),
        }
    }

    /// The token, never from the command line: everybody on the host can read that.
    fn token(&self) -> Option<Token> {
        let text = || std::env::var(TOKEN_ENV).ok().filter(|text| !text.is_empty());
        self.token_file.clone().map(Token::in_file).or_else(|| text().map(Token::new))
    }

    fn tls(&self) -> Result<Tls, Failure> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| Failure::Here(format!("{} cannot be read: {error}", path.display())))
        };
        let roots = self.cacert.as_ref().map(read).transpose()?;
        let identity = match self.cert.as_ref().zip(self.key.as_ref()) {
            Some((cert, key)) => Some((read(cert)?, read(key)?)),
            None => None,
        };
        Ok(Tls { roots, identity })
    }
}

/// What every command about gates understands.
#[derive(clap::Args)]
struct Globals {
    #[command(flatten)]
    server: ServerArgs,

    /// How results are written: for people, or one JSON object a line
    #[arg(long, short, value_enum, default_value_t, value_name = "text|json", hide_possible_values = true,
          help_heading = None)]
    output: Output,
}

impl Globals {
    fn client(&self) -> Result<Client, Failure> {
        self.server.client()
    }
}

/// A command that asks a coordinator: what it understands itself, and what they all do.
#[derive(clap::Args)]
struct OnGates<T: clap::Args> {
    #[command(flatten)]
    args: T,
    #[command(flatten)]
    globals: Globals,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the coordinator
    Serve(ServeArgs),
    /// Create a gate
    Create(OnGates<gates::CreateArgs>),
    /// Show a gate
    Get(OnGates<gates::GetArgs>),
    /// List gates
    List(OnGates<gates::ListArgs>),
    /// Block until a gate is decided
    ///
    /// With any of the flags that say what the gate asks for, the gate is created if it is missing; without, it has to
    /// exist. Reconnects by itself.
    ///
    /// Exits with 0 if the gate was approved, 10 if it was rejected or deleted, 11 if it timed out.
    Wait(OnGates<wait::WaitArgs>),
    /// Approve a gate
    Approve(OnGates<decide::ApproveArgs>),
    /// Reject a gate
    Reject(OnGates<decide::RejectArgs>),
    /// Report facts about a gate, for approvers to see and for rules to decide by
    Evidence(OnGates<evidence::EvidenceArgs>),
    /// Begin a new round of a gate, or of all gates below a prefix
    Reset(OnGates<gates::ResetArgs>),
    /// Delete a gate
    Delete(OnGates<gates::DeleteArgs>),
    /// Show what happens to gates, as it happens
    Watch(OnGates<follow::WatchArgs>),
    /// Show what has happened to gates, oldest first
    History(OnGates<follow::HistoryArgs>),
    /// Try the rules that decide gates without a person
    #[command(subcommand)]
    Rules(rules::RulesVerb),
    /// Say whether somebody may do something to a gate, by the grants of a configuration file, and why
    Can(can::CanArgs),
    /// Show how webhooks fare, and deal with what they gave up
    #[command(subcommand)]
    Webhooks(webhooks::Action),
    /// Check a configuration file as `serve` would read it
    CheckConfig(check_config::CheckConfigArgs),
    /// Make tokens, which say who calls
    #[command(subcommand)]
    Token(token::TokenVerb),
    /// Write all that a store holds to a file; one of sled must not be open at a coordinator
    ///
    /// The file is for `gatepost import`, into a store of any kind, and for backups. It holds what the store holds: keep it as
    /// safe.
    Export(export::ExportArgs),
    /// Fill an empty store with what `gatepost export` wrote
    ///
    /// Nothing is written unless the file is whole and the store empty, and all of the store is compared with the file in the
    /// end. Revisions and etags become others.
    Import(import::ImportArgs),
    /// Run a deployment pipeline with two gates to approve
    Demo(demo::DemoArgs),
    /// Measure what this host can bear
    Bench(bench::BenchArgs),
    /// Write the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

async fn dispatch(Cli { verb }: Cli) -> Result<u8, Failure> {
    match verb {
        Verb::Can(args) => return can::run(&args),
        Verb::Wait(OnGates { args, globals }) => return wait::run(&globals, args).await,
        Verb::Demo(args) => return demo::run(args).await,
        Verb::Serve(args) => serve::run(args).await?,
        Verb::Create(OnGates { args, globals }) => gates::create(&globals, args).await?,
        Verb::Get(OnGates { args, globals }) => gates::get(&globals, args).await?,
        Verb::List(OnGates { args, globals }) => gates::list(&globals, args).await?,
        Verb::Approve(OnGates { args, globals }) => decide::approve(&globals, args).await?,
        Verb::Reject(OnGates { args, globals }) => decide::reject(&globals, args).await?,
        Verb::Evidence(OnGates { args, globals }) => evidence::run(&globals, args).await?,
        Verb::Reset(OnGates { args, globals }) => gates::reset(&globals, args).await?,
        Verb::Delete(OnGates { args, globals }) => gates::delete(&globals, args).await?,
        Verb::Watch(OnGates { args, globals }) => follow::watch(&globals, args).await?,
        Verb::History(OnGates { args, globals }) => follow::history(&globals, args).await?,
        Verb::Rules(verb) => rules::run(verb).await?,
        Verb::Webhooks(action) => webhooks::run(action).await?,
        Verb::CheckConfig(args) => check_config::run(args).await?,
        Verb::Token(verb) => token::run(verb)?,
        Verb::Export(args) => export::run(args).await?,
        Verb::Import(args) => import::run(args).await?,
        Verb::Bench(args) => bench::run(args).await?,
        Verb::Completions { shell } => completions(shell)?,
    }
    Ok(exit::OK)
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gatepost", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
