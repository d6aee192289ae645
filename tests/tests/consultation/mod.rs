//! Who reads what, through the public API: nothing is shown that is not in an access log before, auditors find it there,
//! and nobody audits himself.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod auditors;
mod failure;
mod kill;
mod reads;

use portreeve_api::consultation::v1 as consultation;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_tests::{Client, Database, Options, Server, sample};

/// A suite with referrals of two agencies to one platform, one of them decided.
struct World {
    server: Server,
    client: Client,
    /// Of `nca`, decided.
    decided: referral::Referral,
    /// Of `bka`.
    other: referral::Referral,
    /// What reads must reflect to see all of it.
    at_least: Vec<String>,
}

/// Why the tests read.
const WHY: &str = "Operation Heron";

impl World {
    async fn new(database: &Database, options: Options) -> Self {
        let server = Server::start(database, options).await;
        // Whoever must say why, says it.
        let client = server.client("operators/op");
        sample::register(&client).await;
        let (decided, _) = sample::refer(&client, "nca", "harbourbook", "one").await;
        let (other, revision) = sample::refer(&client, "bka", "harbourbook", "two").await;
        let case = sample::case_of(&decided);
        let mut platform = client.acting("platforms/harbourbook").because(WHY).decisions();
        let seen = decision::GetCaseRequest { name: sample::case_of(&other), at_least: vec![revision.clone()] };
        platform.get_case(seen).await.unwrap();
        let acknowledged = sample::acknowledge("harbourbook", std::slice::from_ref(&case), "received");
        platform.acknowledge_cases(acknowledged).await.unwrap();
        let recorded = platform.record_decision(sample::record(&case, sample::closed(), "closed")).await.unwrap();
        let at_least = vec![revision, recorded.into_inner().revision];
        Self { server, client, decided, other, at_least }
    }

    /// A member of an organisation who says why it reads.
    fn member(&self, organisation: &str, member: &str) -> Client {
        self.client.acting(organisation).member(member).because(WHY)
    }

    fn auditor(&self, organisation: &str) -> Client {
        self.member(organisation, "a.uditor").roles(&["auditor"])
    }

    /// The entries of an access log that are about an organisation, as oversight sees them.
    async fn entries(&self, log: &str, parent: &str) -> Vec<consultation::Consultation> {
        list(&self.member("oversightBodies/hac", "c.lerk"), log, parent).await.consultations
    }
}

fn request(log: &str, parent: &str) -> consultation::ListConsultationsRequest {
    consultation::ListConsultationsRequest {
        log: format!("logs/{log}"),
        parent: parent.to_owned(),
        page_size: 1_000,
        ..consultation::ListConsultationsRequest::default()
    }
}

async fn list(client: &Client, log: &str, parent: &str) -> consultation::ListConsultationsResponse {
    client.consultations().list_consultations(request(log, parent)).await.unwrap().into_inner()
}

/// The identifier of a referral and of its case.
fn id(referral: &referral::Referral) -> String {
    referral.name.rsplit('/').next().unwrap().to_owned()
}

fn get(referral: &referral::Referral) -> referral::GetReferralRequest {
    referral::GetReferralRequest { name: referral.name.clone(), at_least: Vec::new() }
}
