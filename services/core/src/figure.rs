//! Figures and words as people read them.

/// A whole number with its thousands set apart: `1,218`.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A share in per cent with one decimal; a dash when there is nothing to be a share of.
pub fn share(part: i64, whole: i64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let tenths = (i128::from(part) * 1000 + i128::from(whole) / 2) / i128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A word of the contract as prose: `NOT_VIOLATING` as `Not violating`.
pub fn sentence(word: &str) -> String {
    let lower = word.to_lowercase().replace('_', " ");
    let mut letters = lower.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shares_rounded() {
        assert_eq!(
            [0, 7, 999, 1_218, 1_000_000, -12_345].map(grouped),
            ["0", "7", "999", "1,218", "1,000,000", "-12,345"]
        );
        assert_eq!(
            (share(578, 1_218), share(485, 1_218), share(155, 1_218)),
            ("47.5 %".into(), "39.8 %".into(), "12.7 %".into())
        );
        assert_eq!(share(0, 0), "–");
    }
}
