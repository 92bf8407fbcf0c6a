//! Waiting on a gate, for as long as it takes.

use std::pin::Pin;
use std::time::Duration;

use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use memory::{Memory, Next};

use super::{Client, Error, stream};
use crate::proto::wait_response::Message;
use crate::proto::{Gate, GateStatus, WaitRequest};

mod memory;

/// A wait that outlives its connections: see [`Client::wait`].
///
/// It reconnects for as long as the coordinator cannot be reached, and then neither misses a resolution that came and
/// was reset away meanwhile, nor makes a gate again that was deleted. Dropping it ends the wait.
pub struct Wait {
    updates: Pin<Box<dyn Stream<Item = Result<Update, Error>> + Send>>,
    gate: String,
}

/// What a wait learns.
#[derive(Debug)]
pub enum Update {
    /// The gate, first as it is and then at each change; a terminal status is the last update.
    Gate(Box<Gate>),
    /// There is no connection. The next gate says that there is one again.
    Disconnected {
        /// Why.
        error: Error,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Go on.
    Approved(Gate),
    /// Stop. With cause `CANCELLED` the gate was deleted before it was decided.
    Rejected(Gate),
    /// Nobody decided before the deadline.
    TimedOut(Gate),
}

impl Wait {
    pub(super) fn new(client: Client, request: WaitRequest) -> Self {
        let gate = request.gate.clone();
        Self { updates: Box::pin(updates(client, request)), gate }
    }

    /// Returns what happens next, and nothing once the round is resolved. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Update>, Error> {
        self.updates.next().await.transpose()
    }

    /// Waits until the round is resolved.
    pub async fn outcome(mut self) -> Result<Outcome, Error> {
        while let Some(update) = self.next().await? {
            if let Update::Gate(gate) = update
                && let Ok(outcome) = Outcome::try_from(*gate)
            {
                return Ok(outcome);
            }
        }
        // Only after `next` has returned the resolution, or an error, to somebody else.
        Err(Error::Over { gate: self.gate })
    }
}

impl Outcome {
    /// Returns the gate as its round ended.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        match self {
            Self::Approved(gate) | Self::Rejected(gate) | Self::TimedOut(gate) => gate,
        }
    }
}

/// Gives the gate back if its round is undecided.
impl TryFrom<Gate> for Outcome {
    type Error = Box<Gate>;

    fn try_from(gate: Gate) -> Result<Self, Box<Gate>> {
        match gate.status() {
            GateStatus::Approved => Ok(Self::Approved(gate)),
            GateStatus::Rejected => Ok(Self::Rejected(gate)),
            GateStatus::TimedOut => Ok(Self::TimedOut(gate)),
            GateStatus::Unspecified | GateStatus::Pending | GateStatus::Waiting => Err(Box::new(gate)),
        }
    }
}

fn is_terminal(status: GateStatus) -> bool {
    match status {
        GateStatus::Approved | GateStatus::Rejected | GateStatus::TimedOut => true,
        GateStatus::Unspecified | GateStatus::Pending | GateStatus::Waiting => false,
    }
}

fn updates(client: Client, request: WaitRequest) -> impl Stream<Item = Result<Update, Error>> + Send {
    async_stream::stream! {
        let mut memory = Memory::new(request);
        let mut turns = client.endpoints.turns_of_stream();
        loop {
            let endpoint = client.endpoints.at(&turns);
            let mut service = endpoint.streams.clone();
            let opened = stream::open(service.wait(memory.request())).await;
            let lost = match opened {
                Err(status) => status,
                Ok(mut messages) => loop {
                    match stream::next(&mut messages).await {
                        Err(status) => break status,
                        Ok(None) => break Status::unavailable("the stream ended before the round did"),
                        Ok(Some(response)) => {
                            turns.on_answer();
                            let Some(Message::Gate(gate)) = response.message else { continue };
                            if let Err(error) = memory.on_gate(&gate) {
                                yield Err(error);
                                return;
                            }
                            let resolved = is_terminal(gate.status());
                            yield Ok(Update::Gate(Box::new(gate)));
                            if resolved {
                                return;
                            }
                        }
                    }
                },
            };
            match memory.on_error(Error::from_status(&endpoint.address, lost)) {
                Next::GoOn => {}
                Next::Fail(error) => {
                    yield Err(error);
                    return;
                }
                Next::Pause(error) => {
                    let retry_in = turns.next(&error);
                    yield Ok(Update::Disconnected { error, retry_in });
                    tokio::time::sleep(retry_in).await;
                }
            }
        }
    }
}
