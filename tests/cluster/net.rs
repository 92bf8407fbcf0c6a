//! Hosts on a network of their own: each a network namespace, on a bridge that stands in one too, so that no rule of this
//! machine comes between them.

use std::env;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio, id};

/// What the names of namespaces begin with; the process that made them follows.
const NAMES: &str = "gatepost-test-";

/// A network, taken away when dropped. What runs in it has to be ended first.
pub struct Net {
    hosts: u8,
}

impl Net {
    /// Makes a network, or says why there can be none.
    pub fn new(hosts: u8) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may make networks".to_owned());
        }
        run("iptables", &["--version"])?;
        remove_leftovers()?;
        let net = Self { hosts };
        net.make().map(|()| net)
    }

    fn make(&self) -> Result<(), String> {
        let switch = &switch();
        run("ip", &["netns", "add", switch])?;
        run("ip", &["-n", switch, "link", "add", "bridge", "type", "bridge"])?;
        run("ip", &["-n", switch, "link", "set", "bridge", "up"])?;
        let plug = |port: &str| run("ip", &["-n", switch, "link", "set", port, "master", "bridge", "up"]);
        for host in 0..self.hosts {
            let (name, port) = (&namespace(host), &format!("host{host}"));
            run("ip", &["netns", "add", name])?;
            run("ip", &["-n", name, "link", "set", "lo", "up"])?;
            run("ip", &["-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", switch])?;
            run("ip", &["-n", name, "addr", "add", &format!("{}/24", address(host)), "dev", "eth0"])?;
            run("ip", &["-n", name, "link", "set", "eth0", "up"])?;
            plug(port)?;
        }
        let own = &own_link();
        run("ip", &["link", "add", own, "type", "veth", "peer", "name", "test", "netns", switch])?;
        run("ip", &["addr", "add", &format!("{}/24", at(1)), "dev", own])?;
        run("ip", &["link", "set", own, "up"])?;
        plug("test").map(drop)
    }

    /// A command that runs on a host, without anything of this process's environment that would change what it does.
    pub fn command(&self, host: u8, program: &Path) -> Command {
        assert!(host < self.hosts);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace(host)]).arg(program).stdin(Stdio::null());
        for (name, _) in env::vars().filter(|(name, _)| name.starts_with("GATEPOST_") || name.starts_with("ETCD")) {
            command.env_remove(name);
        }
        command
    }

    /// Loses what the processes of a host say on their connections to a port, and what they are told there.
    pub fn cut_from(&self, host: u8, port: u16) -> Cut {
        assert!(host < self.hosts);
        Cut::new(host, &[("OUTPUT", "--dport", port), ("INPUT", "--sport", port)])
    }

    /// Loses what a host is told on its own port, and what it answers there.
    pub fn cut_off(&self, host: u8, port: u16) -> Cut {
        assert!(host < self.hosts);
        Cut::new(host, &[("INPUT", "--dport", port), ("OUTPUT", "--sport", port)])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // The other end goes with it.
        let link = run("ip", &["link", "del", &own_link()]);
        let hosts = (0..self.hosts).map(namespace).chain([switch()]).map(|name| run("ip", &["netns", "del", &name]));
        for problem in std::iter::once(link).chain(hosts).filter_map(Result::err) {
            eprintln!("left behind: {problem}");
        }
    }
}

/// Packets that a host loses, without anybody being told, until this is dropped.
pub struct Cut {
    host: u8,
    rules: Vec<[String; 4]>,
}

impl Cut {
    fn new(host: u8, rules: &[(&str, &str, u16)]) -> Self {
        let rules = rules.iter().map(|&(chain, side, port)| [chain, "tcp", side, &port.to_string()].map(str::to_owned));
        let cut = Self { host, rules: rules.collect() };
        cut.change("--append").unwrap();
        cut
    }

    fn change(&self, how: &str) -> Result<(), String> {
        let namespace = namespace(self.host);
        for [chain, protocol, side, port] in &self.rules {
            let rule = ["iptables", "--wait", how, chain, "--protocol", protocol, side, port, "--jump", "DROP"];
            run("ip", &[&["netns", "exec", &namespace], &rule[..]].concat())?;
        }
        Ok(())
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Err(problem) = self.change("--delete") {
            eprintln!("still cut: {problem}");
        }
    }
}

/// Returns the address of a host.
pub fn address(host: u8) -> Ipv4Addr {
    at(10 + host)
}

/// Returns an address in the network of this process: one of 512 for measuring networks, which nobody is reached at.
fn at(last: u8) -> Ipv4Addr {
    let [_, _, high, low] = (id() % 512).to_be_bytes();
    Ipv4Addr::new(198, 18 + high, low, last)
}

fn namespace(host: u8) -> String {
    format!("{NAMES}{}-{host}", id())
}

fn switch() -> String {
    format!("{NAMES}{}-switch", id())
}

fn own_link() -> String {
    format!("gatepost{}", id() % 10_000_000)
}

/// Removes the networks of processes that were killed, with what still runs in them.
fn remove_leftovers() -> Result<(), String> {
    let namespaces = run("ip", &["netns", "list"])?;
    for name in namespaces.lines().filter_map(|line| line.split(' ').next()) {
        let owner = name.strip_prefix(NAMES).and_then(|rest| rest.split('-').next());
        // Of a process that has ended, but that nobody has asked how, there is no program.
        if owner.is_none_or(|owner| Path::new("/proc").join(owner).join("exe").read_link().is_ok()) {
            continue;
        }
        for process in run("ip", &["netns", "pids", name])?.lines() {
            run("kill", &["-KILL", process])?;
        }
        run("ip", &["netns", "del", name])?;
    }
    Ok(())
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let failed = |why: &str| format!("{program} {}: {why}", arguments.join(" "));
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(&error.to_string()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(failed(&text(&output.stderr))) }
}
