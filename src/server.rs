//! Puts the server together: the store, the coordinator and the API on one listener.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::middleware::from_fn_with_state;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::service::{LayerExt, Routes};
use tonic::transport::server::Connected;
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTOR_SET;
use tonic_reflection::server::Builder as Reflection;
use tonic_types::pb::FILE_DESCRIPTOR_SET as ERROR_DESCRIPTOR_SET;
use tower::util::MapResponseLayer;

use crate::auth::{self, Guard, Identities, Rates};
use crate::config::Config;
use crate::config::limits::Limits;
use crate::coordinator::{self, Clock, Coordinator, Retention};
use crate::grpc::{self, Observed, Service, WebhookHandlers};
use crate::http::{self, Door, Hosts};
use crate::policy::{self, Rules};
use crate::proto::gate_service_server::GateServiceServer;
use crate::proto::webhook_service_server::WebhookServiceServer;
use crate::proto::{DESCRIPTOR_SET, REQUEST_BYTES_MAX};
use crate::store;
use crate::webhooks::{self, Couriers, Http, Transport, Webhooks};

mod callers;
mod connections;
mod open_calls;
mod operations;
mod places;
mod protocol;
mod stores;
mod tls;

use callers::Gatekeeper;
pub use stores::open as open_store;
use tls::Tls;
pub use tls::{Error as TlsError, check as check_tls};

/// Largest request of those whom nobody knows: the name of a service.
const OPEN_REQUEST_BYTES_MAX: usize = 1024;

/// The service whose health is reported.
type Gates = GateServiceServer<Observed<Service>>;

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be opened, or has failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The API's description is broken, which a build cannot produce.
    #[error("reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The keys of the issuer of identities cannot be had.
    #[error(transparent)]
    Identities(#[from] auth::jwt::Error),
    /// There are no random bytes.
    #[error("sessions cannot be signed: {0}")]
    Sessions(#[from] rustls::Error),
    /// The certificate cannot be served.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The rules have no thread to run on.
    #[error("rules cannot be applied: {0}")]
    Rules(#[from] io::Error),
    /// The thread of the rules has panicked.
    #[error("the rules have ended by themselves")]
    RulesEnded,
    /// What webhooks are sent with cannot be set up.
    #[error("webhooks cannot be sent: {0}")]
    Webhooks(#[from] reqwest::Error),
    /// There is nothing to open.
    #[error("there is no store in {}: name another --data-dir", .0.display())]
    NoStore(PathBuf),
    /// A file that etcd is reached with cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store's opening was cut short.
    #[error("the store was not opened: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// Takes up the certificate again when its files change, for ever.
async fn follow_files(tls: Option<Arc<Tls>>) -> Infallible {
    match tls {
        Some(tls) => tls.follow_files().await,
        None => std::future::pending().await,
    }
}

/// A coordinator whose store is open, ready to serve.
pub struct Server {
    coordinator: Arc<Coordinator>,
    webhooks: Arc<Webhooks>,
    couriers: Couriers,
    limits: Limits,
    hosts: Hosts,
    drain: Duration,
    rules: Arc<Rules>,
    tls: Option<Arc<Tls>>,
    guard: Arc<Guard>,
    /// Whether browsers reach it with TLS, be it that of a proxy.
    has_tls: bool,
    /// Whether it may listen where others reach it without anything that protects it.
    insecure: bool,
}

impl Server {
    /// Opens the store.
    ///
    /// # Errors
    ///
    /// If it cannot be opened: another process has it, or it cannot be read.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        let tls = match config.tls.clone() {
            Some(files) => Some(Arc::new(Tls::load(files).await?)),
            None => None,
        };
        let store = open_store(&config.store, true).await?;
        let last = match store.peers() {
            // What another coordinator's clock said is not this one's: one that was wrong would make all of them so.
            Some(_) => SystemTime::UNIX_EPOCH,
            None => store.last_event().await?.map_or(SystemTime::UNIX_EPOCH, |event| event.time),
        };
        let clock = Clock::start(last);
        let retention = Retention { age: config.retention_age, events: config.retention_events };
        let limits = coordinator::Limits {
            waiters_per_gate: config.limits.waiters_per_gate.get(),
            gates: if config.limits.gates == 0 { u64::MAX } else { config.limits.gates },
        };
        let coordinator = Coordinator::with_limits(store, clock, retention, limits);
        let guard = Guard::new(Identities::new(config.auth.clone())?, config.session_key.clone())?;
        let server = Self {
            limits: config.limits.clone(),
            insecure: config.danger().is_some(),
            hosts: Hosts::new(&config.hosts),
            rules: Arc::clone(&config.rules),
            has_tls: tls.is_some() || config.public_url.as_deref().is_some_and(is_https),
            tls,
            ..Self::guarded(Arc::clone(&coordinator), config.drain, guard)
        };
        if config.webhooks.is_empty() {
            return Ok(server);
        }
        let public_url = config.public_url.clone().unwrap_or_else(|| config.url_of(config.listen));
        let http: Arc<dyn Transport> = Arc::new(Http::new()?);
        let (webhooks, couriers) = webhooks::open(&coordinator, config.webhooks.clone(), &public_url, &http).await?;
        Ok(Self { webhooks: Arc::new(webhooks), couriers, ..server })
    }

    /// Makes the server of a coordinator, with the limits of the network that are the default, without rules, webhooks and
    /// TLS, in which everybody may do everything. `drain` is how long open calls have to end when it is stopped.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
    pub fn new(coordinator: Arc<Coordinator>, drain: Duration) -> Result<Self, Error> {
        let guard = Guard::new(Identities::new(auth::Settings::default())?, None)?;
        Ok(Self::guarded(coordinator, drain, guard))
    }

    fn guarded(coordinator: Arc<Coordinator>, drain: Duration, guard: Arc<Guard>) -> Self {
        Self {
            coordinator,
            webhooks: Arc::default(),
            couriers: Couriers::default(),
            limits: Limits::default(),
            hosts: Hosts::default(),
            drain,
            rules: Arc::default(),
            tls: None,
            has_tls: false,
            guard,
            insecure: false,
        }
    }

    /// Returns who lets callers in, to have it go by other identities while the server runs.
    #[must_use]
    pub fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard)
    }

    /// Serves on a listener until `shutdown` completes, then lets open calls end for as long as the configuration says.
    ///
    /// Waits and watches end with UNAVAILABLE / DRAINING and resume elsewhere or later.
    ///
    /// # Errors
    ///
    /// If the store fails: the process should end with an error then.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let incoming = connections::accept(listener, &self.limits, self.tls.clone());
        let (tls, guard) = (self.tls.clone(), self.guard());
        tokio::select! {
            served = self.serve_on(incoming, shutdown) => served,
            never = follow_files(tls) => match never {},
            never = guard.follow_keys() => match never {},
        }
    }

    /// Does the same on connections of any kind, as many as `incoming` gives.
    ///
    /// # Errors
    ///
    /// As [`Self::serve`].
    pub async fn serve_on<C>(
        self,
        incoming: impl Stream<Item = io::Result<C>>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), Error>
    where
        C: AsyncRead + AsyncWrite + Connected + Send + Unpin + 'static,
    {
        let Self { coordinator, webhooks, couriers, limits, hosts, drain, rules, guard, has_tls, insecure, .. } = self;
        let mut rules = policy::start(Arc::clone(&coordinator), rules)?;
        let (mut health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<Gates>().await;
        let service = Arc::new(Observed(Service::new(coordinator.clone())));
        let gates = GateServiceServer::from_arc(Arc::clone(&service)).max_decoding_message_size(REQUEST_BYTES_MAX);
        let gates = MapResponseLayer::new(grpc::with_reason).named_layer(gates);
        let webhooks =
            WebhookServiceServer::new(WebhookHandlers(webhooks)).max_decoding_message_size(REQUEST_BYTES_MAX);
        let webhooks = MapResponseLayer::new(grpc::with_reason).named_layer(webhooks);
        let reflection = || {
            Reflection::configure()
                .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(HEALTH_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
                // So that generic clients can show the details of errors.
                .register_encoded_file_descriptor_set(ERROR_DESCRIPTOR_SET)
        };
        let routes = Routes::new(gates)
            .add_service(webhooks)
            .add_service(health_service.max_decoding_message_size(OPEN_REQUEST_BYTES_MAX))
            .add_service(reflection().build_v1()?.max_decoding_message_size(REQUEST_BYTES_MAX))
            .add_service(reflection().build_v1alpha()?.max_decoding_message_size(REQUEST_BYTES_MAX));
        // Its fallback makes way for the JSON API's, which answers gRPC clients as it does.
        let door = Door { guard: Arc::clone(&guard), has_tls, insecure };
        let routes = routes.into_axum_router().reset_fallback().merge(http::router(service, door));
        let routes = routes.merge(operations::router(coordinator.clone()));
        // Outside of all else: nothing is reached but through it.
        let rates = Rates::new(limits.requests_per_second, limits.burst);
        let keeper = Arc::new(Gatekeeper::new(guard, rates, has_tls));
        let routes = routes.layer(from_fn_with_state(keeper, callers::identify));
        let routes = http::for_hosts(routes, hosts);

        let stop = CancellationToken::new();
        let mut serving = pin!(protocol::serve(incoming, routes, &limits, stop.clone()));
        let mut running = pin!(coordinator.run());
        let mut delivering = pin!(couriers.run(stop.clone()));
        tokio::select! {
            () = &mut serving => return Ok(()),
            failed = &mut running => match failed? {},
            failed = &mut delivering => return Ok(failed?),
            () = rules.failed() => return Err(Error::RulesEnded),
            never = operations::report::<Gates>(&coordinator, &health) => match never {},
            () = shutdown => {}
        }

        tracing::info!("stopping: open calls have {:?} to end", drain);
        operations::stop::<Gates>(&mut health).await;
        coordinator.drain();
        stop.cancel();
        let ended = async {
            let ((), delivered) = tokio::join!(serving, delivering);
            rules.end().await;
            delivered.map_err(Error::from)
        };
        tokio::select! {
            ended = ended => ended?,
            // What fails now fails as before: nobody is told that it was stored.
            failed = running => match failed? {},
            () = tokio::time::sleep(drain) => tracing::warn!("some calls did not end in time and were cut off"),
        }
        coordinator.leave().await;
        Ok(())
    }
}

fn is_https(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https"))
}
