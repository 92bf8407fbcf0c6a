//! The reference store: what every store means, in maps. For tests, and gone with the process.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Answer, Change, Counts, DeadLetter, DeadlinePlace, Error, HistoryPage, HistoryQuery, HistoryScope, ListPage,
    ListQuery, Old, Outbox, OutboxChange, Request, RequestKey, Store, codec,
};
use crate::domain::{Event, EventKind, Gate, GateName, Revision, Round, Uid, WebhookName};

/// The most events in one answer of the feed: enough to catch up fast, little enough to hold.
const CHANGES_MAX: usize = 256;

/// The most events that are looked at in one go to be forgotten.
const FORGET_MAX: usize = 64;

/// Keeps everything in memory.
#[derive(Debug)]
pub struct Memory {
    id: String,
    // A std mutex: held for a few map operations, and never across an await.
    state: Mutex<State>,
    durable: watch::Sender<Revision>,
}

#[derive(Debug, Default)]
struct State {
    log: BTreeMap<Revision, Arc<Event>>,
    gates: BTreeMap<GateName, Arc<Event>>,
    /// The last event of each past round.
    rounds: HashMap<(Uid, Round), Arc<Event>>,
    answers: BTreeMap<RequestKey, Answer>,
    outboxes: HashMap<WebhookName, (Outbox, BTreeMap<u64, DeadLetter>)>,
    /// The revision of the last event.
    last: Revision,
    /// Every event up to this one has been looked at to be forgotten.
    forgotten: Revision,
}

impl Memory {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { id: Uuid::new_v4().to_string(), state: Mutex::default(), durable: watch::Sender::new(Revision::ZERO) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for Memory {
    fn id(&self) -> &str {
        &self.id
    }

    fn revision(&self) -> Revision {
        *self.durable.borrow()
    }

    fn oldest(&self) -> Revision {
        self.state().forgotten.next()
    }

    fn counts(&self) -> Counts {
        self.state().gates.values().map(|event| event.gate.status).collect()
    }

    fn bytes(&self) -> u64 {
        0
    }

    async fn writable(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn get(&self, name: &GateName) -> Result<Option<Gate>, Error> {
        Ok(self.state().gates.get(name).map(|event| event.gate.clone()))
    }

    async fn past_round(&self, gate: &Gate, round: Round) -> Result<Option<Gate>, Error> {
        let past = self.state().rounds.get(&(gate.uid.clone(), round)).map(|event| event.gate.clone());
        Ok(past.filter(|_| round < gate.round))
    }

    async fn list(&self, query: ListQuery) -> Result<ListPage, Error> {
        let state = self.state();
        let gates = state.gates.iter().filter(|(name, event)| {
            query.prefix.contains(name)
                && query.after.as_ref().is_none_or(|after| *name > after)
                && !(query.unresolved && event.gate.status.is_terminal())
        });
        let gates = gates.take(query.limit).map(|(_, event)| event.gate.clone()).collect();
        Ok(ListPage { gates, revision: state.revision() })
    }

    async fn deadlines(&self, after: &DeadlinePlace, limit: usize) -> Result<Vec<(SystemTime, GateName)>, Error> {
        let state = self.state();
        let is_behind =
            |(time, name): &(SystemTime, GateName)| *after < DeadlinePlace { time: *time, gate: Some(name.clone()) };
        let waiting = state.gates.values().filter(|event| !event.gate.status.is_terminal());
        let mut deadlines: Vec<_> = waiting
            .filter_map(|event| event.gate.deadline.map(|deadline| (deadline, event.gate.name.clone())))
            .filter(is_behind)
            .collect();
        deadlines.sort();
        deadlines.truncate(limit);
        Ok(deadlines)
    }

    async fn commit(&self, change: Change) -> Result<Arc<Event>, Error> {
        let Change { before, event, request } = change;
        codec::encode_event(&event)?;
        let mut state = self.state();
        let current = state.gates.get(&event.gate.name).map(|event| event.revision());
        if current != before.as_ref().map(|gate| gate.revision) {
            return Err(Error::Conflict);
        }
        let revision = state.revision().next();
        if let Some(request) = request {
            state.record(request, vec![revision])?;
        }
        let event = Arc::new(event.stamped(revision));
        state.apply(before.as_ref(), &event);
        // Under the lock, so that revisions are announced in their order.
        self.durable.send_replace(revision);
        Ok(event)
    }

    async fn remember(&self, request: Request, answer: Vec<Revision>) -> Result<(), Error> {
        self.state().record(request, answer)
    }

    async fn answer(&self, key: &RequestKey) -> Result<Option<Answer>, Error> {
        Ok(self.state().answers.get(key).cloned())
    }

    async fn event(&self, revision: Revision) -> Result<Option<Arc<Event>>, Error> {
        Ok(self.state().log.get(&revision).cloned())
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, Error> {
        let state = self.state();
        let in_scope = |event: &&Arc<Event>| match &query.scope {
            HistoryScope::Gate(name) => event.gate.name == *name,
            HistoryScope::Group(prefix) => prefix.contains(&event.gate.name),
        };
        let mut events = state.log.range((Excluded(query.after), Unbounded)).map(|(_, event)| event).filter(in_scope);
        let page: Vec<_> = events.by_ref().take(query.limit).cloned().collect();
        let last = page.last().map_or(query.after, |event| event.revision());
        Ok(HistoryPage { next: events.next().map(|_| last), events: page })
    }

    async fn changes_after(&self, revision: Revision) -> Result<Vec<Arc<Event>>, Error> {
        let mut durable = self.durable.subscribe();
        let reached = durable.wait_for(|durable| *durable > revision).await.map(|_| ());
        reached.map_err(|_| Error::Failed("it has been closed".into()))?;
        let state = self.state();
        if revision < state.forgotten {
            return Err(Error::Compacted { oldest: state.forgotten.next() });
        }
        let events = state.log.range((Excluded(revision), Unbounded)).take(CHANGES_MAX);
        Ok(events.map(|(_, event)| Arc::clone(event)).collect())
    }

    async fn forget(&self, old: Old) -> Result<bool, Error> {
        let mut state = self.state();
        for _ in 0..FORGET_MAX {
            let next = state.log.range((Excluded(state.forgotten), Unbounded)).next();
            let Some(event) = next.map(|(_, event)| Arc::clone(event)).filter(|event| old.holds(event)) else {
                return Ok(false);
            };
            state.forget(&event);
            state.forgotten = event.revision();
        }
        Ok(true)
    }

    async fn outbox(&self, webhook: &WebhookName) -> Result<Option<Outbox>, Error> {
        Ok(self.state().outboxes.get(webhook).map(|(outbox, _)| outbox.clone()))
    }

    async fn save_outbox(&self, webhook: &WebhookName, change: OutboxChange) -> Result<(), Error> {
        let OutboxChange { outbox, put, remove } = change;
        let mut state = self.state();
        let (kept, letters) =
            state.outboxes.entry(webhook.clone()).or_insert_with(|| (outbox.clone(), BTreeMap::new()));
        *kept = outbox;
        letters.retain(|number, _| !remove.contains(number));
        letters.extend(put.into_iter().map(|letter| (letter.number, letter)));
        Ok(())
    }

    async fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let state = self.state();
        let letters = state.outboxes.get(webhook).into_iter().flat_map(|(_, letters)| letters.range(from..));
        Ok(letters.take(limit).map(|(_, letter)| letter.clone()).collect())
    }
}

impl State {
    fn revision(&self) -> Revision {
        self.last
    }

    fn record(&mut self, request: Request, revisions: Vec<Revision>) -> Result<(), Error> {
        if self.answers.contains_key(&request.key) {
            return Err(Error::Conflict);
        }
        self.answers.insert(request.key, Answer { fingerprint: request.fingerprint, revisions });
        Ok(())
    }

    fn apply(&mut self, before: Option<&Gate>, event: &Arc<Event>) {
        if let (EventKind::Reset, Some(before)) = (event.kind, before)
            && let Some(last) = self.log.get(&before.revision)
        {
            self.rounds.insert((before.uid.clone(), before.round), Arc::clone(last));
        }
        // What was kept only because it was the gate's state.
        if let Some(before) = before
            && before.revision <= self.forgotten
            && event.kind != EventKind::Reset
        {
            self.drop_event(before.revision);
        }
        self.last = event.revision();
        let name = &event.gate.name;
        if event.kind == EventKind::Deleted {
            self.gates.remove(name);
        } else {
            self.gates.insert(name.clone(), Arc::clone(event));
        }
        self.log.insert(event.revision(), Arc::clone(event));
    }

    fn forget(&mut self, event: &Event) {
        let gate = &event.gate;
        let is_state = self.gates.get(&gate.name).is_some_and(|last| last.revision() == event.revision());
        let ends_round = self.rounds.get(&(gate.uid.clone(), gate.round)).is_some_and(|last| **last == *event);
        if is_state && !gate.status.is_terminal() || ends_round {
            return;
        }
        if is_state {
            self.gates.remove(&gate.name);
        }
        if is_state || event.kind == EventKind::Deleted {
            let forgotten = self.forgotten;
            let (of_gate, rest): (HashMap<_, _>, _) =
                mem::take(&mut self.rounds).into_iter().partition(|((uid, _), _)| *uid == gate.uid);
            self.rounds = rest;
            for end in of_gate.into_values().filter(|end| end.revision() <= forgotten) {
                self.drop_event(end.revision());
            }
        }
        self.drop_event(event.revision());
    }

    fn drop_event(&mut self, revision: Revision) {
        self.log.remove(&revision);
        self.answers.retain(|_, answer| answer.revisions.iter().min() != Some(&revision));
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;
    use crate::store::conformance::conformance;

    conformance!((Memory::new(), ()));
}
