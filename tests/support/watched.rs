//! What a watch was told, and the check of it against the log.

use std::collections::BTreeMap;

use gatepost::client::{Client, Notice};
use gatepost::proto::{Event, EventType, WatchRequest};
use tokio::sync::watch::Receiver;

/// What a watch was told, in order.
#[derive(Default)]
pub struct Recorded {
    pub events: Vec<Event>,
    /// Bookmarks, each with how many events came before.
    pub bookmarks: Vec<(usize, u64)>,
    pub cuts: usize,
}

/// Follows a watch until it was told the last revision, once that is known, and says whenever it was cut off.
pub async fn record(
    client: &Client,
    request: WatchRequest,
    mut end: Receiver<Option<u64>>,
    cut: impl Fn(),
) -> Recorded {
    let mut watch = client.watch(request);
    let mut recorded = Recorded::default();
    loop {
        let last = *end.borrow_and_update();
        if last.is_some() && recorded.events.last().map(|event| event.revision) == last {
            return recorded;
        }
        let notice = tokio::select! {
            // One order, so that a simulation can be repeated.
            biased;
            notice = watch.next() => notice.unwrap().unwrap(),
            _ = end.changed() => continue,
        };
        match notice {
            Notice::Event(event) => recorded.events.push(*event),
            Notice::Progress(revision) => recorded.bookmarks.push((recorded.events.len(), revision)),
            Notice::Disconnected { .. } => {
                recorded.cuts += 1;
                cut();
            }
        }
    }
}

/// Checks that a watch was told every event of the log that it asked for, once and in order, and no bookmark too early.
pub fn check(log: &[Event], request: &WatchRequest, recorded: &Recorded) {
    let matches = |event: &&Event| request.prefix.is_empty() || event.name.starts_with(&format!("{}/", request.prefix));
    let (existing, happened): (Vec<_>, Vec<_>) =
        recorded.events.iter().cloned().partition(|event| event.r#type() == EventType::Existing);
    assert!(happened.is_sorted_by(|one, next| one.revision < next.revision), "in order and each once: {request:?}");
    // All that followed what was there is told. An event that led to it may be, if the first bookmark came before it and
    // the connection broke then.
    let from = if request.initial_state { recorded.bookmarks.first().unwrap().1 } else { 0 };
    let existed: BTreeMap<_, _> = existing.iter().map(|event| (&event.name, event.revision)).collect();
    let follows = |event: &&Event| event.revision > from && existed.get(&event.name) < Some(&event.revision);
    let expected: Vec<_> = log.iter().filter(matches).filter(follows).cloned().collect();
    let happened: Vec<_> = happened.into_iter().filter(|event| follows(&event)).collect();
    assert_eq!(revisions(&happened), revisions(&expected), "complete: {request:?}");
    assert_eq!(happened, expected, "each as it was: {request:?}");
    for (count, bookmark) in &recorded.bookmarks {
        let mut latest: BTreeMap<&str, u64> = BTreeMap::new();
        for event in &recorded.events[..*count] {
            latest.insert(&event.name, event.revision);
        }
        for event in log.iter().filter(matches).filter(|event| event.revision <= *bookmark) {
            let told = latest.get(event.name.as_str()).copied().unwrap_or_default();
            assert!(told >= event.revision, "the bookmark {bookmark} is ahead of {event:?}: {request:?}");
        }
    }
}

fn revisions(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.revision).collect()
}
