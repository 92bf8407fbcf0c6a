//! Speaks to etcd: the same call to one endpoint after the other, until one answers.
//!
//! Every call here may be made more than once. A read is. A transaction is, because what it writes is bound to what it compares:
//! whoever makes it looks whether the first attempt has arrived. Only who waits is written without: told too late, it is
//! shown until it changes, or its lease ends.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use super::api::kv_client::KvClient;
use super::api::lease_client::LeaseClient;
use super::api::maintenance_client::MaintenanceClient;
use super::api::watch_client::WatchClient;
use super::api::{
    KeyValue, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, RangeRequest, ResponseHeader,
    StatusRequest, TxnRequest, TxnResponse, WatchRequest, WatchResponse,
};
use super::keys::behind;
use super::login::{Logins, is_refused, is_stale};
use super::member::{Member, is_too_old, root_cause};
use super::txn::{self, Outcome, Txn};
use super::{Settings, keys};
use crate::domain::Revision;
use crate::store::Error;

/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// How long all attempts of a call may take: an election takes one or two seconds, in which members without a leader refuse
/// at once.
const CALL_MAX: Duration = Duration::from_secs(4);
/// How long to pause after as many attempts as there are endpoints.
const PAUSE: Duration = Duration::from_millis(100);
/// The largest answer to read: pages of 64 records, each below 128 KiB.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A way to a cluster, and to the keys behind a prefix in it.
pub struct Client {
    endpoints: Vec<Member>,
    /// The endpoint that answered last.
    current: AtomicUsize,
    prefix: Vec<u8>,
    logins: Logins,
    /// The cluster of the member that answered first; 0 while none has.
    cluster: AtomicU64,
    /// The highest revision that was seen in any answer.
    seen: AtomicU64,
    /// Whether the last write found no room.
    was_full: AtomicBool,
}

impl Client {
    /// Makes a client. It connects at the first call.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let endpoints = settings.endpoints.iter().map(|url| Member::new(url, &settings.tls));
        Ok(Self {
            endpoints: endpoints.collect::<Result<_, Error>>()?,
            current: AtomicUsize::new(0),
            prefix: settings.prefix.clone().into_bytes(),
            logins: Logins::new(settings.login.clone()),
            cluster: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            was_full: AtomicBool::new(false),
        })
    }

    /// Makes a client, and asks every endpoint which cluster it belongs to, and whether it is too old.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if they do not belong to one: what is written at one could not be read at the others. Of those
    /// that do not answer it is seen later.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        let client = Self::new(settings)?;
        client.find_cluster().await?;
        join_all((0..client.endpoints.len()).map(|at| client.look_at_version(at))).await;
        Ok(client)
    }

    /// Warns of an endpoint that is too old, if it answers.
    async fn look_at_version(&self, at: usize) {
        let member = &self.endpoints[at];
        let ask = |channel, request| async move { MaintenanceClient::new(channel).status(request).await };
        if member.cluster.load(Ordering::Relaxed) != 0
            && let Ok(Ok(answer)) = timeout(ATTEMPT_MAX, self.logged_in(at, StatusRequest {}, ask)).await
            && is_too_old(&answer.get_ref().version)
        {
            let (url, version) = (&member.url, &answer.get_ref().version);
            tracing::warn!("etcd at {url} is {version}: reads that are given up can crash it before 3.4.23 and 3.5.7");
        }
    }

    async fn find_cluster(&self) -> Result<(), Error> {
        let asked = (0..self.endpoints.len()).map(|at| timeout(ATTEMPT_MAX, self.meet(at)));
        let answered: Vec<_> = join_all(asked).await;
        let is_met = |at: &usize| matches!(answered.get(*at), Some(Ok(Ok(()))));
        let mut met = (0..self.endpoints.len()).filter(is_met);
        let Some(first) = met.next() else { return Ok(()) };
        // Those that do not answer cost no call its time.
        self.current.store(first, Ordering::Relaxed);
        let cluster = |at: usize| self.endpoints[at].cluster.load(Ordering::Relaxed);
        let Some(other) = met.find(|other| cluster(*other) != cluster(first)) else { return Ok(()) };
        let (one, other) = (&self.endpoints[first].url, &self.endpoints[other].url);
        let problem = format!("{one} and {other} belong to different clusters: see --etcd-endpoints");
        Err(Error::Corrupt { place: "etcd".to_owned(), problem })
    }

    /// Asks an endpoint which cluster it belongs to, unless it has said so: before anything is written there.
    async fn meet(&self, at: usize) -> Result<(), Status> {
        let cluster = &self.endpoints[at].cluster;
        if cluster.load(Ordering::Relaxed) != 0 {
            return Ok(());
        }
        let key = self.with_prefix(keys::STORE_ID);
        let look = |channel, request| async move { KvClient::new(channel).range(request).await };
        let answer = self.logged_in(at, txn::keys_only(txn::get(key)), look).await?;
        let id = answer.into_inner().header.unwrap_or_default().cluster_id;
        cluster.store(id, Ordering::Relaxed);
        // Whoever is the first.
        let _ = self.cluster.compare_exchange(0, id, Ordering::Relaxed, Ordering::Relaxed);
        Ok(())
    }

    /// Checks that an answer is of the cluster that answered first.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`]: what was told before may be nowhere now.
    pub fn check_cluster(&self, header: Option<&ResponseHeader>) -> Result<(), Error> {
        match header {
            Some(header) => self.check_same(header.cluster_id),
            None => Ok(()),
        }
    }

    fn check_same(&self, cluster: u64) -> Result<(), Error> {
        if [0, self.cluster.load(Ordering::Relaxed)].contains(&cluster) {
            return Ok(());
        }
        let why = "etcd is another cluster than before: it was restored, or --etcd-endpoints names a stranger";
        Err(Error::Failed(why.into()))
    }

    /// Returns the highest revision that was seen in any answer.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// Says whether the last write found no room.
    pub fn was_full(&self) -> bool {
        self.was_full.load(Ordering::Relaxed)
    }

    /// Returns how keys are seen from outside: with the prefix.
    pub fn absolute(&self, range: &Range<Vec<u8>>) -> Range<Vec<u8>> {
        self.with_prefix(&range.start)..self.with_prefix(&range.end)
    }

    /// Returns a key without the prefix.
    pub fn relative(&self, key: &mut Vec<u8>) {
        key.drain(..self.prefix.len().min(key.len()));
    }

    /// Reads keys, and the revision at which they were read: all that is acknowledged is in it.
    pub async fn range(&self, request: RangeRequest) -> Result<(Vec<KeyValue>, Revision), Error> {
        let outcome = self.txn(Txn::default().read(request)).await?;
        Ok((outcome.ranges.into_iter().next().unwrap_or_default(), outcome.revision))
    }

    /// Makes a transaction.
    pub async fn txn(&self, txn: Txn) -> Result<Outcome, Error> {
        let puts = txn.puts();
        let before = self.seen();
        let request = txn.into_request(|key| self.with_prefix(key));
        let answer = self.send(request).await;
        if puts && (answer.is_ok() || matches!(answer, Err(Error::Full))) {
            self.was_full.store(answer.is_err(), Ordering::Relaxed);
        }
        let answer = answer?;
        self.check_cluster(answer.header.as_ref())?;
        let outcome = Outcome::of(answer, |key| self.relative(key));
        // What every member agrees on only grows.
        if outcome.revision.0 < before {
            let revision = outcome.revision;
            let why = format!("etcd is at revision {revision}, and was at {before}: it was put back to a backup");
            return Err(Error::Failed(why.into()));
        }
        self.seen.fetch_max(outcome.revision.0, Ordering::SeqCst);
        Ok(outcome)
    }

    /// Says whether there is a key, whatever its prefix.
    pub async fn is_there(&self, key: &[u8]) -> Result<bool, Error> {
        let request = Txn::default().read(txn::count(key.to_vec()..behind(key.to_vec()))).into_request(<[u8]>::to_vec);
        let outcome = Outcome::of(self.send(request).await?, |_| {});
        Ok(outcome.counts.iter().any(|count| *count > 0))
    }

    async fn send(&self, request: TxnRequest) -> Result<TxnResponse, Error> {
        let call = |channel, request| async move {
            KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX).txn(request).await
        };
        self.call(request, call).await
    }

    /// Begins a lease.
    pub async fn grant(&self, lasts: Duration) -> Result<i64, Error> {
        let request = LeaseGrantRequest { ttl: lasts.as_secs().cast_signed() };
        let call = |channel, request| async move { LeaseClient::new(channel).lease_grant(request).await };
        Ok(self.call(request, call).await?.id)
    }

    /// Keeps a lease for longer, and says whether it was there.
    pub async fn keep_alive(&self, lease: i64) -> Result<bool, Error> {
        let call = |channel, request: Request<i64>| async move {
            let (metadata, extensions, lease) = request.into_parts();
            let once = tokio_stream::once(LeaseKeepAliveRequest { id: lease });
            let request = Request::from_parts(metadata, extensions, once);
            let mut answers = LeaseClient::new(channel).lease_keep_alive(request).await?.into_inner();
            let answer = answers.message().await?;
            answer.map(Response::new).ok_or_else(|| Status::unavailable("the lease was not answered"))
        };
        Ok(self.call(lease, call).await?.ttl > 0)
    }

    /// Ends a lease, and what depends on it.
    pub async fn revoke(&self, lease: i64) -> Result<(), Error> {
        let call = |channel, request| async move { LeaseClient::new(channel).lease_revoke(request).await };
        self.call(LeaseRevokeRequest { id: lease }, call).await.map(drop)
    }

    /// Returns the size of the member's database, in bytes.
    pub async fn size(&self) -> Result<u64, Error> {
        let call = |channel, request| async move { MaintenanceClient::new(channel).status(request).await };
        Ok(self.call(StatusRequest {}, call).await?.db_size.try_into().unwrap_or_default())
    }

    /// Opens a stream of watches.
    pub async fn watch(
        &self,
        requests: tokio_stream::wrappers::ReceiverStream<WatchRequest>,
    ) -> Result<Streaming<WatchResponse>, Error> {
        let at = self.current();
        let attempt = self.attempt(at, requests, |channel, request| async move {
            WatchClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX).watch(request).await
        });
        let stream = timeout(ATTEMPT_MAX, attempt).await.unwrap_or_else(|_| Err(late()));
        stream.map(Response::into_inner).map_err(|status| self.failed(at, &status))
    }

    /// Returns which endpoint is asked.
    pub fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Goes on with the endpoint behind one, unless somebody has done so.
    pub fn leave(&self, at: usize) {
        // If it fails, somebody has.
        let next = (at + 1) % self.endpoints.len();
        let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Makes a call until an endpoint answers.
    // The calls are futures of a named type, not `AsyncFn`s: only so can tasks make them.
    async fn call<R: Clone, T, F>(&self, request: R, call: impl Fn(Channel, Request<R>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let end = Instant::now() + CALL_MAX;
        let mut attempts = 0;
        loop {
            let at = self.current();
            let attempt = self.attempt(at, request.clone(), &call);
            let until = end.min(Instant::now() + ATTEMPT_MAX);
            let answered = timeout_at(until, attempt).await.unwrap_or_else(|_| Err(late()));
            let status = match answered {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            self.check_same(self.endpoints[at].cluster.load(Ordering::Relaxed))?;
            let goes_on = goes_on_elsewhere(&status);
            if goes_on {
                // For whoever calls next as well.
                self.leave(at);
            }
            if !goes_on || Instant::now() + PAUSE >= end {
                return Err(self.failed(at, &status));
            }
            attempts += 1;
            if attempts % self.endpoints.len() == 0 {
                sleep(PAUSE).await;
            }
        }
    }

    /// Makes one attempt of a call, at a member of the cluster.
    async fn attempt<R, T, F>(
        &self,
        at: usize,
        request: R,
        call: impl Fn(Channel, Request<R>) -> F,
    ) -> Result<Response<T>, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.meet(at).await?;
        if self.check_same(self.endpoints[at].cluster.load(Ordering::Relaxed)).is_err() {
            return Err(Status::unavailable("it belongs to another cluster"));
        }
        self.logged_in(at, request, call).await
    }

    /// Makes a call with a login, where the cluster asks for one.
    async fn logged_in<R, T, F>(
        &self,
        at: usize,
        request: R,
        call: impl Fn(Channel, Request<R>) -> F,
    ) -> Result<Response<T>, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let channel = self.endpoints[at].channel.clone();
        let token = self.logins.token(&channel).await?;
        let mut request = Request::new(request);
        // A member that has lost the leader refuses then, instead of telling what it knows.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = &token {
            request.metadata_mut().insert("token", token.clone());
        }
        let answer = call(channel, request).await;
        if answer.as_ref().is_err_and(is_stale) {
            self.logins.forget(token.as_ref()).await;
        }
        answer
    }

    /// Says what an endpoint answered instead.
    fn failed(&self, at: usize, status: &Status) -> Error {
        let Member { url: endpoint, .. } = &self.endpoints[at];
        let message = if status.message().is_empty() { status.code().description() } else { status.message() };
        let cause = root_cause(status).filter(|cause| *cause != message);
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        let problem = format!("etcd at {endpoint}: {message}{cause}");
        match status.code() {
            Code::ResourceExhausted if message.contains("space exceeded") => Error::Full,
            _ if is_refused(status) => {
                let hint = "see --etcd-user, and what its role may do behind --etcd-prefix";
                Error::Unavailable { problem: format!("{problem}: {hint}") }
            }
            // Too many operations, or too many bytes: it never passes.
            Code::InvalidArgument => Error::Corrupt { place: "a transaction".to_owned(), problem },
            _ => Error::Unavailable { problem },
        }
    }

    fn with_prefix(&self, key: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), key].concat()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self.endpoints.iter().map(|member| &member.url).collect();
        f.debug_struct("Client").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

/// Says whether another endpoint may answer what this one did not.
fn goes_on_elsewhere(status: &Status) -> bool {
    matches!(
        status.code(),
        // etcd says that it has no leader, that it is stopping, and that a proposal took too long, in these.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal
    ) || is_stale(status)
}

fn late() -> Status {
    Status::deadline_exceeded("no answer in time")
}
