//! A real etcd of one member, for the tests of one binary. It ends with them.

#![allow(dead_code, reason = "no binary needs all of it")]

use std::env;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

#[path = "memory.rs"]
pub mod memory;
#[path = "port.rs"]
pub mod port;

use port::Port;

/// How long it may take to start: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs etcd until its standard input ends, with the process that holds the other end, and removes its data then.
const RUN: &str = r#"data=$(mktemp -d) || exit 1
"$@" --data-dir "$data/etcd" </dev/null >/dev/null 2>&1 &
read -r _
kill -9 $!
wait
rm -rf "$data""#;

static MEMBER: OnceLock<Option<Member>> = OnceLock::new();

/// A running member.
pub struct Member {
    /// Where it is reached.
    pub endpoint: String,
    _running: Child,
    _ports: [Port; 2],
}

/// Returns the member of this process; none, which is said, where there is no etcd.
pub fn member_or_skip() -> Option<&'static Member> {
    let member = MEMBER.get_or_init(|| Member::start(&[])).as_ref();
    if member.is_none() {
        println!("SKIPPED, because there is no etcd here: install etcd-server, or put etcd on the PATH");
    }
    member
}

/// Runs etcdctl; none where there is none.
pub fn etcdctl(endpoint: &str, args: &[&str]) -> Option<bool> {
    let mut etcdctl = Command::new("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", endpoint]).args(args);
    Some(etcdctl.stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?.success())
}

/// Returns a prefix that nobody else has.
pub fn prefix() -> String {
    format!("/test-{}/", Uuid::new_v4())
}

impl Member {
    /// Starts one with more flags; none where there is no etcd.
    pub fn start(flags: &[&str]) -> Option<Self> {
        let program = env::var("GATEPOST_TEST_ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let found = Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return None;
        }
        let ports = [Port::hold(), Port::hold()];
        let [endpoint, peer] = [0, 1].map(|at| format!("http://{}", ports[at].address));
        let running = Command::new("sh")
            .args(["-c", RUN, "etcd", &program, "--name", "test"])
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("test={peer}")])
            .args(flags)
            // A slow disk would have calls fail that are made once.
            .env("TMPDIR", memory::or_disk())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while !is_healthy(ports[0].address) {
            assert!(begin.elapsed() < PATIENCE, "etcd does not start");
            thread::yield_now();
        }
        Some(Self { endpoint, _running: running, _ports: ports })
    }
}

/// Says whether a member answers, and has a leader.
fn is_healthy(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.contains(r#""health":"true""#))
    };
    ask().unwrap_or(false)
}
