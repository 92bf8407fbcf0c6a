//! How many gates have each status, as a running count: nobody has to read them all to know.

use crate::domain::Status;

/// Counts gates by status, in the order of [`Status::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Status::ALL.len()]);

impl Counts {
    /// Returns each status, and how many gates have it.
    pub fn iter(self) -> impl Iterator<Item = (Status, u64)> {
        Status::ALL.into_iter().zip(self.0)
    }

    /// Counts a gate that had one status and has another; none where it was not, or is no more.
    pub fn moved(&mut self, before: Option<Status>, after: Option<Status>) {
        for (status, count) in Status::ALL.into_iter().zip(&mut self.0) {
            // A gate that had never been counted is no reason to end.
            *count = (*count + u64::from(after == Some(status))).saturating_sub(u64::from(before == Some(status)));
        }
    }

    /// Makes counts of those of each status.
    pub fn of(counted: impl IntoIterator<Item = (Status, u64)>) -> Self {
        let mut counts = Self::default();
        for (status, counted) in counted {
            for (_, count) in Status::ALL.into_iter().zip(&mut counts.0).filter(|(other, _)| *other == status) {
                *count += counted;
            }
        }
        counts
    }

    /// Spells them out as a record.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.into_iter().flat_map(u64::to_be_bytes).collect()
    }

    /// Reads a record; none if it counts other statuses.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (counts, rest) = bytes.as_chunks();
        let counts: Vec<_> = counts.iter().map(|count| u64::from_be_bytes(*count)).collect();
        counts.try_into().ok().filter(|_| rest.is_empty()).map(Self)
    }
}

impl FromIterator<Status> for Counts {
    fn from_iter<T: IntoIterator<Item = Status>>(statuses: T) -> Self {
        let mut counts = Self::default();
        for status in statuses {
            counts.moved(None, Some(status));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_counted_where_it_is() {
        let mut counts: Counts = [Status::Pending, Status::Waiting, Status::Waiting].into_iter().collect();
        counts.moved(Some(Status::Waiting), Some(Status::TimedOut));
        counts.moved(Some(Status::Pending), None);
        counts.moved(Some(Status::TimedOut), Some(Status::TimedOut));
        let expected: Counts = [Status::Waiting, Status::TimedOut].into_iter().collect();
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_record_is_read_back() {
        let counts: Counts = Status::ALL.into_iter().chain([Status::Rejected]).collect();
        assert_eq!(Counts::from_bytes(&counts.to_bytes()), Some(counts));
        assert_eq!(Counts::from_bytes(&counts.to_bytes()[1..]), None);
        assert_eq!(Counts::from_bytes(&[]), None);
    }
}
