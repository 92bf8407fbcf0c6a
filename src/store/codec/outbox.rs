//! The records about webhooks.

use super::{Parsed, decode, encode, nanos, record, time, unknown};
use crate::domain::{GateName, Revision, Round};
use crate::store::{DeadLetter, Error, Outbox, Topic};

/// Encodes how far a webhook has come.
pub fn encode_outbox(outbox: &Outbox) -> Result<Vec<u8>, Error> {
    let Outbox { place, warned, next_letter } = outbox;
    encode(&record::Outbox { place: place.0, warned: nanos(*warned), next_letter: *next_letter })
}

/// Decodes how far a webhook has come. `place` names the record in an error.
pub fn decode_outbox(place: &str, bytes: &[u8]) -> Result<Outbox, Error> {
    let outbox = decode(bytes).map(|record: record::Outbox| Outbox {
        place: Revision(record.place),
        warned: time(record.warned),
        next_letter: record.next_letter,
    });
    outbox.map_err(|problem| Error::Corrupt { place: place.to_owned(), problem })
}

/// Encodes a dead letter, but for its number: that is its key.
pub fn encode_dead_letter(letter: &DeadLetter) -> Result<Vec<u8>, Error> {
    encode(&record::DeadLetter {
        message_id: letter.message_id.clone(),
        topic: match letter.topic {
            Topic::Waiting => record::Topic::Waiting,
            Topic::Expiring => record::Topic::Expiring,
            Topic::Resolved => record::Topic::Resolved,
        }
        .into(),
        gate: letter.gate.as_str().to_owned(),
        round: letter.round.get(),
        revision: letter.revision.0,
        attempts: letter.attempts,
        problem: letter.problem.clone(),
        time: nanos(letter.time),
    })
}

/// Decodes the dead letter of a number. `place` names the record in an error.
pub fn decode_dead_letter(place: &str, number: u64, bytes: &[u8]) -> Result<DeadLetter, Error> {
    let letter = decode(bytes).and_then(|record| dead_letter(number, record));
    letter.map_err(|problem| Error::Corrupt { place: place.to_owned(), problem })
}

fn dead_letter(number: u64, record: record::DeadLetter) -> Parsed<DeadLetter> {
    Ok(DeadLetter {
        number,
        message_id: record.message_id,
        topic: match record::Topic::try_from(record.topic) {
            Ok(record::Topic::Waiting) => Topic::Waiting,
            Ok(record::Topic::Expiring) => Topic::Expiring,
            Ok(record::Topic::Resolved) => Topic::Resolved,
            Ok(record::Topic::Unspecified) | Err(_) => return Err(unknown("topic", record.topic)),
        },
        gate: GateName::parse("gate", &record.gate).map_err(|invalid| invalid.to_string())?,
        round: Round::new(record.round).ok_or("it has no round")?,
        revision: Revision(record.revision),
        attempts: record.attempts,
        problem: record.problem,
        time: time(record.time),
    })
}
