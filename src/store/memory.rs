//! The reference store: what every store means, in maps. For tests, and gone with the process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use super::recent::CHANGES_MAX;
use super::{
    Answer, Change, Counts, DeadLetter, DeadlinePlace, Error, HistoryPage, HistoryQuery, HistoryScope, ListPage,
    ListQuery, Old, Outbox, OutboxChange, Peers, Request, RequestKey, Store, codec, round_ended,
};
use crate::domain::{Event, EventKind, Gate, GateName, Revision, Round, Uid, WebhookName};

#[cfg(test)]
pub mod faulty;
mod peers;

use peers::Peer;

/// The most events that are looked at in one go to be forgotten.
const FORGET_MAX: usize = 64;

/// Keeps everything in memory.
#[derive(Debug)]
pub struct Memory {
    shared: Arc<Shared>,
    /// Which of several coordinators this is the store of; none: it is all of theirs.
    peer: Option<Uuid>,
}

/// What all of them have in common.
#[derive(Debug)]
struct Shared {
    id: String,
    // A std mutex: held for a few map operations, and never across an await.
    state: Mutex<State>,
    durable: watch::Sender<Revision>,
    /// Those who have joined, in the order in which they come to lead.
    peers: watch::Sender<Vec<Peer>>,
}

#[derive(Debug, Default)]
struct State {
    log: BTreeMap<Revision, Arc<Event>>,
    gates: BTreeMap<GateName, Arc<Event>>,
    /// The last event of each past round.
    rounds: HashMap<(Uid, Round), Arc<Event>>,
    answers: BTreeMap<RequestKey, Answer>,
    outboxes: BTreeMap<WebhookName, (Outbox, BTreeMap<u64, DeadLetter>)>,
    /// The revision of the last event.
    last: Revision,
    /// Every event up to this one has been looked at to be forgotten.
    forgotten: Revision,
}

impl Memory {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            id: Uuid::new_v4().to_string(),
            state: Mutex::default(),
            durable: watch::Sender::new(Revision::ZERO),
            peers: watch::Sender::default(),
        };
        Self { shared: Arc::new(shared), peer: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change, so a poisoned state is a whole one.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        &self.shared.id
    }

    fn revision(&self) -> Revision {
        *self.shared.durable.borrow()
    }

    fn oldest(&self) -> Revision {
        self.state().forgotten.next()
    }

    async fn latest(&self) -> Result<Revision, Error> {
        Ok(self.revision())
    }

    async fn counts(&self) -> Result<Counts, Error> {
        Ok(self.state().gates.values().map(|event| event.gate.status).collect())
    }

    async fn bytes(&self) -> Result<u64, Error> {
        Ok(0)
    }

    async fn ready(&self) -> Result<(), Error> {
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
            state.record(&request, vec![revision])?;
        }
        let event = Arc::new(event.stamped(revision));
        state.apply(before.as_ref(), &event);
        // Under the lock, so that revisions are announced in their order.
        self.shared.durable.send_replace(revision);
        Ok(event)
    }

    async fn remember(&self, request: Request, answer: Vec<Revision>) -> Result<(), Error> {
        self.state().record(&request, answer)
    }

    async fn answer(&self, key: &RequestKey) -> Result<Option<Answer>, Error> {
        Ok(self.state().answers.get(key).cloned())
    }

    async fn answers(&self, after: Option<RequestKey>, limit: usize) -> Result<Vec<(RequestKey, Answer)>, Error> {
        let state = self.state();
        let answers = state.answers.range((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(answers.take(limit).map(|(key, answer)| (*key, answer.clone())).collect())
    }

    async fn event(&self, revision: Revision) -> Result<Option<Arc<Event>>, Error> {
        Ok(self.state().log.get(&revision).cloned())
    }

    async fn last_event(&self) -> Result<Option<Arc<Event>>, Error> {
        Ok(self.state().log.values().next_back().cloned())
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
        let mut durable = self.shared.durable.subscribe();
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
        let _leads = self.leads()?;
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

    async fn webhooks(&self) -> Result<Vec<WebhookName>, Error> {
        Ok(self.state().outboxes.keys().cloned().collect())
    }

    async fn outbox(&self, webhook: &WebhookName) -> Result<Option<Outbox>, Error> {
        Ok(self.state().outboxes.get(webhook).map(|(outbox, _)| outbox.clone()))
    }

    async fn save_outbox(&self, webhook: &WebhookName, change: OutboxChange) -> Result<(), Error> {
        let OutboxChange { outbox, put, remove } = change;
        for letter in &put {
            codec::encode_dead_letter(letter)?;
        }
        let mut numbers = BTreeSet::new();
        if !put.iter().map(|letter| &letter.number).chain(&remove).all(|number| numbers.insert(number)) {
            // As etcd refuses it.
            let (place, problem) = ("a change".to_owned(), "a dead letter is changed twice".to_owned());
            return Err(Error::Corrupt { place, problem });
        }
        let _leads = self.leads()?;
        let mut state = self.state();
        let (kept, letters) =
            state.outboxes.entry(webhook.clone()).or_insert_with(|| (outbox.clone(), BTreeMap::new()));
        *kept = outbox;
        letters.retain(|number, _| !remove.contains(number));
        letters.extend(put.into_iter().map(|letter| (letter.number, letter)));
        Ok(())
    }

    async fn begin_import(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn end_import(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn dead_letters(&self, webhook: &WebhookName, from: u64, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let state = self.state();
        let letters = state.outboxes.get(webhook).into_iter().flat_map(|(_, letters)| letters.range(from..));
        Ok(letters.take(limit).map(|(_, letter)| letter.clone()).collect())
    }

    fn peers(&self) -> Option<&dyn Peers> {
        self.peer.is_some().then_some(self as &dyn Peers)
    }
}

impl State {
    fn revision(&self) -> Revision {
        self.last
    }

    fn record(&mut self, request: &Request, revisions: Vec<Revision>) -> Result<(), Error> {
        if self.answers.contains_key(&request.key) {
            return Err(Error::Conflict);
        }
        let Request { key, fingerprint, time } = *request;
        self.answers.insert(key, Answer { fingerprint, revisions, time });
        Ok(())
    }

    fn apply(&mut self, before: Option<&Gate>, event: &Arc<Event>) {
        let ended = round_ended(before, event);
        if let Some(ended) = ended
            && let Some(last) = self.log.get(&ended.revision)
        {
            self.rounds.insert((ended.uid.clone(), ended.round), Arc::clone(last));
        }
        // What was kept only because it was the gate's state.
        if let Some(before) = before
            && before.revision <= self.forgotten
            && ended.is_none()
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
    use crate::store::conformance::peers::conformance_of_peers;

    conformance!((Memory::new(), ()));

    conformance_of_peers!({
        let store = Memory::new();
        (store.join(), store.join(), store)
    });
}
