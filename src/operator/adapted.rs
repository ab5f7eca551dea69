//! A model with an adapter on it: read piece by piece as if it were a file.
//!
//! `x = b + delta`, element by element in f32 with one rounding, where the base's element is widened
//! exactly and the delta is what [`Delta::add_to`] says. The model is never made: a piece of it is
//! made whenever somebody reads the piece. So an adapter can be a parent wherever a model can.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::adapter::{Adapter, AdapterError, AdapterIdentity, Delta};
use crate::model::weights::TensorInfo;
use crate::model::{Package, Weights};
use crate::tensor::dtype::DType;
use crate::tensor::shape::Shape;

use super::error::OperatorError;
use super::source::{PIECE, Source, Tensors};

/// Tensors of a base model, some of them changed by an adapter.
pub struct Adapted<'a> {
    base: &'a dyn Tensors,
    adapter: &'a Adapter,
}

impl<'a> Adapted<'a> {
    /// Puts an adapter on a model of any format, after all checks.
    ///
    /// # Errors
    ///
    /// As [`Self::new`], and [`AdapterError::Follows`] if the adapter changes a tensor that follows from
    /// others: it is made of those again, so a change of it would be lost.
    pub fn on(package: &'a Package, adapter: &'a Adapter) -> Result<Self, AdapterError> {
        let adapted = Self::new(&package.weights, &AdapterIdentity::of_package(package), adapter)?;
        let own: HashSet<&str> = package.own_tensors().map(|info| info.name.as_str()).collect();
        match adapter.infos().iter().find(|info| !own.contains(info.name.as_str())) {
            Some(info) => Err(AdapterError::Follows { tensor: info.name.clone() }),
            None => Ok(adapted),
        }
    }

    /// Puts an adapter on a model, whose five identity fields are `identity`, after all checks: that
    /// the adapter is for this model, that its tensors fit, that every number in it is finite. Whether
    /// sums are finite is seen when they are read, by whoever reads them.
    ///
    /// # Errors
    ///
    /// [`AdapterError::OtherModel`], [`AdapterError::UnknownTensor`] or [`AdapterError::OtherShape`] of an
    /// adapter for another model; [`AdapterError::Damaged`], [`AdapterError::NotFinite`] or
    /// [`AdapterError::Index`] of one that cannot be used on any.
    pub fn new(
        base: &'a dyn Tensors,
        identity: &AdapterIdentity,
        adapter: &'a Adapter,
    ) -> Result<Self, AdapterError> {
        adapter.check_fits(identity, |name| base.shape(name))?;
        adapter.validate()?;
        Ok(Self { base, adapter })
    }
}

/// The tensors of a model as f32 in memory, under the names they have: for tests of it, which need all of
/// it. `name` is what errors call the model, `format` what its weights say they came from.
///
/// # Errors
///
/// [`OperatorError::InputNotFinite`] of the first element that is infinite or no number;
/// [`OperatorError::Missing`] if a tensor has a shape and no elements to read.
pub fn in_memory(tensors: &dyn Tensors, format: &'static str, name: &str) -> Result<Weights, OperatorError> {
    let (mut infos, mut bytes) = (Vec::new(), Vec::new());
    for (tensor, shape) in tensors.shapes() {
        let source = tensors.source(tensor).ok_or_else(|| OperatorError::Missing {
            tensor: tensor.to_owned(),
            with: "its configuration".to_owned(),
            without: name.to_owned(),
        })?;
        let begin = bytes.len();
        let mut scratch = [0.0; PIECE];
        for start in (0..shape.elements()).step_by(PIECE) {
            let length = PIECE.min(shape.elements() - start);
            let values = source.read(start, &mut scratch[..length]);
            if let Some(i) = values.iter().position(|value| !value.is_finite()) {
                let (parent, tensor) = (name.to_owned(), tensor.to_owned());
                let (index, value) = (start + i, values[i]);
                return Err(OperatorError::InputNotFinite { parent, tensor, index, value });
            }
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        infos.push(TensorInfo {
            name: tensor.to_owned(),
            dtype: DType::F32,
            shape: shape.clone(),
            part: 0,
            data: begin..bytes.len(),
            scales: bytes.len()..bytes.len(),
            block_size: 0,
        });
    }
    Ok(Weights::new(format, infos, vec![Arc::new(bytes)]))
}

impl Tensors for Adapted<'_> {
    fn shapes(&self) -> Box<dyn Iterator<Item = (&str, &Shape)> + '_> {
        self.base.shapes()
    }

    fn shape(&self, name: &str) -> Option<&Shape> {
        self.base.shape(name)
    }

    fn source(&self, name: &str) -> Option<Box<dyn Source + '_>> {
        let base = self.base.source(name)?;
        Some(match self.adapter.delta(name) {
            Some(delta) => Box::new(Changed { base, delta }),
            None => base,
        })
    }
}

/// A tensor with a delta on it.
struct Changed<'a> {
    base: Box<dyn Source + 'a>,
    delta: Delta<'a>,
}

impl Source for Changed<'_> {
    fn read<'s>(&'s self, first: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        // What the base lends must be copied before anything is added to it.
        let mut lent = [0.0; PIECE];
        for (i, run) in scratch.chunks_mut(PIECE).enumerate() {
            let first = first + i * PIECE;
            run.copy_from_slice(self.base.read(first, &mut lent[..run.len()]));
            self.delta.add_to(first, run);
        }
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::adapter::package::FAMILIES;
    use crate::model::adapter::write::{PlannedStored, encode_pair};
    use crate::model::adapter::{Layout, PlannedDelta, Writer, open_bytes};
    use crate::model::identity::Identity;
    use crate::model::slm1::{self, Encoding};
    use crate::model::tokenizer::Tokenizer;
    use crate::model::{Checkpoint, ModelConfig, WriteError};
    use crate::operator::{Job, Parameters, Parent, Value, apply_slm1, find};

    fn config() -> ModelConfig {
        ModelConfig { hidden_size: 64, head_dim: 32, ffn_size: 96, ..crate::model::config::tests::tiny() }
    }

    fn model(dtype: DType, value: impl Fn(usize, usize) -> f32) -> Checkpoint {
        let layout = slm1::Layout::new(&config(), &Tokenizer::Btok, Encoding::new(dtype)).unwrap();
        let mut file = Vec::new();
        let index = |name: &str| layout.tensors().iter().position(|plan| plan.name == name).unwrap();
        slm1::write::write_values::<WriteError>(&layout, &mut file, |plan, start, out| {
            let tensor = index(&plan.name);
            out.iter_mut().enumerate().for_each(|(i, out)| *out = value(tensor, start + i));
            Ok(())
        })
        .unwrap();
        crate::model::open_bytes(Arc::new(file)).unwrap()
    }

    fn mixed(tensor: usize, i: usize) -> usize {
        (i + tensor * 7919).wrapping_mul(2_654_435_761) >> 7
    }

    /// Multiples of 2^-10: sums of a few of them are exact.
    fn coarse(tensor: usize, i: usize) -> f32 {
        (mixed(tensor, i) & 0xFF) as f32 / 1024.0 - 0.125
    }

    fn change(tensor: usize, i: usize) -> f32 {
        if mixed(tensor + 99, i).is_multiple_of(3) { coarse(tensor + 50, i) } else { 0.0 }
    }

    /// The changes of every tensor, as dense or sparse deltas.
    fn adapter(base: &Checkpoint, family: usize, break_it: bool) -> Adapter {
        let changes: Vec<Vec<f32>> = base
            .infos()
            .iter()
            .enumerate()
            .map(|(t, info)| (0..info.shape.elements()).map(|i| change(t, i)).collect())
            .collect();
        let mut data = Vec::new();
        let mut plans = Vec::new();
        for (info, change) in base.infos().iter().zip(&changes) {
            let pairs = change.iter().enumerate().filter(|(_, delta)| **delta != 0.0);
            let stored = if family == 0 {
                data.extend(change.iter().flat_map(|delta| delta.to_le_bytes()));
                PlannedStored::Dense
            } else {
                pairs.clone().for_each(|(i, delta)| encode_pair(false, i as u64, *delta, &mut data));
                PlannedStored::Sparse { pairs: pairs.count() as u64, wide: false }
            };
            plans.push(PlannedDelta { name: info.name.clone(), shape: info.shape.clone(), stored });
        }
        if break_it {
            let at = if family == 0 { 40 } else { 44 };
            data[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        let identity = AdapterIdentity::of(&Identity::of(base));
        let layout = Layout::new(FAMILIES[family], &identity, &plans).unwrap();
        let mut file = Vec::new();
        let mut writer = Writer::new(&layout, &mut file).unwrap();
        writer.put(&data).unwrap();
        writer.finish().unwrap();
        open_bytes(Arc::new(file)).unwrap()
    }

    fn identity(model: &Checkpoint) -> AdapterIdentity {
        AdapterIdentity::of(&Identity::of(model))
    }

    /// A merge with base + adapter is the merge with the model, byte for byte.
    #[test]
    fn a_parent_like_any_other() {
        for dtype in [DType::F32, DType::Q8_0] {
            let base = model(dtype, coarse);
            // What the adapter makes of the base as it is stored, quantised or not.
            let stored: Vec<Vec<f32>> = base.tensors().map(|view| view.to_f32()).collect();
            let tuned = model(DType::F32, |t, i| stored[t][i] + change(t, i));
            let other = model(DType::F32, |t, i| coarse(t + 7, i));
            for family in [0, 1] {
                let adapter = adapter(&base, family, false);
                let adapted = Adapted::new(&base.weights, &identity(&base), &adapter).unwrap();
                for operator in ["blend", "task_delta", "sign_merge"] {
                    let child = |parent: Parent<'_>| {
                        let mut bytes = Vec::new();
                        let parameters =
                            Parameters::from([("weight".to_owned(), Value::PerParent(vec![0.3, 0.7]))]);
                        let job = Job {
                            operator: find(operator).unwrap(),
                            parameters: &parameters,
                            rules: &[],
                            seed: "7",
                            candidate: "child",
                            base: Some(Parent::new("base", &base)),
                            parents: vec![parent, Parent::new("other", &other)],
                        };
                        let receipt = apply_slm1(&job, &base, DType::F32, &mut bytes, &|| false).unwrap();
                        (bytes, receipt)
                    };
                    let adapted = Parent { name: "x", tensors: &adapted, config: Some(&base.config) };
                    assert!(child(adapted) == child(Parent::new("x", &tuned)), "{operator}, {dtype}");
                }
            }
        }
    }

    #[test]
    fn any_run_is_the_same() {
        let base = model(DType::Q8_0, coarse);
        let adapter = adapter(&base, 1, false);
        let adapted = Adapted::new(&base.weights, &identity(&base), &adapter).unwrap();
        let name = "layers.0.w1.weight";
        let source = adapted.source(name).unwrap();
        let elements = adapted.shape(name).unwrap().elements();
        assert!(elements > PIECE);
        let whole = source.read(0, &mut vec![0.0; elements]).to_vec();
        for size in [1, 1000, PIECE, PIECE + 1] {
            for first in (0..elements).step_by(size) {
                let end = elements.min(first + size);
                assert_eq!(source.read(first, &mut vec![0.0; end - first]), &whole[first..end]);
            }
        }
        assert!(adapted.source("layers.9.w1.weight").is_none());
    }

    #[test]
    fn another_model_and_a_broken_adapter_are_refused() {
        let base = model(DType::F32, coarse);
        for family in [0, 1] {
            let broken = adapter(&base, family, true);
            let error = Adapted::new(&base.weights, &identity(&base), &broken).err().unwrap().to_string();
            assert!(error.contains("tok_embeddings.weight") && error.contains("is NaN"), "{error}");
        }
        let fine = adapter(&base, 0, false);
        let other = AdapterIdentity { parameter_count: 1, ..identity(&base) };
        let error = Adapted::new(&base.weights, &other, &fine).err().unwrap().to_string();
        assert!(error.contains("parameter_count is") && error.contains("and 1 in the model"), "{error}");
    }

    /// Finite numbers whose sum is not: the reader says which parent, which tensor, which element.
    #[test]
    fn a_sum_that_overflows_is_named() {
        let base = model(DType::F32, |_, i| if i == 10 { f32::MAX } else { 0.0 });
        let mut plans = Vec::new();
        let mut data = Vec::new();
        encode_pair(false, 10, f32::MAX, &mut data);
        let info = &base.infos()[3];
        let stored = PlannedStored::Sparse { pairs: 1, wide: false };
        plans.push(PlannedDelta { name: info.name.clone(), shape: info.shape.clone(), stored });
        let layout = Layout::new(FAMILIES[1], &identity(&base), &plans).unwrap();
        let mut file = Vec::new();
        let mut writer = Writer::new(&layout, &mut file).unwrap();
        writer.put(&data).unwrap();
        writer.finish().unwrap();
        let adapter = open_bytes(Arc::new(file)).unwrap();
        let adapted = Adapted::new(&base.weights, &identity(&base), &adapter).unwrap();
        let parameters = Parameters::from([("weight".to_owned(), Value::PerParent(vec![0.25]))]);
        let job = Job {
            operator: find("blend").unwrap(),
            parameters: &parameters,
            rules: &[],
            seed: "7",
            candidate: "child",
            base: None,
            parents: vec![Parent { name: "tuned", tensors: &adapted, config: Some(&base.config) }],
        };
        let error = apply_slm1(&job, &base, DType::F32, &mut Vec::new(), &|| false).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "`tuned` has the value inf in tensor `{}` at element 10 (or an f64 beyond the range of f32, which is read \
                 as that); operators take finite numbers only",
                info.name
            )
        );
    }
}
