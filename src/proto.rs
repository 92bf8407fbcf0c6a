//! The messages and stubs of the gRPC API, generated from `proto/`, and their JSON.

pub use generated::*;

/// The encoded `FileDescriptorSet` of the API, for reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/gatepost.v1.rs"));
}
