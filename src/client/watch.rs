//! Watching what happens to gates.

use std::pin::Pin;
use std::time::Duration;

use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use memory::Memory;

use super::{Client, Error, stream};
use crate::proto::{Event, EventType, WatchRequest};

mod memory;

/// A watch that outlives its connections: see [`Client::watch`].
///
/// Events come in the order of their revisions, each once and none left out. Only an initial state may be repeated, when
/// the connection breaks before all of it was read. Dropping it ends the watch.
pub struct Watch {
    notices: Pin<Box<dyn Stream<Item = Result<Notice, Error>> + Send>>,
}

/// What a watch learns.
#[derive(Debug)]
pub enum Notice {
    /// Something happened, or was there when the watch began.
    Event(Box<Event>),
    /// Everything up to and including this revision was seen: a watch that starts after it misses nothing.
    Progress(u64),
    /// There is no connection. It resumes where it stopped.
    Disconnected {
        /// Why.
        error: Error,
        /// When it is tried again.
        retry_in: Duration,
    },
}

impl Watch {
    pub(super) fn new(client: Client, request: WatchRequest) -> Self {
        Self { notices: Box::pin(notices(client, request)) }
    }

    /// Returns what happens next, and nothing after an error. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Notice>, Error> {
        self.notices.next().await.transpose()
    }
}

fn notices(client: Client, request: WatchRequest) -> impl Stream<Item = Result<Notice, Error>> + Send {
    async_stream::stream! {
        let mut memory = Memory::new(request);
        let mut turns = client.endpoints.turns_of_stream();
        loop {
            let endpoint = client.endpoints.at(&turns);
            let mut service = endpoint.streams.clone();
            let opened = stream::open(service.watch(memory.request())).await;
            let lost = match opened {
                Err(status) => status,
                Ok(mut messages) => loop {
                    let response = match stream::next(&mut messages).await {
                        Err(status) => break status,
                        Ok(None) => break Status::unavailable("the stream ended"),
                        Ok(Some(response)) => response,
                    };
                    turns.on_answer();
                    if let Some(created) = response.created
                        && let Err(error) = memory.on_created(&created, &endpoint.address)
                    {
                        yield Err(error);
                        return;
                    }
                    for event in response.events {
                        // What was there already has the revision of its last change, which may be any.
                        if event.r#type() != EventType::Existing {
                            memory.on_revision(event.revision);
                        }
                        yield Ok(Notice::Event(Box::new(event)));
                    }
                    if let Some(progress) = response.progress {
                        memory.on_revision(progress.revision);
                        yield Ok(Notice::Progress(progress.revision));
                    }
                },
            };
            let error = Error::from_status(&endpoint.address, lost);
            // One that was too slow resumes as well: the coordinator kept what it has not read.
            if !error.is_transient() && error.refusal("WATCHER_TOO_SLOW").is_none() {
                yield Err(error);
                return;
            }
            let retry_in = turns.next(&error);
            yield Ok(Notice::Disconnected { error, retry_in });
            tokio::time::sleep(retry_in).await;
        }
    }
}
