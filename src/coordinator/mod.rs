//! Carries out what callers ask: one fence that every change of a gate goes through, the deadlines, and those who wait
//! and watch.
//!
//! The coordinator keeps no copy of the gates. Its memory follows the live waits and watches; what happened it learns
//! from the store's feed alone, so a change made by another coordinator on a shared store looks the same as its own.

mod access;
mod clock;
mod deadlines;
mod error;
mod feed;
mod fence;
mod measure;
mod outage;
mod outbox;
mod peers;
mod presence;
mod read;
mod retention;
mod wait;
mod waiters;
mod watch;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::{
    Ballot, Command, Etag, Facts, Gate, GateName, OnTimeout, Prefix, Principal, Refusal, Revision, Round, Ruling, Spec,
    Status, Uid, WebhookName,
};
use crate::store::{self, Fingerprint, Store};

pub use access::{Access, Caller, Permission};
pub use clock::Clock;
pub use error::Error;
pub use outage::Outage;
pub use read::{GatePage, GateQuery, History, ListPlace, View};
pub use retention::Retention;
pub use store::{DeadLetter, DeadlinePlace, Error as StoreError, HistoryPage, Outbox, OutboxChange, Topic};
pub use wait::{Wait, WaitQuery};
pub use watch::{WatchItem, WatchQuery};

/// Most gates that one call resets: their answer, each with the largest spec, stays below a message's usual 4 MiB.
pub const RESET_GATES_MAX: usize = 160;

/// Coordinates the gates of one store.
pub struct Coordinator {
    store: Arc<dyn Store>,
    clock: Clock,
    /// How far the feed was followed. It starts where the coordinator was made, so that whoever waits before
    /// [`Coordinator::run`] misses nothing.
    followed: AtomicU64,
    retention: Retention,
    limits: Limits,
    /// How far each webhook has come, as this coordinator saved it last, so that retention leaves it what comes after:
    /// what is settled stays so, whoever leads. A std mutex: held for a map operation, and never across an await.
    held: Mutex<HashMap<WebhookName, Revision>>,
    waiters: Arc<waiters::Waiters>,
    /// In which waits look at their gates again after an outage.
    turns: outage::Turns,
    /// How many gates there were, and when they were counted. A std mutex: held to copy it.
    counted: Mutex<Option<(u64, Instant)>>,
    /// Told when a deadline may have become the earliest.
    deadline_set: Notify,
    draining: CancellationToken,
}

/// How much the coordinator takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Waits on one gate at a time, at this coordinator.
    pub waiters_per_gate: usize,
    /// Gates; those that are created at the same moment may pass it together.
    pub gates: u64,
}

/// No limits.
impl Default for Limits {
    fn default() -> Self {
        Self { waiters_per_gate: usize::MAX, gates: u64::MAX }
    }
}

/// Who calls, and how to know the call when it is repeated.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who calls, and what they may do.
    pub caller: Caller,
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

impl Call {
    /// Returns who calls, as verified.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.caller.identity.principal
    }
}

impl Coordinator {
    /// Makes a coordinator of a store, without limits. It serves calls at once; [`Self::run`] makes waits wake and
    /// deadlines fire.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Clock, retention: Retention) -> Arc<Self> {
        Self::with_limits(store, clock, retention, Limits::default())
    }

    /// Does the same with limits.
    #[must_use]
    pub fn with_limits(store: Arc<dyn Store>, clock: Clock, retention: Retention, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            followed: AtomicU64::new(store.revision().0),
            waiters: Arc::new(waiters::Waiters::new(limits.waiters_per_gate, store.peers().is_some())),
            turns: outage::Turns::new(store.peers().is_some()),
            store,
            clock,
            retention,
            limits,
            held: Mutex::default(),
            counted: Mutex::default(),
            deadline_set: Notify::new(),
            draining: CancellationToken::new(),
        })
    }

    /// Follows the store's feed and the deadlines, tells other coordinators who waits here and operators who leads, and
    /// forgets what is old, until the store fails. One that is only away is waited for.
    ///
    /// # Errors
    ///
    /// The store's: the process has to end, since nothing more would be acknowledged or shown.
    pub async fn run(self: &Arc<Self>) -> Result<Infallible, store::Error> {
        let (never, ..) = tokio::try_join!(
            feed::run(self),
            deadlines::run(self),
            presence::run(self),
            peers::run(self),
            retention::run(self)
        )?;
        Ok(never)
    }

    /// Returns the time, as deadlines are measured in it.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Says whether changes are taken now, and told to those who wait and watch.
    ///
    /// # Errors
    ///
    /// [`Error::Draining`] when the coordinator stops, or why the store takes none.
    pub async fn ready(&self) -> Result<(), Error> {
        if self.draining.is_cancelled() { Err(Error::Draining) } else { Ok(self.store.ready().await?) }
    }

    /// Tells the other coordinators of the store, if there are any, that this one has ended.
    pub async fn leave(&self) {
        if let Some(peers) = self.store.peers() {
            peers.leave().await;
        }
    }

    /// Ends every wait and watch with [`Error::Draining`].
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Creates a gate; a gate of that name with the same spec is a success that changes nothing.
    pub async fn create(&self, call: &Call, name: &GateName, spec: Spec) -> Result<View, Error> {
        call.caller.check(Permission::Create, Some(name))?;
        if spec.exempts() {
            call.caller.check(Permission::Exempt, Some(name))?;
        }
        let requester = call.principal().clone();
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
        self.vote(call, name, Permission::Decide, &Command::Approve(ballot), validate_only).await
    }

    /// Rejects a gate's round, or, with `validate_only`, says what that would do.
    pub async fn reject(
        &self,
        call: &Call,
        name: &GateName,
        ballot: Ballot,
        validate_only: bool,
    ) -> Result<View, Error> {
        self.vote(call, name, Permission::Decide, &Command::Reject(ballot), validate_only).await
    }

    /// Approves a gate's round whatever it asks for, or, with `validate_only`, says what that would do.
    pub async fn break_glass(
        &self,
        call: &Call,
        name: &GateName,
        ballot: Ballot,
        validate_only: bool,
    ) -> Result<View, Error> {
        self.vote(call, name, Permission::BreakGlass, &Command::BreakGlass(ballot), validate_only).await
    }

    async fn vote(
        &self,
        call: &Call,
        name: &GateName,
        permission: Permission,
        vote: &Command,
        validate_only: bool,
    ) -> Result<View, Error> {
        // What would be is answered with all that there is of the gate.
        call.caller.check(Permission::View, Some(name))?;
        call.caller.check(permission, Some(name))?;
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
        call.caller.check(Permission::Report, Some(name))?;
        let command = Command::ReportEvidence { facts, round, by: call.principal().clone() };
        self.execute(name, &command, call).await.map(|gate| self.view(gate))
    }

    /// Decides a gate as a rule says that looked at it, unless the gate has changed since.
    pub async fn settle(&self, name: &GateName, ruling: Ruling) -> Result<Gate, Error> {
        // Nobody calls; nor is a ruling repeated: it is about one state of the gate.
        let nobody = Call { caller: Caller::anonymous(), request: None };
        self.execute(name, &Command::Settle(ruling), &nobody).await
    }

    /// Begins a new round of a gate.
    pub async fn reset(&self, call: &Call, name: &GateName) -> Result<View, Error> {
        call.caller.check(Permission::Reset, Some(name))?;
        let command = Command::Reset { by: call.principal().clone() };
        self.execute(name, &command, call).await.map(|gate| self.view(gate))
    }

    /// Begins a new round of every gate in a group that the caller may see, or of none if one of them is not theirs to
    /// reset. Answers with each as its reset left it.
    pub async fn reset_group(&self, call: &Call, prefix: &Prefix) -> Result<Vec<Gate>, Error> {
        if let Some(gates) = self.answered(call, None).await? {
            for gate in &gates {
                call.caller.check(Permission::Reset, Some(&gate.name))?;
            }
            return Ok(gates);
        }
        let group = self.resettable(&call.caller, prefix).await?;
        // Side by side, so that the group shares the store's syncs. Each reset is remembered as a part of the request:
        // a repetition after a failure half way does the rest.
        let command = Command::Reset { by: call.principal().clone() };
        let resets = group.iter().map(|name| self.execute_part(name, &command, call));
        let mut gates = Vec::with_capacity(group.len());
        for reset in futures_util::future::join_all(resets).await {
            match reset {
                Ok(gate) => gates.push(gate),
                // Deleted since the group was read: it belongs to it no longer.
                Err(Error::Refused(Refusal::NotFound(_))) => {}
                Err(error) => return Err(error),
            }
        }
        self.remember(call, gates).await
    }

    /// Names the gates of a group that the caller may see, each of which is theirs to reset.
    async fn resettable(&self, caller: &Caller, prefix: &Prefix) -> Result<Vec<GateName>, Error> {
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let limit = RESET_GATES_MAX + 1 - names.len();
            let query = GateQuery { prefix: prefix.clone(), statuses: Vec::new(), after, limit };
            let page = self.list(caller, query).await?;
            for view in page.views {
                check_reset(caller, &view.gate)?;
                names.push(view.gate.name);
            }
            if names.len() > RESET_GATES_MAX {
                return Err(Error::LimitExceeded { what: "gates in one reset", limit: RESET_GATES_MAX });
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(names),
            }
        }
    }

    /// Deletes a gate; with an etag, only in that state.
    pub async fn delete(&self, call: &Call, name: &GateName, etag: Option<Etag>) -> Result<(), Error> {
        call.caller.check(Permission::Delete, Some(name))?;
        let command = Command::Delete { by: call.caller.identity.clone(), etag };
        self.execute(name, &command, call).await.map(drop)
    }

    /// Waits on a gate. With a spec, a missing gate is created.
    pub async fn wait(self: &Arc<Self>, call: &Call, query: WaitQuery) -> Result<Wait, Error> {
        call.caller.check(Permission::Wait, Some(&query.gate))?;
        if let Some(spec) = &query.spec {
            self.create(call, &query.gate, spec.clone()).await.map_err(Error::into_spec_conflict)?;
        }
        Ok(Wait::new(self.clone(), call.caller.clone(), query))
    }
}

/// Checks that somebody may begin a new round of a gate as it is. Where silence approves, a reset undoes a rejection, and
/// takes the permission to decide as well.
fn check_reset(caller: &Caller, gate: &Gate) -> Result<(), Error> {
    caller.check(Permission::Reset, Some(&gate.name))?;
    let undoes = gate.status == Status::Rejected && gate.spec.on_timeout == OnTimeout::Approve;
    if undoes { caller.check(Permission::Decide, Some(&gate.name)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
