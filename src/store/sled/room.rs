//! Room on the disk: writes stop while there is still some left, so that the store survives a full disk.
//!
//! sled cannot go on after a write that found no room, so none is begun that might. Others can fill the disk too, and
//! sled writes when it opens: a file of ballast is given up then. It also writes while it is read, when a reader splits a
//! node that the last batch has filled: for that, blocks are set aside behind the end of its log.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// What has to be left for a write: the largest batch, sled's segments around it, and a snapshot.
pub const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// What is kept for opening on a full disk.
const BALLAST_BYTES: u64 = RESERVE_BYTES;

/// What is set aside behind the end of the log before a batch: more than the largest batch and the splits after it take.
const LEAD_BYTES: u64 = 8 * 1024 * 1024;

/// The room of one store.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    /// sled's log, once it is open.
    log: OnceLock<File>,
    /// Where what is set aside for the log ends.
    led: AtomicU64,
    /// What has to be left; a test makes it more than there is.
    pub reserve_bytes: AtomicU64,
}

impl Room {
    /// Makes room to open the store.
    pub fn make(dir: &Path) -> io::Result<Self> {
        let (log, led) = (OnceLock::new(), AtomicU64::new(0));
        let room = Self { dir: dir.to_owned(), log, led, reserve_bytes: AtomicU64::new(RESERVE_BYTES) };
        if room.is_full()? && room.ballast().exists() {
            tracing::warn!("the disk of {} is full: giving up the ballast to open", dir.display());
            fs::remove_file(room.ballast())?;
        }
        Ok(room)
    }

    /// Keeps room for the next time, if there is enough.
    pub fn keep(&self) -> io::Result<()> {
        let ballast = self.ballast();
        // A kill while it was made leaves less.
        let is_whole = fs::metadata(&ballast).is_ok_and(|file| file.len() == BALLAST_BYTES);
        if is_whole || self.free()? < RESERVE_BYTES + 2 * BALLAST_BYTES {
            return Ok(());
        }
        let file = File::create(&ballast)?;
        match fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES) {
            // Without blocks set aside it would be no ballast; some file systems cannot.
            Err(rustix::io::Errno::OPNOTSUPP) => fs::remove_file(ballast),
            allocated => Ok(allocated?),
        }
    }

    /// Sets room aside for a log that has been opened.
    pub fn lead_log(&self, path: &Path) -> io::Result<()> {
        let log = File::options().write(true).open(path)?;
        self.lead(self.log.get_or_init(|| log))
    }

    /// Says whether there is room for a batch, and sets it aside.
    pub fn takes_a_batch(&self) -> io::Result<bool> {
        if self.is_full()? {
            return Ok(false);
        }
        self.log.get().map_or(Ok(()), |log| self.lead(log))?;
        Ok(true)
    }

    fn lead(&self, log: &File) -> io::Result<()> {
        let end = log.metadata()?.len();
        if self.led.load(Ordering::Relaxed) >= end + LEAD_BYTES / 2 {
            return Ok(());
        }
        match fallocate(log, FallocateFlags::KEEP_SIZE, end, LEAD_BYTES) {
            Ok(()) => self.led.store(end + LEAD_BYTES, Ordering::Relaxed),
            // The disk is full, which is told at the next batch, or cannot set room aside.
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Says whether a write might find no room.
    fn is_full(&self) -> io::Result<bool> {
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
