//! A coordinator says how it is, stops gracefully, and goes on after a restart where it was.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod coordinator;

use std::time::Instant;

use coordinator::*;
use gatepost::proto::*;
use prost_types::value::Kind;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

const SERVICE: &str = "gatepost.v1.GateService";

fn health_of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

fn check_draining(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.domain.as_str(), info.reason.as_str()), ("gatepost", "DRAINING"));
    assert_eq!(status.get_error_details_vec().len(), 1);
}

#[tokio::test]
async fn health_is_told_of_the_server_and_of_its_service() {
    let coordinator = Coordinator::start().await;
    let mut health = HealthClient::new(coordinator.channel());
    for service in ["", SERVICE] {
        assert_eq!(ok(health.check(health_of(service))).await.status(), ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(refused(health.check(health_of("gatepost.v1.Other"))).await.code(), Code::NotFound);
}

#[tokio::test]
async fn a_stop_ends_open_streams_as_draining_and_takes_less_than_the_drain_time() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let mut pinned = ok(gates.wait(wait_with("a", within_ms(3_600_000)))).await;
    told_waiting(&mut pinned, 1).await;
    let mut joined = ok(gates.wait(wait("a"))).await;
    told_waiting(&mut joined, 1).await;
    let mut watch = ok(gates.watch(watch(""))).await;
    assert!(next(&mut watch).await.created.is_some());

    let began = Instant::now();
    let stopping = coordinator.begin_stop();
    check_draining(&ended(&mut pinned).await.unwrap_err());
    check_draining(&ended(&mut joined).await.unwrap_err());
    check_draining(&ended(&mut watch).await.unwrap_err());
    stopping.stopped().await;
    assert!(began.elapsed() < DRAIN);
    assert_eq!(refused(gates.get_gate(get("a"))).await.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_stop_is_told_to_those_who_watch_the_health() {
    let coordinator = Coordinator::start().await;
    let mut health = HealthClient::new(coordinator.channel());
    let mut watches = Vec::new();
    for service in ["", SERVICE] {
        let mut watch = ok(health.watch(health_of(service))).await;
        assert_eq!(next(&mut watch).await.status(), ServingStatus::Serving);
        watches.push(watch);
    }
    let began = Instant::now();
    let stopping = coordinator.begin_stop();
    for watch in &mut watches {
        assert_eq!(next(watch).await.status(), ServingStatus::NotServing);
        ended(watch).await.unwrap();
    }
    stopping.stopped().await;
    assert!(began.elapsed() < DRAIN);
}

#[tokio::test]
async fn a_restart_keeps_every_gate_and_every_decision() {
    let coordinator = Coordinator::start().await;
    let mut gates = coordinator.gates();
    let spec = Spec { title: "Deploy".into(), ..within_ms(3_600_000) };
    let mut wait_before = ok(gates.wait(wait_with("open", spec.clone()))).await;
    let waiting = told_waiting(&mut wait_before, 1).await;
    ok(gates.create_gate(create("done"))).await;
    let percent = prost_types::Value { kind: Some(Kind::NumberValue(5.0)) };
    let inputs = Some(Struct { fields: [("percent".to_owned(), percent)].into() });
    let approval = ApproveRequest { request_id: "once".into(), inputs, ..approve("done") };
    let approved = ok(gates.approve(approval.clone())).await;
    ok(gates.reset_gate(reset("done"))).await;
    let rejected = ok(gates.reject(RejectRequest { reason: "no".into(), ..reject("done") })).await;
    let events = ok(gates.list_events(ListEventsRequest::default())).await.events;
    let mut watch_before = ok(gates.watch(watch(""))).await;
    let store_id = next(&mut watch_before).await.created.unwrap().store_id;

    let coordinator = coordinator.restart().await;
    check_draining(&ended(&mut wait_before).await.unwrap_err());
    let mut gates = coordinator.gates();
    assert_eq!(ok(gates.get_gate(get("open"))).await, waiting);
    assert_eq!(ok(gates.get_gate(get("done"))).await, rejected);
    assert_eq!(ok(gates.get_gate(GetGateRequest { round: 1, ..get("done") })).await, approved);
    assert_eq!(ok(gates.approve(approval)).await, approved, "the request was answered before");
    assert_eq!(ok(gates.list_events(ListEventsRequest::default())).await.events, events);

    // The deadline is the one that the first wait set, for whoever waits now.
    let mut wait = ok(gates.wait(WaitRequest { round: 1, ..wait_with("open", spec) })).await;
    assert_eq!(told(&mut wait).await, waiting);
    let from = WatchRequest { start_revision: rejected.revision, ..watch("") };
    let mut watch = ok(gates.watch(from)).await;
    assert_eq!(next(&mut watch).await.created.unwrap().store_id, store_id);
    let last = ok(gates.approve(approve("open"))).await;
    assert_eq!(outcome(&mut wait).await.resolution, last.resolution);
    assert!(last.revision > rejected.revision);
    let mut resumed = Vec::new();
    while resumed.len() < 2 {
        resumed.extend(next(&mut watch).await.events.into_iter().map(|event| event.revision));
    }
    assert_eq!(resumed, [rejected.revision, last.revision]);
}

#[tokio::test]
async fn a_timeout_comes_after_a_restart_too() {
    let coordinator = Coordinator::start().await;
    let mut wait_before = ok(coordinator.gates().wait(wait_with("a", within_ms(150)))).await;
    let deadline = told_waiting(&mut wait_before, 1).await.deadline;
    let coordinator = coordinator.restart().await;
    let mut gates = coordinator.gates();
    let timed_out = outcome(&mut ok(gates.wait(WaitRequest { round: 1, ..wait("a") })).await).await;
    assert_eq!((timed_out.status(), timed_out.deadline), (GateStatus::TimedOut, deadline));
    let ended_at = timed_out.resolution.unwrap().time.unwrap();
    let deadline = deadline.unwrap();
    assert!((ended_at.seconds, ended_at.nanos) >= (deadline.seconds, deadline.nanos));
}
