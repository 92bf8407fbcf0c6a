//! Reads: gates with those who wait on them, lists and histories.

use crate::domain::{Gate, GateName, Prefix, Refusal, Revision, Round, Status};
use crate::store::{HistoryPage, HistoryQuery, HistoryScope, ListQuery};

use super::waiters::Waiter;
use super::{Coordinator, Error};

/// Most waiters that are shown of one gate; more are only counted.
const WAITERS_SHOWN_MAX: usize = 100;
/// Gates that are read from the store at a time: few enough to hold, however large they are.
const READ: usize = 64;
/// How often one call reads to find gates with the statuses it asks for. The next call goes on.
const READS_MAX: usize = 64;

/// A gate, and who waits on it now.
#[derive(Clone, Debug)]
pub struct View {
    /// The gate.
    pub gate: Gate,
    /// The longest waiters.
    pub waiters: Vec<Waiter>,
    /// How many wait.
    pub waiter_count: usize,
}

/// Which gates to list.
#[derive(Clone, Debug)]
pub struct GateQuery {
    /// The group.
    pub prefix: Prefix,
    /// Only gates with one of these; all if empty.
    pub statuses: Vec<Status>,
    /// Starts behind this gate.
    pub after: Option<GateName>,
    /// Lists at most so many.
    pub limit: usize,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct GatePage {
    /// The gates, in the order of their names.
    pub views: Vec<View>,
    /// Where to go on, unless this is the end.
    pub next: Option<GateName>,
    /// Every change up to this revision is in the page.
    pub revision: Revision,
}

/// Whose history to read, and from where.
#[derive(Clone, Debug)]
pub struct History {
    /// One gate, by name.
    pub gate: Option<GateName>,
    /// Or a group.
    pub prefix: Prefix,
    /// Starts behind this event.
    pub after: Revision,
    /// Reads at most so many.
    pub limit: usize,
}

impl Coordinator {
    /// Reads a gate, or how one of its past rounds ended.
    pub async fn get(&self, name: &GateName, round: Option<Round>) -> Result<View, Error> {
        let gate = self.gate(name, round).await?;
        Ok(self.view(gate))
    }

    /// Lists gates in the order of their names.
    pub async fn list(&self, query: GateQuery) -> Result<GatePage, Error> {
        let GateQuery { prefix, statuses, mut after, limit } = query;
        let unresolved = only_unresolved(&statuses);
        let mut revision = None;
        let mut views = Vec::new();
        for _ in 0..READS_MAX {
            let gates = ListQuery { prefix: prefix.clone(), unresolved, after: after.clone(), limit: READ };
            let page = self.store.list(gates).await?;
            let revision = *revision.get_or_insert(page.revision);
            let is_last = page.gates.len() < READ;
            for gate in page.gates {
                if views.len() == limit {
                    return Ok(GatePage { views, next: after, revision });
                }
                after = Some(gate.name.clone());
                if matches(&statuses, &gate) {
                    views.push(self.view(gate));
                }
            }
            if is_last {
                return Ok(GatePage { views, next: None, revision });
            }
        }
        Ok(GatePage { views, next: after, revision: revision.unwrap_or_default() })
    }

    /// Reads what happened to a gate or a group, oldest first.
    pub async fn history(&self, query: History) -> Result<HistoryPage, Error> {
        let scope = query.gate.clone().map_or(HistoryScope::Group(query.prefix), HistoryScope::Gate);
        let is_start = query.after == Revision::ZERO;
        let page = self.store.history(HistoryQuery { scope, after: query.after, limit: query.limit }).await?;
        match query.gate {
            Some(name) if is_start && page.events.is_empty() => Err(Refusal::NotFound(name).into()),
            _ => Ok(page),
        }
    }

    /// Reads a gate, or how one of its past rounds ended.
    pub(super) async fn gate(&self, name: &GateName, round: Option<Round>) -> Result<Gate, Error> {
        let gate = self.store.get(name).await?.ok_or_else(|| Refusal::NotFound(name.clone()))?;
        match round {
            Some(round) if round != gate.round => {
                let past = self.store.past_round(&gate, round).await?;
                past.ok_or_else(|| Error::RoundNotFound { gate: name.clone(), round, current: gate.round })
            }
            _ => Ok(gate),
        }
    }

    pub(super) fn view(&self, gate: Gate) -> View {
        let (waiters, waiter_count) = self.waiters.of(&gate.name, WAITERS_SHOWN_MAX);
        View { gate, waiters, waiter_count }
    }
}

/// Says whether a list asks for nothing that is resolved, so that the store need not look at it.
pub(super) fn only_unresolved(statuses: &[Status]) -> bool {
    !statuses.is_empty() && statuses.iter().all(|status| !status.is_terminal())
}

/// Says whether a gate has one of the statuses that are asked for.
pub(super) fn matches(statuses: &[Status], gate: &Gate) -> bool {
    statuses.is_empty() || statuses.contains(&gate.status)
}
