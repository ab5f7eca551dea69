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
//! Fine-Tuning with LoRA", 2023). Embeddings, and every module with `fan_in_fan_out`, take the
//! transposed product.
//!
//! A folder does not say which model it is for. So it is read for a model at hand ([`open`]), and
//! every factor must find its tensor there. A model with other names for the same network (`.slm`,
//! GGUF) can be one, too: names are translated, and rows of queries and keys reordered, as when a
//! model is converted ([`crate::model::naming`]).
//!
//! What PEFT can do beyond that (DoRA, trained biases, whole modules saved along, ...) changes the
//! weights in other ways and is refused by name.

mod config;
mod error;
mod factors;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

pub use config::{Settings, SettingsError};
pub use error::PeftError;

use self::factors::Lora;
use super::Adapter;
use crate::disk::mmap::Mapped;
use crate::disk::small::read_small;
use crate::model::package::Package;
use crate::model::safetensors;

/// How records name the format.
pub const NAME: &str = "peft-lora";

/// The file that says what the factors mean; a folder with it is a PEFT adapter.
pub const CONFIG: &str = "adapter_config.json";

const FACTORS: &str = "adapter_model.safetensors";
const PICKLED: &str = "adapter_model.bin";

/// The longest settings that are read.
const MAX_CONFIG: u64 = 1 << 20;

/// Whether a path is a folder with a PEFT adapter.
pub fn is_one(path: &Path) -> bool {
    path.join(CONFIG).is_file()
}

/// Reads a folder's adapter for a model. Its factors are widened to f32 in memory.
pub fn open(folder: &Path, base: &Package) -> Result<Adapter, PeftError> {
    let settings = Settings::parse(&read_small("read", &folder.join(CONFIG), MAX_CONFIG)?)?;
    let path = folder.join(FACTORS);
    if !path.exists() && folder.join(PICKLED).exists() {
        return Err(PeftError::Pickled);
    }
    let (weights, _) = safetensors::read(Arc::new(Mapped::open(&path)?))?;
    Lora::new(settings, weights)?.for_base(base)
}
