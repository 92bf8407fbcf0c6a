//! Reads: gates with those who wait on them, lists and histories.

use crate::domain::{Gate, GateName, Prefix, Refusal, Revision, Round, Status, Waiter};
use crate::store::{Crowd, HistoryPage, HistoryQuery, HistoryScope, ListQuery};

use super::{Caller, Coordinator, Error, Permission};

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
    /// Starts behind this place.
    pub after: Option<ListPlace>,
    /// Lists at most so many.
    pub limit: usize,
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListPlace {
    /// Behind a gate that the caller may see.
    Gate(GateName),
    /// Behind the gate that an event was about: one that the caller may not see, and whose name is not told.
    Hidden(Revision),
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct GatePage {
    /// The gates, in the order of their names.
    pub views: Vec<View>,
    /// Where to go on, unless this is the end.
    pub next: Option<ListPlace>,
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
    pub async fn get(&self, caller: &Caller, name: &GateName, round: Option<Round>) -> Result<View, Error> {
        caller.check(Permission::View, Some(name))?;
        let gate = self.gate(name, round).await?;
        Ok(self.view(gate))
    }

    /// Lists the gates that the caller may see, in the order of their names.
    pub async fn list(&self, caller: &Caller, query: GateQuery) -> Result<GatePage, Error> {
        let GateQuery { prefix, statuses, after, limit } = query;
        let mut after = match after {
            Some(place) => Some(self.behind(caller, place).await?),
            None => None,
        };
        let unresolved = only_unresolved(&statuses);
        let place = |(name, revision): (GateName, Revision)| {
            if caller.sees(&name) { ListPlace::Gate(name) } else { ListPlace::Hidden(revision) }
        };
        let mut revision = None;
        let mut views = Vec::new();
        for _ in 0..READS_MAX {
            let gates = ListQuery {
                prefix: prefix.clone(),
                unresolved,
                after: after.as_ref().map(|(name, _)| name.clone()),
                limit: READ,
            };
            let page = self.store.list(gates).await?;
            let revision = *revision.get_or_insert(page.revision);
            let is_last = page.gates.len() < READ;
            for gate in page.gates {
                if views.len() == limit {
                    return Ok(GatePage { views, next: after.map(place), revision });
                }
                after = Some((gate.name.clone(), gate.revision));
                if matches(&statuses, &gate) && caller.sees(&gate.name) {
                    views.push(self.view(gate));
                }
            }
            if is_last {
                return Ok(GatePage { views, next: None, revision });
            }
        }
        Ok(GatePage { views, next: after.map(place), revision: revision.unwrap_or_default() })
    }

    /// Finds where to go on. Whoever made up a place could find out by it what names there are.
    async fn behind(&self, caller: &Caller, place: ListPlace) -> Result<(GateName, Revision), Error> {
        match place {
            ListPlace::Gate(name) if caller.sees(&name) => Ok((name, Revision::ZERO)),
            ListPlace::Gate(_) => Err(Error::NoSuchPage),
            ListPlace::Hidden(revision) => {
                let event = self.store.event(revision).await?.ok_or(Error::NoSuchPage)?;
                Ok((event.gate.name.clone(), revision))
            }
        }
    }

    /// Reads what happened to a gate, or to those of a group that the caller may see, oldest first.
    pub async fn history(&self, caller: &Caller, query: History) -> Result<HistoryPage, Error> {
        if let Some(name) = &query.gate {
            caller.check(Permission::View, Some(name))?;
        }
        let scope = query.gate.clone().map_or(HistoryScope::Group(query.prefix), HistoryScope::Gate);
        let is_start = query.after == Revision::ZERO;
        let mut page = self.store.history(HistoryQuery { scope, after: query.after, limit: query.limit }).await?;
        page.events.retain(|event| caller.sees(&event.gate.name));
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
        let Crowd { waiters, count } = self.waiters_of(&gate.name);
        View { gate, waiters, waiter_count: count }
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
