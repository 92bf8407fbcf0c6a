//! Compares what a store holds with the file that filled it.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;

use super::line::Line;
use super::moved::Moved;
use super::reader::Reader;
use super::{Error, PAGE};
use crate::domain::{Event, EventKind, GateName, Prefix, Revision, Round, Uid};
use crate::store::{Counts, ListQuery, Store};

/// The last event of a gate, as the file has it.
struct Last {
    uid: Uid,
    round: Round,
    revision: Revision,
}

/// Reads all of the file and all of the store, and returns the gates by status.
pub async fn verify<R: BufRead>(store: &dyn Store, moved: &Moved, mut file: Reader<R>) -> Result<Counts, Error> {
    let mut gates = HashMap::new();
    while let Some(line) = file.next_line()? {
        match line {
            Line::Event(there, event) => same_event(store, moved, &mut gates, there, event).await?,
            Line::Answer(key, answer) => {
                let expected = moved.answer(&answer);
                same(store.answer(&key).await? == expected, || format!("the answer of request {key}"))?;
            }
            Line::Webhook(name, outbox) => {
                let expected = Some(moved.outbox(&outbox));
                same(store.outbox(&name).await? == expected, || format!("the place of webhook {name}"))?;
            }
            Line::DeadLetter(name, letter) => {
                let expected = moved.letter(letter);
                let found = store.dead_letters(&name, expected.number, 1).await?;
                same(found.first() == Some(&expected), || format!("dead letter {} of {name}", expected.number))?;
            }
        }
    }
    same_gates(store, gates).await
}

/// Compares an event, and the end of a past round that it left behind.
async fn same_event(
    store: &dyn Store,
    moved: &Moved,
    gates: &mut HashMap<GateName, Last>,
    there: Revision,
    event: Arc<Event>,
) -> Result<(), Error> {
    let what = || format!("event {there} of the file");
    let here = moved.revision(there).ok_or_else(|| Error::Differs { what: what() })?;
    let expected = moved.event(event).stamped(here);
    same(store.event(here).await?.as_deref() == Some(&expected), what)?;

    let Event { kind, gate, .. } = expected;
    if let Some(last) = gates.get(&gate.name)
        && last.uid == gate.uid
        && last.round != gate.round
        // Of a gate that is gone, past rounds need not be there.
        && store.get(&gate.name).await?.is_some_and(|now| now.uid == gate.uid)
    {
        let end = store.event(last.revision).await?.map(|event| Arc::unwrap_or_clone(event).gate);
        let is_same = store.past_round(&gate, last.round).await? == end;
        same(is_same, || format!("round {} of {}", last.round, gate.name))?;
    }
    if kind == EventKind::Deleted {
        gates.remove(&gate.name);
    } else {
        let last = Last { uid: gate.uid, round: gate.round, revision: here };
        gates.insert(gate.name, last);
    }
    Ok(())
}

/// Lists all gates, which have to be those of their last events, and counts them.
async fn same_gates(store: &dyn Store, mut gates: HashMap<GateName, Last>) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    let mut after = None;
    loop {
        let page =
            store.list(ListQuery { prefix: Prefix::default(), unresolved: false, after, limit: PAGE }).await?.gates;
        for gate in &page {
            let last = gates.remove(&gate.name);
            let event = store.event(gate.revision).await?;
            let is_same = last.is_some_and(|last| last.revision == gate.revision)
                && event.is_some_and(|event| event.gate == *gate);
            same(is_same, || format!("gate {}", gate.name))?;
            counts.moved(None, Some(gate.status));
        }
        let Some(last) = page.last().filter(|_| page.len() == PAGE) else { break };
        after = Some(last.name.clone());
    }
    if let Some(missing) = gates.keys().next() {
        return Err(Error::Differs { what: format!("gate {missing}") });
    }
    same(store.counts().await? == counts, || "the number of gates".to_owned())?;
    Ok(counts)
}

fn same(is_same: bool, what: impl Fn() -> String) -> Result<(), Error> {
    if is_same { Ok(()) } else { Err(Error::Differs { what: what() }) }
}
