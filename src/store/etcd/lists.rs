//! Reads many gates at once.

use std::collections::BTreeSet;

use super::api::KeyValue;
use super::txn::Txn;
use super::{Shared, corrupt, keys, log, txn};
use crate::domain::{Gate, Status};
use crate::store::{Error, ListPage, ListQuery};

impl Shared {
    /// Reads gates in the order of their names.
    pub async fn list_all(&self, query: ListQuery) -> Result<ListPage, Error> {
        let mut range = keys::group(keys::GATES, &query.prefix, query.after.as_ref());
        let (mut gates, mut first) = (Vec::new(), None);
        loop {
            let limit = log::PAGE.min(query.limit - gates.len());
            if range.start >= range.end {
                let revision = self.client.range(txn::get(keys::STORE_ID.to_vec())).await?.1;
                return Ok(ListPage { gates, revision: first.unwrap_or(revision) });
            }
            let (page, revision) = self.client.range(txn::scan(range.clone(), limit)).await?;
            let first = *first.get_or_insert(revision);
            if let Some(last) = page.last() {
                range.start = keys::behind(last.key.clone());
            }
            let is_last = page.len() < limit;
            gates.extend(page.iter().filter_map(readable));
            if is_last || gates.len() == query.limit {
                return Ok(ListPage { gates, revision: first });
            }
        }
    }

    /// Reads those that are not resolved, and touches no other.
    pub async fn list_unresolved(&self, query: ListQuery) -> Result<ListPage, Error> {
        let ListQuery { prefix, mut after, limit, .. } = query;
        let (mut gates, mut first) = (Vec::new(), None);
        loop {
            let unresolved = Status::ALL.into_iter().filter(|status| !status.is_terminal());
            let reads = unresolved.map(|status| keys::status_group(status, &prefix, after.as_ref()));
            let reads = reads.filter(|range| range.start < range.end);
            let reads = reads.map(|range| txn::keys_only(txn::scan(range, log::PAGE)));
            // Never of nothing, which etcd refuses.
            let outcome =
                self.client.txn(reads.fold(Txn::default(), Txn::read).read(txn::count(keys::segments_from(0)))).await?;
            let first = *first.get_or_insert(outcome.revision);
            let names = outcome.ranges.iter().flatten().map(|kv| keys::status_name(&kv.key));
            let names: Option<BTreeSet<_>> = names.collect();
            let names = names.ok_or_else(|| corrupt(b"s", "it is no name"))?;
            let is_last = outcome.ranges.iter().all(|range| range.len() < log::PAGE);
            // Behind the last of a full page, the other may have names that were not read.
            let names: Vec<_> = names.into_iter().take(log::PAGE).collect();
            let reads = names.iter().map(|name| txn::get(keys::gate(keys::GATES, name))).collect();
            let read = self.read_all(reads).await?;
            gates.extend(read.iter().filter_map(readable).filter(|gate| !gate.status.is_terminal()));
            let is_whole = is_last && names.len() < log::PAGE;
            after = names.into_iter().next_back();
            if is_whole || gates.len() >= limit {
                gates.truncate(limit);
                return Ok(ListPage { gates, revision: first });
            }
        }
    }
}

/// Reads a gate; one that cannot be read hides no other.
fn readable(kv: &KeyValue) -> Option<Gate> {
    log::event(kv)
        .map(|event| event.gate)
        .inspect_err(|error| tracing::error!("a gate is left out of a list: {error}"))
        .ok()
}
