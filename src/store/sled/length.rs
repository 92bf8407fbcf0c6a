//! The least length of sled's log, so that a log that was cut short is refused.
//!
//! sled uses room in its log again, so the end of the file is seldom the end of the log: a file cut short, by a copy
//! that did not end say, has lost what was written long ago, and sled would open it at a state that never was. So the
//! file `LENGTH` beside it says how many bytes the log has at least: as many as it had when the store was last opened, and
//! then every segment that is full. It is raised when these are durable, and before sled knows that they are. The log
//! itself never shrinks: what is free in it is used again.
//!
//! Where the barrier cannot see to that, `LENGTH` says 0, and no log is refused.
//!
//! sled's threads may write a little longer than its store is open. So what is kept here is found by the file, for as
//! long as the process lives.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::barrier;
use crate::store::Error;

/// sled cuts its log into segments of so many bytes, and fills one before it begins another.
const SEGMENT_BYTES: u64 = 512 * 1024;

/// How many digits the length has: always the same, so that it is overwritten in place, within one sector of the disk.
const DIGITS: usize = 20;

static LOGS: Mutex<Vec<Log>> = Mutex::new(Vec::new());

/// The log of one store.
struct Log {
    path: PathBuf,
    id: Id,
    /// The file `LENGTH`: held open, so that no want of files can fail a commit.
    mark: File,
    /// What `LENGTH` says.
    least: u64,
}

/// Tells files apart: the device and the inode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Id(u64, u64);

impl Id {
    fn of(file: &Metadata) -> Self {
        Self(file.dev(), file.ino())
    }
}

/// Refuses a log that is shorter than it was, and keeps its length from now on. Called before sled opens it.
pub fn keep(dir: &Path, log: &Path) -> Result<(), Error> {
    let io_failed = |source| Error::Open { path: dir.to_owned(), source };
    let refuse = |problem| Err(Error::Corrupt { place: dir.display().to_string(), problem });
    let mark = dir.join("LENGTH");
    let length = found(fs::metadata(log)).map_err(io_failed)?.map_or(0, |file| file.len());
    let read = found(fs::read(&mark)).map_err(io_failed)?;
    let least = match read.as_deref().and_then(parse) {
        Some(least) if length < least => {
            let problem = format!(
                "its log was cut short: it has {length} bytes, and had at least {least} (copy the whole directory \
                 again, or restore a backup)"
            );
            return refuse(problem);
        }
        Some(least) => least,
        // Nothing was ever written to it.
        None if length == 0 => 0,
        None => {
            let problem = "the file LENGTH is missing or broken, which says how long its log has to be (copy the whole \
                           directory again, or restore a backup)";
            return refuse(problem.to_owned());
        }
    };
    make(dir, &mark, log, least).map_err(io_failed)
}

/// Makes the files, and remembers them.
fn make(dir: &Path, mark: &Path, log: &Path, least: u64) -> io::Result<()> {
    // Where nothing keeps its length, any length is right.
    let least = if barrier::KEEPS_LENGTHS { least } else { 0 };
    // The mark first: a log without one is refused.
    let mark = File::options().create(true).truncate(false).write(true).open(mark)?;
    mark.write_all_at(&text(least), 0)?;
    let asked = barrier::lengths_asked();
    mark.set_len(text(least).len() as u64)?;
    if barrier::KEEPS_LENGTHS && barrier::lengths_asked() == asked {
        return Err(io::Error::other("this program was built without what keeps the length of the log"));
    }
    mark.sync_all()?;
    File::open(dir)?.sync_all()?;

    let file = File::options().create(true).truncate(false).write(true).open(log)?;
    let log = Log { path: fs::canonicalize(log)?, id: Id::of(&file.metadata()?), mark, least };
    let mut logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    logs.retain(|other| other.path != log.path && other.is_there());
    logs.push(log);
    Ok(())
}

/// Returns how long a file is, if its length is kept.
pub fn kept(file: &File) -> Option<(Id, u64)> {
    let file = file.metadata().ok().filter(|_| barrier::KEEPS_LENGTHS)?;
    let logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    logs.iter().any(|log| log.id == Id::of(&file) && log.is_there()).then(|| (Id::of(&file), file.len()))
}

/// Says that a log is durable up to a length, while it grows.
pub fn raise(id: Id, durable: u64) -> io::Result<()> {
    set_least(id, durable - durable % SEGMENT_BYTES)
}

/// Keeps all that a log has, once sled has opened it.
pub fn keep_all(log: &Path) -> io::Result<()> {
    let log = File::open(log)?;
    let Some((id, length)) = kept(&log) else { return Ok(()) };
    log.sync_all()?;
    set_least(id, length)
}

fn set_least(id: Id, length: u64) -> io::Result<()> {
    let mut logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(log) = logs.iter_mut().find(|log| log.id == id && log.least < length) else { return Ok(()) };
    log.mark.write_all_at(&text(length), 0)?;
    log.mark.sync_data()?;
    log.least = length;
    Ok(())
}

impl Log {
    /// Says whether it is still where it was: its number may have become that of another file.
    fn is_there(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| Id::of(&file) == self.id)
    }
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn text(length: u64) -> Vec<u8> {
    format!("{length:0DIGITS$}\n").into_bytes()
}

fn parse(text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"\n").filter(|digits| digits.len() == DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
