//! The handlers of `gatepost.v1.GateService`, each as thin as it can be.

use std::iter::Peekable;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_stream::try_stream;
use prost::Message;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::coordinator::{Call, Coordinator, GateQuery, History, WatchItem, WatchQuery};
use crate::domain::{Facts, Invalid, InvalidKind, Prefix, Revision, Round};
use crate::metrics::{Live, WATCHES};
use crate::proto::gate_service_server::GateService;
use crate::proto::wait_response::Message as WaitMessage;
use crate::proto::{
    ApproveRequest, CreateGateRequest, DeleteGateRequest, Event, Gate, GetGateRequest, Heartbeat, ListEventsRequest,
    ListEventsResponse, ListGatesRequest, ListGatesResponse, RejectRequest, ReportEvidenceRequest, ResetGateRequest,
    ResetGatesRequest, ResetGatesResponse, WaitRequest, WaitResponse, WatchCreated, WatchProgress, WatchRequest,
    WatchResponse,
};

use super::convert;

/// How often a wait proves that it is alive: under the idle limit of common load balancers, 60 s.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// Where a page or a batch of events ends early: a quarter of the 4 MiB that gRPC clients accept by default, so that
/// the largest entry still fits on top.
const ANSWER_BYTES: usize = 1024 * 1024;

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves the API from a coordinator.
pub struct Service {
    coordinator: Arc<Coordinator>,
}

impl Service {
    /// Makes the service of a coordinator.
    #[must_use]
    pub fn new(coordinator: Arc<Coordinator>) -> Self {
        Self { coordinator }
    }
}

#[tonic::async_trait]
impl GateService for Service {
    async fn create_gate(&self, request: Request<CreateGateRequest>) -> Result<Response<Gate>, Status> {
        let (caller, request) = convert::received(request)?;
        let call = convert::call(caller, &request.request_id, &request)?;
        let spec = convert::spec(request.spec.unwrap_or_default())?;
        let view = self.coordinator.create(&call, &convert::name(&request.gate)?, spec).await?;
        Ok(Response::new(convert::view(&view)))
    }

    async fn get_gate(&self, request: Request<GetGateRequest>) -> Result<Response<Gate>, Status> {
        let (caller, request) = convert::received(request)?;
        let view = self.coordinator.get(&caller, &convert::name(&request.gate)?, Round::new(request.round)).await?;
        Ok(Response::new(convert::view(&view)))
    }

    async fn list_gates(&self, request: Request<ListGatesRequest>) -> Result<Response<ListGatesResponse>, Status> {
        let (caller, request) = convert::received(request)?;
        let query = GateQuery {
            prefix: prefix(&request.prefix)?,
            statuses: convert::statuses(&request.statuses)?,
            after: convert::page_token(&request.page_token, convert::list_place)?,
            limit: convert::page_size(request.page_size),
        };
        let page = self.coordinator.list(&caller, query).await?;
        let mut entries = page.views.iter().map(convert::view).peekable();
        let gates = fitting(&mut entries);
        let next = match entries.peek() {
            Some(_) => gates.last().map(|gate| gate.name.clone()),
            None => page.next.map(convert::list_token),
        };
        let next_page_token = next.unwrap_or_default();
        Ok(Response::new(ListGatesResponse { gates, next_page_token, revision: page.revision.0 }))
    }

    async fn delete_gate(&self, request: Request<DeleteGateRequest>) -> Result<Response<()>, Status> {
        let (caller, request) = convert::received(request)?;
        let etag = convert::etag(&request.etag)?;
        let call = Call { caller, request: None };
        self.coordinator.delete(&call, &convert::name(&request.gate)?, etag).await?;
        Ok(Response::new(()))
    }

    type WaitStream = ResponseStream<WaitResponse>;

    async fn wait(&self, request: Request<WaitRequest>) -> Result<Response<Self::WaitStream>, Status> {
        let (caller, request) = convert::received(request)?;
        let query = convert::wait(request, self.coordinator.now())?;
        let mut wait = self.coordinator.wait(&Call { caller, request: None }, query).await?;
        Ok(Response::new(Box::pin(try_stream! {
            let mut heartbeat = interval(HEARTBEAT_EVERY);
            heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            heartbeat.reset();
            loop {
                let update = tokio::select! {
                    biased;
                    update = wait.next() => Some(update),
                    _ = heartbeat.tick() => None,
                };
                let message = match update.transpose()? {
                    Some(Some(gate)) => WaitMessage::Gate(Gate::from(&gate)),
                    Some(None) => break,
                    None => WaitMessage::Heartbeat(Heartbeat {}),
                };
                yield WaitResponse { message: Some(message) };
            }
        })))
    }

    async fn approve(&self, request: Request<ApproveRequest>) -> Result<Response<Gate>, Status> {
        let (caller, request) = convert::received(request)?;
        let call = convert::call(caller, &request.request_id, &request)?;
        let ballot = convert::approval(&request, call.caller.identity.clone())?;
        let (name, validate_only) = (convert::name(&request.gate)?, request.validate_only);
        let view = if request.break_glass_reason.is_empty() {
            self.coordinator.approve(&call, &name, ballot, validate_only).await?
        } else {
            self.coordinator.break_glass(&call, &name, ballot, validate_only).await?
        };
        Ok(Response::new(convert::view(&view)))
    }

    async fn reject(&self, request: Request<RejectRequest>) -> Result<Response<Gate>, Status> {
        let (caller, request) = convert::received(request)?;
        let call = convert::call(caller, &request.request_id, &request)?;
        let ballot = convert::rejection(&request, call.caller.identity.clone())?;
        let view =
            self.coordinator.reject(&call, &convert::name(&request.gate)?, ballot, request.validate_only).await?;
        Ok(Response::new(convert::view(&view)))
    }

    async fn report_evidence(&self, request: Request<ReportEvidenceRequest>) -> Result<Response<Gate>, Status> {
        let (caller, request) = convert::received(request)?;
        let call = convert::call(caller, &request.request_id, &request)?;
        let (name, round) = (convert::name(&request.gate)?, Round::new(request.round));
        let view = self.coordinator.report_evidence(&call, &name, Facts::parse(request.facts)?, round).await?;
        Ok(Response::new(convert::view(&view)))
    }

    async fn reset_gate(&self, request: Request<ResetGateRequest>) -> Result<Response<Gate>, Status> {
        let (caller, request) = convert::received(request)?;
        let call = convert::call(caller, &request.request_id, &request)?;
        let view = self.coordinator.reset(&call, &convert::name(&request.gate)?).await?;
        Ok(Response::new(convert::view(&view)))
    }

    async fn reset_gates(&self, request: Request<ResetGatesRequest>) -> Result<Response<ResetGatesResponse>, Status> {
        let (caller, request) = convert::received(request)?;
        let call = convert::call(caller, &request.request_id, &request)?;
        let group = prefix(&request.prefix)?;
        // A forgotten prefix must not reset every gate there is.
        if group.root().is_none() {
            let problem = "is empty: name the group to reset";
            return Err(Invalid::new(InvalidKind::Name, "prefix", problem).into());
        }
        let gates = self.coordinator.reset_group(&call, &group).await?;
        Ok(Response::new(ResetGatesResponse { gates: gates.iter().map(Gate::from).collect() }))
    }

    type WatchStream = ResponseStream<WatchResponse>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (caller, request) = convert::received(request)?;
        if request.initial_state && request.start_revision != 0 {
            let problem = "goes without initial_state: what exists is told as it is now";
            return Err(Invalid::new(InvalidKind::Argument, "start_revision", problem).into());
        }
        let query = WatchQuery {
            prefix: prefix(&request.prefix)?,
            statuses: convert::statuses(&request.statuses)?,
            after: convert::before(request.start_revision),
            initial_state: request.initial_state,
        };
        let items = self.coordinator.watch(caller, query);
        let counted = Live::new(WATCHES);
        Ok(Response::new(Box::pin(try_stream! {
            let _counted = counted;
            for await item in items {
                for message in watch_messages(item?) {
                    yield message;
                }
            }
        })))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let (caller, request) = convert::received(request)?;
        if !request.gate.is_empty() && !request.prefix.is_empty() {
            let problem = "goes without gate: name one of them";
            return Err(Invalid::new(InvalidKind::Argument, "prefix", problem).into());
        }
        let gate = (!request.gate.is_empty()).then(|| convert::name(&request.gate)).transpose()?;
        let after = convert::page_token(&request.page_token, |token| token.parse().ok().map(Revision))?;
        let query = History {
            gate,
            prefix: prefix(&request.prefix)?,
            after: after.unwrap_or_default(),
            limit: convert::page_size(request.page_size),
        };
        let page = self.coordinator.history(&caller, query).await?;
        let mut entries = page.events.iter().map(|event| Event::from(&**event)).peekable();
        let events = fitting(&mut entries);
        let next = match entries.peek() {
            Some(_) => events.last().map(|event| event.revision),
            None => page.next.map(|revision| revision.0),
        };
        let next_page_token = next.map(|revision| revision.to_string()).unwrap_or_default();
        Ok(Response::new(ListEventsResponse { events, next_page_token }))
    }
}

fn prefix(text: &str) -> Result<Prefix, Invalid> {
    Prefix::parse("prefix", text)
}

/// Takes what fits an answer, and leaves the rest.
fn fitting<M: Message>(entries: &mut Peekable<impl Iterator<Item = M>>) -> Vec<M> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    while let Some(entry) = entries.next_if(|_| bytes < ANSWER_BYTES) {
        bytes += entry.encoded_len();
        taken.push(entry);
    }
    taken
}

/// Spells out an item of a watch, in more than one message where one would be too large.
fn watch_messages(item: WatchItem) -> Vec<WatchResponse> {
    match item {
        WatchItem::Created { revision, store_id } => {
            let created = WatchCreated { revision: revision.0, store_id };
            vec![WatchResponse { created: Some(created), ..WatchResponse::default() }]
        }
        WatchItem::Existing(gates) => event_messages(gates.iter().map(Event::existing)),
        WatchItem::Events(events) => event_messages(events.iter().map(|event| Event::from(&**event))),
        WatchItem::Progress(revision) => {
            let progress = WatchProgress { revision: revision.0 };
            vec![WatchResponse { progress: Some(progress), ..WatchResponse::default() }]
        }
    }
}

fn event_messages(events: impl Iterator<Item = Event>) -> Vec<WatchResponse> {
    let mut events = events.peekable();
    let mut messages = Vec::new();
    while events.peek().is_some() {
        messages.push(WatchResponse { events: fitting(&mut events), ..WatchResponse::default() });
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_one_message_comes_in_the_next() {
        let event = |revision| Event { revision, name: "x".repeat(100_000), ..Event::default() };
        let messages = event_messages((1..=50).map(event));
        assert!(messages.len() > 1);
        let revisions = messages.iter().flat_map(|message| &message.events).map(|event| event.revision);
        assert_eq!(revisions.collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
        assert!(messages.iter().all(|message| message.encoded_len() < 2 * ANSWER_BYTES));
    }
}
