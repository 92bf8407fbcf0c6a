//! Makes a store: behind a prefix that no other store's contains, nor contains any other's.
//!
//! An index is a range of keys that begins with one byte, so that the keys of a store inside would be taken for the
//! records of the one outside.

use uuid::Uuid;

use super::client::Client;
use super::log::unanswered;
use super::txn::{self, Txn};
use super::{LAYOUT, Settings, keys};
use crate::domain::Revision;
use crate::store::Error;

/// Makes the store behind a prefix, unless it is there.
///
/// # Errors
///
/// [`Error::Corrupt`] if there is something else behind the prefix, or a store behind a part of it.
pub async fn make(client: &Client, settings: &Settings) -> Result<(), Error> {
    // Looked for first: a cluster that is full refuses whatever might write.
    let (id, _) = client.range(txn::get(keys::STORE_ID.to_vec())).await?;
    let refused = |problem: String| Err(Error::Corrupt { place: format!("{} in etcd", settings.prefix), problem });
    if let Some(outer) = outer(client, &settings.prefix).await? {
        return refused(format!(
            "the store behind {outer} would take its keys for its own: give another --etcd-prefix, and move what is here \
             already with `gatepost export` and `gatepost import`"
        ));
    }
    if !id.is_empty() {
        return Ok(());
    }
    // The id once more: another coordinator may make it at this moment.
    let look = Txn::default().read(txn::get(keys::STORE_ID.to_vec())).read(txn::keys_only(txn::scan(keys::all(), 1)));
    let found = client.txn(look).await?.ranges;
    let [id, first] = found.as_slice() else { return Err(unanswered()) };
    if let (true, Some(kv)) = (id.is_empty(), first.first()) {
        let key = kv.key.escape_ascii();
        return refused(format!(
            "it is no store, and {}{key} is there: give an --etcd-prefix that nothing begins with",
            settings.prefix
        ));
    }
    let new = Txn::default()
        .if_created_at(keys::STORE_ID.to_vec(), Revision::ZERO)
        .put(keys::STORE_ID.to_vec(), Uuid::new_v4().to_string().into_bytes())
        .put(keys::FORMAT.to_vec(), LAYOUT.to_vec())
        .put(keys::segment(0), Vec::new());
    // If it does not hold, another coordinator has made it.
    client.txn(new).await.map(drop)
}

/// Names a part of the prefix behind which there is a store, as far as it may be looked.
async fn outer<'a>(client: &Client, prefix: &'a str) -> Result<Option<&'a str>, Error> {
    let parts = prefix.match_indices('/').map(|(at, _)| &prefix[..=at]);
    for part in parts.filter(|part| *part != prefix) {
        match client.is_there(&[part.as_bytes(), keys::STORE_ID].concat()).await {
            Ok(false) => {}
            Ok(true) => return Ok(Some(part)),
            // Where the coordinator's user has no say, it is not known of a store.
            Err(Error::Unavailable { problem }) if problem.contains("permission denied") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
