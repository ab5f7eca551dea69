//! Why an attestation does not count.

use crate::base::canonical::CanonicalError;
use crate::trust::TrustError;

/// What is wrong with a bundle.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// Longer than any attestation.
    #[error("the bundle has {0} bytes, more than an attestation can have")]
    TooLong(u64),
    /// No document of the form.
    #[error("the {what} {source}")]
    Json {
        /// `bundle` or `statement`.
        what: &'static str,
        /// Why.
        source: CanonicalError,
    },
    /// The same meaning in other bytes.
    #[error("the {0} is not written canonically")]
    NotCanonical(&'static str),
    /// Another kind of document.
    #[error("the {what} is {found:?}, expected {expected:?}")]
    Type {
        /// Which field.
        what: &'static str,
        /// What it must say.
        expected: String,
        /// What it says.
        found: String,
    },
    /// None, or several.
    #[error("the envelope has {0} signatures, expected one")]
    Signatures(usize),
    /// The envelope and the bundle name two keys.
    #[error("the envelope's key id is not the bundle's hint")]
    Hint,
    /// Base64 that is none.
    #[error("the {0} is not base64")]
    Base64(&'static str),
    /// The key or the signature.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A true statement about something else.
    #[error("the statement is not the one that follows from the record: {0}")]
    Differs(String),
}
