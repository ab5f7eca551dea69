//! Names of cycles, parents, candidates, gates and suites.
//!
//! A name becomes a file name, a part of a stage id and a key in records, so it is kept to what
//! is safe and unambiguous in all of them: `[a-z0-9][a-z0-9._-]*`, no `..`, at most 64 bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest name.
pub const MAX_NAME: usize = 64;

/// A checked name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name cannot be empty")]
    Empty,
    /// Over [`MAX_NAME`].
    #[error("a name has at most {MAX_NAME} bytes, this one has {0}")]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error(
        "a name has lower-case letters, digits, `.`, `_` and `-`, and begins with a letter or digit; found {0:?}"
    )]
    Character(char),
    /// `..` inside.
    #[error("a name cannot contain `..`")]
    Traversal,
}

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong(text.len()));
        }
        for (i, character) in text.chars().enumerate() {
            let plain = character.is_ascii_lowercase() || character.is_ascii_digit();
            if !plain && (i == 0 || !matches!(character, '.' | '_' | '-')) {
                return Err(NameError::Character(character));
            }
        }
        if text.contains("..") {
            return Err(NameError::Traversal);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet() {
        for good in ["a", "0", "ties-0.5", "a_b", "a.b"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        assert_eq!("".parse::<Name>(), Err(NameError::Empty));
        assert_eq!("-a".parse::<Name>(), Err(NameError::Character('-')));
        assert_eq!("A".parse::<Name>(), Err(NameError::Character('A')));
        assert_eq!("a/b".parse::<Name>(), Err(NameError::Character('/')));
        assert_eq!("a..b".parse::<Name>(), Err(NameError::Traversal));
        assert_eq!("a".repeat(65).parse::<Name>(), Err(NameError::TooLong(65)));
    }
}
