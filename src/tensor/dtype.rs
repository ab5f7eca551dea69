//! How elements are stored.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An element encoding.
///
/// `Q8_0` and `Q4_0` are SLM1's: one scale per row, or per block inside a row, kept apart from the
/// payload. They are not the GGML encodings of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE 754 binary32, little-endian.
    F32,
    /// Signed bytes with one f32 scale per row.
    Q8_0,
    /// Signed nibbles, low one first, with one f32 scale per block of a row.
    Q4_0,
}

impl DType {
    /// Every encoding.
    pub const ALL: [Self; 3] = [Self::F32, Self::Q8_0, Self::Q4_0];

    /// The name used in plans and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// The encoding called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
