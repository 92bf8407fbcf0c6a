//! Looks at the gates that wait, and decides those that a rule decides.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;
use std::{io, thread};

use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Outcome, Rules, STACK_BYTES};
use crate::coordinator::{Caller, Coordinator, Error, Outage, WatchItem, WatchQuery};
use crate::domain::{EventKind, Gate, GateName, Prefix, Refusal, Ruling, Status};
use crate::metrics::RULES;
use crate::proto;

/// Rulings that are on their way at a time: enough to share a sync.
const SETTLING_MAX: usize = 64;

/// The rules at work. They end when this is dropped.
pub struct Running {
    stop: DropGuard,
    /// None if there is nothing to apply.
    ended: Option<oneshot::Receiver<()>>,
}

impl Running {
    /// Waits for an end that nobody has asked for.
    pub async fn failed(&mut self) {
        match &mut self.ended {
            // Nothing is ever sent: the sender is dropped at the end.
            Some(ended) => drop(ended.await),
            None => std::future::pending().await,
        }
    }

    /// Ends them: the ruling that is on its way is the last.
    pub async fn end(self) {
        drop(self.stop);
        if let Some(ended) = self.ended {
            drop(ended.await);
        }
    }
}

/// Starts to apply rules, on a thread of their own: expressions need a deep stack and may take their time.
///
/// # Errors
///
/// If no thread can be started.
pub fn start(coordinator: Arc<Coordinator>, rules: Arc<Rules>) -> io::Result<Running> {
    let stop = CancellationToken::new();
    if rules.is_empty() {
        return Ok(Running { stop: stop.drop_guard(), ended: None });
    }
    let (running, ended) = oneshot::channel::<()>();
    let stopped = stop.clone();
    let runtime = Handle::current();
    thread::Builder::new().name("rules".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let _running = running;
        runtime.block_on(stopped.run_until_cancelled(apply(&coordinator, &rules)));
    })?;
    Ok(Running { stop: stop.drop_guard(), ended: Some(ended) })
}

async fn apply(coordinator: &Arc<Coordinator>, rules: &Rules) {
    let mut outage = Outage::new("rules");
    loop {
        match follow(coordinator, rules, &mut outage).await {
            // The stop follows.
            Error::Draining => std::future::pending().await,
            Error::Store(error) if error.passes() => outage.tell(&error),
            error => tracing::error!("rules start over with the gates that wait: {error}"),
        }
        tokio::time::sleep(Outage::PAUSE).await;
    }
}

/// A gate to look at again, and when: it has not waited for long enough to be approved.
type Later = (SystemTime, GateName);

/// Looks at every gate that waits, then at each that starts to or hears of evidence, and again at those that it was too
/// early for; returns why it can no longer.
async fn follow(coordinator: &Arc<Coordinator>, rules: &Rules, outage: &mut Outage) -> Error {
    let query =
        WatchQuery { prefix: Prefix::default(), statuses: vec![Status::Waiting], after: None, initial_state: true };
    let mut watch = pin!(coordinator.watch(Caller::anonymous(), query));
    let mut later: BTreeSet<Later> = BTreeSet::new();
    loop {
        let due = async {
            match later.first() {
                Some((time, _)) => coordinator.sleep_until(*time).await,
                None => std::future::pending().await,
            }
        };
        let item = tokio::select! {
            item = watch.next() => Some(item),
            () = due => None,
        };
        let gates: Vec<Gate> = match item {
            Some(Some(Ok(WatchItem::Existing(gates)))) => gates,
            Some(Some(Ok(WatchItem::Events(events)))) => {
                let news = [EventKind::Waiting, EventKind::EvidenceReported];
                events.iter().filter(|event| news.contains(&event.kind)).map(|event| event.gate.clone()).collect()
            }
            Some(Some(Ok(WatchItem::Created { .. } | WatchItem::Progress(_)))) => {
                outage.end();
                continue;
            }
            Some(Some(Err(error))) => return error,
            Some(None) => return Error::Draining,
            None => {
                let now = coordinator.now();
                let mut due = Vec::new();
                while due.len() < SETTLING_MAX && later.first().is_some_and(|(time, _)| *time <= now) {
                    due.extend(later.pop_first());
                }
                let gates = stream::iter(due).map(async |(_, name)| waiting(coordinator, &name).await);
                gates.buffer_unordered(SETTLING_MAX).filter_map(std::future::ready).collect().await
            }
        };
        let look = |gate| look(coordinator, rules, gate);
        let looks = stream::iter(gates).map(look).buffer_unordered(SETTLING_MAX);
        later.extend(looks.filter_map(std::future::ready).collect::<Vec<_>>().await);
    }
}

/// Reads a gate, if it waits.
async fn waiting(coordinator: &Coordinator, name: &GateName) -> Option<Gate> {
    loop {
        match coordinator.get(&Caller::anonymous(), name, None).await {
            Ok(view) => return Some(view.gate).filter(|gate| gate.status == Status::Waiting),
            Err(Error::Refused(_)) => return None,
            Err(Error::Store(error)) if error.passes() => tokio::time::sleep(Outage::PAUSE).await,
            Err(error) => {
                gave_up(name, &error);
                return None;
            }
        }
    }
}

/// Decides a gate as the rules say. If it has changed by then, they look again; if it is too early, they do later.
async fn look(coordinator: &Coordinator, rules: &Rules, mut gate: Gate) -> Option<Later> {
    loop {
        let (rule, action) = match rules.evaluate(&proto::Gate::from(&gate), coordinator.now()) {
            Outcome::Undecided => return None,
            Outcome::Failed { rule, problem } => {
                measure(&rule, "failed");
                tracing::warn!(gate = %gate.name, round = %gate.round, rule, problem, "a rule failed: people decide");
                return None;
            }
            Outcome::Decided { rule, action } => (rule, action),
        };
        let ruling = Ruling { rule: rule.clone(), verdict: action.verdict(), etag: gate.etag() };
        match coordinator.settle(&gate.name, ruling).await {
            Err(Error::Refused(Refusal::EtagMismatch { .. })) => gate = waiting(coordinator, &gate.name).await?,
            Ok(_) => {
                measure(&rule, action.as_str());
                return None;
            }
            Err(Error::Refused(Refusal::TooEarly { not_before, .. })) => return Some((not_before?, gate.name)),
            // Somebody else came first.
            Err(Error::Refused(_)) => return None,
            Err(Error::Store(error)) if error.passes() => tokio::time::sleep(Outage::PAUSE).await,
            Err(error) => {
                gave_up(&gate.name, &error);
                return None;
            }
        }
    }
}

fn gave_up(gate: &GateName, error: &Error) {
    tracing::error!(%gate, "a rule could not decide: {error}");
}

fn measure(rule: &str, outcome: &'static str) {
    metrics::counter!(RULES, "rule" => rule.to_owned(), "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::coordinator::{Call, Clock, Retention, Wait, WaitQuery};
    use crate::domain::{Cause, Principal, Spec, Waiter};
    use crate::policy::{Action, Settings};
    use crate::store::Store;
    use crate::store::memory::Memory;
    use crate::store::memory::faulty::{Fault, Faulty};

    fn name() -> GateName {
        GateName::parse("gate", "g").unwrap()
    }

    fn call(who: &str) -> Call {
        Call { caller: Caller::unrestricted(Principal::parse(who).unwrap().into()), request: None }
    }

    fn query(spec: Spec) -> WaitQuery {
        let waiter = Waiter { id: "w".into(), host: "h".into(), note: String::new(), since: UNIX_EPOCH };
        WaitQuery { gate: name(), round: None, uid: None, spec: Some(spec), waiter }
    }

    fn approve_all() -> Rules {
        let settings =
            Settings { name: "r".into(), prefix: String::new(), when: "true".into(), action: Action::Approve };
        Rules::new(vec![settings]).unwrap()
    }

    /// Reads a wait until its gate has a status, for longer than any of them waits.
    async fn until(wait: &mut Wait, status: Status) -> Gate {
        let told = async {
            loop {
                let gate = wait.next().await.unwrap().expect("it goes on");
                if gate.status == status {
                    return gate;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(7200), told).await.expect("it never was so")
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_that_came_too_early_decides_in_time_also_after_a_restart() {
        let min_wait = Duration::from_secs(3600);
        for restarts in [false, true] {
            let store = Arc::new(Memory::new());
            let begin = tokio::time::Instant::now();
            let clock = Clock::new(UNIX_EPOCH, move || begin.elapsed());
            let start = || {
                let coordinator = Coordinator::new(store.clone(), clock.clone(), Retention::default());
                let rules = coordinator.clone();
                let rules =
                    tokio::spawn(async move { follow(&rules, &approve_all(), &mut Outage::new("rules")).await });
                let feed = coordinator.clone();
                (coordinator, [rules.abort_handle(), tokio::spawn(async move { feed.run().await }).abort_handle()])
            };
            let (mut coordinator, mut running) = start();
            let spec = Spec { min_wait: Some(min_wait), ..Spec::default() };
            let mut wait = coordinator.wait(&call("ann"), query(spec.clone())).await.unwrap();
            until(&mut wait, Status::Waiting).await;
            tokio::time::sleep(min_wait / 2).await;
            if restarts {
                running.iter().for_each(tokio::task::AbortHandle::abort);
                (coordinator, running) = start();
                wait = coordinator.wait(&call("ann"), query(spec)).await.unwrap();
            }
            let gate = until(&mut wait, Status::Approved).await;
            let resolution = gate.resolution.unwrap();
            assert_eq!((resolution.cause, resolution.time), (Cause::Policy, gate.wait_time.unwrap() + min_wait));
            running.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rules_outlast_a_store_that_is_away() {
        for fault in [Fault::Away, Fault::Mute] {
            let (memory, begin) = (Memory::new(), tokio::time::Instant::now());
            let clock = Clock::new(UNIX_EPOCH, move || begin.elapsed());
            let store = Faulty::new(memory.join());
            let here = Coordinator::new(store.clone(), clock.clone(), Retention::default());
            let there = Coordinator::new(Arc::new(memory.join()), clock, Retention::default());
            let feed = there.clone();
            tokio::spawn(async move { feed.run().await });
            let rules = Arc::new(approve_all());
            let running = tokio::spawn(async move { apply(&here, &rules).await });
            tokio::time::sleep(Duration::from_secs(60)).await;
            store.set(fault);
            let mut wait = there.wait(&call("ann"), query(Spec::default())).await.unwrap();
            if fault == Fault::Away {
                until(&mut wait, Status::Waiting).await;
                assert!(tokio::time::timeout(Duration::from_secs(600), wait.next()).await.is_err());
            }
            store.set(Fault::None);
            assert_eq!(until(&mut wait, Status::Approved).await.resolution.unwrap().cause, Cause::Policy);
            running.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ruling_is_made_once_the_store_is_back() {
        let memory = Memory::new();
        let store = Faulty::new(memory.join());
        let coordinator = Coordinator::new(store.clone(), Clock::start(UNIX_EPOCH), Retention::default());
        let mut wait = coordinator.wait(&call("ann"), query(Spec::default())).await.unwrap();
        let seen = until(&mut wait, Status::Waiting).await;
        store.set(Fault::Away);
        let looking = tokio::spawn(async move { look(&coordinator, &approve_all(), seen).await });
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(!looking.is_finished());
        store.set(Fault::None);
        assert_eq!(looking.await.unwrap(), None);
        assert_eq!(memory.get(&name()).await.unwrap().unwrap().status, Status::Approved);
    }

    #[tokio::test]
    async fn a_gate_that_changed_meanwhile_is_looked_at_again() {
        let coordinator = Coordinator::new(Arc::new(Memory::new()), Clock::start(UNIX_EPOCH), Retention::default());
        let spec = Spec { required_approvals: 2, ..Spec::default() };
        let mut wait = coordinator.wait(&call("ann"), query(spec)).await.unwrap();
        let seen = until(&mut wait, Status::Waiting).await;
        coordinator.approve(&call("bob"), &name(), Principal::parse("bob").unwrap().into(), false).await.unwrap();

        assert_eq!(look(&coordinator, &approve_all(), seen).await, None);
        let gate = coordinator.get(&Caller::anonymous(), &name(), None).await.unwrap().gate;
        assert_eq!(
            gate.resolution.map(|resolution| (resolution.cause, resolution.reason)),
            Some((Cause::Policy, "r".into()))
        );
        assert_eq!(gate.votes.len(), 1);
    }
}
