//! The canonical bytes of referrals, as [`crate::referral::v1::ReferralSignature`] documents them, from each of the
//! messages that carry what was signed.

use portreeve_core::Timestamp;
use portreeve_core::signature::{Content, OrderContent};

use crate::common::v1::{Ground, ReferralNature, TargetKind};
use crate::decision::v1::Case;
use crate::referral::v1::{OrderRegime, ReferralDraft};

/// The bytes that an agency (`agencies/{agency}`) signs when it sends a draft without evidence that the platform is served.
pub fn of_draft(agency: &str, draft: &ReferralDraft) -> Vec<u8> {
    with_evidence(agency, draft, [])
}

/// The same with the digests of the evidence that the platform is served, in the draft's order.
pub fn with_evidence<'a>(agency: &str, draft: &ReferralDraft, digests: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let evidence = digests.into_iter().collect::<Vec<_>>().join(",");
    let (target, basis) = (draft.target.clone().unwrap_or_default(), draft.legal_basis.clone().unwrap_or_default());
    let order = draft.order.clone().unwrap_or_default();
    let regime = word(OrderRegime::try_from(order.regime).map(|regime| regime.as_str_name()), order.regime);
    let scope = order.territorial_scope.join(",");
    let time = |at: Option<&prost_types::Timestamp>| at.and_then(|at| Timestamp::from_parts(at.seconds, at.nanos));
    let terms = OrderContent {
        regime: &regime,
        issuing_authority: &order.issuing_authority,
        act_within: order.act_within.as_ref().map(micros),
        redress: &order.redress,
        territorial_scope: &scope,
        feedback_to: &order.feedback_to,
        emergency: &order.emergency,
        non_disclosure_until: time(order.non_disclosure_until.as_ref()),
        escalates: &order.escalates,
    };
    Content {
        agency,
        platform: &draft.platform,
        target_kind: &word(TargetKind::try_from(target.kind).map(|kind| kind.as_str_name()), target.kind),
        url: &target.url,
        native_id: &target.native_id,
        nature: &word(ReferralNature::try_from(draft.nature).map(|nature| nature.as_str_name()), draft.nature),
        ground: &word(Ground::try_from(draft.ground).map(|ground| ground.as_str_name()), draft.ground),
        legal_basis_code: &basis.code,
        legal_basis_statute: &basis.statute,
        legal_basis_section: &basis.section,
        statement_of_reasons: &draft.statement_of_reasons,
        statement_language: &draft.statement_language,
        content_language: &draft.content_language,
        occurred_at: time(draft.occurred_at.as_ref()),
        order: draft.order.as_ref().map(|_| terms),
        evidence: &evidence,
    }
    .canonical()
}

/// The bytes that the agency signed when it sent the referral behind a case.
pub fn of_case(case: &Case) -> Vec<u8> {
    let draft = ReferralDraft {
        platform: case.platform.clone(),
        target: case.target.clone(),
        nature: case.nature,
        ground: case.ground,
        legal_basis: case.legal_basis.clone(),
        statement_of_reasons: case.statement_of_reasons.clone(),
        statement_language: case.statement_language.clone(),
        content_language: case.content_language.clone(),
        occurred_at: case.signature.as_ref().and_then(|signature| signature.occurred_at),
        signature: None,
        // Not signed: grades never reach the platform that verifies, the check is erased by itself, and the priority binds nobody.
        handling: None,
        protected_context: None,
        order: case.order.clone(),
        priority: None,
        // Signed by the digests, which the case has.
        evidence: Vec::new(),
        ..ReferralDraft::default()
    };
    with_evidence(&case.agency, &draft, case.evidence.iter().map(|evidence| evidence.sha256.as_str()))
}

fn micros(span: &prost_types::Duration) -> i64 {
    span.seconds.saturating_mul(1_000_000).saturating_add(i64::from(span.nanos) / 1_000)
}

/// The name of an enumeration's value; its number, for one that this version does not know.
fn word<E>(name: Result<&'static str, E>, number: i32) -> String {
    name.map_or_else(|_| number.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::referral::v1::{Evidence, LegalBasis, ReferralSignature, Target};

    #[test]
    fn a_case_gives_the_bytes_of_its_draft() {
        let draft = ReferralDraft {
            platform: "platforms/hb".into(),
            target: Some(Target {
                kind: TargetKind::Page.into(),
                url: "https://HB.example/1#a".into(),
                native_id: "7".into(),
                ..Target::default()
            }),
            nature: ReferralNature::VoluntaryReferral.into(),
            ground: 99,
            legal_basis: Some(LegalBasis { code: "A".into(), statute: "B".into(), section: "C".into() }),
            statement_of_reasons: "Why".into(),
            statement_language: "en".into(),
            content_language: "sq".into(),
            occurred_at: Some(prost_types::Timestamp { seconds: 1, nanos: 2_999 }),
            signature: None,
            ..ReferralDraft::default()
        };
        assert_eq!(of_draft("agencies/nca", &draft), with_evidence("agencies/nca", &draft, []));
        let bytes = with_evidence("agencies/nca", &draft, ["ab", "cd"]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains(r#""ground":"99""#) && text.contains("1970-01-01T00:00:01.000002Z"), "{text}");
        let case = Case {
            agency: "agencies/nca".into(),
            platform: draft.platform.clone(),
            target: draft
                .target
                .clone()
                .map(|target| Target { canonical_url: "https://hb.example/1".into(), ..target }),
            nature: draft.nature,
            ground: draft.ground,
            legal_basis: draft.legal_basis.clone(),
            statement_of_reasons: draft.statement_of_reasons.clone(),
            statement_language: draft.statement_language.clone(),
            content_language: draft.content_language.clone(),
            submitted_at: Some(prost_types::Timestamp::default()),
            signature: Some(ReferralSignature { occurred_at: draft.occurred_at, ..ReferralSignature::default() }),
            evidence: ["ab", "cd"].map(|sha256| Evidence { sha256: sha256.into(), ..Evidence::default() }).to_vec(),
            ..Case::default()
        };
        assert_eq!(of_case(&case), bytes);
    }
}
