//! What holds of any bytes that are read as a record.

use gatepost::domain::Revision;
use gatepost::store::Error;
use gatepost::store::codec::{
    RECORD_BYTES_MAX, decode_answer, decode_dead_letter, decode_event, decode_outbox, encode_answer,
    encode_dead_letter, encode_event, encode_outbox,
};

/// Where the record stands in the log.
const REVISION: Revision = Revision(42);

/// They are an event, an answer or about a webhook, or said to be unreadable; what was read reads the same when it is written again.
pub fn any_bytes(bytes: &[u8]) {
    if let Some(event) = readable(decode_event(REVISION, bytes))
        && let Some(written) = writable(encode_event(&event), bytes)
    {
        assert_eq!(decode_event(REVISION, &written).unwrap(), event);
    }
    if let Some(answer) = readable(decode_answer("it", bytes))
        && let Some(written) = writable(encode_answer(&answer.fingerprint, &answer.revisions, answer.time), bytes)
    {
        assert_eq!(decode_answer("it", &written).unwrap(), answer);
    }
    if let Some(outbox) = readable(decode_outbox("it", bytes)) {
        assert_eq!(decode_outbox("it", &encode_outbox(&outbox).unwrap()).unwrap(), outbox);
    }
    if let Some(letter) = readable(decode_dead_letter("it", 7, bytes))
        && let Some(written) = writable(encode_dead_letter(&letter), bytes)
    {
        assert_eq!(decode_dead_letter("it", 7, &written).unwrap(), letter);
    }
}

fn readable<T>(decoded: Result<T, Error>) -> Option<T> {
    match decoded {
        Ok(read) => Some(read),
        Err(Error::Corrupt { problem, .. }) => {
            assert!(!problem.is_empty());
            None
        }
        Err(other) => panic!("neither read nor unreadable: {other}"),
    }
}

/// Only what was too long already is too long to write.
fn writable(encoded: Result<Vec<u8>, Error>, bytes: &[u8]) -> Option<Vec<u8>> {
    match encoded {
        Ok(written) => Some(written),
        Err(Error::TooLarge { .. }) if bytes.len() > RECORD_BYTES_MAX / 2 => None,
        Err(other) => panic!("read, and cannot be written: {other}"),
    }
}
