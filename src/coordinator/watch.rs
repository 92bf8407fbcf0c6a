//! A live watch on a group of gates: what happens, in order, each event once and none left out.
//!
//! A watch holds a place in the store's log and a few items that are ready to be taken. One that is slow reads further
//! behind; it slows no commit and grows no queue. One that takes nothing for long is cut off, with the place to resume
//! from.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_stream::{stream, try_stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::{Stream, StreamExt};

use crate::domain::{Event, Gate, GateName, Prefix, Revision, Status};
use crate::metrics::WATCH_LAG_SECONDS;
use crate::store::ListQuery;

use super::read::{matches, only_unresolved};
use super::{Caller, Coordinator, Error};

/// How often a watch that has nothing to say says so.
const PROGRESS_EVERY: Duration = Duration::from_secs(20);
/// How long a watch may take nothing: longer than a busy client pauses, shorter than its connection is kept for.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Gates or events in one item, so that what a stalled watch holds stays small.
const ITEM_MAX: usize = 64;

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
    /// Watches those gates of a group that the caller may see, each time that something happens to one, until the
    /// coordinator stops or the watch has taken nothing for too long.
    pub fn watch(
        self: &Arc<Self>,
        caller: Caller,
        query: WatchQuery,
    ) -> impl Stream<Item = Result<WatchItem, Error>> + use<> {
        let (ready, mut items) = mpsc::channel(1);
        let (cut, cut_off) = oneshot::channel();
        tokio::spawn(self.clone().hand_over(Box::pin(self.items(caller, query)), ready, cut));
        stream! {
            while let Some(item) = items.recv().await {
                yield item;
            }
            if let Ok(error) = cut_off.await {
                yield Err(error);
            }
        }
    }

    fn items(
        self: &Arc<Self>,
        caller: Caller,
        query: WatchQuery,
    ) -> impl Stream<Item = Result<WatchItem, Error>> + use<> {
        let this = self.clone();
        try_stream! {
            let last = this.store.latest().await?;
            let mut position = query.after.unwrap_or(last);
            if position > last {
                Err(Error::RevisionAhead { start: position.next(), last })?;
            }
            yield WatchItem::Created { revision: position, store_id: this.store.id().to_owned() };

            // Gates that were told in a state later than the watch's place, with its revision.
            let mut ahead = HashMap::new();
            if query.initial_state {
                let mut after = None;
                loop {
                    let gates = this.existing(&query, after.take()).await?;
                    let is_last = gates.len() < ITEM_MAX;
                    after = gates.last().map(|gate| gate.name.clone());
                    let wanted = |gate: &Gate| matches(&query.statuses, gate) && caller.sees(&gate.name);
                    let wanted: Vec<_> = gates.into_iter().filter(wanted).collect();
                    let later = wanted.iter().filter(|gate| gate.revision > position);
                    ahead.extend(later.map(|gate| (gate.name.clone(), gate.revision)));
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
                    changes = this.changes_after(position) => changes.map_err(Error::from).map(Some),
                    _ = progress.tick() => Ok(None),
                    () = this.draining.cancelled() => Err(Error::Draining),
                };
                caller.still_stands()?;
                let Some(changes) = changes? else {
                    yield WatchItem::Progress(position);
                    continue;
                };
                position = changes.last().map_or(position, |event| event.revision());
                let events: Vec<_> = changes.into_iter().filter(|event| query.wants(event, &ahead) && caller.sees(&event.gate.name)).collect();
                ahead.retain(|_, revision| *revision > position);
                for events in events.chunks(ITEM_MAX) {
                    yield WatchItem::Events(events.to_vec());
                }
            }
        }
    }

    async fn existing(&self, query: &WatchQuery, after: Option<GateName>) -> Result<Vec<Gate>, Error> {
        let prefix = query.prefix.clone();
        let unresolved = only_unresolved(&query.statuses);
        Ok(self.store.list(ListQuery { prefix, unresolved, after, limit: ITEM_MAX }).await?.gates)
    }

    /// Hands items over as they are taken; if none is for too long, ends and says why.
    async fn hand_over(
        self: Arc<Self>,
        mut items: impl Stream<Item = Result<WatchItem, Error>> + Unpin,
        ready: mpsc::Sender<Result<WatchItem, Error>>,
        cut: oneshot::Sender<Error>,
    ) {
        let mut told = Revision::ZERO;
        loop {
            let item = tokio::select! {
                item = items.next() => item,
                () = ready.closed() => return,
            };
            let Some(item) = item else { return };
            let after = item.as_ref().ok().and_then(WatchItem::told);
            let happened = item.as_ref().ok().and_then(WatchItem::happened);
            match timeout(STALL_MAX, ready.send(item)).await {
                Ok(Ok(())) => {
                    told = after.unwrap_or(told);
                    if let Some(lag) = happened.and_then(|time| self.clock.now().duration_since(time).ok()) {
                        metrics::histogram!(WATCH_LAG_SECONDS).record(lag);
                    }
                }
                Ok(Err(_)) => return,
                Err(_) => {
                    // Whoever reads on gets this after what was handed over; who has gone gets nothing.
                    drop(cut.send(Error::WatcherTooSlow { resume: told.next() }));
                    return;
                }
            }
        }
    }
}

impl WatchItem {
    /// Returns when the last of what it tells happened; none if it tells of nothing that happened.
    fn happened(&self) -> Option<SystemTime> {
        match self {
            Self::Events(events) => events.last().map(|event| event.time),
            Self::Created { .. } | Self::Existing(_) | Self::Progress(_) => None,
        }
    }

    /// Returns the revision up to which everything has been told once this has; none if that stays as it was.
    fn told(&self) -> Option<Revision> {
        match self {
            Self::Created { revision, .. } | Self::Progress(revision) => Some(*revision),
            Self::Existing(_) => None,
            Self::Events(events) => events.last().map(|event| event.revision()),
        }
    }
}

impl WatchQuery {
    fn wants(&self, event: &Event, ahead: &HashMap<GateName, Revision>) -> bool {
        let told = ahead.get(&event.gate.name).is_some_and(|revision| event.revision() <= *revision);
        !told && self.prefix.contains(&event.gate.name) && matches(&self.statuses, &event.gate)
    }
}
