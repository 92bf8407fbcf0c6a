//! `gatepost serve`: runs the coordinator until it is told to stop.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::failure::{Failure, chain};
use super::output;
use super::telemetry::Telemetry;
use crate::auth::Guard;
use crate::config::{Config, ServeArgs, Store};
use crate::metrics;
use crate::server::Server;

/// Open files that are no connections: the store's, the listener, the standard streams, and some to spare.
const OTHER_FILES: usize = 64;

/// Serves until SIGTERM or Ctrl-C; a second Ctrl-C does not wait for open calls.
pub(super) async fn run(args: ServeArgs) -> Result<(), Failure> {
    let config = Config::new(args)?;
    let telemetry = Telemetry::start("info", config.log_format, config.otlp_endpoint.as_deref())?;
    metrics::install().map_err(|error| Failure::Here(format!("nothing can be measured: {error}")))?;
    let served = serve(config).await;
    telemetry.end().await;
    served
}

async fn serve(mut config: Config) -> Result<(), Failure> {
    raise_open_files();
    config.limits.connections = config.limits.connections.min(connections_possible());
    let failed = |what: &str, error: &dyn std::error::Error| Failure::Here(format!("{what}: {}", chain(error)));

    let listener = TcpListener::bind(config.listen).await.map_err(|error| cannot_listen(&config, &error))?;
    let address = listener.local_addr().map_err(|error| failed("cannot listen", &error))?;
    if let Store::Sled { data_dir, .. } = &mut config.store {
        *data_dir = std::path::absolute(&*data_dir).map_err(|error| failed("no data directory", &error))?;
    }
    let signals = Signals::listen().map_err(|error| failed("cannot listen to signals", &error))?;
    let url = config.url_of(address);
    config.public_url.get_or_insert_with(|| url.clone());
    let server = Server::open(&config).await.map_err(|error| failed("cannot start", &error))?;

    let ready = format!("gatepost listens on {url}, its data is in {}", config.store);
    output::even_if_closed(output::line(&ready))?;
    if let Some(danger) = config.danger() {
        tracing::warn!("{danger}");
    }

    let guard = server.guard();
    let (stop, stopped) = oneshot::channel();
    let serving = server.serve(listener, async move {
        // A sender that is gone says the same.
        let _ = stopped.await;
    });
    let Signals { reload, stops } = signals;
    tokio::select! {
        result = serving => result.map_err(|error| failed("the coordinator stopped", &error)),
        never = reload_identities(&config, &guard, reload) => match never {},
        () = stops.twice(stop) => Err(Failure::Interrupted("open calls were cut off".to_owned())),
    }
}

/// Raises the limit of open files to the highest that the process may have: each worker's connection is one, and shells
/// start programs with 1,024.
pub(super) fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let number = |limit: Option<u64>| limit.map_or_else(|| "any number of".to_owned(), |limit| limit.to_string());
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::info!("{} open files are allowed, one for each connection", number(maximum)),
        Err(error) => {
            tracing::warn!("only {} open files are allowed, one for each connection: {error}", number(current));
        }
    }
}

/// How many connections the limit of open files leaves room for, beside the files of the store and of the process.
fn connections_possible() -> NonZeroUsize {
    let files =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    NonZeroUsize::new(files.saturating_sub(OTHER_FILES)).unwrap_or(NonZeroUsize::MIN)
}

fn cannot_listen(config: &Config, error: &io::Error) -> Failure {
    let (address, kind) = (config.listen, error.kind());
    Failure::Here(match kind {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use already: stop what listens there, or choose another address with --listen")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

/// Reads again who may call, at each SIGHUP, and takes up all of it or nothing.
async fn reload_identities(config: &Config, guard: &Guard, mut reload: Signal) -> Infallible {
    loop {
        // The process takes signals for as long as it runs.
        if reload.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        // It reads files.
        let taken =
            tokio::task::block_in_place(|| config.identities_again().map(|identities| guard.replace(identities)));
        match taken {
            Ok(Ok(())) => {
                tracing::info!("SIGHUP: tokens, issuers, groups and grants are as the configuration has them now");
            }
            Ok(Err(error)) => tracing::error!("SIGHUP: all stays as it was: {}", chain(&error)),
            Err(error) => tracing::error!("SIGHUP: all stays as it was: {}", chain(&error)),
        }
    }
}

/// What tells the process to do something else.
struct Signals {
    reload: Signal,
    stops: Stops,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let stops = Stops { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? };
        Ok(Self { reload: signal(SignalKind::hangup())?, stops })
    }
}

/// What tells it to stop.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    /// Begins the stop at the first signal, and returns at a Ctrl-C after it.
    async fn twice(mut self, stop: oneshot::Sender<()>) {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
        };
        tracing::info!("{name}: ending open calls");
        drop(stop);
        self.interrupt.recv().await;
    }
}
