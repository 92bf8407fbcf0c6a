//! The record of those who wait at one of several coordinators.

use super::{decode, encode, nanos, record, time};
use crate::domain::Waiter;
use crate::store::{Crowd, Error};

/// Encodes who waits: all that fit a record, the longest first.
pub fn encode_crowd(crowd: &Crowd) -> Result<Vec<u8>, Error> {
    let mut waiters: Vec<_> = crowd.waiters.iter().map(waiter_record).collect();
    loop {
        let count = crowd.count.try_into().unwrap_or(u64::MAX);
        match encode(&record::Crowd { waiters: waiters.clone(), count }) {
            Err(Error::TooLarge { .. }) if !waiters.is_empty() => waiters.truncate(waiters.len() / 2),
            encoded => return encoded,
        }
    }
}

/// Decodes who waits. `place` names the record in an error.
pub fn decode_crowd(place: &str, bytes: &[u8]) -> Result<Crowd, Error> {
    let crowd = decode(bytes).map(|record: record::Crowd| Crowd {
        waiters: record.waiters.into_iter().map(waiter).collect(),
        count: record.count.try_into().unwrap_or(usize::MAX),
    });
    crowd.map_err(|problem| Error::Corrupt { place: place.to_owned(), problem })
}

fn waiter_record(waiter: &Waiter) -> record::Waiter {
    let Waiter { id, host, note, since } = waiter;
    record::Waiter { id: id.clone(), host: host.clone(), note: note.clone(), since: nanos(*since) }
}

fn waiter(record: record::Waiter) -> Waiter {
    let record::Waiter { id, host, note, since } = record;
    Waiter { id, host, note, since: time(since) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::at;

    #[test]
    fn a_crowd_is_read_back_as_far_as_it_fits() {
        let waiter = |note: usize| Waiter { id: "w".into(), host: "h".into(), note: "n".repeat(note), since: at(1) };
        let small = Crowd { waiters: vec![waiter(3), waiter(5)], count: 7 };
        assert_eq!(decode_crowd("crowd", &encode_crowd(&small).unwrap()).unwrap(), small);

        let large = Crowd { waiters: vec![waiter(5000); 100], count: 100 };
        let read = decode_crowd("crowd", &encode_crowd(&large).unwrap()).unwrap();
        assert_eq!((read.waiters.len(), read.count), (25, 100));
    }
}
