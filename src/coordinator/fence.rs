//! The fence: every change of a gate, whatever its cause, is decided on the gate as it was read and committed only if
//! it still is that.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::domain::{Command, Event, Gate, GateName, Refusal, decide};
use crate::store::{self, Change, Request, RequestKey};

use super::{Call, Coordinator, Error, RequestId, check_reset};

/// How often the gates of a store that is shared are counted, to see whether there may be more.
const COUNT_EVERY: Duration = Duration::from_secs(1);

impl Coordinator {
    /// Carries out a command and returns the gate after it, once that is durable.
    pub(super) async fn execute(&self, name: &GateName, command: &Command, call: &Call) -> Result<Gate, Error> {
        self.execute_as(name, command, call, None).await
    }

    /// Carries out a command on one gate of a call about many.
    pub(super) async fn execute_part(&self, name: &GateName, command: &Command, call: &Call) -> Result<Gate, Error> {
        self.execute_as(name, command, call, Some(name)).await
    }

    /// Times a gate out, if it still is past its deadline.
    pub(super) async fn expire(&self, name: &GateName) -> Result<(), store::Error> {
        loop {
            let before = self.store.get(name).await?;
            // Refused: somebody else came first.
            let Ok(Some(event)) = decide(name, before.as_ref(), &Command::Expire, self.clock.now()) else {
                return Ok(());
            };
            match self.store.commit(Change { before, event, request: None }).await {
                Ok(_) => return Ok(()),
                Err(store::Error::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Says what a command would do, and changes nothing.
    pub(super) async fn preview(&self, name: &GateName, command: &Command) -> Result<Gate, Error> {
        let (before, event) = self.consider(name, command).await?;
        event.map(|event| event.gate).or(before).ok_or_else(|| Refusal::NotFound(name.clone()).into())
    }

    /// Returns the answer of a call that was made before, if it was.
    pub(super) async fn answered(&self, call: &Call, part: Option<&GateName>) -> Result<Option<Vec<Gate>>, Error> {
        let Some((key, RequestId { id, fingerprint })) = call.request.as_ref().map(|id| (call.key(id, part), id))
        else {
            return Ok(None);
        };
        let Some(answer) = self.store.answer(&key).await? else {
            return Ok(None);
        };
        // The parts of a request share its body, and so its fingerprint.
        if answer.fingerprint != *fingerprint {
            return Err(Error::RequestIdReused { id: id.clone() });
        }
        let mut gates = Vec::with_capacity(answer.revisions.len());
        for revision in answer.revisions {
            match self.store.event(revision).await? {
                Some(event) => gates.push(event.gate.clone()),
                // Forgotten just now, and the answer with it.
                None if self.store.answer(&key).await?.is_none() => return Ok(None),
                None => {
                    let problem = format!("it answers the request {id:?} and is missing");
                    return Err(store::Error::Corrupt { place: format!("revision {revision}"), problem }.into());
                }
            }
        }
        Ok(Some(gates))
    }

    /// Remembers gates, each as an event that exists left it, as the answer of a call, and returns the answer.
    pub(super) async fn remember(&self, call: &Call, gates: Vec<Gate>) -> Result<Vec<Gate>, Error> {
        let Some(request) = self.request(call, None) else { return Ok(gates) };
        match self.store.remember(request, gates.iter().map(|gate| gate.revision).collect()).await {
            Ok(()) => Ok(gates),
            // A repetition of the same call was quicker, and may have found other gates: the first answer is that of all.
            Err(store::Error::Conflict) => Ok(self.answered(call, None).await?.unwrap_or(gates)),
            Err(error) => Err(error.into()),
        }
    }

    async fn execute_as(
        &self,
        name: &GateName,
        command: &Command,
        call: &Call,
        part: Option<&GateName>,
    ) -> Result<Gate, Error> {
        loop {
            let considered = self.consider(name, command).await.and_then(|(before, event)| {
                if let (Some(gate), Command::Reset { .. }) = (&before, command) {
                    check_reset(&call.caller, gate)?;
                }
                Ok((before, event))
            });
            let refused = match considered {
                Ok((before, event)) => match self.carry_out(name, before, event, self.request(call, part)).await {
                    Ok(gate) => return Ok(gate),
                    Err(refused) => refused,
                },
                // Nothing was sent. To ask once more would cost the call the store's whole time limit again.
                Err(away @ Error::Store(store::Error::Unavailable { .. })) => return Err(away),
                Err(refused) => refused,
            };
            // A repetition is always refused, at the latest by the store: its answer is there.
            match self.answered(call, part).await?.and_then(|gates| gates.into_iter().next()) {
                Some(answer) => return Ok(answer),
                None if matches!(refused, Error::Store(store::Error::Conflict)) => {}
                None => return Err(refused),
            }
        }
    }

    /// Commits what was decided, and the request with it.
    async fn carry_out(
        &self,
        name: &GateName,
        before: Option<Gate>,
        event: Option<Event>,
        request: Option<Request>,
    ) -> Result<Gate, Error> {
        match (before, event) {
            (before, Some(event)) => Ok(self.store.commit(Change { before, event, request }).await?.gate.clone()),
            // It is so already. The call is remembered all the same: its repetition is answered from here.
            (Some(gate), None) => {
                if let Some(request) = request {
                    self.store.remember(request, vec![gate.revision]).await?;
                }
                Ok(gate)
            }
            (None, None) => Err(Refusal::NotFound(name.clone()).into()),
        }
    }

    /// Decides on the gate as it is now, after timing it out if it is past its deadline. Nothing is sent of the command.
    async fn consider(&self, name: &GateName, command: &Command) -> Result<(Option<Gate>, Option<Event>), Error> {
        loop {
            let gate = self.store.get(name).await?;
            match decide(name, gate.as_ref(), command, self.clock.now()) {
                Ok(Some(_)) if gate.is_none() && self.is_full().await? => {
                    return Err(Error::TooManyGates { limit: self.limits.gates });
                }
                Ok(event) => return Ok((gate, event)),
                Err(Refusal::Overdue { .. }) => self.expire(name).await?,
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }

    /// Says whether there are as many gates as there may be.
    async fn is_full(&self) -> Result<bool, store::Error> {
        if self.limits.gates == u64::MAX {
            return Ok(false);
        }
        let known = *self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        // Only a store that is shared has to go through its gates to count them.
        if let Some((count, _)) = known.filter(|(_, when)| self.has_peers() && when.elapsed() < COUNT_EVERY) {
            return Ok(count >= self.limits.gates);
        }
        let when = Instant::now();
        let count = self.store.counts().await?.iter().map(|(_, count)| count).sum();
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some((count, when));
        Ok(count >= self.limits.gates)
    }

    fn request(&self, call: &Call, part: Option<&GateName>) -> Option<Request> {
        let id = call.request.as_ref()?;
        Some(Request { key: call.key(id, part), fingerprint: id.fingerprint, time: self.clock.now() })
    }
}

impl Call {
    fn key(&self, request: &RequestId, part: Option<&GateName>) -> RequestKey {
        RequestKey::new(self.principal(), &request.id, part)
    }
}
