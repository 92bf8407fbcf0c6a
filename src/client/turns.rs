//! Whose turn it is: in which order the endpoints of one call, wait or watch are tried, and with what pauses.

use std::time::Duration;

use super::Error;
use super::backoff::Pauses;

/// Rounds over all endpoints. Within a round the next one is tried at once; a pause comes between rounds, so that each
/// endpoint is asked no more often than it would be if it were the only one.
pub(super) struct Turns {
    order: Vec<usize>,
    at: usize,
    /// How many are left of this round.
    left: usize,
    pauses: Pauses,
}

impl Turns {
    /// Takes the endpoints in their order, that of the last answer first.
    pub(super) fn of_call(first: usize, count: usize) -> Self {
        Self::in_order((0..count).map(|turn| (first + turn) % count).collect())
    }

    /// Takes them in the order of a client's nth stream. Successive streams begin at successive endpoints, and those that
    /// begin at the same one go on at different ones: when it is gone, all others share what was there.
    pub(super) fn of_stream(nth: usize, count: usize) -> Self {
        let mut order: Vec<_> = (0..count).map(|turn| (nth + turn) % count).collect();
        let others = &mut order[1..];
        others.rotate_left(nth / count % others.len().max(1));
        Self::in_order(order)
    }

    fn in_order(order: Vec<usize>) -> Self {
        Self { left: order.len() - 1, order, at: 0, pauses: Pauses::new() }
    }

    /// Returns the endpoint whose turn it is.
    pub(super) fn current(&self) -> usize {
        self.order[self.at]
    }

    /// Says whether this is the last turn of a round.
    pub(super) fn is_last(&self) -> bool {
        self.left == 0
    }

    /// Notes that an endpoint answered: pauses begin anew.
    pub(super) fn on_answer(&mut self) {
        self.pauses = Pauses::new();
    }

    /// Goes on to the next endpoint, and returns how long to pause before: no shorter than a coordinator asks for.
    pub(super) fn next(&mut self, error: &Error) -> Duration {
        self.at = (self.at + 1) % self.order.len();
        let pause = if self.left > 0 {
            self.left -= 1;
            Duration::ZERO
        } else {
            self.left = self.order.len() - 1;
            self.pauses.next()
        };
        error.retry_in().map_or(pause, |asked| asked.max(pause))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tonic::{Code, Status};

    use super::super::Refusal;
    use super::*;

    fn lost() -> Error {
        Error::from_status("http://h:1", Status::unavailable("gone"))
    }

    /// The next turns, and whether each comes after a pause.
    fn told(turns: &mut Turns, count: usize) -> Vec<(usize, bool)> {
        (0..count).map(|_| (!turns.next(&lost()).is_zero(), turns.current())).map(|(paused, at)| (at, paused)).collect()
    }

    #[test]
    fn each_endpoint_is_tried_once_before_there_is_a_pause() {
        let mut turns = Turns::of_call(1, 3);
        assert!(turns.current() == 1 && !turns.is_last());
        assert_eq!(told(&mut turns, 2), [(2, false), (0, false)]);
        assert!(turns.is_last());
        assert_eq!(told(&mut turns, 4), [(1, true), (2, false), (0, false), (1, true)]);
    }

    #[test]
    fn one_endpoint_is_never_tried_again_without_a_pause() {
        for mut turns in [Turns::of_call(0, 1), Turns::of_stream(7, 1)] {
            assert!(turns.is_last());
            assert_eq!(told(&mut turns, 3), [(0, true); 3]);
        }
    }

    #[test]
    fn pauses_grow_until_there_is_an_answer() {
        let mut turns = Turns::of_call(0, 2);
        let longest = (0..20).map(|_| turns.next(&lost())).max().unwrap();
        assert!(longest > Duration::from_secs(4), "{longest:?}");
        turns.on_answer();
        let next = turns.next(&lost()) + turns.next(&lost());
        assert!(next < Duration::from_millis(201), "{next:?}");
    }

    #[test]
    fn no_turn_comes_sooner_than_a_coordinator_asks_for() {
        let asked = Some(Duration::from_secs(9));
        let (reason, message, metadata) = ("RATE_LIMITED".into(), String::new(), BTreeMap::new());
        let refusal = Refusal { code: Code::ResourceExhausted, reason, message, metadata, retry_in: asked };
        assert_eq!(Turns::of_call(0, 2).next(&Error::Refused(Box::new(refusal))), Duration::from_secs(9));
    }

    #[test]
    fn streams_are_spread_and_so_are_those_that_lose_their_endpoint() {
        for count in 1..6 {
            let mut firsts = BTreeMap::<_, usize>::new();
            let mut seconds = BTreeMap::<_, usize>::new();
            for nth in 0..count * 60 {
                let mut turns = Turns::of_stream(nth, count);
                let mut order = vec![turns.current()];
                order.extend(told(&mut turns, count - 1).into_iter().map(|(at, _)| at));
                *firsts.entry(order[0]).or_default() += 1;
                if let [first, second, ..] = order[..] {
                    *seconds.entry((first, second)).or_default() += 1;
                }
                order.sort_unstable();
                assert_eq!(order, (0..count).collect::<Vec<_>>(), "each once");
            }
            assert!(firsts.len() == count && firsts.values().all(|&times| times == 60), "{firsts:?}");
            assert!(seconds.values().all(|&times| times == 60 / (count - 1)), "{seconds:?}");
            assert_eq!(seconds.len(), count * (count - 1));
        }
    }
}
