//! The endpoints of a client: coordinators of one store, which are asked in turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::codegen::http::Uri;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{self, Channel};

use super::token::{Bearer, Token};
use super::turns::Turns;
use super::{Error, GateCalls, WebhookCalls, address};
use crate::proto::gate_service_client::GateServiceClient;
use crate::proto::webhook_service_client::WebhookServiceClient;

/// The largest answer to read: a page of 100 gates or events, each below 112 KiB, with room to spare.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long an endpoint may be silent.
struct Patience {
    /// How long to try to reach it.
    connect: Duration,
    /// How often to ask a silent connection for a sign of life.
    keepalive_interval: Duration,
    /// How long that sign may take.
    keepalive_timeout: Duration,
}

/// With the only endpoint: three lost packets of a handshake, and a question as often as the coordinator sends heartbeats.
/// There is nothing to gain from giving it up sooner.
const OF_ONE: Patience = Patience {
    connect: Duration::from_secs(5),
    keepalive_interval: Duration::from_secs(20),
    keepalive_timeout: Duration::from_secs(10),
};
/// With one of several: its streams go on elsewhere ten seconds after it was paused or cut off. Leaving one that was only
/// slow costs a reconnect and loses nothing, and a question is 17 bytes on one connection of a program. One lost packet of a
/// handshake.
const OF_SEVERAL: Patience = Patience {
    connect: Duration::from_secs(2),
    keepalive_interval: Duration::from_secs(5),
    keepalive_timeout: Duration::from_secs(5),
};

/// One coordinator, and the connections to it: they are made when they are first used, and again when they break.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: String,
    pub(super) calls: GateCalls,
    pub(super) streams: GateCalls,
    pub(super) webhooks: WebhookCalls,
    channels: [Channel; 2],
}

impl Endpoint {
    fn new(address: String, channels: [Channel; 2], bearer: &Bearer) -> Self {
        let [calls, streams] = channels.clone().map(|channel| InterceptedService::new(channel, bearer.clone()));
        let service = |channel| GateServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        let webhooks = WebhookServiceClient::new(calls.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        Self { address, calls: service(calls), streams: service(streams), webhooks, channels }
    }
}

/// All endpoints of a client.
#[derive(Debug)]
pub(super) struct Endpoints {
    each: Vec<Endpoint>,
    /// All addresses, with commas between.
    pub(super) address: String,
    /// Which one answered a call last.
    answered: AtomicUsize,
    /// Counts the streams, from anywhere: programs that begin one stream each are spread too.
    streams: AtomicUsize,
}

impl Endpoints {
    /// Connects to each twice: for calls, and for streams.
    pub(super) fn new(transports: &[transport::Endpoint], connect: impl Fn(&transport::Endpoint) -> Channel) -> Self {
        let endpoint = |transport| {
            let channels = [connect(transport), connect(transport)];
            Endpoint::new(address::shown(transport.uri()), channels, &Bearer::default())
        };
        Self::of(transports.iter().map(endpoint).collect())
    }

    /// Shows a token to each of them.
    pub(super) fn with_token(&self, token: Token) -> Result<Self, Error> {
        self.each.iter().try_for_each(|endpoint| token.check(&endpoint.address))?;
        let bearer = Bearer(Some(token));
        let show = |endpoint: &Endpoint| Endpoint::new(endpoint.address.clone(), endpoint.channels.clone(), &bearer);
        Ok(Self::of(self.each.iter().map(show).collect()))
    }

    fn of(each: Vec<Endpoint>) -> Self {
        let addresses: Vec<_> = each.iter().map(|endpoint| endpoint.address.as_str()).collect();
        let (address, streams) = (addresses.join(","), AtomicUsize::new(fastrand::usize(..each.len())));
        Self { each, address, answered: AtomicUsize::default(), streams }
    }

    /// Returns the turns of a call: it begins where the last answer came from, at first with the first endpoint.
    pub(super) fn turns_of_call(&self) -> Turns {
        Turns::of_call(self.answered.load(Ordering::Relaxed), self.each.len())
    }

    /// Returns the turns of the next stream.
    pub(super) fn turns_of_stream(&self) -> Turns {
        Turns::of_stream(self.streams.fetch_add(1, Ordering::Relaxed), self.each.len())
    }

    /// Returns the endpoint whose turn it is.
    pub(super) fn at(&self, turns: &Turns) -> &Endpoint {
        &self.each[turns.current()]
    }

    /// Notes that a call was answered by whose turn it is.
    pub(super) fn on_answer(&self, turns: &Turns) {
        self.answered.store(turns.current(), Ordering::Relaxed);
    }
}

/// Says how to connect to each of some addresses.
pub(super) fn transports(uris: Vec<Uri>) -> Vec<transport::Endpoint> {
    let patience = if uris.len() == 1 { OF_ONE } else { OF_SEVERAL };
    let transport = |uri| {
        transport::Endpoint::from(uri)
            .connect_timeout(patience.connect)
            .http2_keep_alive_interval(patience.keepalive_interval)
            .keep_alive_timeout(patience.keepalive_timeout)
            .keep_alive_while_idle(true)
    };
    uris.into_iter().map(transport).collect()
}
