//! Reads the log: events by their revisions, and the history of names and groups.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::api::{KeyValue, RangeRequest};
use super::keys::{self, EventId};
use super::txn::{self, Txn};
use super::{Shared, corrupt};
use crate::domain::{Event, GateName, Prefix, Revision};
use crate::store::recent::SCANNED_MAX;
use crate::store::{Error, HistoryPage, codec};

/// Events that are read at a time: few enough for one message, however large they are.
pub const PAGE: usize = 64;

/// Segments in which the last event is looked for.
const LAST_SEGMENTS: usize = 8;

/// A part of the log.
pub struct Page {
    /// The events, in the order of their revisions.
    pub ids: Vec<(Revision, EventId)>,
    /// There is no other event up to this revision.
    pub until: Revision,
    /// Whether the log goes on.
    pub more: bool,
    /// The revision up to which events had been forgotten by then.
    pub forgotten: Revision,
}

impl Shared {
    /// Reads which events come after a revision.
    pub async fn log(&self, after: Revision, limit: usize) -> Result<Page, Error> {
        let mut segment = self.segment_of(after.next()).await?;
        loop {
            let txn = Txn::default()
                .read(txn::keys_only(txn::written_after(keys::segment_log(segment), after, limit)))
                .read(txn::keys_only(txn::scan(keys::log_behind(segment), 1)))
                .read(txn::get(keys::FORGOTTEN.to_vec()));
            let outcome = self.client.txn(txn).await?;
            let [events, next, forgotten] = outcome.ranges.as_slice() else { return Err(unanswered()) };
            let forgotten = self.take_forgotten(forgotten.first())?;
            let ids: Vec<_> = events.iter().map(event_id).collect::<Result<_, _>>()?;
            if let (true, Some(next)) = (ids.is_empty(), next.first()) {
                segment = event_id(next)?.1.segment;
                continue;
            }
            let more = ids.len() == limit || !next.is_empty();
            let last = ids.last().map(|(revision, _)| *revision).filter(|_| more);
            return Ok(Page { ids, until: last.unwrap_or(outcome.revision), more, forgotten });
        }
    }

    /// Reads events; those that have been forgotten are left out.
    pub async fn events(&self, ids: &[EventId]) -> Result<Vec<Arc<Event>>, Error> {
        let mut events = Vec::new();
        for ids in ids.chunks(PAGE) {
            for record in self.read_all(ids.iter().map(|id| txn::get(id.record())).collect()).await? {
                events.push(Arc::new(event(&record)?));
            }
        }
        Ok(events)
    }

    /// Reads the next events after a revision, in order and without a gap, and the revision up to which there is no other.
    pub async fn changes(&self, after: Revision) -> Result<(Vec<Arc<Event>>, Revision), Error> {
        let page = self.log(after, PAGE).await?;
        let ids: Vec<_> = page.ids.into_iter().map(|(_, id)| id).collect();
        let events = self.events(&ids).await?;
        // Asked for after they were read, so that none was removed meanwhile.
        let forgotten = if ids.is_empty() { page.forgotten } else { self.read_forgotten().await? };
        if after < forgotten {
            return Err(Error::Compacted { oldest: forgotten.next() });
        }
        Ok((events, page.until))
    }

    /// Finds the event at a revision.
    pub async fn event_id(&self, revision: Revision) -> Result<Option<EventId>, Error> {
        let segment = self.segment_of(revision).await?;
        let at = txn::written_after(keys::segment_log(segment), Revision(revision.0.saturating_sub(1)), 1);
        let at = RangeRequest { max_mod_revision: txn::signed(revision), ..txn::keys_only(at) };
        let (events, _) = self.client.range(at).await?;
        events.first().map(|key| Ok(event_id(key)?.1)).transpose()
    }

    /// Reads the event at a revision.
    pub async fn event(&self, revision: Revision) -> Result<Option<Arc<Event>>, Error> {
        if revision == Revision::ZERO {
            return Ok(None);
        }
        let event = match self.event_id(revision).await? {
            Some(id) => self.events(&[id]).await?.pop(),
            None => None,
        };
        if event.is_none() {
            // Whoever asks for one that was forgotten can see that it was.
            self.read_forgotten().await?;
        }
        Ok(event)
    }

    /// Reads the last event, if it is in one of the last segments.
    pub async fn last_event(&self) -> Result<Option<Arc<Event>>, Error> {
        self.read_segments().await?;
        for segment in self.segments.latest(LAST_SEGMENTS) {
            let (events, _) = self.client.range(txn::last_written(keys::segment_log(segment))).await?;
            if let Some(last) = events.first() {
                return match self.events(&[event_id(last)?.1]).await {
                    Ok(mut events) => Ok(events.pop()),
                    Err(error @ Error::Corrupt { .. }) => {
                        tracing::error!("{error}");
                        Ok(None)
                    }
                    Err(error) => Err(error),
                };
            }
        }
        Ok(None)
    }

    /// Reads the history of a name.
    pub async fn history_of(&self, name: &GateName, after: Revision, limit: usize) -> Result<HistoryPage, Error> {
        let mut events = Vec::new();
        let mut behind = after;
        while events.len() <= limit {
            let (records, _) = self.client.range(txn::written_after(keys::history(name), behind, PAGE)).await?;
            for record in &records {
                events.push(Arc::new(event(record)?));
            }
            if records.len() < PAGE {
                break;
            }
            behind = events.last().map_or(behind, |event| event.revision());
        }
        let next = (events.len() > limit).then(|| {
            events.truncate(limit);
            events.last().map_or(after, |event| event.revision())
        });
        Ok(HistoryPage { events, next })
    }

    /// Reads the history of a group.
    pub async fn history_below(&self, prefix: &Prefix, after: Revision, limit: usize) -> Result<HistoryPage, Error> {
        let (mut found, mut scanned, mut looked_at) = (Vec::new(), after, 0);
        let next = 'pages: loop {
            let page = self.log(scanned, PAGE).await?;
            for (revision, id) in page.ids {
                if found.len() == limit || looked_at == SCANNED_MAX {
                    break 'pages Some(scanned);
                }
                looked_at += 1;
                scanned = revision;
                if prefix.contains(&id.name) {
                    found.push(id);
                }
            }
            if !page.more {
                break None;
            }
        };
        let events = self.events(&found).await?;
        if events.len() < found.len() {
            // So that whoever needs all of them can see why some are missing.
            self.read_forgotten().await?;
        }
        Ok(HistoryPage { events, next })
    }

    /// Reads keys side by side, each of which has at most one value.
    pub async fn read_all(&self, reads: Vec<RangeRequest>) -> Result<Vec<KeyValue>, Error> {
        // etcd refuses a transaction of nothing.
        if reads.is_empty() {
            return Ok(Vec::new());
        }
        let txn = reads.into_iter().fold(Txn::default(), Txn::read);
        Ok(self.client.txn(txn).await?.ranges.into_iter().flatten().collect())
    }

    /// Reads the revision up to which events have been forgotten.
    pub async fn read_forgotten(&self) -> Result<Revision, Error> {
        let (forgotten, _) = self.client.range(txn::get(keys::FORGOTTEN.to_vec())).await?;
        self.take_forgotten(forgotten.first())
    }

    /// Takes note of the revision up to which events have been forgotten.
    pub fn take_forgotten(&self, kv: Option<&KeyValue>) -> Result<Revision, Error> {
        let Some(kv) = kv else { return Ok(Revision::ZERO) };
        let bytes = kv.value.as_slice().try_into().map_err(|_| corrupt(&kv.key, "it is no revision"))?;
        let forgotten = Revision(u64::from_be_bytes(bytes));
        self.forgotten.fetch_max(forgotten.0, Ordering::SeqCst);
        Ok(forgotten)
    }
}

/// Reads an event from its record: the last of a gate, or one in the history of its name.
pub fn event(record: &KeyValue) -> Result<Event, Error> {
    let event = codec::decode_event(txn::revision(record.mod_revision), &record.value)?;
    let name = &event.gate.name;
    if record.key == keys::gate(keys::GATES, name) || keys::history(name).contains(&record.key) {
        return Ok(event);
    }
    Err(corrupt(&record.key, "it holds an event of another gate"))
}

/// Reads from a key of the log which event it is, and its revision.
fn event_id(kv: &KeyValue) -> Result<(Revision, EventId), Error> {
    let id = EventId::parse(&kv.key).ok_or_else(|| corrupt(&kv.key, "it names no event"))?;
    Ok((txn::revision(kv.mod_revision), id))
}

/// Makes the error of an answer that does not fit what was asked.
pub fn unanswered() -> Error {
    Error::Unavailable { problem: "etcd left out a part of its answer".to_owned() }
}
