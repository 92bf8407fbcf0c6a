//! At least once, in order, signed, and without holding anybody up.

use std::collections::BTreeSet;

use gatepost::client::{Client, Outcome, Update};
use gatepost::proto::{ApproveRequest, Duration, GateStatus, Spec, WaitRequest};
use serde_json::Value;

use crate::process::Coordinator;
use crate::receiver::{Mode, Receiver, SECRET, check, told, until};

/// Rounds in each of the receiver's moods.
const GATES: usize = 8;

fn config(receiver: &Receiver, more: &str) -> String {
    format!("[[webhook]]\nname = 'ops'\nurl = 'http://{}/t0ken'\nsecret = '{SECRET}'\n{more}\n", receiver.address)
}

/// Lets a worker wait on a gate, approves it, and sees the worker through.
async fn decide(client: &Client, gate: &str) {
    let spec = Some(Spec { timeout: Some(Duration { seconds: 300, nanos: 0 }), ..Spec::default() });
    let mut wait = client.wait(WaitRequest { gate: gate.into(), spec, ..WaitRequest::default() });
    loop {
        if let Update::Gate(gate) = wait.next().await.unwrap().unwrap()
            && gate.status() == GateStatus::Waiting
        {
            break;
        }
    }
    client.approve(ApproveRequest { gate: gate.into(), ..ApproveRequest::default() }).await.unwrap();
    assert!(matches!(wait.outcome().await.unwrap(), Outcome::Approved(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_hangs_and_dies_gets_every_event_through_kills_of_the_coordinator() {
    let mut receiver = Receiver::start(Mode::Take).await;
    let events = "events = ['waiting', 'resolved']\ntimeout = '500ms'\nmax_pause = '200ms'";
    let mut coordinator = Coordinator::configured(&config(&receiver, events));
    let client = Client::new(coordinator.address()).unwrap();
    let mut expected = BTreeSet::new();
    let moods = [("taken", Mode::Take), ("failed", Mode::Fail), ("hung", Mode::Hang), ("dead", Mode::Take)];
    for (mood, mode) in moods {
        receiver.set(mode);
        if mood == "dead" {
            receiver.die().await;
        }
        for number in 0..GATES {
            let gate = format!("{mood}/{number}");
            decide(&client, &gate).await;
            expected.extend([format!("waiting {gate}"), format!("resolved {gate}")]);
            if number == GATES / 2 {
                coordinator.crash(|| {});
            }
        }
        if mood != "dead" {
            // Each of them was heard of in this mood.
            receiver.until(|receiver| receiver.seen().iter().any(|request| told(request).contains(mood))).await;
        }
    }
    receiver.set(Mode::Take);
    receiver.live().await;
    let all = |receiver: &Receiver| receiver.taken().iter().map(told).collect::<BTreeSet<_>>().is_superset(&expected);
    receiver.until(all).await;

    let taken: Vec<_> = receiver.taken().iter().map(told).collect();
    assert_eq!(taken.len(), expected.len(), "each is told under one id");
    for waiting in taken.iter().filter(|told| told.starts_with("waiting ")) {
        let resolved = waiting.replace("waiting", "resolved");
        let place = |text: &String| taken.iter().position(|told| told == text);
        assert!(place(waiting) < place(&resolved), "{taken:#?}");
    }
    check(&receiver.seen());

    // All is settled, and that is saved: another kill repeats nothing.
    settled(&coordinator).await;
    let before = receiver.seen().len();
    coordinator.crash(|| {});
    decide(&client, "after").await;
    receiver.until(|receiver| receiver.taken().len() == expected.len() + 2).await;
    let mut after: Vec<_> = receiver.seen()[before..].iter().map(told).collect();
    // What a busy machine does not answer in time is told again.
    after.dedup();
    assert_eq!(after, ["waiting after", "resolved after"]);
}

/// Waits until the webhook has nothing left to do, and has saved that.
async fn settled(coordinator: &Coordinator) {
    until(|| {
        let listed: Value = serde_json::from_str(&coordinator.run(&["webhooks", "list", "-o", "json"]).out).unwrap();
        let history = coordinator.run(&["history", "--output", "json"]).out;
        let last: Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
        listed["place"] == last["revision"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_dead_holds_up_no_other() {
    let (mut dead, fine) = (Receiver::start(Mode::Take).await, Receiver::start(Mode::Take).await);
    dead.die().await;
    let other = config(&fine, "").replace("'ops'", "'fine'");
    let coordinator = Coordinator::configured(&(config(&dead, "") + &other));
    let client = Client::new(coordinator.address()).unwrap();
    for number in 0..20 {
        decide(&client, &format!("gate/{number}")).await;
    }
    let resolved =
        |receiver: &Receiver| receiver.taken().iter().filter(|request| told(request).starts_with("resolved ")).count();
    fine.until(|receiver| resolved(receiver) == 20).await;
    assert_eq!(dead.seen().len(), 0);
    dead.live().await;
    dead.until(|receiver| resolved(receiver) == 20).await;
    check(&[dead.seen(), fine.seen()].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_go_on_while_a_receiver_hangs() {
    let receiver = Receiver::start(Mode::Hang).await;
    let coordinator = Coordinator::configured(&config(&receiver, "timeout = '5m'"));
    let client = Client::new(coordinator.address()).unwrap();
    decide(&client, "first").await;
    receiver.until(|receiver| !receiver.seen().is_empty()).await;
    for number in 0..100 {
        decide(&client, &format!("gate/{number}")).await;
    }
    assert_eq!(receiver.taken().len(), 0, "it has let go");
    receiver.set(Mode::Take);
    let resolved =
        |receiver: &Receiver| receiver.taken().iter().filter(|request| told(request).starts_with("resolved ")).count();
    receiver.until(|receiver| resolved(receiver) == 101).await;
    check(&receiver.seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_saves_how_far_it_has_come_and_waits_for_no_receiver() {
    let receiver = Receiver::start(Mode::Hang).await;
    let coordinator = Coordinator::configured(&config(&receiver, "timeout = '5m'"));
    decide(&Client::new(coordinator.address()).unwrap(), "a").await;
    receiver.until(|receiver| !receiver.seen().is_empty()).await;
    assert_eq!(coordinator.stop(), Some(0));
}
