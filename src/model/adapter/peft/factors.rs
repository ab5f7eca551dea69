//! Names and factors: which product belongs to which tensor of a model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::Settings;
use super::error::PeftError;
use super::{NAME, copies};
use crate::model::adapter::deltas::{Adapter, DeltaInfo, Factor, Stored};
use crate::model::adapter::identity::AdapterIdentity;
use crate::model::huggingface::CONFIG;
use crate::model::naming::{Naming, Permutation};
use crate::model::package::Package;
use crate::model::weights::Weights;
use crate::tensor::shape::Shape;

/// How every name begins: the wrapper, then the model.
pub(super) const PREFIX: &str = "base_model.model.";

/// What a factor's name ends in, which one it is, and whether it is an embedding's.
const ENDINGS: [(&str, char, bool); 8] = [
    (".lora_A.weight", 'A', false),
    (".lora_B.weight", 'B', false),
    (".lora_A.default.weight", 'A', false),
    (".lora_B.default.weight", 'B', false),
    (".lora_embedding_A", 'A', true),
    (".lora_embedding_B", 'B', true),
    (".lora_embedding_A.default", 'A', true),
    (".lora_embedding_B.default", 'B', true),
];

/// The factors of one module, by their tensors' names.
#[derive(Debug, Default)]
struct Module {
    a: Option<String>,
    b: Option<String>,
    embedding: bool,
}

/// A folder's content, every factor with its partner.
#[derive(Debug)]
pub(super) struct Lora {
    settings: Settings,
    weights: Weights,
    modules: BTreeMap<String, Module>,
    /// Tensors that may be copies of the base's.
    copies: Vec<String>,
}

/// A folder's content by itself.
#[derive(Debug)]
pub struct Outline {
    /// The product of each module, by the modules' names.
    pub products: Vec<Product>,
    /// Whole tensors beside the factors; an adapter can be used on a model of which they are copies.
    pub copies: Vec<String>,
    /// Elements of all tensors.
    pub numbers: u64,
    /// Whether every factor's numbers are finite.
    pub is_finite: bool,
}

/// What is added to a module's weight.
#[derive(Debug)]
pub struct Product {
    /// The module, as the library calls it.
    pub module: String,
    /// Rows and columns of the weight.
    pub shape: [usize; 2],
    /// The rank.
    pub rank: usize,
    /// What the product is multiplied by.
    pub scale: f32,
}

/// A module's place in a model.
pub(super) struct Target {
    pub(super) tensor: String,
    pub(super) rows: Option<Permutation>,
}

impl Lora {
    pub(super) fn new(settings: Settings, weights: Weights) -> Result<Self, PeftError> {
        let (mut modules, mut copies): (BTreeMap<String, Module>, _) = (BTreeMap::new(), Vec::new());
        for info in weights.infos() {
            let Some((module, factor, embedding)) = parse(&info.name) else {
                copies.push(info.name.clone());
                continue;
            };
            let entry = modules.entry(module.to_owned()).or_default();
            let place = if factor == 'A' { &mut entry.a } else { &mut entry.b };
            if place.replace(info.name.clone()).is_some() {
                return Err(PeftError::Twice { module: module.to_owned(), factor });
            }
            entry.embedding |= embedding;
        }
        Ok(Self { settings, weights, modules, copies })
    }

    /// The adapter for a model: every factor finds its tensor, deltas come in the model's order.
    pub(super) fn for_base(&self, base: &Package) -> Result<Adapter, PeftError> {
        self.copies.iter().try_for_each(|name| copies::check(name, &self.weights, base))?;
        let mut deltas = BTreeMap::new();
        let mut data = Vec::new();
        for (name, module) in &self.modules {
            let target = target(name, base)?;
            let info = self.product(name, module, &target, base, &mut data)?;
            if deltas.insert(target.tensor, info).is_some() {
                return Err(PeftError::Twice { module: name.clone(), factor: 'A' });
            }
        }
        self.all_there()?;
        let in_order = base.weights.infos().iter().filter_map(|info| deltas.remove(&info.name)).collect();
        let identity = Some(AdapterIdentity::of_package(base));
        Ok(Adapter::new(NAME, identity, in_order, Arc::new(data), None))
    }

    /// The factors of a module as those of the model's tensor, appended to `data`.
    fn product(
        &self,
        name: &str,
        module: &Module,
        target: &Target,
        base: &Package,
        data: &mut Vec<u8>,
    ) -> Result<DeltaInfo, PeftError> {
        let (a, b) = self.pair(name, module)?;
        let ([rank_of_a, inputs], [outputs, rank_of_b]) = (a.dims, b.dims);
        // A transposed product is the product of the transposed factors, the other way round.
        let transpose = module.embedding || is_conv1d(name, base).unwrap_or(self.settings.fan_in_fan_out);
        let (rows, columns, a, b) = if transpose {
            (inputs, outputs, transposed(&b.values, rank_of_b), transposed(&a.values, inputs))
        } else {
            (outputs, inputs, a.values, b.values)
        };
        let tensor = target.tensor.clone();
        let unknown = || PeftError::UnknownTarget { module: name.to_owned(), tensor: tensor.clone() };
        let shape = base.weights.tensor(&tensor).ok_or_else(unknown)?.shape.clone();
        if *shape.dims() != [rows, columns] {
            let (module, model) = (name.to_owned(), Box::new(shape));
            return Err(PeftError::Shape { module, rows, columns, tensor, model });
        }
        let b = match target.rows {
            Some(order) if order.heads * order.head_dim != rows => return Err(PeftError::Heads { tensor }),
            Some(order) => reordered(&b, rank_of_a, order),
            None => b,
        };
        let mut put = |shape: Shape, values: &[f32]| {
            let start = data.len();
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            Factor { shape, data: start..data.len() }
        };
        let [a_shape, b_shape] =
            [[rank_of_a, columns], [rows, rank_of_a]].map(|dims| Shape::new(dims.into()));
        // The same numbers of elements as the factors in the file have.
        let (Ok(a_shape), Ok(b_shape)) = (a_shape, b_shape) else { return Err(PeftError::Heads { tensor }) };
        let (a, b) = (put(a_shape, &a), put(b_shape, &b));
        let scale = self.settings.scale(name)? as f32;
        Ok(DeltaInfo { name: tensor, shape, stored: Stored::LowRank { a, b, scale } })
    }

    /// The two factors of a module, of the rank that the settings give it.
    fn pair(&self, name: &str, module: &Module) -> Result<(Matrix, Matrix), PeftError> {
        if let Some(why) = self.settings.forbids(name)? {
            return Err(PeftError::NotTargeted { module: name.to_owned(), why });
        }
        let (a, b) = (self.factor(name, &module.a, 'A')?, self.factor(name, &module.b, 'B')?);
        let rank = self.settings.rank(name)?;
        if a.dims[0] as u64 != rank || b.dims[1] as u64 != rank {
            let [a, b] = [a.shape, b.shape].map(Box::new);
            return Err(PeftError::Rank { module: name.to_owned(), a, b, rank });
        }
        Ok((a, b))
    }

    /// Every module has factors where the settings say that it has.
    fn all_there(&self) -> Result<(), PeftError> {
        let modules: Vec<&str> = self.modules.keys().map(String::as_str).collect();
        match self.settings.missing(&modules) {
            Some(name) => Err(PeftError::NoFactors(name.to_owned())),
            None => Ok(()),
        }
    }

    /// What the folder says by itself, whatever model it is for.
    pub(super) fn outline(&self) -> Result<Outline, PeftError> {
        let (mut products, mut is_finite) = (Vec::new(), true);
        for (name, module) in &self.modules {
            let (a, b) = self.pair(name, module)?;
            is_finite &= a.values.iter().chain(&b.values).all(|value| value.is_finite());
            let [rank, inputs] = a.dims;
            let transpose = module.embedding || self.settings.fan_in_fan_out;
            let shape = if transpose { [inputs, b.dims[0]] } else { [b.dims[0], inputs] };
            let scale = self.settings.scale(name)? as f32;
            products.push(Product { module: name.clone(), shape, rank, scale });
        }
        self.all_there()?;
        Ok(Outline { products, copies: self.copies.clone(), numbers: self.weights.parameters(), is_finite })
    }

    fn factor(&self, module: &str, tensor: &Option<String>, factor: char) -> Result<Matrix, PeftError> {
        let lonely = || PeftError::Lonely { module: module.to_owned(), factor };
        let view = tensor.as_ref().and_then(|name| self.weights.tensor(name)).ok_or_else(lonely)?;
        match *view.shape.dims() {
            [rows, columns] => {
                Ok(Matrix { shape: view.shape.clone(), dims: [rows, columns], values: view.to_f32() })
            }
            _ => Err(PeftError::Stranger(view.name.to_owned())),
        }
    }
}

struct Matrix {
    shape: Shape,
    dims: [usize; 2],
    values: Vec<f32>,
}

/// A factor's module, which of the two it is, and whether it is an embedding's.
fn parse(name: &str) -> Option<(&str, char, bool)> {
    let name = name.strip_prefix(PREFIX)?;
    ENDINGS
        .into_iter()
        .find_map(|(ending, factor, embedding)| Some((name.strip_suffix(ending)?, factor, embedding)))
}

/// The networks with modules of the kind `Conv1D`, which stores its weight in x out, and what those are called.
const CONV1D_NETWORKS: [&str; 4] = ["gpt2", "openai-gpt", "imagegpt", "decision_transformer"];
pub(super) const CONV1D_MODULES: [&str; 4] = ["c_attn", "c_fc", "c_proj", "q_attn"];

/// Whether a module's weight is stored in x out. PEFT looks at the module's kind and corrects a
/// `fan_in_fan_out` that says something else; of a model that does not say its network, nobody knows the kind.
pub(super) fn is_conv1d(module: &str, base: &Package) -> Option<bool> {
    #[derive(serde::Deserialize)]
    struct Network {
        model_type: Option<String>,
    }
    let config = base.companion(CONFIG).and_then(|file| serde_json::from_slice::<Network>(&file.bytes).ok());
    match config.and_then(|config| config.model_type) {
        Some(network) => {
            let called = module.rsplit('.').next().unwrap_or(module);
            Some(CONV1D_NETWORKS.contains(&network.as_str()) && CONV1D_MODULES.contains(&called))
        }
        // The families whose names are known have none.
        None => base.naming.map(|_| false),
    }
}

/// Where a module's weight is in a model: under its own name, or under that of the model's family.
pub(super) fn target(module: &str, base: &Package) -> Result<Target, PeftError> {
    let own = format!("{module}.weight");
    let there = |tensor: &str| base.weights.tensor(tensor).is_some();
    let unknown = |tensor: String| PeftError::UnknownTarget { module: module.to_owned(), tensor };
    if there(&own) {
        return Ok(Target { tensor: own, rows: None });
    }
    let translated = base.naming.and_then(|naming| {
        let slm1 = Naming::Slm1.translate(Naming::HuggingFace, &own)?;
        Some((naming, naming.from_slm1(&slm1)?, slm1))
    });
    let Some((naming, tensor, slm1)) = translated else { return Err(unknown(own)) };
    if !there(&tensor) {
        return Err(unknown(tensor));
    }
    let rows = match &base.config {
        Ok(config) => Naming::HuggingFace.permutation(naming, &slm1, config),
        Err(_) if slm1.ends_with(".wq.weight") || slm1.ends_with(".wk.weight") => {
            return Err(PeftError::Heads { tensor });
        }
        Err(_) => None,
    };
    Ok(Target { tensor, rows })
}

/// A matrix with rows of `width`, its columns for rows.
pub(super) fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width)).copied().collect()
}

pub(super) fn reordered(values: &[f32], width: usize, order: Permutation) -> Vec<f32> {
    let rows = values.len() / width;
    (0..rows)
        .flat_map(|row| {
            let source = order.source_row(row) * width;
            &values[source..source + width]
        })
        .copied()
        .collect()
}
