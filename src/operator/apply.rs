//! A job carried out: checks, then tensors in storage order into the sink, then the receipt.
//!
//! ```text
//! rayon            makes blocks k+1 ...                                    ([`super::stream`])
//! this thread      block k: the tensor's digest, the sink (which hashes the file and writes it)
//! checksum thread  SLM1's checksum over the same bytes, a chain that no second core could shorten
//! ```

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::base::digest::Digest;
use crate::base::sink::ArtifactSink;
use crate::model::Checkpoint;
use crate::model::config::ModelConfig;
use crate::model::slm1::{Encoding, Layout, Writer};
use crate::model::tokenizer::Tokenizer;
use crate::tensor::dtype::DType;
use crate::tensor::view::TensorView;

use super::contract::{Kernel, Operator, TensorInputs};
use super::error::OperatorError;
use super::parameter::{Parameters, Values};
use super::pieces::BLOCK;
use super::receipt::{Application, TensorReceipt};
use super::rule::{Rule, parameters_for};
use super::source::Source;
use super::statistics::Totals;
use super::stream::{Buffers, Made, Work, run};

/// One candidate to be made.
pub struct Job<'a> {
    /// How.
    pub operator: &'static dyn Operator,
    /// Its parameters; defaults need not be filled in.
    pub parameters: &'a Parameters,
    /// Other parameters for some tensors.
    pub rules: &'a [Rule],
    /// The cycle's seed.
    pub seed: &'a str,
    /// The candidate's name, which keys randomness too.
    pub candidate: &'a str,
    /// What differences are taken from.
    pub base: Option<Parent<'a>>,
    /// The parents, in the plan's order.
    pub parents: Vec<Parent<'a>>,
    /// Encoding of the child.
    pub output: DType,
}

/// A model that is read.
#[derive(Clone, Copy)]
pub struct Parent<'a> {
    /// What the plan calls it.
    pub name: &'a str,
    /// Its content.
    pub checkpoint: &'a Checkpoint,
}

/// Checks an operator's parameters, rules too, and fills the defaults in. Reads no model: a
/// planner can ask.
pub fn check(
    operator: &'static dyn Operator,
    parameters: &Parameters,
    rules: &[Rule],
    parents: usize,
) -> Result<Values, OperatorError> {
    let allowed = operator.parents();
    if !allowed.contains(&parents) {
        return Err(OperatorError::Parents {
            operator: operator.name(),
            expected: count_of_parents(*allowed.start(), *allowed.end()),
            found: parents,
        });
    }
    for rule in rules {
        let mut parameters = parameters.clone();
        parameters.extend(rule.parameters.clone());
        complete(operator, &parameters, parents)?;
    }
    complete(operator, parameters, parents)
}

fn complete(
    operator: &'static dyn Operator,
    parameters: &Parameters,
    parents: usize,
) -> Result<Values, OperatorError> {
    let values = Values::complete(operator.parameters(), parameters, parents)
        .map_err(|source| OperatorError::Parameter { operator: operator.name(), source })?;
    operator
        .relations(&values)
        .map_err(|message| OperatorError::Relation { operator: operator.name(), message })?;
    Ok(values)
}

fn count_of_parents(least: usize, most: usize) -> String {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    if least == most {
        format!("{least} parent{}", plural(least))
    } else if most == usize::MAX {
        format!("{least} parent{} or more", plural(least))
    } else {
        format!("{least} to {most} parents")
    }
}

/// The exact length of a child, known before it is made: for the lineage template, and for budgets.
pub fn output_bytes(
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    output: DType,
) -> Result<u64, OperatorError> {
    Ok(Layout::new(config, tokenizer, Encoding::new(output))?.total_bytes())
}

/// Makes the child and says what was done. What was written into the sink is worthless after an
/// error.
///
/// `cancelled` is asked between blocks.
pub fn apply(
    job: &Job<'_>,
    sink: &mut dyn ArtifactSink,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, OperatorError> {
    apply_in_blocks(job, sink, cancelled, BLOCK)
}

pub(super) fn apply_in_blocks(
    job: &Job<'_>,
    sink: &mut dyn ArtifactSink,
    cancelled: &dyn Fn() -> bool,
    block: usize,
) -> Result<Application, OperatorError> {
    let reference = job.reference()?.checkpoint;
    let layout = Layout::new(&reference.config, &reference.tokenizer, Encoding::new(job.output))?;
    let names: Vec<&str> = layout.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    let tensors = job.inputs(&names)?;
    let survey = job.operator.survey(&tensors)?;
    let parent_names: Vec<&str> = job.parents.iter().map(|parent| parent.name).collect();
    let block_sizes: Vec<usize> = layout.tensors().iter().map(|tensor| tensor.block_size).collect();
    let work = Work {
        operator: job.operator,
        survey: &survey,
        tensors: &tensors,
        base_name: job.base.map_or("", |base| base.name),
        parent_names: &parent_names,
        output: job.output,
        block_sizes: &block_sizes,
        block,
    };
    let kernels: Vec<_> = tensors.iter().map(|_| OnceLock::new()).collect();
    let buffers = Buffers::default();
    let mut child = Child {
        writer: Writer::new(&layout, sink)?,
        tensors: Vec::with_capacity(tensors.len()),
        digest: blake3::Hasher::new(),
        scales: Vec::new(),
        totals: Totals::default(),
    };
    run(&work, &buffers, &kernels, cancelled, |made| {
        let kernel = kernels[made.tensor].get().map(|kernel| &**kernel);
        child.take(&made, &tensors[made.tensor], job.output, kernel)?;
        buffers.put(made);
        Ok(())
    })?;
    child.writer.finish()?;
    Ok(Application { bytes: layout.total_bytes(), realised: survey.clone(), tensors: child.tensors })
}

/// The child as far as it is written.
struct Child<'a> {
    writer: Writer<'a>,
    tensors: Vec<TensorReceipt>,
    /// Of the current tensor: its stored bytes so far, its scales (which come last), its changes.
    digest: blake3::Hasher,
    scales: Vec<u8>,
    totals: Totals,
}

impl Child<'_> {
    fn take(
        &mut self,
        made: &Made,
        inputs: &TensorInputs<'_>,
        dtype: DType,
        kernel: Option<&dyn Kernel>,
    ) -> Result<(), OperatorError> {
        self.writer.payload(made.payload())?;
        self.digest.update(made.payload());
        self.scales.extend_from_slice(&made.scales);
        made.measured.iter().for_each(|piece| self.totals.add(*piece));
        self.totals.add_elements(made.elements);
        if made.last {
            self.writer.finish_tensor(&self.scales)?;
            self.digest.update(&self.scales);
            self.tensors.push(TensorReceipt {
                name: inputs.name.to_owned(),
                shape: inputs.shape.clone(),
                dtype,
                digest: Digest::from_bytes(*self.digest.finalize().as_bytes()),
                delta: std::mem::take(&mut self.totals).finish(),
                realised: kernel.map(Kernel::realised).unwrap_or_default(),
            });
            self.digest.reset();
            self.scales.clear();
        }
        Ok(())
    }
}

/// A model's tensors by name.
struct Model<'a> {
    name: &'a str,
    checkpoint: &'a Checkpoint,
    tensors: BTreeMap<&'a str, TensorView<'a>>,
}

impl<'a> Model<'a> {
    fn new(parent: Parent<'a>) -> Self {
        let tensors = parent.checkpoint.tensors().map(|tensor| (tensor.name, tensor)).collect();
        Self { name: parent.name, checkpoint: parent.checkpoint, tensors }
    }
}

impl<'a> Job<'a> {
    /// Whose configuration, tokenizer and tensor list the child takes over: the base, or the first
    /// parent without one.
    fn reference(&self) -> Result<Parent<'a>, OperatorError> {
        if self.operator.needs_base() && self.base.is_none() {
            return Err(OperatorError::NoBase(self.operator.name()));
        }
        self.base.or_else(|| self.parents.first().copied()).ok_or_else(|| OperatorError::Parents {
            operator: self.operator.name(),
            expected: count_of_parents(*self.operator.parents().start(), *self.operator.parents().end()),
            found: 0,
        })
    }

    /// The inputs of each of the child's tensors, named in storage order; every model has each of
    /// them in the same shape and no other.
    fn inputs(&self, names: &[&'a str]) -> Result<Vec<TensorInputs<'a>>, OperatorError> {
        check(self.operator, self.parameters, self.rules, self.parents.len())?;
        let reference = Model::new(self.reference()?);
        let base = self.base.map(Model::new);
        let parents: Vec<_> = self.parents.iter().copied().map(Model::new).collect();
        for model in base.iter().chain(&parents) {
            agree(model, &reference)?;
        }
        let purpose = [self.seed, self.operator.name(), self.candidate];
        names
            .iter()
            .map(|name| {
                let own = find(&reference, &reference, name)?;
                let parameters = parameters_for(name, self.parameters, self.rules);
                Ok(TensorInputs {
                    name: own.name,
                    shape: own.shape,
                    base: match &base {
                        Some(base) => Some(boxed(find(base, &reference, name)?)),
                        None => None,
                    },
                    parents: parents
                        .iter()
                        .map(|parent| find(parent, &reference, name).map(boxed))
                        .collect::<Result<_, _>>()?,
                    values: complete(self.operator, &parameters, self.parents.len())?,
                    purpose,
                })
            })
            .collect()
    }
}

fn boxed<'a>(view: TensorView<'a>) -> Box<dyn Source + 'a> {
    Box::new(view)
}

fn find<'a>(model: &Model<'a>, reference: &Model<'a>, name: &str) -> Result<TensorView<'a>, OperatorError> {
    model.tensors.get(name).copied().ok_or_else(|| OperatorError::Missing {
        tensor: name.to_owned(),
        with: reference.name.to_owned(),
        without: model.name.to_owned(),
    })
}

/// Models agree if they have the same tensors and mean the same by them.
fn agree(model: &Model<'_>, reference: &Model<'_>) -> Result<(), OperatorError> {
    let (found, expected) = (&model.checkpoint.config, &reference.checkpoint.config);
    // What shapes do not tell: equal matrices may be cut into other heads, turned by other angles.
    let facts = [
        ("the number of heads", f64::from(found.head_count), f64::from(expected.head_count)),
        (
            "the number of key and value heads",
            f64::from(found.kv_head_count),
            f64::from(expected.kv_head_count),
        ),
        ("the rotary base", f64::from(found.rope_theta), f64::from(expected.rope_theta)),
    ];
    for (what, found, expected) in facts {
        if found != expected {
            return Err(OperatorError::Config {
                parent: model.name.to_owned(),
                reference: reference.name.to_owned(),
                what,
                found: found.to_string(),
                expected: expected.to_string(),
            });
        }
    }
    for (name, own) in &reference.tensors {
        let tensor = find(model, reference, name)?;
        if tensor.shape != own.shape {
            return Err(OperatorError::Shape {
                tensor: (*name).to_owned(),
                parent: model.name.to_owned(),
                found: Box::new(tensor.shape.clone()),
                reference: reference.name.to_owned(),
                expected: Box::new(own.shape.clone()),
            });
        }
    }
    match model.tensors.keys().find(|name| !reference.tensors.contains_key(*name)) {
        Some(name) => Err(OperatorError::Missing {
            tensor: (*name).to_owned(),
            with: model.name.to_owned(),
            without: reference.name.to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::open_bytes;
    use crate::operator::{OPERATORS, Value, find};
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
            base: base.map(|checkpoint| Parent { name: "base", checkpoint }),
            parents: parents.map(|(checkpoint, name)| Parent { name, checkpoint }).collect(),
            output: DType::F32,
        }
    }

    fn made(job: &Job<'_>) -> Result<(Checkpoint, Vec<u8>, Application), OperatorError> {
        let mut bytes = Vec::new();
        let application = apply(job, &mut bytes, &|| false)?;
        Ok((open_bytes(Arc::new(bytes.clone())).unwrap(), bytes, application))
    }

    #[test]
    fn every_operator_takes_and_makes_every_encoding() {
        let config = config();
        let parents: Vec<_> =
            DType::ALL.iter().enumerate().map(|(i, dtype)| model(&config, *dtype, i)).collect();
        let base = model(&config, DType::F32, 9);
        let parameters = weights(&[0.5, 0.25, 0.25]);
        for operator in OPERATORS {
            for output in DType::ALL {
                let job = Job { output, ..job(operator.name(), &parameters, Some(&base), &parents) };
                let (child, bytes, application) = made(&job).unwrap();
                assert_eq!(application.bytes, bytes.len() as u64);
                assert_eq!(
                    output_bytes(&config, &base.tokenizer, output).unwrap(),
                    application.bytes,
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
        for output in DType::ALL {
            let job = Job { output, ..job("sign_merge", &parameters, Some(&base), &parents) };
            let (_, bytes, application) = made(&job).unwrap();
            for block in [1, 5000, 1 << 16] {
                for threads in [1, 2, 7] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut again = Vec::new();
                    // The engine calls from outside any pool; here from within, where one thread
                    // has to do everything.
                    let receipt = pool.scope(|_| apply_in_blocks_of(&job, &mut again, block)).unwrap();
                    assert!(again == bytes, "{output}, blocks of {block}, {threads} threads");
                    assert_eq!(receipt, application);
                }
            }
        }
    }

    fn apply_in_blocks_of(
        job: &Job<'_>,
        sink: &mut Vec<u8>,
        block: usize,
    ) -> Result<Application, OperatorError> {
        apply_in_blocks(job, sink, &|| false, block)
    }

    #[test]
    fn a_rule_changes_its_tensors_only() {
        let config = config();
        let parents = [model(&config, DType::F32, 1), model(&config, DType::F32, 2)];
        let parameters = weights(&[1.0, 0.0]);
        let rules = [Rule { tensors: "layers.1.*".to_owned(), parameters: weights(&[0.0, 1.0]) }];
        let (child, ..) = made(&Job { rules: &rules, ..job("blend", &parameters, None, &parents) }).unwrap();
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
            made(&job(operator, &parameters, base, &parents)).unwrap_err().to_string()
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
            "`bob` has the value inf in tensor `layers.0.wq.weight` at element 77; \
             operators take finite numbers only"
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
        let error = apply(&job("blend", &parameters, None, &parents), &mut Full(100_000), &|| false);
        assert!(matches!(error, Err(OperatorError::Write(_))));
        let stopped = apply(&job("blend", &parameters, None, &parents), &mut Full(usize::MAX), &|| true);
        assert!(matches!(stopped, Err(OperatorError::Cancelled)));
    }
}
