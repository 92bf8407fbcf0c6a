//! `gatepost check-config`: whether a configuration file can be served with, without serving.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Command, FromArgMatches};

use super::failure::Failure;
use super::{output, text};
use crate::auth::{self, Authenticator, jwt};
use crate::config::{Config, ServeArgs};
use crate::server;

/// The flags of `gatepost check-config`.
#[derive(Args)]
pub(super) struct CheckConfigArgs {
    /// Configuration file, in TOML
    file: PathBuf,
}

/// Reads all that `serve` would, in this environment, and says what it found. Nothing is made, and nobody is asked.
pub(super) async fn run(args: CheckConfigArgs) -> Result<(), Failure> {
    let config = Config::new(ServeArgs { config: Some(args.file.clone()), ..environment()? })?;
    let mut problems = Vec::new();
    if let Some(files) = &config.tls {
        problems.extend(server::check_tls(files).await.err().map(|error| error.to_string()));
    }
    problems.extend(Authenticator::new(config.auth.clone()).err().map(|error| error.to_string()));
    if !problems.is_empty() {
        return Err(Failure::Many(problems));
    }
    output::line(&format!("{} can be served with", args.file.display()))?;
    for line in found(&config) {
        output::line(&text::escape(&line))?;
    }
    if let Some(danger) = config.danger() {
        output::warning(&danger.to_string());
    }
    if config.auth.has_identities() && config.auth.grants.is_empty() {
        output::warning("there is no [[grant]], so nobody may do anything");
    }
    Ok(())
}

/// What the environment says of the flags.
fn environment() -> Result<ServeArgs, Failure> {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let matches = command.try_get_matches_from(["serve"]).and_then(|matches| ServeArgs::from_arg_matches(&matches));
    matches.map_err(|error| Failure::Usage(error.to_string().trim_start_matches("error: ").trim_end().to_owned()))
}

fn found(config: &Config) -> Vec<String> {
    let transport = match &config.tls {
        None => "without TLS",
        Some(tls) if tls.client_ca.is_some() && tls.client_optional => {
            "with TLS, for clients with or without a certificate"
        }
        Some(tls) if tls.client_ca.is_some() => "with TLS, for clients with a certificate",
        Some(_) => "with TLS",
    };
    let auth = &config.auth;
    vec![
        format!("listens on {} {transport}; its data is in {}", config.listen, config.store),
        format!("callers: {}", callers(auth)),
        format!(
            "{} members of groups, {} grants, {} rules, {} webhooks",
            auth.groups.len(),
            auth.grants.len(),
            config.rules.len(),
            config.webhooks.len()
        ),
    ]
}

/// Says how callers say who they are.
fn callers(auth: &auth::Settings) -> String {
    let mut ways = Vec::new();
    if !auth.tokens.is_empty() {
        let now = SystemTime::now();
        let expired = auth.tokens.iter().filter(|token| token.expires.is_some_and(|expires| expires <= now)).count();
        ways.push(format!("{} tokens, of which {expired} have expired", auth.tokens.len()));
    }
    if auth.certificates.is_some() {
        ways.push("certificates".to_owned());
    }
    if let Some(jwt::Settings { issuer, .. }) = &auth.jwt {
        ways.push(format!("JWTs of {issuer}"));
    }
    if ways.is_empty() { "everybody is anonymous, and may do everything".to_owned() } else { ways.join(", ") }
}
