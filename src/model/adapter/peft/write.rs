//! An adapter as a PEFT folder: products of two matrices, each as the factors of a module.
//!
//! What a LoRA cannot say is refused by name: differences of single elements (norms, biases), those that are
//! stored dense or sparse, and an embedding matrix that is the output matrix, too, of which PEFT would change
//! one. A whole layer in `modules_to_save` could say some of them, but it would be a part of the base, trained,
//! and no difference. Modules are listed whole, and where one has another rank or scale than the first, a
//! pattern says so.

use serde_json::{Map, Value, json};

use super::error::PeftError;
use super::factors::{PREFIX, reordered, transposed};
use super::modules::{self, Kind};
use super::{CONFIG, FACTORS};
use crate::model::adapter::{Adapter, AdapterError, AdapterIdentity, Delta, DeltaInfo, Factors, Stored};
use crate::model::package::Package;
use crate::model::safetensors::{Layout, Metadata, Writer};
use crate::model::writer::{ModelWriter, Planned};
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

/// A module with its factors as the file has them.
struct Module {
    name: String,
    kind: Kind,
    rank: usize,
    alpha: f64,
    a: ([usize; 2], Vec<f32>),
    b: ([usize; 2], Vec<f32>),
}

/// The files of the folder that an adapter for `base` is, by name. The same adapter makes the same bytes.
///
/// # Errors
///
/// As [`Adapter::check_fits`] and [`Adapter::validate`]; [`PeftError::NoProduct`] of a delta that is none of
/// two matrices, [`PeftError::NoMatrix`], [`PeftError::NoModule`], [`PeftError::Embedding`] or
/// [`PeftError::TiedEmbedding`] of a tensor that PEFT has no module for, [`PeftError::Nothing`] of an adapter
/// that changes nothing.
pub fn files(base: &Package, adapter: &Adapter) -> Result<Vec<(&'static str, Vec<u8>)>, AdapterError> {
    adapter.check_fits(&AdapterIdentity::of_package(base), |name| {
        base.weights.info(name).map(|info| &info.shape)
    })?;
    adapter.validate()?;
    check_products(adapter)?;
    let mut modules: Vec<Module> =
        adapter.infos().iter().map(|info| module(base, adapter, info)).collect::<Result<_, _>>()?;
    // Whatever the order of the base's tensors is.
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    let Some(first) = modules.first() else { return Err(PeftError::Nothing.into()) };
    Ok(vec![(CONFIG, settings(first, &modules)), (FACTORS, factors(&modules)?)])
}

/// Refuses what is no product, all of it at once: whoever leaves it out wants to know it whole.
fn check_products(adapter: &Adapter) -> Result<(), PeftError> {
    let mut others = adapter.infos().iter().filter_map(|info| match info.stored {
        Stored::LowRank { .. } => None,
        Stored::Dense { .. } => Some((&info.name, "dense")),
        Stored::Sparse { .. } => Some((&info.name, "sparse")),
    });
    match others.next() {
        None => Ok(()),
        Some((tensor, stored)) => {
            Err(PeftError::NoProduct { tensor: tensor.clone(), stored, more: others.count() })
        }
    }
}

fn module(base: &Package, adapter: &Adapter, info: &DeltaInfo) -> Result<Module, PeftError> {
    let tensor = || info.name.clone();
    let Some(Delta::LowRank(factors)) = adapter.delta(&info.name) else {
        return Err(PeftError::NoModule(tensor()));
    };
    let modules::Module { name, kind, rows } = modules::of(base, &info.name)?;
    if kind == Kind::Embedding && !base.config.as_ref().is_ok_and(|config| !config.tied_output) {
        return Err(PeftError::TiedEmbedding(tensor()));
    }
    let Factors { a, b, columns, rank, scale } = factors;
    let outputs = b.len() / rank;
    let b = rows.map_or_else(|| b.to_vec(), |order| reordered(&b, rank, order));
    let (a, b) = match kind {
        Kind::Linear => (([rank, columns], a.to_vec()), ([outputs, rank], b)),
        // The product is taken transposed.
        Kind::Conv1d | Kind::Embedding => {
            (([rank, outputs], transposed(&b, rank)), ([columns, rank], transposed(&a, columns)))
        }
    };
    Ok(Module { name, kind, rank, alpha: f64::from(scale) * rank as f64, a, b })
}

/// `adapter_config.json`.
fn settings(first: &Module, modules: &[Module]) -> Vec<u8> {
    // As the library's own patterns: from the beginning of a name to its end, every dot itself.
    let pattern = |module: &Module| format!("^{}", module.name.replace('.', "\\."));
    let (mut ranks, mut alphas) = (Map::new(), Map::new());
    for module in modules {
        if module.rank != first.rank {
            ranks.insert(pattern(module), json!(module.rank));
        }
        if module.alpha != first.alpha {
            alphas.insert(pattern(module), number(module.alpha));
        }
    }
    let targets: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
    let settings = json!({
        "alpha_pattern": alphas,
        "base_model_name_or_path": null,
        "bias": "none",
        "fan_in_fan_out": modules.iter().any(|module| module.kind == Kind::Conv1d),
        "inference_mode": true,
        "lora_alpha": number(first.alpha),
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": first.rank,
        "rank_pattern": ranks,
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": false,
    });
    let mut bytes = serde_json::to_vec_pretty(&settings).expect("plain values");
    bytes.push(b'\n');
    bytes
}

/// Whole numbers as people write them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

/// `adapter_model.safetensors`.
fn factors(modules: &[Module]) -> Result<Vec<u8>, PeftError> {
    let mut planned = Vec::new();
    for module in modules {
        for (letter, dims) in [('A', module.a.0), ('B', module.b.0)] {
            let ending = if module.kind == Kind::Embedding {
                format!("lora_embedding_{letter}")
            } else {
                format!("lora_{letter}.weight")
            };
            let name = format!("{PREFIX}{}.{ending}", module.name);
            let shape = Shape::new(dims.to_vec()).map_err(|_| PeftError::NoModule(module.name.clone()))?;
            planned.push(Planned { name, shape, dtype: DType::F32, block_size: 0 });
        }
    }
    let metadata = Metadata::from([("format".to_owned(), "pt".to_owned())]);
    let layout = Layout::new(planned, &metadata)?;
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&layout, &mut bytes)?;
    for (_, values) in modules.iter().flat_map(|module| [&module.a, &module.b]) {
        let payload: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        writer.payload(&payload)?;
        writer.finish_tensor(&[])?;
    }
    writer.finish()?;
    Ok(bytes)
}
