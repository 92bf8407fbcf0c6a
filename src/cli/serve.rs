//! `gatepost serve`: runs the coordinator until it is told to stop.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::failure::{Failure, chain};
use super::output;
use super::telemetry::Telemetry;
use crate::config::{Config, ServeArgs};
use crate::metrics;
use crate::server::Server;

/// Open files that are no connections: the store's, the listener, the standard streams, and some to spare.
const OTHER_FILES: usize = 64;

/// Serves until SIGTERM or Ctrl-C; a second Ctrl-C does not wait for open calls.
pub(super) async fn run(args: ServeArgs) -> Result<(), Failure> {
    // OpenTelemetry takes an empty variable for one that is not set.
    let collector = args.otlp_endpoint.as_deref().filter(|url| !url.is_empty());
    let telemetry = Telemetry::start("info", args.log_format, collector)?;
    metrics::install().map_err(|error| Failure::Here(format!("nothing can be measured: {error}")))?;
    let served = serve(args).await;
    telemetry.end().await;
    served
}

async fn serve(args: ServeArgs) -> Result<(), Failure> {
    let mut config = Config::try_from(args).map_err(|error| Failure::Here(error.to_string()))?;
    raise_open_files();
    config.connections_max = config.connections_max.min(connections_possible());
    let failed = |what: &str, error: &dyn std::error::Error| Failure::Here(format!("{what}: {}", chain(error)));

    let listener = TcpListener::bind(config.listen).await.map_err(|error| cannot_listen(&config, &error))?;
    let address = listener.local_addr().map_err(|error| failed("cannot listen", &error))?;
    let data_dir = std::path::absolute(&config.data_dir).map_err(|error| failed("no data directory", &error))?;
    let signals = Signals::listen().map_err(|error| failed("cannot listen to signals", &error))?;
    let url = config.url_of(address);
    config.public_url.get_or_insert_with(|| url.clone());
    let server = Server::open(&config).await.map_err(|error| failed("cannot start", &error))?;

    let ready = format!("gatepost listens on {url}, its data is in {}", data_dir.display());
    output::even_if_closed(output::line(&ready))?;
    if !address.ip().is_loopback() && !config.admits_only_certified() {
        tracing::warn!("everybody who reaches {address} can decide every gate: nothing protects it");
    }

    let (stop, stopped) = oneshot::channel();
    let serving = server.serve(listener, async move {
        // A sender that is gone says the same.
        let _ = stopped.await;
    });
    tokio::select! {
        result = serving => result.map_err(|error| failed("the coordinator stopped", &error)),
        () = signals.twice(stop) => Err(Failure::Interrupted("open calls were cut off".to_owned())),
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
fn connections_possible() -> usize {
    let files =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    files.saturating_sub(OTHER_FILES).max(1)
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

/// What tells the process to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

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
