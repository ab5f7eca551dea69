//! What a llama-like network's tensors are called, and how their rows lie, in each family of files.
//!
//! | SLM1 | Hugging Face | GGUF |
//! |---|---|---|
//! | `tok_embeddings.weight` | `model.embed_tokens.weight` | `token_embd.weight` |
//! | `layers.N.wq.weight` ... | `model.layers.N.self_attn.q_proj.weight` ... | `blk.N.attn_q.weight` ... |
//! | `norm.weight`, `output.weight` | `model.norm.weight`, `lm_head.weight` | `output_norm.weight`, `output.weight` |
//!
//! Rotary position turns pairs of elements of each query and key head. SLM1 and GGUF's `llama` take
//! neighbours, elements `2i` and `2i + 1`; Hugging Face and GGUF's other architectures take `i` and `i + d/2` of a
//! head of width `d`. The turned vectors are the same up to the order of their elements, so the rows of the query
//! and key matrices (and their biases, and the gains of the norms of their heads) are reordered on the way
//! ([`Permutation`]), and every score stays what it was.
//!
//! The gains of gemma3 lie less one in Hugging Face folders, and as they are in GGUF ([`Naming::shift`]).

use crate::model::config::ModelConfig;
use crate::model::norms::HeadNorms;

/// A family of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `layers.0.wq.weight`
    Slm1,
    /// `model.layers.0.self_attn.q_proj.weight`
    HuggingFace,
    /// `blk.0.attn_q.weight`
    Gguf,
    /// The same names, with rows as Hugging Face has them: the architectures `qwen2` and `qwen3`.
    GgufHalves,
    /// The same again, but for a norm that is called after what it stands behind: the architectures `olmo2` and
    /// `gemma3`.
    GgufBehind,
}

/// The parts of a layer, in SLM1, Hugging Face, GGUF.
const LAYER: [[&str; 3]; 13] = [
    ["attn_norm", "input_layernorm", "attn_norm"],
    ["wq", "self_attn.q_proj", "attn_q"],
    ["wk", "self_attn.k_proj", "attn_k"],
    ["wv", "self_attn.v_proj", "attn_v"],
    ["q_norm", "self_attn.q_norm", "attn_q_norm"],
    ["k_norm", "self_attn.k_norm", "attn_k_norm"],
    ["wo", "self_attn.o_proj", "attn_output"],
    [BETWEEN, "post_attention_layernorm", "ffn_norm"],
    [BEFORE_FFN, "pre_feedforward_layernorm", "ffn_norm"],
    ["w1", "mlp.gate_proj", "ffn_gate"],
    ["w2", "mlp.down_proj", "ffn_down"],
    ["w3", "mlp.up_proj", "ffn_up"],
    ["ffn_post_norm", "post_feedforward_layernorm", "post_ffw_norm"],
];

/// The norm between attention and feed-forward, which is of either ([`super::norms`]).
const BETWEEN: &str = "ffn_norm";
/// The norm of what goes into feed-forward, where there is one behind attention, too: elsewhere there is no such tensor.
const BEFORE_FFN: &str = "ffn_pre_norm";
/// What it is called in GGUF where it is of attention.
const BEHIND_ATTENTION: &str = "post_attention_norm";

/// The tensors outside of the layers.
const AROUND: [[&str; 3]; 3] = [
    ["tok_embeddings.weight", "model.embed_tokens.weight", "token_embd.weight"],
    ["norm.weight", "model.norm.weight", "output_norm.weight"],
    ["output.weight", "lm_head.weight", "output.weight"],
];

const PREFIX: [&str; 3] = ["layers.", "model.layers.", "blk."];

impl Naming {
    /// Those of GGUF have the same names around their layers; only a file's facts tell them apart.
    const ALL: [Self; 5] = [Self::Slm1, Self::HuggingFace, Self::Gguf, Self::GgufHalves, Self::GgufBehind];

    /// Its column in the tables.
    fn column(self) -> usize {
        match self {
            Self::Slm1 => 0,
            Self::HuggingFace => 1,
            Self::Gguf | Self::GgufHalves | Self::GgufBehind => 2,
        }
    }

    /// What it calls a part of a layer, if it has it.
    fn part(self, row: &[&'static str; 3]) -> Option<&'static str> {
        match (self, row[0]) {
            (Self::GgufBehind, BETWEEN) => Some(BEHIND_ATTENTION),
            (Self::Gguf | Self::GgufHalves, BEFORE_FFN) => None,
            _ => Some(row[self.column()]),
        }
    }

    /// The family that a list of names belongs to: the one that knows the embeddings among them.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let families = |name| Self::ALL.into_iter().find(|naming| AROUND[0][naming.column()] == name);
        names.into_iter().find_map(families)
    }

    /// The matrices with a row for each token: the embedding matrix and the output matrix.
    pub fn token_matrices(self) -> [String; 2] {
        [AROUND[0], AROUND[2]].map(|row| row[self.column()].to_owned())
    }

    /// What the tensor that SLM1 calls `name` is called here.
    pub fn from_slm1(self, name: &str) -> Option<String> {
        self.translate(Self::Slm1, name)
    }

    /// What the tensor that `other` calls `name` is called here; none if it is no tensor of a
    /// llama-like network.
    pub fn translate(self, other: Self, name: &str) -> Option<String> {
        let (from, to) = (other.column(), self.column());
        if let Some(row) = AROUND.iter().find(|row| row[from] == name) {
            return Some(row[to].to_owned());
        }
        let (layer, part) = name.strip_prefix(PREFIX[from])?.split_once('.')?;
        let number: u32 = layer.parse().ok()?;
        let (part, kind) = part.rsplit_once('.').filter(|(_, kind)| ["weight", "bias"].contains(kind))?;
        let row = LAYER.iter().find(|row| other.part(row) == Some(part))?;
        let part = self.part(row)?;
        // A number has one spelling.
        (number.to_string() == layer).then(|| format!("{}{number}.{part}.{kind}", PREFIX[to]))
    }

    /// Whether these are names of GGUF.
    pub fn is_gguf(self) -> bool {
        self.column() == Self::Gguf.column()
    }

    /// Whether rotary pairs lie half a head apart, and not side by side.
    pub fn halves(self) -> bool {
        matches!(self, Self::HuggingFace | Self::GgufHalves | Self::GgufBehind)
    }

    /// Whether the gains of this network's norms lie there less one.
    pub fn gains_less_one(self, config: &ModelConfig) -> bool {
        self == Self::HuggingFace && config.variant.norms.centred
    }

    /// What is added to the numbers of the tensor that SLM1 calls `name` on the way from `self` to `to`.
    pub fn shift(self, to: Self, name: &str, config: &ModelConfig) -> i8 {
        let less = |naming: Self| i8::from(naming.gains_less_one(config));
        if name.ends_with("norm.weight") { less(self) - less(to) } else { 0 }
    }

    /// How the rows of the tensor that SLM1 calls `name` move on the way from `self` to `to`.
    pub fn permutation(self, to: Self, name: &str, config: &ModelConfig) -> Option<Permutation> {
        // Gains lie as the rows do that they are for; those of a single head are shared by all.
        let shared = config.variant.norms.heads != HeadNorms::All;
        let heads = if shared && (name.contains(".q_norm.") || name.contains(".k_norm.")) {
            1
        } else if name.contains(".wq.") || name.contains(".q_norm.") {
            config.head_count
        } else if name.contains(".wk.") || name.contains(".k_norm.") {
            config.kv_head_count
        } else {
            return None;
        };
        (self.halves() != to.halves()).then_some(Permutation {
            heads: heads as usize,
            head_dim: config.head_dim as usize,
            to_halves: to.halves(),
        })
    }
}

/// A reordering of rows within each head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutation {
    /// Heads.
    pub heads: usize,
    /// Rows of a head; even.
    pub head_dim: usize,
    /// Whether pairs that lie side by side come to lie half a head apart, or the other way.
    pub to_halves: bool,
}

impl Permutation {
    /// Which source row becomes row `row` of the result.
    pub fn source_row(&self, row: usize) -> usize {
        let (head, place) = (row / self.head_dim, row % self.head_dim);
        let half = self.head_dim / 2;
        let source = if self.to_halves {
            // Row i + h*half was the h-th of the pair i.
            place % half * 2 + place / half
        } else {
            place % 2 * half + place / 2
        };
        head * self.head_dim + source
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::tensor_table;
    use crate::model::config::tests::tiny;
    use crate::model::norms::Norms;
    use crate::model::variant::Variant;

    #[test]
    fn every_tensor_has_a_name_everywhere_and_comes_back() {
        for norms in [Norms::PLAIN, Norms::QWEN3, Norms::OLMO2, Norms::GEMMA3] {
            let variant = Variant { norms, ..Variant::PLAIN };
            for spec in tensor_table(&ModelConfig { variant, ..tiny() }).unwrap() {
                for to in Naming::ALL {
                    if spec.name.contains(BEFORE_FFN) && matches!(to, Naming::Gguf | Naming::GgufHalves) {
                        assert_eq!(to.from_slm1(&spec.name), None);
                        continue;
                    }
                    let there = to.from_slm1(&spec.name).unwrap();
                    assert_eq!(Naming::Slm1.translate(to, &there).as_deref(), Some(spec.name.as_str()));
                }
            }
        }
        let name = |naming: Naming, slm1: &str| naming.from_slm1(slm1).unwrap();
        assert_eq!(name(Naming::HuggingFace, "layers.3.w1.weight"), "model.layers.3.mlp.gate_proj.weight");
        assert_eq!(name(Naming::Gguf, "layers.3.wo.weight"), "blk.3.attn_output.weight");
        assert_eq!(name(Naming::Gguf, "layers.3.k_norm.weight"), "blk.3.attn_k_norm.weight");
        assert_eq!(name(Naming::GgufHalves, "layers.3.ffn_norm.weight"), "blk.3.ffn_norm.weight");
        assert_eq!(name(Naming::GgufBehind, "layers.3.ffn_norm.weight"), "blk.3.post_attention_norm.weight");
        assert_eq!(name(Naming::GgufBehind, "layers.3.ffn_post_norm.weight"), "blk.3.post_ffw_norm.weight");
        assert_eq!(name(Naming::GgufBehind, "layers.3.ffn_pre_norm.weight"), "blk.3.ffn_norm.weight");
        assert_eq!(
            Naming::GgufBehind.translate(Naming::Gguf, "blk.3.ffn_norm.weight").unwrap(),
            "blk.3.post_attention_norm.weight"
        );
        assert_eq!(name(Naming::HuggingFace, "layers.3.wq.bias"), "model.layers.3.self_attn.q_proj.bias");
        for stranger in ["layers.3.w4.weight", "layers.03.w1.weight", "layers.w1.weight", "x"] {
            assert_eq!(Naming::Gguf.from_slm1(stranger), None);
        }
    }

    #[test]
    fn a_family_is_known_by_its_embeddings() {
        let names = ["model.layers.0.mlp.up_proj.weight", "model.embed_tokens.weight"];
        assert_eq!(Naming::of(names), Some(Naming::HuggingFace));
        assert_eq!(Naming::of(["a", "b"]), None);
    }

    #[test]
    fn rows_move_within_their_head_and_come_back() {
        let to = Permutation { heads: 2, head_dim: 6, to_halves: true };
        let back = Permutation { to_halves: false, ..to };
        let moved: Vec<usize> = (0..12).map(|row| to.source_row(row)).collect();
        // Pairs (0,1) (2,3) (4,5) to firsts 0 2 4, seconds 1 3 5.
        assert_eq!(moved, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
        for row in 0..12 {
            assert_eq!(to.source_row(back.source_row(row)), row);
        }
    }

    #[test]
    fn gains_around_nought_are_those_of_gemma3_in_folders() {
        let gemma3 = ModelConfig { variant: Variant::GEMMA3, ..tiny() };
        let (folder, file) = (Naming::HuggingFace, Naming::GgufBehind);
        for name in ["layers.0.attn_norm.weight", "layers.0.k_norm.weight", "norm.weight"] {
            assert_eq!((folder.shift(file, name, &gemma3), file.shift(folder, name, &gemma3)), (1, -1));
            assert_eq!((folder.shift(folder, name, &gemma3), folder.shift(file, name, &tiny())), (0, 0));
        }
        for name in ["layers.0.wq.weight", "tok_embeddings.weight", "layers.0.wq.bias"] {
            assert_eq!(folder.shift(file, name, &gemma3), 0);
        }
    }

    #[test]
    fn only_queries_and_keys_move() {
        let config = ModelConfig { kv_head_count: 1, ..tiny() };
        let moved = |name| Naming::Slm1.permutation(Naming::HuggingFace, name, &config);
        assert_eq!(moved("layers.0.wq.weight").unwrap().heads, 2);
        assert_eq!(moved("layers.0.wk.weight").unwrap().heads, 1);
        assert_eq!(moved("layers.0.wv.weight"), None);
        // The gains of a head lie as its rows do, and so do those of all heads.
        assert_eq!(moved("layers.0.q_norm.weight").unwrap().heads, 1);
        assert_eq!(moved("layers.0.k_norm.weight").unwrap().heads, 1);
        let variant = Variant { norms: Norms::OLMO2, ..Variant::PLAIN };
        let olmo2 = ModelConfig { variant, ..config.clone() };
        let of_all = |name| Naming::Slm1.permutation(Naming::HuggingFace, name, &olmo2).unwrap().heads;
        assert_eq!((of_all("layers.0.q_norm.weight"), of_all("layers.0.k_norm.weight")), (2, 1));
        assert_eq!(moved("layers.0.attn_norm.weight"), None);
        let moved = |from: Naming, to| from.permutation(to, "layers.0.wq.weight", &config).is_some();
        assert!(!moved(Naming::Slm1, Naming::Gguf) && !moved(Naming::HuggingFace, Naming::GgufHalves));
        assert!(moved(Naming::Gguf, Naming::GgufHalves) && moved(Naming::GgufHalves, Naming::Slm1));
    }
}
