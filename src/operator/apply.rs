//! An operator applied: tensors in storage order to a writer, then the receipt.
//!
//! ```text
//! rayon            makes blocks k+1 ...                                    ([`super::stream`])
//! this thread      block k: the writer (whose sink hashes the file)
//! digest thread    block k: the tensor's digest                            ([`super::digests`])
//! checksum thread  SLM1's checksum over the same bytes, a chain that no second core could shorten
//! ```

use std::sync::Arc;

use crate::base::sink::ArtifactSink;
use crate::model::config::ModelConfig;
use crate::model::slm1::{Encoding, Layout, Writer};
use crate::model::tokenizer::Tokenizer;
use crate::model::{Checkpoint, ModelWriter, Planned};
use crate::tensor::dtype::DType;

use super::block::{Buffers, Made, Work};
use super::contract::{Kernel, Operator, TensorInputs};
use super::digests::Digests;
use super::error::OperatorError;
use super::job::Job;
use super::parameter::Parameters;
use super::pieces::BLOCK;
use super::receipt::{Application, DeltaStatistics, TensorReceipt};
use super::statistics::Totals;
use super::stream::{Kernels, run};

/// The exact length of a child, known before it is made: for the lineage template, and for budgets.
///
/// # Errors
///
/// [`OperatorError::Write`] if an `.slm` file cannot hold this configuration, tokenizer or encoding.
pub fn output_bytes(
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    output: DType,
) -> Result<u64, OperatorError> {
    Ok(Layout::new(config, tokenizer, Encoding::new(output))?.total_bytes())
}

/// Makes an `.slm` child with the configuration and tokenizer of `like`, and says what was done.
///
/// # Errors
///
/// As [`output_bytes`], as [`Job::inputs`], and as [`apply`].
pub fn apply_slm1(
    job: &Job<'_>,
    like: &Checkpoint,
    output: DType,
    sink: &mut dyn ArtifactSink,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, OperatorError> {
    let layout = Layout::new(&like.config, &like.tokenizer, Encoding::new(output))?;
    let child = layout.planned();
    let mut writer = Writer::new(&layout, sink)?;
    apply(job.operator, &job.inputs(&child)?, &child, &mut writer, cancelled)
}

/// Makes a child and says what was done.
///
/// `tensors` and `child` go together, one by one; `cancelled` is asked between blocks.
///
/// # Errors
///
/// What the operator says of the tensors; [`OperatorError::InputNotFinite`] or
/// [`OperatorError::OutputNotFinite`] of the first such element; [`OperatorError::Write`] of a value that the
/// encoding cannot hold, or if the writer fails; [`OperatorError::Cancelled`]. What was written is worthless
/// then.
pub fn apply(
    operator: &'static dyn Operator,
    tensors: &[TensorInputs<'_>],
    child: &[Planned],
    writer: &mut dyn ModelWriter,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, OperatorError> {
    apply_in_blocks(operator, tensors, child, writer, cancelled, BLOCK)
}

/// Like [`apply`], in blocks of about so many elements: a matter of speed that changes no bit.
///
/// # Errors
///
/// As [`apply`].
pub fn apply_in_blocks(
    operator: &'static dyn Operator,
    tensors: &[TensorInputs<'_>],
    child: &[Planned],
    writer: &mut dyn ModelWriter,
    cancelled: &dyn Fn() -> bool,
    block: usize,
) -> Result<Application, OperatorError> {
    assert_eq!(tensors.len(), child.len(), "every planned tensor has its inputs");
    let survey = operator.survey(tensors)?;
    let work = Work { operator, survey: &survey, tensors, child, block };
    let kernels = Kernels::new(tensors.len());
    let buffers = Buffers::default();
    let mut progress = Progress {
        writer,
        finished: Vec::with_capacity(tensors.len()),
        scales: Vec::new(),
        totals: Totals::default(),
    };
    let digests = std::thread::scope(|scope| {
        let mut digests = Digests::start(scope, &buffers);
        run(&work, &buffers, &kernels, cancelled, |made| {
            let made = Arc::new(made);
            digests.take(&made);
            // Blocks come in order: after the last one nobody needs the kernel.
            let kernel = if made.last { kernels.take(made.tensor) } else { None };
            progress.take(&made, kernel.as_deref())?;
            buffers.give_back(made);
            Ok(())
        })?;
        Ok::<_, OperatorError>(digests.finish())
    })?;
    progress.writer.finish()?;
    let tensors = child.iter().zip(progress.finished).zip(digests);
    let tensors = tensors.map(|((planned, (delta, realised)), digest)| TensorReceipt {
        name: planned.name.clone(),
        shape: planned.shape.clone(),
        dtype: planned.dtype,
        digest,
        delta,
        realised,
    });
    let tensors = tensors.collect();
    Ok(Application { realised: survey.clone(), tensors })
}

/// The child as far as it is written.
struct Progress<'a> {
    writer: &'a mut dyn ModelWriter,
    /// What is known of finished tensors.
    finished: Vec<(DeltaStatistics, Parameters)>,
    /// Of the current tensor: its scales (which come last), its changes.
    scales: Vec<u8>,
    totals: Totals,
}

impl Progress<'_> {
    /// The kernel comes with a tensor's last block.
    fn take(&mut self, made: &Made, kernel: Option<&dyn Kernel>) -> Result<(), OperatorError> {
        self.writer.payload(made.payload())?;
        self.scales.extend_from_slice(&made.scales);
        made.measured.iter().for_each(|piece| self.totals.add(*piece));
        self.totals.add_elements(made.elements);
        if made.last {
            self.writer.finish_tensor(&self.scales)?;
            let delta = std::mem::take(&mut self.totals).finish();
            self.finished.push((delta, kernel.map(Kernel::realised).unwrap_or_default()));
            self.scales.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Digest;
    use crate::model::open_bytes;
    use crate::model::slm1::DTYPES;
    use crate::operator::{OPERATORS, Parameters, Parent, Rule, Value, find};
    use crate::tensor::quantize;

    fn config() -> ModelConfig {
        ModelConfig {
            vocab_size: 260,
            special_token_count: 4,
            hidden_size: 64,
            layer_count: 2,
            head_count: 4,
            kv_head_count: 2,
            head_dim: 16,
            ffn_size: 96,
            max_context: 32,
            rope_theta: 10_000.0,
            rms_norm_epsilon: 1e-5,
            tied_output: false,
            variant: crate::model::variant::Variant::PLAIN,
        }
    }

    /// A model whose elements are a function of `salt`, the tensor and the index.
    fn model(config: &ModelConfig, dtype: DType, salt: usize) -> Checkpoint {
        let value = |tensor: usize, i: usize| {
            let mixed = (i + tensor * 7919 + salt * 104_729).wrapping_mul(2_654_435_761) >> 7 & 0xFFFF;
            mixed as f32 / 32_768.0 - 1.0
        };
        let layout = Layout::new(config, &Tokenizer::Btok, Encoding::new(dtype)).unwrap();
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&layout, &mut bytes).unwrap();
        for (i, tensor) in layout.tensors().iter().enumerate() {
            let values: Vec<f32> = (0..tensor.shape.elements()).map(|element| value(i, element)).collect();
            let (mut payload, mut scales) = (Vec::new(), Vec::new());
            let columns = tensor.shape.columns();
            quantize::encode_into(dtype, tensor.block_size, columns, &values, &mut payload, &mut scales)
                .unwrap();
            writer.tensor(&payload, &scales).unwrap();
        }
        writer.finish().unwrap();
        open_bytes(Arc::new(bytes)).unwrap()
    }

    fn weights(weights: &[f64]) -> Parameters {
        Parameters::from([("weight".to_owned(), Value::PerParent(weights.to_vec()))])
    }

    fn job<'a>(
        operator: &str,
        parameters: &'a Parameters,
        base: Option<&'a Checkpoint>,
        parents: &'a [Checkpoint],
    ) -> Job<'a> {
        const NAMES: [&str; 3] = ["ada", "bob", "cy"];
        let parents = parents.iter().zip(NAMES);
        Job {
            operator: find(operator).unwrap(),
            parameters,
            rules: &[],
            seed: "7",
            candidate: "child",
            base: base.map(|checkpoint| Parent::new("base", checkpoint)),
            parents: parents.map(|(checkpoint, name)| Parent::new(name, checkpoint)).collect(),
        }
    }

    /// The child of a job like its base or else its first parent.
    fn made(
        job: &Job<'_>,
        like: &Checkpoint,
        output: DType,
    ) -> Result<(Checkpoint, Vec<u8>, Application), OperatorError> {
        let mut bytes = Vec::new();
        let application = apply_slm1(job, like, output, &mut bytes, &|| false)?;
        Ok((open_bytes(Arc::new(bytes.clone())).unwrap(), bytes, application))
    }

    #[test]
    fn every_operator_takes_and_makes_every_encoding() {
        let config = config();
        let parents: Vec<_> = DTYPES.iter().enumerate().map(|(i, dtype)| model(&config, *dtype, i)).collect();
        let base = model(&config, DType::F32, 9);
        for operator in OPERATORS {
            let parents = &parents[..parents.len().min(*operator.parents().end())];
            let mut parameters = weights(&[0.5, 0.25, 0.25][..parents.len()]);
            parameters.retain(|name, _| operator.parameters().iter().any(|declared| declared.name == name));
            for output in DTYPES {
                let job = job(operator.name(), &parameters, Some(&base), parents);
                let (child, bytes, application) = made(&job, &base, output).unwrap();
                assert_eq!(
                    output_bytes(&config, &base.tokenizer, output).unwrap(),
                    bytes.len() as u64,
                    "the length is known before"
                );
                assert_eq!(child.config, config);
                assert_eq!(application.tensors.len(), child.infos().len());
                for (tensor, receipt) in child.tensors().zip(&application.tensors) {
                    assert_eq!((tensor.name, tensor.dtype), (receipt.name.as_str(), output));
                    assert_eq!(receipt.digest, Digest::of(&[tensor.data, tensor.scales].concat()));
                    let reference = base.tensor(tensor.name).unwrap().to_f32();
                    let differences: Vec<f64> = tensor
                        .to_f32()
                        .iter()
                        .zip(&reference)
                        .map(|(x, b)| f64::from(*x) - f64::from(*b))
                        .collect();
                    let l2 = differences.iter().map(|d| d * d).sum::<f64>().sqrt();
                    assert!((receipt.delta.l2 - l2).abs() <= 1e-12 * l2, "{} {l2}", receipt.delta.l2);
                    let max = differences.iter().fold(0.0_f64, |max, d| max.max(d.abs()));
                    assert_eq!(receipt.delta.max_abs, max);
                }
                let text = serde_json::to_string(&application).unwrap();
                assert_eq!(serde_json::from_str::<Application>(&text).unwrap(), application);
            }
        }
    }

    #[test]
    fn blocks_change_neither_file_nor_receipt() {
        let config = config();
        let parents = [model(&config, DType::F32, 1), model(&config, DType::Q8_0, 2)];
        let base = model(&config, DType::Q4_0, 3);
        let mut parameters = weights(&[0.5, 0.7]);
        parameters.insert("density".to_owned(), Value::Number(0.3));
        for output in DTYPES {
            let job = job("sign_merge", &parameters, Some(&base), &parents);
            let (_, bytes, application) = made(&job, &base, output).unwrap();
            for block in [1, 5000, 1 << 16] {
                for threads in [1, 2, 7] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut again = Vec::new();
                    // The engine calls from outside any pool; here from within, where one thread
                    // has to do everything.
                    let receipt =
                        pool.scope(|_| apply_in_blocks_of(&job, &base, output, &mut again, block)).unwrap();
                    assert!(again == bytes, "{output}, blocks of {block}, {threads} threads");
                    assert_eq!(receipt, application);
                }
            }
        }
    }

    fn apply_in_blocks_of(
        job: &Job<'_>,
        like: &Checkpoint,
        output: DType,
        sink: &mut Vec<u8>,
        block: usize,
    ) -> Result<Application, OperatorError> {
        let layout = Layout::new(&like.config, &like.tokenizer, Encoding::new(output))?;
        let child = layout.planned();
        let mut writer = Writer::new(&layout, sink)?;
        apply_in_blocks(job.operator, &job.inputs(&child)?, &child, &mut writer, &|| false, block)
    }

    #[test]
    fn a_rule_changes_its_tensors_only() {
        let config = config();
        let parents = [model(&config, DType::F32, 1), model(&config, DType::F32, 2)];
        let parameters = weights(&[1.0, 0.0]);
        let rules = [Rule { tensors: "layers.1.*".to_owned(), parameters: weights(&[0.0, 1.0]) }];
        let job = Job { rules: &rules, ..job("blend", &parameters, None, &parents) };
        let (child, ..) = made(&job, &parents[0], DType::F32).unwrap();
        for tensor in child.tensors() {
            let from = &parents[usize::from(tensor.name.starts_with("layers.1."))];
            assert_eq!(tensor.to_f32(), from.tensor(tensor.name).unwrap().to_f32(), "{}", tensor.name);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let config = config();
        let parameters = weights(&[0.5, 0.5]);
        let refused = |operator: &str, base: Option<&Checkpoint>, other: Checkpoint| {
            let parents = [model(&config, DType::F32, 1), other];
            let like = base.unwrap_or(&parents[0]);
            made(&job(operator, &parameters, base, &parents), like, DType::F32).unwrap_err().to_string()
        };
        let wide = ModelConfig { ffn_size: 128, ..config.clone() };
        assert_eq!(
            refused("blend", None, model(&wide, DType::F32, 2)),
            "tensor `layers.0.w1.weight` is 128x64 in `bob` and 96x64 in `ada`"
        );
        let tied = ModelConfig { tied_output: true, ..config.clone() };
        assert_eq!(
            refused("blend", None, model(&tied, DType::F32, 2)),
            "`bob` has no tensor `output.weight`, `ada` has one"
        );
        let base = model(&tied, DType::F32, 3);
        assert_eq!(
            refused("task_delta", Some(&base), model(&tied, DType::F32, 2)),
            "`base` has no tensor `output.weight`, `ada` has one"
        );
        assert!(refused("task_delta", None, model(&config, DType::F32, 2)).contains("name one with `base"));
        let turned = ModelConfig { rope_theta: 500_000.0, ..config.clone() };
        assert_eq!(
            refused("blend", None, model(&turned, DType::F32, 2)),
            "`bob` and `ada` differ in the rotary base: 500000 and 10000"
        );
        let broken = broken_bytes(&model(&config, DType::F32, 2), "layers.0.wq.weight", 77);
        assert_eq!(
            refused("blend", None, open_bytes(Arc::new(broken)).unwrap()),
            "`bob` has the value inf in tensor `layers.0.wq.weight` at element 77 \
             (or an f64 beyond the range of f32, which is read as that); operators take finite numbers only"
        );
    }

    /// The file again, with an infinity in it.
    fn broken_bytes(model: &Checkpoint, tensor: &str, element: usize) -> Vec<u8> {
        let layout = Layout::new(&model.config, &model.tokenizer, Encoding::new(DType::F32)).unwrap();
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&layout, &mut bytes).unwrap();
        for view in model.tensors() {
            writer.tensor(view.data, view.scales).unwrap();
        }
        writer.finish().unwrap();
        let info = model.infos().iter().find(|info| info.name == tensor).unwrap();
        let at = info.data.start + element * 4;
        bytes[at..at + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
        bytes
    }

    #[test]
    fn a_sink_that_fails_ends_the_work() {
        struct Full(usize);
        impl ArtifactSink for Full {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
                Ok(())
            }
            fn patch(&mut self, _: usize, _: &[u8]) -> std::io::Result<()> {
                Ok(())
            }
        }
        let parents = [model(&config(), DType::F32, 1), model(&config(), DType::F32, 2)];
        let parameters = weights(&[0.5, 0.5]);
        let job = job("blend", &parameters, None, &parents);
        let error = apply_slm1(&job, &parents[0], DType::F32, &mut Full(100_000), &|| false);
        assert!(matches!(error, Err(OperatorError::Write(_))));
        let stopped = apply_slm1(&job, &parents[0], DType::F32, &mut Full(usize::MAX), &|| true);
        assert!(matches!(stopped, Err(OperatorError::Cancelled)));
    }
}
