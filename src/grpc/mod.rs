//! The gRPC API: converts requests, calls the coordinator, converts answers. It holds no rule of its own.

mod convert;
mod observed;
mod service;
mod status;
mod webhooks;

pub use observed::Observed;
pub use service::Service;
pub use status::{rate_limited, unauthenticated, with_reason};
pub use webhooks::WebhookHandlers;
