//! When rounds time out, and when they do not.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_wait_times_out_at_its_deadline_and_stays_so_until_a_reset() {
    let gates = start();
    let begin = gates.now();
    let gate = outcome(wait(&gates, "a", None, Some(timeout(MINUTE))).await).await;
    assert_eq!(gate.status, Status::TimedOut);
    assert_eq!(gate.deadline, Some(begin + MINUTE));
    let resolution = gate.resolution.unwrap();
    assert_eq!((resolution.cause, resolution.by), (Cause::Timeout, None));
    assert!(resolution.time >= begin + MINUTE, "never early");
    // The timer's grain is a millisecond.
    assert!(gates.now() < begin + MINUTE + Duration::from_millis(2), "and at once");

    assert_eq!(outcome(wait(&gates, "a", None, None).await).await.status, Status::TimedOut);
    gates.reset(&call("alice"), &name("a")).await.unwrap();
    let mut again = wait(&gates, "a", None, None).await;
    assert_eq!(again.next().await.unwrap().unwrap().status, Status::Waiting);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_is_not_slept_through() {
    let gates = start();
    let mut long = wait(&gates, "long", None, Some(timeout(100 * MINUTE))).await;
    long.next().await.unwrap();
    let begin = gates.now();
    outcome(wait(&gates, "short", None, Some(timeout(MINUTE))).await).await;
    assert!(gates.now() < begin + 2 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_while_nobody_ran_is_met_right_after_the_start() {
    let store = Arc::new(Memory::new());
    let before = Coordinator::new(store.clone(), clock(), Retention::default());
    wait(&before, "a", None, Some(timeout(MINUTE))).await.next().await.unwrap();
    tokio::time::advance(10 * MINUTE).await;

    let after = Coordinator::new(store, before.clock.clone(), Retention::default());
    let mut events = std::pin::pin!(after.watch(
        Caller::anonymous(),
        WatchQuery {
            prefix: Prefix::parse("prefix", "").unwrap(),
            statuses: vec![Status::TimedOut],
            after: None,
            initial_state: false,
        }
    ));
    assert!(matches!(events.next().await, Some(Ok(WatchItem::Created { .. }))));
    let running = after.clone();
    tokio::spawn(async move { running.run().await });
    let begin = after.now();
    assert!(matches!(events.next().await, Some(Ok(WatchItem::Events(_)))));
    assert!(after.now() < begin + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_the_machine_is_suspended_is_met_right_after() {
    let (begin, suspended) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let slept = suspended.clone();
    let elapsed = move || begin.elapsed() + Duration::from_secs(slept.load(Ordering::SeqCst));
    let clock = Clock::new(SystemTime::UNIX_EPOCH + 1_000_000 * MINUTE, elapsed);
    let gates = Coordinator::new(Arc::new(Memory::new()), clock, Retention::default());
    let running = gates.clone();
    tokio::spawn(async move { running.run().await });
    let mut waiting = wait(&gates, "a", None, Some(timeout(60 * MINUTE))).await;
    waiting.next().await.unwrap();
    let waiting = tokio::spawn(outcome(waiting));
    tokio::time::sleep(MINUTE).await;
    // Timers have not moved, the clock has.
    suspended.store(3600, Ordering::SeqCst);
    assert_eq!(waiting.await.unwrap().status, Status::TimedOut);
    assert!(begin.elapsed() < MINUTE + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_approved_past_the_deadline_however_late_the_timer() {
    // Never run: no timer fires at all.
    let gates = Coordinator::new(Arc::new(Memory::new()), clock(), Retention::default());
    wait(&gates, "a", None, Some(timeout(MINUTE))).await.next().await.unwrap();
    tokio::time::advance(MINUTE).await;
    let Refusal::AlreadyResolved(gate) = refusal(approve(&gates, "a", "alice").await) else { panic!() };
    assert_eq!((gate.status, gate.resolution.unwrap().cause), (Status::TimedOut, Cause::Timeout));
}
