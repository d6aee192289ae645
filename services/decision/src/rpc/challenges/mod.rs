//! `ChallengeService`.

pub mod convert;

use std::sync::Arc;

use portreeve_api::decision::v1 as wire;
use portreeve_core::access::Reader;
use portreeve_core::name::{CaseName, ChallengeName, OrganisationKind};
use portreeve_core::principal::{Role, Scope};
use portreeve_core::token::Page;
use portreeve_core::{Error, Principal, Result, Timestamp, Violations};
use portreeve_runtime::agreements::Asker;
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{
    check_backdating, guard, must_say, optional_time, page_size, position_key, principal, read_position, told_time,
    violations,
};
use portreeve_storage::Outcome;
use tonic::{Request, Response, Status};
use wire::challenge_service_server::ChallengeService;

use super::cases::{case_name, named, read_parent};
use super::convert::{agency, read_draft};
use super::{Rpc, one_more, only, page};
use crate::domain::challenge::no_challenge;
use crate::domain::{
    ChallengeDraft, ChallengeKind, ChallengeOutcome, Command, DecisionDraft, Event, Forum, Move, Pursuit, Stage,
};
use crate::store::{ChallengeFilter, Stretch, may_read};
use convert::write_challenge;

/// What a challenge's name must be.
const CHALLENGE: &str = "a challenge's name: platforms/{platform}/cases/{uuid}/challenges/{number}";

/// A request that moves a challenge on: what all of them have.
trait Moves: prost::Message + portreeve_api::validate::Request + Clone {
    const METHOD: &'static str;
    fn name(&self) -> &str;
    fn occurred_at(&self) -> Option<&prost_types::Timestamp>;
    fn take_request_id(&mut self) -> String;
    /// What happens, with the decision that goes with it; `None` if something is wrong, which is noted.
    fn read(
        &self,
        violations: &mut Violations,
        platform: &str,
        now: Timestamp,
    ) -> Option<(Move, Option<DecisionDraft>)>;
}

macro_rules! moves {
    ($message:ident, $method:literal, |$this:ident, $violations:ident, $platform:ident, $now:ident| $read:expr) => {
        impl Moves for wire::$message {
            const METHOD: &'static str = $method;

            fn name(&self) -> &str {
                &self.name
            }

            fn occurred_at(&self) -> Option<&prost_types::Timestamp> {
                self.occurred_at.as_ref()
            }

            fn take_request_id(&mut self) -> String {
                std::mem::take(&mut self.request_id)
            }

            fn read(
                &self,
                $violations: &mut Violations,
                $platform: &str,
                $now: Timestamp,
            ) -> Option<(Move, Option<DecisionDraft>)> {
                let $this = self;
                $read
            }
        }
    };
}

moves!(AcknowledgeChallengeRequest, "AcknowledgeChallenge", |_this, _violations, _platform, _now| Some((
    Move::Acknowledge,
    None
)));
moves!(BeginChallengeReviewRequest, "BeginChallengeReview", |_this, _violations, _platform, _now| Some((
    Move::BeginReview,
    None
)));
moves!(CloseChallengeRequest, "CloseChallenge", |_this, _violations, _platform, _now| Some((Move::Close, None)));
moves!(DecideChallengeRequest, "DecideChallenge", |this, violations, platform, now| {
    must_say(violations, "explanation", &this.explanation);
    let decision = this.decision.as_ref().and_then(|draft| read_draft(violations, platform, draft, now));
    let outcome = ChallengeOutcome::from_code(this.outcome)?;
    Some((Move::Decide { outcome, explanation: this.explanation.clone(), version: 0 }, decision))
});
moves!(ReferChallengeRequest, "ReferChallenge", |this, violations, _platform, _now| {
    must_say(violations, "body", &this.body);
    let (body, reference) = (this.body.clone(), this.reference.clone());
    Some((Move::Refer { forum: Forum::from_code(this.forum)?, body, reference }, None))
});
moves!(RecordExternalOutcomeRequest, "RecordExternalOutcome", |this, _violations, _platform, _now| {
    let outcome = ChallengeOutcome::from_code(this.outcome)?;
    Some((Move::DecidedOutside { outcome, procedural: this.procedural }, None))
});
moves!(ImplementChallengeRequest, "ImplementChallenge", |this, violations, platform, now| {
    let decision = this.decision.as_ref().and_then(|draft| read_draft(violations, platform, draft, now));
    Some((if this.implemented { Move::Implement { version: 0 } } else { Move::LeaveUndone }, decision))
});

/// Who moves a challenge on.
#[derive(Clone, Copy)]
enum Side {
    /// The platform whose decision is challenged.
    Platform,
    /// Whoever filed it.
    Filer,
}

macro_rules! moving {
    ($($method:ident $request:ident $response:ident $side:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl ChallengeService for Rpc {
            async fn file_challenge(
                &self,
                request: Request<wire::FileChallengeRequest>,
            ) -> Result<Response<wire::FileChallengeResponse>, Status> {
                self.file(request).await.map(Response::new).or_status()
            }

            async fn get_challenge(
                &self,
                request: Request<wire::GetChallengeRequest>,
            ) -> Result<Response<wire::GetChallengeResponse>, Status> {
                self.one_challenge(request).await.map(Response::new).or_status()
            }

            async fn list_challenges(
                &self,
                request: Request<wire::ListChallengesRequest>,
            ) -> Result<Response<wire::ListChallengesResponse>, Status> {
                self.list_of_challenges(request).await.map(Response::new).or_status()
            }

            $(
                async fn $method(
                    &self,
                    request: Request<wire::$request>,
                ) -> Result<Response<wire::$response>, Status> {
                    let moved = self.move_on(request, Side::$side).await.or_status()?;
                    let Moved { challenge, revision, replayed } = moved;
                    Ok(Response::new(wire::$response { challenge: Some(challenge), revision, replayed }))
                }
            )*
        }
    };
}

moving! {
    acknowledge_challenge AcknowledgeChallengeRequest AcknowledgeChallengeResponse Platform,
    begin_challenge_review BeginChallengeReviewRequest BeginChallengeReviewResponse Platform,
    decide_challenge DecideChallengeRequest DecideChallengeResponse Platform,
    implement_challenge ImplementChallengeRequest ImplementChallengeResponse Platform,
    refer_challenge ReferChallengeRequest ReferChallengeResponse Filer,
    record_external_outcome RecordExternalOutcomeRequest RecordExternalOutcomeResponse Filer,
    close_challenge CloseChallengeRequest CloseChallengeResponse Filer,
}

/// What a reply says of a challenge that was moved on.
struct Moved {
    challenge: wire::Challenge,
    revision: String,
    replayed: bool,
}

impl Rpc {
    async fn file(&self, request: Request<wire::FileChallengeRequest>) -> Result<wire::FileChallengeResponse> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        let case = case_name(&mut violations, "parent", &message.parent);
        let draft = message.challenge.as_ref().and_then(|draft| {
            must_say(&mut violations, "challenge.reasons", &draft.reasons);
            let occurred_at = told_time(&mut violations, "challenge.occurred_at", draft.occurred_at.as_ref(), now);
            let kind = ChallengeKind::from_code(draft.kind)?;
            Some(ChallengeDraft { kind, version: draft.decision_version, reasons: draft.reasons.clone(), occurred_at })
        });
        let (case, draft) = violations.finish(case.zip(draft))?;
        require_filer(&caller, &case.platform)?;
        let in_time = check_backdating(&caller, draft.occurred_at, now, self.settings.backdating_days_max);
        let request_id = std::mem::take(&mut message.request_id);
        let guard = guard("FileChallenge", &request_id, &message).map(|guard| guard.unless_too_late(in_time));
        let (by, kind, version) = (caller.organisation().clone(), draft.kind, draft.version);
        let command = Command::FileChallenge { case: case.clone(), draft, by };
        let outcome = self.submit(&caller, guard, command).await?;
        let challenge = match changed(&outcome) {
            Some(challenge) => challenge,
            // It had been filed so already: as it was then.
            None => self.filed(&caller, &case, kind, version).await?,
        };
        Ok(wire::FileChallengeResponse {
            challenge: Some(challenge),
            revision: Self::revision(&outcome),
            replayed: outcome.replayed,
        })
    }

    async fn move_on<M: Moves>(&self, request: Request<M>, side: Side) -> Result<Moved> {
        let caller = principal(&request)?;
        let mut message = request.into_inner();
        let now = self.clock.now();
        let mut violations = violations(&message);
        let name: Option<ChallengeName> = named(&mut violations, "name", message.name(), CHALLENGE);
        let platform = name.as_ref().map(|name| name.case.platform.clone()).unwrap_or_default();
        let occurred_at = told_time(&mut violations, "occurred_at", message.occurred_at(), now);
        let read = message.read(&mut violations, &platform, now);
        let (name, (moved, decision)) = violations.finish(name.zip(read))?;
        let by = match side {
            Side::Platform => {
                caller.require_as(Role::Reviewer, OrganisationKind::Platform, &platform)?;
                None
            }
            Side::Filer => {
                require_filer(&caller, &platform)?;
                Some(caller.organisation().clone())
            }
        };
        let told = decision.as_ref().and_then(|decision| decision.decided_at).into_iter().chain(occurred_at).min();
        let in_time = check_backdating(&caller, told, now, self.settings.backdating_days_max);
        let request_id = message.take_request_id();
        let guard = guard(M::METHOD, &request_id, &message).map(|guard| guard.unless_too_late(in_time));
        let stage = moved.stage();
        let pursuit = Box::new(Pursuit { by, moved, decision, occurred_at });
        let command = Command::Pursue { challenge: name.clone(), pursuit };
        let outcome = self.submit(&caller, guard, command).await?;
        let challenge = if let Some(challenge) = changed(&outcome) {
            challenge
        } else {
            // That had happened already: the challenge as it was then, however far it has come since.
            let mut found = self.parts.reads.challenge(&name).await?.ok_or_else(|| no_challenge(&name))?;
            let then = found.facts.iter().rposition(|fact| fact.moved.stage() == stage);
            found.facts.truncate(then.map_or(usize::MAX, |then| then + 1));
            write_challenge(&name.case, &found)
        };
        Ok(Moved { challenge, revision: Self::revision(&outcome), replayed: outcome.replayed })
    }

    /// The latest challenge of a kind and a version that the caller filed on a case, as it was filed.
    async fn filed(
        &self,
        caller: &Principal,
        case: &CaseName,
        kind: ChallengeKind,
        version: u32,
    ) -> Result<wire::Challenge> {
        let mut filed = self.parts.reads.challenges_of(case).await?;
        filed.retain(|of| (&of.by, of.kind, of.version) == (caller.organisation(), kind, version));
        let mut last = filed.pop().ok_or_else(|| Error::internal("a challenge that was filed is missing"))?;
        last.facts.clear();
        Ok(write_challenge(case, &last))
    }

    async fn one_challenge(&self, request: Request<wire::GetChallengeRequest>) -> Result<wire::GetChallengeResponse> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let name: Option<ChallengeName> = named(&mut violations, "name", &message.name, CHALLENGE);
        let name = violations.finish(name)?;
        let caller = asker.principal();
        let files = caller.kind() == OrganisationKind::Oversight;
        if !files {
            may_read(caller, Some(&name.case.platform))?;
        }
        let revisions = self.caught_up(&message.at_least).await?;
        let (challenge, agency) = if files {
            let filed = self.parts.reads.challenge(&name).await?;
            let own = filed.filter(|filed| filed.by == *caller.organisation()).ok_or_else(|| no_challenge(&name))?;
            let agency = self.parts.reads.owner(&name.case).await?.ok_or_else(|| no_challenge(&name))?;
            (write_challenge(&name.case, &own), agency)
        } else {
            let shown = self.shown_case(&asker, &name.case).await?;
            let agency = shown.record.case.referred.name.agency.clone();
            let case = super::convert::show_case(&shown, caller, String::new());
            let found = case.challenges.into_iter().find(|challenge| challenge.number == name.number);
            (found.ok_or_else(|| no_challenge(&name))?, agency)
        };
        asking.rows([(agency.as_str(), name.case.id)]).await?;
        Ok(wire::GetChallengeResponse { challenge: Some(challenge), revisions })
    }

    async fn list_of_challenges(
        &self,
        request: Request<wire::ListChallengesRequest>,
    ) -> Result<wire::ListChallengesResponse> {
        let asking = self.access.ask(&request)?;
        let asker = Asker::new(&request)?;
        let message = request.into_inner();
        let mut violations = violations(&message);
        let mut filter = read_filter(&mut violations, message.filter.as_ref());
        violations.into_result()?;
        let (case, platform) = read_parent(&message.parent);
        filter.platform = platform;
        filter.case = case.as_ref().map(|case| case.id);
        let caller = asker.principal();
        filter.filed_by = (caller.scope() == Scope::Nothing).then(|| caller.organisation().clone());
        if caller.kind() != OrganisationKind::Oversight {
            may_read(caller, filter.platform.as_deref())?;
        }
        let hash = filter_hash("ListChallenges", &message.parent, &message.filter.clone().unwrap_or_default());
        let after = read_position(Page::decode(&message.page_token, hash)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let asker = match &case {
            Some(case) if filter.filed_by.is_none() => {
                let shown = self.shown_case(&asker, case).await?;
                asker.asking(Some(&shown.record.case.referred.name.agency))
            }
            _ => asker.asking(only(&filter.agencies)),
        };
        // Whoever sees no case may still read what they filed themselves.
        let own = || Arc::new(Reader::own(asker.principal().clone()));
        let reader = if filter.filed_by.is_some() { own() } else { self.reader(&asker).await? };
        let limit = page_size(message.page_size);
        let stretch = Stretch { after, limit: one_more(limit), unchanged_since: None };
        let found = self.parts.reads.challenges(&reader, &filter, stretch).await?;
        self.still(&asker, &reader).await?;
        let rows =
            found.iter().map(|shown| (position_key(shown.filed), write_challenge(&shown.case, &shown.challenge)));
        let (challenges, next_page_token) = page(hash, limit, rows);
        let shown = found.iter().take(challenges.len()).map(|shown| (shown.agency.as_str(), shown.case.id));
        asking.rows(shown).await?;
        Ok(wire::ListChallengesResponse { challenges, next_page_token, revisions })
    }
}

/// Refuses who may not file or pursue challenges against a platform's decisions: an agency's officer, an oversight body's
/// supervisor, or a reviewer of that platform.
fn require_filer(caller: &Principal, platform: &str) -> Result<()> {
    let organisation = caller.organisation();
    match organisation.kind() {
        OrganisationKind::Agency => caller.require_as(Role::Officer, OrganisationKind::Agency, organisation.id()),
        OrganisationKind::Oversight => {
            caller.require_as(Role::Supervisor, OrganisationKind::Oversight, organisation.id())
        }
        OrganisationKind::Platform => caller.require_as(Role::Reviewer, OrganisationKind::Platform, platform),
        _ => Err(caller.denied()),
    }
}

fn read_filter(violations: &mut Violations, filter: Option<&wire::ChallengeFilter>) -> ChallengeFilter {
    let Some(filter) = filter else { return ChallengeFilter::default() };
    ChallengeFilter {
        kinds: filter.kinds.iter().filter_map(|code| ChallengeKind::from_code(*code)).collect(),
        stages: filter.stages.iter().filter_map(|code| Stage::from_code(*code)).collect(),
        open: filter.open,
        agencies: filter.agencies.iter().filter_map(|name| agency(name)).collect(),
        due_before: optional_time(violations, "filter.due_before", filter.due_before.as_ref()),
        ..ChallengeFilter::default()
    }
}

/// The challenge as a command left it, from the event alone, so that a replay gives the same.
fn changed(outcome: &Outcome<Event>) -> Option<wire::Challenge> {
    outcome.events.iter().find_map(|recorded| match &recorded.event {
        Event::ChallengeChanged(changed, number) => {
            let challenge = changed.case.challenges.iter().find(|challenge| challenge.number == *number)?;
            Some(write_challenge(&changed.case.name(), challenge))
        }
        _ => None,
    })
}
