//! An open store with its clock, and who acts on it.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::sync::Arc;

use portreeve_core::access::Reader;
use portreeve_core::id::{CountingIds, IdSource, RandomIds};
use portreeve_core::location::Location;
use portreeve_core::name::ReferralName;
use portreeve_core::time::ManualClock;
use portreeve_core::vocabulary::{Ground, Nature, TargetKind};
use portreeve_core::{Error, Principal, Timestamp};
use portreeve_referral::domain::ledger::DraftField;
use portreeve_referral::domain::{Command, Event, Handling, LegalBasis, NewReferral, Referral, Said, Target};
use portreeve_referral::store::{self, Filter, Query};
use portreeve_storage::{Database, Envelope, Guard, Outcome};

pub(crate) struct Store {
    pub(crate) opened: store::Opened,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ids: CountingIds,
}

impl Store {
    pub(crate) async fn open(database: &Database) -> Self {
        let clock = Arc::new(ManualClock::at("2026-01-02".parse().unwrap()));
        let ids = CountingIds::default();
        let opened = store::open(database, Arc::clone(&clock) as _, Arc::new(RandomIds)).await.unwrap();
        Self { opened, clock, ids }
    }

    pub(crate) async fn with_organisations(database: &Database) -> Self {
        let store = Self::open(database).await;
        for (name, hosts) in [
            ("agencies/nca", vec![]),
            ("agencies/bka", vec![]),
            ("platforms/hb", vec!["hb.example"]),
            ("platforms/ch", vec!["ch.example", "chirrup.test"]),
        ] {
            store.organisation(name, &hosts).await.unwrap();
        }
        store
    }

    pub(crate) async fn organisation(&self, name: &str, hosts: &[&str]) -> Result<Outcome<Event>, Error> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.submit(Command::CreateOrganisation {
            name: name.parse().unwrap(),
            display_name: name.to_uppercase(),
            hosts,
        })
        .await
    }

    pub(crate) async fn submit(&self, command: Command) -> Result<Outcome<Event>, Error> {
        self.opened.0.writer.submit(self.envelope(principal("operators/op"), command)).await
    }

    /// A command by somebody, under a request id of its own.
    pub(crate) fn envelope(&self, principal: Principal, command: Command) -> Envelope<Command> {
        let request_id = self.ids.uuid(Timestamp::default());
        Envelope { principal, guard: Guard::Request { request_id, hash: [0; 32], too_late: None }, command }
    }

    pub(crate) fn draft(&self, agency: &str, platform: &str, url: &str) -> NewReferral {
        let id = self.ids.uuid(Timestamp::from_micros(1_000_000));
        let said = Said {
            name: ReferralName { agency: agency.into(), id },
            platform: platform.into(),
            target: Target {
                kind: TargetKind::Page,
                location: Location::parse(url).unwrap(),
                native_id: String::new(),
                handles: Vec::new(),
            },
            nature: Nature::VoluntaryReferral,
            ground: Ground::OfferTransportSea,
            legal_basis: LegalBasis {
                code: String::new(),
                statute: "Immigration Act 1971".into(),
                section: "s.25".into(),
            },
            statement: "Crossings are offered.".into(),
            statement_language: "en".into(),
            content_language: "sq".into(),
            handling: Handling::default(),
            signature: None,
            protected_context: None,
            order: None,
            priority: None,
            evidence: Vec::new(),
            operation: None,
            links: Vec::new(),
        };
        NewReferral { said: Arc::new(said), occurred_at: Some("2026-01-01".parse().unwrap()), signed: None }
    }

    /// An address that no other referral has.
    pub(crate) fn page(&self) -> String {
        format!("https://hb.example/{}", self.ids.uuid(Timestamp::default()))
    }

    /// What a query selects.
    pub(crate) async fn rows(&self, query: &Query) -> Vec<Referral> {
        self.opened.0.reads.referrals(query).await.unwrap().into_iter().map(|(referral, _)| referral).collect()
    }

    /// A referral, if the reader sees anything of it.
    pub(crate) async fn row(&self, reader: &str, name: &ReferralName) -> Option<Referral> {
        self.opened.0.reads.referral(&reader_of(reader), name).await.unwrap().map(|(referral, _)| referral)
    }

    pub(crate) async fn refer(&self, draft: NewReferral) -> Result<Outcome<Event>, Error> {
        self.submit(Command::Create {
            drafts: vec![draft],
            field: DraftField::Referral,
            member: String::new(),
            history: false,
            key: None,
        })
        .await
    }
}

pub(crate) fn principal(name: &str) -> Principal {
    Principal::new(name.parse().unwrap(), "", &[]).unwrap()
}

/// Who reads their own.
pub(crate) fn reader_of(name: &str) -> Reader {
    Reader::own(principal(name))
}

pub(crate) fn query(reader: &str, filter: Filter) -> Query {
    Query { filter, reader: Arc::new(reader_of(reader)), after: 0, limit: 1_000, unchanged_since: None }
}

macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            use portreeve_storage::conformance::Fixture;

            $(#[tokio::test(flavor = "multi_thread")]
            pub(crate) async fn $case() { super::$case(&Fixture::sqlite().database).await })*
        }
        mod postgres {
            use portreeve_storage::conformance::Fixture;

            $(#[tokio::test(flavor = "multi_thread")]
            pub(crate) async fn $case() { super::$case(&Fixture::postgres().await.database).await })*
        }
    };
}
pub(crate) use on_both_engines;
