//! Resource names (AIP-122). A name is parsed once, at the edge; inside, its parts travel as types.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::limits;

/// What kind of body an organisation is. The kind is the collection of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrganisationKind {
    /// A public authority that refers (`agencies/`).
    Agency,
    /// A platform that decides (`platforms/`).
    Platform,
    /// A body that oversees and sees figures (`oversightBodies/`).
    Oversight,
    /// Who runs this exchange (`operators/`).
    Operator,
    /// A service of the suite itself (`services/`).
    Service,
    /// Researchers, who see the figures that a grant allows (`researchers/`).
    Researcher,
}

impl OrganisationKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Agency, Self::Platform, Self::Oversight, Self::Operator, Self::Service, Self::Researcher];

    /// The collection identifier.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Agency => "agencies",
            Self::Platform => "platforms",
            Self::Oversight => "oversightBodies",
            Self::Operator => "operators",
            Self::Service => "services",
            Self::Researcher => "researchers",
        }
    }
}

/// A name that could not be read: what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have the form {0}")]
pub struct NameError(pub &'static str);

/// The last part of an organisation's or clause's name: `[a-z][a-z0-9-]*[a-z0-9]`, 2 to 32 characters.
pub fn is_slug(text: &str) -> bool {
    let bytes = text.as_bytes();
    (2..=limits::SLUG_CHARS_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// `agencies/{id}`, `platforms/{id}`, `oversightBodies/{id}`, `operators/{id}`, `services/{id}` or `researchers/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrganisationName {
    kind: OrganisationKind,
    id: String,
}

impl OrganisationName {
    /// Joins a kind and an identifier; refuses an identifier that is not a slug.
    pub fn new(kind: OrganisationKind, id: &str) -> Result<Self, NameError> {
        if is_slug(id) {
            Ok(Self { kind, id: id.to_owned() })
        } else {
            Err(NameError("agencies/{id}, platforms/{id} or oversightBodies/{id}"))
        }
    }

    /// What kind of organisation it is.
    pub const fn kind(&self) -> OrganisationKind {
        self.kind
    }

    /// The identifier without its collection.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for OrganisationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.collection(), self.id)
    }
}

impl FromStr for OrganisationName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let expected = NameError("agencies/{id}, platforms/{id} or oversightBodies/{id}");
        let (collection, id) = text.split_once('/').ok_or(expected.clone())?;
        let kind = OrganisationKind::ALL.into_iter().find(|kind| kind.collection() == collection).ok_or(expected)?;
        Self::new(kind, id)
    }
}

/// Reads `{collection}/{slug}` and gives the slug.
pub fn parse_owner(text: &str, kind: OrganisationKind) -> Result<&str, NameError> {
    text.strip_prefix(kind.collection()).and_then(|rest| rest.strip_prefix('/')).filter(|id| is_slug(id)).ok_or(
        match kind {
            OrganisationKind::Agency => NameError("agencies/{agency}"),
            OrganisationKind::Platform => NameError("platforms/{platform}"),
            OrganisationKind::Oversight => NameError("oversightBodies/{body}"),
            OrganisationKind::Operator => NameError("operators/{operator}"),
            OrganisationKind::Service => NameError("services/{service}"),
            OrganisationKind::Researcher => NameError("researchers/{researcher}"),
        },
    )
}

/// Reads a parent that may be a wildcard: `Some(id)` for one owner, `None` for `{collection}/-`.
pub fn parse_parent(text: &str, kind: OrganisationKind) -> Result<Option<&str>, NameError> {
    if text.strip_prefix(kind.collection()) == Some("/-") { Ok(None) } else { parse_owner(text, kind).map(Some) }
}

fn parse_child(text: &str, kind: OrganisationKind, child: &str) -> Option<(String, Uuid)> {
    let rest = text.strip_prefix(kind.collection())?.strip_prefix('/')?;
    let (owner, rest) = rest.split_once('/')?;
    let id = rest.strip_prefix(child)?.strip_prefix('/')?;
    let uuid = canonical(id)?;
    is_slug(owner).then(|| (owner.to_owned(), uuid))
}

/// An identifier in its canonical form, which alone is part of a name: two spellings of one resource would be two keys.
pub fn canonical(id: &str) -> Option<Uuid> {
    Uuid::try_parse(id).ok().filter(|_| id.len() == 36 && !id.bytes().any(|b| b.is_ascii_uppercase()))
}

/// `agencies/{agency}/referrals/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReferralName {
    /// The agency that refers.
    pub agency: String,
    /// The referral's identifier; its case has the same.
    pub id: Uuid,
}

impl fmt::Display for ReferralName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agencies/{}/referrals/{}", self.agency, self.id)
    }
}

impl FromStr for ReferralName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse_child(text, OrganisationKind::Agency, "referrals")
            .map(|(agency, id)| Self { agency, id })
            .ok_or(NameError("agencies/{agency}/referrals/{uuid}"))
    }
}

/// `agencies/{agency}/measures/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeasureName {
    /// The agency against which, or against whose member, it is.
    pub agency: String,
    /// The measure's identifier.
    pub id: Uuid,
}

impl fmt::Display for MeasureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agencies/{}/measures/{}", self.agency, self.id)
    }
}

impl FromStr for MeasureName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse_child(text, OrganisationKind::Agency, "measures")
            .map(|(agency, id)| Self { agency, id })
            .ok_or(NameError("agencies/{agency}/measures/{uuid}"))
    }
}

/// `agencies/{lead}/operations/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationName {
    /// The agency that leads it.
    pub agency: String,
    /// The operation's identifier.
    pub id: Uuid,
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agencies/{}/operations/{}", self.agency, self.id)
    }
}

impl FromStr for OperationName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse_child(text, OrganisationKind::Agency, "operations")
            .map(|(agency, id)| Self { agency, id })
            .ok_or(NameError("agencies/{agency}/operations/{uuid}"))
    }
}

/// `agencies/{agency}/preNotices/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PreNoticeName {
    /// The agency that gave it.
    pub agency: String,
    /// The pre-notice's identifier.
    pub id: Uuid,
}

impl fmt::Display for PreNoticeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agencies/{}/preNotices/{}", self.agency, self.id)
    }
}

impl FromStr for PreNoticeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse_child(text, OrganisationKind::Agency, "preNotices")
            .map(|(agency, id)| Self { agency, id })
            .ok_or(NameError("agencies/{agency}/preNotices/{uuid}"))
    }
}

/// `agencies/{agency}/drafts/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DraftName {
    /// The agency whose it is.
    pub agency: String,
    /// The draft's identifier, and that of the referral that it becomes.
    pub id: Uuid,
}

impl DraftName {
    /// The referral that it becomes.
    pub fn referral(&self) -> ReferralName {
        ReferralName { agency: self.agency.clone(), id: self.id }
    }
}

impl fmt::Display for DraftName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agencies/{}/drafts/{}", self.agency, self.id)
    }
}

impl FromStr for DraftName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse_child(text, OrganisationKind::Agency, "drafts")
            .map(|(agency, id)| Self { agency, id })
            .ok_or(NameError("agencies/{agency}/drafts/{uuid}"))
    }
}

/// `agencies/{agency}/drafts/{uuid}/holds/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldName {
    /// The draft that is held.
    pub draft: DraftName,
    /// The hold's identifier.
    pub id: Uuid,
}

impl fmt::Display for HoldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/holds/{}", self.draft, self.id)
    }
}

impl FromStr for HoldName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let (draft, id) = text.split_once("/holds/")?;
            Some(Self { draft: draft.parse().ok()?, id: canonical(id)? })
        };
        read().ok_or(NameError("agencies/{agency}/drafts/{uuid}/holds/{uuid}"))
    }
}

/// `agencies/{agency}/interests/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterestName {
    /// The agency whose it is.
    pub agency: String,
    /// The interest's identifier.
    pub id: Uuid,
}

impl fmt::Display for InterestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agencies/{}/interests/{}", self.agency, self.id)
    }
}

impl FromStr for InterestName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse_child(text, OrganisationKind::Agency, "interests")
            .map(|(agency, id)| Self { agency, id })
            .ok_or(NameError("agencies/{agency}/interests/{uuid}"))
    }
}

/// `agencies/{agency}/evidence/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EvidenceName {
    /// The agency whose it is.
    pub agency: String,
    /// The evidence's identifier.
    pub id: Uuid,
}

impl fmt::Display for EvidenceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agencies/{}/evidence/{}", self.agency, self.id)
    }
}

impl FromStr for EvidenceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse_child(text, OrganisationKind::Agency, "evidence")
            .map(|(agency, id)| Self { agency, id })
            .ok_or(NameError("agencies/{agency}/evidence/{uuid}"))
    }
}

/// `agencies/{agency}/referrals/{uuid}/reviewFlags/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReviewFlagName {
    /// The referral that is flagged; whether there is one is another question.
    pub referral: ReferralName,
    /// The flag's identifier.
    pub id: Uuid,
}

impl fmt::Display for ReviewFlagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/reviewFlags/{}", self.referral, self.id)
    }
}

impl FromStr for ReviewFlagName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let (referral, id) = text.split_once("/reviewFlags/")?;
            Some(Self { referral: referral.parse().ok()?, id: canonical(id)? })
        };
        read().ok_or(NameError("agencies/{agency}/referrals/{uuid}/reviewFlags/{uuid}"))
    }
}

/// `agencies/{agency}/referrals/{uuid}/observations/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObservationName {
    /// The referral whose target was looked at.
    pub referral: ReferralName,
    /// The observation's identifier.
    pub id: Uuid,
}

impl fmt::Display for ObservationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/observations/{}", self.referral, self.id)
    }
}

impl FromStr for ObservationName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let (referral, id) = text.split_once("/observations/")?;
            Some(Self { referral: referral.parse().ok()?, id: canonical(id)? })
        };
        read().ok_or(NameError("agencies/{agency}/referrals/{uuid}/observations/{uuid}"))
    }
}

/// `platforms/{platform}/cases/{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaseName {
    /// The platform that decides.
    pub platform: String,
    /// The identifier of the referral that opened the case.
    pub id: Uuid,
}

impl fmt::Display for CaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "platforms/{}/cases/{}", self.platform, self.id)
    }
}

impl FromStr for CaseName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse_child(text, OrganisationKind::Platform, "cases")
            .map(|(platform, id)| Self { platform, id })
            .ok_or(NameError("platforms/{platform}/cases/{uuid}"))
    }
}

/// `platforms/{platform}/cases/{uuid}/decisions/{version}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionName {
    /// The case that was decided.
    pub case: CaseName,
    /// The decision's version, from 1.
    pub version: u32,
}

impl fmt::Display for DecisionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/decisions/{}", self.case, self.version)
    }
}

impl FromStr for DecisionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let (case, version) = text.split_once("/decisions/")?;
            Some(Self { case: case.parse().ok()?, version: parse_version(version)? })
        };
        read().ok_or(NameError("platforms/{platform}/cases/{uuid}/decisions/{version}"))
    }
}

/// `platforms/{platform}/cases/{uuid}/challenges/{number}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChallengeName {
    /// The case whose decision is challenged.
    pub case: CaseName,
    /// The challenge's number in the case, from 1.
    pub number: u32,
}

impl fmt::Display for ChallengeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/challenges/{}", self.case, self.number)
    }
}

impl FromStr for ChallengeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let (case, number) = text.split_once("/challenges/")?;
            Some(Self { case: case.parse().ok()?, number: parse_version(number)? })
        };
        read().ok_or(NameError("platforms/{platform}/cases/{uuid}/challenges/{number}"))
    }
}

/// `platforms/{platform}/cases/{uuid}/stays/{number}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StayName {
    /// The case.
    pub case: CaseName,
    /// The stay's number in the case, from 1.
    pub number: u32,
}

impl fmt::Display for StayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/stays/{}", self.case, self.number)
    }
}

impl FromStr for StayName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let (case, number) = text.split_once("/stays/")?;
            Some(Self { case: case.parse().ok()?, number: parse_version(number)? })
        };
        read().ok_or(NameError("platforms/{platform}/cases/{uuid}/stays/{number}"))
    }
}

/// `platforms/{platform}/clauses/{clause}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClauseName {
    /// The platform whose rule it is.
    pub platform: String,
    /// The clause's identifier in the platform's catalogue.
    pub clause: String,
}

impl fmt::Display for ClauseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "platforms/{}/clauses/{}", self.platform, self.clause)
    }
}

impl FromStr for ClauseName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let (platform, clause) = text.strip_prefix("platforms/")?.split_once("/clauses/")?;
            (is_slug(platform) && is_slug(clause))
                .then(|| Self { platform: platform.to_owned(), clause: clause.to_owned() })
        };
        read().ok_or(NameError("platforms/{platform}/clauses/{clause}"))
    }
}

/// A decimal version from 1, without a leading zero.
pub fn parse_version(text: &str) -> Option<u32> {
    text.parse().ok().filter(|version| *version > 0 && !text.starts_with(['0', '+']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for text in [
            "agencies/nca",
            "platforms/harbourbook",
            "oversightBodies/hac",
            "operators/op",
            "services/decision",
            "researchers/migration-lab",
        ] {
            assert_eq!(text.parse::<OrganisationName>().unwrap().to_string(), text);
        }
        let referral = "agencies/nca/referrals/0190b2f0-0000-7000-8000-000000000001";
        assert_eq!(referral.parse::<ReferralName>().unwrap().to_string(), referral);
        let measure = "agencies/nca/measures/0190b2f0-0000-7000-8000-000000000001";
        assert_eq!(measure.parse::<MeasureName>().unwrap().to_string(), measure);
        assert!(measure.parse::<ReferralName>().is_err() && referral.parse::<MeasureName>().is_err());
        let operation = "agencies/nca/operations/0190b2f0-0000-7000-8000-000000000001";
        assert_eq!(operation.parse::<OperationName>().unwrap().to_string(), operation);
        assert!(operation.parse::<MeasureName>().is_err() && referral.parse::<OperationName>().is_err());
        let notice = "agencies/nca/preNotices/0190b2f0-0000-7000-8000-000000000001";
        assert_eq!(notice.parse::<PreNoticeName>().unwrap().to_string(), notice);
        let draft = "agencies/nca/drafts/0190b2f0-0000-7000-8000-000000000001";
        let read = draft.parse::<DraftName>().unwrap();
        assert_eq!((read.to_string(), read.referral().to_string()), (draft.to_owned(), referral.to_owned()));
        assert!(draft.parse::<ReferralName>().is_err() && referral.parse::<DraftName>().is_err());
        let flag = format!("{referral}/reviewFlags/0190b2f0-0000-7000-8000-000000000002");
        assert_eq!(flag.parse::<ReviewFlagName>().unwrap().to_string(), flag);
        for wrong in [
            flag.to_uppercase(),
            flag.replace("referrals", "measures"),
            format!("{flag}/x"),
            flag.replace("7000", "700A"),
        ] {
            assert!(wrong.parse::<ReviewFlagName>().is_err(), "{wrong}");
        }
        let decision = "platforms/harbourbook/cases/0190b2f0-0000-7000-8000-000000000001/decisions/12";
        assert_eq!(decision.parse::<DecisionName>().unwrap().to_string(), decision);
        let clause = "platforms/harbourbook/clauses/he-7";
        assert_eq!(clause.parse::<ClauseName>().unwrap().to_string(), clause);
    }

    #[test]
    fn only_the_canonical_spelling_is_a_name() {
        for text in [
            "agencies/NCA",
            "agencies/",
            "agencies/n",
            "agencies/-a",
            "agencies/a-",
            "agency/nca",
            "nca",
            "agencies/nca/x",
            "agencies/\u{e9}a",
        ] {
            assert!(text.parse::<OrganisationName>().is_err(), "{text}");
        }
        for text in [
            "agencies/nca/referrals/0190B2F0-0000-7000-8000-000000000001",
            "agencies/nca/referrals/0190b2f000007000800000000000000a",
            "agencies/nca/referrals/{0190b2f0-0000-7000-8000-000000000001}",
            "platforms/nca/referrals/0190b2f0-0000-7000-8000-000000000001",
        ] {
            assert!(text.parse::<ReferralName>().is_err(), "{text}");
        }
        let case = "platforms/hb/cases/0190b2f0-0000-7000-8000-000000000001";
        for version in ["0", "01", "+1", "-1", "x", ""] {
            assert!(format!("{case}/decisions/{version}").parse::<DecisionName>().is_err(), "{version}");
        }
        assert_eq!(parse_parent("agencies/-", OrganisationKind::Agency), Ok(None));
        assert_eq!(parse_parent("agencies/nca", OrganisationKind::Agency), Ok(Some("nca")));
        assert!(parse_parent("platforms/-", OrganisationKind::Agency).is_err());
    }
}
