//! Where tests keep files whose disk is not what they try: in memory, where there is room for it.

use std::env;
use std::path::{Path, PathBuf};

/// What a cluster of etcd sets aside, and more.
const ROOM: u64 = 2 * 1024 * 1024 * 1024;

/// Returns a directory in memory, or that for temporary files.
pub fn or_disk() -> PathBuf {
    let memory = Path::new("/dev/shm");
    match rustix::fs::statvfs(memory) {
        Ok(stat) if stat.f_bavail * stat.f_frsize >= ROOM => memory.to_owned(),
        _ => env::temp_dir(),
    }
}
