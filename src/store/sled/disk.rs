//! Records on disk: what is read, and how a record is cut into parts.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;

use super::keys;
use crate::domain::{Event, Revision};
use crate::store::{Answer, Counts, Error, RequestKey, codec};

/// The longest part of a record.
///
/// sled 0.34.7 writes a leaf as one message, and a message above 128 KiB to a file of its own that it never syncs. A
/// leaf holds up to 16 items before it splits, and some more after a merge: at most about 90 KiB with parts of 4 KiB.
pub const PART_BYTES_MAX: usize = 4 * 1024;

/// Marks the number of a record's last part, so that a record that has lost its end is told from a whole one. Numbers
/// stay below it: a record has at most 32 parts.
const LAST_PART: u8 = 0x80;

const _: () = assert!(codec::RECORD_BYTES_MAX.div_ceil(PART_BYTES_MAX) <= LAST_PART as usize);

/// An open sled, and the right to use its directory.
pub struct Disk {
    /// Where they are.
    pub db: sled::Db,
    /// Held, and given up last: sled has closed its files by then.
    pub _lock: File,
    /// Called between the write of a batch and its flush, so that a test can look at what is not durable yet.
    #[cfg(test)]
    pub before_flush: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Disk {
    /// Calls what a test has set, once.
    #[cfg(test)]
    pub fn call_before_flush(&self) {
        let call = self.before_flush.lock().unwrap().take();
        if let Some(call) = call {
            call();
        }
    }

    /// Reads the revision that an index points to.
    pub fn pointer(&self, key: &[u8]) -> Result<Option<Revision>, Error> {
        let value = self.db.get(key).map_err(|error| unreadable(key, &error))?;
        value.map(|value| parse_pointer(key, &value)).transpose()
    }

    /// Reads the event at a revision.
    pub fn event(&self, revision: Revision) -> Result<Option<Event>, Error> {
        let record = self.record(&keys::event(revision))?;
        record.map(|record| codec::decode_event(revision, &record)).transpose()
    }

    /// Reads the event that an index points to.
    pub fn pointed_event(&self, key: &[u8]) -> Result<Option<Event>, Error> {
        let mut pointer = self.pointer(key)?;
        while let Some(revision) = pointer {
            if let Some(event) = self.event(revision)? {
                return Ok(Some(event));
            }
            // It may have been forgotten since the index was read: the index has moved on then.
            let again = self.pointer(key)?;
            if again == pointer {
                return Err(corrupt(&keys::event(revision), "the index points to it, and it is missing"));
            }
            pointer = again;
        }
        Ok(None)
    }

    /// Reads the log after a revision and up to another.
    pub fn events(&self, after: Revision, until: Revision) -> impl Iterator<Item = Result<Event, Error>> + use<> {
        let mut parts = self.db.range(keys::events(after, until));
        std::iter::from_fn(move || next_record(&mut parts).transpose()).map(|record| {
            let Record { key, bytes } = record?;
            let revision = keys::last_revision(&key).ok_or_else(|| corrupt(&key, "the key is too short"))?;
            codec::decode_event(revision, &bytes)
        })
    }

    /// Reads how many gates have each status, if that was written.
    pub fn counts(&self) -> Result<Option<Counts>, Error> {
        let record = self.db.get(keys::COUNTS).map_err(|error| unreadable(keys::COUNTS, &error))?;
        Ok(record.and_then(|record| Counts::from_bytes(&record)))
    }

    /// Counts the gates by reading them all. One that cannot be read has no status.
    pub fn count(&self) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        for entry in self.index(vec![keys::GATES]..vec![keys::GATES + 1]) {
            match self.pointed_event(&entry?.0) {
                Ok(event) => counts.moved(None, event.map(|event| event.gate.status)),
                Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(counts)
    }

    /// Reads how a request was answered.
    pub fn answer(&self, request: &RequestKey) -> Result<Option<Answer>, Error> {
        let record = self.record(&keys::request(request))?;
        record.map(|record| decode_answer(request, &record)).transpose()
    }

    /// Reads how requests were answered, in the order of their keys, behind a key.
    pub fn answers(
        &self,
        after: Option<&RequestKey>,
    ) -> impl Iterator<Item = Result<(RequestKey, Answer), Error>> + use<> {
        let mut parts = self.db.range(keys::requests(after));
        std::iter::from_fn(move || next_record(&mut parts).transpose()).map(|record| {
            let Record { key, bytes } = record?;
            let request = keys::parse_request(&key).ok_or_else(|| corrupt(&key, "it is no request"))?;
            Ok((request, decode_answer(&request, &bytes)?))
        })
    }

    /// Says whether a request was answered.
    pub fn is_answered(&self, request: &RequestKey) -> Result<bool, Error> {
        let key = keys::request(request);
        Ok(self.part(&key, LAST_PART)?.is_some() || self.part(&key, 0)?.is_some())
    }

    /// Reads a record. Most have one part: it is looked up, which costs half of what a scan does.
    fn record(&self, key: &[u8]) -> Result<Option<sled::IVec>, Error> {
        if let Some(only) = self.part(key, LAST_PART)? {
            return Ok(Some(only));
        }
        Ok(next_record(&mut self.db.scan_prefix(key))?.map(|record| record.bytes.into()))
    }

    fn part(&self, key: &[u8], number: u8) -> Result<Option<sled::IVec>, Error> {
        self.db.get([key, &[number]].concat()).map_err(|error| unreadable(key, &error))
    }

    /// Reads the keys and values of an index, in order.
    pub fn index(
        &self,
        range: Range<Vec<u8>>,
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), Error>> + use<> {
        let start = range.start.clone();
        self.db.range(range).map(move |entry| entry.map_err(|error| unreadable(&start, &error)))
    }

    /// Reads the keys and values under a prefix, in order.
    pub fn with_prefix(&self, prefix: &[u8]) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), Error>> + use<> {
        let place = prefix.to_vec();
        self.db.scan_prefix(prefix).map(move |entry| entry.map_err(|error| unreadable(&place, &error)))
    }
}

fn decode_answer(request: &RequestKey, record: &[u8]) -> Result<Answer, Error> {
    codec::decode_answer(&format!("the answer of request {request}"), record)
}

/// Adds a record, in parts, to what is to be written.
pub fn put_record(batch: &mut sled::Batch, key: &[u8], record: &[u8]) {
    let last = record.len().saturating_sub(1) / PART_BYTES_MAX;
    for (number, part) in (0_u8..).zip(record.chunks(PART_BYTES_MAX)) {
        let mark = if usize::from(number) == last { LAST_PART } else { 0 };
        batch.insert([key, &[number | mark]].concat(), part);
    }
}

/// Reads what an index points to from its value.
pub fn parse_pointer(key: &[u8], value: &[u8]) -> Result<Revision, Error> {
    let bytes = value.try_into().map_err(|_| corrupt(key, "it is no revision"))?;
    Ok(Revision(u64::from_be_bytes(bytes)))
}

/// Makes the error of a record that makes no sense.
pub fn corrupt(key: &[u8], problem: &str) -> Error {
    Error::Corrupt { place: show(key), problem: problem.to_owned() }
}

#[derive(Default)]
struct Record {
    /// What all its parts are stored under.
    key: Vec<u8>,
    bytes: Vec<u8>,
}

/// Joins the parts of the next record.
fn next_record(parts: &mut sled::Iter) -> Result<Option<Record>, Error> {
    let mut record: Option<Record> = None;
    for expected in 0..LAST_PART {
        let part = parts.next().transpose().map_err(|error| unreadable(b"", &error))?;
        let Some((part_key, bytes)) = part else {
            return record.map_or(Ok(None), |record| Err(corrupt(&record.key, "its end is missing")));
        };
        let Some((number, key)) = part_key.split_last() else {
            return Err(corrupt(&part_key, "the key is too short"));
        };
        let joined = record.get_or_insert_with(|| Record { key: key.to_vec(), bytes: Vec::new() });
        joined.bytes.extend_from_slice(&bytes);
        if joined.key != key || number & !LAST_PART != expected {
            return Err(corrupt(&joined.key, "a part of it is missing"));
        }
        if number & LAST_PART != 0 {
            return Ok(record);
        }
    }
    Err(corrupt(&record.unwrap_or_default().key, "it has too many parts"))
}

pub fn unreadable(key: &[u8], error: &sled::Error) -> Error {
    match error {
        // Once a write has failed, sled answers reads with that error too: the record may be whole.
        sled::Error::Io(error) if error.kind() != ErrorKind::UnexpectedEof => Error::Failed(error.to_string().into()),
        error => corrupt(key, &error.to_string()),
    }
}

pub fn show(key: &[u8]) -> String {
    format!("the record \"{}\"", key.escape_ascii())
}
