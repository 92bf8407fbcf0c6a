//! The real program: a coordinator as a process, and commands run against it.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::kept;
use crate::kept::etcd::port::Port;

/// A coordinator process, ended when dropped.
pub struct Coordinator {
    process: Ending,
    address: String,
    _port: Port,
    data: PathBuf,
    /// The configuration file, if it has one; its log is beside it then.
    config: Option<PathBuf>,
    /// Kept for as long as the data is needed.
    _home: TempDir,
}

impl Coordinator {
    /// Starts one on a free port, with data of its own.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more flags.
    pub fn start_with(flags: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let port = Port::hold();
        let (process, address) = spawn(serve(&port.address.to_string(), &data).args(flags));
        Self { process, address, _port: port, data, config: None, _home: home }
    }

    /// Starts one on data that is there.
    pub fn on(data: &Path) -> Self {
        let port = Port::hold();
        let (process, address) = spawn(&mut serve(&port.address.to_string(), data));
        Self { process, address, _port: port, data: data.to_owned(), config: None, _home: tempfile::tempdir().unwrap() }
    }

    /// Starts one with a configuration file, which logs all it can to a file.
    pub fn configured(toml: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (data, config) = (home.path().join("data"), home.path().join("gatepost.toml"));
        std::fs::write(&config, toml).unwrap();
        let port = Port::hold();
        let (process, address) = spawn(&mut serve_logged(&port.address.to_string(), &data, &config));
        Self { process, address, _port: port, data, config: Some(config), _home: home }
    }

    /// What one with a configuration file has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.config.as_ref().unwrap().with_extension("log")).unwrap()
    }

    /// Changes its configuration file, has it read again who may call with SIGHUP, and waits until it says what came of it.
    pub fn reload(&self, toml: &str) -> String {
        let told = |log: &str| log.matches("SIGHUP: ").count();
        let before = told(&self.log());
        std::fs::write(self.config.as_ref().unwrap(), toml).unwrap();
        kill_process(Pid::from_child(&self.process.0), Signal::HUP).unwrap();
        loop {
            let log = self.log();
            // The line may be half-written.
            if told(&log) > before
                && let Some((line, _)) = log.rsplit("SIGHUP: ").next().unwrap().split_once('\n')
            {
                return line.to_owned();
            }
            std::thread::yield_now();
        }
    }

    /// Kills it with SIGKILL, and lets `meanwhile` happen before it is started again on the same port and data.
    pub fn crash(&mut self, meanwhile: impl FnOnce()) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
        meanwhile();
        (self.process, self.address) = spawn(&mut match &self.config {
            Some(config) => serve_logged(&self.address, &self.data, config),
            None => serve(&self.address, &self.data),
        });
    }

    /// Ends it with SIGTERM and returns what it ended with.
    pub fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.process.0), Signal::TERM).unwrap();
        self.process.0.wait().unwrap().code()
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
        let mut process = Ending(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let mut told = BufReader::new(process.0.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        assert!(line.contains("waiting"), "it does not wait: {line:?}");
        Waiting { process, told }
    }
}

/// Starts a coordinator and reads where it listens.
fn spawn(command: &mut Command) -> (Ending, String) {
    let (process, said) = ready(command);
    let address = said.split("http://").nth(1).and_then(|rest| rest.split(',').next());
    let address = address.unwrap_or_else(|| panic!("it does not say where it listens: {said:?}")).to_owned();
    (process, address)
}

/// Starts a coordinator and reads the line that it says once it serves.
pub fn ready(command: &mut Command) -> (Ending, String) {
    let mut process = Ending(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut said = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    (process, said)
}

/// Makes one HTTP request, and returns the code and the body of the answer.
pub fn http(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n").unwrap();
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n").unwrap();
    }
    write!(stream, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A process that ends with the test, however that ends.
pub struct Ending(pub Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A worker that waits.
pub struct Waiting {
    process: Ending,
    told: BufReader<ChildStderr>,
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

    /// Interrupts it as Ctrl-C does, and waits for its end.
    pub fn interrupt(self) -> Ran {
        kill_process(Pid::from_child(&self.process.0), Signal::INT).unwrap();
        self.end()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let (mut out, mut err) = (String::new(), String::new());
        self.told.read_to_string(&mut err).unwrap();
        self.process.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        Ran { code: self.process.0.wait().unwrap().code(), out, err }
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
    let mut command = gatepost(&["serve", "--listen", listen]);
    command.args(kept::flags(data));
    command
}

/// One with a configuration file, which logs to a file beside it.
fn serve_logged(listen: &str, data: &Path, config: &Path) -> Command {
    let mut command = serve(listen, data);
    let log = OpenOptions::new().create(true).append(true).open(config.with_extension("log")).unwrap();
    command.arg("--config").arg(config).env("GATEPOST_LOG", "trace,sled=info").stderr(log);
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
