//! How many gates and waits there may be.

use super::*;

fn start(limits: Limits) -> Arc<Coordinator> {
    let coordinator = Coordinator::with_limits(Arc::new(Memory::new()), clock(), Retention::default(), limits);
    let running = coordinator.clone();
    tokio::spawn(async move { running.run().await });
    coordinator
}

#[tokio::test(start_paused = true)]
async fn as_many_wait_on_a_gate_as_may_and_others_once_one_is_gone() {
    let gates = start(Limits { waiters_per_gate: 2, ..Limits::default() });
    let mut first = wait(&gates, "a", None, Some(Spec::default())).await;
    let mut second = wait(&gates, "a", None, None).await;
    first.next().await.unwrap();
    second.next().await.unwrap();
    let mut third = wait(&gates, "a", None, None).await;
    assert!(matches!(third.next().await, Err(Error::TooManyWaiters { gate, limit: 2 }) if gate == name("a")));
    // Another gate is another matter.
    wait(&gates, "b", None, Some(Spec::default())).await.next().await.unwrap();

    drop(first);
    third.next().await.unwrap();
    gates.reset(&call("alice"), &name("a")).await.unwrap();
    approve(&gates, "a", "alice").await.unwrap();
    assert_eq!((outcome(second).await.status, outcome(third).await.status), (Status::Approved, Status::Approved));
}

#[tokio::test(start_paused = true)]
async fn no_more_gates_are_created_than_there_may_be() {
    let gates = start(Limits { gates: 2, ..Limits::default() });
    let create = async |on: &str, call: &Call| gates.create(call, &name(on), Spec::default()).await;
    let first = repeatable("first", 1);
    create("a", &first).await.unwrap();
    create("b", &call("alice")).await.unwrap();
    let full = create("c", &call("alice")).await;
    assert!(matches!(full, Err(Error::TooManyGates { limit: 2 })));
    let waited = gates.wait(&call("worker"), query("c", None, Some(Spec::default()))).await;
    assert!(matches!(waited, Err(Error::TooManyGates { limit: 2 })));

    // What is there already is no new gate, nor is a call that is repeated; and what is there goes on.
    create("a", &call("bob")).await.unwrap();
    create("a", &first).await.unwrap();
    wait(&gates, "b", None, Some(Spec::default())).await.next().await.unwrap();
    approve(&gates, "a", "alice").await.unwrap();
    assert!(matches!(create("c", &call("alice")).await, Err(Error::TooManyGates { .. })), "resolved ones count too");

    gates.delete(&call("alice"), &name("a"), None).await.unwrap();
    create("c", &call("alice")).await.unwrap();
}
