//! Compiles the contract in `proto/` to Rust, without protoc.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new("../../proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let files = contract_files(&proto.join("portreeve"))?;
    for folder in ["portreeve", "third_party/buf", "third_party/google"] {
        println!("cargo:rerun-if-changed={}", proto.join(folder).display());
    }

    let mut compiler = protox::Compiler::new([proto, &proto.join("third_party")])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let with_comments = compiler.encode_file_descriptor_set();
    fs::write(out.join("contract_with_comments.binpb"), &with_comments)?;

    // What servers offer for reflection. Comments would triple it and are of no use there.
    compiler.include_source_info(false);
    let bare = compiler.encode_file_descriptor_set();
    fs::write(out.join("contract.binpb"), &bare)?;

    let mut own = prost_types::FileDescriptorSet::decode(with_comments.as_slice())?;
    // The others come along because prost looks into the types that it does not generate.
    own.file.retain(|file| !matches!(file.package(), "buf.validate" | "google.api"));
    tonic_prost_build::configure().bytes(".").extern_path(".google.rpc", "::tonic_types::pb").compile_fds(own)?;

    prost_protovalidate_build::Builder::new()
        .file_descriptor_set_bytes(only_requests(&bare)?)
        .extern_path(".google", "::prost_types")
        .fail_on_runtime_only(true)
        .compile()?;
    Ok(())
}

/// Every `.proto` file below `folder`.
fn contract_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The descriptor set without the messages that no client ever sends.
///
/// Validators are wanted for requests alone. Some answers hold messages with rules inside a `oneof` (a `Case` in a
/// change, for instance), for which the generator has no code and would rightly fail.
fn only_requests(descriptors: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let pool = DescriptorPool::decode(descriptors)?;
    let mut sent = BTreeSet::new();
    let mut open: Vec<MessageDescriptor> = pool
        .services()
        .flat_map(|service| service.methods().map(|method| method.input()).collect::<Vec<_>>())
        .collect();
    while let Some(message) = open.pop() {
        if sent.insert(message.full_name().to_owned()) {
            open.extend(message.fields().filter_map(|field| field.kind().as_message().cloned()));
        }
    }

    // Rules are extensions, which prost drops and a dynamic message keeps.
    let descriptor = DescriptorPool::global()
        .get_message_by_name("google.protobuf.FileDescriptorSet")
        .ok_or("google.protobuf.FileDescriptorSet is not known")?;
    let mut kept = DynamicMessage::decode(descriptor, descriptors)?;
    let Some(Value::List(files)) = kept.get_field_by_name_mut("file") else {
        return Err("the descriptor set has no files".into());
    };
    for file in files.iter_mut().filter_map(Value::as_message_mut) {
        let package = text(file, "package");
        if !package.starts_with("portreeve.") {
            continue;
        }
        file.clear_field_by_name("service");
        if let Some(Value::List(messages)) = file.get_field_by_name_mut("message_type") {
            messages.retain(|message| {
                message
                    .as_message()
                    .is_some_and(|message| sent.contains(&format!("{package}.{}", text(message, "name"))))
            });
        }
    }
    Ok(kept.encode_to_vec())
}

/// A text field of a dynamic message; empty when it is not set.
fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
