//! The contract keeps its promises: nothing that was released is taken back or changes its meaning on the wire, in JSON
//! or in generated code.
//!
//! `proto/released.binpb` is what was released. After an addition, write it anew:
//! `UPDATE_RELEASED=1 cargo nextest run -p portreeve-api --test breaking`. That refuses while something is broken.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::{env, fs};

use prost::Message as _;
use prost_types::field_descriptor_proto::Label;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};

const RELEASED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/released.binpb");

/// Everything that `new` breaks of `old`, one line each. Additions break nothing.
fn breaks(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let mut found = Vec::new();
    let files: BTreeMap<&str, &FileDescriptorProto> = new.file.iter().map(|file| (file.name(), file)).collect();
    for file in &old.file {
        let Some(now) = files.get(file.name()) else {
            found.push(format!("file {} was removed", file.name()));
            continue;
        };
        if file.package() != now.package() {
            found.push(format!("file {}: package {} became {}", file.name(), file.package(), now.package()));
        }
        let package = file.package();
        messages(package, &file.message_type, &now.message_type, &mut found);
        enums(package, &file.enum_type, &now.enum_type, &mut found);
        services(package, &file.service, &now.service, &mut found);
    }
    found
}

fn messages(scope: &str, old: &[DescriptorProto], new: &[DescriptorProto], found: &mut Vec<String>) {
    for message in old {
        let name = format!("{scope}.{}", message.name());
        let Some(now) = new.iter().find(|now| now.name() == message.name()) else {
            found.push(format!("message {name} was removed"));
            continue;
        };
        for field in &message.field {
            let path = format!("{name}.{}", field.name());
            let Some(then) = now.field.iter().find(|now| now.name() == field.name()) else {
                found.push(match now.field.iter().find(|now| now.number() == field.number()) {
                    Some(renamed) => format!("field {path} was renamed to {}", renamed.name()),
                    None => format!("field {path} was removed"),
                });
                continue;
            };
            if field.number() != then.number() {
                found.push(format!("field {path}: number {} became {}", field.number(), then.number()));
            }
            if kind(field) != kind(then) {
                found.push(format!("field {path}: type {} became {}", kind(field), kind(then)));
            }
            if field.json_name() != then.json_name() {
                found.push(format!("field {path}: JSON name {} became {}", field.json_name(), then.json_name()));
            }
            let (was, is) = (oneof(message, field), oneof(now, then));
            if was != is {
                found.push(format!("field {path}: moved from {was} to {is}"));
            }
        }
        for kept in &message.reserved_name {
            if !now.reserved_name.contains(kept) {
                found.push(format!("message {name}: the reserved name {kept} was freed"));
            }
        }
        for kept in &message.reserved_range {
            if !now.reserved_range.iter().any(|now| now.start() <= kept.start() && kept.end() <= now.end()) {
                found.push(format!("message {name}: reserved numbers from {} were freed", kept.start()));
            }
        }
        messages(&name, &message.nested_type, &now.nested_type, found);
        enums(&name, &message.enum_type, &now.enum_type, found);
    }
}

/// Type, cardinality and presence of a field, in words.
fn kind(field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Repeated => "repeated ",
        Label::Required => "required ",
        Label::Optional if field.proto3_optional() => "optional ",
        Label::Optional => "",
    };
    let of = if field.type_name().is_empty() { field.r#type().as_str_name() } else { field.type_name() };
    format!("{label}{of}")
}

/// The oneof that a field is in, in words.
fn oneof(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    match field.oneof_index {
        // An optional field has a oneof of its own, which `kind` tells.
        Some(index) if !field.proto3_optional() => {
            format!("oneof {}", message.oneof_decl[usize::try_from(index).unwrap()].name())
        }
        _ => "no oneof".to_owned(),
    }
}

fn enums(scope: &str, old: &[EnumDescriptorProto], new: &[EnumDescriptorProto], found: &mut Vec<String>) {
    for list in old {
        let name = format!("{scope}.{}", list.name());
        let Some(now) = new.iter().find(|now| now.name() == list.name()) else {
            found.push(format!("enum {name} was removed"));
            continue;
        };
        for value in &list.value {
            match now.value.iter().find(|now| now.name() == value.name()) {
                None => found.push(match now.value.iter().find(|now| now.number() == value.number()) {
                    Some(renamed) => format!("enum value {name}.{} was renamed to {}", value.name(), renamed.name()),
                    None => format!("enum value {name}.{} was removed", value.name()),
                }),
                Some(then) if then.number() != value.number() => {
                    let (was, is) = (value.number(), then.number());
                    found.push(format!("enum value {name}.{}: number {was} became {is}", value.name()));
                }
                Some(_) => {}
            }
        }
    }
}

fn services(scope: &str, old: &[ServiceDescriptorProto], new: &[ServiceDescriptorProto], found: &mut Vec<String>) {
    for service in old {
        let name = format!("{scope}.{}", service.name());
        let Some(now) = new.iter().find(|now| now.name() == service.name()) else {
            found.push(format!("service {name} was removed"));
            continue;
        };
        for method in &service.method {
            let path = format!("{name}.{}", method.name());
            let Some(then) = now.method.iter().find(|now| now.name() == method.name()) else {
                found.push(format!("method {path} was removed"));
                continue;
            };
            let mut compare = |what: &str, was: &str, is: &str| {
                if was != is {
                    found.push(format!("method {path}: {what} {was} became {is}"));
                }
            };
            compare("request", method.input_type(), then.input_type());
            compare("response", method.output_type(), then.output_type());
            let way = |streams| if streams { "stream" } else { "single" };
            compare("request", way(method.client_streaming()), way(then.client_streaming()));
            compare("response", way(method.server_streaming()), way(then.server_streaming()));
            let level = |options: &Option<prost_types::MethodOptions>| {
                options.as_ref().map_or("unset", |options| options.idempotency_level().as_str_name())
            };
            compare("idempotency", level(&method.options), level(&then.options));
        }
    }
}

/// The contract in a descriptor set, without what it imports.
fn contract(descriptors: &[u8]) -> FileDescriptorSet {
    let mut set = FileDescriptorSet::decode(descriptors).unwrap();
    set.file.retain(|file| file.package().starts_with("portreeve."));
    set
}

#[test]
fn the_contract_breaks_nothing_that_was_released() {
    let current = contract(portreeve_api::FILE_DESCRIPTOR_SET);
    // Without a release there is nothing to break; the other test then asks for one.
    let released = contract(&fs::read(RELEASED).unwrap_or_default());
    let found = breaks(&released, &current);
    assert!(found.is_empty(), "the contract breaks what was released:\n  {}", found.join("\n  "));

    if env::var_os("UPDATE_RELEASED").is_some() {
        fs::write(RELEASED, portreeve_api::FILE_DESCRIPTOR_SET).unwrap();
    }
}

#[test]
fn what_is_released_is_the_contract_of_today() {
    if env::var_os("UPDATE_RELEASED").is_some() {
        return;
    }
    let released = contract(&fs::read(RELEASED).unwrap());
    let missing = breaks(&contract(portreeve_api::FILE_DESCRIPTOR_SET), &released);
    assert!(
        missing.is_empty(),
        "proto/released.binpb lacks additions (see the head of this file):\n  {}",
        missing.join("\n  ")
    );
}

/// A small contract, changed by `change`, against itself.
fn broken_by(change: impl FnOnce(&mut FileDescriptorProto)) -> Vec<String> {
    let source = r#"
        syntax = "proto3";
        package p.v1;
        message M {
          reserved 9;
          reserved "gone";
          string text = 1;
          repeated int32 numbers = 2;
          optional uint32 maybe = 3;
          oneof choice { string left = 4; string right = 5; }
          Inner inner = 6;
          message Inner { bool yes = 1; enum Deep { DEEP_UNSPECIFIED = 0; } }
        }
        enum E { E_UNSPECIFIED = 0; E_ONE = 1; }
        service S {
          rpc Read(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
          rpc Watch(M) returns (stream M);
        }
    "#;
    let folder =
        env::temp_dir().join(format!("portreeve-contract-{}-{:?}", std::process::id(), std::thread::current().id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("p.proto"), source).unwrap();
    let old = protox::compile(["p.proto"], [&folder]).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let mut new = old.clone();
    change(&mut new.file[0]);
    breaks(&old, &new)
}

#[test]
fn every_kind_of_break_is_found() {
    let nothing: [String; 0] = [];
    assert_eq!(broken_by(|_| ()), nothing);

    // Fields.
    assert_eq!(broken_by(|f| drop(f.message_type[0].field.remove(0))), ["field p.v1.M.text was removed"]);
    assert_eq!(
        broken_by(|f| f.message_type[0].field[0].name = Some("words".to_owned())),
        ["field p.v1.M.text was renamed to words"]
    );
    assert_eq!(broken_by(|f| f.message_type[0].field[0].number = Some(7)), ["field p.v1.M.text: number 1 became 7"]);
    assert_eq!(
        broken_by(|f| f.message_type[0].field[0].set_type(prost_types::field_descriptor_proto::Type::Bytes)),
        ["field p.v1.M.text: type TYPE_STRING became TYPE_BYTES"]
    );
    assert_eq!(
        broken_by(|f| f.message_type[0].field[5].type_name = Some(".p.v1.M".to_owned())),
        ["field p.v1.M.inner: type .p.v1.M.Inner became .p.v1.M"]
    );
    assert_eq!(
        broken_by(|f| f.message_type[0].field[1].set_label(Label::Optional)),
        ["field p.v1.M.numbers: type repeated TYPE_INT32 became TYPE_INT32"]
    );
    assert_eq!(
        broken_by(|f| f.message_type[0].field[2].proto3_optional = None),
        [
            "field p.v1.M.maybe: type optional TYPE_UINT32 became TYPE_UINT32",
            "field p.v1.M.maybe: moved from no oneof to oneof _maybe"
        ]
    );
    assert_eq!(
        broken_by(|f| f.message_type[0].field[0].json_name = Some("Text".to_owned())),
        ["field p.v1.M.text: JSON name text became Text"]
    );

    // Oneofs and reservations.
    assert_eq!(
        broken_by(|f| f.message_type[0].field[0].oneof_index = Some(0)),
        ["field p.v1.M.text: moved from no oneof to oneof choice"]
    );
    assert_eq!(
        broken_by(|f| f.message_type[0].field[3].oneof_index = None),
        ["field p.v1.M.left: moved from oneof choice to no oneof"]
    );
    assert_eq!(
        broken_by(|f| f.message_type[0].reserved_name.clear()),
        ["message p.v1.M: the reserved name gone was freed"]
    );
    assert_eq!(
        broken_by(|f| f.message_type[0].reserved_range.clear()),
        ["message p.v1.M: reserved numbers from 9 were freed"]
    );

    // Messages and enums, nested ones too.
    assert_eq!(broken_by(|f| f.message_type.clear()), ["message p.v1.M was removed"]);
    assert_eq!(broken_by(|f| f.message_type[0].nested_type.clear()), ["message p.v1.M.Inner was removed"]);
    assert_eq!(broken_by(|f| f.enum_type.clear()), ["enum p.v1.E was removed"]);
    assert_eq!(
        broken_by(|f| f.message_type[0].nested_type[0].enum_type.clear()),
        ["enum p.v1.M.Inner.Deep was removed"]
    );
    assert_eq!(broken_by(|f| drop(f.enum_type[0].value.remove(1))), ["enum value p.v1.E.E_ONE was removed"]);
    assert_eq!(
        broken_by(|f| f.enum_type[0].value[1].name = Some("E_UNO".to_owned())),
        ["enum value p.v1.E.E_ONE was renamed to E_UNO"]
    );
    assert_eq!(broken_by(|f| f.enum_type[0].value[1].number = Some(2)), ["enum value p.v1.E.E_ONE: number 1 became 2"]);

    // Services, files and packages.
    assert_eq!(broken_by(|f| f.service.clear()), ["service p.v1.S was removed"]);
    assert_eq!(broken_by(|f| drop(f.service[0].method.remove(0))), ["method p.v1.S.Read was removed"]);
    assert_eq!(
        broken_by(|f| f.service[0].method[0].input_type = Some(".p.v1.M.Inner".to_owned())),
        ["method p.v1.S.Read: request .p.v1.M became .p.v1.M.Inner"]
    );
    assert_eq!(
        broken_by(|f| f.service[0].method[0].output_type = Some(".p.v1.M.Inner".to_owned())),
        ["method p.v1.S.Read: response .p.v1.M became .p.v1.M.Inner"]
    );
    assert_eq!(
        broken_by(|f| f.service[0].method[0].client_streaming = Some(true)),
        ["method p.v1.S.Read: request single became stream"]
    );
    assert_eq!(
        broken_by(|f| f.service[0].method[1].server_streaming = None),
        ["method p.v1.S.Watch: response stream became single"]
    );
    assert_eq!(
        broken_by(|f| f.service[0].method[0].options = None),
        ["method p.v1.S.Read: idempotency NO_SIDE_EFFECTS became unset"]
    );
    assert_eq!(broken_by(|f| f.name = Some("q.proto".to_owned())), ["file p.proto was removed"]);
    assert_eq!(broken_by(|f| f.package = Some("p.v2".to_owned())), ["file p.proto: package p.v1 became p.v2"]);
}

#[test]
fn additions_break_nothing() {
    let nothing: [String; 0] = [];
    assert_eq!(
        broken_by(|f| {
            let mut field = f.message_type[0].field[0].clone();
            (field.name, field.number) = (Some("more".to_owned()), Some(20));
            f.message_type[0].field.push(field);
            let mut value = f.enum_type[0].value[0].clone();
            (value.name, value.number) = (Some("E_TWO".to_owned()), Some(2));
            f.enum_type[0].value.push(value);
            let mut method = f.service[0].method[0].clone();
            method.name = Some("List".to_owned());
            f.service[0].method.push(method);
            let mut message = f.message_type[0].clone();
            message.name = Some("N".to_owned());
            f.message_type.push(message);
        }),
        nothing
    );
}
