//! How long to pause before trying again. Random parts keep many workers from returning at the same moment.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first pause: long enough for a process to be replaced, too short for a person to notice.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two attempts of a wait or a watch, before its random part doubles it at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Pauses that grow, and never end.
pub(super) struct Pauses(ExponentialBackoff);

impl Pauses {
    pub(super) fn new() -> Self {
        let pauses = ExponentialBuilder::new().with_min_delay(PAUSE_MIN).with_max_delay(PAUSE_MAX);
        Self(pauses.without_max_times().with_jitter().build())
    }

    /// Returns how long to pause now.
    pub(super) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(PAUSE_MAX)
    }
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
}
