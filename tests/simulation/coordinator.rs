//! The coordinator's host: the real server on the simulated network, with simulated time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost::coordinator::{Clock, Coordinator, Retention};
use gatepost::server::Server;
use tokio::sync::Notify;

use crate::chance::Chance;
use crate::network::{self, Scissors};
use crate::store::Slow;
use crate::world::Disk;

/// When every simulation begins, in the coordinator's time: since 1970.
pub const EPOCH: Duration = Duration::from_secs(4_000_000_000);
/// How long open calls have to end when the coordinator is stopped.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves until it is told to stop, on what the disk holds.
pub async fn run(disk: Disk, chance: Chance, scissors: Scissors, stop: Arc<Notify>) -> turmoil::Result {
    let store = Slow::new(disk.open(), disk.has_threads(), chance);
    let clock = Clock::new(SystemTime::UNIX_EPOCH + EPOCH, || turmoil::sim_elapsed().unwrap());
    let coordinator = Coordinator::new(Arc::new(store), clock, Retention::default());
    let incoming = network::listen(scissors).await?;
    Ok(Server::new(coordinator, DRAIN)?.serve_on(incoming, stop.notified()).await?)
}
