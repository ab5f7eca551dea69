//! A case that is one text to read.

use serde::{Deserialize, Serialize};

use super::suite::sound_text;

/// `{"id": "doc-1", "text": "All happy families ..."}`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// What is read.
    pub text: String,
}

impl Text {
    /// What is wrong with it, as a phrase after "line N of the suite ".
    pub(super) fn check(&self) -> Result<(), String> {
        sound_text("text", &self.text)
    }

    /// The texts of some cases.
    pub(super) fn all(cases: &[Self]) -> Vec<&str> {
        cases.iter().map(|case| case.text.as_str()).collect()
    }
}
