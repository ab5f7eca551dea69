//! LoRA adapters as Hugging Face's PEFT library saves them: a folder of two files.
//!
//! ```text
//! adapter_config.json          rank, scale, which modules                               config
//! adapter_model.safetensors    base_model.model.MODULE.lora_A.weight    rank x in       factors
//!                              base_model.model.MODULE.lora_B.weight    out x rank
//! ```
//!
//! The weight of MODULE becomes `W + scale * B A`, with `scale = lora_alpha / r`, or
//! `lora_alpha / sqrt(r)` with `use_rslora` (Kalajdzievski, "A Rank Stabilization Scaling Factor for
//! Fine-Tuning with LoRA", 2023). Embeddings take the transposed product, and so does the kind of module that
//! GPT-2 has in the place of `Linear`; `fan_in_fan_out` says so of models whose network nobody knows.
//!
//! A folder does not say which model it is for. So it is read for a model at hand ([`open`]), and
//! every factor must find its tensor there. A model with other names for the same network (`.slm`,
//! GGUF) can be one, too: names are translated, and rows of queries and keys reordered, as when a
//! model is converted ([`crate::model::naming`]).
//!
//! [`mod@write`] makes such a folder of an adapter that has products only, [`modules`] of tensors that are
//! weights of modules only.
//!
//! What PEFT can do beyond that (DoRA, trained biases, whole modules saved along, ...) changes the
//! weights in other ways and is refused by name.

mod config;
mod copies;
mod error;
mod factors;
pub mod modules;
mod stated;
#[cfg(test)]
mod tests;
pub mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use config::{Settings, SettingsError};
pub use error::PeftError;
pub use factors::{Outline, Product};

use self::factors::Lora;
use super::Adapter;
use crate::disk::IoContext;
use crate::disk::links::{Followed, follow};
use crate::disk::mmap::Mapped;
use crate::disk::small::read_small;
use crate::model::listing::Place;
use crate::model::package::Package;
use crate::model::safetensors;

/// How records name the format.
pub const NAME: &str = "peft-lora";

/// The file that says what the factors mean; a folder with it is a PEFT adapter.
pub const CONFIG: &str = "adapter_config.json";

const FACTORS: &str = "adapter_model.safetensors";

/// The files that make an adapter.
pub const FILES: [&str; 2] = [CONFIG, FACTORS];

const PICKLED: &str = "adapter_model.bin";

/// The longest settings that are read.
const MAX_CONFIG: u64 = 1 << 20;

/// Whether a path is a folder with a PEFT adapter.
pub fn is_one(path: &Path) -> bool {
    path.join(CONFIG).is_file()
}

/// Reads a folder's adapter for a model. Its factors are widened to f32 in memory.
///
/// # Errors
///
/// As [`open_at`], and [`PeftError::Leaves`] of a link out of the folder.
pub fn open(folder: &Path, base: &Package) -> Result<Adapter, PeftError> {
    open_at(&Place::folder(folder), base).map(|(adapter, _)| adapter)
}

/// A file of the folder; a link may not lead out of it.
fn own(place: &Place, name: &str) -> Result<PathBuf, PeftError> {
    let path = place.path(name);
    if place.files().is_some() || std::fs::symlink_metadata(&path).is_err() {
        return Ok(path);
    }
    let root = place.root().canonicalize().at("open", place.root())?;
    match follow(&root, &path)? {
        Followed::Inside(target) => Ok(target),
        Followed::Outside(target) => Err(PeftError::Leaves { path, target }),
    }
}

/// Reads an adapter whose files may lie anywhere, and gives the map of its factors, too.
///
/// # Errors
///
/// [`PeftError::Disk`] if a file is missing, cannot be read, or has more than 1 MiB of settings;
/// [`PeftError::Pickled`] if the factors are a pickle; [`PeftError::Settings`] or [`PeftError::Safetensors`] of
/// a file that cannot be used; any other kind of [`PeftError`] of factors that do not go together, or do not
/// fit the base.
pub fn open_at(place: &Place, base: &Package) -> Result<(Adapter, Arc<Mapped>), PeftError> {
    let Files { said, lora, mapped } = files(place)?;
    let adapter = lora.for_base(base)?;
    Ok((adapter.with_doubt(stated::doubt(&said, base)), mapped))
}

/// What a folder says by itself, and the model that it names as its base.
///
/// # Errors
///
/// As [`open_at`], but of factors that do not fit a base.
pub fn outline(folder: &Path) -> Result<(Outline, Option<String>), PeftError> {
    let Files { said, lora, .. } = files(&Place::folder(folder))?;
    Ok((lora.outline()?, stated::base(&said)))
}

/// Both files, read.
struct Files {
    /// The settings' text.
    said: Vec<u8>,
    lora: Lora,
    mapped: Arc<Mapped>,
}

fn files(place: &Place) -> Result<Files, PeftError> {
    let said = read_small("read", &own(place, CONFIG)?, MAX_CONFIG)?;
    let settings = Settings::parse(&said)?;
    if !place.path(FACTORS).exists() && place.has(PICKLED) {
        return Err(PeftError::Pickled);
    }
    let path = own(place, FACTORS)?;
    let mapped = Arc::new(Mapped::open(&path)?);
    let weights = safetensors::read_weights(mapped.clone())?;
    Ok(Files { said, lora: Lora::new(settings, weights)?, mapped })
}
