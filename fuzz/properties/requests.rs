//! What holds of any bytes that come as the requests of a few calls: each is refused with a reason, or answered with
//! what is within the bounds and can be asked for again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt};
use gatepost::coordinator::{Caller, Clock, Coordinator, Retention};
use gatepost::grpc::Service;
use gatepost::proto::gate_service_server::GateService;
use gatepost::proto::wait_response::Message as Told;
use gatepost::proto::*;
use gatepost::store::memory::Memory;
use prost::Message;
use tokio::time::{Instant, timeout};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use crate::names::is_name;

/// Calls in one input: more make it slow, and seldom do what fewer do not.
const CALLS_MAX: usize = 12;
/// Messages that are read of a stream.
const MESSAGES_MAX: usize = 4;
/// When nothing more comes of a stream. Time is paused: nobody waits for it.
const SILENCE: Duration = Duration::from_secs(1);
/// A gate with all its votes, with room to spare: what is kept is below 112 KiB.
const GATE_BYTES_MAX: usize = 128 * 1024;
/// A refusal comes in the header of an answer, of which clients take 16 KiB, in letters that take up to three bytes.
const REFUSAL_BYTES_MAX: usize = 16 * 1024 / 3;

/// Reads calls from bytes, and makes them of a coordinator of their own.
///
/// Each call is a byte that chooses the method, two that say how long the request is, lowest first, and the request.
pub fn any_bytes(mut bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let service = start();
        for _ in 0..CALLS_MAX {
            let [method, low, high, rest @ ..] = bytes else { return };
            let (request, rest) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
            call(&service, *method, request).await;
            bytes = rest;
        }
    });
}

/// Writes what [`any_bytes`] reads.
#[allow(dead_code, reason = "only the tests write")]
pub fn write(bytes: &mut Vec<u8>, method: u8, request: &[u8]) {
    let length = u16::try_from(request.len()).unwrap();
    bytes.push(method);
    bytes.extend(length.to_le_bytes());
    bytes.extend(request);
}

fn start() -> Service {
    let begin = Instant::now();
    let clock = Clock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000), move || begin.elapsed());
    let coordinator = Coordinator::new(Arc::new(Memory::new()), clock, Retention::default());
    let running = coordinator.clone();
    tokio::spawn(async move { running.run().await });
    Service::new(coordinator)
}

async fn call(service: &Service, method: u8, bytes: &[u8]) {
    match method % 11 {
        0 => gate(service, service.create_gate(request(bytes)).await).await,
        1 => gate(service, service.get_gate(request(bytes)).await).await,
        2 => {
            let page = answer(service.list_gates(request(bytes)).await);
            for gate in page.iter().flat_map(|page| &page.gates) {
                check(gate);
            }
        }
        3 => drop(answer(service.delete_gate(request(bytes)).await)),
        4 => {
            for response in stream(service.wait(request(bytes)).await).await {
                if let Some(Told::Gate(gate)) = response.message {
                    check(&gate);
                }
            }
        }
        5 => gate(service, service.approve(request(bytes)).await).await,
        6 => gate(service, service.reject(request(bytes)).await).await,
        7 => gate(service, service.reset_gate(request(bytes)).await).await,
        8 => {
            let reset = answer(service.reset_gates(request(bytes)).await);
            for gate in reset.iter().flat_map(|reset| &reset.gates) {
                check(gate);
            }
        }
        9 => {
            for event in stream(service.watch(request(bytes)).await).await.iter().flat_map(|response| &response.events)
            {
                check(event.gate.as_ref().expect("an event has a gate"));
            }
        }
        _ => {
            let page = answer(service.list_events(request(bytes)).await);
            for event in page.iter().flat_map(|page| &page.events) {
                check(event.gate.as_ref().expect("an event has a gate"));
            }
        }
    }
}

/// Bytes that are no such message are refused by the transport. An empty one stands for them.
fn request<M: Message + Default>(bytes: &[u8]) -> Request<M> {
    with_caller(M::decode(bytes).unwrap_or_default())
}

/// A request as it comes to a server that asks nobody who they are.
fn with_caller<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller::anonymous());
    request
}

/// Checks a gate that was answered. To create one with its spec is to ask for the same.
async fn gate(service: &Service, answered: Result<Response<Gate>, Status>) {
    let Some(gate) = answer(answered) else { return };
    check(&gate);
    let again = CreateGateRequest { gate: gate.name.clone(), spec: gate.spec.clone(), ..CreateGateRequest::default() };
    let again = service.create_gate(with_caller(again)).await;
    assert_eq!(again.map(|again| again.into_inner().spec).ok(), Some(gate.spec), "{}", gate.name);
}

/// Reads a stream until nothing more comes.
async fn stream<T, S>(opened: Result<Response<S>, Status>) -> Vec<T>
where
    S: Stream<Item = Result<T, Status>> + Unpin,
{
    let Some(mut stream) = answer(opened) else { return Vec::new() };
    let mut messages = Vec::new();
    while messages.len() < MESSAGES_MAX
        && let Ok(Some(message)) = timeout(SILENCE, stream.next()).await
    {
        messages.extend(answer(message.map(Response::new)));
    }
    messages
}

/// Returns the answer; a refusal has a reason that programs know, and fits where it is sent.
fn answer<T>(answered: Result<Response<T>, Status>) -> Option<T> {
    use Code::{
        Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, PermissionDenied,
        ResourceExhausted,
    };

    let status = match answered {
        Ok(response) => return Some(response.into_inner()),
        Err(status) => status,
    };
    let reason = status.get_details_error_info().expect("a refusal has an ErrorInfo").reason;
    let reasons: &[&str] = match status.code() {
        InvalidArgument => &["INVALID_NAME", "INVALID_SPEC", "INVALID_ARGUMENT", "REQUEST_ID_REUSED"],
        NotFound => &["GATE_NOT_FOUND", "ROUND_NOT_FOUND"],
        AlreadyExists => &["GATE_EXISTS"],
        FailedPrecondition => &["GATE_ALREADY_RESOLVED", "SPEC_CONFLICT", "ROUND_RESET", "TOO_EARLY"],
        PermissionDenied => &["NOT_AN_APPROVER", "OWN_GATE"],
        Aborted => &["ETAG_MISMATCH", "ROUND_MISMATCH", "SUBJECT_CHANGED"],
        OutOfRange => &["REVISION_AHEAD"],
        ResourceExhausted => &["LIMIT_EXCEEDED"],
        _ => &[],
    };
    assert!(reasons.contains(&reason.as_str()), "{reason}: {status:?}");
    let bytes = status.message().len() + status.details().len();
    assert!(bytes < REFUSAL_BYTES_MAX, "{bytes} bytes: {status:?}");
    None
}

fn check(gate: &Gate) {
    assert!(is_name(&gate.name), "{:?}", gate.name);
    assert!(gate.round > 0 && gate.status() != GateStatus::Unspecified, "{gate:?}");
    assert!(gate.encoded_len() < GATE_BYTES_MAX, "{} bytes", gate.encoded_len());
    // What clients without the protos are told, and can tell others.
    let json = to_json(gate).unwrap();
    assert_eq!(&from_json::<Gate>(&json).unwrap(), gate, "{json}");
}
