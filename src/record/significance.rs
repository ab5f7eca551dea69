//! Who is better than whom for sure: beside the ranking, which goes by the numbers as they are.

use serde::{Deserialize, Serialize};

use crate::base::name::Name;

/// Every two of the compared, on every objective that has cases, paired case by case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Significance {
    /// Who was compared with each other, in the order of the review.
    pub compared: Vec<Name>,
    /// Tests that were adjusted together, by Holm.
    pub family: u64,
    /// Each two once: by objective, then in the order of the review.
    pub pairs: Vec<PairedTest>,
}

/// Two models on one objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedTest {
    /// The suite.
    pub objective: String,
    /// The one that comes earlier in the review.
    pub one: Name,
    /// The other.
    pub other: Name,
    /// By how much `one` is better on the suite's main metric, whichever way that is better; below 0 if it
    /// is worse.
    pub effect: f64,
    /// Two-sided p value of "they are equally good".
    pub p: f64,
    /// The same, adjusted.
    pub p_adjusted: f64,
    /// Cases.
    pub n: u64,
    /// Which test it was.
    pub method: String,
}

impl PairedTest {
    /// Whether the difference is more than the cases could show by chance.
    pub fn is_sure(&self) -> bool {
        self.p_adjusted <= LEVEL
    }
}

/// Adjusted p values up to this are called sure.
pub const LEVEL: f64 = 0.05;
