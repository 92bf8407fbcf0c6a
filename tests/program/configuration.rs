//! Configuration files that are checked before they are served with, and tokens.

use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{Coordinator, Ran, gatepost, http};

/// How long what was logged may take to be written: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory to run in, with a file in it.
fn with_file(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("gatepost.toml"), text).unwrap();
    dir
}

fn check(dir: &TempDir, environment: &[(&str, &str)]) -> Ran {
    let mut command = gatepost(&["check-config", "gatepost.toml"]);
    Ran::from(command.current_dir(dir).envs(environment.iter().copied()).output().unwrap())
}

fn make_token(arguments: &[&str]) -> Ran {
    Ran::from(gatepost(&[&["token", "new", "--principal"], arguments].concat()).output().unwrap())
}

#[test]
fn the_example_is_right_once_its_certificates_are_there() {
    let dir = with_file(include_str!("../../examples/gatepost.toml"));
    let missing = check(&dir, &[]);
    assert_eq!((missing.code, missing.out.as_str()), (Some(1), ""), "{}", missing.err);
    assert!(missing.err.starts_with("error: certs/") && missing.err.contains("cannot be read"), "{}", missing.err);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/certificates.sh");
    let made = Command::new(script).args(["certs", "alice"]).current_dir(&dir).output();
    if !made.is_ok_and(|made| made.status.success()) {
        println!("SKIPPED: no certificates can be made without bash and openssl");
        return;
    }
    let right = check(&dir, &[]);
    assert_eq!((right.code, right.err.as_str()), (Some(0), ""));
    assert_eq!(
        right.out,
        "gatepost.toml can be served with\n\
         listens on 127.0.0.1:7070 with TLS, for clients with a certificate; its data is in gatepost-data\n\
         callers: 1 tokens, of which 0 have expired, certificates, JWTs of https://id.example.org\n\
         2 members of groups, 2 grants, 1 rules, 1 webhooks\n"
    );
    assert!(!dir.path().join("gatepost-data").exists(), "nothing is made");
}

#[test]
fn all_that_is_wrong_is_told_one_a_line() {
    let dir = with_file("public_url = 'here'\n[tls]\ncert = 'c'\n[[webhook]]\nname = 'w'\nsecret = 'whsec_s3cret'\n");
    let wrong = check(&dir, &[]);
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(1), ""));
    let told: Vec<_> = wrong.err.lines().collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().all(|line| line.starts_with("error: ") && !line.contains("s3cret")), "{told:?}");
    let place = check(&with_file("[server]\n\nlisten = 'here'\n"), &[]);
    assert!(place.err.contains("gatepost.toml is no configuration of gatepost: line 3: listen: "), "{}", place.err);
}

#[test]
fn a_file_is_checked_as_it_would_be_served_with_here() {
    let dir = with_file("");
    let fine = check(&dir, &[]);
    assert!(fine.code == Some(0) && fine.out.contains("everybody is anonymous"), "{} {}", fine.out, fine.err);
    let open = check(&dir, &[("GATEPOST_LISTEN", "0.0.0.0:7070")]);
    assert!(open.code == Some(1) && open.err.contains("--insecure"), "{}", open.err);
    let insecure = check(&dir, &[("GATEPOST_LISTEN", "0.0.0.0:7070"), ("GATEPOST_INSECURE", "yes")]);
    assert!(
        insecure.code == Some(0) && insecure.err.contains("everybody who reaches 0.0.0.0:7070"),
        "{}",
        insecure.err
    );
    let malformed = check(&dir, &[("GATEPOST_LISTEN", "here")]);
    assert!(malformed.code == Some(2) && malformed.err.contains("here"), "{}", malformed.err);
    let keys = "[jwt]\nissuer = 'https://id.test'\naudience = 'a'\njwks_file = 'keys.json'\n";
    let missing = check(&with_file(keys), &[]);
    assert!(missing.code == Some(1) && missing.err.contains("keys.json cannot be read"), "{}", missing.err);
}

#[test]
fn a_token_is_made_with_the_table_that_makes_it_known() {
    let made = make_token(&["alice", "--group", "ops", "--group", "it's", "--expires", "90d"]);
    assert_eq!((made.code, made.out.lines().count()), (Some(0), 1), "{}", made.err);
    let token = made.out.trim();
    assert!(token.starts_with("gp_") && !made.err.contains(token), "the table does not tell the token");
    // All that it says there can be put into the file.
    let table = &made.err;
    let checked = check(&with_file(table), &[]);
    assert_eq!(checked.code, Some(0), "{table}: {}", checked.err);
    assert!(checked.out.contains("callers: 1 tokens, of which 0 have expired\n"), "{}", checked.out);
    assert!(checked.err.contains("there is no [[grant]]"), "{}", checked.err);
    let told: toml::Table = table.parse().unwrap();
    let told = &told["token"][0];
    assert_eq!((told["principal"].as_str(), told["groups"].as_array().map(Vec::len)), (Some("alice"), Some(2)));

    assert_ne!(make_token(&["alice"]).out, made.out);
    for wrong in ["", "anonymous", "group:ops"] {
        let refused = make_token(&[wrong]);
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{wrong}");
    }
}

#[test]
fn a_token_is_read_from_a_file_or_the_environment_and_stays_off_the_open_network() {
    let dir = with_file("");
    let path = dir.path().join("token");
    std::fs::write(&path, "gp_s3cret\n").unwrap();
    let run = |server: &str, name: &str, value: &str, more: &[&str]| {
        let arguments = [&["list", "--server", server], more].concat();
        Ran::from(gatepost(&arguments).env(name, value).output().unwrap())
    };
    let path = path.to_str().unwrap();
    // Nothing listens there, and nothing is looked up.
    for (name, value) in [("GATEPOST_TOKEN", "gp_s3cret"), ("GATEPOST_TOKEN_FILE", path)] {
        let kept = run("http://gates.invalid:1", name, value, &[]);
        assert_eq!(kept.code, Some(1));
        assert!(kept.err.contains("use https://") && !kept.err.contains("s3cret"), "{}", kept.err);
        let sent = run("http://127.0.0.1:1", name, value, &[]);
        assert!(sent.err.contains("cannot reach"), "{}", sent.err);
    }
    let missing = run("http://127.0.0.1:1", "GATEPOST_TOKEN_FILE", "no-such-file", &[]);
    assert!(missing.err.contains("no-such-file cannot be read"), "{}", missing.err);
    let allowed = run("http://127.8.8.8:1", "GATEPOST_TOKEN", "gp_s3cret", &["--token-over-http"]);
    assert!(allowed.err.contains("cannot reach"), "{}", allowed.err);
    let given = run("http://127.0.0.1:1", "X", "", &["--token", "gp_s3cret"]);
    assert_eq!(given.code, Some(2), "no token is taken from the command line");
}

#[test]
fn no_token_is_logged_however_much_is() {
    let made = make_token(&["alice"]);
    let token = made.out.trim();
    let (_, table) = made.err.split_once("\n\n").unwrap();
    let grant = "[[grant]]\nto = ['alice']\nroles = ['viewer']\non = ['**']\n";
    let coordinator = Coordinator::configured(&format!("{table}{grant}"));
    let list = |token: &str| Ran::from(coordinator.command(&["list"]).env("GATEPOST_TOKEN", token).output().unwrap());
    assert_eq!(list(token).code, Some(0), "{}", list(token).err);
    let wrong = format!("{token}0");
    let refused = list(&wrong);
    assert!(refused.code == Some(1) && !refused.err.contains(token), "{}", refused.err);
    for (shown, code) in [(token, 200), (&wrong, 401)] {
        let header = format!("Bearer {shown}");
        let (answer, body) = http(coordinator.address(), "GET", "/v1/gates", &[("Authorization", &header)], "");
        assert!(answer == code && !body.contains(token), "{answer}: {body}");
    }
    // A thread of its own writes it, a little later.
    let begin = Instant::now();
    let mut log = coordinator.log();
    while !log.contains("TRACE") && begin.elapsed() < PATIENCE {
        log = coordinator.log();
    }
    let digest: toml::Table = table.parse().unwrap();
    let digest = digest["token"][0]["sha256"].as_str().unwrap();
    for secret in [&token[3..], digest] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
    assert!(log.contains("TRACE"), "all there is is logged");
}

#[test]
fn a_call_without_a_grant_is_in_the_log() {
    let made = make_token(&["alice"]);
    let (_, table) = made.err.split_once("\n\n").unwrap();
    let grant = "[[grant]]\nto = ['alice']\nroles = ['viewer']\non = ['**']\n";
    let coordinator = Coordinator::configured(&format!("{table}{grant}"));
    let mut approve = coordinator.command(&["approve", "a/b"]);
    let refused = Ran::from(approve.env("GATEPOST_TOKEN", made.out.trim()).output().unwrap());
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    // A thread of its own writes it, a little later.
    let begin = Instant::now();
    let is_logged = || coordinator.log().contains("not allowed: alice has no grant to decide a/b method=\"Approve\"");
    while !is_logged() {
        assert!(begin.elapsed() < PATIENCE, "{}", coordinator.log());
    }
}
