//! A model of stacked layers, as far as a child can be laid out like it: its names, shapes and encodings,
//! the small files beside it, and the number of its layers in all of them.
//!
//! Its bytes are those of the models it is made of, in the order of rows they have there: a child is read
//! through [`crate::operator::Stack`], not from here.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::task::{ConvertError, Task};
use crate::base::name::Name;
use crate::model::buffer::{Buffer, BufferError};
use crate::model::config::{ConfigError, ModelConfig};
use crate::model::gguf::Architecture;
use crate::model::gguf::facts::{Fact, Facts};
use crate::model::huggingface::CONFIG;
use crate::model::huggingface::mend::{Changes, LayerOf};
use crate::model::naming::Naming;
use crate::model::weights::TensorInfo;
use crate::model::{Companion, Package, Weights, gguf};
use crate::operator::depth::layer_of;
use crate::operator::slice::{Place, Slice, layers, stacked};
use crate::tensor::shape::Shape;

/// What GGUF calls the number of layers, behind the name of the architecture.
const BLOCKS: &str = ".block_count";
/// What it calls which layers look back over a window, where that is not what goes without saying.
const PATTERN: &str = ".attention.sliding_window_pattern";

/// A model like `like`, with the layers that `slices` say of `models`; `tokens_of_base` is whether it has the
/// rows of that one's tokens, whatever theirs are.
///
/// # Errors
///
/// [`ConvertError::Operator`] of a layer that its model does not have, or of one that numbers layers in two
/// places; [`ConvertError::Stranger`] of a tensor that has no name in the family of `like`;
/// [`ConvertError::Buffer`] of tensors beside the weights that belong to layers; [`ConvertError::Companion`],
/// [`ConvertError::Config`] or [`ConvertError::Words`] if what `like` says of itself cannot be said of other
/// layers.
pub fn outline<'m>(
    like: &Package,
    slices: &[Slice],
    tokens_of_base: bool,
    models: &dyn Fn(&Name) -> Option<&'m Package>,
) -> Result<Package, ConvertError> {
    let mut parts: BTreeMap<&Name, Part<'_>> = BTreeMap::new();
    for Slice { parent, .. } in slices {
        if let (false, Some(model)) = (parts.contains_key(parent), models(parent)) {
            parts.insert(parent, Part::new(model, like)?);
        }
    }
    let names = |parent: &Name| parts.get(parent).map_or_else(Vec::new, Part::names);
    let places = stacked(slices, &names)?;
    let numbers: BTreeMap<&Name, usize> = parts.keys().enumerate().map(|(i, name)| (*name, i)).collect();
    let of_tokens = if tokens_of_base { token_matrices(like) } else { Vec::new() };
    let tensor = |place: &Place| {
        let info = parts.get(&place.parent).and_then(|part| part.info(&place.there));
        let info = info.ok_or_else(|| ConvertError::Missing(place.there.clone()))?;
        let with_own_rows = |own: &&&TensorInfo| own.name == place.name && other_rows(own, info);
        let (model, info) = match of_tokens.iter().find(with_own_rows) {
            // Behind the parts.
            Some(own) => (parts.len(), *own),
            None => (numbers[&place.parent], info),
        };
        Ok((model, TensorInfo { name: place.name.clone(), ..info.clone() }))
    };
    let tensors = places.iter().map(tensor).collect::<Result<Vec<_>, ConvertError>>()?;
    let parts_weights = parts.values().map(|part| &part.package.weights);
    let weights: Vec<&Weights> = parts_weights.chain([&like.weights]).collect();
    let count = layers(slices).count();
    let config = like.config.clone().map(|config| of_layers(config, slices, models));
    let buffers = around_layers(like)?;
    Ok(Package {
        weights: Weights::gathered(like.weights.format(), &weights, tensors).with_buffers(buffers),
        naming: like.naming,
        tokenizer: like.tokenizer.clone(),
        companions: companions(like, slices, models)?,
        facts: like.facts.as_ref().map(|facts| facts_of(&config, facts, count)).transpose()?.map(Arc::new),
        config,
    })
}

/// A network with the layers that `slices` say: each looks back as far as it did.
fn of_layers<'m>(
    like: ModelConfig,
    slices: &[Slice],
    models: &dyn Fn(&Name) -> Option<&'m Package>,
) -> ModelConfig {
    let mut config = ModelConfig { layer_count: layers(slices).count() as u32, ..like };
    if let Some(windows) = &mut config.variant.windows {
        let sees_everything = |(parent, layer): (&Name, usize)| {
            let network = models(parent).and_then(|model| model.config.as_ref().ok());
            let windows = network.and_then(|network| network.variant.windows.as_ref());
            windows.is_none_or(|windows| windows.of_layer(layer).is_none())
        };
        let numbered = (0..).zip(layers(slices));
        windows.full = numbered.filter(|(_, of)| sees_everything(*of)).map(|(layer, _)| layer).collect();
    }
    config
}

/// What a child is laid out like: the model that it is like, or the outline of its layers.
///
/// # Errors
///
/// As [`outline`]; never without slices.
pub fn laid_out<'m>(
    like: &'m Package,
    slices: &[Slice],
    tokens_of_base: bool,
    models: &dyn Fn(&Name) -> Option<&'m Package>,
) -> Result<Cow<'m, Package>, ConvertError> {
    match slices.is_empty() {
        true => Ok(Cow::Borrowed(like)),
        false => outline(like, slices, tokens_of_base, models).map(Cow::Owned),
    }
}

/// A model's tensors and their shapes, called as in the model `like`.
///
/// # Errors
///
/// [`ConvertError::Stranger`] of the first that has no name there.
pub fn in_names_of(model: &Package, like: &Package) -> Result<Vec<(String, Shape)>, ConvertError> {
    let part = Part::new(model, like)?;
    let shape = |name: &String| Some((name.clone(), part.info(name)?.shape.clone()));
    Ok(part.names.iter().filter_map(shape).collect())
}

/// The matrices of a model that have a row for each of its tokens.
fn token_matrices(package: &Package) -> Vec<&TensorInfo> {
    let names = package.naming.map(Naming::token_matrices);
    names.iter().flatten().filter_map(|name| package.weights.info(name)).collect()
}

/// Whether two matrices differ in nothing but their rows.
fn other_rows(one: &TensorInfo, other: &TensorInfo) -> bool {
    let same_width =
        one.shape.dims().len() == other.shape.dims().len() && one.shape.columns() == other.shape.columns();
    same_width && one.shape != other.shape
}

/// One layer of a model and what lies around its layers: what two models of other depths must agree in.
///
/// # Errors
///
/// As [`outline`].
pub fn one_layer(package: &Package, name: &Name, layer: usize) -> Result<Package, ConvertError> {
    let slice = Slice { parent: name.clone(), layers: [layer, layer.saturating_add(1)] };
    outline(package, &[slice], false, &|_| Some(package))
}

/// The buffers of a model of other layers; those of layers would have to be stacked, too.
fn around_layers(like: &Package) -> Result<Vec<Buffer>, ConvertError> {
    let buffers = like.carried_buffers()?;
    match buffers.iter().find(|buffer| layer_of(&buffer.name).is_some()) {
        None => Ok(buffers),
        Some(Buffer { name, kind, .. }) => Err(BufferError::OfLayer { name: name.clone(), kind }.into()),
    }
}

/// A model whose layers are taken.
struct Part<'m> {
    package: Cow<'m, Package>,
    /// Every tensor in the names of the model that the child is like, in storage order.
    names: Vec<String>,
    /// What each is called there. Only ever asked, never walked.
    there: HashMap<String, String>,
}

impl<'m> Part<'m> {
    fn new(model: &'m Package, like: &Package) -> Result<Self, ConvertError> {
        let tied = |package: &Package| package.config.as_ref().is_ok_and(|config| config.tied_output);
        // Where the child has an output matrix of its own, a tied model gives its embedding matrix.
        let package =
            if !tied(like) && tied(model) { Cow::Owned(model.untied()) } else { Cow::Borrowed(model) };
        let (mut names, mut there) = (Vec::new(), HashMap::new());
        for step in Task::as_they_are(&package).moves {
            let childs = match (package.naming, like.naming) {
                (Some(own), Some(childs)) if own != childs => childs.translate(own, &step.from),
                _ => Some(step.from.clone()),
            };
            let childs =
                childs.ok_or_else(|| ConvertError::Stranger(step.from.clone(), like.weights.format()))?;
            names.push(childs.clone());
            there.insert(childs, step.from);
        }
        Ok(Self { package, names, there })
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.package.weights.info(self.there.get(name)?)
    }
}

/// The files beside the model, its configuration with the child's layers.
fn companions<'m>(
    like: &Package,
    slices: &[Slice],
    models: &dyn Fn(&Name) -> Option<&'m Package>,
) -> Result<Vec<Companion>, ConvertError> {
    let of = |(parent, layer): (&Name, usize)| {
        let model = models(parent)?;
        Some(LayerOf::new(parent.as_str(), model, layer))
    };
    let changes = Changes { layers: Some(layers(slices).filter_map(of).collect()), ..Changes::default() };
    let mut companions = like.companions.clone();
    for file in companions.iter_mut().filter(|file| file.name == CONFIG) {
        let mended = changes.mend(&file.bytes);
        file.bytes = mended.map_err(|error| ConvertError::Companion(CONFIG.to_owned(), error.to_string()))?;
    }
    Ok(companions)
}

/// The facts of a GGUF file with the layers of a network. What they say of single layers is only known where the
/// network is, and which of them look back over a window has to be what other programs take it for.
fn facts_of(
    config: &Result<ModelConfig, String>,
    facts: &Facts,
    layers: usize,
) -> Result<Facts, ConvertError> {
    let config =
        config.as_ref().map_err(|why| ConvertError::Config { format: gguf::NAME, why: why.clone() })?;
    if config.variant.windows.is_some() {
        let words = |error: ConfigError| ConvertError::Words { format: gguf::NAME, why: error.to_string() };
        Architecture::of(config).check(config).map_err(words)?;
    }
    let mut stacked = Facts::default();
    for (name, fact) in facts.iter().filter(|(name, _)| !name.ends_with(PATTERN)) {
        let counts = name.strip_suffix(BLOCKS) == facts.text("general.architecture");
        let fact = if counts { Fact::Unsigned(layers as u64) } else { fact.clone() };
        stacked.push(name, fact);
    }
    Ok(stacked)
}
