//! The suite, and what only a store on disk has to do.

use tempfile::TempDir;

use super::*;
use crate::store::conformance::conformance;

const CACHE_BYTES: u64 = 8 * 1024 * 1024;

conformance!(temporary());

fn temporary() -> (Sled, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Sled::open(dir.path(), CACHE_BYTES).unwrap(), dir)
}
