//! The real program as a process that is treated badly.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A coordinator process, killed when dropped.
pub struct Server {
    /// The process. Its standard error is for the caller to take, if the command pipes it.
    pub process: Child,
    /// Where it listens, as `host:port`.
    pub address: String,
}

impl Server {
    /// Starts one on a free port, and returns once it serves.
    pub fn start(data: &Path) -> Self {
        Self::start_as(&mut serve(&[], data)).unwrap()
    }

    /// Starts a command that serves, and returns once it does. An error says how it ended instead.
    pub fn start_as(command: &mut Command) -> Result<Self, String> {
        let process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut server = Self { process, address: String::new() };
        let mut said = String::new();
        BufReader::new(server.process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        match said.split("http://").nth(1).and_then(|rest| rest.split(',').next()) {
            Some(address) => address.clone_into(&mut server.address),
            None => return Err(format!("it does not serve: {}", server.process.wait().unwrap())),
        }
        Ok(server)
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A coordinator on a free port to be started, under another program if `under` names one.
pub fn serve(under: &[&str], data: &Path) -> Command {
    let words = [under, &[env!("CARGO_BIN_EXE_gatepost"), "serve", "--listen", "127.0.0.1:0", "--data-dir"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(data).stdin(Stdio::null());
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("GATEPOST_")) {
        command.env_remove(name);
    }
    command.env("GATEPOST_LOG", "warn");
    command
}
