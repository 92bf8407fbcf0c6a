//! Moves gates, their history, answered requests and webhooks' places from one store to another, through a file.
//!
//! The file is JSON lines: a header, each kept event, each answer, each webhook with its dead letters, and an end that counts
//! them and holds a digest of all before it. Neither way has more than a line in memory, but for what an import remembers of
//! revisions and names (see [`File::import`]).

mod export;
mod import;
mod line;
mod moved;
mod reader;
mod verify;

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::store;

pub use export::export;
pub use import::{File, Imported};

/// How many answers or gates are read at a time.
const PAGE: usize = 64;

/// How much a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Events.
    pub events: u64,
    /// Answered requests.
    pub answers: u64,
    /// Webhooks that have come somewhere.
    pub webhooks: u64,
    /// Messages that they gave up.
    pub dead_letters: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, answers, webhooks, dead_letters } = self;
        write!(f, "{events} events, {answers} answered requests, {webhooks} webhooks, {dead_letters} dead letters")
    }
}

/// Why gates were not moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store did not do it.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The file is no whole export. Nothing was written.
    #[error("line {line}: {problem}")]
    Line {
        /// Where, from 1 on.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// What is to be exported has no JSON, which a build cannot produce.
    #[error("{what} cannot be written: {problem}")]
    Unwritable {
        /// What it is.
        what: String,
        /// Why.
        problem: String,
    },
    /// Some of it may have gone before it was read.
    #[error("gates changed while the store was read, and what they were may have gone: stop its coordinators first")]
    Changed,
    /// Gates that are there already would be mixed with others. Nothing was written.
    #[error("the store to import into has {what}: import into an empty one")]
    NotEmpty {
        /// What it has.
        what: &'static str,
    },
    /// The store does not hold what the file says. It is not to be served.
    #[error("{what} is not in the store as the file has it: the import failed")]
    Differs {
        /// What differs.
        what: String,
    },
}
