//! The gRPC API: converts requests, calls the coordinator, converts answers. It holds no rule of its own.

mod convert;
mod service;
mod status;

pub use service::Service;
pub use status::{REQUEST_BYTES_MAX, with_reason};
