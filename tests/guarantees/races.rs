//! Races for a gate: exactly one wins, and everybody is told the same.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost::coordinator::{Call, Caller, Clock, Coordinator, Error, History, Retention, WaitQuery};
use gatepost::domain::{self, Ballot, EventKind, GateName, Prefix, Principal, Refusal, Revision, Spec, Status, Waiter};
use gatepost::proto::{ApproveRequest, EventType, GateStatus, RejectRequest};
use gatepost::store::memory::Memory;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic_types::StatusExt;

use crate::chance::{Chance, times};
use crate::server::Server;
use crate::support::{approve, create, history, ok, reject, reset, within};

/// Races that are under way together: few enough that each approval is made when it is meant to be.
const AT_ONCE: usize = 30;
/// How near to the deadline an approval has to be made to count as a race.
const NEAR: Duration = Duration::from_millis(1);

fn call(principal: &str) -> Call {
    Call { caller: Caller::unrestricted(Principal::parse(principal).unwrap().into()), request: None }
}

async fn wait(gates: &Arc<Coordinator>, gate: &GateName, spec: Option<Spec>) -> gatepost::coordinator::Wait {
    let since = gates.now();
    let waiter = Waiter { id: String::new(), host: String::new(), note: String::new(), since };
    let query = WaitQuery { gate: gate.clone(), round: None, uid: None, spec, waiter };
    gates.wait(&call("worker"), query).await.unwrap()
}

/// A coordinator that runs for as long as what is returned beside it.
fn start() -> (Arc<Coordinator>, JoinSet<()>) {
    let clock = Clock::start(SystemTime::UNIX_EPOCH);
    let gates = Coordinator::new(Arc::new(Memory::new()), clock, Retention::default());
    let running = gates.clone();
    let mut runs = JoinSet::new();
    runs.spawn(async move { panic!("it stopped: {:?}", running.run().await) });
    (gates, runs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_at_the_deadline_and_the_timeout_are_never_both_told() {
    let mut chance = Chance::new("deadline races");
    let races = times("DEADLINE_RACES", 1_000);
    let (mut number, mut near, mut approved) = (0, 0, 0);
    while near < races {
        // A new one each time: looking through a long history would slow the next races.
        let (gates, _runs) = start();
        let mut batch = JoinSet::new();
        for _ in 0..AT_ONCE {
            let gate = GateName::parse("gate", &format!("g{number}")).unwrap();
            batch.spawn(race(gates.clone(), gate, chance.fork()));
            number += 1;
        }
        for (is_near, is_approved) in within(batch.join_all()).await {
            near += usize::from(is_near);
            approved += usize::from(is_near && is_approved);
        }
    }
    println!("deadline races: {near} within 1 ms of {number}, {approved} approved in time");
}

/// One race; says whether the approval was made within 1 ms of the deadline, and whether it won.
async fn race(gates: Arc<Coordinator>, gate: GateName, mut chance: Chance) -> (bool, bool) {
    let timeout = Duration::from_millis(20) + chance.pause(Duration::from_millis(20));
    let mut wait = wait(&gates, &gate, Some(Spec { timeout: Some(timeout), ..Spec::default() })).await;
    let deadline = wait.next().await.unwrap().unwrap().deadline.unwrap();
    let moment = deadline - NEAR + chance.pause(NEAR);
    while let Ok(left) = moment.duration_since(gates.now()) {
        match left.checked_sub(Duration::from_millis(3)) {
            Some(long) => tokio::time::sleep(long).await,
            None => tokio::task::yield_now().await,
        }
    }
    let asked = gates.now();
    let approver = Principal::parse("alice").unwrap();
    let answer = gates.approve(&call("alice"), &gate, Ballot::from(approver), false).await;
    let (told, is_approved) = match answer {
        Ok(view) => (view.gate, true),
        Err(Error::Refused(Refusal::AlreadyResolved(winner))) => (*winner, false),
        Err(other) => panic!("{gate}: {other}"),
    };
    let resolution = told.resolution.clone().unwrap();
    if is_approved {
        assert_eq!(told.status, Status::Approved);
        assert!(asked < deadline && resolution.time < deadline, "{gate} was approved past its deadline");
    } else {
        assert_eq!(told.status, Status::TimedOut);
        assert!(resolution.time >= deadline && gates.now() >= deadline, "{gate} timed out early");
    }
    let mut last = None;
    while let Some(state) = wait.next().await.unwrap() {
        last = Some(state);
    }
    assert_eq!(last.as_ref(), Some(&told), "{gate}: the worker is told the same");
    assert_eq!(terminal(&gates, &gate).await, 1, "{gate}");
    ((deadline - NEAR..deadline + NEAR).contains(&asked), is_approved)
}

/// How many events of a gate end its round.
async fn terminal(gates: &Coordinator, gate: &GateName) -> usize {
    let prefix = Prefix::parse("prefix", "").unwrap();
    let query = History { gate: Some(gate.clone()), prefix, after: Revision::ZERO, limit: 100 };
    let events = gates.history(&Caller::anonymous(), query).await.unwrap().events;
    events.iter().filter(|event| event.kind == EventKind::Resolved).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_races_its_decision_is_told_it() {
    let (gates, _runs) = start();
    let races = times("WAIT_RACES", 2_000);
    for number in 0..races {
        let gate = GateName::parse("gate", &format!("g{number}")).unwrap();
        gates.create(&call("ci"), &gate, Spec::default()).await.unwrap();
        let line = Arc::new(Barrier::new(3));
        let mut waits = JoinSet::new();
        for _ in 0..2 {
            let (gates, gate, line) = (gates.clone(), gate.clone(), line.clone());
            waits.spawn(async move {
                line.wait().await;
                last(wait(&gates, &gate, None).await).await
            });
        }
        line.wait().await;
        let approver = Principal::parse("alice").unwrap();
        let decided = gates.approve(&call("alice"), &gate, Ballot::from(approver), false).await.unwrap().gate;
        for told in within(waits.join_all()).await {
            assert_eq!(told, decided);
        }
    }
    println!("wait races: {races}, two waits each");
}

async fn last(mut wait: gatepost::coordinator::Wait) -> domain::Gate {
    let mut last = None;
    while let Some(state) = wait.next().await.unwrap() {
        last = Some(state);
    }
    last.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_who_decide_at_once_one_wins_and_63_are_told_who() {
    const CALLERS: usize = 64;
    let server = Server::start();
    // Connections are shared by eight each, as by the threads of a program.
    let connections: Vec<_> = (0..CALLERS / 8).map(|_| server.gates()).collect();
    let mut gates = server.gates();
    ok(gates.create_gate(create("a"))).await;
    for round in 1..=u32::try_from(times("DECISION_RACES", 20)).unwrap() {
        let line = Arc::new(Barrier::new(CALLERS));
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let (mut gates, line) = (connections[number % connections.len()].clone(), line.clone());
            let on_behalf_of = format!("caller-{number}");
            callers.spawn(async move {
                line.wait().await;
                match number % 2 {
                    0 => gates.approve(ApproveRequest { on_behalf_of, ..approve("a") }).await,
                    _ => gates.reject(RejectRequest { on_behalf_of, ..reject("a") }).await,
                }
            });
        }
        let (won, lost): (Vec<_>, Vec<_>) = within(callers.join_all()).await.into_iter().partition(Result::is_ok);
        let [Ok(won)] = &won[..] else { panic!("{} won", won.len()) };
        let (won, lost): (_, Vec<_>) = (won.get_ref(), lost.into_iter().map(Result::unwrap_err).collect());
        let resolution = won.resolution.as_ref().unwrap();
        let status = if won.status() == GateStatus::Approved { "APPROVED" } else { "REJECTED" };
        assert_eq!(lost.len(), CALLERS - 1);
        for refused in lost {
            let told = refused.get_details_error_info().unwrap();
            assert_eq!(told.reason, "GATE_ALREADY_RESOLVED");
            let expected = [
                ("on_behalf_of", resolution.on_behalf_of.clone()),
                ("revision", resolution.revision.to_string()),
                ("round", round.to_string()),
                ("status", status.to_owned()),
            ];
            for (key, value) in expected {
                assert_eq!(told.metadata[key], value, "{key}");
            }
        }
        ok(gates.reset_gate(reset("a"))).await;
        let events = server.client().history(history("a")).await.unwrap();
        let ends = events.iter().filter(|event| event.r#type() == EventType::Resolved && event.round == round);
        assert_eq!(ends.count(), 1);
    }
}
