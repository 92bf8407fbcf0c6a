//! What is kept for webhooks: a record and a dead letter have one part each, so that their keys are known.

use super::batch::Writes;
use super::disk::{Disk, PART_BYTES_MAX, corrupt, show, unreadable};
use super::keys;
use crate::domain::WebhookName;
use crate::store::{DeadLetter, Error, Outbox, OutboxChange, codec};

const _: () = assert!(codec::DEAD_LETTER_BYTES_MAX <= PART_BYTES_MAX);

/// Says what to write for a change.
pub fn writes(webhook: &WebhookName, change: &OutboxChange) -> Result<Writes, Error> {
    let outbox = codec::encode_outbox(&change.outbox)?;
    let mut writes = vec![(keys::outbox(webhook), Some(outbox))];
    writes.extend(change.remove.iter().map(|number| (keys::dead_letter(webhook, *number), None)));
    for letter in &change.put {
        let record = codec::encode_dead_letter(letter)?;
        writes.push((keys::dead_letter(webhook, letter.number), Some(record)));
    }
    Ok(writes)
}

impl Disk {
    /// Reads how far a webhook has come.
    pub fn outbox(&self, webhook: &WebhookName) -> Result<Option<Outbox>, Error> {
        let key = keys::outbox(webhook);
        let record = self.db.get(&key).map_err(|error| unreadable(&key, &error))?;
        record.map(|record| codec::decode_outbox(&show(&key), &record)).transpose()
    }

    /// Names the webhooks for which something was saved.
    pub fn webhooks(&self) -> Result<Vec<WebhookName>, Error> {
        let parse = |(key, _): (sled::IVec, sled::IVec)| {
            keys::parse_outbox(&key).ok_or_else(|| corrupt(&key, "it is no webhook"))
        };
        self.index(keys::outboxes()).map(|entry| entry.and_then(parse)).collect()
    }

    /// Reads the dead letters of a webhook from a number on.
    pub fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut letters = Vec::new();
        for entry in self.index(keys::dead_letters(webhook, from)) {
            if letters.len() == limit {
                break;
            }
            let (key, record) = entry?;
            let number = keys::letter_number(&key).ok_or_else(|| corrupt(&key, "the key is too short"))?;
            match codec::decode_dead_letter(&show(&key), number, &record) {
                Ok(letter) => letters.push(letter),
                // One that cannot be read hides no other.
                Err(error) => tracing::error!("a dead letter of webhook {webhook} is left out: {error}"),
            }
        }
        Ok(letters)
    }
}
