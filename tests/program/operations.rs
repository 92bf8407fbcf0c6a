//! What a coordinator tells those who run it: health, metrics and its log.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use gatepost::metrics::{Kind, LEADER, METRICS};
use prometheus_parse::{Sample, Scrape, Value};

use crate::process::{Coordinator, gatepost, http, ready, serve};

/// How long anything may take: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// A rule, and a webhook that nobody takes.
const OUTSIDE: &str = r#"
[[rule]]
name = "dev"
when = "'stage' in labels && labels.stage == 'dev'"
action = "approve"

[[webhook]]
name = "nobody"
format = "slack"
url = "http://127.0.0.1:1/"
"#;

/// Reads the metrics with a parser that is not ours.
fn scrape(address: &str) -> Vec<Sample> {
    let (code, text) = http(address, "GET", "/metrics", &[], "");
    assert_eq!(code, 200, "{text}");
    Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap().samples
}

/// Returns the number of the one sample with these labels; none if there is none.
fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let fits = |sample: &&Sample| {
        sample.metric == name && labels.iter().all(|(label, value)| sample.labels.get(label) == Some(value))
    };
    let mut found = samples.iter().filter(fits).map(|sample| match &sample.value {
        Value::Counter(number) | Value::Gauge(number) | Value::Untyped(number) => *number,
        other => panic!("{name} is {other:?}"),
    });
    let number = found.next();
    assert_eq!(found.next(), None, "{name} {labels:?} is there more than once");
    number
}

/// Asks until it is so; what is counted is counted soon.
fn until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it is never so");
    }
}

/// Lets everything happen that is measured.
fn traffic(coordinator: &Coordinator) {
    let address = coordinator.address();
    for gate in ["approved", "pending"] {
        assert_eq!(coordinator.run(&["create", gate]).code, Some(0));
    }
    let waiting = coordinator.wait(&["approved"]);
    // Before what it is to tell, so that it hears of it as it happens.
    let watching = coordinator.command(&["watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut watching = crate::process::Ending(watching);
    let (told, lines) = mpsc::channel();
    let stdout = BufReader::new(watching.0.stdout.take().unwrap());
    thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
    until(|| value(&scrape(address), "gatepost_watches", &[]) == Some(1.0));
    // It is counted before it has its place, and told what happens from then on.
    until(|| coordinator.run(&["reset", "pending"]).code == Some(0) && lines.try_recv().is_ok());
    assert_eq!(value(&scrape(address), "gatepost_waiters", &[]), Some(1.0));
    assert_eq!(coordinator.run(&["approve", "approved", "--comment", "fine"]).code, Some(0));
    assert_eq!(waiting.end().code, Some(0));
    while !lines.recv_timeout(PATIENCE).unwrap().contains("approved by") {}
    assert_eq!(coordinator.run(&["create", "broken", "--approver", "alice"]).code, Some(0));
    assert_eq!(coordinator.run(&["approve", "broken", "--break-glass", "fire"]).code, Some(0));
    // Deleted before it was decided: a decision too.
    assert_eq!(coordinator.run(&["create", "deleted"]).code, Some(0));
    assert_eq!(coordinator.run(&["delete", "deleted"]).code, Some(0));
    assert_eq!(coordinator.run(&["wait", "timed-out", "--timeout", "1ms"]).code, Some(11));
    // Deleted after it was decided: none.
    assert_eq!(coordinator.run(&["wait", "gone", "--timeout", "1ms"]).code, Some(11));
    assert_eq!(coordinator.run(&["delete", "gone"]).code, Some(0));
}

#[test]
fn what_is_measured_is_what_the_table_and_the_documentation_list() {
    let coordinator = Coordinator::configured(OUTSIDE);
    traffic(&coordinator);
    let address = coordinator.address();
    assert_eq!(coordinator.run(&["wait", "ruled", "--label", "stage=dev"]).code, Some(0));
    until(|| value(&scrape(address), "gatepost_rules_total", &[("rule", "dev"), ("outcome", "approve")]) == Some(1.0));
    let failed = [("webhook", "nobody"), ("outcome", "failed")];
    until(|| value(&scrape(address), "gatepost_webhook_attempts_total", &failed).is_some_and(|count| count >= 1.0));
    assert!(value(&scrape(address), "gatepost_webhook_pending", &failed[..1]).is_some_and(|held| held >= 1.0));
    // The parser shows the sum and the count of a histogram as samples of their own.
    let (parts, samples): (Vec<_>, Vec<_>) = scrape(coordinator.address()).into_iter().partition(|sample| {
        let histogram = sample.metric.strip_suffix("_sum").or(sample.metric.strip_suffix("_count"));
        METRICS.iter().any(|metric| matches!(metric.kind, Kind::Histogram(_)) && histogram == Some(metric.name))
    });
    for count in parts.iter().filter(|part| part.metric.ends_with("_count")) {
        assert!(matches!(count.value, Value::Untyped(count) if count >= 1.0), "it was never recorded: {count:?}");
    }
    let shown: BTreeSet<_> = samples.iter().map(|sample| sample.metric.as_str()).collect();
    // Nobody leads who is alone.
    assert_eq!(shown, METRICS.iter().map(|metric| metric.name).filter(|name| *name != LEADER).collect());
    for metric in METRICS {
        for sample in samples.iter().filter(|sample| sample.metric == metric.name) {
            let is_kind = match (metric.kind, &sample.value) {
                (Kind::Counter, Value::Counter(_)) | (Kind::Gauge, Value::Gauge(_)) => true,
                (Kind::Histogram(buckets), Value::Histogram(counts)) => counts.len() == buckets.len() + 1,
                _ => false,
            };
            assert!(is_kind, "{sample:?} is no {:?}", metric.kind);
            let labels: BTreeSet<_> = sample.labels.keys().map(String::as_str).collect();
            assert_eq!(labels, metric.labels.iter().copied().collect(), "{}", metric.name);
        }
    }

    let rows = OPERATIONS.lines().skip_while(|line| !line.starts_with("| Metric |")).skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
    let expected = METRICS.iter().map(|metric| {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels = metric.labels.join(", ");
        let labels = if labels.is_empty() { labels } else { format!("{labels} ") };
        format!("| `{}` | {kind} | {} | {labels}| {} |", metric.name, metric.unit, metric.help)
    });
    assert_eq!(rows, expected.collect::<Vec<_>>());
}

#[test]
fn nobody_waits_for_who_reads_the_log() {
    let home = tempfile::tempdir().unwrap();
    let mut command = serve("127.0.0.1:0", &home.path().join("data"));
    // A pipe that nobody reads from: it takes some hundred lines.
    let (_process, said) = ready(command.stderr(Stdio::piped()));
    let address = said.split("http://").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let run = |arguments: &[&str]| gatepost(arguments).env("GATEPOST_SERVER", address).output().unwrap();
    let count = |samples: &[Sample]| value(samples, "gatepost_decisions_total", &[]).unwrap_or_default();
    while count(&scrape(address)) < 1_000.0 {
        assert!(run(&["bench", "decide", "--duration", "1s"]).status.success());
    }
    let mut worker = crate::process::Ending(
        gatepost(&["wait", "a", "--timeout", "5m"]).env("GATEPOST_SERVER", address).spawn().unwrap(),
    );
    until(|| value(&scrape(address), "gatepost_waiters", &[]) == Some(1.0));
    assert!(run(&["approve", "a"]).status.success());
    until(|| worker.0.try_wait().unwrap().is_some());
    assert_eq!(worker.0.wait().unwrap().code(), Some(0));
}

#[test]
fn every_decision_and_every_gate_is_counted_once() {
    let mut coordinator = Coordinator::start();
    traffic(&coordinator);
    let decisions = |samples: &[Sample]| {
        let all = samples.iter().filter(|sample| sample.metric == "gatepost_decisions_total");
        let labelled = all.map(|sample| {
            let Value::Counter(count) = sample.value else { panic!("{sample:?}") };
            (format!("{} {}", &sample.labels["verdict"], &sample.labels["cause"]), count)
        });
        labelled.collect::<BTreeMap<_, _>>()
    };
    let expected = [
        ("APPROVED DECISION", 1.0),
        ("APPROVED BREAK_GLASS", 1.0),
        ("REJECTED CANCELLED", 1.0),
        ("TIMED_OUT TIMEOUT", 2.0),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(labels, count)| (labels.to_owned(), count)).into();
    // What is counted is told by the feed, a little later.
    until(|| decisions(&scrape(coordinator.address())) == expected);
    let samples = scrape(coordinator.address());
    assert_eq!(decisions(&samples), expected, "counted more than once");
    assert_eq!(value(&samples, "gatepost_break_glass_total", &[]), Some(1.0));

    let counts = [("PENDING", 1.0), ("WAITING", 0.0), ("APPROVED", 2.0), ("REJECTED", 0.0), ("TIMED_OUT", 1.0)];
    for (status, count) in counts {
        assert_eq!(value(&samples, "gatepost_gates", &[("status", status)]), Some(count), "{status}");
    }
    coordinator.crash(|| {});
    let samples = scrape(coordinator.address());
    for (status, count) in counts {
        assert_eq!(value(&samples, "gatepost_gates", &[("status", status)]), Some(count), "{status} after a crash");
    }
    assert_eq!(decisions(&samples), BTreeMap::new(), "what was decided before is no decision of this process");
    // Who went away is counted no more.
    for gauge in ["gatepost_watches", "gatepost_waiters"] {
        until(|| value(&scrape(coordinator.address()), gauge, &[]) == Some(0.0));
    }
}

#[test]
fn calls_over_grpc_and_json_are_counted_alike() {
    let coordinator = Coordinator::start();
    let json = [("Content-Type", "application/json")];
    let approve = || http(coordinator.address(), "POST", "/v1/gates/a:approve", &json, "{}").0;
    assert_eq!(approve(), 404);
    assert_eq!(coordinator.run(&["create", "a"]).code, Some(0));
    assert_eq!(approve(), 200);
    assert_eq!(approve(), 400);
    assert_eq!(http(coordinator.address(), "POST", "/v1/gates", &json, r#"{"gate":"b"}"#).0, 200);
    let samples = scrape(coordinator.address());
    for (method, code, count) in [
        ("CreateGate", "OK", 2.0),
        ("Approve", "OK", 1.0),
        ("Approve", "NOT_FOUND", 1.0),
        ("Approve", "FAILED_PRECONDITION", 1.0),
    ] {
        let labels = [("method", method), ("code", code)];
        assert_eq!(value(&samples, "gatepost_call_seconds_count", &labels), Some(count), "{method} {code}");
    }
}

#[test]
fn a_coordinator_that_serves_is_alive_and_ready() {
    let coordinator = Coordinator::start();
    assert_eq!(http(coordinator.address(), "GET", "/healthz", &[], ""), (200, "ok\n".to_owned()));
    assert_eq!(http(coordinator.address(), "GET", "/readyz", &[], ""), (200, "ready\n".to_owned()));
    assert_eq!(http(coordinator.address(), "POST", "/readyz", &[], "").0, 405);
}

/// Runs one with a log format, makes decisions, stops it, and returns its log.
fn log_of(format: &str, decide: impl FnOnce(&str)) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let mut command = serve("127.0.0.1:0", &home.path().join("data"));
    let (mut process, said) = ready(command.args(["--log-format", format]).stderr(Stdio::piped()));
    let address = said.split("http://").nth(1).unwrap().split(',').next().unwrap();
    decide(address);
    let log = process.0.stderr.take().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&process.0), rustix::process::Signal::TERM).unwrap();
    BufReader::new(log).lines().map(Result::unwrap).collect()
}

#[test]
fn each_decision_is_one_line_of_the_log_without_what_people_wrote() {
    let decide = |address: &str| {
        let json = [("Content-Type", "application/json")];
        for (path, body) in [
            ("/v1/gates", r#"{"gate":"a/b"}"#),
            ("/v1/gates", r#"{"gate":"c","spec":{"autoApprove":true}}"#),
            ("/v1/gates/a/b:reject", r#"{"reason":"secret\ndecided gate=\"x\" status=\"APPROVED\""}"#),
        ] {
            assert_eq!(http(address, "POST", path, &json, body).0, 200, "{path}");
        }
        // It follows the decisions: the log has them once the counter does.
        until(|| scrape(address).iter().filter(|it| it.metric == "gatepost_decisions_total").count() == 2);
    };
    let lines = log_of("json", decide);
    let lines: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decided: Vec<_> = lines.iter().filter(|line| line["message"] == "decided").collect();
    let [first, second] = decided[..] else { panic!("{decided:?}") };
    assert_eq!(
        (&first["gate"], &first["cause"], &first["status"]),
        (&"c".into(), &"AUTO_APPROVE".into(), &"APPROVED".into())
    );
    assert_eq!((&second["gate"], &second["by"], &second["revision"]), (&"a/b".into(), &"anonymous".into(), &3.into()));
    assert_eq!(
        (&second["round"], &second["status"], &second["waited_seconds"]),
        (&1.into(), &"REJECTED".into(), &serde_json::Value::Null)
    );

    let lines = log_of("text", decide);
    let decided: Vec<_> = lines.iter().filter(|line| line.contains("decided")).collect();
    assert_eq!(decided.len(), 2, "{lines:#?}");
    assert!(
        decided[1]
            .ends_with(r#"decided gate="a/b" round=1 status="REJECTED" cause="DECISION" by="anonymous" revision=3"#),
        "{decided:?}"
    );
    assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:#?}");
}
