//! `gatepost export`: all of a store as one file.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;

use super::failure::Failure;
use super::output;
use super::store::{self, WhichStore};
use crate::store::Store;
use crate::transfer::{self, Error, Totals};

/// The flags of `gatepost export`.
#[derive(Args)]
pub(super) struct ExportArgs {
    /// File to write; one that exists is refused [default: the standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    store: WhichStore,
}

/// Writes what the store holds, and says how much that is.
pub(super) async fn run(args: ExportArgs) -> Result<(), Failure> {
    if let Some(path) = args.output.as_deref().filter(|path| path.exists()) {
        return Err(exists(path));
    }
    let store = store::open(&args.store, false).await?;
    let totals = match &args.output {
        Some(path) => to_file(&*store, path).await?,
        None => write(&*store, io::stdout()).await?,
    };
    output::note(&format!("exported {totals}"));
    Ok(())
}

/// Writes a file, which is there only once it is whole and durable.
async fn to_file(store: &dyn Store, path: &Path) -> Result<Totals, Failure> {
    let failed = |error: io::Error| Failure::Here(format!("{} cannot be written: {error}", path.display()));
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    let totals = write(store, file.as_file()).await?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => failed(error.error),
    })?;
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(totals)
}

async fn write(store: &dyn Store, out: impl Write) -> Result<Totals, Failure> {
    match transfer::export(store, SystemTime::now(), BufWriter::new(out)).await {
        Ok(totals) => Ok(totals),
        Err(Error::File(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::PipeClosed),
        Err(Error::File(error)) => Err(Failure::Here(format!("the export cannot be written: {error}"))),
        Err(error) => Err(Failure::Here(error.to_string())),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::Here(format!("{} exists, and is not overwritten: name another file with --output", path.display()))
}
