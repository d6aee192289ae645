//! The life of drafts against a small model, and what keeps one from being authorised.

use portreeve_core::id::Uuid;
use portreeve_core::location::Location;
use portreeve_core::name::OrganisationName;
use portreeve_core::vocabulary::{Defence, Finding, Ground, Nature, TargetKind};
use portreeve_core::{Ledger as _, Recorded, Violations};
use proptest::prelude::*;

use super::*;
use crate::domain::ledger::{Command, DraftField, Ledger};
use crate::domain::organisation::Organisation;
use crate::domain::{Answer, Check, Demands, Handling, LegalBasis, Target};

const MEMBERS: [&str; 4] = ["a", "b", "c", "d"];

/// A ledger in memory.
struct Book {
    state: State,
    head: i64,
    now: Timestamp,
}

impl Book {
    fn new() -> Self {
        let mut state = State::default();
        for name in ["agencies/nca", "platforms/hb"] {
            let name: OrganisationName = name.parse().unwrap();
            let organisation = Organisation {
                name: name.clone(),
                display_name: String::new(),
                hosts: Vec::new(),
                created_at: Timestamp::default(),
                updated_at: Timestamp::default(),
                created: 0,
                updated: 0,
            };
            state.organisations.insert(name, organisation);
        }
        state.hosts.insert("hb.example".into(), "hb".into());
        Self { state, head: 0, now: Timestamp::from_micros(1_000) }
    }

    fn run(&mut self, command: &Command) -> Result<Vec<Event>, Reason> {
        self.now = self.now.plus_micros(1);
        let events = Ledger::decide(&self.state, command, self.now).map_err(|error| error.reason())?;
        for event in &events {
            self.head += 1;
            let (position, recorded_at, actor) = (self.head, self.now, "agencies/nca".to_owned());
            Ledger::evolve(&mut self.state, &Recorded { position, recorded_at, actor, event: event.clone() });
        }
        Ok(events)
    }

    fn authorise(&mut self, name: &DraftName, etag: i64, approver: &str) -> Result<Vec<Event>, Reason> {
        let found = self.state.drafts.get(&name.id).and_then(Draft::content).cloned();
        let act = Authorise { name: name.clone(), etag, approver: approver.into(), found, signed: None, key: None };
        self.run(&Command::AuthoriseDraft(Box::new(act)))
    }
}

fn name(number: u128) -> DraftName {
    DraftName { agency: "nca".into(), id: Uuid::from_u128(number) }
}

fn check(finding: Finding) -> Check {
    let answer = |context: &Defence| Answer { context: *context, finding, reasons: "Because.".into() };
    Check::new(Defence::ALL.iter().map(answer).map(Some).collect(), "", &mut Violations::new()).unwrap()
}

fn content(name: &DraftName, statement: &str, checked: Option<Finding>) -> Arc<Said> {
    Arc::new(Said {
        name: name.referral(),
        platform: "hb".into(),
        target: Target {
            kind: TargetKind::Page,
            location: Location::parse(&format!("https://hb.example/{}", name.id)).unwrap(),
            native_id: String::new(),
            handles: Vec::new(),
        },
        nature: Nature::VoluntaryReferral,
        ground: Ground::SolicitationOfService,
        legal_basis: LegalBasis { code: String::new(), statute: "Any Act".into(), section: String::new() },
        statement: statement.into(),
        statement_language: "en".into(),
        content_language: String::new(),
        handling: Handling::default(),
        signature: None,
        protected_context: checked.map(check),
        order: None,
        priority: None,
        evidence: Vec::new(),
        operation: None,
        links: Vec::new(),
    })
}

#[derive(Clone, Debug)]
enum Step {
    Create { author: usize, checked: usize },
    Update { nth: usize, author: usize, checked: usize, words: usize, stale: bool },
    Authorise { nth: usize, approver: usize, stale: bool },
    Discard { nth: usize, stale: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let (nth, member, checked) = (0..4_usize, 0..MEMBERS.len(), 0..CHECKS.len());
    prop_oneof![
        2 => (member.clone(), checked.clone()).prop_map(|(author, checked)| Step::Create { author, checked }),
        5 => (nth.clone(), member.clone(), checked, 0..3_usize, any::<bool>()).prop_map(
            |(nth, author, checked, words, stale)| Step::Update { nth, author, checked, words, stale }
        ),
        4 => (nth.clone(), member, prop::bool::weighted(0.2))
            .prop_map(|(nth, approver, stale)| Step::Authorise { nth, approver, stale }),
        1 => (nth, prop::bool::weighted(0.2)).prop_map(|(nth, stale)| Step::Discard { nth, stale }),
    ]
}

const CHECKS: [Option<Finding>; 5] =
    [None, Some(Finding::DoesNotApply), Some(Finding::Uncertain), Some(Finding::DoesNotApply), Some(Finding::Applies)];
const WORDS: [&str; 3] = ["one", "two", "three"];

/// What a draft is, in the fewest words.
#[derive(Clone, Debug, PartialEq)]
enum Stands {
    Open { words: usize, checked: usize },
    Sent { approver: usize },
    Gone,
}

#[derive(Clone, Debug)]
struct Model {
    stands: Stands,
    authors: Vec<usize>,
    version: i64,
}

/// What must come of a step on a draft of the model: how many events, or why not.
fn expect(draft: &Model, step: &Step) -> Result<usize, Reason> {
    let stale = |stale: bool| if stale { Err(Reason::StaleVersion) } else { Ok(()) };
    match (&draft.stands, step) {
        (Stands::Open { words, checked }, Step::Update { words: new, checked: to, .. })
            if words == new && CHECKS[*checked] == CHECKS[*to] =>
        {
            Ok(0)
        }
        (Stands::Open { .. }, Step::Update { stale: is, .. } | Step::Discard { stale: is, .. }) => {
            stale(*is).map(|()| 1)
        }
        (Stands::Open { checked, .. }, Step::Authorise { approver, stale: is, .. }) => {
            stale(*is)?;
            if draft.authors.contains(approver) {
                return Err(Reason::DeciderNotImpartial);
            }
            match CHECKS[*checked] {
                None | Some(Finding::Applies) => Err(Reason::ProtectedContextNotCleared),
                Some(_) => Ok(2),
            }
        }
        (Stands::Sent { approver: by }, Step::Authorise { approver, .. }) if by == approver => Ok(0),
        (Stands::Gone, Step::Discard { .. }) => Ok(0),
        _ => Err(Reason::InvalidTransition),
    }
}

fn play(steps: Vec<Step>) {
    let (mut book, mut model) = (Book::new(), Vec::<Model>::new());
    for step in steps {
        if let Step::Create { author, checked } = step {
            let name = name(model.len() as u128 + 1);
            let content = content(&name, WORDS[0], CHECKS[checked]);
            let author_name = MEMBERS[author].to_owned();
            book.run(&Command::CreateDraft { name, content, author: author_name }).unwrap();
            let stands = Stands::Open { words: 0, checked };
            model.push(Model { stands, authors: vec![author], version: book.head });
            continue;
        }
        let (Step::Update { nth, .. } | Step::Authorise { nth, .. } | Step::Discard { nth, .. }) = step else {
            continue;
        };
        let Some(nth) = (!model.is_empty()).then(|| nth % model.len()) else { continue };
        let name = name(nth as u128 + 1);
        let expected = expect(&model[nth], &step);
        let etag = |stale: bool| model[nth].version + i64::from(stale);
        let done = match &step {
            Step::Update { author, checked, words, stale, .. } => {
                let content = content(&name, WORDS[*words], CHECKS[*checked]);
                let (author, etag) = (MEMBERS[*author].to_owned(), Some(etag(*stale)));
                book.run(&Command::UpdateDraft { name: name.clone(), content, author, etag })
            }
            Step::Authorise { approver, stale, .. } => book.authorise(&name, etag(*stale), MEMBERS[*approver]),
            Step::Discard { stale, .. } => {
                book.run(&Command::DiscardDraft { name: name.clone(), etag: Some(etag(*stale)) })
            }
            Step::Create { .. } => continue,
        };
        assert_eq!(done.as_ref().map(Vec::len).map_err(|reason| *reason), expected, "{step:?} of {:?}", model[nth]);
        let draft = &mut model[nth];
        let Ok(events) = done else { continue };
        if events.is_empty() {
            continue;
        }
        draft.version = book.head + 1 - i64::try_from(events.len()).unwrap();
        draft.stands = match step {
            Step::Update { author, words, checked, .. } => {
                if !draft.authors.contains(&author) {
                    draft.authors.push(author);
                }
                Stands::Open { words, checked }
            }
            Step::Authorise { approver, .. } => {
                let Event::Created(sent) = &events[1] else { panic!("{:?}", events[1]) };
                assert_eq!((&sent.name, sent.occurred_at), (&name.referral(), book.now));
                assert!(sent.said.protected_context.is_some());
                Stands::Sent { approver }
            }
            _ => Stands::Gone,
        };
    }
    for (number, draft) in (1..).zip(&model) {
        let known = &book.state.drafts[&name(number).id];
        assert_eq!(known.authors, draft.authors.iter().map(|author| MEMBERS[*author]).collect::<Vec<_>>());
        assert_eq!(known.updated, draft.version);
        let same = match (&known.standing, &draft.stands) {
            (DraftStanding::Draft { content }, Stands::Open { words, .. }) => content.statement == WORDS[*words],
            (DraftStanding::Authorised { approver, .. }, Stands::Sent { approver: by }) => approver == MEMBERS[*by],
            (DraftStanding::Discarded { .. }, Stands::Gone) => true,
            _ => false,
        };
        assert!(same, "{known:?} is not {draft:?}");
        let sent = book.state.changes.created.iter().filter(|sent| sent.name == known.name.referral()).count();
        assert_eq!(sent, usize::from(matches!(draft.stands, Stands::Sent { .. })), "each is sent once at most");
    }
    let open = model.iter().filter(|draft| matches!(draft.stands, Stands::Open { .. })).count();
    assert_eq!(book.state.open_drafts.get("nca").copied().unwrap_or_default(), open);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_lives_match_the_model(steps in prop::collection::vec(step(), 1..60)) {
        play(steps);
    }
}

#[test]
fn a_draft_of_another_agency_is_none() {
    let mut book = Book::new();
    let own = name(1);
    let (content, author) = (content(&own, "one", None), "a".to_owned());
    book.run(&Command::CreateDraft { name: own.clone(), content, author }).unwrap();
    let other = DraftName { agency: "bka".into(), ..own };
    assert_eq!(book.authorise(&other, 1, "b"), Err(Reason::DraftNotFound));
    assert_eq!(book.run(&Command::DiscardDraft { name: other, etag: None }), Err(Reason::DraftNotFound));
}

#[test]
fn demands_hold_for_what_occurs_since_they_were_made() {
    let mut book = Book::new();
    let set = |book: &mut Book, grounds: &[Ground], check: bool| {
        let demands = Demands { grounds: grounds.iter().copied().collect(), check, ..Demands::default() };
        book.run(&Command::SetAuthorisation { agency: "nca".into(), demands, etag: None }).map(|events| events.len())
    };
    let refer = |book: &mut Book, at: Option<Timestamp>, history: bool, checked: Option<Finding>| {
        let id = name(u128::from(book.head.unsigned_abs()) + 100);
        let referral = NewReferral { said: content(&id, "one", checked), occurred_at: at, signed: None };
        let (drafts, member) = (vec![referral], String::new());
        let command = Command::Create { drafts, field: DraftField::Referral, member, history, key: None };
        book.run(&command).map(|events| events.len())
    };
    assert_eq!(refer(&mut book, None, false, None), Ok(1));
    assert_eq!(refer(&mut book, None, false, Some(Finding::Applies)), Err(Reason::ProtectedContextNotCleared));
    assert_eq!(set(&mut book, &[Ground::SolicitationOfService], false), Ok(1));
    let since = book.now;
    assert_eq!(set(&mut book, &[Ground::SolicitationOfService], false), Ok(0), "the same again");
    let before = since.plus_micros(-1);
    assert_eq!(refer(&mut book, None, false, None), Err(Reason::AuthorisationRequired));
    assert_eq!(refer(&mut book, None, true, None), Err(Reason::AuthorisationRequired));
    assert_eq!(refer(&mut book, Some(since), true, None), Err(Reason::AuthorisationRequired));
    assert_eq!(refer(&mut book, Some(before), true, None), Ok(1), "history");
    assert_eq!(refer(&mut book, Some(before), false, None), Err(Reason::AuthorisationRequired), "no dodge");
    // More is demanded: what was demanded keeps its time.
    assert_eq!(set(&mut book, &[Ground::SolicitationOfService, Ground::ShamMarriage], true), Ok(1));
    let later = book.now;
    let between = later.plus_micros(-1);
    assert_eq!(refer(&mut book, Some(between), true, None), Err(Reason::AuthorisationRequired));
    assert_eq!(set(&mut book, &[], true), Ok(1));
    assert_eq!(refer(&mut book, Some(between), true, None), Ok(1));
    assert_eq!(refer(&mut book, Some(later), true, None), Err(Reason::ProtectedContextNotCleared));
    assert_eq!(refer(&mut book, None, false, None), Err(Reason::ProtectedContextNotCleared));
    assert_eq!(refer(&mut book, None, false, Some(Finding::Uncertain)), Ok(1));
}
