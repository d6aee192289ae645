//! The provisions that the catalogue knows, and whether a referral says of one what it is.

use portreeve_core::Violations;
use portreeve_core::vocabulary::Defence;

use super::referral::LegalBasis;

/// A provision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provision {
    /// Its code.
    pub code: &'static str,
    /// Its statute.
    pub statute: &'static str,
    /// Where it is in the statute.
    pub section: &'static str,
    /// What it is about.
    pub subject: &'static str,
    /// The protected contexts that it has as defences.
    pub defences: &'static [Defence],
}

const IMMIGRATION_ACT: &str = "Immigration Act 1971";
const BORDER_SECURITY_ACT: &str = "Border Security, Asylum and Immigration Act 2025";

/// The catalogue, in the order of the codes.
pub const CATALOGUE: [Provision; 10] = [
    Provision {
        code: "BSAIA2025_S16",
        statute: BORDER_SECURITY_ACT,
        section: "s. 16",
        subject: "Collecting, recording, possessing, viewing or accessing information for use in immigration crime",
        defences: Defence::ALL,
    },
    Provision {
        code: "BSAIA2025_S17",
        statute: BORDER_SECURITY_ACT,
        section: "s. 17",
        subject: "Advertising unlawful immigration services online",
        defences: &[Defence::Journalism, Defence::Academic],
    },
    Provision {
        code: "HTENI2015_S2",
        statute: "Human Trafficking and Exploitation (Criminal Justice and Support for Victims) Act (Northern Ireland) 2015",
        section: "s. 2",
        subject: "Human trafficking (Northern Ireland)",
        defences: &[],
    },
    Provision {
        code: "HTESA2015_S1",
        statute: "Human Trafficking and Exploitation (Scotland) Act 2015",
        section: "s. 1",
        subject: "Human trafficking (Scotland)",
        defences: &[],
    },
    Provision {
        code: "IA1971_S24_A1",
        statute: IMMIGRATION_ACT,
        section: "s. 24(A1)",
        subject: "Entering in breach of a deportation order",
        defences: &[],
    },
    Provision {
        code: "IA1971_S24_B1",
        statute: IMMIGRATION_ACT,
        section: "s. 24(B1)",
        subject: "Entering without leave",
        defences: &[],
    },
    Provision {
        code: "IA1971_S24_C1",
        statute: IMMIGRATION_ACT,
        section: "s. 24(C1)",
        subject: "Remaining beyond the time limited by leave, or breaking its conditions",
        defences: &[],
    },
    Provision {
        code: "IA1971_S24_D1",
        statute: IMMIGRATION_ACT,
        section: "s. 24(D1)",
        subject: "Arriving without a valid entry clearance",
        defences: &[],
    },
    Provision {
        code: "IA1971_S25",
        statute: IMMIGRATION_ACT,
        section: "s. 25",
        subject: "Assisting unlawful immigration",
        defences: &[],
    },
    Provision {
        code: "MSA2015_S2",
        statute: "Modern Slavery Act 2015",
        section: "s. 2",
        subject: "Human trafficking (England and Wales)",
        defences: &[],
    },
];

/// A title without what people write differently.
fn title(text: &str) -> String {
    let words = text.to_lowercase().replace(',', " ");
    let words = words.split_whitespace().filter(|word| *word != "the");
    words.collect::<Vec<_>>().join(" ")
}

/// A section without what people write differently: `s25`, `s. 25` and `Section 25` are the same.
fn place(text: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '(' | ')');
    let text = text.to_lowercase().chars().filter(kept).collect::<String>();
    let prefix = ["sections", "section", "sec", "ss", "s"].into_iter().find_map(|word| text.strip_prefix(word));
    prefix.unwrap_or(&text).to_owned()
}

/// Whether one place is the other, lies within it, or holds it: a subsection contradicts no section.
fn agree(one: &str, other: &str) -> bool {
    let holds = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('('))
    };
    holds(one, other) || holds(other, one)
}

/// Notes under `path` where a provision with a known code is said to be another than it is.
pub fn check(basis: &LegalBasis, path: &str, violations: &mut Violations) {
    let Some(known) = CATALOGUE.iter().find(|known| known.code == basis.code) else { return };
    if !basis.statute.is_empty() && title(&basis.statute) != title(known.statute) {
        violations.add(format!("{path}.statute"), format!("must be {} with the code {}", known.statute, known.code));
    }
    if !basis.section.is_empty() && !agree(&place(&basis.section), &place(known.section)) {
        violations.add(format!("{path}.section"), format!("must be {} with the code {}", known.section, known.code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(code: &str, statute: &str, section: &str) -> Vec<String> {
        let mut violations = Violations::new();
        let basis = LegalBasis { code: code.into(), statute: statute.into(), section: section.into() };
        check(&basis, "basis", &mut violations);
        let refused = violations.into_result().err();
        refused.iter().flat_map(portreeve_core::Error::violations).map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn the_catalogue_is_sorted_and_agrees_with_itself() {
        assert!(CATALOGUE.is_sorted_by_key(|known| known.code));
        for known in CATALOGUE {
            assert!(wrong(known.code, known.statute, known.section).is_empty(), "{known:?}");
        }
    }

    #[test]
    fn a_known_code_names_its_own_provision_however_it_is_written() {
        let act = "Immigration Act 1971";
        for section in ["", "s. 25", "s.25", "S25", "section 25", "s. 25(1)(a)"] {
            assert!(wrong("IA1971_S25", act, section).is_empty(), "{section}");
        }
        for section in ["s. 2", "s. 251", "s. 24", "25A", "art. 25"] {
            assert_eq!(wrong("IA1971_S25", act, section), ["basis.section"], "{section}");
        }
        assert!(wrong("IA1971_S24_B1", act, "s. 24").is_empty());
        assert_eq!(wrong("IA1971_S24_B1", act, "s. 24(A1)"), ["basis.section"]);
        assert!(wrong("IA1971_S25", "the immigration act 1971", "").is_empty());
        assert_eq!(wrong("IA1971_S25", "Modern Slavery Act 2015", "s. 2"), ["basis.statute", "basis.section"]);
        // Other codes are the caller's own.
        assert!(wrong("", "Any Act", "s. 1").is_empty() && wrong("ANY2020_S1", "Any Act", "s. 1").is_empty());
    }
}
