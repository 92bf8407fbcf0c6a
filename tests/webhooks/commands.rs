//! What operators see and do, and what they do not see.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::Value;

use crate::process::Coordinator;
use crate::receiver::{Mode, Receiver, SECRET, told, until};

fn json(coordinator: &Coordinator, arguments: &[&str]) -> Vec<Value> {
    let ran = coordinator.run(&[arguments, &["--output", "json"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_is_listed_delivered_again_and_deleted() {
    let receiver = Receiver::start(Mode::Refuse).await;
    let url = format!("http://user:t0ken@{}/t0ken?t0ken", receiver.address);
    let mut coordinator = Coordinator::configured(&format!(
        "[[webhook]]\nname = 'ops'\nurl = '{url}'\nsecret = '{SECRET}'\nevents = ['resolved']\n"
    ));
    for gate in ["a", "b"] {
        coordinator.run(&["create", gate]);
        coordinator.run(&["approve", gate]);
        until(|| json(&coordinator, &["webhooks", "dead", "ops"]).len() == if gate == "a" { 1 } else { 2 }).await;
    }
    coordinator.crash(|| {});
    let letters = json(&coordinator, &["webhooks", "dead", "ops"]);
    let texts: Vec<_> =
        letters.iter().map(|it| (it["number"].as_str().unwrap(), it["gate"].as_str().unwrap())).collect();
    assert_eq!(texts, [("1", "a"), ("2", "b")]);
    assert_eq!(letters[0]["event"], "WEBHOOK_EVENT_RESOLVED");
    assert!(letters[0]["lastFailure"].as_str().unwrap().starts_with("HTTP 410"), "{letters:?}");
    let shown = coordinator.run(&["webhooks", "dead", "ops"]).out;
    assert!(shown.starts_with("NUMBER") && shown.contains("HTTP 410"), "{shown}");

    receiver.set(Mode::Take);
    // On a store that others may share it leads again once the time of the one that was killed is over.
    until(|| coordinator.run(&["webhooks", "redeliver", "ops", "2"]).code == Some(0)).await;
    receiver.until(|receiver| !receiver.taken().is_empty()).await;
    let taken = receiver.taken().remove(0);
    assert_eq!((told(&taken).as_str(), taken.id.as_str()), ("resolved b", letters[1]["messageId"].as_str().unwrap()));
    until(|| json(&coordinator, &["webhooks", "dead", "ops"]).len() == 1).await;

    // One that is not there hinders no other.
    let some = coordinator.run(&["webhooks", "redeliver", "ops", "7", "1", "8"]);
    assert_eq!((some.code, some.out.as_str()), (Some(1), "ops delivers 1 again\n"));
    assert!(some.err.contains("no dead letter 7") && some.err.contains("no dead letter 8"), "{}", some.err);
    receiver.until(|receiver| receiver.taken().len() == 2).await;
    until(|| json(&coordinator, &["webhooks", "dead", "ops"]).is_empty()).await;

    receiver.set(Mode::Refuse);
    coordinator.run(&["create", "c"]);
    coordinator.run(&["approve", "c"]);
    until(|| json(&coordinator, &["webhooks", "dead", "ops"]).len() == 1).await;
    let deleted = coordinator.run(&["webhooks", "delete", "ops", "--all"]);
    assert_eq!((deleted.code, deleted.out.as_str()), (Some(0), "dead letter 3 of ops deleted\n"));
    assert_eq!(coordinator.run(&["webhooks", "dead", "ops"]).err, "no dead letters\n");
    for (arguments, problem) in [
        (&["webhooks", "delete", "ops", "1"], "webhook ops has no dead letter 1"),
        (&["webhooks", "redeliver", "ops", "7"], "webhook ops has no dead letter 7"),
        (&["webhooks", "redeliver", "chat", "1"], "there is no webhook \"chat\""),
    ] {
        let refused = coordinator.run(arguments);
        assert!(refused.code == Some(1) && refused.err.contains(problem), "{refused:?}");
    }

    let listed = json(&coordinator, &["webhooks", "list"]);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["origin"]),
        (&"ops".into(), &format!("http://{}", receiver.address).into())
    );
    assert!(coordinator.run(&["webhooks", "list"]).out.starts_with("WEBHOOK"));
    let log = coordinator.log();
    assert!(log.contains("gave up resolved of a"), "{log}");
    for secret in ["t0ken", &SECRET[6..]] {
        assert!(!log.contains(secret) && !format!("{listed:?}").contains(secret), "{secret} is shown");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_is_told_with_a_link_to_the_page() {
    let receiver = Receiver::start(Mode::Take).await;
    let coordinator = Coordinator::configured(&format!(
        "public_url = 'https://gates.example.org/'\n\
         [[webhook]]\nname = 'chat'\nformat = 'slack'\nurl = 'http://{}/t0ken'\nprefix = 'release-42'\n",
        receiver.address
    ));
    let worker = coordinator.wait(&["release-42/prod", "--timeout", "5m", "--title", "To <production>"]);
    coordinator.run(&["create", "other"]);
    coordinator.run(&["approve", "other"]);
    receiver.until(|receiver| receiver.seen().iter().filter(|request| request.taken).count() == 2).await;
    coordinator.run(&["approve", "release-42/prod", "--comment", "canary is green"]);
    assert_eq!(worker.end().code, Some(0));
    receiver.until(|receiver| receiver.seen().iter().filter(|request| request.taken).count() == 3).await;
    let seen = receiver.seen();
    let texts: Vec<_> = seen.iter().map(|request| request.body["text"].as_str().unwrap()).collect();
    let expected = ["waits for approval", "is about to time out", "was approved by anonymous"];
    assert_eq!(texts, expected.map(|text| format!("release-42/prod {text}")));
    for request in &seen {
        let blocks = request.body["blocks"].as_array().unwrap();
        assert_eq!(blocks.last().unwrap()["elements"][0]["url"], "https://gates.example.org/gates/release-42/prod");
        assert_eq!(blocks[1]["text"]["type"], "plain_text");
    }
    assert!(!coordinator.log().contains("t0ken"));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("gatepost.toml");
    std::fs::write(&config, "[[webhook]]\nname = 'ops'\nurl = 'https://h.example.org/'\n").unwrap();
    let data = dir.path().join("data");
    let serve = || {
        let mut command = crate::process::serve("127.0.0.1:0", &data);
        // What is no UTF-8 is not shown either.
        command.env("OPS_URL", OsStr::from_bytes(b"https://h.example.org/t0ken/\xff")).arg("--config").arg(&config);
        let ran = crate::process::Ran::from(command.output().unwrap());
        assert_eq!(ran.code, Some(1));
        assert!(!data.exists());
        ran.err
    };
    let refused = serve();
    assert!(refused.contains("webhook \"ops\": it needs a secret"), "{refused}");
    std::fs::write(&config, "[[webhook]]\nname = 'ops'\nurl_env = 'OPS_URL'\nformat = 'slack'\n").unwrap();
    let refused = serve();
    assert!(refused.contains("its url_env OPS_URL is no UTF-8") && !refused.contains("t0ken"), "{refused}");
}
