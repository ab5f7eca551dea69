//! What all records share: the envelope, and how they name bytes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::canonical::{self, CanonicalError};
use crate::base::digest::{Digest, Sha256};

/// A kind of record.
pub trait Record: Serialize + DeserializeOwned {
    /// Its type, which names its meaning and version.
    const TYPE: &'static str;
}

/// Why a document is not the record that was expected.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not a document of this shape.
    #[error("the record {0}")]
    Json(#[from] CanonicalError),
    /// A record of another type offered as this one.
    #[error("the record is a {found:?}, a {expected:?} was expected")]
    Type {
        /// What was expected.
        expected: &'static str,
        /// What it says it is.
        found: String,
    },
    /// The same meaning in other bytes: not what we wrote.
    #[error("the record is not in canonical form")]
    NotCanonical,
}

#[derive(Serialize)]
struct Writing<'a, T> {
    body: &'a T,
    r#type: &'static str,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    body: serde_json::Value,
    r#type: String,
}

/// The canonical bytes of a record.
///
/// # Errors
///
/// [`RecordError::Json`] of what JSON would not keep: a number that is not finite, say, or an integer beyond
/// 2^53 - 1.
pub fn to_bytes<T: Record>(body: &T) -> Result<Vec<u8>, RecordError> {
    Ok(canonical::to_vec(&Writing { body, r#type: T::TYPE })?)
}

/// Reads a record.
///
/// # Errors
///
/// [`RecordError::Json`] if the bytes are no such document, [`RecordError::Type`] if its type is not the
/// expected one, [`RecordError::NotCanonical`] if they are not the ones we would write.
pub fn from_bytes<T: Record>(bytes: &[u8]) -> Result<T, RecordError> {
    let document: Reading = canonical::from_slice(bytes)?;
    if document.r#type != T::TYPE {
        return Err(RecordError::Type { expected: T::TYPE, found: document.r#type });
    }
    if canonical::to_vec(&document)? != bytes {
        return Err(RecordError::NotCanonical);
    }
    T::deserialize(document.body).map_err(|error| CanonicalError::Read(error).into())
}

/// Bytes that a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// What every tool can check.
    pub sha256: Sha256,
    /// Where the store keeps it.
    pub blake3: Digest,
    /// Its length.
    pub bytes: u64,
}

impl Subject {
    /// The subject with these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256::of(bytes), blake3: Digest::of(bytes), bytes: bytes.len() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct One {
        a: u64,
    }
    impl Record for One {
        const TYPE: &'static str = "urn:studbook:one:v1";
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Other {}
    impl Record for Other {
        const TYPE: &'static str = "urn:studbook:other:v1";
    }

    #[test]
    fn one_type_is_never_taken_for_another() {
        let bytes = to_bytes(&One { a: 1 }).unwrap();
        assert_eq!(bytes, br#"{"body":{"a":1},"type":"urn:studbook:one:v1"}"#);
        assert_eq!(from_bytes::<One>(&bytes).unwrap(), One { a: 1 });
        assert!(matches!(from_bytes::<Other>(&bytes), Err(RecordError::Type { .. })));
    }

    #[test]
    fn other_spellings_and_extra_fields_are_refused() {
        let spaced = br#"{"body":{"a":1}, "type":"urn:studbook:one:v1"}"#;
        assert!(matches!(from_bytes::<One>(spaced), Err(RecordError::NotCanonical)));
        let extra = br#"{"body":{"a":1,"b":2},"type":"urn:studbook:one:v1"}"#;
        assert!(matches!(from_bytes::<One>(extra), Err(RecordError::Json(_))));
    }
}
