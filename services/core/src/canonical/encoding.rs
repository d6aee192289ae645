//! One spelling of what stands in an address: percent-encoding (RFC 3986, 6.2.2) and Unicode.

use std::fmt::Write as _;

use unicode_normalization::UnicodeNormalization as _;

/// What never needs to be percent-encoded.
pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The byte behind two hexadecimal digits.
pub(super) fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Writes a part of an address in its one spelling: what is unreserved is written as it is, everything else that was encoded
/// in upper case, text in NFC; letters of ASCII in lower case if their case tells nothing. Doing it again changes nothing.
///
/// What is reserved stays as it was written: `/` and `%2F` are two things. A `%` that encodes nothing stands for itself, so
/// that what follows it is not taken for its digits the next time.
pub(super) fn normal(text: &str, folded: bool) -> String {
    let mut out = String::with_capacity(text.len());
    // What is text: unreserved characters, and those of other scripts.
    let mut run = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let encoded = match (first, after) {
            (b'%', [high, low, after @ ..]) => byte(*high, *low).inspect(|_| rest = after),
            _ => None,
        };
        let value = encoded.unwrap_or(first);
        if is_unreserved(value) || !value.is_ascii() {
            run.push(value);
            continue;
        }
        write_text(&mut out, &std::mem::take(&mut run), folded);
        if encoded.is_some() || value == b'%' {
            write_encoded(&mut out, value);
        } else {
            out.push(char::from(value));
        }
    }
    write_text(&mut out, &run, folded);
    out
}

fn write_text(out: &mut String, run: &[u8], folded: bool) {
    for chunk in run.utf8_chunks() {
        let mut text = chunk.valid().nfc().collect::<String>();
        if folded {
            // A small letter may have a composed form where the capital one has none.
            text = text.to_ascii_lowercase().nfc().collect();
        }
        for byte in text.bytes() {
            if is_unreserved(byte) {
                out.push(char::from(byte));
            } else {
                write_encoded(out, byte);
            }
        }
        for byte in chunk.invalid() {
            write_encoded(out, *byte);
        }
    }
}

fn write_encoded(out: &mut String, byte: u8) {
    // Writing into a text cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_has_one_spelling() {
        for (text, expected) in [
            ("/%7euser/%2d%2E", "/~user/-."),
            ("a%2fb/c", "a%2Fb/c"),
            ("%c3%a9", "%C3%A9"),
            // Composed and not; a singleton that becomes a letter; one that becomes a reserved character.
            ("e%CC%81", "%C3%A9"),
            ("%E2%84%AA", "K"),
            ("a%CD%BEb", "a%3Bb"),
            // No UTF-8, and what encodes nothing.
            ("%ff%e2%84x", "%FF%E2%84x"),
            ("%", "%25"),
            ("%zz", "%25zz"),
            ("%%32e", "%252e"),
        ] {
            assert_eq!(normal(text, false), expected, "{text}");
            assert_eq!(normal(expected, false), expected, "{text}");
        }
        assert_eq!(normal("/Groups/%C3%89%2Fa", true), "/groups/%C3%89%2Fa");
        // A caron on a J has no composed form; on a j it has.
        let folded = normal("J%CC%8C", true);
        assert_eq!((folded.as_str(), normal(&folded, true)), ("%C7%B0", folded.clone()));
    }
}
