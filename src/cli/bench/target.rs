//! The coordinator that is measured, and the gates made for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::callers::{self, Stop};
use super::process::Temporary;
use super::report::Progress;
use crate::cli::failure::Failure;
use crate::cli::{Globals, ServerArgs, output};
use crate::client::Client;
use crate::proto::{self, CreateGateRequest, Spec};

/// Calls at a time where gates are only stored: two full batches of the store, so that it never waits for the next.
const STORING_CALLERS: usize = 512;

/// How long gates wait for a decision: longer than any measurement, and not for ever on a coordinator in use.
const TIMEOUT: Duration = Duration::from_secs(3_600);

/// A running coordinator, or a temporary one.
pub(super) struct Target {
    temporary: Option<Temporary>,
    server: ServerArgs,
    /// The group of every gate that this run makes.
    group: String,
}

impl Target {
    /// Takes the coordinator that is named, or else starts one that keeps its data in `dir`.
    pub(super) async fn choose(globals: &Globals, dir: &Path) -> Result<Self, Failure> {
        let Some(address) = &globals.server.server else {
            return Self::temporary(dir).await;
        };
        let target = Self::new(globals.server.clone(), None);
        output::note(&format!("loading {address}; the gates below {} stay there", target.group));
        Ok(target)
    }

    /// Starts a coordinator that keeps its data in `dir`.
    pub(super) async fn temporary(dir: &Path) -> Result<Self, Failure> {
        let temporary = Temporary::start(dir).await?;
        let server = ServerArgs { server: Some(temporary.address().to_owned()), ..ServerArgs::default() };
        Ok(Self::new(server, Some(temporary)))
    }

    /// The temporary coordinator, if it is one.
    pub(super) fn process(&self) -> Option<&Temporary> {
        self.temporary.as_ref()
    }

    /// The temporary coordinator, to stop and start it; its address changes.
    pub(super) fn into_process(self) -> Option<Temporary> {
        self.temporary
    }

    /// Makes connections to it; where it is several, as many begin at each.
    pub(super) fn connect(&self, connections: usize) -> Result<Vec<Client>, Failure> {
        let beginning_at = |nth| {
            let server = self.server.server.as_deref().map(|addresses| rotated(addresses, nth));
            ServerArgs { server, ..self.server.clone() }
        };
        (0..connections).map(|nth| beginning_at(nth).client()).collect()
    }

    /// Makes the names of gates.
    pub(super) fn names(&self) -> Names {
        Names { group: self.group.as_str().into(), made: Arc::default() }
    }

    /// What the report says was measured.
    pub(super) fn describe(&self) -> String {
        let address = self.server.server.clone().filter(|_| self.temporary.is_none());
        address.unwrap_or_else(|| "temporary".to_owned())
    }

    fn new(server: ServerArgs, temporary: Option<Temporary>) -> Self {
        let group = format!("bench-{:06x}", uuid::Uuid::new_v4().as_fields().0 >> 8);
        Self { temporary, server, group }
    }
}

/// Puts the nth of some addresses first, and those before it behind the last.
fn rotated(addresses: &str, nth: usize) -> String {
    let mut addresses: Vec<_> = addresses.split(',').collect();
    let first = nth % addresses.len();
    addresses.rotate_left(first);
    addresses.join(",")
}

/// Names gates, each once. Clones go on with the same numbers.
#[derive(Clone)]
pub(super) struct Names {
    group: Arc<str>,
    made: Arc<AtomicU32>,
}

impl Names {
    /// Takes the next number.
    pub(super) fn next(&self) -> u32 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    /// How many numbers were taken.
    pub(super) fn count(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    /// Names the gate of a number.
    ///
    /// Neighbours in time are not neighbours by name, as it is with real gates: multiplying by an odd number gives
    /// each number another, all over the range.
    pub(super) fn of(&self, number: u32) -> String {
        format!("{}/{:08x}", self.group, number.wrapping_mul(0x9e37_79b1))
    }
}

/// What the gates ask for that are to be decided.
pub(super) fn undecided() -> Spec {
    Spec { timeout: proto::Duration::try_from(TIMEOUT).ok(), ..Spec::default() }
}

/// Stores resolved gates as fast as it goes: each is created approved, which is one event.
pub(super) async fn store_resolved(clients: &[Client], names: &Names, count: u32) -> Result<(), Failure> {
    let progress = Progress::new("storing gates", count.into());
    let end = names.count() + count;
    let callers: Vec<_> = clients.iter().cycle().take(STORING_CALLERS.min(count as usize)).cloned().collect();
    let (numbers, bar) = (names.clone(), progress.clone());
    let create = move |client: Client| {
        let number = numbers.next();
        let (gate, bar) = (numbers.of(number), bar.clone());
        let spec = Some(Spec { auto_approve: true, ..undecided() });
        (number < end).then_some(async move {
            bar.add(1);
            client.create(CreateGateRequest { gate, spec, ..CreateGateRequest::default() }).await
        })
    };
    callers::measure(&callers, Stop::Never, create).await?;
    names.made.store(end, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_of_several_coordinators_is_the_first_of_as_many_callers() {
        let firsts = (0..6).map(|nth| rotated("a:1,b:2,c:3", nth));
        assert_eq!(firsts.collect::<Vec<_>>(), ["a:1,b:2,c:3", "b:2,c:3,a:1", "c:3,a:1,b:2"].repeat(2));
        assert_eq!(rotated("a:1", 7), "a:1");
    }

    #[test]
    fn every_gate_has_a_name_of_its_own() {
        let names = Names { group: "bench".into(), made: Arc::default() };
        let made: HashSet<_> = (0..10_000).map(|_| names.of(names.next())).collect();
        assert_eq!(made.len(), 10_000);
        assert!(made.contains("bench/9e3779b1"));
    }
}
