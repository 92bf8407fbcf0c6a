//! A live watch on a group of gates: what happens, in order, each event once and none left out.
//!
//! A watch holds a place in the store's log and nothing else. One that is slow reads further behind; it slows no
//! commit and grows no queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_stream::try_stream;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::Stream;

use crate::domain::{Event, Gate, GateName, Prefix, Revision, Status};
use crate::store::ListQuery;

use super::read::{matches, only_unresolved};
use super::{Coordinator, Error};

/// How often a watch that has nothing to say says so.
const PROGRESS_EVERY: Duration = Duration::from_secs(20);
/// Gates of the initial state that are read at a time.
const PAGE: usize = 64;

/// What to watch.
#[derive(Clone, Debug)]
pub struct WatchQuery {
    /// The group.
    pub prefix: Prefix,
    /// Only events after which a gate has one of these statuses; all if empty.
    pub statuses: Vec<Status>,
    /// Only what happens after this revision; none: after now.
    pub after: Option<Revision>,
    /// Tells what exists first.
    pub initial_state: bool,
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum WatchItem {
    /// The watch is in place; always the first.
    Created {
        /// What happens after this revision follows.
        revision: Revision,
        /// Names the store that the revision belongs to.
        store_id: String,
    },
    /// What exists.
    Existing(Vec<Gate>),
    /// What happened, in order.
    Events(Vec<Arc<Event>>),
    /// Everything up to this revision has been told.
    Progress(Revision),
}

impl Coordinator {
    /// Watches a group of gates, until the coordinator stops.
    pub fn watch(self: &Arc<Self>, query: WatchQuery) -> impl Stream<Item = Result<WatchItem, Error>> + use<> {
        let this = self.clone();
        try_stream! {
            let mut position = query.after.unwrap_or_else(|| this.store.revision());
            yield WatchItem::Created { revision: position, store_id: this.store.id().to_owned() };

            // Gates that were told in a state later than the watch's place, with its revision.
            let mut ahead = HashMap::new();
            if query.initial_state {
                let mut after = None;
                loop {
                    let gates = this.existing(&query, after.take()).await?;
                    let is_last = gates.len() < PAGE;
                    after = gates.last().map(|gate| gate.name.clone());
                    let later = gates.iter().filter(|gate| gate.revision > position);
                    ahead.extend(later.map(|gate| (gate.name.clone(), gate.revision)));
                    let wanted: Vec<_> = gates.into_iter().filter(|gate| matches(&query.statuses, gate)).collect();
                    if !wanted.is_empty() {
                        yield WatchItem::Existing(wanted);
                    }
                    if is_last {
                        break;
                    }
                }
                yield WatchItem::Progress(position);
            }

            let mut progress = interval(PROGRESS_EVERY);
            progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
            progress.reset();
            loop {
                let changes = tokio::select! {
                    changes = this.store.changes_after(position) => changes.map_err(Error::from).map(Some),
                    _ = progress.tick() => Ok(None),
                    () = this.draining.cancelled() => Err(Error::Draining),
                };
                let Some(changes) = changes? else {
                    yield WatchItem::Progress(position);
                    continue;
                };
                position = changes.last().map_or(position, |event| event.revision());
                let events: Vec<_> = changes.into_iter().filter(|event| query.wants(event, &ahead)).collect();
                ahead.retain(|_, revision| *revision > position);
                if !events.is_empty() {
                    yield WatchItem::Events(events);
                }
            }
        }
    }

    async fn existing(&self, query: &WatchQuery, after: Option<GateName>) -> Result<Vec<Gate>, Error> {
        let prefix = query.prefix.clone();
        let unresolved = only_unresolved(&query.statuses);
        Ok(self.store.list(ListQuery { prefix, unresolved, after, limit: PAGE }).await?.gates)
    }
}

impl WatchQuery {
    fn wants(&self, event: &Event, ahead: &HashMap<GateName, Revision>) -> bool {
        let told = ahead.get(&event.gate.name).is_some_and(|revision| event.revision() <= *revision);
        !told && self.prefix.contains(&event.gate.name) && matches(&self.statuses, &event.gate)
    }
}
