//! What an agency refers twice, through the public API: nothing is recorded again, whoever and however, unless it says that it
//! means to.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::common::v1::{Ground, ReferralNature};
use portreeve_api::referral::v1 as wire;
use portreeve_core::limits;
use portreeve_tests::logs::{content, entries};
use portreeve_tests::{Client, Database, Part, Server, on_both_engines, refusal, sample};
use wire::referral_change::Change;
use wire::{CreateReferralResponse, FieldGroup, ReferralLinkKind};

on_both_engines!(
    what_was_referred_is_given_back,
    a_repeat_of_a_duplicate_gets_the_same_answer,
    a_batch_keeps_its_order,
    of_many_at_once_one_is_recorded,
    what_is_another_matter_is_recorded,
    an_import_tells_what_happened,
    a_draft_whose_target_was_referred_meanwhile_is_not_sent,
    what_turns_out_the_same_is_a_duplicate_from_then_on,
    what_goes_on_with_another_is_recorded,
    links_are_shown_to_whom_both_ends_are,
    a_link_is_to_a_referral_of_the_agency,
);

const START: &str = "2026-03-01T09:00:00Z";

async fn suite(database: &Database) -> (Server, Client) {
    let (server, _) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    (server, client)
}

/// A draft at an address of its own spelling.
fn at(path: &str, tag: &str) -> wire::ReferralDraft {
    let mut draft = sample::draft("harbourbook", tag);
    draft.target.as_mut().unwrap().url = format!("https://harbourbook.example{path}");
    draft
}

async fn refer(client: &Client, agency: &str, draft: wire::ReferralDraft, id: &str) -> CreateReferralResponse {
    let mut referrals = client.acting(&format!("agencies/{agency}")).referrals();
    referrals.create_referral(sample::create(agency, draft, id)).await.unwrap().into_inner()
}

fn name(reply: &CreateReferralResponse) -> String {
    reply.referral.as_ref().unwrap().name.clone()
}

async fn withdraw(client: &Client, name: &str) {
    client.acting("agencies/nca").referrals().withdraw_referral(sample::withdraw(name, name)).await.unwrap();
}

async fn what_was_referred_is_given_back(database: &Database) {
    let (server, client) = suite(database).await;
    let first = refer(&client, "nca", at("/pages/1", "one"), "first").await;
    assert!(!first.duplicate);
    let head = server.head(Part::Referral).await;
    // Spelt otherwise, in other words, by another law: the same place for the same reason.
    let mut again = at("/pages/%31?utm_source=post#top", "two");
    again.statement_of_reasons = "Offers a boat.".into();
    let second = refer(&client, "nca", again, "second").await;
    assert!(second.duplicate && !second.replayed);
    assert_eq!(second.referral, first.referral, "as it was recorded");
    assert_eq!(server.head(Part::Referral).await, head, "nothing is recorded");
    // It is checked like any other, and refused like any other.
    let wrong = wire::ReferralDraft { legal_basis: None, ..at("/pages/1", "wrong") };
    let mut nca = client.acting("agencies/nca").referrals();
    let no = refusal(&nca.create_referral(sample::create("nca", wrong, "wrong")).await.unwrap_err());
    assert_eq!(no.fields, ["referral.legal_basis"]);
    // Once it was taken back it can be referred anew, and is the one from then on.
    withdraw(&client, &name(&first)).await;
    let third = refer(&client, "nca", at("/pages/1", "three"), "third").await;
    assert!(!third.duplicate && name(&third) != name(&first));
    assert_eq!(name(&refer(&client, "nca", at("/pages/1", "four"), "fourth").await), name(&third));
    // What was erased tells nobody that it was there.
    let request = wire::EraseReferralRequest {
        name: name(&third),
        field_groups: vec![FieldGroup::Target.into()],
        reason: "The person asked for it.".into(),
        request_id: sample::request_id("erase"),
    };
    client.acting("agencies/nca").retention().erase_referral(request).await.unwrap();
    assert!(!refer(&client, "nca", at("/pages/1", "five"), "fifth").await.duplicate);
    server.rebuilds(&[Part::Referral]).await;
}

async fn a_repeat_of_a_duplicate_gets_the_same_answer(database: &Database) {
    let (server, client) = suite(database).await;
    let first = refer(&client, "nca", at("/pages/1", "one"), "first").await;
    let second = refer(&client, "nca", at("/pages/1", "two"), "second").await;
    let again = refer(&client, "nca", at("/pages/1", "two"), "second").await;
    assert_eq!(again, CreateReferralResponse { replayed: true, ..second.clone() });
    // So it does when the first was taken back meanwhile: who repeats a request does not refer anew.
    withdraw(&client, &name(&first)).await;
    let again = refer(&client, "nca", at("/pages/1", "two"), "second").await;
    assert_eq!((again.replayed, again.duplicate, name(&again)), (true, true, name(&first)));
    assert_eq!(again.referral.unwrap().state(), wire::ReferralState::Withdrawn);
    // The same id with other content is no repeat.
    let mut nca = client.acting("agencies/nca").referrals();
    let no = nca.create_referral(sample::create("nca", at("/pages/2", "two"), "second")).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "REQUEST_ID_REUSED");
    // Nor does it end with the process.
    server.stop().await;
    let (_server, client) = {
        let (server, _) = Server::suite_at(database, START).await;
        let client = server.client("operators/op");
        (server, client)
    };
    let again = refer(&client, "nca", at("/pages/1", "two"), "second").await;
    assert_eq!((again.replayed, again.duplicate, name(&again)), (true, true, name(&first)));
}

async fn a_batch_keeps_its_order(database: &Database) {
    let (server, client) = suite(database).await;
    let known = refer(&client, "nca", at("/pages/2", "known"), "known").await;
    let drafts = ["/pages/1", "/pages/2", "/pages/3", "/pages/1?fbclid=1", "/pages/3", "/pages/4"];
    let request = wire::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: drafts.iter().map(|path| at(path, path)).collect(),
        request_id: sample::request_id("batch"),
    };
    let mut nca = client.acting("agencies/nca").referrals();
    let head = server.head(Part::Referral).await;
    let reply = nca.batch_create_referrals(request.clone()).await.unwrap().into_inner();
    assert_eq!((server.head(Part::Referral).await, reply.duplicates.as_slice()), (head + 3, [1, 3, 4].as_slice()));
    let names = reply.referrals.iter().map(|referral| referral.name.as_str()).collect::<Vec<_>>();
    assert_eq!((names[1], names[3], names[4]), (name(&known).as_str(), names[0], names[2]));
    let urls = reply.referrals.iter().map(|referral| referral.target.as_ref().unwrap().canonical_url.as_str());
    let paths = ["1", "2", "3", "1", "3", "4"].map(|page| format!("https://harbourbook.example/pages/{page}"));
    assert_eq!(urls.collect::<Vec<_>>(), paths);
    let again = nca.batch_create_referrals(request).await.unwrap().into_inner();
    assert_eq!(again, wire::BatchCreateReferralsResponse { replayed: true, ..reply });
    server.rebuilds(&[Part::Referral]).await;
}

async fn of_many_at_once_one_is_recorded(database: &Database) {
    let (server, client) = suite(database).await;
    let head = server.head(Part::Referral).await;
    let calls = (0..40).map(|number| {
        let client = client.clone();
        async move { refer(&client, "nca", at("/pages/1", &format!("t{number}")), &format!("id {number}")).await }
    });
    let replies = futures_util::future::join_all(calls).await;
    assert_eq!(server.head(Part::Referral).await, head + 1);
    assert_eq!(replies.iter().filter(|reply| !reply.duplicate).count(), 1);
    let names = replies.iter().map(name).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names.len(), 1);
}

async fn what_is_another_matter_is_recorded(database: &Database) {
    let (_server, client) = suite(database).await;
    let first = refer(&client, "nca", at("/pages/1", "one"), "first").await;
    let others = [
        at("/pages/2", "page"),
        at("/Pages/1", "case"),
        wire::ReferralDraft { ground: Ground::ForgedDocuments.into(), ..at("/pages/1", "ground") },
        wire::ReferralDraft { nature: ReferralNature::StatutoryNotice.into(), ..at("/pages/1", "nature") },
        sample::draft("chirrup", "1"),
    ];
    let mut names = std::collections::BTreeSet::from([name(&first)]);
    for (number, draft) in others.into_iter().enumerate() {
        let sent = refer(&client, "nca", draft, &format!("other {number}")).await;
        assert!(!sent.duplicate && names.insert(name(&sent)), "{number}");
    }
    // What another agency has referred is its own, and nobody learns of it so.
    let theirs = refer(&client, "bka", at("/pages/1", "theirs"), "theirs").await;
    assert!(!theirs.duplicate && names.insert(name(&theirs)));
    // The platform was sent each.
    let told = client.acting("platforms/harbourbook").changes("agencies/-", Start::Earliest(true), None).await;
    let created = told.iter().filter(|change| matches!(change.change, Some(Change::Created(_)))).count();
    assert_eq!(created, 6);
}

async fn an_import_tells_what_happened(database: &Database) {
    let (_server, client) = suite(database).await;
    let first = refer(&client, "nca", at("/pages/1", "one"), "first").await;
    let item = |number: u32| wire::ImportItem {
        request_id: sample::request_id(&format!("item {number}")),
        draft: Some(at("/pages/1", &format!("item {number}"))),
    };
    let request = wire::ImportReferralsRequest { parent: "agencies/nca".into(), items: vec![item(1), item(2)] };
    let mut nca = client.acting("agencies/nca").referrals();
    let mut replies = nca.import_referrals(futures_util::stream::iter([request])).await.unwrap().into_inner();
    let mut names = std::collections::BTreeSet::from([name(&first)]);
    while let Some(reply) = replies.message().await.unwrap() {
        for result in reply.results {
            let Some(wire::import_result::Result::Imported(imported)) = result.result else { panic!("{result:?}") };
            assert!(!imported.replayed && names.insert(imported.name));
        }
    }
    assert_eq!(names.len(), 3);
    // What is sent after it is a duplicate of the newest.
    let again = refer(&client, "nca", at("/pages/1", "again"), "again").await;
    assert!(again.duplicate && name(&again) != name(&first));
}

async fn a_draft_whose_target_was_referred_meanwhile_is_not_sent(database: &Database) {
    let (server, client) = suite(database).await;
    let mut author = client.acting("agencies/nca").member("a.uthor").drafts();
    let write = |id: &str| {
        let mut request = sample::write("nca", "harbourbook", id);
        request.referral.as_mut().unwrap().target.as_mut().unwrap().url =
            "https://harbourbook.example/pages/secret".into();
        request
    };
    let one = author.create_draft(write("one")).await.unwrap().into_inner().draft.unwrap();
    let two = author.create_draft(write("two")).await.unwrap().into_inner().draft.unwrap();
    let mut approver = client.acting("agencies/nca").member("a.pprover").drafts();
    let sent = approver.authorise_draft(sample::authorise(&one, "one")).await.unwrap().into_inner();
    assert!(!sent.duplicate);
    let sent = sent.referral.unwrap();
    let head = server.head(Part::Referral).await;
    let request = sample::authorise(&two, "two");
    let reply = approver.authorise_draft(request.clone()).await.unwrap().into_inner();
    assert!(reply.duplicate);
    assert_eq!(reply.referral.as_ref().unwrap().name, sent.name);
    assert_eq!(reply.referral.as_ref().unwrap().authorisation, sent.authorisation, "as it was authorised");
    let ended = reply.draft.clone().unwrap();
    assert_eq!((ended.state(), ended.duplicate_of.as_str()), (wire::DraftState::Discarded, sent.name.as_str()));
    assert_eq!((ended.sent_referral.as_str(), ended.approver.as_str(), ended.referral.clone()), ("", "", None));
    assert_eq!(server.head(Part::Referral).await, head + 1, "the draft's end, and no referral");
    let again = approver.authorise_draft(request).await.unwrap().into_inner();
    assert_eq!(again, wire::AuthoriseDraftResponse { replayed: true, ..reply });
    // Its keys are gone with it.
    let changes = client.acting("agencies/nca").changes("agencies/nca", Start::Earliest(true), None).await;
    let of_two = changes
        .iter()
        .filter(|change| matches!(&change.change, Some(Change::DraftChanged(draft)) if draft.name == two.name));
    assert!(!format!("{:?}", of_two.collect::<Vec<_>>()).contains("secret"));
    server.rebuilds(&[Part::Referral]).await;
}

async fn what_turns_out_the_same_is_a_duplicate_from_then_on(database: &Database) {
    let (server, client) = suite(database).await;
    let one = refer(&client, "nca", at("/Pages/1", "one"), "one").await;
    let two = refer(&client, "nca", at("/pages/1", "two"), "two").await;
    assert!(!two.duplicate, "as long as nobody knows");
    let request = wire::SetAddressRulesRequest {
        name: "platforms/harbourbook/addressRules".into(),
        rules: Some(wire::AddressRuleSet { ignore_path_case: true, ..Default::default() }),
        etag: String::new(),
        request_id: sample::request_id("rules"),
    };
    client.address_rules().set_address_rules(request).await.unwrap();
    // At once with what is written so, and with the others as soon as they were looked at.
    let three = refer(&client, "nca", at("/PAGES/1", "three"), "three").await;
    assert_eq!((three.duplicate, name(&three)), (true, name(&two)));
    withdraw(&client, &name(&two)).await;
    portreeve_tests::within(60, "the sweep", async {
        let request = wire::WatchReferralsRequest {
            parent: "agencies/-".into(),
            start: Some(sample::start(Start::Earliest(true))),
            ..Default::default()
        };
        let mut stream =
            client.acting("services/auditor").referrals().watch_referrals(request).await.unwrap().into_inner();
        let is_swept = |change: &wire::ReferralChange| matches!(change.change, Some(Change::AddressesSwept(_)));
        while !stream.message().await.unwrap().unwrap().changes.iter().any(is_swept) {}
    })
    .await;
    let four = refer(&client, "nca", at("/pAgEs/1", "four"), "four").await;
    assert_eq!((four.duplicate, name(&four)), (true, name(&one)));
    server.rebuilds(&[Part::Referral]).await;
}

fn link(kind: ReferralLinkKind, referral: &str) -> wire::ReferralLink {
    wire::ReferralLink { kind: kind.into(), referral: referral.to_owned(), platform: String::new() }
}

fn with(draft: wire::ReferralDraft, links: Vec<wire::ReferralLink>) -> wire::ReferralDraft {
    wire::ReferralDraft { links, ..draft }
}

fn linked(referral: &wire::Referral) -> Vec<(ReferralLinkKind, String, String)> {
    referral.links.iter().map(|link| (link.kind(), link.referral.clone(), link.platform.clone())).collect()
}

async fn get(client: &Client, name: &str) -> wire::Referral {
    let request = wire::GetReferralRequest { name: name.to_owned(), at_least: Vec::new() };
    client.referrals().get_referral(request).await.unwrap().into_inner().referral.unwrap()
}

/// The referrals with a link to one, as a caller finds them: from a list, and from a snapshot.
async fn linked_to(client: &Client, name: &str) -> Vec<String> {
    let filter = Some(wire::ReferralFilter { linked_to: name.to_owned(), ..Default::default() });
    let request =
        wire::ListReferralsRequest { parent: "agencies/-".into(), filter: filter.clone(), ..Default::default() };
    let listed = client.referrals().list_referrals(request).await.unwrap().into_inner().referrals;
    let listed = listed.into_iter().map(|referral| referral.name).collect::<Vec<_>>();
    let shown = client.changes("agencies/-", Start::Snapshot(true), filter).await.into_iter();
    let shown = shown.filter_map(|change| match change.change {
        Some(Change::Snapshot(referral)) => Some(referral.name),
        _ => None,
    });
    assert_eq!(listed, shown.collect::<Vec<_>>());
    listed
}

async fn what_goes_on_with_another_is_recorded(database: &Database) {
    let (server, client) = suite(database).await;
    let first = refer(&client, "nca", at("/pages/1", "one"), "first").await;
    let (follows, supersedes, network) =
        (ReferralLinkKind::Follows, ReferralLinkKind::Supersedes, ReferralLinkKind::SameNetwork);
    // That it is of one network is no reason to send it once more.
    let same = refer(&client, "nca", with(at("/pages/1", "two"), vec![link(network, &name(&first))]), "network").await;
    assert!(same.duplicate);
    let second = refer(&client, "nca", with(at("/pages/1", "two"), vec![link(follows, &name(&first))]), "second").await;
    assert!(!second.duplicate);
    let links = [(follows, name(&first), "platforms/harbourbook".to_owned())];
    assert_eq!(linked(second.referral.as_ref().unwrap()), links);
    // Without a word it is a duplicate of the newest; by naming that, it goes on with both.
    assert_eq!(name(&refer(&client, "nca", at("/pages/1", "three"), "third").await), name(&second));
    let fourth =
        refer(&client, "nca", with(at("/pages/1", "four"), vec![link(supersedes, &name(&second))]), "fourth").await;
    assert!(!fourth.duplicate);
    // What it names may have another address, and go on with what has this one.
    let moved =
        refer(&client, "nca", with(at("/pages/2", "moved"), vec![link(follows, &name(&fourth))]), "moved").await;
    let back = refer(&client, "nca", with(at("/pages/1", "back"), vec![link(follows, &name(&moved))]), "back").await;
    assert!(!moved.duplicate && !back.duplicate);
    // Nothing is withdrawn by that.
    let nca = client.acting("agencies/nca");
    assert_eq!(get(&nca, &name(&second)).await.state(), wire::ReferralState::Submitted);
    // In a batch too; and a draft says it when it is authorised.
    let request = wire::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: vec![
            at("/pages/3", "a"),
            with(at("/pages/1", "b"), vec![link(follows, &name(&back))]),
            at("/pages/3", "c"),
        ],
        request_id: sample::request_id("batch"),
    };
    let reply = nca.referrals().batch_create_referrals(request).await.unwrap().into_inner();
    assert_eq!(reply.duplicates, [2]);
    assert_eq!(reply.referrals[2].name, reply.referrals[0].name);
    let mut request = sample::write("nca", "harbourbook", "draft");
    let content = request.referral.take().unwrap();
    let written =
        with(wire::ReferralDraft { target: at("/pages/1", "d").target, ..content }, vec![link(follows, &name(&first))]);
    request.referral = Some(written);
    let draft = nca.member("a.uthor").drafts().create_draft(request).await.unwrap().into_inner().draft.unwrap();
    assert_eq!(draft.referral.as_ref().unwrap().links.len(), 1);
    let mut approver = nca.member("a.pprover").drafts();
    let sent = approver.authorise_draft(sample::authorise(&draft, "draft")).await.unwrap().into_inner();
    assert_eq!((sent.duplicate, linked(sent.referral.as_ref().unwrap())), (false, links.to_vec()));
    server.rebuilds(&[Part::Referral]).await;
}

async fn links_are_shown_to_whom_both_ends_are(database: &Database) {
    let (server, client) = suite(database).await;
    let here = refer(&client, "nca", at("/pages/1", "here"), "here").await;
    let (there, _) = sample::refer(&client, "nca", "chirrup", "there").await;
    let network = ReferralLinkKind::SameNetwork;
    let both = vec![link(network, &name(&here)), link(network, &there.name)];
    let of_both = name(&refer(&client, "nca", with(at("/pages/2", "both"), both), "both").await);
    let later = name(&refer(&client, "nca", at("/pages/3", "later"), "later").await);
    let nca = client.acting("agencies/nca");
    let request = wire::LinkReferralsRequest {
        name: later.clone(),
        same_network: vec![of_both.clone(), there.name.clone()],
        request_id: sample::request_id("link"),
    };
    let reply = nca.referrals().link_referrals(request.clone()).await.unwrap().into_inner();
    assert_eq!(reply.referral.as_ref().unwrap().links.len(), 2);
    let again = nca.referrals().link_referrals(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, wire::LinkReferralsResponse { replayed: true, ..reply.clone() });
    // Said again under another id it is done already.
    let head = server.head(Part::Referral).await;
    let same = wire::LinkReferralsRequest { request_id: sample::request_id("link again"), ..request };
    let same = nca.referrals().link_referrals(same).await.unwrap().into_inner();
    assert_eq!((same.replayed, same.referral, server.head(Part::Referral).await), (false, reply.referral, head));

    let (harbourbook, chirrup) = ("platforms/harbourbook".to_owned(), "platforms/chirrup".to_owned());
    let all = [(network, name(&here), harbourbook.clone()), (network, there.name.clone(), chirrup)];
    assert_eq!(linked(&get(&nca, &of_both).await), all);
    assert_eq!(linked_to(&nca, &there.name).await, [of_both.as_str(), later.as_str()]);
    // A platform learns nothing of what was referred to another, in no way.
    let platform = client.acting("platforms/harbourbook");
    assert_eq!(linked(&get(&platform, &of_both).await), all[..1]);
    assert_eq!(linked(&get(&platform, &later).await), [(network, of_both.clone(), harbourbook)]);
    assert!(linked_to(&platform, &there.name).await.is_empty());
    assert_eq!(linked_to(&platform, &of_both).await, [later.as_str()]);
    for start in [Start::Earliest(true), Start::Snapshot(true)] {
        let told = platform.changes("agencies/-", start, None).await;
        assert!(!format!("{told:?}").contains(there.name.rsplit('/').next().unwrap()));
    }
    let told = platform.changes("agencies/-", Start::Earliest(true), None).await;
    let learnt = told
        .iter()
        .filter(|change| matches!(&change.change, Some(Change::Linked(referral)) if referral.links.len() == 1));
    assert_eq!(learnt.count(), 1);
    // To the one whose referrals these are not it is as if nothing had been linked; to a partner as well.
    let elsewhere = client.acting("platforms/chirrup").changes("agencies/-", Start::Earliest(true), None).await;
    assert!(!elsewhere.iter().any(|change| matches!(change.change, Some(Change::Linked(_)))));
    sample::agree(&client, sample::agreement(["nca", "bka"], "2026-06-01"), "partners").await;
    let bka = client.acting("agencies/bka").purpose("investigation");
    assert!(get(&bka, &of_both).await.links.is_empty());
    assert!(linked_to(&bka, &there.name).await.is_empty());
    // Nor does the log's entry give it away.
    let entries = entries(&platform, "logs/referral").await;
    let id = there.name.rsplit('/').next().unwrap();
    let bodies = entries.iter().filter_map(|entry| content(entry).map(|entry| entry.body)).collect::<Vec<_>>();
    assert!(bodies.len() > 2, "it sees what was referred to it");
    assert!(!bodies.iter().any(|body| body.windows(id.len()).any(|bytes| bytes == id.as_bytes())));
    server.rebuilds(&[Part::Referral]).await;
}

async fn a_link_is_to_a_referral_of_the_agency(database: &Database) {
    let (server, client) = suite(database).await;
    let own = name(&refer(&client, "nca", at("/pages/own", "own"), "own").await);
    let theirs = name(&refer(&client, "bka", at("/pages/own", "theirs"), "theirs").await);
    let nobodys = |number: u128| format!("agencies/nca/referrals/{}", uuid::Uuid::from_u128(number));
    let network = ReferralLinkKind::SameNetwork;
    let mut nca = client.acting("agencies/nca").referrals();
    let mut refused = async |links: Vec<wire::ReferralLink>, id: &str| {
        let draft = with(at("/pages/1", id), links);
        refusal(&nca.create_referral(sample::create("nca", draft, id)).await.unwrap_err())
    };
    // All that there are not are named at once, and none of another agency is ever looked for.
    let no =
        refused(vec![link(network, &nobodys(1)), link(network, &own), link(network, &nobodys(2))], "missing").await;
    assert_eq!(
        (no.reason.as_str(), no.fields),
        ("REFERRAL_NOT_FOUND", vec!["referral.links[0].referral".into(), "referral.links[2].referral".into()])
    );
    let wrong = vec![
        link(network, &theirs),
        link(network, &own),
        link(network, &own),
        link(ReferralLinkKind::Unspecified, &own),
        link(network, "x"),
    ];
    let no = refused(wrong, "wrong").await;
    let fields = ["[3].kind", "[4].referral", "[0].referral", "[2]"].map(|field| format!("referral.links{field}"));
    assert_eq!((no.reason.as_str(), no.fields.len()), ("REQUEST_INVALID", 4));
    assert!(fields.iter().all(|field| no.fields.contains(field)), "{:?}", no.fields);
    let call = |of: &str, same_network: Vec<String>, id: &str| wire::LinkReferralsRequest {
        name: of.to_owned(),
        same_network,
        request_id: sample::request_id(&format!("link {id}")),
    };
    let mut nca = client.acting("agencies/nca").referrals();
    for (request, reason, fields) in [
        (call(&own, vec![own.clone()], "self"), "REQUEST_INVALID", vec!["same_network[0]"]),
        (call(&own, vec![theirs.clone()], "theirs"), "REQUEST_INVALID", vec!["same_network[0]"]),
        (call(&own, vec![], "none"), "REQUEST_INVALID", vec!["same_network"]),
        (
            call(&own, vec![nobodys(1), nobodys(2)], "missing"),
            "REFERRAL_NOT_FOUND",
            vec!["same_network[0]", "same_network[1]"],
        ),
        (call(&nobodys(1), vec![own.clone()], "nobody's"), "REFERRAL_NOT_FOUND", vec![]),
    ] {
        let no = refusal(&nca.link_referrals(request).await.unwrap_err());
        assert_eq!((no.reason.as_str(), no.fields), (reason, fields.into_iter().map(str::to_owned).collect()));
    }
    let foreign = client.acting("agencies/bka").referrals().link_referrals(call(&own, vec![nobodys(1)], "bka")).await;
    assert_eq!(refusal(&foreign.unwrap_err()).reason, "PERMISSION_DENIED");
    // As many as there may be, and one more.
    let most = limits::REFERRAL_LINKS_MAX;
    let mut others = Vec::new();
    for number in 0..=most {
        others.push(name(
            &refer(&client, "nca", at(&format!("/many/{number}"), "many"), &format!("many {number}")).await,
        ));
    }
    let links = |count: usize| others[..count].iter().map(|other| link(network, other)).collect::<Vec<_>>();
    let full = refer(&client, "nca", with(at("/pages/full", "full"), links(most)), "full").await;
    assert_eq!(full.referral.as_ref().unwrap().links.len(), most);
    let draft = with(at("/pages/over", "over"), links(most + 1));
    let no = refusal(&nca.create_referral(sample::create("nca", draft, "over")).await.unwrap_err());
    assert_eq!(no.fields, ["referral.links"]);
    let no = refusal(&nca.link_referrals(call(&name(&full), vec![others[most].clone()], "over")).await.unwrap_err());
    assert_eq!(
        (no.reason.as_str(), no.metadata["limit"].as_str(), no.metadata["maximum"].as_str()),
        ("LIMIT_EXCEEDED", "links", "20")
    );
    assert_eq!(
        nca.link_referrals(call(&own, others[..most].to_vec(), "most"))
            .await
            .unwrap()
            .into_inner()
            .referral
            .unwrap()
            .links
            .len(),
        most
    );
    server.rebuilds(&[Part::Referral]).await;
}
