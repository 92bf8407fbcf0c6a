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

fn lane(gate: &str) -> LaneName {
    LaneName { gate: name(gate), is_of_letters: false }
}

fn letter(gate: &str, number: u64) -> Parcel<u64> {
    Parcel { origin: Origin::Letter(number), ..parcel(gate, number) }
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
    assert_eq!(lanes.delivered(&lane("b")).unwrap().message, 2);
    assert_eq!(all(&mut lanes, at(0)), [4]);
    assert_eq!(lanes.len(), 4);
}

#[test]
fn so_many_are_out_at_a_time() {
    let gates: Vec<_> = (0..20).map(|number| format!("g{number}")).collect();
    let gates: Vec<_> = gates.iter().map(String::as_str).collect();
    let mut lanes = lanes(&gates);
    assert_eq!(all(&mut lanes, at(0)).len(), OUT_MAX);
    lanes.delivered(&lane("g0"));
    assert_eq!(all(&mut lanes, at(0)).len(), 1);
}

#[test]
fn a_message_that_failed_rests_and_holds_back_only_its_own_gate() {
    let mut lanes = lanes(&["a", "a", "b"]);
    assert_eq!(all(&mut lanes, at(0)), [1, 3]);
    assert_eq!(lanes.failed(&lane("a"), at(0), failure("HTTP 500")), None);
    lanes.delivered(&lane("b"));
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
        assert_eq!(lanes.failed(&lane("a"), now, failure("HTTP 500")), None);
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
            assert_eq!(lanes.failed(&parcel.lane(), now, failure("connection refused")), None);
        }
        now = lanes.wake_at().unwrap();
    }
    // One lane alone would make about as many.
    assert!((30..100).contains(&attempts), "{attempts} attempts in an hour");

    // It is back: all goes on.
    let first = lanes.next(now).unwrap();
    assert_eq!(lanes.next(now), None, "one at a time");
    lanes.delivered(&first.lane());
    assert_eq!(all(&mut lanes, now + 2 * PAUSE_MAX).len(), OUT_MAX);
}

#[test]
fn what_was_tried_least_comes_first() {
    let mut lanes = lanes(&["a", "b", "c"]);
    for gate in ["a", "b", "c"] {
        lanes.next(at(0)).unwrap();
        lanes.failed(&lane(gate), at(0), failure("HTTP 400"));
    }
    lanes.push(parcel("fresh", 9));
    assert_eq!(all(&mut lanes, at(600)), [9]);
}

#[test]
fn a_receiver_that_asks_to_be_left_alone_is() {
    let mut lanes = lanes(&["a", "b"]);
    lanes.next(at(0)).unwrap();
    let asked = Failure { retry_after: Some(Duration::from_secs(300)), ..failure("HTTP 429") };
    lanes.failed(&lane("a"), at(0), asked);
    assert_eq!(all(&mut lanes, at(299)), [0; 0]);
    assert_eq!(lanes.wake_at(), Some(at(300)));
    assert_eq!(all(&mut lanes, at(300)), [2, 1]);

    let for_ever = Failure { retry_after: Some(Duration::MAX), ..failure("HTTP 429") };
    lanes.failed(&lane("a"), at(300), for_ever);
    assert_eq!(lanes.wake_at(), Some(at(300) + RETRY_AFTER_MAX));
}

#[test]
fn a_receiver_that_only_limits_its_rate_is_not_down_and_loses_nothing() {
    let gates: Vec<_> = (0..50).map(|number| format!("g{number}")).collect();
    let gates: Vec<_> = gates.iter().map(String::as_str).collect();
    let mut lanes = lanes(&gates);
    let mut now = at(0);
    let mut told = 0;
    while lanes.len() > 0 {
        let sent: Vec<_> = std::iter::from_fn(|| lanes.next(now)).collect();
        // It takes one of those that come at a time.
        for (number, parcel) in sent.iter().enumerate() {
            if number == 0 {
                told += 1;
                lanes.delivered(&parcel.lane());
            } else {
                let asked = Failure { retry_after: Some(Duration::from_secs(30)), ..failure("HTTP 429") };
                assert_eq!(lanes.failed(&parcel.lane(), now, asked), None);
            }
        }
        assert!(sent.len() == OUT_MAX || lanes.len() < OUT_MAX, "{} are tried", sent.len());
        assert_eq!(lanes.give_up(now), []);
        now = lanes.wake_at().unwrap_or(now).max(now + PAUSE_MAX * 2);
    }
    assert_eq!(told, 50);
}

#[test]
fn what_is_late_is_given_up_tried_or_not() {
    let mut lanes = lanes(&["a", "a", "b", "c"]);
    assert_eq!(all(&mut lanes, at(0)), [1, 3, 4]);
    assert_eq!(lanes.failed(&lane("a"), at(0), failure("HTTP 500")), None);
    assert_eq!(lanes.give_up(at(0) + DAY - Duration::from_nanos(1)), []);
    let late = at(0) + DAY;
    lanes.push(Parcel { since: late, ..parcel("a", 5) });
    let dead: Vec<_> = lanes.give_up(late).into_iter().map(|dead| (dead.parcel.message, dead.attempts)).collect();
    assert_eq!(dead, [(1, 1), (2, 0)]);
    assert_eq!(all(&mut lanes, late), [5]);
    // What is out may still be delivered.
    assert!(lanes.delivered(&lane("b")).is_some());
    assert_eq!(lanes.failed(&lane("c"), late, failure("HTTP 502")), None);
    let dead = lanes.give_up(late).remove(0);
    assert_eq!((dead.parcel.message, dead.problem.as_str()), (4, "HTTP 502"));
}

#[test]
fn dead_letters_come_last_and_neither_take_room_nor_hold_anything_up() {
    let mut lanes = lanes(&[]);
    for number in 0..2 * HELD_MAX as u64 {
        lanes.push(letter(&format!("g{number}"), number));
    }
    assert!(lanes.has_room());
    lanes.push(letter("a", 10_001));
    lanes.push(letter("a", 10_002));
    lanes.push(parcel("a", 1));
    assert_eq!(lanes.next(at(0)).unwrap().message, 1, "not behind the dead letters");
    // Those of its gate wait for it, and then for one another.
    assert_eq!(all(&mut lanes, at(0)).len(), OUT_MAX - 1);
    lanes.delivered(&lane("a"));
    for number in 0..2 * HELD_MAX as u64 {
        lanes.withdraw(number);
    }
    assert_eq!(all(&mut lanes, at(0)), [10_001]);
    // A new event does not wait for a dead letter that is out.
    lanes.push(parcel("a", 2));
    let of_letters = LaneName { is_of_letters: true, ..lane("a") };
    assert_eq!(lanes.next(at(0)), None, "8 are out");
    lanes.failed(&of_letters, at(0), failure("HTTP 500"));
    assert_eq!(all(&mut lanes, at(600)), [2]);
}

#[test]
fn a_dead_letter_is_withdrawn_unless_it_is_out() {
    let mut lanes = lanes(&[]);
    for number in 1..=3 {
        lanes.push(letter("a", number));
    }
    assert_eq!(all(&mut lanes, at(0)), [1]);
    assert!(!lanes.withdraw(1), "it is out");
    assert!(lanes.withdraw(2) && !lanes.withdraw(2));
    assert_eq!(lanes.delivered(&LaneName { is_of_letters: true, ..lane("a") }).unwrap().message, 1);
    assert!(lanes.withdraw(3));
    assert_eq!((lanes.len(), lanes.next(at(0))), (0, None));
}

#[test]
fn a_receiver_that_is_gone_gets_no_second_attempt() {
    let mut lanes = lanes(&["a"]);
    lanes.next(at(0)).unwrap();
    let gone = Failure { is_final: true, ..failure("HTTP 410 Gone") };
    assert_eq!(lanes.failed(&lane("a"), at(0), gone).unwrap().attempts, 1);
}

#[test]
fn a_long_outage_ends_in_dead_letters_without_an_attempt_for_each() {
    let mut lanes = lanes(&["a", "a", "b", "c", "d"]);
    let late = at(0) + DAY;
    for _ in 0..3 {
        let parcel = lanes.next(at(0)).unwrap();
        lanes.failed(&parcel.lane(), at(0), failure("connection refused"));
    }
    lanes.push(Parcel { since: late, ..parcel("d", 6) });
    assert_eq!(lanes.give_up(late - Duration::from_nanos(1)), []);
    let mut dead: Vec<_> = lanes.give_up(late).into_iter().map(|dead| (dead.parcel.message, dead.attempts)).collect();
    dead.sort_unstable();
    assert_eq!(dead, [(1, 1), (2, 0), (3, 1), (4, 1), (5, 0)]);
    assert_eq!(all(&mut lanes, late), [6]);
}

/// One step of a run.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push(u8),
    Send,
    Deliver(u8),
    Fail(u8),
    Refuse(u8),
    Sleep(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_u8).prop_map(Step::Push),
        Just(Step::Send),
        (0..4_u8).prop_map(Step::Deliver),
        (0..4_u8).prop_map(Step::Fail),
        (0..4_u8).prop_map(Step::Refuse),
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
        let lane = |number: u8| lane(&format!("g{number}"));
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
                        prop_assert_eq!(lanes.delivered(&lane(number)).map(|parcel| parcel.message), Some(sent));
                        prop_assert_eq!(waiting.get_mut(&gate(number)).and_then(VecDeque::pop_front), Some(sent));
                    }
                }
                Step::Fail(number) => {
                    if out.remove(&gate(number)).is_some() {
                        prop_assert_eq!(lanes.failed(&lane(number), now, failure("no")), None);
                    }
                }
                Step::Refuse(number) => {
                    if let Some(sent) = out.remove(&gate(number)) {
                        let refused = Failure { is_final: true, ..failure("never") };
                        let dead = lanes.failed(&lane(number), now, refused);
                        prop_assert_eq!(dead.map(|dead| dead.parcel.message), Some(sent));
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
