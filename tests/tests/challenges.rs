//! Challenges through the public API and the command line: an agency, whoever posted the content and oversight think that a
//! decision is wrong, the platform answers, others decide. The case stands as it is decided all the while.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::Path;

use portreeve_api::decision::v1 as wire;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1 as reporting;
use portreeve_core::limits;
use portreeve_tests::{Client, Database, Fixture, Part, Server, on_both_engines, process, refusal, sample};
use tonic::{Code, Status};
use wire::case_change::Change;
use wire::{Challenge, ChallengeKind as Kind, ChallengeOutcome as Outcome, ChallengeStage as Stage};

on_both_engines!(
    more_than_a_fifth_is_reversed_on_challenge,
    every_way_that_a_challenge_can_go,
    who_may_see_and_do_what,
    partners_see_what_their_agreement_shows,
    words_are_erased_and_facts_stay,
    what_is_wrong_is_told_at_once,
);

struct World {
    server: Server,
    client: Client,
    citation: wire::ClauseCitation,
}

impl World {
    async fn new(database: &Database) -> Self {
        let (server, _) = Server::suite_at(database, "2020-09-03T09:00:00Z").await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        let (citation, _) = sample::clause(&client, "chirrup", "requests").await;
        Self { server, client, citation }
    }

    fn nca(&self) -> Client {
        self.client.acting("agencies/nca")
    }

    fn chirrup(&self) -> Client {
        self.client.acting("platforms/chirrup")
    }

    fn hac(&self) -> Client {
        self.client.acting("oversightBodies/hac").roles(&["supervisor"])
    }

    /// A case that the platform left open, because a clause permits it.
    async fn rejected(&self, tag: &str) -> (referral::Referral, String) {
        let (sent, revision) = sample::refer(&self.client, "nca", "chirrup", tag).await;
        let case = sample::case_of(&sent);
        let mut decisions = self.chirrup().decisions();
        let get = wire::GetCaseRequest { name: case.clone(), at_least: vec![revision] };
        decisions.get_case(get).await.unwrap();
        let cases = [case.clone()];
        decisions.acknowledge_cases(sample::acknowledge("chirrup", &cases, &format!("ack {tag}"))).await.unwrap();
        let draft = sample::permitted(&self.citation);
        decisions.record_decision(sample::record(&case, draft, &format!("decide {tag}"))).await.unwrap();
        (sent, case)
    }

    /// As many of them, in order.
    async fn many_rejected(&self, count: usize) -> Vec<String> {
        let request = referral::BatchCreateReferralsRequest {
            parent: "agencies/nca".into(),
            drafts: (0..count).map(|number| sample::draft("chirrup", &format!("post {number}"))).collect(),
            request_id: sample::request_id("many"),
        };
        let sent = self.nca().referrals().batch_create_referrals(request).await.unwrap().into_inner();
        let cases = sent.referrals.iter().map(sample::case_of).collect::<Vec<_>>();
        let mut decisions = self.chirrup().decisions();
        let get = wire::GetCaseRequest { name: cases[0].clone(), at_least: vec![sent.revision] };
        decisions.get_case(get).await.unwrap();
        decisions.acknowledge_cases(sample::acknowledge("chirrup", &cases, "many")).await.unwrap();
        let items = cases.iter().map(|case| wire::BatchDecisionItem {
            case: case.clone(),
            decision: Some(sample::permitted(&self.citation)),
            expected_version: None,
            request_id: sample::request_id(&format!("many {case}")),
        });
        let request = wire::BatchRecordDecisionsRequest { parent: "platforms/chirrup".into(), items: items.collect() };
        decisions.batch_record_decisions(request).await.unwrap();
        cases
    }

    async fn file(&self, case: &str, id: &str) -> Challenge {
        let filed = self.nca().challenges().file_challenge(sample::challenge(case, 1, id)).await.unwrap();
        filed.into_inner().challenge.unwrap()
    }

    async fn acknowledge(&self, name: &str) -> Challenge {
        let request = wire::AcknowledgeChallengeRequest {
            name: name.into(),
            occurred_at: None,
            request_id: sample::request_id(&format!("acknowledge {name}")),
        };
        self.chirrup().challenges().acknowledge_challenge(request).await.unwrap().into_inner().challenge.unwrap()
    }

    /// Every change of the platform's cases, as it sees them.
    async fn changes(&self) -> Vec<wire::CaseChange> {
        let request = wire::ListCaseChangesRequest {
            parent: "platforms/chirrup".into(),
            start: Some(wire::list_case_changes_request::Start::Earliest(true)),
            page_size: 100,
            ..wire::ListCaseChangesRequest::default()
        };
        self.chirrup().decisions().list_case_changes(request).await.unwrap().into_inner().changes
    }

    async fn case(&self, name: &str) -> wire::Case {
        let request = wire::GetCaseRequest { name: name.into(), at_least: Vec::new() };
        self.chirrup().decisions().get_case(request).await.unwrap().into_inner().case.unwrap()
    }
}

fn verdict(name: &str, outcome: Outcome, decision: Option<wire::DecisionDraft>) -> wire::DecideChallengeRequest {
    wire::DecideChallengeRequest {
        name: name.into(),
        outcome: outcome.into(),
        explanation: "We looked again.".into(),
        decision,
        occurred_at: None,
        request_id: sample::request_id(&format!("verdict {name} {}", outcome.as_str_name())),
    }
}

/// Closed after all, because of a challenge.
fn reversal(cause: wire::CauseKind) -> wire::DecisionDraft {
    let draft = sample::later(wire::DecisionKind::Reversed, sample::closed());
    let cause = wire::DecisionCause { kind: cause.into(), ..wire::DecisionCause::default() };
    wire::DecisionDraft { cause: Some(cause), ..draft }
}

async fn get(client: &Client, name: &str) -> Result<Challenge, Status> {
    let request = wire::GetChallengeRequest { name: name.into(), at_least: Vec::new() };
    Ok(client.challenges().get_challenge(request).await?.into_inner().challenge.unwrap())
}

async fn list(client: &Client, parent: &str, filter: wire::ChallengeFilter) -> Result<Vec<Challenge>, Status> {
    let mut request = wire::ListChallengesRequest {
        parent: parent.into(),
        filter: Some(filter),
        page_size: 2,
        ..wire::ListChallengesRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let reply = client.challenges().list_challenges(request.clone()).await?.into_inner();
        assert!(reply.challenges.len() == 2 || reply.next_page_token.is_empty());
        found.extend(reply.challenges);
        if reply.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = reply.next_page_token;
    }
}

/// Golden scenario nine: of 250 rejections that an agency challenges, 57 are reversed, which is 22.8 %.
async fn more_than_a_fifth_is_reversed_on_challenge(database: &Database) {
    let world = World::new(database).await;
    let cases = world.many_rejected(250).await;
    let mut challenges = world.nca().challenges();
    for case in &cases {
        challenges.file_challenge(sample::challenge(case, 1, "all")).await.unwrap();
    }
    let parent = "platforms/-/cases/-";
    let open = wire::ChallengeFilter { open: true, ..wire::ChallengeFilter::default() };
    let filed = list(&world.nca(), parent, open.clone()).await.unwrap();
    assert_eq!(filed.len(), 250);
    // While they are open nothing has changed, and nothing is in the way of another referral of the same target.
    assert_eq!(world.case(&cases[0]).await.status(), wire::CaseStatus::Decided);
    let mut draft = sample::draft("chirrup", "post 0");
    draft.links = vec![referral::ReferralLink {
        kind: referral::ReferralLinkKind::Follows.into(),
        referral: cases[0].replace("platforms/chirrup/cases", "agencies/nca/referrals"),
        ..referral::ReferralLink::default()
    }];
    let again = sample::create("nca", draft, "the same target again");
    let again = world.nca().referrals().create_referral(again).await.unwrap().into_inner();
    assert_ne!(sample::case_of(&again.referral.unwrap()), cases[0]);

    let mut revision = String::new();
    for (number, challenge) in filed.iter().enumerate() {
        world.acknowledge(&challenge.name).await;
        let request = if number % 50 < 11 || number > 247 {
            verdict(&challenge.name, Outcome::Reversed, Some(reversal(wire::CauseKind::Challenge)))
        } else {
            verdict(&challenge.name, Outcome::Upheld, None)
        };
        revision = world.chirrup().challenges().decide_challenge(request).await.unwrap().into_inner().revision;
    }
    let all = list(&world.nca(), parent, wire::ChallengeFilter::default()).await.unwrap();
    let mut by_stage = BTreeMap::<Stage, usize>::new();
    for challenge in &all {
        *by_stage.entry(challenge.stage()).or_default() += 1;
    }
    assert_eq!(by_stage, BTreeMap::from([(Stage::Upheld, 193), (Stage::Reversed, 57)]));
    let reversed = by_stage[&Stage::Reversed];
    assert_eq!(reversed * 1_000 / all.len(), 228, "22.8 %");
    assert_eq!(list(&world.nca(), parent, open).await.unwrap(), []);
    let reversed = wire::ChallengeFilter { stages: vec![Stage::Reversed.into()], ..wire::ChallengeFilter::default() };
    assert_eq!(list(&world.chirrup(), "platforms/chirrup/cases/-", reversed).await.unwrap().len(), 57);

    // Each reversal is a version that names its challenge, and the figures follow the decisions: 57 closed, 193 permitted.
    let case = world.case(&cases[0]).await;
    let latest = case.latest_decision.clone().unwrap();
    assert_eq!((latest.version, latest.kind()), (2, wire::DecisionKind::Reversed));
    assert_eq!(latest.cause.unwrap().reference, case.challenges[0].name);
    assert_eq!(case.challenges[0].facts.last().unwrap().decision_version, 2);
    let definition = reporting::ReportDefinition {
        cohort_from_date: "2020-09-01".into(),
        cohort_until_date: "2020-09-30".into(),
        as_of_date: "2020-09-03".into(),
        dimensions: vec![reporting::Dimension::Disposition.into()],
        ..reporting::ReportDefinition::default()
    };
    let report = world.nca().report(definition, &[revision]).await.unwrap();
    let counted = |of: &str| {
        let row = report.rows.iter().find(|row| row.key[0].value == of).unwrap();
        row.counts.as_ref().unwrap().referred
    };
    assert_eq!(["CLOSED", "PERMITTED_BY_POLICY", "SUBMITTED"].map(counted), [57, 193, 1]);
    assert_eq!(report.total.unwrap().counts.unwrap().referred, 251);
}

async fn every_way_that_a_challenge_can_go(database: &Database) {
    let world = World::new(database).await;
    let (_, case) = world.rejected("a post").await;
    let filed = world.file(&case, "first").await;
    assert_eq!(filed.name, format!("{case}/challenges/1"));
    assert_eq!((filed.stage(), filed.kind(), filed.open), (Stage::Filed, Kind::ReferrerChallenge, true));
    assert_eq!(filed.due_at.unwrap().seconds - filed.filed_at.unwrap().seconds, 14 * 86_400);
    let mut nca = world.nca().challenges();
    let mut chirrup = world.chirrup().challenges();
    // The same request, the same challenge under another request, and another one while it is open.
    let again = nca.file_challenge(sample::challenge(&case, 1, "first")).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.challenge.as_ref()), (true, Some(&filed)));
    let same = nca.file_challenge(sample::challenge(&case, 1, "second")).await.unwrap().into_inner();
    assert_eq!((same.replayed, same.challenge.as_ref()), (false, Some(&filed)));
    let mut complaint = sample::challenge(&case, 1, "complaint");
    complaint.challenge.as_mut().unwrap().kind = Kind::ContentOwnerComplaint.into();
    complaint.challenge.as_mut().unwrap().reasons.clear();
    let mut another = sample::challenge(&case, 1, "another");
    another.challenge.as_mut().unwrap().reasons = "Something else.".into();
    let no = refusal(&nca.file_challenge(another).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str()), (Code::FailedPrecondition, "CHALLENGE_OPEN"));
    assert_eq!((&no.metadata["challenge"], no.metadata["stage"].as_str()), (&filed.name, "FILED"));

    // Not acknowledged, it is not decided.
    let no = refusal(&chirrup.decide_challenge(verdict(&filed.name, Outcome::Upheld, None)).await.unwrap_err());
    assert_eq!((no.reason.as_str(), no.metadata["from"].as_str()), ("INVALID_TRANSITION", "FILED"));
    assert_eq!(no.metadata["to"], "UPHELD");
    world.acknowledge(&filed.name).await;
    let review = wire::BeginChallengeReviewRequest {
        name: filed.name.clone(),
        occurred_at: None,
        request_id: sample::request_id("review"),
    };
    chirrup.begin_challenge_review(review).await.unwrap();
    let upheld = verdict(&filed.name, Outcome::Upheld, None);
    let told = chirrup.decide_challenge(upheld.clone()).await.unwrap().into_inner();
    let challenge = told.challenge.unwrap();
    assert_eq!((challenge.stage(), challenge.open, challenge.due_at), (Stage::Upheld, false, None));
    let again = wire::DecideChallengeRequest { request_id: sample::request_id("again"), ..upheld };
    assert_eq!(chirrup.decide_challenge(again).await.unwrap().into_inner().challenge.as_ref(), Some(&challenge));

    // Elsewhere it is decided otherwise, which the platform does not follow at first.
    let refer = wire::ReferChallengeRequest {
        name: filed.name.clone(),
        forum: wire::ExternalForum::OutOfCourt.into(),
        body: "Appeals Centre".into(),
        reference: "AC/2020/7".into(),
        occurred_at: None,
        request_id: sample::request_id("refer"),
    };
    let outside = nca.refer_challenge(refer).await.unwrap().into_inner().challenge.unwrap();
    let since = outside.facts.last().unwrap().occurred_at.unwrap().seconds;
    assert_eq!((outside.stage(), outside.due_at.unwrap().seconds - since), (Stage::External, 90 * 86_400));
    let decided = wire::RecordExternalOutcomeRequest {
        name: filed.name.clone(),
        outcome: Outcome::Reversed.into(),
        procedural: false,
        occurred_at: None,
        request_id: sample::request_id("outcome"),
    };
    assert!(nca.record_external_outcome(decided).await.unwrap().into_inner().challenge.unwrap().open);
    let implement = |implemented, decision, id: &str| wire::ImplementChallengeRequest {
        name: filed.name.clone(),
        implemented,
        decision,
        occurred_at: None,
        request_id: sample::request_id(id),
    };
    let undone =
        chirrup.implement_challenge(implement(false, None, "not")).await.unwrap().into_inner().challenge.unwrap();
    assert_eq!((undone.stage(), undone.open), (Stage::NotImplemented, false));
    let done = implement(true, Some(reversal(wire::CauseKind::Court)), "done");
    let done = chirrup.implement_challenge(done).await.unwrap().into_inner().challenge.unwrap();
    assert_eq!((done.stage(), done.facts.last().unwrap().decision_version), (Stage::Implemented, 2));
    let close = wire::CloseChallengeRequest {
        name: filed.name.clone(),
        occurred_at: None,
        request_id: sample::request_id("close"),
    };
    assert_eq!(nca.close_challenge(close).await.unwrap().into_inner().challenge.unwrap().stage(), Stage::Closed);

    // The complaint of whoever posted it is of the version that is in force now.
    let no = refusal(&chirrup.file_challenge(complaint.clone()).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str()), (Code::Aborted, "STALE_VERSION"));
    complaint.challenge.as_mut().unwrap().decision_version = 2;
    let second = chirrup.file_challenge(complaint).await.unwrap().into_inner().challenge.unwrap();
    assert_eq!((second.number, second.filed_by.as_str(), second.reasons.as_str()), (2, "platforms/chirrup", ""));
    assert_eq!(get(&world.nca(), &second.name).await.unwrap(), second);

    // Whoever watches learns of each change, with the decision before it.
    let changes = world.changes().await;
    let told = changes.iter().filter_map(|change| match change.change.as_ref()? {
        Change::Decided(case) => Some(format!("decided {}", case.decision_version)),
        Change::ChallengeChanged(case) => {
            let of = case.challenges.iter().find(|of| of.number == change.challenge)?;
            Some(format!(
                "{} {} by {}",
                of.number,
                of.stage().as_str_name().trim_start_matches("CHALLENGE_STAGE_"),
                change.actor
            ))
        }
        _ => None,
    });
    let expected = [
        "decided 1",
        "1 FILED by agencies/nca",
        "1 ACKNOWLEDGED by platforms/chirrup",
        "1 IN_REVIEW by platforms/chirrup",
        "1 UPHELD by platforms/chirrup",
        "1 EXTERNAL by agencies/nca",
        "1 EXTERNALLY_DECIDED by agencies/nca",
        "1 NOT_IMPLEMENTED by platforms/chirrup",
        "decided 2",
        "1 IMPLEMENTED by platforms/chirrup",
        "1 CLOSED by agencies/nca",
        "2 FILED by platforms/chirrup",
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    // The tables are a view of the log.
    let dump = world.server.dump(Part::Decision).await;
    assert_eq!(dump.iter().filter(|row| row.starts_with("challenge ")).count(), 2);
    world.server.rebuilds(&[Part::Decision]).await;
}

async fn who_may_see_and_do_what(database: &Database) {
    let world = World::new(database).await;
    let (_, case) = world.rejected("a post").await;
    let (_, other) = world.rejected("another").await;
    let own = world.file(&case, "own").await;
    let mut review = sample::challenge(&other, 1, "review");
    review.challenge.as_mut().unwrap().kind = Kind::OversightReview.into();
    let review = world.hac().challenges().file_challenge(review).await.unwrap().into_inner().challenge.unwrap();
    let all = wire::ChallengeFilter::default;
    for (reader, parent, seen) in [
        (world.nca(), "platforms/-/cases/-", vec![&own, &review]),
        (world.nca(), case.as_str(), vec![&own]),
        (world.chirrup(), "platforms/chirrup/cases/-", vec![&own, &review]),
        (world.hac(), "platforms/-/cases/-", vec![&review]),
        (world.hac(), case.as_str(), vec![]),
        (world.client.acting("agencies/bka"), "platforms/-/cases/-", vec![]),
        (world.client.acting("platforms/lensgram"), "platforms/-/cases/-", vec![]),
        (world.client.acting("oversightBodies/second"), "platforms/-/cases/-", vec![]),
        (world.client.acting("services/reporting"), "platforms/-/cases/-", vec![&own, &review]),
    ] {
        let found = list(&reader, parent, all()).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), seen, "{parent}");
        for challenge in seen {
            assert_eq!(&get(&reader, &challenge.name).await.unwrap(), challenge);
        }
    }
    // Oversight sees what it filed and nothing else of the case.
    assert_eq!(refusal(&get(&world.hac(), &own.name).await.unwrap_err()).reason, "CHALLENGE_NOT_FOUND");
    let missing = format!("{case}/challenges/9");
    for (stranger, reason) in [
        (world.client.acting("agencies/bka"), "PERMISSION_DENIED"),
        (world.client.acting("platforms/lensgram"), "PERMISSION_DENIED"),
        (world.client.clone(), "PERMISSION_DENIED"),
        (world.client.acting("oversightBodies/second"), "CHALLENGE_NOT_FOUND"),
    ] {
        for name in [&own.name, &missing] {
            assert_eq!(refusal(&get(&stranger, name).await.unwrap_err()).reason, reason, "{name}");
        }
    }
    assert_eq!(refusal(&get(&world.nca(), &missing).await.unwrap_err()).reason, "CHALLENGE_NOT_FOUND");
    let no = list(&world.client.acting("platforms/lensgram"), "platforms/chirrup/cases/-", all()).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");

    // Who files: the agency whose referral it is, the platform whose case, oversight's supervisors.
    for (caller, reason) in [
        (world.client.acting("agencies/bka"), "PERMISSION_DENIED"),
        (world.nca().roles(&["approver"]), "PERMISSION_DENIED"),
        (world.client.acting("platforms/lensgram"), "PERMISSION_DENIED"),
        (world.client.acting("oversightBodies/hac").roles(&["analyst"]), "PERMISSION_DENIED"),
        (world.client.clone(), "PERMISSION_DENIED"),
        (world.chirrup(), "REQUEST_INVALID"),
    ] {
        let no = caller.challenges().file_challenge(sample::challenge(&case, 1, "not theirs")).await.unwrap_err();
        assert_eq!(refusal(&no).reason, reason);
    }
    // Who moves it on: the platform its own steps, whoever filed it the others.
    let acknowledge = |id: &str| wire::AcknowledgeChallengeRequest {
        name: own.name.clone(),
        occurred_at: None,
        request_id: sample::request_id(id),
    };
    for caller in [world.nca(), world.client.acting("platforms/lensgram"), world.chirrup().roles(&["policy-editor"])] {
        let no = caller.challenges().acknowledge_challenge(acknowledge("not theirs")).await.unwrap_err();
        assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
    }
    let close = |id: &str| wire::CloseChallengeRequest {
        name: own.name.clone(),
        occurred_at: None,
        request_id: sample::request_id(id),
    };
    for (caller, reason) in [
        (world.hac(), "CHALLENGE_NOT_FOUND"),
        (world.chirrup(), "CHALLENGE_NOT_FOUND"),
        (world.client.acting("agencies/bka"), "CHALLENGE_NOT_FOUND"),
        (world.client.acting("platforms/lensgram"), "PERMISSION_DENIED"),
        (world.nca().roles(&["approver"]), "PERMISSION_DENIED"),
    ] {
        let no = caller.challenges().close_challenge(close("not theirs")).await.unwrap_err();
        assert_eq!(refusal(&no).reason, reason);
    }
    world.nca().challenges().close_challenge(close("theirs")).await.unwrap();
}

async fn partners_see_what_their_agreement_shows(database: &Database) {
    let world = World::new(database).await;
    let (_, case) = world.rejected("a post").await;
    let mut agreement = sample::agreement(["nca", "bka"], "2021-01-01");
    agreement.field_groups.retain(|group| *group != i32::from(referral::FieldGroup::Reasons));
    let (_, revision) = sample::agree(&world.client, agreement, "without reasons").await;
    let own = world.file(&case, "own").await;
    let partner = world.client.acting("agencies/bka").purpose("investigation");
    let request = wire::ListChallengesRequest {
        parent: "platforms/-/cases/-".into(),
        at_least: vec![revision],
        ..wire::ListChallengesRequest::default()
    };
    let seen = partner.challenges().list_challenges(request).await.unwrap().into_inner().challenges;
    let without = Challenge { reasons: String::new(), ..own.clone() };
    assert_eq!(seen, std::slice::from_ref(&without));
    assert_eq!(get(&partner, &own.name).await.unwrap(), without);
    let get_case = wire::GetCaseRequest { name: case.clone(), at_least: Vec::new() };
    let shown = partner.decisions().get_case(get_case).await.unwrap().into_inner().case.unwrap();
    assert_eq!((shown.challenges, shown.challenge_words), (vec![without], None));
    // It neither files nor pursues.
    let no = partner.challenges().file_challenge(sample::challenge(&case, 1, "partner")).await.unwrap_err();
    assert_eq!(refusal(&no).reason, "PERMISSION_DENIED");
}

async fn words_are_erased_and_facts_stay(database: &Database) {
    let world = World::new(database).await;
    let (sent, case) = world.rejected("a post").await;
    let own = world.file(&case, "own").await;
    world.acknowledge(&own.name).await;
    let upheld = verdict(&own.name, Outcome::Upheld, None);
    world.chirrup().challenges().decide_challenge(upheld).await.unwrap();
    let erase = referral::EraseReferralRequest {
        name: sent.name.clone(),
        field_groups: vec![referral::FieldGroup::Reasons.into()],
        reason: "Asked for.".into(),
        request_id: sample::request_id("erase"),
    };
    let reply = world.nca().retention().erase_referral(erase).await.unwrap().into_inner();
    let request = wire::GetChallengeRequest { name: own.name.clone(), at_least: vec![reply.revision] };
    let left = world.nca().challenges().get_challenge(request).await.unwrap().into_inner().challenge.unwrap();
    assert_eq!((left.stage(), left.facts.len(), left.reasons.as_str()), (Stage::Upheld, 2, ""));
    assert!(left.facts.iter().all(|fact| fact.explanation.is_empty()));
    // Nor do earlier changes tell, nor the tables, nor what is built again from the log.
    let told = format!("{:?}", world.changes().await);
    assert!(!told.contains("places on a boat") && !told.contains("looked again"), "{told}");
    let dump = world.server.dump(Part::Decision).await;
    world.server.rebuilds(&[Part::Decision]).await;
    let hex = |text: &str| portreeve_core::audit::hex(text.as_bytes());
    for words in ["places on a boat", "looked again"] {
        assert!(!dump.iter().any(|row| row.contains(words) || row.to_lowercase().contains(&hex(words))), "{words}");
    }
}

async fn what_is_wrong_is_told_at_once(database: &Database) {
    let world = World::new(database).await;
    let (_, case) = world.rejected("a post").await;
    let own = world.file(&case, "own").await;
    let head = world.server.head(Part::Decision).await;
    let fields = |status: Status| {
        let no = refusal(&status);
        assert_eq!(no.reason, "REQUEST_INVALID");
        no.fields.join(" ")
    };
    let mut nca = world.nca().challenges();
    let mut chirrup = world.chirrup().challenges();
    let bare = wire::FileChallengeRequest { parent: "x".into(), ..wire::FileChallengeRequest::default() };
    assert_eq!(fields(nca.file_challenge(bare).await.unwrap_err()), "parent challenge request_id");
    for (reasons, wrong) in [
        (String::new(), true),
        ("  ".into(), true),
        ("x".repeat(limits::CHALLENGE_CHARS_MAX + 1), true),
        ("x".repeat(limits::CHALLENGE_CHARS_MAX), false),
    ] {
        let mut request = sample::challenge(&case, 1, &format!("texts {}", reasons.len()));
        request.challenge.as_mut().unwrap().reasons = reasons;
        let told = nca.file_challenge(request).await.unwrap_err();
        if wrong {
            assert_eq!(fields(told), "challenge.reasons");
        } else {
            // Short enough, it meets the open one.
            assert_eq!(refusal(&told).reason, "CHALLENGE_OPEN");
        }
    }
    let bare = wire::DecideChallengeRequest {
        name: "x".into(),
        explanation: "x".repeat(limits::CHALLENGE_CHARS_MAX + 1),
        ..wire::DecideChallengeRequest::default()
    };
    assert_eq!(fields(chirrup.decide_challenge(bare).await.unwrap_err()), "name outcome explanation request_id");
    let bare = wire::ReferChallengeRequest { reference: "x".repeat(201), ..wire::ReferChallengeRequest::default() };
    assert_eq!(fields(nca.refer_challenge(bare).await.unwrap_err()), "name forum body reference request_id");
    world.acknowledge(&own.name).await;
    let head = head + 1;
    // A decision that goes with a verdict is read as any other.
    let mut decision = reversal(wire::CauseKind::Challenge);
    decision.law.clear();
    let request = verdict(&own.name, Outcome::Reversed, Some(decision));
    assert_eq!(fields(chirrup.decide_challenge(request).await.unwrap_err()), "decision.law");
    let request = verdict(&own.name, Outcome::Reversed, None);
    assert_eq!(fields(chirrup.decide_challenge(request).await.unwrap_err()), "decision");
    let motion = verdict(&own.name, Outcome::Reversed, Some(reversal(wire::CauseKind::OwnMotion)));
    assert_eq!(fields(chirrup.decide_challenge(motion).await.unwrap_err()), "decision.cause");
    let foreign = format!("{case}/challenges/2");
    let no = refusal(&chirrup.decide_challenge(verdict(&foreign, Outcome::Upheld, None)).await.unwrap_err());
    assert_eq!((no.code, no.reason.as_str(), &no.metadata["name"]), (Code::NotFound, "CHALLENGE_NOT_FOUND", &foreign));
    assert_eq!(world.server.head(Part::Decision).await, head, "nothing else was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_files_answers_and_lists() {
    let fixture = Fixture::sqlite();
    let world = World::new(&fixture.database).await;
    let (_, case) = world.rejected("a post").await;
    let url = world.server.url();
    let run = |acting: &str, arguments: &[&str]| {
        process::run(Path::new("."), &[arguments, &["--server", &url, "--as", acting]].concat())
    };
    let (code, said) =
        run("agencies/nca", &["challenge", "file", &case, "--version", "1", "--reasons", "It offers places"]);
    assert!(code == 0 && said.starts_with("filed: "), "{said}");
    let name = said.split_whitespace().nth(1).unwrap().to_owned();
    let (code, said) = run("platforms/chirrup", &["challenge", "list", "--open"]);
    assert!(code == 0 && said.contains(&name) && said.contains("REFERRER_CHALLENGE"), "{said}");
    let (code, said) = run("platforms/chirrup", &["challenge", "decide", &name, "upheld"]);
    assert!(code == 1 && said.contains("INVALID_TRANSITION") && said.contains("acknowledge it first"), "{said}");
    for (step, stage) in [("acknowledge", "acknowledged"), ("review", "in_review")] {
        let (code, said) = run("platforms/chirrup", &["challenge", step, &name]);
        assert!(code == 0 && said.starts_with(stage), "{said}");
    }
    let decision = ["--outcome", "closed-illegal", "--law", "s. 25", "--kind", "reversed", "--cause", "challenge"];
    let decide = [&["challenge", "decide", &name, "reversed", "--why", "It is an offer"][..], &decision].concat();
    let (code, said) = run("platforms/chirrup", &decide);
    assert!(code == 0 && said.starts_with("reversed: "), "{said}");
    let (code, said) = run("agencies/nca", &["challenge", "show", &name]);
    assert!(code == 0 && said.contains("It offers places") && said.contains("It is an offer"), "{said}");
    let (_, said) = run("agencies/nca", &["challenge", "list", "--open"]);
    assert!(!said.contains(&name), "{said}");
    let (code, said) = run("agencies/nca", &["challenge", "list", &case, "--json"]);
    assert!(code == 0 && said.contains("\"decisionVersion\":2"), "{said}");
}
