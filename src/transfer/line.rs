//! One line of the file: as it is written, and what it means.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Totals;
use crate::domain::{Event, Revision, WebhookName};
use crate::store::codec::{self, json};
use crate::store::{Answer, DeadLetter, Outbox, RequestKey};

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// What the first line says the file is.
pub const KIND: &str = "export";

/// The first line.
#[derive(Serialize, Deserialize)]
pub struct Header {
    /// What it is: [`KIND`].
    pub gatepost: String,
    /// The format of what follows.
    pub version: u32,
    /// The store that it came from.
    pub store_id: String,
    /// When.
    pub time: String,
}

/// The last line.
#[derive(Serialize, Deserialize)]
pub struct End {
    /// How much there is.
    #[serde(flatten)]
    pub totals: Totals,
    /// The SHA-256 of all bytes before this line, in hexadecimal digits.
    pub sha256: String,
}

/// Every other line as it is written: what a record is stored under, and the record. 64-bit numbers are strings.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Raw {
    /// What happened.
    Event { revision: String, record: Value },
    /// A request that was answered.
    Answer { request: String, record: Value },
    /// How far a webhook has come.
    Webhook { name: String, record: Value },
    /// A message that it gave up.
    DeadLetter { webhook: String, number: String, record: Value },
    /// The last line.
    End(End),
}

/// Something that was kept in a store, with the store's own revisions.
#[derive(Debug)]
pub enum Line {
    /// An event, not stamped. The revision of its resolution is 0 where it is the event's own.
    Event(Revision, Arc<Event>),
    /// A request that was answered.
    Answer(RequestKey, Answer),
    /// How far a webhook has come.
    Webhook(WebhookName, Outbox),
    /// A message that the webhook of the lines before gave up.
    DeadLetter(WebhookName, DeadLetter),
}

/// Where a line stands: each is behind the one before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Events come first, oldest first.
    Event(Revision),
    /// Then answers, in the order of their keys.
    Answer(RequestKey),
    /// Then webhooks, in the order of their names, each with its dead letters in the order of their numbers.
    Webhook(WebhookName, Option<u64>),
}

impl Line {
    /// Says where it stands.
    pub fn place(&self) -> Place {
        match self {
            Self::Event(revision, _) => Place::Event(*revision),
            Self::Answer(key, _) => Place::Answer(*key),
            Self::Webhook(name, _) => Place::Webhook(name.clone(), None),
            Self::DeadLetter(name, letter) => Place::Webhook(name.clone(), Some(letter.number)),
        }
    }

    /// Spells it out.
    pub fn write(&self) -> Result<Raw, String> {
        Ok(match self {
            Self::Event(revision, event) => {
                Raw::Event { revision: revision.to_string(), record: json::write_event(event)? }
            }
            Self::Answer(key, answer) => Raw::Answer { request: key.to_string(), record: json::write_answer(answer)? },
            Self::Webhook(name, outbox) => Raw::Webhook { name: name.to_string(), record: json::write_outbox(outbox)? },
            Self::DeadLetter(name, letter) => Raw::DeadLetter {
                webhook: name.to_string(),
                number: letter.number.to_string(),
                record: json::write_dead_letter(letter)?,
            },
        })
    }

    /// Reads what is spelled out; the end, if it is that.
    pub fn read(raw: Raw) -> Result<Result<Self, End>, String> {
        Ok(Ok(match raw {
            Raw::Event { revision, record } => {
                let event = json::read_event(record)?;
                codec::encode_event(&event).map_err(|error| error.to_string())?;
                Self::Event(Revision(number("revision", &revision)?), Arc::new(event))
            }
            Raw::Answer { request, record } => Self::Answer(request.parse()?, json::read_answer(record)?),
            Raw::Webhook { name, record } => Self::Webhook(webhook(&name)?, json::read_outbox(record)?),
            Raw::DeadLetter { webhook: name, number: text, record } => {
                let letter = json::read_dead_letter(number("number", &text)?, record)?;
                Self::DeadLetter(webhook(&name)?, letter)
            }
            Raw::End(end) => return Ok(Err(end)),
        }))
    }
}

/// Writes the digest of what came so far, in hexadecimal digits.
pub fn sha256_text(digest: &Sha256) -> String {
    digest.clone().finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn number<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("its {what} is {text:?}: {error}"))
}

fn webhook(text: &str) -> Result<WebhookName, String> {
    WebhookName::parse("webhook", text).map_err(|invalid| invalid.to_string())
}
