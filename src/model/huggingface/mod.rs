//! A model as Hugging Face's libraries save it: a folder of several files.
//!
//! ```text
//! folder
//!   config.json                          the network's dimensions                    config
//!   model.safetensors                    all tensors, or
//!   model.safetensors.index.json         which tensor is in which of                 index
//!   model-00001-of-00003.safetensors ... these
//!   tokenizer.json, ...                  carried along, byte for byte                folder
//! ```
//!
//! A folder comes from somebody else, so it is not followed wherever it points: names in the index
//! are plain file names, links stay inside the folder, and what is read into memory has a limit.
//! Index and files must agree in both directions, or two programs could see two models.
//!
//! Tensors keep the names their library gave them. What the files say about the network is read for
//! the family that is known here; any other model is tensors and companions, and can be merged all
//! the same.
//!
//! * [`config`]: `config.json` of the llama family; [`rope`]: its rotary frequencies; [`gemma3`]: what only that says;
//!   `settings`: a new one; `mend`: a child's.
//! * [`mod@index`]: the file that says which tensor is in which of several files.
//! * [`order`]: tensors sorted by name, layers by number.
//! * `ids`: which ids begin a sequence and end an answer; `special_ids`: put in the place of others.
//! * `folder`: all of it opened; `root`: where its files are. `code`: programs that its settings name. `template`: how it holds conversations.

#[cfg(feature = "engine")]
pub mod code;
pub mod config;
#[cfg(feature = "engine")]
pub mod error;
#[cfg(feature = "engine")]
pub mod folder;
pub mod gemma3;
#[cfg(feature = "engine")]
pub mod ids;
pub mod index;
#[cfg(feature = "engine")]
pub mod mend;
pub mod order;
#[cfg(feature = "engine")]
mod root;
pub mod rope;
#[cfg(feature = "engine")]
pub mod settings;
#[cfg(feature = "engine")]
pub mod special_ids;
#[cfg(feature = "engine")]
pub mod template;
#[cfg(feature = "engine")]
pub mod write;

pub use config::{HfConfig, HfConfigError};
#[cfg(feature = "engine")]
pub use error::FolderError;
#[cfg(feature = "engine")]
pub use folder::{CONFIG, Folder, SINGLE, Shard, TOKENIZER, open, open_at};
pub use index::{Index, IndexError};
pub use rope::RopeScaling;
#[cfg(feature = "engine")]
pub use write::{FolderLayout, FolderWriter, InFolder, SHARD, Shelf, Written};

/// How records name the format.
pub const NAME: &str = "huggingface";
