//! gatepost: a distributed approval-gate coordinator over gRPC.

pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
pub mod coordinator;
pub mod domain;
pub mod grpc;
pub mod http;
pub mod metrics;
pub mod policy;
pub mod proto;
pub mod server;
pub mod store;
pub mod transfer;
pub mod webhooks;

// README's Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
