//! Calls that are made again: at the next endpoint, and while that may help.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::{Request, Response, Status};

use super::endpoints::Endpoint;
use super::{Client, Error};

/// How long a call may have taken when it is made again after a pause: a person looks at the prompt.
const AGAIN_MAX: Duration = Duration::from_secs(2);
/// How long one attempt of a call may take: far longer than a busy disk needs, and no longer than a person waits.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one may take while there is another endpoint to go to. A store answers far sooner, and two endpoints that were
/// paused or cut off leave a call to be answered by a third within five seconds. The last of a round has the whole
/// [`TIMEOUT`], so that a store that is slow for all of them is waited for.
pub(super) const TIMEOUT_BEFORE_NEXT: Duration = Duration::from_secs(2);

/// When a call may be made again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Whatever became of it: it only reads, or its `request_id` says that it is the same one.
    Always,
    /// At another endpoint, if it was never sent to this one.
    IfUnsent,
}

impl Client {
    // The calls are futures of a named type, not `AsyncFn`s: only so can callers spawn what makes them.
    pub(super) async fn call_on<S: Clone, R: Clone, T, F>(
        &self,
        service: fn(&Endpoint) -> &S,
        request: &R,
        again: Again,
        call: impl Fn(S, Request<R>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let begin = Instant::now();
        let mut turns = self.endpoints.turns_of_call();
        let mut lost: Option<Error> = None;
        loop {
            let endpoint = self.endpoints.at(&turns);
            let has_whole_time = turns.is_last() || again == Again::IfUnsent;
            let time = if has_whole_time { TIMEOUT } else { TIMEOUT_BEFORE_NEXT };
            let mut request = Request::new(request.clone());
            request.set_timeout(time);
            // Its time includes that of the connection, which the request's does not.
            let answer = timeout(time, call(service(endpoint).clone(), request)).await;
            let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
            let answer = answer.map(Response::into_inner);
            let error = match answer.map_err(|status| Error::from_status(&endpoint.address, status)) {
                Err(error) if error.is_transient() => error,
                answer => {
                    self.endpoints.on_answer(&turns);
                    return answer;
                }
            };
            if again == Again::IfUnsent && !error.is_unsent() {
                return Err(error);
            }
            let pause = turns.next(&error);
            let so_far = match lost.take() {
                Some(before) => before.and(error),
                None => error,
            };
            if pause.is_zero() {
                lost = Some(so_far);
                continue;
            }
            if again == Again::IfUnsent || begin.elapsed() + pause >= AGAIN_MAX {
                return Err(so_far);
            }
            sleep(pause).await;
        }
    }
}
