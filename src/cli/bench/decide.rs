//! `gatepost bench decide`: durable decisions per second, beside what the machine can do at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::DecideArgs;
use super::callers::{self, Measured, Stop};
use super::disk;
use super::report::{Figure, Report};
use super::target::{Names, Target, store_resolved, undecided};
use crate::cli::failure::Failure;
use crate::client::Client;
use crate::proto::{ApproveRequest, CreateGateRequest, GetGateRequest};

/// Turns that everything takes: what else the machine does meanwhile then disturbs all of it alike.
const TURNS: u32 = 5;
/// The bare limits are measured for so much of the time that decisions are: they vary less.
const LIMITS_SHARE: u32 = 2;
/// Connections over which gates are stored beforehand.
const STORING_CONNECTIONS: usize = 16;

/// Measures decisions, an RPC that stores nothing and fdatasync, in turns.
///
/// The RPC is `GetGate` of one gate: it does what an approval does except deciding and storing. It parses a name, looks
/// the gate up and answers with it. Each caller has a connection of its own, as callers on different hosts have.
pub(super) async fn run(target: Target, args: &DecideArgs) -> Result<Report, Failure> {
    let names = target.names();
    if args.gates_stored > 0 {
        store_resolved(&target.connect(STORING_CONNECTIONS)?, &names, args.gates_stored).await?;
    }
    let callers = target.connect(args.concurrency.get())?;
    let mut pool = Pool { first: names.count(), decided: Arc::new(AtomicU32::new(names.count())), names };
    let existing = pool.create_one(&callers[0]).await?;

    let turn = args.duration / TURNS;
    let (mut decide, mut read, mut sync) = (Measured::new(), Measured::new(), Measured::new());
    for _ in 0..TURNS {
        // As long as they are decided: that takes as much as their creation, a commit each.
        pool.create(&callers, turn).await?;
        read.add(&read_one(&callers, &existing, turn / LIMITS_SHARE).await?);
        if let Some(process) = target.process() {
            sync.add(&disk::measure(process.dir(), turn / LIMITS_SHARE).await?);
        }
        decide.add(&pool.decide(&callers, turn).await?);
    }

    let mut report = Report::new("decide", target.describe());
    let callers = u64::try_from(args.concurrency.get()).unwrap_or(u64::MAX);
    report.figure("concurrency", Figure::Count(callers, "callers"));
    report.figure("gates_stored", Figure::Count(args.gates_stored.into(), "gates"));
    report.figure("decisions", Figure::PerSecond(decide.per_second()));
    report.figure("rpc_that_stores_nothing", Figure::PerSecond(read.per_second()));
    if target.process().is_some() {
        report.figure("fdatasync_alone", Figure::PerSecond(sync.per_second()));
    }
    report.figure("decisions_to_rpc_ratio", Figure::Ratio(decide.per_second() / read.per_second()));
    report.latency("rpc_latency", &read.latency);
    if target.process().is_some() {
        report.latency("fdatasync_latency", &sync.latency);
    }
    report.chart("decision_latency", decide.latency);
    Ok(report)
}

/// Gates that wait to be decided. They are made outside of the time that is measured.
struct Pool {
    names: Names,
    first: u32,
    /// The number of the first gate that is not decided yet.
    decided: Arc<AtomicU32>,
}

impl Pool {
    /// Makes the gate that is only read.
    async fn create_one(&mut self, client: &Client) -> Result<String, Failure> {
        let gate = self.names.of(self.names.next());
        create(client.clone(), gate.clone()).await?;
        self.first += 1;
        self.decided.store(self.first, Ordering::Relaxed);
        Ok(gate)
    }

    async fn create(&self, callers: &[Client], duration: Duration) -> Result<(), Failure> {
        let names = self.names.clone();
        let call = move |client: Client| Some(create(client, names.of(names.next())));
        callers::measure(callers, Stop::At(Instant::now() + duration), call).await.map(drop)
    }

    /// Decides them, for a time or until there is none left.
    async fn decide(&self, callers: &[Client], duration: Duration) -> Result<Measured, Failure> {
        let (names, decided) = (self.names.clone(), Arc::clone(&self.decided));
        let call = move |client: Client| {
            // Only this phase runs, so none is made meanwhile.
            let number = decided.fetch_add(1, Ordering::Relaxed);
            let request = ApproveRequest { gate: names.of(number), ..ApproveRequest::default() };
            (number < names.count()).then_some(async move { client.approve(request).await })
        };
        let measured = callers::measure(callers, Stop::At(Instant::now() + duration), call).await?;
        self.decided.fetch_min(self.names.count(), Ordering::Relaxed);
        Ok(measured)
    }
}

async fn create(client: Client, gate: String) -> Result<crate::proto::Gate, crate::client::Error> {
    let request = CreateGateRequest { gate, spec: Some(undecided()), ..CreateGateRequest::default() };
    client.create(request).await
}

async fn read_one(callers: &[Client], gate: &str, duration: Duration) -> Result<Measured, Failure> {
    let request = GetGateRequest { gate: gate.to_owned(), ..GetGateRequest::default() };
    let call = move |client: Client| {
        let request = request.clone();
        Some(async move { client.get(request).await })
    };
    callers::measure(callers, Stop::At(Instant::now() + duration), call).await
}
