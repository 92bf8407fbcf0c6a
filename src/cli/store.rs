//! The store of a command that works on it without a coordinator.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::failure::{Failure, chain};
use crate::config::{self, Config, ServeArgs};
use crate::server;
use crate::store::Store;

/// Which store: flags of `gatepost serve`.
#[derive(Args)]
pub(super) struct WhichStore {
    /// Configuration file, in TOML. Flags and the environment override what it says
    #[arg(long, env = "GATEPOST_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    store: config::StoreArgs,
}

/// Opens it, and makes it if there is none and it may be made.
pub(super) async fn open(args: &WhichStore, make: bool) -> Result<Arc<dyn Store>, Failure> {
    let WhichStore { config, store } = args;
    // Nothing is served.
    let args = ServeArgs { config: config.clone(), store: store.clone(), insecure: Some(true), ..ServeArgs::default() };
    let store = Config::new(args)?.store;
    server::open_store(&store, make).await.map_err(|error| Failure::Here(chain(&error)))
}
