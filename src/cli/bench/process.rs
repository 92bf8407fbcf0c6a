//! A temporary coordinator: a process of its own, so that its memory and its time are its own.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

use crate::cli::failure::Failure;

/// How long it may take to start: far longer than it does with millions of gates.
const START_MAX: Duration = Duration::from_secs(120);

/// Its configuration: what is measured is the coordinator, and not where its limits are.
const CONFIG_FILE: &str = "gatepost.toml";
const CONFIG: &str = "[limits]\nwaiters_per_gate = 10000000\ngates = 0\n";

/// A coordinator that ends, and whose data goes, when this is dropped.
pub(super) struct Temporary {
    // Dropped before the directory that it writes to.
    process: Running,
    address: String,
    home: TempDir,
}

impl Temporary {
    /// Starts one that keeps its data in a new directory in `dir`.
    pub(super) async fn start(dir: &Path) -> Result<Self, Failure> {
        let home = tempfile::Builder::new().prefix("gatepost-bench-").tempdir_in(dir);
        let home = home.map_err(|error| {
            Failure::Here(format!("cannot keep data in {}: {error}; choose another place with --dir", dir.display()))
        })?;
        fs::write(home.path().join(CONFIG_FILE), CONFIG).map_err(|error| failed(&error))?;
        let (process, address) = spawn(home.path()).await?;
        Ok(Self { process, address, home })
    }

    /// Ends it as an operator does, and starts it again on its data.
    pub(super) async fn stop_and_start(&mut self) -> Result<(), Failure> {
        let pid = Pid::from_child(&self.process.0);
        kill_process(pid, Signal::TERM).map_err(|error| failed(&error.into()))?;
        self.start_again().await
    }

    /// Kills it, and starts it again on its data.
    pub(super) async fn kill_and_start(&mut self) -> Result<(), Failure> {
        self.process.0.kill().map_err(|error| failed(&error))?;
        self.start_again().await
    }

    /// Where it listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Where its data is.
    pub(super) fn dir(&self) -> &Path {
        self.home.path()
    }

    /// How much memory it holds now.
    pub(super) fn resident_bytes(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id()));
        let status = status.map_err(|error| Failure::Here(format!("cannot see the coordinator's memory: {error}")))?;
        resident_bytes(&status)
            .ok_or_else(|| Failure::Here("the system does not say how much memory the coordinator holds".to_owned()))
    }

    /// When the process was started that runs now.
    pub(super) fn started(&self) -> Instant {
        self.process.1
    }

    async fn start_again(&mut self) -> Result<(), Failure> {
        tokio::task::block_in_place(|| self.process.0.wait()).map_err(|error| failed(&error))?;
        (self.process, self.address) = spawn(self.home.path()).await?;
        Ok(())
    }
}

/// A process and when it was started.
struct Running(Child, Instant);

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only where the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn spawn(home: &Path) -> Result<(Running, String), Failure> {
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GATEPOST_")) {
        command.env_remove(name);
    }
    command.args(["serve", "--listen", "127.0.0.1:0", "--drain-seconds", "1", "--data-dir"]).arg(home.join("data"));
    command.arg("--config").arg(home.join(CONFIG_FILE));
    command.env("GATEPOST_LOG", "error").stdin(Stdio::null()).stdout(Stdio::piped());

    let started = Instant::now();
    let mut process = Running(command.spawn().map_err(|error| failed(&error))?, started);
    let stdout = process.0.stdout.take().ok_or_else(|| failed(&io::Error::other("it cannot be read")))?;
    let stdout = pipe::Receiver::from_owned_fd(stdout.into()).map_err(|error| failed(&error))?;
    let mut line = String::new();
    let read = tokio::time::timeout(START_MAX, BufReader::new(stdout).read_line(&mut line)).await;
    read.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))).map_err(|error| failed(&error))?;
    let address = address(&line).ok_or_else(|| failed(&io::Error::other("it did not start")))?.to_owned();
    Ok((process, address))
}

/// Reads where it listens from the line that says so.
fn address(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("http://")?;
    rest.split_once(',').map(|(address, _)| address)
}

/// Reads the resident memory from `/proc/<pid>/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn failed(error: &io::Error) -> Failure {
    Failure::Here(format!("the temporary coordinator failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_coordinator_says_is_understood() {
        let line = "gatepost listens on http://127.0.0.1:41234, its data is in /a,b\n";
        assert_eq!(address(line), Some("127.0.0.1:41234"));
        assert_eq!(address(""), None);
    }

    #[test]
    fn the_memory_of_a_process_is_read() {
        assert_eq!(resident_bytes("Name:\tgatepost\nVmHWM:\t  900 kB\nVmRSS:\t  812 kB\n"), Some(812 * 1024));
        assert_eq!(resident_bytes("Name:\tkthreadd\n"), None);
    }
}
