//! Reflection is enough to use the API: a client that has no proto file finds the service, builds a request and calls.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is a failed test")]

#[path = "support/coordinator.rs"]
mod coordinator;
#[path = "support/dynamic.rs"]
mod dynamic;

use std::collections::BTreeMap;

use coordinator::{Coordinator, ok, refused, within};
use dynamic::DynamicCodec;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ReflectMessage, Value};
use prost_types::FileDescriptorProto;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_types::StatusExt;

const SERVICE: &str = "gatepost.v1.GateService";

#[tokio::test]
async fn a_gate_is_approved_with_nothing_but_reflection_v1() {
    approve_with_reflection("grpc.reflection.v1").await;
}

#[tokio::test]
async fn a_gate_is_approved_with_nothing_but_reflection_v1alpha() {
    approve_with_reflection("grpc.reflection.v1alpha").await;
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let coordinator = Coordinator::start().await;
    let mut reflection = Reflection::new(coordinator.channel(), "grpc.reflection.v1");
    for request in [
        MessageRequest::FileContainingSymbol("gatepost.v1.Other".into()),
        MessageRequest::FileByFilename("gatepost/v1/other.proto".into()),
    ] {
        assert_eq!(reflection.ask(request).await.unwrap_err().code(), Code::NotFound);
    }
}

async fn approve_with_reflection(package: &str) {
    let coordinator = Coordinator::start().await;
    let channel = coordinator.channel();
    let mut reflection = Reflection::new(channel.clone(), package);
    let services = reflection.services().await;
    let itself = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
    for service in [SERVICE, "gatepost.v1.WebhookService", "grpc.health.v1.Health"].iter().chain(&itself) {
        assert!(services.iter().any(|listed| listed == *service), "{service} is not in {services:?}");
    }
    for service in &services {
        let pool = reflection.describe(service).await;
        assert!(pool.get_service_by_name(service).is_some_and(|service| service.methods().len() > 0), "{service}");
    }

    let pool = reflection.describe(SERVICE).await;
    let mut gates = Dynamic { channel, pool };
    let created = ok(gates.call("CreateGate", &[("gate", "release-42/prod")])).await;
    assert_eq!(status_of(&created), "GATE_STATUS_PENDING");
    let approval = [("gate", "release-42/prod"), ("comment", "looks good"), ("on_behalf_of", "alice")];
    let approved = ok(gates.call("Approve", &approval)).await;
    assert_eq!(status_of(&approved), "GATE_STATUS_APPROVED");
    let Value::Message(resolution) = approved.get_field_by_name("resolution").unwrap().into_owned() else {
        panic!("a resolution is a message");
    };
    for (field, value) in [("by", "anonymous"), ("on_behalf_of", "alice"), ("reason", "looks good")] {
        assert_eq!(resolution.get_field_by_name(field).unwrap().as_str(), Some(value));
    }

    let late = refused(gates.call("Reject", &[("gate", "release-42/prod")])).await;
    let info = late.get_details_error_info().unwrap();
    assert_eq!((late.code(), info.reason.as_str()), (Code::FailedPrecondition, "GATE_ALREADY_RESOLVED"));
}

/// Returns the name of a gate's status, as the server describes the enum.
fn status_of(gate: &DynamicMessage) -> String {
    let field = gate.descriptor().get_field_by_name("status").unwrap();
    let number = gate.get_field(&field).as_enum_number().unwrap();
    field.kind().as_enum().unwrap().get_value(number).unwrap().name().to_owned()
}

/// A client of the reflection service. Its messages are the same bytes in v1 and in v1alpha; only the path differs.
struct Reflection {
    channel: Channel,
    path: PathAndQuery,
}

impl Reflection {
    fn new(channel: Channel, package: &str) -> Self {
        let path = format!("/{package}.ServerReflection/ServerReflectionInfo").parse().unwrap();
        Self { channel, path }
    }

    async fn ask(&mut self, request: MessageRequest) -> Result<MessageResponse, Status> {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let codec: ProstCodec<_, ServerReflectionResponse> = ProstCodec::default();
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let call = grpc.streaming(Request::new(tokio_stream::once(request)), self.path.clone(), codec);
        let mut answers = within(call).await?.into_inner();
        let answer = within(answers.message()).await?.expect("an answer to each request");
        match answer.message_response.unwrap() {
            MessageResponse::ErrorResponse(error) => Err(Status::new(error.error_code.into(), error.error_message)),
            response => Ok(response),
        }
    }

    async fn services(&mut self) -> Vec<String> {
        match self.ask(MessageRequest::ListServices(String::new())).await.unwrap() {
            MessageResponse::ListServicesResponse(list) => list.service.into_iter().map(|it| it.name).collect(),
            other => panic!("no list: {other:?}"),
        }
    }

    /// Fetches the file that describes a symbol, and all that it imports.
    async fn describe(&mut self, symbol: &str) -> DescriptorPool {
        let mut files = BTreeMap::new();
        let mut wanted = vec![MessageRequest::FileContainingSymbol(symbol.to_owned())];
        while let Some(request) = wanted.pop() {
            let MessageResponse::FileDescriptorResponse(found) = self.ask(request).await.unwrap() else {
                panic!("no file");
            };
            for bytes in found.file_descriptor_proto {
                let file: FileDescriptorProto = prost::Message::decode(bytes.as_slice()).unwrap();
                let imports = file.dependency.iter().filter(|import| !files.contains_key(*import));
                wanted.extend(imports.cloned().map(MessageRequest::FileByFilename));
                files.insert(file.name().to_owned(), file);
            }
        }
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(files.into_values()).unwrap();
        pool
    }
}

/// Calls the service through its description alone.
struct Dynamic {
    channel: Channel,
    pool: DescriptorPool,
}

impl Dynamic {
    async fn call(&mut self, method: &str, fields: &[(&str, &str)]) -> Result<Response<DynamicMessage>, Status> {
        let service = self.pool.get_service_by_name(SERVICE).unwrap();
        let method: MethodDescriptor = service.methods().find(|it| it.name() == method).expect("the method");
        assert!(!method.is_client_streaming() && !method.is_server_streaming());
        let mut request = DynamicMessage::new(method.input());
        for (field, value) in fields {
            request.set_field_by_name(field, Value::String((*value).to_owned()));
        }
        let path = format!("/{SERVICE}/{}", method.name()).parse().unwrap();
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        grpc.unary(Request::new(request), path, DynamicCodec(method.output())).await
    }
}
