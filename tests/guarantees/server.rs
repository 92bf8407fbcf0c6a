//! The real server, as a process that can be killed, paused and measured.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gatepost::client::Client;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tonic::transport::Endpoint;

use crate::kept::etcd::port::Port;
use crate::process::{Ending, serve};
use crate::support::Gates;

/// A coordinator process with data of its own, ended when dropped.
pub struct Server {
    process: Ending,
    pub address: SocketAddr,
    _port: Port,
    home: TempDir,
    with: fn(&mut Command, &Path),
}

impl Server {
    pub fn start() -> Self {
        Self::start_with(|_, _| {})
    }

    /// Starts one whose command is changed first; the path is that of a directory of its own.
    pub fn start_with(with: fn(&mut Command, &Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = Port::hold();
        let (process, address) = spawn(port.address, home.path(), with);
        Self { process, address, _port: port, home, with }
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        block_in_place(|| {
            self.process.0.kill().unwrap();
            self.process.0.wait().unwrap();
        });
    }

    /// Starts it again after [`Self::kill`], on the same port and data.
    pub fn start_again(&mut self) {
        (self.process, self.address) = spawn(self.address, self.home.path(), self.with);
    }

    /// Ends it with SIGTERM and returns what it said on stderr, if that was kept.
    pub fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let mut said = String::new();
        if let Some(stderr) = &mut self.process.0.stderr {
            block_in_place(|| std::io::Read::read_to_string(stderr, &mut said)).unwrap();
        }
        assert!(block_in_place(|| self.process.0.wait()).unwrap().success());
        said
    }

    /// Stops it as a debugger or an overloaded host does.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let stopped = || ["T", "t"].contains(&self.stat(0).as_str());
        block_in_place(|| while !stopped() {});
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// What it holds in memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it ever held in memory, in KiB.
    pub fn resident_kib_max(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// How long it has computed.
    pub fn cpu(&self) -> Duration {
        // In clock ticks, which Linux tells programs as hundredths of a second.
        let ticks: u64 = [11, 12].iter().map(|field| self.stat(*field).parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn data(&self) -> PathBuf {
        data(self.home())
    }

    /// A connection of its own.
    pub fn gates(&self) -> Gates {
        gates(self.address)
    }

    pub fn client(&self) -> Client {
        Client::new(&self.address.to_string()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.0), signal).unwrap();
    }

    /// A number of its `/proc/PID/status`.
    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// A field of its `/proc/PID/stat`, counted behind its name.
    fn stat(&self, field: usize) -> String {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.0.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(field).unwrap().to_owned()
    }
}

/// A connection of its own to an address, made at the first call.
pub fn gates(address: SocketAddr) -> Gates {
    Gates::new(Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy())
}

fn data(home: &Path) -> PathBuf {
    home.join("data")
}

fn spawn(listen: SocketAddr, home: &Path, with: fn(&mut Command, &Path)) -> (Ending, SocketAddr) {
    let mut command = serve(&listen.to_string(), &data(home));
    command.stdout(Stdio::piped());
    with(&mut command, home);
    block_in_place(|| {
        let mut process = Ending(command.spawn().unwrap());
        let mut said = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.split("://").nth(1).and_then(|rest| rest.split(',').next());
        let address = address.unwrap_or_else(|| panic!("it does not say where it listens: {said:?}"));
        (process, address.parse().unwrap())
    })
}
