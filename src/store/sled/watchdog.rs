//! Notices a flush that does not end.
//!
//! A disk can hang. And sled 0.34.7 writes the first message of each batch in the background, and forgets to wake the
//! flush if that alone fails, as it may: the system reports an error of the disk to one of two syncs. A flush that does
//! not end is a failed one, and the process has to be told so.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::Shared;

/// The longest flush. A disk that takes longer is broken, and clients would have given up.
pub const FLUSH_MAX: Duration = Duration::from_secs(30);

/// How often the flush is looked at, within the longest.
const LOOKS: u32 = 4;

/// Watches the flushes of one store.
pub struct Watchdog {
    /// Odd during a flush, and another number for each.
    flush: Arc<AtomicU64>,
    /// Dropped to end the watch.
    _end: mpsc::Sender<()>,
}

impl Watchdog {
    /// Starts to watch.
    pub fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let flush = Arc::new(AtomicU64::new(0));
        let (end, ended) = mpsc::channel();
        // It does not keep the store open.
        let (watched, shared, flush_max) = (Arc::clone(&flush), Arc::downgrade(shared), shared.flush_max);
        thread::Builder::new()
            .name("store-watchdog".to_owned())
            .spawn(move || look(&watched, &shared, flush_max, &ended))?;
        Ok(Self { flush, _end: end })
    }

    /// Runs a flush.
    pub fn watch<T>(&self, flush: impl FnOnce() -> T) -> T {
        self.flush.fetch_add(1, Ordering::Relaxed);
        let flushed = flush();
        self.flush.fetch_add(1, Ordering::Relaxed);
        flushed
    }
}

fn look(flush: &AtomicU64, shared: &Weak<Shared>, flush_max: Duration, ended: &mpsc::Receiver<()>) {
    let (mut seen, mut times) = (0, 0);
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(flush_max / LOOKS) {
        let now = flush.load(Ordering::Relaxed);
        times = if now == seen { times + 1 } else { 0 };
        seen = now;
        if now % 2 == 1
            && times >= LOOKS
            && let Some(shared) = shared.upgrade()
        {
            shared.fail(&format!("a flush did not end within {} s", flush_max.as_secs_f32()));
            return;
        }
    }
}
