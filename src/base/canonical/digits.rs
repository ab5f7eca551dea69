//! The digits of a document's numbers: none may be lost in reading.

use serde::de;

use super::{CanonicalError, MAX_SAFE_INTEGER};

/// Smallest number that is written with an exponent.
pub(super) const LEAST_WITH_EXPONENT: f64 = 1e21;

/// Refuses a document with a number of which the reader would lose digits.
pub(super) fn check(document: &[u8]) -> Result<(), CanonicalError> {
    match numbers(document).find(|(_, number)| loses_digits(number)) {
        Some((at, number)) => Err(beyond(document, at, number)),
        None => Ok(()),
    }
}

/// The numbers of a JSON document with their places. Who reads values sees no digits.
fn numbers(document: &[u8]) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = &document[at..];
            match *rest.first()? {
                b'"' => at += length_of_string(rest),
                b'-' | b'0'..=b'9' => {
                    let in_number =
                        |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                    let length = rest.iter().take_while(|byte| in_number(byte)).count();
                    at += length;
                    return Some((at - length, std::str::from_utf8(&rest[..length]).ok()?));
                }
                _ => at += 1,
            }
        }
    })
}

/// Bytes of the string a text begins with, its quotes among them.
fn length_of_string(text: &[u8]) -> usize {
    let mut escaped = false;
    let closes = |byte: &u8| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    };
    text[1..].iter().position(closes).map_or(text.len(), |inside| inside + 2)
}

/// Whether a number is beyond the integers every reader keeps exact, and not as the writer has it.
fn loses_digits(number: &str) -> bool {
    // No shorter number without an exponent is as large.
    if number.len() < 16 && !number.contains(['e', 'E']) {
        return false;
    }
    let Some(value) = number.parse::<f64>().ok().filter(|value| value.is_finite()) else { return true };
    let size = value.abs();
    let whole = size < LEAST_WITH_EXPONENT || !number.contains(['.', 'e', 'E']);
    size > MAX_SAFE_INTEGER as f64 && whole && ryu_js::Buffer::new().format_finite(value) != number
}

fn beyond(document: &[u8], at: usize, number: &str) -> CanonicalError {
    let before = &document[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    CanonicalError::Read(de::Error::custom(format_args!(
        "integer {number} is beyond 2^53-1; write it as a string at line {line} column {column}"
    )))
}
