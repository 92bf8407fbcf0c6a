//! This coordinator among the others of the cluster: its lease, who waits here, and whether it leads.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::api::KeyValue;
use super::commit::{OPS_MAX, TXN_BYTES_MAX};
use super::txn::{self, Txn};
use super::{Shared, keys};
use crate::domain::{GateName, Revision};
use crate::store::{Crowd, Error, codec};

/// How long others take this coordinator for alive after its last sign of life. etcd's elections take less.
const LEASE: Duration = Duration::from_secs(10);
/// How often it gives one.
const KEEP_EVERY: Duration = Duration::from_secs(2);

/// What lasts as long as this coordinator is alive.
#[derive(Debug)]
pub struct Session {
    /// Tells this coordinator from the others.
    pub peer: u64,
    /// Its lease, while it has one.
    lease: watch::Sender<Option<i64>>,
    /// Whether it stands for election: somebody here wants it to lead.
    pub stands: AtomicBool,
    stood: Notify,
    /// Since which revision it leads, while it does.
    leads: watch::Sender<Option<Revision>>,
    /// Who waits here, as it was told, to be told again under another lease.
    told: Mutex<HashMap<GateName, Vec<u8>>>,
    /// Held while the others are told who waits here: what is newer is written later.
    pub telling: tokio::sync::Mutex<()>,
}

impl Session {
    /// Makes a session that has yet to begin.
    pub fn new() -> Self {
        let (peer, _) = uuid::Uuid::new_v4().as_u64_pair();
        let (lease, leads) = (watch::Sender::new(None), watch::Sender::new(None));
        let (stands, stood) = (AtomicBool::new(false), Notify::new());
        Self { peer, lease, stands, stood, leads, told: Mutex::default(), telling: tokio::sync::Mutex::default() }
    }

    /// Returns the lease.
    pub fn lease(&self) -> Option<i64> {
        *self.lease.borrow()
    }

    /// Returns since which revision this coordinator leads; none if it does not.
    pub fn leads_since(&self) -> Option<Revision> {
        *self.leads.borrow()
    }

    /// Stands for election, and waits until this coordinator leads.
    pub async fn elected(&self) {
        if !self.stands.swap(true, Ordering::Relaxed) {
            self.stood.notify_one();
        }
        // The sender is as old as the receiver.
        drop(self.leads.subscribe().wait_for(Option::is_some).await);
    }

    /// Waits until this coordinator does not lead, or leads anew.
    pub async fn deposed(&self) {
        let since = self.leads_since();
        drop(self.leads.subscribe().wait_for(|leads| leads.is_none() || *leads != since).await);
    }

    fn told(&self) -> MutexGuard<'_, HashMap<GateName, Vec<u8>>> {
        // Nothing panics while it is held.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the session, for ever: begins it again whenever it was lost.
pub async fn keep(shared: Arc<Shared>) -> Infallible {
    let mut is_logged = false;
    loop {
        let Err(error) = live(&shared, &mut is_logged).await;
        if !std::mem::replace(&mut is_logged, true) {
            tracing::warn!(
                "this coordinator has no lease of etcd: it does not lead, and the others cannot see who waits here, until it \
                 has one: {error}"
            );
        }
        shared.session.leads.send_replace(None);
        shared.session.lease.send_replace(None);
        sleep(KEEP_EVERY).await;
    }
}

/// Begins a session, and keeps it until it is lost. `is_logged` says whether it is logged that there was none.
async fn live(shared: &Shared, is_logged: &mut bool) -> Result<Infallible, Error> {
    let asked = Instant::now();
    let lease = shared.client.grant(LEASE).await?;
    shared.session.lease.send_replace(Some(lease));
    // Side by side: where many wait, it takes longer to tell of them than the lease lasts.
    let (never, ()) = tokio::try_join!(last(shared, lease, asked, is_logged), shared.tell_again(lease))?;
    Ok(never)
}

/// Keeps a lease that was seen alive, and leads under it if nobody else does, until it is lost.
async fn last(shared: &Shared, lease: i64, mut seen: Instant, is_logged: &mut bool) -> Result<Infallible, Error> {
    loop {
        // Whatever is being waited for: whoever has heard nothing for as long as the lease lasts has lost it, though nothing
        // says so yet.
        let kept = timeout_at(seen + LEASE, keep_once(shared, lease)).await;
        let kept = kept.map_err(|_| Error::Unavailable { problem: "the lease is over".to_owned() })?;
        if let Some(asked) = kept? {
            seen = asked;
            if std::mem::take(is_logged) {
                tracing::info!("this coordinator has a lease of etcd again");
            }
        }
    }
}

/// Leads if nobody else does, and keeps the lease once. Returns when that was asked; none if it was not answered, which it
/// may be again before the lease is over.
async fn keep_once(shared: &Shared, lease: i64) -> Result<Option<Instant>, Error> {
    if shared.session.stands.load(Ordering::Relaxed) {
        campaign(shared, lease).await?;
    }
    tokio::select! {
        () = sleep(KEEP_EVERY) => {}
        () = shared.session.stood.notified() => {}
    }
    let asked = Instant::now();
    match shared.client.keep_alive(lease).await {
        Ok(true) => Ok(Some(asked)),
        Ok(false) => Err(Error::Unavailable { problem: "etcd has ended the lease".to_owned() }),
        Err(_) => Ok(None),
    }
}

/// Leads, if nobody does, and nobody else imports.
pub async fn campaign(shared: &Shared, lease: i64) -> Result<(), Error> {
    let leader = keys::LEADER.to_vec();
    let peer = shared.session.peer.to_be_bytes().to_vec();
    let txn = shared.unless_imported().if_created_at(leader.clone(), Revision::ZERO);
    let txn = txn.put_for(lease, leader.clone(), peer);
    let outcome = match shared.client.txn(txn.or_read(txn::get(leader))).await {
        Ok(outcome) => outcome,
        // Its lease says for how long it leads.
        Err(error) if error.passes() => return Ok(()),
        Err(error) => return Err(error),
    };
    let found = outcome.ranges.iter().flatten().find(|kv| kv.lease == lease);
    let since = found.map(|kv| txn::revision(kv.create_revision));
    let since = if outcome.succeeded { Some(outcome.revision) } else { since };
    shared.session.leads.send_if_modified(|leads| std::mem::replace(leads, since) != since);
    Ok(())
}

impl Shared {
    /// Tells the others who waits here.
    pub async fn announce(&self, crowds: Vec<(GateName, Crowd)>) -> Result<(), Error> {
        let mut writes = Vec::with_capacity(crowds.len());
        for (gate, crowd) in crowds {
            let record = if crowd.count == 0 { None } else { Some(codec::encode_crowd(&crowd)?) };
            match &record {
                Some(record) => self.session.told().insert(gate.clone(), record.clone()),
                None => self.session.told().remove(&gate),
            };
            writes.push((gate, record));
        }
        let _telling = self.session.telling.lock().await;
        let lease =
            self.session.lease().ok_or_else(|| Error::Unavailable { problem: "there is no lease".to_owned() })?;
        self.write_crowds(lease, writes.into_iter()).await
    }

    /// Tells the others again who waits here, under a new lease.
    async fn tell_again(&self, lease: i64) -> Result<(), Error> {
        loop {
            let telling = self.session.telling.lock().await;
            let told = self.session.told().clone();
            let written = self.write_crowds(lease, told.into_iter().map(|(gate, crowd)| (gate, Some(crowd)))).await;
            drop(telling);
            match written {
                Err(error) if error.passes() => sleep(KEEP_EVERY).await,
                written => return written,
            }
        }
    }

    /// Writes who waits here. Nothing is compared: a write that arrives late shows what was so before, until the gate's
    /// crowd changes or the lease is over, and nobody decides by it.
    async fn write_crowds(
        &self,
        lease: i64,
        writes: impl Iterator<Item = (GateName, Option<Vec<u8>>)>,
    ) -> Result<(), Error> {
        let (mut txn, mut bytes) = (Txn::default(), 0);
        for (gate, record) in writes {
            let key = keys::crowd(self.session.peer, &gate);
            bytes += record.as_ref().map_or(0, Vec::len);
            txn = match record {
                Some(record) => txn.put_for(lease, key, record),
                None => txn.delete(key),
            };
            if txn.len() >= OPS_MAX || bytes >= TXN_BYTES_MAX {
                self.client.txn(std::mem::take(&mut txn)).await?;
                bytes = 0;
            }
        }
        if txn.len() > 0 {
            self.client.txn(txn).await?;
        }
        Ok(())
    }
}

/// Who waits at the other coordinators, as far as the feed has told.
#[derive(Debug)]
pub struct Crowds {
    /// This coordinator, whose own are left out.
    own: u64,
    // A std mutex: held for a look-up at a time, and never across an await.
    of: Mutex<HashMap<GateName, HashMap<u64, Crowd>>>,
}

impl Crowds {
    /// Makes those of nobody.
    pub fn new(own: u64) -> Self {
        Self { own, of: Mutex::default() }
    }

    /// Returns who waits on a gate.
    pub fn at(&self, gate: &GateName) -> Crowd {
        Crowd::join(self.lock().get(gate).into_iter().flat_map(HashMap::values))
    }

    /// Takes others for all there are.
    pub fn replace(&self, by: Self) {
        *self.lock() = by.of.into_inner().unwrap_or_else(PoisonError::into_inner);
    }

    /// Takes in what one coordinator tells of one gate.
    pub fn take(&self, kv: &KeyValue, is_removed: bool) {
        let Some((peer, gate)) = keys::parse_crowd(&kv.key).filter(|(peer, _)| *peer != self.own) else { return };
        let mut all = self.lock();
        let at_gate = all.entry(gate.clone()).or_default();
        if is_removed {
            at_gate.remove(&peer);
        } else {
            match codec::decode_crowd(&format!("who waits on {gate}"), &kv.value) {
                Ok(crowd) => drop(at_gate.insert(peer, crowd)),
                // It concerns what is shown of this gate alone.
                Err(error) => tracing::error!("some waiters are not shown: {error}"),
            }
        }
        if at_gate.is_empty() {
            all.remove(&gate);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GateName, HashMap<u64, Crowd>>> {
        // Nothing panics while it is held.
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
