//! A row of a file as a referral, and the request id that belongs to it.

use csv::ByteRecord;
use portreeve_api::common::v1::{
    Classification, Ground, HandlingCode, InformationAssessment, ReferralNature, SourceGrade, TargetKind, Tlp,
};
use portreeve_api::referral::v1::{Handling, ImportItem, LegalBasis, ReferralDraft, Target};
use portreeve_core::id::Uuid;
use portreeve_core::name::OrganisationName;
use prost::Message as _;

use crate::cli::content;
use crate::cli::sheet::{Column, Header, Refusal};
use crate::cli::words::{self, Word};

/// Bytes of a row that is worth sending: more than every field at its longest together.
const ROW_BYTES_MAX: usize = 128 * 1024;

const fn required(name: &'static str) -> Column {
    Column { name, required: true }
}

const fn optional(name: &'static str) -> Column {
    Column { name, required: false }
}

/// The columns of a file of referrals.
pub(super) const COLUMNS: &[Column] = &[
    required("platform"),
    required("kind"),
    required("url"),
    optional("native_id"),
    required("nature"),
    required("ground"),
    optional("legal_basis_code"),
    required("statute"),
    optional("section"),
    required("reasons"),
    required("reasons_language"),
    optional("content_language"),
    optional("occurred_at"),
    optional("tlp"),
    optional("classification"),
    optional("source_grade"),
    optional("assessment"),
    optional("conditions"),
    optional("contexts"),
    optional("operation"),
    optional("request_id"),
];

/// The referral in a row. What only the server can know (whose host it is, for instance) is left to it; what cannot be
/// put into a request is refused here, all of it at once.
pub(super) fn item(agency: &OrganisationName, header: &Header, row: &ByteRecord) -> Result<ImportItem, Refusal> {
    if row.as_slice().len() > ROW_BYTES_MAX {
        let message = format!("the row has {} bytes, and {ROW_BYTES_MAX} are allowed", row.as_slice().len());
        return Err(Refusal { reason: "LIMIT_EXCEEDED".to_owned(), message, field: String::new() });
    }
    let cells = header.cells(row)?;
    let mut wrong = Vec::new();
    let draft = ReferralDraft {
        platform: platform(cells.get("platform")),
        target: Some(Target {
            kind: word::<TargetKind>("kind", cells.get("kind"), &mut wrong),
            url: cells.get("url").to_owned(),
            native_id: cells.get("native_id").to_owned(),
            ..Target::default()
        }),
        nature: word::<ReferralNature>("nature", cells.get("nature"), &mut wrong),
        ground: word::<Ground>("ground", cells.get("ground"), &mut wrong),
        legal_basis: Some(LegalBasis {
            code: cells.get("legal_basis_code").to_owned(),
            statute: cells.get("statute").to_owned(),
            section: cells.get("section").to_owned(),
        }),
        statement_of_reasons: cells.get("reasons").to_owned(),
        statement_language: cells.get("reasons_language").to_owned(),
        content_language: cells.get("content_language").to_owned(),
        occurred_at: match cells.get("occurred_at") {
            "" => None,
            text => words::time(text).map_err(|error| wrong.push(("occurred_at".to_owned(), error))).ok(),
        },
        handling: content::handling(Handling {
            tlp: optional_word::<Tlp>("tlp", cells.get("tlp"), &mut wrong),
            classification: optional_word::<Classification>("classification", cells.get("classification"), &mut wrong),
            source_grade: optional_word::<SourceGrade>("source_grade", cells.get("source_grade"), &mut wrong),
            assessment: optional_word::<InformationAssessment>("assessment", cells.get("assessment"), &mut wrong),
            code: HandlingCode::Unspecified.into(),
            conditions: cells.get("conditions").to_owned(),
        }),
        protected_context: match content::checked(cells.get("contexts")) {
            Ok(check) => check,
            Err(error) => {
                wrong.push(("contexts".to_owned(), error));
                None
            }
        },
        operation: cells.get("operation").to_owned(),
        ..ReferralDraft::default()
    };
    if !wrong.is_empty() {
        return Err(Refusal::invalid(wrong));
    }
    let request_id = match cells.get("request_id") {
        "" => request_id(agency, &draft).to_string(),
        given => given.to_lowercase(),
    };
    Ok(ImportItem { request_id, draft: Some(draft) })
}

fn word<W: Word + Into<i32>>(column: &str, text: &str, wrong: &mut Vec<(String, String)>) -> i32 {
    match W::parse(text) {
        Ok(value) => value.into(),
        Err(error) => {
            wrong.push((column.to_owned(), error));
            0
        }
    }
}

fn optional_word<W: Word + Into<i32>>(column: &str, text: &str, wrong: &mut Vec<(String, String)>) -> i32 {
    if text.is_empty() { 0 } else { word::<W>(column, text, wrong) }
}

/// `harbourbook` and `platforms/harbourbook` are the same platform.
fn platform(text: &str) -> String {
    if text.contains('/') || text.is_empty() { text.to_owned() } else { format!("platforms/{text}") }
}

/// The request id of a row that brings none: a UUIDv5 (RFC 9562) over the agency and everything that the row says, so
/// that the same row is the same request whenever and from wherever it is sent, and nothing is referred twice.
pub(crate) fn request_id(agency: &OrganisationName, draft: &ReferralDraft) -> Uuid {
    let space = Uuid::new_v5(&Uuid::NAMESPACE_URL, b"https://portreeve.org/requests/import/v1");
    let space = Uuid::new_v5(&space, agency.to_string().as_bytes());
    Uuid::new_v5(&space, &draft.encode_to_vec())
}

/// The column for the path of a field in an item.
pub(super) fn column(path: &str) -> String {
    let within = path.split("draft.").last().unwrap_or(path);
    let column = match within {
        "target.kind" => "kind",
        "target.url" => "url",
        "target.native_id" => "native_id",
        "legal_basis.code" => "legal_basis_code",
        "legal_basis.statute" => "statute",
        "legal_basis.section" => "section",
        "statement_of_reasons" => "reasons",
        "statement_language" => "reasons_language",
        _ if within.ends_with("request_id") => "request_id",
        _ if within.starts_with("protected_context") => "contexts",
        other => other.strip_prefix("handling.").unwrap_or(other),
    };
    column.to_owned()
}

#[cfg(test)]
mod tests {
    use bolero::{check, one_value_of, produce};
    use portreeve_api::referral::v1::{Defence, DefenceFinding};

    use super::*;
    use crate::cli::fuzz::{INPUTS, texts};

    const HEADER: &str = "platform,kind,url,native_id,nature,ground,legal_basis_code,statute,section,reasons,\
                          reasons_language,content_language,occurred_at,request_id";
    const ROW: &str = "harbourbook,page,https://harbourbook.example/p/1,1,voluntary-referral,OFFER_TRANSPORT_SEA,\
                       IA1971_S25,Immigration Act 1971,s. 25,\"Offers crossings, with prices\",en,ku,2020-01-06T09:00:00Z,";

    fn read(row: &str) -> Result<ImportItem, Refusal> {
        let text = format!("{HEADER}\n{row}\n");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, text).unwrap();
        let mut sheet = crate::cli::sheet::Sheet::open(&path, b',', COLUMNS).unwrap();
        let row = sheet.next().unwrap().unwrap();
        item(&"agencies/nca".parse().unwrap(), sheet.header(), &row)
    }

    #[test]
    fn a_row_becomes_a_referral() {
        let item = read(ROW).unwrap();
        let draft = item.draft.unwrap();
        assert_eq!(draft.platform, "platforms/harbourbook");
        assert_eq!(draft.ground(), Ground::OfferTransportSea);
        assert_eq!(draft.nature(), ReferralNature::VoluntaryReferral);
        assert_eq!(draft.statement_of_reasons, "Offers crossings, with prices");
        assert_eq!(draft.occurred_at.unwrap().seconds, 1_578_301_200);
        let target = draft.target.unwrap();
        assert_eq!((target.kind(), target.url.as_str()), (TargetKind::Page, "https://harbourbook.example/p/1"));
    }

    #[test]
    fn everything_wrong_with_a_row_is_said_at_once() {
        let row =
            ROW.replace("page,", "boat,").replace("OFFER_TRANSPORT_SEA", "").replace("2020-01-06T09", "yesterday");
        let refusal = read(&row).unwrap_err();
        assert_eq!(refusal.reason, "REQUEST_INVALID");
        assert_eq!(refusal.field, "kind; ground; occurred_at");
        assert!(refusal.message.starts_with("kind \"boat\" is none of PAGE, ACCOUNT"), "{}", refusal.message);
    }

    #[test]
    fn the_same_content_is_the_same_request_and_no_other_is() {
        let id = |row: &str| read(row).unwrap().request_id;
        let first = id(ROW);
        assert_eq!(first, "5eb28863-d534-50c7-8cf9-90e9c1da175c", "a changed derivation would import old files twice");
        assert_eq!(id(&ROW.replace("OFFER_TRANSPORT_SEA", "offer-transport-sea")), first);
        assert_eq!(id(&ROW.replace("harbourbook,page", " platforms/harbourbook , PAGE ")), first);
        for other in [ROW.replace("p/1", "p/2"), ROW.replace(",ku,", ",,"), ROW.replace("s. 25", "s. 24")] {
            assert_ne!(id(&other), first, "{other}");
        }
        let item = read(ROW).unwrap();
        let other = request_id(&"agencies/bka".parse().unwrap(), &item.draft.unwrap());
        assert_ne!(other.to_string(), first);
        assert_eq!(id(&format!("{ROW}0B9C5BA6-0E5B-4A39-9A5C-6B6A5E0F7A11")), "0b9c5ba6-0e5b-4a39-9a5c-6b6a5e0f7a11");
    }

    #[test]
    fn a_giant_row_is_refused_before_it_is_sent() {
        let refusal = read(&ROW.replace("with prices", &"x".repeat(ROW_BYTES_MAX))).unwrap_err();
        assert_eq!(refusal.reason, "LIMIT_EXCEEDED");
    }

    #[test]
    fn paths_of_fields_lead_back_to_columns() {
        let pairs = [
            ("items[3].draft.target.url", "url"),
            ("draft.legal_basis.statute", "statute"),
            ("draft.statement_of_reasons", "reasons"),
            ("statement_language", "reasons_language"),
            ("draft.occurred_at", "occurred_at"),
            ("draft.handling.conditions", "conditions"),
            ("draft.protected_context.answers[3].reasons", "contexts"),
            ("request_id", "request_id"),
        ];
        for (path, name) in pairs {
            assert_eq!(column(path), name);
        }
    }

    /// Whatever is in a row: it is read as what it says, or refused with the columns that are wrong.
    #[test]
    fn fuzz_rows() {
        const PIECES: &[&str] = &[
            "harbourbook",
            "platforms/",
            "page",
            "TARGET_KIND_",
            "voluntary-referral",
            "OFFER_TRANSPORT_SEA",
            "ground_",
            "https://harbourbook.example/",
            "2020-01-06",
            "T09:00:00",
            "Z",
            "+25:00",
            "-009999",
            "others=",
            "|rescue=",
            "uncertain:",
            " ",
            "-",
            "\"",
            "\u{e9}",
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        let agency = "agencies/nca".parse().unwrap();
        // The cells as they are, or those of a good row with one of them changed.
        let cells = produce::<Vec<String>>().with().values(texts(PIECES)).len(COLUMNS.len());
        let parts =
            (cells, one_value_of([None, Some(0), Some(3), Some(8), Some(12), Some(13), Some(17), Some(18), Some(20)]));
        check!().with_iterations(INPUTS / 4).with_generator(parts).for_each(|(cells, changed)| {
            let good = ROW.replace('"', "").replace("crossings, with", "crossings with") + "red,official,reliable,,,,,";
            let good = good.split(',').map(str::to_owned).collect::<Vec<_>>();
            let cells = match *changed {
                None => cells.clone(),
                Some(at) => good
                    .into_iter()
                    .enumerate()
                    .map(|(n, cell)| if n == at { cells[n].clone() } else { cell })
                    .collect(),
            };
            let read = |cells: &[String]| {
                let mut writer = csv::Writer::from_path(&path).unwrap();
                writer.write_record(COLUMNS.iter().map(|column| column.name)).unwrap();
                writer.write_record(cells).unwrap();
                writer.flush().unwrap();
                let mut sheet = crate::cli::sheet::Sheet::open(&path, b',', COLUMNS).unwrap();
                let row = sheet.next().unwrap().unwrap();
                item(&agency, sheet.header(), &row)
            };
            match read(&cells) {
                Ok(item) => {
                    assert!(item.encoded_len() < 2 * ROW_BYTES_MAX);
                    assert_eq!(read(&printed(&item)), Ok(item));
                }
                Err(refusal) => {
                    assert_eq!(refusal.reason, "REQUEST_INVALID");
                    for field in refusal.field.split("; ") {
                        assert!(COLUMNS.iter().any(|column| column.name == field), "{refusal:?}");
                    }
                }
            }
        });
    }

    /// The row that says what an item says.
    fn printed(item: &ImportItem) -> Vec<String> {
        fn word<W: Word>(number: i32) -> String {
            if number == 0 { String::new() } else { words::shown::<W>(number) }
        }
        let draft = item.draft.clone().unwrap();
        let (target, basis) = (draft.target.unwrap(), draft.legal_basis.unwrap());
        let handling = draft.handling.unwrap_or_default();
        let answers = draft.protected_context.unwrap_or_default().answers;
        let contexts = answers.iter().map(|answer| {
            let (context, finding) =
                (words::shown::<Defence>(answer.context), words::shown::<DefenceFinding>(answer.finding));
            format!("{context}={finding}:{}", answer.reasons)
        });
        let at = draft.occurred_at.map(|at| words::from_proto(Some(&at)).unwrap().to_string());
        vec![
            draft.platform,
            words::shown::<TargetKind>(target.kind),
            target.url,
            target.native_id,
            words::shown::<ReferralNature>(draft.nature),
            words::shown::<Ground>(draft.ground),
            basis.code,
            basis.statute,
            basis.section,
            draft.statement_of_reasons,
            draft.statement_language,
            draft.content_language,
            at.unwrap_or_default(),
            word::<Tlp>(handling.tlp),
            word::<Classification>(handling.classification),
            word::<SourceGrade>(handling.source_grade),
            word::<InformationAssessment>(handling.assessment),
            handling.conditions,
            contexts.collect::<Vec<_>>().join("|"),
            draft.operation,
            item.request_id.clone(),
        ]
    }
}
