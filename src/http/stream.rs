//! The calls that stream: a wait as a long poll, a watch as server-sent events.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use async_stream::stream;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, timeout_at};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::call::to_json;
use super::message::invalid;
use super::status;
use crate::proto::wait_response::Message;
use crate::proto::{EventType, Gate, WaitResponse, WatchResponse};

/// How long a wait polls, unless it says so: less than most clients and proxies allow.
pub const POLL: Duration = Duration::from_secs(30);
/// How long a wait may poll.
pub const POLL_MAX: Duration = Duration::from_secs(300);

/// What a browser sends when it connects again: the id of the last event that it saw.
pub const LAST_EVENT_ID: &str = "last-event-id";
/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);
/// How often a silent stream of events says something, so that a broken connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Reads how long to poll.
pub fn poll_for(shown: &str, text: &str) -> Result<Duration, Status> {
    let duration = text.parse::<prost_types::Duration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.filter(|duration| *duration <= POLL_MAX).ok_or_else(|| {
        invalid(&format!("{shown} cannot be {text:?}: write seconds as 30s, at most {}s", POLL_MAX.as_secs()))
    })
}

/// Waits for the end of a round, and returns the gate then, or as it is when the time is over.
pub async fn outcome(
    waited: impl Stream<Item = Result<WaitResponse, Status>>,
    poll_for: Duration,
) -> Result<Gate, Status> {
    let (mut waited, until) = (pin!(waited), Instant::now() + poll_for);
    let mut last = Gate::default();
    // The gate as it is comes first, however short the time.
    let mut next = waited.next().await;
    while let Some(response) = next {
        if let Some(Message::Gate(gate)) = response?.message {
            last = gate;
        }
        let Ok(response) = timeout_at(until, waited.next()).await else { break };
        next = response;
    }
    Ok(last)
}

/// Says where a watch goes on: behind the last event that its client saw, unless it says itself where to start.
pub fn resume(
    headers: &HeaderMap,
    fields: &[(&'static str, &'static str, String)],
) -> Result<Option<(&'static str, &'static str, String)>, Status> {
    let Some(last) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    if fields.iter().any(|(_, field, _)| *field == "start_revision") {
        return Ok(None);
    }
    let last: Option<u64> = last.to_str().ok().and_then(|last| last.parse().ok());
    let next = last.and_then(|last| last.checked_add(1));
    let next = next.ok_or_else(|| invalid("Last-Event-ID has to be a revision"))?;
    Ok(Some(("Last-Event-ID", "start_revision", next.to_string())))
}

/// Sends a watch as events, each with its revision as id. What exists at the start has none: it is no place to resume
/// from.
pub async fn events(
    watch: impl Stream<Item = Result<WatchResponse, Status>> + Send + 'static,
) -> Result<Response, Status> {
    let mut watch = Box::pin(watch);
    // What it begins with comes at once, and says whether it is refused.
    let mut next = Some(Ok(watch.next().await.transpose()?.unwrap_or_default()));
    let sent = stream! {
        while let Some(response) = next {
            match response.and_then(|response| sent(&response)) {
                Ok(events) => for event in events {
                    yield Ok::<_, Infallible>(event);
                },
                Err(status) => yield Ok(Sent::default().event("error").data(status::body(&status).to_string())),
            }
            next = watch.next().await;
        }
    };
    let mut response = Sse::new(sent).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Some proxies gather an answer before they pass it on.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn sent(response: &WatchResponse) -> Result<Vec<Sent>, Status> {
    let mut sent = Vec::new();
    if let Some(created) = &response.created {
        sent.push(Sent::default().event("created").retry(RETRY).data(to_json(created)?));
    }
    for event in &response.events {
        let sse = Sent::default().event("gate").data(to_json(event)?);
        let is_history = event.r#type() != EventType::Existing;
        sent.push(if is_history { sse.id(event.revision.to_string()) } else { sse });
    }
    if let Some(progress) = &response.progress {
        sent.push(Sent::default().event("progress").id(progress.revision.to_string()).data(to_json(progress)?));
    }
    Ok(sent)
}
