//! `gatepost bench waiters`: the memory that waits take, and how long one approval takes to wake them all.

use std::time::Instant;

use super::WaitersArgs;
use super::crowd::Crowd;
use super::process::Temporary;
use super::report::{Figure, Latency, Progress, Report};
use super::target::Target;
use crate::cli::failure::Failure;
use crate::proto::ApproveRequest;

/// Waiters that a connection carries: the coordinator serves 1,024 calls on one.
const PER_CONNECTION_MAX: usize = 1_000;

/// Opens the waits, and looks at the coordinator's memory before and after.
///
/// Without `--one-gate` each waiter has a gate of its own, which is made by the wait: the memory after then holds what
/// the store keeps of these gates in its cache as well.
pub(super) async fn run(target: Target, args: &WaitersArgs) -> Result<Report, Failure> {
    let (waiters, connections) = (args.waiters.get(), args.connections.get());
    if waiters.div_ceil(connections) > PER_CONNECTION_MAX {
        return Err(Failure::Here(format!(
            "a connection carries {PER_CONNECTION_MAX} waiters: give --connections {} or more",
            waiters.div_ceil(PER_CONNECTION_MAX)
        )));
    }
    let names = target.names();
    let clients = target.connect(connections)?;
    let before = target.process().map(Temporary::resident_bytes).transpose()?;

    let progress = Progress::new("waiters", count(waiters));
    let shared = names.of(names.next());
    let gate = || if args.one_gate { shared.clone() } else { names.of(names.next()) };
    let began = Instant::now();
    let crowd = Crowd::gather(&clients, waiters, gate, &progress).await?;
    let opened = began.elapsed();
    let after = target.process().map(Temporary::resident_bytes).transpose()?;

    let mut report = Report::new("waiters", target.describe());
    report.figure("waiters", Figure::Count(count(waiters), "waiters"));
    report.figure("connections", Figure::Count(count(connections), "connections"));
    report.figure("gates", Figure::Count(if args.one_gate { 1 } else { count(waiters) }, "gates"));
    report.figure("opening", Figure::Time(opened));
    if let (Some(before), Some(after)) = (before, after) {
        report.figure("resident_before", Figure::Bytes(before));
        report.figure("resident_after", Figure::Bytes(after));
        report.figure("resident_per_waiter", Figure::Bytes(after.saturating_sub(before) / count(waiters)));
    }
    if args.one_gate {
        let sent = Instant::now();
        let approve = ApproveRequest { gate: shared, ..ApproveRequest::default() };
        let approved = async { clients[0].approve(approve).await.map_err(Failure::from) };
        let (_, woken) = tokio::try_join!(approved, crowd.woken())?;
        let mut wake = Latency::new();
        for time in woken {
            wake.record(time.duration_since(sent));
        }
        report.figure("woken", Figure::Count(wake.count(), "waiters"));
        report.chart("wake_latency", wake);
    }
    Ok(report)
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
