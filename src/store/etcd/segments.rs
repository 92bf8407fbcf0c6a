//! The segments of the log. Each has about as many revisions, so that an event is found by its revision without a search
//! through all of them.
//!
//! A segment is begun only while none follows it, and an event is written only to the last. So where one began stays true
//! once it was read, and what comes before the last beginning is told without asking etcd.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::txn::{self, Txn};
use super::{Shared, corrupt, keys};
use crate::domain::Revision;
use crate::store::Error;

/// How many revisions a segment has, about: few enough to look at for one event.
const REVISIONS: u64 = 1024;

/// Beginnings that are read at a time.
const READ_MAX: usize = 1000;

/// Segments of which it is looked at a time whether they are empty.
const SWEPT_MAX: usize = 16;

/// What is known of the segments.
#[derive(Debug, Default)]
pub struct Segments {
    /// The segments that were there when they were read, by where they begin: all up to the last of them.
    // A std mutex: held for a look-up, and never across an await.
    known: Mutex<BTreeMap<Revision, u64>>,
    /// The segment from which on it is looked for empty ones.
    swept: AtomicU64,
}

impl Segments {
    /// Returns the last one, and where it begins.
    pub fn last(&self) -> (u64, Revision) {
        self.known().last_key_value().map_or((0, Revision::ZERO), |(begin, segment)| (*segment, *begin))
    }

    /// Returns the last ones, the last first.
    pub fn latest(&self, count: usize) -> Vec<u64> {
        self.known().values().rev().take(count).copied().collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Revision, u64>> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Reads which segments have been begun since they were read last.
    pub async fn read_segments(&self) -> Result<(), Error> {
        loop {
            let next = if self.segments.known().is_empty() { 0 } else { self.segments.last().0 + 1 };
            let begun = txn::keys_only(txn::scan(keys::segments_from(next), READ_MAX));
            let (begun, _) = self.client.range(begun).await?;
            for kv in &begun {
                let segment = keys::parse_segment(&kv.key).ok_or_else(|| corrupt(&kv.key, "it is no segment"))?;
                self.segments.known().insert(txn::revision(kv.create_revision), segment);
            }
            if begun.len() < READ_MAX {
                break;
            }
        }
        if self.segments.known().is_empty() { Err(corrupt(b"t", "it has no segment")) } else { Ok(()) }
    }

    /// Returns the segment of an event at a revision: the last that began before it.
    pub async fn segment_of(&self, revision: Revision) -> Result<u64, Error> {
        if revision > self.segments.last().1 {
            self.read_segments().await?;
        }
        // Before the first there is no event.
        Ok(self.segments.known().range(..revision).next_back().map_or(0, |(_, segment)| *segment))
    }

    /// Begins another segment, once one is long enough. If that fails, the next to commit does it.
    pub async fn end_segment(&self, segment: u64, last: Revision) {
        let (current, begin) = self.segments.last();
        if segment < current || last.0.saturating_sub(begin.0) < REVISIONS {
            return;
        }
        if let Err(error) = self.begin_segment(segment + 1).await {
            tracing::debug!("segment {segment} of the log goes on: {error}");
        }
    }

    /// Begins a segment, unless it or one that follows it has been begun.
    pub async fn begin_segment(&self, segment: u64) -> Result<(), Error> {
        let none = keys::segments_from(segment);
        self.client.txn(Txn::default().if_none(none).put(keys::segment(segment), Vec::new())).await?;
        self.read_segments().await
    }

    /// Removes the beginnings of segments that hold nothing any more, some at a time.
    pub async fn forget_segments(&self) -> Result<(), Error> {
        let (current, _) = self.segments.last();
        let from = self.segments.swept.load(Ordering::Relaxed);
        let some = txn::keys_only(txn::scan(keys::segment(from)..keys::segment(current), SWEPT_MAX));
        let (some, _) = self.client.range(some).await?;
        let numbers: Vec<_> = some.iter().filter_map(|kv| keys::parse_segment(&kv.key)).collect();
        let is_last = numbers.len() < SWEPT_MAX;
        self.segments
            .swept
            .store(if is_last { 0 } else { numbers.last().map_or(0, |last| last + 1) }, Ordering::Relaxed);
        if numbers.is_empty() {
            return Ok(());
        }
        let reads = numbers.iter().map(|number| txn::keys_only(txn::scan(keys::segment_log(*number), 1)));
        let found = self.client.txn(reads.fold(Txn::default(), Txn::read)).await?.ranges;
        let empty = numbers.into_iter().zip(found).filter(|(_, events)| events.is_empty());
        // Nothing is added to one that another has followed.
        let txn = empty.fold(self.as_leader()?, |txn, (number, _)| txn.delete(keys::segment(number)));
        if txn.len() > 0 {
            self.client.txn(txn).await?;
        }
        Ok(())
    }
}
