//! A live wait on a gate: it never misses the resolution, whenever that comes.

use std::sync::Arc;

use crate::domain::{Command, Gate, GateName, Principal, Refusal, Round, Status, Uid};

use super::waiters::{Seat, Waiter};
use super::{Call, Coordinator, Error};

/// One worker's wait on one gate.
pub struct Wait {
    coordinator: Arc<Coordinator>,
    call: Call,
    name: GateName,
    /// The only round to wait on.
    pinned: Option<Round>,
    waiter: Waiter,
    seat: Option<Seat>,
    /// The gate as it was last told.
    told: Option<Told>,
}

/// What a wait has to know of the gate that it last told its caller about.
struct Told {
    uid: Uid,
    round: Round,
    revision: crate::domain::Revision,
    ended: bool,
}

impl Wait {
    pub(super) fn new(
        coordinator: Arc<Coordinator>,
        principal: Principal,
        name: GateName,
        pinned: Option<Round>,
        waiter: Waiter,
    ) -> Self {
        let call = Call { principal, request: None };
        Self { coordinator, call, name, pinned, waiter, seat: None, told: None }
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
        let ended = gate.status.is_terminal();
        self.told = Some(Told { uid: gate.uid.clone(), round: gate.round, revision: gate.revision, ended });
        Ok(Some(gate))
    }

    async fn next_state(&mut self) -> Result<Gate, Error> {
        loop {
            let Some(seat) = &mut self.seat else {
                // The feed first, the gate second: what happens in between reaches the seat.
                let seat = self.coordinator.waiters.sit(&self.name, self.waiter.clone());
                let gate = self.arrive().await?;
                self.seat = Some(seat);
                if self.is_news(&gate) {
                    return Ok(gate);
                }
                continue;
            };
            match seat.event().await {
                Some(event) if !self.is_news(&event.gate) => {}
                Some(event) if self.stands(&event.gate) => return Ok(event.gate.clone()),
                // Another round has begun, or the room was closed by something older than what was told.
                Some(_) | None => self.seat = None,
            }
        }
    }

    /// Reaches the gate in the round that this wait is in, or in the one that followed it.
    async fn arrive(&self) -> Result<Gate, Error> {
        let mut round = self.pinned.or(self.told.as_ref().map(|told| told.round));
        loop {
            let command = Command::Wait { round, by: self.call.principal.clone() };
            let gate = match self.coordinator.execute(&self.name, &command, &self.call).await {
                Ok(gate) => gate,
                Err(Error::Refused(Refusal::RoundMismatch { round: past, .. })) => {
                    let gate = self.coordinator.gate(&self.name, Some(past)).await?;
                    if !gate.status.is_terminal() {
                        let next_round = past.next();
                        if self.pinned.is_some() {
                            return Err(Error::RoundReset { gate: self.name.clone(), round: past, next_round });
                        }
                        round = Some(next_round);
                        continue;
                    }
                    gate
                }
                Err(error) => return Err(error),
            };
            // Another gate under the same name is not the one that was waited on.
            return match &self.told {
                Some(told) if told.uid != gate.uid => Err(Refusal::NotFound(self.name.clone()).into()),
                _ => Ok(gate),
            };
        }
    }

    fn is_news(&self, gate: &Gate) -> bool {
        self.told.as_ref().is_none_or(|told| gate.revision > told.revision)
    }

    /// Says whether the wait goes on in the gate's round as it is: a new round has to be reached first.
    fn stands(&self, gate: &Gate) -> bool {
        gate.status != Status::Pending && self.pinned.is_none_or(|round| round == gate.round)
    }
}
