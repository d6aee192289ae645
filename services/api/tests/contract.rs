//! What must hold everywhere in the contract, beyond what buf checks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use portreeve_api::common::v1::ErrorReason;
use portreeve_core::Reason;
use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// The contract with its comments, without what it imports.
fn contract() -> Vec<FileDescriptorProto> {
    let set = include_bytes!(concat!(env!("OUT_DIR"), "/contract_with_comments.binpb"));
    let mut files = FileDescriptorSet::decode(set.as_slice()).unwrap().file;
    files.retain(|file| file.package().starts_with("portreeve."));
    files
}

/// The elements that need a comment: their path in the descriptor (descriptor.proto's field numbers) and their name.
fn elements(file: &FileDescriptorProto) -> Vec<(Vec<i32>, String)> {
    fn list(path: &[i32], name: &str, list: &EnumDescriptorProto, out: &mut Vec<(Vec<i32>, String)>) {
        out.push((path.to_vec(), name.to_owned()));
        for (i, value) in (0..).zip(&list.value) {
            out.push(([path, &[2, i]].concat(), format!("{name}.{}", value.name())));
        }
    }
    fn message(path: &[i32], name: &str, of: &DescriptorProto, out: &mut Vec<(Vec<i32>, String)>) {
        out.push((path.to_vec(), name.to_owned()));
        for (i, field) in (0..).zip(&of.field) {
            out.push(([path, &[2, i]].concat(), format!("{name}.{}", field.name())));
        }
        // The oneof of an optional field is made by the compiler and comes after those that are written.
        let optional = of.field.iter().filter(|field| field.proto3_optional()).count();
        for (i, oneof) in (0..).zip(&of.oneof_decl).take(of.oneof_decl.len() - optional) {
            out.push(([path, &[8, i]].concat(), format!("{name}.{}", oneof.name())));
        }
        for (i, nested) in (0..).zip(&of.nested_type) {
            message(&[path, &[3, i]].concat(), &format!("{name}.{}", nested.name()), nested, out);
        }
        for (i, nested) in (0..).zip(&of.enum_type) {
            list(&[path, &[4, i]].concat(), &format!("{name}.{}", nested.name()), nested, out);
        }
    }
    let mut out = Vec::new();
    for (i, of) in (0..).zip(&file.message_type) {
        message(&[4, i], of.name(), of, &mut out);
    }
    for (i, of) in (0..).zip(&file.enum_type) {
        list(&[5, i], of.name(), of, &mut out);
    }
    for (i, service) in (0..).zip(&file.service) {
        out.push((vec![6, i], service.name().to_owned()));
        for (j, method) in (0..).zip(&service.method) {
            out.push((vec![6, i, 2, j], format!("{}.{}", service.name(), method.name())));
        }
    }
    out
}

/// The elements of a file without a comment before them.
fn uncommented(file: &FileDescriptorProto) -> Vec<String> {
    let info = file.source_code_info.as_ref().unwrap();
    let comments: BTreeMap<&[i32], &str> =
        info.location.iter().map(|location| (location.path.as_slice(), location.leading_comments())).collect();
    elements(file)
        .into_iter()
        .filter(|(path, _)| comments.get(path.as_slice()).is_none_or(|comment| comment.trim().is_empty()))
        .map(|(_, name)| format!("{}: {name}", file.name()))
        .collect()
}

#[test]
fn every_element_is_defined_by_a_comment() {
    let files = contract();
    let count: usize = files.iter().map(|file| elements(file).len()).sum();
    assert!(count > 500, "only {count} elements were looked at");
    let missing: Vec<_> = files.iter().flat_map(uncommented).collect();
    assert!(missing.is_empty(), "without a comment:\n  {}", missing.join("\n  "));
}

#[test]
fn a_missing_comment_is_found() {
    let mut file = contract().into_iter().find(|file| file.name().ends_with("referral.proto")).unwrap();
    let field = [4, 0, 2, 1];
    for location in &mut file.source_code_info.as_mut().unwrap().location {
        if location.path == field {
            location.leading_comments = None;
        }
    }
    assert_eq!(uncommented(&file), ["portreeve/referral/v1/referral.proto: Target.url"]);
}

#[test]
fn writes_can_be_repeated_and_reads_can_wait() {
    let files = contract();
    let messages: BTreeMap<String, &DescriptorProto> = files
        .iter()
        .flat_map(|file| file.message_type.iter().map(move |of| (format!(".{}.{}", file.package(), of.name()), of)))
        .collect();
    let has = |message: &str, field: &str| messages[message].field.iter().any(|of| of.name() == field);
    // Whether a message or the items that it carries have the field.
    let carries = |message: &str, field: &str| {
        has(message, field)
            || messages[message]
                .field
                .iter()
                .any(|of| messages.contains_key(of.type_name()) && has(of.type_name(), field))
    };
    for method in files.iter().flat_map(|file| &file.service).flat_map(|service| &service.method) {
        let read = ["Get", "List", "Watch", "Query", "Export", "Download", "Check"]
            .iter()
            .any(|verb| method.name().starts_with(verb));
        let declared = method.options.as_ref().is_some_and(|options| {
            options.idempotency_level() == prost_types::method_options::IdempotencyLevel::NoSideEffects
        });
        assert_eq!(read, declared, "{}: idempotency_level", method.name());
        if read {
            // What the figures mean, and what the law is, is the same at any revision.
            let timeless = ["ListMeasures", "ListLegalBases"].contains(&method.name());
            assert!(has(method.input_type(), "at_least") || timeless, "{}", method.name());
        } else {
            assert!(carries(method.input_type(), "request_id"), "{}: request_id", method.name());
            assert!(has(method.output_type(), "revision"), "{}: revision", method.name());
            assert!(
                carries(method.output_type(), "replayed") || method.name() == "ImportReferrals",
                "{}: replayed",
                method.name()
            );
        }
        // What is taken from the inbox is acknowledged, and that is the place in it.
        if method.name().starts_with("Watch") && method.name() != "WatchInbox" {
            for field in ["resume_token", "checkpoint", "progress"] {
                assert!(has(method.output_type(), field), "{}: {field}", method.name());
            }
        }
    }
}

#[test]
fn the_reasons_of_the_contract_are_those_of_the_code() {
    let documented: BTreeSet<&str> = (1..1_000)
        .filter_map(|number| ErrorReason::try_from(number).ok())
        .map(|reason| reason.as_str_name().trim_start_matches("ERROR_REASON_"))
        .collect();
    let used: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(documented, used);
}
