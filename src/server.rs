//! Puts the server together: the store, the coordinator and the API on one listener.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::service::{LayerExt, Routes};
use tonic::transport;
use tonic::transport::server::Connected;
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTOR_SET;
use tonic_reflection::server::Builder as Reflection;
use tonic_types::pb::FILE_DESCRIPTOR_SET as ERROR_DESCRIPTOR_SET;
use tower::util::MapResponseLayer;

use crate::config::Config;
use crate::coordinator::{Clock, Coordinator, Retention};
use crate::domain::Revision;
use crate::grpc::{self, Observed, Service, WebhookHandlers};
use crate::http;
use crate::policy::{self, Rules};
use crate::proto::gate_service_server::GateServiceServer;
use crate::proto::webhook_service_server::WebhookServiceServer;
use crate::proto::{DESCRIPTOR_SET, REQUEST_BYTES_MAX};
use crate::store::{self, Store, sled::Sled};
use crate::webhooks::{self, Couriers, Http, Transport, Webhooks};

mod connections;
mod operations;
mod tls;

pub use tls::Error as TlsError;
use tls::Tls;

/// Calls on one connection at a time: a thousand workers behind one proxy.
const STREAMS_MAX: u32 = 1024;
/// Headers of one call.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// How often a silent connection is asked whether it is there, and how long it may take to answer: a worker whose host
/// is gone stops counting as waiting after both.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many events that cannot be read are stepped over, to find when something last happened.
const UNREADABLE_MAX: u64 = 64;

/// The service whose health is reported.
type Gates = GateServiceServer<Observed<Service>>;

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be opened, or has failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The network side failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The API's description is broken, which a build cannot produce.
    #[error("reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
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
    connections_max: usize,
    drain: Duration,
    rules: Arc<Rules>,
    tls: Option<Arc<Tls>>,
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
        let (data_dir, cache_bytes) = (config.data_dir.clone(), config.cache_bytes);
        let store = tokio::task::spawn_blocking(move || Sled::open(&data_dir, cache_bytes)).await??;
        let clock = Clock::start(last_time(&store).await?);
        let retention = Retention { age: config.retention_age, events: config.retention_events };
        let coordinator = Coordinator::new(Arc::new(store), clock, retention);
        let server = Self {
            connections_max: config.connections_max,
            rules: Arc::clone(&config.rules),
            tls,
            ..Self::new(Arc::clone(&coordinator), config.drain)
        };
        if config.webhooks.is_empty() {
            return Ok(server);
        }
        let public_url = config.public_url.clone().unwrap_or_else(|| config.url_of(config.listen));
        let http: Arc<dyn Transport> = Arc::new(Http::new()?);
        let (webhooks, couriers) = webhooks::open(&coordinator, config.webhooks.clone(), &public_url, &http).await?;
        Ok(Self { webhooks: Arc::new(webhooks), couriers, ..server })
    }

    /// Makes the server of a coordinator, for any number of connections, without rules, webhooks and TLS. `drain` is how
    /// long open calls have to end when it is stopped.
    #[must_use]
    pub fn new(coordinator: Arc<Coordinator>, drain: Duration) -> Self {
        let (webhooks, couriers) = (Arc::default(), Couriers::default());
        let (rules, tls) = (Arc::default(), None);
        Self { coordinator, webhooks, couriers, connections_max: usize::MAX, drain, rules, tls }
    }

    /// Serves on a listener until `shutdown` completes, then lets open calls end for as long as the configuration says.
    ///
    /// Waits and watches end with UNAVAILABLE / DRAINING and resume elsewhere or later.
    ///
    /// # Errors
    ///
    /// If the store fails: the process should end with an error then.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let incoming = connections::accept(listener, self.connections_max, self.tls.clone());
        let tls = self.tls.clone();
        tokio::select! {
            served = self.serve_on(incoming, shutdown) => served,
            never = follow_files(tls) => match never {},
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
        let Self { coordinator, webhooks, couriers, drain, rules, .. } = self;
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
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        // Its fallback makes way for the JSON API's, which answers gRPC clients as it does.
        let routes = routes.into_axum_router().reset_fallback().merge(http::router(service));
        let routes = Routes::from(routes.merge(operations::router(coordinator.clone())));
        let transport = transport::Server::builder()
            .accept_http1(true)
            .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .max_concurrent_streams(STREAMS_MAX)
            .add_routes(routes);

        let stop = CancellationToken::new();
        let mut serving = pin!(transport.serve_with_incoming_shutdown(incoming, stop.cancelled()));
        let mut running = pin!(coordinator.run());
        let mut delivering = pin!(couriers.run(stop.clone()));
        tokio::select! {
            served = &mut serving => return Ok(served?),
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
            let (served, delivered) = tokio::join!(serving, delivering);
            rules.end().await;
            served.map_err(Error::from).and(delivered.map_err(Error::from))
        };
        tokio::select! {
            ended = ended => ended?,
            // What fails now fails as before: nobody is told that it was stored.
            failed = running => match failed? {},
            () = tokio::time::sleep(drain) => tracing::warn!("some calls did not end in time and were cut off"),
        }
        Ok(())
    }
}

/// Returns when the last event happened that can be read. One that cannot be read concerns only its gate.
async fn last_time(store: &Sled) -> Result<SystemTime, store::Error> {
    let last = store.revision();
    for back in 0..UNREADABLE_MAX.min(last.0) {
        match store.event(Revision(last.0 - back)).await {
            Ok(Some(event)) => return Ok(event.time),
            // Forgotten, or not written.
            Ok(None) => {}
            Err(error @ store::Error::Corrupt { .. }) => tracing::error!("{error}"),
            Err(error) => return Err(error),
        }
    }
    Ok(SystemTime::UNIX_EPOCH)
}
