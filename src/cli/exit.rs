//! The exit codes, which scripts rely on.

use crate::client::Outcome;

/// The command did what it was asked; the gate was approved.
pub(super) const OK: u8 = 0;
/// Something went wrong.
pub(super) const ERROR: u8 = 1;
/// The gate was rejected, or deleted before it was decided; or somebody may not do what was asked of `can`.
pub(super) const REJECTED: u8 = 10;
/// The gate timed out.
pub(super) const TIMED_OUT: u8 = 11;
/// A wrong command line, as clap ends it.
pub(super) const USAGE: u8 = 2;
/// Ctrl-C, as a shell reports it: 128 + SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

/// Returns how a wait with this outcome exits.
pub(super) fn of(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Approved(_) => OK,
        Outcome::Rejected(_) => REJECTED,
        Outcome::TimedOut(_) => TIMED_OUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Gate;

    #[test]
    fn the_outcomes_exit_as_documented() {
        let gate = Gate::default;
        let outcomes = [Outcome::Approved(gate()), Outcome::Rejected(gate()), Outcome::TimedOut(gate())];
        assert_eq!(outcomes.each_ref().map(of), [0, 10, 11]);
    }
}
