//! The real program: a coordinator as a process, and commands run against it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A coordinator process, killed when dropped.
pub struct Coordinator {
    process: Child,
    address: String,
    data: PathBuf,
    /// Kept for as long as the data is needed.
    _home: Option<TempDir>,
}

impl Coordinator {
    /// Starts one on a free port, with data of its own.
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut started = Self::start_at("127.0.0.1:0", &home.path().join("data"));
        started._home = Some(home);
        started
    }

    fn start_at(listen: &str, data: &Path) -> Self {
        let mut process = serve(listen, data).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.split("http://").nth(1).and_then(|rest| rest.split(',').next());
        let address = address.unwrap_or_else(|| panic!("it does not say where it listens: {said:?}")).to_owned();
        Self { process, address, data: data.to_owned(), _home: None }
    }

    /// Kills it with SIGKILL, and lets `meanwhile` happen before it is started again on the same port and data.
    pub fn crash(&mut self, meanwhile: impl FnOnce()) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        meanwhile();
        let again = Self::start_at(&self.address, &self.data);
        let home = self._home.take();
        *self = Self { _home: home, ..again };
    }

    /// Ends it with SIGTERM and returns what it ended with.
    pub fn stop(mut self) -> Option<i32> {
        rustix::process::kill_process(pid(&self.process), rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap().code()
    }

    /// The directory of its data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its address, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A command that talks to it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = gatepost(arguments);
        command.env("GATEPOST_SERVER", &self.address);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// Starts `gatepost wait` and returns once it waits.
    pub fn wait(&self, arguments: &[&str]) -> Waiting {
        let mut command = self.command(&[&["wait"], arguments].concat());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        assert!(line.contains("waiting"), "it does not wait: {line:?}");
        Waiting { process, told }
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        // It has ended already where the test stopped it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A worker that waits.
pub struct Waiting {
    process: Child,
    told: BufReader<std::process::ChildStderr>,
}

impl Waiting {
    /// Reads what it tells until a line has `text`.
    pub fn until_told(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.told.read_line(&mut line).unwrap(), 0, "it ended without telling {text:?}");
        }
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let mut err = String::new();
        self.told.read_to_string(&mut err).unwrap();
        Ran { err, ..Ran::from(self.process.wait_with_output().unwrap()) }
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A coordinator to be started.
pub fn serve(listen: &str, data: &Path) -> Command {
    let mut command = gatepost(&["serve", "--listen", listen, "--data-dir"]);
    command.arg(data);
    command
}

/// A command without anything of this process's environment that would change what it does.
pub fn gatepost(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GATEPOST_")) {
        command.env_remove(name);
    }
    command
}

fn pid(process: &Child) -> rustix::process::Pid {
    rustix::process::Pid::from_child(process)
}
