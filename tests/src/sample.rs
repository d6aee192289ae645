//! Things to send. All names are invented, all hosts reserved.

use portreeve_api::common::v1::{Ground, ReferralNature, TargetKind, Tlp, WatchStart, watch_start};
use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_core::Timestamp;
use prost_types::Timestamp as WireTime;
use uuid::Uuid;

use crate::Client;

/// Platforms with the hosts that route to them.
pub const PLATFORMS: [(&str, &str); 3] =
    [("harbourbook", "harbourbook.example"), ("chirrup", "chirrup.example"), ("lensgram", "lensgram.example")];
/// Agencies.
pub const AGENCIES: [&str; 2] = ["nca", "bka"];

/// A request id that is the same for the same words.
pub fn request_id(words: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("https://portreeve.example/{words}").as_bytes()).to_string()
}

/// A time for the wire, from RFC 3339 or a bare date.
pub fn time(text: &str) -> WireTime {
    wire_time(text.parse().expect("a time"))
}

/// A time for the wire.
pub fn wire_time(time: Timestamp) -> WireTime {
    let (seconds, nanos) = time.to_parts();
    WireTime { seconds, nanos }
}

/// Microseconds of a time of the wire.
pub fn micros(time: Option<&WireTime>) -> i64 {
    time.map_or(i64::MIN, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

/// A referral to a platform; `tag` tells it from others.
pub fn draft(platform: &str, tag: &str) -> referral::ReferralDraft {
    referral::ReferralDraft {
        platform: format!("platforms/{platform}"),
        target: Some(referral::Target {
            kind: TargetKind::Page.into(),
            url: format!("https://{platform}.example/pages/{}", tag.replace(' ', "-")),
            native_id: tag.to_owned(),
            ..referral::Target::default()
        }),
        nature: ReferralNature::VoluntaryReferral.into(),
        ground: Ground::OfferTransportSea.into(),
        legal_basis: Some(referral::LegalBasis {
            code: "IA1971_S25".into(),
            statute: "Immigration Act 1971".into(),
            section: "s. 25".into(),
        }),
        statement_of_reasons: "Offers crossings by boat for a price.".into(),
        statement_language: "en".into(),
        content_language: "sq".into(),
        ..referral::ReferralDraft::default()
    }
}

/// A removal order under the TCO regulation, which cannot wait for a pre-notice.
pub fn order(platform: &str, tag: &str) -> referral::ReferralDraft {
    referral::ReferralDraft {
        nature: ReferralNature::Order.into(),
        order: Some(referral::OrderTerms {
            regime: referral::OrderRegime::Tco.into(),
            issuing_authority: "Bundeskriminalamt".into(),
            redress: "Within two weeks, before the administrative court of Wiesbaden.".into(),
            emergency: "The attack is announced for tonight.".into(),
            ..referral::OrderTerms::default()
        }),
        ..draft(platform, tag)
    }
}

/// A request to send a draft.
pub fn create(agency: &str, draft: referral::ReferralDraft, id: &str) -> referral::CreateReferralRequest {
    referral::CreateReferralRequest {
        parent: format!("agencies/{agency}"),
        referral: Some(draft),
        request_id: request_id(id),
    }
}

/// A request of an agency to register an interest in an address.
pub fn interest(agency: &str, platform: &str, url: &str, until: &str, id: &str) -> referral::RegisterInterestsRequest {
    let target = referral::Target { kind: TargetKind::Page.into(), url: url.to_owned(), ..referral::Target::default() };
    referral::RegisterInterestsRequest {
        parent: format!("agencies/{agency}"),
        interests: vec![referral::InterestDraft {
            target: Some(referral::MatchTarget { platform: format!("platforms/{platform}"), target: Some(target) }),
            contact: "duty desk, +44 20 7946 0000".into(),
            priority: referral::InterestPriority::High.into(),
            reference: "file 2026/17".into(),
            expires_at: Some(time(until)),
        }],
        request_id: request_id(id),
    }
}

/// A request to withdraw a referral.
pub fn withdraw(name: &str, id: &str) -> referral::WithdrawReferralRequest {
    referral::WithdrawReferralRequest {
        name: name.to_owned(),
        reason: "Sent to the wrong platform.".into(),
        occurred_at: None,
        request_id: request_id(id),
    }
}

/// An agreement of two agencies on everything but what is marked RED, from 2020 until a time, after which nothing of it is
/// read.
pub fn agreement(parties: [&str; 2], until: &str) -> referral::Agreement {
    use referral::{AfterEnd, FieldGroup, Purpose};
    let groups = [
        FieldGroup::Target,
        FieldGroup::Reasons,
        FieldGroup::LegalBasis,
        FieldGroup::Grade,
        FieldGroup::Decision,
        FieldGroup::Figures,
    ];
    referral::Agreement {
        title: "Channel crossings".into(),
        parties: parties.map(|party| format!("agencies/{party}")).to_vec(),
        purposes: vec![Purpose::Investigation.into()],
        field_groups: groups.map(Into::into).to_vec(),
        tlp_ceiling: Tlp::AmberStrict.into(),
        accepts_conditions: true,
        start_time: Some(time("2020-01-01")),
        end_time: Some(time(until)),
        after_end: AfterEnd::Freeze.into(),
        ..referral::Agreement::default()
    }
}

/// A request of the first party to agree on it.
pub fn propose(agreement: referral::Agreement, id: &str) -> referral::CreateAgreementRequest {
    referral::CreateAgreementRequest {
        parent: agreement.parties[0].clone(),
        agreement: Some(agreement),
        request_id: request_id(id),
    }
}

/// A request of a party to accept one.
pub fn accept(name: &str, party: &str, id: &str) -> referral::AcceptAgreementRequest {
    referral::AcceptAgreementRequest {
        name: name.to_owned(),
        party: party.to_owned(),
        request_id: request_id(id),
        etag: String::new(),
    }
}

/// Agrees, in the name of every party; gives the agreement's name and the last revision.
pub async fn agree(client: &Client, agreement: referral::Agreement, id: &str) -> (String, String) {
    let (proposer, rest) = agreement.parties.split_first().map(|(first, rest)| (first.clone(), rest.to_vec())).unwrap();
    let mut agreements = client.acting(&proposer).agreements();
    let proposed = agreements.create_agreement(propose(agreement, &format!("propose {id}"))).await.unwrap();
    let name = proposed.into_inner().agreement.unwrap().name;
    let mut revision = String::new();
    for party in rest {
        let mut agreements = client.acting(&party).agreements();
        let request = accept(&name, &party, &format!("accept {id} {party}"));
        revision = agreements.accept_agreement(request).await.unwrap().into_inner().revision;
    }
    (name, revision)
}

/// The name of the case of a referral.
pub fn case_of(referral: &referral::Referral) -> String {
    let (_, id) = referral.name.rsplit_once('/').unwrap();
    format!("{}/cases/{id}", referral.platform)
}

/// A request to register an organisation: `platforms/harbourbook`, with its hosts if it has any.
pub fn organisation(name: &str, hosts: &[&str]) -> referral::CreateOrganisationRequest {
    use referral::OrganisationKind as Kind;
    let (collection, id) = name.split_once('/').unwrap();
    let kind = match collection {
        "agencies" => Kind::Agency,
        "platforms" => Kind::Platform,
        "oversightBodies" => Kind::OversightBody,
        "researchers" => Kind::Researcher,
        _ => Kind::Operator,
    };
    referral::CreateOrganisationRequest {
        organisation_id: id.to_owned(),
        organisation: Some(referral::Organisation {
            display_name: id.to_uppercase(),
            kind: kind.into(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..referral::Organisation::default()
        }),
        request_id: request_id(&format!("register {name}")),
    }
}

/// Registers [`AGENCIES`], [`PLATFORMS`] and an oversight body; gives the last revision.
pub async fn register(client: &Client) -> String {
    let mut organisations = client.acting("operators/op").organisations();
    let agencies = AGENCIES.iter().map(|id| organisation(&format!("agencies/{id}"), &[]));
    let platforms = PLATFORMS.iter().map(|(id, host)| organisation(&format!("platforms/{id}"), &[host]));
    let mut revision = String::new();
    for request in agencies.chain(platforms).chain([organisation("oversightBodies/hac", &[])]) {
        revision = organisations.create_organisation(request).await.unwrap().into_inner().revision;
    }
    revision
}

/// Refers; gives the referral and the revision.
pub async fn refer(client: &Client, agency: &str, platform: &str, tag: &str) -> (referral::Referral, String) {
    let mut referrals = client.acting(&format!("agencies/{agency}")).referrals();
    let request = create(agency, draft(platform, tag), &format!("refer {agency} {tag}"));
    let reply = referrals.create_referral(request).await.unwrap().into_inner();
    (reply.referral.unwrap(), reply.revision)
}

/// Adds a clause with one version in force since 2019 to a platform's catalogue; gives the citation and the revision.
pub async fn clause(client: &Client, platform: &str, clause: &str) -> (decision::ClauseCitation, String) {
    let mut policies = client.acting(&format!("platforms/{platform}")).policies();
    let request = decision::CreateClauseRequest {
        parent: format!("platforms/{platform}"),
        clause_id: clause.to_owned(),
        clause: Some(decision::Clause { title: "Human exploitation".into(), ..decision::Clause::default() }),
        request_id: request_id(&format!("clause {platform} {clause}")),
    };
    let name = policies.create_clause(request).await.unwrap().into_inner().clause.unwrap().name;
    let request = decision::AddClauseVersionRequest {
        parent: name.clone(),
        clause_version: Some(decision::ClauseVersion {
            title: "Human exploitation".into(),
            text_digest: "ab".repeat(32),
            effective_from: Some(time("2019-01-01")),
            permits: "Requests for smuggling services".into(),
            ..decision::ClauseVersion::default()
        }),
        request_id: request_id(&format!("clause version {platform} {clause}")),
    };
    let reply = policies.add_clause_version(request).await.unwrap().into_inner();
    (decision::ClauseCitation { clause: name, version: 1 }, reply.revision)
}

/// A request to acknowledge cases.
pub fn acknowledge(platform: &str, cases: &[String], id: &str) -> decision::AcknowledgeCasesRequest {
    decision::AcknowledgeCasesRequest {
        parent: format!("platforms/{platform}"),
        names: cases.to_vec(),
        occurred_at: None,
        request_id: request_id(id),
    }
}

/// A first decision without details.
pub fn decided(outcome: decision::Outcome) -> decision::DecisionDraft {
    decision::DecisionDraft {
        kind: decision::DecisionKind::Initial.into(),
        outcome: outcome.into(),
        decided_by: decision::DecisionSource::Human.into(),
        ..decision::DecisionDraft::default()
    }
}

/// A first decision: closed as illegal.
pub fn closed() -> decision::DecisionDraft {
    decision::DecisionDraft { law: "Immigration Act 1971, s. 25".into(), ..decided(decision::Outcome::ClosedIllegal) }
}

/// A first decision: permitted by a clause.
pub fn permitted(by: &decision::ClauseCitation) -> decision::DecisionDraft {
    decision::DecisionDraft { clauses: vec![by.clone()], ..decided(decision::Outcome::NoActionPermittedByPolicy) }
}

/// The same decision as a later version, by its platform's own motion.
pub fn later(kind: decision::DecisionKind, draft: decision::DecisionDraft) -> decision::DecisionDraft {
    let cause =
        decision::DecisionCause { kind: decision::CauseKind::OwnMotion.into(), ..decision::DecisionCause::default() };
    decision::DecisionDraft { kind: kind.into(), cause: Some(cause), ..draft }
}

/// A request to record a decision.
pub fn record(case: &str, draft: decision::DecisionDraft, id: &str) -> decision::RecordDecisionRequest {
    decision::RecordDecisionRequest {
        parent: case.to_owned(),
        decision: Some(draft),
        expected_version: None,
        request_id: request_id(id),
    }
}

/// A request to record a look at the target of a referral.
pub fn observation(
    referral: &str,
    finding: referral::ObservationFinding,
    id: &str,
) -> referral::RecordObservationRequest {
    referral::RecordObservationRequest {
        parent: referral.to_owned(),
        observation: Some(referral::ObservationDraft {
            finding: finding.into(),
            method: referral::ObservationMethod::Manual.into(),
            vantage_country: "GB".into(),
            ..referral::ObservationDraft::default()
        }),
        request_id: request_id(&format!("observe {referral} {id}")),
    }
}

/// A request of the agency to challenge a version of a decision.
pub fn challenge(case: &str, version: u32, id: &str) -> decision::FileChallengeRequest {
    decision::FileChallengeRequest {
        parent: case.to_owned(),
        challenge: Some(decision::ChallengeDraft {
            kind: decision::ChallengeKind::ReferrerChallenge.into(),
            decision_version: version,
            reasons: "The post offers places on a boat; no clause permits that.".into(),
            occurred_at: None,
        }),
        request_id: request_id(&format!("challenge {case} {id}")),
    }
}

/// A warning of an agency, or of one of its members, for misuse of the right to refer.
pub fn warning(agency: &str, member: &str, id: &str) -> referral::ImposeMeasureRequest {
    referral::ImposeMeasureRequest {
        parent: format!("agencies/{agency}"),
        measure: Some(referral::Measure {
            kind: referral::MeasureKind::Warning.into(),
            member: member.to_owned(),
            statement_of_reasons: "News reports were referred as offers.".into(),
            grounds: Some(referral::MisuseGrounds {
                unfounded_count: 40,
                referred_count: 120,
                period_from: Some(time("2019-01-01")),
                period_until: Some(time("2019-04-01")),
                gravity: referral::MisuseGravity::Serious.into(),
                intent: referral::MisuseIntent::Negligent.into(),
            }),
            ..referral::Measure::default()
        }),
        request_id: request_id(&format!("impose {id}")),
    }
}

/// The same as a suspension from now until a time.
pub fn suspension(agency: &str, member: &str, until: &str, id: &str) -> referral::ImposeMeasureRequest {
    let mut request = warning(agency, member, id);
    let measure = request.measure.as_mut().unwrap();
    measure.kind = referral::MeasureKind::Suspension.into();
    measure.end_time = Some(time(until));
    request
}

/// A flag by which oversight asks for a review of a referral.
pub fn flag(referral: &str, id: &str) -> referral::FlagReferralRequest {
    referral::FlagReferralRequest {
        referral: referral.to_owned(),
        reasons: "A newspaper complains of it.".into(),
        request_id: request_id(&format!("flag {id}")),
    }
}

/// What is said of a picture that platforms are served.
pub fn captured() -> referral::EvidenceDraft {
    referral::EvidenceDraft {
        media_type: "image/png".into(),
        captured_at: Some(time("2020-02-01T20:15:00Z")),
        capture_method: referral::CaptureMethod::Undercover.into(),
        lawful_authority: "RIPA 2000 s. 29, authorisation 17".into(),
        capturer: "Officer 4711".into(),
        redaction_level: referral::RedactionLevel::PersonalData.into(),
        grade: referral::EvidenceGrade::Platform.into(),
        graphic_severity: referral::GraphicSeverity::Moderate.into(),
        description: "Prices for places on a boat.".into(),
        ..referral::EvidenceDraft::default()
    }
}

/// A picture's bytes; `tag` tells it from others.
pub fn picture(tag: &str) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", tag.as_bytes()].concat()
}

/// The messages of an upload, in chunks of so many bytes.
pub fn upload_of(
    agency: &str,
    said: referral::EvidenceDraft,
    bytes: &[u8],
    chunk: usize,
    id: &str,
) -> Vec<referral::UploadEvidenceRequest> {
    let first = referral::UploadEvidenceRequest {
        parent: format!("agencies/{agency}"),
        evidence: Some(said),
        request_id: request_id(&format!("upload {agency} {id}")),
        data: Vec::new().into(),
    };
    let data = bytes.chunks(chunk).map(|data| referral::UploadEvidenceRequest {
        data: data.to_vec().into(),
        ..referral::UploadEvidenceRequest::default()
    });
    std::iter::once(first).chain(data).collect()
}

/// Uploads a picture that platforms are served; `tag` tells it from others.
pub async fn upload(client: &Client, tag: &str) -> referral::Evidence {
    let messages = upload_of("nca", captured(), &picture(tag), 7, tag);
    let reply = client.evidence().upload_evidence(tokio_stream::iter(messages)).await;
    reply.unwrap().into_inner().evidence.unwrap()
}

/// A check that finds the same of every context.
pub fn checked(finding: referral::DefenceFinding) -> referral::ProtectedContextCheck {
    let answer = |context: i32| referral::ProtectedContextAnswer {
        context,
        finding: finding.into(),
        reasons: "The page itself was looked at.".into(),
    };
    referral::ProtectedContextCheck { answers: (1..=6).map(answer).collect() }
}

/// A request to write a draft in which nothing that the law protects was found; `tag` tells it from others.
pub fn write(agency: &str, platform: &str, tag: &str) -> referral::CreateDraftRequest {
    let protected_context = Some(checked(referral::DefenceFinding::DoesNotApply));
    referral::CreateDraftRequest {
        parent: format!("agencies/{agency}"),
        referral: Some(referral::ReferralDraft { protected_context, ..draft(platform, tag) }),
        request_id: request_id(&format!("draft {agency} {tag}")),
    }
}

/// A request to authorise a draft.
pub fn authorise(draft: &referral::Draft, id: &str) -> referral::AuthoriseDraftRequest {
    referral::AuthoriseDraftRequest {
        name: draft.name.clone(),
        etag: draft.etag.clone(),
        signature: None,
        request_id: request_id(&format!("authorise {id}")),
    }
}

/// A start of a stream.
pub fn start(start: watch_start::Start) -> WatchStart {
    WatchStart { start: Some(start) }
}

/// A start after a token.
pub fn after(token: &str) -> WatchStart {
    start(watch_start::Start::ResumeToken(token.to_owned()))
}
