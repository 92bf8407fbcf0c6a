//! What becomes of revisions, places and what was forgotten.

use gatepost::domain::{EventKind, Revision, Round};
use gatepost::store::Store;
use gatepost::store::memory::Memory;

use crate::store::{Act, act, change, events, export, forget, move_over, name, request, save, webhook};

const CREATE: Act = Act::Create { rich: false };

/// Two gates of two rounds each, the first half of it forgotten. What is kept: how the first round of gate 1 ended (4), its
/// state (6), and what is of gate 2 (7 and on).
async fn half_forgotten() -> Memory {
    let store = Memory::new();
    for (gate, deed) in [
        (1, CREATE),
        (1, Act::Wait),
        (1, Act::Report),
        (1, Act::Approve),
        (1, Act::Reset),
        (1, Act::Wait),
        (2, CREATE),
        (2, Act::Approve),
        (2, Act::Reset),
    ] {
        let number = store.revision().next().0;
        change(&store, gate, deed, 0, number, Some(request(&number.to_string(), number))).await.unwrap();
    }
    forget(&store, Revision(7)).await;
    store
}

async fn revisions(store: &dyn Store) -> Vec<u64> {
    events(store).await.iter().map(|event| event.revision().0).collect()
}

#[tokio::test]
async fn a_past_round_is_readable_though_the_reset_was_forgotten() {
    let (from, to) = (half_forgotten().await, Memory::new());
    assert_eq!(revisions(&from).await, [4, 6, 7, 8, 9]);
    let imported = move_over(&from, &to).await.unwrap();
    assert_eq!(revisions(&to).await, [1, 2, 3, 4, 5]);
    assert_eq!((imported.totals.events, to.oldest()), (5, Revision(1)));
    assert!(events(&to).await.iter().all(|event| event.gate.name != name(1) || event.kind != EventKind::Reset));

    let gate = to.get(&name(1)).await.unwrap().unwrap();
    let past = to.past_round(&gate, Round::FIRST).await.unwrap().unwrap();
    assert_eq!(past.resolution.as_ref().map(|resolution| resolution.revision), Some(Revision(1)));
    // It is kept as it was where it came from.
    forget(&to, Revision(100)).await;
    assert_eq!(to.past_round(&gate, Round::FIRST).await.unwrap(), Some(past));
}

#[tokio::test]
async fn requests_are_answered_as_before_and_what_was_forgotten_is_left_out() {
    let (from, to) = (half_forgotten().await, Memory::new());
    // It has an event that is kept and one that is not; and one that has none.
    from.remember(request("both", 1), vec![Revision(4), Revision(5)]).await.unwrap();
    from.remember(request("none", 2), vec![]).await.unwrap();
    from.remember(request("order", 3), vec![Revision(9), Revision(7)]).await.unwrap();
    let imported = move_over(&from, &to).await.unwrap();
    assert_eq!((imported.totals.answers, imported.left_out), (8, 1));

    let answer = async |id: &str| to.answer(&request(id, 0).key).await.unwrap();
    assert_eq!(answer("both").await, None);
    assert_eq!(answer("none").await.unwrap().revisions, []);
    let order = answer("order").await.unwrap();
    assert_eq!((order.revisions, order.fingerprint), (vec![Revision(5), Revision(3)], [3; 32]));
    assert_eq!(order.time, request("order", 3).time);
    assert_eq!(answer("4").await.unwrap().revisions, [Revision(1)]);
    assert_eq!(answer("5").await, None);
}

#[tokio::test]
async fn webhooks_go_on_where_they_were() {
    let (from, to) = (half_forgotten().await, Memory::new());
    // Behind everything, in a gap, before what is kept, and at the end.
    for (of, place) in [("start", 0), ("early", 3), ("gap", 5), ("there", 7), ("end", 9)] {
        save(&from, of, Revision(place), &[]).await;
    }
    save(&from, "gap", Revision(5), &[(3, Revision(5)), (4, Revision(4)), (300, Revision(9))]).await;
    move_over(&from, &to).await.unwrap();
    let place = async |of: &str| to.outbox(&webhook(of)).await.unwrap().unwrap().place.0;
    let places = [place("start").await, place("early").await, place("gap").await, place("there").await];
    assert_eq!((places, place("end").await), ([0, 0, 1, 3], 5));

    let (there, here) = (from.dead_letters(&webhook("gap"), 0, 9).await, to.dead_letters(&webhook("gap"), 0, 9).await);
    let (there, mut here) = (there.unwrap(), here.unwrap());
    let moved: Vec<_> = here.iter().map(|letter| letter.revision.0).collect();
    assert_eq!(moved, [0, 1, 5], "the event of the first is kept no more");
    for (here, there) in here.iter_mut().zip(&there) {
        here.revision = there.revision;
    }
    assert_eq!(here, there);
}

#[tokio::test]
async fn a_deletion_is_not_taken_for_what_resolved_the_gate() {
    let (from, to) = (Memory::new(), Memory::new());
    for (deed, number) in [(CREATE, 1), (Act::Approve, 2), (Act::Delete, 3)] {
        act(&from, 1, deed, 0, number).await.unwrap();
    }
    let whole = Memory::new();
    move_over(&from, &whole).await.unwrap();
    let resolved_by = |event: &gatepost::domain::Event| event.gate.resolution.as_ref().unwrap().revision;
    assert_eq!(resolved_by(events(&whole).await.last().unwrap()), Revision(2));

    // What resolved it is kept no more, and its revision would be that of the deletion here.
    forget(&from, Revision(3)).await;
    move_over(&from, &to).await.unwrap();
    let deleted = events(&to).await.remove(0);
    assert_eq!((deleted.kind, deleted.revision(), deleted.resolution()), (EventKind::Deleted, Revision(1), None));
    assert_eq!(resolved_by(&deleted), Revision(u64::MAX));
}

#[tokio::test]
async fn an_empty_store_is_moved_too() {
    let (from, to) = (Memory::new(), Memory::new());
    let imported = move_over(&from, &to).await.unwrap();
    let said = "0 events, 0 answered requests, 0 webhooks, 0 dead letters, 0 gates";
    assert_eq!(imported.to_string(), said);
    assert_eq!(export(&to).await.len(), 2);
}

#[tokio::test]
async fn what_was_imported_is_said() {
    let (from, to) = (half_forgotten().await, Memory::new());
    from.remember(request("both", 1), vec![Revision(4), Revision(5)]).await.unwrap();
    let said = "5 events, 6 answered requests, 0 webhooks, 0 dead letters, 2 gates (1 PENDING, 1 WAITING); \
                1 answers were left out, because what answers them was forgotten";
    assert_eq!(move_over(&from, &to).await.unwrap().to_string(), said);
}
