//! Carries out what callers ask: one fence that every change of a gate goes through, the deadlines, and those who wait
//! and watch.
//!
//! The coordinator keeps no copy of the gates. Its memory follows the live waits and watches; what happened it learns
//! from the store's feed alone, so a change made by another coordinator on a shared store looks the same as its own.

mod clock;
mod deadlines;
mod error;
mod fence;
mod measure;
mod outbox;
mod read;
mod retention;
mod wait;
mod waiters;
mod watch;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::{
    Ballot, Command, Etag, EventKind, Facts, Gate, GateName, Prefix, Principal, Refusal, Revision, Round, Ruling, Spec,
    Uid, WebhookName,
};
use crate::store::{self, Fingerprint, ListQuery, Store};

pub use clock::Clock;
pub use error::Error;
pub use read::{GatePage, GateQuery, History, View};
pub use retention::Retention;
pub use store::{DeadLetter, DeadlinePlace, Error as StoreError, HistoryPage, Outbox, OutboxChange, Topic};
pub use wait::{Wait, WaitQuery};
pub use waiters::Waiter;
pub use watch::{WatchItem, WatchQuery};

/// Most gates that one call resets: their answer, each with the largest spec, stays below a message's usual 4 MiB.
pub const RESET_GATES_MAX: usize = 200;

/// Coordinates the gates of one store.
pub struct Coordinator {
    store: Arc<dyn Store>,
    clock: Clock,
    /// How far the feed was followed. It starts where the coordinator was made, so that whoever waits before
    /// [`Coordinator::run`] misses nothing.
    followed: AtomicU64,
    retention: Retention,
    /// How far each webhook has come, so that retention leaves it what comes after. A std mutex: held for a map
    /// operation, and never across an await.
    held: Mutex<HashMap<WebhookName, Revision>>,
    waiters: Arc<waiters::Waiters>,
    /// Told when a deadline may have become the earliest.
    deadline_set: Notify,
    draining: CancellationToken,
}

/// Who calls, and how to know the call when it is repeated.
#[derive(Clone, Debug)]
pub struct Call {
    /// The caller, as verified.
    pub principal: Principal,
    /// The caller's id for the call, if it can be repeated.
    pub request: Option<RequestId>,
}

/// A caller's id for a call.
#[derive(Clone, Debug)]
pub struct RequestId {
    /// 1 to 128 printable ASCII characters.
    pub id: String,
    /// A digest of the call's body.
    pub fingerprint: Fingerprint,
}

impl Coordinator {
    /// Makes a coordinator of a store. It serves calls at once; [`Self::run`] makes waits wake and deadlines fire.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Clock, retention: Retention) -> Arc<Self> {
        Arc::new(Self {
            followed: AtomicU64::new(store.revision().0),
            store,
            clock,
            retention,
            held: Mutex::default(),
            waiters: Arc::default(),
            deadline_set: Notify::new(),
            draining: CancellationToken::new(),
        })
    }

    /// Follows the store's feed and the deadlines, and forgets what is old, until the store fails.
    ///
    /// # Errors
    ///
    /// The store's: the process has to end, since nothing more would be acknowledged or shown.
    pub async fn run(self: &Arc<Self>) -> Result<Infallible, store::Error> {
        let (never, ..) = tokio::try_join!(self.follow_feed(), deadlines::run(self), retention::run(self))?;
        Ok(never)
    }

    /// Returns the time, as deadlines are measured in it.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Says whether changes are taken now.
    ///
    /// # Errors
    ///
    /// [`Error::Draining`] when the coordinator stops, or why the store takes none.
    pub async fn ready(&self) -> Result<(), Error> {
        if self.draining.is_cancelled() { Err(Error::Draining) } else { Ok(self.store.writable().await?) }
    }

    /// Ends every wait and watch with [`Error::Draining`].
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Creates a gate; a gate of that name with the same spec is a success that changes nothing.
    pub async fn create(&self, call: &Call, name: &GateName, spec: Spec) -> Result<View, Error> {
        let requester = call.principal.clone();
        let command = Command::Create { uid: Uid(Uuid::new_v4().to_string()), spec, requester };
        self.execute(name, &command, call).await.map(|gate| self.view(gate))
    }

    /// Approves a gate's round, or, with `validate_only`, says what that would do.
    pub async fn approve(
        &self,
        call: &Call,
        name: &GateName,
        ballot: Ballot,
        validate_only: bool,
    ) -> Result<View, Error> {
        self.vote(call, name, &Command::Approve(ballot), validate_only).await
    }

    /// Rejects a gate's round, or, with `validate_only`, says what that would do.
    pub async fn reject(
        &self,
        call: &Call,
        name: &GateName,
        ballot: Ballot,
        validate_only: bool,
    ) -> Result<View, Error> {
        self.vote(call, name, &Command::Reject(ballot), validate_only).await
    }

    async fn vote(&self, call: &Call, name: &GateName, vote: &Command, validate_only: bool) -> Result<View, Error> {
        let gate = if validate_only { self.preview(name, vote).await } else { self.execute(name, vote, call).await };
        gate.map(|gate| self.view(gate))
    }

    /// Adds facts to what is known of a gate's round; with a round, only of that one.
    pub async fn report_evidence(
        &self,
        call: &Call,
        name: &GateName,
        facts: Facts,
        round: Option<Round>,
    ) -> Result<View, Error> {
        let command = Command::ReportEvidence { facts, round, by: call.principal.clone() };
        self.execute(name, &command, call).await.map(|gate| self.view(gate))
    }

    /// Decides a gate as a rule says that looked at it, unless the gate has changed since.
    pub async fn settle(&self, name: &GateName, ruling: Ruling) -> Result<Gate, Error> {
        // Nobody calls; nor is a ruling repeated: it is about one state of the gate.
        let nobody = Call { principal: Principal::anonymous(), request: None };
        self.execute(name, &Command::Settle(ruling), &nobody).await
    }

    /// Begins a new round of a gate.
    pub async fn reset(&self, call: &Call, name: &GateName) -> Result<View, Error> {
        let command = Command::Reset { by: call.principal.clone() };
        self.execute(name, &command, call).await.map(|gate| self.view(gate))
    }

    /// Begins a new round of every gate in a group, and answers with each as its reset left it.
    pub async fn reset_group(&self, call: &Call, prefix: &Prefix) -> Result<Vec<Gate>, Error> {
        if let Some(gates) = self.answered(call, None).await? {
            return Ok(gates);
        }
        let limit = RESET_GATES_MAX + 1;
        let query = ListQuery { prefix: prefix.clone(), unresolved: false, after: None, limit };
        let group = self.store.list(query).await?.gates;
        if group.len() > RESET_GATES_MAX {
            return Err(Error::LimitExceeded { what: "gates in one reset", limit: RESET_GATES_MAX });
        }
        // Side by side, so that the group shares the store's syncs. Each reset is remembered as a part of the request:
        // a repetition after a failure half way does the rest.
        let command = Command::Reset { by: call.principal.clone() };
        let resets = group.iter().map(|gate| self.execute_part(&gate.name, &command, call));
        let mut gates = Vec::with_capacity(group.len());
        for reset in futures_util::future::join_all(resets).await {
            match reset {
                Ok(gate) => gates.push(gate),
                // Deleted since the group was read: it belongs to it no longer.
                Err(Error::Refused(Refusal::NotFound(_))) => {}
                Err(error) => return Err(error),
            }
        }
        self.remember(call, gates.iter().map(|gate| gate.revision).collect()).await?;
        Ok(gates)
    }

    /// Deletes a gate; with an etag, only in that state.
    pub async fn delete(&self, call: &Call, name: &GateName, etag: Option<Etag>) -> Result<(), Error> {
        let command = Command::Delete { by: call.principal.clone(), etag };
        self.execute(name, &command, call).await.map(drop)
    }

    /// Waits on a gate. With a spec, a missing gate is created.
    pub async fn wait(self: &Arc<Self>, call: &Call, query: WaitQuery) -> Result<Wait, Error> {
        if let Some(spec) = &query.spec {
            self.create(call, &query.gate, spec.clone()).await.map_err(Error::into_spec_conflict)?;
        }
        Ok(Wait::new(self.clone(), call.principal.clone(), query))
    }

    /// Hands each event to those who wait on its gate.
    async fn follow_feed(&self) -> Result<Infallible, store::Error> {
        let mut position = Revision(self.followed.load(Ordering::Relaxed));
        loop {
            for event in self.store.changes_after(position).await? {
                position = event.revision();
                if event.kind == EventKind::Waiting && event.gate.deadline.is_some() {
                    self.deadline_set.notify_one();
                }
                self.waiters.publish(Arc::clone(&event));
                measure::decided(&event);
            }
            self.followed.store(position.0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
