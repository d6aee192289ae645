//! What is referred, through the public API: telephone numbers, the names under which a target was seen, and the canonical
//! form of addresses, by rules that are data and change.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use portreeve_api::common::v1::TargetKind;
use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as wire;
use portreeve_core::limits;
use portreeve_tests::{Client, Database, Options, Part, Refused, Server, on_both_engines, refusal, sample, within};
use tonic::Status;
use wire::referral_change::Change;
use wire::{AddressRuleSet, FieldGroup, Referral};

on_both_engines!(
    a_telephone_number_needs_no_address,
    handles_travel_and_are_erased_with_the_address,
    rules_make_one_spelling_of_one_place,
    rules_are_versions_of_the_operators,
    changed_rules_find_what_is_one_place,
    a_sweep_goes_on_where_it_was_cut_off,
);

const START: &str = "2026-03-01T09:00:00Z";

async fn suite(database: &Database) -> (Server, Client) {
    let (server, _) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    (server, client)
}

fn at(url: &str, tag: &str) -> wire::ReferralDraft {
    let mut draft = sample::draft("harbourbook", tag);
    url.clone_into(&mut draft.target.as_mut().unwrap().url);
    draft
}

async fn try_refer(client: &Client, draft: wire::ReferralDraft, id: &str) -> Result<Referral, Status> {
    let request = sample::create("nca", draft, id);
    Ok(client.acting("agencies/nca").referrals().create_referral(request).await?.into_inner().referral.unwrap())
}

async fn refer(client: &Client, draft: wire::ReferralDraft, id: &str) -> Referral {
    try_refer(client, draft, id).await.unwrap()
}

async fn refused(client: &Client, draft: wire::ReferralDraft, id: &str) -> Refused {
    refusal(&try_refer(client, draft, id).await.unwrap_err())
}

async fn get(client: &Client, name: &str) -> Referral {
    let request = wire::GetReferralRequest { name: name.to_owned(), at_least: Vec::new() };
    client.referrals().get_referral(request).await.unwrap().into_inner().referral.unwrap()
}

/// The referrals of one place that a caller sees.
async fn of_place(client: &Client, canonical_url: &str) -> Vec<String> {
    let filter = wire::ReferralFilter { canonical_url: canonical_url.to_owned(), ..Default::default() };
    let request =
        wire::ListReferralsRequest { parent: "agencies/-".into(), filter: Some(filter.clone()), ..Default::default() };
    let listed = client.referrals().list_referrals(request).await.unwrap().into_inner().referrals;
    let listed = listed.into_iter().map(|referral| referral.name).collect::<Vec<_>>();
    // A snapshot selects the same.
    let shown = client.changes("agencies/-", Start::Snapshot(true), Some(filter)).await;
    let shown = shown.into_iter().filter_map(|change| match change.change {
        Some(Change::Snapshot(referral)) => Some(referral.name),
        _ => None,
    });
    assert_eq!(listed, shown.collect::<Vec<_>>());
    listed
}

fn phone(number: &str, url: &str) -> wire::ReferralDraft {
    let mut draft = sample::draft("harbourbook", "phone");
    draft.target = Some(wire::Target {
        kind: TargetKind::PhoneNumber.into(),
        native_id: number.to_owned(),
        url: url.to_owned(),
        ..Default::default()
    });
    draft
}

async fn a_telephone_number_needs_no_address(database: &Database) {
    let (server, client) = suite(database).await;
    let request = sample::create("nca", phone("+44 (7700) 900-123", ""), "phone");
    let reply = client.acting("agencies/nca").referrals().create_referral(request).await.unwrap().into_inner();
    let sent = reply.referral.unwrap();
    let target = sent.target.clone().unwrap();
    assert_eq!((target.url.as_str(), target.native_id.as_str()), ("", "+44 (7700) 900-123"), "as it was given");
    assert_eq!(target.canonical_url, "tel:+447700900123");
    // It goes to the platform that was named, which decides on it like on anything else.
    let name = sample::case_of(&sent);
    let request = decision::GetCaseRequest { name, at_least: vec![reply.revision] };
    let case = client.acting("platforms/harbourbook").decisions().get_case(request).await.unwrap().into_inner().case;
    assert_eq!(case.unwrap().target.unwrap().canonical_url, "tel:+447700900123");
    // It may have been seen somewhere; that must be a place of the platform's.
    let seen =
        refer(&client, phone("+447700900124", "https://harbourbook.example/ads/1"), "seen").await.target.unwrap();
    assert_eq!(
        (seen.url.as_str(), seen.canonical_url.as_str()),
        ("https://harbourbook.example/ads/1", "tel:+447700900124")
    );
    let elsewhere = refused(&client, phone("+447700900124", "https://chirrup.example/ads/1"), "elsewhere").await;
    assert_eq!(
        (elsewhere.reason.as_str(), elsewhere.fields),
        ("URL_OF_ANOTHER_PLATFORM", vec!["referral.target.url".into()])
    );
    for (number, url, field) in [
        ("", "", "referral.target.native_id"),
        ("07700 900123", "", "referral.target.native_id"),
        ("+123456", "", "referral.target.native_id"),
        ("+1234567890123456", "", "referral.target.native_id"),
        ("+447700900123", "no address", "referral.target.url"),
    ] {
        let no = refused(&client, phone(number, url), number).await;
        assert_eq!((no.reason.as_str(), no.fields), ("REQUEST_INVALID", vec![field.to_owned()]), "{number}");
    }
    // Whatever else is referred has an address.
    for kind in [TargetKind::InviteLink, TargetKind::Page, TargetKind::Channel] {
        let mut draft = phone("+447700900123", "");
        draft.target.as_mut().unwrap().kind = kind.into();
        let no = refused(&client, draft, kind.as_str_name()).await;
        assert_eq!((no.reason.as_str(), no.fields), ("REQUEST_INVALID", vec!["referral.target.url".to_owned()]));
    }
    let invite = wire::Target {
        kind: TargetKind::InviteLink.into(),
        url: "https://harbourbook.example/join/aB3".into(),
        ..Default::default()
    };
    let draft = wire::ReferralDraft { target: Some(invite), ..sample::draft("harbourbook", "invite") };
    assert_eq!(refer(&client, draft, "invite").await.target.unwrap().kind(), TargetKind::InviteLink);
    server.rebuilds(&[Part::Referral]).await;
}

fn handle(handle: &str, from: Option<&str>, until: Option<&str>) -> wire::TargetHandle {
    wire::TargetHandle { handle: handle.into(), seen_from: from.map(sample::time), seen_until: until.map(sample::time) }
}

async fn handles_travel_and_are_erased_with_the_address(database: &Database) {
    let (server, client) = suite(database).await;
    let with = |tag: &str, handles: Vec<wire::TargetHandle>| {
        let mut draft = sample::draft("harbourbook", tag);
        draft.target.as_mut().unwrap().handles = handles;
        draft
    };
    let handles = vec![
        handle("@secret.crossings", Some("2026-01-01"), Some("2026-01-31")),
        handle("@secret.boats \u{1f6a2}", None, None),
        handle("@x", Some("2026-02-01"), None),
    ];
    let sent = refer(&client, with("account", handles.clone()), "handles").await;
    assert_eq!(sent.target.as_ref().unwrap().handles, handles);
    let seen = get(&client.acting("platforms/harbourbook"), &sent.name).await;
    assert_eq!(seen.target.as_ref().unwrap().handles, handles);
    server.rebuilds(&[Part::Referral]).await;
    // As many as there may be, and as long as they may be; and more.
    let many = |count: usize, chars: usize| with("many", vec![handle(&"h".repeat(chars), None, None); count]);
    let (most, longest) = (limits::TARGET_HANDLES_MAX, limits::HANDLE_CHARS_MAX);
    assert_eq!(refer(&client, many(most, longest), "most").await.target.unwrap().handles.len(), most);
    let no = refused(&client, many(most + 1, 1), "more").await;
    assert_eq!(no.fields, ["referral.target.handles"]);
    let wrong = vec![
        handle(&"h".repeat(longest + 1), None, None),
        handle("", None, None),
        handle(" ", None, None),
        handle("@a", Some("2026-02-02"), Some("2026-02-01")),
        handle("@a", Some("2030-01-01"), None),
    ];
    let no = refused(&client, with("wrong", wrong), "wrong").await;
    let fields = ["[0].handle", "[1].handle", "[2].handle", "[3].seen_until", "[4].seen_from"];
    assert_eq!(no.fields, fields.map(|field| format!("referral.target.handles{field}")));
    // They go with the address.
    let request = wire::EraseReferralRequest {
        name: sent.name.clone(),
        field_groups: vec![FieldGroup::Target.into()],
        reason: "The person asked for it.".into(),
        request_id: sample::request_id("erase"),
    };
    client.acting("agencies/nca").retention().erase_referral(request).await.unwrap();
    let left = get(&client.acting("agencies/nca"), &sent.name).await.target.unwrap();
    assert_eq!(left, wire::Target { kind: left.kind, ..Default::default() });
    let changes = client.acting("agencies/nca").changes("agencies/nca", Start::Earliest(true), None).await;
    assert!(!format!("{changes:?}").contains("secret"));
    let bytes = portreeve_core::audit::hex(b"@secret.crossings");
    assert!(!server.dump(Part::Referral).await.iter().any(|row| row.contains(&bytes) || row.contains("secret")));
    server.rebuilds(&[Part::Referral]).await;
}

fn alias(alias: &str, host: &str) -> wire::HostAlias {
    wire::HostAlias { alias: alias.into(), host: host.into() }
}

fn rewrite(from: &str, to: &str) -> wire::AddressRewrite {
    wire::AddressRewrite { from: from.into(), to: to.into() }
}

fn rules() -> AddressRuleSet {
    AddressRuleSet {
        hosts: vec![alias("*.harbourbook.example", "harbourbook.example")],
        dropped_parameters: vec!["ref".into()],
        kept_parameters: vec![wire::KeptParameters { path: "/watch".into(), names: vec!["v".into()] }],
        ignore_path_case: true,
        ignore_trailing_slash: true,
        ignore_repeated_slashes: true,
        rewrites: vec![rewrite("/profile.php?id={id:digits}", "/{id}")],
    }
}

fn set(platform: &str, rules: AddressRuleSet, etag: &str, id: &str) -> wire::SetAddressRulesRequest {
    wire::SetAddressRulesRequest {
        name: format!("platforms/{platform}/addressRules"),
        rules: Some(rules),
        etag: etag.to_owned(),
        request_id: sample::request_id(&format!("rules {id}")),
    }
}

async fn set_rules(client: &Client, rules: AddressRuleSet, id: &str) -> wire::AddressRules {
    let mut operator = client.acting("operators/op").address_rules();
    let reply = operator.set_address_rules(set("harbourbook", rules, "", id)).await.unwrap().into_inner();
    reply.address_rules.unwrap()
}

async fn rules_make_one_spelling_of_one_place(database: &Database) {
    let (server, client) = suite(database).await;
    let spelt = |referral: Referral| {
        let target = referral.target.unwrap();
        (target.canonical_url, target.base_rules_version, target.rules_version)
    };
    // Those for every platform hold from the start.
    let before = refer(&client, at("http://harbourbook.example/%7Ea?utm_source=x&b=1&a=2#top", "base"), "base").await;
    assert_eq!(spelt(before), ("https://harbourbook.example/~a?a=2&b=1".into(), 1, 0));
    set_rules(&client, rules(), "first").await;
    for (tag, url, canonical) in [
        ("m", "https://m.harbourbook.example/Groups//Boats/?ref=1", "https://harbourbook.example/groups/boats"),
        ("id", "https://www.harbourbook.example/Profile.php?sk=x&id=4711", "https://harbourbook.example/4711"),
        ("v", "https://harbourbook.example/watch?t=3&v=aB", "https://harbourbook.example/watch?v=aB"),
    ] {
        let sent = refer(&client, at(url, tag), tag).await;
        assert_eq!(sent.target.as_ref().unwrap().url, url, "as it was given");
        let name = sent.name.clone();
        assert_eq!(spelt(sent), (canonical.into(), 1, 1), "{url}");
        assert_eq!(of_place(&client.acting("agencies/nca"), canonical).await, [name.as_str()]);
        assert_eq!(spelt(get(&client.acting("platforms/harbourbook"), &name).await).0, canonical);
    }
    // Another platform's rules are another's.
    let (other, _) = sample::refer(&client, "nca", "chirrup", "Other").await;
    assert_eq!(spelt(other), ("https://chirrup.example/pages/Other".into(), 1, 0));
    server.rebuilds(&[Part::Referral]).await;
}

async fn rules_are_versions_of_the_operators(database: &Database) {
    let (server, client) = suite(database).await;
    let read = async |caller: &str, version: u32| {
        let name = "platforms/harbourbook/addressRules".to_owned();
        let request = wire::GetAddressRulesRequest { name, version, at_least: Vec::new() };
        let reply = client.acting(caller).address_rules().get_address_rules(request).await;
        reply.map(|reply| reply.into_inner().address_rules.unwrap())
    };
    let none = read("agencies/nca", 0).await.unwrap();
    assert_eq!((none.version, none.rules.unwrap(), none.update_time), (0, AddressRuleSet::default(), None));
    let mut operator = client.acting("operators/op").address_rules();
    let request = set("harbourbook", rules(), &none.etag, "one");
    let first = operator.set_address_rules(request.clone()).await.unwrap().into_inner();
    let one = first.address_rules.clone().unwrap();
    assert_eq!((one.version, one.base_version, one.rules.clone().unwrap()), (1, 1, rules()));
    let again = operator.set_address_rules(request).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.address_rules), (true, first.address_rules));
    // The same once more is no version; what was read before somebody set others is not set.
    assert_eq!(set_rules(&client, rules(), "same").await, one);
    let changed = AddressRuleSet { ignore_path_case: false, ..rules() };
    let stale = operator.set_address_rules(set("harbourbook", changed.clone(), &none.etag, "stale")).await.unwrap_err();
    let stale = refusal(&stale);
    assert_eq!((stale.reason.as_str(), stale.code), ("STALE_VERSION", tonic::Code::Aborted));
    let two =
        operator.set_address_rules(set("harbourbook", changed.clone(), &one.etag, "two")).await.unwrap().into_inner();
    let two = two.address_rules.unwrap();
    assert_eq!((two.version, two.rules.clone().unwrap()), (2, changed));
    // Every version stays to be read, by everybody.
    for caller in ["agencies/bka", "platforms/chirrup", "oversightBodies/hac"] {
        assert_eq!(read(caller, 0).await.unwrap(), two, "{caller}");
        assert_eq!(read(caller, 1).await.unwrap(), one, "{caller}");
    }
    let no = refusal(&read("agencies/nca", 3).await.unwrap_err());
    assert_eq!((no.reason.as_str(), no.metadata["version"].as_str()), ("ADDRESS_RULES_NOT_FOUND", "3"));
    // Nobody but who registers hosts sets how they are spelt.
    for caller in ["platforms/harbourbook", "agencies/nca", "oversightBodies/hac"] {
        let mut caller = client.acting(caller).address_rules();
        let no = caller.set_address_rules(set("harbourbook", rules(), "", "no")).await.unwrap_err();
        assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    }
    let no = operator.set_address_rules(set("nowhere", rules(), "", "nowhere")).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "ORGANISATION_NOT_FOUND");
    // Hosts of others are not its to spell; all are told at once.
    let foreign = AddressRuleSet {
        hosts: vec![alias("m.harbourbook.example", "harbourbook.example"), alias("hb.example", "chirrup.example")],
        rewrites: vec![rewrite("hb.test/{a:word}", "/x/{a}")],
        ..AddressRuleSet::default()
    };
    let no = refusal(&operator.set_address_rules(set("harbourbook", foreign, "", "foreign")).await.unwrap_err());
    assert_eq!(no.reason, "URL_OF_ANOTHER_PLATFORM");
    assert_eq!(no.fields, ["rules.hosts[1].alias", "rules.hosts[1].host", "rules.rewrites[0].from"]);
    // What would not come to rest is refused by name, as is everything that is wrong by itself.
    let wrong = AddressRuleSet {
        hosts: vec![alias("*.harbourbook.example", "m.harbourbook.example")],
        dropped_parameters: vec!["a&b".into()],
        ..AddressRuleSet::default()
    };
    let no = refusal(&operator.set_address_rules(set("harbourbook", wrong, "", "wrong")).await.unwrap_err());
    assert_eq!(
        (no.reason.as_str(), no.fields),
        ("REQUEST_INVALID", vec!["rules.hosts[0].host".into(), "rules.dropped_parameters[0]".into()])
    );
    let endless = AddressRuleSet {
        rewrites: vec![rewrite("/a/{x:word}", "/{x}/a"), rewrite("/{x:word}/a", "/a/{x}")],
        ..Default::default()
    };
    let no = refusal(&operator.set_address_rules(set("harbourbook", endless, "", "endless")).await.unwrap_err());
    assert_eq!(no.fields, ["rules.rewrites[0].to", "rules.rewrites[1].to"]);
    // As many as there may be, and one more of each.
    let many = |count: usize| AddressRuleSet {
        hosts: (0..count)
            .map(|number| alias(&format!("h{number}.harbourbook.example"), "harbourbook.example"))
            .collect(),
        dropped_parameters: (0..count).map(|number| format!("p{number}")).collect(),
        kept_parameters: (0..count)
            .map(|number| wire::KeptParameters {
                path: format!("/k{number}"),
                names: (0..count).map(|number| format!("n{number}")).collect(),
            })
            .collect(),
        rewrites: (0..count).map(|number| rewrite(&format!("/r{number}"), "/r")).collect(),
        ..AddressRuleSet::default()
    };
    let most = [limits::ADDRESS_HOSTS_MAX, limits::ADDRESS_PARAMETERS_MAX, limits::ADDRESS_REWRITES_MAX];
    assert_eq!(most, [64; 3]);
    assert_eq!(set_rules(&client, many(64), "most").await.version, 3);
    let no = refusal(&operator.set_address_rules(set("harbourbook", many(65), "", "more")).await.unwrap_err());
    for field in ["hosts", "dropped_parameters", "kept_parameters", "kept_parameters[0].names", "rewrites"] {
        assert!(no.fields.contains(&format!("rules.{field}")), "{field} in {:?}", no.fields);
    }
    // Whoever follows everything learns of them, from the changes and from a snapshot.
    let changes = client.acting("agencies/bka").changes("agencies/-", Start::Earliest(true), None).await;
    let told = changes.into_iter().filter_map(|change| match change.change {
        Some(Change::AddressRulesChanged(rules)) => Some(rules),
        _ => None,
    });
    let told = told.collect::<Vec<_>>();
    assert_eq!(told[..2], [one, two]);
    let snapshot = client.acting("agencies/bka").changes("agencies/-", Start::Snapshot(true), None).await;
    let shown = snapshot.into_iter().filter_map(|change| match change.change {
        Some(Change::AddressRulesSnapshot(rules)) => Some(rules),
        _ => None,
    });
    assert_eq!(shown.collect::<Vec<_>>(), told[2..]);
    server.rebuilds(&[Part::Referral]).await;
}

/// Waits until every referral was looked at that a version of the rules found there; gives how many changes that made.
async fn swept(client: &Client, version: u32) -> usize {
    within(60, "a sweep", async {
        let request = wire::WatchReferralsRequest {
            parent: "agencies/-".into(),
            start: Some(sample::start(Start::Earliest(true))),
            ..Default::default()
        };
        let mut stream =
            client.acting("services/auditor").referrals().watch_referrals(request).await.unwrap().into_inner();
        let (mut until, mut changed) = (u64::MAX, 0);
        loop {
            for change in stream.message().await.unwrap().unwrap().changes {
                match change.change {
                    Some(Change::AddressRulesChanged(rules)) if rules.version == version => until = change.position,
                    Some(Change::Readdressed(_)) if until < u64::MAX => changed += 1,
                    Some(Change::AddressesSwept(sweep)) if sweep.version == version && sweep.through >= until => {
                        return changed;
                    }
                    _ => {}
                }
            }
        }
    })
    .await
}

async fn changed_rules_find_what_is_one_place(database: &Database) {
    let (server, client) = suite(database).await;
    let first = refer(&client, at("https://m.harbourbook.example/Groups/Boats", "first"), "first").await;
    let second = refer(&client, at("https://harbourbook.example/groups/boats/", "second"), "second").await;
    let gone = refer(&client, at("https://m.harbourbook.example/groups/boats", "gone"), "gone").await;
    let apart = refer(&client, at("https://harbourbook.example/groups/cars", "apart"), "apart").await;
    let request = wire::EraseReferralRequest {
        name: gone.name.clone(),
        field_groups: vec![FieldGroup::Target.into()],
        reason: "The person asked for it.".into(),
        request_id: sample::request_id("erase"),
    };
    let nca = client.acting("agencies/nca");
    nca.retention().erase_referral(request).await.unwrap();
    let theirs = sample::create("bka", at("https://www.harbourbook.example/groups/boats", "theirs"), "theirs");
    let theirs =
        client.acting("agencies/bka").referrals().create_referral(theirs).await.unwrap().into_inner().referral.unwrap();
    let one_place = "https://harbourbook.example/groups/boats";
    assert!(of_place(&nca, one_place).await.is_empty());

    set_rules(&client, rules(), "first").await;
    assert_eq!(swept(&client, 1).await, 3, "what comes out otherwise, and nothing that was erased");
    assert_eq!(of_place(&nca, one_place).await, [first.name.as_str(), second.name.as_str()]);
    assert_eq!(of_place(&client.acting("platforms/harbourbook"), one_place).await.len(), 3);
    let now = get(&nca, &first.name).await;
    let (was, is) = (first.target.unwrap(), now.target.unwrap());
    assert_eq!((is.url.as_str(), is.canonical_url.as_str(), is.rules_version), (was.url.as_str(), one_place, 1));
    assert_eq!(get(&nca, &gone.name).await.target.unwrap().canonical_url, "");
    // What is the same stays as it was, and says by which rules it was made.
    assert_eq!(get(&nca, &apart.name).await.target, apart.target);
    // The platform reads each change of its own; a grade would be none of its business, and none is there.
    let platform = client.acting("platforms/harbourbook").changes("agencies/-", Start::Earliest(true), None).await;
    let told = platform.iter().filter_map(|change| match &change.change {
        Some(Change::Readdressed(referral)) => {
            Some((referral.name.as_str(), referral.target.as_ref().unwrap().rules_version))
        }
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(first.name.as_str(), 1), (second.name.as_str(), 1), (theirs.name.as_str(), 1)]
    );

    // Nobody finds by its address what he does not see the address of.
    let shared = wire::Agreement {
        field_groups: vec![FieldGroup::Reasons.into()],
        ..sample::agreement(["bka", "nca"], "2026-06-01")
    };
    sample::agree(&client, shared, "no targets").await;
    let nca = nca.purpose("investigation");
    assert_eq!(get(&nca, &theirs.name).await.target.unwrap().canonical_url, "");
    assert_eq!(of_place(&nca, one_place).await, [first.name.as_str(), second.name.as_str()]);

    // Back as it was, under rules of a later version.
    set_rules(&client, AddressRuleSet::default(), "none").await;
    assert_eq!(swept(&client, 2).await, 3);
    assert!(of_place(&nca, one_place).await.is_empty());
    let back = get(&nca, &second.name).await.target.unwrap();
    assert_eq!((back.canonical_url, back.rules_version), (second.target.unwrap().canonical_url, 2));
    server.rebuilds(&[Part::Referral]).await;
}

/// More referrals than one commit takes up; the server ends without notice while they are looked at.
async fn a_sweep_goes_on_where_it_was_cut_off(database: &Database) {
    let (server, client) = suite(database).await;
    let count = limits::SWEEP_ADDRESSES_MAX + 100;
    for batch in 0..2 {
        let drafts = (batch * count / 2..(batch + 1) * count / 2)
            .map(|number| at(&format!("https://m.harbourbook.example/Groups/{number}"), &number.to_string()));
        let request = wire::BatchCreateReferralsRequest {
            parent: "agencies/nca".into(),
            drafts: drafts.collect(),
            request_id: sample::request_id(&format!("batch {batch}")),
        };
        client.acting("agencies/nca").referrals().batch_create_referrals(request).await.unwrap();
    }
    set_rules(&client, rules(), "first").await;
    server.kill().await;
    // Two replicas at once lose nothing, and do nothing twice.
    let clock = std::sync::Arc::new(portreeve_tests::ManualClock::at(START.parse().unwrap()));
    let one = Server::start(database, Options::default().clock(&clock)).await;
    let other = match database {
        Database::Postgres { .. } => Some(Server::start(database, Options::default().clock(&clock)).await),
        Database::Sqlite { .. } => None,
    };
    let client = one.client("operators/op");
    assert_eq!(swept(&client, 1).await, count);
    if let Some(other) = other {
        other.stop().await;
    }
    one.rebuilds(&[Part::Referral]).await;
    let all = client.acting("agencies/nca").changes("agencies/-", Start::Earliest(true), None).await;
    let changed = all.iter().filter(|change| matches!(change.change, Some(Change::Readdressed(_)))).count();
    assert_eq!(changed, count);
}
