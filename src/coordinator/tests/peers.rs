//! Several coordinators of one store.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::domain::EventKind;
use crate::store::memory::faulty::{Fault, Faulty};
use crate::store::{HistoryQuery, HistoryScope, Old};

/// As long as it takes at most until all know who waits, and more.
const HEARD: Duration = Duration::from_secs(1);

/// Makes a coordinator of a store that others share, with the same time as theirs.
fn join(store: &Memory, clock: &Clock) -> Arc<Coordinator> {
    Coordinator::new(Arc::new(store.join()), clock.clone(), Retention::default())
}

/// Starts as many.
fn start_all<const N: usize>() -> [Arc<Coordinator>; N] {
    let (store, clock) = (Memory::new(), clock());
    [(); N].map(|()| {
        let coordinator = join(&store, &clock);
        run(&coordinator);
        coordinator
    })
}

/// Waits on the gate `a`, as somebody who has waited since so many seconds from the start of time.
async fn wait_since(on: &Arc<Coordinator>, since: u64) -> Wait {
    let since_then = SystemTime::UNIX_EPOCH + Duration::from_secs(since);
    let waiter = Waiter { since: since_then, ..waiter(&since.to_string()) };
    let query = WaitQuery { waiter, ..query("a", None, Some(Spec::default())) };
    let mut wait = on.wait(&call("worker"), query).await.unwrap();
    wait.next().await.unwrap();
    wait
}

/// Returns who is shown to wait on the gate `a`, and how many there are.
async fn shown(on: &Coordinator) -> (Vec<String>, usize) {
    let view = on.get(&Caller::anonymous(), &name("a"), None).await.unwrap();
    (view.waiters.into_iter().map(|waiter| waiter.id).collect(), view.waiter_count)
}

#[tokio::test(start_paused = true)]
async fn who_waits_at_one_is_released_by_an_approval_at_another() {
    let [here, there] = start_all();
    let mut waiting = wait(&here, "a", None, Some(Spec::default())).await;
    waiting.next().await.unwrap();
    approve(&there, "a", "alice").await.unwrap();
    assert_eq!(outcome(waiting).await.resolution.unwrap().by, Some(who("alice")));
}

#[tokio::test(start_paused = true)]
async fn all_show_who_waits_at_any_longest_first() {
    let [one, other, third] = start_all();
    let first = wait_since(&one, 1).await;
    let third_longest = wait_since(&one, 3).await;
    let second = wait_since(&other, 2).await;
    tokio::time::sleep(HEARD).await;
    for coordinator in [&one, &other, &third] {
        assert_eq!(shown(coordinator).await, (["1", "2", "3"].map(String::from).to_vec(), 3));
        let query = GateQuery { prefix: Prefix::default(), statuses: vec![], after: None, limit: 9 };
        let [listed] = &coordinator.list(&Caller::anonymous(), query).await.unwrap().views[..] else { panic!() };
        assert_eq!(listed.waiter_count, 3);
    }
    drop(first);
    tokio::time::sleep(HEARD).await;
    assert_eq!(shown(&third).await, (["2", "3"].map(String::from).to_vec(), 2));

    approve(&third, "a", "alice").await.unwrap();
    for waiting in [second, third_longest] {
        assert_eq!(outcome(waiting).await.status, Status::Approved);
    }
    tokio::time::sleep(HEARD).await;
    assert_eq!(shown(&third).await, (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn of_a_crowd_the_longest_are_shown_and_all_are_counted_and_told_seldom() {
    let (store, clock) = (Memory::new(), clock());
    let told = Faulty::new(store.join());
    let one = Coordinator::new(told.clone(), clock.clone(), Retention::default());
    let other = join(&store, &clock);
    run(&one);
    run(&other);
    let mut waits = Vec::new();
    for since in 0..150 {
        waits.push(wait_since(&one, 2 * since).await);
        waits.push(wait_since(&other, 2 * since + 1).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(HEARD).await;
    let longest: Vec<_> = (0..100).map(|since| since.to_string()).collect();
    assert_eq!(shown(&one).await, (longest.clone(), 300));
    assert_eq!(shown(&other).await, (longest, 300));
    // One in 200 ms, for 1.5 s.
    assert!((2..=9).contains(&told.announced()), "{}", told.announced());
    tokio::time::sleep(MINUTE).await;
    assert!(told.announced() <= 9, "nothing is told where nobody comes or goes");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_grew_between_two_attempts_of_a_reset_is_answered_in_one_way() {
    let [one, other] = start_all();
    for gate in ["r/a", "r/b"] {
        one.create(&call("ci"), &name(gate), Spec::default()).await.unwrap();
    }
    let (call, group) = (repeatable("r1", 1), Prefix::parse("prefix", "r").unwrap());
    let reset = async |on: &Coordinator, gate: &str| {
        on.execute_part(&name(gate), &Command::Reset { by: who("alice") }, &call).await.unwrap()
    };
    // The first attempt found `r/a` alone, and is slow; the second finds both.
    let first = vec![reset(&one, "r/a").await];
    let second = vec![reset(&other, "r/a").await, reset(&other, "r/b").await];
    assert_eq!(one.remember(&call, first.clone()).await.unwrap(), first);
    assert_eq!(other.remember(&call, second).await.unwrap(), first);
    assert_eq!(other.reset_group(&call, &group).await.unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_clock_is_ahead_forgets_nothing_early() {
    let (store, clock, begin) = (Memory::new(), clock(), Instant::now());
    let right = join(&store, &clock);
    right.create(&call("ci"), &name("a"), Spec { auto_approve: true, ..Spec::default() }).await.unwrap();
    let year = 365 * 24 * 60 * MINUTE;
    let ahead = Clock::new(clock.now() + year, move || begin.elapsed());
    let retention = Retention { age: Some(60 * MINUTE), events: None };
    let wrong = Coordinator::new(Arc::new(store.join()), ahead, retention);
    drop(right);
    run(&wrong);
    // What it does itself has its own time.
    tokio::time::sleep(MINUTE).await;
    wrong.create(&call("ci"), &name("b"), Spec::default()).await.unwrap();
    let is_kept = async || store.get(&name("a")).await.unwrap().is_some();
    tokio::time::sleep(50 * MINUTE).await;
    assert!(is_kept().await);
    tokio::time::sleep(15 * MINUTE).await;
    assert!(!is_kept().await, "it is never forgotten");
}

#[tokio::test(start_paused = true)]
async fn who_leads_is_measured_where_there_are_others() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _measured = metrics::set_default_local_recorder(&recorder);
    let shown = async || {
        tokio::time::sleep(HEARD).await;
        let shown = recorder.handle().render();
        shown.lines().find_map(|line| line.strip_prefix("gatepost_leader ")).map(str::to_owned)
    };
    start();
    assert_eq!(shown().await, None);
    let (store, clock) = (Memory::new(), clock());
    let [first, second] = [(); 2].map(|()| Arc::new(store.join()));
    run(&Coordinator::new(second.clone(), clock, Retention::default()));
    assert_eq!(shown().await.as_deref(), Some("0"));
    first.abdicate();
    assert_eq!(shown().await.as_deref(), Some("1"));
    second.abdicate();
    assert_eq!(shown().await.as_deref(), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_met_once_by_many_never_early_and_seldom_together() {
    let store = Memory::new();
    let clock = clock();
    let all = [(); 5].map(|()| join(&store, &clock));
    for coordinator in &all {
        run(coordinator);
    }
    let mut waits = Vec::new();
    for number in 0..300_usize {
        let mut waiting = wait(&all[number % 5], &format!("g{number}"), None, Some(timeout(MINUTE))).await;
        waiting.next().await.unwrap();
        waits.push(waiting);
    }
    let mut latest = Duration::ZERO;
    for waiting in waits {
        let gate = outcome(waiting).await;
        let (deadline, resolution) = (gate.deadline.unwrap(), gate.resolution.unwrap());
        assert_eq!((gate.status, resolution.cause), (Status::TimedOut, Cause::Timeout));
        let late = resolution.time.duration_since(deadline).expect("never early");
        assert!(late < Duration::from_secs(1), "{late:?}");
        latest = latest.max(late);
    }
    // The timer's grain is a millisecond.
    assert!(latest > Duration::from_millis(2), "all of them come to each deadline at once");

    let scope = HistoryScope::Group(Prefix::default());
    let history = store.history(HistoryQuery { scope, after: Revision::ZERO, limit: 10_000 }).await.unwrap();
    let resolved = history.events.iter().filter(|event| event.kind == EventKind::Resolved).count();
    assert_eq!(resolved, 300);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_jumps_loses_no_resolution_and_no_deadline() {
    let (store, clock) = (Memory::new(), clock());
    let (faulty, there) = (Faulty::new(store.join()), join(&store, &clock));
    let here = Coordinator::new(faulty.clone(), clock, Retention::default());
    let running = run(&here);
    let mut follows = wait(&here, "a", None, Some(Spec::default())).await;
    let mut pinned = wait(&here, "b", Some(1), Some(Spec::default())).await;
    follows.next().await.unwrap();
    pinned.next().await.unwrap();
    // Until the timer has looked, and waits to be told.
    tokio::time::sleep(HEARD).await;

    faulty.set(Fault::Away);
    for gate in ["a", "b"] {
        approve(&there, gate, "alice").await.unwrap();
        there.reset(&call("alice"), &name(gate)).await.unwrap();
    }
    // Only `here` follows deadlines: the timer has to hear of this one too.
    wait(&there, "c", None, Some(timeout(10 * MINUTE))).await.next().await.unwrap();
    let all = Revision(u64::MAX);
    while store.forget(Old { before: SystemTime::UNIX_EPOCH, below: all, until: all }).await.unwrap() {}
    faulty.set(Fault::None);

    for waiting in [follows, pinned] {
        let told = tokio::time::timeout(MINUTE, outcome(waiting)).await.expect("its resolution is lost");
        assert_eq!((told.round.get(), told.status), (1, Status::Approved));
    }
    tokio::time::sleep(11 * MINUTE).await;
    assert_eq!(store.get(&name("c")).await.unwrap().unwrap().status, Status::TimedOut);
    // And it follows on.
    let mut later = wait(&here, "d", None, Some(Spec::default())).await;
    later.next().await.unwrap();
    approve(&there, "d", "alice").await.unwrap();
    assert_eq!(outcome(later).await.status, Status::Approved);
    assert!(!running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn after_a_feed_that_jumps_a_crowd_looks_a_few_at_a_time_and_new_waits_go_before() {
    let (store, clock) = (Memory::new(), clock());
    let (faulty, there) = (Faulty::new(store.join()), join(&store, &clock));
    let here = Coordinator::new(faulty.clone(), clock, Retention::default());
    let running = run(&here);
    let mut crowd = Vec::new();
    for _ in 0..1_000 {
        let mut waiting = wait(&here, "a", None, Some(Spec::default())).await;
        waiting.next().await.unwrap();
        crowd.push(tokio::spawn(outcome(waiting)));
    }
    faulty.set(Fault::Away);
    there.create(&call("ci"), &name("b"), Spec::default()).await.unwrap();
    approve(&there, "b", "alice").await.unwrap();
    let all = Revision(u64::MAX);
    while store.forget(Old { before: SystemTime::UNIX_EPOCH, below: all, until: all }).await.unwrap() {}
    faulty.set(Fault::Slow);
    // They have begun to look, which takes all of them a quarter of a minute.
    tokio::time::sleep(5 * HEARD).await;
    let new = async { wait(&here, "c", None, Some(Spec::default())).await.next().await.unwrap().unwrap() };
    let new = tokio::time::timeout(5 * HEARD, new).await.expect("it is not held up");
    assert_eq!(new.status, Status::Waiting);
    assert!((64..=66).contains(&faulty.reading_max()), "{}", faulty.reading_max());

    approve(&there, "a", "alice").await.unwrap();
    for waiting in crowd {
        let told = tokio::time::timeout(MINUTE, waiting).await.expect("its resolution is lost").unwrap();
        assert_eq!(told.status, Status::Approved);
    }
    assert!((64..=66).contains(&faulty.reading_max()), "{}", faulty.reading_max());
    assert!(!running.is_finished());
}
