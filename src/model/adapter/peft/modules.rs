//! Which module of PEFT a model's tensor is the weight of.
//!
//! Of a network of a known family names are translated. Any other checkpoint of Hugging Face's has the names
//! of its modules already, so they are known without its network; what is no linear module by its shape or its
//! name is refused there, since PEFT would treat it in another way.

use super::error::PeftError;
use super::factors::{CONV1D_MODULES, is_conv1d};
use crate::model::naming::{Naming, Permutation};
use crate::model::package::Package;
use crate::model::{huggingface, safetensors};

/// How a module's weight is stored, and what PEFT makes of its factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Out x in.
    Linear,
    /// In x out: the kind of module that GPT-2 has.
    Conv1d,
    /// A row for each id.
    Embedding,
}

/// A tensor's module.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// How rows of its factors move on the way there.
    pub(super) rows: Option<Permutation>,
}

/// Whether a tensor is the matrix of a linear module, as PEFT has them.
pub fn is_linear(base: &Package, tensor: &str) -> bool {
    of(base, tensor).is_ok_and(|module| module.kind != Kind::Embedding)
}

/// The module that has this tensor of `base` as its weight.
pub(super) fn of(base: &Package, tensor: &str) -> Result<Module, PeftError> {
    let is_matrix = base.weights.info(tensor).is_some_and(|info| info.shape.dims().len() == 2);
    let slm1 = base.naming.and_then(|naming| Some((naming, Naming::Slm1.translate(naming, tensor)?)));
    match slm1 {
        _ if !is_matrix => Err(PeftError::NoMatrix(tensor.to_owned())),
        Some((naming, slm1)) => translated(base, tensor, naming, &slm1),
        None => as_it_is(base, tensor),
    }
}

fn translated(base: &Package, tensor: &str, naming: Naming, slm1: &str) -> Result<Module, PeftError> {
    let own = Naming::HuggingFace.from_slm1(slm1);
    let name = own.as_deref().and_then(|own| own.strip_suffix(".weight"));
    let name = name.ok_or_else(|| PeftError::NoModule(tensor.to_owned()))?.to_owned();
    let turned = slm1.ends_with(".wq.weight") || slm1.ends_with(".wk.weight");
    let rows = match &base.config {
        Ok(config) => naming.permutation(Naming::HuggingFace, slm1, config),
        Err(_) if turned && !naming.halves() => return Err(PeftError::Heads { tensor: tensor.to_owned() }),
        Err(_) => None,
    };
    let kind = if slm1 == "tok_embeddings.weight" { Kind::Embedding } else { Kind::Linear };
    Ok(Module { name, kind, rows })
}

/// The module of a checkpoint whose names are those of its modules.
fn as_it_is(base: &Package, tensor: &str) -> Result<Module, PeftError> {
    let no_module = || PeftError::NoModule(tensor.to_owned());
    let own_names = [huggingface::NAME, safetensors::NAME].contains(&base.weights.format());
    let name = tensor.strip_suffix(".weight").filter(|_| own_names).ok_or_else(no_module)?;
    // The layers of a bare network, which whoever loads it with a head calls otherwise.
    let is_bare = name.split('.').nth(1).is_some_and(|part| part.parse::<u32>().is_ok());
    let last = name.rsplit('.').next().unwrap_or(name);
    if is_bare {
        return Err(no_module());
    }
    if looks_up_rows(last) {
        return Err(PeftError::Embedding(tensor.to_owned()));
    }
    let kind = match is_conv1d(name, base) {
        Some(true) => Kind::Conv1d,
        Some(false) => Kind::Linear,
        // Nothing says which of the two.
        None if CONV1D_MODULES.contains(&last) => return Err(no_module()),
        None => Kind::Linear,
    };
    Ok(Module { name: name.to_owned(), kind, rows: None })
}

/// Whether a module is called as those are that look rows up. `embed_out` is an output matrix.
fn looks_up_rows(module: &str) -> bool {
    ["wte", "wpe", "shared"].contains(&module) || module.contains("embed") && module != "embed_out"
}
