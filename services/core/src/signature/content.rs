//! The canonical bytes of a referral: what a signature covers.

use std::collections::BTreeMap;

use crate::Timestamp;

/// What the bytes are of: the value of the member `type`, which keeps them from being taken for anything else.
pub const TYPE: &str = "portreeve.referral.v1.ReferralDraft";

/// What an agency signs, each part as text. What is absent is empty. `portreeve.referral.v1.ReferralSignature` documents
/// the members of the JSON object and their forms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Content<'a> {
    /// `agencies/{agency}`.
    pub agency: &'a str,
    /// `platforms/{platform}`.
    pub platform: &'a str,
    /// The name of the kind in the contract, such as `TARGET_KIND_PAGE`.
    pub target_kind: &'a str,
    /// The address as the agency gave it.
    pub url: &'a str,
    /// The platform's own identifier.
    pub native_id: &'a str,
    /// The name of the nature in the contract.
    pub nature: &'a str,
    /// The name of the ground in the contract.
    pub ground: &'a str,
    /// The code of the provision.
    pub legal_basis_code: &'a str,
    /// The statute.
    pub legal_basis_statute: &'a str,
    /// The provision within it.
    pub legal_basis_section: &'a str,
    /// The agency's reasons.
    pub statement_of_reasons: &'a str,
    /// Their language.
    pub statement_language: &'a str,
    /// The language of the content.
    pub content_language: &'a str,
    /// When it was referred, if the agency said so.
    pub occurred_at: Option<Timestamp>,
    /// What it says as an order, if it is one that says more than a referral.
    pub order: Option<OrderContent<'a>>,
    /// The digests of the evidence that the platform is served, in the order of the referral, with a comma between them. Empty
    /// for none: then there is no such member, as there was none before there was evidence.
    pub evidence: &'a str,
}

/// What of an order is signed, each part as text.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrderContent<'a> {
    /// The name of the regime in the contract.
    pub regime: &'a str,
    /// The authority that issued it.
    pub issuing_authority: &'a str,
    /// Within how many microseconds it is to be carried out.
    pub act_within: Option<i64>,
    /// How it can be contested.
    pub redress: &'a str,
    /// The countries in which it has effect, with a comma between them.
    pub territorial_scope: &'a str,
    /// Who is to be told of its effect.
    pub feedback_to: &'a str,
    /// Why it cannot wait.
    pub emergency: &'a str,
    /// Until when whoever posted the content must not be told.
    pub non_disclosure_until: Option<Timestamp>,
    /// The name of the referral that is escalated.
    pub escalates: &'a str,
}

impl Content<'_> {
    /// The bytes that are signed.
    ///
    /// Every member is text and every name is ASCII. For such an object, members sorted by name and the shortest escapes
    /// are all that RFC 8785 asks for, and exactly what `serde_json` writes of a sorted map.
    pub fn canonical(&self) -> Vec<u8> {
        let time = |at: Option<Timestamp>| at.map(Timestamp::to_rfc3339_micros).unwrap_or_default();
        let order = self.order.unwrap_or_default();
        let act_within = order.act_within.map(|micros| micros.to_string()).unwrap_or_default();
        let (occurred_at, non_disclosure_until) = (time(self.occurred_at), time(order.non_disclosure_until));
        let mut members = BTreeMap::from([
            ("type", TYPE),
            ("agency", self.agency),
            ("platform", self.platform),
            ("target_kind", self.target_kind),
            ("url", self.url),
            ("native_id", self.native_id),
            ("nature", self.nature),
            ("ground", self.ground),
            ("legal_basis_code", self.legal_basis_code),
            ("legal_basis_statute", self.legal_basis_statute),
            ("legal_basis_section", self.legal_basis_section),
            ("statement_of_reasons", self.statement_of_reasons),
            ("statement_language", self.statement_language),
            ("content_language", self.content_language),
            ("occurred_at", occurred_at.as_str()),
        ]);
        // What the first version did not have is left out when it is absent, so that earlier signatures stay good.
        let later = [
            ("order_regime", order.regime),
            ("order_issuing_authority", order.issuing_authority),
            ("order_act_within", act_within.as_str()),
            ("order_redress", order.redress),
            ("order_territorial_scope", order.territorial_scope),
            ("order_feedback_to", order.feedback_to),
            ("order_emergency", order.emergency),
            ("order_non_disclosure_until", non_disclosure_until.as_str()),
            ("order_escalates", order.escalates),
            ("evidence", self.evidence),
        ];
        members.extend(later.into_iter().filter(|(_, text)| !text.is_empty()));
        // A map of text cannot fail to be written.
        serde_json::to_vec(&members).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_documentation() {
        let content = Content {
            agency: "agencies/nca",
            platform: "platforms/hb",
            target_kind: "TARGET_KIND_PAGE",
            url: "https://hb.example/b\u{fc}cher",
            nature: "REFERRAL_NATURE_VOLUNTARY_REFERRAL",
            ground: "GROUND_OFFER_TRANSPORT_SEA",
            legal_basis_statute: "Immigration Act 1971",
            statement_of_reasons: "\"Boats\"\\\n\u{1}\u{7f}\u{2028}/\u{1f6a2}",
            statement_language: "en",
            occurred_at: Some(Timestamp::from_micros(1_580_000_000_000_000)),
            ..Content::default()
        };
        let expected = concat!(
            r#"{"agency":"agencies/nca","content_language":"","ground":"GROUND_OFFER_TRANSPORT_SEA","#,
            r#""legal_basis_code":"","legal_basis_section":"","legal_basis_statute":"Immigration Act 1971","#,
            r#""native_id":"","nature":"REFERRAL_NATURE_VOLUNTARY_REFERRAL","#,
            r#""occurred_at":"2020-01-26T00:53:20.000000Z","platform":"platforms/hb","statement_language":"en","#,
            r#""statement_of_reasons":"\"Boats\"\\\n\u0001"#,
            "\u{7f}\u{2028}/\u{1f6a2}",
            r#"","target_kind":"TARGET_KIND_PAGE","type":"portreeve.referral.v1.ReferralDraft","#,
            r#""url":"https://hb.example/b"#,
            "\u{fc}",
            r#"cher"}"#
        );
        assert_eq!(String::from_utf8(content.canonical()).unwrap(), expected);
        let with = Content { evidence: "ab,cd", ..content };
        let expected = expected.replace(r#","ground""#, r#","evidence":"ab,cd","ground""#);
        assert_eq!(String::from_utf8(with.canonical()).unwrap(), expected);
    }
}
