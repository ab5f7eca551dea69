//! How elements are stored.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An element encoding.
///
/// `Q8_0` and `Q4_0` are SLM1's: one scale per row, or per block inside a row, kept apart from the
/// payload. They are not the GGML encodings of the same names; the one of GGML's that is known here
/// says so in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE 754 binary32, little-endian.
    F32,
    /// IEEE 754 binary16, little-endian.
    F16,
    /// The upper half of a binary32, little-endian: 8 bits of exponent, 8 of precision.
    BF16,
    /// IEEE 754 binary64, little-endian.
    F64,
    /// Signed bytes with one f32 scale per row.
    Q8_0,
    /// Signed nibbles, low one first, with one f32 scale per block of a row.
    Q4_0,
    /// GGML's Q8_0: blocks of 32 elements, an f16 scale and then 32 signed bytes.
    #[serde(rename = "ggml_q8_0")]
    GgmlQ8_0,
}

impl DType {
    /// Every encoding.
    pub const ALL: [Self; 7] =
        [Self::F32, Self::F16, Self::BF16, Self::F64, Self::Q8_0, Self::Q4_0, Self::GgmlQ8_0];

    /// The name used in plans and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F64 => "f64",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::GgmlQ8_0 => "ggml_q8_0",
        }
    }

    /// The encoding called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Bytes of an element, where elements stand alone; nothing where they share a scale.
    pub const fn element_bytes(self) -> Option<usize> {
        match self {
            Self::F16 | Self::BF16 => Some(2),
            Self::F32 => Some(4),
            Self::F64 => Some(8),
            Self::Q8_0 | Self::Q4_0 | Self::GgmlQ8_0 => None,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records and plans must mean the same by a word.
    #[test]
    fn records_use_the_names() {
        for dtype in DType::ALL {
            let text = serde_json::to_string(&dtype).unwrap();
            assert_eq!(text, format!("{:?}", dtype.name()));
            assert_eq!(serde_json::from_str::<DType>(&text).unwrap(), dtype);
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(DType::from_name("ggmlq8_0"), None);
    }
}
