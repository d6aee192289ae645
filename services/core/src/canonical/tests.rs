use proptest::prelude::*;

use super::*;
use crate::location::Location;

/// One change of what the rules say.
type Change = fn(&mut Text);

fn alias(alias: &str, host: &str) -> HostAlias {
    HostAlias { alias: alias.into(), host: host.into() }
}

fn rewrite(from: &str, to: &str) -> Rewrite {
    Rewrite { from: from.into(), to: to.into() }
}

/// The rules of an invented platform.
fn harbourbook() -> Text {
    Text {
        hosts: vec![
            alias("*.harbourbook.example", "harbourbook.example"),
            alias("hbook.example", "harbourbook.example"),
        ],
        dropped: vec!["ref".into(), "__hb*".into()],
        kept: vec![
            Kept { path: "/watch".into(), names: vec!["v".into()] },
            Kept { path: "/profile.php".into(), names: vec!["id".into()] },
        ],
        ignore_case: true,
        ignore_trailing_slash: true,
        ignore_repeated_slashes: true,
        rewrites: vec![
            rewrite("harbourbook.example/profile.php?id={id:digits}", "harbourbook.example/{id}"),
            rewrite("hb.example/{code:word}", "harbourbook.example/watch?v={code}"),
            rewrite("/reel/{code:word}/{slug:any}", "/reel/{code}"),
            rewrite("/@{handle:word}", "/people/{handle}"),
        ],
    }
}

fn read(text: Text) -> Result<RuleSet, Vec<(String, String)>> {
    let mut violations = Violations::new();
    let read = RuleSet::read(text, "rules", &mut violations);
    match violations.into_result() {
        Ok(()) => Ok(read.unwrap()),
        Err(error) => {
            assert!(read.is_none());
            Err(error.violations().iter().map(|wrong| (wrong.field.clone(), wrong.description.clone())).collect())
        }
    }
}

fn canonical(rules: &RuleSet, url: &str) -> String {
    Location::parse(url).unwrap().under(rules, 1).canonical().to_owned()
}

#[test]
fn what_is_one_place_is_spelt_in_one_way() {
    let rules = read(harbourbook()).unwrap();
    for (expected, variants) in [
        (
            "https://harbourbook.example/groups/boats",
            &[
                "http://m.harbourbook.example/groups/boats/",
                "https://WWW.harbourbook.example.:443//Groups///Boats?utm_source=x&fbclid=1#posts",
                "https://hbook.example/%67roups/boats?ref=share&__hb_t=1&",
                "http://harbourbook.example:443/groups/./boats",
            ][..],
        ),
        (
            "https://harbourbook.example/4711",
            &[
                "https://harbourbook.example/profile.php?sk=about&id=4711",
                "https://m.harbourbook.example/Profile.php?id=4711",
            ],
        ),
        (
            "https://harbourbook.example/watch?v=aB-9_x",
            &["https://hb.example/aB-9_x?igsh=1", "https://harbourbook.example/watch/?t=30&v=aB-9_x"],
        ),
        ("https://harbourbook.example/reel/7", &["https://harbourbook.example/Reel/7/how-to-cross?x=1"]),
        ("https://harbourbook.example/people/ali.b", &["https://m.harbourbook.example/@Ali.B/"]),
        ("https://harbourbook.example/caf%C3%A9?a=1&b=2&b=1", &["https://harbourbook.example/cafe\u{301}?b=2&b=1&a=1"]),
        (
            "https://harbourbook.example:8443/",
            &["http://harbourbook.example:8443", "https://harbourbook.example:8443/?"],
        ),
    ] {
        for url in variants.iter().chain([&expected]) {
            assert_eq!(canonical(&rules, url), expected, "{url}");
        }
    }
    // Two places stay two.
    for (one, other) in [
        ("https://harbourbook.example/a%2Fb", "https://harbourbook.example/a/b"),
        ("https://harbourbook.example/profile.php?id=x", "https://harbourbook.example/x"),
        ("https://harbourbook.example/watch?v=a", "https://harbourbook.example/watch?v=A"),
        ("https://harbourbook.example/\u{430}", "https://harbourbook.example/a"),
        ("https://harbourbook.example/?id=1", "https://harbourbook.example/?id=2"),
    ] {
        assert_ne!(canonical(&rules, one), canonical(&rules, other), "{one}");
    }
    // Without rules of the platform's own, what might tell something stays.
    let base = RuleSet::default();
    let expected = "https://m.harbourbook.example/A//b/?ref=1";
    assert_eq!(canonical(&base, "http://m.harbourbook.example/A//b/?utm_x=1&ref=1"), expected);
    let number = Location::phone("+44 7700 900123").unwrap().under(&rules, 3);
    assert_eq!((number.canonical(), number.versions().platform), ("tel:+447700900123", 3));
    assert_ne!(key("https://hb.example/a"), key("https://hb.example/b"));
}

#[test]
fn rules_that_would_not_come_to_rest_are_refused_by_name() {
    let set = |change: Change| {
        let mut text = harbourbook();
        change(&mut text);
        text
    };
    let cases: [(&str, Change); 22] = [
        ("rules.kept_parameters[2].path", |text| text.kept.push(Kept { path: "/A".into(), names: vec![] })),
        ("rules.hosts[2].host", |text| text.hosts.push(alias("x.example", "m.harbourbook.example"))),
        ("rules.hosts[2].host", |text| text.hosts.push(alias("x.example", "x.example"))),
        ("rules.hosts[2].alias", |text| text.hosts.push(alias("*.*.example", "harbourbook.example"))),
        ("rules.dropped_parameters[2]", |text| text.dropped.push("*".into())),
        ("rules.dropped_parameters[2]", |text| text.dropped.push("a=b".into())),
        ("rules.kept_parameters[2].path", |text| text.kept.push(Kept { path: "/a?b={b:any}".into(), names: vec![] })),
        ("rules.kept_parameters[0].names[1]", |text| text.kept[0].names.push("a&b".into())),
        // It would be taken up again: by itself, by another, and by way of what is wider than it seems.
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/a/{x:any}", "/a/{x}"))),
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/p/{x:digits}", "/profile.php?id={x}"))),
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/p/{x:any}", "hb.example/{x}"))),
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/p/{x:word}", "/@{x}"))),
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/{x:word}/{y:word}", "/{y}/{x}"))),
        // The other rules would write it otherwise.
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/p/{x:word}", "/People/{x}"))),
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/p/{x:word}", "/people/{x}/"))),
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/p/{x:word}", "/watch?t={x}"))),
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/p/{x:word}", "m.harbourbook.example/p2/{x}"))),
        ("rules.rewrites[4].from", |text| text.rewrites.push(rewrite("/p?ref={x:word}", "/p/{x}"))),
        ("rules.rewrites[4].from", |text| text.rewrites.push(rewrite("/P/{x:word}", "/q/{x}"))),
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/p/{x:word}", "/q/{y}"))),
        ("rules.rewrites[4].to", |text| text.rewrites.push(rewrite("/p/{x:digits}", "/q/{x:word}"))),
        ("rules.rewrites[4].from", |text| text.rewrites.push(rewrite("/p/{x}", "/q/{x}"))),
    ];
    for (index, (field, change)) in cases.into_iter().enumerate() {
        let refused = read(set(change)).unwrap_err();
        assert!(refused.iter().any(|(at, _)| at == field), "case {index}: {field} in {refused:?}");
    }
    for wrong in [
        "",
        "p",
        "/{x:any",
        "/a{x:any}",
        "/{x:word}b",
        "/{X:word}",
        "/a b",
        "/a?b",
        "/a?b=1&b=2",
        "HB.example/a",
        "/{x:word}/{x:word}",
        "/p*",
    ] {
        let text = Text { rewrites: vec![rewrite(wrong, "/q")], ..Text::default() };
        assert!(read(text).is_err(), "{wrong}");
    }
    // As long as they may be, and longer.
    let long = |chars: usize| Text {
        rewrites: vec![rewrite(&format!("/{}", "p".repeat(chars - 1)), "/q")],
        ..Text::default()
    };
    assert!(read(long(crate::limits::ADDRESS_TEMPLATE_CHARS_MAX)).is_ok());
    assert!(read(long(crate::limits::ADDRESS_TEMPLATE_CHARS_MAX + 1)).is_err());
    // The hosts are told with their fields, for whoever knows whose they are.
    let named = read(harbourbook()).unwrap();
    assert!(named.hosts().contains(&("rewrites[1].from".into(), "hb.example")));
    assert!(named.hosts().contains(&("hosts[0].alias".into(), "harbourbook.example")));
}

/// Rules from few words, so that they meet one another.
fn any_text() -> impl Strategy<Value = Text> {
    const HOSTS: [&str; 3] = ["hb.example", "m.hb.example", "x.hb.example"];
    const ALIASES: [&str; 3] = ["*.hb.example", "m.hb.example", "x.hb.example"];
    fn of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
        prop::sample::select(words)
    }
    let place = || of(&["", "", "hb.example", "m.hb.example", "x.hb.example"]);
    let path = || of(&["", "/a", "/B", "/b", "/%C3%A9", "/c/d", "/"]);
    let from = (
        place(),
        path(),
        of(&["/{x:word}", "/{x:any}", "/{x:digits}", "/@{x:word}", "?p={x:any}", "?q={x:digits}", "/{x:word}?q=7"]),
    );
    let to = (place(), path(), of(&["/{x}", "/{x}", "/@{x}", "?p={x}", "/{x}?q=7", "/a/", ""]));
    let joined = |(host, path, rest): (&str, &str, &str)| {
        let slash = if path.is_empty() && !rest.starts_with('/') { "/" } else { "" };
        format!("{host}{path}{slash}{rest}")
    };
    let kept = (place(), path(), prop::collection::vec(of(&["p", "q"]), 0..2));
    (
        prop::collection::vec((of(&ALIASES), of(&HOSTS)), 0..2),
        prop::collection::vec(of(&["p", "q", "r", "P*"]), 0..2),
        prop::collection::vec(kept, 0..2),
        any::<[bool; 3]>(),
        prop::collection::vec((from.prop_map(joined), to.prop_map(joined)), 0..3),
    )
        .prop_map(move |(hosts, dropped, kept, flags, rewrites)| Text {
            hosts: hosts.into_iter().map(|(of, host)| alias(of, host)).collect(),
            dropped: dropped.into_iter().map(str::to_owned).collect(),
            kept: kept
                .into_iter()
                .map(|(host, path, names)| Kept {
                    path: joined((host, path, "")),
                    names: names.into_iter().map(str::to_owned).collect(),
                })
                .collect(),
            ignore_case: flags[0],
            ignore_trailing_slash: flags[1],
            ignore_repeated_slashes: flags[2],
            rewrites: rewrites.iter().map(|(from, to)| rewrite(from, to)).collect(),
        })
}

fn any_url() -> impl Strategy<Value = String> {
    const PIECES: [&str; 40] = [
        "a",
        "A",
        "b",
        "7",
        "/",
        "/",
        "//",
        "/a/",
        "/b/",
        "/7/",
        "/x",
        "@",
        "%41",
        "%2e",
        "%2F",
        "%",
        "%c3%a9",
        "e\u{301}",
        "\u{e9}",
        "J\u{30c}",
        "\u{37e}",
        "\u{212a}",
        "?p=",
        "?q=7",
        "?p=x",
        "&",
        "p=a",
        "q=7",
        "utm_x=1",
        "=",
        "+",
        "%20",
        ".",
        "..",
        ";",
        "|",
        "'",
        "%ff",
        "\u{1f6a2}",
        "c/d",
    ];
    const HOSTS: [&str; 4] =
        ["https://hb.example", "http://M.hb.example", "https://x.hb.example.", "http://hb.example:443"];
    let pieces = prop::collection::vec(prop::sample::select(&PIECES[..]), 0..7);
    (prop::sample::select(&HOSTS[..]), pieces).prop_map(|(host, pieces)| format!("{host}/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_global_rejects: 200_000, ..ProptestConfig::default() })]

    #[test]
    fn doing_it_again_changes_nothing(text in any_text(), urls in prop::collection::vec(any_url(), 12)) {
        let Ok(rules) = read(text) else { return Err(TestCaseError::reject("refused")) };
        for url in urls {
            let Ok(location) = Location::parse(&url) else { continue };
            let once = location.under(&rules, 1);
            let again = Location::recorded(once.canonical(), "", Versions::default()).unwrap();
            let twice = again.under(&rules, 1);
            prop_assert_eq!(once.canonical(), twice.canonical(), "{}", url);
        }
    }

    #[test]
    fn variants_come_back(
        path in prop::collection::vec("[a-z0-9]{1,6}", 1..4),
        parameters in prop::collection::btree_map("[a-j]{1,3}", "[a-z0-9]{0,4}", 0..4),
        mobile in any::<bool>(),
        plain in any::<bool>(),
        upper in any::<bool>(),
        encode in any::<prop::sample::Index>(),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let rules = read(Text { kept: Vec::new(), rewrites: Vec::new(), ..harbourbook() }).unwrap();
        let path = path.join("/");
        let joined = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let mark = if joined.is_empty() { "" } else { "?" };
        let canonical_url = format!("https://harbourbook.example/{path}{mark}{}", joined.join("&"));
        prop_assert_eq!(canonical(&rules, &canonical_url), canonical_url.clone());
        let (scheme, host) = (if plain { "http" } else { "https" }, if mobile { "m.harbourbook.example" } else { "hbook.example" });
        let mut spelt = if upper { path.to_uppercase() } else { path };
        let at = encode.index(spelt.len());
        let byte = spelt.as_bytes()[at];
        if byte != b'/' {
            spelt.replace_range(at..=at, &format!("%{byte:02x}"));
        }
        let mut parameters = joined;
        parameters.push("utm_source=post".into());
        let at = shuffle.index(parameters.len());
        parameters.rotate_left(at);
        let variant = format!("{scheme}://{host}/{spelt}/?{}#top", parameters.join("&"));
        prop_assert_eq!(canonical(&rules, &variant), canonical_url, "{}", variant);
    }
}
