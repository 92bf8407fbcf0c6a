//! Opens the store that the configuration names.

use std::path::Path;
use std::sync::Arc;

use super::Error;
use crate::config::store::{Etcd as Cluster, Login, Store as Settings};
use crate::store::Store;
use crate::store::etcd::{self, Etcd};
use crate::store::sled::Sled;

/// Opens a store, and makes it if there is none and it may be made.
///
/// # Errors
///
/// If it cannot be opened: another process has it, it cannot be read, or no member of the cluster answers; or if there is
/// none and it may not be made.
pub async fn open(settings: &Settings, make: bool) -> Result<Arc<dyn Store>, Error> {
    match settings {
        Settings::Sled { data_dir, .. } if !make && !data_dir.join("sled").is_dir() => {
            Err(Error::NoStore(data_dir.clone()))
        }
        Settings::Sled { data_dir, cache_bytes } => {
            let (data_dir, cache_bytes) = (data_dir.clone(), *cache_bytes);
            let opened = tokio::task::spawn_blocking(move || Sled::open(&data_dir, cache_bytes)).await?;
            Ok(Arc::new(opened?))
        }
        Settings::Etcd(cluster) => {
            let settings = settings_of(cluster).await?;
            let opened = if make { Etcd::open(&settings).await } else { Etcd::open_existing(&settings).await };
            Ok(Arc::new(opened?))
        }
    }
}

/// Reads what the cluster is reached with.
async fn settings_of(cluster: &Cluster) -> Result<etcd::Settings, Error> {
    let Cluster { endpoints, prefix, ca, identity, login } = cluster.clone();
    let login = login.map(|Login { user, password }| etcd::Login { user, password });
    let ca = match ca {
        Some(ca) => Some(read(&ca).await?),
        None => None,
    };
    let identity = match identity {
        Some((cert, key)) => Some((read(&cert).await?, read(&key).await?)),
        None => None,
    };
    Ok(etcd::Settings { endpoints, prefix, tls: etcd::Tls { ca, identity }, login })
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|source| Error::Unreadable { path: path.to_owned(), source })
}
