//! A coordinator in this process, reached over real gRPC, and the plainest request of each kind.

#![allow(dead_code, reason = "no binary needs all of it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use gatepost::auth::Guard;
use gatepost::client;
use gatepost::config::{Config, ServeArgs};
use gatepost::proto::gate_service_client::GateServiceClient;
use gatepost::proto::wait_response::Message;
use gatepost::proto::*;
use gatepost::server::{self, Server};
use gatepost::store;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

#[path = "kept.rs"]
pub mod kept;

/// How long anything may take before a test fails: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a coordinator gives open calls to end: longer than a test waits for its end.
pub const DRAIN: Duration = Duration::from_secs(60);

/// The configuration file in the directory of a coordinator that has one.
const CONFIGURATION: &str = "gatepost.toml";

pub type Gates = GateServiceClient<Channel>;

/// A coordinator on a port and in a directory of its own. It ends with the test's runtime, or with [`Self::stop`].
pub struct Coordinator {
    address: SocketAddr,
    data_dir: TempDir,
    config: Config,
    guard: Arc<Guard>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), server::Error>>,
}

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    args: ServeArgs,
}

impl Coordinator {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// Starts one with a configuration file.
    pub async fn start_with(configuration: &str) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        std::fs::write(data_dir.path().join(CONFIGURATION), configuration).unwrap();
        Self::start_in(data_dir).await
    }

    /// Starts one with more flags.
    pub async fn start_with_flags(flags: &[String]) -> Self {
        Self::start_as(tempfile::tempdir().unwrap(), flags).await
    }

    /// Starts one in a directory, with the configuration file in it, if there is one.
    pub async fn start_in(data_dir: TempDir) -> Self {
        Self::start_as(data_dir, &[]).await
    }

    async fn start_as(data_dir: TempDir, more: &[String]) -> Self {
        let drain = DRAIN.as_secs().to_string();
        let flags = ["gatepost", "--listen", "127.0.0.1:0", "--drain-seconds", &drain];
        let flags = flags.map(str::to_owned).into_iter().chain(kept::flags(data_dir.path())).chain(more.to_vec());
        let mut args = Serve::parse_from(flags).args;
        args.config = Some(data_dir.path().join(CONFIGURATION)).filter(|file| file.exists()).or(args.config);
        let config = Config::new(args).unwrap();
        let server = within(open(&config)).await;
        let listener = TcpListener::bind(config.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let guard = server.guard();
        let running = tokio::spawn(server.serve(listener, async { stopped.await.unwrap_or_default() }));
        Self { address, data_dir, config, guard, stop, running }
    }

    /// Changes the configuration file, and has the coordinator read again who may call.
    pub fn reload(&self, configuration: &str) -> Result<(), String> {
        std::fs::write(self.data_dir.path().join(CONFIGURATION), configuration).unwrap();
        let identities = self.config.identities_again().map_err(|error| error.to_string())?;
        self.guard.replace(identities).map_err(|error| error.to_string())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects at the first call.
    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    pub fn gates(&self) -> Gates {
        Gates::new(self.channel())
    }

    /// Asks the coordinator to stop, and goes on at once.
    pub fn begin_stop(self) -> Stopping {
        drop(self.stop);
        Stopping { data_dir: self.data_dir, running: self.running }
    }

    /// Stops the coordinator and starts another one on the same directory.
    pub async fn restart(self) -> Self {
        Self::start_in(self.begin_stop().stopped().await).await
    }
}

/// Opens a store that may just have been closed: a read that was cut off holds it until it ends. One of etcd on a busy
/// machine may not answer in time.
async fn open(config: &Config) -> Server {
    let mut look = tokio::time::interval(Duration::from_millis(2));
    loop {
        match Server::open(config).await {
            Err(server::Error::Store(store::Error::Locked { .. } | store::Error::Unavailable { .. })) => {
                look.tick().await
            }
            opened => return opened.unwrap(),
        };
    }
}

/// A coordinator that has been asked to stop.
pub struct Stopping {
    data_dir: TempDir,
    running: JoinHandle<Result<(), server::Error>>,
}

impl Stopping {
    /// Waits until it has stopped, without an error, and returns its directory.
    pub async fn stopped(self) -> TempDir {
        within(self.running).await.unwrap().unwrap();
        self.data_dir
    }
}

/// Fails the test rather than let it hang.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("takes too long")
}

/// Makes a call again for as long as its error is one that may pass. It has to be the same request each time.
pub async fn again<T>(mut call: impl AsyncFnMut() -> Result<T, client::Error>) -> Result<T, client::Error> {
    loop {
        match call().await {
            Err(error) if error.is_transient() => {}
            answered => return answered,
        }
    }
}

/// Returns the answer of a call that has to succeed.
pub async fn ok<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> T {
    within(call).await.unwrap().into_inner()
}

/// Returns why a call was refused.
pub async fn refused<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Status {
    match within(call).await {
        Ok(_) => panic!("was not refused"),
        Err(status) => status,
    }
}

/// Returns why a stream was refused, be it at once or with its first message.
pub async fn stream_refused<T>(call: impl Future<Output = Result<Response<Streaming<T>>, Status>>) -> Status {
    match within(call).await {
        Ok(stream) => ended(&mut stream.into_inner()).await.unwrap_err(),
        Err(status) => status,
    }
}

/// Returns the next message of a stream that has to go on.
pub async fn next<T>(stream: &mut Streaming<T>) -> T {
    within(stream.message()).await.unwrap().expect("the stream has ended")
}

/// Returns how a stream ended that has to end here.
pub async fn ended<T>(stream: &mut Streaming<T>) -> Result<(), Status> {
    within(stream.message()).await.map(|message| assert!(message.is_none(), "the stream goes on"))
}

/// Returns the gate that a wait tells next.
pub async fn told(wait: &mut Streaming<WaitResponse>) -> Gate {
    match next(wait).await.message {
        Some(Message::Gate(gate)) => gate,
        other => panic!("no gate: {other:?}"),
    }
}

/// Reads a wait until it tells that somebody waits.
pub async fn told_waiting(wait: &mut Streaming<WaitResponse>, round: u32) -> Gate {
    loop {
        let gate = told(wait).await;
        if (gate.round, gate.status()) == (round, GateStatus::Waiting) {
            return gate;
        }
        assert_eq!((gate.round, gate.status()), (round, GateStatus::Pending));
    }
}

/// Reads a wait to its end and returns the gate in the last message, the only one that may be terminal.
pub async fn outcome(wait: &mut Streaming<WaitResponse>) -> Gate {
    loop {
        let gate = told(wait).await;
        if matches!(gate.status(), GateStatus::Approved | GateStatus::Rejected | GateStatus::TimedOut) {
            ended(wait).await.unwrap();
            return gate;
        }
    }
}

pub fn create(gate: &str) -> CreateGateRequest {
    CreateGateRequest { gate: gate.into(), ..CreateGateRequest::default() }
}

pub fn get(gate: &str) -> GetGateRequest {
    GetGateRequest { gate: gate.into(), round: 0 }
}

pub fn list(prefix: &str) -> ListGatesRequest {
    ListGatesRequest { prefix: prefix.into(), ..ListGatesRequest::default() }
}

pub fn report(gate: &str, facts: &[(&str, &str)]) -> ReportEvidenceRequest {
    let facts = facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ReportEvidenceRequest { gate: gate.into(), facts, ..ReportEvidenceRequest::default() }
}

pub fn delete(gate: &str) -> DeleteGateRequest {
    DeleteGateRequest { gate: gate.into(), etag: String::new() }
}

/// Waits on a gate that exists.
pub fn wait(gate: &str) -> WaitRequest {
    WaitRequest { gate: gate.into(), ..WaitRequest::default() }
}

/// Waits on a gate, and creates it if it is missing.
pub fn wait_with(gate: &str, spec: Spec) -> WaitRequest {
    WaitRequest { spec: Some(spec), ..wait(gate) }
}

pub fn approve(gate: &str) -> ApproveRequest {
    ApproveRequest { gate: gate.into(), ..ApproveRequest::default() }
}

pub fn reject(gate: &str) -> RejectRequest {
    RejectRequest { gate: gate.into(), ..RejectRequest::default() }
}

pub fn reset(gate: &str) -> ResetGateRequest {
    ResetGateRequest { gate: gate.into(), request_id: String::new() }
}

pub fn reset_group(prefix: &str) -> ResetGatesRequest {
    ResetGatesRequest { prefix: prefix.into(), request_id: String::new() }
}

pub fn watch(prefix: &str) -> WatchRequest {
    WatchRequest { prefix: prefix.into(), ..WatchRequest::default() }
}

pub fn history(gate: &str) -> ListEventsRequest {
    ListEventsRequest { gate: gate.into(), ..ListEventsRequest::default() }
}

/// A gate that asks for a decision within a time.
pub fn within_ms(milliseconds: i32) -> Spec {
    let (seconds, nanos) = (i64::from(milliseconds / 1000), milliseconds % 1000 * 1_000_000);
    Spec { timeout: Some(gatepost::proto::Duration { seconds, nanos }), ..Spec::default() }
}
