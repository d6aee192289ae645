//! The dependency rule, over `cargo metadata` and the sources: dependencies point one way, and what a layer must not know
//! it does not name.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use portreeve_core::Reason;

/// What a crate of the workspace may depend on, of the workspace and of the libraries that a rule is about.
const MAY_DEPEND: [(&str, &[&str]); 9] = [
    ("portreeve-core", &["prost"]),
    ("portreeve-api", &["portreeve-core", "prost", "tonic", "tokio"]),
    ("portreeve-storage", &["portreeve-core", "sqlx", "tokio", "object_store"]),
    ("portreeve-runtime", &["portreeve-core", "portreeve-api", "portreeve-storage", "prost", "tonic", "tokio"]),
    (
        "portreeve-consultation",
        &[
            "portreeve-core",
            "portreeve-api",
            "portreeve-storage",
            "portreeve-runtime",
            "prost",
            "tonic",
            "sqlx",
            "tokio",
        ],
    ),
    ("portreeve-referral", SERVICE),
    ("portreeve-decision", SERVICE),
    ("portreeve-reporting", SERVICE),
    (
        "portreeve",
        &[
            "portreeve-core",
            "portreeve-api",
            "portreeve-storage",
            "portreeve-runtime",
            "portreeve-consultation",
            "portreeve-referral",
            "portreeve-decision",
            "portreeve-reporting",
            "prost",
            "tonic",
            "tokio",
        ],
    ),
];
const SERVICE: &[&str] = &[
    "portreeve-core",
    "portreeve-api",
    "portreeve-storage",
    "portreeve-runtime",
    "portreeve-consultation",
    "prost",
    "tonic",
    "sqlx",
    "tokio",
];

/// The libraries that a rule is about.
const WATCHED: [&str; 5] = ["prost", "tonic", "sqlx", "tokio", "object_store"];

/// A source file: its path under `services/`, and its text without comments and strings.
struct Source {
    path: String,
    code: String,
}

/// One file names what its layer must not know.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    path: String,
    rule: &'static str,
}

/// A rule: what must not be named, and where it may be.
struct Rule {
    says: &'static str,
    names: &'static [&'static str],
    allowed: fn(&str) -> bool,
}

fn is_service(path: &str) -> bool {
    ["consultation/", "referral/", "decision/", "reporting/"].iter().any(|service| path.starts_with(service))
}

fn is_domain(path: &str) -> bool {
    is_service(path) && path.contains("/src/domain/")
}

const RULES: [Rule; 7] = [
    Rule {
        says: "core is pure",
        names: &["tokio", "tonic", "sqlx", "std::fs", "std::net", "std::thread"],
        allowed: |path| !path.starts_with("core/"),
    },
    Rule {
        says: "only storage and the services' stores speak SQL",
        names: &["sqlx"],
        allowed: |path| path.starts_with("storage/") || is_service(path) && path.contains("/src/store/"),
    },
    Rule {
        says: "only runtime, api, the services' rpc (and the types of the servers in their lib.rs), their pages and the binary speak gRPC",
        names: &["tonic", "tonic_types"],
        allowed: |path| {
            ["runtime/", "api/", "portreeve/"].iter().any(|root| path.starts_with(root))
                || is_service(path)
                    && (path.contains("/src/rpc/") || path.contains("/src/page/") || path.ends_with("/src/lib.rs"))
        },
    },
    Rule {
        says: "a domain knows neither the wire, nor the store, nor the runtime",
        names: &[
            "sqlx",
            "tonic",
            "tokio",
            "prost",
            "portreeve_api",
            "portreeve_runtime",
            "portreeve_storage",
            "portreeve_consultation",
            "crate::rpc",
            "crate::store",
        ],
        allowed: |path| !is_domain(path),
    },
    Rule {
        says: "services know each other by their public streams only",
        names: &["portreeve_referral", "portreeve_decision", "portreeve_reporting"],
        allowed: |path| path.starts_with("portreeve/"),
    },
    Rule {
        says: "the time and random identifiers are passed in",
        names: &["SystemTime::now", "Utc::now", "Timestamp::now(", "Zoned::now", "Uuid::new_v4", "Uuid::now_v7"],
        allowed: |path| path == "core/src/time.rs" || path == "core/src/id.rs",
    },
    Rule {
        says: "only one module knows what keeps objects",
        names: &["object_store"],
        allowed: |path| path == "storage/src/objects.rs",
    },
];

/// Every breach of the rules.
fn breaches(sources: &[Source]) -> Vec<Breach> {
    let mut found = Vec::new();
    for source in sources {
        for rule in &RULES {
            if !(rule.allowed)(&source.path) && rule.names.iter().any(|name| names(&source.code, name)) {
                found.push(Breach { path: source.path.clone(), rule: rule.says });
            }
        }
    }
    found.sort();
    found
}

/// Whether code names a path: as a whole word, so that `tonic` is not found in `diatonic` or in `tonic_types`.
fn names(code: &str, name: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        !before.is_some_and(part_of_word) && (name.ends_with('(') || !after.is_some_and(part_of_word))
    })
}

/// The code without its comments and without what is in its strings, both of which may name anything; and without its
/// tests, which may know more than what they test.
fn code_alone(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let mut code = String::new();
    for line in text.lines() {
        let mut in_string = false;
        let mut characters = line.chars().peekable();
        while let Some(c) = characters.next() {
            match c {
                '\\' if in_string => _ = characters.next(),
                '"' => in_string = !in_string,
                '/' if !in_string && characters.peek() == Some(&'/') => break,
                _ if in_string => {}
                c => code.push(c),
            }
        }
        code.push('\n');
    }
    code
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path, root: &Path, into: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, root, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            // Tests of a domain may use what its service uses; so may build scripts.
            if relative.contains("/src/") && !relative.contains("/tests/") && !relative.contains("/conformance/") {
                into.push(Source { path: relative, code: code_alone(&std::fs::read_to_string(&path).unwrap()) });
            }
        }
    }
}

/// What each crate of the workspace depends on, of what the rule is about.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap();
    let of = |package: &cargo_metadata::Package| {
        let depends = package.dependencies.iter().filter(|it| it.kind == cargo_metadata::DependencyKind::Normal);
        let about = depends
            .map(|it| it.name.clone())
            .filter(|name| name.starts_with("portreeve") || WATCHED.contains(&name.as_str()));
        (package.name.to_string(), about.collect::<Vec<_>>())
    };
    metadata.packages.iter().map(of).collect()
}

/// The dependencies that no crate may have.
fn wrong_ways(dependencies: &BTreeMap<String, Vec<String>>) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    for (name, depends) in dependencies {
        let Some((_, may)) = MAY_DEPEND.iter().find(|(known, _)| known == name) else { continue };
        wrong.extend(depends.iter().filter(|it| !may.contains(&it.as_str())).map(|it| (name.clone(), it.clone())));
    }
    wrong
}

#[test]
fn dependencies_point_one_way() {
    let dependencies = dependencies();
    for (name, _) in MAY_DEPEND {
        assert!(dependencies.contains_key(name), "{name} is not in the workspace");
    }
    let unknown = dependencies.keys().filter(|name| MAY_DEPEND.iter().all(|(known, _)| known != name));
    let tests = unknown.filter(|name| !["portreeve-tests", "portreeve-bench"].contains(&name.as_str()));
    assert_eq!(tests.collect::<Vec<_>>(), Vec::<&String>::new(), "a new crate needs its rule here");
    assert_eq!(wrong_ways(&dependencies), []);
}

#[test]
fn no_layer_names_what_it_must_not_know() {
    let root = root().join("services");
    let mut all = Vec::new();
    sources(&root, &root, &mut all);
    assert!(all.len() > 80, "{} sources", all.len());
    assert_eq!(breaches(&all), []);
}

#[test]
fn every_reason_is_documented() {
    let contract = std::fs::read_to_string(root().join("proto/portreeve/common/v1/error_reason.proto")).unwrap();
    for reason in Reason::ALL {
        let value = format!("  ERROR_REASON_{} = ", reason.as_str());
        let (before, _) = contract.split_once(&value).unwrap_or_else(|| panic!("{value} is not in the contract"));
        let comment = before.rsplit("\n\n").next().unwrap();
        assert!(comment.lines().all(|line| line.trim().starts_with("//") || line.is_empty()), "{value}: {comment}");
        for part in ["Metadata:", "Next:"] {
            assert!(comment.replace("\n  // ", " ").contains(part), "{value} does not say its {part}");
        }
    }
    let values = contract.lines().filter(|line| line.starts_with("  ERROR_REASON_")).count();
    assert_eq!(values, Reason::ALL.len() + 1, "a value that no server gives");
}

#[test]
fn unsafe_stays_denied_and_every_crate_keeps_the_lints() {
    for entry in std::fs::read_dir(root().join("services")).unwrap() {
        let manifest = std::fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{manifest}");
    }
}

/// A made-up tree in which everything is wrong: what the rules would say of it.
#[test]
fn the_rules_can_fail() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), code: code_alone(text) };
    let tree = [
        source("core/src/lib.rs", "use tokio::sync::mpsc;\n"),
        source("core/src/time.rs", "fn now() { std::time::SystemTime::now(); }\n"),
        source("referral/src/domain/mod.rs", "use portreeve_api::referral::v1 as wire;\n"),
        source("referral/src/domain/good.rs", "// sqlx and tonic are named in a comment\nconst A: &str = \"tonic\";\n"),
        source("referral/src/rpc/mod.rs", "use tonic::Status;\nfn f() { sqlx::query(\"SELECT 1\"); }\n"),
        source("referral/src/store/sql/mod.rs", "use sqlx::Row;\n"),
        source("decision/src/lib.rs", "use portreeve_referral::Service; use tonic::transport::Channel;\n"),
        source("decision/src/store/mod.rs", "use tonic::Status;\n"),
        source("reporting/src/rpc/mod.rs", "fn f() { let now = jiff::Timestamp::now(); }\n"),
        source("reporting/src/rpc/good.rs", "fn f() { diatonic(); }\n\n#[cfg(test)]\nmod tests { use sqlx::Row; }\n"),
        source("portreeve/src/main.rs", "use portreeve_referral::Service; use sqlx::Row;\n"),
        source("storage/src/objects.rs", "use object_store::ObjectStore;\n"),
        source("storage/src/writer.rs", "use object_store::ObjectStore;\n"),
    ];
    let found = breaches(&tree);
    let expected = [
        ("core/src/lib.rs", 0),
        ("decision/src/lib.rs", 4),
        ("decision/src/store/mod.rs", 2),
        ("portreeve/src/main.rs", 1),
        ("referral/src/domain/mod.rs", 3),
        ("referral/src/rpc/mod.rs", 1),
        ("reporting/src/rpc/mod.rs", 5),
        ("storage/src/writer.rs", 6),
    ];
    let expected = expected.map(|(path, rule)| Breach { path: path.to_owned(), rule: RULES[rule].says });
    assert_eq!(found, expected);

    let depends = |name: &str, on: &[&str]| (name.to_owned(), on.iter().map(|it| (*it).to_owned()).collect());
    let tree = BTreeMap::from([
        depends("portreeve-core", &["prost", "tokio"]),
        depends("portreeve-storage", &["portreeve-core", "portreeve-api"]),
        depends("portreeve-decision", &["portreeve-core", "portreeve-referral"]),
    ]);
    let wrong = [
        ("portreeve-core", "tokio"),
        ("portreeve-decision", "portreeve-referral"),
        ("portreeve-storage", "portreeve-api"),
    ];
    assert_eq!(wrong_ways(&tree), wrong.map(|(name, on)| (name.to_owned(), on.to_owned())));
}
