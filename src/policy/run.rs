//! Looks at the gates that wait, and decides those that a rule decides.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Outcome, Rules, STACK_BYTES};
use crate::coordinator::{Coordinator, Error, StoreError, WatchItem, WatchQuery};
use crate::domain::{EventKind, Gate, Prefix, Refusal, Ruling, Status};
use crate::metrics::RULES;
use crate::proto;

/// Rulings that are on their way at a time: enough to share a sync.
const SETTLING_MAX: usize = 64;
/// How long to leave a store that is full, or a watch that has failed.
const PAUSE: Duration = Duration::from_secs(1);

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
    loop {
        match follow(coordinator, rules).await {
            // The stop follows.
            Error::Draining => std::future::pending().await,
            error => tracing::error!("rules start over with the gates that wait: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks at every gate that waits, then at each that starts to or hears of evidence; returns why it can no longer.
async fn follow(coordinator: &Arc<Coordinator>, rules: &Rules) -> Error {
    let query =
        WatchQuery { prefix: Prefix::default(), statuses: vec![Status::Waiting], after: None, initial_state: true };
    let mut watch = pin!(coordinator.watch(query));
    while let Some(item) = watch.next().await {
        let gates: Vec<Gate> = match item {
            Ok(WatchItem::Existing(gates)) => gates,
            Ok(WatchItem::Events(events)) => {
                let news = [EventKind::Waiting, EventKind::EvidenceReported];
                events.iter().filter(|event| news.contains(&event.kind)).map(|event| event.gate.clone()).collect()
            }
            Ok(WatchItem::Created { .. } | WatchItem::Progress(_)) => continue,
            Err(error) => return error,
        };
        let look = |gate| look(coordinator, rules, gate);
        stream::iter(gates).for_each_concurrent(SETTLING_MAX, look).await;
    }
    Error::Draining
}

/// Decides a gate as the rules say. If it has changed by then, they look again.
async fn look(coordinator: &Coordinator, rules: &Rules, mut gate: Gate) {
    loop {
        let (rule, action) = match rules.evaluate(&proto::Gate::from(&gate), coordinator.now()) {
            Outcome::Undecided => return,
            Outcome::Failed { rule, problem } => {
                measure(&rule, "failed");
                tracing::warn!(gate = %gate.name, round = %gate.round, rule, problem, "a rule failed: people decide");
                return;
            }
            Outcome::Decided { rule, action } => (rule, action),
        };
        let ruling = Ruling { rule: rule.clone(), verdict: action.verdict(), etag: gate.etag() };
        match coordinator.settle(&gate.name, ruling).await {
            Err(Error::Refused(Refusal::EtagMismatch { .. })) => match coordinator.get(&gate.name, None).await {
                Ok(view) if view.gate.status == Status::Waiting => gate = view.gate,
                Ok(_) | Err(Error::Refused(_)) => return,
                Err(error) => return gave_up(&gate, &error),
            },
            Ok(_) => {
                measure(&rule, action.as_str());
                return;
            }
            // Somebody else came first.
            Err(Error::Refused(_)) => return,
            Err(Error::Store(StoreError::Full)) => tokio::time::sleep(PAUSE).await,
            Err(error) => return gave_up(&gate, &error),
        }
    }
}

fn gave_up(gate: &Gate, error: &Error) {
    tracing::error!(gate = %gate.name, "a rule could not decide: {error}");
}

fn measure(rule: &str, outcome: &'static str) {
    metrics::counter!(RULES, "rule" => rule.to_owned(), "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::coordinator::{Call, Clock, Retention, WaitQuery, Waiter};
    use crate::domain::{Cause, GateName, Principal, Spec};
    use crate::policy::{Action, Settings};
    use crate::store::memory::Memory;

    #[tokio::test]
    async fn a_gate_that_changed_meanwhile_is_looked_at_again() {
        let coordinator = Coordinator::new(Arc::new(Memory::new()), Clock::start(UNIX_EPOCH), Retention::default());
        let name = GateName::parse("gate", "g").unwrap();
        let call = |who: &str| Call { principal: Principal::parse(who).unwrap(), request: None };
        let spec = Spec { required_approvals: 2, ..Spec::default() };
        let waiter = Waiter { id: "w".into(), host: "h".into(), note: String::new(), since: coordinator.now() };
        let query = WaitQuery { gate: name.clone(), round: None, uid: None, spec: Some(spec), waiter };
        let mut wait = coordinator.wait(&call("ann"), query).await.unwrap();
        let seen = loop {
            let gate = wait.next().await.unwrap().expect("it goes on");
            if gate.status == Status::Waiting {
                break gate;
            }
        };
        coordinator.approve(&call("bob"), &name, Principal::parse("bob").unwrap().into(), false).await.unwrap();

        let settings =
            Settings { name: "r".into(), prefix: String::new(), when: "true".into(), action: Action::Approve };
        look(&coordinator, &Rules::new(vec![settings]).unwrap(), seen).await;
        let gate = coordinator.get(&name, None).await.unwrap().gate;
        assert_eq!(
            gate.resolution.map(|resolution| (resolution.cause, resolution.reason)),
            Some((Cause::Policy, "r".into()))
        );
        assert_eq!(gate.votes.len(), 1);
    }
}
