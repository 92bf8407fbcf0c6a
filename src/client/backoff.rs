//! How long to pause before trying again. Random parts keep many workers from returning at the same moment.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first pause: long enough for a process to be replaced, too short for a person to notice.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts of a wait or a watch, before its random part doubles it at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long all pauses of one call may take together: a person looks at the prompt.
pub(super) const CALL_PAUSES_MAX: Duration = Duration::from_secs(2);

/// The pauses between the attempts of one call.
pub(super) fn of_calls() -> ExponentialBuilder {
    pauses().with_total_delay(Some(CALL_PAUSES_MAX))
}

/// The pauses between the connections of a wait or a watch, which never give up.
pub(super) struct Pauses(ExponentialBackoff);

impl Pauses {
    pub(super) fn new() -> Self {
        Self(pauses().build())
    }

    /// Returns how long to pause now.
    pub(super) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(PAUSE_MAX)
    }
}

fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::new().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX).without_max_times().with_jitter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_never_end() {
        let mut pauses = Pauses::new();
        let first = pauses.next();
        assert!((PAUSE_MIN..=PAUSE_MIN * 2).contains(&first), "{first:?}");
        for pause in std::iter::repeat_with(|| pauses.next()).skip(10).take(1_000) {
            assert!((PAUSE_MAX..=PAUSE_MAX * 2).contains(&pause), "{pause:?}");
        }
    }

    #[test]
    fn the_pauses_of_a_call_end() {
        let total: Duration = of_calls().build().sum();
        assert!(total <= CALL_PAUSES_MAX, "{total:?}");
    }
}
