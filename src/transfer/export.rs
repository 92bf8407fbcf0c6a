//! Writes what a store holds.

use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::line::{self, End, Header, KIND, Line, Raw, VERSION};
use super::{Error, PAGE, Totals};
use crate::domain::{Prefix, Revision};
use crate::store::{HistoryQuery, HistoryScope, Outbox, Store};

/// Writes what the store holds now, and says how much that is. What happens to gates meanwhile is not in it.
///
/// Blocks while it writes: for a command that does nothing else.
///
/// # Errors
///
/// [`Error::Changed`] if something that belongs to it may have been forgotten meanwhile.
pub async fn export(store: &dyn Store, now: SystemTime, out: impl Write) -> Result<Totals, Error> {
    let (latest, oldest, last) = (store.latest().await?, store.oldest(), last(store).await?);
    let mut writer = Writer { out, digest: Sha256::new(), totals: Totals::default() };
    let time = Timestamp::try_from(now).unwrap_or_default().to_string();
    writer.write(&Header { gatepost: KIND.into(), version: VERSION, store_id: store.id().into(), time })?;

    writer.events(store, latest).await?;
    // What is below `oldest` is kept only for as long as it is the state of a gate.
    let kept_some_alone = oldest > Revision(1);
    if store.oldest() != oldest || kept_some_alone && self::last(store).await? != last {
        return Err(Error::Changed);
    }
    writer.answers(store, latest).await?;
    writer.webhooks(store, latest).await?;
    writer.end()
}

/// Returns the revision of the last event: that of a store may grow without any.
async fn last(store: &dyn Store) -> Result<Option<Revision>, Error> {
    Ok(store.last_event().await?.map(|event| event.revision()))
}

/// Writes lines, and counts and digests them.
struct Writer<W> {
    out: W,
    digest: Sha256,
    totals: Totals,
}

impl<W: Write> Writer<W> {
    async fn events(&mut self, store: &dyn Store, latest: Revision) -> Result<(), Error> {
        let mut after = Some(Revision::ZERO);
        while let Some(place) = after {
            let query = HistoryQuery { scope: HistoryScope::Group(Prefix::default()), after: place, limit: PAGE };
            let page = store.history(query).await?;
            for event in page.events.iter().take_while(|event| event.revision() <= latest) {
                self.line(&Line::Event(event.revision(), Arc::clone(event)))?;
                self.totals.events += 1;
            }
            after = page.next.filter(|next| *next < latest);
        }
        Ok(())
    }

    async fn answers(&mut self, store: &dyn Store, latest: Revision) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = store.answers(after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (key, answer) in page {
                if answer.revisions.iter().all(|revision| *revision <= latest) {
                    self.line(&Line::Answer(key, answer))?;
                    self.totals.answers += 1;
                }
            }
        }
    }

    async fn webhooks(&mut self, store: &dyn Store, latest: Revision) -> Result<(), Error> {
        for name in store.webhooks().await? {
            let Some(outbox) = store.outbox(&name).await? else { continue };
            let outbox = Outbox { place: outbox.place.min(latest), ..outbox };
            let mut from = Some(0);
            self.line(&Line::Webhook(name.clone(), outbox))?;
            self.totals.webhooks += 1;
            while let Some(number) = from {
                let letters = store.dead_letters(&name, number, PAGE).await?;
                from = letters.last().and_then(|last| last.number.checked_add(1));
                for letter in letters.into_iter().filter(|letter| letter.revision <= latest) {
                    self.line(&Line::DeadLetter(name.clone(), letter))?;
                    self.totals.dead_letters += 1;
                }
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<Totals, Error> {
        let sha256 = line::sha256_text(&self.digest);
        self.write(&Raw::End(End { totals: self.totals, sha256 }))?;
        self.out.flush()?;
        Ok(self.totals)
    }

    fn line(&mut self, line: &Line) -> Result<(), Error> {
        let raw = line.write().map_err(|problem| Error::Unwritable { what: format!("{:?}", line.place()), problem })?;
        self.write(&raw)
    }

    fn write(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let mut bytes = serde_json::to_vec(value).map_err(std::io::Error::from)?;
        bytes.push(b'\n');
        self.digest.update(&bytes);
        self.out.write_all(&bytes)?;
        Ok(())
    }
}
