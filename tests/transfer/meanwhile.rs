//! What changes while a store is exported or a file is imported.

use std::fs;
use std::io::{self, Write};

use futures_util::FutureExt;
use gatepost::domain::Revision;
use gatepost::store::Store;
use gatepost::store::memory::Memory;
use gatepost::store::sled::Sled;
use gatepost::transfer::{self, Error, File};
use serde_json::Value;

use crate::store::{Act, act, at, exported, forget, request, save};

const CREATE: Act = Act::Create { rich: false };

/// Takes an export, and meddles once it has begun.
struct Meddler<F> {
    meddle: Option<F>,
    file: Vec<u8>,
}

impl<F: FnOnce()> Write for Meddler<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.extend_from_slice(bytes);
        self.meddle.take().into_iter().for_each(|meddle| meddle());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Exports a store while something else happens, and returns the lines but for the first and the last.
async fn export(store: &Memory, meddle: impl AsyncFnOnce()) -> Result<Vec<String>, Error> {
    // The reference store never waits.
    let meddle = || meddle().now_or_never().unwrap();
    let mut meddler = Meddler { meddle: Some(meddle), file: Vec::new() };
    transfer::export(store, at(0), &mut meddler).await?;
    let text = String::from_utf8(meddler.file).unwrap();
    let mut lines: Vec<_> = text.lines().skip(1).map(str::to_owned).collect();
    lines.pop();
    Ok(lines)
}

#[tokio::test]
async fn what_happens_during_an_export_is_not_in_it() {
    let store = Memory::new();
    act(&store, 1, CREATE, 0, 1).await.unwrap();
    store.remember(request("before", 1), vec![Revision(1)]).await.unwrap();
    let quiet = export(&store, async || ()).await.unwrap();
    assert_eq!(quiet.len(), 2);

    let busy = export(&store, async || {
        act(&store, 1, Act::Wait, 0, 2).await.unwrap();
        act(&store, 2, CREATE, 0, 3).await.unwrap();
        store.remember(request("meanwhile", 2), vec![Revision(1), Revision(2)]).await.unwrap();
        save(&store, "a", Revision(3), &[(1, Revision(1)), (2, Revision(2))]).await;
    });
    let busy = busy.await.unwrap();
    assert_eq!(busy[..2], quiet);
    let rest: Vec<Value> = busy[2..].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rest.len(), &rest[0]["webhook"]["record"]["place"]), (2, &Value::from("1")));
    assert_eq!(rest[1]["dead_letter"]["number"], "1");
}

#[tokio::test]
async fn an_export_that_may_lack_something_fails() {
    let with_old = async || {
        let store = Memory::new();
        act(&store, 1, CREATE, 0, 1).await.unwrap();
        act(&store, 2, CREATE, 0, 2).await.unwrap();
        act(&store, 2, Act::Approve, 0, 3).await.unwrap();
        store
    };
    // It is forgotten meanwhile.
    let store = with_old().await;
    let failed = export(&store, async || forget(&store, Revision(3)).await).await.unwrap_err();
    assert!(matches!(failed, Error::Changed), "{failed}");

    // What was kept only as a gate's state is no more.
    let store = with_old().await;
    forget(&store, Revision(3)).await;
    assert_eq!(export(&store, async || ()).await.unwrap().len(), 2);
    let failed = export(&store, async || drop(act(&store, 1, Act::Approve, 0, 4).await.unwrap())).await.unwrap_err();
    assert!(matches!(failed, Error::Changed), "{failed}");
}

#[tokio::test]
async fn a_store_that_was_filled_in_part_is_not_opened() {
    let store = Memory::new();
    for number in 1..9 {
        act(&store, 1, CREATE, 0, number).await;
        act(&store, 1, Act::Report, 0, number).await;
    }
    let (path, home) = exported(&store).await;
    let file = File::check(&path).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    // In its place: it is the same file.
    fs::write(&path, whole.lines().take(5).map(|line| line.to_owned() + "\n").collect::<String>()).unwrap();

    let (data, cache_bytes) = (home.path().join("data"), 8 * 1024 * 1024);
    let target = Sled::open(&data, cache_bytes).unwrap();
    let failed = file.import(&target).await.unwrap_err();
    assert_eq!(failed.to_string(), "line 6: the file breaks off before its end: it is not whole");
    assert_eq!(target.revision(), Revision(4));
    drop(target);
    let refused = Sled::open(&data, cache_bytes).unwrap_err().to_string();
    assert!(refused.ends_with("an import into it broke off: remove the directory, then import again"), "{refused}");
}
