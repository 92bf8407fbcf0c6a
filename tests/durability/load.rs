//! Clients that change gates, and a journal of what they were told.

use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use futures_util::future::join_all;
use gatepost::client::{Client, Error};
use gatepost::proto::{ApproveRequest, CreateGateRequest, Gate, GetGateRequest, RejectRequest, ResetGateRequest, Spec};
use tonic::Code;

/// How many clients there are: more than one batch of the store has, so that some wait for the next.
pub const CLIENTS: usize = 8;

/// How many gates they share: few, so that they meet.
const GATES: usize = 12;

/// What was asked and answered.
#[derive(Default)]
pub struct Journal(Mutex<Vec<Entry>>);

/// One call.
#[derive(Clone)]
pub struct Entry {
    /// The gate's name.
    pub gate: String,
    /// What was asked.
    pub action: Action,
    /// The comment or the reason of this very call.
    pub tag: String,
    /// What was answered.
    pub answer: Answer,
    /// When.
    pub answered: Option<SystemTime>,
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Approve,
    Reject,
    Reset,
    Get,
}

/// What a client was told.
#[derive(Clone)]
pub enum Answer {
    /// Nothing: it may have happened or not.
    Unknown,
    /// It has happened, and this is the gate.
    Gate(Box<Gate>),
    /// It will not happen.
    Refused,
}

impl Journal {
    /// Reads what was asked and answered so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Says how many changes were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.lock().iter().filter(|entry| entry.action != Action::Get && entry.gate().is_some()).count()
    }

    fn ask(&self, gate: &str, action: Action) -> (usize, String) {
        let mut entries = self.lock();
        let (index, tag) = (entries.len(), format!("{gate} {}", entries.len()));
        entries.push(Entry {
            gate: gate.to_owned(),
            action,
            tag: tag.clone(),
            answer: Answer::Unknown,
            answered: None,
        });
        (index, tag)
    }

    fn answer(&self, index: usize, answer: Result<Gate, Error>) {
        let answer = match answer {
            Ok(gate) => Answer::Gate(Box::new(Gate { waiters: vec![], waiter_count: 0, ..gate })),
            Err(Error::Unreachable { .. }) => Answer::Unknown,
            Err(Error::Refused(refusal)) => match refusal.code {
                Code::Unavailable => Answer::Unknown,
                Code::NotFound | Code::FailedPrecondition => Answer::Refused,
                Code::ResourceExhausted if refusal.reason == "STORE_FULL" => Answer::Refused,
                _ => panic!("an answer that nothing explains: {refusal:?}"),
            },
            Err(error) => panic!("an answer that nothing explains: {error:?}"),
        };
        let mut entries = self.lock();
        entries[index].answer = answer;
        entries[index].answered = Some(SystemTime::now());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap()
    }
}

impl Entry {
    /// The gate that was answered.
    pub fn gate(&self) -> Option<&Gate> {
        match &self.answer {
            Answer::Gate(gate) => Some(gate),
            Answer::Unknown | Answer::Refused => None,
        }
    }
}

/// Changes the gates below a prefix with many clients, until dropped.
pub async fn load(address: &str, prefix: &str, seed: u64, clients: usize, journal: &Journal) {
    join_all((0..clients).map(async |number| {
        let client = Client::new(address).unwrap();
        let mut random = fastrand::Rng::with_seed(seed ^ u64::try_from(number).unwrap());
        loop {
            let gate = format!("{prefix}/{}", random.usize(..GATES));
            let action = match random.u8(..10) {
                0..2 => Action::Create,
                2..5 => Action::Approve,
                5..7 => Action::Reject,
                7..9 => Action::Reset,
                _ => Action::Get,
            };
            call(&client, gate, action, journal).await;
        }
    }))
    .await;
}

async fn call(client: &Client, gate: String, action: Action, journal: &Journal) {
    let (index, tag) = journal.ask(&gate, action);
    let request_id = String::new();
    let answer = match action {
        Action::Create => {
            let spec = Some(Spec { title: gate.clone(), ..Spec::default() });
            client.create(CreateGateRequest { gate, spec, request_id }).await
        }
        Action::Approve => client.approve(ApproveRequest { gate, comment: tag, ..ApproveRequest::default() }).await,
        Action::Reject => client.reject(RejectRequest { gate, reason: tag, ..RejectRequest::default() }).await,
        Action::Reset => client.reset(ResetGateRequest { gate, request_id }).await,
        Action::Get => client.get(GetGateRequest { gate, round: 0 }).await,
    };
    journal.answer(index, answer);
}
