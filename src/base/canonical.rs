//! Canonical JSON (RFC 8785, "JCS"): one checked writer and one strict reader for every record.
//!
//! A digest over JSON is only worth something if one meaning has one spelling and nothing is lost
//! on the way. Common JSON libraries write NaN as `null`, round integers beyond 2^53 and keep the
//! last of two equal keys; here each of these is an error. Larger integers are written as strings.
//!
//! RFC 8785 writes an f64 below 1e21 in digits alone, so a measured 2^60 looks like an integer. Digits
//! beyond 2^53 - 1 are read as an f64 if they are what the writer makes of it; all others lose some.

mod digits;
mod read;
mod write;

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed};
use serde::{Serialize, ser};
use serde_json::Value;

use write::Writer;

/// Deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 64;
/// Largest document the reader accepts: 64 MiB.
pub const MAX_DOCUMENT: usize = 64 << 20;
/// Largest integer every JSON reader keeps exact: 2^53 - 1.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Why a document was refused.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The value cannot be written without loss.
    #[error("cannot be written as canonical JSON: {0}")]
    Write(String),
    /// The text is not a JSON document we accept.
    #[error("is not an acceptable JSON document: {0}")]
    Read(#[from] serde_json::Error),
    /// The document is too large to read.
    #[error("is a JSON document of {0} bytes; at most {MAX_DOCUMENT} are read")]
    TooLarge(usize),
}

impl ser::Error for CanonicalError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Write(message.to_string())
    }
}

/// The canonical bytes of `value`, without a trailing newline.
///
/// # Errors
///
/// [`CanonicalError::Write`] of what JSON would not keep: a NaN or an infinity, an integer beyond
/// [`MAX_SAFE_INTEGER`], a key that is no text or stands twice, more than [`MAX_DEPTH`] levels.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(256);
    value.serialize(Writer::new(&mut out))?;
    Ok(out)
}

/// The canonical text of `value`.
///
/// # Errors
///
/// As [`to_vec`].
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, CanonicalError> {
    to_vec(value).map(|bytes| String::from_utf8(bytes).expect("the writer emits only UTF-8"))
}

/// Reads a document strictly: no duplicate keys, no numbers that lose digits, bounded depth and size.
///
/// # Errors
///
/// As [`value_from_slice`], and if the document is not what a `T` is read from: fields too few, or of another
/// type.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value = value_from_slice(bytes)?;
    Ok(T::deserialize(value)?)
}

/// Like [`from_slice`], as an untyped value.
///
/// # Errors
///
/// [`CanonicalError::TooLarge`] of more than [`MAX_DOCUMENT`] bytes, before any is read;
/// [`CanonicalError::Read`] of text that is no JSON, and of the first key that stands twice, level below
/// [`MAX_DEPTH`] or number that would lose digits, with its line and column.
pub fn value_from_slice(bytes: &[u8]) -> Result<Value, CanonicalError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(CanonicalError::TooLarge(bytes.len()));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = read::Strict::default().deserialize(&mut reader)?;
    reader.end()?;
    digits::check(bytes)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::digits::LEAST_WITH_EXPONENT;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn refused(text: &str, why: &str) {
        let error = value_from_slice(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(why), "{text}: {error}");
    }

    #[test]
    fn the_reader_refuses_what_loses_meaning() {
        refused(r#"{"a":1,"a":2}"#, "duplicate key");
        refused("9007199254740993", "2^53");
        refused("18446744073709551616", "2^53");
        refused("-9007199254740993", "2^53");
        refused("1000000000000000000001", "2^53");
        refused("[0,\n 1e20]", "write it as a string at line 2 column 2");
        refused("9007199254740993.0", "2^53");
        refused("0.9007199254740993e16", "2^53");
        refused(r#"{"a\\":9007199254740993}"#, "2^53");
        refused("1e400", "out of range");
        refused("NaN", "expected");
        refused("\u{feff}{}", "expected value");
        refused(r#""\ud800""#, "hex escape");
        refused("{} {}", "trailing");
        refused(&"[".repeat(65), "deeper");
        assert!(value_from_slice(b"\"\xff\"").is_err());
    }

    #[test]
    fn the_writer_refuses_what_json_cannot_say() {
        assert!(to_vec(&f64::NAN).is_err());
        assert!(to_vec(&u64::MAX).is_err());
        assert!(to_vec(&std::collections::BTreeMap::from([(1, 2)])).is_err());
    }

    /// A measured number may be as large as an f64 is; a counted one may not.
    #[test]
    fn digits_beyond_the_integers_are_an_f64_or_nothing() {
        for (text, value) in [
            ("9007199254740992", 9_007_199_254_740_992.0),
            ("6483283512276120000", 6_483_283_512_276_120_000.0),
            ("-18446744073709552000", -18_446_744_073_709_552_000.0),
            ("999999999999999900000", 999_999_999_999_999_900_000.0),
        ] {
            assert_eq!(from_slice::<f64>(text.as_bytes()).unwrap(), value);
            assert_eq!(to_string(&value_from_slice(text.as_bytes()).unwrap()).unwrap(), text);
            assert!(from_slice::<u64>(text.as_bytes()).is_err(), "{text} is no integer");
            assert!(from_slice::<i64>(text.as_bytes()).is_err(), "{text} is no integer");
        }
        // The same digits in a text are a text.
        assert!(value_from_slice(br#"{"\"9007199254740993":"9007199254740993\\"}"#).is_ok());
    }

    /// The sample of RFC 8785, section 3.2.
    #[test]
    fn rfc_8785_sample() {
        let sample = json!({
            "numbers": [333_333_333.333_333_3, 1E30, 4.50, 2e-3, 0.000_000_000_000_000_000_000_000_001],
            "string": "\u{20ac}$\u{000F}\u{000a}A'\u{0042}\u{0022}\u{005c}\\\"/",
            "literals": [null, true, false]
        });
        assert_eq!(
            to_string(&sample).unwrap(),
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
             \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
        );
    }

    /// What looks like an integer that is too large.
    fn digits_alone() -> impl Strategy<Value = f64> {
        let least = MAX_SAFE_INTEGER as f64;
        (least..LEAST_WITH_EXPONENT, any::<bool>()).prop_map(|(x, minus)| if minus { -x } else { x })
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
            any::<u64>()
                .prop_map(|bits| json!(f64::from_bits(bits)))
                .prop_filter("JSON has no NaN", Value::is_number),
            digits_alone().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Another implementation of RFC 8785 agrees byte for byte, and reading back is the identity.
        #[test]
        fn agrees_with_an_independent_writer(value in any_json()) {
            let ours = to_vec(&value).unwrap();
            prop_assert_eq!(&ours, &serde_json_canonicalizer::to_vec(&value).unwrap());
            let again = to_vec(&value_from_slice(&ours).unwrap()).unwrap();
            prop_assert_eq!(ours, again);
        }

        #[test]
        fn every_finite_number_survives(
            number in prop_oneof![any::<u64>().prop_map(f64::from_bits), digits_alone()]
                .prop_filter("finite", |number| number.is_finite()),
        ) {
            prop_assert_eq!(from_slice::<f64>(&to_vec(&number).unwrap()).unwrap(), number);
        }

        /// A digit that is changed is either refused or kept.
        #[test]
        fn no_digit_is_lost(number in 1_u128 << 53..1_000_000_000_000_000_000_000) {
            let text = number.to_string();
            if let Ok(value) = value_from_slice(text.as_bytes()) {
                prop_assert_eq!(to_string(&value).unwrap(), text);
            }
        }
    }
}
