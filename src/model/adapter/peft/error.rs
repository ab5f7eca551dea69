//! What can be wrong with a PEFT folder, by itself or for a model.

use std::path::PathBuf;

use super::config::SettingsError;
use crate::disk::DiskError;
use crate::model::safetensors::SafetensorsError;
use crate::model::writer::WriteError;
use crate::tensor::shape::Shape;

/// Why a PEFT adapter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PeftError {
    /// A file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A link to a place outside.
    #[error(
        "{} leads out of the adapter's folder, to {}; copy the adapter with its links followed (cp -rL)",
        path.display(),
        target.display()
    )]
    Leaves {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// The settings.
    #[error("adapter_config.json {0}")]
    Settings(#[from] SettingsError),
    /// Factors in a file that is a program.
    #[error(
        "the factors are in adapter_model.bin, a Python pickle, which is not read; save them with \
         `safe_serialization=True`"
    )]
    Pickled,
    /// The file of factors.
    #[error("adapter_model.safetensors is not a usable safetensors file: {0}")]
    Safetensors(#[from] SafetensorsError),
    /// A tensor that is no factor.
    #[error(
        "tensor `{0}` is no LoRA factor; only lora_A and lora_B of matrices are used \
             (PEFT leaves copies of whole layers out with save_embedding_layers=False)"
    )]
    Stranger(String),
    /// A whole layer that is not the base's.
    #[error(
        "tensor `{name}` is a whole layer and not the base's `{tensor}`; whoever loads the adapter would load \
         another base (PEFT leaves such copies out with save_embedding_layers=False)"
    )]
    OtherLayer {
        /// The tensor.
        name: String,
        /// The base's.
        tensor: String,
    },
    /// A module that is listed and that nothing was trained for.
    #[error("target_modules lists `{0}`, and there are no factors of such a module")]
    NoFactors(String),
    /// A module with two factors of a kind.
    #[error("module `{module}` has two factors {factor}")]
    Twice {
        /// The module.
        module: String,
        /// `A` or `B`.
        factor: char,
    },
    /// A module with one factor.
    #[error("module `{module}` has no factor {factor}")]
    Lonely {
        /// The module.
        module: String,
        /// `A` or `B`.
        factor: char,
    },
    /// A module that has none by the settings.
    #[error("module `{module}` has factors, but {why}")]
    NotTargeted {
        /// The module.
        module: String,
        /// Which setting says so.
        why: &'static str,
    },
    /// Factors of another rank than the settings say, or of no rank.
    #[error("module `{module}` has a factor A of {a} and B of {b}; the settings give it rank {rank}")]
    Rank {
        /// The module.
        module: String,
        /// Shape of A.
        a: Box<Shape>,
        /// Shape of B.
        b: Box<Shape>,
        /// The rank in the settings.
        rank: u64,
    },
    /// A module that the model does not have.
    #[error("module `{module}` has factors, but the model has no tensor `{tensor}`")]
    UnknownTarget {
        /// The module.
        module: String,
        /// What its weight would be called.
        tensor: String,
    },
    /// A product of another shape than the weight.
    #[error(
        "the factors of module `{module}` make a matrix of {rows}x{columns}; tensor `{tensor}` is {model}"
    )]
    Shape {
        /// The module.
        module: String,
        /// Rows of the product.
        rows: usize,
        /// Its columns.
        columns: usize,
        /// The tensor it is for.
        tensor: String,
        /// That tensor's shape.
        model: Box<Shape>,
    },
    /// A delta that is no product of two matrices.
    #[error(
        "the delta of tensor `{tensor}` is {stored}{}, and a LoRA has products of two matrices only; \
         `studbook extract --as low-rank --rank R --linear-only` makes an adapter of such, and says what it \
         leaves out (norms, biases, embeddings)",
        and_more(*.more)
    )]
    NoProduct {
        /// The tensor.
        tensor: String,
        /// How it is stored.
        stored: &'static str,
        /// How many others are no product either.
        more: usize,
    },
    /// A tensor with other than two dimensions.
    #[error(
        "the tensor `{0}` has a delta and is no matrix, so it is of no module that a LoRA is for; \
         `studbook extract --linear-only` leaves such out"
    )]
    NoMatrix(String),
    /// A tensor that no module of a known network has.
    #[error(
        "the tensor `{0}` has a delta, and is of no module that PEFT would find: the network is not known, and \
         the model's tensors are not called as a checkpoint's modules are"
    )]
    NoModule(String),
    /// A matrix of a network that is not known, called as those that ids look rows up in.
    #[error(
        "the tensor `{0}` has a delta, and is an embedding matrix by its name; of a network that is not known \
         nobody can say whether it is the output matrix, too. `studbook extract --linear-only` leaves it out"
    )]
    Embedding(String),
    /// An embedding matrix that is the output matrix, too.
    #[error(
        "the tensor `{0}` has a delta, and may be the output matrix, too (tied embeddings); PEFT would change \
         one of the two. `studbook extract --linear-only` leaves it out"
    )]
    TiedEmbedding(String),
    /// An adapter that changes nothing.
    #[error("the adapter changes nothing, so there is no module to name")]
    Nothing,
    /// The file of factors, on its way.
    #[error("adapter_model.safetensors cannot be written: {0}")]
    Write(#[from] WriteError),
    /// Rows that would have to be reordered, and nobody knows how.
    #[error("the rows of tensor `{tensor}` lie in another order in this model, and its heads are not known")]
    Heads {
        /// The tensor.
        tensor: String,
    },
}

fn and_more(more: usize) -> String {
    match more {
        0 => String::new(),
        1 => ", and that of another one is no product either".to_owned(),
        more => format!(", and those of {more} others are no products either"),
    }
}
