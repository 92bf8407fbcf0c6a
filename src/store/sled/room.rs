//! Room on the disk: writes stop while there is still some left, so that the store survives a full disk.
//!
//! sled cannot go on after a write that found no room, so none is begun that might. Others can fill the disk too, and
//! sled writes when it opens: a file of ballast is given up then.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// What has to be left for a write: the largest batch, sled's segments around it, and a snapshot.
pub const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// What is kept for opening on a full disk.
const BALLAST_BYTES: u64 = RESERVE_BYTES;

/// The room of one store.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    /// What has to be left; a test makes it more than there is.
    pub reserve_bytes: AtomicU64,
}

impl Room {
    /// Makes room to open the store.
    pub fn make(dir: &Path) -> io::Result<Self> {
        let room = Self { dir: dir.to_owned(), reserve_bytes: AtomicU64::new(RESERVE_BYTES) };
        if room.is_full()? && room.ballast().exists() {
            tracing::warn!("the disk of {} is full: giving up the ballast to open", dir.display());
            fs::remove_file(room.ballast())?;
        }
        Ok(room)
    }

    /// Keeps room for the next time, if there is enough.
    pub fn keep(&self) -> io::Result<()> {
        let ballast = self.ballast();
        if ballast.exists() || self.free()? < RESERVE_BYTES + 2 * BALLAST_BYTES {
            return Ok(());
        }
        let file = File::create(&ballast)?;
        match fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES) {
            // Without blocks set aside it would be no ballast; some file systems cannot.
            Err(rustix::io::Errno::OPNOTSUPP) => fs::remove_file(ballast),
            allocated => Ok(allocated?),
        }
    }

    /// Says whether a write might find no room.
    pub fn is_full(&self) -> io::Result<bool> {
        Ok(self.free()? < self.reserve_bytes.load(Ordering::Relaxed))
    }

    fn free(&self) -> io::Result<u64> {
        let disk = statvfs(&self.dir)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("BALLAST")
    }
}
