//! Fuzz targets: every parser of what comes from outside, and what must hold of whatever it takes.
//!
//! Each is an ordinary test that tries some thousand inputs, put together from pieces that the parser knows and from
//! others. For longer, and led by what the code does with them: `cargo bolero test --package portreeve-core NAME`.

mod texts;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bolero::{check, one_value_of, produce};
use portreeve_core::agreement::AgreementName;
use portreeve_core::audit::{Checkpoint, SigningKey, checkpoint};
use portreeve_core::canonical::{HostAlias, Kept, Rewrite, RuleSet, Text, Versions};
use portreeve_core::location::{Location, parse_host};
use portreeve_core::name::{
    CaseName, ChallengeName, ClauseName, DecisionName, DraftName, EvidenceName, MeasureName, ObservationName,
    OrganisationKind, OrganisationName, ReferralName, ReviewFlagName, StayName, parse_parent, parse_version,
};
use portreeve_core::signature::{Content, Jwk, Jws, PrivateKey, PublicKey, verify};
use portreeve_core::token::{Page, Resume, Revision};
use portreeve_core::{Date, Reason, Timestamp, Violations, identity, limits};
use prost::Message as _;

use texts::{Edits, INPUTS, edited, edits, texts};

fn edited_text(text: &str, edits: &Edits) -> String {
    String::from_utf8_lossy(&edited(text.as_bytes(), edits)).into_owned()
}

/// What is read is written as it was.
fn one_spelling<T: FromStr + Display>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string(), text);
    }
}

/// A token as it is encoded, with whatever in it.
#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    log: String,
    #[prost(bytes = "vec", tag = "3")]
    epoch: Vec<u8>,
    #[prost(int64, tag = "4")]
    position: i64,
    #[prost(fixed64, tag = "5")]
    hash: u64,
    #[prost(bytes = "vec", optional, tag = "6")]
    after: Option<Vec<u8>>,
}

fn check_token(text: &str) {
    if let Ok(read) = Revision::decode(text) {
        assert_eq!(read.encode(), text);
    }
    if let Ok(read) = Resume::decode(text) {
        assert_eq!(read.encode(), text);
    }
    let query = 7;
    if let Ok(Some(after)) = Page::decode(text, query) {
        assert_eq!(Page { query, after }.encode(), text);
    }
}

#[test]
fn tokens() {
    let parts = (
        0_i32..5,
        one_value_of(["", "referral", "decision", "\u{e9}"]),
        produce::<Vec<u8>>().with().len(0_usize..10),
        one_value_of([0_i64, 1, 42, i64::MAX, -1, i64::MIN]),
        one_value_of([0_u64, 7, u64::MAX]),
        produce::<Option<Vec<u8>>>(),
        edits(),
    );
    check!().with_iterations(INPUTS).with_generator(parts).for_each(
        |(kind, log, epoch, position, hash, after, edits)| {
            let (log, epoch, after) = ((*log).to_owned(), epoch.clone(), after.clone());
            let wire = Wire { kind: *kind, log, epoch, position: *position, hash: *hash, after };
            let text = URL_SAFE_NO_PAD.encode(wire.encode_to_vec());
            check_token(&text);
            check_token(&edited_text(&text, edits));
            if let (Ok(epoch), 0..) = (wire.epoch.try_into(), wire.position) {
                let revision = Revision { log: wire.log, epoch, position: wire.position };
                assert_eq!(Revision::decode(&revision.encode()).as_ref(), Ok(&revision));
                let resume = Resume { revision, filter: wire.hash, snapshot_after: wire.after };
                assert_eq!(Resume::decode(&resume.encode()), Ok(resume));
            }
        },
    );
}

#[test]
fn urls() {
    const PIECES: &[&str] = &[
        "https://",
        "http://",
        "HTTPS:",
        "ftp://",
        "hb.example",
        "HB.Example",
        "xn--bcher-kva",
        "b\u{fc}cher",
        "%2e",
        "%",
        ".",
        "..",
        "/",
        "?",
        "#",
        "@",
        ":",
        "443",
        "0x7f",
        "127.1",
        "[::1]",
        "\\",
        "\t",
        " ",
        "\u{3002}",
        "\u{ff11}",
        "\u{df}",
        "\u{1f6a2}\u{1f6a2}\u{1f6a2}\u{1f6a2}\u{1f6a2}\u{1f6a2}\u{1f6a2}\u{1f6a2}",
        "a=b&c",
    ];
    let parts = (produce::<bool>(), texts(PIECES), produce::<char>(), one_value_of([0_usize, 0, 0, 200, 700, 2_100]));
    check!().with_iterations(4 * INPUTS).with_generator(parts).for_each(|(whole, text, last, times)| {
        let text = format!("{}{text}{}", if *whole { "https://" } else { "" }, last.to_string().repeat(*times));
        if let Ok(host) = parse_host(&text) {
            let location = Location::parse(&format!("https://{host}/")).unwrap();
            assert_eq!(location.host(), host);
        }
        let Ok(location) = Location::parse(&text) else { return };
        assert_eq!(location.raw(), text);
        let canonical = location.canonical();
        assert!(canonical.is_ascii() && canonical.len() <= limits::URL_CHARS_MAX, "{} bytes", canonical.len());
        let again = Location::parse(canonical).unwrap();
        assert_eq!((again.canonical(), again.host()), (canonical, location.host()));
        let (_, after_scheme) = canonical.split_once("://").unwrap();
        assert!(after_scheme.starts_with(location.host()), "{canonical} is not at {}", location.host());
        assert!(!canonical.contains('#') && !location.host().contains(|c: char| c.is_ascii_uppercase()));
    });
}

/// Whatever rules are taken, doing them again changes nothing; and a telephone number has one spelling.
#[test]
fn address_rules() {
    const PIECES: &[&str] = &[
        "/",
        "/",
        "hb.example",
        "m.hb.example",
        "*.",
        "{x:word}",
        "{x:any}",
        "{x:digits}",
        "{x}",
        "?p=",
        "?",
        "&q=",
        "p",
        "A",
        "a",
        "%41",
        "%c3%a9",
        "%",
        "{",
        "}",
        ":",
        "@",
        ".",
        "..",
        "utm_x",
        "7",
        "\u{e9}",
    ];
    let rules = (texts(PIECES), texts(PIECES), texts(PIECES), texts(PIECES));
    let parts = (rules, produce::<(bool, bool, bool)>(), texts(PIECES));
    check!().with_iterations(4 * INPUTS).with_generator(parts).for_each(|((from, to, path, name), flags, url)| {
        let text = Text {
            hosts: vec![HostAlias { alias: "m.hb.example".into(), host: "hb.example".into() }],
            dropped: if is_even(name) { vec![name.clone()] } else { Vec::new() },
            kept: if is_even(path) {
                vec![Kept { path: format!("/{path}"), names: vec!["p".into()] }]
            } else {
                Vec::new()
            },
            ignore_case: flags.0,
            ignore_trailing_slash: flags.1,
            ignore_repeated_slashes: flags.2,
            rewrites: vec![Rewrite { from: format!("/{from}"), to: format!("/{to}") }],
        };
        let mut violations = Violations::new();
        let read = RuleSet::read(text, "rules", &mut violations);
        assert_eq!(read.is_none(), !violations.is_empty());
        if let Ok(number) = Location::phone(url) {
            assert_eq!(Location::phone(&number.canonical()["tel:".len()..]).unwrap(), number);
        }
        let (Some(rules), Ok(location)) = (read, Location::parse(&format!("https://hb.example/{url}"))) else { return };
        let once = location.under(&rules, 1);
        let again = Location::recorded(once.canonical(), "", Versions::default()).unwrap().under(&rules, 1);
        assert_eq!(again.canonical(), once.canonical());
    });
}

fn is_even(text: &str) -> bool {
    text.len().is_multiple_of(2)
}

#[test]
fn names() {
    const PIECES: &[&str] = &[
        "agencies/",
        "platforms/",
        "oversightBodies/",
        "operators/",
        "services/",
        "agreements/",
        "/referrals/",
        "/measures/",
        "/reviewFlags/",
        "/cases/",
        "/clauses/",
        "/decisions/",
        "/challenges/",
        "/stays/",
        "nca",
        "harbourbook",
        "a",
        "-",
        "/",
        "0",
        "12",
        "+1",
        "0190b2f0-0000-7000-8000-00000000000a",
        "0190B2F0-0000-7000-8000-00000000000A",
        "4294967295",
    ];
    check!().with_iterations(4 * INPUTS).with_generator(texts(PIECES)).for_each(|text| {
        one_spelling::<OrganisationName>(text);
        one_spelling::<ReferralName>(text);
        one_spelling::<MeasureName>(text);
        one_spelling::<DraftName>(text);
        one_spelling::<EvidenceName>(text);
        one_spelling::<ReviewFlagName>(text);
        one_spelling::<ObservationName>(text);
        one_spelling::<ChallengeName>(text);
        one_spelling::<StayName>(text);
        one_spelling::<CaseName>(text);
        one_spelling::<DecisionName>(text);
        one_spelling::<ClauseName>(text);
        one_spelling::<AgreementName>(text);
        if let Some(version) = parse_version(text) {
            assert_eq!(version.to_string(), *text);
        }
        for kind in OrganisationKind::ALL {
            if let Ok(owner) = parse_parent(text, kind) {
                assert_eq!(format!("{}/{}", kind.collection(), owner.unwrap_or("-")), *text);
            }
        }
    });
}

#[test]
fn times() {
    const PIECES: &[&str] = &[
        "2020",
        "-009999",
        "9999",
        "0000",
        "-",
        "-01",
        "-12",
        "-31",
        "T",
        "09:00",
        ":00",
        ":60",
        ".",
        "5",
        "123456789",
        "Z",
        "+02:00",
        "-23:59",
        "[UTC]",
        " ",
        "2020-01-06",
        "2020-02-30",
    ];
    check!().with_iterations(4 * INPUTS).with_generator(texts(PIECES)).for_each(|text| {
        if let Ok(date) = text.parse::<Date>() {
            assert_eq!(date.to_string(), *text);
            assert_eq!(text.parse::<Timestamp>(), Ok(date.start()));
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            // What is written is read again, but for the one day that ends beyond what offsets reach.
            if !text.starts_with("9999-12-31") {
                assert_eq!(time.to_string().parse(), Ok(time));
            }
            let (seconds, nanos) = time.to_parts();
            assert!((0..1_000_000_000).contains(&nanos));
            assert_eq!(Timestamp::from_parts(seconds, nanos).unwrap_or(time), time);
        }
    });
}

#[test]
fn identities() {
    const PIECES: &[&str] = &[
        "portreeve://",
        "agencies/nca",
        "platforms/hb",
        "operators/op",
        "services/decision",
        "/members/",
        "j.doe",
        "?roles=",
        "officer",
        "approver",
        "reviewer",
        "service",
        ",",
        "%2C",
        "/",
        "@",
        "\u{e9}",
        "?",
        "&",
        "#",
    ];
    let known = (produce::<bool>(), texts(PIECES));
    check!().with_iterations(4 * INPUTS).with_generator(known).for_each(|(whole, text)| {
        let text = if *whole { format!("portreeve://agencies/nca{text}?roles=officer") } else { text.clone() };
        match identity::parse(&text) {
            Ok(read) => {
                assert_eq!(identity::uri(&read), text);
                assert!(text.len() <= limits::IDENTITY_CHARS_MAX && !read.roles().is_empty());
            }
            Err(error) => assert_eq!(error.reason(), Reason::CredentialInvalid),
        }
    });
}

#[test]
fn signatures() {
    const PIECES: &[&str] = &[
        "{",
        "}",
        "\"alg\":\"EdDSA\"",
        "\"alg\":\"none\"",
        "\"kid\":\"nca-2026\"",
        "\"kid\":\"\"",
        "\"iat\":1",
        "\"iat\":-1",
        "\"iat\":99999999999999",
        "\"crit\":[]",
        "\"b64\":null",
        ",",
        "\"x\":[[[[",
        " ",
    ];
    let key = PrivateKey::from_seed("nca-2026", [3; 32]);
    let public = PublicKey {
        kid: "nca-2026".into(),
        key: key.public(),
        valid_from: Timestamp::from_micros(i64::MIN),
        valid_until: Timestamp::from_micros(i64::MAX),
        revoked: None,
    };
    let parts = (texts(PIECES), produce::<Vec<u8>>(), edits());
    check!().with_iterations(INPUTS).with_generator(parts).for_each(|(header, payload, edits)| {
        let made = |header: &str| format!("{}..{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode([7; 64]));
        let signed = key.sign(payload, Timestamp::from_micros(1_000_000));
        let changed = edited_text(&signed, edits);
        for text in [header, &made(header), &made(&format!("{{{header}}}")), &changed] {
            let Ok(read) = Jws::parse(text) else { continue };
            assert_eq!(read.as_str(), text);
            assert!(text.len() <= limits::SIGNATURE_CHARS_MAX);
            let (seconds, nanos) = read.signed_at().to_parts();
            assert_eq!((Timestamp::from_parts(seconds, nanos), nanos), (Some(read.signed_at()), 0));
            // Nothing but what was signed counts.
            assert_eq!(verify(&read, payload, [&public]).is_ok(), *text == signed);
        }
        assert!(verify(&Jws::parse(&signed).unwrap(), payload, [&public]).is_ok());
    });
}

#[test]
fn keys() {
    let private = PrivateKey::from_seed("nca-2026", [3; 32]);
    let text = serde_json::to_string(&Jwk::private(&private)).unwrap();
    let more = one_value_of([
        "",
        ",\"iss\":\"agencies/nca\"",
        ",\"nbf\":1,\"exp\":2",
        ",\"nbf\":-99999999999999",
        ",\"exp\":1e3",
        ",\"revoked\":{\"revoked_at\":1}",
        ",\"revoked\":{\"revoked_at\":9223372036854775807,\"reason\":\"x\"}",
        ",\"y\":[[",
    ]);
    check!().with_iterations(INPUTS).with_generator((more, edits())).for_each(|(more, edits)| {
        let text = edited_text(&text.replace('}', &format!("{more}}}")), edits);
        let Ok(read) = serde_json::from_str::<Jwk>(&text) else { return };
        let again = serde_json::from_str::<Jwk>(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
        if let Some(key) = read.to_public() {
            let written = Jwk::public("agencies/nca", &key);
            assert!(written.d.is_none());
            // A key without times counts at any time, which no second can say.
            if read.nbf.is_some() && read.exp.is_some() {
                assert_eq!(written.to_public(), Some(key));
            }
        }
        if let Some(key) = read.to_private() {
            assert_eq!(Jwk::private(&key).to_private().unwrap().public(), key.public());
            if let Some(public) = read.to_public() {
                assert_eq!(public.key, key.public());
            }
        }
    });
}

/// Whoever reads the bytes that are signed reads what was said, and writes the same bytes.
#[test]
fn canonical_json() {
    const PIECES: &[&str] =
        &["\"", "\\", "\n", "\u{1}", "\u{7f}", "\u{2028}", "/", "}", "\u{1f6a2}", "\u{e9}", "e\u{301}"];
    let texts = || texts(PIECES);
    let parts = (texts(), texts(), texts(), produce::<Option<(i64, i32)>>());
    check!().with_iterations(INPUTS).with_generator(parts).for_each(|(url, reasons, native_id, at)| {
        let occurred_at = at.and_then(|(seconds, nanos)| {
            Timestamp::from_parts(seconds % 253_402_300_800, nanos.rem_euclid(1_000_000_000))
        });
        let content = Content { url, statement_of_reasons: reasons, native_id, occurred_at, ..Content::default() };
        let bytes = content.canonical();
        let read = serde_json::from_slice::<BTreeMap<String, String>>(&bytes).unwrap();
        assert_eq!(read.len(), 15);
        assert_eq!([&read["url"], &read["statement_of_reasons"], &read["native_id"]], [url, reasons, native_id]);
        let time = Some(read["occurred_at"].as_str()).filter(|time| !time.is_empty());
        assert_eq!(time.map(|time| time.parse().unwrap()), occurred_at);
        assert_eq!(serde_json::to_vec(&read).unwrap(), bytes);
    });
}

#[test]
fn signed_notes() {
    const PIECES: &[&str] = &[
        "portreeve/referral/abababababababab",
        "42",
        "\n",
        "\n\n",
        "\u{2014} ",
        "+",
        " ",
        "AAAA",
        "=",
        "-1",
        "0",
        "18446744073709551615",
        "\r",
        "\t",
    ];
    let key = SigningKey::from_seed([1; 32]);
    let origin = checkpoint::origin("referral", [0xab; 8]);
    let verifier = key.verifier(&origin);
    let parts = (produce::<i64>(), produce::<[u8; 32]>(), edits(), texts(PIECES), texts(PIECES));
    check!().with_iterations(INPUTS).with_generator(parts).for_each(|(size, root, edits, text, other)| {
        let said = Checkpoint { origin: origin.clone(), size: *size, root: *root };
        let signed = key.sign(&said);
        assert_eq!(signed.is_ok(), *size >= 0);
        let note = signed.unwrap_or_default();
        if *size >= 0 {
            assert_eq!(checkpoint::open(&note, &verifier).as_ref(), Ok(&said));
        }
        // Whatever else is made of it is refused, or says the same.
        for note in [edited_text(&note, edits), format!("{note}{text}"), format!("{text}{note}"), text.clone()] {
            if let Ok(read) = checkpoint::open(&note, &verifier) {
                assert_eq!(read, said);
            }
        }
        for key in [edited_text(&verifier, edits), other.clone()] {
            if let Ok(read) = checkpoint::open(&note, &key) {
                assert_eq!(read, said);
            }
        }
    });
}
