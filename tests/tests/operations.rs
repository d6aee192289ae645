//! Operations through the public API: who takes part, what belongs to one, and the golden scenario of 455 targets, six agencies and one
//! day (BEL21), of which nobody could say afterwards how many were accounts and how many referrals (BEL22).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use portreeve_api::common::v1::watch_start::Start;
use portreeve_api::common::v1::{Ground, TargetKind};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as wire;
use portreeve_api::reporting::v1 as reporting;
use portreeve_tests::logs::{content, entries};
use portreeve_tests::{Client, Database, Part, Server, on_both_engines, refusal, sample};
use prost::Message as _;
use tokio::task::JoinSet;
use wire::import_result::Result as Imported;
use wire::referral_change::Change;
use wire::{JointAgencyState, OperationState, ReferralLinkKind};

on_both_engines!(
    three_455_targets_six_agencies_and_one_day,
    what_belongs_to_an_operation_is_let_in,
    an_operation_changes_and_ends,
    its_agencies_alone_see_it,
    one_target_is_linked_to_the_first,
    who_leaves_sees_no_more_of_its_figures,
);

const START: &str = "2021-12-16T06:00:00Z";
const DAY: &str = "2021-12-16";

async fn suite(
    database: &Database,
    agencies: &[&str],
) -> (Server, Client, std::sync::Arc<portreeve_tests::ManualClock>) {
    let (server, clock) = Server::suite_at(database, START).await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    for agency in agencies.iter().filter(|agency| !sample::AGENCIES.contains(agency)) {
        let request = sample::organisation(&format!("agencies/{agency}"), &[]);
        client.organisations().create_organisation(request).await.unwrap();
    }
    (server, client, clock)
}

fn named(agency: &str) -> String {
    format!("agencies/{agency}")
}

/// A request to plan an operation of one day.
fn plan(lead: &str, invited: &[&str], id: &str) -> wire::CreateOperationRequest {
    let joint = |agency: &&str| wire::JointAgency { agency: named(agency), ..wire::JointAgency::default() };
    wire::CreateOperationRequest {
        parent: named(lead),
        operation: Some(wire::Operation {
            title: "Heron".into(),
            joint_agencies: invited.iter().map(joint).collect(),
            end_time: Some(sample::time("2021-12-16T20:00:00Z")),
            ..wire::Operation::default()
        }),
        request_id: sample::request_id(&format!("operation {lead} {id}")),
    }
}

fn join(name: &str, agency: &str, id: &str) -> wire::JoinOperationRequest {
    let request_id = sample::request_id(&format!("join {name} {agency} {id}"));
    wire::JoinOperationRequest { name: name.to_owned(), agency: named(agency), request_id }
}

fn leave(name: &str, agency: &str, id: &str) -> wire::LeaveOperationRequest {
    let request_id = sample::request_id(&format!("leave {name} {agency} {id}"));
    wire::LeaveOperationRequest { name: name.to_owned(), agency: named(agency), request_id }
}

/// Plans an operation that others join; gives its name.
async fn joint(client: &Client, agencies: &[&str], id: &str) -> String {
    let (lead, others) = agencies.split_first().unwrap();
    let mut operations = client.acting(&named(lead)).operations();
    let name = operations.create_operation(plan(lead, others, id)).await.unwrap().into_inner().operation.unwrap().name;
    for agency in others {
        let mut operations = client.acting(&named(agency)).operations();
        operations.join_operation(join(&name, agency, id)).await.unwrap();
    }
    name
}

fn within(operation: &str, draft: wire::ReferralDraft) -> wire::ReferralDraft {
    wire::ReferralDraft { operation: operation.to_owned(), ..draft }
}

async fn refer(client: &Client, agency: &str, draft: wire::ReferralDraft, id: &str) -> wire::Referral {
    let mut referrals = client.acting(&named(agency)).referrals();
    referrals.create_referral(sample::create(agency, draft, id)).await.unwrap().into_inner().referral.unwrap()
}

async fn show(client: &Client, agency: &str, name: &str) -> wire::Operation {
    let request = wire::GetOperationRequest { name: name.to_owned(), at_least: Vec::new() };
    client.acting(&named(agency)).operations().get_operation(request).await.unwrap().into_inner().operation.unwrap()
}

/// The first referral with the same target, if a referral has a link to it.
fn first(referral: &wire::Referral) -> Option<&str> {
    let mut links = referral.links.iter().filter(|link| link.kind() == ReferralLinkKind::SameTarget);
    let first = links.next().map(|link| link.referral.as_str());
    assert_eq!(links.next(), None, "one link, to the first");
    first
}

/// A client that reads for the purpose of the agreements, if it is an agency's.
fn reading(client: &Client, reader: &str) -> Client {
    let acting = client.acting(reader);
    if reader.starts_with("agencies/") { acting.purpose("investigation") } else { acting }
}

fn definition(by: &[reporting::Dimension], operation: &str, agencies: &[&str]) -> reporting::ReportDefinition {
    reporting::ReportDefinition {
        cohort_from_date: DAY.into(),
        cohort_until_date: DAY.into(),
        as_of_date: DAY.into(),
        known_at_date: String::new(),
        dimensions: by.iter().map(|dimension| (*dimension).into()).collect(),
        filter: Some(reporting::ReportFilter {
            operations: Some(operation.to_owned()).into_iter().filter(|name| !name.is_empty()).collect(),
            agencies: agencies.iter().map(|agency| named(agency)).collect(),
            ..reporting::ReportFilter::default()
        }),
    }
}

const SIX: [&str; 6] = ["nca", "bka", "kmar", "guardia", "policja", "pbgb"];
const TARGETS: usize = 455;

/// Who names a target: the lead names every one, and of three in ten another agency does, too; of one in fifty a third.
fn who_names(target: usize) -> Vec<usize> {
    let mut agencies = vec![0];
    if target % 10 < 3 {
        agencies.push(1 + target / 10 % 5);
    }
    if target.is_multiple_of(50) {
        agencies.push(1 + (target / 10 + 1) % 5);
    }
    agencies
}

async fn three_455_targets_six_agencies_and_one_day(database: &Database) {
    let (server, client, clock) = suite(database, &SIX).await;
    let clauses = [sample::clause(&client, "harbourbook", "smuggling").await.0];

    // Six agencies agree on a day.
    let operation = joint(&client, &SIX, "belarus").await;
    assert_eq!(show(&client, "kmar", &operation).await.state(), OperationState::Open);

    // Each sends all that it has, in one stream each and all at the same time: the lead 455 accounts at once.
    let mut sending = JoinSet::new();
    for (number, agency) in SIX.into_iter().enumerate() {
        let (client, operation) = (client.clone(), operation.clone());
        sending.spawn(async move {
            let own = (0..TARGETS).filter(|target| who_names(*target).contains(&number));
            let items = own.map(|target| {
                let mut draft = within(&operation, sample::draft("harbourbook", &format!("account-{target}")));
                let place = draft.target.as_mut().unwrap();
                place.kind = TargetKind::Account.into();
                // Each spells the address in its own way.
                place.url = format!("https://harbourbook.example/accounts/{target}?utm_source={agency}");
                wire::ImportItem { request_id: sample::request_id(&format!("{agency} {target}")), draft: Some(draft) }
            });
            let request = wire::ImportReferralsRequest { parent: named(agency), items: items.collect() };
            let count = request.items.len();
            let mut referrals = client.acting(&named(agency)).referrals();
            let mut replies = referrals.import_referrals(tokio_stream::iter([request])).await.unwrap().into_inner();
            let (mut imported, mut revision) = (0, String::new());
            while let Some(reply) = replies.message().await.unwrap() {
                for result in reply.results {
                    match result.result.unwrap() {
                        Imported::Imported(_) => imported += 1,
                        Imported::Error(error) => panic!("{agency}: {error:?}"),
                    }
                }
                revision = reply.revision;
            }
            assert_eq!(imported, count, "{agency}");
            (count, revision)
        });
    }
    let sent = sending.join_all().await;
    let referred = sent.iter().map(|(count, _)| count).sum::<usize>();
    let mut revisions = sent.into_iter().map(|(_, revision)| revision).collect::<Vec<_>>();
    let overlapped = (0..TARGETS).filter(|target| who_names(*target).len() > 1).count();
    assert_eq!((referred, overlapped), (603, 138), "30 % of 455 were named by more than one");
    let size = show(&client, "pbgb", &operation).await;
    assert_eq!((size.referral_count, size.target_count), (603, 455), "the operation says both, each by its name");

    // The platform finds them by the operation, and sees which are of one account.
    let mut platform = client.acting("platforms/harbourbook").decisions();
    let mut cases = Vec::new();
    let mut request = decision::ListCasesRequest {
        parent: "platforms/harbourbook".into(),
        filter: Some(decision::CaseFilter { operations: vec![operation.clone()], ..decision::CaseFilter::default() }),
        page_size: 1_000,
        at_least: revisions.clone(),
        ..decision::ListCasesRequest::default()
    };
    loop {
        let page = platform.list_cases(request.clone()).await.unwrap().into_inner();
        cases.extend(page.cases);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(cases.len(), 603);
    let mut accounts = BTreeMap::<String, Vec<&decision::Case>>::new();
    for case in &cases {
        let account = if case.same_target.is_empty() { &case.referral } else { &case.same_target };
        accounts.entry(account.clone()).or_default().push(case);
    }
    assert_eq!(accounts.len(), 455);
    for of in accounts.values() {
        let places = of.iter().map(|case| &case.target.as_ref().unwrap().canonical_url).collect::<BTreeSet<_>>();
        let agencies = of.iter().map(|case| &case.agency).collect::<BTreeSet<_>>();
        assert_eq!((places.len(), agencies.len()), (1, of.len()), "one account, and each agency once");
    }

    // It answers for 400 accounts: each referral of them, by what it did with the account.
    clock.set("2021-12-16T18:00:00Z".parse().unwrap());
    for (number, cases) in cases.chunks(500).enumerate() {
        let names = cases.iter().map(|case| case.name.clone()).collect::<Vec<_>>();
        let request = sample::acknowledge("harbourbook", &names, &format!("acknowledge {number}"));
        platform.acknowledge_cases(request).await.unwrap();
    }
    let mut answered = 0;
    for (place, of) in accounts.values().take(400).enumerate() {
        for case in of {
            let draft = if place < 300 { sample::closed() } else { sample::permitted(&clauses[0]) };
            let request = sample::record(&case.name, draft, &format!("decide {}", case.name));
            revisions = vec![platform.record_decision(request).await.unwrap().into_inner().revision];
            answered += 1;
        }
    }

    // Oversight reads what came of it. The buckets are of referrals and add up to these; targets are told beside them, and add up too.
    let oversight = client.acting("oversightBodies/hac");
    let by = definition(&[reporting::Dimension::Operation], "", &[]);
    let report = oversight.report(by, &revisions).await.unwrap();
    assert_eq!(report.rows.len(), 1);
    let row = &report.rows[0];
    assert_eq!(row.key[0].value, operation);
    let counts = row.counts.clone().unwrap();
    assert_eq!((counts.referred, counts.targets), (603, 455));
    assert_eq!(counts.closed + counts.not_in_breach + counts.undecided + counts.other, counts.referred);
    assert_eq!(counts.undecided, i64::from(603 - answered));
    let unit = |id: &str| report.definitions.iter().find(|measure| measure.id == id).unwrap().unit.clone();
    assert_eq!((unit("counts.referred"), unit("counts.targets")), ("referrals".into(), "targets".into()));
    let by = definition(&[reporting::Dimension::Disposition], &operation, &[]);
    let report = oversight.report(by, &revisions).await.unwrap();
    let targets = report.rows.iter().map(|row| {
        let counts = row.counts.as_ref().unwrap();
        (row.key[0].value.as_str(), counts.referred, counts.targets)
    });
    let targets = targets.collect::<Vec<_>>();
    assert_eq!(targets.iter().map(|(_, _, targets)| targets).sum::<i64>(), 455);
    let of = |disposition: &str| targets.iter().find(|(name, ..)| *name == disposition).unwrap().2;
    assert_eq!([of("CLOSED"), of("PERMITTED_BY_POLICY"), of("RECEIVED")], [300, 100, 55], "each account once");

    // The agencies joined for this: each reads the figures of all six, and nobody who did not join does.
    let all = definition(&[reporting::Dimension::Agency], &operation, &SIX);
    let report = client.acting("agencies/kmar").report(all.clone(), &revisions).await.unwrap();
    assert_eq!(report.rows.len(), 6);
    let sums = report
        .rows
        .iter()
        .map(|row| row.counts.as_ref().unwrap())
        .fold((0, 0), |(referred, targets), of| (referred + of.referred, targets + of.targets));
    let total = report.total.unwrap().counts.unwrap();
    assert_eq!((sums, (total.referred, total.targets)), ((603, 455), (603, 455)));
    let file = reporting::ExportReportRequest {
        definition: Some(all),
        format: reporting::ExportFormat::Csv.into(),
        at_least: revisions.clone(),
    };
    let mut pieces = client.acting("agencies/kmar").reports().export_report(file).await.unwrap().into_inner();
    let mut csv = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        csv.extend_from_slice(&piece.data);
    }
    let csv = String::from_utf8(csv).unwrap();
    assert!(csv.lines().next().unwrap().ends_with(",targets") && csv.trim_end().ends_with(",455"), "{csv}");

    // The day ends, and with it the operation.
    clock.set("2021-12-16T20:00:00Z".parse().unwrap());
    assert_eq!(show(&client, "nca", &operation).await.state(), OperationState::Closed);
    server.rebuilds(&Part::ALL).await;
}

async fn what_belongs_to_an_operation_is_let_in(database: &Database) {
    let (server, client, clock) = suite(database, &["kmar"]).await;
    let mut lead = client.acting("agencies/nca").operations();
    let mut planned = plan("nca", &["bka"], "planned");
    planned.operation.as_mut().unwrap().start_time = Some(sample::time("2021-12-16T08:00:00Z"));
    let reply = lead.create_operation(planned.clone()).await.unwrap().into_inner();
    let operation = reply.operation.clone().unwrap();
    assert_eq!((operation.state(), operation.title.as_str()), (OperationState::Planned, "Heron"));
    assert_eq!(operation.joint_agencies[0].state(), JointAgencyState::Invited);
    let again = lead.create_operation(planned).await.unwrap().into_inner();
    assert_eq!(again, wire::CreateOperationResponse { replayed: true, ..reply });
    let name = operation.name;

    // Each refusal has one reason, and names the field.
    let no = async |agency: &str, operation: &str, id: &str| {
        let draft = within(operation, sample::draft("harbourbook", id));
        let request = sample::create(agency, draft, &format!("{agency} {id}"));
        let refused = client.acting(&named(agency)).referrals().create_referral(request).await.unwrap_err();
        let refused = refusal(&refused);
        assert_eq!(refused.fields, ["referral.operation"]);
        (refused.reason, refused.metadata.get("state").cloned().unwrap_or_default())
    };
    let nowhere = "agencies/nca/operations/00000000-0000-0000-0000-000000000007";
    let said = |reason: &str, state: &str| (reason.to_owned(), state.to_owned());
    assert_eq!(no("nca", nowhere, "a").await, said("OPERATION_NOT_FOUND", ""));
    assert_eq!(no("kmar", &name, "b").await, said("OPERATION_NOT_FOUND", ""), "who is not invited learns nothing");
    assert_eq!(no("bka", &name, "c").await, said("OPERATION_NOT_JOINED", "INVITED"));
    assert_eq!(no("nca", &name, "d").await, said("OPERATION_NOT_OPEN", "PLANNED"));
    let mut bka = client.acting("agencies/bka").operations();
    let joined = bka.join_operation(join(&name, "bka", "one")).await.unwrap().into_inner();
    assert_eq!(joined.operation.unwrap().joint_agencies[0].state(), JointAgencyState::Joined);
    assert_eq!(no("bka", &name, "e").await, said("OPERATION_NOT_OPEN", "PLANNED"));

    // Once it is open, in every way in which an agency refers.
    clock.set("2021-12-16T08:00:00Z".parse().unwrap());
    let sent = refer(&client, "bka", within(&name, sample::draft("harbourbook", "one")), "one").await;
    assert_eq!(sent.operation, name);
    let mut nca = client.acting("agencies/nca").referrals();
    let drafts = ["two", "three"].map(|tag| within(&name, sample::draft("harbourbook", tag))).to_vec();
    let batch = wire::BatchCreateReferralsRequest {
        parent: "agencies/nca".into(),
        drafts,
        request_id: sample::request_id("batch"),
    };
    let sent = nca.batch_create_referrals(batch).await.unwrap().into_inner().referrals;
    assert!(sent.iter().all(|referral| referral.operation == name));
    let mut author = client.acting("agencies/nca").member("a.uthor").drafts();
    let mut request = sample::write("nca", "harbourbook", "four");
    request.referral.as_mut().unwrap().operation.clone_from(&name);
    let draft = author.create_draft(request).await.unwrap().into_inner().draft.unwrap();
    assert_eq!(draft.referral.as_ref().unwrap().operation, name);
    let mut approver = client.acting("agencies/nca").member("a.pprover").drafts();
    let sent = approver.authorise_draft(sample::authorise(&draft, "four")).await.unwrap().into_inner();
    assert_eq!(sent.referral.unwrap().operation, name);
    let size = show(&client, "bka", &name).await;
    assert_eq!((size.referral_count, size.target_count), (4, 4));

    // What was referred before outside it stays outside it, and the answer says so.
    let outside = refer(&client, "nca", sample::draft("harbourbook", "five"), "outside").await;
    let again = refer(&client, "nca", within(&name, sample::draft("harbourbook", "five")), "inside").await;
    assert_eq!((again.name.as_str(), again.operation.as_str()), (outside.name.as_str(), ""));

    // Whoever has left refers no more in it, until it joins again; and nobody once it is over.
    let left = bka.leave_operation(leave(&name, "bka", "one")).await.unwrap().into_inner().operation.unwrap();
    assert_eq!(left.joint_agencies[0].state(), JointAgencyState::Left);
    assert_eq!(no("bka", &name, "f").await, said("OPERATION_NOT_JOINED", "LEFT"));
    bka.join_operation(join(&name, "bka", "two")).await.unwrap();
    refer(&client, "bka", within(&name, sample::draft("harbourbook", "six")), "six").await;
    clock.set("2021-12-16T20:00:00Z".parse().unwrap());
    assert_eq!(no("nca", &name, "g").await, said("OPERATION_NOT_OPEN", "CLOSED"));
    let item = wire::ImportItem {
        request_id: sample::request_id("item"),
        draft: Some(within(&name, sample::draft("harbourbook", "late"))),
    };
    let request = wire::ImportReferralsRequest { parent: "agencies/nca".into(), items: vec![item] };
    let mut replies = nca.import_referrals(tokio_stream::iter([request])).await.unwrap().into_inner();
    let result = replies.message().await.unwrap().unwrap().results.remove(0);
    assert!(matches!(result.result, Some(Imported::Error(error)) if error.message.contains("closed since")));
    server.rebuilds(&[Part::Referral]).await;
}

async fn an_operation_changes_and_ends(database: &Database) {
    let (server, client, clock) = suite(database, &["kmar"]).await;
    let name = joint(&client, &["nca", "bka"], "one").await;
    let mut lead = client.acting("agencies/nca").operations();
    let before = show(&client, "nca", &name).await;
    let update = |id: &str| wire::UpdateOperationRequest {
        name: name.clone(),
        request_id: sample::request_id(&format!("update {id}")),
        ..wire::UpdateOperationRequest::default()
    };
    let request = wire::UpdateOperationRequest {
        title: "Grey heron".into(),
        invite: vec!["agencies/kmar".into(), "agencies/bka".into()],
        end_time: Some(sample::time("2021-12-17T20:00:00Z")),
        etag: before.etag.clone(),
        ..update("all")
    };
    let changed = lead.update_operation(request.clone()).await.unwrap().into_inner().operation.unwrap();
    assert_eq!((changed.title.as_str(), changed.joint_agencies.len()), ("Grey heron", 2));
    assert_eq!(changed.joint_agencies[0].state(), JointAgencyState::Joined, "who was invited stays as it was");
    assert_eq!(changed.end_time, request.end_time);
    // What was said already changes nothing; what rests on an older version is refused.
    let head = server.head(Part::Referral).await;
    let same =
        wire::UpdateOperationRequest { etag: String::new(), request_id: sample::request_id("same"), ..request.clone() };
    assert_eq!(lead.update_operation(same).await.unwrap().into_inner().operation.unwrap(), changed);
    assert_eq!(server.head(Part::Referral).await, head);
    let stale = wire::UpdateOperationRequest { title: "Bittern".into(), etag: before.etag, ..update("stale") };
    assert_eq!(refusal(&lead.update_operation(stale).await.unwrap_err()).reason, "STALE_VERSION");
    let begun =
        wire::UpdateOperationRequest { start_time: Some(sample::time("2021-12-16T09:00:00Z")), ..update("begun") };
    assert_eq!(refusal(&lead.update_operation(begun).await.unwrap_err()).reason, "INVALID_TRANSITION");
    let ended =
        wire::UpdateOperationRequest { end_time: Some(sample::time("2021-12-16T05:00:00Z")), ..update("ended") };
    let refused = refusal(&lead.update_operation(ended).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), refused.fields), ("REQUEST_INVALID", vec!["end_time".to_owned()]));
    let nobody = wire::UpdateOperationRequest { invite: vec!["agencies/nobody".into()], ..update("nobody") };
    assert_eq!(refusal(&lead.update_operation(nobody).await.unwrap_err()).reason, "ORGANISATION_NOT_FOUND");
    // The lead does not leave, and another does not act for it.
    let refused = refusal(&lead.leave_operation(leave(&name, "nca", "lead")).await.unwrap_err());
    assert_eq!((refused.reason.as_str(), refused.fields), ("REQUEST_INVALID", vec!["agency".to_owned()]));
    let close = |id: &str| wire::CloseOperationRequest {
        name: name.clone(),
        request_id: sample::request_id(&format!("close {id}")),
    };
    let mut bka = client.acting("agencies/bka").operations();
    assert_eq!(refusal(&bka.close_operation(close("bka")).await.unwrap_err()).reason, "PERMISSION_DENIED");
    let officer = client.acting("agencies/nca").roles(&["officer"]);
    assert_eq!(
        refusal(&officer.operations().close_operation(close("officer")).await.unwrap_err()).reason,
        "PERMISSION_DENIED"
    );
    // It is closed once; then nobody joins, and nothing of it changes, but that one leaves.
    clock.set("2021-12-16T10:00:00Z".parse().unwrap());
    let closed = lead.close_operation(close("one")).await.unwrap().into_inner().operation.unwrap();
    assert_eq!(
        (closed.state(), closed.closed_at),
        (OperationState::Closed, Some(sample::time("2021-12-16T10:00:00Z")))
    );
    assert_eq!(lead.close_operation(close("two")).await.unwrap().into_inner().operation.unwrap(), closed);
    let mut kmar = client.acting("agencies/kmar").operations();
    assert_eq!(
        refusal(&kmar.join_operation(join(&name, "kmar", "late")).await.unwrap_err()).reason,
        "INVALID_TRANSITION"
    );
    let late = wire::UpdateOperationRequest { title: "Bittern".into(), ..update("late") };
    assert_eq!(refusal(&lead.update_operation(late).await.unwrap_err()).reason, "INVALID_TRANSITION");
    bka.leave_operation(leave(&name, "bka", "after")).await.unwrap();
    server.rebuilds(&[Part::Referral]).await;
    // Everything wrong with a new one is told at once.
    let mut wrong = plan("nca", &["nca", "bka", "bka"], "wrong");
    let operation = wrong.operation.as_mut().unwrap();
    (operation.title, operation.end_time) = ("  ".into(), None);
    let refused = refusal(&lead.create_operation(wrong).await.unwrap_err());
    let fields = ["title", "end_time", "joint_agencies[0].agency", "joint_agencies[2].agency"];
    assert_eq!(refused.fields, fields.map(|field| format!("operation.{field}")));
}

async fn its_agencies_alone_see_it(database: &Database) {
    let (_server, client, _clock) = suite(database, &["kmar"]).await;
    // bka takes part; kmar does not, and has an agreement with nca on everything.
    let shared_since = Some(sample::time("2020-01-01"));
    let agreement = wire::Agreement { shared_since, ..sample::agreement(["nca", "kmar"], "2030-01-01") };
    sample::agree(&client, agreement, "all").await;
    let name = joint(&client, &["nca", "bka"], "one").await;
    let sent = refer(&client, "nca", within(&name, sample::draft("harbourbook", "one")), "one").await;
    let mut bka = client.acting("agencies/bka").referrals();
    let request = sample::create("bka", within(&name, sample::draft("harbourbook", "one")), "one too");
    let again = bka.create_referral(request).await.unwrap().into_inner();
    let (again, at_least) = (again.referral.unwrap(), vec![again.revision]);
    assert_eq!(first(&again), Some(sent.name.as_str()));

    // Read by its name, listed, and told of.
    let readers = ["agencies/nca", "agencies/bka", "agencies/kmar", "platforms/harbourbook"];
    for reader in readers {
        let agency = reader.strip_prefix("agencies/");
        let its_own = ["agencies/nca", "agencies/bka"].contains(&reader);
        let acting = reading(&client, reader);
        let request = wire::GetOperationRequest { name: name.clone(), at_least: Vec::new() };
        let got = acting.operations().get_operation(request).await.map(|reply| reply.into_inner().operation.unwrap());
        let request = wire::ListOperationsRequest { parent: "agencies/nca".into(), ..Default::default() };
        let listed = acting.operations().list_operations(request).await;
        match (&got, its_own, agency) {
            (Ok(operation), true, _) => assert_eq!((operation.referral_count, operation.target_count), (2, 1)),
            (Err(refused), false, Some(_)) => assert_eq!(refusal(refused).reason, "OPERATION_NOT_FOUND"),
            (Err(refused), false, None) => assert_eq!(refusal(refused).reason, "PERMISSION_DENIED"),
            other => panic!("{reader}: {other:?}"),
        }
        assert_eq!(listed.is_ok(), reader == "agencies/nca", "{reader}: those of another are another's");
        let told = |changes: Vec<wire::ReferralChange>| {
            let of = changes.into_iter().filter_map(|change| match change.change {
                Some(Change::OperationChanged(of) | Change::OperationSnapshot(of)) => Some(of.title),
                _ => None,
            });
            of.count()
        };
        let changes = acting.changes("agencies/-", Start::Earliest(true), None).await;
        let snapshot = acting.changes("agencies/-", Start::Snapshot(true), None).await;
        assert_eq!((told(changes), told(snapshot)), if its_own { (2, 1) } else { (0, 0) }, "{reader}");
    }
    // Oversight reads no rows at all, and of operations no more than others' figures.
    let hac = client.acting("oversightBodies/hac");
    let request = wire::GetOperationRequest { name: name.clone(), at_least: Vec::new() };
    assert_eq!(refusal(&hac.operations().get_operation(request).await.unwrap_err()).reason, "PERMISSION_DENIED");
    // The log's entries say it to its lead alone.
    for (reader, seen) in
        [("agencies/nca", 2), ("oversightBodies/hac", 0), ("agencies/bka", 0), ("platforms/harbourbook", 0)]
    {
        let entries = entries(&client.acting(reader), "logs/referral").await;
        let said =
            entries.iter().filter_map(content).map(|entry| wire::ReferralChange::decode(entry.body).unwrap().change);
        let of = said.filter(|change| matches!(change, Some(Change::OperationChanged(_))));
        assert_eq!(of.count(), seen, "{reader}");
    }

    // That a referral belongs to it, and to which it is linked, its agency and the platform see; partners see neither.
    let filter = || wire::ReferralFilter { operations: vec![name.clone()], ..wire::ReferralFilter::default() };
    for (reader, whole) in readers.into_iter().zip([1, 1, 0, 2]) {
        let acting = reading(&client, reader);
        let request =
            wire::ListReferralsRequest { parent: "agencies/-".into(), filter: Some(filter()), ..Default::default() };
        let found = acting.referrals().list_referrals(request).await.unwrap().into_inner().referrals;
        assert_eq!(found.len(), whole, "{reader}");
        let streamed = acting.changes("agencies/-", Start::Earliest(true), Some(filter())).await;
        assert_eq!(streamed.len(), whole, "{reader}");
        let request = wire::ListReferralsRequest { parent: "agencies/-".into(), ..Default::default() };
        let all = acting.referrals().list_referrals(request).await.unwrap().into_inner().referrals;
        assert!(all.iter().all(|of| (of.operation == name) == (whole > 0)), "{reader}: {all:?}");
        assert!(all.iter().all(|of| first(of).is_none() || whole > 0), "{reader}");
        let cases = decision::ListCasesRequest {
            parent: "platforms/-".into(),
            filter: Some(decision::CaseFilter { operations: vec![name.clone()], ..decision::CaseFilter::default() }),
            at_least: at_least.clone(),
            ..decision::ListCasesRequest::default()
        };
        let cases = acting.decisions().list_cases(cases).await.unwrap().into_inner().cases;
        assert_eq!(cases.len(), whole, "{reader}");
    }
    let mut kmar = reading(&client, "agencies/kmar").decisions();
    let request = decision::ListCasesRequest { parent: "platforms/-".into(), ..Default::default() };
    let shared = kmar.list_cases(request).await.unwrap().into_inner().cases;
    assert_eq!(shared.len(), 1);
    assert_eq!((shared[0].operation.as_str(), shared[0].same_target.as_str()), ("", ""));
    // Nor do figures tell partners of it.
    let asked = definition(&[reporting::Dimension::Operation], "", &["nca", "kmar"]);
    let kmar = reading(&client, "agencies/kmar");
    let refused = refusal(&kmar.report(asked, &at_least).await.unwrap_err());
    assert_eq!(
        (refused.reason.as_str(), refused.fields),
        ("AGREEMENT_EXCEEDED", vec!["definition.filter.agencies".into()])
    );
    let plain = definition(&[], "", &["nca", "kmar"]);
    assert_eq!(kmar.report(plain, &at_least).await.unwrap().total.unwrap().counts.unwrap().referred, 1);
}

async fn one_target_is_linked_to_the_first(database: &Database) {
    let (server, client, _clock) = suite(database, &["kmar"]).await;
    let name = joint(&client, &["nca", "bka", "kmar"], "one").await;
    let other = joint(&client, &["nca", "bka"], "two").await;
    let at = |path: &str, tag: &str| {
        let mut draft = sample::draft("harbourbook", tag);
        draft.target.as_mut().unwrap().url = format!("https://harbourbook.example{path}");
        draft
    };
    let one = refer(&client, "nca", within(&name, at("/pages/1", "one")), "one").await;
    assert_eq!(first(&one), None);
    // Whoever spells it how, and for whatever: to the first, not to the one before.
    let two = refer(&client, "bka", within(&name, at("/pages/%31?utm_source=x", "two")), "two").await;
    assert_eq!(first(&two), Some(one.name.as_str()));
    assert_eq!(two.links[0].platform, "platforms/harbourbook");
    let forged = wire::ReferralDraft { ground: Ground::ForgedDocuments.into(), ..at("/pages/1", "three") };
    let three = refer(&client, "nca", within(&name, forged), "three").await;
    assert_eq!(first(&three), Some(one.name.as_str()), "the agency's own for another ground, too");
    // Another operation, no operation, another place and another platform are others.
    for (number, draft) in [
        within(&other, at("/pages/1", "four")),
        at("/pages/2", "five"),
        within(&name, at("/pages/3", "six")),
        within(&name, sample::draft("chirrup", "1")),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            first(
                &refer(
                    &client,
                    "bka",
                    wire::ReferralDraft { ground: Ground::ForgedDocuments.into(), ..draft },
                    &format!("other {number}")
                )
                .await
            ),
            None
        );
    }
    // Of one batch the second is linked to the first.
    let second = wire::ReferralDraft { ground: Ground::ForgedDocuments.into(), ..at("/pages/9", "second") };
    let request = wire::BatchCreateReferralsRequest {
        parent: "agencies/kmar".into(),
        drafts: [at("/pages/9", "first"), second, at("/pages/1", "known")].map(|draft| within(&name, draft)).to_vec(),
        request_id: sample::request_id("batch"),
    };
    let mut kmar = client.acting("agencies/kmar").referrals();
    let sent = kmar.batch_create_referrals(request).await.unwrap().into_inner().referrals;
    assert_eq!([0, 1, 2].map(|at| first(&sent[at])), [None, Some(sent[0].name.as_str()), Some(one.name.as_str())]);
    // The agency itself never says so.
    let link = wire::ReferralLink {
        kind: ReferralLinkKind::SameTarget.into(),
        referral: one.name.clone(),
        ..Default::default()
    };
    let claimed = wire::ReferralDraft { links: vec![link], ..at("/pages/8", "claimed") };
    let mut nca = client.acting("agencies/nca").referrals();
    let refused = refusal(&nca.create_referral(sample::create("nca", claimed, "claimed")).await.unwrap_err());
    assert_eq!(refused.fields, ["referral.links[0].kind"]);
    // It goes on with nothing: what an agency refers again is still a duplicate of its own.
    let again = refer(&client, "bka", within(&name, at("/pages/1", "again")), "again").await;
    assert_eq!((again.name.as_str(), first(&again)), (two.name.as_str(), Some(one.name.as_str())));
    // The first stays the first when it is taken back; once its target is erased, nobody knows that it was there.
    nca.withdraw_referral(sample::withdraw(&one.name, "withdraw")).await.unwrap();
    let solicited = wire::ReferralDraft { ground: Ground::SolicitationOfService.into(), ..at("/pages/1", "four") };
    let four = refer(&client, "kmar", within(&name, solicited), "four").await;
    assert_eq!(first(&four), Some(one.name.as_str()));
    let request = wire::EraseReferralRequest {
        name: one.name.clone(),
        field_groups: vec![wire::FieldGroup::Target.into()],
        reason: "The person asked for it.".into(),
        request_id: sample::request_id("erase"),
    };
    client.acting("agencies/nca").retention().erase_referral(request).await.unwrap();
    let people = wire::ReferralDraft { ground: Ground::SolicitationOfService.into(), ..at("/pages/1", "five") };
    assert_eq!(first(&refer(&client, "bka", within(&name, people), "five").await), None);
    let size = show(&client, "nca", &name).await;
    assert_eq!((size.referral_count, size.target_count), (10, 5));
    server.rebuilds(&[Part::Referral]).await;
}

async fn who_leaves_sees_no_more_of_its_figures(database: &Database) {
    let (_server, client, _clock) = suite(database, &["kmar"]).await;
    let name = joint(&client, &["nca", "bka"], "one").await;
    let mut revisions = Vec::new();
    for agency in ["nca", "bka"] {
        let mut referrals = client.acting(&named(agency)).referrals();
        let draft = within(&name, sample::draft("harbourbook", "one"));
        let reply = referrals.create_referral(sample::create(agency, draft, &format!("one {agency}"))).await.unwrap();
        revisions = vec![reply.into_inner().revision];
    }
    let both = || definition(&[], &name, &["nca", "bka"]);
    let counts = async |agency: &str, definition: reporting::ReportDefinition, at_least: &[String]| {
        let report = client.acting(&named(agency)).report(definition, at_least).await?;
        let counts = report.total.unwrap().counts.unwrap();
        Ok::<_, tonic::Status>((counts.referred, counts.targets))
    };
    assert_eq!(counts("bka", both(), &revisions).await.unwrap(), (2, 1));
    // Who names nobody counts its own; who names no operation, nothing of others; and who did not join, neither.
    assert_eq!(counts("bka", definition(&[], &name, &[]), &revisions).await.unwrap(), (1, 0));
    let refused = refusal(&counts("bka", definition(&[], "", &["nca"]), &revisions).await.unwrap_err());
    assert_eq!(refused.reason, "PERMISSION_DENIED");
    let refused = refusal(&counts("kmar", definition(&[], &name, &["nca"]), &revisions).await.unwrap_err());
    assert_eq!(refused.reason, "PERMISSION_DENIED");
    let present = reporting::ReportDefinition { as_of_date: String::new(), ..both() };
    let request = reporting::WatchReportRequest {
        definition: Some(present),
        start: Some(reporting::watch_report_request::Start::Snapshot(true)),
        at_least: revisions.clone(),
    };
    let mut live = client.acting("agencies/bka").reports().watch_report(request).await.unwrap().into_inner();
    assert!(live.message().await.unwrap().is_some());
    let mut bka = client.acting("agencies/bka").operations();
    let left = vec![bka.leave_operation(leave(&name, "bka", "one")).await.unwrap().into_inner().revision];
    let refused = refusal(&counts("bka", both(), &left).await.unwrap_err());
    assert_eq!(refused.reason, "PERMISSION_DENIED");
    let ended = portreeve_tests::within(30, "the stream of who has left", async {
        loop {
            match live.message().await {
                Ok(message) => assert!(message.is_some(), "it does not just end"),
                Err(status) => break status,
            }
        }
    });
    assert_eq!(refusal(&ended.await).reason, "PERMISSION_DENIED");
    // What it referred stays in it, for those who take part.
    assert_eq!(counts("nca", both(), &left).await.unwrap(), (2, 1));
}
