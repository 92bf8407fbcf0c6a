//! How the coordinator starts, and why it does not.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::process::{Coordinator, Ran, ready, serve};

#[test]
fn only_loopback_is_served_without_insecure() {
    let home = tempfile::tempdir().unwrap();
    let refused = Ran::from(serve("0.0.0.0:0", home.path()).output().unwrap());
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(refused.err.contains("--insecure"), "{}", refused.err);
}

#[test]
fn a_second_process_on_the_same_data_refuses_to_start() {
    let coordinator = Coordinator::start();
    let second = Ran::from(serve("127.0.0.1:0", coordinator.data()).output().unwrap());
    assert_eq!((second.code, second.out.as_str()), (Some(1), ""));
    assert!(second.err.contains("in use") && second.err.contains("--data-dir"), "{}", second.err);
}

#[test]
fn a_port_in_use_is_said() {
    let coordinator = Coordinator::start();
    let home = tempfile::tempdir().unwrap();
    let second = Ran::from(serve(coordinator.address(), home.path()).output().unwrap());
    assert_eq!(second.code, Some(1));
    assert!(second.err.contains("in use") && second.err.contains("--listen"), "{}", second.err);
}

#[test]
fn insecure_can_be_told_in_the_environment() {
    let home = tempfile::tempdir().unwrap();
    let told = |insecure: &str| {
        let mut command = serve("0.0.0.0:0", home.path());
        command.env("GATEPOST_INSECURE", insecure);
        command
    };
    for yes in ["1", "true", "yes", "on"] {
        let (_process, said) = ready(&mut told(yes));
        assert!(said.contains("gatepost listens on http://0.0.0.0:"), "{yes}: {said}");
    }
    for (no, code) in [("0", 1), ("false", 1), ("perhaps", 2)] {
        let refused = Ran::from(told(no).output().unwrap());
        assert_eq!(refused.code, Some(code), "{no}: {}", refused.err);
    }
}

#[test]
fn it_may_open_as_many_files_as_the_system_lets_it() {
    let home = tempfile::tempdir().unwrap();
    let program = serve("127.0.0.1:0", home.path());
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -S -n 100 && ulimit -H -n 2000 && exec \"$0\" \"$@\""]);
    limited.arg(program.get_program()).args(program.get_args()).env_remove("GATEPOST_LOG").env_remove("RUST_LOG");
    let (mut process, _) = ready(limited.stderr(Stdio::piped()));
    let mut told = BufReader::new(process.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.any(|line| line.contains("2000 open files are allowed")));
}
