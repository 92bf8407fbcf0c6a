//! A stored record that cannot be read: it is reported, and concerns nobody else.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use gatepost::proto::*;
use tonic::Code;
use tonic_types::StatusExt;

use crate::kept;
use crate::server::Server;
use crate::support::{
    approve, create, get, list, ok, outcome, refused, reset, told_waiting, wait, wait_with, within_ms,
};

/// Overwrites the record of a gate's last event with what is no record, as a broken disk does. Returns how many deadlines
/// the gate has.
fn spoil(data: &Path, gate: &str) -> usize {
    let name: Vec<u8> = gate.bytes().map(|byte| if byte == b'/' { 0 } else { byte }).collect();
    let db = sled::open(data.join("sled")).unwrap();
    let revision = db.get([b"g".as_slice(), &name].concat()).unwrap().unwrap();
    let parts: Vec<_> = db.scan_prefix([b"e".as_slice(), &revision].concat()).keys().map(Result::unwrap).collect();
    assert!(!parts.is_empty(), "the record is not where it is looked for");
    for part in parts {
        db.insert(part, b"\x01not a record").unwrap();
    }
    let deadlines = db.scan_prefix(b"d").keys().map(Result::unwrap);
    let deadlines = deadlines.filter(|key| key.ends_with(&name)).count();
    db.flush().unwrap();
    deadlines
}

fn corrupt(status: &tonic::Status) {
    assert_eq!(status.code(), Code::DataLoss, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "STORE_CORRUPT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_read_is_reported_and_the_rest_is_served() {
    if kept::skipped("stored") {
        return;
    }
    let mut server = Server::start_with(|command, _| {
        command.stderr(Stdio::piped());
    });
    let mut gates = server.gates();
    for gate in ["r/before", "r/decided"] {
        ok(gates.create_gate(create(gate))).await;
    }
    let decided = ok(gates.approve(approve("r/decided"))).await;
    let mut wait_good = ok(gates.wait(wait_with("r/good", within_ms(60_000)))).await;
    told_waiting(&mut wait_good, 1).await;
    let mut wait_bad = ok(gates.wait(wait_with("r/bad", within_ms(15_000)))).await;
    told_waiting(&mut wait_bad, 1).await;
    ok(gates.create_gate(create("r/last"))).await;
    server.kill();
    assert_eq!(spoil(&server.data(), "r/bad"), 1, "it still waits for its deadline");
    server.start_again();

    let mut gates = server.gates();
    for status in [
        refused(gates.get_gate(get("r/bad"))).await,
        refused(gates.approve(approve("r/bad"))).await,
        refused(gates.reset_gate(reset("r/bad"))).await,
    ] {
        corrupt(&status);
    }
    assert_eq!(ok(gates.get_gate(get("r/decided"))).await, decided);
    let listed = ok(gates.list_gates(list("r"))).await.gates;
    let names: Vec<_> = listed.iter().map(|gate| gate.name.as_str()).collect();
    assert_eq!(names, ["r/before", "r/decided", "r/good", "r/last"]);
    let mut wait_good = ok(gates.wait(wait("r/good"))).await;
    ok(gates.approve(approve("r/good"))).await;
    assert_eq!(outcome(&mut wait_good).await.status(), GateStatus::Approved);

    // Its deadline passes first: others time out all the same, and nothing spins.
    let mut short = ok(gates.wait(wait_with("r/short", within_ms(15_000)))).await;
    assert_eq!(outcome(&mut short).await.status(), GateStatus::TimedOut);
    let (begin, computed) = (Instant::now(), server.cpu());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let load = server.cpu().saturating_sub(computed).as_secs_f64() / begin.elapsed().as_secs_f64();
    assert!(load < 0.5, "it computes {:.0} % of the time", load * 100.0);
    drop((short, wait_good, gates));
    let said = server.stop();
    assert_eq!(said.matches("gate r/bad cannot be timed out").count(), 1, "it is reported, once: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_record_of_all_may_be_the_one_that_cannot_be_read() {
    if kept::skipped("stored") {
        return;
    }
    let mut server = Server::start();
    let mut gates = server.gates();
    let good = ok(gates.create_gate(create("good"))).await;
    ok(gates.create_gate(create("bad"))).await;
    server.kill();
    spoil(&server.data(), "bad");
    server.start_again();
    let mut gates = server.gates();
    corrupt(&refused(gates.get_gate(get("bad"))).await);
    assert_eq!(ok(gates.get_gate(get("good"))).await, good);
    let new = ok(gates.create_gate(create("new"))).await;
    assert!(new.revision > good.revision + 1, "a revision is never given twice");
}
