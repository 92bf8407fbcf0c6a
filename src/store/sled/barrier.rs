//! Makes each of sled's log writes a barrier.
//!
//! On Linux sled ends a write with `sync_file_range`, which flushes neither the file's size nor the disk's cache: after a
//! power cut acknowledged writes are gone. An fdatasync of our own after sled's flush is not enough, because sled
//! overwrites old segments before their moved copies are durable. So the C symbol that sled calls is defined here: the
//! linker prefers it over the C library's, and every write is durable when it returns. Other systems need nothing: there
//! sled calls fsync.
//!
//! In the same way a log of sled's is kept from shrinking, see `length`.
#![allow(unsafe_code, reason = "an exported C symbol, and the C call that it makes")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, Weak};

/// Is told that a sync has failed.
pub type Listener = dyn Fn() + Send + Sync;

/// Says whether sled needs the barrier here.
pub const IS_NEEDED: bool = cfg!(target_os = "linux");

/// Says whether a log can be kept from shrinking here.
pub const KEEPS_LENGTHS: bool = cfg!(all(target_os = "linux", target_pointer_width = "64"));

static BARRIERS: AtomicU64 = AtomicU64::new(0);

static LENGTHS_ASKED: AtomicU64 = AtomicU64::new(0);

static LISTENERS: Mutex<Vec<Weak<Listener>>> = Mutex::new(Vec::new());

/// Calls `listener`, for as long as it is kept, whenever a sync of this process fails, whatever its file: sled itself
/// may not tell. It is called on the thread of the sync, and must not wait.
pub fn on_failure(listener: Weak<Listener>) {
    let mut listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
    listeners.retain(|listener| listener.strong_count() > 0);
    listeners.push(listener);
}

/// Called where a sync fails.
#[cfg(target_os = "linux")]
fn failed() {
    // Called without the lock: a listener may end what listens.
    let listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for listener in listeners.iter().filter_map(Weak::upgrade) {
        listener();
    }
}

/// Says how many writes were made durable here. A number that does not grow when sled flushes means that the program
/// was linked without the barrier.
pub fn count() -> u64 {
    BARRIERS.load(Ordering::Relaxed)
}

/// Says how often a file was to be made shorter or longer. A number that does not grow when one is means that the
/// program was linked without what keeps the length of a log.
pub fn lengths_asked() -> u64 {
    LENGTHS_ASKED.load(Ordering::Relaxed)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::{c_int, c_long, c_uint};
    use std::fs::File;
    use std::io;
    use std::mem::ManuallyDrop;
    use std::os::fd::FromRawFd;
    use std::sync::atomic::Ordering;

    use super::super::length::{self, Id};

    /// Stands in for the C library's function, and does more than that one promises. Answers as `fdatasync` does: -1,
    /// with errno set, if it failed.
    #[unsafe(no_mangle)]
    pub extern "C" fn sync_file_range(fd: c_int, _offset: i64, _bytes: i64, _flags: c_uint) -> c_int {
        #[cfg(test)]
        if super::observer::fails(fd) {
            // SAFETY: errno is this thread's own.
            unsafe { *libc::__errno_location() = libc::EIO };
            return -1;
        }
        // Before the sync: what is written meanwhile may not be durable by it.
        let kept = kept(fd);
        // SAFETY: fdatasync takes any number, and refuses one that is no open file.
        let synced = match unsafe { libc::fdatasync(fd) } {
            0 => kept.map_or(Ok(()), |(log, length)| length::raise(log, length)),
            _ => Err(io::Error::last_os_error()),
        };
        let Err(error) = synced else {
            super::BARRIERS.fetch_add(1, Ordering::Relaxed);
            return 0;
        };
        super::failed();
        // SAFETY: errno is this thread's own.
        unsafe { *libc::__errno_location() = error.raw_os_error().unwrap_or(libc::EIO) };
        -1
    }

    /// Stands in for the C library's function that the standard library calls, and does nothing where a log of sled's
    /// would shrink.
    #[cfg(target_pointer_width = "64")]
    #[cfg_attr(target_env = "musl", unsafe(export_name = "ftruncate"))]
    #[cfg_attr(not(target_env = "musl"), unsafe(export_name = "ftruncate64"))]
    pub extern "C" fn set_length(fd: c_int, length: i64) -> c_int {
        super::LENGTHS_ASKED.fetch_add(1, Ordering::Relaxed);
        if kept(fd).is_some_and(|(_, now)| u64::try_from(length).is_ok_and(|length| length < now)) {
            return 0;
        }
        // SAFETY: the system takes any numbers, and refuses those that make no sense.
        match unsafe { libc::syscall(libc::SYS_ftruncate, c_long::from(fd), length) } {
            0 => 0,
            _ => -1,
        }
    }

    fn kept(fd: c_int) -> Option<(Id, u64)> {
        if fd < 0 {
            return None;
        }
        // SAFETY: the caller has it open during the call, and it is not closed here.
        let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
        length::kept(&file)
    }
}

/// Lets a test see the barriers of one store among those of the process, and make them fail.
#[cfg(test)]
#[cfg(target_os = "linux")]
pub mod observer {
    use std::ffi::c_int;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    type Observer = Arc<dyn Fn() -> bool + Send + Sync>;

    static OBSERVERS: Mutex<Vec<(PathBuf, Observer)>> = Mutex::new(Vec::new());

    /// Calls `fails` at each barrier of a file in `dir`, in the place of an earlier observer: true makes it fail.
    pub fn observe(dir: &Path, fails: impl Fn() -> bool + Send + Sync + 'static) {
        OBSERVERS.lock().unwrap().push((dir.canonicalize().unwrap(), Arc::new(fails)));
    }

    pub(super) fn fails(fd: c_int) -> bool {
        let Ok(file) = fs::read_link(format!("/proc/self/fd/{fd}")) else { return false };
        // Called without the lock: an observer may take its time.
        let observers = OBSERVERS.lock().unwrap().clone();
        observers.iter().rev().find(|(dir, _)| file.starts_with(dir)).is_some_and(|(_, fails)| fails())
    }
}
