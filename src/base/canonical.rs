//! Canonical JSON (RFC 8785, "JCS"): one checked writer and one strict reader for every record.
//!
//! A digest over JSON is only worth something if one meaning has one spelling and nothing is lost
//! on the way. Common JSON libraries write NaN as `null`, round integers beyond 2^53 and keep the
//! last of two equal keys; here each of these is an error. Larger integers are written as strings.
//!
//! RFC 8785 writes an f64 below 1e21 in digits alone, so a measured 2^60 looks like an integer. Digits
//! beyond 2^53 - 1 are read as an f64 if they are what the writer makes of it; all others lose some.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize, ser};
use serde_json::{Map, Value};

/// Deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 64;
/// Largest document the reader accepts: 64 MiB.
pub const MAX_DOCUMENT: usize = 64 << 20;
/// Largest integer every JSON reader keeps exact: 2^53 - 1.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
/// Smallest number that is written with an exponent.
const LEAST_WITH_EXPONENT: f64 = 1e21;

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
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(256);
    value.serialize(Writer { out: &mut out, depth: 0 })?;
    Ok(out)
}

/// The canonical text of `value`.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, CanonicalError> {
    to_vec(value).map(|bytes| String::from_utf8(bytes).expect("the writer emits only UTF-8"))
}

/// Reads a document strictly: no duplicate keys, no numbers that lose digits, bounded depth and size.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value = value_from_slice(bytes)?;
    Ok(T::deserialize(value)?)
}

/// Like [`from_slice`], as an untyped value.
pub fn value_from_slice(bytes: &[u8]) -> Result<Value, CanonicalError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(CanonicalError::TooLarge(bytes.len()));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut reader)?;
    reader.end()?;
    match numbers(bytes).find(|(_, number)| loses_digits(number)) {
        Some((at, number)) => Err(beyond(bytes, at, number)),
        None => Ok(value),
    }
}

/// The numbers of a JSON document with their places. The visitor below sees values, not digits.
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

// ---------------------------------------------------------------- reader

struct Strict {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn deeper<E: de::Error>(&self) -> Result<usize, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("nesting deeper than {MAX_DEPTH}")));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        if value > MAX_SAFE_INTEGER {
            return self.visit_f64(value as f64);
        }
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > MAX_SAFE_INTEGER {
            return self.visit_f64(value as f64);
        }
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict { depth })? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Strict { depth })?;
            if object.contains_key(&key) {
                return Err(de::Error::custom(format_args!("duplicate key {key:?}")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

// ---------------------------------------------------------------- writer

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
}

/// An array or object being written. Object members wait here until they can be sorted.
struct Compound<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
    items: usize,
    members: Vec<(String, Vec<u8>)>,
    key: Option<String>,
    /// Opened by `{"Variant":`, to be closed once more.
    wrapped: bool,
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\r' => out.extend_from_slice(b"\\r"),
            control if control < ' ' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes());
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

impl<'a> Writer<'a> {
    fn raw(self, text: &str) -> Result<(), CanonicalError> {
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn integer(self, value: i128) -> Result<(), CanonicalError> {
        if value.unsigned_abs() > u128::from(MAX_SAFE_INTEGER) {
            return Err(CanonicalError::Write(format!(
                "integer {value} is beyond 2^53-1; it must be written as a string"
            )));
        }
        self.raw(&value.to_string())
    }

    fn open(self, bracket: &str, wrapped: bool) -> Result<Compound<'a>, CanonicalError> {
        if self.depth >= MAX_DEPTH {
            return Err(CanonicalError::Write(format!("nesting deeper than {MAX_DEPTH}")));
        }
        self.out.extend_from_slice(bracket.as_bytes());
        let depth = self.depth + 1;
        Ok(Compound { out: self.out, depth, items: 0, members: Vec::new(), key: None, wrapped })
    }

    fn variant(&mut self, variant: &str) {
        self.out.push(b'{');
        write_string(self.out, variant);
        self.out.push(b':');
    }
}

impl<'a> ser::Serializer for Writer<'a> {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Compound<'a>;

    fn serialize_bool(self, value: bool) -> Result<(), CanonicalError> {
        self.raw(if value { "true" } else { "false" })
    }
    fn serialize_i8(self, value: i8) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_i16(self, value: i16) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_i32(self, value: i32) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_i64(self, value: i64) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_u8(self, value: u8) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_u16(self, value: u16) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_u32(self, value: u32) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_u64(self, value: u64) -> Result<(), CanonicalError> {
        self.integer(value.into())
    }
    fn serialize_f32(self, value: f32) -> Result<(), CanonicalError> {
        self.serialize_f64(value.into())
    }
    fn serialize_f64(self, value: f64) -> Result<(), CanonicalError> {
        if !value.is_finite() {
            return Err(CanonicalError::Write(format!("{value} is not a JSON number")));
        }
        self.raw(ryu_js::Buffer::new().format_finite(value))
    }
    fn serialize_char(self, value: char) -> Result<(), CanonicalError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, value: &str) -> Result<(), CanonicalError> {
        write_string(self.out, value);
        Ok(())
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<(), CanonicalError> {
        Err(CanonicalError::Write("raw bytes have no JSON form".to_owned()))
    }
    fn serialize_none(self) -> Result<(), CanonicalError> {
        self.raw("null")
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CanonicalError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), CanonicalError> {
        self.raw("null")
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CanonicalError> {
        self.raw("null")
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), CanonicalError> {
        self.serialize_str(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.variant(variant);
        value.serialize(Writer { out: self.out, depth: self.depth + 1 })?;
        self.raw("}")
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a>, CanonicalError> {
        self.open("[", false)
    }
    fn serialize_tuple(self, _: usize) -> Result<Compound<'a>, CanonicalError> {
        self.open("[", false)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>, CanonicalError> {
        self.open("[", false)
    }
    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, CanonicalError> {
        self.variant(variant);
        self.open("[", true)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'a>, CanonicalError> {
        self.open("{", false)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>, CanonicalError> {
        self.open("{", false)
    }
    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, CanonicalError> {
        self.variant(variant);
        self.open("{", true)
    }
}

impl Compound<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        if self.items > 0 {
            self.out.push(b',');
        }
        self.items += 1;
        value.serialize(Writer { out: self.out, depth: self.depth })
    }

    fn member<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), CanonicalError> {
        let mut out = Vec::new();
        value.serialize(Writer { out: &mut out, depth: self.depth })?;
        self.members.push((key, out));
        Ok(())
    }

    fn close_array(self) -> Result<(), CanonicalError> {
        self.out.extend_from_slice(if self.wrapped { b"]}" } else { b"]" });
        Ok(())
    }

    fn close_object(mut self) -> Result<(), CanonicalError> {
        // RFC 8785, 3.2.3: members are sorted by the UTF-16 code units of their names.
        self.members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        for (i, (key, value)) in self.members.iter().enumerate() {
            if i > 0 {
                if self.members[i - 1].0 == *key {
                    return Err(CanonicalError::Write(format!("duplicate key {key:?}")));
                }
                self.out.push(b',');
            }
            write_string(self.out, key);
            self.out.push(b':');
            self.out.extend_from_slice(value);
        }
        self.out.extend_from_slice(if self.wrapped { b"}}" } else { b"}" });
        Ok(())
    }
}

macro_rules! array_like {
    ($($trait:ident $method:ident),*) => {$(
        impl ser::$trait for Compound<'_> {
            type Ok = ();
            type Error = CanonicalError;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
                self.item(value)
            }
            fn end(self) -> Result<(), CanonicalError> {
                self.close_array()
            }
        }
    )*};
}
array_like!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

macro_rules! object_like {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Compound<'_> {
            type Ok = ();
            type Error = CanonicalError;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), CanonicalError> {
                self.member(key.to_owned(), value)
            }
            fn end(self) -> Result<(), CanonicalError> {
                self.close_object()
            }
        }
    )*};
}
object_like!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = CanonicalError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CanonicalError> {
        match serde_json::to_value(key).map_err(|error| CanonicalError::Write(error.to_string()))? {
            Value::String(text) => self.key = Some(text),
            other => {
                return Err(CanonicalError::Write(format!("an object key must be text, not {other}")));
            }
        }
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        let key = self.key.take().expect("serde calls serialize_key first");
        self.member(key, value)
    }
    fn end(self) -> Result<(), CanonicalError> {
        self.close_object()
    }
}

#[cfg(test)]
mod tests {
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
