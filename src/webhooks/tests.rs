//! Couriers on the reference store, in paused time, with a receiver that does what a test tells it to.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::lanes::Failure;
use super::*;
use crate::coordinator::{Call, Caller, Clock, Retention, WaitQuery};
use crate::domain::{Ballot, GateName, Prefix, Principal, Spec, Waiter};
use crate::store::memory::Memory;
use crate::store::{Outbox, OutboxChange, Store};

mod leading;
mod letters;
mod places;
mod warnings;

const MINUTE: Duration = Duration::from_secs(60);

/// A coordinator with one webhook, whose couriers can be stopped and started.
struct World {
    store: Arc<dyn Store>,
    coordinator: Arc<Coordinator>,
    webhook: Webhook,
    running: Option<Running>,
}

struct Running {
    webhooks: Webhooks,
    posts: mpsc::UnboundedReceiver<Post>,
    stop: CancellationToken,
    couriers: JoinHandle<Result<(), StoreError>>,
}

/// One attempt, which the test answers.
struct Post {
    id: String,
    body: Value,
    answer: oneshot::Sender<Result<(), Failure>>,
}

/// Hands each attempt to the test. One that is not answered hangs.
struct Fake(Mutex<mpsc::UnboundedSender<Post>>);

#[async_trait::async_trait]
impl Transport for Fake {
    async fn post(&self, _: &Webhook, id: &str, body: String) -> Result<(), Failure> {
        let (answer, answered) = oneshot::channel();
        let post = Post { id: id.to_owned(), body: serde_json::from_str(&body).unwrap(), answer };
        self.0.lock().unwrap().send(post).unwrap();
        match answered.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Post {
    /// Says what was told: `waiting a`.
    fn told(&self) -> String {
        let kind = self.body["type"].as_str().unwrap().strip_prefix("gate.").unwrap();
        format!("{kind} {}", self.body["data"]["event"]["name"].as_str().unwrap())
    }

    fn fail(self) {
        self.answer.send(Err(failure(false))).unwrap();
    }
}

fn failure(is_final: bool) -> Failure {
    Failure { problem: "HTTP 500".into(), retry_after: None, is_final }
}

impl World {
    fn new() -> Self {
        Self::with(Retention::default())
    }

    fn with(retention: Retention) -> Self {
        Self::of(Arc::new(Memory::new()), clock(), retention)
    }

    fn of(store: Arc<dyn Store>, clock: Clock, retention: Retention) -> Self {
        let coordinator = Coordinator::new(store.clone(), clock, retention);
        let running = Arc::clone(&coordinator);
        tokio::spawn(async move { running.run().await });
        let webhook = Webhook {
            name: name_of_webhook("ops"),
            url: url("http://receiver.test/").unwrap(),
            format: Format::Standard(Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()),
            topics: Topic::ALL.to_vec(),
            prefix: Prefix::parse("prefix", "").unwrap(),
            warn_before: 10 * MINUTE,
            timeout: MINUTE,
            max_pause: MINUTE,
            give_up_after: 60 * MINUTE,
        };
        Self { store, coordinator, webhook, running: None }
    }

    /// Starts the couriers.
    async fn start(&mut self) {
        let (sender, posts) = mpsc::unbounded_channel();
        let transport: Arc<dyn Transport> = Arc::new(Fake(Mutex::new(sender)));
        let opened = open(&self.coordinator, vec![self.webhook.clone()], "http://gates.test", &transport).await;
        let (webhooks, couriers) = opened.unwrap();
        let stop = CancellationToken::new();
        let couriers = tokio::spawn(couriers.run(stop.clone()));
        self.running = Some(Running { webhooks, posts, stop, couriers });
    }

    /// Stops them in good order.
    async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        running.stop.cancel();
        running.couriers.await.unwrap().unwrap();
    }

    /// Ends them without letting them save anything.
    fn crash(&mut self) {
        self.running.take().unwrap().couriers.abort();
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    fn webhooks(&self) -> &Webhooks {
        &self.running.as_ref().unwrap().webhooks
    }

    /// Returns the next attempt.
    async fn post(&mut self) -> Post {
        let next = self.running().posts.recv();
        timeout(100 * MINUTE, next).await.expect("nothing is told").expect("the couriers have ended")
    }

    /// Delivers the next message, and says what it told.
    async fn deliver(&mut self) -> String {
        let post = self.post().await;
        let told = post.told();
        post.answer.send(Ok(())).unwrap();
        told
    }

    /// Fails unless nothing is told for so long.
    async fn is_silent_for(&mut self, time: Duration) {
        if let Ok(post) = timeout(time, self.running().posts.recv()).await {
            panic!("told {:?}", post.map(|post| post.told()));
        }
    }

    /// Creates a gate and waits on it.
    async fn wait(&self, gate: &str, timeout: Option<Duration>) {
        let spec = Spec { timeout, ..Spec::default() };
        let waiter = Waiter { id: "w".into(), host: "h".into(), note: String::new(), since: SystemTime::UNIX_EPOCH };
        let query = WaitQuery { gate: name(gate), round: None, uid: None, spec: Some(spec), waiter };
        let mut wait = self.coordinator.wait(&call(), query).await.unwrap();
        wait.next().await.unwrap().unwrap();
    }

    async fn approve(&self, gate: &str) {
        let ballot = Ballot::from(call().caller.identity);
        self.coordinator.approve(&call(), &name(gate), ballot, false).await.unwrap();
    }

    async fn saved(&self) -> Outbox {
        self.store.outbox(&self.webhook.name).await.unwrap().unwrap()
    }
}

/// A clock that follows the paused time of a test.
fn clock() -> Clock {
    let begin = Instant::now();
    Clock::new(SystemTime::UNIX_EPOCH + 1_000_000 * MINUTE, move || begin.elapsed())
}

fn name_of_webhook(text: &str) -> WebhookName {
    WebhookName::parse("name", text).unwrap()
}

fn name(text: &str) -> GateName {
    GateName::parse("gate", text).unwrap()
}

fn call() -> Call {
    Call { caller: Caller::unrestricted(Principal::parse("alice").unwrap().into()), request: None }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_told_what_it_asks_for_in_order() {
    let mut world = World::new();
    world.webhook.prefix = Prefix::parse("prefix", "release-42").unwrap();
    world.webhook.topics = vec![Topic::Resolved];
    world.approve_new("release-42/before").await;
    world.start().await;
    world.approve_new("other").await;
    world.approve_new("release-42/a").await;
    world.approve_new("release-42/a").await;
    let first = world.post().await;
    assert_eq!((first.told().as_str(), &first.body["data"]["event"]["round"]), ("resolved release-42/a", &1.into()));
    // The second round waits for the first.
    world.is_silent_for(MINUTE).await;
    first.answer.send(Ok(())).unwrap();
    let second = world.post().await;
    assert_eq!((second.told().as_str(), &second.body["data"]["event"]["round"]), ("resolved release-42/a", &2.into()));
    second.answer.send(Ok(())).unwrap();
    world.is_silent_for(MINUTE).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_glass_is_told_as_such_and_as_a_resolution_to_who_asks_for_it() {
    let (alone, resolved) = ("break_glass a", "resolved a");
    for (topics, expected) in [
        (vec![Topic::BreakGlass], vec![alone]),
        (vec![Topic::Resolved], vec![resolved]),
        (Topic::ALL.to_vec(), vec![resolved, alone]),
    ] {
        let mut world = World::new();
        world.webhook.topics = topics;
        world.start().await;
        world.coordinator.create(&call(), &name("a"), Spec::default()).await.unwrap();
        let ballot = Ballot { comment: "the site is down".into(), ..Ballot::from(call().caller.identity) };
        let broken = world.coordinator.break_glass(&call(), &name("a"), ballot, false).await.unwrap().gate;
        for expected in expected {
            let post = world.post().await;
            assert_eq!(post.told(), expected);
            assert_eq!(post.body["data"]["event"]["gate"]["resolution"]["cause"], "CAUSE_BREAK_GLASS");
            post.answer.send(Ok(())).unwrap();
        }
        world.is_silent_for(MINUTE).await;
        world.stop().await;
        assert_eq!(world.saved().await.place, broken.revision);
        world.start().await;
        world.is_silent_for(MINUTE).await;
    }
}

impl World {
    /// Approves a gate that is new, or has been reset.
    async fn approve_new(&self, gate: &str) {
        match self.coordinator.get(&Caller::anonymous(), &name(gate), None).await {
            Ok(_) => drop(self.coordinator.reset(&call(), &name(gate)).await.unwrap()),
            Err(_) => drop(self.coordinator.create(&call(), &name(gate), Spec::default()).await.unwrap()),
        }
        self.approve(gate).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_holds_up_no_decision() {
    let mut world = World::new();
    world.start().await;
    for number in 0..100 {
        world.approve_new(&format!("g{number}")).await;
    }
    let hanging: Vec<_> = [world.post().await, world.post().await].into();
    for number in 100..200 {
        world.approve_new(&format!("g{number}")).await;
    }
    let [(_, status)] = &world.webhooks().list().collect::<Vec<_>>()[..] else { panic!() };
    assert!(status.last_success.is_none() && status.last_failure.is_none(), "{status:?}");
    for post in hanging {
        post.answer.send(Ok(())).unwrap();
    }
    for _ in 2..200 {
        world.deliver().await;
    }
    world.is_silent_for(MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_with_the_same_id() {
    let mut world = World::new();
    world.start().await;
    world.approve_new("a").await;
    world.approve_new("a").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let post = world.post().await;
        assert_eq!(post.body["data"]["event"]["round"], 1);
        ids.push(post.id.clone());
        post.fail();
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    world.deliver().await;
    assert_eq!(world.post().await.body["data"]["event"]["round"], 2);
    let (_, status) = world.webhooks().list().next().unwrap();
    assert_eq!(status.last_failure.unwrap().1, "HTTP 500");
    assert_eq!(status.pending, 1);
}
