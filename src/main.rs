//! The `gatepost` program: the coordinator, and the commands that talk to it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    gatepost::cli::run().await
}
