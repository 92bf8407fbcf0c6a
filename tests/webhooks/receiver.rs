//! A receiver that takes, fails, hangs or is gone, as a test tells it to, and checks every signature.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::kept::etcd::port::Port;

/// The key that messages are signed with.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// How long anything may take before a test fails: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Take,
    Fail,
    /// It is gone, and says so.
    Refuse,
    Hang,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: String,
    pub body: Value,
    /// Whether it is signed as Standard Webhooks says.
    pub is_signed: bool,
    /// Whether it was answered as delivered.
    pub taken: bool,
}

pub struct Receiver {
    pub address: SocketAddr,
    _port: Port,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

struct Shared {
    mode: watch::Sender<Mode>,
    seen: Mutex<Vec<Request>>,
    /// How many have come.
    count: watch::Sender<usize>,
}

impl Receiver {
    pub async fn start(mode: Mode) -> Self {
        let (mode, count) = (watch::Sender::new(mode), watch::Sender::new(0));
        let shared = Arc::new(Shared { mode, seen: Mutex::default(), count });
        let port = Port::hold();
        let mut receiver = Self { address: port.address, _port: port, shared, serving: None };
        receiver.live().await;
        receiver
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Nothing listens any more, and open connections break.
    pub async fn die(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.abort();
        let _: Result<(), _> = serving.await;
    }

    pub async fn live(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serving = Some(serve(listener, &self.shared));
    }

    /// All that has come.
    pub fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// What was delivered: the first request of each id, in the order of their delivery.
    pub fn taken(&self) -> Vec<Request> {
        let mut taken: Vec<Request> = Vec::new();
        for request in self.seen().into_iter().filter(|request| request.taken) {
            if taken.iter().all(|before| before.id != request.id) {
                taken.push(request);
            }
        }
        taken
    }

    /// Waits until what has come is enough.
    pub async fn until(&self, enough: impl Fn(&Self) -> bool) {
        let mut count = self.shared.count.subscribe();
        let reached = async {
            while !enough(self) {
                count.changed().await.unwrap();
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "not enough: {:#?}", self.seen().iter().map(told).collect::<Vec<_>>());
    }
}

/// Asks again until the answer is yes.
pub async fn until(mut ask: impl FnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let answered = async {
        while !ask() {
            look.tick().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, answered).await.is_ok(), "it never was so");
}

/// Says what a request told: `waiting release-42/prod`.
pub fn told(request: &Request) -> String {
    let kind = request.body["type"].as_str().unwrap().strip_prefix("gate.").unwrap();
    format!("{kind} {}", request.body["data"]["event"]["name"].as_str().unwrap())
}

/// Each is signed, and the same id is the same message.
pub fn check(requests: &[Request]) {
    let mut bodies = BTreeMap::new();
    for Request { id, body, is_signed, .. } in requests {
        assert!(*is_signed && !id.is_empty(), "{body}");
        let first = bodies.entry(id).or_insert(body);
        assert_eq!(*first, body, "{id}");
    }
}

fn serve(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let router = Router::new().fallback(take).with_state(Arc::clone(shared));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let id = headers.get("webhook-id").map(|id| id.to_str().unwrap().to_owned()).unwrap_or_default();
    let is_signed = standardwebhooks::Webhook::new(SECRET).unwrap().verify(&body, &headers).is_ok();
    let number = {
        let mut seen = shared.seen.lock().unwrap();
        seen.push(Request { id, body: serde_json::from_slice(&body).unwrap(), is_signed, taken: false });
        seen.len()
    };
    shared.count.send_modify(|count| *count += 1);
    let mode = *shared.mode.subscribe().wait_for(|mode| *mode != Mode::Hang).await.unwrap();
    match mode {
        Mode::Take | Mode::Hang => {}
        Mode::Fail => return StatusCode::INTERNAL_SERVER_ERROR,
        Mode::Refuse => return StatusCode::GONE,
    }
    shared.seen.lock().unwrap()[number - 1].taken = true;
    shared.count.send_modify(|count| *count += 1);
    StatusCode::NO_CONTENT
}
