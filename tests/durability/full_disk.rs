//! Fault 5: others fill the disk of a coordinator under load, a small tmpfs, and later leave it again.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::Duration;

use gatepost::client::{Client, Error, Notice, Update, Wait, Watch};
use gatepost::proto::{
    ApproveRequest, CreateGateRequest, EventType, Gate, GateStatus, GetGateRequest, ListGatesRequest, ResetGateRequest,
    Spec, WaitRequest, WatchRequest,
};
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::check::check;
use crate::image::BALLAST;
use crate::load::{CLIENTS, Journal, load};
use crate::loop_device::run;
use crate::server::Server;
use crate::settings::{number, random};

const TEST: &str = "full disks";

/// How often to fill the disk in each test, unless the environment says otherwise.
const TIMES: usize = 2;

/// How often to kill and start on a full disk, one time after the other.
const STARTS: usize = 3;

/// How long the health may take to tell what is so: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(30);

const DISK_BYTES: u64 = 128 * 1024 * 1024;

/// What others write at once: less than the room that the store keeps between itself and the end of the disk.
const PIECE_BYTES: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_changes_and_takes_them_again_without_a_restart() {
    let Some(disk) = Disk::new_or_skip() else { return };
    let mut random = random(TEST);
    let server = Server::start(&disk.data());
    let mut acknowledged = 0;
    for time in 1..=times() {
        let bystander = Bystander::new(&server, time).await;
        let mut wait = bystander.wait().await;
        let mut watch = bystander.watch().await;
        let prefix = format!("load-{time}");
        let journal = fill_under_load(&disk, &server, &prefix, random.u64(..)).await;
        bystander.is_refused_and_reads().await;
        is_ready(&server, false).await;
        check(&server.address, &prefix, &journal.entries()).await.unwrap();

        disk.leave();
        is_ready(&server, true).await;
        bystander.decides().await;
        assert_eq!(last_told(&mut wait).await.status(), GateStatus::Approved);
        // The watch has missed no event meanwhile.
        let mut seen = None;
        while let Some(notice) = watch.next().await.unwrap() {
            let Notice::Event(event) = notice else { continue };
            assert!(seen.is_none_or(|seen| event.revision == seen + 1), "{} comes after {seen:?}", event.revision);
            seen = Some(event.revision);
            if event.name == bystander.waiting && event.r#type() == EventType::Resolved {
                break;
            }
        }
        acknowledged += journal.acknowledged();
    }
    println!("{TEST}: filled {} times, changes acknowledged: {acknowledged}, lost: 0", times());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_was_killed_starts_on_a_full_disk() {
    let Some(disk) = Disk::new_or_skip() else { return };
    let mut random = random(TEST);
    let mut server = Server::start(&disk.data());
    let mut acknowledged = 0;
    for time in 1..=times() {
        assert!(disk.ballast().exists(), "there is room for it");
        let mut bystander = Bystander::new(&server, time).await;
        drop(bystander.wait().await);
        let prefix = format!("load-{time}");
        let journal = fill_under_load(&disk, &server, &prefix, random.u64(..)).await;
        for _ in 0..STARTS {
            server.kill();
            server = Server::start(&disk.data());
            assert!(!disk.ballast().exists(), "it was needed");
            bystander.client = Client::new(&server.address).unwrap();
            bystander.is_refused_and_reads().await;
            check(&server.address, &prefix, &journal.entries()).await.unwrap();
        }

        disk.leave();
        bystander.decides().await;
        server.kill();
        server = Server::start(&disk.data());
        check(&server.address, &prefix, &journal.entries()).await.unwrap();
        acknowledged += journal.acknowledged();
    }
    println!("{TEST}: {} starts, changes acknowledged: {acknowledged}, lost: 0", times() * STARTS);
}

/// Checks whether it says that it takes changes, over HTTP at once and over gRPC soon.
async fn is_ready(server: &Server, expected: bool) {
    let ready = reqwest::get(format!("http://{}/readyz", server.address)).await.unwrap();
    assert_eq!(ready.status(), if expected { 200 } else { 503 }, "{}", ready.text().await.unwrap());
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut health = HealthClient::new(endpoint.connect_lazy());
    let expected = if expected { ServingStatus::Serving } else { ServingStatus::NotServing };
    let told = async {
        for service in ["", "gatepost.v1.GateService"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            while health.check(request.clone()).await.unwrap().into_inner().status() != expected {}
        }
    };
    timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("it is never told that it is {expected:?}"));
}

fn times() -> usize {
    number("GATEPOST_TEST_FULL_DISKS", TIMES)
}

/// Fills the disk while clients change gates, until nothing is left of it.
async fn fill_under_load(disk: &Disk, server: &Server, prefix: &str, seed: u64) -> Journal {
    let journal = Journal::default();
    let client = Client::new(&server.address).unwrap();
    let filled = async {
        let mut others = File::create(disk.others()).unwrap();
        // After each piece one change, so that the disk is not full at once.
        for number in 0.. {
            others.write_all(&vec![1; PIECE_BYTES]).unwrap();
            match client.create(create(&format!("filling/{prefix}/{number}"))).await {
                Ok(_) => {}
                Err(error) => {
                    is_full(&error);
                    break;
                }
            }
        }
        // Nothing is written to the store any more.
        let error = loop {
            if let Err(error) = others.write_all(&[1; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    };
    tokio::select! {
        biased;
        () = load(&server.address, prefix, seed, CLIENTS, &journal) => unreachable!("load never ends"),
        () = filled => {}
    }
    assert!(journal.acknowledged() > 0, "too little load to show anything");
    journal
}

/// A client that is there before the disk is full, and after.
struct Bystander {
    client: Client,
    /// A gate that is waited at.
    waiting: String,
    /// A gate that was approved, and how that was answered.
    approved: Gate,
}

impl Bystander {
    async fn new(server: &Server, time: usize) -> Self {
        let client = Client::new(&server.address).unwrap();
        let (waiting, approved) = (format!("waiting/{time}"), format!("approved/{time}"));
        client.create(create(&waiting)).await.unwrap();
        client.create(create(&approved)).await.unwrap();
        let approved = client.approve(approve_once(&approved)).await.unwrap();
        Self { client, waiting, approved }
    }

    /// Waits, and returns once that is told the gate.
    async fn wait(&self) -> Wait {
        let mut wait = self.client.wait(WaitRequest { gate: self.waiting.clone(), ..WaitRequest::default() });
        let Ok(Some(Update::Gate(gate))) = wait.next().await else { panic!("it cannot wait") };
        assert_eq!(gate.status(), GateStatus::Waiting);
        wait
    }

    /// Watches from the approval on, and returns once something is told.
    async fn watch(&self) -> Watch {
        let request = WatchRequest { start_revision: self.approved.revision, ..WatchRequest::default() };
        let mut watch = self.client.watch(request);
        watch.next().await.unwrap();
        watch
    }

    /// Checks what holds on a full disk.
    async fn is_refused_and_reads(&self) {
        let Self { client, waiting, approved } = self;
        let gate = || waiting.clone();
        let reset = ResetGateRequest { gate: approved.name.clone(), ..ResetGateRequest::default() };
        let changes = [
            client.create(create(&format!("{waiting}/new"))).await,
            client.approve(ApproveRequest { gate: gate(), ..ApproveRequest::default() }).await,
            client.reset(reset).await,
        ];
        for refused in changes {
            is_full(&refused.unwrap_err());
        }

        let read = client.get(GetGateRequest { gate: gate(), round: 0 }).await.unwrap();
        assert_eq!(read.resolution, None);
        let listed = client.list(ListGatesRequest { prefix: "approved".to_owned(), ..ListGatesRequest::default() });
        assert!(listed.await.unwrap().gates.contains(approved));
        // A request that was answered before is answered again, and a wait joins those that were there.
        assert_eq!(client.approve(approve_once(&approved.name)).await.unwrap(), *approved);
        drop(self.wait().await);
    }

    /// Makes the change that was refused.
    async fn decides(&self) {
        let gate = self.waiting.clone();
        let decided = self.client.approve(ApproveRequest { gate, ..ApproveRequest::default() }).await.unwrap();
        assert_eq!(decided.status(), GateStatus::Approved);
    }
}

/// Returns the end of what a wait is told. Its connection was never lost.
async fn last_told(wait: &mut Wait) -> Gate {
    let mut last = None;
    while let Some(update) = wait.next().await.unwrap() {
        let Update::Gate(gate) = update else { panic!("{update:?}") };
        last = Some(*gate);
    }
    last.unwrap()
}

fn create(gate: &str) -> CreateGateRequest {
    CreateGateRequest { gate: gate.to_owned(), spec: Some(Spec::default()), ..CreateGateRequest::default() }
}

fn approve_once(gate: &str) -> ApproveRequest {
    ApproveRequest { gate: gate.to_owned(), request_id: format!("approves:{gate}"), ..ApproveRequest::default() }
}

fn is_full(error: &Error) {
    let refusal = error.refusal("STORE_FULL").unwrap_or_else(|| panic!("{error}"));
    assert_eq!(refusal.code, Code::ResourceExhausted);
}

/// A small file system in memory, taken away when dropped.
struct Disk(TempDir);

impl Disk {
    fn new_or_skip() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let mounted = if rustix::process::geteuid().is_root() {
            let size = format!("size={DISK_BYTES}");
            run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", home.path().to_str().unwrap()])
        } else {
            Err("only root may".to_owned())
        };
        match mounted {
            Ok(_) => Some(Self(home)),
            Err(problem) => {
                println!("{TEST}: SKIPPED, because no file system can be mounted here: {problem}");
                None
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn ballast(&self) -> PathBuf {
        self.data().join(BALLAST)
    }

    /// The file of those who fill it.
    fn others(&self) -> PathBuf {
        self.0.path().join("others")
    }

    /// Lets the others leave.
    fn leave(&self) {
        fs::remove_file(self.others()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(problem) = run("umount", &[self.0.path().to_str().unwrap()]) {
            eprintln!("left behind: {problem}");
        }
    }
}
