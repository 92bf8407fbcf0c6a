//! The feed: whether it tells what happens, whatever it is with those who wait elsewhere.

use tokio::time::{advance, timeout};

use super::api::WatchResponse;
use super::*;
use crate::store::conformance::peers::heard;
use crate::store::etcd::feed::{CROWDS_PAGE, LOST_MAX, take, watch_until_lost};

fn crowd() -> Crowd {
    Crowd { waiters: vec![], count: 7 }
}

/// Says why a feed is not ready, once it has told nothing for longer than it may.
async fn not_ready(feed: &Feed) -> String {
    feed.ready().expect("it may begin again at once");
    advance(LOST_MAX + Duration::from_millis(1)).await;
    feed.ready().unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_is_not_ready_once_nothing_was_told_for_a_while() {
    let feed = Feed::new(Revision(1));
    assert!(not_ready(&feed).await.contains("it has yet to begin"));
    feed.regain();
    feed.lose("one".into());
    assert!(not_ready(&feed).await.contains("one"));
    // As long as it has not been regained, it is the same loss.
    feed.lose("another".into());
    assert!(feed.ready().unwrap_err().to_string().contains("another"));
    feed.regain();
    feed.ready().unwrap();
}

#[tokio::test]
async fn only_the_watch_of_events_shows_that_they_are_told() {
    let Some(store) = open(&member::prefix()).await else { return };
    // Nothing follows any more.
    store.leave().await;
    tokio::time::pause();
    store.shared.feed.lose("it is gone".into());
    assert!(not_ready(&store.shared.feed).await.contains("it is gone"));
    let answer = |watch_id| WatchResponse { watch_id, ..WatchResponse::default() };
    // The watch of those who wait, and a sign of life.
    for other in [2, -1] {
        take(&store.shared, WatchResponse { created: true, ..answer(other) }).unwrap();
        assert!(store.shared.feed.ready().is_err());
    }
    let compacted = WatchResponse { canceled: true, compact_revision: 9, ..answer(1) };
    assert!(take(&store.shared, compacted).unwrap_err().to_string().contains("compacted up to 9"));
    assert!(store.shared.feed.ready().is_err());
    take(&store.shared, WatchResponse { created: true, ..answer(1) }).unwrap();
    store.shared.feed.ready().unwrap();
}

#[tokio::test]
async fn who_waits_elsewhere_and_cannot_be_read_holds_up_no_event() {
    let Some(member) = member::Member::start(&[]) else { return };
    let anonymous = settings(&member, "/gates/");
    drop(open_at(&anonymous).await);
    let ctl = |args: &[&str]| member::etcdctl(&member.endpoint, args);
    // At all but what is behind `p`.
    if !guard(&member, &["/gates/ /gates/p", "/gates/q /gates0"]) {
        return;
    }
    let login = Some(Login { user: "gate".into(), password: "g".into() });
    let settings = Settings { login, ..anonymous };
    let (store, other) = (open_at(&settings).await, open_at(&settings).await);
    // What happened before it began it reads in the log, so that only what comes later shows it.
    let told = async {
        for number in 0..5 {
            let event = make(&other, &number.to_string()).await;
            assert_eq!(changes_until(&store, event.revision()).await.last(), Some(&event));
        }
    };
    tokio::select! {
        lost = watch_until_lost(&store.shared) => panic!("{lost:?}"),
        told = timeout(PATIENCE, told) => told.expect("nothing is told"),
    }

    // Once they can be read they are.
    let allow = ["--user", "root:r", "role", "grant-permission", "gates", "readwrite", "/gates/p", "/gates/q"];
    assert_eq!(ctl(&allow), Some(true));
    other.announce(vec![(name("a"), crowd())]).await.unwrap();
    heard(&(Arc::new(store) as Arc<dyn Store>), "a", &crowd()).await;
}

#[tokio::test]
async fn all_who_wait_are_read_however_many() {
    let prefix = member::prefix();
    let Some(one) = open(&prefix).await else { return };
    let gate = |number: usize| format!("g{number:03}");
    one.announce((0..=CROWDS_PAGE).map(|number| (name(&gate(number)), crowd())).collect()).await.unwrap();
    let other: Arc<dyn Store> = Arc::new(open(&prefix).await.unwrap());
    for number in [0, CROWDS_PAGE - 1, CROWDS_PAGE] {
        heard(&other, &gate(number), &crowd()).await;
    }
}
