//! Where a network divides numbers by their root mean square, besides once before its logits.
//!
//! | family | attention and feed-forward | queries and keys, before they are turned |
//! |---|---|---|
//! | `llama`, `mistral`, `qwen2` | before each | as they are |
//! | `qwen3` | before each | each head by itself, all heads with the same gains |
//! | `olmo2` | behind each, before it is added | all heads of a token together |
//! | `gemma3` | before each and behind each | each head by itself, all heads with the same gains |
//!
//! The norm between attention and feed-forward has one name here (`ffn_norm`), whichever of the two it is of:
//! checkpoints call it `post_attention_layernorm` in every family. Where there are two, it is that behind attention,
//! and the other one is `ffn_pre_norm`.
//!
//! Gains of gemma3 lie around nought in Hugging Face folders, which hold them less one, and around one in GGUF
//! ([`super::naming::Naming::gains_less_one`]).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The norms of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Norms {
    /// On which side of attention and feed-forward.
    pub place: NormPlace,
    /// What of queries and keys.
    pub heads: HeadNorms,
    /// Whether folders hold the gains less one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub centred: bool,
}

/// On which side of attention and feed-forward norms stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormPlace {
    /// Their inputs are normed.
    #[default]
    Before,
    /// Their results are, before they are added to the residual stream.
    Behind,
    /// Both are.
    Around,
}

impl NormPlace {
    /// Whether inputs are normed.
    pub fn is_before(self) -> bool {
        self != Self::Behind
    }

    /// Whether results are.
    pub fn is_behind(self) -> bool {
        self != Self::Before
    }
}

/// Which numbers of queries and keys are normed together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadNorms {
    /// None.
    #[default]
    None,
    /// Those of each head, with gains that all heads of a layer share.
    Each,
    /// Those of all heads.
    All,
}

impl Norms {
    /// Those of llama.
    pub const PLAIN: Self = Self { place: NormPlace::Before, heads: HeadNorms::None, centred: false };
    /// Those of qwen3.
    pub const QWEN3: Self = Self { place: NormPlace::Before, heads: HeadNorms::Each, centred: false };
    /// Those of olmo2.
    pub const OLMO2: Self = Self { place: NormPlace::Behind, heads: HeadNorms::All, centred: false };
    /// Those of gemma3.
    pub const GEMMA3: Self = Self { place: NormPlace::Around, heads: HeadNorms::Each, centred: true };

    /// Whether they are those of llama.
    pub fn are_plain(&self) -> bool {
        *self == Self::PLAIN
    }
}

impl HeadNorms {
    /// How many gains there are for queries and for keys, given the widths of a head, of all query heads and
    /// of all key heads; nothing without norms.
    pub fn widths(self, head: usize, query: usize, kv: usize) -> Option<[usize; 2]> {
        match self {
            Self::None => None,
            Self::Each => Some([head, head]),
            Self::All => Some([query, kv]),
        }
    }
}

impl fmt::Display for Norms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.place {
            NormPlace::Before => "before attention and feed-forward",
            NormPlace::Behind => "behind attention and feed-forward",
            NormPlace::Around => "before and behind attention and feed-forward",
        })?;
        f.write_str(match self.heads {
            HeadNorms::None => "",
            HeadNorms::Each => ", of each query and key head",
            HeadNorms::All => ", of all query and all key heads",
        })?;
        f.write_str(if self.centred { ", gains around nought in folders" } else { "" })
    }
}
