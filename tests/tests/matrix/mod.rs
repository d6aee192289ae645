//! Who sees what: every method of the contract, in every role, on a row of each kind. What comes back is what the tables
//! here say, and a method that is in none of them fails the test.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pages;
mod reads;
mod writes;

use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_core::name::OrganisationKind;
use portreeve_core::principal::Role;
use portreeve_tests::{Client, Database, Part, Refused, Server, refusal, sample};
use uuid::Uuid;

/// A referral with all that rests on it.
#[derive(Clone, Debug)]
struct Row {
    /// Whose it is to the agency that reads, `agencies/bka`.
    what: &'static str,
    agency: String,
    platform: String,
    /// Its identifier and its case's.
    id: Uuid,
    /// Its event in the referral log.
    position: i64,
    /// An agreement of its agency.
    agreement: String,
    /// A draft of its agency, which is no partner's, and its etag.
    draft: (String, String),
    /// Researchers, and a grant of theirs: of the reader's own for the first row, of others for the rest.
    researchers: &'static str,
    grant: String,
}

impl Row {
    fn referral(&self) -> String {
        format!("{}/referrals/{}", self.agency, self.id)
    }

    fn case(&self) -> String {
        format!("{}/cases/{}", self.platform, self.id)
    }

    /// The same, but for what nobody has made.
    fn ghost(&self) -> Self {
        let id = Uuid::from_u128(7);
        let draft = (format!("{}/drafts/{id}", self.agency), self.draft.1.clone());
        Self { id, agreement: format!("agreements/{id}"), grant: format!("grants/{id}"), draft, ..self.clone() }
    }
}

/// What no platform may ever read.
const CONDITIONS: &str = "Not before the first of May";

/// The rows, as they are to the readers, who are of `agencies/bka` and of `platforms/harbourbook`: the reader's own; a
/// partner's, shared under an agreement in force; one that was shared until the agreement ended; and strangers'.
const ROWS: [(&str, &str, &str); 4] = [
    ("own", "bka", "harbourbook"),
    ("shared", "nca", "chirrup"),
    ("shared, then lapsed", "fra", "chirrup"),
    ("foreign", "dea", "chirrup"),
];

/// The suite with a row of each kind, each decided by its platform.
struct World {
    server: Server,
    client: Client,
    rows: Vec<Row>,
    /// What reads must reflect to see all of it: the referral and the decision service.
    at_least: Vec<String>,
}

impl World {
    async fn new(database: &Database) -> Self {
        let (server, clock) = Server::suite_at(database, "2026-01-05T09:00:00Z").await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        for agency in ["fra", "dea"] {
            let request = sample::organisation(&format!("agencies/{agency}"), &[]);
            client.organisations().create_organisation(request).await.unwrap();
        }
        let mut agreements = Vec::new();
        for (parties, until) in
            [(["bka", "nca"], "2027-01-01"), (["bka", "fra"], "2026-02-01"), (["dea", "nca"], "2027-01-01")]
        {
            agreements.push(sample::agree(&client, extendable(parties, until), &parties.join(" ")).await.0);
        }
        let [current, ended, others] = agreements.try_into().unwrap();
        let (mut rows, mut at_least) = (Vec::<Row>::new(), Vec::new());
        let (own, other) = (issue(&client, "researchers/lab").await, issue(&client, "researchers/uni").await);
        for ((what, agency, platform), agreement) in ROWS.into_iter().zip([&current, &current, &ended, &others]) {
            let draft = referral::ReferralDraft {
                handling: Some(referral::Handling {
                    code: portreeve_api::common::v1::HandlingCode::SharingWithConditions.into(),
                    conditions: CONDITIONS.into(),
                    ..referral::Handling::default()
                }),
                ..sample::draft(platform, agency)
            };
            let mut officer = client.acting(&format!("agencies/{agency}")).referrals();
            let reply = officer.create_referral(sample::create(agency, draft, agency)).await.unwrap().into_inner();
            let referred = reply.referral.unwrap();
            let case = sample::case_of(&referred);
            // Its platform reads it, so that there is a reading to audit, and closes it.
            let mut reviewer = client.acting(&format!("platforms/{platform}")).member("t.safety").decisions();
            let get = decision::GetCaseRequest { name: case.clone(), at_least: vec![reply.revision.clone()] };
            reviewer.get_case(get).await.unwrap();
            let acknowledge = sample::acknowledge(platform, std::slice::from_ref(&case), &format!("received {agency}"));
            reviewer.acknowledge_cases(acknowledge).await.unwrap();
            let record = sample::record(&case, sample::closed(), &format!("closed {agency}"));
            let decided = reviewer.record_decision(record).await.unwrap().into_inner();
            let position = server.head(Part::Referral).await;
            let mut author = client.acting(&format!("agencies/{agency}")).member("a.uthor").drafts();
            let written = author.create_draft(sample::write(agency, platform, "unsent")).await.unwrap().into_inner();
            let draft = written.draft.map(|draft| (draft.name, draft.etag)).unwrap();
            at_least = vec![written.revision, decided.revision];
            rows.push(Row {
                what,
                agency: format!("agencies/{agency}"),
                platform: format!("platforms/{platform}"),
                id: referred.name.rsplit('/').next().unwrap().parse().unwrap(),
                position,
                agreement: agreement.clone(),
                draft,
                researchers: if rows.is_empty() { "researchers/lab" } else { "researchers/uni" },
                grant: if rows.is_empty() { own.clone() } else { other.clone() },
            });
        }
        clock.set("2026-03-01T09:00:00Z".parse().unwrap());
        Self { server, client, rows, at_least }
    }

    /// Somebody of the organisation of a kind that reads here, in one role.
    fn reader(&self, kind: OrganisationKind, role: Role) -> Client {
        let organisation = match kind {
            OrganisationKind::Agency => "agencies/bka",
            OrganisationKind::Platform => "platforms/harbourbook",
            OrganisationKind::Oversight => "oversightBodies/hac",
            OrganisationKind::Operator => "operators/op",
            OrganisationKind::Researcher => "researchers/lab",
            OrganisationKind::Service => "services/reporting",
        };
        self.client.acting(organisation).member("r.eader").purpose("investigation").roles(&[role.name()])
    }
}

fn extendable(parties: [&str; 2], until: &str) -> referral::Agreement {
    referral::Agreement { extendable_until: Some(sample::time("2028-01-01")), ..sample::agreement(parties, until) }
}

/// A grant to researchers, as a supervisor issues it.
fn grant(grantee: &str, id: &str) -> reporting::IssueGrantRequest {
    let grant = reporting::Grant {
        grantee: grantee.into(),
        purpose: "How long the undecided wait.".into(),
        end_time: Some(sample::time("2026-12-31")),
        cohort_from_date: "2026-01-01".into(),
        cohort_until_date: "2026-12-31".into(),
        dimensions: vec![reporting::Dimension::Platform.into()],
        small_cell_minimum: 5,
        query_budget: 10,
        ..reporting::Grant::default()
    };
    reporting::IssueGrantRequest {
        grant: Some(grant),
        request_id: sample::request_id(&format!("grant {grantee} {id}")),
    }
}

/// Issues one; gives its name.
async fn issue(client: &Client, grantee: &str) -> String {
    let supervisor = client.acting("oversightBodies/hac").roles(&["supervisor"]);
    let reply = supervisor.grants().issue_grant(grant(grantee, "first")).await.unwrap().into_inner();
    reply.grant.unwrap().name
}

/// Services of which tests of their own say who sees and who changes what: `measures.rs`, `review_flags.rs`, `erasure`,
/// `challenges.rs`, `orders.rs`, `inbox.rs`, `observations.rs`, `operations.rs`, `evidence.rs`, `deconfliction.rs`,
/// `pre_notices.rs` and `publications.rs`.
const ELSEWHERE: [&str; 13] = [
    "/portreeve.referral.v1.DeconflictionService/",
    "/portreeve.referral.v1.PreNoticeService/",
    "/portreeve.referral.v1.EvidenceService/",
    "/portreeve.referral.v1.ObservationService/",
    "/portreeve.referral.v1.OperationService/",
    "/portreeve.decision.v1.ChallengeService/",
    "/portreeve.decision.v1.StayService/",
    "/portreeve.decision.v1.ClockService/",
    "/portreeve.decision.v1.InboxService/",
    "/portreeve.referral.v1.MeasureService/",
    "/portreeve.referral.v1.ReviewFlagService/",
    "/portreeve.referral.v1.RetentionService/",
    "/portreeve.reporting.v1.PublicationService/",
];

/// The methods that the tables are about, by their short names: those that write, or those that read.
fn methods(writes: bool) -> Vec<String> {
    let here = portreeve_tests::raw::methods().into_iter().filter(|method| method.writes == writes);
    let here = here.filter(|method| !ELSEWHERE.iter().any(|service| method.path.starts_with(service)));
    here.map(|method| method.path.rsplit('/').next().unwrap().to_owned()).collect()
}

/// Every role with each kind of organisation that can hold it.
fn readers() -> impl Iterator<Item = (OrganisationKind, Role)> {
    Role::ALL.into_iter().flat_map(|(role, _, kinds, _)| kinds.iter().map(move |kind| (*kind, role)))
}

/// A refusal to its last byte, in whatever order a map's entries were written.
fn bytes_of(status: &tonic::Status) -> (Refused, String, Vec<u8>) {
    let mut bytes = status.details().to_vec();
    bytes.sort_unstable();
    (refusal(status), status.message().to_owned(), bytes)
}
