//! Recurrence through the public API and the command line: what is closed comes back as another target of the same network, and
//! the agency's figures say how often and how soon.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use portreeve_api::common::v1::TargetKind;
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as wire;
use portreeve_tests::{Client, Database, ManualClock, Part, Server, on_both_engines, process, refusal, sample};
use referral::{ObservationFinding, ReferralLinkKind};
use tonic::Status;

on_both_engines!(
    what_is_closed_comes_back,
    networks_come_in_pages,
    who_may_see_networks,
    what_is_wrong_is_told_at_once,
    a_database_of_before_is_read_again,
);

struct World {
    server: Server,
    clock: Arc<ManualClock>,
    client: Client,
    /// What the reports are to reflect.
    at_least: [String; 2],
}

impl World {
    async fn new(database: &Database) -> Self {
        let (server, clock) = Server::suite_at(database, "2020-03-02T09:00:00Z").await;
        let client = server.client("operators/op");
        let registered = sample::register(&client).await;
        Self { server, clock, client, at_least: [registered, String::new()] }
    }

    fn on(&self, day: &str) {
        self.clock.set(format!("{day}T09:00:00Z").parse().unwrap());
    }

    fn nca(&self) -> Client {
        self.client.acting("agencies/nca")
    }

    /// Refers an account, linked to others.
    async fn refer(&mut self, platform: &str, tag: &str, links: &[(ReferralLinkKind, &str)]) -> referral::Referral {
        let mut draft = sample::draft(platform, tag);
        draft.target.as_mut().unwrap().kind = TargetKind::Account.into();
        draft.links = links
            .iter()
            .map(|(kind, other)| referral::ReferralLink {
                kind: (*kind).into(),
                referral: (*other).into(),
                ..referral::ReferralLink::default()
            })
            .collect();
        let reply = self
            .nca()
            .referrals()
            .create_referral(sample::create("nca", draft, &format!("{tag} {links:?}")))
            .await
            .unwrap()
            .into_inner();
        self.at_least[0] = reply.revision;
        reply.referral.unwrap()
    }

    async fn decide(&mut self, referral: &referral::Referral, draft: decision::DecisionDraft, id: &str) {
        let case = sample::case_of(referral);
        let platform = referral.platform.strip_prefix("platforms/").unwrap();
        let mut decisions = self.client.acting(&referral.platform).decisions();
        let get = decision::GetCaseRequest { name: case.clone(), at_least: vec![self.at_least[0].clone()] };
        decisions.get_case(get).await.unwrap();
        let cases = [case.clone()];
        decisions.acknowledge_cases(sample::acknowledge(platform, &cases, &format!("ack {case}"))).await.unwrap();
        let reply = decisions.record_decision(sample::record(&case, draft, &format!("{id} {case}"))).await.unwrap();
        self.at_least[1] = reply.into_inner().revision;
    }

    /// The content of a referral is there again, as another referral if one is named.
    async fn reappeared(&mut self, referral: &referral::Referral, again: &str) {
        let mut request = sample::observation(&referral.name, ObservationFinding::Reappeared, again);
        let draft = request.observation.as_mut().unwrap();
        draft.reappeared_as = Some(referral::Target {
            kind: TargetKind::Account.into(),
            url: "https://chirrup.example/accounts/again".into(),
            ..referral::Target::default()
        });
        draft.reappeared_referral = again.into();
        let reply = self.nca().observations().record_observation(request).await.unwrap().into_inner();
        self.at_least[0] = reply.revision;
    }

    async fn link(&mut self, name: &str, other: &str) {
        let request = referral::LinkReferralsRequest {
            name: name.into(),
            same_network: vec![other.into()],
            request_id: sample::request_id(&format!("link {name} {other}")),
        };
        let reply = self.nca().referrals().link_referrals(request).await.unwrap().into_inner();
        self.at_least[0] = reply.revision;
    }

    fn request(&self, as_of: &str, known_at: &str) -> wire::QueryRecurrenceRequest {
        wire::QueryRecurrenceRequest {
            parent: "agencies/nca".into(),
            as_of_date: as_of.into(),
            known_at_date: known_at.into(),
            at_least: self.at_least.iter().filter(|revision| !revision.is_empty()).cloned().collect(),
            ..wire::QueryRecurrenceRequest::default()
        }
    }

    async fn ask(
        &self,
        organisation: &str,
        request: wire::QueryRecurrenceRequest,
    ) -> Result<wire::QueryRecurrenceResponse, Status> {
        let mut reports = self.client.acting(organisation).reports();
        reports.query_recurrence(request).await.map(tonic::Response::into_inner)
    }

    async fn recurrence(&self, as_of: &str, known_at: &str) -> wire::QueryRecurrenceResponse {
        self.ask("agencies/nca", self.request(as_of, known_at)).await.unwrap()
    }

    /// A network of three accounts on two platforms: two are closed on 10 March, one comes back on the 15th as a third.
    async fn network(&mut self) -> [referral::Referral; 4] {
        let first = self.refer("chirrup", "first", &[]).await;
        let second = self.refer("harbourbook", "second", &[(ReferralLinkKind::SameNetwork, &first.name)]).await;
        // Referred again, it is the same account.
        let again = self.refer("chirrup", "first", &[(ReferralLinkKind::Follows, &first.name)]).await;
        self.on("2020-03-10");
        self.decide(&first, sample::closed(), "close").await;
        self.decide(&second, sample::closed(), "close").await;
        self.on("2020-03-15");
        let third = self.refer("chirrup", "third", &[]).await;
        self.reappeared(&first, &third.name).await;
        [first, second, again, third]
    }
}

/// Referrals, targets, accounts, platforms, closed, reappeared.
fn counts(figures: Option<&wire::NetworkFigures>) -> [u64; 6] {
    let it = figures.unwrap();
    [it.referrals, it.targets, it.accounts, it.platforms, it.closed, it.reappeared]
}

/// How many took effect and came back, and the two medians.
fn times(figures: Option<&wire::NetworkFigures>) -> (u64, u64, Option<u32>, Option<u32>) {
    let it = figures.unwrap().times.unwrap();
    (it.n, it.reappeared, it.reappeared_only_median_days, it.censored_median_days)
}

async fn what_is_closed_comes_back(database: &Database) {
    let mut world = World::new(database).await;
    // What is linked to nothing, or merely referred again, is no network.
    let lone = world.refer("chirrup", "lone", &[]).await;
    world.refer("chirrup", "lone", &[(ReferralLinkKind::Supersedes, &lone.name)]).await;
    assert_eq!(world.recurrence("2020-03-02", "").await.network_count, 0);
    let [first, second, again, third] = world.network().await;
    world.on("2020-03-20");

    let all = world.recurrence("2020-03-20", "").await;
    assert_eq!((all.network_count, all.networks.len(), all.next_page_token.as_str()), (1, 1, ""));
    let network = &all.networks[0];
    // Three of one day, so that the name decides which is the first.
    let leader = [&first, &second, &again].map(|referral| referral.name.as_str()).into_iter().min().unwrap();
    assert_eq!(network.first_referral, leader);
    assert_eq!(
        (network.first_referred_date.as_str(), network.last_referred_date.as_str()),
        ("2020-03-02", "2020-03-15")
    );
    assert_eq!(counts(network.figures.as_ref()), [4, 3, 3, 2, 2, 1]);
    // One came back after five days, and one has stayed away for ten: half are back within five.
    assert_eq!(times(network.figures.as_ref()), (2, 1, Some(5), Some(5)));
    assert_eq!(all.total, network.figures);
    assert!(!all.settled);
    // As of the day before it came back, and as known on the day of the closures.
    let before = world.recurrence("2020-03-14", "").await;
    assert_eq!(counts(before.total.as_ref()), [3, 2, 2, 2, 2, 0]);
    assert_eq!(times(before.total.as_ref()), (2, 0, None, None));
    let known = world.recurrence("2020-03-20", "2020-03-09").await;
    assert_eq!((counts(known.total.as_ref()), known.settled), ([3, 2, 2, 2, 0, 0], true));
    assert_eq!(times(known.total.as_ref()), (0, 0, None, None));

    // The closed counts are those of the report.
    let definition = wire::ReportDefinition {
        cohort_from_date: "2020-01-01".into(),
        cohort_until_date: "2020-12-31".into(),
        as_of_date: "2020-03-20".into(),
        ..wire::ReportDefinition::default()
    };
    let report = world.nca().report(definition, &world.at_least).await.unwrap();
    assert_eq!(report.total.unwrap().counts.unwrap().closed, 2);

    // What comes to light later joins two networks, from the day on which it is linked.
    let fourth = world.refer("lensgram", "fourth", &[(ReferralLinkKind::SameNetwork, &lone.name)]).await;
    assert_eq!(world.recurrence("2020-03-20", "").await.network_count, 2);
    world.on("2020-03-21");
    world.link(&fourth.name, &third.name).await;
    // Told once more, with another, it is the same link.
    world.link(&fourth.name, &second.name).await;
    assert_eq!(world.recurrence("2020-03-20", "").await.network_count, 2);
    let joined = world.recurrence("2020-03-21", "").await;
    assert_eq!((joined.network_count, counts(joined.total.as_ref())), (1, [7, 5, 5, 3, 2, 1]));
    // What is put back stays away no more, and what was closed on the 10th had been away for eleven days then.
    let back =
        sample::later(decision::DecisionKind::Reinstated, sample::decided(decision::Outcome::NoActionImpossible));
    world.decide(&second, back, "reinstate").await;
    world.on("2020-04-30");
    let later = world.recurrence("2020-04-30", "").await;
    assert_eq!((counts(later.total.as_ref())[4], times(later.total.as_ref())), (1, (2, 1, Some(5), Some(5))));
    // Where it is seen again nowhere else, it is seen again all the same.
    world.reappeared(&second, "").await;
    assert_eq!(counts(world.recurrence("2020-04-30", "").await.total.as_ref())[5], 2);
    assert_eq!(times(world.recurrence("2020-04-30", "").await.total.as_ref()).1, 1, "it was not closed any more");

    let rows = world.server.dump(Part::Reporting).await;
    world.server.rebuild(Part::Reporting).await;
    assert_eq!(world.server.dump(Part::Reporting).await, rows, "rebuilt from the log, nothing changes");
    let url = world.server.url();
    let arguments = ["recurrence", "agencies/nca", "--as-of", "2020-03-20", "--as", "agencies/nca", "--server", &url];
    let (code, said) = process::run(Path::new("."), &arguments);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(leader) && said.contains("All 2 networks"), "{said}");
    // In April nothing was referred, and nothing closed: what was put back in March came into another bucket then.
    for (month, counts) in [("2020-03", "7  2  0  1"), ("2020-04", "0  0  0  0")] {
        let arguments =
            ["flow", "--in", month, "--cohort", "2020-01..2020-12", "--as", "agencies/nca", "--server", &url];
        let (code, said) = process::run(Path::new("."), &arguments);
        assert_eq!(code, 0, "{said}");
        let total = said.lines().find(|line| line.contains("Total")).unwrap();
        assert_eq!(total.split_whitespace().skip(1).collect::<Vec<_>>().join("  "), counts, "{said}");
    }
    world.server.stop().await;
}

async fn networks_come_in_pages(database: &Database) {
    let mut world = World::new(database).await;
    let mut sizes = vec![];
    for network in 0..5 {
        let mut names = vec![world.refer("chirrup", &format!("first {network}"), &[]).await.name];
        let size = [2, 4, 2, 3, 2][network];
        for number in 1..size {
            let link = [(ReferralLinkKind::SameNetwork, names[0].as_str())];
            let linked = world.refer("chirrup", &format!("{network}-{number}"), &link).await;
            names.push(linked.name);
        }
        // All of one day, so that the name decides which is the first.
        sizes.push((size, names.into_iter().min().unwrap()));
    }
    sizes.sort_by(|a, b| (b.0, &a.1).cmp(&(a.0, &b.1)));
    for page_size in [1, 2, 5] {
        let mut request = wire::QueryRecurrenceRequest { page_size, ..world.request("2020-03-02", "") };
        let mut found = vec![];
        loop {
            let reply = world.ask("agencies/nca", request.clone()).await.unwrap();
            assert_eq!((reply.network_count, reply.total.unwrap().referrals), (5, 13));
            found.extend(reply.networks.into_iter().map(|it| (it.figures.unwrap().referrals, it.first_referral)));
            if reply.next_page_token.is_empty() {
                break;
            }
            request.page_token = reply.next_page_token;
        }
        assert_eq!(found, sizes, "{page_size} on a page");
    }
    // A token belongs to its question and to who asked it.
    let first =
        world.ask("agencies/nca", wire::QueryRecurrenceRequest { page_size: 1, ..world.request("2020-03-02", "") });
    let page_token = first.await.unwrap().next_page_token;
    for (who, day) in [("agencies/nca", "2020-03-01"), ("oversightBodies/hac", "2020-03-02")] {
        let other = wire::QueryRecurrenceRequest { page_token: page_token.clone(), ..world.request(day, "") };
        assert_eq!(refusal(&world.ask(who, other).await.unwrap_err()).reason, "PAGE_TOKEN_INVALID", "{who}");
    }
    world.server.stop().await;
}

async fn who_may_see_networks(database: &Database) {
    let mut world = World::new(database).await;
    world.network().await;
    for who in ["agencies/nca", "oversightBodies/hac", "operators/op", "services/decision"] {
        let reply = world.ask(who, world.request("2020-03-20", "")).await.unwrap();
        assert_eq!(reply.network_count, 1, "{who}");
    }
    for who in ["agencies/bka", "platforms/chirrup", "researchers/lab"] {
        let refused = world.ask(who, world.request("2020-03-20", "")).await.unwrap_err();
        assert_eq!(refusal(&refused).reason, "PERMISSION_DENIED", "{who}");
    }
    // Another agency has its own.
    let own = wire::QueryRecurrenceRequest { parent: "agencies/bka".into(), ..world.request("2020-03-20", "") };
    assert_eq!(world.ask("agencies/bka", own).await.unwrap().network_count, 0);
    world.server.stop().await;
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let world = World::new(database).await;
    let wrong = wire::QueryRecurrenceRequest {
        parent: "platforms/chirrup".into(),
        as_of_date: "2020-02-30".into(),
        known_at_date: "2020-2-1".into(),
        ..wire::QueryRecurrenceRequest::default()
    };
    let mut fields = refusal(&world.ask("agencies/nca", wrong).await.unwrap_err()).fields;
    fields.sort();
    assert_eq!(fields, ["as_of_date", "known_at_date", "parent"]);
    world.server.stop().await;
}

/// What an earlier release took from the logs lacks what this one takes. It is read again from the beginning, and no figures are
/// given before that is done.
async fn a_database_of_before_is_read_again(database: &Database) {
    let mut world = World::new(database).await;
    world.network().await;
    world.on("2020-03-20");
    let (before, networks) = (world.report().await, world.recurrence("2020-03-20", "").await);
    let head = world.server.head(Part::Reporting).await;
    world.server.stop().await;
    downgrade(database).await;
    let (server, clock) = Server::suite_at(database, "2020-03-20T09:00:00Z").await;
    let client = server.client("operators/op");
    let world = World { server, clock, client, at_least: world.at_least };
    let again = portreeve_tests::within(60, "reading the logs again", async {
        loop {
            let request = wire::QueryReportRequest { definition: Some(definition()), at_least: Vec::new() };
            match world.nca().reports().query_report(request).await {
                Ok(reply) => break reply.into_inner().report.unwrap(),
                Err(status) => assert_eq!(refusal(&status).reason, "NOT_CAUGHT_UP"),
            }
        }
    })
    .await;
    assert_eq!(again.digest, before.digest);
    let found = world.recurrence("2020-03-20", "").await;
    assert_eq!((found.networks, found.total), (networks.networks, networks.total));
    assert!(world.server.head(Part::Reporting).await > head, "the log says that it was begun anew");
    let rows = world.server.dump(Part::Reporting).await;
    world.server.rebuild(Part::Reporting).await;
    assert_eq!(world.server.dump(Part::Reporting).await, rows, "rebuilt from the log, nothing changes");
    world.server.stop().await;
}

/// Makes of the reporting service's database one of before there was recurrence.
async fn downgrade(database: &Database) {
    use sqlx::{AssertSqlSafe, Connection as _};
    let undo = "DROP TABLE publication; DROP TABLE trail; DROP TABLE refill; ALTER TABLE cell DROP COLUMN legal_basis; \
        ALTER TABLE cell DROP COLUMN entered; DELETE FROM _sqlx_migrations WHERE version >= 5";
    match database {
        Database::Sqlite { folder } => {
            let url = format!("sqlite://{}", folder.join("reporting.db").display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(undo).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
        Database::Postgres { url } => {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            let undo = format!("SET search_path TO reporting; {undo}");
            sqlx::raw_sql(AssertSqlSafe(undo)).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

fn definition() -> wire::ReportDefinition {
    wire::ReportDefinition {
        cohort_from_date: "2020-01-01".into(),
        cohort_until_date: "2020-12-31".into(),
        as_of_date: "2020-03-20".into(),
        dimensions: vec![wire::Dimension::Platform.into(), wire::Dimension::Disposition.into()],
        ..wire::ReportDefinition::default()
    }
}

impl World {
    async fn report(&self) -> wire::Report {
        self.nca().report(definition(), &self.at_least).await.unwrap()
    }
}
