//! Transactions of etcd: what is compared, and what is done then.

use std::ops::Range;

use super::api::compare::{CompareResult, CompareTarget, TargetUnion};
use super::api::range_request::{SortOrder, SortTarget};
use super::api::{
    Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse, request_op,
    response_op,
};
use crate::domain::Revision;

/// A transaction that is put together. Keys are without the prefix.
#[derive(Clone, Debug, Default)]
pub struct Txn(TxnRequest);

/// How a transaction went.
#[derive(Debug)]
pub struct Outcome {
    /// Whether all that was compared held.
    pub succeeded: bool,
    /// The revision of what was written, or at which it was read.
    pub revision: Revision,
    /// What was read, in the order in which it was asked for.
    pub ranges: Vec<Vec<KeyValue>>,
    /// How many keys there are in each of the ranges.
    pub counts: Vec<u64>,
}

/// Reads one key.
pub fn get(key: Vec<u8>) -> RangeRequest {
    RangeRequest { key, ..RangeRequest::default() }
}

/// Reads keys in their order, at most so many; 0 is all.
pub fn scan(range: Range<Vec<u8>>, limit: usize) -> RangeRequest {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    RangeRequest { key: range.start, range_end: range.end, limit, ..RangeRequest::default() }
}

/// Reads only the keys of what it would read.
pub fn keys_only(range: RangeRequest) -> RangeRequest {
    RangeRequest { keys_only: true, ..range }
}

/// Counts the keys in a range.
pub fn count(range: Range<Vec<u8>>) -> RangeRequest {
    RangeRequest { count_only: true, ..scan(range, 0) }
}

/// Reads keys that were written last after a revision, the earliest first.
pub fn written_after(range: Range<Vec<u8>>, after: Revision, limit: usize) -> RangeRequest {
    let min_mod_revision = signed(after.next());
    let (sort_order, sort_target) = (SortOrder::Ascend.into(), SortTarget::Mod.into());
    RangeRequest { min_mod_revision, sort_order, sort_target, ..scan(range, limit) }
}

/// Reads the key that was written last.
pub fn last_written(range: Range<Vec<u8>>) -> RangeRequest {
    let (sort_order, sort_target) = (SortOrder::Descend.into(), SortTarget::Mod.into());
    RangeRequest { sort_order, sort_target, keys_only: true, ..scan(range, 1) }
}

/// Returns a revision as etcd writes it.
pub fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// Reads a revision of etcd.
pub fn revision(signed: i64) -> Revision {
    Revision(signed.try_into().unwrap_or_default())
}

impl Txn {
    /// Holds if a key was written last at a revision; zero: if it is absent.
    pub fn if_written_at(mut self, key: Vec<u8>, at: Revision) -> Self {
        let union = TargetUnion::ModRevision(signed(at));
        self.0.compare.push(compare(key, CompareTarget::Mod, union));
        self
    }

    /// Holds if no key in a range was written after a revision.
    pub fn if_unwritten_since(mut self, range: Range<Vec<u8>>, revision: Revision) -> Self {
        let union = TargetUnion::ModRevision(signed(revision.next()));
        let result = CompareResult::Less.into();
        self.0.compare.push(Compare {
            result,
            range_end: range.end,
            ..compare(range.start, CompareTarget::Mod, union)
        });
        self
    }

    /// Holds if there is no key in a range.
    pub fn if_none(mut self, range: Range<Vec<u8>>) -> Self {
        let union = TargetUnion::CreateRevision(0);
        self.0.compare.push(Compare { range_end: range.end, ..compare(range.start, CompareTarget::Create, union) });
        self
    }

    /// Holds if a key was created at a revision; zero: if it is absent.
    pub fn if_created_at(mut self, key: Vec<u8>, at: Revision) -> Self {
        let union = TargetUnion::CreateRevision(signed(at));
        self.0.compare.push(compare(key, CompareTarget::Create, union));
        self
    }

    /// Writes a key then.
    pub fn put(self, key: Vec<u8>, value: Vec<u8>) -> Self {
        self.put_for(0, key, value)
    }

    /// Writes a key then, for as long as a lease lasts.
    pub fn put_for(mut self, lease: i64, key: Vec<u8>, value: Vec<u8>) -> Self {
        self.0.success.push(op(request_op::Request::RequestPut(PutRequest { key, value, lease })));
        self
    }

    /// Removes a key then.
    pub fn delete(mut self, key: Vec<u8>) -> Self {
        let request = DeleteRangeRequest { key, range_end: Vec::new() };
        self.0.success.push(op(request_op::Request::RequestDeleteRange(request)));
        self
    }

    /// Reads then.
    pub fn read(mut self, range: RangeRequest) -> Self {
        self.0.success.push(op(request_op::Request::RequestRange(range)));
        self
    }

    /// Reads otherwise.
    pub fn or_read(mut self, range: RangeRequest) -> Self {
        self.0.failure.push(op(request_op::Request::RequestRange(range)));
        self
    }

    /// Does what another does too, if all that both compare holds.
    pub fn and(mut self, other: Self) -> Self {
        for compare in other.0.compare {
            if !self.0.compare.contains(&compare) {
                self.0.compare.push(compare);
            }
        }
        self.0.success.extend(other.0.success);
        self.0.failure.extend(other.0.failure);
        self
    }

    /// Says whether it may take room.
    pub fn puts(&self) -> bool {
        self.0.success.iter().any(|op| matches!(op.request, Some(request_op::Request::RequestPut(_))))
    }

    /// Says how many operations it has.
    pub fn len(&self) -> usize {
        self.0.success.len()
    }

    /// Puts the prefix before all keys.
    pub fn into_request(self, with_prefix: impl Fn(&[u8]) -> Vec<u8>) -> TxnRequest {
        let mut request = self.0;
        let prefixed = |key: &mut Vec<u8>| *key = with_prefix(key);
        // Without an end only the key is meant.
        let prefixed_range = |key: &mut Vec<u8>, end: &mut Vec<u8>| {
            prefixed(key);
            if !end.is_empty() {
                prefixed(end);
            }
        };
        request.compare.iter_mut().for_each(|compare| prefixed_range(&mut compare.key, &mut compare.range_end));
        for op in request.success.iter_mut().chain(&mut request.failure).filter_map(|op| op.request.as_mut()) {
            match op {
                request_op::Request::RequestRange(range) => prefixed_range(&mut range.key, &mut range.range_end),
                request_op::Request::RequestPut(put) => prefixed(&mut put.key),
                request_op::Request::RequestDeleteRange(range) => prefixed_range(&mut range.key, &mut range.range_end),
            }
        }
        request
    }
}

impl Outcome {
    /// Reads an answer, and takes the prefix off all keys.
    pub fn of(response: TxnResponse, relative: impl Fn(&mut Vec<u8>)) -> Self {
        let ranges = response.responses.into_iter().filter_map(|op| match op.response {
            Some(response_op::Response::ResponseRange(range)) => Some(range),
            Some(response_op::Response::ResponsePut(_) | response_op::Response::ResponseDeleteRange(_)) | None => None,
        });
        let (counts, mut ranges): (Vec<u64>, Vec<Vec<KeyValue>>) =
            ranges.map(|range| (u64::try_from(range.count).unwrap_or_default(), range.kvs)).unzip();
        ranges.iter_mut().flatten().for_each(|kv| relative(&mut kv.key));
        let revision = revision(response.header.unwrap_or_default().revision);
        Self { succeeded: response.succeeded, revision, ranges, counts }
    }
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn compare(key: Vec<u8>, target: CompareTarget, union: TargetUnion) -> Compare {
    let (result, target) = (CompareResult::Equal.into(), target.into());
    Compare { result, target, key, target_union: Some(union), range_end: Vec::new() }
}
