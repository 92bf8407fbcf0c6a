//! What several coordinators of one store are to each other. Each case takes the store of two.

use std::pin::pin;
use std::time::SystemTime;

use tokio::time::{sleep, timeout};

use super::*;
use crate::domain::{Waiter, WebhookName};
use crate::store::{Crowd, Old, Outbox, OutboxChange, Peers};

/// How long peers may take to hear of each other, and of an end.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// Makes each case a test. The argument makes the store of one coordinator, that of another, and what has to outlive them.
macro_rules! conformance_of_peers {
    ($make:expr) => {
        $crate::store::conformance::peers::conformance_of_peers! { $make;
            waiters_are_seen_elsewhere_until_they_go
            waiters_go_with_their_coordinator
            one_leads_and_another_after_it
            only_who_leads_saves_outboxes_and_forgets
            what_one_commits_is_in_the_feed_of_the_other
            the_latest_revision_is_that_of_all
        }
    };
    ($make:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (one, other, _outlives) = $make;
                let stores = (std::sync::Arc::new(one), std::sync::Arc::new(other));
                $crate::store::conformance::peers::$case(stores.0, stores.1).await;
            }
        )*
    };
}
pub(in crate::store) use conformance_of_peers;

fn peers(store: &Arc<dyn Store>) -> &dyn Peers {
    store.peers().expect("it has peers")
}

fn crowd(ids: &[&str], count: usize) -> Crowd {
    let waiter = |id: &&str| Waiter { id: (*id).into(), host: "host".into(), note: "note".into(), since: at(7) };
    Crowd { waiters: ids.iter().map(waiter).collect(), count }
}

/// Waits until a store has heard who waits on a gate elsewhere.
pub async fn heard(store: &Arc<dyn Store>, gate: &str, expected: &Crowd) {
    let gate = name(gate);
    let heard = async {
        while peers(store).elsewhere(&gate) != *expected {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let heard = timeout(HEARD_WITHIN, heard).await;
    assert!(heard.is_ok(), "{gate}: {:?} instead of {expected:?}", peers(store).elsewhere(&gate));
}

/// Returns first the one that leads.
async fn in_order(one: Arc<dyn Store>, other: Arc<dyn Store>) -> (Arc<dyn Store>, Arc<dyn Store>) {
    let is_one = async {
        tokio::select! {
            () = peers(&one).elected() => true,
            () = peers(&other).elected() => false,
        }
    };
    if timeout(HEARD_WITHIN, is_one).await.expect("nobody leads") { (one, other) } else { (other, one) }
}

async fn save(store: &Arc<dyn Store>, place: u64) -> Result<(), Error> {
    let outbox = Outbox { place: Revision(place), warned: at(0), next_letter: 1 };
    let webhook = WebhookName::parse("name", "ops").unwrap();
    store.save_outbox(&webhook, OutboxChange { outbox, put: vec![], remove: vec![] }).await
}

async fn forget(store: &Arc<dyn Store>) -> Result<bool, Error> {
    let all = Revision(u64::MAX);
    store.forget(Old { before: SystemTime::UNIX_EPOCH, below: all, until: all }).await
}

/// Each is told of the others' waiters, never of its own.
pub async fn waiters_are_seen_elsewhere_until_they_go(one: Arc<dyn Store>, other: Arc<dyn Store>) {
    let announce = async |store, crowds: &[(&str, Crowd)]| {
        let crowds = crowds.iter().map(|(gate, crowd)| (name(gate), crowd.clone())).collect();
        peers(store).announce(crowds).await.unwrap();
    };
    announce(&one, &[("a", crowd(&["x", "y"], 1000)), ("b", crowd(&["z"], 1))]).await;
    heard(&other, "a", &crowd(&["x", "y"], 1000)).await;
    heard(&other, "b", &crowd(&["z"], 1)).await;
    assert_eq!(peers(&other).elsewhere(&name("c")), Crowd::default());
    assert_eq!(peers(&one).elsewhere(&name("a")), Crowd::default(), "its own");

    // In the place of what was told before, and only of that gate.
    announce(&one, &[("a", crowd(&["y"], 2))]).await;
    heard(&other, "a", &crowd(&["y"], 2)).await;
    announce(&other, &[("a", crowd(&["w"], 1))]).await;
    heard(&one, "a", &crowd(&["w"], 1)).await;
    announce(&one, &[("a", Crowd::default())]).await;
    heard(&other, "a", &Crowd::default()).await;
    assert_eq!(peers(&other).elsewhere(&name("b")), crowd(&["z"], 1));
    assert_eq!(peers(&one).elsewhere(&name("a")), crowd(&["w"], 1));
}

/// Nobody waits at a coordinator that has ended.
pub async fn waiters_go_with_their_coordinator(one: Arc<dyn Store>, other: Arc<dyn Store>) {
    peers(&one).announce(vec![(name("a"), crowd(&["x"], 1))]).await.unwrap();
    heard(&other, "a", &crowd(&["x"], 1)).await;
    drop(one);
    heard(&other, "a", &Crowd::default()).await;
}

/// There is one leader, and another once it has ended.
pub async fn one_leads_and_another_after_it(one: Arc<dyn Store>, other: Arc<dyn Store>) {
    let (first, second) = in_order(one, other).await;
    timeout(HEARD_WITHIN, peers(&second).deposed()).await.expect("it does not lead");
    let (mut deposed, mut elected) = (peers(&first).deposed(), peers(&second).elected());
    assert!(is_pending(&mut deposed).await && is_pending(&mut elected).await, "one leads");
    drop(deposed);

    drop(first);
    timeout(HEARD_WITHIN, elected).await.expect("the other leads");
    assert!(is_pending(&mut peers(&second).deposed()).await);
    save(&second, 1).await.unwrap();
}

/// What only one may do is refused to all others.
pub async fn only_who_leads_saves_outboxes_and_forgets(one: Arc<dyn Store>, other: Arc<dyn Store>) {
    let (first, second) = in_order(one, other).await;
    make(&*second, "a").await;
    let decided = act(&*second, "a", approve("alice"), 1).await;
    assert!(matches!(save(&second, 1).await, Err(Error::Deposed)));
    assert!(matches!(forget(&second).await, Err(Error::Deposed)));
    assert!(second.event(decided.revision()).await.unwrap().is_some());
    let webhook = WebhookName::parse("name", "ops").unwrap();
    assert_eq!(second.outbox(&webhook).await.unwrap(), None);

    save(&first, 2).await.unwrap();
    // What it saved is read by all.
    assert_eq!(second.outbox(&webhook).await.unwrap().map(|outbox| outbox.place), Some(Revision(2)));
    first.changes_after(Revision(decided.revision().0 - 1)).await.unwrap();
    while forget(&first).await.unwrap() {}
    assert_eq!(first.get(&name("a")).await.unwrap(), None);
}

/// Whoever commits, all are told, in one order.
pub async fn what_one_commits_is_in_the_feed_of_the_other(one: Arc<dyn Store>, other: Arc<dyn Store>) {
    let mut waiter = pin!(other.changes_after(Revision::ZERO));
    assert!(is_pending(&mut waiter).await, "there is nothing yet");
    let mut events = vec![make(&*one, "a").await];
    assert_eq!(timeout(HEARD_WITHIN, waiter).await.unwrap().unwrap(), events);

    for number in 0..20 {
        let by = if number % 2 == 0 { &one } else { &other };
        events.push(make(&**by, &number.to_string()).await);
    }
    events.push(act(&*other, "a", approve("alice"), 1).await);
    let last = events.last().unwrap().revision();
    for store in [&one, &other] {
        assert_eq!(timeout(HEARD_WITHIN, changes_until(&**store, last)).await.unwrap(), events);
        assert!(store.revision() >= last);
    }
}

/// What one has acknowledged is not ahead of the other's latest revision, nor of what it reads.
pub async fn the_latest_revision_is_that_of_all(one: Arc<dyn Store>, other: Arc<dyn Store>) {
    for number in 0..20 {
        let (by, at) = if number % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let event = make(&**by, &number.to_string()).await;
        assert!(at.latest().await.unwrap() >= event.revision());
        assert_eq!(at.get(&event.gate.name).await.unwrap().as_ref(), Some(&event.gate));
    }
}
