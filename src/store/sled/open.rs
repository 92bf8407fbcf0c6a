//! Opens a store's directory: `LOCK`, which says that it is in use, `LENGTH`, which says how long sled's log is at least,
//! and `sled/`.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use super::batch::Writes;
use super::disk::{Disk, parse_pointer};
use super::room::Room;
use super::{barrier, keys, length, panic_text};
use crate::domain::Revision;
use crate::store::{Counts, Error};

/// The layout that is written, see [`keys`].
const FORMAT: u8 = 1;

/// Stands for the format while the store takes in what another held: no gatepost opens what is not whole.
const IMPORTING: u8 = u8::MAX;

/// How long sled may hold its files after it was closed: its own threads end a little later.
const SLED_CLOSES_WITHIN: Duration = Duration::from_secs(5);

/// How often to look whether sled has let go.
const SLED_CLOSES_LOOK: Duration = Duration::from_millis(5);

/// What to do where nothing else helps.
const RESTORE: &str = "keep a copy of the directory, and restore a backup";

/// An open store.
pub struct Opened {
    /// Its records.
    pub disk: Disk,
    /// Its room on the disk.
    pub room: Room,
    /// Its id.
    pub id: String,
    /// The revision of its last event.
    pub revision: Revision,
    /// The revision up to which events may be missing.
    pub forgotten: Revision,
    /// Its gates by status.
    pub counts: Counts,
}

/// Opens a store, and makes it if there is none.
pub fn open(dir: &Path, cache_bytes: u64) -> Result<Opened, Error> {
    let io_failed = |source| Error::Open { path: dir.to_owned(), source };
    create_dir(dir).map_err(io_failed)?;
    let lock = lock(dir)?;

    let room = Room::make(dir).map_err(io_failed)?;
    let sled_dir = dir.join("sled");
    create_dir(&sled_dir).map_err(io_failed)?;
    length::keep(dir, &sled_dir.join("db"))?;
    remove_half_written_snapshots(&sled_dir).map_err(io_failed)?;
    let db = open_sled(dir, &sled_dir, cache_bytes)?;
    room.lead_log(&sled_dir.join("db")).map_err(io_failed)?;
    // sled syncs its data, but neither this file of its own nor the names of its files.
    for path in [&sled_dir.join("conf"), &sled_dir.join("blobs"), &sled_dir, dir] {
        sync(path).map_err(io_failed)?;
    }

    let disk = Disk {
        db,
        _lock: lock,
        #[cfg(test)]
        before_flush: std::sync::Mutex::default(),
    };
    let (id, revision) = read_meta(dir, &disk.db)?;
    let forgotten = disk.pointer(keys::FORGOTTEN)?.unwrap_or(Revision::ZERO);
    let counts = match disk.counts()? {
        Some(counts) => counts,
        // It was last written by a gatepost that did not count.
        None => disk.count()?,
    };
    length::keep_all(&sled_dir.join("db")).map_err(io_failed)?;
    room.keep().map_err(io_failed)?;
    Ok(Opened { disk, room, id, revision, forgotten, counts })
}

/// Says what to write while the store takes in what another held, and once it has.
pub fn import_writes(goes_on: bool) -> Writes {
    vec![(keys::FORMAT.to_vec(), Some(vec![if goes_on { IMPORTING } else { FORMAT }]))]
}

fn lock(dir: &Path) -> Result<File, Error> {
    let open_failed = |source| Error::Open { path: dir.to_owned(), source };
    let path = dir.join("LOCK");
    let lock = File::options().create(true).truncate(false).write(true).open(path).map_err(open_failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { path: dir.to_owned() }),
        Err(errno) => Err(open_failed(errno.into())),
    }
}

/// Makes a directory, and the missing ones above it, so that a power cut does not take them away again.
fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        None => Path::new("/"),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    create_dir(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    sync(parent)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A kill while sled opens leaves one, and sled refuses to open on it.
fn remove_half_written_snapshots(sled_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(sled_dir)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn open_sled(dir: &Path, sled_dir: &Path, cache_bytes: u64) -> Result<sled::Db, Error> {
    // The committer flushes: sled's own thread would only log its errors.
    let config = sled::Config::new().path(sled_dir).cache_capacity(cache_bytes).flush_every_ms(None);
    let began = Instant::now();
    loop {
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let error = match opened {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) => error,
            Err(panic) => return Err(corrupt(dir, &format!("{} ({RESTORE})", panic_text(&*panic)))),
        };
        match error {
            sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
                if began.elapsed() > SLED_CLOSES_WITHIN {
                    return Err(Error::Locked { path: PathBuf::from(dir) });
                }
                thread::sleep(SLED_CLOSES_LOOK);
            }
            sled::Error::Io(source) => return Err(Error::Open { path: PathBuf::from(dir), source }),
            error => return Err(corrupt(dir, &format!("{error} ({RESTORE})"))),
        }
    }
}

/// Reads what the store says of itself, and writes it again: the first write says whether writes are durable.
fn read_meta(dir: &Path, db: &sled::Db) -> Result<(String, Revision), Error> {
    let failed = |error: sled::Error| corrupt(dir, &format!("{error} ({RESTORE})"));
    let format = db.get(keys::FORMAT).map_err(failed)?;
    match format.as_deref() {
        Some([FORMAT]) => {}
        Some([IMPORTING]) => {
            let problem = "an import into it broke off: remove the directory, then import again";
            return Err(corrupt(dir, problem));
        }
        None if db.is_empty() => {}
        Some([newer]) if *newer > FORMAT => {
            let problem = format!("a newer gatepost wrote it, in format {newer}; this one reads format {FORMAT}");
            return Err(corrupt(dir, &problem));
        }
        Some(_) | None => return Err(corrupt(dir, &format!("it does not say its format ({RESTORE})"))),
    }
    let id = match db.get(keys::STORE_ID).map_err(failed)? {
        None if format.is_none() => Uuid::new_v4().to_string(),
        None => return Err(corrupt(dir, &format!("it has no id ({RESTORE})"))),
        Some(id) => String::from_utf8_lossy(&id).into_owned(),
    };
    let last = db.get(keys::LAST_REVISION).map_err(failed)?;
    let revision = last.map_or(Ok(Revision::ZERO), |last| parse_pointer(keys::LAST_REVISION, &last))?;

    let mut meta = sled::Batch::default();
    meta.insert(keys::FORMAT, &[FORMAT]);
    meta.insert(keys::STORE_ID, id.as_bytes());
    let barriers = barrier::count();
    let written = db.apply_batch(meta).and_then(|()| db.flush());
    written.map_err(|error| Error::Open { path: dir.to_owned(), source: error.into() })?;
    if barrier::IS_NEEDED && barrier::count() == barriers {
        return Err(Error::Open {
            path: dir.to_owned(),
            source: io::Error::other("this program was built without the barrier that makes writes durable"),
        });
    }
    Ok((id, revision))
}

fn corrupt(dir: &Path, problem: &str) -> Error {
    Error::Corrupt { place: dir.display().to_string(), problem: problem.to_owned() }
}
