//! The store in a real etcd, where there is one: the suite that every store passes, and what only this one does.

use std::time::Duration;

use super::*;
use crate::domain::{Spec, Waiter};
use crate::store::conformance::*;

mod feed;
mod forget;
mod imports;
mod letters;
mod prefixes;
mod segments;
mod session;

#[path = "../../../tests/support/etcd.rs"]
mod member;

/// How long the member may take to answer, or a coordinator to be elected: far more than they need.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens a store behind a prefix, once the member answers, and waits until it has a lease.
async fn open(prefix: &str) -> Option<Etcd> {
    Some(open_at(&settings(member::member_or_skip()?, prefix)).await)
}

fn settings(member: &member::Member, prefix: &str) -> Settings {
    let endpoints = vec![member.endpoint.clone()];
    Settings { endpoints, prefix: prefix.into(), tls: Tls::default(), login: None }
}

async fn open_at(settings: &Settings) -> Etcd {
    let opened = async {
        loop {
            match Etcd::open(settings).await {
                Ok(store) => break store,
                Err(Error::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let store = tokio::time::timeout(PATIENCE, opened).await.expect("it never answers");
    while store.shared.session.lease().is_none() {
        tokio::task::yield_now().await;
    }
    store
}

/// Makes a store of its own for a test, which leads.
async fn leading() -> Option<Etcd> {
    let store = open(&member::prefix()).await?;
    tokio::time::timeout(PATIENCE, store.elected()).await.expect("it is never elected");
    Some(store)
}

conformance!({
    let Some(store) = leading().await else { return };
    (store, ())
});

peers::conformance_of_peers!({
    let prefix = member::prefix();
    let (Some(one), Some(other)) = (open(&prefix).await, open(&prefix).await) else { return };
    (one, other, ())
});

#[tokio::test]
async fn what_one_coordinator_commits_is_told_at_the_other() {
    let prefix = member::prefix();
    let (Some(one), Some(other)) = (open(&prefix).await, open(&prefix).await) else { return };
    assert_eq!(one.id(), other.id());
    let before = other.revision();
    let mut expected = vec![make(&one, "a").await];
    expected.push(act(&other, "a", wait(), 1).await);
    expected.push(act(&one, "a", approve("alice"), 2).await);
    for store in [&one, &other] {
        assert_eq!(changes_until(store, expected[2].revision()).await, expected);
        assert!(store.latest().await.unwrap() >= expected[2].revision());
    }
    assert_eq!(other.changes_after(before).await.unwrap().first(), Some(&expected[0]));
}

#[tokio::test]
async fn an_attempt_whose_answer_was_lost_is_not_made_twice() {
    let Some(store) = open(&member::prefix()).await else { return };
    let created = Change { request: Some(request("one")), ..change(&name("a"), None, &create(Spec::default()), 0) };
    let id = store.shared.next_id(None, &name("a"));
    let first = store.shared.commit_as(id.clone(), &created).await.unwrap().unwrap();
    let again = store.shared.commit_as(id, &created).await.unwrap();
    assert_eq!(again.as_ref(), Some(&first), "the same event, at the same revision");
    assert_eq!(all_events(&store).await, [first.revision()]);
    // Another that looks like it is another.
    let later = change(&name("a"), None, &create(Spec::default()), 0);
    assert!(matches!(store.commit(later).await, Err(Error::Conflict)));

    // The same answer given twice is the same answer; another is a conflict.
    for _ in 0..2 {
        store.remember(crate::store::conformance::request("two"), vec![first.revision()]).await.unwrap();
    }
    let other = Request { fingerprint: [9; 32], ..crate::store::conformance::request("two") };
    assert!(matches!(store.remember(other, vec![first.revision()]).await, Err(Error::Conflict)));
}

#[tokio::test]
async fn a_full_etcd_refuses_changes_and_goes_on_reading() {
    let Some(member) = member::Member::start(&["--quota-backend-bytes", "4000000"]) else { return };
    let store = open_at(&settings(&member, "/full/")).await;
    let kept = make(&store, "kept").await;
    // What is written over and over is only there until it is compacted.
    let waiter = |note: String| Waiter { id: "w".into(), host: "h".into(), note, since: at(0) };
    let filled = async {
        let mut number = 0;
        loop {
            number += 1;
            let crowd = Crowd { waiters: vec![waiter(format!("{number:0>60000}"))], count: 1 };
            if let Err(error) = store.announce(vec![(name("kept"), crowd)]).await {
                break error;
            }
        }
    };
    let filled = tokio::time::timeout(PATIENCE, filled).await.expect("it is never full");
    assert!(matches!(filled, Error::Full), "{filled}");
    let refused = store.commit(change(&name("a"), None, &create(Spec::default()), 0)).await.unwrap_err();
    assert!(matches!(refused, Error::Full), "{refused}");
    assert!(matches!(store.ready().await, Err(Error::Full)), "though it can be read");
    assert_eq!(store.get(&name("kept")).await.unwrap().as_ref(), Some(&kept.gate));

    // As its operator makes room. What was written is still there.
    let revision = store.latest().await.unwrap().to_string();
    for make_room in [&["compact", &revision][..], &["defrag"], &["alarm", "disarm"]] {
        match member::etcdctl(&member.endpoint, make_room) {
            Some(done) => assert!(done, "{make_room:?}"),
            None => return println!("SKIPPED, because there is no etcdctl here: that there is room again"),
        }
    }
    store.ready().await.unwrap();
    make(&store, "after").await;
}

/// Has a member ask who calls, and lets `gate`, whose password is `g`, at some keys. False where there is no etcdctl.
fn guard(member: &member::Member, keys: &[&str]) -> bool {
    let mut commands: Vec<_> = ["user add root:r", "user add gate:g", "role add gates"].map(str::to_owned).into();
    commands.extend(keys.iter().map(|keys| format!("role grant-permission gates readwrite {keys}")));
    commands.extend(["user grant-role gate gates", "user grant-role root root", "auth enable"].map(str::to_owned));
    for command in commands {
        let args: Vec<_> = command.split(' ').collect();
        let Some(done) = member::etcdctl(&member.endpoint, &args) else {
            println!("SKIPPED, because there is no etcdctl here");
            return false;
        };
        assert!(done, "{command}");
    }
    true
}

#[tokio::test]
async fn a_login_is_made_and_made_again() {
    let Some(member) = member::Member::start(&[]) else { return };
    let anonymous = settings(&member, "/gates/");
    drop(open_at(&anonymous).await);
    let ctl = |args: &[&str]| member::etcdctl(&member.endpoint, args);
    if !guard(&member, &["--prefix=true /gates/"]) {
        return;
    }
    let login = |password: &str| Some(Login { user: "gate".into(), password: password.into() });
    let told = async |settings: Settings| Etcd::open(&settings).await.unwrap_err().to_string();
    assert!(told(anonymous.clone()).await.contains("user name is empty"));
    assert!(told(Settings { login: login("x"), ..anonymous.clone() }).await.contains("authentication failed"));
    let elsewhere = Settings { login: login("g"), prefix: "/others/".into(), ..anonymous.clone() };
    let refused = told(elsewhere).await;
    assert!(refused.contains("permission denied") && refused.contains("--etcd-prefix"), "{refused}");

    let store = open_at(&Settings { login: login("g"), ..anonymous }).await;
    let created = make(&store, "a").await;
    // Whatever changes about users makes older tokens worthless.
    assert_eq!(ctl(&["--user", "root:r", "user", "add", "another:a"]), Some(true));
    let waiting = act(&store, "a", wait(), 1).await;
    assert_eq!(changes_until(&store, waiting.revision()).await, [created, waiting]);
}

#[tokio::test]
async fn an_outbox_that_another_has_saved_since_is_not_overwritten() {
    let Some(store) = leading().await else { return };
    let webhook = WebhookName::parse("name", "ops").unwrap();
    let save = async |place: u64| {
        let outbox = Outbox { place: Revision(place), warned: at(0), next_letter: 1 };
        store.save_outbox(&webhook, OutboxChange { outbox, put: vec![], remove: vec![] }).await
    };
    assert_eq!(store.outbox(&webhook).await.unwrap(), None);
    save(1).await.unwrap();
    save(2).await.unwrap();
    // As another leader does, while this one hangs.
    let key = keys::outbox(&webhook);
    let saved = store.shared.client.range(txn::get(key.clone())).await.unwrap().0.remove(0).value;
    store.shared.client.txn(Txn::default().put(key, saved)).await.unwrap();
    assert!(matches!(save(1).await, Err(Error::Deposed)));
    assert_eq!(store.outbox(&webhook).await.unwrap().unwrap().place, Revision(2));
    save(3).await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_made_by_a_look() {
    let Some(member) = member::member_or_skip() else { return };
    let settings = settings(member, &member::prefix());
    // So that it answers.
    drop(leading().await);
    let refused = Etcd::open_existing(&settings).await.unwrap_err().to_string();
    assert!(refused.contains("no store behind this prefix") && refused.contains(&settings.prefix), "{refused}");
    assert!(Etcd::open_existing(&settings).await.is_err(), "it was made");
    let made = open_at(&settings).await;
    assert_eq!(Etcd::open_existing(&settings).await.unwrap().id(), made.id());
}

#[tokio::test]
async fn an_event_of_a_gate_that_came_and_went_is_not_overwritten() {
    let Some(store) = open(&member::prefix()).await else { return };
    // Two read that the gate is absent, at the same revision; one hangs.
    let (late, seen) = (change(&name("a"), None, &create(Spec::default()), 0), store.shared.next_id(None, &name("a")));
    let first = change(&name("a"), None, &create(Spec::default()), 1);
    let first = store.shared.commit_as(seen.clone(), &first).await.unwrap().unwrap();
    let deleted = act(&store, "a", delete(), 2).await;
    assert!(matches!(store.shared.commit_as(seen, &late).await, Err(Error::Conflict)));
    assert_eq!(store.get(&name("a")).await.unwrap(), None);
    assert_eq!(all_events(&store).await, [first.revision(), deleted.revision()]);
    // The same, where what came is under another key, because more had happened by then.
    let (late_too, seen) =
        (change(&name("b"), None, &create(Spec::default()), 0), store.shared.next_id(None, &name("b")));
    for command in [create(Spec::default()), delete()] {
        make(&store, &format!("other/{}", store.shared.client.seen())).await;
        act(&store, "b", command, 3).await;
    }
    assert!(matches!(store.shared.commit_as(seen, &late_too).await, Err(Error::Conflict)));
    // Read again, it is made.
    assert!(store.commit(late).await.unwrap().revision() > deleted.revision());
}

#[tokio::test]
async fn an_event_is_forgotten_with_all_its_answers() {
    let Some(store) = leading().await else { return };
    let spec = || Spec { auto_approve: true, ..Spec::default() };
    act(&store, "a", create(spec()), 0).await;
    let mut last = act(&store, "a", reset(), 0).await;
    for round in 0..5 {
        act(&store, "a", approve("alice"), 1).await;
        for number in 0..30 {
            store.remember(request(&format!("{round}/{number}")), vec![last.revision()]).await.unwrap();
        }
        last = act(&store, "a", reset(), 2).await;
    }
    let end = act(&store, "a", approve("alice"), 3).await;
    let all = Old { before: at(9), below: Revision::ZERO, until: Revision(u64::MAX) };
    while store.forget(all).await.unwrap() {}
    assert_eq!((all_events(&store).await, store.answers(None, 9).await.unwrap()), (vec![], vec![]));
    assert!(matches!(store.remember(request("late"), vec![end.revision()]).await, Err(Error::Conflict)));
    check_nothing_is_left(&store).await;
}

/// Checks that nothing is left but what is about the store itself.
async fn check_nothing_is_left(store: &Etcd) {
    let (keys, _) = store.shared.client.range(txn::keys_only(txn::scan(vec![1]..vec![0xff], 0))).await.unwrap();
    let left: Vec<_> = keys.iter().map(|kv| String::from_utf8_lossy(&kv.key[..1]).into_owned()).collect();
    assert!(left.iter().all(|index| ["m", "t"].contains(&index.as_str())), "{left:?}");
}

#[tokio::test]
async fn an_event_is_not_forgotten_while_a_request_is_answered_by_it() {
    let Some(store) = leading().await else { return };
    let all = Old { before: at(99), below: Revision::ZERO, until: Revision(u64::MAX) };
    for round in 0..20_u64 {
        let auto = Spec { auto_approve: true, ..Spec::default() };
        let gate = act(&store, &format!("g{round}"), create(auto), round).await;
        let answers = (0..3).map(async |caller| {
            for number in 0..10 {
                let request = request(&format!("{round}/{caller}/{number}"));
                if store.remember(request, vec![gate.revision()]).await.is_err() {
                    return;
                }
            }
        });
        let forget = async {
            while store.get(&gate.gate.name).await.unwrap().is_some() {
                store.forget(all).await.unwrap();
            }
        };
        tokio::join!(futures_util::future::join_all(answers), forget);
    }
    while store.forget(all).await.unwrap() {}
    check_nothing_is_left(&store).await;
}

#[tokio::test]
async fn what_is_not_old_keeps_all_its_answers() {
    let Some(store) = leading().await else { return };
    let auto = Spec { auto_approve: true, ..Spec::default() };
    let gate = act(&store, "a", create(auto), 5).await;
    for number in 0..25 {
        store.remember(request(&number.to_string()), vec![gate.revision()]).await.unwrap();
    }
    while store.forget(Old { before: at(4), below: Revision::ZERO, until: Revision(u64::MAX) }).await.unwrap() {}
    assert_eq!(store.answers(None, 99).await.unwrap().len(), 25);
}

#[tokio::test]
async fn that_nothing_happened_is_forgotten_too() {
    let Some(store) = leading().await else { return };
    act(&store, "a", create(Spec { auto_approve: true, ..Spec::default() }), 0).await;
    store.remember(request("nothing"), vec![]).await.unwrap();
    let answer = store.answer(&request("nothing").key).await.unwrap().unwrap();
    assert_eq!(answer.revisions, []);
    while store.forget(Old { before: at(9), below: Revision::ZERO, until: Revision(u64::MAX) }).await.unwrap() {}
    check_nothing_is_left(&store).await;
}

#[tokio::test]
async fn members_of_different_clusters_are_not_taken_for_one() {
    let (Some(one), Some(other)) = (member::Member::start(&[]), member::Member::start(&[])) else { return };
    drop((open_at(&settings(&one, "/g/")).await, open_at(&settings(&other, "/g/")).await));
    let endpoints = vec![one.endpoint.clone(), other.endpoint.clone()];
    let both = Settings { endpoints, ..settings(&one, "/g/") };
    let refused = Etcd::open(&both).await.unwrap_err().to_string();
    assert!(refused.contains("belong to different clusters") && refused.contains(&other.endpoint), "{refused}");

    // One that did not answer then is told by what it answers.
    let store =
        open_at(&Settings { endpoints: vec!["http://127.0.0.1:1".to_owned(), one.endpoint.clone()], ..both }).await;
    let mine = store.shared.client.range(txn::get(keys::STORE_ID.to_vec())).await.unwrap();
    assert_eq!(mine.0[0].value, store.id().as_bytes());
    let header = |cluster_id| api::ResponseHeader { cluster_id, ..api::ResponseHeader::default() };
    let refused = store.shared.client.check_cluster(Some(&header(1))).unwrap_err().to_string();
    assert!(refused.contains("another cluster"), "{refused}");
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_by() {
    let Some(member) = member::member_or_skip() else { return };
    drop(leading().await);
    let dead = "http://127.0.0.1:1".to_owned();
    let endpoints = vec![dead.clone(), member.endpoint.clone()];
    let store = open_at(&Settings { endpoints, ..settings(member, &member::prefix()) }).await;
    make(&store, "a").await;
    // A login goes to whoever answers too: here it is refused, because nobody is asked for one.
    let login = Some(Login { user: "gate".into(), password: "g".into() });
    let settings = Settings { endpoints: vec![dead, member.endpoint.clone()], login, ..settings(member, "/x/") };
    let refused = Etcd::open(&settings).await.unwrap_err().to_string();
    assert!(refused.contains("authentication is not enabled"), "{refused}");
}
