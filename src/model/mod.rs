//! Model files: read, validated, written.
//!
//! Every format is read into one type, [`Checkpoint`]; nobody below this room knows formats.
//!
//! * [`config`]: the network's dimensions, and which tensors follow from them; [`variant`]: biases and
//!   rotary frequencies.
//! * [`weights`]: named tensors in one file or several.
//! * [`checkpoint`]: weights with a meaning: configuration and tokenizer.
//! * [`writer`]: what writing a model of any format has in common.
//! * [`values`]: whether the stored numbers are numbers.
//! * [`tokenizer`]: text to ids and back.
//! * [`mod@format`]: the table of formats, and opening a file whose format is not known yet.
//! * [`slm1`]: the `.slm` container. [`gguf`]: that of the ggml family. `trained`: folders of raw f32.
//! * [`safetensors`]: named tensors of other people's models; [`huggingface`]: folders of them.
//! * [`package`]: a model of any format. [`naming`]: what its tensors are called there.
//! * `listing`: the files of a model that is several; `opened`: a model and the maps it lies in.
//! * [`adapter`]: what is added to a model's weights, kept apart from it.
//! * [`identity`]: what must agree before two models can be mixed; `arithmetic`: what two networks compute
//!   differently; `networks`: what of that keeps a plan from mixing them; `context`: what bounds how far a model sees.
//! * `overwrite`: that no model takes the place of what it is made from; `replaceable`: which folders are
//!   models and nothing else.
//! * `source`: the manifest beside a model that says where it comes from.

pub mod adapter;
#[cfg(feature = "engine")]
pub mod arithmetic;
pub mod buffer;
pub mod checkpoint;
pub mod config;
#[cfg(feature = "engine")]
pub mod context;
pub mod format;
pub mod gguf;
pub mod huggingface;
pub mod identity;
#[cfg(feature = "engine")]
pub mod licence;
#[cfg(feature = "engine")]
pub mod listing;
pub mod naming;
#[cfg(feature = "engine")]
pub mod networks;
pub mod norms;
#[cfg(feature = "engine")]
pub mod opened;
#[cfg(feature = "engine")]
pub mod overwrite;
pub mod package;
#[cfg(feature = "engine")]
pub mod replaceable;
pub mod safetensors;
pub mod slm1;
#[cfg(feature = "engine")]
pub mod source;
pub mod tokenizer;
#[cfg(feature = "engine")]
pub mod trained;
pub mod values;
pub mod variant;
pub mod weights;
pub mod windows;
pub mod writer;

pub use checkpoint::Checkpoint;
pub use config::{ModelConfig, tensor_table};
pub use format::{FORMATS, Format, ModelError, open_bytes, open_package_bytes};
#[cfg(feature = "engine")]
pub use format::{Opened, open};
pub use identity::Identity;
#[cfg(feature = "engine")]
pub use listing::{ListedFile, Listing, Place};
#[cfg(feature = "engine")]
pub use opened::{OpenedPackage, open_listed, open_package};
pub use package::{Companion, Package, Unrunnable};
pub use tokenizer::Tokenizer;
pub use values::{ValueError, validate_values};
pub use weights::Weights;
pub use writer::{ModelWriter, Planned, WriteError};
