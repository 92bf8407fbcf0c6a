//! Compiles the protos with protox, so that a build needs no protoc.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=src/store/record.proto");
    println!("cargo:rerun-if-changed=src/store/etcd/api.proto");

    // The public API, with its comments kept for reflection.
    let mut api = protox::Compiler::new(["proto"])?;
    api.include_imports(true).include_source_info(true);
    let services = ["gatepost/v1/gate_service.proto", "gatepost/v1/webhook_service.proto"];
    api.open_files(services)?;
    let descriptor_set = PathBuf::from(env::var("OUT_DIR")?).join("descriptor_set.bin");
    fs::write(descriptor_set, api.encode_file_descriptor_set())?;
    // Ordered maps give equal requests equal bytes, which is how a repeated request_id is told from a reused one.
    // Type names let a message find its descriptor, for its JSON.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .btree_map(".")
        .codec_path("crate::proto::Codec")
        .compile_fds_with_config(api.file_descriptor_set(), config)?;

    // What the store writes.
    let mut record = protox::Compiler::new(["src/store"])?;
    record.include_source_info(true).open_file("record.proto")?;
    // Its JSON is made of names, not of comments.
    let mut names = protox::Compiler::new(["src/store"])?;
    names.open_file("record.proto")?;
    let descriptor_set = PathBuf::from(env::var("OUT_DIR")?).join("record_descriptor_set.bin");
    fs::write(descriptor_set, names.encode_file_descriptor_set())?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure().btree_map(".").compile_fds_with_config(record.file_descriptor_set(), config)?;

    // What a distributed store speaks.
    let mut etcd = protox::Compiler::new(["src/store/etcd"])?;
    etcd.include_source_info(true).open_file("api.proto")?;
    tonic_prost_build::configure().build_server(false).compile_fds(etcd.file_descriptor_set())?;
    Ok(())
}
