//! A log that was cut short is refused, and no other.
#![cfg(target_os = "linux")]

use std::fs::{self, File};

use super::*;

const SEGMENT_BYTES: u64 = 512 * 1024;

/// After so many small changes sled would have given back the end of its file.
const SMALL: usize = 1_000;

fn log(dir: &TempDir) -> File {
    File::options().write(true).open(dir.path().join("sled/db")).unwrap()
}

fn says(dir: &TempDir) -> u64 {
    fs::read_to_string(dir.path().join("LENGTH")).unwrap().trim().parse().unwrap()
}

/// Copies a store as it is on the disk: an open one as a kill leaves it.
fn copy(dir: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("sled")).unwrap();
    for file in ["LENGTH", "sled/conf", "sled/db"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    for file in fs::read_dir(dir.path().join("sled")).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        if name.starts_with("snap.") {
            fs::copy(file.path(), copy.path().join("sled").join(name)).unwrap();
        }
    }
    copy
}

fn refusal(dir: &TempDir) -> String {
    let error = Sled::open(dir.path(), CACHE_BYTES).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_log_that_was_cut_short_is_refused() {
    let (store, dir) = temporary();
    // What is there when it opens, to the byte, and then segments.
    assert_eq!(says(&dir), log(&dir).metadata().unwrap().len());
    assert!(says(&dir) > 0);
    for number in 0..40 {
        let spec = Spec { description: "x".repeat(60_000), ..Spec::default() };
        act(&store, &number.to_string(), create(spec), 0).await;
    }
    let length = log(&dir).metadata().unwrap().len();
    let least = says(&dir);
    assert_eq!(least, length - length % SEGMENT_BYTES);
    assert!(least > 2 * SEGMENT_BYTES);
    drop(store);

    let copy = copy(&dir);
    fs::remove_file(copy.path().join("LENGTH")).unwrap();
    let refused = refusal(&copy);
    assert!(refused.contains("LENGTH is missing"), "{refused}");
    fs::write(copy.path().join("LENGTH"), "12").unwrap();
    let refused = refusal(&copy);
    assert!(refused.contains("LENGTH is missing or broken"), "{refused}");

    let whole = fs::read(dir.path().join("sled/db")).unwrap();
    fs::copy(dir.path().join("LENGTH"), copy.path().join("LENGTH")).unwrap();
    let cut = usize::try_from(least - 1).unwrap();
    fs::write(copy.path().join("sled/db"), &whole[..cut]).unwrap();
    let refused = refusal(&copy);
    assert!(refused.contains(&format!("it has {cut} bytes, and had at least {least}")), "{refused}");
    // It was only looked at.
    assert_eq!(fs::read(copy.path().join("sled/db")).unwrap(), whole[..cut]);

    fs::write(copy.path().join("sled/db"), &whole).unwrap();
    assert_eq!(open(copy.path()).revision(), Revision(40));
}

#[tokio::test]
async fn a_log_never_shrinks() {
    let (store, dir) = temporary();
    for number in 0..100 {
        let spec = Spec { description: "x".repeat(60_000), ..Spec::default() };
        act(&store, &number.to_string(), create(spec), 0).await;
        act(&store, &number.to_string(), approve("alice"), 1).await;
    }
    let length = log(&dir).metadata().unwrap().len();
    let old = Old { before: SystemTime::UNIX_EPOCH, below: Revision(u64::MAX), until: Revision(u64::MAX) };
    while store.forget(old).await.unwrap() {}
    for number in 0..SMALL {
        make(&store, &format!("small/{number}")).await;
    }
    let last = store.revision();
    assert!(log(&dir).metadata().unwrap().len() >= length);
    let killed = copy(&dir);
    drop(store);

    for dir in [&dir, &dir, &killed] {
        assert!(log(dir).metadata().unwrap().len() >= length);
        let store = open(dir.path());
        assert_eq!(store.revision(), last);
        let query = ListQuery { prefix: prefix(""), unresolved: false, after: None, limit: usize::MAX };
        assert_eq!(store.list(query).await.unwrap().gates.len(), SMALL);
    }

    // Nor does anything of this process do it.
    log(&dir).set_len(1).unwrap();
    assert!(log(&dir).metadata().unwrap().len() >= length);
    let other = File::create(dir.path().join("other")).unwrap();
    other.set_len(5).unwrap();
    other.set_len(3).unwrap();
    assert_eq!(other.metadata().unwrap().len(), 3);
}
