//! The fence: every change of a gate, whatever its cause, is decided on the gate as it was read and committed only if
//! it still is that.

use crate::domain::{Command, Event, Gate, GateName, Refusal, Revision, decide};
use crate::store::{self, Change, Request, RequestKey};

use super::{Call, Coordinator, Error, RequestId};

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
                None if revision < self.store.oldest() => return Ok(None),
                None => {
                    let problem = format!("it answers the request {id:?} and is missing");
                    return Err(store::Error::Corrupt { place: format!("revision {revision}"), problem }.into());
                }
            }
        }
        Ok(Some(gates))
    }

    /// Remembers that events which exist already are the answer of a call.
    pub(super) async fn remember(&self, call: &Call, answer: Vec<Revision>) -> Result<(), Error> {
        match self.request(call, None) {
            // In conflict, a repetition of the same call was quicker: the parts have made both answers equal.
            Some(request) => match self.store.remember(request, answer).await {
                Ok(()) | Err(store::Error::Conflict) => Ok(()),
                Err(error) => Err(error.into()),
            },
            None => Ok(()),
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
            let refused = match self.attempt(name, command, call, part).await {
                Ok(gate) => return Ok(gate),
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

    async fn attempt(
        &self,
        name: &GateName,
        command: &Command,
        call: &Call,
        part: Option<&GateName>,
    ) -> Result<Gate, Error> {
        let request = self.request(call, part);
        match self.consider(name, command).await? {
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

    /// Decides on the gate as it is now, after timing it out if it is past its deadline.
    async fn consider(&self, name: &GateName, command: &Command) -> Result<(Option<Gate>, Option<Event>), Error> {
        loop {
            let gate = self.store.get(name).await?;
            match decide(name, gate.as_ref(), command, self.clock.now()) {
                Ok(event) => return Ok((gate, event)),
                Err(Refusal::Overdue { .. }) => self.expire(name).await?,
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }

    fn request(&self, call: &Call, part: Option<&GateName>) -> Option<Request> {
        let id = call.request.as_ref()?;
        Some(Request { key: call.key(id, part), fingerprint: id.fingerprint, time: self.clock.now() })
    }
}

impl Call {
    fn key(&self, request: &RequestId, part: Option<&GateName>) -> RequestKey {
        RequestKey { principal: self.principal.clone(), id: request.id.clone(), part: part.cloned() }
    }
}
