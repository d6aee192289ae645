//! What comes before a referral is sent, through the public API: the protected-context check, what an agency demands, and
//! drafts that one member writes and another authorises. Nobody but their agency learns of drafts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::common::v1::{Ground, HandlingCode, ReferralNature};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as wire;
use portreeve_api::signing::of_draft;
use portreeve_core::limits;
use portreeve_core::signature::PrivateKey;
use portreeve_core::token::Revision;
use portreeve_tests::logs::entries;
use portreeve_tests::{Client, Database, Part, Refused, Server, on_both_engines, refusal, sample};
use tonic::{Code, Status};
use wire::referral_change::Change;
use wire::{DefenceFinding as Finding, Draft, DraftState as State, FieldGroup, Referral};

on_both_engines!(
    one_writes_and_another_authorises,
    what_keeps_a_draft_from_being_sent,
    a_discarded_draft_is_erased,
    erasing_the_referral_erases_its_draft,
    nobody_else_learns_of_a_draft,
    who_may_do_what,
    an_agency_demands_more_before_it_refers,
    the_check_travels_and_is_erased_with_the_reasons,
    a_check_answers_everything_once,
    known_provisions_are_what_they_are,
);

const START: &str = "2026-03-01T09:00:00Z";

async fn suite(database: &Database) -> (Server, Client) {
    let (server, _) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    (server, client)
}

fn member(client: &Client, name: &str) -> Client {
    client.acting("agencies/nca").member(name)
}

async fn write(client: &Client, author: &str, tag: &str) -> Draft {
    let request = sample::write("nca", "chirrup", tag);
    member(client, author).drafts().create_draft(request).await.unwrap().into_inner().draft.unwrap()
}

async fn get(client: &Client, name: &str) -> Result<Draft, Status> {
    let request = wire::GetDraftRequest { name: name.into(), at_least: Vec::new() };
    Ok(client.drafts().get_draft(request).await?.into_inner().draft.unwrap())
}

async fn list(client: &Client, state: State) -> Result<Vec<Draft>, Status> {
    let parent = "agencies/nca".to_owned();
    let mut request = wire::ListDraftsRequest { parent, state: state.into(), page_size: 2, ..Default::default() };
    let mut found = Vec::new();
    loop {
        let reply = client.drafts().list_drafts(request.clone()).await?.into_inner();
        assert!(reply.drafts.len() == 2 || reply.next_page_token.is_empty());
        found.extend(reply.drafts);
        if reply.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = reply.next_page_token;
    }
}

fn update(draft: &Draft, content: wire::ReferralDraft, id: &str) -> wire::UpdateDraftRequest {
    wire::UpdateDraftRequest {
        name: draft.name.clone(),
        referral: Some(content),
        etag: draft.etag.clone(),
        request_id: sample::request_id(&format!("update {id}")),
    }
}

fn discard(draft: &Draft, id: &str) -> wire::DiscardDraftRequest {
    let request_id = sample::request_id(&format!("discard {id}"));
    wire::DiscardDraftRequest { name: draft.name.clone(), etag: String::new(), request_id }
}

async fn authorise(client: &Client, approver: &str, draft: &Draft, id: &str) -> Result<(Draft, Referral), Status> {
    let reply = member(client, approver).drafts().authorise_draft(sample::authorise(draft, id)).await?.into_inner();
    Ok((reply.draft.unwrap(), reply.referral.unwrap()))
}

async fn no(client: &Client, approver: &str, draft: &Draft, id: &str) -> Refused {
    refusal(&authorise(client, approver, draft, id).await.unwrap_err())
}

async fn referral(client: &Client, name: &str) -> Result<Referral, Status> {
    let request = wire::GetReferralRequest { name: name.into(), at_least: Vec::new() };
    Ok(client.referrals().get_referral(request).await?.into_inner().referral.unwrap())
}

/// Whether the state of a service has a word in it, as text or within what is written as bytes.
async fn holds(server: &Server, part: Part, word: &str) -> bool {
    let bytes = portreeve_core::audit::hex(word.as_bytes());
    server.dump(part).await.iter().any(|row| row.contains(word) || row.contains(&bytes))
}

/// The drafts that a stream shows.
async fn told(client: &Client, parent: &str, start: Start) -> Vec<Draft> {
    let draft = |change: wire::ReferralChange| match change.change.unwrap() {
        Change::DraftChanged(draft) | Change::DraftSnapshot(draft) => Some(draft),
        _ => None,
    };
    client.changes(parent, start, None).await.into_iter().filter_map(draft).collect()
}

async fn one_writes_and_another_authorises(database: &Database) {
    let (server, client) = suite(database).await;
    let nca = client.acting("agencies/nca");
    let mut jane = member(&client, "j.doe").drafts();
    let request = sample::write("nca", "chirrup", "first");
    let written = jane.create_draft(request.clone()).await.unwrap().into_inner();
    let draft = written.draft.unwrap();
    assert_eq!((draft.state(), draft.authors.as_slice()), (State::Draft, &["j.doe".to_owned()][..]));
    let said = request.referral.clone().unwrap();
    let kept = draft.referral.clone().unwrap();
    assert_eq!(
        (kept.protected_context, kept.statement_of_reasons),
        (said.protected_context.clone(), said.statement_of_reasons)
    );
    let again = jane.create_draft(request).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.draft.as_ref()), (true, Some(&draft)));
    // Another changes it, and is an author as well; whoever writes what is there changes nothing.
    let changed =
        wire::ReferralDraft { statement_of_reasons: "Places on a boat.".into(), ..draft.referral.clone().unwrap() };
    let mut mary = member(&client, "m.roe").drafts();
    let second = mary.update_draft(update(&draft, changed.clone(), "m")).await.unwrap().into_inner().draft.unwrap();
    assert_eq!(second.authors, ["j.doe", "m.roe"]);
    let same = member(&client, "n.one").drafts().update_draft(update(&second, changed.clone(), "n")).await.unwrap();
    assert_eq!(same.into_inner().draft.unwrap(), second);
    let stale = refusal(&jane.update_draft(update(&draft, sample::draft("chirrup", "x"), "s")).await.unwrap_err());
    assert_eq!((stale.code, stale.reason.as_str()), (Code::Aborted, "STALE_VERSION"));
    assert_eq!(get(&nca, &draft.name).await.unwrap(), second);

    // Certificates and tokens may spell a name differently.
    for author in ["j.doe", "m.roe", "J.Doe"] {
        let refused = no(&client, author, &second, author).await;
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "DECIDER_NOT_IMPARTIAL"));
        assert_eq!(refused.metadata["measure"], draft.name);
    }
    assert_eq!(no(&client, "a.head", &draft, "stale").await.reason, "STALE_VERSION");
    let unnamed = nca.drafts().authorise_draft(sample::authorise(&second, "unnamed")).await.unwrap_err();
    assert_eq!(refusal(&unnamed).reason, "MEMBER_UNNAMED");

    let mut head = member(&client, "a.head").drafts();
    let reply = head.authorise_draft(sample::authorise(&second, "a")).await.unwrap().into_inner();
    let (done, sent) = (reply.draft.clone().unwrap(), reply.referral.clone().unwrap());
    assert_eq!((done.state(), done.approver.as_str(), &done.referral), (State::Authorised, "a.head", &None));
    assert_eq!((&done.sent_referral, done.authorised_at), (&sent.name, sent.occurred_at));
    assert_eq!(sent.name, draft.name.replace("/drafts/", "/referrals/"));
    assert_eq!((sent.occurred_at, sent.occurred_at), (Some(sample::time(START)), sent.recorded_at));
    assert_eq!(sent.statement_of_reasons, "Places on a boat.");
    let answers = sent.authorisation.clone().unwrap();
    assert_eq!((answers.authors.as_slice(), answers.approver.as_str()), (second.authors.as_slice(), "a.head"));
    // One commit: the draft's change, and then the referral.
    let position = Revision::decode(&reply.revision).unwrap().position;
    assert_eq!(done.etag, (position - 1).to_string());
    // Said again, by the same request and by another, it is done; by another member, the first stands.
    let again = head.authorise_draft(sample::authorise(&second, "a")).await.unwrap().into_inner();
    assert_eq!((again.replayed, &again.draft, &again.referral), (true, &reply.draft, &reply.referral));
    assert_eq!(authorise(&client, "a.head", &second, "other id").await.unwrap(), (done.clone(), sent.clone()));
    let other = no(&client, "b.head", &done, "b").await;
    assert_eq!((other.code, other.reason.as_str()), (Code::FailedPrecondition, "INVALID_TRANSITION"));
    assert_eq!((other.metadata["from"].as_str(), other.metadata["to"].as_str()), ("AUTHORISED", "AUTHORISED"));
    let late = refusal(&mary.update_draft(update(&done, sample::draft("chirrup", "x"), "late")).await.unwrap_err());
    assert_eq!((late.metadata["from"].as_str(), late.metadata["to"].as_str()), ("AUTHORISED", "DRAFT"));
    let late = refusal(&mary.discard_draft(discard(&done, "late")).await.unwrap_err());
    assert_eq!((late.metadata["from"].as_str(), late.metadata["to"].as_str()), ("AUTHORISED", "DISCARDED"));

    // Everybody else gets an ordinary referral, and does not learn who answers for it.
    assert_eq!(referral(&nca, &sent.name).await.unwrap(), sent);
    let at_least = vec![reply.revision];
    let chirrup = client.acting("platforms/chirrup");
    let shown = referral(&chirrup, &sent.name).await.unwrap();
    assert_eq!((&shown.authorisation, &shown.protected_context), (&None, &sent.protected_context));
    let request = decision::GetCaseRequest { name: sample::case_of(&sent), at_least };
    let case = chirrup.decisions().get_case(request).await.unwrap().into_inner().case.unwrap();
    assert_eq!((&case.referral, &case.protected_context), (&sent.name, &sent.protected_context));
    assert!(case.protected_context.is_some());
    sample::agree(&client, sample::agreement(["nca", "bka"], "2027-01-01"), "a").await;
    let bka = client.acting("agencies/bka").purpose("investigation");
    assert_eq!(referral(&bka, &sent.name).await.unwrap().authorisation, None);
    let withdrawn = nca.referrals().withdraw_referral(sample::withdraw(&sent.name, "w")).await.unwrap().into_inner();
    assert_eq!(withdrawn.referral.unwrap().authorisation, sent.authorisation);
    for (at, seen) in [("agencies/nca", true), ("platforms/chirrup", false)] {
        let snapshot = client.acting(at).changes("agencies/nca", Start::Snapshot(true), None).await;
        let of = |change: &wire::ReferralChange| match change.change.as_ref().unwrap() {
            Change::Snapshot(of) => Some(of.authorisation.is_some()),
            _ => None,
        };
        assert_eq!(snapshot.iter().filter_map(of).collect::<Vec<_>>(), [seen], "{at}");
    }
    server.rebuilds(&[Part::Referral]).await;
    assert_eq!(get(&nca, &draft.name).await.unwrap(), done);
}

async fn what_keeps_a_draft_from_being_sent(database: &Database) {
    let (_server, client) = suite(database).await;
    let mut jane = member(&client, "j.doe").drafts();
    let with = async |change: fn(&mut wire::ReferralDraft), id: &str| {
        let mut request = sample::write("nca", "chirrup", id);
        change(request.referral.as_mut().unwrap());
        member(&client, "j.doe").drafts().create_draft(request).await.unwrap().into_inner().draft.unwrap()
    };
    // The law: nobody looked, and what was found.
    let unchecked = with(|draft| draft.protected_context = None, "unchecked").await;
    let refused = no(&client, "a.head", &unchecked, "unchecked").await;
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "PROTECTED_CONTEXT_NOT_CLEARED"));
    assert_eq!(
        (refused.metadata["finding"].as_str(), refused.fields),
        ("NOT_CHECKED", vec!["referral.protected_context".into()])
    );
    let applies =
        with(|draft| draft.protected_context.as_mut().unwrap().answers[3].finding = Finding::Applies.into(), "applies")
            .await;
    let refused = no(&client, "a.head", &applies, "applies").await;
    assert_eq!((refused.metadata["finding"].as_str(), refused.metadata["contexts"].as_str()), ("APPLIES", "RESCUE"));
    let uncertain =
        with(|draft| draft.protected_context = Some(sample::checked(Finding::Uncertain)), "uncertain").await;
    authorise(&client, "a.head", &uncertain, "uncertain").await.unwrap();
    // What CreateReferral would refuse.
    let elsewhere =
        with(|draft| draft.target.as_mut().unwrap().url = "https://harbourbook.example/1".into(), "elsewhere").await;
    assert_eq!(no(&client, "a.head", &elsewhere, "elsewhere").await.reason, "URL_OF_ANOTHER_PLATFORM");
    let nowhere = with(|draft| draft.platform = "platforms/nobody".into(), "nowhere").await;
    assert_eq!(no(&client, "a.head", &nowhere, "nowhere").await.reason, "ORGANISATION_NOT_FOUND");
    // What is of the authorisation is no part of a draft, and the rest is as wrong as elsewhere.
    let mut request = sample::write("nca", "chirrup", "early");
    let content = request.referral.as_mut().unwrap();
    content.occurred_at = Some(sample::time("2026-02-01"));
    content.signature = Some(wire::ReferralSignature { jws: "a..b".into(), occurred_at: None });
    content.legal_basis.as_mut().unwrap().section = "s. 24".into();
    let refused = refusal(&jane.create_draft(request).await.unwrap_err());
    let fields = ["referral.legal_basis.section", "referral.occurred_at", "referral.signature"];
    assert_eq!(
        (refused.reason.as_str(), sorted(&refused.fields)),
        ("REQUEST_INVALID", fields.map(str::to_owned).to_vec())
    );

    // Who is suspended neither authorises nor has what he wrote sent by another.
    let good = write(&client, "j.doe", "suspended").await;
    let hac = client.acting("oversightBodies/hac").member("s.upervisor").roles(&["supervisor"]);
    for who in ["a.head", "j.doe"] {
        let mut request = sample::suspension("nca", who, "2026-04-01", &format!("suspend {who}"));
        let grounds = request.measure.as_mut().and_then(|measure| measure.grounds.as_mut()).unwrap();
        grounds.gravity = wire::MisuseGravity::Exceptional.into();
        let imposed = hac.measures().impose_measure(request).await.unwrap().into_inner().measure.unwrap();
        let refused = no(&client, "a.head", &good, "suspended").await;
        assert_eq!((refused.reason.as_str(), &refused.metadata["measure"]), ("REFERRING_SUSPENDED", &imposed.name));
        let request = wire::LiftMeasureRequest {
            name: imposed.name,
            reasons: "In error.".into(),
            request_id: sample::request_id(&format!("lift {who}")),
        };
        hac.measures().lift_measure(request).await.unwrap();
    }
    // Signatures, over what the approver has read.
    let key = PrivateKey::from_seed("nca-2026", [1; 32]);
    let mut signing = client.acting("agencies/nca").signing();
    let request = wire::AddSigningKeyRequest {
        parent: "agencies/nca".into(),
        kid: key.kid().into(),
        signing_key: Some(wire::SigningKey {
            public_key: key.public().to_vec().into(),
            valid_until: Some(sample::time("2027-03-01")),
            ..Default::default()
        }),
        request_id: sample::request_id("key"),
    };
    signing.add_signing_key(request).await.unwrap();
    let request = wire::SetSigningPolicyRequest {
        name: "agencies/nca/signingProfile".into(),
        signatures_required: true,
        request_id: sample::request_id("demand"),
        ..Default::default()
    };
    signing.set_signing_policy(request).await.unwrap();
    assert_eq!(no(&client, "a.head", &good, "unsigned").await.reason, "SIGNATURE_REQUIRED");
    let signed = |content: &wire::ReferralDraft, id: &str| {
        let jws = key.sign(&of_draft("agencies/nca", content), START.parse().unwrap());
        let signature = Some(wire::ReferralSignature { jws, occurred_at: None });
        wire::AuthoriseDraftRequest { signature, ..sample::authorise(&good, id) }
    };
    let mut head = member(&client, "a.head").drafts();
    let mut other = good.referral.clone().unwrap();
    other.statement_of_reasons.push('!');
    let refused = refusal(&head.authorise_draft(signed(&other, "wrongly signed")).await.unwrap_err());
    assert_eq!(refused.reason, "SIGNATURE_INVALID");
    let request = signed(&good.referral.clone().unwrap(), "signed");
    let reply = head.authorise_draft(request.clone()).await.unwrap().into_inner();
    let jws = request.signature.as_ref().unwrap().jws.clone();
    assert_eq!(reply.referral.as_ref().unwrap().signature.as_ref().unwrap().jws, jws);
    assert!(head.authorise_draft(request).await.unwrap().into_inner().replayed);
    let case =
        decision::GetCaseRequest { name: sample::case_of(&reply.referral.unwrap()), at_least: vec![reply.revision] };
    let case = client.acting("platforms/chirrup").decisions().get_case(case).await.unwrap().into_inner().case.unwrap();
    assert_eq!(portreeve_api::signing::of_case(&case), of_draft("agencies/nca", &good.referral.unwrap()));
}

fn sorted(fields: &[String]) -> Vec<String> {
    let mut fields = fields.to_vec();
    fields.sort();
    fields.dedup();
    fields
}

async fn a_discarded_draft_is_erased(database: &Database) {
    let (server, client) = suite(database).await;
    let nca = client.acting("agencies/nca");
    // In each group of what can be erased.
    let mut request = sample::write("nca", "chirrup", "secret page");
    let content = request.referral.as_mut().unwrap();
    content.statement_of_reasons = "A secret statement.".into();
    content.protected_context.as_mut().unwrap().answers[0].reasons = "A secret answer.".into();
    content.handling = Some(wire::Handling {
        code: HandlingCode::SharingWithConditions.into(),
        conditions: "A secret condition.".into(),
        ..wire::Handling::default()
    });
    let mut jane = member(&client, "j.doe").drafts();
    let given_up = jane.create_draft(request.clone()).await.unwrap().into_inner().draft.unwrap();
    let kept = write(&client, "j.doe", "kept page").await;
    let before = format!("{:?}", told(&nca, "agencies/nca", Start::Earliest(true)).await);
    for secret in ["secret-page", "secret statement", "secret answer", "secret condition"] {
        assert!(before.contains(secret), "{secret}");
    }
    assert!(holds(&server, Part::Referral, "secret").await, "the test would find it");
    let wrong = wire::DiscardDraftRequest { etag: "1".into(), ..discard(&given_up, "stale") };
    assert_eq!(refusal(&nca.drafts().discard_draft(wrong).await.unwrap_err()).reason, "STALE_VERSION");
    let reply = nca.drafts().discard_draft(discard(&given_up, "d")).await.unwrap().into_inner();
    let left = reply.draft.unwrap();
    let bare = Draft {
        name: given_up.name.clone(),
        state: State::Discarded.into(),
        authors: vec!["j.doe".into()],
        discarded_at: left.discarded_at,
        create_time: left.create_time,
        update_time: left.update_time,
        etag: left.etag.clone(),
        ..Draft::default()
    };
    assert_eq!(left, bare);
    assert_eq!(get(&nca, &given_up.name).await.unwrap(), left);
    assert_eq!(nca.drafts().discard_draft(discard(&given_up, "d2")).await.unwrap().into_inner().draft.unwrap(), left);
    let again = nca.drafts().discard_draft(discard(&given_up, "d")).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.draft), (true, Some(left.clone())));
    let refused = no(&client, "a.head", &left, "late").await;
    assert_eq!((refused.metadata["from"].as_str(), refused.metadata["to"].as_str()), ("DISCARDED", "AUTHORISED"));
    // The log tells that there was one; the first request of all gets what is left of its answer.
    let after = told(&nca, "agencies/nca", Start::Earliest(true)).await;
    assert_eq!(after.len(), 3);
    assert!(!format!("{after:?}").contains("secret"), "{after:?}");
    assert_eq!(after.iter().find(|draft| draft.name == kept.name), Some(&kept));
    let first = jane.create_draft(request).await.unwrap().into_inner();
    assert!(first.replayed && !format!("{first:?}").contains("secret"), "{first:?}");
    assert_eq!(told(&nca, "agencies/nca", Start::Snapshot(true)).await, [left.clone(), kept.clone()]);
    assert_eq!(list(&nca, State::Discarded).await.unwrap(), [left]);
    assert_eq!(list(&nca, State::Draft).await.unwrap(), [kept]);
    assert!(!holds(&server, Part::Referral, "secret").await);
    server.rebuilds(&[Part::Referral]).await;
}

async fn erasing_the_referral_erases_its_draft(database: &Database) {
    let (server, client) = suite(database).await;
    let nca = client.acting("agencies/nca");
    let draft = write(&client, "j.doe", "page").await;
    let (_, sent) = authorise(&client, "a.head", &draft, "a").await.unwrap();
    let first = told(&nca, "agencies/nca", Start::Earliest(true)).await.remove(0);
    assert_eq!(first, draft, "under the keys that it was begun with");
    let request = wire::EraseReferralRequest {
        name: sent.name.clone(),
        field_groups: vec![FieldGroup::Reasons.into()],
        reason: "The person asked for it.".into(),
        request_id: sample::request_id("erase"),
    };
    let erased = nca.retention().erase_referral(request).await.unwrap().into_inner().referral.unwrap();
    assert_eq!((erased.protected_context, erased.authorisation), (None, sent.authorisation));
    let left = told(&nca, "agencies/nca", Start::Earliest(true)).await.remove(0).referral.unwrap();
    assert_eq!((left.statement_of_reasons.as_str(), left.protected_context), ("", None));
    assert_eq!(left.target, draft.referral.unwrap().target);
    server.rebuilds(&[Part::Referral]).await;
}

async fn nobody_else_learns_of_a_draft(database: &Database) {
    let (server, client) = suite(database).await;
    sample::agree(&client, sample::agreement(["nca", "bka"], "2027-01-01"), "a").await;
    let draft = write(&client, "j.doe", "unsent").await;
    let position = server.head(Part::Referral).await;
    let strangers = [
        client.acting("agencies/bka").purpose("investigation"),
        client.acting("platforms/chirrup"),
        client.acting("oversightBodies/hac"),
        client.acting("operators/op"),
        client.acting("researchers/lab"),
        client.acting("services/decision"),
        client.acting("services/reporting"),
    ];
    let missing = draft.name.replace(draft.name.rsplit('/').next().unwrap(), "00000000-0000-0000-0000-000000000000");
    for (who, stranger) in strangers.iter().enumerate() {
        for name in [&draft.name, &missing] {
            assert_eq!(refusal(&get(stranger, name).await.unwrap_err()).reason, "PERMISSION_DENIED", "{who}");
        }
        assert_eq!(refusal(&list(stranger, State::Unspecified).await.unwrap_err()).reason, "PERMISSION_DENIED");
        let entry =
            entries(stranger, "logs/referral").await.into_iter().find(|entry| entry.position == position).unwrap();
        assert_eq!(entry.content, None);
        let request = portreeve_api::audit::v1::GetInclusionProofRequest {
            log: "logs/referral".into(),
            position,
            ..Default::default()
        };
        if let Ok(proof) = stranger.audits().get_inclusion_proof(request).await {
            assert_eq!(proof.into_inner().entry.unwrap().content, None);
        }
    }
    for reader in ["agencies/bka", "platforms/chirrup", "services/decision", "services/reporting"] {
        let reader = client.acting(reader).purpose("investigation");
        for parent in ["agencies/-", "agencies/nca"] {
            for start in [Start::Earliest(true), Start::Snapshot(true)] {
                assert_eq!(told(&reader, parent, start).await, []);
            }
        }
    }
    // Its own agency does, but for who asks for referrals of some kind.
    let nca = client.acting("agencies/nca").purpose("investigation");
    for parent in ["agencies/-", "agencies/nca"] {
        for start in [Start::Earliest(true), Start::Snapshot(true)] {
            assert_eq!(told(&nca, parent, start).await, std::slice::from_ref(&draft));
        }
    }
    let filter = wire::ReferralFilter { platforms: vec!["platforms/chirrup".into()], ..Default::default() };
    let filtered = nca.changes("agencies/nca", Start::Earliest(true), Some(filter)).await;
    assert!(filtered.is_empty(), "{filtered:?}");
    let own = entries(&nca, "logs/referral").await.into_iter().find(|entry| entry.position == position).unwrap();
    let body = own.content.unwrap().body;
    assert!(!body.windows(6).any(|window| window == b"unsent"), "what can be erased is encrypted");
    // Whoever follows goes on past it.
    let (sent, revision) = sample::refer(&client, "nca", "chirrup", "after it").await;
    let request = decision::GetCaseRequest { name: sample::case_of(&sent), at_least: vec![revision] };
    client.acting("platforms/chirrup").decisions().get_case(request).await.unwrap();
}

async fn who_may_do_what(database: &Database) {
    let (server, client) = suite(database).await;
    let draft = write(&client, "j.doe", "one").await;
    let nca = client.acting("agencies/nca");
    let head = server.head(Part::Referral).await;
    let denied = |result: Result<(), Status>, why: &str| {
        let refused = refusal(&result.unwrap_err());
        assert_eq!(refused.code, Code::PermissionDenied, "{why}");
        refused.reason
    };
    for (caller, why) in [
        (nca.roles(&["approver"]).member("x"), "no officer"),
        (client.acting("agencies/bka").member("x"), "another agency"),
        (client.acting("platforms/chirrup").member("x"), "a platform"),
        (client.acting("oversightBodies/hac").member("x"), "oversight"),
    ] {
        let mut drafts = caller.drafts();
        denied(drafts.create_draft(sample::write("nca", "chirrup", "no")).await.map(drop), why);
        let content = draft.referral.clone().unwrap();
        denied(drafts.update_draft(update(&draft, content, "no")).await.map(drop), why);
        denied(drafts.discard_draft(discard(&draft, "no")).await.map(drop), why);
    }
    for caller in [nca.roles(&["officer"]).member("x"), client.acting("agencies/bka").member("x")] {
        denied(caller.drafts().authorise_draft(sample::authorise(&draft, "no")).await.map(drop), "no approver");
    }
    let unnamed = denied(nca.drafts().create_draft(sample::write("nca", "chirrup", "no")).await.map(drop), "unnamed");
    assert_eq!(unnamed, "MEMBER_UNNAMED");
    let content = sample::draft("chirrup", "other");
    let unnamed = denied(nca.drafts().update_draft(update(&draft, content, "no")).await.map(drop), "unnamed");
    assert_eq!(unnamed, "MEMBER_UNNAMED");
    assert_eq!(server.head(Part::Referral).await, head, "something was written");
    for role in ["officer", "approver", "interest-holder", "auditor", "import"] {
        assert_eq!(get(&nca.roles(&[role]), &draft.name).await.unwrap(), draft, "{role}");
    }
    let missing = draft.name.replace(draft.name.rsplit('/').next().unwrap(), "00000000-0000-0000-0000-000000000000");
    let gone = refusal(&get(&nca, &missing).await.unwrap_err());
    assert_eq!(
        (gone.code, gone.reason.as_str(), &gone.metadata["name"]),
        (Code::NotFound, "DRAFT_NOT_FOUND", &missing)
    );
    let ghost = Draft { name: missing, ..draft };
    assert_eq!(no(&client, "a.head", &ghost, "ghost").await.reason, "DRAFT_NOT_FOUND");
}

fn demand(
    grounds: &[Ground],
    natures: &[ReferralNature],
    check: bool,
    id: &str,
) -> wire::SetAuthorisationPolicyRequest {
    wire::SetAuthorisationPolicyRequest {
        name: "agencies/nca/authorisationPolicy".into(),
        grounds: grounds.iter().map(|ground| (*ground).into()).collect(),
        natures: natures.iter().map(|nature| (*nature).into()).collect(),
        check_demanded: check,
        etag: String::new(),
        request_id: sample::request_id(&format!("demand {id}")),
    }
}

async fn policy(client: &Client) -> Result<wire::AuthorisationPolicy, Status> {
    let name = "agencies/nca/authorisationPolicy".to_owned();
    let request = wire::GetAuthorisationPolicyRequest { name, at_least: Vec::new() };
    Ok(client.authorisation().get_authorisation_policy(request).await?.into_inner().policy.unwrap())
}

async fn an_agency_demands_more_before_it_refers(database: &Database) {
    let (server, clock) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    let nca = client.acting("agencies/nca");
    let nothing = policy(&nca).await.unwrap();
    assert_eq!((nothing.grounds.len(), nothing.natures.len(), nothing.check_demanded_since), (0, 0, None));
    let unnamed = nca.authorisation().set_authorisation_policy(demand(&[], &[], true, "unnamed")).await.unwrap_err();
    assert_eq!(refusal(&unnamed).reason, "MEMBER_UNNAMED");
    let mut authorisation = member(&client, "a.head").authorisation();
    let request = demand(&[Ground::SolicitationOfService], &[ReferralNature::Order], false, "first");
    let set = authorisation.set_authorisation_policy(request.clone()).await.unwrap().into_inner();
    let first = set.policy.unwrap();
    assert_eq!(
        (first.grounds[0].since, first.natures[0].since),
        (Some(sample::time(START)), Some(sample::time(START)))
    );
    assert!(authorisation.set_authorisation_policy(request).await.unwrap().into_inner().replayed);
    for reader in ["agencies/nca", "oversightBodies/hac", "operators/op", "services/decision"] {
        assert_eq!(policy(&client.acting(reader)).await.unwrap(), first, "{reader}");
    }
    for stranger in ["agencies/bka", "platforms/chirrup", "researchers/lab"] {
        assert_eq!(refusal(&policy(&client.acting(stranger)).await.unwrap_err()).reason, "PERMISSION_DENIED");
    }
    for caller in [nca.roles(&["officer"]), client.acting("agencies/bka"), client.acting("oversightBodies/hac")] {
        let request = demand(&[], &[], false, "not theirs");
        let refused = caller.authorisation().set_authorisation_policy(request).await.unwrap_err();
        assert_eq!(refusal(&refused).reason, "PERMISSION_DENIED");
    }
    let stale = wire::SetAuthorisationPolicyRequest { etag: "1".into(), ..demand(&[], &[], false, "stale") };
    let refused = refusal(&authorisation.set_authorisation_policy(stale).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Aborted, "STALE_VERSION"));

    // Alone, in a batch and in an import: draft it.
    clock.set("2026-03-02T09:00:00Z".parse().unwrap());
    let asked = |tag: &str, at: Option<&str>| wire::ReferralDraft {
        ground: Ground::SolicitationOfService.into(),
        occurred_at: at.map(sample::time),
        ..sample::draft("chirrup", tag)
    };
    let create = async |caller: &Client, draft: wire::ReferralDraft, id: &str| {
        caller.referrals().create_referral(sample::create("nca", draft, id)).await.map(drop).map_err(|no| refusal(&no))
    };
    let refused = create(&nca, asked("1", None), "1").await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "AUTHORISATION_REQUIRED"));
    assert_eq!(
        (refused.fields, &refused.metadata["agency"]),
        (vec!["referral.ground".into()], &"agencies/nca".to_owned())
    );
    let order = wire::ReferralDraft { nature: ReferralNature::Order.into(), ..asked("2", None) };
    assert_eq!(create(&nca, order, "2").await.unwrap_err().fields, ["referral.ground", "referral.nature"]);
    let request = wire::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: vec![sample::draft("chirrup", "3"), asked("4", None)],
        request_id: sample::request_id("batch"),
    };
    let refused = refusal(&nca.referrals().batch_create_referrals(request).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), refused.fields), ("AUTHORISATION_REQUIRED", vec!["drafts[1].ground".into()]));
    create(&nca, sample::draft("chirrup", "5"), "5").await.unwrap();
    create(&client.acting("agencies/bka"), asked("6", None), "6").await.unwrap_err();
    let bka = sample::create("bka", asked("6", None), "6");
    client.acting("agencies/bka").referrals().create_referral(bka).await.unwrap();
    let import = async |caller: &Client, draft: wire::ReferralDraft, id: &str| {
        let items = vec![wire::ImportItem { request_id: sample::request_id(id), draft: Some(draft) }];
        let request = wire::ImportReferralsRequest { parent: "agencies/nca".into(), items };
        let mut replies =
            caller.referrals().import_referrals(tokio_stream::iter([request])).await.unwrap().into_inner();
        let reply = replies.message().await.unwrap().unwrap();
        matches!(reply.results[0].result, Some(wire::import_result::Result::Imported(_)))
    };
    let importer = nca.roles(&["import"]);
    assert!(!import(&nca, asked("7", None), "7").await);
    assert!(!import(&importer, asked("8", Some("2026-03-01T09:00:00Z")), "8").await);
    // History: what occurred before, told by who may tell it.
    assert!(import(&importer, asked("9", Some("2026-03-01T08:59:59Z")), "9").await);
    assert!(import(&importer, asked("10", Some("2020-01-01")), "10").await);
    assert!(!import(&nca, asked("11", Some("2026-03-01T08:59:59Z")), "11").await, "no officer dodges it");
    // As a draft it goes out.
    let mut request = sample::write("nca", "chirrup", "12");
    request.referral.as_mut().unwrap().ground = Ground::SolicitationOfService.into();
    let draft = member(&client, "j.doe").drafts().create_draft(request).await.unwrap().into_inner().draft.unwrap();
    authorise(&client, "a.head", &draft, "12").await.unwrap();

    // A check of everything; what stays demanded keeps its time, and an empty policy demands nothing.
    let request = demand(&[Ground::SolicitationOfService], &[], true, "check");
    let second = authorisation.set_authorisation_policy(request).await.unwrap().into_inner().policy.unwrap();
    assert_eq!((&second.grounds, second.natures.len()), (&first.grounds, 0));
    assert_eq!(second.check_demanded_since, Some(sample::time("2026-03-02T09:00:00Z")));
    let refused = create(&nca, sample::draft("chirrup", "13"), "13").await.unwrap_err();
    assert_eq!(
        (refused.reason.as_str(), refused.metadata["finding"].as_str()),
        ("PROTECTED_CONTEXT_NOT_CLEARED", "NOT_CHECKED")
    );
    assert!(!import(&importer, sample::draft("chirrup", "14"), "14").await);
    let old = wire::ReferralDraft { occurred_at: Some(sample::time("2026-02-01")), ..sample::draft("chirrup", "15") };
    assert!(import(&importer, old, "15").await);
    let checked = wire::ReferralDraft {
        protected_context: Some(sample::checked(Finding::DoesNotApply)),
        ..sample::draft("chirrup", "16")
    };
    create(&nca, checked, "16").await.unwrap();
    authorisation.set_authorisation_policy(demand(&[], &[], false, "none")).await.unwrap();
    create(&nca, asked("17", None), "17").await.unwrap();
    // The agency learns of it where it watches everything.
    let changes = nca.changes("agencies/-", Start::Earliest(true), None).await;
    let of = |change: &wire::ReferralChange| matches!(change.change, Some(Change::AuthorisationPolicyChanged(_)));
    assert_eq!(changes.iter().filter(|change| of(change)).count(), 3);
    let changes = client.acting("platforms/chirrup").changes("agencies/-", Start::Earliest(true), None).await;
    assert!(!changes.iter().any(of));
    server.rebuilds(&[Part::Referral]).await;
}

async fn the_check_travels_and_is_erased_with_the_reasons(database: &Database) {
    let (server, client) = suite(database).await;
    let nca = client.acting("agencies/nca");
    let found = Some(sample::checked(Finding::Uncertain));
    let draft = wire::ReferralDraft { protected_context: found.clone(), ..sample::draft("chirrup", "1") };
    let reply = nca.referrals().create_referral(sample::create("nca", draft, "1")).await.unwrap().into_inner();
    let sent = reply.referral.unwrap();
    assert_eq!((&sent.protected_context, &sent.authorisation), (&found, &None));
    let (plain, _) = sample::refer(&client, "nca", "chirrup", "2").await;
    assert_eq!(plain.protected_context, None);
    let chirrup = client.acting("platforms/chirrup");
    let case = async |at_least: &str| {
        let request = decision::GetCaseRequest { name: sample::case_of(&sent), at_least: vec![at_least.to_owned()] };
        client.acting("platforms/chirrup").decisions().get_case(request).await.unwrap().into_inner().case.unwrap()
    };
    assert_eq!(case(&reply.revision).await.protected_context, found);
    assert_eq!(referral(&chirrup, &sent.name).await.unwrap().protected_context, found);
    // A partner with whom the reasons are not shared sees none of it, here and with the case.
    let mut agreement = sample::agreement(["nca", "bka"], "2027-01-01");
    agreement.field_groups.retain(|group| *group != i32::from(FieldGroup::Reasons));
    let (_, revision) = sample::agree(&client, agreement, "a").await;
    let bka = client.acting("agencies/bka").purpose("investigation");
    assert_eq!(referral(&bka, &sent.name).await.unwrap().protected_context, None);
    let request = decision::GetCaseRequest { name: sample::case_of(&sent), at_least: vec![revision] };
    let shown = bka.decisions().get_case(request).await.unwrap().into_inner().case.unwrap();
    assert_eq!((shown.protected_context, shown.statement_of_reasons.as_str()), (None, ""));
    for part in [Part::Referral, Part::Decision] {
        assert!(holds(&server, part, "looked at").await, "the test would find it");
    }
    let request = wire::EraseReferralRequest {
        name: sent.name.clone(),
        field_groups: vec![FieldGroup::Reasons.into()],
        reason: "The person asked for it.".into(),
        request_id: sample::request_id("erase"),
    };
    let erased = nca.retention().erase_referral(request).await.unwrap().into_inner();
    assert_eq!(erased.referral.unwrap().protected_context, None);
    assert_eq!(case(&erased.revision).await.protected_context, None);
    let changes = nca.changes("agencies/nca", Start::Earliest(true), None).await;
    assert!(!format!("{changes:?}").contains("looked at"));
    for part in [Part::Referral, Part::Decision] {
        assert!(!holds(&server, part, "looked at").await);
        server.rebuilds(&[part]).await;
    }
}

async fn a_check_answers_everything_once(database: &Database) {
    let (server, client) = suite(database).await;
    let nca = client.acting("agencies/nca");
    let head = server.head(Part::Referral).await;
    let create = async |check: wire::ProtectedContextCheck, id: &str| {
        let draft = wire::ReferralDraft { protected_context: Some(check), ..sample::draft("chirrup", "1") };
        nca.referrals().create_referral(sample::create("nca", draft, id)).await.map(drop).map_err(|no| refusal(&no))
    };
    let mut wrong = sample::checked(Finding::Uncertain);
    wrong.answers[1].context = wrong.answers[0].context;
    wrong.answers[2].reasons = " ".into();
    let refused = create(wrong, "wrong").await.unwrap_err();
    let at = |field: &str| format!("referral.protected_context.{field}");
    let fields = [at("answers"), at("answers[1].context"), at("answers[2].reasons")];
    assert_eq!((refused.reason.as_str(), sorted(&refused.fields)), ("REQUEST_INVALID", fields.to_vec()));
    assert_eq!(create(wire::ProtectedContextCheck::default(), "none").await.unwrap_err().fields.len(), 2);
    let mut unknown = sample::checked(Finding::Uncertain);
    unknown.answers[5].finding = 4;
    assert_eq!(create(unknown, "unknown").await.unwrap_err().fields, [at("answers[5].finding")]);
    let refused = create(sample::checked(Finding::Applies), "applies").await.unwrap_err();
    assert_eq!(
        (refused.reason.as_str(), refused.fields),
        ("PROTECTED_CONTEXT_NOT_CLEARED", vec!["referral.protected_context".into()])
    );
    assert_eq!(server.head(Part::Referral).await, head, "something was written");
    let mut long = sample::checked(Finding::Uncertain);
    long.answers[5].reasons = "\u{e9}".repeat(limits::PROTECTED_CONTEXT_REASONS_CHARS_MAX + 1);
    assert_eq!(create(long.clone(), "long").await.unwrap_err().fields, [at("answers[5].reasons")]);
    long.answers[5].reasons.pop();
    create(long, "fits").await.unwrap();
}

async fn known_provisions_are_what_they_are(database: &Database) {
    let (_server, client) = suite(database).await;
    for reader in ["agencies/nca", "platforms/chirrup", "oversightBodies/hac", "researchers/lab"] {
        let mut bases = client.acting(reader).legal_bases();
        let known = bases.list_legal_bases(wire::ListLegalBasesRequest {}).await.unwrap().into_inner().legal_bases;
        assert_eq!(known.len(), 10);
        let of = |code: &str| known.iter().find(|known| known.code == code).unwrap();
        assert_eq!((of("BSAIA2025_S16").defences.len(), of("BSAIA2025_S17").defences.len()), (6, 2));
        assert_eq!(of("IA1971_S25").section, "s. 25");
    }
    let nca = client.acting("agencies/nca");
    let create = async |code: &str, statute: &str, section: &str| {
        let legal_basis =
            Some(wire::LegalBasis { code: code.into(), statute: statute.into(), section: section.into() });
        let draft = wire::ReferralDraft { legal_basis, ..sample::draft("chirrup", "1") };
        let id = format!("{code} {statute} {section}");
        let done = nca.referrals().create_referral(sample::create("nca", draft, &id)).await;
        done.map(drop).map_err(|status| (refusal(&status).fields, format!("{status:?}")))
    };
    create("IA1971_S25", "Immigration Act 1971", "").await.unwrap();
    create("OWN_CODE", "Immigration Act 1971", "s. 99").await.unwrap();
    let (fields, text) = create("BSAIA2025_S17", "Immigration Act 1971", "s. 16").await.unwrap_err();
    assert_eq!(fields, ["referral.legal_basis.statute", "referral.legal_basis.section"]);
    assert!(text.contains("must be s. 17"), "{text}");
}
