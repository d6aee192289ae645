//! Signed referrals through the public API and the command line: what an agency signed is verified before anything is
//! written, travels to the platform, and is verified there with no server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use portreeve_api::common::v1::{Ground, watch_start};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::signing::of_draft;
use portreeve_core::limits;
use portreeve_core::signature::PrivateKey;
use portreeve_tests::{
    Client, Database, Fixture, ManualClock, Part, Refused, Server, Timestamp, on_both_engines, process, refusal, sample,
};
use tonic::{Code, Status};

on_both_engines!(
    a_signature_is_verified_and_travels,
    what_is_not_the_agencys_is_refused,
    keys_come_and_go,
    whoever_watches_learns_of_keys
);

/// One change of what was signed.
type Change = fn(&mut referral::ReferralDraft);

const START: &str = "2026-03-01T09:00:00Z";

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed("nca-2026", [seed; 32])
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn sign(key: &PrivateKey, agency: &str, draft: &mut referral::ReferralDraft, at: Timestamp) {
    let jws = key.sign(&of_draft(agency, draft), at);
    draft.signature = Some(referral::ReferralSignature { jws, occurred_at: None });
}

fn signed(key: &PrivateKey, tag: &str, at: Timestamp) -> referral::ReferralDraft {
    let mut draft = sample::draft("harbourbook", tag);
    sign(key, "agencies/nca", &mut draft, at);
    draft
}

fn add(agency: &str, key: &PrivateKey, from: Option<&str>, until: &str, id: &str) -> referral::AddSigningKeyRequest {
    referral::AddSigningKeyRequest {
        parent: agency.into(),
        kid: key.kid().into(),
        signing_key: Some(referral::SigningKey {
            public_key: key.public().to_vec().into(),
            valid_from: from.map(sample::time),
            valid_until: Some(sample::time(until)),
            ..referral::SigningKey::default()
        }),
        request_id: sample::request_id(id),
    }
}

async fn registered(client: &Client, key: &PrivateKey) -> referral::SigningProfile {
    let mut nca = client.acting("agencies/nca").signing();
    let request = add("agencies/nca", key, None, "2027-03-01", &format!("key {}", key.kid()));
    nca.add_signing_key(request).await.unwrap().into_inner().profile.unwrap()
}

async fn create(client: &Client, draft: referral::ReferralDraft, id: &str) -> Result<referral::Referral, Status> {
    let mut nca = client.acting("agencies/nca").referrals();
    let reply = nca.create_referral(sample::create("nca", draft, id)).await?.into_inner();
    Ok(reply.referral.unwrap())
}

async fn refused(client: &Client, draft: referral::ReferralDraft, id: &str) -> Refused {
    refusal(&create(client, draft, id).await.unwrap_err())
}

async fn suite(database: &Database) -> (Server, std::sync::Arc<ManualClock>, Client) {
    let (server, clock) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    (server, clock, client)
}

async fn a_signature_is_verified_and_travels(database: &Database) {
    let (server, clock, client) = suite(database).await;
    let key = key(1);
    registered(&client, &key).await;
    let mut nca = client.acting("agencies/nca").referrals();

    // One alone, with a time that the server's clock has not reached: the referral's own is the server's, the signed one
    // stays as it was signed.
    let ahead = sample::wire_time(at(START).plus_micros(1_500_000));
    let mut draft = referral::ReferralDraft {
        occurred_at: Some(ahead),
        statement_of_reasons: "\"B\u{fc}cher\"\n\u{1f6a2}".into(),
        ..sample::draft("harbourbook", "one")
    };
    sign(&key, "agencies/nca", &mut draft, at(START));
    let sent = create(&client, draft.clone(), "one").await.unwrap();
    assert_eq!(sent.occurred_at, Some(sample::time(START)));
    let signature = sent.signature.clone().unwrap();
    assert_eq!((&signature.jws, signature.occurred_at), (&draft.signature.clone().unwrap().jws, Some(ahead)));

    // The same content signed anew is the same request; with other content it is not.
    clock.set(at("2026-03-01T09:00:10Z"));
    let first = draft.signature.take();
    sign(&key, "agencies/nca", &mut draft, at("2026-03-01T09:00:09Z"));
    assert_ne!(draft.signature, first);
    let again = nca.create_referral(sample::create("nca", draft.clone(), "one")).await.unwrap().into_inner();
    assert!(again.replayed && again.referral.unwrap() == sent);
    draft.statement_language = "sq".into();
    assert_eq!(refused(&client, draft, "one").await.reason, "REQUEST_ID_REUSED");

    // A batch, and an import with items that are not the agency's.
    let drafts = (0..3).map(|item| signed(&key, &format!("batch {item}"), at(START))).collect::<Vec<_>>();
    let batch = |drafts, id: &str| referral::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts,
        request_id: sample::request_id(id),
    };
    let reply = nca.batch_create_referrals(batch(drafts.clone(), "batch")).await.unwrap().into_inner();
    assert!(reply.referrals.iter().all(|referral| referral.signature.is_some()));
    let mut changed = drafts.clone();
    changed[1].ground = Ground::ForgedDocuments.into();
    let status = nca.batch_create_referrals(batch(changed, "changed")).await.unwrap_err();
    let no = refusal(&status);
    assert_eq!((no.code, no.reason.as_str()), (Code::InvalidArgument, "SIGNATURE_INVALID"));
    assert_eq!(no.fields, ["drafts[1].signature.jws"]);
    let mut items = (0..3).map(|item| signed(&key, &format!("import {item}"), at(START))).collect::<Vec<_>>();
    items[1].target.as_mut().unwrap().native_id = "another".into();
    let items = items.into_iter().zip(0..).map(|(draft, number)| referral::ImportItem {
        request_id: sample::request_id(&format!("item {number}")),
        draft: Some(draft),
    });
    let message = referral::ImportReferralsRequest { parent: "agencies/nca".into(), items: items.collect() };
    let mut replies = nca.import_referrals(tokio_stream::once(message)).await.unwrap().into_inner();
    let reply = replies.message().await.unwrap().unwrap();
    let outcomes = reply.results.iter().map(|result| match result.result.as_ref().unwrap() {
        referral::import_result::Result::Imported(_) => "imported",
        referral::import_result::Result::Error(_) => "refused",
    });
    assert_eq!(outcomes.collect::<Vec<_>>(), ["imported", "refused", "imported"]);

    // The platform gets it with all that was signed; so does whoever rebuilds.
    let request = decision::GetCaseRequest { name: sample::case_of(&sent), at_least: vec![reply.revision] };
    let mut hb = client.acting("platforms/harbourbook").decisions();
    let case = hb.get_case(request.clone()).await.unwrap().into_inner().case.unwrap();
    assert_eq!(case.signature, Some(signature));
    server.rebuilds(&[Part::Referral, Part::Decision]).await;
    assert_eq!(hb.get_case(request).await.unwrap().into_inner().case.unwrap(), case);
}

async fn what_is_not_the_agencys_is_refused(database: &Database) {
    let (server, clock, client) = suite(database).await;
    let key = key(1);
    // Before there is a key, the first is unknown.
    let no = refused(&client, signed(&key, "early", at(START)), "early").await;
    assert_eq!((no.code, no.reason.as_str()), (Code::NotFound, "SIGNATURE_KEY_UNKNOWN"));
    assert_eq!((no.metadata["agency"].as_str(), no.metadata["kid"].as_str()), ("agencies/nca", "nca-2026"));
    registered(&client, &key).await;
    // Another agency's key of the same id is not the agency's.
    let other = PrivateKey::from_seed("nca-2026", [9; 32]);
    let mut bka = client.acting("agencies/bka").signing();
    bka.add_signing_key(add("agencies/bka", &other, None, "2027-03-01", "bka")).await.unwrap();
    let head = server.head(Part::Referral).await;

    let good = signed(&key, "good", at(START));
    let changes: [(&str, Change); 12] = [
        ("kind", |draft| draft.target.as_mut().unwrap().kind = 2),
        ("url", |draft| draft.target.as_mut().unwrap().url.push('x')),
        ("native_id", |draft| draft.target.as_mut().unwrap().native_id.clear()),
        ("nature", |draft| draft.nature = 3),
        ("ground", |draft| draft.ground = 2),
        ("code", |draft| draft.legal_basis.as_mut().unwrap().code.push('X')),
        // Another spelling, which the catalogue of provisions takes.
        ("statute", |draft| draft.legal_basis.as_mut().unwrap().statute.make_ascii_uppercase()),
        ("section", |draft| draft.legal_basis.as_mut().unwrap().section.clear()),
        ("statement", |draft| draft.statement_of_reasons.push(' ')),
        ("language", |draft| draft.statement_language = "fr".into()),
        ("content language", |draft| draft.content_language.clear()),
        ("time", |draft| draft.occurred_at = Some(sample::time(START))),
    ];
    for (what, change) in changes {
        let mut draft = good.clone();
        change(&mut draft);
        let no = refused(&client, draft, what).await;
        assert_eq!((no.code, no.reason.as_str()), (Code::InvalidArgument, "SIGNATURE_INVALID"), "{what}");
        assert_eq!(no.fields, ["referral.signature.jws"], "{what}");
    }
    let mut forged = sample::draft("harbourbook", "forged");
    sign(&other, "agencies/nca", &mut forged, at(START));
    assert_eq!(refused(&client, forged, "forged").await.reason, "SIGNATURE_INVALID");
    let mut borrowed = sample::draft("harbourbook", "borrowed");
    sign(&key, "agencies/bka", &mut borrowed, at(START));
    assert_eq!(refused(&client, borrowed, "borrowed").await.reason, "SIGNATURE_INVALID");

    // What is no signature at all is a wrong field, named with every other.
    for jws in ["", "x", "a..b", "eyJhbGciOiJub25lIn0..AAAA", &"a".repeat(limits::SIGNATURE_CHARS_MAX + 1)] {
        let signature = Some(referral::ReferralSignature { jws: jws.to_owned(), occurred_at: None });
        let draft = referral::ReferralDraft { signature, statement_of_reasons: String::new(), ..good.clone() };
        let no = refused(&client, draft, jws).await;
        assert_eq!(no.reason, "REQUEST_INVALID", "{jws}");
        for field in ["referral.signature.jws", "referral.statement_of_reasons"] {
            assert!(no.fields.contains(&field.to_owned()), "{jws}: {no:?}");
        }
    }
    let future = signed(&key, "future", at("2026-03-01T09:00:03Z"));
    assert_eq!(refused(&client, future, "future").await.fields, ["referral.signature.jws"]);
    let soon = signed(&key, "soon", at("2026-03-01T09:00:02Z"));
    assert!(create(&client, soon, "soon").await.is_ok());

    // Before and after its time.
    let early = signed(&key, "before", at("2026-03-01T08:59:59Z"));
    let no = refused(&client, early, "before").await;
    assert_eq!((no.code, no.reason.as_str()), (Code::FailedPrecondition, "SIGNATURE_KEY_EXPIRED"));
    assert_eq!((no.metadata["state"].as_str(), no.metadata["at"].as_str()), ("NOT_YET_VALID", START));
    assert_eq!(server.head(Part::Referral).await, head + 1, "nothing of what was refused was written");
    clock.set(at("2027-03-01T00:00:00Z"));
    for (what, signed_at) in [("late", "2027-03-01T00:00:00Z"), ("said to be in time", "2027-02-28T23:59:59Z")] {
        let no = refused(&client, signed(&key, what, at(signed_at)), what).await;
        assert_eq!(no.metadata["state"], "EXPIRED", "{what}: {no:?}");
    }
}

async fn keys_come_and_go(database: &Database) {
    let (_server, clock, client) = suite(database).await;
    let key = key(1);
    let name = "agencies/nca/signingProfile".to_owned();
    let mut nca = client.acting("agencies/nca").signing();
    let get = |name: &str| referral::GetSigningProfileRequest { name: name.into(), at_least: Vec::new() };
    let none = nca.get_signing_profile(get(&name)).await.unwrap().into_inner().profile.unwrap();
    assert_eq!((none.keys.len(), none.etag.as_str(), none.update_time), (0, "0", None));
    let no = refusal(&nca.get_signing_profile(get("agencies/nobody/signingProfile")).await.unwrap_err());
    assert_eq!(no.reason, "ORGANISATION_NOT_FOUND");

    let profile = registered(&client, &key).await;
    assert_eq!(profile.keys[0].name, "agencies/nca/signingKeys/nca-2026");
    assert_eq!(profile.keys[0].valid_from, Some(sample::time(START)));
    // Everybody may read it, and only an approver of the agency writes it.
    for reader in ["platforms/harbourbook", "agencies/bka", "oversightBodies/hac", "operators/op"] {
        let read = client.acting(reader).signing().get_signing_profile(get(&name)).await.unwrap();
        assert_eq!(read.into_inner().profile.unwrap(), profile, "{reader}");
    }
    for caller in [
        client.acting("agencies/bka"),
        client.acting("agencies/nca").roles(&["officer"]),
        client.acting("platforms/harbourbook"),
        client.acting("operators/op"),
    ] {
        let request = add("agencies/nca", &key, None, "2027-03-01", "foreign");
        let no = refusal(&caller.signing().add_signing_key(request).await.unwrap_err());
        assert_eq!(no.reason, "PERMISSION_DENIED");
    }

    // Again the same, another of the same id, and keys that are none.
    clock.set(at("2026-03-01T10:00:00Z"));
    let again = add("agencies/nca", &key, None, "2027-03-01", "again");
    assert_eq!(nca.add_signing_key(again).await.unwrap().into_inner().profile.unwrap(), profile);
    let other = PrivateKey::from_seed("nca-2026", [2; 32]);
    for request in [
        add("agencies/nca", &other, None, "2027-03-01", "other key"),
        add("agencies/nca", &key, None, "2027-03-02", "other end"),
        add("agencies/nca", &key, Some("2026-03-02"), "2027-03-01", "other begin"),
    ] {
        let no = refusal(&nca.add_signing_key(request).await.unwrap_err());
        assert_eq!((no.code, no.reason.as_str()), (Code::AlreadyExists, "SIGNING_KEY_EXISTS"));
    }
    let second = PrivateKey::from_seed("second", [3; 32]);
    // Whole days: from the beginning of one, 1,096 later and no more.
    let fits = add("agencies/nca", &second, Some("2026-03-01"), "2029-03-01", "fits");
    let longer = add("agencies/nca", &second, Some("2026-03-01"), "2029-03-02", "longer");
    let mut neutral = add("agencies/nca", &second, None, "2027-03-01", "neutral");
    neutral.signing_key.as_mut().unwrap().public_key = vec![0; 32].into();
    let mut short = add("agencies/nca", &second, None, "2027-03-01", "short");
    short.signing_key.as_mut().unwrap().public_key = vec![1; 31].into();
    for (request, field) in [
        (longer, "signing_key.valid_until"),
        (add("agencies/nca", &second, Some("2026-04-01"), "2026-04-01", "empty"), "signing_key.valid_until"),
        (add("agencies/nca", &second, Some("2025-01-01"), "2026-03-01", "past"), "signing_key.valid_until"),
        (neutral, "signing_key.public_key"),
        (short, "signing_key.public_key"),
    ] {
        let no = refusal(&nca.add_signing_key(request).await.unwrap_err());
        assert_eq!((no.reason.as_str(), no.fields), ("REQUEST_INVALID", vec![field.to_owned()]));
    }
    assert_eq!(nca.add_signing_key(fits).await.unwrap().into_inner().profile.unwrap().keys.len(), 2);

    // Once the agency demands signatures, nothing else is taken.
    let policy = |required, etag: &str, id: &str| referral::SetSigningPolicyRequest {
        name: name.clone(),
        signatures_required: required,
        etag: etag.into(),
        request_id: sample::request_id(id),
    };
    let no = refusal(&nca.set_signing_policy(policy(true, &profile.etag, "stale")).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str()), (Code::Aborted, "STALE_VERSION"));
    let set = nca.set_signing_policy(policy(true, "", "required")).await.unwrap().into_inner().profile.unwrap();
    assert!(set.signatures_required && set.etag != profile.etag);
    let no = refused(&client, sample::draft("harbourbook", "bare"), "bare").await;
    assert_eq!((no.code, no.reason.as_str()), (Code::FailedPrecondition, "SIGNATURE_REQUIRED"));
    assert_eq!(no.fields, ["referral.signature"]);
    assert!(create(&client, signed(&key, "signed", at("2026-03-01T10:00:00Z")), "signed").await.is_ok());
    sample::refer(&client, "bka", "harbourbook", "another agency").await;

    // A lost key counts no more, whatever time it says.
    let revoke = |kid: &str, reason: &str, since: Option<&str>, id: &str| referral::RevokeSigningKeyRequest {
        name: format!("agencies/nca/signingKeys/{kid}"),
        reason: reason.into(),
        revoked_at: since.map(sample::time),
        request_id: sample::request_id(id),
    };
    let no = refusal(&nca.revoke_signing_key(revoke("third", "x", None, "no such")).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str()), (Code::NotFound, "SIGNATURE_KEY_UNKNOWN"));
    let since = Some("2026-03-01T09:30:00Z");
    let future = Some("2026-03-01T11:00:00Z");
    let no = refusal(&nca.revoke_signing_key(revoke("nca-2026", "stolen", future, "future")).await.unwrap_err());
    assert_eq!(no.fields, ["revoked_at"]);
    let gone = nca.revoke_signing_key(revoke("nca-2026", "stolen", since, "revoke")).await.unwrap().into_inner();
    let gone = gone.profile.unwrap();
    assert_eq!(gone.keys[0].revoked_at, Some(sample::time("2026-03-01T09:30:00Z")));
    let again = nca.revoke_signing_key(revoke("nca-2026", "stolen", None, "revoke again")).await.unwrap().into_inner();
    assert_eq!(again.profile.unwrap(), gone);
    let no = refusal(&nca.revoke_signing_key(revoke("nca-2026", "lost", None, "revoke else")).await.unwrap_err());
    assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "REVOKED"));
    for signed_at in ["2026-03-01T09:00:00Z", "2026-03-01T09:30:00Z", "2026-03-01T10:00:00Z"] {
        let no = refused(&client, signed(&key, signed_at, at(signed_at)), signed_at).await;
        assert_eq!((no.reason.as_str(), no.metadata["state"].as_str()), ("SIGNATURE_KEY_EXPIRED", "REVOKED"));
    }
    let mut draft = sample::draft("harbourbook", "second");
    sign(&second, "agencies/nca", &mut draft, at("2026-03-01T10:00:00Z"));
    assert!(create(&client, draft, "second").await.is_ok());

    // As many keys as there may be, and no more.
    for number in gone.keys.len()..limits::SIGNING_KEYS_MAX {
        let key = PrivateKey::from_seed(&format!("key-{number}"), [7; 32]);
        nca.add_signing_key(add("agencies/nca", &key, None, "2027-03-01", &format!("{number}"))).await.unwrap();
    }
    let key = PrivateKey::from_seed("one-more", [7; 32]);
    let no = refusal(&nca.add_signing_key(add("agencies/nca", &key, None, "2027-03-01", "more")).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str()), (Code::ResourceExhausted, "LIMIT_EXCEEDED"));
    assert_eq!(no.metadata["maximum"], limits::SIGNING_KEYS_MAX.to_string());
}

async fn whoever_watches_learns_of_keys(database: &Database) {
    let (server, _clock, client) = suite(database).await;
    let profile = registered(&client, &key(1)).await;
    sample::refer(&client, "bka", "harbourbook", "not theirs").await;
    let head = server.head(Part::Referral).await;
    for (start, what) in
        [(watch_start::Start::Earliest(true), "changed"), (watch_start::Start::Snapshot(true), "snapshot")]
    {
        use referral::referral_change::Change;
        let mut seen = Vec::new();
        for change in client.acting("platforms/lensgram").changes("agencies/-", start, None).await {
            assert!(i64::try_from(change.position).unwrap() <= head);
            match change.change.unwrap() {
                Change::SigningProfileChanged(profile) => seen.push(("changed", profile)),
                Change::SigningProfileSnapshot(profile) => seen.push(("snapshot", profile)),
                Change::Created(_) | Change::Snapshot(_) => unreachable!("a row of others"),
                _ => {}
            }
        }
        assert_eq!(seen, [(what, profile.clone())]);
    }
}

/// The exit code of the binary, and what it said.
#[tokio::test(flavor = "multi_thread")]
async fn a_platform_verifies_with_no_server() {
    let fixture = Fixture::sqlite();
    let server = Server::suite(&fixture.database).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let url = server.url();
    let done = |acting: &str, arguments: &[&str]| {
        let (code, said) = process::run(folder, &[arguments, &["--server", &url, "--as", acting]].concat());
        assert_eq!(code, 0, "{arguments:?}: {said}");
        said
    };
    let refer = |tag: &str, key: Option<&str>| {
        let address = format!("https://harbourbook.example/{tag}");
        let mut arguments = vec!["refer", address.as_str(), "--platform", "platforms/harbourbook"];
        arguments.extend(["--ground", "offer-transport-sea", "--nature", "voluntary-referral"]);
        arguments.extend(["--statute", "Immigration Act 1971", "--reasons", "Offers \"cro\u{df}ings\""]);
        arguments.extend(key.iter().flat_map(|key| ["--sign-key", key]));
        done("agencies/nca", &arguments)
    };
    assert_eq!(process::run(folder, &["sign", "init", "nca-2026.jwk"]).0, 0);
    assert_eq!(process::run(folder, &["sign", "init", "nca-2026.jwk"]).0, 2, "a key is never written over");
    done("agencies/nca", &["sign", "register", "nca-2026.jwk", "--days", "30"]);
    done("agencies/nca", &["sign", "policy", "required"]);
    refer("1", Some("nca-2026.jwk"));
    let sheet = "platform,kind,url,nature,ground,statute,reasons,reasons_language\n\
                 harbourbook,page,https://harbourbook.example/2,voluntary-referral,OFFER_TRANSPORT_SEA,Act,Why,en\n";
    fs::write(folder.join("pages.csv"), sheet).unwrap();
    let import = ["import", "pages.csv", "--agency", "agencies/nca", "--sign-key", "nca-2026.jwk"];
    assert!(done("agencies/nca", &import).contains("1 imported"));
    assert!(done("agencies/nca", &import).contains("1 already there"), "a row signed anew is the same row");
    done("platforms/harbourbook", &["sign", "keys", "agencies/nca", "--jwks", "nca.jwks"]);

    // Once the decision service has what the referral service had, both have come in.
    let nca = client.acting("agencies/nca");
    let request = referral::ListReferralsRequest { parent: "agencies/nca".into(), ..Default::default() };
    let at_least = nca.referrals().list_referrals(request).await.unwrap().into_inner().revisions;
    let request = decision::ListCasesRequest { parent: "platforms/-".into(), at_least, ..Default::default() };
    assert_eq!(nca.decisions().list_cases(request).await.unwrap().into_inner().cases.len(), 2);
    let inbox = done("platforms/harbourbook", &["inbox", "--format", "json"]);
    let cases = inbox.lines().map(str::to_owned).collect::<Vec<_>>();
    let verify = |text: &str, keys: &str| {
        fs::write(folder.join("case.json"), text).unwrap();
        process::run(folder, &["verify", "referral", "case.json", "--keys", keys])
    };
    let (code, said) = verify(&inbox, "nca.jwks");
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("signed by agencies/nca with the key nca-2026 at ").count(), 2, "{said}");
    assert_eq!(verify(&format!("{{\"case\": {}}}", cases[0]), "nca.jwks").0, 0, "an answer of GetCase");

    // One changed byte, wherever it is.
    for (from, to) in [
        ("harbourbook.example/1", "harbourbook.example/3"),
        ("cro\u{df}ings", "cro\u{df}ing"),
        ("GROUND_OFFER_TRANSPORT_SEA", "GROUND_FORGED_DOCUMENTS"),
        ("\"agency\":\"agencies/nca\"", "\"agency\":\"agencies/bka\""),
    ] {
        let changed = cases[0].replace(from, to);
        assert_ne!(changed, cases[0], "{from}");
        let (code, said) = verify(&changed, "nca.jwks");
        let foreign = from.contains("agency");
        // The keys are one agency's: for another they are none.
        assert_eq!(code, if foreign { 21 } else { 20 }, "{from}: {said}");
    }
    let unsigned = serde_json::from_str::<serde_json::Value>(&cases[0]).unwrap();
    let edit = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut case = unsigned.clone();
        change(&mut case);
        verify(&case.to_string(), "nca.jwks").0
    };
    assert_eq!(edit(&|case| drop(case.as_object_mut().unwrap().remove("signature"))), 23);
    assert_eq!(edit(&|case| drop(case.as_object_mut().unwrap().remove("statementOfReasons"))), 24);
    assert_eq!(edit(&|case| case["signature"]["jws"] = "x".into()), 20);
    assert_eq!(verify("{}", "no.jwks").0, 2);
    assert_eq!(verify("[]", "nca.jwks").0, 2);

    // Keys that are others, not yet, no more, or taken back when it was signed.
    let keys = fs::read_to_string(folder.join("nca.jwks")).unwrap();
    let keys = serde_json::from_str::<serde_json::Value>(&keys).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut keys = keys.clone();
        change(&mut keys["keys"][0]);
        fs::write(folder.join("changed.jwks"), keys.to_string()).unwrap();
        verify(&cases[0], "changed.jwks")
    };
    assert_eq!(with(&|_| {}).0, 0);
    assert_eq!(with(&|key| key["kid"] = "nca-2027".into()).0, 21);
    assert_eq!(with(&|key| key["x"] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into()).0, 20);
    assert_eq!(with(&|key| key["nbf"] = 4_000_000_000_i64.into()).0, 22);
    assert_eq!(with(&|key| key["exp"] = 1_600_000_000.into()).0, 22);
    let (code, said) = with(&|key| key["revoked"] = serde_json::json!({"revoked_at": 1_600_000_000, "reason": "lost"}));
    assert!(code == 22 && said.contains("was revoked as of 2020-09-13T12:26:40Z"), "{said}");

    // Taken back now: what was signed before still stands, and nothing more is taken.
    done("agencies/nca", &["sign", "revoke", "nca-2026", "--reason", "The year is over"]);
    done("platforms/harbourbook", &["sign", "keys", "agencies/nca", "--jwks", "nca.jwks"]);
    assert_eq!(verify(&cases[0], "nca.jwks").0, 0);
    let url = server.url();
    let refused = ["import", "pages.csv", "--agency", "agencies/nca", "--server", &url];
    assert_eq!(process::run(folder, &refused).0, 1);
}
