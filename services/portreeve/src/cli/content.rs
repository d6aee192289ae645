//! What is referred: the options that `refer` and `draft` share.

use clap::Args;
use portreeve_api::common::v1::{
    Classification, Ground, HandlingCode, InformationAssessment, ReferralNature, SourceGrade, TargetKind, Tlp,
};
use portreeve_api::referral::v1::{
    Defence, DefenceFinding, Handling, LegalBasis, Priority, PriorityLevel, ProtectedContextAnswer,
    ProtectedContextCheck, ReferralDraft, ReferralLink, ReferralLinkKind, Target, TargetHandle,
};
use portreeve_core::name::{EvidenceName, OperationName, OrganisationName, ReferralName};

use super::failure::{Failure, Result};
use super::order::Order;
use super::words::{self, Word as _, typed, words_of};

/// What is referred: options.
#[derive(Args, Debug)]
pub(crate) struct What {
    /// The exact address of the target; a telephone number (--kind phone-number, the number as --native-id) needs none, nor does a
    /// group or a channel with --evidence
    #[arg(default_value = "", hide_default_value = true)]
    url: String,
    /// The platform that it is addressed to
    #[arg(long, value_name = "PLATFORM")]
    platform: OrganisationName,
    /// What kind of thing the target is
    #[arg(long, value_name = "KIND", value_parser = words_of::<TargetKind>(), ignore_case = true, default_value = "page")]
    kind: TargetKind,
    /// The platform's own identifier of it, if known
    #[arg(long, value_name = "ID", default_value = "")]
    native_id: String,
    /// A name under which it was seen: NAME, or NAME=FROM..UNTIL with times or dates, of which each may be left out; may be repeated
    #[arg(long = "handle", value_name = "NAME", value_parser = handle)]
    handles: Vec<TargetHandle>,
    /// A referral of the same agency that this one goes on with; may be repeated
    #[arg(long, value_name = "REFERRAL")]
    follows: Vec<ReferralName>,
    /// A referral of the same agency whose place this one takes, which is not withdrawn by that; may be repeated
    #[arg(long, value_name = "REFERRAL")]
    supersedes: Vec<ReferralName>,
    /// A referral of the same agency whose target is of the same network; may be repeated
    #[arg(long, value_name = "REFERRAL")]
    network: Vec<ReferralName>,
    /// The operation to which it belongs, in which the agency takes part
    #[arg(long, value_name = "OPERATION")]
    operation: Option<OperationName>,
    /// The legal nature: what the platform must do follows from it
    #[arg(long, value_name = "NATURE", value_parser = words_of::<ReferralNature>(), ignore_case = true)]
    nature: ReferralNature,
    /// What it is referred for
    #[arg(long, value_name = "GROUND", value_parser = words_of::<Ground>(), ignore_case = true)]
    ground: Ground,
    /// A code for the provision, such as IA1971_S25; `portreeve draft provisions` lists those that are known
    #[arg(long, value_name = "CODE", default_value = "")]
    legal_basis_code: String,
    /// The statute on which it rests
    #[arg(long, value_name = "TEXT")]
    statute: String,
    /// The provision within the statute
    #[arg(long, value_name = "TEXT", default_value = "")]
    section: String,
    /// Why it is referred
    #[arg(long, value_name = "TEXT")]
    reasons: String,
    /// The language of the reasons
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    reasons_language: String,
    /// The main language of the content, if known
    #[arg(long, value_name = "LANGUAGE", default_value = "")]
    content_language: String,
    /// What was found of a context that the law protects: CONTEXT=FINDING, or CONTEXT=FINDING:REASONS; `others` is every
    /// context that is not named
    ///
    /// Contexts: own-journey, journalism, academic, rescue, medical-or-shelter, non-charging-asylum-organisation (and with it
    /// information on asylum). Findings: does-not-apply, uncertain, applies; what applies is not referred.
    #[arg(long = "context", value_name = "CONTEXT=FINDING", value_parser = finding)]
    contexts: Vec<Found>,
    /// Evidence that it carries, as `portreeve evidence upload` named it
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    evidence: Vec<EvidenceName>,
    #[command(flatten)]
    priority: Urgency,
    #[command(flatten)]
    order: Order,
    #[command(flatten)]
    marks: Marks,
}

/// How a referral is to be handled: options.
#[derive(Args, Debug)]
#[command(next_help_heading = "Handling")]
struct Marks {
    /// How far it may travel among partners; amber-strict if not said
    #[arg(long, value_name = "TLP", value_parser = words_of::<Tlp>(), ignore_case = true)]
    tlp: Option<Tlp>,
    /// Its classification; official if not said
    #[arg(long, value_name = "CLASS", value_parser = words_of::<Classification>(), ignore_case = true)]
    classification: Option<Classification>,
    /// How reliable the source is; no platform sees it
    #[arg(long, value_name = "GRADE", value_parser = words_of::<SourceGrade>(), ignore_case = true)]
    source_grade: Option<SourceGrade>,
    /// How the information is assessed; no platform sees it
    #[arg(long, value_name = "GRADE", value_parser = words_of::<InformationAssessment>(), ignore_case = true)]
    assessment: Option<InformationAssessment>,
    /// Share it with partners on these conditions only (the handling code C); no platform sees them
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    conditions: String,
}

impl Marks {
    fn handling(self) -> Option<Handling> {
        handling(Handling {
            tlp: self.tlp.map(Into::into).unwrap_or_default(),
            classification: self.classification.map(Into::into).unwrap_or_default(),
            source_grade: self.source_grade.map(Into::into).unwrap_or_default(),
            assessment: self.assessment.map(Into::into).unwrap_or_default(),
            code: HandlingCode::Unspecified.into(),
            conditions: self.conditions,
        })
    }
}

/// What was said of how a referral is to be handled, if anything was. The handling code follows from the conditions.
pub(crate) fn handling(said: Handling) -> Option<Handling> {
    let code = if said.conditions.is_empty() { HandlingCode::Unspecified } else { HandlingCode::SharingWithConditions };
    Some(Handling { code: code.into(), ..said }).filter(|said| *said != Handling::default())
}

/// How urgent a referral is: options.
#[derive(Args, Debug)]
#[command(next_help_heading = "Urgency")]
pub(crate) struct Urgency {
    /// How much harm, how likely, how sure: three of low, moderate, substantial and severe
    #[arg(id = "urgency", long = "urgency", value_name = "HARM,LIKELIHOOD,CONFIDENCE", value_parser = words_of::<PriorityLevel>(), ignore_case = true,
        value_delimiter = ',', requires = "because")]
    levels: Vec<PriorityLevel>,
    /// Why it is so urgent
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, requires = "urgency")]
    because: String,
    /// Somebody's life is in imminent danger: it goes before every other
    #[arg(long, requires = "urgency")]
    life_at_risk: bool,
}

impl Urgency {
    /// What was said, if anything was.
    pub(crate) fn priority(self) -> Result<Option<Priority>> {
        match self.levels[..] {
            [] => Ok(None),
            [harm, likelihood, confidence] => Ok(Some(Priority {
                harm: harm.into(),
                likelihood: likelihood.into(),
                confidence: confidence.into(),
                explanation: self.because,
                imminent_threat_to_life: self.life_at_risk,
                ..Priority::default()
            })),
            _ => Err(Failure::Usage("--urgency takes three levels: HARM,LIKELIHOOD,CONFIDENCE".to_owned())),
        }
    }
}

/// A name, and the times between which it was seen. What has no two dots behind a `=` is a name as a whole.
fn handle(text: &str) -> Result<TargetHandle, String> {
    let period = text.rsplit_once('=').and_then(|(name, period)| Some((name, period.split_once("..")?)));
    let Some((name, (from, until))) = period else {
        return Ok(TargetHandle { handle: text.to_owned(), ..TargetHandle::default() });
    };
    let time = |text: &str| if text.is_empty() { Ok(None) } else { words::time(text).map(Some) };
    Ok(TargetHandle { handle: name.to_owned(), seen_from: time(from)?, seen_until: time(until)? })
}

/// One answer of a check, or what stands for all that are not given.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    /// `None` for the others.
    context: Option<Defence>,
    finding: DefenceFinding,
    reasons: String,
}

fn finding(text: &str) -> Result<Found, String> {
    let (context, rest) = text.split_once('=').ok_or("must be CONTEXT=FINDING, such as journalism=does-not-apply")?;
    let (finding, reasons) = rest.split_once(':').unwrap_or((rest, ""));
    let context = match context.trim() {
        "others" => None,
        context => Some(Defence::parse(context)?),
    };
    Ok(Found { context, finding: DefenceFinding::parse(finding)?, reasons: reasons.trim().to_owned() })
}

/// The check that the answers make, in the order of the contexts; none of none. Each context is answered once.
fn check(found: &[Found]) -> Result<Option<ProtectedContextCheck>, String> {
    for (index, answer) in found.iter().enumerate() {
        if found.iter().take(index).any(|other| other.context == answer.context) {
            let name = answer.context.map_or_else(|| "others".to_owned(), typed);
            return Err(format!("{name} is answered twice"));
        }
    }
    let named = |context: &Defence| found.iter().find(|answer| answer.context == Some(*context));
    let others = found.iter().find(|answer| answer.context.is_none());
    let answer = |context: Defence| {
        let found = named(&context).or(others)?;
        let (finding, reasons) = (found.finding.into(), found.reasons.clone());
        Some(ProtectedContextAnswer { context: context.into(), finding, reasons })
    };
    let answers = (1..).map_while(Defence::from_number).filter_map(answer).collect::<Vec<_>>();
    Ok((!answers.is_empty()).then_some(ProtectedContextCheck { answers }))
}

/// The check in a cell of a file: what `--context` takes, with a `|` between the answers; none of an empty one.
pub(crate) fn checked(cell: &str) -> Result<Option<ProtectedContextCheck>, String> {
    let answers = cell.split('|').map(str::trim).filter(|text| !text.is_empty()).map(finding);
    check(&answers.collect::<Result<Vec<_>, _>>()?)
}

/// Where a target is, for people: its address as it was given, or its telephone number.
pub(crate) fn place(target: &Target) -> &str {
    if target.url.is_empty() { &target.native_id } else { &target.url }
}

impl What {
    /// What is sent, but for when it occurred and the signature.
    pub(crate) fn draft(self) -> Result<ReferralDraft> {
        let links = [
            (ReferralLinkKind::Follows, self.follows),
            (ReferralLinkKind::Supersedes, self.supersedes),
            (ReferralLinkKind::SameNetwork, self.network),
        ];
        let links = links.into_iter().flat_map(|(kind, others)| {
            let link = move |other: ReferralName| ReferralLink {
                kind: kind.into(),
                referral: other.to_string(),
                ..ReferralLink::default()
            };
            others.into_iter().map(link)
        });
        let links = links.collect();
        Ok(ReferralDraft {
            platform: self.platform.to_string(),
            target: Some(Target {
                kind: self.kind.into(),
                url: self.url,
                native_id: self.native_id,
                handles: self.handles,
                ..Target::default()
            }),
            nature: self.nature.into(),
            ground: self.ground.into(),
            legal_basis: Some(LegalBasis { code: self.legal_basis_code, statute: self.statute, section: self.section }),
            statement_of_reasons: self.reasons,
            statement_language: self.reasons_language,
            content_language: self.content_language,
            protected_context: check(&self.contexts).map_err(|error| Failure::Usage(format!("--context: {error}")))?,
            handling: self.marks.handling(),
            order: self.order.terms(),
            priority: self.priority.priority()?,
            evidence: self.evidence.iter().map(ToString::to_string).collect(),
            links,
            operation: self.operation.as_ref().map(ToString::to_string).unwrap_or_default(),
            ..ReferralDraft::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_may_say_when_it_was_seen() {
        for (text, name, from, until) in [
            ("@boats", "@boats", false, false),
            ("a=b", "a=b", false, false),
            ("@boats=2026-01-01..", "@boats", true, false),
            ("@a=b=2026-01-01..2026-02-01", "@a=b", true, true),
        ] {
            let read = handle(text).unwrap();
            let seen = (read.handle.as_str(), read.seen_from.is_some(), read.seen_until.is_some());
            assert_eq!(seen, (name, from, until), "{text}");
        }
        assert!(handle("@boats=yesterday..").is_err());
    }

    #[test]
    fn others_answers_what_is_not_named() {
        let read = |texts: &[&str]| texts.iter().map(|text| finding(text).unwrap()).collect::<Vec<_>>();
        assert_eq!(check(&[]).unwrap(), None);
        let made =
            check(&read(&["others=does-not-apply", "Journalism=UNCERTAIN: It quotes: a paper."])).unwrap().unwrap();
        assert_eq!(made.answers.len(), 6);
        let journalism = &made.answers[1];
        assert_eq!((journalism.context(), journalism.finding()), (Defence::Journalism, DefenceFinding::Uncertain));
        assert_eq!(journalism.reasons, "It quotes: a paper.");
        assert_eq!(made.answers[0].finding(), DefenceFinding::DoesNotApply);
        // What is missing is the server's to say.
        assert_eq!(check(&read(&["rescue=does-not-apply"])).unwrap().unwrap().answers.len(), 1);
        assert!(check(&read(&["rescue=applies", "rescue=uncertain"])).is_err());
        for wrong in ["", "rescue", "rescue=perhaps", "boats=applies"] {
            assert!(finding(wrong).is_err(), "{wrong}");
        }
    }
}
