//! Requests that no honest client makes: each is refused, changes nothing and hurts nobody.

use gatepost::proto::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use prost::encoding::encode_varint;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::chance::times;
use crate::names::is_name;
use crate::server::Server;
use crate::support::{approve, create, list, ok, refused, wait_with, within};

/// A request whose first field, the gate or the prefix, is any bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct Raw {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
}

/// An `ApproveRequest` whose inputs hold any bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct Approval {
    #[prost(string, tag = "1")]
    gate: String,
    #[prost(message, tag = "6")]
    inputs: Option<Entries>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entries {
    #[prost(message, repeated, tag = "1")]
    fields: Vec<Entry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// Makes a call about a gate or a prefix of any bytes.
async fn call(channel: &Channel, method: &'static str, name: &[u8]) -> Result<(), Status> {
    call_with(channel, method, Raw { name: name.to_vec() }).await
}

/// Makes a call. What it answers, if it answers, is of no interest.
async fn call_with<T: Message + 'static>(channel: &Channel, method: &'static str, request: T) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static(method);
    let codec = ProstCodec::<T, Raw>::default();
    let mut stream = grpc.server_streaming(Request::new(request), path, codec).await?.into_inner();
    stream.message().await.map(drop)
}

const CREATE: &str = "/gatepost.v1.GateService/CreateGate";
const METHODS: [&str; 12] = [
    CREATE,
    "/gatepost.v1.GateService/GetGate",
    "/gatepost.v1.GateService/ListGates",
    "/gatepost.v1.GateService/DeleteGate",
    "/gatepost.v1.GateService/Wait",
    "/gatepost.v1.GateService/Approve",
    "/gatepost.v1.GateService/Reject",
    "/gatepost.v1.GateService/ResetGate",
    "/gatepost.v1.GateService/ResetGates",
    "/gatepost.v1.GateService/Watch",
    "/gatepost.v1.GateService/ListEvents",
    "/gatepost.v1.GateService/ReportEvidence",
];

#[test]
fn every_call_is_tried() {
    let pool = prost_reflect::DescriptorPool::decode(DESCRIPTOR_SET).unwrap();
    let service = pool.get_service_by_name("gatepost.v1.GateService").unwrap();
    let mut methods: Vec<_> =
        service.methods().map(|method| format!("/{}/{}", service.full_name(), method.name())).collect();
    let mut tried = METHODS;
    methods.sort();
    tried.sort_unstable();
    assert_eq!(methods, tried);
}

/// Any text, and text that is nearly a name.
fn texts() -> impl Strategy<Value = String> {
    let near = proptest::collection::vec("[A-Za-z0-9._-]{0,70}", 0..10).prop_map(|segments| segments.join("/"));
    let odd = "[a-c0./_\\-\u{0}\u{202e}é ]{0,20}";
    prop_oneof![any::<String>(), near, odd, "[a-z0-9][a-z0-9._-]{0,62}(/[a-z0-9][a-z0-9._-]{0,20}){0,7}"]
}

fn runner(default: usize) -> TestRunner {
    let cases = u32::try_from(times("NAMES", default)).unwrap();
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_names_are_refused_by_every_call_and_change_nothing() {
    let server = Server::start();
    let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect_lazy();
    let long = "x".repeat(300);
    let deep = ["a"; 9].join("/");
    let texts = [
        "../etc/passwd",
        "a/../b",
        "a\0b",
        "\0",
        "a\u{202e}b",
        "\u{feff}a",
        "a//b",
        "/a",
        "a b",
        "é",
        ".",
        "-a",
        "a\nb",
        "a\u{1b}[2J",
        "a/b//",
        "%2e%2e",
        "a\\b",
        &long,
        &deep,
    ];
    let names = texts.into_iter().map(str::as_bytes).chain([b"\xff\xfe".as_slice(), b"a\xc0\xafb", b"a/\xed\xa0\x80"]);
    for name in names {
        for method in METHODS {
            let status = within(call(&channel, method, name)).await.expect_err(method);
            let shown = name.escape_ascii();
            // What is not even text cannot be read as a message.
            let reason = if std::str::from_utf8(name).is_ok() { "INVALID_NAME" } else { "INVALID_MESSAGE" };
            assert_eq!(status.code(), Code::InvalidArgument, "{method} {shown}: {status:?}");
            assert_eq!(status.get_details_error_info().unwrap().reason, reason, "{method} {shown}");
        }
    }
    check_unchanged(&server).await;
}

#[test]
fn any_bytes_as_a_name_make_that_gate_or_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::start();
        let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect_lazy();
        let bytes = prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), texts().prop_map(String::into_bytes)];
        let tried = tokio::task::block_in_place(|| {
            runner(300).run(&bytes, |name| {
                let made = tokio::runtime::Handle::current().block_on(within(call(&channel, CREATE, &name)));
                let is_name = std::str::from_utf8(&name).is_ok_and(is_name);
                prop_assert_eq!(made.is_ok(), is_name, "{:?}", made);
                Ok(())
            })
        });
        tried.unwrap();
        let listed = server.client().list(list("")).await.unwrap();
        assert!(listed.gates.iter().all(|gate| is_name(&gate.name)));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_5_mib_is_refused_and_others_are_served_on_the_same_connection() {
    let server = Server::start();
    let mut gates = server.gates();
    let spec = Spec { description: "x".repeat(5 * 1024 * 1024), ..Spec::default() };
    let large = CreateGateRequest { spec: Some(spec.clone()), ..create("a") };
    for status in [
        refused(gates.create_gate(large.clone())).await,
        refused(gates.wait(wait_with("a", spec))).await,
        refused(gates.create_gate(large)).await,
    ] {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "LIMIT_EXCEEDED");
    }
    check_unchanged(&server).await;
    ok(gates.create_gate(create("a"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_nested_10_000_deep_are_refused() {
    const DEPTH: usize = 10_000;
    // A list in a list, from the inside out: google.protobuf.Value has its list in field 6, a list its values in field 1.
    let field = |number: u8, content: &[u8]| {
        let mut bytes = vec![number << 3 | 2];
        encode_varint(content.len().try_into().unwrap(), &mut bytes);
        [bytes.as_slice(), content].concat()
    };
    let value = (1..DEPTH).fold(field(6, &[]), |value, _| field(6, &field(1, &value)));
    let entry = Entry { key: "a".into(), value };
    let request = Approval { gate: "a".into(), inputs: Some(Entries { fields: vec![entry] }) };
    assert!(request.encoded_len() < 128 * 1024, "it is refused for its size");

    let server = Server::start();
    let mut gates = server.gates();
    ok(gates.create_gate(create("a"))).await;
    let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect_lazy();
    let status = within(call_with(&channel, "/gatepost.v1.GateService/Approve", request)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "INVALID_MESSAGE");

    let json = format!(r#"{{"inputs":{{"a":{}{}}}}}"#, "[".repeat(DEPTH), "]".repeat(DEPTH));
    assert!(from_json::<ApproveRequest>(&json).unwrap_err().to_string().contains("recursion limit"));
    assert_eq!(ok(gates.approve(approve("a"))).await.status(), GateStatus::Approved);
}

async fn check_unchanged(server: &Server) {
    let mut gates = server.gates();
    assert_eq!(ok(gates.list_gates(list(""))).await.gates, Vec::new());
    assert_eq!(ok(gates.list_events(ListEventsRequest::default())).await.events, Vec::new());
}
