//! A live wait on a gate: it never misses the resolution, whenever that comes.

use std::sync::Arc;

use crate::domain::{Command, Gate, GateName, Refusal, Revision, Round, Spec, Status, Uid, Waiter};
use crate::store;

use super::waiters::Seat;
use super::{Call, Caller, Coordinator, Error, Permission};

/// What to wait on.
#[derive(Clone, Debug)]
pub struct WaitQuery {
    /// The gate.
    pub gate: GateName,
    /// The only round; none is the current one, and those that follow it when it is reset.
    pub round: Option<Round>,
    /// The only gate of that name; none is the one that is told first.
    pub uid: Option<Uid>,
    /// What the gate asks for, to create it where it is missing.
    pub spec: Option<Spec>,
    /// Who waits.
    pub waiter: Waiter,
}

/// One worker's wait on one gate.
pub struct Wait {
    coordinator: Arc<Coordinator>,
    call: Call,
    query: WaitQuery,
    seat: Option<Seat>,
    /// The gate as it was last told.
    told: Option<Told>,
    /// Whether it was cut off from its gate, as all others were: it looks again in turn with them.
    is_cut: bool,
}

/// What a wait has to know of the gate that it last told its caller about.
struct Told {
    round: Round,
    revision: Revision,
    ended: bool,
}

impl Wait {
    pub(super) fn new(coordinator: Arc<Coordinator>, caller: Caller, query: WaitQuery) -> Self {
        let call = Call { caller, request: None };
        Self { coordinator, call, query, seat: None, told: None, is_cut: false }
    }

    /// Returns the gate at first, then at each change, a change that another follows at once being left out; none after
    /// the gate with a terminal status. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Draining`] when the coordinator stops, [`Error::RoundReset`] when the only round that this waits on was
    /// reset, or why the gate cannot be waited on.
    pub async fn next(&mut self) -> Result<Option<Gate>, Error> {
        if self.told.as_ref().is_some_and(|told| told.ended) {
            return Ok(None);
        }
        let draining = self.coordinator.draining.clone();
        let gate = tokio::select! {
            // A resolution that is there goes before the drain.
            biased;
            gate = self.next_state() => gate?,
            () = draining.cancelled() => return Err(Error::Draining),
        };
        // Each time: a grant or a token may have been withdrawn since the wait began. That its time is over takes nobody
        // the answer that they wait for.
        self.call.caller.check(Permission::Wait, Some(&gate.name))?;
        let ended = gate.status.is_terminal();
        self.query.uid.get_or_insert_with(|| gate.uid.clone());
        self.told = Some(Told { round: gate.round, revision: gate.revision, ended });
        Ok(Some(gate))
    }

    async fn next_state(&mut self) -> Result<Gate, Error> {
        loop {
            let Some(seat) = &mut self.seat else {
                // The feed first, the gate second: what happens in between reaches the seat.
                let seat = self.coordinator.waiters.sit(&self.query.gate, self.query.waiter.clone())?;
                let gate = self.arrive_in_the_end().await?;
                self.seat = Some(seat);
                if self.is_news(&gate) {
                    return Ok(gate);
                }
                continue;
            };
            match seat.event().await {
                Some(event) if !self.is_news(&event.gate) && !event.ends_round() => {}
                Some(event) if self.is_news(&event.gate) && self.stands(&event.gate) => return Ok(event.gate.clone()),
                // Another round or gate has begun, or the room was closed by something older than what was told.
                Some(_) => self.seat = None,
                // All rooms were closed.
                None => (self.seat, self.is_cut) = (None, true),
            }
        }
    }

    /// Reaches the gate; once its state has been told, a store that is away ends no wait.
    async fn arrive_in_the_end(&mut self) -> Result<Gate, Error> {
        loop {
            let coordinator = Arc::clone(&self.coordinator);
            let _turn = if self.is_cut { coordinator.turns.next().await } else { None };
            match self.arrive().await {
                Err(Error::Store(store::Error::Unavailable { .. })) if self.told.is_some() => self.is_cut = true,
                arrived => {
                    self.is_cut = false;
                    return arrived;
                }
            }
        }
    }

    /// Reaches the gate in the round that this wait is in, or in the one that followed it.
    async fn arrive(&self) -> Result<Gate, Error> {
        let WaitQuery { gate: name, round: pinned, uid, .. } = &self.query;
        let mut round = pinned.or(self.told.as_ref().map(|told| told.round));
        loop {
            // It may begin a round: whoever may no longer wait must not.
            self.call.caller.check(Permission::Wait, Some(name))?;
            let command = Command::Wait { round, uid: uid.clone(), by: self.call.principal().clone() };
            match self.coordinator.execute(name, &command, &self.call).await {
                Ok(gate) => return Ok(gate),
                Err(Error::Refused(Refusal::RoundMismatch { round: past, .. })) => {
                    let gate = self.coordinator.gate(name, Some(past)).await?;
                    if gate.was_approved_by_its_first(self.call.principal()) {
                        let principal = self.call.principal().clone();
                        return Err(Refusal::OwnApproval { gate: name.clone(), principal }.into());
                    }
                    if gate.status.is_terminal() {
                        return Ok(gate);
                    }
                    let next_round = past.next();
                    if pinned.is_some() {
                        return Err(Error::RoundReset { gate: name.clone(), round: past, next_round });
                    }
                    round = Some(next_round);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_news(&self, gate: &Gate) -> bool {
        self.told.as_ref().is_none_or(|told| gate.revision > told.revision)
    }

    /// Says whether the wait goes on in the gate's round as it is: a new round, or another gate, has to be reached first, and
    /// so has one that whoever waits approved before anybody waited on it.
    fn stands(&self, gate: &Gate) -> bool {
        gate.status != Status::Pending
            && !gate.was_approved_by_its_first(self.call.principal())
            && self.query.round.is_none_or(|round| round == gate.round)
            && self.query.uid.as_ref().is_none_or(|uid| *uid == gate.uid)
    }
}
