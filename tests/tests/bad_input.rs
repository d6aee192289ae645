//! Bad input through the public API: a clear error with its reason and its fields, nothing stored, nothing lost, no panic.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use bytes::Bytes;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_tests::raw::{self, methods};
use portreeve_tests::{Client, Database, Part, Refused, Server, on_both_engines, refusal, sample};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use tonic::{Code, Status};

on_both_engines!(
    bytes_that_are_no_message,
    a_message_of_ten_megabytes,
    everything_wrong_in_a_referral_is_told_at_once,
    unknown_enum_values,
    urls_that_are_no_targets,
    who_does_not_exist,
    times_in_the_future,
    page_tokens_of_other_queries,
    resume_tokens_of_other_servers,
    decisions_that_cannot_be,
    a_replayed_decision_is_the_first_one,
    drafts_of_decisions_without_their_reasons,
    organisations_and_clauses_that_exist,
    an_import_takes_the_good_and_explains_the_bad,
    limits_of_batches,
    limits_of_texts,
    limits_of_pages,
    reports_that_make_no_sense,
    revisions_that_are_none,
    metadata_that_is_none,
);

/// A suite with a referral in each state.
struct World {
    server: Server,
    client: Client,
    citation: decision::ClauseCitation,
    /// Delivered, not acknowledged.
    fresh: String,
    /// Acknowledged.
    received: String,
    /// Decided once.
    decided: String,
    /// Its referral was withdrawn.
    withdrawn: String,
    revision: String,
}

impl World {
    async fn new(database: &Database) -> Self {
        let (server, _) = Server::suite_at(database, "2020-09-03T09:00:00Z").await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        let (citation, _) = sample::clause(&client, "chirrup", "fees").await;
        let mut cases = Vec::new();
        let mut revision = String::new();
        for tag in ["fresh", "received", "decided", "withdrawn"] {
            let (referral, at) = sample::refer(&client, "nca", "chirrup", tag).await;
            revision = at;
            if tag == "withdrawn" {
                let mut nca = client.acting("agencies/nca").referrals();
                let reply = nca.withdraw_referral(sample::withdraw(&referral.name, "w")).await.unwrap();
                revision = reply.into_inner().revision;
            }
            cases.push(sample::case_of(&referral));
        }
        let mut chirrup = client.acting("platforms/chirrup").decisions();
        let request = decision::GetCaseRequest { name: cases[3].clone(), at_least: vec![revision] };
        chirrup.get_case(request).await.unwrap();
        chirrup.acknowledge_cases(sample::acknowledge("chirrup", &cases[1..3], "a")).await.unwrap();
        let reply =
            chirrup.record_decision(sample::record(&cases[2], sample::closed(), "d")).await.unwrap().into_inner();
        let [fresh, received, decided, withdrawn] = cases.try_into().unwrap();
        Self { server, client, citation, fresh, received, decided, withdrawn, revision: reply.revision }
    }

    fn nca(&self) -> Client {
        self.client.acting("agencies/nca")
    }

    fn chirrup(&self) -> Client {
        self.client.acting("platforms/chirrup")
    }

    /// Where the logs stand, once the cases of all referrals are open.
    async fn heads(&self) -> [i64; 2] {
        let state = self.server.standing(Part::Referral).await;
        let log = String::from("referral");
        let revision = portreeve_core::token::Revision { log, epoch: state.epoch, position: state.head };
        let request = decision::ListClausesRequest {
            parent: "platforms/-".into(),
            at_least: vec![revision.encode()],
            ..decision::ListClausesRequest::default()
        };
        self.client.policies().list_clauses(request).await.unwrap();
        [self.server.head(Part::Referral).await, self.server.head(Part::Decision).await]
    }

    /// Refused for this reason, at these fields, and nothing is stored.
    async fn refuses<T: std::fmt::Debug>(
        &self,
        call: impl Future<Output = Result<T, Status>>,
        reason: &str,
        fields: &[&str],
    ) -> Refused {
        let before = self.heads().await;
        let status = match call.await {
            Ok(answer) => panic!("expected {reason}, got {answer:?}"),
            Err(status) => status,
        };
        let refused = refusal(&status);
        assert_eq!(refused.reason, reason, "{status:?}");
        keeps_its_promise(&refused);
        let named = refused.fields.iter().map(String::as_str).collect::<BTreeSet<_>>();
        assert_eq!(named, fields.iter().copied().collect(), "{status:?}");
        assert!(!status.message().is_empty());
        assert_eq!(self.heads().await, before, "something was stored");
        refused
    }

    async fn refuses_referral(&self, draft: referral::ReferralDraft, reason: &str, fields: &[&str]) -> Refused {
        let request = sample::create("nca", draft, "bad");
        self.refuses(Box::pin(self.nca().referrals().create_referral(request)), reason, fields).await
    }

    async fn refuses_decision(
        &self,
        case: &str,
        draft: decision::DecisionDraft,
        reason: &str,
        fields: &[&str],
    ) -> Refused {
        let request = sample::record(case, draft, "bad decision");
        self.refuses(self.chirrup().decisions().record_decision(request), reason, fields).await
    }
}

/// What the contract's comment on a reason promises: its code, and the keys of its metadata.
fn documented(reason: &str) -> (String, Vec<String>) {
    let contract = include_str!("../../proto/portreeve/common/v1/error_reason.proto");
    let (before, _) = contract.split_once(&format!("  ERROR_REASON_{reason} = ")).unwrap();
    let comment = before.rsplit("\n\n").next().unwrap().replace("  // ", "").replace('\n', " ");
    let (said, rest) = comment.split_once("Metadata:").unwrap();
    let (metadata, _) = rest.split_once("Next:").unwrap();
    let code = said
        .split(['.', ','])
        .map(str::trim)
        .find(|word| word.contains(|c: char| c.is_ascii_uppercase()) && code(word).is_some());
    (code.unwrap().to_owned(), metadata.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// A code by the name that the contract uses.
fn code(name: &str) -> Option<Code> {
    let codes = [
        ("INVALID_ARGUMENT", Code::InvalidArgument),
        ("OUT_OF_RANGE", Code::OutOfRange),
        ("UNAVAILABLE", Code::Unavailable),
        ("UNAUTHENTICATED", Code::Unauthenticated),
        ("PERMISSION_DENIED", Code::PermissionDenied),
        ("NOT_FOUND", Code::NotFound),
        ("ALREADY_EXISTS", Code::AlreadyExists),
        ("FAILED_PRECONDITION", Code::FailedPrecondition),
        ("ABORTED", Code::Aborted),
        ("RESOURCE_EXHAUSTED", Code::ResourceExhausted),
    ];
    codes.into_iter().find(|(known, _)| *known == name).map(|(_, code)| code)
}

/// A field of a message on the wire.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut message);
    message.extend_from_slice(bytes);
    message
}

async fn bytes_that_are_no_message(database: &Database) {
    let world = World::new(database).await;
    let before = world.heads().await;
    let dumps = [world.server.dump(Part::Referral).await, world.server.dump(Part::Decision).await];
    let channel = &world.client.channel;
    let mut random = StdRng::seed_from_u64(2_020);
    assert!(methods().len() > 25);
    for method in methods() {
        let mut junk = vec![
            // Not UTF-8 in a string, at the top and one level down.
            field(1, b"agencies/\xff\xfe"),
            field(2, &field(1, b"\xc3\x28")),
            // A length that the message does not have; a group that never ends; a number too long.
            vec![0x0a, 0xff, 0xff, 0xff, 0x7f],
            vec![0x0b],
            vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            // Messages within messages, beyond any sense.
            (0..200).fold(Vec::new(), |inner, _| field(2, &inner)),
            Vec::new(),
        ];
        for _ in 0..12 {
            let mut bytes = vec![0; random.random_range(1..300)];
            random.fill_bytes(&mut bytes);
            junk.push(bytes);
        }
        for organisation in ["agencies/nca", "platforms/chirrup", "operators/op"] {
            for bytes in &junk {
                let answered = raw::call(channel, organisation, &method.path, Bytes::copy_from_slice(bytes)).await;
                match answered {
                    Err(status) => {
                        let refused = refusal(&status);
                        assert_ne!(status.code(), Code::Internal, "{} {bytes:02x?}: {status:?}", method.path);
                        assert_ne!(status.code(), Code::Unknown, "{} {bytes:02x?}: {status:?}", method.path);
                        assert!(!refused.reason.is_empty());
                    }
                    // An empty list, or an empty import, is no error.
                    Ok(_) => assert!(
                        !method.writes || method.path.ends_with("ImportReferrals"),
                        "{} {bytes:02x?}",
                        method.path
                    ),
                }
            }
        }
        // What is not UTF-8 is said to be that.
        let answered = raw::call(channel, who_may(&method.path), &method.path, field(1, b"\xff").into()).await;
        if let Err(status) = answered {
            assert_eq!(
                (status.code(), refusal(&status).reason.as_str()),
                (Code::InvalidArgument, "REQUEST_INVALID"),
                "{}",
                method.path
            );
        } else {
            let empty = ["ListMeasures", "ListLegalBases"];
            assert!(empty.iter().any(|name| method.path.ends_with(name)), "{} took what is not UTF-8", method.path);
        }
    }
    // A method that does not exist.
    let path = "/portreeve.referral.v1.ReferralService/DropReferrals";
    let status = raw::call(channel, "agencies/nca", path, Bytes::new()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    refusal(&status);
    assert_eq!(world.heads().await, before);
    assert_eq!(dumps, [world.server.dump(Part::Referral).await, world.server.dump(Part::Decision).await]);
    // The server lives.
    sample::refer(&world.client, "nca", "chirrup", "after").await;
}

/// An organisation whose ordinary roles, or those named, may call the method.
fn who_may(path: &str) -> &'static str {
    match path.rsplit('/').next().unwrap_or_default() {
        "CreateOrganisation" | "UpdateOrganisation" | "SetAddressRules" => "operators/op",
        "AcknowledgeCases"
        | "RecordDecision"
        | "BatchRecordDecisions"
        | "CreateClause"
        | "AddClauseVersion"
        | "AcknowledgeChallenge"
        | "BeginChallengeReview"
        | "DecideChallenge"
        | "ImplementChallenge"
        | "RequestInformation"
        | "ReportImpediment"
        | "EndImpediment"
        | "SetResponseTimes"
        | "WatchInbox"
        | "LeaseCases"
        | "ReleaseCases" => "platforms/chirrup",
        "FlagReferral" | "ListConsultations" | "GetGrant" | "ListGrants" => "oversightBodies/hac",
        "IssueGrant" | "RevokeGrant" | "ImposeMeasure" | "DecideAppeal" | "LiftMeasure" => {
            "oversightBodies/hac supervisor"
        }
        _ => "agencies/nca",
    }
}

async fn a_message_of_ten_megabytes(database: &Database) {
    let world = World::new(database).await;
    let ten = "x".repeat(10 * 1024 * 1024);
    let request = sample::create(
        "nca",
        referral::ReferralDraft { statement_of_reasons: ten, ..sample::draft("chirrup", "big") },
        "big",
    );
    let bytes = Bytes::from(request.encode_to_vec());
    for method in methods() {
        let call = raw::call(&world.client.channel, who_may(&method.path), &method.path, bytes.clone());
        let refused = world.refuses(call, "LIMIT_EXCEEDED", &[]).await;
        assert_eq!(refused.metadata["limit"], "MESSAGE_BYTES_MAX");
        assert_eq!(refused.metadata["maximum"], (4 * 1024 * 1024).to_string());
    }
    sample::refer(&world.client, "nca", "chirrup", "after").await;
}

async fn everything_wrong_in_a_referral_is_told_at_once(database: &Database) {
    let world = World::new(database).await;
    let draft = referral::ReferralDraft {
        platform: "chirrup".into(),
        target: Some(referral::Target {
            kind: 0,
            url: "javascript:alert(1)".into(),
            native_id: "n".repeat(501),
            ..referral::Target::default()
        }),
        nature: 0,
        ground: 99,
        legal_basis: Some(referral::LegalBasis {
            code: "s 25".into(),
            statute: String::new(),
            section: "s".repeat(101),
        }),
        statement_of_reasons: String::new(),
        statement_language: "English, please".into(),
        content_language: "?".into(),
        occurred_at: Some(sample::time("2030-01-01")),
        signature: None,
        handling: Some(referral::Handling { tlp: 9, conditions: "ask first".into(), ..referral::Handling::default() }),
        protected_context: Some(referral::ProtectedContextCheck {
            answers: vec![
                referral::ProtectedContextAnswer { context: 99, finding: 0, reasons: "r".repeat(2_001) },
                referral::ProtectedContextAnswer { context: 1, finding: 2, reasons: String::new() },
                referral::ProtectedContextAnswer { context: 1, finding: 1, reasons: String::new() },
            ],
        }),
        priority: Some(referral::Priority { harm: 9, likelihood: 1, ..referral::Priority::default() }),
        order: Some(referral::OrderTerms {
            regime: 9,
            territorial_scope: vec!["gb".into()],
            feedback_to: "f".repeat(201),
            escalates: "agencies/nca".into(),
            ..referral::OrderTerms::default()
        }),
        evidence: vec!["chat.png".into()],
        links: vec![referral::ReferralLink { kind: 9, referral: "another".into(), platform: String::new() }],
        operation: "Heron".into(),
    };
    let wrong = [
        "platform",
        "target.kind",
        "target.url",
        "target.native_id",
        "nature",
        "ground",
        "legal_basis.code",
        "legal_basis.statute",
        "legal_basis.section",
        "statement_of_reasons",
        "statement_language",
        "content_language",
        "occurred_at",
        "handling.tlp",
        "handling.conditions",
        "protected_context.answers[0].context",
        "protected_context.answers[0].finding",
        "protected_context.answers[0].reasons",
        "protected_context.answers[1].reasons",
        "protected_context.answers[2].context",
        "order.regime",
        "order.issuing_authority",
        "order.redress",
        "order.territorial_scope[0]",
        "order.feedback_to",
        "order.escalates",
        "priority.harm",
        "priority.confidence",
        "priority.explanation",
        "evidence[0]",
        "links[0].kind",
        "links[0].referral",
        "operation",
    ];
    let at = |path: &str| wrong.iter().map(|field| format!("{path}.{field}")).collect::<Vec<_>>();
    let request = referral::CreateReferralRequest {
        parent: "nca".into(),
        referral: Some(draft.clone()),
        request_id: "again".into(),
    };
    let fields = at("referral");
    let call = world.nca();
    let mut call = call.referrals();
    world.refuses(call.create_referral(request), "REQUEST_INVALID", &all(&fields, &["parent", "request_id"])).await;
    // In a batch each draft by its index, and none of them is taken.
    let request = referral::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: vec![
            sample::draft("chirrup", "good"),
            draft.clone(),
            sample::draft("chirrup", "better"),
            draft.clone(),
        ],
        request_id: sample::request_id("batch"),
    };
    let fields = [at("drafts[1]"), at("drafts[3]")].concat();
    world.refuses(call.batch_create_referrals(request), "REQUEST_INVALID", &all(&fields, &[])).await;
    // More than a status holds: as many as fit, and how many more there are.
    let request = referral::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: vec![draft; 1_000],
        request_id: sample::request_id("batch"),
    };
    let status = call.batch_create_referrals(request).await.unwrap_err();
    let refused = refusal(&status);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "REQUEST_INVALID"));
    assert!(refused.fields.len() > 30 && refused.fields[0].starts_with("drafts[0]."), "{:?}", refused.fields);
    // Nothing at all.
    let nothing = referral::CreateReferralRequest::default();
    world.refuses(call.create_referral(nothing), "REQUEST_INVALID", &["parent", "referral", "request_id"]).await;
    let nothing = referral::WithdrawReferralRequest::default();
    world.refuses(call.withdraw_referral(nothing), "REQUEST_INVALID", &["name", "reason", "request_id"]).await;
    let mut decisions = world.chirrup().decisions();
    let nothing = decision::RecordDecisionRequest::default();
    world.refuses(decisions.record_decision(nothing), "REQUEST_INVALID", &["parent", "decision", "request_id"]).await;
    let nothing = decision::AcknowledgeCasesRequest::default();
    world.refuses(decisions.acknowledge_cases(nothing), "REQUEST_INVALID", &["parent", "names", "request_id"]).await;
}

fn all<'a>(fields: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    fields.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

async fn unknown_enum_values(database: &Database) {
    let world = World::new(database).await;
    for value in [0, 99, -1, i32::MAX, i32::MIN] {
        let good = sample::draft("chirrup", "enum");
        let target = referral::Target { kind: value, ..good.target.clone().unwrap() };
        let draft = referral::ReferralDraft { nature: value, ground: value, target: Some(target), ..good };
        world
            .refuses_referral(draft, "REQUEST_INVALID", &["referral.nature", "referral.ground", "referral.target.kind"])
            .await;
        let draft = decision::DecisionDraft { kind: value, outcome: value, decided_by: value, ..sample::closed() };
        let fields = ["decision.kind", "decision.outcome", "decision.decided_by"];
        world.refuses_decision(&world.received, draft, "REQUEST_INVALID", &fields).await;
        let filter = referral::ReferralFilter { grounds: vec![1, value], ..referral::ReferralFilter::default() };
        let request = referral::ListReferralsRequest {
            parent: "agencies/nca".into(),
            filter: Some(filter),
            ..referral::ListReferralsRequest::default()
        };
        world.refuses(world.nca().referrals().list_referrals(request), "REQUEST_INVALID", &["filter.grounds[1]"]).await;
        let definition = reporting::ReportDefinition { dimensions: vec![value], ..today() };
        world.refuses(world.nca().report(definition, &[]), "REQUEST_INVALID", &["definition.dimensions[0]"]).await;
    }
}

async fn urls_that_are_no_targets(database: &Database) {
    let world = World::new(database).await;
    let at = |url: &str| {
        let good = sample::draft("chirrup", "url");
        let target = referral::Target { url: url.into(), ..good.target.clone().unwrap() };
        referral::ReferralDraft { target: Some(target), ..good }
    };
    for url in [
        "",
        "javascript:alert(document.cookie)",
        "JaVaScRiPt:alert(1)",
        "file:///etc/passwd",
        "file://chirrup.example/etc/passwd",
        "data:text/html,<script>",
        "ftp://chirrup.example/",
        "chirrup.example/pages/1",
        "https://",
        "https://u:p@chirrup.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://chirrup.example/a b",
        "https://chirrup.example/\r\nx",
        " https://chirrup.example/",
    ] {
        world.refuses_referral(at(url), "REQUEST_INVALID", &["referral.target.url"]).await;
    }
    for url in [
        "https://harbourbook.example/pages/1",
        "https://chirrup.example.evil.test/",
        "https://notchirrup.example/",
        "https://example/",
        "https://chirrup.example@harbourbook.example/",
    ] {
        let (reason, fields) = if url.contains('@') {
            ("REQUEST_INVALID", ["referral.target.url"])
        } else {
            ("URL_OF_ANOTHER_PLATFORM", ["referral.target.url"])
        };
        let refused = world.refuses_referral(at(url), reason, &fields).await;
        if reason == "URL_OF_ANOTHER_PLATFORM" {
            assert_eq!(refused.metadata["platform"], "platforms/chirrup");
            assert!(url.contains(&refused.metadata["host"]));
        }
    }
    // In a batch, the draft is named.
    let drafts = vec![sample::draft("chirrup", "good"), at("https://harbourbook.example/pages/1")];
    let request = referral::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts,
        request_id: sample::request_id("batch"),
    };
    let call = world.nca();
    let mut call = call.referrals();
    world.refuses(call.batch_create_referrals(request), "URL_OF_ANOTHER_PLATFORM", &["drafts[1].target.url"]).await;
    // Hosts of the platform, however they are written.
    for (url, canonical) in [
        ("https://CHIRRUP.example:443/Pages/1#top", "https://chirrup.example/Pages/1"),
        ("http://m.chirrup.example./", "https://m.chirrup.example/"),
    ] {
        let request = sample::create("nca", at(url), url);
        let sent = call.create_referral(request).await.unwrap().into_inner().referral.unwrap().target.unwrap();
        assert_eq!((sent.url.as_str(), sent.canonical_url.as_str()), (url, canonical));
    }
}

async fn who_does_not_exist(database: &Database) {
    let world = World::new(database).await;
    let refused = world.refuses_referral(sample::draft("nowhere", "x"), "ORGANISATION_NOT_FOUND", &[]).await;
    assert_eq!(refused.metadata["name"], "platforms/nowhere");
    let request = sample::create("ghost", sample::draft("chirrup", "x"), "ghost");
    let ghost = world.client.acting("agencies/ghost");
    let refused = world.refuses(ghost.referrals().create_referral(request), "ORGANISATION_NOT_FOUND", &[]).await;
    assert_eq!(refused.metadata["name"], "agencies/ghost");
    let missing = "00000000-0000-7000-8000-000000000000";
    let request = sample::withdraw(&format!("agencies/nca/referrals/{missing}"), "x");
    world.refuses(world.nca().referrals().withdraw_referral(request), "REFERRAL_NOT_FOUND", &[]).await;
    let case = format!("platforms/chirrup/cases/{missing}");
    world.refuses_decision(&case, sample::closed(), "CASE_NOT_FOUND", &[]).await;
    let request = decision::ListDecisionsRequest { parent: case.clone(), ..decision::ListDecisionsRequest::default() };
    world.refuses(world.chirrup().decisions().list_decisions(request), "CASE_NOT_FOUND", &[]).await;
    let request = decision::GetClauseRequest { name: "platforms/chirrup/clauses/none".into(), at_least: Vec::new() };
    world.refuses(world.chirrup().policies().get_clause(request), "CLAUSE_NOT_FOUND", &[]).await;
    let request = referral::GetOrganisationRequest { name: "agencies/ghost".into(), at_least: Vec::new() };
    world.refuses(world.nca().organisations().get_organisation(request), "ORGANISATION_NOT_FOUND", &[]).await;
    // Among many, each has its own answer.
    let names = vec![world.fresh.clone(), case, world.withdrawn.clone()];
    let request = sample::acknowledge("chirrup", &names, "many");
    let reply = world.chirrup().decisions().acknowledge_cases(request).await.unwrap().into_inner();
    let reasons = reply.results.iter().map(|result| match result.result.as_ref().unwrap() {
        decision::acknowledge_result::Result::Receipt(_) => String::new(),
        decision::acknowledge_result::Result::Error(error) => item_reason(error),
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["", "CASE_NOT_FOUND", "CASE_WITHDRAWN"]);
}

/// The reason in an item's error.
fn item_reason(error: &tonic_types::pb::Status) -> String {
    let details = Bytes::from(error.encode_to_vec());
    let refused = refusal(&Status::with_details(Code::from_i32(error.code), error.message.clone(), details));
    keeps_its_promise(&refused);
    refused.reason
}

/// A refusal has the code and the metadata that the contract documents for its reason.
fn keeps_its_promise(refused: &Refused) {
    let (promised, keys) = documented(&refused.reason);
    assert_eq!(Some(refused.code), code(&promised), "{refused:?}");
    for key in keys {
        assert!(refused.metadata.contains_key(&key), "{} says {:?}, and not `{key}`", refused.reason, refused.metadata);
    }
}

async fn times_in_the_future(database: &Database) {
    let world = World::new(database).await;
    let future = Some(sample::time("2020-09-03T09:00:03Z"));
    let draft = referral::ReferralDraft { occurred_at: future, ..sample::draft("chirrup", "future") };
    world.refuses_referral(draft, "REQUEST_INVALID", &["referral.occurred_at"]).await;
    let (sent, _) = sample::refer(&world.client, "nca", "lensgram", "to withdraw").await;
    let request = referral::WithdrawReferralRequest { occurred_at: future, ..sample::withdraw(&sent.name, "x") };
    world.refuses(world.nca().referrals().withdraw_referral(request), "REQUEST_INVALID", &["occurred_at"]).await;
    let before = Some(sample::time("2020-09-03T08:59:59Z"));
    let request = referral::WithdrawReferralRequest { occurred_at: before, ..sample::withdraw(&sent.name, "x") };
    world.refuses(world.nca().referrals().withdraw_referral(request), "REQUEST_INVALID", &["occurred_at"]).await;
    let request = decision::AcknowledgeCasesRequest {
        occurred_at: future,
        ..sample::acknowledge("chirrup", std::slice::from_ref(&world.fresh), "x")
    };
    world.refuses(world.chirrup().decisions().acknowledge_cases(request), "REQUEST_INVALID", &["occurred_at"]).await;
    let draft = decision::DecisionDraft { decided_at: future, ..sample::closed() };
    world.refuses_decision(&world.received, draft, "REQUEST_INVALID", &["decision.decided_at"]).await;
    // Decided before it was received.
    let draft = decision::DecisionDraft { decided_at: before, ..sample::closed() };
    world.refuses_decision(&world.received, draft, "REQUEST_INVALID", &["decision.decided_at"]).await;
    // Times that are no times.
    for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000), (-62_135_596_801, 0)] {
        let occurred_at = Some(prost_types::Timestamp { seconds, nanos });
        let draft = referral::ReferralDraft { occurred_at, ..sample::draft("chirrup", "time") };
        world.refuses_referral(draft, "REQUEST_INVALID", &["referral.occurred_at"]).await;
    }
}

async fn page_tokens_of_other_queries(database: &Database) {
    let world = World::new(database).await;
    let list = |parent: &str, filter: Option<referral::ReferralFilter>, token: &str| referral::ListReferralsRequest {
        parent: parent.into(),
        filter,
        page_size: 1,
        page_token: token.into(),
        at_least: Vec::new(),
    };
    let call = world.nca();
    let mut call = call.referrals();
    let token = call.list_referrals(list("agencies/nca", None, "")).await.unwrap().into_inner().next_page_token;
    assert!(!token.is_empty());
    assert!(call.list_referrals(list("agencies/nca", None, &token)).await.is_ok());
    let grounds = referral::ReferralFilter { grounds: vec![1], ..referral::ReferralFilter::default() };
    let longer = format!("{token}A");
    for (parent, filter, token) in [
        ("agencies/-", None, token.as_str()),
        ("agencies/nca", Some(grounds), &token),
        ("agencies/nca", None, "1"),
        ("agencies/nca", None, "\u{1f600}"),
        ("agencies/nca", None, &longer),
        ("agencies/nca", None, &world.revision),
    ] {
        world.refuses(call.list_referrals(list(parent, filter, token)), "PAGE_TOKEN_INVALID", &[]).await;
    }
    let request = decision::ListCasesRequest {
        parent: "platforms/chirrup".into(),
        page_token: token.clone(),
        ..decision::ListCasesRequest::default()
    };
    world.refuses(world.chirrup().decisions().list_cases(request), "PAGE_TOKEN_INVALID", &[]).await;
    let request = decision::ListDecisionsRequest {
        parent: "platforms/chirrup/cases/-".into(),
        page_token: token.clone(),
        ..decision::ListDecisionsRequest::default()
    };
    world.refuses(world.chirrup().decisions().list_decisions(request), "PAGE_TOKEN_INVALID", &[]).await;
    let request = decision::ListClausesRequest {
        parent: "platforms/-".into(),
        page_token: token.clone(),
        ..decision::ListClausesRequest::default()
    };
    world.refuses(world.chirrup().policies().list_clauses(request), "PAGE_TOKEN_INVALID", &[]).await;
    let request = decision::ListClauseVersionsRequest {
        parent: world.citation.clause.clone(),
        page_token: token.clone(),
        ..decision::ListClauseVersionsRequest::default()
    };
    world.refuses(world.chirrup().policies().list_clause_versions(request), "PAGE_TOKEN_INVALID", &[]).await;
    let request =
        referral::ListOrganisationsRequest { page_token: token, ..referral::ListOrganisationsRequest::default() };
    world.refuses(world.nca().organisations().list_organisations(request), "PAGE_TOKEN_INVALID", &[]).await;
    let long = "A".repeat(2_049);
    world.refuses(call.list_referrals(list("agencies/nca", None, &long)), "REQUEST_INVALID", &["page_token"]).await;
}

async fn resume_tokens_of_other_servers(database: &Database) {
    use reporting::watch_report_request::Start;

    let here = World::new(database).await;
    let elsewhere = portreeve_tests::Fixture::sqlite();
    let there = World::new(&elsewhere.database).await;
    let changes = |token: Option<&str>| {
        use decision::list_case_changes_request::Start;
        decision::ListCaseChangesRequest {
            parent: "platforms/chirrup".into(),
            start: Some(token.map_or(Start::Earliest(true), |token| Start::ResumeToken(token.into()))),
            ..decision::ListCaseChangesRequest::default()
        }
    };
    let foreign = there.chirrup().decisions().list_case_changes(changes(None)).await.unwrap().into_inner().resume_token;
    let own = here.chirrup().decisions().list_case_changes(changes(None)).await.unwrap().into_inner().resume_token;
    let mut decisions = here.chirrup().decisions();
    assert!(decisions.list_case_changes(changes(Some(&own))).await.is_ok());
    let watch = |token: &str| decision::WatchCasesRequest {
        parent: "platforms/chirrup".into(),
        start: Some(sample::after(token)),
        ..decision::WatchCasesRequest::default()
    };
    for (token, reason) in [
        (foreign.as_str(), "RESUME_TOKEN_FOREIGN"),
        ("x", "RESUME_TOKEN_INVALID"),
        (&here.revision, "RESUME_TOKEN_INVALID"),
    ] {
        here.refuses(decisions.list_case_changes(changes(Some(token))), reason, &[]).await;
        here.refuses(decisions.watch_cases(watch(token)), reason, &[]).await;
    }
    let other = decision::WatchCasesRequest { parent: "platforms/-".into(), ..watch(&own) };
    here.refuses(decisions.watch_cases(other), "RESUME_FILTER_CHANGED", &[]).await;
    // A stream of decisions is another stream.
    let request = decision::WatchDecisionsRequest {
        parent: "platforms/chirrup".into(),
        start: Some(sample::after(&own)),
        ..decision::WatchDecisionsRequest::default()
    };
    here.refuses(decisions.watch_decisions(request), "RESUME_FILTER_CHANGED", &[]).await;
    // Reports.
    let definition = reporting::ReportDefinition { as_of_date: String::new(), ..today() };
    let watch = |start, definition: &reporting::ReportDefinition| reporting::WatchReportRequest {
        start: Some(start),
        definition: Some(definition.clone()),
        at_least: Vec::new(),
    };
    let mut stream =
        there.nca().reports().watch_report(watch(Start::Snapshot(true), &definition)).await.unwrap().into_inner();
    let foreign = stream.message().await.unwrap().unwrap().resume_token;
    let mut stream =
        here.nca().reports().watch_report(watch(Start::Snapshot(true), &definition)).await.unwrap().into_inner();
    let own = stream.message().await.unwrap().unwrap().resume_token;
    let mut reports = here.nca().reports();
    assert!(reports.watch_report(watch(Start::ResumeToken(own.clone()), &definition)).await.is_ok());
    for (token, reason) in [(foreign, "RESUME_TOKEN_FOREIGN"), ("x".into(), "RESUME_TOKEN_INVALID")] {
        here.refuses(reports.watch_report(watch(Start::ResumeToken(token), &definition)), reason, &[]).await;
    }
    let other = reporting::ReportDefinition { cohort_from_date: "2019-01-01".into(), ..definition };
    here.refuses(reports.watch_report(watch(Start::ResumeToken(own), &other)), "RESUME_FILTER_CHANGED", &[]).await;
}

async fn decisions_that_cannot_be(database: &Database) {
    let world = World::new(database).await;
    world.refuses_decision(&world.withdrawn, sample::closed(), "CASE_WITHDRAWN", &[]).await;
    world.refuses_decision(&world.fresh, sample::closed(), "INVALID_TRANSITION", &[]).await;
    // A second first decision; a later one without a first.
    let other = decision::DecisionDraft { explanation: "Another one.".into(), ..sample::closed() };
    world.refuses_decision(&world.decided, other.clone(), "INVALID_TRANSITION", &[]).await;
    let amended = sample::later(decision::DecisionKind::Amended, other);
    world.refuses_decision(&world.received, amended.clone(), "INVALID_TRANSITION", &[]).await;
    // Somebody else was first.
    for expected in [0, 2, u32::MAX] {
        let request = decision::RecordDecisionRequest {
            expected_version: Some(expected),
            ..sample::record(&world.decided, amended.clone(), "stale")
        };
        let refused = world.refuses(world.chirrup().decisions().record_decision(request), "STALE_VERSION", &[]).await;
        assert_eq!(
            (refused.metadata["expected"].as_str(), refused.metadata["actual"].as_str()),
            (expected.to_string().as_str(), "1")
        );
    }
    // Clauses that are not there, or not yet.
    for (clause, version) in [("none", 1), ("fees", 2)] {
        let by = decision::ClauseCitation { clause: format!("platforms/chirrup/clauses/{clause}"), version };
        let refused = world
            .refuses_decision(&world.received, sample::permitted(&by), "CLAUSE_NOT_FOUND", &["decision.clauses[0]"])
            .await;
        assert!(refused.metadata["name"].contains(clause));
    }
    let request = decision::AddClauseVersionRequest {
        parent: world.citation.clause.clone(),
        clause_version: Some(decision::ClauseVersion {
            title: "Human exploitation".into(),
            text_digest: "cd".repeat(32),
            effective_from: Some(sample::time("2022-12-01")),
            ..decision::ClauseVersion::default()
        }),
        request_id: sample::request_id("second version"),
    };
    world.chirrup().policies().add_clause_version(request).await.unwrap();
    let by = decision::ClauseCitation { version: 2, ..world.citation.clone() };
    world
        .refuses_decision(&world.received, sample::permitted(&by), "CLAUSE_NOT_IN_FORCE", &["decision.clauses[0]"])
        .await;
    // By another's clause.
    sample::clause(&world.client, "lensgram", "other").await;
    let by = decision::ClauseCitation { clause: "platforms/lensgram/clauses/other".into(), version: 1 };
    world
        .refuses_decision(&world.received, sample::permitted(&by), "REQUEST_INVALID", &["decision.clauses[0].clause"])
        .await;
    // And what is right is taken.
    let request = sample::record(&world.received, sample::permitted(&world.citation), "right");
    assert!(world.chirrup().decisions().record_decision(request).await.is_ok());
}

async fn a_replayed_decision_is_the_first_one(database: &Database) {
    let world = World::new(database).await;
    let mut decisions = world.chirrup().decisions();
    let request = sample::record(&world.received, sample::permitted(&world.citation), "once");
    let first = decisions.record_decision(request.clone()).await.unwrap().into_inner();
    assert!(!first.replayed);
    let head = world.server.head(Part::Decision).await;
    let again = decisions.record_decision(request.clone()).await.unwrap().into_inner();
    assert_eq!((again.replayed, &again.decision, &again.revision), (true, &first.decision, &first.revision));
    // Even after the case went on.
    let amended = sample::later(decision::DecisionKind::Amended, sample::closed());
    decisions.record_decision(sample::record(&world.received, amended, "amend")).await.unwrap();
    let again = decisions.record_decision(request.clone()).await.unwrap().into_inner();
    assert_eq!((again.replayed, &again.decision), (true, &first.decision));
    assert_eq!(world.server.head(Part::Decision).await, head + 1);
    // The same id for something else.
    let other = decision::RecordDecisionRequest { decision: Some(sample::closed()), ..request };
    world.refuses(decisions.record_decision(other), "REQUEST_ID_REUSED", &[]).await;
    // Acknowledging again, too.
    let request = sample::acknowledge("chirrup", std::slice::from_ref(&world.fresh), "ack once");
    let first = decisions.acknowledge_cases(request.clone()).await.unwrap().into_inner();
    let again = decisions.acknowledge_cases(request).await.unwrap().into_inner();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.results, again.results);
}

async fn drafts_of_decisions_without_their_reasons(database: &Database) {
    use decision::Outcome;
    let world = World::new(database).await;
    for (outcome, field) in [
        (Outcome::ClosedIllegal, "decision.law"),
        (Outcome::ClosedTerms, "decision.clauses"),
        (Outcome::Restricted, "decision.restriction"),
        (Outcome::SuspendedUntil, "decision.suspended_until"),
        (Outcome::NoActionNotViolating, "decision.clauses"),
        (Outcome::NoActionPermittedByPolicy, "decision.clauses"),
        (Outcome::NoActionCannotAccess, "decision.cannot_access"),
        (Outcome::NoActionAlreadyGone, "decision.gone_by"),
        (Outcome::NoActionDuplicate, "decision.duplicate_of"),
        (Outcome::NoActionProtected, "decision.protected_context"),
    ] {
        world.refuses_decision(&world.received, sample::decided(outcome), "REQUEST_INVALID", &[field]).await;
    }
    let both = ["decision.clauses", "decision.law"];
    world
        .refuses_decision(&world.received, sample::decided(Outcome::ClosedTermsAlsoIllegal), "REQUEST_INVALID", &both)
        .await;
    // What belongs to another outcome; a version that does not say what brought it about.
    let draft = decision::DecisionDraft { items_closed: 1, ..sample::closed() };
    world.refuses_decision(&world.received, draft, "REQUEST_INVALID", &["decision.items_closed"]).await;
    let draft = decision::DecisionDraft { kind: decision::DecisionKind::Amended.into(), ..sample::closed() };
    world.refuses_decision(&world.decided, draft, "REQUEST_INVALID", &["decision.cause"]).await;
    // A citation without its version.
    let by = decision::ClauseCitation { version: 0, ..world.citation.clone() };
    world
        .refuses_decision(&world.received, sample::permitted(&by), "REQUEST_INVALID", &["decision.clauses[0].version"])
        .await;
    // Among many, each has its own answer.
    let item = |case: &str, draft, id: &str| decision::BatchDecisionItem {
        case: case.into(),
        decision: Some(draft),
        expected_version: None,
        request_id: sample::request_id(id),
    };
    let request = decision::BatchRecordDecisionsRequest {
        parent: "platforms/chirrup".into(),
        items: vec![
            item(&world.withdrawn, sample::closed(), "1"),
            item(&world.received, sample::decided(Outcome::NoActionPermittedByPolicy), "2"),
            item(&world.received, sample::permitted(&world.citation), "3"),
            item(&world.fresh, sample::closed(), "4"),
        ],
    };
    let reply = world.chirrup().decisions().batch_record_decisions(request).await.unwrap().into_inner();
    let reasons = reply.results.iter().map(|result| match result.result.as_ref().unwrap() {
        decision::batch_decision_result::Result::Recorded(_) => String::new(),
        decision::batch_decision_result::Result::Error(error) => item_reason(error),
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["CASE_WITHDRAWN", "REQUEST_INVALID", "", "INVALID_TRANSITION"]);
}

async fn organisations_and_clauses_that_exist(database: &Database) {
    let world = World::new(database).await;
    let mut organisations = world.client.organisations();
    let again = referral::CreateOrganisationRequest {
        request_id: sample::request_id("again"),
        ..sample::organisation("agencies/nca", &[])
    };
    let refused = world.refuses(organisations.create_organisation(again), "ORGANISATION_EXISTS", &[]).await;
    assert_eq!(refused.metadata["name"], "agencies/nca");
    let taken = sample::organisation("platforms/copycat", &["copycat.example", "chirrup.example"]);
    let refused =
        world.refuses(organisations.create_organisation(taken), "HOST_TAKEN", &["organisation.hosts[1]"]).await;
    assert_eq!(refused.metadata["host"], "chirrup.example");
    for hosts in [vec!["Copycat.example"], vec!["copycat"], vec!["*.copycat.example"], vec!["copycat.example:443"]] {
        let wrong = sample::organisation("platforms/copycat", &hosts);
        world.refuses(organisations.create_organisation(wrong), "REQUEST_INVALID", &["organisation.hosts[0]"]).await;
    }
    let update = |etag: &str, name: &str| referral::UpdateOrganisationRequest {
        organisation: Some(referral::Organisation {
            name: name.into(),
            display_name: "Chirrup Ltd".into(),
            etag: etag.into(),
            ..referral::Organisation::default()
        }),
        update_mask: None,
        request_id: sample::request_id(&format!("update {etag} {name}")),
    };
    world
        .refuses(organisations.update_organisation(update("1000000", "platforms/chirrup")), "STALE_VERSION", &[])
        .await;
    world
        .refuses(organisations.update_organisation(update("", "platforms/nowhere")), "ORGANISATION_NOT_FOUND", &[])
        .await;
    world
        .refuses(
            organisations.update_organisation(update("x", "platforms/chirrup")),
            "REQUEST_INVALID",
            &["organisation.etag"],
        )
        .await;
    let mut policies = world.chirrup().policies();
    let request = decision::CreateClauseRequest {
        parent: "platforms/chirrup".into(),
        clause_id: "fees".into(),
        clause: Some(decision::Clause { title: "Fees".into(), ..decision::Clause::default() }),
        request_id: sample::request_id("clause again"),
    };
    world.refuses(policies.create_clause(request), "CLAUSE_EXISTS", &[]).await;
    // Versions come into force one after another.
    let request = decision::AddClauseVersionRequest {
        parent: world.citation.clause.clone(),
        clause_version: Some(decision::ClauseVersion {
            title: String::new(),
            text_digest: "AB".repeat(32),
            public_url: "javascript:alert(1)".into(),
            jurisdictions: vec!["gb".into()],
            ..decision::ClauseVersion::default()
        }),
        request_id: sample::request_id("wrong version"),
    };
    let fields = [
        "clause_version.title",
        "clause_version.text_digest",
        "clause_version.effective_from",
        "clause_version.jurisdictions[0]",
        "clause_version.public_url",
    ];
    world.refuses(policies.add_clause_version(request), "REQUEST_INVALID", &fields).await;
}

async fn an_import_takes_the_good_and_explains_the_bad(database: &Database) {
    use referral::import_result::Result as Of;
    let world = World::new(database).await;
    let before = world.server.head(Part::Referral).await;
    let item = |tag: &str, change: &dyn Fn(&mut referral::ReferralDraft)| {
        let mut draft = sample::draft("chirrup", tag);
        change(&mut draft);
        referral::ImportItem { request_id: sample::request_id(tag), draft: Some(draft) }
    };
    let url =
        |url: &'static str| move |draft: &mut referral::ReferralDraft| draft.target.as_mut().unwrap().url = url.into();
    let items = vec![
        item("1", &|_| {}),
        item("2", &url("javascript:alert(1)")),
        item("3", &|draft| draft.platform = "platforms/nowhere".into()),
        item("4", &url("https://lensgram.example/")),
        item("5", &|draft| draft.occurred_at = Some(sample::time("2020-01-01"))),
        item("6", &|draft| (draft.ground, draft.nature) = (0, 77)),
        referral::ImportItem { request_id: "7".into(), draft: None },
        item("8", &|_| {}),
        // The first once more; and its id for something else.
        item("1", &|_| {}),
        item("1", &|draft| draft.content_language = "en".into()),
    ];
    let expected = [
        ("", vec![]),
        ("REQUEST_INVALID", vec!["draft.target.url"]),
        ("ORGANISATION_NOT_FOUND", vec![]),
        ("URL_OF_ANOTHER_PLATFORM", vec!["draft.target.url"]),
        ("BACKDATING_NOT_PERMITTED", vec![]),
        ("REQUEST_INVALID", vec!["draft.ground", "draft.nature"]),
        ("REQUEST_INVALID", vec!["draft", "request_id"]),
        ("", vec![]),
        ("replayed", vec![]),
        ("REQUEST_ID_REUSED", vec![]),
    ];
    for (turn, size) in [10, 3, 1].into_iter().enumerate() {
        let messages = items
            .chunks(size)
            .map(|items| referral::ImportReferralsRequest { parent: "agencies/nca".into(), items: items.to_vec() });
        let messages = messages.collect::<Vec<_>>();
        let mut nca = world.nca().referrals();
        let mut replies = nca.import_referrals(tokio_stream::iter(messages)).await.unwrap().into_inner();
        let mut results = Vec::new();
        let mut reached = 0;
        while let Some(reply) = replies.message().await.unwrap() {
            if reply.revision.is_empty() {
                assert_eq!(reached, 0, "the revision that holds all results so far was forgotten");
            } else {
                let position = portreeve_core::token::Revision::decode(&reply.revision).unwrap().position;
                assert!(position >= reached, "the revision that holds all results so far went back");
                reached = position;
            }
            results.extend(reply.results);
        }
        assert_eq!(results.len(), items.len());
        for ((index, (result, item)), (reason, fields)) in (0_u64..).zip(results.iter().zip(&items)).zip(&expected) {
            assert_eq!((result.index, &result.request_id), (index, &item.request_id));
            match result.result.as_ref().unwrap() {
                Of::Imported(imported) => {
                    assert!(*reason == "replayed" || reason.is_empty(), "{index}: {imported:?}");
                    assert_eq!(imported.replayed, turn > 0 || *reason == "replayed", "{index}");
                }
                Of::Error(error) => {
                    assert_eq!(&item_reason(error), reason, "{index}");
                    let details = Bytes::from(error.encode_to_vec());
                    let status = Status::with_details(Code::from_i32(error.code), error.message.clone(), details);
                    let named = refusal(&status).fields.into_iter().collect::<BTreeSet<_>>();
                    assert_eq!(named, fields.iter().map(|field| (*field).to_owned()).collect(), "{index}");
                }
            }
        }
        assert_eq!(world.server.head(Part::Referral).await, before + 2);
    }
    // Wrong outside of its items, an import ends; what came before is kept.
    let ends = |messages: Vec<referral::ImportReferralsRequest>| {
        let mut nca = world.nca().referrals();
        async move {
            let mut replies = nca.import_referrals(tokio_stream::iter(messages)).await?.into_inner();
            while replies.message().await?.is_some() {}
            Ok::<_, Status>(())
        }
    };
    let of = |parent: &str| referral::ImportReferralsRequest { parent: parent.into(), items: vec![items[0].clone()] };
    world.refuses(ends(vec![of("")]), "REQUEST_INVALID", &["parent"]).await;
    world.refuses(ends(vec![of("nca")]), "REQUEST_INVALID", &["parent"]).await;
    world.refuses(ends(vec![of("agencies/nca"), of("agencies/bka")]), "REQUEST_INVALID", &["parent"]).await;
    world.refuses(ends(vec![of("agencies/bka")]), "PERMISSION_DENIED", &[]).await;
}

async fn limits_of_batches(database: &Database) {
    let world = World::new(database).await;
    let drafts = |count: usize| (0..count).map(|tag| sample::draft("chirrup", &tag.to_string())).collect::<Vec<_>>();
    let mut nca = world.nca().referrals();
    let batch = |count| referral::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts: drafts(count),
        request_id: sample::request_id(&format!("batch {count}")),
    };
    world.refuses(nca.batch_create_referrals(batch(0)), "REQUEST_INVALID", &["drafts"]).await;
    world.refuses(nca.batch_create_referrals(batch(1_001)), "REQUEST_INVALID", &["drafts"]).await;
    let created = nca.batch_create_referrals(batch(1_000)).await.unwrap().into_inner();
    assert_eq!(created.referrals.len(), 1_000);

    let import = |count: usize| {
        let items = drafts(count).into_iter().enumerate().map(|(item, draft)| referral::ImportItem {
            request_id: sample::request_id(&format!("item {item}")),
            draft: Some(draft),
        });
        let messages = vec![referral::ImportReferralsRequest { parent: "agencies/nca".into(), items: items.collect() }];
        let mut nca = nca.clone();
        async move {
            let mut replies = nca.import_referrals(tokio_stream::iter(messages)).await?.into_inner();
            let mut results = 0;
            while let Some(reply) = replies.message().await? {
                results += reply.results.len();
            }
            Ok::<_, Status>(results)
        }
    };
    world.refuses(import(501), "REQUEST_INVALID", &["items"]).await;
    assert_eq!(import(500).await.unwrap(), 500);

    let mut chirrup = world.chirrup().decisions();
    let request = decision::ListCasesRequest {
        parent: "platforms/chirrup".into(),
        at_least: vec![created.revision],
        ..decision::ListCasesRequest::default()
    };
    chirrup.list_cases(request).await.unwrap();
    let cases = created.referrals.iter().map(sample::case_of).collect::<Vec<_>>();
    let acknowledge = |count: usize| sample::acknowledge("chirrup", &cases[..count], &format!("acknowledge {count}"));
    world.refuses(chirrup.acknowledge_cases(acknowledge(501)), "REQUEST_INVALID", &["names"]).await;
    assert_eq!(chirrup.acknowledge_cases(acknowledge(500)).await.unwrap().into_inner().results.len(), 500);
    let decide = |count: usize| decision::BatchRecordDecisionsRequest {
        parent: "platforms/chirrup".into(),
        items: cases[..count]
            .iter()
            .map(|case| decision::BatchDecisionItem {
                case: case.clone(),
                decision: Some(sample::closed()),
                expected_version: None,
                request_id: sample::request_id(&format!("decide {case}")),
            })
            .collect(),
    };
    world.refuses(chirrup.batch_record_decisions(decide(0)), "REQUEST_INVALID", &["items"]).await;
    world.refuses(chirrup.batch_record_decisions(decide(501)), "REQUEST_INVALID", &["items"]).await;
    let reply = chirrup.batch_record_decisions(decide(500)).await.unwrap().into_inner();
    let recorded = |result: &&decision::BatchDecisionResult| {
        matches!(result.result, Some(decision::batch_decision_result::Result::Recorded(_)))
    };
    assert_eq!(reply.results.iter().filter(recorded).count(), 500);
    // Hosts of a platform.
    let hosts = (0..65).map(|number| format!("h{number}.example")).collect::<Vec<_>>();
    let hosts = hosts.iter().map(String::as_str).collect::<Vec<_>>();
    let mut organisations = world.client.organisations();
    let many = sample::organisation("platforms/many", &hosts);
    world.refuses(organisations.create_organisation(many), "REQUEST_INVALID", &["organisation.hosts"]).await;
    assert!(organisations.create_organisation(sample::organisation("platforms/many", &hosts[..64])).await.is_ok());
}

/// Puts a text into a draft.
type Set = fn(&mut referral::ReferralDraft, String);

async fn limits_of_texts(database: &Database) {
    let world = World::new(database).await;
    let mut nca = world.nca().referrals();
    let of_url = |length: usize| format!("https://chirrup.example/{}", "a".repeat(length - 24));
    let texts: [(&str, usize, Set); 6] = [
        ("target.native_id", 500, |draft, text| draft.target.as_mut().unwrap().native_id = text),
        ("legal_basis.code", 64, |draft, text| draft.legal_basis.as_mut().unwrap().code = text.to_uppercase()),
        // Without a code, which would say what they are.
        ("legal_basis.statute", 200, |draft, text| {
            draft.legal_basis = Some(referral::LegalBasis { statute: text, ..referral::LegalBasis::default() });
        }),
        ("legal_basis.section", 100, |draft, text| {
            let statute = "Immigration Act 1971".to_owned();
            draft.legal_basis = Some(referral::LegalBasis { code: String::new(), statute, section: text });
        }),
        ("statement_of_reasons", 5_000, |draft, text| draft.statement_of_reasons = text),
        ("target.url", 2_048, |draft, text| draft.target.as_mut().unwrap().url = text),
    ];
    for (name, most, set) in texts {
        let text = |length: usize| match name {
            "target.url" => of_url(length),
            // Characters are counted, not bytes.
            "statement_of_reasons" => "\u{0634}".repeat(length),
            _ => "a".repeat(length),
        };
        let mut draft = sample::draft("chirrup", name);
        set(&mut draft, text(most + 1));
        world.refuses_referral(draft.clone(), "REQUEST_INVALID", &[&format!("referral.{name}")]).await;
        set(&mut draft, text(most));
        assert!(nca.create_referral(sample::create("nca", draft, name)).await.is_ok(), "{name}");
    }
    let reason = |length: usize| referral::WithdrawReferralRequest {
        reason: "r".repeat(length),
        ..sample::withdraw(&format!("agencies/nca/referrals/{}", world.fresh.rsplit_once('/').unwrap().1), "w2")
    };
    world.refuses(nca.withdraw_referral(reason(2_001)), "REQUEST_INVALID", &["reason"]).await;
    world.refuses(nca.withdraw_referral(reason(0)), "REQUEST_INVALID", &["reason"]).await;
    assert!(nca.withdraw_referral(reason(2_000)).await.is_ok());
    let mut organisations = world.client.organisations();
    for (id, fits) in
        [("a", false), ("ab", true), (&"a".repeat(32), true), (&"a".repeat(33), false), ("a-", false), ("1a", false)]
    {
        let request = sample::organisation(&format!("agencies/{id}"), &[]);
        if fits {
            assert!(organisations.create_organisation(request).await.is_ok(), "{id}");
        } else {
            world.refuses(organisations.create_organisation(request), "REQUEST_INVALID", &["organisation_id"]).await;
        }
    }
    for request_id in ["", "1", "zzzzzzzz-0000-7000-8000-000000000000", "urn:uuid:00000000-0000-7000-8000-000000000000"]
    {
        let request = referral::CreateReferralRequest {
            request_id: request_id.into(),
            ..sample::create("nca", sample::draft("chirrup", "id"), "id")
        };
        world.refuses(nca.create_referral(request), "REQUEST_INVALID", &["request_id"]).await;
    }
}

async fn limits_of_pages(database: &Database) {
    let world = World::new(database).await;
    let mut nca = world.nca().referrals();
    for batch in 0..2 {
        let request = referral::BatchCreateReferralsRequest {
            parent: "agencies/nca".into(),
            drafts: (0..600).map(|tag| sample::draft("chirrup", &format!("{batch}-{tag}"))).collect(),
            request_id: sample::request_id(&format!("batch {batch}")),
        };
        nca.batch_create_referrals(request).await.unwrap();
    }
    let list = |size: i32, token: &str| referral::ListReferralsRequest {
        parent: "agencies/nca".into(),
        page_size: size,
        page_token: token.into(),
        ..referral::ListReferralsRequest::default()
    };
    for (size, rows) in [(0, 50), (1, 1), (1_000, 1_000), (1_001, 1_000), (i32::MAX, 1_000)] {
        let page = nca.list_referrals(list(size, "")).await.unwrap().into_inner();
        assert_eq!(page.referrals.len(), rows, "{size}");
        assert!(!page.next_page_token.is_empty());
    }
    for size in [-1, i32::MIN] {
        world.refuses(nca.list_referrals(list(size, "")), "REQUEST_INVALID", &["page_size"]).await;
    }
    // Every row once, in pages of any size; a full last page too.
    for size in [1_204, 602, 301, 7] {
        let (mut names, mut token) = (Vec::new(), String::new());
        loop {
            let page = nca.list_referrals(list(size, &token)).await.unwrap().into_inner();
            names.extend(page.referrals.into_iter().map(|it| it.name));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(names.len(), 1_204);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 1_204);
    }
    let platforms = |count: usize| referral::ListReferralsRequest {
        filter: Some(referral::ReferralFilter {
            platforms: (0..count).map(|number| format!("platforms/p{number}")).collect(),
            ..referral::ReferralFilter::default()
        }),
        ..list(1, "")
    };
    assert!(nca.list_referrals(platforms(100)).await.is_ok());
    world.refuses(nca.list_referrals(platforms(101)), "REQUEST_INVALID", &["filter.platforms"]).await;
    let revisions = |count: usize| referral::ListReferralsRequest {
        at_least: vec![
            portreeve_core::token::Revision::decode(&world.revision).map(|_| String::from("x")).unwrap();
            count
        ],
        ..list(1, "")
    };
    world.refuses(nca.list_referrals(revisions(9)), "REQUEST_INVALID", &["at_least"]).await;
}

fn today() -> reporting::ReportDefinition {
    reporting::ReportDefinition {
        cohort_from_date: "2020-09-01".into(),
        cohort_until_date: "2020-09-03".into(),
        as_of_date: "2020-09-03".into(),
        ..reporting::ReportDefinition::default()
    }
}

async fn reports_that_make_no_sense(database: &Database) {
    let world = World::new(database).await;
    let nca = world.nca();
    let wrong = |change: &dyn Fn(&mut reporting::ReportDefinition)| {
        let mut definition = today();
        change(&mut definition);
        definition
    };
    for (definition, fields) in [
        (
            reporting::ReportDefinition::default(),
            vec!["definition.as_of_date", "definition.cohort_from_date", "definition.cohort_until_date"],
        ),
        (wrong(&|it| it.cohort_from_date = "2020-02-30".into()), vec!["definition.cohort_from_date"]),
        (wrong(&|it| it.cohort_until_date = "2020-08-31".into()), vec!["definition.cohort_until_date"]),
        (wrong(&|it| it.as_of_date = "yesterday".into()), vec!["definition.as_of_date"]),
        (wrong(&|it| it.known_at_date = "2020-9-3".into()), vec!["definition.known_at_date"]),
        (wrong(&|it| it.dimensions = vec![1, 2, 3, 4, 5]), vec!["definition.dimensions"]),
        (wrong(&|it| it.dimensions = vec![1, 1]), vec!["definition.dimensions"]),
    ] {
        world.refuses(nca.report(definition, &[]), "REQUEST_INVALID", &fields).await;
    }
    assert!(nca.report(wrong(&|it| it.dimensions = vec![1, 2, 3, 4]), &[]).await.is_ok());
    let request = reporting::ExportReportRequest { definition: Some(today()), format: 9, at_least: Vec::new() };
    world.refuses(nca.reports().export_report(request), "REQUEST_INVALID", &["format"]).await;
}

async fn revisions_that_are_none(database: &Database) {
    let world = World::new(database).await;
    let elsewhere = portreeve_tests::Fixture::sqlite();
    let there = Server::suite_at(&elsewhere.database, "2020-09-03T09:00:00Z").await.0;
    let foreign = sample::register(&there.client("operators/op")).await;
    let get = |at_least: &str| {
        let mut chirrup = world.chirrup().decisions();
        let request = decision::GetCaseRequest { name: world.fresh.clone(), at_least: vec![at_least.into()] };
        async move { chirrup.get_case(request).await }
    };
    assert!(get(&world.revision).await.is_ok());
    for text in ["x", "%", &foreign, &world.revision[1..]] {
        world.refuses(get(text), "REVISION_INVALID", &[]).await;
    }
    world.refuses(get(""), "REQUEST_INVALID", &["at_least[0]"]).await;
    world.refuses(get(&"A".repeat(257)), "REQUEST_INVALID", &["at_least[0]"]).await;
    world.refuses(nca_reads(&world, &foreign), "REVISION_INVALID", &[]).await;
    // Of the future: the server waits for a while, and says how far it is.
    let mut ahead = portreeve_core::token::Revision::decode(&world.revision).unwrap();
    ahead.position += 1_000;
    let refused = world.refuses(get(&ahead.encode()), "NOT_CAUGHT_UP", &[]).await;
    assert_eq!(
        (refused.metadata["log"].as_str(), refused.metadata["position"].clone()),
        ("decision", ahead.position.to_string())
    );
    // A referral service follows nobody.
    world.refuses(nca_reads(&world, &world.revision), "REVISION_INVALID", &[]).await;
}

async fn nca_reads(world: &World, at_least: &str) -> Result<(), Status> {
    let request = referral::ListReferralsRequest {
        parent: "agencies/nca".into(),
        at_least: vec![at_least.into()],
        ..referral::ListReferralsRequest::default()
    };
    world.nca().referrals().list_referrals(request).await.map(|_| ())
}

async fn metadata_that_is_none(database: &Database) {
    let world = World::new(database).await;
    for organisation in ["nca", "agencies/", "agencies/NCA", "agencies/nca/x", "gods/zeus", "agencies/-", "/"] {
        let client = world.client.acting(organisation);
        let request = sample::create("nca", sample::draft("chirrup", "x"), "x");
        world.refuses(client.referrals().create_referral(request), "UNAUTHENTICATED", &[]).await;
    }
    for roles in [vec!["reviewer"], vec!["god"], vec!["officer", "operator"]] {
        let client = world.nca().roles(&roles);
        let request = sample::create("nca", sample::draft("chirrup", "x"), "x");
        world.refuses(client.referrals().create_referral(request), "UNAUTHENTICATED", &[]).await;
    }
    // The import role alone makes nobody an officer.
    let request = sample::create("nca", sample::draft("chirrup", "x"), "x");
    world.refuses(world.nca().roles(&["import"]).referrals().create_referral(request), "PERMISSION_DENIED", &[]).await;
}
