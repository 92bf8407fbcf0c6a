//! `gatepost import`: fills an empty store with what another held.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::output;
use super::store::{self, WhichStore};
use crate::transfer::{Error, File};

/// The flags of `gatepost import`.
#[derive(Args)]
pub(super) struct ImportArgs {
    /// File that `gatepost export` wrote; it is read more than once
    file: PathBuf,

    #[command(flatten)]
    store: WhichStore,
}

/// Checks the file, fills the store, and compares both.
pub(super) async fn run(args: ImportArgs) -> Result<(), Failure> {
    let in_file = |error| match error {
        Error::File(_) | Error::Line { .. } => Failure::Here(format!("{}: {error}", args.file.display())),
        error => Failure::Here(error.to_string()),
    };
    if args.file.as_os_str() == "-" {
        return Err(Failure::Usage("an import reads its file more than once: write it to a file first".to_owned()));
    }
    let file = tokio::task::block_in_place(|| File::check(&args.file)).map_err(in_file)?;
    let store = store::open(&args.store, true).await?;
    let imported = file.import(&*store).await;
    // So that whoever comes next need not wait until this one's end is noticed.
    if let Some(peers) = store.peers() {
        peers.leave().await;
    }
    let imported = imported.map_err(in_file)?;
    output::line(&format!("imported and verified {imported}"))
}
