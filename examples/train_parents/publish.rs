//! Parents as files: `NAME.slm` (`q8_0`, tied output) and `NAME.source.toml` beside it.
//!
//! A specialist starts from the base *as it was written*, eight bits and all, not from the numbers
//! the base's training ended with. So the difference between the two files is exactly what the
//! specialist learned, and the parent its manifest names is the parent it had.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use studbook::base::digest::{Digest, Sha256};
use studbook::model::slm1::{self, Encoding};
use studbook::model::source::{
    ArtifactClaim, QualityClaim, SourceKind, SourceManifest, TrainedQualityClaim, Training,
};
use studbook::model::{Checkpoint, ModelConfig, ModelWriter, Tokenizer, open_bytes};
use studbook::tensor::dtype::DType;
use studbook::tensor::quantize::encode_into;

use super::network::Layout;
use super::train::Recipe;

pub(crate) fn model_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.slm"))
}

/// The bytes of an SLM1 file with these parameters.
pub(crate) fn encode(config: &ModelConfig, layout: &Layout, parameters: &[f32]) -> anyhow::Result<Vec<u8>> {
    let file = slm1::Layout::new(config, &Tokenizer::Btok, Encoding::new(DType::Q8_0))?;
    let mut bytes = Vec::new();
    let mut writer = slm1::Writer::new(&file, &mut bytes)?;
    // The layout comes from the same table of tensors as the file's.
    for (plan, tensor) in file.tensors().iter().zip(&layout.tensors) {
        let (mut payload, mut scales) = (Vec::new(), Vec::new());
        let values = &parameters[tensor.range.clone()];
        encode_into(plan.dtype, plan.block_size, tensor.columns, values, &mut payload, &mut scales)
            .with_context(|| format!("tensor {}", tensor.name))?;
        writer.tensor(&payload, &scales)?;
    }
    writer.finish()?;
    Ok(bytes)
}

/// The parameters that a model file holds, in the layout's order.
pub(crate) fn parameters(layout: &Layout, checkpoint: &Checkpoint) -> anyhow::Result<Vec<f32>> {
    let mut parameters = Vec::with_capacity(layout.parameters());
    for tensor in &layout.tensors {
        let stored = checkpoint.tensor(&tensor.name).with_context(|| format!("no tensor {}", tensor.name))?;
        anyhow::ensure!(stored.shape.elements() == tensor.range.len(), "{}: another shape", tensor.name);
        parameters.extend(stored.to_f32());
    }
    Ok(parameters)
}

pub(crate) fn open(folder: &Path, name: &str) -> anyhow::Result<Checkpoint> {
    let path = model_path(folder, name);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    open_bytes(Arc::new(bytes)).with_context(|| format!("{} is no model", path.display()))
}

/// Writes a trained model and its manifest.
pub(crate) fn publish(folder: &Path, recipe: &Recipe, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = model_path(folder, recipe.name);
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    std::fs::write(SourceManifest::path_for(&path), manifest(recipe, bytes).to_toml())?;
    Ok(())
}

fn manifest(recipe: &Recipe, bytes: &[u8]) -> SourceManifest {
    SourceManifest {
        source_kind: SourceKind::ConvertedTrained,
        licence: "MIT OR Apache-2.0".to_owned(),
        quality_claim: Some(QualityClaim::RuntimeExecutionSmokeOnly),
        trained_quality_claim: TrainedQualityClaim::NotClaimed,
        summary: recipe.summary.to_owned(),
        artifact: ArtifactClaim {
            bytes: bytes.len() as u64,
            sha256: Sha256::of(bytes),
            blake3: Digest::of(bytes),
        },
        training: Training {
            generator: format!("examples/train_parents of studbook {}", env!("CARGO_PKG_VERSION")),
            steps: recipe.steps as u64,
            seed: recipe.seed.to_owned(),
            data: recipe.data(),
            parent: recipe.parent.map(str::to_owned),
            texts: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PARENTS, RECIPES, config};

    #[test]
    fn committed_parents_are_the_files_their_manifests_name() {
        let layout = Layout::new(&config());
        for recipe in RECIPES {
            let path = model_path(Path::new(PARENTS), recipe.name);
            let bytes = std::fs::read(&path).unwrap();
            assert!(bytes.len() < 1_000_000, "{} has {} bytes", recipe.name, bytes.len());
            let manifest = SourceManifest::open(&SourceManifest::path_for(&path)).unwrap();
            assert_eq!(manifest, super::manifest(recipe, &bytes), "{}", recipe.name);
            let checkpoint = open(Path::new(PARENTS), recipe.name).unwrap();
            assert_eq!(checkpoint.config, config());
            // What was written is what is read: encoding it again gives the same file.
            let parameters = parameters(&layout, &checkpoint).unwrap();
            assert!(encode(&config(), &layout, &parameters).unwrap() == bytes, "{}", recipe.name);
        }
    }
}
