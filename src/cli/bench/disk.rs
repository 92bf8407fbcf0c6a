//! The disk by itself: how often a file can be extended and made durable.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::callers::Measured;
use super::report::ended;
use crate::cli::failure::Failure;

/// What is written before each sync: about what one decision adds to the log, with its indexes.
const WRITE_BYTES: usize = 1024;

/// Appends to a file and syncs it, over and over.
pub(super) async fn measure(dir: &Path, duration: Duration) -> Result<Measured, Failure> {
    let path = dir.join("sync");
    let syncing = tokio::task::spawn_blocking(move || sync(&path, duration)).await;
    ended(syncing)?.map_err(|error| Failure::Here(format!("cannot measure the disk: {error}")))
}

fn sync(path: &Path, duration: Duration) -> io::Result<Measured> {
    let mut file = File::create(path)?;
    let mut measured = Measured::new();
    let began = Instant::now();
    while measured.elapsed < duration {
        let written = Instant::now();
        file.write_all(&[0; WRITE_BYTES])?;
        file.sync_data()?;
        measured.latency.record(written.elapsed());
        measured.elapsed = began.elapsed();
    }
    Ok(measured)
}
