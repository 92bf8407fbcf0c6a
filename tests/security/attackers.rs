//! What attackers try, one by one. `docs/security.md` lists them.

use gatepost::proto::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::browsers::nobody;
use crate::coordinator::{
    approve, create, delete, get, history, list, next, ok, outcome, refused, reject, reset, reset_group,
    stream_refused, told_waiting, wait, wait_with, watch, within,
};
use crate::issuer::{claims, in_seconds};
use crate::world::{World, of};

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Checks that a call was refused for want of a grant.
fn denied(status: &Status) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"), "{status:?}");
}

pub async fn gate(world: &World, name: &str) -> Gate {
    ok(world.gates(&of("root")).get_gate(get(name))).await
}

fn spec(change: impl FnOnce(&mut Spec)) -> Spec {
    let mut spec = Spec::default();
    change(&mut spec);
    spec
}

#[tokio::test]
async fn a_reader_who_tries_to_approve() {
    let world = World::start().await;
    let before = gate(&world, "m/a").await;
    for reader in ["viewer", "worker"] {
        let mut gates = world.gates(&of(reader));
        denied(&refused(gates.approve(approve("m/a"))).await);
        denied(&refused(gates.reject(reject("m/a"))).await);
        denied(&refused(gates.approve(ApproveRequest { validate_only: true, ..approve("m/a") })).await);
    }
    assert_eq!(gate(&world, "m/a").await, before);
}

#[tokio::test]
async fn the_requester_who_approves_their_own_gate() {
    let world = World::start().await;
    let mut both = world.gates(&of("both"));
    let mut other = world.gates(&of("worker"));
    let own =
        |status: &Status| assert_eq!((status.code(), reason(status)), (Code::PermissionDenied, "OWN_GATE".into()));

    ok(both.create_gate(create("m/created"))).await;
    own(&refused(both.approve(approve("m/created"))).await);

    ok(other.create_gate(create("m/waited"))).await;
    let mut waited = ok(both.wait(wait("m/waited"))).await;
    told_waiting(&mut waited, 1).await;
    own(&refused(both.approve(approve("m/waited"))).await);

    // An own approval that came before counts no longer once its maker is the first to wait.
    let two = spec(|spec| spec.required_approvals = 2);
    ok(other.create_gate(CreateGateRequest { spec: Some(two), ..create("m/early") })).await;
    ok(both.approve(approve("m/early"))).await;
    let mut waiting = ok(both.wait(wait("m/early"))).await;
    assert_eq!(told_waiting(&mut waiting, 1).await.approvals_missing, 2);

    // Nor does it help to begin again, and to wait only once they have approved.
    drop(waited);
    ok(both.reset_gate(reset("m/waited"))).await;
    ok(both.approve(approve("m/waited"))).await;
    own(&stream_refused(both.wait(wait("m/waited"))).await);
    ok(other.reset_gate(reset("m/waited"))).await;
    own(&stream_refused(both.wait(WaitRequest { round: 2, ..wait("m/waited") })).await);
    let mut waited = ok(both.wait(wait("m/waited"))).await;
    told_waiting(&mut waited, 3).await;

    // Nor may they say of their gate that they may: that takes an administrator.
    let own_rules = spec(|spec| spec.forbid_requester = Some(false));
    denied(&refused(both.create_gate(CreateGateRequest { spec: Some(own_rules), ..create("m/mine") })).await);
    // To stop it is theirs.
    ok(both.reject(reject("m/created"))).await;
    // Others may approve.
    ok(world.gates(&of("approver")).approve(approve("m/waited"))).await;
}

#[tokio::test]
async fn a_reset_that_would_let_silence_approve_what_was_rejected() {
    let world = World::start().await;
    let silence = spec(|spec| {
        spec.timeout = Some(Duration { seconds: 3_600, nanos: 0 });
        spec.on_timeout = OnTimeout::Approve.into();
    });
    let (mut admin, mut worker) = (world.gates(&of("admin")), world.gates(&of("worker")));
    ok(admin.create_gate(CreateGateRequest { spec: Some(silence), ..create("m/silent/a") })).await;
    let once = ResetGateRequest { request_id: "once".into(), ..reset("m/silent/a") };
    let answer = ok(worker.reset_gate(once.clone())).await;
    ok(admin.reject(reject("m/silent/a"))).await;
    assert_eq!(ok(worker.reset_gate(once)).await, answer, "what was done before is answered as it was");
    let before = gate(&world, "m/silent/a").await;
    denied(&refused(worker.reset_gate(reset("m/silent/a"))).await);
    let group = ResetGatesRequest { prefix: "m/silent".into(), ..ResetGatesRequest::default() };
    denied(&refused(worker.reset_gates(group)).await);
    assert_eq!(gate(&world, "m/silent/a").await, before);
    assert_eq!(ok(world.gates(&of("approver")).reset_gate(reset("m/silent/a"))).await.round, 3);
}

#[tokio::test]
async fn an_approver_who_weakens_the_gate() {
    let world = World::start().await;
    let strict = spec(|spec| {
        spec.required_approvals = 2;
        spec.approvers = vec!["group:release-managers".into()];
    });
    let strict = CreateGateRequest { spec: Some(strict), ..create("m/strict") };
    ok(world.gates(&of("worker")).create_gate(strict.clone())).await;
    let before = gate(&world, "m/strict").await;

    let mut approver = world.gates(&of("approver"));
    denied(&refused(approver.create_gate(create("m/strict"))).await);
    denied(&refused(approver.wait(wait_with("m/strict", Spec::default()))).await);
    denied(&refused(approver.delete_gate(delete("m/strict"))).await);
    assert_eq!(reason(&refused(approver.approve(approve("m/strict"))).await), "NOT_AN_APPROVER");
    let glass = ApproveRequest { break_glass_reason: "fire".into(), ..approve("m/strict") };
    denied(&refused(approver.approve(glass)).await);

    // Nobody changes what a gate asks for, whatever they may do.
    let mut root = world.gates(&of("root"));
    assert_eq!(reason(&refused(root.create_gate(create("m/strict"))).await), "GATE_EXISTS");
    assert_eq!(gate(&world, "m/strict").await, before);
    assert_eq!(ok(root.reset_gate(reset("m/strict"))).await.spec, before.spec, "a new round asks for the same");
}

#[tokio::test]
async fn an_old_approval_replayed_for_new_content() {
    let world = World::start().await;
    let about = |digest: &str| Subject { uri: "https://ci.test/1".into(), digest: digest.into() };
    let spec = spec(|spec| spec.subject = Some(about("sha256:new")));
    let mut worker = world.gates(&of("worker"));
    ok(worker.create_gate(CreateGateRequest { spec: Some(spec), ..create("m/s") })).await;
    let mut approver = world.gates(&of("approver"));
    let old = ApproveRequest { subject_digest: "sha256:old".into(), ..approve("m/s") };
    assert_eq!(reason(&refused(approver.approve(old)).await), "SUBJECT_CHANGED");

    let kept =
        ApproveRequest { round: 1, request_id: "kept".into(), subject_digest: "sha256:new".into(), ..approve("m/s") };
    ok(approver.approve(kept.clone())).await;
    ok(approver.reset_gate(reset("m/s"))).await;
    // The same call again says what it did then; it does nothing to the new round.
    assert_eq!(ok(approver.approve(kept.clone())).await.round, 1);
    let again = ApproveRequest { request_id: "new".into(), ..kept.clone() };
    assert_eq!(reason(&refused(approver.approve(again)).await), "ROUND_MISMATCH");
    // Somebody else cannot show it as theirs either: a request's id is its caller's own.
    assert_eq!(reason(&refused(world.gates(&of("root")).approve(kept)).await), "ROUND_MISMATCH");
    let now = gate(&world, "m/s").await;
    assert_eq!((now.round, now.status()), (2, GateStatus::Pending));
}

#[tokio::test]
async fn a_watch_wider_than_its_grant() {
    let world = World::start().await;
    let mut root = world.gates(&of("root"));
    let mut viewer = world.gates(&of("viewer"));
    let wide = WatchRequest { initial_state: true, ..watch("") };
    let mut watching = ok(viewer.watch(wide.clone())).await;
    let mut seen = Vec::new();
    loop {
        let told = next(&mut watching).await;
        seen.extend(told.events.iter().map(|event| event.name.clone()));
        if told.progress.is_some() {
            break;
        }
    }
    assert_eq!(seen, ["m/a", "m/b/c"], "of what exists");

    // Each event is looked at, those of the past as well.
    ok(root.create_gate(create("other/b"))).await;
    ok(root.create_gate(create("m/d"))).await;
    assert_eq!(next(&mut watching).await.events[0].name, "m/d");
    let mut resumed = ok(viewer.watch(WatchRequest { start_revision: 1, ..watch("") })).await;
    assert!(next(&mut resumed).await.created.is_some());
    let past = next(&mut resumed).await.events;
    assert!(past.iter().all(|event| event.name.starts_with("m/")) && past.len() >= 3, "{past:?}");
    let events = ok(viewer.list_events(ListEventsRequest::default())).await.events;
    assert!(events.iter().all(|event| event.name.starts_with("m/")) && events.len() >= 3, "{events:?}");
    denied(&refused(viewer.list_events(history("other/a"))).await);
    let listed = ok(viewer.list_gates(list(""))).await.gates;
    assert_eq!(listed.iter().map(|gate| gate.name.as_str()).collect::<Vec<_>>(), ["m/a", "m/b/c", "m/d"]);

    // What is withdrawn ends for who watches already.
    let narrower = "to = ['viewer']\n    roles = ['viewer']\n    on = ['m']";
    world.reload(|text| text.replace(narrower, &narrower.replace("'m']", "'m/d']"))).unwrap();
    ok(root.reject(reject("m/b/c"))).await;
    ok(root.reset_gate(reset("m/d"))).await;
    assert_eq!(next(&mut watching).await.events[0].name, "m/d");

    // A token that is withdrawn ends the stream.
    world.reload_without(&["viewer"]).unwrap();
    ok(root.reset_gate(reset("m/d"))).await;
    let status = within(watching.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn a_list_that_is_read_page_by_page_for_names() {
    let world = World::start().await;
    let mut viewer = world.gates(&of("viewer"));
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let request = ListGatesRequest { page_size: 1, page_token: token, ..list("") };
        let page = ok(viewer.list_gates(request)).await;
        pages.extend(page.gates.into_iter().map(|gate| gate.name));
        token = page.next_page_token;
        assert!(!token.contains("other"), "{token}");
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, ["m/a", "m/b/c"]);
    // Nobody may ask what is behind a name that they do not see.
    for made_up in ["other", "other/a", "@999999"] {
        let request = ListGatesRequest { page_token: made_up.into(), ..list("") };
        let status = refused(viewer.list_gates(request)).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "INVALID_ARGUMENT"), "{made_up}");
    }
}

#[tokio::test]
async fn whoever_was_withdrawn_begins_no_round() {
    let world = World::start().await;
    let mut root = world.gates(&of("root"));
    let mut waiting = ok(world.gates(&of("worker")).wait(wait("m/a"))).await;
    told_waiting(&mut waiting, 1).await;
    world.reload_without(&["worker"]).unwrap();
    ok(root.reset_gate(reset("m/a"))).await;
    assert_eq!(within(waiting.message()).await.unwrap_err().code(), Code::Unauthenticated);
    let now = gate(&world, "m/a").await;
    assert_eq!((now.round, now.status(), now.first_waiter.as_str()), (2, GateStatus::Pending, ""));
}

#[tokio::test]
async fn a_wait_whose_grant_or_token_is_withdrawn() {
    let world = World::start().await;
    let mut root = world.gates(&of("root"));
    for (name, grant_alone) in [("m/a", true), ("m/b/c", false)] {
        world.reload(|text| text).unwrap();
        let mut waiting = ok(world.gates(&of("worker")).wait(wait(name))).await;
        told_waiting(&mut waiting, 1).await;
        if grant_alone {
            world.reload(|text| text.replace("to = ['worker', ", "to = [")).unwrap();
        } else {
            world.reload_without(&["worker"]).unwrap();
        }
        let inputs = ApproveRequest { break_glass_reason: "it must not be told".into(), ..approve(name) };
        ok(root.approve(inputs)).await;
        let status = within(waiting.message()).await.unwrap_err();
        let code = if grant_alone { Code::PermissionDenied } else { Code::Unauthenticated };
        assert_eq!(status.code(), code, "{name}: {status:?}");
    }
}

#[tokio::test]
async fn what_expires_ends_a_watch_and_takes_nobody_the_answer_of_a_wait() {
    let world = World::start().await;
    world.reload(|text| text.replace("to = ['worker', ", "to = ['jwt-worker', ")).unwrap();
    let nobody = nobody(&world);
    // With the leeway, ten seconds are left of it.
    let jwt = world.issuer.sign(&claims("jwt-worker", &[], in_seconds(-50)));
    let somebody = nobody.with_bearer(jwt);
    let mut gates = world.gates(&somebody);
    let mut waiting = ok(gates.wait(wait("m/a"))).await;
    told_waiting(&mut waiting, 1).await;
    let mut watching = ok(gates.watch(watch("m"))).await;
    assert!(next(&mut watching).await.created.is_some());
    let expired = async {
        loop {
            match gates.get_gate(get("m/a")).await {
                Ok(_) => tokio::task::yield_now().await,
                // A fast machine makes more calls than one may.
                Err(status) if reason(&status) == "RATE_LIMITED" => tokio::task::yield_now().await,
                Err(status) => break status,
            }
        }
    };
    assert_eq!(within(expired).await.code(), Code::Unauthenticated);

    ok(world.gates(&of("approver")).approve(approve("m/a"))).await;
    assert_eq!(outcome(&mut waiting).await.status(), GateStatus::Approved);
    let status = within(watching.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn a_group_call_that_would_skip_checks() {
    let world = World::start().await;
    let rounds = async || {
        [gate(&world, "m/a").await.round, gate(&world, "m/b/c").await.round, gate(&world, "other/a").await.round]
    };
    // They see all of m, and may reset a part of it: none of it is reset.
    let mut partial = world.gates(&of("partial"));
    denied(&refused(partial.reset_gates(reset_group("m"))).await);
    assert_eq!(rounds().await, [1, 1, 1]);
    assert_eq!(ok(partial.reset_gates(reset_group("m/b"))).await.gates.len(), 1);
    assert_eq!(rounds().await, [1, 2, 1]);
    // What they do not see is not there for them.
    let mut worker = world.gates(&of("worker"));
    assert!(ok(worker.reset_gates(reset_group("other"))).await.gates.is_empty());
    assert_eq!(rounds().await, [1, 2, 1]);
}

#[tokio::test]
async fn a_forged_identity_in_a_request() {
    let world = World::start().await;
    let somebody = of("approver");
    let claim = ApproveRequest { on_behalf_of: "root".into(), comment: "by root".into(), ..approve("m/a") };
    let gates = world.gates(&somebody);
    let mut request = tonic::Request::new(claim);
    for name in ["x-forwarded-user", "x-remote-user", "gatepost-principal", "x-forwarded-client-cert", "from"] {
        request.metadata_mut().insert(name, "root".parse().unwrap());
    }
    let decided = within({
        let mut gates = gates;
        async move { gates.approve(request).await }
    })
    .await
    .unwrap()
    .into_inner();
    let resolution = decided.resolution.unwrap();
    assert_eq!((resolution.by.as_str(), resolution.on_behalf_of.as_str()), ("approver", "root"));
    assert_eq!(resolution.authentication(), Authentication::Token);
    assert_eq!(decided.votes[0].voter, "approver");
}

#[tokio::test]
async fn each_decision_says_how_its_maker_was_known() {
    let world = World::start().await;
    let everybody = world.everybody();
    let called = |name: &str| everybody.iter().find(|somebody| somebody.name == name).unwrap();
    let mut worker = world.gates(called("a worker's certificate"));
    let created = ok(worker.create_gate(create("m/c"))).await;
    assert_eq!(created.requester, "spiffe://test/worker");
    let decided = ok(world.gates(called("a JWT of the approvers' group")).approve(approve("m/c"))).await;
    let resolution = decided.resolution.unwrap();
    assert_eq!((resolution.by.as_str(), resolution.authentication()), ("ann", Authentication::Jwt));
    assert_eq!(decided.votes[0].authentication(), Authentication::Jwt);
}

#[tokio::test]
async fn identities_are_taken_up_as_a_whole_or_not_at_all() {
    let world = World::start().await;
    let mut viewer = world.gates(&of("viewer"));
    for (wrong, told) in [
        (
            "[[grant]]\nto = ['viewer']\nroles = ['admin']\non = ['**']\n[[grant]]\nto = []\nroles = ['viewer']\non = ['m']\n",
            "grant",
        ),
        ("[[grant]]\nto = ['viewer']\nroles = ['king']\non = ['**']\n", "king"),
        ("[[token]]\nprincipal = 'x'\nsha256 = 'short'\n", "sha256"),
    ] {
        let error = world.reload(|text| text + wrong).unwrap_err();
        assert!(error.contains(told), "{error}");
        denied(&refused(viewer.delete_gate(delete("m/a"))).await);
        ok(viewer.get_gate(get("m/a"))).await;
    }
    // Nobody is ever let in because a file was emptied.
    world.coordinator.reload("").unwrap_err();
    ok(viewer.get_gate(get("m/a"))).await;
}
