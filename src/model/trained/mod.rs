//! Trained-source folders: a model as a manifest and raw f32 files, before it is any container.
//!
//! ```text
//! folder/source.manifest       key=value lines
//! folder/tokenizer.bin         an SLM1 tokenizer section
//! folder/tensors/NAME.f32      little-endian f32, row by row, nothing else
//! ```
//!
//! ```text
//! format=studbook-trained-source-1
//! source_kind=converted-trained
//! licence=MIT OR Apache-2.0
//! dataset=generated add cases
//! training=150 steps from the base
//! vocab_size=260
//! ...                              every field of the configuration
//! tokenizer=tokenizer.bin
//! tensor=tok_embeddings.weight 260x128 133120 tensors/tok_embeddings.weight.f32
//! ```
//!
//! It is what a training program can write without knowing any container, and says where the weights
//! come from. Everything is checked before a value is used: each key once, no unknown key, every
//! tensor of the network in its shape and no other, byte lengths exact, paths relative, without
//! traversal and without symbolic links, values finite and at most [`MAX_MAGNITUDE`], and at least
//! one of each tensor not zero.
//!
//! The original description of such folders gives no layout; this one is ours and says so in its
//! first line.

pub mod manifest;
pub mod read;
pub mod write;

pub use manifest::{Manifest, ManifestError};
pub use read::{TrainedError, open, open_at};

/// How records name the format.
pub const NAME: &str = "trained-source";

/// The manifest's file name.
pub const MANIFEST: &str = "source.manifest";

/// The first line's value.
pub const FORMAT: &str = "studbook-trained-source-1";

/// The largest magnitude of a weight: beyond this nobody has trained anything.
pub const MAX_MAGNITUDE: f32 = 65_504.0;
