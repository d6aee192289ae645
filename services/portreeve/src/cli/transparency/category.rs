//! The categories of illegal content by the templates (Implementing Regulation (EU) 2024/2835, table 2), as far as what is referred here falls in them.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_api::decision::v1::Case;
use portreeve_core::vocabulary::Ground;
use portreeve_decision::domain::statement::category;

use super::table::Cell;

/// The categories and, below each, the keywords into which the grounds fall, with their labels in the templates.
const LABELS: [(&str, &str, &str); 10] = [
    ("STATEMENT_CATEGORY_RISK_FOR_PUBLIC_SECURITY", "", "Category 10"),
    ("STATEMENT_CATEGORY_RISK_FOR_PUBLIC_SECURITY", "KEYWORD_ILLEGAL_ORGANIZATIONS", "Category 10a"),
    ("STATEMENT_CATEGORY_SCAMS_AND_FRAUD", "", "Category 11"),
    ("STATEMENT_CATEGORY_SCAMS_AND_FRAUD", "KEYWORD_OTHER", "Category 11g"),
    ("STATEMENT_CATEGORY_UNSAFE_AND_PROHIBITED_PRODUCTS", "", "Category 13"),
    ("STATEMENT_CATEGORY_UNSAFE_AND_PROHIBITED_PRODUCTS", "KEYWORD_PROHIBITED_PRODUCTS", "Category 13a"),
    ("STATEMENT_CATEGORY_VIOLENCE", "", "Category 14"),
    ("STATEMENT_CATEGORY_VIOLENCE", "KEYWORD_HUMAN_TRAFFICKING", "Category 14d"),
    ("STATEMENT_CATEGORY_VIOLENCE", "KEYWORD_OTHER", "Category 14f"),
    // What a newer release refers for.
    ("STATEMENT_CATEGORY_NOT_SPECIFIED_NOTICE", "", "Category 16"),
];

/// The category and the keyword of what a case was referred for, and the words for what no keyword says. It was referred as illegal, whatever the
/// decision rests on.
pub(super) fn of(case: &Case) -> (&'static str, &'static str, &'static str) {
    let known = Ground::from_code(case.ground).map(|ground| category(ground, true));
    known.map_or(("STATEMENT_CATEGORY_NOT_SPECIFIED_NOTICE", "", ""), |of| {
        (of.name, of.keywords.first().copied().unwrap_or_default(), of.other.unwrap_or_default())
    })
}

/// Cases divided by category: the total, each category and each keyword, whether or not anything fell in it.
#[derive(Debug, Default)]
pub(super) struct Divided<T> {
    parts: BTreeMap<(&'static str, &'static str), T>,
    words: BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>>,
}

impl<T: Default> Divided<T> {
    /// Counts a case in the total, in its category and under its keyword.
    pub(super) fn count(&mut self, case: &Case, mut add: impl FnMut(&mut T)) {
        let (category, keyword, words) = of(case);
        let keys = [("TOTAL", ""), (category, ""), (category, keyword)];
        for (place, key) in keys.into_iter().enumerate() {
            if !keys.iter().take(place).any(|before| *before == key) {
                add(self.parts.entry(key).or_default());
            }
        }
        self.words.entry((category, keyword)).or_default().insert(words);
    }

    /// The rows, each with its label, its category and, of a keyword "other", what that is. `none` is what is told of nothing.
    pub(super) fn rows<'d>(&'d self, none: &'d T) -> impl Iterator<Item = ([Cell; 3], &'d T)> {
        let total = [("TOTAL", "", "TOTAL")];
        total.into_iter().chain(LABELS).filter_map(|(category, keyword, label)| {
            let part = self.parts.get(&(category, keyword));
            // The last is of nothing that is known now.
            if part.is_none() && category == "STATEMENT_CATEGORY_NOT_SPECIFIED_NOTICE" {
                return None;
            }
            let words = self.words.get(&(category, keyword)).filter(|_| keyword == "KEYWORD_OTHER");
            let words = words.map(|words| words.iter().copied().collect::<Vec<_>>().join("; ")).unwrap_or_default();
            let name = if keyword.is_empty() { category } else { keyword };
            Some(([label.into(), name.into(), words.into()], part.unwrap_or(none)))
        })
    }
}
