//! The cases: operators, parameters, encodings, and the models they are applied to.

use std::sync::Arc;

use studbook::base::digest::Digest;
use studbook::base::rng::Philox;
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{self, Encoding, Layout};
use studbook::model::{Checkpoint, ModelConfig, ModelWriter, Planned, Tokenizer, WriteError};
use studbook::operator::{Job, Operator, Parameters, Parent, apply, apply_in_blocks, find};
use studbook::tensor::dtype::DType;

/// Operators with the parameters they are tried with, in the spelling of records. The first of each is
/// tried in every encoding.
pub(crate) static OPERATORS: &[(&str, &[&str])] = &[
    (
        "blend",
        &[
            r#"{"weight":[0.5,0.3,-0.1]}"#,
            r#"{"weight":[0.5,0.3,-0.1],"normalize":false}"#,
            r#"{"weight":{"ramps":[[0,1],[1,0.25,0.5],[0.3]]}}"#,
        ],
    ),
    (
        "task_delta",
        &[r#"{"weight":[0.5,0.3,-0.1]}"#, r#"{"weight":[0.5,0.3,0.1],"normalize":true,"lambda":0.7}"#],
    ),
    (
        "sparse_task_delta",
        &[
            r#"{"density":0.4,"weight":[0.5,0.3,-0.1]}"#,
            r#"{"density":[0.9,0.5,0.1],"rescale":"l1"}"#,
            r#"{"density":0.5,"gamma":0.01,"rescale":"l2","normalize":true,"lambda":0.6}"#,
            r#"{"density":0.5,"gamma":0.01,"elect":"sum"}"#,
        ],
    ),
    (
        "prune",
        &[
            r#"{"density":0.3}"#,
            r#"{"density":0.3,"scope":"global"}"#,
            r#"{"structure":"2:4"}"#,
            r#"{"density":0.5,"tensors":"*norm*"}"#,
        ],
    ),
    (
        "dare",
        &[
            r#"{"drop":0.6,"weight":[0.5,0.3,-0.1]}"#,
            r#"{"density":[0.9,0.5,0.1],"rescale":"l1","elect":"sum","normalize":true}"#,
            r#"{"drop":0.5,"rescale":"none","elect":"count","lambda":0.5}"#,
        ],
    ),
    (
        "della",
        &[
            r#"{"density":0.5,"epsilon":0.2,"weight":[0.5,0.3,-0.1]}"#,
            r#"{"density":[0.8,0.5,0.3],"rescale":"l1","elect":"none","normalize":true,"lambda":0.8}"#,
            r#"{"drop":0.5,"rescale":"none","elect":"count"}"#,
        ],
    ),
    (
        "sign_merge",
        &[
            r#"{"density":0.4,"weight":[0.5,0.3,0.1]}"#,
            r#"{"density":[0.9,0.5,0.1],"elect":"count","normalize":false}"#,
            r#"{"density":0.6,"lambda":{"ramp":[0.2,1,0.5]}}"#,
        ],
    ),
    ("passthrough", &["{}", r#"{"scale":-0.3}"#]),
    (
        "federated",
        &[
            r#"{"samples":[30,50,1]}"#,
            r#"{"samples":[3,5,0],"clip_norm":2.5,"server_lr":0.5,"momentum":0.9}"#,
        ],
    ),
    ("model_stock", &["{}", r#"{"filter_wise":true}"#]),
    ("slerp", &[r#"{"t":0.3}"#, r#"{"t":{"ramp":[0,0.5,1]}}"#]),
    (
        "nuslerp",
        &[
            r#"{"weight":[0.7,0.3]}"#,
            r#"{"weight":[0.7,0.3],"nuslerp_flatten":false}"#,
            r#"{"weight":[0.7,0.3],"nuslerp_flatten":false,"nuslerp_row_wise":true}"#,
        ],
    ),
    ("karcher", &["{}", r#"{"max_iter":3}"#]),
    (
        "multislerp",
        &[r#"{"weight":[0.5,0.3,0.4]}"#, r#"{"weight":[0.5,0.3,-0.1],"normalize_weights":false,"eps":0.1}"#],
    ),
    ("nearswap", &[r#"{"t":0.05}"#]),
    ("arcee_fusion", &["{}"]),
    ("sce", &["{}", r#"{"select_topk":0.3}"#]),
    ("ram", &[r#"{"epsilon":0.05}"#, r#"{"epsilon":0.05,"r":0.1,"alpha":0.5}"#]),
    ("soup", &["{}", r#"{"weighting":"uniform"}"#, r#"{"alpha":0.2}"#]),
    (
        "crossover",
        &[
            "{}",
            r#"{"unit":"tensor","shares":[3,1,1]}"#,
            r#"{"unit":"layer"}"#,
            r#"{"unit":"block:77"}"#,
            r#"{"scheme":"n_point:5"}"#,
        ],
    ),
    (
        "mutate",
        &[
            r#"{"tensors":"*","sigma":0.05}"#,
            r#"{"rate":0.3,"distribution":"uniform"}"#,
            r#"{"rate":0.5,"sigma":2,"bound":0.5}"#,
        ],
    ),
];

const ENCODINGS: [DType; 5] = [DType::F32, DType::BF16, DType::F16, DType::Q8_0, DType::Q4_0];

/// An operator with parameters and an encoding of the child.
pub(crate) struct Case {
    pub(crate) operator: &'static dyn Operator,
    parameters: &'static str,
    output: DType,
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, variants) in OPERATORS {
        let operator = find(name).unwrap_or_else(|| panic!("there is no operator {name}"));
        for (i, parameters) in variants.iter().enumerate() {
            let encodings = if i == 0 { &ENCODINGS[..] } else { &ENCODINGS[..1] };
            cases.extend(encodings.iter().map(|output| Case { operator, parameters, output: *output }));
        }
    }
    cases
}

/// A base and three parents.
pub(crate) fn models() -> Vec<Checkpoint> {
    ["base", "one", "two", "three"].map(model).into()
}

fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 260,
        special_token_count: 4,
        hidden_size: 36,
        layer_count: 2,
        head_count: 6,
        kv_head_count: 2,
        head_dim: 6,
        ffn_size: 68,
        max_context: 64,
        rope_theta: 10_000.0,
        rms_norm_epsilon: 1e-5,
        tied_output: false,
        variant: Default::default(),
    }
}

/// The parents differ from the base by a third of what it is itself.
fn model(name: &str) -> Checkpoint {
    let layout = Layout::new(&config(), &Tokenizer::Btok, Encoding::new(DType::F32)).expect("a layout");
    let mut file = Vec::new();
    write_values::<WriteError>(&layout, &mut file, |tensor, start, out| {
        let common = Philox::for_purpose(&["base", &tensor.name]);
        let own = Philox::for_purpose(&[name, &tensor.name]);
        for (index, weight) in (start as u64..).zip(out) {
            *weight = ((common.unit(index) - 0.5) + (own.unit(index) - 0.5) / 3.0) as f32;
        }
        Ok(())
    })
    .expect("a model");
    slm1::read::read(Arc::new(file)).expect("a model that was written")
}

impl Case {
    /// What it is, on one line.
    pub(crate) fn label(&self) -> String {
        let Self { operator, parameters, output } = self;
        format!("{} v{} {parameters} {output}", operator.name(), operator.version())
    }

    /// The digest of the child's tensors as they are stored.
    pub(crate) fn digest(&self, models: &[Checkpoint], block: Option<usize>) -> Digest {
        let parameters: Parameters = serde_json::from_str(self.parameters).expect("parameters");
        let parents = 3.min(*self.operator.parents().end());
        let names = ["base", "one", "two", "three"];
        let parent = |i: usize| Parent::new(names[i], &models[i]);
        let job = Job {
            operator: self.operator,
            parameters: &parameters,
            rules: &[],
            seed: "seed",
            candidate: "child",
            base: Some(parent(0)),
            parents: (1..=parents).map(parent).collect(),
        };
        let layout = Layout::new(&config(), &Tokenizer::Btok, Encoding::q4(4)).expect("a layout");
        let child: Vec<Planned> = layout.planned().into_iter().map(|planned| self.stored(planned)).collect();
        let inputs = job.inputs(&child).unwrap_or_else(|error| panic!("{}: {error}", self.label()));
        let mut bytes = Stored(Vec::new());
        let made = match block {
            None => apply(self.operator, &inputs, &child, &mut bytes, &|| false),
            Some(block) => apply_in_blocks(self.operator, &inputs, &child, &mut bytes, &|| false, block),
        };
        made.unwrap_or_else(|error| panic!("{}: {error}", self.label()));
        Digest::of(&bytes.0)
    }

    fn stored(&self, planned: Planned) -> Planned {
        let block_size = match self.output {
            DType::Q8_0 => planned.shape.columns(),
            DType::Q4_0 => 4,
            _ => 0,
        };
        Planned { dtype: self.output, block_size, ..planned }
    }
}

/// What would be in a file: payloads and scales, tensor by tensor.
struct Stored(Vec<u8>);

impl ModelWriter for Stored {
    fn payload(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finish_tensor(&mut self, scales: &[u8]) -> Result<(), WriteError> {
        self.payload(scales)
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        Ok(())
    }
}
