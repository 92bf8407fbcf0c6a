//! Three hosts, each with a member of etcd and a coordinator, and what can be done to them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gatepost::client::{Client, Error};
use gatepost::proto::{CreateGateRequest, Event, Gate, WatchRequest};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::block_in_place;
use tokio::time::{interval, timeout};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::linearizable::Did;
use crate::net::{Cut, Net, address};
use crate::process::{Ending, ready};
use crate::support::kept::etcd::memory;
use crate::support::{Gates, again, approve, create};
use crate::watched::Recorded;
use crate::workers::Waited;

pub const HOSTS: u8 = 3;
/// Where each listens.
const ETCD: u16 = 2379;
const ETCD_PEERS: u16 = 2380;
const GATEPOST: u16 = 7070;

/// How long anything may take before a test fails: far more than it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a member may take to say how it is.
const STATUS_MAX: Duration = Duration::from_secs(2);
/// How long a coordinator without etcd may take to refuse a change: four seconds, and more on a machine that is busy.
const REFUSED_MAX: Duration = Duration::from_secs(15);

/// One cluster at a time: several would take each other's time, and members would be elected for that.
static TURN: Mutex<()> = Mutex::const_new(());

/// What those who use a cluster tell of it.
#[derive(Default)]
pub struct Told {
    pub did: Vec<Did>,
    pub waits: Vec<Waited>,
    pub watches: Vec<(WatchRequest, Recorded)>,
    /// All that happened.
    pub log: Vec<Event>,
    pub faults: Vec<String>,
}

/// A cluster, which ends when dropped. The fields go in their order.
pub struct World {
    coordinators: Vec<Ending>,
    members: Vec<Ending>,
    net: Net,
    home: Home,
    http: reqwest::Client,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// Starts one; none, which is said, where that cannot be done.
    pub async fn start_or_skip(test: &str) -> Option<Self> {
        let turn = TURN.lock().await;
        let etcd = Command::new("etcd").arg("--version").stdout(Stdio::null()).status();
        let etcd = etcd.map_err(|error| format!("etcd: {error}"));
        let net = match etcd.and_then(|_| Net::new(HOSTS)) {
            Ok(net) => net,
            Err(problem) => {
                println!("{test}: SKIPPED, because there can be no cluster here: {problem}");
                return None;
            }
        };
        let (home, http) = (Home(tempfile::tempdir_in(memory::or_disk()).unwrap()), reqwest::Client::new());
        let mut world = Self { coordinators: Vec::new(), members: Vec::new(), net, home, http, _turn: turn };
        for host in 0..HOSTS {
            world.members.push(world.member(host));
        }
        world.leader().await;
        for host in 0..HOSTS {
            let started = world.coordinator(host).await;
            world.coordinators.push(started);
        }
        Some(world)
    }

    /// Kills a member of etcd.
    pub fn kill_member(&mut self, host: u8) {
        end(&mut self.members[usize::from(host)]);
    }

    /// Starts one again that was killed, and waits until it has found the others.
    pub async fn start_member(&mut self, host: u8) {
        self.members[usize::from(host)] = self.member(host);
        self.until_member_follows(host).await;
    }

    /// Waits until a member knows who leads.
    pub async fn until_member_follows(&self, host: u8) {
        until("the member finds the others", async || {
            let (leader, status) = (self.agreed_leader().await, self.status(host).await);
            leader.is_some_and(|(_, id)| status.is_some_and(|status| status.leader == id))
        })
        .await;
    }

    /// Cuts a member of etcd off from the others; whoever asks it still reaches it.
    pub fn cut_member_off(&self, host: u8) -> [Cut; 2] {
        [self.net.cut_off(host, ETCD_PEERS), self.net.cut_from(host, ETCD_PEERS)]
    }

    /// Cuts a coordinator off from all of etcd; its clients still reach it, and the other coordinators its host's member.
    pub fn cut_from_etcd(&self, host: u8) -> Cut {
        self.net.cut_from(host, ETCD)
    }

    /// Cuts a coordinator off from its clients.
    pub fn cut_from_clients(&self, host: u8) -> Cut {
        self.net.cut_off(host, GATEPOST)
    }

    /// Stops a coordinator as an overloaded host does.
    pub fn pause(&self, host: u8) {
        signal(&self.coordinators[usize::from(host)], Signal::STOP);
    }

    /// Lets a coordinator go on.
    pub fn resume(&self, host: u8) {
        signal(&self.coordinators[usize::from(host)], Signal::CONT);
    }

    /// Returns the host whose member leads, once a majority agrees on one.
    pub async fn leader(&self) -> u8 {
        let mut found = None;
        until("a member leads", async || {
            found = self.agreed_leader().await;
            found.is_some()
        })
        .await;
        found.unwrap().0
    }

    /// Returns the host and the id of the leader that a majority follows.
    async fn agreed_leader(&self) -> Option<(u8, u64)> {
        let mut all = Vec::new();
        for host in 0..HOSTS {
            all.extend(self.status(host).await.map(|status| (host, status)));
        }
        let follow = |id| all.iter().filter(|(_, status)| status.leader == id).count();
        let leader = all.iter().find(|(_, status)| follow(status.id) > usize::from(HOSTS / 2));
        leader.map(|(host, status)| (*host, status.id))
    }

    /// Has etcd forget all values but those that are current, and returns up to which revision.
    pub async fn compact(&self, host: u8) -> u64 {
        let mut status = None;
        until("the member says how it is", async || {
            status = self.status(host).await;
            status.is_some()
        })
        .await;
        let revision = status.unwrap().revision;
        let request = json!({"revision": revision.to_string(), "physical": true});
        self.ask_member(host, "kv/compaction", &request, PATIENCE).await.unwrap();
        revision
    }

    async fn status(&self, host: u8) -> Option<MemberStatus> {
        let answer = self.ask_member(host, "maintenance/status", &json!({}), STATUS_MAX).await?;
        // Numbers of 64 bits are strings in the JSON of protobuf, and zeros are left out.
        let number = |value: &Value| value.as_str().map_or(0, |text| text.parse().unwrap());
        let header = &answer["header"];
        Some(MemberStatus {
            id: number(&header["member_id"]),
            leader: number(&answer["leader"]),
            revision: number(&header["revision"]),
        })
    }

    async fn ask_member(&self, host: u8, call: &str, request: &Value, time: Duration) -> Option<Value> {
        let request = self.http.post(format!("http://{}:{ETCD}/v3/{call}", address(host))).body(request.to_string());
        let answer = timeout(time, async { request.send().await.ok()?.text().await.ok() }).await.ok()??;
        serde_json::from_str(&answer).ok().filter(|answer: &Value| answer["error"].is_null())
    }

    /// Waits until a coordinator says that it takes changes, or that it does not: over HTTP, and over gRPC of each service.
    /// Returns when it first said so.
    pub async fn until_ready(&self, host: u8, ready: bool) -> Timestamp {
        let (code, status) = if ready { (200, ServingStatus::Serving) } else { (503, ServingStatus::NotServing) };
        until("it says so", async || {
            let asked = self.http.get(format!("http://{}/readyz", gatepost(host))).send();
            asked.await.is_ok_and(|answer| answer.status() == code)
        })
        .await;
        let said = Timestamp::now();
        let mut health = HealthClient::new(channel(host));
        for service in ["", "gatepost.v1.GateService"] {
            until("it says so of its services", async || {
                let request = HealthCheckRequest { service: service.to_owned() };
                health.check(request).await.is_ok_and(|answer| answer.into_inner().status() == status)
            })
            .await;
        }
        said
    }

    /// Returns what a coordinator has logged: a line may be there a little after what it tells.
    pub fn log(&self, host: u8) -> String {
        std::fs::read_to_string(self.home.log("gatepost", host)).unwrap()
    }

    fn member(&self, host: u8) -> Ending {
        let url = |host, port| format!("http://{}:{port}", address(host));
        let all: Vec<_> = (0..HOSTS).map(|host| format!("host{host}={}", url(host, ETCD_PEERS))).collect();
        let (client, peers) = (url(host, ETCD), url(host, ETCD_PEERS));
        let mut command = self.net.command(host, Path::new("etcd"));
        command
            .args(["--name", &format!("host{host}"), "--initial-cluster", &all.join(",")])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .arg("--data-dir")
            .arg(self.home.0.path().join(format!("etcd-{host}")))
            .stdout(Stdio::null())
            .stderr(self.home.open_log("etcd", host));
        Ending(command.spawn().unwrap())
    }

    /// Starts a coordinator, again if etcd did not answer it in time: it ends then.
    async fn coordinator(&self, host: u8) -> Ending {
        let mut serving = None;
        until("a coordinator serves", async || {
            let (process, said) = block_in_place(|| ready(&mut self.serve(host)));
            serving = Some(process);
            said.contains("http://")
        })
        .await;
        serving.unwrap()
    }

    fn serve(&self, host: u8) -> Command {
        let endpoints: Vec<_> = (0..HOSTS).map(|host| format!("{}:{ETCD}", address(host))).collect();
        let mut command = self.net.command(host, Path::new(env!("CARGO_BIN_EXE_gatepost")));
        command
            .args(["serve", "--insecure", "--listen", &gatepost(host)])
            .args(["--store", "etcd", "--etcd-endpoints", &endpoints.join(",")])
            .env("GATEPOST_LOG", "info")
            .stderr(self.home.open_log("gatepost", host));
        command
    }
}

struct MemberStatus {
    id: u64,
    leader: u64,
    revision: u64,
}

/// What the processes keep, and what they say.
struct Home(TempDir);

impl Home {
    fn log(&self, program: &str, host: u8) -> PathBuf {
        self.0.path().join(format!("{program}-{host}.log"))
    }

    fn open_log(&self, program: &str, host: u8) -> File {
        File::options().create(true).append(true).open(self.log(program, host)).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.disable_cleanup(true);
            println!("what was logged is in {}", self.0.path().display());
        }
    }
}

/// Returns where a coordinator listens.
pub fn gatepost(host: u8) -> String {
    format!("{}:{GATEPOST}", address(host))
}

/// A client that knows all coordinators, this host's first.
pub fn client(first: u8) -> Client {
    let all: Vec<_> = (0..HOSTS).map(|turn| gatepost((first + turn) % HOSTS)).collect();
    Client::new(&all.join(",")).unwrap()
}

/// A client that knows one.
pub fn direct(host: u8) -> Client {
    Client::new(&gatepost(host)).unwrap()
}

/// Returns the answer to calls that the store may keep from being answered at once.
pub async fn answer_of<T>(call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    timeout(PATIENCE, again(call)).await.expect("it is never answered").unwrap()
}

/// Makes a gate.
pub async fn made(client: &Client, gate: &str) -> Gate {
    let request = CreateGateRequest { request_id: format!("make-{gate}"), ..create(gate) };
    answer_of(async || client.create(request.clone()).await).await
}

/// Calls to one, which take as long as they take.
pub fn gates(host: u8) -> Gates {
    Gates::new(channel(host))
}

fn channel(host: u8) -> Channel {
    Endpoint::from_shared(format!("http://{}", gatepost(host))).unwrap().connect_lazy()
}

/// Checks that a coordinator says that it cannot decide, before long.
pub async fn is_refused(host: u8, gate: &str) {
    let answer = timeout(REFUSED_MAX, gates(host).approve(approve(gate))).await;
    let status = answer.expect("it does not say so in time").unwrap_err();
    let reason = status.get_details_error_info().map(|info| info.reason);
    assert_eq!((status.code(), reason.as_deref()), (Code::Unavailable, Some("STORE_UNAVAILABLE")), "{status:?}");
}

/// Asks until the answer is yes.
pub async fn until(never: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let mut look = interval(Duration::from_millis(100));
    let asked = async {
        while !is_so().await {
            look.tick().await;
        }
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("in vain: {never}"));
}

fn end(process: &mut Ending) {
    block_in_place(|| {
        process.0.kill().unwrap();
        process.0.wait().unwrap();
    });
}

fn signal(process: &Ending, signal: Signal) {
    kill_process(Pid::from_child(&process.0), signal).unwrap();
}
