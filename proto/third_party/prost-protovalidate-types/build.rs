//! Compiles `buf/validate/validate.proto` without protoc. See Cargo.toml for what this changes and why.

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto_dir = "..";
    let files = ["buf/validate/validate.proto"];
    println!("cargo:rerun-if-changed={proto_dir}/buf");

    let descriptor_path = PathBuf::from(std::env::var("OUT_DIR")?).join("file_descriptor_set.bin");
    std::fs::write(&descriptor_path, protox::compile(files, [proto_dir])?.encode_to_vec())?;

    let mut config = prost_build::Config::new();
    config.skip_protoc_run();
    #[cfg(feature = "reflect")]
    prost_reflect_build::Builder::new()
        .file_descriptor_set_path(&descriptor_path)
        .descriptor_pool("DESCRIPTOR_POOL")
        .compile_protos_with_config(config, &files, &[proto_dir])?;
    #[cfg(not(feature = "reflect"))]
    config.file_descriptor_set_path(&descriptor_path).compile_protos(&files, &[proto_dir])?;
    Ok(())
}
