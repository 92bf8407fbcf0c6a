//! Reads a file line by line, and checks each against those before it.

use std::io::{BufRead, Read};

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::line::{self, End, Header, KIND, Line, Place, Raw, VERSION};
use super::{Error, Totals};
use crate::store::codec::RECORD_BYTES_MAX;

/// The longest line: the JSON of a record is some times as long as the record.
const LINE_BYTES_MAX: usize = 32 * RECORD_BYTES_MAX;

/// Reads a file. Once it has returned no line, the file is whole.
pub struct Reader<R> {
    source: R,
    digest: Sha256,
    /// The number of the line that was read last.
    line: u64,
    place: Option<Place>,
    totals: Totals,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    pub fn new(source: R) -> Result<Self, Error> {
        let digest = Sha256::new();
        let mut reader = Self { source, digest, line: 0, place: None, totals: Totals::default() };
        let bytes = reader.next_bytes()?;
        let header: Header = reader.parse(&bytes).map_err(|_| reader.wrong("it is no export of gatepost"))?;
        if header.gatepost != KIND {
            return Err(reader.wrong("it is no export of gatepost"));
        }
        if header.version != VERSION {
            let version = header.version;
            return Err(reader.wrong(format!("it is of version {version}, and this gatepost reads version {VERSION}")));
        }
        reader.digest.update(&bytes);
        Ok(reader)
    }

    /// Says how much was read.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Reads the next line; none at the end of a file that is whole.
    pub fn next_line(&mut self) -> Result<Option<Line>, Error> {
        let bytes = self.next_bytes()?;
        let raw: Raw = self.parse(&bytes)?;
        let line = match Line::read(raw).map_err(|problem| self.wrong(problem))? {
            Ok(line) => line,
            Err(end) => return self.end(&end).map(|()| None),
        };
        self.digest.update(&bytes);
        self.follow(line.place())?;
        *match line {
            Line::Event(..) => &mut self.totals.events,
            Line::Answer(..) => &mut self.totals.answers,
            Line::Webhook(..) => &mut self.totals.webhooks,
            Line::DeadLetter(..) => &mut self.totals.dead_letters,
        } += 1;
        Ok(Some(line))
    }

    /// Goes on to a place, which has to be behind the one before.
    fn follow(&mut self, place: Place) -> Result<(), Error> {
        if self.place.as_ref().is_some_and(|before| *before >= place) {
            return Err(self.wrong("it is out of order: what is in a file stands in the order of its keys"));
        }
        if let Place::Webhook(name, Some(_)) = &place
            && !matches!(&self.place, Some(Place::Webhook(before, _)) if before == name)
        {
            return Err(self.wrong(format!("it is a dead letter of {name}, whose own line is not before it")));
        }
        self.place = Some(place);
        Ok(())
    }

    fn end(&mut self, end: &End) -> Result<(), Error> {
        if end.totals != self.totals {
            return Err(self.wrong(format!("it says {}, and before it are {}", end.totals, self.totals)));
        }
        if end.sha256 != line::sha256_text(&self.digest) {
            return Err(self.wrong("its digest is not that of the lines before it: the file has been changed"));
        }
        if !self.source.fill_buf()?.is_empty() {
            return Err(self.wrong("something follows the end"));
        }
        Ok(())
    }

    fn next_bytes(&mut self) -> Result<Vec<u8>, Error> {
        self.line += 1;
        let mut bytes = Vec::new();
        let read = self.source.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut bytes)?;
        match bytes.last() {
            Some(b'\n') => Ok(bytes),
            None if self.line == 1 => Err(self.wrong("the file is empty")),
            None => Err(self.wrong("the file breaks off before its end: it is not whole")),
            Some(_) if read == LINE_BYTES_MAX => Err(self.wrong(format!("it is longer than {LINE_BYTES_MAX} bytes"))),
            Some(_) => Err(self.wrong("the file breaks off in it: it is not whole")),
        }
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|error| self.wrong(error.to_string()))
    }

    fn wrong(&self, problem: impl Into<String>) -> Error {
        Error::Line { line: self.line, problem: problem.into() }
    }
}
