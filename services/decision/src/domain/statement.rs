//! Statements of reasons, as the DSA Transparency Database takes them (DSA arts. 17 and 24(5)): what a decision becomes there, and
//! why one becomes nothing.
//!
//! The tables below are the mapping, each row of it a choice that somebody must answer for. What the database demands and nobody has
//! told the exchange is asked for, and never supposed. The database must not receive personal data: no text of it is one that an
//! agency or a platform wrote about a case.

use portreeve_core::vocabulary::{Ground, Nature, OrderRegime, TargetKind};
use portreeve_core::{Date, Timestamp};
use serde::Serialize;

use super::case::Target;
use super::{Case, ClauseVersion, Decision, Items, Kind, Outcome, Referred, Restriction, Source};

#[cfg(test)]
mod tests;

coded! {
    /// What content is made of.
    ContentType {
        /// An app.
        App = 1 "CONTENT_TYPE_APP",
        /// Sound.
        Audio = 2 "CONTENT_TYPE_AUDIO",
        /// A picture.
        Image = 3 "CONTENT_TYPE_IMAGE",
        /// A product that is offered.
        Product = 4 "CONTENT_TYPE_PRODUCT",
        /// Generated or altered by a machine.
        SyntheticMedia = 5 "CONTENT_TYPE_SYNTHETIC_MEDIA",
        /// Words.
        Text = 6 "CONTENT_TYPE_TEXT",
        /// A video.
        Video = 7 "CONTENT_TYPE_VIDEO",
    }
}

coded! {
    /// Whose account it is.
    AccountType {
        /// A business user's.
        Business = 1 "ACCOUNT_TYPE_BUSINESS",
        /// For personal use only.
        Private = 2 "ACCOUNT_TYPE_PRIVATE",
    }
}

coded! {
    /// Why a decision makes no statement.
    Exclusion {
        /// It restricts nothing.
        NoAction = 1 "NO_ACTION",
        /// It has effect in no country of which the database knows.
        OutsideEea = 2 "OUTSIDE_EEA",
        /// It answers an order of which no statement is made (DSA art. 17(5)).
        Order = 3 "ORDER",
        /// It has not taken effect.
        NotInEffect = 4 "NOT_IN_EFFECT",
        /// It names neither a clause nor a law.
        GroundMissing = 5 "GROUND_MISSING",
        /// When the content was created is not known.
        ContentDateMissing = 6 "CONTENT_DATE_MISSING",
        /// What would be published may tell of a person.
        PersonalData = 7 "PERSONAL_DATA",
        /// A date is not one that the database takes.
        DateOutOfRange = 8 "DATE_OUT_OF_RANGE",
        /// A word of the referral is not known here.
        UnknownWord = 9 "UNKNOWN_WORD",
    }
}

/// What the platform knows of the content and the exchange does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When the platform began to host it.
    pub content_date: Date,
    /// What it is made of; empty: what the kind of target tells.
    pub content_types: Vec<ContentType>,
    /// Whose account it is, if that is said.
    pub account_type: Option<AccountType>,
}

/// A statement, its fields by the names and in the order of the database's own example. What is `None` is left out: the database takes
/// that as not said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the database's documentation defines each field")]
pub struct Statement {
    pub puid: String,
    #[serde(flatten)]
    pub restricted: Restricted,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_type: Option<&'static str>,
    #[serde(flatten)]
    pub ground: Grounds,
    pub content_type: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type_other: Option<&'static str>,
    pub category: &'static str,
    pub category_specification: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category_specification_other: Option<&'static str>,
    pub territorial_scope: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    pub content_date: String,
    pub application_date: String,
    pub decision_facts: String,
    pub source_type: &'static str,
    pub automated_detection: &'static str,
    pub automated_decision: &'static str,
}

/// What was restricted, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the database's documentation defines each field")]
pub struct Restricted {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_visibility: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_account: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date_visibility_restriction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date_account_restriction: Option<String>,
}

/// On which ground: the law, or the platform's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the database's documentation defines each field")]
pub struct Grounds {
    pub decision_ground: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_ground_reference_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub illegal_content_legal_ground: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub illegal_content_explanation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incompatible_content_ground: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incompatible_content_explanation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incompatible_content_illegal: Option<&'static str>,
}

/// The countries of the European Economic Area, of which alone the database knows.
pub const EEA: [&str; 30] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT",
    "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// The languages that the database knows: those of ISO 639-1.
const LANGUAGES: &str = "AA AB AE AF AK AM AN AR AS AV AY AZ BA BE BG BH BI BM BN BO BR BS CA CE CH CO CR CS CU CV CY DA DE DV DZ EE EL EN \
    EO ES ET EU FA FF FI FJ FO FR FY GA GD GL GN GU GV HA HE HI HO HR HT HU HY HZ IA ID IE IG II IK IO IS IT IU JA JV KA KG KI KJ KK \
    KL KM KN KO KR KS KU KV KW KY LA LB LG LI LN LO LT LU LV MG MH MI MK ML MN MR MS MT MY NA NB ND NE NG NL NN NO NR NV NY OC OJ OM \
    OR OS PA PI PL PS PT QU RM RN RO RU RW SA SC SD SE SG SI SK SL SM SN SO SQ SR SS ST SU SV SW TA TE TG TH TI TK TL TN TO TR TS TT \
    TW TY UG UK UR UZ VE VI VO WA WO XH YI YO ZA ZH ZU";

/// The first day on which content was created, the first on which a restriction took effect, and the last day of all, that the database
/// takes: 2000-01-01, 2020-01-01 and 2038-01-01.
const CONTENT_FROM: Date = Date::from_days(10_957);
const EFFECT_FROM: Date = Date::from_days(18_262);
const LAST: Date = Date::from_days(24_837);

/// A category of illegal content with what tells more of it (Implementing Regulation (EU) 2024/2835 divides by the same).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Category {
    /// The category.
    pub name: &'static str,
    /// Its keywords.
    pub keywords: &'static [&'static str],
    /// The words for what no keyword says.
    pub other: Option<&'static str>,
}

/// The category of a ground. `law` tells whether the decision rests on the law, or on the platform's terms alone.
///
/// Smuggling is never told as human trafficking: the two are separate offences (Online Safety Act 2023, sch. 7, paras 23 and 24 to 26), and
/// the database has a keyword for the second alone.
pub const fn category(ground: Ground, law: bool) -> Category {
    const fn of(name: &'static str, keywords: &'static [&'static str], other: Option<&'static str>) -> Category {
        Category { name, keywords, other }
    }
    const VIOLENCE: &str = "STATEMENT_CATEGORY_VIOLENCE";
    const FRAUD: &str = "STATEMENT_CATEGORY_SCAMS_AND_FRAUD";
    const OTHER: &[&str] = &["KEYWORD_OTHER"];
    match ground {
        Ground::OfferTransportSea | Ground::OfferTransportVehicle | Ground::OfferTransportAirOrDocumentRoute => {
            of(VIOLENCE, OTHER, Some("migrant smuggling - offer of transport"))
        }
        Ground::ForgedDocuments if law => of(
            "STATEMENT_CATEGORY_UNSAFE_AND_PROHIBITED_PRODUCTS",
            &["KEYWORD_PROHIBITED_PRODUCTS"],
            Some("forged travel or identity documents"),
        ),
        Ground::ForgedDocuments => of(
            "STATEMENT_CATEGORY_OTHER_VIOLATION_TC",
            &["KEYWORD_GOODS_SERVICES_NOT_PERMITTED"],
            Some("forged travel or identity documents"),
        ),
        Ground::ShamMarriage => of(FRAUD, OTHER, Some("sham marriage service")),
        Ground::FalseClaimService => of(FRAUD, OTHER, Some("fraudulent asylum or immigration claim service")),
        Ground::IllegalWorkOffer => of(VIOLENCE, OTHER, Some("migrant smuggling - offer of unlawful work")),
        Ground::RecruitmentOfFacilitators => of(
            "STATEMENT_CATEGORY_RISK_FOR_PUBLIC_SECURITY",
            &["KEYWORD_ILLEGAL_ORGANIZATIONS"],
            Some("smuggling network recruitment"),
        ),
        Ground::FinancialFacilitation => of(VIOLENCE, OTHER, Some("migrant smuggling - moving of payments")),
        Ground::TestimonialPromotion => of(VIOLENCE, OTHER, Some("migrant smuggling - testimonial")),
        Ground::ReferAFriendInducement => {
            of(VIOLENCE, OTHER, Some("migrant smuggling - reward for bringing customers"))
        }
        Ground::RouteInstructionByNetwork => {
            of(VIOLENCE, OTHER, Some("migrant smuggling - instructions for a route by a network"))
        }
        Ground::SolicitationOfService => of(VIOLENCE, OTHER, Some("migrant smuggling - request for a service")),
        Ground::InformationOnLeaving => {
            of(VIOLENCE, OTHER, Some("migrant smuggling - information on leaving a country"))
        }
        Ground::DocumentationOfJourney => of(VIOLENCE, OTHER, Some("migrant smuggling - documentation of a journey")),
        Ground::HumanTraffickingIndicator => of(VIOLENCE, &["KEYWORD_HUMAN_TRAFFICKING"], None),
        Ground::ExtortionOrViolenceVsMigrants => {
            of(VIOLENCE, OTHER, Some("extortion of, or violence against, migrants"))
        }
    }
}

/// A kind of target in words, and what its content is made of where the kind alone tells it.
const fn target(kind: TargetKind) -> (&'static str, Option<ContentType>) {
    match kind {
        TargetKind::Page => ("page", None),
        TargetKind::Account => ("account", None),
        TargetKind::Group => ("group", None),
        TargetKind::Channel => ("channel", None),
        TargetKind::Post => ("post", None),
        TargetKind::Comment => ("comment", None),
        TargetKind::Video => ("video", Some(ContentType::Video)),
        TargetKind::Live => ("live transmission", Some(ContentType::Video)),
        TargetKind::Ad => ("advertisement", None),
        TargetKind::Event => ("event", None),
        TargetKind::Listing => ("listing", Some(ContentType::Product)),
        TargetKind::InviteLink => ("invitation link", None),
        TargetKind::PhoneNumber => ("messenger account", None),
    }
}

/// What a decision restricts; `None` if nothing. An account that is closed is terminated, one that is suspended comes back, and in
/// some countries alone neither: there it is not shown. What is removed is gone everywhere, so that what is closed in some countries
/// is disabled there.
fn restricted(outcome: &Outcome, kind: TargetKind, everywhere: bool) -> Option<(Restricted, Option<Timestamp>)> {
    const REMOVED: &str = "DECISION_VISIBILITY_CONTENT_REMOVED";
    const DISABLED: &str = "DECISION_VISIBILITY_CONTENT_DISABLED";
    const TERMINATED: &str = "DECISION_ACCOUNT_TERMINATED";
    let shown = |decision| Restricted { decision_visibility: Some([decision]), ..Restricted::default() };
    let account = |decision| Restricted { decision_account: Some(decision), ..Restricted::default() };
    let is_account = matches!(kind, TargetKind::Account | TargetKind::PhoneNumber);
    let restricted = match outcome {
        Outcome::ClosedIllegal(_) | Outcome::ClosedTerms(_) | Outcome::ClosedTermsAlsoIllegal(..)
            if is_account && everywhere =>
        {
            account(TERMINATED)
        }
        Outcome::ClosedIllegal(_)
        | Outcome::ClosedTerms(_)
        | Outcome::ClosedTermsAlsoIllegal(..)
        | Outcome::PartiallyClosed(_) => shown(if everywhere { REMOVED } else { DISABLED }),
        Outcome::Restricted(Restriction::Geo) => shown(DISABLED),
        Outcome::Restricted(Restriction::Age) => shown("DECISION_VISIBILITY_CONTENT_AGE_RESTRICTED"),
        Outcome::Restricted(Restriction::Demoted) => shown("DECISION_VISIBILITY_CONTENT_DEMOTED"),
        Outcome::Restricted(Restriction::Interaction) => shown("DECISION_VISIBILITY_CONTENT_INTERACTION_RESTRICTED"),
        Outcome::Restricted(Restriction::Labelled) => shown("DECISION_VISIBILITY_CONTENT_LABELLED"),
        Outcome::SuspendedUntil(until) => {
            let end = Some(until.date().to_string());
            let suspended = if is_account && everywhere {
                Restricted { end_date_account_restriction: end, ..account("DECISION_ACCOUNT_SUSPENDED") }
            } else {
                Restricted { end_date_visibility_restriction: end, ..shown(DISABLED) }
            };
            return Some((suspended, Some(*until)));
        }
        Outcome::TerminatedAccount => account(TERMINATED),
        Outcome::NotViolating(_)
        | Outcome::PermittedByPolicy(_)
        | Outcome::InsufficientInfo
        | Outcome::CannotAccess(_)
        | Outcome::AlreadyGone(_)
        | Outcome::Duplicate(_)
        | Outcome::NotOurService
        | Outcome::InvalidAuthority
        | Outcome::Protected(_)
        | Outcome::Impossible => return None,
    };
    Some((restricted, None))
}

/// How the platform learnt of the content, as a source type and in words; `None` where no statement is made (DSA art. 17(5)). An order
/// under the law of a state is no order under DSA art. 9, and the database's documentation has it as another notification.
fn source(nature: Nature, referred: &Referred, trusted: bool) -> Option<(&'static str, &'static str)> {
    const OTHER: &str = "SOURCE_TYPE_OTHER_NOTIFICATION";
    let regime = referred.order.as_ref().and_then(|order| OrderRegime::from_code(order.regime));
    match (nature, regime) {
        (Nature::VoluntaryReferral, _) => Some((OTHER, "a referral for voluntary consideration")),
        (Nature::StatutoryNotice, _) if trusted => {
            Some(("SOURCE_TRUSTED_FLAGGER", "a notice of a trusted flagger (DSA art. 22)"))
        }
        (Nature::StatutoryNotice, _) => Some(("SOURCE_ARTICLE_16", "a notice (DSA art. 16)")),
        (Nature::Order, Some(OrderRegime::National)) => Some((OTHER, "an order under the law of a state")),
        (Nature::Order, Some(OrderRegime::Tco | OrderRegime::Dsa) | None) => None,
    }
}

/// Who or what decided, as the database has it and in words.
const fn automation(source: Source) -> (&'static str, &'static str) {
    match source {
        Source::Human => ("AUTOMATED_DECISION_NOT_AUTOMATED", "by a person"),
        Source::PartiallyAutomated => ("AUTOMATED_DECISION_PARTIALLY", "by a person and an automated process together"),
        Source::Automated => ("AUTOMATED_DECISION_FULLY", "by an automated process alone"),
    }
}

/// Whether a text may tell of somebody: it holds an address, or names the target.
fn tells(text: &str, target: &Target) -> bool {
    /// A shorter identifier is found in texts that do not mean it, such as the number of a section.
    const TELLING_CHARS_MIN: usize = 5;
    let text = text.to_lowercase();
    let bare = |url: &str| url.split_once("://").map_or(url, |(_, rest)| rest).to_lowercase();
    let named = [bare(&target.url), bare(&target.canonical_url), target.native_id.to_lowercase()];
    ["://", "www.", "@"].iter().any(|part| text.contains(part))
        || named.iter().any(|name| name.chars().count() >= TELLING_CHARS_MIN && text.contains(name))
}

/// The identifier of a version of a decision in the database: the same for ever, and no other version's.
fn puid(case: &Case, decision: &Decision) -> String {
    format!("{}-{}", case.referred.name.id, decision.version)
}

/// The law on which a decision rests, in words; empty for none.
fn law(decision: &Decision) -> &str {
    match &decision.content.outcome {
        Outcome::ClosedIllegal(law) | Outcome::ClosedTermsAlsoIllegal(_, law) => law,
        _ => &decision.content.also.law,
    }
}

/// On what the decision rests, for the database. A clause comes before the law, unless the content was closed as illegal and nothing else.
fn grounds(decision: &Decision, clause: Option<&ClauseVersion>) -> Option<Grounds> {
    let law = law(decision);
    let illegal_alone = matches!(decision.content.outcome, Outcome::ClosedIllegal(_));
    let cited = decision.content.clauses().next().filter(|_| !illegal_alone);
    if let Some(citation) = cited {
        let named = |title: &str| format!("{title} ({}, version {})", citation.clause.clause, citation.version);
        let ground = clause.map_or_else(|| named("Clause of the terms"), |clause| named(&clause.content.title));
        let also = if law.is_empty() { String::new() } else { format!(" It is also considered illegal: {law}.") };
        let url = clause.map(|clause| clause.content.public_url.clone());
        return Some(Grounds {
            decision_ground: "DECISION_GROUND_INCOMPATIBLE_CONTENT",
            // The database takes no longer one.
            decision_ground_reference_url: url.filter(|url| !url.is_empty() && url.chars().count() <= 500),
            incompatible_content_explanation: Some(format!(
                "The content is incompatible with this clause of the terms: {ground}.{also}"
            )),
            incompatible_content_ground: Some(ground),
            // What the platform did not say stays unsaid: that is not "No".
            incompatible_content_illegal: (!law.is_empty()).then_some("Yes"),
            ..Grounds::default()
        });
    }
    (!law.is_empty()).then(|| Grounds {
        decision_ground: "DECISION_GROUND_ILLEGAL_CONTENT",
        illegal_content_legal_ground: Some(law.to_owned()),
        illegal_content_explanation: Some(format!("The content is considered illegal under: {law}.")),
        ..Grounds::default()
    })
}

/// The language as the database knows it, if it does.
fn language(tag: &str) -> Option<String> {
    let primary = tag.split('-').next().unwrap_or_default().to_uppercase();
    LANGUAGES.split(' ').any(|known| known == primary).then_some(primary)
}

/// What was decided, in words.
fn decided(outcome: &Outcome) -> String {
    match outcome {
        Outcome::PartiallyClosed(items) => {
            let (closed, total) = (Items::closed(*items), Items::total(*items));
            format!("{closed} of its {total} items were closed")
        }
        Outcome::Restricted(_) => "it was restricted".to_owned(),
        Outcome::SuspendedUntil(until) => format!("it was suspended until {}", until.date()),
        Outcome::TerminatedAccount => "the account behind it was terminated".to_owned(),
        _ => "it was closed".to_owned(),
    }
}

/// A decision as a statement, or everything for which it is none. `clause` is the version that it cites first; `trusted` tells whether the
/// agency is a trusted flagger.
pub fn statement(
    case: &Case,
    decision: &Decision,
    clause: Option<&ClauseVersion>,
    facts: Option<&Facts>,
    trusted: bool,
) -> Result<Statement, Vec<Exclusion>> {
    let (referred, content) = (&case.referred, &decision.content);
    let words = (
        Nature::from_code(referred.nature),
        Ground::from_code(referred.ground),
        TargetKind::from_code(referred.target.kind),
    );
    let (Some(nature), Some(ground), Some(kind)) = words else {
        let restricts = content.outcome.acts();
        return Err(vec![if restricts { Exclusion::UnknownWord } else { Exclusion::NoAction }]);
    };
    let everywhere = content.territorial_scope.is_empty();
    let Some((restricted, end)) = restricted(&content.outcome, kind, everywhere) else {
        return Err(vec![Exclusion::NoAction]);
    };
    let mut excluded = Vec::new();
    let territorial_scope =
        EEA.into_iter().filter(|country| everywhere || content.territorial_scope.iter().any(|of| of == country));
    let territorial_scope = territorial_scope.collect::<Vec<_>>();
    if territorial_scope.is_empty() {
        excluded.push(Exclusion::OutsideEea);
    }
    let source = source(nature, referred, trusted);
    if source.is_none() {
        excluded.push(Exclusion::Order);
    }
    let effect = content.effective_at.map(Timestamp::date);
    if effect.is_none() {
        excluded.push(Exclusion::NotInEffect);
    }
    let grounds = grounds(decision, clause);
    if grounds.is_none() {
        excluded.push(Exclusion::GroundMissing);
    }
    if facts.is_none() {
        excluded.push(Exclusion::ContentDateMissing);
    }
    let title = clause.map_or("", |clause| &clause.content.title);
    if tells(law(decision), &referred.target) || tells(title, &referred.target) {
        excluded.push(Exclusion::PersonalData);
    }
    let created = facts.map(|facts| facts.content_date);
    if created.is_some_and(|day| !(CONTENT_FROM..=LAST).contains(&day))
        || effect.is_some_and(|day| !(EFFECT_FROM..=LAST).contains(&day))
        || end.is_some_and(|end| end.date() > LAST)
    {
        excluded.push(Exclusion::DateOutOfRange);
    }
    let (Some((source_type, learnt)), Some(effect), Some(grounds), Some(facts), []) =
        (source, effect, grounds, facts, excluded.as_slice())
    else {
        return Err(excluded);
    };
    let (thing, made_of) = target(kind);
    let content_types = if facts.content_types.is_empty() { made_of.as_slice() } else { &facts.content_types };
    let (automated_decision, by) = automation(content.decided_by);
    let category = category(ground, grounds.illegal_content_legal_ground.is_some());
    let version = match &content.kind {
        Kind::Initial => String::new(),
        later @ Kind::Later(..) => {
            let before = puid(case, &Decision { version: decision.version.saturating_sub(1), ..decision.clone() });
            format!(" This is a later version of the decision ({}); the one before it is {before}.", later.as_str())
        }
    };
    Ok(Statement {
        puid: puid(case, decision),
        restricted,
        account_type: facts.account_type.map(AccountType::as_str),
        ground: grounds,
        content_type_other: content_types.is_empty().then_some(thing),
        content_type: match content_types {
            [] => vec!["CONTENT_TYPE_OTHER"],
            known => known.iter().map(|of| of.as_str()).collect(),
        },
        category: category.name,
        category_specification: category.keywords.to_vec(),
        category_specification_other: category.other,
        territorial_scope,
        content_language: language(&referred.content_language),
        content_date: facts.content_date.to_string(),
        application_date: effect.to_string(),
        decision_facts: format!(
            "A public authority brought a {thing} to the platform's attention by {learnt}. The platform reviewed it; {}. This was decided \
             {by}.{version}",
            decided(&content.outcome)
        ),
        source_type,
        // An authority found it, and not the platform's own process.
        automated_detection: "No",
        automated_decision,
    })
}
