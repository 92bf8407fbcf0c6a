//! Forgets what is old, a few events at a time. Only the coordinator that leads does.
//!
//! The log is gone through once, from its start. The state of a gate that is not resolved stays where it is, and is
//! noted; once it is no longer the state, the next round of forgetting removes it.

use std::sync::atomic::Ordering;

use super::api::KeyValue;
use super::commit::OPS_MAX;
use super::keys::{self, EventId};
use super::log::{event, unanswered};
use super::txn::{self, Txn};
use super::{Shared, corrupt};
use crate::domain::{Event, EventKind, GateName, Revision, Uid};
use crate::store::{Error, Old, RequestKey};

/// The most events that are looked at in one go: what is removed with them fits one transaction, nearly always.
const EVENTS_MAX: usize = 12;

/// The most answers of one event that are removed with it; those beyond are removed before.
const ANSWERS_MAX: usize = 10;

/// An event, and what points to it.
struct Looked {
    id: EventId,
    event: Event,
    /// Whether it is the state of its gate.
    is_state: bool,
    /// Whether it is the last of its round.
    ends_round: bool,
    /// The requests that it answered when this was read.
    answers: Vec<RequestKey>,
    read: Revision,
}

impl Shared {
    /// Forgets some of what is old, and says whether there is more.
    pub async fn forget(&self, old: Old) -> Result<bool, Error> {
        let (before, _) = self.client.range(txn::get(keys::FORGOTTEN.to_vec())).await?;
        let forgotten = self.take_forgotten(before.first())?;
        let moved = before.first().map_or(Revision::ZERO, |kv| txn::revision(kv.mod_revision));
        let txn = self.as_leader()?.if_written_at(keys::FORGOTTEN.to_vec(), moved);

        let page = self.log(forgotten, EVENTS_MAX).await?;
        let (mut txn, mut until, mut is_cut) = (txn, forgotten, page.more);
        for (revision, id) in page.ids {
            // Before it loses any of its answers.
            let Some(looked) = self.look_once(&id).await? else {
                until = revision;
                continue;
            };
            if !old.holds(&looked.event) {
                is_cut = false;
                break;
            }
            let looked = if looked.answers.len() < ANSWERS_MAX { Some(looked) } else { self.look(id).await? };
            let Some(looked) = looked else { return Ok(true) };
            let has_moved = until > forgotten;
            txn = match self.forget_event(txn.clone(), &looked, has_moved).await? {
                Some(with) => with,
                // What is before it goes first.
                None if has_moved => {
                    is_cut = true;
                    break;
                }
                None => return Ok(true),
            };
            until = revision;
            if txn.len() >= OPS_MAX / 3 {
                is_cut = true;
                break;
            }
        }
        if until == forgotten {
            self.forget_kept().await?;
            return Ok(false);
        }
        let txn = txn.put(keys::FORGOTTEN.to_vec(), until.0.to_be_bytes().to_vec());
        if !self.txn_as_leader(txn).await? {
            // A gate has changed meanwhile, or a request was answered: all is looked at again.
            return Ok(true);
        }
        self.forgotten.fetch_max(until.0, Ordering::SeqCst);
        if !is_cut {
            self.forget_kept().await?;
            self.forget_segments().await?;
        }
        Ok(is_cut)
    }

    /// Removes an event and what goes with it, unless it is kept. None: something has changed since it was looked at, or
    /// `has_moved` and more goes with it than fits one transaction.
    async fn forget_event(&self, txn: Txn, looked: &Looked, has_moved: bool) -> Result<Option<Txn>, Error> {
        let Looked { id, event, is_state, ends_round, .. } = looked;
        let gate = &event.gate;
        let key = keys::gate(keys::GATES, &gate.name);
        if *is_state {
            let txn = txn.if_written_at(key.clone(), event.revision());
            if !gate.status.is_terminal() {
                return Ok(Some(txn.put(id.kept(), Vec::new())));
            }
            let state = Some((key.clone(), event.revision()));
            let Some(txn) = self.forget_rounds(txn, &gate.uid, id, state, has_moved).await? else {
                return Ok(None);
            };
            let txn = txn.delete(key).delete(keys::status(gate.status, &gate.name));
            return Ok(Some(remove(txn, looked).delete(keys::round(&gate.uid, gate.round))));
        }
        if event.kind == EventKind::Deleted {
            let txn = self.forget_rounds(txn, &gate.uid, id, None, has_moved).await?;
            return Ok(txn.map(|txn| remove(txn, looked)));
        }
        if *ends_round {
            return Ok(Some(txn));
        }
        Ok(Some(remove(txn, looked)))
    }

    /// Removes the ends of the past rounds of a gate, but for one event, with what is removed anyway. Those that are too
    /// many for that are removed before, if the gate still is as it was, and only once it is said that all of them are
    /// forgotten: not while the place of that `has_moved`. None: that, or something has changed meanwhile.
    async fn forget_rounds(
        &self,
        txn: Txn,
        uid: &Uid,
        but: &EventId,
        state: Option<(Vec<u8>, Revision)>,
        has_moved: bool,
    ) -> Result<Option<Txn>, Error> {
        let mut next = keys::rounds(uid);
        let begin = || -> Result<Txn, Error> {
            let txn = self.as_leader()?;
            Ok(state.iter().fold(txn, |txn, (key, revision)| txn.if_written_at(key.clone(), *revision)))
        };
        let mut alone = begin()?;
        loop {
            let (rounds, _) = self.client.range(txn::scan(next.clone(), EVENTS_MAX)).await?;
            let Some(last) = rounds.last() else { break };
            next.start = keys::behind(last.key.clone());
            for round in rounds {
                let id = pointed(&round, &but.name)?;
                if id == *but {
                    continue;
                }
                if let Some(looked) = self.look(id).await? {
                    alone = remove(alone, &looked);
                }
                alone = alone.delete(round.key);
                if alone.len() > OPS_MAX / 3 {
                    if has_moved || !self.txn_as_leader(alone).await? {
                        return Ok(None);
                    }
                    alone = begin()?;
                }
            }
        }
        Ok(Some(txn.and(alone)))
    }

    /// Removes old events that are no longer the states of their gates.
    async fn forget_kept(&self) -> Result<(), Error> {
        let mut next = keys::all_kept();
        loop {
            let (kept, _) = self.client.range(txn::keys_only(txn::scan(next.clone(), OPS_MAX / 2))).await?;
            let Some(last) = kept.last() else { return Ok(()) };
            next.start = keys::behind(last.key.clone());
            let ids: Option<Vec<_>> = kept.iter().map(|kv| EventId::parse(&kv.key)).collect();
            let ids = ids.ok_or_else(|| corrupt(b"k", "it names no event"))?;
            let states = ids.iter().map(|id| txn::keys_only(txn::get(keys::gate(keys::GATES, &id.name))));
            let records = ids.iter().map(|id| txn::keys_only(txn::get(id.record())));
            let both = self.client.txn(states.chain(records).fold(Txn::default(), Txn::read)).await?.ranges;
            let (states, records) = both.split_at_checked(ids.len()).ok_or_else(unanswered)?;
            for ((id, state), record) in ids.into_iter().zip(states).zip(records) {
                let written = |kvs: &[KeyValue]| kvs.first().map(|kv| kv.mod_revision);
                if !state.is_empty() && written(state) == written(record) {
                    continue;
                }
                // What was its gate's state, and is not, never is again. If a request is answered by it meanwhile, it is
                // removed another time.
                let mut txn = self.as_leader()?.delete(id.kept());
                if let Some(looked) = self.look(id).await?.filter(|looked| !looked.ends_round) {
                    txn = remove(txn, &looked);
                }
                self.txn_as_leader(txn).await?;
            }
        }
    }

    /// Reads an event and what points to it; none if it is gone. Of many answers it removes all but some first.
    async fn look(&self, id: EventId) -> Result<Option<Looked>, Error> {
        loop {
            match self.look_once(&id).await? {
                Some(looked) if looked.answers.len() == ANSWERS_MAX => {
                    let txn = looked.answers.iter().fold(self.as_leader()?, |txn, request| {
                        txn.delete(keys::request(request)).delete(id.answer(*request))
                    });
                    self.txn_as_leader(txn).await?;
                }
                looked => return Ok(looked),
            }
        }
    }

    async fn look_once(&self, id: &EventId) -> Result<Option<Looked>, Error> {
        let Some(record) = self.read_all(vec![txn::get(id.record())]).await?.pop() else { return Ok(None) };
        let event = match event(&record) {
            Ok(event) => event,
            // It stays, and holds up nothing.
            Err(error) => {
                tracing::error!("an event is never forgotten: {error}");
                return Ok(None);
            }
        };
        let txn = Txn::default()
            .read(txn::keys_only(txn::get(keys::gate(keys::GATES, &id.name))))
            .read(txn::get(keys::round(&event.gate.uid, event.gate.round)))
            .read(txn::keys_only(txn::scan(id.answers(), ANSWERS_MAX)));
        let outcome = self.client.txn(txn).await?;
        let [state, round, answers] = outcome.ranges.as_slice() else { return Err(unanswered()) };
        let is_state = state.first().is_some_and(|kv| kv.mod_revision == record.mod_revision);
        let ends_round = round.first().map(|kv| pointed(kv, &id.name)).transpose()?.as_ref() == Some(id);
        let answers = answers.iter().filter_map(|kv| kv.key.last_chunk().map(|digest| RequestKey(*digest))).collect();
        Ok(Some(Looked { id: id.clone(), event, is_state, ends_round, answers, read: outcome.revision }))
    }
}

/// Removes an event and the answers that begin with it, if there is none that was not seen.
fn remove(txn: Txn, looked: &Looked) -> Txn {
    let Looked { id, answers, read, .. } = looked;
    let txn = txn.if_unwritten_since(id.answers(), *read).delete(id.log()).delete(id.record());
    answers.iter().fold(txn, |txn, request| txn.delete(keys::request(request)).delete(id.answer(*request)))
}

/// Reads which event a round points to.
fn pointed(round: &KeyValue, name: &GateName) -> Result<EventId, Error> {
    let place = round.value.as_slice().try_into().map_err(|_| corrupt(&round.key, "it points to no event"))?;
    Ok(EventId::at(place, name.clone()))
}
