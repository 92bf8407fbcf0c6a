//! What every store has to do: one suite, called for each.

pub mod feed;
pub mod forget;
pub mod gates;
pub mod outbox;
pub mod peers;
pub mod reads;
pub mod requests;
pub mod transfer;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::{Change, Counts, DeadlinePlace, Error, HistoryQuery, HistoryScope, ListQuery, Request, RequestKey, Store};
use crate::domain::{
    Ballot, Command, Event, Gate, GateName, Prefix, Principal, Revision, Round, Spec, Status, Uid, decide,
};

/// Makes each case of the suite a test. Its argument makes a store, and what has to outlive it.
macro_rules! conformance {
    ($make:expr) => {
        $crate::store::conformance::conformance! { $make;
            gates::a_created_gate_is_read_back
            gates::a_stale_change_conflicts
            gates::revisions_grow_and_stamp_the_gate_and_its_resolution
            gates::one_of_many_concurrent_changes_wins
            gates::many_gates_change_at_once
            gates::a_deleted_gate_is_absent
            gates::an_event_too_large_is_refused
            gates::past_rounds_stay_readable
            gates::a_gate_made_again_has_no_past
            gates::gates_are_counted_by_status
            requests::a_request_is_recorded_with_its_event
            requests::a_request_is_answered_once
            requests::a_conflict_records_no_request
            requests::requests_are_told_apart
            requests::one_of_many_equal_requests_wins
            reads::gates_are_listed_in_the_order_of_their_names
            reads::lists_hold_a_group_and_go_on_behind_a_gate
            reads::unresolved_gates_are_listed
            reads::deadlines_are_those_of_waiting_gates
            reads::the_history_of_a_gate_has_all_its_generations
            reads::the_history_of_a_group_is_paged
            reads::an_event_is_read_by_its_revision
            feed::the_feed_is_complete_and_in_order
            feed::the_feed_wakes_a_waiter
            feed::dropping_a_wait_loses_nothing
            forget::a_resolved_gate_is_forgotten_with_its_past
            forget::an_unresolved_gate_is_never_forgotten
            forget::what_is_not_old_is_kept
            forget::a_request_is_forgotten_with_its_answer
            forget::much_is_forgotten_in_steps
            forget::what_is_forgotten_is_not_counted
            outbox::an_outbox_is_read_as_it_was_saved
            outbox::dead_letters_are_kept_until_they_are_removed
            outbox::a_dead_letter_too_large_is_refused
            outbox::an_outbox_is_never_forgotten
            outbox::deadlines_go_on_behind_a_place
            transfer::answers_are_read_in_the_order_of_their_keys
            transfer::webhooks_are_those_with_an_outbox
            transfer::a_past_round_ends_whatever_begins_the_next
        }
    };
    ($make:expr; $($file:ident::$case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (store, _outlives) = $make;
                $crate::store::conformance::$file::$case(std::sync::Arc::new(store)).await;
            }
        )*
    };
}
pub(in crate::store) use conformance;

/// Parses a name.
pub fn name(text: &str) -> GateName {
    GateName::parse("gate", text).unwrap()
}

/// Parses a prefix.
pub fn prefix(text: &str) -> Prefix {
    Prefix::parse("prefix", text).unwrap()
}

/// Parses a principal.
pub fn principal(text: &str) -> Principal {
    Principal::parse(text).unwrap()
}

/// Returns a time, in seconds from the start of a test.
pub fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000 + seconds)
}

/// Asks for a gate with a spec.
pub fn create(spec: Spec) -> Command {
    Command::Create { uid: Uid(Uuid::new_v4().to_string()), spec, requester: principal("ci") }
}

/// Waits on a gate.
pub fn wait() -> Command {
    Command::Wait { round: None, uid: None, by: principal("worker") }
}

/// Approves a gate.
pub fn approve(voter: &str) -> Command {
    Command::Approve(Ballot::from(principal(voter)))
}

/// Resets a gate.
pub fn reset() -> Command {
    Command::Reset { by: principal("ops") }
}

/// Deletes a gate.
pub fn delete() -> Command {
    Command::Delete { by: principal("ops").into(), etag: None }
}

/// Says what a command does to a gate that was read.
pub fn change(gate: &GateName, before: Option<Gate>, command: &Command, seconds: u64) -> Change {
    let event = decide(gate, before.as_ref(), command, at(seconds)).unwrap().unwrap();
    Change { before, event, request: None }
}

/// Reads a gate and changes it, once.
pub async fn act(store: &dyn Store, gate: &str, command: Command, seconds: u64) -> Arc<Event> {
    let gate = name(gate);
    let before = store.get(&gate).await.unwrap();
    store.commit(change(&gate, before, &command, seconds)).await.unwrap()
}

/// Makes a gate that waits for ever.
pub async fn make(store: &dyn Store, gate: &str) -> Arc<Event> {
    act(store, gate, create(Spec::default()), 0).await
}

/// Reads every change from the start up to a revision.
pub async fn changes_until(store: &dyn Store, last: Revision) -> Vec<Arc<Event>> {
    let mut events: Vec<Arc<Event>> = Vec::new();
    loop {
        let after = events.last().map_or(Revision::ZERO, |event| event.revision());
        if after >= last {
            return events;
        }
        events.extend(store.changes_after(after).await.unwrap());
    }
}

/// Reads all that is kept of what happened. Revisions may have gaps, so that events are counted by reading them.
pub async fn all_events(store: &dyn Store) -> Vec<Revision> {
    let (mut revisions, mut next) = (Vec::new(), Some(Revision::ZERO));
    while let Some(after) = next {
        let scope = HistoryScope::Group(prefix(""));
        let page = store.history(HistoryQuery { scope, after, limit: 100 }).await.unwrap();
        revisions.extend(page.events.iter().map(|event| event.revision()));
        next = page.next;
    }
    revisions
}

/// Makes a request of an id.
pub fn request(id: &str) -> Request {
    let key = RequestKey::new(&principal("alice"), id, None);
    Request { key, fingerprint: [7; 32], time: at(0) }
}

/// Polls a future once, and says whether it has to wait.
pub async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

/// Says how many gates have each status, by reading them all.
pub async fn counted(store: &dyn Store) -> Counts {
    let query = ListQuery { prefix: prefix(""), unresolved: false, after: None, limit: usize::MAX };
    store.list(query).await.unwrap().gates.iter().map(|gate| gate.status).collect()
}

fn is_conflict<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Conflict))
}

fn names(gates: &[Gate]) -> Vec<&str> {
    gates.iter().map(|gate| gate.name.as_str()).collect()
}
