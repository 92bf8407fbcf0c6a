//! Writes: each change is one transaction, which holds only if the gate is the one that was read, and the log goes on in
//! the segment that it is written to.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Shared;
use super::api::KeyValue;
use super::keys::{self, EventId};
use super::log::unanswered;
use super::txn::{self, Outcome, Txn};
use crate::domain::{Event, EventKind, Gate, GateName, Revision, WebhookName};
use crate::store::{Answer, Change, Error, Outbox, OutboxChange, Request, RequestKey, codec};

/// The most operations in one transaction: etcd takes 128, unless it is told otherwise.
pub const OPS_MAX: usize = 100;

/// The most bytes in one transaction: etcd takes 1.5 MiB, unless it is told otherwise.
pub const TXN_BYTES_MAX: usize = 512 * 1024;

/// Stands in a stored answer for the revision at which it was written.
const OWN: Revision = Revision::ZERO;

impl Shared {
    /// Commits one event.
    pub async fn commit(&self, change: &Change) -> Result<Arc<Event>, Error> {
        loop {
            let id = self.next_id(change.before.as_ref(), &change.event.gate.name);
            match self.commit_as(id, change).await? {
                Some(event) => return Ok(event),
                None => self.read_segments().await?,
            }
        }
    }

    /// Names the event that comes next for a gate.
    pub fn next_id(&self, before: Option<&Gate>, name: &GateName) -> EventId {
        let (segment, _) = self.segments.last();
        let hint = before.map_or(0, |gate| gate.revision.0).max(self.client.seen());
        EventId { segment, hint, name: name.clone() }
    }

    /// Commits one event under an id; none if the log goes on in another segment.
    pub async fn commit_as(&self, id: EventId, change: &Change) -> Result<Option<Arc<Event>>, Error> {
        let Change { before, event, request } = change;
        let record = codec::encode_event(event)?;
        let mut txn = put_event(&id, before.as_ref(), event, &record);
        if let Some(request) = request {
            let answer = codec::encode_answer(&request.fingerprint, &[OWN], request.time)?;
            txn = put_answer(txn, request.key, Some(&id), answer);
        }
        let next = txn::keys_only(txn::scan(keys::segments_from(id.segment + 1), 1));
        let txn = self.unless_imported().and(txn).or_read(txn::get(id.record())).or_read(next);
        let stamped = |revision| Some(Arc::new(event.clone().stamped(revision)));
        let own =
            |kvs: &[KeyValue]| kvs.first().filter(|own| own.value == record).map(|own| txn::revision(own.mod_revision));
        let outcome = match self.client.txn(txn).await {
            // The first that finds the room used up is told so, and done all the same.
            Err(Error::Full) => {
                let (kvs, _) = self.client.range(txn::get(id.record())).await?;
                return own(&kvs).map(stamped).ok_or(Error::Full);
            }
            outcome => outcome?,
        };
        if outcome.succeeded {
            self.end_segment(id.segment, outcome.revision).await;
            return Ok(stamped(outcome.revision));
        }
        let [import, record, next] = outcome.ranges.as_slice() else { return Err(unanswered()) };
        if let Some(revision) = own(record) {
            // An attempt before this one has arrived, and only its answer was lost.
            return Ok(stamped(revision));
        }
        self.refuse_import(import)?;
        if next.is_empty() { Err(Error::Conflict) } else { Ok(None) }
    }

    /// Records a request that is answered by events that exist already.
    pub async fn remember(&self, request: &Request, revisions: &[Revision]) -> Result<(), Error> {
        let answer = codec::encode_answer(&request.fingerprint, revisions, request.time)?;
        let (mut first, mut txn) = (None, self.unless_imported());
        let revision = match revisions.iter().min() {
            Some(revision) => Some(*revision),
            // That nothing happened is forgotten with what had happened by then.
            None => self.last_event().await?.map(|event| event.revision()),
        };
        if let Some(revision) = revision {
            first = self.event_id(revision).await?;
            match &first {
                // It goes with the event: one that was forgotten meanwhile has no answers.
                Some(id) => txn = txn.if_written_at(id.record(), revision),
                None if revision <= self.read_forgotten().await? => return Err(Error::Conflict),
                None => {}
            }
        }
        let txn = put_answer(txn, request.key, first.as_ref(), answer.clone());
        let outcome = self.client.txn(txn.or_read(txn::get(keys::request(&request.key)))).await?;
        let is_own = outcome.ranges.iter().flatten().any(|kv| kv.value == answer);
        if outcome.succeeded || is_own {
            return Ok(());
        }
        self.refuse_import(outcome.ranges.first().ok_or_else(unanswered)?)?;
        Err(Error::Conflict)
    }

    /// Reads how a request was answered.
    pub async fn answer(&self, request: &RequestKey) -> Result<Option<Answer>, Error> {
        let (answers, _) = self.client.range(txn::get(keys::request(request))).await?;
        answers.first().map(read_answer).transpose()
    }

    /// Reads how far a webhook has come.
    pub async fn outbox(&self, webhook: &WebhookName) -> Result<Option<Outbox>, Error> {
        let (outboxes, _) = self.client.range(txn::get(keys::outbox(webhook))).await?;
        let read = outboxes.first().map_or(Revision::ZERO, |kv| txn::revision(kv.mod_revision));
        self.outboxes().insert(webhook.clone(), read);
        outboxes.first().map(|kv| codec::decode_outbox(&format!("the outbox of {webhook}"), &kv.value)).transpose()
    }

    /// Saves how far a webhook has come, if this coordinator leads, and nobody has saved it since it was read here.
    pub async fn save_outbox(&self, webhook: &WebhookName, change: &OutboxChange) -> Result<(), Error> {
        let outbox = keys::outbox(webhook);
        // What is added goes first, what is removed last: cut short, it is only repeated.
        let mut writes = Vec::new();
        for letter in &change.put {
            writes.push((keys::dead_letter(webhook, letter.number), Some(codec::encode_dead_letter(letter)?)));
        }
        writes.push((outbox.clone(), Some(codec::encode_outbox(&change.outbox)?)));
        writes.extend(change.remove.iter().map(|number| (keys::dead_letter(webhook, *number), None)));
        let mut read = self.outboxes().get(webhook).copied();
        for writes in writes.chunks(OPS_MAX) {
            let mut txn = self.as_leader()?;
            if let Some(read) = read {
                txn = txn.if_written_at(outbox.clone(), read);
            }
            let write = |txn: Txn, (key, record): &(Vec<u8>, Option<Vec<u8>>)| match record {
                Some(record) => txn.put(key.clone(), record.clone()),
                None => txn.delete(key.clone()),
            };
            let txn = writes.iter().fold(txn, write).or_read(txn::get(outbox.clone()));
            let outcome = self.client.txn(txn.or_read(txn::get(keys::LEADER.to_vec()))).await?;
            let written = writes.iter().find(|(key, _)| *key == outbox).and_then(|(_, record)| record.as_ref());
            let saved = outcome.ranges.first().and_then(|kvs| kvs.first());
            let is_own = saved.is_some_and(|kv| Some(&kv.value) == written) && self.leads(&outcome);
            let revision = match saved {
                // An attempt before this one has arrived, and only its answer was lost.
                Some(kv) if is_own => txn::revision(kv.mod_revision),
                _ if outcome.succeeded => outcome.revision,
                _ => return Err(Error::Deposed),
            };
            if written.is_some() {
                read = Some(revision);
                self.outboxes().insert(webhook.clone(), revision);
            }
        }
        Ok(())
    }

    fn outboxes(&self) -> MutexGuard<'_, HashMap<WebhookName, Revision>> {
        // Nothing panics while it is held.
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a transaction that holds only while this coordinator leads, or imports: nobody leads beside that.
    pub fn as_leader(&self) -> Result<Txn, Error> {
        if self.imports_since() > Revision::ZERO {
            return Ok(Txn::default().if_created_at(keys::IMPORT.to_vec(), self.imports_since()));
        }
        let since = self.session.leads_since().ok_or(Error::Deposed)?;
        Ok(Txn::default().if_created_at(keys::LEADER.to_vec(), since))
    }

    /// Makes a transaction of the one that leads, and says whether all that it compares held.
    ///
    /// # Errors
    ///
    /// [`Error::Deposed`] if it did not because another one leads.
    pub async fn txn_as_leader(&self, txn: Txn) -> Result<bool, Error> {
        let outcome = self.client.txn(txn.or_read(txn::get(keys::LEADER.to_vec()))).await?;
        if outcome.succeeded || self.leads(&outcome) { Ok(outcome.succeeded) } else { Err(Error::Deposed) }
    }

    /// Says whether this coordinator leads or imports, by what was read last of who leads.
    pub fn leads(&self, outcome: &Outcome) -> bool {
        if self.imports_since() > Revision::ZERO {
            return true;
        }
        let leader = outcome.ranges.last().and_then(|kvs| kvs.first()).map(|kv| txn::revision(kv.create_revision));
        leader.is_some() && leader == self.session.leads_since()
    }
}

/// Writes an event, if the gate is the one that was read and the log still goes on in its segment.
fn put_event(id: &EventId, before: Option<&Gate>, event: &Event, record: &[u8]) -> Txn {
    let gate = &event.gate;
    let name = &gate.name;
    let after = Some(gate).filter(|_| event.kind != EventKind::Deleted);
    let key = keys::gate(keys::GATES, name);
    let mut txn = Txn::default()
        .if_written_at(key.clone(), before.map_or(Revision::ZERO, |gate| gate.revision))
        // Not only of the next one: it may have come, and gone again with all that was in it.
        .if_none(keys::segments_from(id.segment + 1))
        .put(id.log(), Vec::new())
        .put(id.record(), record.to_vec());
    if before.is_none() {
        // It may have come and gone since: an attempt that arrives late makes it no second time. Whatever came after the
        // hint is in this segment, or in one behind it.
        let segment = EventId { hint: 0, ..id.clone() };
        txn = txn.if_unwritten_since(segment.record()..keys::history(name).end, Revision(id.hint));
    }
    // The end of a past round is not told from the last event of the current one: both are the last of their round.
    let round = keys::round(&gate.uid, gate.round);
    txn = match after {
        Some(_) => txn.put(key, record.to_vec()).put(round, id.place().to_vec()),
        None => txn.delete(key).delete(round),
    };
    let index = |gate: &Gate| (keys::status(gate.status, name), keys::deadline_of(gate));
    let (old_status, old_deadline) = before.map(index).unzip();
    let (new_status, new_deadline) = after.map(index).unzip();
    txn = moved(txn, old_status, new_status);
    moved(txn, old_deadline.flatten(), new_deadline.flatten())
}

/// Moves an index from one key to another: etcd refuses to change one key twice.
fn moved(mut txn: Txn, old: Option<Vec<u8>>, new: Option<Vec<u8>>) -> Txn {
    if old == new {
        return txn;
    }
    if let Some(old) = old {
        txn = txn.delete(old);
    }
    match new {
        Some(new) => txn.put(new, Vec::new()),
        None => txn,
    }
}

/// Writes a request's answer, if it has none.
fn put_answer(txn: Txn, key: RequestKey, first: Option<&EventId>, answer: Vec<u8>) -> Txn {
    let request = keys::request(&key);
    let txn = txn.if_created_at(request.clone(), Revision::ZERO).put(request, answer);
    match first {
        Some(first) => txn.put(first.answer(key), Vec::new()),
        None => txn,
    }
}

/// Reads an answer.
pub fn read_answer(kv: &KeyValue) -> Result<Answer, Error> {
    let mut answer = codec::decode_answer(&format!("the answer {}", kv.key.escape_ascii()), &kv.value)?;
    for revision in answer.revisions.iter_mut().filter(|revision| **revision == OWN) {
        *revision = txn::revision(kv.mod_revision);
    }
    Ok(answer)
}
