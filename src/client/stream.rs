//! Streams whose silence is noticed.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

/// How long a stream may be silent: three of the coordinator's heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Opens a stream.
pub(super) async fn open<T>(
    opening: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
) -> Result<Streaming<T>, Status> {
    timeout(SILENCE_MAX, opening).await.unwrap_or_else(|_| Err(silence())).map(Response::into_inner)
}

/// Reads the next message, or none where the stream ends.
pub(super) async fn next<T>(messages: &mut Streaming<T>) -> Result<Option<T>, Status> {
    timeout(SILENCE_MAX, messages.message()).await.unwrap_or_else(|_| Err(silence()))
}

fn silence() -> Status {
    Status::unavailable(format!("no sign of life for {} s", SILENCE_MAX.as_secs()))
}
