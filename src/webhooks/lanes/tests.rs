//! What may be sent, and when.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const PAUSE_MAX: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000 + seconds)
}

fn name(text: &str) -> GateName {
    GateName::parse("gate", text).unwrap()
}

fn parcel(gate: &str, revision: u64) -> Parcel<u64> {
    Parcel { gate: name(gate), origin: Origin::Event(Revision(revision)), since: at(0), message: revision }
}

fn lanes(gates: &[&str]) -> Lanes<u64> {
    let mut lanes = Lanes::new(DAY, PAUSE_MAX);
    for (gate, revision) in gates.iter().zip(1..) {
        lanes.push(parcel(gate, revision));
    }
    lanes
}

fn failure(problem: &str) -> Failure {
    Failure { problem: problem.to_owned(), retry_after: None, is_final: false }
}

/// Takes all that may be sent now.
fn all(lanes: &mut Lanes<u64>, now: SystemTime) -> Vec<u64> {
    std::iter::from_fn(|| lanes.next(now)).map(|parcel| parcel.message).collect()
}

#[test]
fn gates_go_side_by_side_and_each_in_order() {
    let mut lanes = lanes(&["a", "b", "a", "b", "c"]);
    assert_eq!(all(&mut lanes, at(0)), [1, 2, 5]);
    assert_eq!(lanes.wake_at(), None);
    assert_eq!(lanes.delivered(&name("b")).unwrap().message, 2);
    assert_eq!(all(&mut lanes, at(0)), [4]);
    assert_eq!(lanes.len(), 4);
}

#[test]
fn so_many_are_out_at_a_time() {
    let gates: Vec<_> = (0..20).map(|number| format!("g{number}")).collect();
    let gates: Vec<_> = gates.iter().map(String::as_str).collect();
    let mut lanes = lanes(&gates);
    assert_eq!(all(&mut lanes, at(0)).len(), OUT_MAX);
    lanes.delivered(&name("g0"));
    assert_eq!(all(&mut lanes, at(0)).len(), 1);
}

#[test]
fn a_message_that_failed_rests_and_holds_back_only_its_own_gate() {
    let mut lanes = lanes(&["a", "a", "b"]);
    assert_eq!(all(&mut lanes, at(0)), [1, 3]);
    assert_eq!(lanes.failed(&name("a"), at(0), failure("HTTP 500")), None);
    lanes.delivered(&name("b"));
    lanes.push(parcel("b", 4));
    assert_eq!(all(&mut lanes, at(0)), [4]);
    let wake = lanes.wake_at().unwrap();
    assert!((at(0) + PAUSE_MIN..=at(0) + 2 * PAUSE_MIN).contains(&wake), "{wake:?}");
    assert_eq!(all(&mut lanes, wake - Duration::from_nanos(1)), [0; 0]);
    assert_eq!(all(&mut lanes, wake), [1]);
}

#[test]
fn pauses_grow_to_a_bound() {
    let mut lanes = lanes(&["a"]);
    let mut now = at(0);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert_eq!(all(&mut lanes, now), [1]);
        assert_eq!(lanes.failed(&name("a"), now, failure("HTTP 500")), None);
        let wake = lanes.wake_at().unwrap();
        pauses.push(wake.duration_since(now).unwrap());
        now = wake;
    }
    assert!(pauses[5] > pauses[0] * 8, "{pauses:?}");
    assert!(pauses[11] >= PAUSE_MAX && pauses.iter().all(|pause| *pause <= 2 * PAUSE_MAX), "{pauses:?}");
}

#[test]
fn a_receiver_that_is_down_is_asked_one_message_at_a_time() {
    let gates: Vec<_> = (0..50).map(|number| format!("g{number}")).collect();
    let gates: Vec<_> = gates.iter().map(String::as_str).collect();
    let mut lanes = lanes(&gates);
    let mut now = at(0);
    let mut attempts = 0;
    while now < at(3600) {
        while let Some(parcel) = lanes.next(now) {
            attempts += 1;
            assert_eq!(lanes.failed(&parcel.gate, now, failure("connection refused")), None);
        }
        now = lanes.wake_at().unwrap();
    }
    // One lane alone would make about as many.
    assert!((30..100).contains(&attempts), "{attempts} attempts in an hour");

    // It is back: all goes on.
    let first = lanes.next(now).unwrap();
    assert_eq!(lanes.next(now), None, "one at a time");
    lanes.delivered(&first.gate);
    assert_eq!(all(&mut lanes, now + 2 * PAUSE_MAX).len(), OUT_MAX);
}

#[test]
fn what_was_tried_least_comes_first() {
    let mut lanes = lanes(&["a", "b", "c"]);
    for gate in ["a", "b", "c"] {
        lanes.next(at(0)).unwrap();
        lanes.failed(&name(gate), at(0), failure("HTTP 400"));
    }
    lanes.push(parcel("fresh", 9));
    assert_eq!(all(&mut lanes, at(600)), [9]);
}

#[test]
fn a_receiver_that_asks_to_be_left_alone_is() {
    let mut lanes = lanes(&["a", "b"]);
    lanes.next(at(0)).unwrap();
    let asked = Failure { retry_after: Some(Duration::from_secs(300)), ..failure("HTTP 429") };
    lanes.failed(&name("a"), at(0), asked);
    assert_eq!(all(&mut lanes, at(299)), [0; 0]);
    assert_eq!(lanes.wake_at(), Some(at(300)));
    assert_eq!(all(&mut lanes, at(300)), [2, 1]);

    let for_ever = Failure { retry_after: Some(Duration::MAX), ..failure("HTTP 429") };
    lanes.failed(&name("a"), at(300), for_ever);
    assert_eq!(lanes.wake_at(), Some(at(300) + RETRY_AFTER_MAX));
}

#[test]
fn what_is_late_is_given_up_when_it_fails() {
    let mut lanes = lanes(&["a", "a"]);
    let late = at(0) + DAY;
    lanes.next(late).unwrap();
    let dead = lanes.failed(&name("a"), late, failure("HTTP 500")).unwrap();
    assert_eq!((dead.parcel.message, dead.attempts, dead.problem.as_str()), (1, 1, "HTTP 500"));
    // The next one is tried all the same.
    assert_eq!(all(&mut lanes, late), [2]);
    assert!(lanes.delivered(&name("a")).is_some());
    assert_eq!((lanes.len(), lanes.wake_at()), (0, None));
}

#[test]
fn a_receiver_that_is_gone_gets_no_second_attempt() {
    let mut lanes = lanes(&["a"]);
    lanes.next(at(0)).unwrap();
    let gone = Failure { is_final: true, ..failure("HTTP 410 Gone") };
    assert_eq!(lanes.failed(&name("a"), at(0), gone).unwrap().attempts, 1);
}

#[test]
fn a_long_outage_ends_in_dead_letters_without_an_attempt_for_each() {
    let mut lanes = lanes(&["a", "a", "b", "c", "d"]);
    let late = at(0) + DAY;
    for _ in 0..3 {
        let parcel = lanes.next(at(0)).unwrap();
        lanes.failed(&parcel.gate, at(0), failure("connection refused"));
    }
    lanes.push(Parcel { since: late, ..parcel("d", 6) });
    assert_eq!(lanes.give_up(late - Duration::from_nanos(1)), []);
    let mut dead: Vec<_> = lanes.give_up(late).into_iter().map(|dead| (dead.parcel.message, dead.attempts)).collect();
    dead.sort_unstable();
    assert_eq!(dead, [(1, 1), (2, 0), (3, 1), (4, 1), (5, 0)]);
    assert_eq!(all(&mut lanes, late), [6]);
    // Nothing is given up unseen while the receiver takes something.
    lanes.delivered(&name("d"));
    lanes.push(parcel("a", 7));
    assert_eq!(lanes.give_up(late + DAY), []);
}

/// One step of a run.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push(u8),
    Send,
    Deliver(u8),
    Fail(u8),
    Sleep(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_u8).prop_map(Step::Push),
        Just(Step::Send),
        (0..4_u8).prop_map(Step::Deliver),
        (0..4_u8).prop_map(Step::Fail),
        any::<u8>().prop_map(Step::Sleep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: a gate's messages are settled in their order, each once, only one of them is out, and what is
    /// held is what is not settled.
    #[test]
    fn nothing_is_lost_or_overtaken(steps in vec(step(), 1..200)) {
        let gate = |number: u8| name(&format!("g{number}"));
        let mut lanes = Lanes::new(Duration::from_secs(300), PAUSE_MAX);
        let (mut now, mut revision) = (at(0), 0);
        let mut waiting: HashMap<GateName, VecDeque<u64>> = HashMap::new();
        let mut out: HashMap<GateName, u64> = HashMap::new();
        for step in steps {
            match step {
                Step::Push(number) => {
                    revision += 1;
                    waiting.entry(gate(number)).or_default().push_back(revision);
                    let origin = Origin::Event(Revision(revision));
                    lanes.push(Parcel { gate: gate(number), origin, since: now, message: revision });
                }
                Step::Send => {
                    for dead in lanes.give_up(now) {
                        let first = waiting.get_mut(&dead.parcel.gate).and_then(VecDeque::pop_front);
                        prop_assert_eq!(first, Some(dead.parcel.message));
                        prop_assert!(!out.contains_key(&dead.parcel.gate));
                    }
                    if let Some(parcel) = lanes.next(now) {
                        prop_assert_eq!(waiting[&parcel.gate].front(), Some(&parcel.message));
                        prop_assert_eq!(out.insert(parcel.gate, parcel.message), None);
                    }
                }
                Step::Deliver(number) => {
                    if let Some(sent) = out.remove(&gate(number)) {
                        prop_assert_eq!(lanes.delivered(&gate(number)).map(|parcel| parcel.message), Some(sent));
                        prop_assert_eq!(waiting.get_mut(&gate(number)).and_then(VecDeque::pop_front), Some(sent));
                    }
                }
                Step::Fail(number) => {
                    if let Some(sent) = out.remove(&gate(number))
                        && let Some(dead) = lanes.failed(&gate(number), now, failure("no"))
                    {
                        prop_assert_eq!(dead.parcel.message, sent);
                        prop_assert_eq!(waiting.get_mut(&gate(number)).and_then(VecDeque::pop_front), Some(sent));
                    }
                }
                Step::Sleep(seconds) => now += Duration::from_secs(seconds.into()),
            }
            let mut held: Vec<_> = waiting.values().flatten().map(|it| Origin::Event(Revision(*it))).collect();
            let mut origins: Vec<_> = lanes.origins().collect();
            let by = |origin: &Origin| if let Origin::Event(Revision(number)) = origin { *number } else { 0 };
            held.sort_by_key(by);
            origins.sort_by_key(by);
            prop_assert_eq!(&origins, &held);
            prop_assert_eq!(lanes.len(), held.len());
            // Whatever is held has its turn: something is out, or there is a time to look again.
            prop_assert!(held.is_empty() || !out.is_empty() || lanes.wake_at().is_some());
        }
    }
}
