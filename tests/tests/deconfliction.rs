//! Not treading on each other's investigations, through the public API: what is matched blind, what a referral waits for, who learns
//! what of it, and that it does not wait for ever.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use portreeve_api::common::v1::TargetKind;
use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::decision::v1::ListCasesRequest;
use portreeve_api::referral::v1 as wire;
use portreeve_core::audit::hex;
use portreeve_core::{Timestamp, limits};
use portreeve_tests::logs::{content, entries};
use portreeve_tests::{Client, Database, ManualClock, Part, Server, on_both_engines, refusal, sample, within};
use wire::ReferralState::{Held, Submitted};
use wire::referral_change::Change;
use wire::{DraftState, HoldState, InterestState, MatchResult, ReferralState};

on_both_engines!(
    a_hit_holds_a_referral_until_it_is_released,
    each_learns_what_it_may,
    a_hold_runs_out,
    a_second_approver_overrides_for_a_reason,
    what_is_registered_is_not_kept,
    one_place_is_hit_in_every_spelling,
    a_batch_and_an_import_tell_what_is_held,
    an_authorised_draft_waits_as_well,
    what_is_wrong_is_told_at_once,
    an_interest_is_renewed_and_ends,
);

const START: &str = "2026-03-01T09:00:00Z";
const PAGE: &str = "https://harbourbook.example/pages/one";

async fn suite(database: &Database) -> (Server, Client, std::sync::Arc<ManualClock>) {
    let (server, clock) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    client.organisations().create_organisation(sample::organisation("agencies/fra", &[])).await.unwrap();
    (server, client, clock)
}

async fn register(client: &Client, agency: &str, url: &str, until: &str, id: &str) -> String {
    let mut of = client.acting(&format!("agencies/{agency}")).deconfliction();
    let request = sample::interest(agency, "harbourbook", url, until, id);
    let reply = of.register_interests(request).await.unwrap().into_inner();
    reply.interests[0].name.clone()
}

async fn refer(client: &Client, draft: wire::ReferralDraft, id: &str) -> wire::Referral {
    let mut referrals = client.acting("agencies/nca").member("j.doe").referrals();
    referrals.create_referral(sample::create("nca", draft, id)).await.unwrap().into_inner().referral.unwrap()
}

async fn check(client: &Client, agency: &str, urls: &[&str]) -> Vec<(MatchResult, Vec<String>)> {
    let target = |url: &&str| wire::MatchTarget {
        platform: "platforms/harbourbook".into(),
        target: Some(wire::Target { kind: TargetKind::Page.into(), url: (*url).to_owned(), ..Default::default() }),
    };
    let parent = format!("agencies/{agency}");
    let targets = urls.iter().map(target).collect();
    let request = wire::CheckTargetsRequest { parent: parent.clone(), targets, at_least: Vec::new() };
    let reply = client.acting(&parent).deconfliction().check_targets(request).await.unwrap().into_inner();
    reply.matches.into_iter().map(|of| (of.result(), of.contacts)).collect()
}

async fn holds(client: &Client, agency: &str) -> Vec<wire::Hold> {
    let request = wire::ListHoldsRequest { parent: format!("agencies/{agency}"), ..Default::default() };
    let mut of = client.acting(&format!("agencies/{agency}")).deconfliction();
    of.list_holds(request).await.unwrap().into_inner().holds
}

async fn release(client: &Client, agency: &str, hold: &str, id: &str) -> Result<wire::Hold, tonic::Status> {
    let request = wire::ReleaseHoldRequest { name: hold.to_owned(), request_id: sample::request_id(id) };
    let mut of = client.acting(&format!("agencies/{agency}")).deconfliction();
    of.release_hold(request).await.map(|reply| reply.into_inner().hold.unwrap())
}

async fn draft(client: &Client, name: &str) -> wire::Draft {
    let request = wire::GetDraftRequest { name: name.to_owned(), at_least: Vec::new() };
    client.acting("agencies/nca").drafts().get_draft(request).await.unwrap().into_inner().draft.unwrap()
}

async fn referral(client: &Client, name: &str) -> Result<wire::Referral, tonic::Status> {
    let request = wire::GetReferralRequest { name: name.to_owned(), at_least: Vec::new() };
    let mut referrals = client.acting("agencies/nca").referrals();
    referrals.get_referral(request).await.map(|reply| reply.into_inner().referral.unwrap())
}

/// The draft that waits for a held referral.
fn draft_of(referral: &wire::Referral) -> String {
    referral.name.replace("/referrals/", "/drafts/")
}

async fn cases(client: &Client) -> usize {
    let request = ListCasesRequest { parent: "platforms/harbourbook".into(), ..Default::default() };
    client.acting("platforms/harbourbook").decisions().list_cases(request).await.unwrap().into_inner().cases.len()
}

/// Waits until a referral is there.
async fn sent(client: &Client, name: &str) -> wire::Referral {
    within(60, "sending what was held", async {
        loop {
            if let Ok(found) = referral(client, name).await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn a_hit_holds_a_referral_until_it_is_released(database: &Database) {
    let (server, client, _) = suite(database).await;
    let interest = register(&client, "bka", PAGE, "2026-09-01", "interest").await;
    assert_eq!(interest, register(&client, "bka", PAGE, "2026-09-01", "interest").await, "the same request");
    // Asked before it refers, an agency learns that somebody has an interest, and whom to speak to.
    let contact = vec!["duty desk, +44 20 7946 0000".to_owned()];
    let other = "https://harbourbook.example/pages/two";
    let answers = [(MatchResult::Hit, contact.clone()), (MatchResult::NoHit, Vec::new())];
    assert_eq!(check(&client, "nca", &[PAGE, other]).await, answers);
    assert_eq!(check(&client, "bka", &[PAGE]).await, [(MatchResult::NoHit, Vec::new())], "its own is no hit");
    let held = refer(&client, sample::draft("harbourbook", "one"), "one").await;
    assert_eq!(held.state(), ReferralState::Held);
    assert_eq!(refer(&client, sample::draft("harbourbook", "one"), "one").await, held, "the same request");
    let waiting = draft(&client, &draft_of(&held)).await;
    assert_eq!((waiting.state(), waiting.authors.as_slice()), (DraftState::Held, ["j.doe".to_owned()].as_slice()));
    // Nothing is sent: there is no such referral, and no case of it.
    assert_eq!(refusal(&referral(&client, &held.name).await.unwrap_err()).reason, "REFERRAL_NOT_FOUND");
    let free = refer(&client, sample::draft("harbourbook", "two"), "two").await;
    assert_eq!(free.state(), ReferralState::Submitted);
    within(60, "the other's case", async { while cases(&client).await == 0 {} }).await;
    assert_eq!(cases(&client).await, 1, "what came after it has arrived, and it has not");
    server.rebuilds(&[Part::Referral]).await;
    let hold = holds(&client, "bka").await.remove(0);
    assert_eq!((hold.state(), hold.interest.as_str()), (HoldState::Held, interest.as_str()));
    assert_eq!(sample::micros(hold.ends_at.as_ref()), sample::micros(Some(&sample::time("2026-03-04T09:00:00Z"))));
    let released = release(&client, "bka", &hold.name, "release").await.unwrap();
    assert_eq!(released.state(), HoldState::Released);
    assert_eq!(release(&client, "bka", &hold.name, "again").await.unwrap(), released, "done already");
    // It is sent at once, under the name that it was given.
    let sent = referral(&client, &held.name).await.unwrap();
    assert_eq!((sent.state(), sent.authorisation.as_ref()), (ReferralState::Submitted, None));
    assert_eq!(draft(&client, &waiting.name).await.state(), DraftState::Authorised);
    within(60, "its case", async { while cases(&client).await < 2 {} }).await;
    server.rebuilds(&[Part::Referral]).await;
}

/// The changes that a caller sees of all that it may, and in a snapshot.
async fn seen(client: &Client) -> Vec<Change> {
    let mut all = Vec::new();
    for start in [Start::Earliest(true), Start::Snapshot(true)] {
        let request = wire::WatchReferralsRequest {
            parent: "agencies/-".into(),
            start: Some(sample::start(start)),
            ..Default::default()
        };
        let mut stream = client.referrals().watch_referrals(request).await.unwrap().into_inner();
        loop {
            let batch = stream.message().await.unwrap().unwrap();
            all.extend(batch.changes.into_iter().filter_map(|change| change.change));
            if batch.checkpoint {
                break;
            }
        }
    }
    all
}

async fn each_learns_what_it_may(database: &Database) {
    let (_server, client, _) = suite(database).await;
    let interest = register(&client, "bka", PAGE, "2026-09-01", "interest").await;
    let held = refer(&client, sample::draft("harbourbook", "one"), "one").await;
    let (of_nca, of_bka) = (holds(&client, "nca").await, holds(&client, "bka").await);
    assert_eq!((of_nca[0].interest.as_str(), of_bka[0].interest.as_str()), ("", interest.as_str()));
    assert_eq!(of_nca[0].name, of_bka[0].name);
    assert!(holds(&client, "fra").await.is_empty());
    for (who, learns) in [
        ("agencies/nca", true),
        ("agencies/bka", true),
        ("agencies/fra", false),
        ("platforms/harbourbook", false),
        ("services/auditor", false),
    ] {
        let seen = seen(&client.acting(who)).await;
        let of_holds = seen.iter().filter_map(|change| match change {
            Change::HoldChanged(hold) | Change::HoldSnapshot(hold) => Some(hold.interest.clone()),
            Change::InterestChanged(_) => panic!("no stream shows an interest"),
            _ => None,
        });
        let of_holds = of_holds.collect::<Vec<_>>();
        assert_eq!(of_holds.len(), if learns { 2 } else { 0 }, "{who}");
        assert!(of_holds.iter().all(|shown| shown.is_empty() || who == "agencies/bka"), "{who}");
        let drafts = seen.iter().any(|change| matches!(change, Change::DraftChanged(_) | Change::DraftSnapshot(_)));
        assert_eq!(drafts, who == "agencies/nca", "{who}");
        assert!(!format!("{seen:?}").contains("pages/one") || who == "agencies/nca", "{who}");
    }
    // The entries of the log: an interest and a hold are whose the interest is, a draft whose it is.
    for who in ["agencies/nca", "agencies/bka", "services/auditor"] {
        let auditor = client.acting(who);
        let auditor =
            if who.starts_with("agencies/") { auditor.member("a.uditor").roles(&["auditor"]) } else { auditor };
        let bodies = entries(&auditor, "logs/referral").await;
        let bodies = bodies.iter().filter_map(|entry| content(entry).map(|content| content.body.to_vec()));
        let bodies = bodies.collect::<Vec<_>>().concat();
        let text = String::from_utf8_lossy(&bodies);
        assert_eq!(text.contains(&interest), who == "agencies/bka", "{who}");
        assert!(!text.contains("pages/one"), "{who}");
    }
    // Others neither read, nor release, nor renew, nor learn whether there is one.
    let hold = &of_nca[0].name;
    for who in ["nca", "fra"] {
        assert_eq!(refusal(&release(&client, who, hold, who).await.unwrap_err()).reason, "HOLD_NOT_FOUND");
        let request = wire::GetInterestRequest { name: interest.clone(), at_least: Vec::new() };
        let mut of = client.acting(&format!("agencies/{who}")).deconfliction();
        assert_eq!(refusal(&of.get_interest(request).await.unwrap_err()).reason, "PERMISSION_DENIED");
    }
    // Whoever gives its referral up withdraws the hold.
    let discard = wire::DiscardDraftRequest {
        name: draft_of(&held),
        request_id: sample::request_id("discard"),
        ..Default::default()
    };
    client.acting("agencies/nca").drafts().discard_draft(discard).await.unwrap();
    assert_eq!(holds(&client, "bka").await[0].state(), HoldState::Withdrawn);
    assert_eq!(refusal(&release(&client, "bka", hold, "late").await.unwrap_err()).reason, "INVALID_TRANSITION");
}

async fn a_hold_runs_out(database: &Database) {
    let (server, client, clock) = suite(database).await;
    register(&client, "bka", PAGE, "2026-09-01", "interest").await;
    let held = refer(&client, sample::draft("harbourbook", "one"), "one").await;
    let hold = holds(&client, "bka").await.remove(0);
    clock.set("2026-03-04T08:59:59Z".parse::<Timestamp>().unwrap());
    let renew = |renewal: u32, id: &str| wire::RenewHoldRequest {
        name: hold.name.clone(),
        renewal,
        request_id: sample::request_id(id),
    };
    let mut bka = client.acting("agencies/bka").deconfliction();
    let renewed = bka.renew_hold(renew(1, "renew")).await.unwrap().into_inner().hold.unwrap();
    assert_eq!(sample::micros(renewed.ends_at.as_ref()), sample::micros(Some(&sample::time("2026-03-07T09:00:00Z"))));
    assert_eq!(bka.renew_hold(renew(1, "the same")).await.unwrap().into_inner().hold.unwrap(), renewed);
    bka.renew_hold(renew(2, "second")).await.unwrap();
    bka.renew_hold(renew(3, "third")).await.unwrap();
    assert_eq!(refusal(&bka.renew_hold(renew(4, "fourth")).await.unwrap_err()).reason, "LIMIT_EXCEEDED");
    assert_eq!(refusal(&referral(&client, &held.name).await.unwrap_err()).reason, "REFERRAL_NOT_FOUND");
    clock.set("2026-03-13T09:00:00Z".parse::<Timestamp>().unwrap());
    let sent = sent(&client, &held.name).await;
    // It was referred when it was sent.
    assert!(sample::micros(sent.occurred_at.as_ref()) >= sample::micros(Some(&sample::time("2026-03-13T09:00:00Z"))));
    assert_eq!(holds(&client, "nca").await[0].state(), HoldState::Expired);
    assert_eq!(refusal(&bka.renew_hold(renew(5, "fifth")).await.unwrap_err()).reason, "INVALID_TRANSITION");
    server.rebuilds(&[Part::Referral]).await;
}

async fn a_second_approver_overrides_for_a_reason(database: &Database) {
    let (_server, client, _) = suite(database).await;
    register(&client, "bka", PAGE, "2026-09-01", "interest").await;
    register(&client, "fra", PAGE, "2026-09-01", "another").await;
    let held = refer(&client, sample::draft("harbourbook", "one"), "one").await;
    assert_eq!(holds(&client, "nca").await.len(), 2);
    let request = |reason: &str, id: &str| wire::OverrideHoldsRequest {
        name: draft_of(&held),
        reason: reason.into(),
        request_id: sample::request_id(id),
    };
    let approver = |member: &str| client.acting("agencies/nca").member(member).deconfliction();
    let refused = |status: tonic::Status| refusal(&status).reason;
    let unnamed = client.acting("agencies/nca").deconfliction().override_holds(request("Tonight.", "unnamed")).await;
    assert_eq!(refused(unnamed.unwrap_err()), "MEMBER_UNNAMED");
    let own = approver("J.Doe").override_holds(request("Tonight.", "own")).await;
    assert_eq!(refused(own.unwrap_err()), "DECIDER_NOT_IMPARTIAL");
    let without = approver("a.head").override_holds(request(" ", "without")).await;
    assert_eq!(refusal(&without.unwrap_err()).fields, ["reason"]);
    let sent = approver("a.head").override_holds(request("A boat leaves tonight.", "override")).await.unwrap();
    let sent = sent.into_inner();
    assert_eq!(sent.referral.unwrap().name, held.name);
    assert_eq!(sent.draft.unwrap().state(), DraftState::Authorised);
    assert_eq!(referral(&client, &held.name).await.unwrap().state(), ReferralState::Submitted);
    // Whoever held it is told why it was not waited for.
    let of_bka = holds(&client, "bka").await.remove(0);
    assert_eq!((of_bka.state(), of_bka.override_reason.as_str()), (HoldState::Overridden, "A boat leaves tonight."));
    approver("a.head").override_holds(request("A boat leaves tonight.", "again")).await.unwrap();
    let late = approver("a.head").override_holds(request("Another reason.", "late")).await;
    assert_eq!(refused(late.unwrap_err()), "INVALID_TRANSITION");
}

async fn what_is_registered_is_not_kept(database: &Database) {
    let (server, client, _) = suite(database).await;
    let secret = "https://harbourbook.example/pages/a-secret-investigation";
    register(&client, "bka", secret, "2026-09-01", "interest").await;
    assert_eq!(check(&client, "nca", &[secret]).await[0].0, MatchResult::Hit);
    let rows = server.dump(Part::Referral).await.join("\n");
    let hex = |text: &str| hex(text.as_bytes());
    assert!(rows.contains("file 2026/17") || rows.contains(&hex("file 2026/17")), "what is kept is found so");
    for part in ["a-secret-investigation", &hex("a-secret-investigation")] {
        assert!(!rows.to_lowercase().contains(part), "the address is not in the tables");
    }
    let auditor = client.acting("agencies/bka").member("a.uditor").roles(&["auditor"]);
    let log = entries(&auditor, "logs/referral").await;
    let bodies = log.iter().filter_map(|entry| content(entry).map(|content| content.body.to_vec()));
    assert!(!String::from_utf8_lossy(&bodies.collect::<Vec<_>>().concat()).contains("a-secret-investigation"));
    if let Database::Sqlite { folder } = database {
        for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
            // What SQLite takes away meanwhile has nothing in it.
            let bytes = std::fs::read(&file).unwrap_or_default();
            let found = bytes.windows(22).any(|window| window == b"a-secret-investigation");
            assert!(!found, "{} has the address", file.display());
        }
    }
}

async fn one_place_is_hit_in_every_spelling(database: &Database) {
    let (server, client, _) = suite(database).await;
    register(&client, "bka", "https://harbourbook.example/pages/%6Fne?utm_source=x#top", "2026-09-01", "one").await;
    assert_eq!(check(&client, "nca", &[PAGE]).await[0].0, MatchResult::Hit);
    // An interest of before a platform's rules is hit by what is referred under them.
    let rules = wire::SetAddressRulesRequest {
        name: "platforms/harbourbook/addressRules".into(),
        rules: Some(wire::AddressRuleSet { ignore_path_case: true, ..Default::default() }),
        request_id: sample::request_id("rules"),
        ..Default::default()
    };
    client.address_rules().set_address_rules(rules).await.unwrap();
    assert_eq!(check(&client, "nca", &[PAGE]).await[0].0, MatchResult::Hit);
    register(&client, "fra", "https://harbourbook.example/PAGES/Two", "2026-09-01", "two").await;
    let other = wire::SetAddressRulesRequest {
        name: "platforms/harbourbook/addressRules".into(),
        rules: Some(wire::AddressRuleSet::default()),
        request_id: sample::request_id("no rules"),
        ..Default::default()
    };
    client.address_rules().set_address_rules(other).await.unwrap();
    // Under the rules of its time it is the same place.
    assert_eq!(check(&client, "nca", &["https://harbourbook.example/pages/TWO"]).await[0].0, MatchResult::Hit);
    let mut draft = sample::draft("harbourbook", "two");
    draft.target.as_mut().unwrap().url = "https://harbourbook.example/pages/tWo".into();
    assert_eq!(refer(&client, draft, "two").await.state(), ReferralState::Held);
    server.rebuilds(&[Part::Referral]).await;
}

async fn a_batch_and_an_import_tell_what_is_held(database: &Database) {
    let (server, client, clock) = suite(database).await;
    register(&client, "bka", PAGE, "2026-09-01", "interest").await;
    clock.set("2026-03-01T10:00:00Z".parse::<Timestamp>().unwrap());
    let mut again = sample::draft("harbourbook", "one");
    again.target.as_mut().unwrap().url = format!("{PAGE}#again");
    let drafts = vec![
        sample::draft("harbourbook", "zero"),
        sample::draft("harbourbook", "one"),
        again,
        sample::draft("harbourbook", "two"),
    ];
    let request = wire::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts,
        request_id: sample::request_id("batch"),
    };
    let mut nca = client.acting("agencies/nca").member("j.doe").referrals();
    let reply = nca.batch_create_referrals(request.clone()).await.unwrap().into_inner();
    let states = reply.referrals.iter().map(wire::Referral::state).collect::<Vec<_>>();
    assert_eq!((states, reply.duplicates.as_slice()), (vec![Submitted, Held, Held, Submitted], [2].as_slice()));
    assert_eq!(reply.referrals[1].name, reply.referrals[2].name);
    let repeated = nca.batch_create_referrals(request).await.unwrap().into_inner();
    assert_eq!(repeated, wire::BatchCreateReferralsResponse { replayed: true, ..reply });
    // Of an import, what occurred before the interest was registered is history, to who may tell of history.
    let item = |at: &str, tag: &str| wire::ImportItem {
        request_id: sample::request_id(tag),
        draft: Some(wire::ReferralDraft { occurred_at: Some(sample::time(at)), ..sample::draft("harbourbook", "one") }),
    };
    let items = vec![item("2026-02-28T12:00:00Z", "before"), item("2026-03-01T09:30:00Z", "after")];
    let message = wire::ImportReferralsRequest { parent: "agencies/nca".into(), items };
    let mut import = client.acting("agencies/nca").roles(&["import"]).referrals();
    let mut replies = import.import_referrals(tokio_stream::once(message)).await.unwrap().into_inner();
    let results = replies.message().await.unwrap().unwrap().results;
    let held = results.into_iter().map(|result| match result.result.unwrap() {
        wire::import_result::Result::Imported(imported) => imported.held,
        wire::import_result::Result::Error(error) => panic!("{error:?}"),
    });
    assert_eq!(held.collect::<Vec<_>>(), [false, true]);
    server.rebuilds(&[Part::Referral]).await;
}

async fn an_authorised_draft_waits_as_well(database: &Database) {
    let (server, client, _) = suite(database).await;
    let interest = register(&client, "bka", PAGE, "2026-09-01", "interest").await;
    let mut author = client.acting("agencies/nca").member("a.uthor").drafts();
    let mut request = sample::write("nca", "harbourbook", "one");
    request.referral.as_mut().unwrap().protected_context = Some(sample::checked(wire::DefenceFinding::DoesNotApply));
    let written = author.create_draft(request).await.unwrap().into_inner().draft.unwrap();
    let mut head = client.acting("agencies/nca").member("a.head").drafts();
    let reply = head.authorise_draft(sample::authorise(&written, "authorise")).await.unwrap().into_inner();
    let waiting = reply.draft.unwrap();
    assert_eq!((waiting.state(), waiting.approver.as_str(), reply.referral), (DraftState::Held, "a.head", None));
    head.authorise_draft(sample::authorise(&written, "again")).await.unwrap();
    // Neither who wrote it nor who authorised it overrides what holds it.
    for member in ["a.uthor", "a.head"] {
        let request = wire::OverrideHoldsRequest {
            name: written.name.clone(),
            reason: "Tonight.".into(),
            request_id: sample::request_id(member),
        };
        let mut of = client.acting("agencies/nca").member(member).deconfliction();
        assert_eq!(refusal(&of.override_holds(request).await.unwrap_err()).reason, "DECIDER_NOT_IMPARTIAL");
    }
    // The end of the interest lets it go.
    let end = wire::EndInterestRequest { name: interest, request_id: sample::request_id("end") };
    let ended = client.acting("agencies/bka").deconfliction().end_interest(end).await.unwrap().into_inner();
    assert_eq!(ended.interest.unwrap().state(), InterestState::Ended);
    let sent = referral(&client, &written.name.replace("/drafts/", "/referrals/")).await.unwrap();
    let answers = sent.authorisation.unwrap();
    assert_eq!((answers.authors.as_slice(), answers.approver.as_str()), (["a.uthor".to_owned()].as_slice(), "a.head"));
    server.rebuilds(&[Part::Referral]).await;
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let (_server, client, _) = suite(database).await;
    let mut wrong = sample::interest("bka", "harbourbook", "no address", "2026-02-01", "wrong");
    wrong.interests[0].contact = " ".into();
    let mut elsewhere = sample::interest("bka", "harbourbook", "https://chirrup.example/1", "2026-09-01", "");
    elsewhere.interests[0].priority = 0;
    wrong.interests.append(&mut elsewhere.interests);
    let mut bka = client.acting("agencies/bka").deconfliction();
    let no = refusal(&bka.register_interests(wrong).await.unwrap_err());
    assert_eq!(no.reason, "REQUEST_INVALID");
    let mut fields = no.fields;
    fields.sort();
    let expected =
        ["interests[0].contact", "interests[0].expires_at", "interests[0].target.target.url", "interests[1].priority"];
    assert_eq!(fields, expected);
    // On another platform, each is named.
    let mut astray = sample::interest("bka", "harbourbook", "https://chirrup.example/1", "2026-09-01", "astray");
    astray.interests.push(astray.interests[0].clone());
    let no = refusal(&bka.register_interests(astray).await.unwrap_err());
    assert_eq!((no.reason.as_str(), no.fields.len()), ("URL_OF_ANOTHER_PLATFORM", 2));
    let request = sample::interest("bka", "nobody", PAGE, "2026-09-01", "nobody");
    assert_eq!(refusal(&bka.register_interests(request).await.unwrap_err()).reason, "ORGANISATION_NOT_FOUND");
    let mut long = sample::interest("bka", "harbourbook", PAGE, "2026-09-01", "long");
    long.interests[0].contact = "c".repeat(limits::INTEREST_TEXT_CHARS_MAX + 1);
    long.interests[0].reference = "r".repeat(limits::INTEREST_TEXT_CHARS_MAX + 1);
    let no = refusal(&bka.register_interests(long.clone()).await.unwrap_err());
    assert_eq!(no.fields, ["interests[0].contact", "interests[0].reference"]);
    long.interests[0].contact.pop();
    long.interests[0].reference.pop();
    bka.register_interests(long).await.unwrap();
    let mut many = sample::interest("bka", "harbourbook", PAGE, "2026-09-01", "many");
    many.interests = vec![many.interests[0].clone(); limits::BATCH_INTERESTS_MAX + 1];
    assert_eq!(refusal(&bka.register_interests(many.clone()).await.unwrap_err()).fields, ["interests"]);
    many.interests.pop();
    assert_eq!(bka.register_interests(many).await.unwrap().into_inner().interests.len(), 1_000);
    // The same id with another address is no repeat, although neither is kept.
    register(&client, "bka", PAGE, "2026-09-01", "same").await;
    let other = sample::interest("bka", "harbourbook", "https://harbourbook.example/other", "2026-09-01", "same");
    assert_eq!(refusal(&bka.register_interests(other).await.unwrap_err()).reason, "REQUEST_ID_REUSED");
    // Nobody registers, or asks, for another.
    let mut nca = client.acting("agencies/nca").deconfliction();
    let request = sample::interest("bka", "harbourbook", PAGE, "2026-09-01", "as another");
    assert_eq!(refusal(&nca.register_interests(request).await.unwrap_err()).reason, "PERMISSION_DENIED");
    let platform = client.acting("platforms/harbourbook").deconfliction();
    let request = wire::ListInterestsRequest { parent: "agencies/bka".into(), ..Default::default() };
    assert_eq!(refusal(&{ platform }.list_interests(request).await.unwrap_err()).reason, "PERMISSION_DENIED");
}

async fn an_interest_is_renewed_and_ends(database: &Database) {
    let (server, client, clock) = suite(database).await;
    let name = register(&client, "bka", PAGE, "2026-03-10", "interest").await;
    let mut bka = client.acting("agencies/bka").deconfliction();
    let renew = |until: &str, id: &str| wire::RenewInterestRequest {
        name: name.clone(),
        expires_at: Some(sample::time(until)),
        request_id: sample::request_id(id),
    };
    bka.renew_interest(renew("2026-03-20", "renew")).await.unwrap();
    let late = refusal(&bka.renew_interest(renew("2028-01-01", "too long")).await.unwrap_err());
    assert_eq!(late.fields, ["expires_at"]);
    clock.set("2026-03-19T00:00:00Z".parse::<Timestamp>().unwrap());
    assert_eq!(check(&client, "nca", &[PAGE]).await[0].0, MatchResult::Hit);
    clock.set("2026-03-20T00:00:00Z".parse::<Timestamp>().unwrap());
    assert_eq!(check(&client, "nca", &[PAGE]).await[0].0, MatchResult::NoHit, "by the clock alone");
    let refused = bka.renew_interest(renew("2026-04-20", "over")).await.unwrap_err();
    assert_eq!(refusal(&refused).reason, "INVALID_TRANSITION");
    let request = wire::ListInterestsRequest { parent: "agencies/bka".into(), ..Default::default() };
    let listed = bka.list_interests(request).await.unwrap().into_inner().interests;
    assert_eq!((listed.len(), listed[0].state(), &listed[0].name), (1, InterestState::Expired, &name));
    assert_eq!(listed[0].reference, "file 2026/17");
    let free = refer(&client, sample::draft("harbourbook", "one"), "one").await;
    assert_eq!(free.state(), ReferralState::Submitted);
    server.rebuilds(&[Part::Referral]).await;
}
