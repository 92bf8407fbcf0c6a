//! The records about webhooks.

use super::{Parsed, decode, encode, nanos, record, time, unknown};
use crate::domain::{GateName, Revision, Round};
use crate::store::{DeadLetter, Error, Outbox, Topic};

/// Encodes how far a webhook has come.
pub fn encode_outbox(outbox: &Outbox) -> Result<Vec<u8>, Error> {
    encode(&outbox_record(outbox))
}

pub(super) fn outbox_record(outbox: &Outbox) -> record::Outbox {
    let Outbox { place, warned, next_letter } = outbox;
    record::Outbox { place: place.0, warned: nanos(*warned), next_letter: *next_letter }
}

/// Decodes how far a webhook has come. `place` names the record in an error.
pub fn decode_outbox(place: &str, bytes: &[u8]) -> Result<Outbox, Error> {
    decode(bytes).map(outbox).map_err(|problem| Error::Corrupt { place: place.to_owned(), problem })
}

#[allow(clippy::needless_pass_by_value, reason = "as every record is read")]
pub(super) fn outbox(record: record::Outbox) -> Outbox {
    Outbox { place: Revision(record.place), warned: time(record.warned), next_letter: record.next_letter }
}

/// The longest record of a dead letter. None is cut into parts, so that its key is known.
pub const DEAD_LETTER_BYTES_MAX: usize = 4 * 1024;

/// Encodes a dead letter, but for its number: that is its key.
pub fn encode_dead_letter(letter: &DeadLetter) -> Result<Vec<u8>, Error> {
    let record = encode(&dead_letter_record(letter))?;
    if record.len() > DEAD_LETTER_BYTES_MAX {
        return Err(Error::TooLarge { bytes: record.len(), bytes_max: DEAD_LETTER_BYTES_MAX });
    }
    Ok(record)
}

pub(super) fn dead_letter_record(letter: &DeadLetter) -> record::DeadLetter {
    record::DeadLetter {
        message_id: letter.message_id.clone(),
        topic: match letter.topic {
            Topic::Waiting => record::Topic::Waiting,
            Topic::Expiring => record::Topic::Expiring,
            Topic::Resolved => record::Topic::Resolved,
            Topic::BreakGlass => record::Topic::BreakGlass,
        }
        .into(),
        gate: letter.gate.as_str().to_owned(),
        round: letter.round.get(),
        revision: letter.revision.0,
        attempts: letter.attempts,
        problem: letter.problem.clone(),
        time: nanos(letter.time),
    }
}

/// Decodes the dead letter of a number. `place` names the record in an error.
pub fn decode_dead_letter(place: &str, number: u64, bytes: &[u8]) -> Result<DeadLetter, Error> {
    let letter = decode(bytes).and_then(|record| dead_letter(number, record));
    letter.map_err(|problem| Error::Corrupt { place: place.to_owned(), problem })
}

pub(super) fn dead_letter(number: u64, record: record::DeadLetter) -> Parsed<DeadLetter> {
    Ok(DeadLetter {
        number,
        message_id: record.message_id,
        topic: match record::Topic::try_from(record.topic) {
            Ok(record::Topic::Waiting) => Topic::Waiting,
            Ok(record::Topic::Expiring) => Topic::Expiring,
            Ok(record::Topic::Resolved) => Topic::Resolved,
            Ok(record::Topic::BreakGlass) => Topic::BreakGlass,
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
