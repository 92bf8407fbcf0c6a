//! `gatepost bench wake`: how long a decision takes to reach those who wait.

use std::time::Instant;

use super::WakeArgs;
use super::crowd::Crowd;
use super::report::{Figure, Latency, Progress, Report};
use super::target::Target;
use crate::cli::failure::Failure;
use crate::proto::ApproveRequest;

/// The most connections that waiters have: beyond, they share them.
const CONNECTIONS_MAX: usize = 100;

/// Decides one gate after the other, and measures from just before the approval is sent to the answer that each waiter
/// gets: both on the clock of this process.
pub(super) async fn run(target: Target, args: &WakeArgs) -> Result<Report, Failure> {
    let waiters = args.waiters.get();
    let names = target.names();
    let clients = target.connect(waiters.min(CONNECTIONS_MAX))?;
    let [approver] = &target.connect(1)?[..] else { return Err(Failure::Here("no connection".to_owned())) };

    let (mut wake, mut last, mut approval) = (Latency::new(), Latency::new(), Latency::new());
    let progress = Progress::new("rounds", args.rounds.get().into());
    for _ in 0..args.rounds.get() {
        let gate = names.of(names.next());
        let crowd = Crowd::gather(&clients, waiters, || gate.clone(), &Progress::hidden()).await?;
        let sent = Instant::now();
        let approve = async {
            approver.approve(ApproveRequest { gate, ..ApproveRequest::default() }).await?;
            Ok(sent.elapsed())
        };
        let (answered, woken) = tokio::try_join!(approve, crowd.woken())?;
        let woken: Vec<_> = woken.into_iter().map(|time| time.duration_since(sent)).collect();
        approval.record(answered);
        last.record(woken.iter().max().copied().unwrap_or_default());
        for time in woken {
            wake.record(time);
        }
        progress.add(1);
    }

    let mut report = Report::new("wake", target.describe());
    report.figure("waiters", Figure::Count(waiters.try_into().unwrap_or(u64::MAX), "waiters"));
    report.figure("rounds", Figure::Count(args.rounds.get().into(), "rounds"));
    report.latency("approval_latency", &approval);
    report.latency("last_waiter_latency", &last);
    report.chart("wake_latency", wake);
    Ok(report)
}
