//! A coordinator that asks who calls, and those who call it.

use std::fmt::Write;

use gatepost::auth::TokenDigest;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use tempfile::TempDir;
use tonic::client::Grpc;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use gatepost::proto::gate_service_client::GateServiceClient;

use crate::authority::Authority;
use crate::coordinator::{Coordinator, create, get, ok, within};
use crate::dynamic::DynamicCodec;
use crate::issuer::{AUDIENCE, ISSUER, Issuer};

/// Whose grants are on what; each has a token that is called like them.
const GRANTS: &str = "
    [[grant]]
    to = ['viewer']
    roles = ['viewer']
    on = ['m']
    [[grant]]
    to = ['worker', 'spiffe://test/worker']
    roles = ['worker']
    on = ['m']
    [[grant]]
    to = ['approver', 'group:approvers']
    roles = ['approver']
    on = ['m']
    [[grant]]
    to = ['admin']
    roles = ['admin']
    on = ['m']
    [[grant]]
    to = ['elsewhere']
    roles = ['admin']
    on = ['other', 'm-too', 'x/m']
    break_glass = true
    [[grant]]
    to = ['root']
    roles = ['admin']
    on = ['**']
    break_glass = true
    [[grant]]
    to = ['both']
    roles = ['worker', 'approver']
    on = ['m']
    [[grant]]
    to = ['partial']
    roles = ['viewer']
    on = ['m']
    [[grant]]
    to = ['partial']
    roles = ['worker']
    on = ['m/b']
    [[grant]]
    to = ['late', 'gone']
    roles = ['admin']
    on = ['**']
    break_glass = true
";

/// Those of the matrix who have a token.
const PRINCIPALS: [&str; 6] = ["viewer", "worker", "approver", "admin", "elsewhere", "root"];
/// Others who have one.
const MORE_PRINCIPALS: [&str; 2] = ["both", "partial"];
/// Whose token is withdrawn.
const GONE: &str = "gone";

/// The coordinator, and what proves who somebody is.
pub struct World {
    pub coordinator: Coordinator,
    pub issuer: Issuer,
    servers: Authority,
    clients: Authority,
    files: TempDir,
}

/// Somebody who calls.
#[derive(Clone)]
pub struct Somebody {
    /// What to call them where a test fails.
    pub name: String,
    /// As which of those who have grants they should be treated; none: nobody knows them.
    pub known_as: Option<&'static str>,
    bearer: Option<String>,
    certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl Somebody {
    fn new(name: &str, known_as: Option<&'static str>) -> Self {
        Self { name: name.to_owned(), known_as, bearer: None, certificate: None }
    }

    pub fn with_bearer(self, bearer: impl Into<String>) -> Self {
        Self { bearer: Some(bearer.into()), ..self }
    }

    /// Says what of HTTP's headers proves who they are.
    pub fn authorization(&self) -> Option<String> {
        self.bearer.as_ref().map(|bearer| format!("Bearer {bearer}"))
    }
}

/// Somebody with the token of a principal.
pub fn of(principal: &'static str) -> Somebody {
    Somebody::new(principal, Some(principal)).with_bearer(token(principal))
}

/// Somebody whose certificate is of another root.
pub fn stranger() -> Somebody {
    let certificate = Some(Authority::new().workload("spiffe://test/worker"));
    Somebody { certificate, ..Somebody::new("a certificate of another root", None) }
}

/// The token of a principal.
pub fn token(principal: &str) -> String {
    format!("gp_test_token_of_{principal}")
}

impl World {
    pub async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let (issuer, servers, clients) = (Issuer::new(), Authority::new(), Authority::new());
        let (cert, key) = servers.server();
        let write = |name: &str, bytes: &[u8]| std::fs::write(files.path().join(name), bytes).unwrap();
        write("cert.pem", &cert);
        write("key.pem", &key);
        write("clients.pem", &clients.pem());
        write("jwks.json", issuer.jwks().as_bytes());
        let coordinator = Coordinator::start_with(&configuration(&files, &[])).await;
        let world = Self { coordinator, issuer, servers, clients, files };
        let mut root = world.gates(&of("root"));
        for gate in ["m/a", "m/b/c", "other/a"] {
            ok(root.create_gate(create(gate))).await;
        }
        // Its token was known when it was called with.
        ok(world.gates(&of(GONE)).get_gate(get("m/a"))).await;
        world.reload_without(&[GONE]).unwrap();
        world
    }

    /// Withdraws tokens; others that were withdrawn before are known again.
    pub fn reload_without(&self, principals: &[&str]) -> Result<(), String> {
        self.coordinator.reload(&configuration(&self.files, principals))
    }

    /// Changes the configuration as it was at the start.
    pub fn reload(&self, change: impl FnOnce(String) -> String) -> Result<(), String> {
        self.coordinator.reload(&change(configuration(&self.files, &[])))
    }

    /// Everybody there is.
    pub fn everybody(&self) -> Vec<Somebody> {
        let known = PRINCIPALS.iter().map(|principal| of(principal));
        let others = Issuer::new();
        let more = [
            Somebody::new("a JWT of the approvers' group", Some("approver"))
                .with_bearer(self.issuer.jwt("ann", &["approvers"])),
            Somebody::new("a JWT without groups", Some("elsewhere")).with_bearer(self.issuer.jwt("ann", &[])),
            Somebody {
                certificate: Some(self.clients.workload("spiffe://test/worker")),
                ..Somebody::new("a worker's certificate", Some("worker"))
            },
            Somebody {
                certificate: Some(self.clients.workload("spiffe://test/worker")),
                ..Somebody::new("a wrong token beside a worker's certificate", None).with_bearer("gp_wrong")
            },
            Somebody {
                certificate: Some(self.clients.client("root")),
                ..Somebody::new("a certificate without URI", None)
            },
            Somebody::new("nobody", None),
            Somebody::new("an unknown token", None).with_bearer("gp_0123456789"),
            Somebody::new("a digest for a token", None).with_bearer(TokenDigest::of(&token("root")).to_hex()),
            Somebody::new("a token that was withdrawn", None).with_bearer(token(GONE)),
            Somebody::new("a token that has expired", None).with_bearer(token("late")),
            Somebody::new("a JWT that has expired", None).with_bearer(self.issuer.expired("root", &["approvers"])),
            Somebody::new("a JWT that another signed", None).with_bearer(others.jwt("root", &["approvers"])),
        ];
        known.chain(more).collect()
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.coordinator.address().port())
    }

    pub fn channel(&self, of: &Somebody) -> Channel {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.servers.pem()));
        if let Some((cert, key)) = &of.certificate {
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        Endpoint::from_shared(self.url()).unwrap().tls_config(tls).unwrap().connect_lazy()
    }

    pub fn gates(&self, of: &Somebody) -> GateServiceClient<InterceptedService<Channel, Shows>> {
        GateServiceClient::with_interceptor(self.channel(of), Shows(of.authorization()))
    }

    pub fn http(&self, of: &Somebody) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(&self.servers.pem()).unwrap();
        let mut builder = reqwest::Client::builder().tls_certs_only([root]);
        if let Some((cert, key)) = &of.certificate {
            builder = builder.identity(reqwest::Identity::from_pem(&[key.as_slice(), cert].concat()).unwrap());
        }
        builder.build().unwrap()
    }

    /// Makes any call, and returns what it answers first.
    pub async fn call(
        &self,
        of: &Somebody,
        channel: &Channel,
        method: &MethodDescriptor,
        json: &str,
    ) -> Result<DynamicMessage, Status> {
        let message =
            DynamicMessage::deserialize(method.input(), &mut serde_json::Deserializer::from_str(json)).unwrap();
        let mut request = Request::new(message);
        if let Some(authorization) = of.authorization() {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse().unwrap();
        let mut grpc = Grpc::new(channel.clone());
        within(grpc.ready()).await.map_err(|error| Status::unavailable(error.to_string()))?;
        // Of a call that answers once, that is the stream.
        let answers = within(grpc.server_streaming(request, path, DynamicCodec(method.output()))).await?;
        let first = within(answers.into_inner().message()).await?;
        Ok(first.unwrap_or_else(|| DynamicMessage::new(method.output())))
    }
}

/// Shows who calls with every call.
#[derive(Clone)]
pub struct Shows(Option<String>);

impl Interceptor for Shows {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.0 {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        Ok(request)
    }
}

/// How a call ended, as far as who called matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Let {
    /// It was looked at.
    In,
    /// Somebody called who may not do it.
    Denied,
    /// Nobody knows who called.
    Unknown,
}

impl Let {
    pub fn of(answer: Result<&DynamicMessage, &Status>) -> Self {
        let Err(status) = answer else { return Self::In };
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        match (status.code(), reason.as_str()) {
            (Code::Unauthenticated, "UNAUTHENTICATED") => Self::Unknown,
            (Code::PermissionDenied, "PERMISSION_DENIED") => Self::Denied,
            // The gate itself refuses them.
            (Code::PermissionDenied, "OWN_GATE" | "NOT_AN_APPROVER") => Self::In,
            (
                Code::Unauthenticated
                | Code::PermissionDenied
                | Code::Unavailable
                | Code::Internal
                | Code::Unimplemented,
                _,
            ) => {
                panic!("{status:?}")
            }
            _ => Self::In,
        }
    }
}

/// All that is served over gRPC.
pub fn services() -> DescriptorPool {
    let mut pool = DescriptorPool::new();
    for set in [
        gatepost::proto::DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ] {
        pool.decode_file_descriptor_set(set).unwrap();
    }
    pool
}

/// A configuration in which these have no token.
fn configuration(files: &TempDir, without: &[&str]) -> String {
    let path = |name: &str| files.path().join(name).display().to_string();
    let mut text = format!(
        "[tls]\ncert = '{}'\nkey = '{}'\nclient_ca = '{}'\nclient_optional = true\n[certificates]\n\
         [jwt]\nissuer = '{ISSUER}'\naudience = '{AUDIENCE}'\njwks_file = '{}'\n{GRANTS}",
        path("cert.pem"),
        path("key.pem"),
        path("clients.pem"),
        path("jwks.json"),
    );
    let principals = PRINCIPALS.iter().chain(&MORE_PRINCIPALS).chain([&GONE]);
    for principal in principals.filter(|principal| !without.contains(principal)) {
        write!(
            text,
            "[[token]]\nprincipal = '{principal}'\nsha256 = '{}'\n",
            TokenDigest::of(&token(principal)).to_hex()
        )
        .unwrap();
    }
    let late = TokenDigest::of(&token("late")).to_hex();
    text + &format!("[[token]]\nprincipal = 'late'\nsha256 = '{late}'\nexpires = 2020-01-01T00:00:00Z\n")
}
