//! gatepost: a distributed approval-gate coordinator over gRPC.

pub mod config;
pub mod domain;
pub mod proto;
pub mod store;
