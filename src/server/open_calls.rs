//! The calls that are answered without asking who calls: so many of one connection at a time.
//!
//! Some end only when their caller wants, as `grpc.health.v1.Health/Watch` does, and each holds memory for somebody whom
//! nobody knows.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Body as Frames, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most calls of one connection at a time that nobody is asked for: a browser loads all of the dashboard at once.
pub const OPEN_CALLS_MAX: usize = 32;

/// The open calls of one connection.
#[derive(Clone)]
pub struct OpenCalls(Arc<Semaphore>);

impl Default for OpenCalls {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OPEN_CALLS_MAX)))
    }
}

impl OpenCalls {
    /// Begins one; none if there are as many as there may be.
    pub fn begin(&self) -> Option<OpenCall> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(OpenCall)
    }
}

/// An open call, which ends when dropped.
pub struct OpenCall(#[expect(dead_code, reason = "dropped with it")] OwnedSemaphorePermit);

impl OpenCall {
    /// Has the call last for as long as its answer is sent.
    pub fn answered_with(self, body: Body) -> Body {
        Body::new(Answer { body, _call: self })
    }
}

/// The answer of an open call.
struct Answer {
    body: Body,
    _call: OpenCall,
}

impl Frames for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
