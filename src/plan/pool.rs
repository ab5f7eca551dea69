//! The parent pool: what one cycle hands to the next, as a TOML fragment.
//!
//! A pool names its parents by digest, not by path: whoever holds bytes with that digest holds that
//! parent. The next plan says `from_recipe = "pool.toml"` and which place it wants.

use serde::{Deserialize, Serialize};

use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;

/// A pool has a few lines for each parent.
pub(super) const MAX_POOL: u64 = 4 << 20;

/// The fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParentPool {
    /// The cycle that selected them.
    pub cycle: Name,
    /// The review they were selected by.
    pub review: Sha256,
    /// The selected, best first.
    #[serde(rename = "parent", default)]
    pub parents: Vec<PoolParent>,
    /// The cases that chose them, or ancestors of theirs: who is gated by the same is judged by that luck
    /// once more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen_by: Vec<ChosenBy>,
}

/// A suite that chose parents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChosenBy {
    /// In which cycle.
    pub cycle: Name,
    /// What the suite was called there.
    pub suite: Name,
    /// Its evaluator.
    pub kind: String,
    /// BLAKE3 of its cases.
    pub cases: Digest,
}

/// One selected parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolParent {
    /// What it was called.
    pub name: Name,
    /// BLAKE3 of the model.
    pub artifact: Digest,
    /// Its length.
    pub bytes: u64,
    /// Its candidate manifest or, for a parent that stays, its source record.
    pub manifest: Sha256,
    /// Where it stood in the review.
    pub rank: u64,
    /// Licences it carries.
    pub licences: Vec<String>,
    /// Data its ancestors declared.
    pub data: Vec<String>,
    /// Whether it or all its ancestors were trained.
    pub trained: bool,
}

impl ParentPool {
    /// The fragment as a file.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).expect("a pool is made of plain values");
        format!(
            "# Parents selected by the cycle `{}`. A plan names them with `from_recipe`.\n{body}",
            self.cycle
        )
    }

    /// Reads a fragment.
    ///
    /// # Errors
    ///
    /// If it is no TOML, or a field is missing, unknown or of another type, with line and column.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let pool = ParentPool {
            cycle: "first".parse().unwrap(),
            review: Sha256::of(b"r"),
            parents: vec![PoolParent {
                name: "ties".parse().unwrap(),
                artifact: Digest::of(b"a"),
                bytes: 1,
                manifest: Sha256::of(b"m"),
                rank: 0,
                licences: vec!["MIT".to_owned()],
                data: vec![],
                trained: true,
            }],
            chosen_by: vec![ChosenBy {
                cycle: "zeroth".parse().unwrap(),
                suite: "sums".parse().unwrap(),
                kind: "exact_match".to_owned(),
                cases: Digest::of(b"c"),
            }],
        };
        assert_eq!(ParentPool::from_toml(&pool.to_toml()).unwrap(), pool);
        assert!(ParentPool::from_toml("cycle = \"x\"\nsurprise = 1").is_err());
    }
}
