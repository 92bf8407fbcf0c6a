//! A client of the coordinator whose waits and watches outlive connections.
//!
//! ```no_run
//! use gatepost::client::{Client, Outcome};
//! use gatepost::proto::{Duration, Spec, WaitRequest};
//!
//! # async fn deploy() -> Result<(), gatepost::client::Error> {
//! let client = Client::new("127.0.0.1:7070")?;
//! let request = WaitRequest {
//!     gate: "release-42/prod".into(),
//!     spec: Some(Spec { timeout: Some(Duration { seconds: 300, nanos: 0 }), ..Spec::default() }),
//!     ..WaitRequest::default()
//! };
//! match client.wait(request).outcome().await? {
//!     Outcome::Approved(gate) => println!("deploying {}, round {}", gate.name, gate.round),
//!     Outcome::Rejected(gate) => println!("rejected: {}", gate.resolution.unwrap_or_default().reason),
//!     Outcome::TimedOut(_) => println!("nobody decided in time"),
//! }
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use backon::Retryable;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::proto::gate_service_client::GateServiceClient;
use crate::proto::{
    ApproveRequest, CreateGateRequest, DeleteGateRequest, Event, Gate, GetGateRequest, ListEventsRequest,
    ListGatesRequest, RejectRequest, ResetGateRequest, ResetGatesRequest, WaitRequest, WatchRequest,
};

pub use error::{Error, Refusal};
pub use wait::{Outcome, Update, Wait};
pub use watch::{Notice, Watch};

mod address;
mod backoff;
mod error;
mod stream;
#[cfg(test)]
mod tests;
mod wait;
mod watch;

/// How long to try to reach an address: three lost packets of a handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often to ask a silent connection for a sign of life, as often as the coordinator sends its own.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long that sign may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer to read: a page of 100 gates or events, each below 100 KiB, with room to spare.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A connection to a coordinator, made when it is first used and made again when it breaks. Clones share it.
///
/// Calls are tried again for about two seconds while the coordinator cannot be reached or says that it is unavailable.
/// That is safe for calls that change something because each carries a `request_id`, a random one where the caller
/// gave none; [`delete`](Self::delete) has none, and is tried once.
#[derive(Clone, Debug)]
pub struct Client {
    service: GateServiceClient<Channel>,
    address: String,
}

impl Client {
    /// Makes a client of the coordinator at `http://host:port` or `host:port`. Connects at the first call.
    ///
    /// Has to be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] if that is no such address.
    pub fn new(address: &str) -> Result<Self, Error> {
        let uri = address::parse(address)?;
        let address = uri.to_string().trim_end_matches('/').to_owned();
        let channel = Endpoint::from(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_lazy();
        let service = GateServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self { service, address })
    }

    /// Returns the coordinator's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Creates a gate; succeeds if it exists with an equal spec.
    pub async fn create(&self, mut request: CreateGateRequest) -> Result<Gate, Error> {
        identify(&mut request.request_id);
        self.call(&request, |mut service, request| async move { service.create_gate(request).await }).await
    }

    /// Reads a gate, or how one of its past rounds ended.
    pub async fn get(&self, request: GetGateRequest) -> Result<Gate, Error> {
        self.call(&request, |mut service, request| async move { service.get_gate(request).await }).await
    }

    /// Lists gates, from the request's page to the last.
    pub async fn list(&self, mut request: ListGatesRequest) -> Result<Vec<Gate>, Error> {
        let mut gates = Vec::new();
        loop {
            let page =
                self.call(&request, |mut service, request| async move { service.list_gates(request).await }).await?;
            gates.extend(page.gates);
            if page.next_page_token.is_empty() {
                return Ok(gates);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Deletes a gate; waits on it end as rejected if it was undecided.
    pub async fn delete(&self, request: DeleteGateRequest) -> Result<(), Error> {
        let answer = self.service.clone().delete_gate(request).await;
        answer.map(Response::into_inner).map_err(|status| Error::from_status(&self.address, status))
    }

    /// Approves a gate's current round.
    pub async fn approve(&self, mut request: ApproveRequest) -> Result<Gate, Error> {
        identify(&mut request.request_id);
        self.call(&request, |mut service, request| async move { service.approve(request).await }).await
    }

    /// Rejects a gate's current round.
    pub async fn reject(&self, mut request: RejectRequest) -> Result<Gate, Error> {
        identify(&mut request.request_id);
        self.call(&request, |mut service, request| async move { service.reject(request).await }).await
    }

    /// Begins a new round of a gate.
    pub async fn reset(&self, mut request: ResetGateRequest) -> Result<Gate, Error> {
        identify(&mut request.request_id);
        self.call(&request, |mut service, request| async move { service.reset_gate(request).await }).await
    }

    /// Begins a new round of every gate below a prefix.
    pub async fn reset_group(&self, mut request: ResetGatesRequest) -> Result<Vec<Gate>, Error> {
        identify(&mut request.request_id);
        let answer =
            self.call(&request, |mut service, request| async move { service.reset_gates(request).await }).await?;
        Ok(answer.gates)
    }

    /// Reads the history of a gate or a group, oldest first, from the request's page to the last.
    pub async fn history(&self, mut request: ListEventsRequest) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        loop {
            let page =
                self.call(&request, |mut service, request| async move { service.list_events(request).await }).await?;
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                return Ok(events);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Waits on a gate until its round is resolved, through disconnects and restarts of the coordinator.
    #[must_use]
    pub fn wait(&self, request: WaitRequest) -> Wait {
        Wait::new(self.clone(), request)
    }

    /// Watches what happens to gates, through disconnects and restarts of the coordinator.
    #[must_use]
    pub fn watch(&self, request: WatchRequest) -> Watch {
        Watch::new(self.clone(), request)
    }

    // A future of a named type, not an `AsyncFn`: only so can callers spawn what calls this.
    async fn call<R: Clone, T, F>(
        &self,
        request: &R,
        call: impl Fn(GateServiceClient<Channel>, R) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let attempt = || {
            let calling = call(self.service.clone(), request.clone());
            async move {
                calling.await.map(Response::into_inner).map_err(|status| Error::from_status(&self.address, status))
            }
        };
        attempt.retry(backoff::of_calls()).when(Error::is_transient).await
    }
}

fn identify(request_id: &mut String) {
    if request_id.is_empty() {
        *request_id = uuid::Uuid::new_v4().to_string();
    }
}
