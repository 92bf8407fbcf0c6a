//! What holds of any bytes that are read as a record.

use gatepost::domain::Revision;
use gatepost::store::Error;
use gatepost::store::codec::{RECORD_BYTES_MAX, decode_answer, decode_event, encode_answer, encode_event};
use std::time::SystemTime;

/// Where the record stands in the log.
const REVISION: Revision = Revision(42);

/// They are an event or an answer, or said to be unreadable; what was read reads the same when it is written again.
pub fn any_bytes(bytes: &[u8]) {
    if let Some(event) = readable(decode_event(REVISION, bytes))
        && let Some(written) = writable(encode_event(&event), bytes)
    {
        assert_eq!(decode_event(REVISION, &written).unwrap(), event);
    }
    if let Some(answer) = readable(decode_answer("it", bytes))
        && let Some(written) = writable(encode_answer(&answer.fingerprint, &answer.revisions, SystemTime::now()), bytes)
    {
        assert_eq!(decode_answer("it", &written).unwrap(), answer);
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
