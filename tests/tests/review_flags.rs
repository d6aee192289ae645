//! Flags for review through the public API and the command line: oversight asks by a referral's name and learns nothing but
//! the answer, the agency answers what its ledger bears out, and platforms hear of none of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::Path;

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::referral::v1 as wire;
use portreeve_tests::{Client, Database, Fixture, Part, Server, on_both_engines, process, refusal, sample};
use tonic::{Code, Status};
use uuid::Uuid;
use wire::{ReviewFlag, ReviewFlagState as State, ReviewOutcome as Outcome};

on_both_engines!(
    oversight_asks_and_the_agency_answers,
    a_flag_tells_nothing_of_what_there_is,
    who_may_see_and_do_what,
    whoever_watches_learns_of_flags,
    what_is_wrong_is_told_at_once,
);

async fn suite(database: &Database) -> (Server, Client) {
    let server = Server::suite(database).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    (server, client)
}

async fn flag(client: &Client, referral: &str, id: &str) -> ReviewFlag {
    let mut hac = client.acting("oversightBodies/hac").flags();
    hac.flag_referral(sample::flag(referral, id)).await.unwrap().into_inner().flag.unwrap()
}

fn answer(name: &str, outcome: Outcome, id: &str) -> wire::AnswerReviewFlagRequest {
    wire::AnswerReviewFlagRequest {
        name: name.into(),
        outcome: outcome.into(),
        answer: "It was looked at again.".into(),
        replacement: String::new(),
        request_id: sample::request_id(&format!("answer {id}")),
    }
}

async fn get(client: &Client, name: &str) -> Result<ReviewFlag, Status> {
    let request = wire::GetReviewFlagRequest { name: name.into(), at_least: Vec::new() };
    Ok(client.flags().get_review_flag(request).await?.into_inner().flag.unwrap())
}

async fn list(client: &Client, parent: &str, state: State) -> Result<Vec<ReviewFlag>, Status> {
    let mut request =
        wire::ListReviewFlagsRequest { parent: parent.into(), state: state.into(), page_size: 2, ..Default::default() };
    let mut found = Vec::new();
    loop {
        let reply = client.flags().list_review_flags(request.clone()).await?.into_inner();
        assert!(reply.flags.len() == 2 || reply.next_page_token.is_empty());
        found.extend(reply.flags);
        if reply.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = reply.next_page_token;
    }
}

/// The name of a referral that there is not.
fn none(agency: &str) -> String {
    format!("agencies/{agency}/referrals/{}", Uuid::nil())
}

async fn oversight_asks_and_the_agency_answers(database: &Database) {
    let (server, client) = suite(database).await;
    let nca = client.acting("agencies/nca");
    let mut flags = nca.flags();
    let (sent, _) = sample::refer(&client, "nca", "chirrup", "sent").await;
    let (anew, _) = sample::refer(&client, "nca", "chirrup", "anew").await;
    let (others, _) = sample::refer(&client, "bka", "chirrup", "of another").await;
    let first = flag(&client, &sent.name, "first").await;
    assert!(first.name.starts_with(&format!("{}/reviewFlags/", sent.name)));
    assert_eq!((first.state(), first.outcome(), first.answered_at), (State::Open, Outcome::Unspecified, None));
    assert_eq!(first.flagged_by, "oversightBodies/hac");

    // What the ledger belies is no answer.
    for (outcome, from) in
        [(Outcome::Withdrawn, "SUBMITTED"), (Outcome::NoSuchReferral, "SUBMITTED"), (Outcome::Corrected, "SUBMITTED")]
    {
        let mut request = answer(&first.name, outcome, "wrong");
        if outcome == Outcome::Corrected {
            request.replacement.clone_from(&anew.name);
        }
        let no = refusal(&flags.answer_review_flag(request).await.unwrap_err());
        assert_eq!((no.code, no.reason.as_str()), (Code::FailedPrecondition, "INVALID_TRANSITION"));
        assert_eq!((no.metadata["from"].as_str(), &no.metadata["name"]), (from, &first.name));
    }
    let kept = answer(&first.name, Outcome::Kept, "first");
    let answered = flags.answer_review_flag(kept.clone()).await.unwrap().into_inner();
    let told = answered.flag.unwrap();
    assert_eq!((told.state(), told.outcome(), answered.replayed), (State::Answered, Outcome::Kept, false));
    // Again: the same request, the same answer under another request, and another answer.
    let again = flags.answer_review_flag(kept.clone()).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.flag.as_ref()), (true, Some(&told)));
    let same = wire::AnswerReviewFlagRequest { request_id: sample::request_id("same"), ..kept };
    assert_eq!(flags.answer_review_flag(same).await.unwrap().into_inner().flag.as_ref(), Some(&told));
    let other = refusal(&flags.answer_review_flag(answer(&first.name, Outcome::Withdrawn, "other")).await.unwrap_err());
    assert_eq!((other.reason.as_str(), other.metadata["from"].as_str()), ("INVALID_TRANSITION", "ANSWERED"));

    // Oversight that is not content asks again; the referral is withdrawn, and sent as it should have been.
    let second = flag(&client, &sent.name, "second").await;
    let third = flag(&client, &sent.name, "third").await;
    nca.referrals().withdraw_referral(sample::withdraw(&sent.name, "w")).await.unwrap();
    let no = refusal(&flags.answer_review_flag(answer(&second.name, Outcome::Kept, "kept")).await.unwrap_err());
    assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "WITHDRAWN"));
    flags.answer_review_flag(answer(&second.name, Outcome::Withdrawn, "second")).await.unwrap();
    let corrected = |replacement: &str, id: &str| wire::AnswerReviewFlagRequest {
        replacement: replacement.into(),
        ..answer(&third.name, Outcome::Corrected, id)
    };
    for (replacement, reason) in [
        ("", "REQUEST_INVALID"),
        (sent.name.as_str(), "REQUEST_INVALID"),
        (others.name.as_str(), "REQUEST_INVALID"),
        (none("nca").as_str(), "REFERRAL_NOT_FOUND"),
    ] {
        let no = refusal(&flags.answer_review_flag(corrected(replacement, "no")).await.unwrap_err());
        assert_eq!(no.reason, reason, "{replacement}");
        assert_eq!(no.fields, if reason == "REQUEST_INVALID" { vec!["replacement".to_owned()] } else { vec![] });
    }
    let done = flags.answer_review_flag(corrected(&anew.name, "third")).await.unwrap().into_inner().flag.unwrap();
    assert_eq!((done.outcome(), &done.replacement), (Outcome::Corrected, &anew.name));
    let replaced = wire::AnswerReviewFlagRequest {
        replacement: sent.name.clone(),
        ..answer(&flag(&client, &anew.name, "fourth").await.name, Outcome::Kept, "with a replacement")
    };
    assert_eq!(refusal(&flags.answer_review_flag(replaced).await.unwrap_err()).fields, ["replacement"]);

    let hac = client.acting("oversightBodies/hac");
    assert_eq!(get(&hac, &third.name).await.unwrap(), done);
    assert_eq!(list(&hac, "agencies/nca", State::Answered).await.unwrap().len(), 3);
    assert_eq!(list(&hac, "agencies/-", State::Open).await.unwrap().len(), 1);
    let dump = server.dump(Part::Referral).await;
    assert_eq!(dump.iter().filter(|row| row.starts_with("review_flag ")).count(), 4, "{dump:?}");
    server.rebuilds(&[Part::Referral]).await;
    // Whoever follows went on past the flags.
    let (_, revision) = sample::refer(&client, "nca", "chirrup", "the last").await;
    let request = portreeve_api::decision::v1::ListCasesRequest {
        parent: "platforms/chirrup".into(),
        at_least: vec![revision],
        ..Default::default()
    };
    let chirrup = client.acting("platforms/chirrup");
    assert_eq!(chirrup.decisions().list_cases(request).await.unwrap().into_inner().cases.len(), 4);
}

async fn a_flag_tells_nothing_of_what_there_is(database: &Database) {
    let (server, client) = suite(database).await;
    let hac = client.acting("oversightBodies/hac");
    let (sent, _) = sample::refer(&client, "nca", "chirrup", "sent").await;
    let (withdrawn, _) = sample::refer(&client, "nca", "chirrup", "withdrawn").await;
    let nca = client.acting("agencies/nca");
    nca.referrals().withdraw_referral(sample::withdraw(&withdrawn.name, "w")).await.unwrap();
    // Of one that stands, of one that was withdrawn, of another agency's and of none: the same is said.
    let foreign = sent.name.replace("agencies/nca", "agencies/bka");
    for name in [&sent.name, &withdrawn.name, &foreign, &none("nca")] {
        let before = server.head(Part::Referral).await;
        let told = flag(&client, name, name).await;
        let own = told.name.clone();
        let bare = ReviewFlag {
            name: own,
            reasons: "A newspaper complains of it.".into(),
            flagged_by: "oversightBodies/hac".into(),
            state: State::Open.into(),
            create_time: told.create_time,
            ..ReviewFlag::default()
        };
        assert_eq!(told, bare);
        assert_eq!(server.head(Part::Referral).await, before + 1);
        // And the referral itself stays closed to it.
        let request = wire::GetReferralRequest { name: name.clone(), at_least: Vec::new() };
        assert_eq!(refusal(&hac.referrals().get_referral(request).await.unwrap_err()).reason, "PERMISSION_DENIED");
    }
    // What there is not is the agency's to say.
    let flags = list(&nca, "agencies/nca", State::Open).await.unwrap();
    let nothing = flags.iter().find(|flag| flag.name.starts_with(&none("nca"))).unwrap();
    for outcome in [Outcome::Kept, Outcome::Withdrawn] {
        let no = nca.flags().answer_review_flag(answer(&nothing.name, outcome, "nothing")).await.unwrap_err();
        assert_eq!(refusal(&no).metadata["from"], "NONE");
    }
    let said = answer(&nothing.name, Outcome::NoSuchReferral, "nothing");
    nca.flags().answer_review_flag(said).await.unwrap();
    assert_eq!(get(&hac, &nothing.name).await.unwrap().outcome(), Outcome::NoSuchReferral);
    let no = hac.flags().flag_referral(sample::flag(&none("nobody"), "nobody")).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "ORGANISATION_NOT_FOUND");
}

async fn who_may_see_and_do_what(database: &Database) {
    let (_server, client) = suite(database).await;
    let (sent, _) = sample::refer(&client, "nca", "chirrup", "sent").await;
    let first = flag(&client, &sent.name, "first").await;
    let other = flag(&client, &none("bka"), "other").await;
    let supervisor = client.acting("oversightBodies/second").roles(&["supervisor"]);
    let third = supervisor.flags().flag_referral(sample::flag(&sent.name, "third")).await.unwrap().into_inner().flag;
    let third = third.unwrap();
    assert_eq!(third.flagged_by, "oversightBodies/second");
    for (reader, parent, seen) in [
        (client.acting("agencies/nca"), "agencies/nca", vec![&first, &third]),
        (client.acting("agencies/nca").roles(&["officer"]), "agencies/-", vec![&first, &third]),
        (client.acting("agencies/bka"), "agencies/-", vec![&other]),
        (client.acting("oversightBodies/hac"), "agencies/-", vec![&first, &other, &third]),
        (supervisor.clone(), "agencies/bka", vec![&other]),
    ] {
        let found = list(&reader, parent, State::Unspecified).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), seen, "{parent}");
        for flag in seen {
            assert_eq!(&get(&reader, &flag.name).await.unwrap(), flag);
        }
    }
    let missing = format!("{}/reviewFlags/{}", sent.name, Uuid::nil());
    for stranger in [client.acting("agencies/bka"), client.acting("platforms/chirrup"), client.acting("operators/op")] {
        for name in [&first.name, &missing] {
            assert_eq!(refusal(&get(&stranger, name).await.unwrap_err()).reason, "PERMISSION_DENIED");
        }
        let no = list(&stranger, "agencies/nca", State::Unspecified).await.unwrap_err();
        assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    }
    // A flag is read under the referral that it is of, and no other.
    let moved = first.name.replace(&sent.name, &none("nca"));
    for name in [&missing, &moved] {
        let no = refusal(&get(&client.acting("agencies/nca"), name).await.unwrap_err());
        assert_eq!((no.code, no.reason.as_str()), (Code::NotFound, "REVIEW_FLAG_NOT_FOUND"));
        let no = client.acting("agencies/nca").flags().answer_review_flag(answer(name, Outcome::Kept, name)).await;
        assert_eq!(refusal(&no.unwrap_err()).reason, "REVIEW_FLAG_NOT_FOUND");
    }
    for caller in [
        client.acting("agencies/nca"),
        client.acting("platforms/chirrup"),
        client.clone(),
        client.acting("oversightBodies/hac").roles(&["auditor"]),
    ] {
        let no = caller.flags().flag_referral(sample::flag(&sent.name, "not theirs")).await.unwrap_err();
        assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    }
    for caller in [
        client.acting("agencies/nca").roles(&["officer"]),
        client.acting("agencies/bka"),
        client.acting("oversightBodies/hac"),
        client.acting("platforms/chirrup"),
    ] {
        let no = caller.flags().answer_review_flag(answer(&first.name, Outcome::Kept, "foreign")).await.unwrap_err();
        assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    }
}

async fn whoever_watches_learns_of_flags(database: &Database) {
    use wire::referral_change::Change;
    let (_server, client) = suite(database).await;
    let (sent, _) = sample::refer(&client, "nca", "chirrup", "sent").await;
    let first = flag(&client, &sent.name, "first").await;
    let request = answer(&first.name, Outcome::Kept, "first");
    let answered = client.acting("agencies/nca").flags().answer_review_flag(request).await.unwrap().into_inner();
    let answered = answered.flag.unwrap();
    let (mut seen, mut standing) = (vec![first, answered.clone()], vec![answered]);
    // More than one message of a snapshot holds.
    for number in 0..600 {
        let flag = flag(&client, &none("nca"), &number.to_string()).await;
        seen.push(flag.clone());
        standing.push(flag);
    }
    flag(&client, &none("bka"), "of another").await;
    let filter = wire::ReferralFilter { platforms: vec!["platforms/chirrup".into()], ..Default::default() };
    for (reader, parent, filter, all) in [
        ("agencies/nca", "agencies/nca", None, true),
        ("agencies/nca", "agencies/-", None, true),
        ("agencies/nca", "agencies/nca", Some(filter), false),
        ("agencies/bka", "agencies/bka", None, false),
        ("platforms/chirrup", "agencies/-", None, false),
        ("services/decision", "agencies/nca", None, true),
    ] {
        for start in [Start::Earliest(true), Start::Snapshot(true)] {
            let changes = start == Start::Earliest(true);
            let mut found = Vec::new();
            for change in client.acting(reader).changes(parent, start, filter.clone()).await {
                match change.change.unwrap() {
                    Change::ReviewFlagChanged(flag) if changes => found.push(flag),
                    Change::ReviewFlagSnapshot(flag) if !changes => found.push(flag),
                    Change::ReviewFlagChanged(_) | Change::ReviewFlagSnapshot(_) => panic!("the wrong one"),
                    _ => {}
                }
            }
            let expected = if changes { &seen } else { &standing };
            let own = found.iter().filter(|flag| flag.name.starts_with("agencies/nca/")).cloned();
            assert_eq!(own.collect::<Vec<_>>(), if all { expected.clone() } else { Vec::new() }, "{reader} {parent}");
            let others = found.iter().filter(|flag| !flag.name.starts_with("agencies/nca/")).count();
            assert_eq!(others, usize::from(reader == "agencies/bka"), "{reader} {parent}");
        }
    }
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let (server, client) = suite(database).await;
    let hac = client.acting("oversightBodies/hac");
    let nca = client.acting("agencies/nca");
    let first = flag(&client, &none("nca"), "first").await;
    let head = server.head(Part::Referral).await;
    for (reasons, fits) in [(String::new(), false), ("  ".into(), false), ("x".repeat(5_001), false)] {
        let request = wire::FlagReferralRequest { reasons: reasons.clone(), ..sample::flag(&none("nca"), "texts") };
        let no = refusal(&hac.flags().flag_referral(request).await.unwrap_err());
        assert_eq!((no.fields, fits), (vec!["reasons".to_owned()], false));
        let request =
            wire::AnswerReviewFlagRequest { answer: reasons, ..answer(&first.name, Outcome::NoSuchReferral, "texts") };
        let no = refusal(&nca.flags().answer_review_flag(request).await.unwrap_err());
        assert_eq!(no.fields, ["answer"]);
    }
    let bare = wire::FlagReferralRequest { referral: "x".into(), ..Default::default() };
    let no = refusal(&hac.flags().flag_referral(bare).await.unwrap_err());
    let fields = no.fields.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(fields, ["reasons", "referral", "request_id"].into());
    let bare =
        wire::AnswerReviewFlagRequest { name: "x".into(), outcome: 9, replacement: "y".into(), ..Default::default() };
    let no = refusal(&nca.flags().answer_review_flag(bare).await.unwrap_err());
    let fields = no.fields.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(fields, ["answer", "name", "outcome", "replacement", "request_id"].into());
    assert_eq!(server.head(Part::Referral).await, head, "nothing was recorded");
    let longest = "x".repeat(5_000);
    let request = wire::FlagReferralRequest { reasons: longest.clone(), ..sample::flag(&none("nca"), "longest") };
    hac.flags().flag_referral(request).await.unwrap();
    let request =
        wire::AnswerReviewFlagRequest { answer: longest, ..answer(&first.name, Outcome::NoSuchReferral, "longest") };
    nca.flags().answer_review_flag(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_flags_answers_and_lists() {
    let fixture = Fixture::sqlite();
    let (server, client) = suite(&fixture.database).await;
    let (sent, _) = sample::refer(&client, "nca", "chirrup", "sent").await;
    let url = server.url();
    let run = |acting: &str, arguments: &[&str]| {
        process::run(Path::new("."), &[arguments, &["--server", &url, "--as", acting]].concat())
    };
    let reasons = "A newspaper complains";
    let (code, said) = run("oversightBodies/hac", &["flag", "referral", &sent.name, "--reasons", reasons]);
    assert!(code == 0 && said.starts_with("flagged: "), "{said}");
    let name = said.split_whitespace().nth(1).unwrap().to_owned();
    let (code, said) = run("agencies/nca", &["flag", "list", "--open"]);
    assert!(code == 0 && said.contains(&name) && said.contains(reasons), "{said}");
    let (code, said) = run("agencies/nca", &["flag", "answer", &name, "withdrawn", "--answer", "It is"]);
    assert!(code == 1 && said.contains("INVALID_TRANSITION"), "{said}");
    let (code, said) = run("agencies/nca", &["flag", "answer", &name, "kept", "--answer", "It offers places"]);
    assert!(code == 0 && said.contains("KEPT"), "{said}");
    let (code, said) = run("oversightBodies/hac", &["flag", "list", "agencies/nca", "--json"]);
    assert!(code == 0 && said.contains("\"answer\":\"It offers places\""), "{said}");
    let (_, said) = run("agencies/nca", &["flag", "list", "--open"]);
    assert!(!said.contains(&name), "{said}");
}
