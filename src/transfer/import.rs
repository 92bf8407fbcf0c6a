//! Fills a store with what a file holds.

use std::fmt;
use std::fs;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;

use super::line::Line;
use super::moved::Moved;
use super::reader::Reader;
use super::verify::verify;
use super::{Error, Totals};
use crate::domain::{Prefix, Revision};
use crate::store::{Change, Counts, HistoryQuery, HistoryScope, ListQuery, OutboxChange, Request, Store};

/// A file that was found to be a whole export.
#[derive(Debug)]
pub struct File {
    file: fs::File,
    totals: Totals,
}

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// What the file held.
    pub totals: Totals,
    /// The gates by status.
    pub gates: Counts,
    /// Answers that were left out, because an event of theirs was forgotten before the export.
    pub left_out: u64,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gates = self.gates.iter().map(|(_, gates)| gates).sum::<u64>();
        let some = self.gates.iter().filter(|(_, gates)| *gates > 0);
        let by_status: Vec<_> = some.map(|(status, gates)| format!("{gates} {status}")).collect();
        write!(f, "{}, {gates} gates", self.totals)?;
        if !by_status.is_empty() {
            write!(f, " ({})", by_status.join(", "))?;
        }
        match self.left_out {
            0 => Ok(()),
            left_out => write!(f, "; {left_out} answers were left out, because what answers them was forgotten"),
        }
    }
}

impl File {
    /// Reads a whole file, and checks it.
    ///
    /// # Errors
    ///
    /// [`Error::Line`] with what is wrong, and where.
    pub fn check(path: &Path) -> Result<Self, Error> {
        let mut checked = Self { file: fs::File::open(path)?, totals: Totals::default() };
        let mut reader = checked.read()?;
        while reader.next_line()?.is_some() {}
        checked.totals = reader.totals();
        Ok(checked)
    }

    /// Fills an empty store, and compares all that it holds then with the file.
    ///
    /// Remembers 16 bytes for each event, and the name of each gate.
    ///
    /// # Errors
    ///
    /// [`Error::NotEmpty`] if there is something in the store, which is left as it was. After any other error, the store
    /// holds a part of the file and is not opened again.
    pub async fn import(&self, store: &dyn Store) -> Result<Imported, Error> {
        empty(store).await?;
        if let Err(error) = store.begin_import().await {
            // If somebody has filled it meanwhile, that is why.
            empty(store).await?;
            return Err(error.into());
        }
        let mut moved = Moved::new(store.latest().await?);
        let mut left_out = 0;
        let mut reader = self.read()?;
        while let Some(line) = reader.next_line()? {
            left_out += u64::from(!put(store, &mut moved, line).await?);
        }
        let gates = verify(store, &moved, self.read()?).await?;
        store.end_import().await?;
        Ok(Imported { totals: self.totals, gates, left_out })
    }

    /// Reads it again: the one file that was checked, whatever has its name now.
    fn read(&self) -> Result<Reader<BufReader<&fs::File>>, Error> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        Reader::new(BufReader::new(file))
    }
}

/// Refuses a store that holds something.
async fn empty(store: &dyn Store) -> Result<(), Error> {
    let gates = ListQuery { prefix: Prefix::default(), unresolved: false, after: None, limit: 1 };
    let events = HistoryQuery { scope: HistoryScope::Group(Prefix::default()), after: Revision::ZERO, limit: 1 };
    for (what, is_empty) in [
        ("gates", store.list(gates).await?.gates.is_empty()),
        ("a history", store.history(events).await?.events.is_empty()),
        ("answered requests", store.answers(None, 1).await?.is_empty()),
        ("webhooks", store.webhooks().await?.is_empty()),
    ] {
        if !is_empty {
            return Err(Error::NotEmpty { what });
        }
    }
    Ok(())
}

/// Writes a line to the store, unless it answers with what was forgotten.
async fn put(store: &dyn Store, moved: &mut Moved, line: Line) -> Result<bool, Error> {
    match line {
        Line::Event(there, event) => {
            let before = store.get(&event.gate.name).await?;
            let change = Change { before, event: moved.event(event), request: None };
            moved.push(there, store.commit(change).await?.revision());
        }
        Line::Answer(key, answer) => {
            let Some(answer) = moved.answer(&answer) else { return Ok(false) };
            let request = Request { key, fingerprint: answer.fingerprint, time: answer.time };
            store.remember(request, answer.revisions).await?;
        }
        Line::Webhook(name, outbox) => {
            let change = OutboxChange { outbox: moved.outbox(&outbox), put: Vec::new(), remove: Vec::new() };
            store.save_outbox(&name, change).await?;
        }
        Line::DeadLetter(name, letter) => {
            let outbox = store.outbox(&name).await?;
            let outbox = outbox.ok_or_else(|| Error::Differs { what: format!("webhook {name}") })?;
            let change = OutboxChange { outbox, put: vec![moved.letter(letter)], remove: Vec::new() };
            store.save_outbox(&name, change).await?;
        }
    }
    Ok(true)
}
