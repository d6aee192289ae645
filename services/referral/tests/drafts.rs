//! Drafts in the store, on both engines: what is kept of them, how many there may be, and what a batch makes of them.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

#[expect(dead_code, reason = "these tests read no lists of referrals")]
mod support;

use std::sync::Arc;

use portreeve_core::canonical::RuleSet;
use portreeve_core::name::DraftName;
use portreeve_core::vocabulary::{Defence, FieldGroup, Finding, Ground};
use portreeve_core::{Error, Reason, Timestamp, Violations, limits};
use portreeve_referral::domain::ledger::DraftField;
use portreeve_referral::domain::{Answer, Authorise, Check, Command, Demands, Draft, DraftStanding, Event, Said};
use portreeve_storage::Database;
use support::{Store, on_both_engines, principal};

on_both_engines!(
    a_draft_becomes_the_referral_of_its_identifier,
    what_is_final_keeps_nothing_of_what_was_written,
    erasing_the_referral_erases_the_drafts_history,
    one_commit_sends_a_draft_once,
    an_agency_has_so_many_drafts_and_a_draft_so_many_authors,
    demands_decide_within_the_commit,
);

fn cleared() -> Check {
    let answer = |context: &Defence| Answer {
        context: *context,
        finding: if *context == Defence::Rescue { Finding::Uncertain } else { Finding::DoesNotApply },
        reasons: "It may be a rescue.".into(),
    };
    Check::new(Defence::ALL.iter().map(answer).map(Some).collect(), "", &mut Violations::new()).unwrap()
}

impl Store {
    /// Something to draft, with a name of its own.
    fn content(&self, page: &str) -> (DraftName, Arc<Said>) {
        let new = self.draft("nca", "hb", &format!("https://hb.example/{page}"));
        let said = Said { protected_context: Some(cleared()), ..(*new.said).clone() };
        (DraftName { agency: "nca".into(), id: said.name.id }, Arc::new(said))
    }

    async fn write(&self, page: &str, author: &str) -> (DraftName, Arc<Said>) {
        let (name, content) = self.content(page);
        self.result(create(&name, &content, author)).await.unwrap();
        (name, content)
    }

    async fn known(&self, name: &DraftName) -> Draft {
        self.opened.0.reads.draft(&principal("agencies/nca"), name).await.unwrap().unwrap()
    }

    async fn list(&self, state: i32) -> Vec<DraftName> {
        let reads = &self.opened.0.reads;
        let found = reads.drafts(&principal("agencies/nca"), "nca", state, 0, None, 10_000).await.unwrap();
        found.into_iter().map(|draft| draft.name).collect()
    }

    async fn result(&self, command: Command) -> Result<usize, Reason> {
        self.submit(command).await.map(|outcome| outcome.events.len()).map_err(|error| error.reason())
    }

    /// What the log says of drafts, as it can still be read.
    async fn told(&self) -> Vec<Draft> {
        let read = |stored: &portreeve_storage::StoredEvent| {
            let body = stored.body.clone();
            match <portreeve_referral::rpc::convert::Log as portreeve_storage::Codec<Event>>::decode(&body).unwrap() {
                Event::DraftChanged(draft) => Some(*draft),
                _ => None,
            }
        };
        self.opened.0.log.page(0, 10_000).await.unwrap().events.iter().filter_map(read).collect()
    }

    async fn rebuilt(&self) {
        let reads = &self.opened.0.reads;
        let before = reads.dump().await.unwrap();
        reads.rebuild().await.unwrap();
        assert_eq!(reads.dump().await.unwrap(), before, "rebuilt from the log, nothing changes");
    }
}

fn create(name: &DraftName, content: &Arc<Said>, author: &str) -> Command {
    Command::CreateDraft { name: name.clone(), content: Arc::clone(content), author: author.into() }
}

fn authorise(name: &DraftName, content: &Arc<Said>, etag: i64, approver: &str) -> Command {
    let (found, approver) = (Some(Arc::clone(content)), approver.to_owned());
    Command::AuthoriseDraft(Box::new(Authorise { name: name.clone(), etag, approver, found, signed: None, key: None }))
}

async fn a_draft_becomes_the_referral_of_its_identifier(database: &Database) {
    let store = Store::with_organisations(database).await;
    let (name, content) = store.write("1", "j.doe").await;
    let known = store.known(&name).await;
    assert_eq!((known.content(), known.authors.as_slice()), (Some(&content), &["j.doe".to_owned()][..]));
    assert!(store.row("agencies/nca", &name.referral()).await.is_none(), "nothing is sent yet");
    let changed = Arc::new(Said { statement: "Places on a boat are offered.".into(), ..(*content).clone() });
    let update =
        |etag| Command::UpdateDraft { name: name.clone(), content: Arc::clone(&changed), author: "m.roe".into(), etag };
    assert_eq!(store.result(update(Some(known.updated + 1))).await, Err(Reason::StaleVersion));
    assert_eq!(store.result(update(Some(known.updated))).await, Ok(1));
    assert_eq!(store.result(update(Some(known.updated))).await, Ok(0), "it says that already");
    let etag = store.known(&name).await.updated;
    for author in ["j.doe", "m.roe"] {
        let refused = store.result(authorise(&name, &changed, etag, author)).await;
        assert_eq!(refused, Err(Reason::DeciderNotImpartial));
    }
    assert_eq!(store.result(authorise(&name, &content, known.updated, "a.head")).await, Err(Reason::StaleVersion));
    assert_eq!(store.result(authorise(&name, &changed, etag, "a.head")).await, Ok(2));
    let sent = store.row("agencies/nca", &name.referral()).await.unwrap();
    let mut expected = Arc::clone(&changed);
    let target = &mut Arc::make_mut(&mut expected).target;
    target.location = target.location.under(&RuleSet::default(), 0);
    assert_eq!(sent.said, expected, "in the form that the rules make of its address");
    assert_eq!(sent.occurred_at, sent.recorded_at);
    let draft = store.known(&name).await;
    assert_eq!(draft.standing, DraftStanding::Authorised { approver: "a.head".into(), at: sent.occurred_at });
    assert_eq!(
        (draft.created, draft.updated + 1),
        (known.created, sent.created),
        "one commit, the draft's change first"
    );
    assert_eq!(store.result(update(None)).await, Err(Reason::InvalidTransition));
    assert_eq!(store.result(Command::DiscardDraft { name, etag: None }).await, Err(Reason::InvalidTransition));
    store.rebuilt().await;
}

async fn what_is_final_keeps_nothing_of_what_was_written(database: &Database) {
    let store = Store::with_organisations(database).await;
    let (given_up, content) = store.write("secret-page", "j.doe").await;
    let (sent, other) = store.write("sent-page", "j.doe").await;
    let kept = async |word: &str| {
        let dump = store.opened.0.reads.dump().await.unwrap();
        dump.iter().any(|row| row.contains(word) || row.contains(&portreeve_core::audit::hex(word.as_bytes())))
    };
    assert!(kept("secret-page").await, "the test would find it");
    assert_eq!(store.result(Command::DiscardDraft { name: given_up.clone(), etag: None }).await, Ok(1));
    assert_eq!(store.result(Command::DiscardDraft { name: given_up.clone(), etag: None }).await, Ok(0));
    let etag = store.known(&sent).await.updated;
    assert_eq!(store.result(authorise(&sent, &other, etag, "a.head")).await, Ok(2));
    assert_eq!(store.result(authorise(&given_up, &content, etag, "a.head")).await, Err(Reason::InvalidTransition));
    for name in [&given_up, &sent] {
        assert_eq!(store.known(name).await.content(), None);
    }
    assert!(!kept("secret-page").await);
    // What was sent is told as it was written; what was given up, as nothing but that it was.
    let told = store.told().await;
    assert_eq!(told.len(), 4);
    let (gone, left_over) = told.iter().partition::<Vec<_>, _>(|draft| draft.name == given_up);
    assert_eq!(left_over[0].content(), Some(&other));
    let left = gone[0].content().unwrap();
    assert_eq!((left.target.location.raw(), left.statement.as_str()), ("", ""));
    assert_eq!(left.protected_context, None);
    assert!(!format!("{gone:?}").contains("secret-page") && !format!("{gone:?}").contains("rescue"));
    assert_eq!((store.list(1).await.len(), store.list(2).await, store.list(3).await), (0, vec![sent], vec![given_up]));
    store.rebuilt().await;
}

async fn erasing_the_referral_erases_the_drafts_history(database: &Database) {
    let store = Store::with_organisations(database).await;
    let (name, content) = store.write("1", "j.doe").await;
    let etag = store.known(&name).await.updated;
    assert_eq!(store.result(authorise(&name, &content, etag, "a.head")).await, Ok(2));
    assert_eq!(store.told().await[0].content(), Some(&content), "under the keys that the draft was begun with");
    let erase = |group| Command::Erase { name: name.referral(), groups: vec![group], reason: "asked for".into() };
    assert_eq!(store.result(erase(FieldGroup::Reasons)).await, Ok(1));
    let left = store.told().await[0].content().unwrap().clone();
    assert_eq!((left.statement.as_str(), &left.protected_context), ("", &None));
    assert_eq!(left.target, content.target);
    let sent = store.row("agencies/nca", &name.referral()).await.unwrap();
    assert_eq!((sent.statement.as_str(), &sent.protected_context), ("", &None));
    store.rebuilt().await;
}

async fn one_commit_sends_a_draft_once(database: &Database) {
    let store = Store::with_organisations(database).await;
    let (name, content) = store.write("1", "j.doe").await;
    let etag = store.known(&name).await.updated;
    let nca = principal("agencies/nca");
    let by = |approver: &str| store.envelope(nca.clone(), authorise(&name, &content, etag, approver));
    let give_up = Command::DiscardDraft { name: name.clone(), etag: None };
    let batch = vec![by("a.head"), by("b.head"), store.envelope(nca.clone(), give_up), by("a.head")];
    let results = store.opened.0.writer.submit_all(batch).await.unwrap();
    let done = results.iter().map(|done| done.as_ref().map(|done| done.events.len()).map_err(Error::reason));
    let refused = Err(Reason::InvalidTransition);
    assert_eq!(done.collect::<Vec<_>>(), [Ok(2), refused, refused, Ok(0)]);
    // Written, changed and given up within one commit.
    let (other, first) = store.content("2");
    let second = Arc::new(Said { statement: "Otherwise.".into(), ..(*first).clone() });
    let update = Command::UpdateDraft { name: other.clone(), content: second, author: "m.roe".into(), etag: None };
    let batch = vec![
        store.envelope(nca.clone(), create(&other, &first, "j.doe")),
        store.envelope(nca.clone(), update),
        store.envelope(nca, Command::DiscardDraft { name: other.clone(), etag: None }),
    ];
    let results = store.opened.0.writer.submit_all(batch).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(store.known(&other).await.authors, ["j.doe", "m.roe"]);
    assert!(!format!("{:?}", store.told().await).contains("Otherwise."));
    store.rebuilt().await;
}

async fn an_agency_has_so_many_drafts_and_a_draft_so_many_authors(database: &Database) {
    let store = Store::with_organisations(database).await;
    let nca = principal("agencies/nca");
    let written = (0..=limits::AGENCY_OPEN_DRAFTS_MAX).map(|_| store.content("1")).collect::<Vec<_>>();
    let envelopes = written.iter().map(|(name, content)| store.envelope(nca.clone(), create(name, content, "a")));
    let results = store.opened.0.writer.submit_all(envelopes.collect()).await.unwrap();
    let (last, others) = results.split_last().unwrap();
    assert!(others.iter().all(Result::is_ok));
    assert_eq!(last.as_ref().unwrap_err().reason(), Reason::LimitExceeded);
    // One that is decided makes room for one more.
    let (name, content) = &written[0];
    let etag = store.known(name).await.updated;
    assert_eq!(store.result(authorise(name, content, etag, "b")).await, Ok(2));
    let (name, content) = &written[limits::AGENCY_OPEN_DRAFTS_MAX];
    assert_eq!(store.result(create(name, content, "a")).await, Ok(1));
    let (one_more, content) = store.content("1");
    assert_eq!(store.result(create(&one_more, &content, "a")).await, Err(Reason::LimitExceeded));
    let (name, content) = &written[1];
    assert_eq!(store.result(Command::DiscardDraft { name: name.clone(), etag: None }).await, Ok(1));
    assert_eq!(store.result(create(&one_more, content, "a0")).await, Ok(1));
    let update = |number: usize| Command::UpdateDraft {
        name: one_more.clone(),
        content: Arc::new(Said { statement: format!("By {number}."), ..(**content).clone() }),
        author: format!("a{number}"),
        etag: None,
    };
    for number in 0..limits::DRAFT_AUTHORS_MAX {
        assert_eq!(store.result(update(number)).await, Ok(1), "{number}");
    }
    assert_eq!(store.result(update(limits::DRAFT_AUTHORS_MAX)).await, Err(Reason::LimitExceeded));
    assert_eq!(store.known(&one_more).await.authors.len(), limits::DRAFT_AUTHORS_MAX);
    store.rebuilt().await;
}

async fn demands_decide_within_the_commit(database: &Database) {
    let store = Store::with_organisations(database).await;
    let nca = principal("agencies/nca");
    let refer = || {
        let drafts = vec![store.draft("nca", "hb", "https://hb.example/1")];
        let command =
            Command::Create { drafts, field: DraftField::Referral, member: String::new(), history: false, key: None };
        store.envelope(nca.clone(), command)
    };
    let demands = Demands { grounds: [Ground::OfferTransportSea].into(), ..Demands::default() };
    let set = |demands, etag| Command::SetAuthorisation { agency: "nca".into(), demands, etag };
    let batch = vec![refer(), store.envelope(nca.clone(), set(demands.clone(), Some(0))), refer()];
    let results = store.opened.0.writer.submit_all(batch).await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
    let policy = store.opened.0.reads.authorisation_policy(&nca, "nca").await.unwrap().unwrap();
    assert_eq!((policy.demands(), policy.updated_at > Timestamp::default()), (demands, true));
    assert_eq!(store.result(set(Demands::default(), Some(policy.updated + 1))).await, Err(Reason::StaleVersion));
    assert_eq!(store.result(set(Demands::default(), Some(policy.updated))).await, Ok(1));
    let results = store.opened.0.writer.submit_all(vec![refer()]).await.unwrap();
    assert!(results[0].is_ok());
    let unknown = Command::SetAuthorisation { agency: "nobody".into(), demands: Demands::default(), etag: None };
    assert_eq!(store.result(unknown).await, Err(Reason::OrganisationNotFound));
    store.rebuilt().await;
}
