//! `gatepost bench recover`: how long a coordinator takes to start on what is stored.

use super::RecoverArgs;
use super::crowd::Crowd;
use super::process::Temporary;
use super::report::{Figure, Latency, Progress, Report};
use super::target::{Target, store_resolved};
use crate::cli::failure::Failure;
use crate::client::Client;
use crate::proto::GetGateRequest;

/// Connections over which gates are stored and waited on.
const CONNECTIONS: usize = 16;

/// Stores gates, then measures from the start of the process to its first answer about one of them: after a kill right
/// behind the last write, and then after stops and kills in turns, with nothing written in between. The system keeps the
/// files in memory, so no disk is waited for.
pub(super) async fn run(args: &RecoverArgs) -> Result<Report, Failure> {
    let target = Target::temporary(&args.temporary.dir).await?;
    let names = target.names();
    let clients = target.connect(CONNECTIONS)?;
    store_resolved(&clients, &names, args.gates).await?;
    // At least one, to ask for.
    let waiting = usize::try_from(args.waiting.max(1)).unwrap_or(usize::MAX);
    let asked = names.of(names.count());
    let progress = Progress::new("gates that wait", args.waiting.into());
    drop(Crowd::gather(&clients, waiting, || names.of(names.next()), &progress).await?);
    drop((progress, clients));

    let mut report = Report::new("recover", target.describe());
    report.figure("gates", Figure::Count(args.gates.into(), "gates"));
    report.figure("waiting", Figure::Count(u64::try_from(waiting).unwrap_or(u64::MAX), "gates"));
    report.figure("runs", Figure::Count(args.runs.get().into(), "starts"));
    let Some(mut process) = target.into_process() else { return Ok(report) };
    process.kill_and_start().await?;
    report.figure("start_after_load_and_kill", Figure::Time(answered(&process, &asked).await?));
    let (mut stopped, mut killed) = (Latency::new(), Latency::new());
    let progress = Progress::new("starts", u64::from(args.runs.get()) * 2);
    for _ in 0..args.runs.get() {
        process.stop_and_start().await?;
        stopped.record(answered(&process, &asked).await?);
        process.kill_and_start().await?;
        killed.record(answered(&process, &asked).await?);
        progress.add(2);
    }
    report.latency("start_after_stop", &stopped);
    report.latency("start_after_kill", &killed);
    report.figure("resident_after_start", Figure::Bytes(process.resident_bytes()?));
    Ok(report)
}

/// Asks for a gate, and returns how long after the start of the process the answer came.
async fn answered(process: &Temporary, gate: &str) -> Result<std::time::Duration, Failure> {
    let client = Client::new(process.address())?;
    client.get(GetGateRequest { gate: gate.to_owned(), ..GetGateRequest::default() }).await?;
    Ok(process.started().elapsed())
}
