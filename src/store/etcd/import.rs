//! Imports: from its mark on, nobody else writes to the store, and nobody else leads.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::api::KeyValue;
use super::txn::{self, Txn};
use super::{Shared, keys};
use crate::domain::Revision;
use crate::store::Error;

/// How long an import waits to be the only one: longer than the lease of a coordinator that has ended.
const ELECTED_WITHIN: Duration = Duration::from_secs(15);

/// What a mark says.
pub const UNDER_WAY: &str = "an import into it is under way, or was broken off";

impl Shared {
    /// Begins an import, if none is under way and no coordinator serves the store: [`Error::Conflict`] if it is not empty.
    pub async fn begin_import(&self) -> Result<(), Error> {
        self.refuse_import(&self.client.range(txn::get(keys::IMPORT.to_vec())).await?.0)?;
        if timeout(ELECTED_WITHIN, self.session.elected()).await.is_err() {
            let problem = "a coordinator serves it: stop all of them, then import".to_owned();
            return Err(Error::Unavailable { problem });
        }
        let own = self.session.peer.to_be_bytes().to_vec();
        let txn = self.unless_imported().and(self.as_leader()?).put(keys::IMPORT.to_vec(), own.clone());
        let empty = [keys::all_gates(), keys::histories(), keys::requests(None), keys::outboxes()];
        let txn = empty.into_iter().fold(txn, Txn::if_none).or_read(txn::get(keys::LEADER.to_vec()));
        let outcome = self.client.txn(txn).await?;
        let is_filled = self.leads(&outcome);
        let mark = outcome.ranges.into_iter().next().unwrap_or_default();
        let since = match mark.first().filter(|kv| kv.value == own) {
            // An attempt before this one has arrived, and only its answer was lost.
            Some(kv) => txn::revision(kv.create_revision),
            None if outcome.succeeded => outcome.revision,
            // Somebody has filled it before this import was the only one at it.
            None if mark.is_empty() && is_filled => return Err(Error::Conflict),
            None => return self.refuse_import(&mark).and(Err(Error::Deposed)),
        };
        self.import.store(since.0, Ordering::SeqCst);
        Ok(())
    }

    /// Ends the import that was begun here.
    pub async fn end_import(&self) -> Result<(), Error> {
        let outcome = self.client.txn(self.unless_imported().delete(keys::IMPORT.to_vec())).await?;
        // Where there is none, an attempt before this one has arrived.
        if let Some(mark) = outcome.ranges.first().filter(|mark| !outcome.succeeded && !mark.is_empty()) {
            return self.refuse_import(mark);
        }
        self.import.store(Revision::ZERO.0, Ordering::SeqCst);
        Ok(())
    }

    /// Begins a transaction that holds only while nobody else imports. Otherwise it reads the mark first, which is for
    /// [`Self::refuse_import`].
    pub fn unless_imported(&self) -> Txn {
        let mark = keys::IMPORT.to_vec();
        Txn::default().if_created_at(mark.clone(), self.imports_since()).or_read(txn::get(mark))
    }

    /// Refuses to write if a mark that was read is that of another.
    pub fn refuse_import(&self, mark: &[KeyValue]) -> Result<(), Error> {
        let since = mark.first().map_or(Revision::ZERO, |kv| txn::revision(kv.create_revision));
        if since == self.imports_since() {
            return Ok(());
        }
        let problem = match mark {
            [] => "the mark of this import is gone",
            _ => UNDER_WAY,
        };
        Err(Error::Unavailable { problem: problem.to_owned() })
    }

    /// Returns since which revision an import is under way here; zero: there is none.
    pub fn imports_since(&self) -> Revision {
        Revision(self.import.load(Ordering::SeqCst))
    }
}
