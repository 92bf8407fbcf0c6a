//! Clients that know several coordinators of one store: what they wait on, watch and ask for goes on when one is gone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use gatepost::client::{Client, Notice, Outcome, Update, Wait, Watch};
use gatepost::coordinator::{Clock, Coordinator, Retention};
use gatepost::proto::*;
use gatepost::server::Server;
use gatepost::store::memory::Memory;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[path = "guarantees/proxy.rs"]
mod proxy;
#[path = "support/coordinator.rs"]
mod support;

use proxy::{Network, Proxy};
use support::kept::etcd::port::Port;
use support::{approve, create, delete, get, history, reset, wait_with, watch, within};

/// Coordinators of one store, each on a port of its own.
struct Coordinators {
    store: Arc<Memory>,
    addresses: Vec<SocketAddr>,
    /// Held while nobody is there.
    _ports: Vec<Port>,
    running: Vec<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Coordinators {
    async fn start(count: usize) -> Self {
        let ports: Vec<_> = (0..count).map(|_| Port::hold()).collect();
        let addresses = ports.iter().map(|port| port.address).collect();
        let mut started = Self { store: Arc::new(Memory::new()), addresses, _ports: ports, running: Vec::new() };
        for at in 0..count {
            started.running.push(None);
            started.start_at(at).await;
        }
        started
    }

    /// Starts one on its port.
    async fn start_at(&mut self, at: usize) {
        let listener = TcpListener::bind(self.addresses[at]).await.unwrap();
        let clock = Clock::start(SystemTime::UNIX_EPOCH);
        let coordinator = Coordinator::new(self.store.clone(), clock, Retention::default());
        let server = Server::new(coordinator, support::DRAIN).unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let serving = tokio::spawn(async { server.serve(listener, shutdown).await.unwrap() });
        self.running[at] = Some(Running { stop, serving });
    }

    /// Cuts every connection of one, which is not there any more.
    async fn kill(&mut self, at: usize) {
        let serving = self.running[at].take().unwrap().serving;
        serving.abort();
        assert!(within(serving).await.unwrap_err().is_cancelled());
    }

    /// Ends one as an operator does.
    async fn stop(&mut self, at: usize) {
        let running = self.running[at].take().unwrap();
        running.stop.send(()).unwrap();
        within(running.serving).await.unwrap();
    }

    fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.running.len()).filter(|&at| self.running[at].is_some())
    }

    /// A client that knows all of them.
    fn client(&self) -> Client {
        client_of(&self.addresses)
    }

    /// A client that knows one of them.
    fn direct(&self, at: usize) -> Client {
        client_of(&self.addresses[at..=at])
    }

    /// Returns how many wait on a gate at each of those that live.
    async fn seats(&self, gate: &str) -> Vec<(usize, u32)> {
        let seats = self.living().map(async |at| (at, self.direct(at).get(get(gate)).await.unwrap().waiter_count));
        within(join_all(seats)).await
    }

    /// Returns where the only one waits who waits on a gate.
    async fn seat(&self, gate: &str) -> usize {
        let seats: Vec<_> = self.seats(gate).await.into_iter().filter(|&(_, count)| count > 0).collect();
        assert!(matches!(seats[..], [(_, 1)]), "{seats:?}");
        seats[0].0
    }
}

fn client_of(addresses: &[SocketAddr]) -> Client {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Client::new(&addresses.join(",")).unwrap()
}

/// Begins a wait, and returns once it has its seat.
async fn seated(client: &Client, gate: &str) -> Wait {
    let mut wait = client.wait(wait_with(gate, Spec::default()));
    loop {
        match within(wait.next()).await.unwrap().unwrap() {
            Update::Gate(gate) if gate.status() == GateStatus::Waiting => return wait,
            Update::Gate(gate) => assert_eq!(gate.status(), GateStatus::Pending),
            Update::Disconnected { error, .. } => panic!("{error}"),
        }
    }
}

/// Where connections are made and nothing is ever said.
async fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Where nobody listens.
const DEAD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

#[tokio::test]
async fn a_decision_made_through_one_releases_who_waits_at_another() {
    let all = Coordinators::start(2).await;
    let wait = seated(&all.direct(0), "a").await;
    let approved = all.direct(1).approve(approve("a")).await.unwrap();
    let Outcome::Approved(gate) = within(wait.outcome()).await.unwrap() else { panic!("it is not approved") };
    assert_eq!(gate.revision, approved.revision);
}

#[tokio::test]
async fn a_wait_whose_coordinator_is_gone_is_told_elsewhere_what_was_decided_meanwhile() {
    for crashes in [true, false] {
        let mut all = Coordinators::start(2).await;
        let wait = seated(&all.client(), "a").await;
        let seat = all.seat("a").await;
        if crashes {
            all.kill(seat).await;
        } else {
            all.stop(seat).await;
        }
        // The wait goes on when it is asked to, and finds the gate in its next round.
        let other = all.direct(1 - seat);
        other.approve(approve("a")).await.unwrap();
        assert_eq!(other.reset(reset("a")).await.unwrap().round, 2);
        let Outcome::Approved(gate) = within(wait.outcome()).await.unwrap() else { panic!("it is not approved") };
        assert_eq!(gate.round, 1);
    }
}

#[tokio::test]
async fn a_wait_whose_coordinator_is_gone_takes_a_seat_elsewhere() {
    let mut all = Coordinators::start(3).await;
    let mut wait = seated(&all.client(), "a").await;
    for _ in 0..2 {
        let seat = all.seat("a").await;
        all.kill(seat).await;
        let Ok(Some(Update::Disconnected { error, retry_in })) = within(wait.next()).await else {
            panic!("it was not lost")
        };
        assert!(retry_in.is_zero() && error.to_string().contains(&all.addresses[seat].to_string()), "{error}");
        loop {
            match within(wait.next()).await.unwrap().unwrap() {
                Update::Gate(gate) if gate.status() == GateStatus::Waiting => break,
                // The second loss may send it to the first that is gone.
                Update::Disconnected { .. } => {}
                Update::Gate(gate) => panic!("{gate:?}"),
            }
        }
    }
    let left = all.seat("a").await;
    all.direct(left).approve(approve("a")).await.unwrap();
    assert!(matches!(within(wait.outcome()).await, Ok(Outcome::Approved(_))));
}

#[tokio::test]
async fn a_watch_through_failovers_misses_nothing_and_repeats_nothing() {
    const ROUNDS: usize = 9;
    const GATES: usize = 20;
    let mut all = Coordinators::start(3).await;
    let writer = all.client();
    let mut watches: Vec<_> =
        (0..6).map(|_| all.client().watch(WatchRequest { start_revision: 1, ..watch("") })).collect();
    let mut seen = vec![Vec::new(); watches.len()];
    for round in 0..ROUNDS {
        // While one is gone, and while another one goes.
        let writing = join_all((0..GATES).map(|gate| {
            let writer = &writer;
            async move { writer.create(create(&format!("round-{round}/g{gate}"))).await.unwrap() }
        }));
        let (_, ()) = tokio::join!(within(writing), all.kill(round % 3));
        let last = writer.list(ListGatesRequest::default()).await.unwrap().revision;
        within(join_all(watches.iter_mut().zip(&mut seen).map(|(watch, seen)| read_to(watch, last, seen)))).await;
        all.start_at(round % 3).await;
    }
    let told = writer.history(ListEventsRequest::default()).await.unwrap();
    assert_eq!(told.len(), ROUNDS * GATES, "each was made once");
    for seen in seen {
        assert_eq!(seen, told);
    }
}

/// Reads a watch up to a revision.
async fn read_to(watch: &mut Watch, last: u64, seen: &mut Vec<Event>) {
    while seen.last().is_none_or(|event| event.revision < last) {
        if let Notice::Event(event) = watch.next().await.unwrap().unwrap() {
            seen.push(*event);
        }
    }
}

#[tokio::test]
async fn calls_are_answered_though_the_first_endpoint_is_dead_or_silent() {
    let all = Coordinators::start(1).await;
    let live = all.addresses[0];
    let (_held, silent) = silent().await;
    for (name, first) in [("dead", DEAD), ("silent", silent)] {
        let client = client_of(&[first, live]);
        within(client.create(create(name))).await.unwrap();
        within(client.approve(approve(name))).await.unwrap();
        assert_eq!(client.history(history(name)).await.unwrap().len(), 2);
        client.delete(delete(name)).await.unwrap();
    }
    // Without an answer before.
    client_of(&[DEAD, live]).create(create("a")).await.unwrap();
    client_of(&[DEAD, live]).delete(delete("a")).await.unwrap();
}

#[tokio::test]
async fn a_call_whose_reply_is_lost_is_answered_by_another_and_happens_once() {
    let all = Coordinators::start(2).await;
    let proxy = Proxy::before(all.addresses[0]).await;
    let client = client_of(&[proxy.address, all.addresses[1]]);
    client.create(create("a")).await.unwrap();
    proxy.set(Network::RepliesLost);
    let approved = within(client.approve(approve("a"))).await.unwrap();
    proxy.cut();

    let told = all.direct(0).history(history("a")).await.unwrap();
    let [_, decided] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(decided.gate.as_ref(), Some(&approved));
    // It was made at the one whose reply was lost.
    assert_eq!(decided.r#type(), EventType::Resolved);
}

#[tokio::test]
async fn waits_are_spread_over_all_and_so_are_those_of_one_that_is_gone() {
    const WAITS: usize = 300;
    let mut all = Coordinators::start(3).await;
    let client = all.client();
    client.create(create("a")).await.unwrap();
    let mut waits: Vec<_> = join_all((0..WAITS).map(|_| seated(&client, "a"))).await;
    assert_eq!(all.seats("a").await, [(0, 100), (1, 100), (2, 100)]);

    all.kill(1).await;
    let deciding = all.direct(0);
    let released = join_all(waits.drain(..).map(|wait| tokio::spawn(within(wait.outcome()))));
    let decided = async {
        let mut look = tokio::time::interval(Duration::from_millis(2));
        while all.seats("a").await != [(0, 150), (2, 150)] {
            look.tick().await;
        }
        deciding.approve(approve("a")).await.unwrap()
    };
    let (released, _) = tokio::join!(released, within(decided));
    assert!(released.into_iter().all(|outcome| matches!(outcome.unwrap(), Ok(Outcome::Approved(_)))));
}

#[tokio::test]
async fn programs_that_wait_once_are_spread_too() {
    let all = Coordinators::start(3).await;
    let waits = join_all((0..60).map(|_| async { seated(&all.client(), "a").await })).await;
    let seats = all.seats("a").await;
    assert!(seats.iter().all(|&(_, count)| count > 0), "{seats:?}");
    assert_eq!(seats.iter().map(|&(_, count)| count).sum::<u32>(), 60);
    drop(waits);
}
