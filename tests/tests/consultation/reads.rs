//! Every read of the contract: public, or recorded; and what the record says.

use std::collections::BTreeSet;

use portreeve_api::audit::v1 as audit;
use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::consultation::v1 as consultation;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_core::Clock as _;
use portreeve_core::consultation::Policy;
use portreeve_core::time::SystemClock;
use portreeve_runtime::permissions::PUBLIC_READS;
use portreeve_tests::raw::methods;
use portreeve_tests::{Client, Database, Options, on_both_engines, refusal, sample, within};
use tonic::{Code, Status, Streaming};

use super::{WHY, World, get, id, request};

on_both_engines!(
    every_read_is_public_or_recorded,
    nothing_is_read_without_a_reason_where_one_is_demanded,
    what_was_shown_is_what_the_record_says,
    a_stream_records_what_it_sends,
);

/// The methods that read, without those that are public, and without a platform's inbox and its statements, which no agency reads: `inbox.rs` and
/// `statements.rs` look at their records.
fn recorded_methods() -> Vec<String> {
    let reads = methods().into_iter().filter(|method| !method.writes).map(|method| method.path);
    let reads = reads.map(|path| path.trim_start_matches('/').to_owned()).collect::<BTreeSet<_>>();
    for public in PUBLIC_READS {
        assert!(reads.contains(*public), "{public} is no read of the contract");
    }
    let elsewhere = |read: &String| ["/WatchInbox", "/ExportStatements"].iter().any(|method| read.ends_with(method));
    reads.into_iter().filter(|read| !PUBLIC_READS.contains(&read.as_str()) && !elsewhere(read)).collect()
}

pub(super) fn definition(as_of: &str) -> reporting::ReportDefinition {
    reporting::ReportDefinition {
        as_of_date: as_of.into(),
        cohort_from_date: "2020-01-01".into(),
        cohort_until_date: "2099-12-31".into(),
        ..reporting::ReportDefinition::default()
    }
}

/// The first message of a stream.
async fn first<M>(stream: Result<tonic::Response<Streaming<M>>, Status>) -> Result<(), Status> {
    let mut stream = stream?.into_inner();
    within(20, "the first message", stream.message()).await.map(|message| assert!(message.is_some()))
}

/// Calls a method as a client who may, in such a way that it shows something. A method that is not here has no test.
async fn call(world: &World, client: &Client, method: &str) -> Result<(), Status> {
    let at_least = world.at_least.clone();
    let referrals = at_least[..1].to_vec();
    let snapshot = || Some(sample::start(Start::Snapshot(true)));
    let parent = "agencies/nca".to_owned();
    let platform = "platforms/-".to_owned();
    match method.rsplit('/').next().unwrap() {
        "GetReferral" => client.referrals().get_referral(get(&world.decided)).await.map(drop),
        "ListReferrals" => {
            let request = referral::ListReferralsRequest { parent, ..Default::default() };
            client.referrals().list_referrals(request).await.map(drop)
        }
        "WatchReferrals" => {
            let request = referral::WatchReferralsRequest { parent, start: snapshot(), ..Default::default() };
            first(client.referrals().watch_referrals(request).await).await
        }
        "ListReferralChanges" => {
            let start = Some(referral::list_referral_changes_request::Start::Earliest(true));
            let request = referral::ListReferralChangesRequest { parent, start, ..Default::default() };
            client.referrals().list_referral_changes(request).await.map(drop)
        }
        "GetMeasure" | "ListMeasures" => {
            // So that there is something to find; the same each time.
            let hac = client.acting("oversightBodies/hac").roles(&["supervisor"]).member("s.upervisor");
            let imposed = hac.measures().impose_measure(sample::warning("nca", "", "read")).await.unwrap().into_inner();
            if method.ends_with("GetMeasure") {
                let name = imposed.measure.unwrap().name;
                let request = referral::GetMeasureRequest { name, at_least: Vec::new() };
                client.measures().get_measure(request).await.map(drop)
            } else {
                let request = referral::ListMeasuresRequest { parent, ..Default::default() };
                client.measures().list_measures(request).await.map(drop)
            }
        }
        "GetReviewFlag" | "ListReviewFlags" => {
            // So that there is something to find; the same each time.
            let flag = sample::flag(&world.decided.name, "read");
            let flagged = client.acting("oversightBodies/hac").flags().flag_referral(flag).await.unwrap().into_inner();
            if method.ends_with("GetReviewFlag") {
                let name = flagged.flag.unwrap().name;
                let request = referral::GetReviewFlagRequest { name, at_least: Vec::new() };
                client.flags().get_review_flag(request).await.map(drop)
            } else {
                let request = referral::ListReviewFlagsRequest { parent, ..Default::default() };
                client.flags().list_review_flags(request).await.map(drop)
            }
        }
        "ListPreNotices" => {
            // So that there is something to find; the same each time.
            let given = referral::GivePreNoticeRequest {
                parent: "agencies/nca".into(),
                pre_notice: Some(referral::PreNoticeDraft {
                    platform: world.decided.platform.clone(),
                    contact: "Contact point".into(),
                    procedures: "Within one hour.".into(),
                    given_at: None,
                }),
                request_id: sample::request_id("pre-notice read"),
            };
            client.acting("agencies/nca").pre_notices().give_pre_notice(given).await.unwrap();
            let request = referral::ListPreNoticesRequest { parent, ..Default::default() };
            client.pre_notices().list_pre_notices(request).await.map(drop)
        }
        "ListObservations" => {
            // So that there is something to find; the same each time.
            let seen = sample::observation(&world.decided.name, referral::ObservationFinding::Live, "read");
            client.acting("agencies/nca").observations().record_observation(seen).await.unwrap();
            let request =
                referral::ListObservationsRequest { parent: format!("{parent}/referrals/-"), ..Default::default() };
            client.observations().list_observations(request).await.map(drop)
        }
        "GetChallenge" | "ListChallenges" => {
            // So that there is something to find; the same each time.
            let case = sample::case_of(&world.decided);
            let filed =
                client.acting("agencies/nca").challenges().file_challenge(sample::challenge(&case, 1, "read")).await;
            let filed = filed.unwrap().into_inner().challenge.unwrap();
            if method.ends_with("GetChallenge") {
                let request = decision::GetChallengeRequest { name: filed.name, at_least: Vec::new() };
                client.challenges().get_challenge(request).await.map(drop)
            } else {
                let request = decision::ListChallengesRequest { parent: case, ..Default::default() };
                client.challenges().list_challenges(request).await.map(drop)
            }
        }
        "ListClocks" | "WatchClocks" | "ListClockChanges" => {
            // So that there is something to find: the time for a challenge; the same each time.
            let filed = sample::challenge(&sample::case_of(&world.decided), 1, "read");
            client.acting("agencies/nca").challenges().file_challenge(filed).await.unwrap();
            let mut clocks = client.clocks();
            match method.rsplit('/').next() {
                Some("ListClocks") => {
                    let request = decision::ListClocksRequest { parent: platform, ..Default::default() };
                    clocks.list_clocks(request).await.map(drop)
                }
                Some("WatchClocks") => {
                    let request =
                        decision::WatchClocksRequest { parent: platform, start: snapshot(), ..Default::default() };
                    first(clocks.watch_clocks(request).await).await
                }
                _ => {
                    let start = Some(decision::list_clock_changes_request::Start::Earliest(true));
                    let request = decision::ListClockChangesRequest { parent: platform, start, ..Default::default() };
                    clocks.list_clock_changes(request).await.map(drop)
                }
            }
        }
        "GetEvidence" | "ListEvidence" | "DownloadEvidence" => {
            // So that there is something to find; the same each time.
            let name = sample::upload(client, "read").await.name;
            let at_least = Vec::new();
            match method.rsplit('/').next().unwrap() {
                "GetEvidence" => {
                    client.evidence().get_evidence(referral::GetEvidenceRequest { name, at_least }).await.map(drop)
                }
                "ListEvidence" => {
                    let request = referral::ListEvidenceRequest { parent, ..Default::default() };
                    client.evidence().list_evidence(request).await.map(drop)
                }
                _ => {
                    let request = referral::DownloadEvidenceRequest { name, at_least };
                    first(client.evidence().download_evidence(request).await).await
                }
            }
        }
        "GetInterest" | "ListInterests" | "CheckTargets" | "ListHolds" => {
            // So that there is something to find; the same each time.
            let mut of = client.deconfliction();
            let url = "https://chirrup.example/read";
            // The server has the system's clock: until the next year begins, which is within what is allowed.
            let year = SystemClock.now().date().to_string()[..4].parse::<u32>().unwrap() + 1;
            let new = sample::interest("nca", "chirrup", url, &format!("{year}-01-01"), "read");
            let target = new.interests[0].target.clone();
            let registered = of.register_interests(new).await.unwrap().into_inner().interests.remove(0);
            match method.rsplit('/').next() {
                Some("GetInterest") => {
                    let request = referral::GetInterestRequest { name: registered.name, at_least: Vec::new() };
                    of.get_interest(request).await.map(drop)
                }
                Some("ListInterests") => {
                    let request = referral::ListInterestsRequest { parent, ..Default::default() };
                    of.list_interests(request).await.map(drop)
                }
                // What is shown of nobody is no reading: another agency's interest is hit.
                method => {
                    let other = sample::interest("bka", "chirrup", url, &format!("{year}-01-01"), "read of bka");
                    client.acting("agencies/bka").deconfliction().register_interests(other).await.unwrap();
                    if method == Some("CheckTargets") {
                        let targets = target.into_iter().collect();
                        let request = referral::CheckTargetsRequest { parent, targets, at_least: Vec::new() };
                        return of.check_targets(request).await.map(drop);
                    }
                    let mut draft = sample::draft("chirrup", "held");
                    url.clone_into(&mut draft.target.as_mut().unwrap().url);
                    client.referrals().create_referral(sample::create("nca", draft, "read of held")).await.unwrap();
                    of.list_holds(referral::ListHoldsRequest { parent, ..Default::default() }).await.map(drop)
                }
            }
        }
        "GetDraft" | "ListDrafts" => {
            // So that there is something to find; the same each time.
            let written = client.drafts().create_draft(sample::write("nca", "chirrup", "read")).await.unwrap();
            if method.ends_with("GetDraft") {
                let name = written.into_inner().draft.unwrap().name;
                client.drafts().get_draft(referral::GetDraftRequest { name, at_least: Vec::new() }).await.map(drop)
            } else {
                let request = referral::ListDraftsRequest { parent, ..Default::default() };
                client.drafts().list_drafts(request).await.map(drop)
            }
        }
        "GetCase" => {
            let request = decision::GetCaseRequest { name: sample::case_of(&world.decided), at_least };
            client.decisions().get_case(request).await.map(drop)
        }
        "ListCases" => {
            let request = decision::ListCasesRequest { parent: platform, ..Default::default() };
            client.decisions().list_cases(request).await.map(drop)
        }
        "WatchCases" => {
            let request = decision::WatchCasesRequest { parent: platform, start: snapshot(), ..Default::default() };
            first(client.decisions().watch_cases(request).await).await
        }
        "ListCaseChanges" => {
            let start = Some(decision::list_case_changes_request::Start::Earliest(true));
            let request = decision::ListCaseChangesRequest { parent: platform, start, ..Default::default() };
            client.decisions().list_case_changes(request).await.map(drop)
        }
        "ListDecisions" => {
            let request =
                decision::ListDecisionsRequest { parent: sample::case_of(&world.decided), ..Default::default() };
            client.decisions().list_decisions(request).await.map(drop)
        }
        "WatchDecisions" => {
            let request = decision::WatchDecisionsRequest { parent: platform, start: snapshot(), ..Default::default() };
            first(client.decisions().watch_decisions(request).await).await
        }
        "ListDecisionChanges" => {
            let start = Some(decision::list_decision_changes_request::Start::Earliest(true));
            let request = decision::ListDecisionChangesRequest { parent: platform, start, ..Default::default() };
            client.decisions().list_decision_changes(request).await.map(drop)
        }
        "QueryReport" => {
            let request = reporting::QueryReportRequest { definition: Some(definition("2026-01-01")), at_least };
            client.reports().query_report(request).await.map(drop)
        }
        "WatchReport" => {
            let start = Some(reporting::watch_report_request::Start::Snapshot(true));
            let request = reporting::WatchReportRequest { definition: Some(definition("")), at_least, start };
            first(client.reports().watch_report(request).await).await
        }
        "ExportReport" => {
            let format = reporting::ExportFormat::Csv.into();
            let request =
                reporting::ExportReportRequest { definition: Some(definition("2026-01-01")), at_least, format };
            first(client.reports().export_report(request).await).await
        }
        "QueryFlow" => {
            let request = reporting::QueryFlowRequest {
                definition: Some(definition("")),
                event_from_date: "2026-01-01".into(),
                event_until_date: "2026-01-31".into(),
                at_least,
            };
            client.reports().query_flow(request).await.map(drop)
        }
        "QueryRecurrence" => {
            let as_of_date = "2026-01-01".into();
            let request = reporting::QueryRecurrenceRequest {
                parent: "agencies/nca".into(),
                as_of_date,
                at_least,
                ..Default::default()
            };
            client.reports().query_recurrence(request).await.map(drop)
        }
        "QuerySurvival" => {
            let request = reporting::QuerySurvivalRequest { definition: Some(definition("2026-01-01")), at_least };
            client.reports().query_survival(request).await.map(drop)
        }
        "GetInclusionProof" => {
            // That of the referral before the one that the revision is of.
            let position = portreeve_core::token::Revision::decode(&referrals[0]).unwrap().position - 1;
            let request = audit::GetInclusionProofRequest {
                log: "logs/referral".into(),
                position,
                at_least: referrals,
                ..Default::default()
            };
            client.audits().get_inclusion_proof(request).await.map(drop)
        }
        "ListLogEntries" => {
            let request = audit::ListLogEntriesRequest { parent: "logs/referral".into(), ..Default::default() };
            client.audits().list_log_entries(request).await.map(drop)
        }
        "ListConsultations" => {
            // So that there is something to find.
            _ = client.member("an.other").referrals().get_referral(get(&world.decided)).await;
            let auditor = client.roles(&["auditor"]).member("a.uditor");
            let request = request("referral-access", "agencies/nca");
            auditor.consultations().list_consultations(request).await.map(drop)
        }
        other => panic!("{other} reads: it is to be recorded or public, and to be tested here"),
    }
}

/// The methods in the access logs, of a reader.
async fn methods_of(world: &World, reader: &str) -> Vec<String> {
    let mut found = Vec::new();
    for log in ["referral-access", "decision-access", "reporting-access"] {
        found.extend(world.entries(log, reader).await.into_iter().filter(|entry| entry.reader == reader));
    }
    found.into_iter().map(|entry| entry.method).collect()
}

async fn every_read_is_public_or_recorded(database: &Database) {
    let world = World::new(database, Options::default()).await;
    let nca = world.member("agencies/nca", "j.doe");
    let all = recorded_methods();
    assert!(all.len() > 15, "{all:?}");
    for method in &all {
        let before = methods_of(&world, "agencies/nca").await;
        call(&world, &nca, method).await.unwrap_or_else(|status| panic!("{method}: {status:?}"));
        let after = methods_of(&world, "agencies/nca").await;
        let count = |of: &[String]| of.iter().filter(|one| *one == method).count();
        assert_eq!(count(&after), count(&before) + 1, "{method}: {after:?}");
    }
    // The suite's own services have followed all along, and consulted nothing.
    for log in ["referral-access", "decision-access", "reporting-access"] {
        let entries = world.entries(log, "-").await;
        assert!(!entries.iter().any(|entry| entry.reader.starts_with("services/")), "{entries:?}");
    }
    world.server.stop().await;
}

async fn nothing_is_read_without_a_reason_where_one_is_demanded(database: &Database) {
    let world = World::new(database, Options { justification: Policy::Required, ..Options::default() }).await;
    let silent = world.client.acting("agencies/nca").member("j.doe");
    for method in recorded_methods() {
        let refused = refusal(&call(&world, &silent, &method).await.unwrap_err());
        assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "JUSTIFICATION_REQUIRED"));
        assert_eq!((&refused.metadata["method"], refused.metadata["maximum"].as_str()), (&method, "500"));
    }
    assert_eq!(methods_of(&world, "agencies/nca").await, Vec::<String>::new());
    for method in recorded_methods() {
        call(&world, &silent.because(WHY), &method).await.unwrap_or_else(|status| panic!("{method}: {status:?}"));
    }
    // What is public is for everybody, and writes say what they do.
    let request = referral::ListOrganisationsRequest::default();
    silent.organisations().list_organisations(request).await.unwrap();
    sample::refer(&silent, "nca", "harbourbook", "three").await;
    let long = silent.because(&"x".repeat(501)).referrals().get_referral(get(&world.decided)).await.unwrap_err();
    assert_eq!(refusal(&long).fields, ["portreeve-justification"]);
    let most = silent.because(&"ü".repeat(500)).referrals().get_referral(get(&world.decided)).await;
    assert!(most.is_ok(), "{most:?}");
    world.server.stop().await;
}

async fn what_was_shown_is_what_the_record_says(database: &Database) {
    let world = World::new(database, Options::default()).await;
    let nca = world.member("agencies/nca", "j.doe").because("für Heron");
    nca.referrals().get_referral(get(&world.decided)).await.unwrap();
    let entries = world.entries("referral-access", "agencies/nca").await;
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.kind(), consultation::ConsultationKind::Consultation);
    assert_eq!((entry.owner.as_str(), entry.reader.as_str()), ("agencies/nca", "agencies/nca"));
    assert_eq!((entry.member.as_str(), entry.justification.as_str()), ("j.doe", "für Heron"));
    assert_eq!(entry.roles, ["officer", "approver", "interest-holder"]);
    assert_eq!(entry.method, "portreeve.referral.v1.ReferralService/GetReferral");
    assert_eq!((entry.rows.as_slice(), &entry.stretch), ([id(&world.decided)].as_slice(), &None));
    assert!(uuid::Uuid::try_parse(&entry.request_id).is_ok() && entry.recorded_at.is_some(), "{entry:?}");

    // A platform receives what is of two agencies: an entry for each, and each finds its own.
    let platform = world.member("platforms/harbourbook", "t.s");
    let all = referral::ListReferralsRequest { parent: "agencies/-".into(), ..Default::default() };
    platform.referrals().list_referrals(all).await.unwrap();
    for (agency, referral) in [("agencies/nca", &world.decided), ("agencies/bka", &world.other)] {
        let mut request = request("referral-access", agency);
        request.filter = Some(consultation::ConsultationFilter {
            kind: consultation::ConsultationKind::Disclosure.into(),
            row: id(referral),
            ..Default::default()
        });
        let auditor = world.auditor(agency);
        let reply = auditor.consultations().list_consultations(request).await.unwrap().into_inner();
        let [entry] = reply.consultations.as_slice() else { panic!("{reply:?}") };
        assert_eq!((entry.owner.as_str(), entry.reader.as_str()), (agency, "platforms/harbourbook"));
        assert_eq!(entry.rows, [id(referral)]);
    }

    // What is not there, or not theirs to see, is no disclosure: nothing was shown.
    let before = world.entries("referral-access", "-").await.len();
    platform
        .referrals()
        .get_referral(get(&referral::Referral {
            name: world.decided.name.replace(&id(&world.decided), &uuid::Uuid::nil().to_string()),
            ..Default::default()
        }))
        .await
        .unwrap_err();
    world.member("agencies/bka", "x").referrals().get_referral(get(&world.decided)).await.unwrap_err();
    // The one more is that of having looked.
    assert_eq!(world.entries("referral-access", "-").await.len(), before);

    // Figures by the digest of the definition that they carry: of an agency's own, of a platform's own, of everybody.
    for (reader, owner) in [
        ("agencies/nca", "agencies/nca"),
        ("platforms/harbourbook", "platforms/harbourbook"),
        ("oversightBodies/hac", ""),
    ] {
        let client = world.member(reader, "f.igures");
        let request = reporting::QueryReportRequest {
            definition: Some(definition("2026-01-01")),
            at_least: world.at_least.clone(),
        };
        let report = client.reports().query_report(request).await.unwrap().into_inner().report.unwrap();
        let entries = world.entries("reporting-access", reader).await;
        let entry = entries.iter().find(|entry| entry.member == "f.igures").unwrap();
        assert_eq!(entry.owner, owner);
        let encoded = prost::Message::encode_to_vec(&report.definition.unwrap());
        assert_eq!(entry.definition_digest, sha256(&encoded));
    }
    world.server.stop().await;
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    portreeve_core::audit::hex(&sha2::Sha256::digest(bytes))
}

/// What a platform received of each agency is what the record says it was sent, at the positions that it names.
async fn a_stream_records_what_it_sends(database: &Database) {
    let world = World::new(database, Options::default()).await;
    let platform = world.member("platforms/harbourbook", "t.s");
    let request = decision::WatchCasesRequest {
        parent: "platforms/harbourbook".into(),
        start: Some(sample::start(Start::Snapshot(true))),
        at_least: world.at_least[..1].to_vec(),
        ..Default::default()
    };
    let mut stream = platform.decisions().watch_cases(request).await.unwrap().into_inner();
    let (mut received, mut at) = (Vec::<(String, i64, bool)>::new(), 0);
    let mut live = false;
    while received.iter().filter(|(.., live)| *live).count() < 20 {
        let message = within(20, "the next message", stream.message()).await.unwrap().unwrap();
        for change in message.changes {
            let case = match change.change.unwrap() {
                decision::case_change::Change::Opened(case)
                | decision::case_change::Change::Decided(case)
                | decision::case_change::Change::Acknowledged(case)
                | decision::case_change::Change::Snapshot(case) => case,
                other => panic!("{other:?}"),
            };
            at = at.max(change.position);
            received.push((case.agency, i64::try_from(change.position).unwrap(), live));
        }
        if message.snapshot_complete {
            live = true;
            for number in 0..20 {
                let agency = if number % 3 == 0 { "bka" } else { "nca" };
                sample::refer(&world.client, agency, "harbourbook", &format!("live {number}")).await;
            }
        }
    }
    for agency in ["agencies/nca", "agencies/bka"] {
        let entries = world.entries("decision-access", agency).await;
        let stretches = entries.iter().filter(|entry| entry.method.ends_with("/WatchCases"));
        let stretches = stretches.map(|entry| entry.stretch.clone().unwrap()).collect::<Vec<_>>();
        assert!(stretches.iter().all(|stretch| stretch.log == "logs/decision"), "{stretches:?}");
        for live in [false, true] {
            let sent = received.iter().filter(|(of, _, when)| of == agency && *when == live).collect::<Vec<_>>();
            let told = stretches.iter().filter(|stretch| stretch.snapshot != live).collect::<Vec<_>>();
            assert!(!sent.is_empty());
            assert_eq!(told.iter().map(|stretch| stretch.rows).sum::<i64>(), i64::try_from(sent.len()).unwrap());
            for (_, position, _) in sent {
                let covers = told.iter().filter(|stretch| {
                    let after = stretch.after_position - i64::from(stretch.snapshot);
                    (after + 1..=stretch.through_position).contains(position)
                });
                assert!(covers.count() > 0, "{agency} {position}: {told:?}");
            }
        }
    }
    assert!(at > 0);
    drop(stream);
    world.server.stop().await;
}
