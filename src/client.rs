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

use std::fmt;
use std::sync::Arc;

use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};

use crate::proto::gate_service_client::GateServiceClient;
use crate::proto::webhook_service_client::WebhookServiceClient;
use crate::proto::{
    ApproveRequest, CreateGateRequest, DeleteGateRequest, Event, Gate, GetGateRequest, ListEventsRequest,
    ListGatesRequest, RejectRequest, ReportEvidenceRequest, ResetGateRequest, ResetGatesRequest, WaitRequest,
    WatchRequest,
};

use calls::Again;
use endpoints::Endpoints;
use error::root_cause;
pub use error::{Error, Refusal};
use token::Bearer;
pub use token::Token;
pub use wait::{Outcome, Update, Wait};
pub use watch::{Notice, Watch};

mod address;
mod backoff;
mod calls;
mod endpoints;
mod error;
mod stream;
#[cfg(test)]
mod tests;
mod token;
mod turns;
mod wait;
mod watch;
mod webhooks;

type Calls = InterceptedService<Channel, Bearer>;
type GateCalls = GateServiceClient<Calls>;
type WebhookCalls = WebhookServiceClient<Calls>;

/// A way to a coordinator, or to several of one store: connections are made when they are first used and made again when
/// they break. Clones share them.
///
/// Waits and watches have a connection of their own, so that calls never queue behind them. A coordinator takes 1,024
/// streams on one connection, and those beyond that wait for one of them to end: a program with more than 1,000 waits
/// and watches makes more clients, with [`new`](Self::new).
///
/// An attempt of a call may take ten seconds. Calls are tried again for about two seconds while the coordinator cannot be
/// reached, or says that it is unavailable or that there are too many of them, and no sooner than it says.
/// That is safe for calls that change something because each carries a `request_id`, a random one where the caller
/// gave none; [`delete`](Self::delete) has none, and is tried once.
///
/// With several endpoints, a call goes to the one that answered last, at first to the first, and from one that fails or
/// does not answer for two seconds to the next, at once until each was tried. A deletion goes on only from an endpoint that
/// it was never sent to. Waits and watches begin at all of them in turn, and go on at the next when theirs is lost, be it
/// that it has given no sign of life for ten seconds.
#[derive(Clone, Debug)]
pub struct Client {
    endpoints: Arc<Endpoints>,
}

/// What a client trusts, and what it shows of itself, where the address is `https`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The roots that the coordinator's certificate may lead to, in PEM. None: those of the system.
    pub roots: Option<Vec<u8>>,
    /// The client's own certificate and its private key, each in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    fn config(&self) -> ClientTlsConfig {
        let config = match &self.roots {
            Some(roots) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match &self.identity {
            Some((cert, key)) => config.identity(Identity::from_pem(cert, key)),
            None => config,
        }
    }
}

/// The key is a secret.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (roots, identity) = (self.roots.is_some(), self.identity.is_some());
        f.debug_struct("Tls").field("roots", &roots).field("identity", &identity).finish_non_exhaustive()
    }
}

/// What [`Client::list`] found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// The gates, in the order of their names.
    pub gates: Vec<Gate>,
    /// Every change up to and including this revision is in the list, some later ones may be: a watch that starts with
    /// the next revision misses none.
    pub revision: u64,
}

impl Client {
    /// Makes a client of the coordinator at `http://host:port`, `https://host:port` or `host:port`, or of several with
    /// commas between, which serve one store. Connects at the first call, with TLS only to `https`, and then trusts the
    /// roots of the system.
    ///
    /// Has to be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] if that is no such address, or if some have TLS and others have not.
    pub fn new(address: &str) -> Result<Self, Error> {
        Self::with_tls(address, &Tls::default())
    }

    /// Does the same with roots and a certificate of one's own.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] as [`Self::new`], [`Error::Tls`] if the certificates cannot be used.
    pub fn with_tls(address: &str, tls: &Tls) -> Result<Self, Error> {
        let mut transports = endpoints::transports(address::parse_all(address)?);
        if transports.iter().all(|transport| transport.uri().scheme_str() == Some("https")) {
            let encrypted = |transport: Endpoint| {
                let config = tls.config();
                // Whoever takes a connection and says nothing more is not reached either.
                let config = match transport.get_connect_timeout() {
                    Some(timeout) => config.timeout(timeout),
                    None => config,
                };
                transport.tls_config(config)
            };
            let encrypted = transports.into_iter().map(encrypted).collect::<Result<_, _>>();
            transports = encrypted.map_err(|error| Error::Tls { problem: root_cause(&error) })?;
        } else if *tls != Tls::default() {
            return Err(Error::Tls { problem: format!("{address} is not an https:// address") });
        }
        Ok(Self { endpoints: Arc::new(Endpoints::new(&transports, Endpoint::connect_lazy)) })
    }

    /// Makes a client whose connections are made in another way: through a tunnel, a socket of another kind, or a
    /// simulated network. `connect` is called for each endpoint, once for calls and once for streams.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn with_connector(address: &str, connect: impl Fn(&Endpoint) -> Channel) -> Result<Self, Error> {
        let transports = endpoints::transports(address::parse_all(address)?);
        Ok(Self { endpoints: Arc::new(Endpoints::new(&transports, connect)) })
    }

    /// Shows a token with each call.
    ///
    /// # Errors
    ///
    /// [`Error::Token`] if it is none, or if others could read it on its way to any of the endpoints.
    pub fn with_token(self, token: Token) -> Result<Self, Error> {
        Ok(Self { endpoints: Arc::new(self.endpoints.with_token(token)?) })
    }

    /// Returns the coordinator's address, or those of all endpoints with commas between.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.endpoints.address
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
    pub async fn list(&self, mut request: ListGatesRequest) -> Result<Listing, Error> {
        let mut gates = Vec::new();
        let mut revision = None;
        loop {
            let page =
                self.call(&request, |mut service, request| async move { service.list_gates(request).await }).await?;
            gates.extend(page.gates);
            // Later pages are of later revisions, whose changes the first page may lack.
            let revision = *revision.get_or_insert(page.revision);
            if page.next_page_token.is_empty() {
                return Ok(Listing { gates, revision });
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Deletes a gate; waits on it end as rejected if it was undecided.
    pub async fn delete(&self, request: DeleteGateRequest) -> Result<(), Error> {
        let call = |mut service: GateCalls, request| async move { service.delete_gate(request).await };
        self.call_on(|endpoint| &endpoint.calls, &request, Again::IfUnsent, call).await
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

    /// Adds facts to what is known of a gate's current round.
    pub async fn report_evidence(&self, mut request: ReportEvidenceRequest) -> Result<Gate, Error> {
        identify(&mut request.request_id);
        self.call(&request, |mut service, request| async move { service.report_evidence(request).await }).await
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

    async fn call<R: Clone, T, F>(&self, request: &R, call: impl Fn(GateCalls, Request<R>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_on(|endpoint| &endpoint.calls, request, Again::Always, call).await
    }
}

fn identify(request_id: &mut String) {
    if request_id.is_empty() {
        *request_id = uuid::Uuid::new_v4().to_string();
    }
}
