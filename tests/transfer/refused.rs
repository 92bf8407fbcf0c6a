//! Files that are not whole, and stores that are not empty.

use std::fs;

use gatepost::domain::Revision;
use gatepost::store::Store;
use gatepost::store::memory::Memory;
use gatepost::transfer::{Error, File};
use sha2::{Digest, Sha256};

use crate::store::{Act, act, change, exported, forget, move_over, request, save};

const CREATE: Act = Act::Create { rich: true };

async fn filled() -> Memory {
    let store = Memory::new();
    for (deed, number) in [(CREATE, 1), (Act::Wait, 2), (Act::Report, 3)] {
        change(&store, 1, deed, 1, number, Some(request(&number.to_string(), number))).await.unwrap();
    }
    save(&store, "a", Revision(1), &[(1, Revision(1)), (2, Revision(2))]).await;
    save(&store, "b", Revision(1), &[(1, Revision(1))]).await;
    store
}

/// The lines of an export: a header, events (2 to 4), answers (5 to 7), webhook a and its letters (8 to 10), webhook b and its
/// letter (11 and 12), and the end.
async fn lines() -> Vec<String> {
    let (path, _home) = exported(&filled().await).await;
    let lines: Vec<_> = fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 13);
    lines
}

fn told(text: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("file");
    fs::write(&path, text).unwrap();
    match File::check(&path) {
        Ok(_) => "whole".to_owned(),
        Err(error @ Error::Line { .. }) => error.to_string(),
        Err(error) => panic!("{error:?}"),
    }
}

fn text(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + line + "\n")
}

/// The lines with an end that goes with them.
fn sealed(lines: &[String], end: &str) -> String {
    let before = text(&lines[..lines.len() - 1]);
    let digest = Sha256::digest(&before);
    let sha256 = digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    format!("{before}{}\n", end.replace("SHA256", &sha256))
}

const END: &str = r#"{"end":{"events":3,"answers":3,"webhooks":2,"dead_letters":3,"sha256":"SHA256"}}"#;

#[tokio::test]
async fn a_whole_file_is_taken() {
    let lines = lines().await;
    assert_eq!(told(&text(&lines)), "whole");
    assert_eq!(told(&sealed(&lines, END)), "whole");
}

#[tokio::test]
async fn a_file_that_breaks_off_is_refused() {
    let lines = lines().await;
    let whole = text(&lines);
    assert_eq!(told(""), "line 1: the file is empty");
    for kept in 1..lines.len() {
        let problem = "the file breaks off before its end: it is not whole";
        assert_eq!(told(&text(&lines[..kept])), format!("line {}: {problem}", kept + 1));
    }
    for cut in [1, 20, 200, 500] {
        let broken = told(&whole[..whole.len() - cut]);
        assert!(broken.ends_with("the file breaks off in it: it is not whole"), "{broken}");
    }
}

#[tokio::test]
async fn a_changed_byte_is_seen_wherever_it_is() {
    let lines = lines().await;
    let changed = text(&lines).replacen("value of 3", "value of 4", 1);
    let problem = "line 13: its digest is not that of the lines before it: the file has been changed";
    assert_eq!(told(&changed), problem);
    assert_eq!(told(&text(&lines).replacen("2026", "2025", 1).replacen("2025-06", "2025-07", 1)), problem);

    let bytes = text(&lines).into_bytes();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("file");
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(File::check(&path).is_err(), "byte {place} of {}", bytes.len());
    }
}

#[tokio::test]
async fn lines_out_of_their_order_are_refused() {
    for (one, two, line) in [(1, 2, 3), (2, 4, 4), (4, 5, 6), (7, 11, 8), (8, 9, 10)] {
        let mut lines = lines().await;
        lines.swap(one, two);
        let told = told(&sealed(&lines, END));
        let expected = format!("line {line}: it is ");
        assert!(told.starts_with(&expected), "{told} for {one} and {two}");
    }
    let mut twice = lines().await;
    twice.insert(2, twice[1].clone());
    let problem = "line 3: it is out of order: what is in a file stands in the order of its keys";
    assert_eq!(told(&sealed(&twice, END)), problem);
    let mut orphan = lines().await;
    orphan.remove(10);
    let problem = "line 11: it is a dead letter of b, whose own line is not before it";
    assert_eq!(told(&sealed(&orphan, END)), problem);
}

#[tokio::test]
async fn what_is_no_export_of_this_version_is_refused() {
    let lines = lines().await;
    let with = |line: usize, from: &str, to: &str| {
        let mut lines = lines.clone();
        assert!(lines[line - 1].contains(from), "{from} in {}", lines[line - 1]);
        lines[line - 1] = lines[line - 1].replace(from, to);
        told(&sealed(&lines, END))
    };
    let version = "line 1: it is of version 2, and this gatepost reads version 1";
    assert_eq!(with(1, "\"version\":1", "\"version\":2"), version);
    assert_eq!(with(1, "\"export\"", "\"import\""), "line 1: it is no export of gatepost");
    assert_eq!(told("hello\n"), "line 1: it is no export of gatepost");
    for (line, from, to, problem) in [
        (2, "\"1\"", "\"one\"", "its revision is \"one\""),
        (2, "gates/1", "gates//1", "gate.name"),
        (3, "STATUS_WAITING", "STATUS_ELSEWHERE", "STATUS_ELSEWHERE"),
        (3, "\"uid\"", "\"uuid\"", "uuid"),
        (3, "\"actor\"", "\"actress\"", "actress"),
        (5, "\"fingerprint\":\"", "\"fingerprint\":\"AAAA", "its fingerprint has 35 bytes"),
        (8, "\"name\":\"a\"", "\"name\":\"-\"", "is no name of a webhook"),
        (9, "TOPIC_", "TOPICS_", "TOPICS_"),
        (4, "{\"event\"", "{\"events\"", "unknown variant `events`"),
    ] {
        let told = with(line, from, to);
        assert!(told.starts_with(&format!("line {line}: ")) && told.contains(problem), "{told}");
    }
    let more = END.replace("\"events\":3", "\"events\":4");
    assert_eq!(
        told(&sealed(&lines, &more)),
        "line 13: it says 4 events, 3 answered requests, 2 webhooks, 3 dead letters, and before it are \
         3 events, 3 answered requests, 2 webhooks, 3 dead letters"
    );
    assert_eq!(told(&format!("{}\n", text(&lines))), "line 13: something follows the end");
}

#[tokio::test]
async fn a_store_that_holds_something_is_left_as_it_is() {
    let from = filled().await;
    let refused = async |to: &Memory| {
        let revision = to.revision();
        let error = move_over(&from, to).await.unwrap_err();
        assert_eq!(to.revision(), revision);
        error.to_string()
    };
    let told = |what: &str| format!("the store to import into has {what}: import into an empty one");

    let gates = Memory::new();
    act(&gates, 1, CREATE, 1, 1).await.unwrap();
    assert_eq!(refused(&gates).await, told("gates"));
    act(&gates, 1, Act::Delete, 1, 2).await.unwrap();
    assert_eq!(refused(&gates).await, told("a history"));
    forget(&gates, Revision(9)).await;
    assert_eq!(move_over(&from, &gates).await.unwrap().totals.events, 3);

    let answers = Memory::new();
    answers.remember(request("one", 1), vec![]).await.unwrap();
    assert_eq!(refused(&answers).await, told("answered requests"));

    let webhooks = Memory::new();
    save(&webhooks, "a", Revision::ZERO, &[]).await;
    assert_eq!(refused(&webhooks).await, told("webhooks"));
}
