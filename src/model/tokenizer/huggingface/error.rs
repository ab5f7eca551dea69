//! Why a `tokenizer.json` is not read.

/// Why a `tokenizer.json` is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON of the right shape.
    #[error("tokenizer.json: {0}")]
    Json(String),
    /// Longer than any tokenizer.
    #[error("tokenizer.json has {found} bytes; at most {most} are read")]
    Long {
        /// Its length.
        found: usize,
        /// The longest that is read.
        most: usize,
    },
    /// A step that is not carried out here.
    #[error("tokenizer.json: `{at}` is {found}, which is not carried out here")]
    Unsupported {
        /// Where, as a path of keys.
        at: String,
        /// What stands there.
        found: String,
    },
    /// Something that cannot be right.
    #[error("tokenizer.json: `{at}`: {why}")]
    Wrong {
        /// Where, as a path of keys.
        at: String,
        /// What is wrong.
        why: String,
    },
}

pub(super) fn unsupported(at: &str, found: impl ToString) -> JsonError {
    JsonError::Unsupported { at: at.to_owned(), found: found.to_string() }
}

pub(super) fn wrong(at: &str, why: impl ToString) -> JsonError {
    JsonError::Wrong { at: at.to_owned(), why: why.to_string() }
}
