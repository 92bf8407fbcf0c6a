//! What every decision costs besides the network and the disk: deciding, and putting the answer into bytes.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on is a failed benchmark")]

use std::time::{Duration, SystemTime};

use divan::{Bencher, black_box};
use gatepost::domain::{Ballot, Command, Gate, GateName, Principal, Spec, Uid, decide};
use gatepost::proto::{self, to_json};
use prost::Message;

fn main() {
    divan::main();
}

/// Decides each command on a gate that takes it.
#[divan::bench(args = ["create", "wait", "approve", "reject", "reset", "approve, already resolved"])]
fn decide_command(bencher: Bencher, what: &str) {
    let (now, pending) = (SystemTime::UNIX_EPOCH, gate());
    let by = Principal::anonymous();
    let approve = Command::Approve(Ballot::from(by.clone()));
    let (before, command) = match what {
        "create" => (None, create()),
        "wait" => (Some(pending), Command::Wait { uid: None, round: None, by }),
        "approve" => (Some(pending), approve),
        "reject" => (Some(pending), Command::Reject(Ballot::from(by))),
        "reset" => (Some(pending), Command::Reset { by }),
        _ => (Some(after(Some(&pending), &approve)), approve),
    };
    bencher.bench(|| decide(&name(), before.as_ref(), black_box(&command), now));
}

/// Writes the gate that answers a decision, as gRPC and as JSON, and reads it.
#[divan::bench(args = ["encode", "decode", "to JSON"])]
fn answer(bencher: Bencher, what: &str) {
    let gate = answered();
    let bytes = gate.encode_to_vec();
    match what {
        "encode" => bencher.bench(|| black_box(&gate).encode_to_vec()),
        "decode" => bencher.bench(|| proto::Gate::decode(black_box(&bytes[..]))),
        _ => bencher.bench(|| to_json(black_box(&gate))),
    }
}

fn name() -> GateName {
    GateName::parse("gate", "release-42/prod").unwrap()
}

fn create() -> Command {
    let spec = Spec { timeout: Some(Duration::from_secs(300)), title: "Release 42".to_owned(), ..Spec::default() };
    Command::Create { uid: Uid("9c5b94b1".to_owned()), spec, requester: Principal::anonymous() }
}

fn gate() -> Gate {
    after(None, &create())
}

fn after(gate: Option<&Gate>, command: &Command) -> Gate {
    decide(&name(), gate, command, SystemTime::UNIX_EPOCH).unwrap().unwrap().gate
}

/// An approved gate as the API shows it.
fn answered() -> proto::Gate {
    let time = Some(proto::Timestamp { seconds: 1_767_366_245, nanos: 0 });
    let spec = proto::Spec {
        timeout: Some(proto::Duration { seconds: 300, nanos: 0 }),
        title: "Release 42".to_owned(),
        ..proto::Spec::default()
    };
    let resolution = proto::Resolution {
        status: proto::GateStatus::Approved.into(),
        cause: proto::Cause::Decision.into(),
        by: "anonymous".to_owned(),
        reason: "canary is green".to_owned(),
        time,
        revision: 42,
        ..proto::Resolution::default()
    };
    proto::Gate {
        name: "release-42/prod".to_owned(),
        uid: "9c5b94b1".to_owned(),
        round: 1,
        status: proto::GateStatus::Approved.into(),
        spec: Some(spec),
        resolution: Some(resolution),
        requester: "anonymous".to_owned(),
        create_time: time,
        update_time: time,
        revision: 42,
        etag: "1-42".to_owned(),
        ..proto::Gate::default()
    }
}
