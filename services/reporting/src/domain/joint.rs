//! Operations, as far as they decide who sees whose figures: agencies that join one consent that its figures are known to those that take part.

use super::{Definition, Filter};

/// Who takes part in an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joint {
    /// The operation, as the contract names it.
    pub operation: String,
    /// Its lead and those that ever joined, by their identifiers, each with whether it takes part now.
    pub agencies: Vec<(String, bool)>,
}

impl Joint {
    fn takes_part(&self, agency: &str) -> bool {
        self.agencies.iter().any(|(id, now)| id == agency && *now)
    }

    /// Whether an agency takes part, or did: what it referred in the operation stays in it.
    fn took_part(&self, agency: &str) -> bool {
        self.agencies.iter().any(|(id, _)| id == agency)
    }
}

/// Those of the agencies that a filter names whose figures an agency knows for having joined: of operations alone, and only if it takes part
/// in each of them, and the other took part.
pub fn partners(own: &str, filter: &Filter, operations: &[Joint]) -> Vec<String> {
    let known = |name: &String| operations.iter().find(|of| of.operation == *name);
    let named = filter.operations.iter().map(known).collect::<Option<Vec<_>>>().unwrap_or_default();
    if named.is_empty() || !named.iter().all(|of| of.takes_part(own)) {
        return Vec::new();
    }
    let others = filter.agencies.iter().filter(|agency| *agency != own);
    others.filter(|agency| named.iter().all(|of| of.took_part(agency))).cloned().collect()
}

impl Definition {
    /// Whether it tells operations apart.
    pub fn tells_operations(&self) -> bool {
        !self.filter.operations.is_empty() || self.dimensions.contains(&super::Dimension::Operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_joined_knows_what_the_others_referred_in_it() {
        let joint = |name: &str, agencies: &[(&str, bool)]| Joint {
            operation: name.into(),
            agencies: agencies.iter().map(|(id, now)| ((*id).to_owned(), *now)).collect(),
        };
        let operations =
            [joint("a", &[("nca", true), ("bka", true), ("kmar", false)]), joint("b", &[("nca", true), ("bka", true)])];
        let known = |own: &str, agencies: &[&str], named: &[&str]| {
            let list = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
            let filter = Filter { agencies: list(agencies), operations: list(named), ..Filter::default() };
            partners(own, &filter, &operations).join(" ")
        };
        assert_eq!(known("nca", &["nca", "bka", "kmar", "x"], &["a"]), "bka kmar");
        assert_eq!(known("bka", &["nca", "kmar"], &["a", "b"]), "nca", "kmar took part in one of them alone");
        for (own, named) in [("kmar", vec!["a"]), ("x", vec!["a"]), ("nca", vec![]), ("nca", vec!["a", "c"])] {
            assert_eq!(known(own, &["nca", "bka"], &named), "", "{own} of {named:?}");
        }
    }
}
