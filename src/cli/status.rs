//! The statuses as people write and read them.

use clap::ValueEnum;
use owo_colors::OwoColorize;

use crate::proto::GateStatus;

/// A status to look for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum StatusArg {
    /// Nobody has waited on it yet
    Pending,
    /// A worker waits
    Waiting,
    /// Approved
    Approved,
    /// Rejected
    Rejected,
    /// Nobody decided in time
    #[value(alias = "timed_out")]
    TimedOut,
}

impl StatusArg {
    /// Returns the API's numbers of statuses.
    pub(super) fn numbers(statuses: &[Self]) -> Vec<i32> {
        statuses.iter().map(|&status| GateStatus::from(status).into()).collect()
    }
}

impl From<StatusArg> for GateStatus {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Pending => Self::Pending,
            StatusArg::Waiting => Self::Waiting,
            StatusArg::Approved => Self::Approved,
            StatusArg::Rejected => Self::Rejected,
            StatusArg::TimedOut => Self::TimedOut,
        }
    }
}

/// Returns the word for a status.
pub(super) fn word(status: GateStatus) -> &'static str {
    match status {
        GateStatus::Unspecified => "unknown",
        GateStatus::Pending => "pending",
        GateStatus::Waiting => "waiting",
        GateStatus::Approved => "approved",
        GateStatus::Rejected => "rejected",
        GateStatus::TimedOut => "timed out",
    }
}

/// Returns the word for a status in its colour.
pub(super) fn coloured(status: GateStatus) -> String {
    let word = word(status);
    match status {
        GateStatus::Unspecified | GateStatus::Pending => word.dimmed().to_string(),
        GateStatus::Waiting => word.cyan().to_string(),
        GateStatus::Approved => word.green().to_string(),
        GateStatus::Rejected => word.red().to_string(),
        GateStatus::TimedOut => word.yellow().to_string(),
    }
}
