//! Random histories: however gates came to be as they are and whatever was forgotten, a second export is equal to the first.

use gatepost::domain::Revision;
use gatepost::store::memory::Memory;
use gatepost::store::sled::Sled;
use gatepost::store::{Request, Store};
use proptest::prelude::*;
use proptest::sample;
use serde_json::{Value, json};

use crate::store::{Act, act, change, events, export, forget, move_over, request, save};

const CACHE_BYTES: u64 = 8 * 1024 * 1024;

#[derive(Clone, Debug)]
pub enum Step {
    Act {
        gate: u8,
        act: Act,
        by: u8,
        is_request: bool,
    },
    /// Forgets the first tenths of the log.
    Forget(u64),
    /// Remembers an answer by some of the events.
    Remember(sample::Index, sample::Index),
    /// A webhook comes to an event, and gives up one.
    Deliver(&'static str, sample::Index, Option<sample::Index>),
}

pub fn any_step() -> impl Strategy<Value = Step> {
    use Act::*;
    let acts = vec![
        Create { rich: true },
        Create { rich: false },
        Approve,
        Approve,
        Reject,
        BreakGlass,
        Wait,
        Wait,
        Report,
        Settle,
        Expire,
        Reset,
        Reset,
        Delete,
    ];
    let index = any::<sample::Index>;
    prop_oneof![
        30 => (0..4_u8, sample::select(acts), 0..6_u8, any::<bool>())
            .prop_map(|(gate, act, by, is_request)| Step::Act { gate, act, by, is_request }),
        2 => (0..=10_u64).prop_map(Step::Forget),
        1 => (index(), index()).prop_map(|(one, two)| Step::Remember(one, two)),
        2 => (sample::select(vec!["a", "b"]), index(), proptest::option::of(index()))
            .prop_map(|(webhook, place, letter)| Step::Deliver(webhook, place, letter)),
    ]
}

pub async fn take(store: &dyn Store, step: &Step, number: u64) {
    let kept = |events: &[std::sync::Arc<gatepost::domain::Event>], index: &sample::Index| {
        if events.is_empty() { Revision::ZERO } else { index.get(events).revision() }
    };
    match step {
        Step::Act { act: Act::Settle, gate, .. } if store.get(&crate::store::name(*gate)).await.unwrap().is_none() => {}
        Step::Act { gate, act, by, is_request } => {
            let request: Option<Request> = is_request.then(|| request(&number.to_string(), number));
            change(store, *gate, *act, *by, number, request).await;
        }
        Step::Forget(tenths) => forget(store, Revision(store.revision().0 * tenths / 10 + 1)).await,
        Step::Remember(one, two) => {
            let events = events(store).await;
            if !events.is_empty() {
                let answer = vec![kept(&events, one), kept(&events, two)];
                store.remember(request(&number.to_string(), number), answer).await.unwrap();
            }
        }
        Step::Deliver(webhook, place, letter) => {
            let events = events(store).await;
            let letters: Vec<_> = letter.iter().map(|letter| (number, kept(&events, letter))).collect();
            save(store, webhook, kept(&events, place), &letters).await;
        }
    }
}

/// An export without what is a store's own: revisions are the numbers of their events in the file, and answers of what was
/// forgotten are left out, as the store leaves them out.
fn normal(lines: &[Value]) -> Vec<Value> {
    let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let events: Vec<u64> = lines.iter().filter_map(|line| line.get("event")).map(|e| number(&e["revision"])).collect();
    let exact = |value: &Value| events.binary_search(&number(value)).map_or(json!("forgotten"), |index| json!(index));
    let place = |value: &Value| json!(events.partition_point(|event| *event <= number(value)));
    let mut normal = lines.to_vec();
    for line in &mut normal {
        if let Some(event) = line.get_mut("event") {
            event["revision"] = exact(&event["revision"]);
            if let Some(revision) = event.pointer_mut("/record/gate/resolution/revision") {
                *revision = exact(revision);
            }
        }
        if let Some(revisions) = line.pointer_mut("/answer/record/revisions") {
            revisions.as_array_mut().unwrap().iter_mut().for_each(|revision| *revision = exact(revision));
        }
        if let Some(value) = line.pointer_mut("/webhook/record/place") {
            *value = place(value);
        } else if let Some(record) = line.pointer_mut("/webhook/record") {
            record["place"] = json!(0);
        }
        if let Some(record) = line.pointer_mut("/dead_letter/record") {
            let revision = record.get("revision").map_or(json!("forgotten"), exact);
            record["revision"] = revision;
        }
    }
    let first = normal.first_mut().unwrap().as_object_mut().unwrap();
    assert!(first.remove("store_id").is_some() && first.remove("time").is_some());
    let last = normal.last_mut().unwrap()["end"].as_object_mut().unwrap();
    assert!(last.remove("sha256").is_some() && last.remove("answers").is_some());
    let is_given = |line: &Value| {
        let revisions = line.pointer("/answer/record/revisions").and_then(Value::as_array);
        !revisions.is_some_and(|revisions| revisions.contains(&json!("forgotten")))
    };
    normal.into_iter().filter(is_given).collect()
}

pub fn same(here: &[Value], there: &[Value]) {
    let (here, there) = (normal(here), normal(there));
    for (here, there) in here.iter().zip(&there) {
        assert_eq!(here, there);
    }
    assert_eq!(here.len(), there.len());
}

async fn there_and_back(steps: &[Step]) {
    let home = tempfile::tempdir().unwrap();
    let open = |name| Sled::open(&home.path().join(name), CACHE_BYTES).unwrap();
    let source = open("source");
    for (step, number) in steps.iter().zip(1..) {
        take(&source, step, number).await;
    }
    let first = export(&source).await;

    // One that held something else before: its revisions are others.
    let memory = Memory::new();
    for number in 0..3 {
        act(&memory, 9, Act::Create { rich: false }, 0, number).await.unwrap();
        act(&memory, 9, Act::Delete, 0, number).await.unwrap();
    }
    forget(&memory, Revision(100)).await;
    move_over(&source, &memory).await.unwrap();
    same(&export(&memory).await, &first);
    same_past(&source, &memory).await;

    let target = open("target");
    move_over(&memory, &target).await.unwrap();
    drop(target);
    let target = open("target");
    same(&export(&target).await, &first);
    same_past(&source, &target).await;
}

/// The past rounds of each gate ended as they did.
pub async fn same_past(source: &dyn Store, target: &dyn Store) {
    for number in 0..4 {
        let name = crate::store::name(number);
        let gates = (source.get(&name).await.unwrap(), target.get(&name).await.unwrap());
        let (Some(there), Some(here)) = gates else {
            assert_eq!(gates, (None, None));
            continue;
        };
        assert_eq!(here.round, there.round);
        for round in (1..there.round.get()).map(|round| gatepost::domain::Round::new(round).unwrap()) {
            let past = [source.past_round(&there, round).await, target.past_round(&here, round).await];
            let [there, here] = past.map(|gate| gate.unwrap().map(|gate| (gate.status, gate.round, gate.update_time)));
            assert_eq!(here, there, "{name} in round {round}");
        }
    }
}

proptest! {
    // No file of seeds: a failure prints its shortest history.
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_by_moving(steps in proptest::collection::vec(any_step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(there_and_back(&steps));
    }
}
