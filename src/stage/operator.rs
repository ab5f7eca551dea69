//! Part 4: `operator`: makes the artifact and says how to make it again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::adapter::Whole;
use super::context::of;
use super::{Action, Context, Kind, Made, Stage, StageError, Weight};
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::model::adapter;
use crate::operator::{self, Application, Job, OperatorError};
use crate::record::lineage::BoundOperator;
use crate::record::receipt::{OperatorReceipt, Used};
use crate::store::{Blob, Store, StoreError, Verdict};
use crate::tensor::dtype::DType;

/// What to do with whom. The parents' bytes are inputs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) candidate: Name,
    pub(crate) operator: BoundOperator,
    pub(crate) seed: String,
    pub(crate) base: Option<Name>,
    pub(crate) parents: Vec<Name>,
    /// Those of them that are adapters, and the models they are added to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) adapters: BTreeMap<Name, Name>,
    pub(crate) output: DType,
}

pub(super) struct OperatorStage;

impl Stage for OperatorStage {
    fn kind(&self) -> Kind {
        Kind::Operator
    }

    fn version(&self) -> u32 {
        1
    }

    fn weight(&self) -> Weight {
        Weight::Heavy
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let (artifact, application) = apply(context.store, context.action, &params, context.cancelled)?;
        let plain = |name: &Name| {
            let blake3 = context.input(&of("model", name))?;
            Ok::<_, StageError>(Used { name: name.clone(), blake3, adapts: None })
        };
        let used = |name: &Name| {
            let adapts = params.adapters.get(name).map(plain).transpose()?.map(Box::new);
            Ok(Used { adapts, ..plain(name)? })
        };
        let receipt = OperatorReceipt {
            base: params.base.as_ref().map(used).transpose()?,
            parents: params.parents.iter().map(used).collect::<Result<_, StageError>>()?,
            dtype: params.output.name().to_owned(),
            output: artifact,
            realised: application.realised,
            tensors: application.tensors,
            recompute: format!("studbook verify PLAN --recompute --candidate {}", params.candidate),
            candidate: params.candidate,
            operator: params.operator,
            seed: params.seed,
        };
        let summary = format!("{} tensors, {} bytes", receipt.tensors.len(), artifact.bytes);
        let outputs = BTreeMap::from([
            ("artifact".to_owned(), artifact),
            ("record".to_owned(), context.put_record(&receipt)?),
        ]);
        Ok(Made { outputs, verdict: Verdict::Pass, summary })
    }
}

/// Makes an operator action's artifact again, apart from the cache, and says what it hashes to.
/// The bytes go to a temporary file that is not kept.
pub fn recompute(store: &Store, action: &Action) -> Result<Blob, StageError> {
    let params = Params::deserialize(&action.params)
        .map_err(|error| StageError::Refused(format!("the parameters of an operator stage: {error}")))?;
    let mut file = store.artifact()?;
    write_child(store, action, &params, &mut file, &|| false)?;
    let done = file.finish()?;
    Ok(Blob { digest: done.digest, bytes: done.bytes })
}

fn apply(
    store: &Store,
    action: &Action,
    params: &Params,
    cancelled: &dyn Fn() -> bool,
) -> Result<(Blob, Application), StageError> {
    let mut file = store.artifact()?;
    let application = write_child(store, action, params, &mut file, cancelled)?;
    Ok((store.publish(file.finish()?)?, application))
}

fn write_child(
    store: &Store,
    action: &Action,
    params: &Params,
    sink: &mut crate::disk::hashed::HashedFile,
    cancelled: &dyn Fn() -> bool,
) -> Result<Application, StageError> {
    let operator = operator::find(&params.operator.name)
        .filter(|operator| operator.version() == params.operator.version)
        .ok_or_else(|| {
            let BoundOperator { name, version, .. } = &params.operator;
            StageError::Refused(format!("this program has no operator `{name}` of version {version}"))
        })?;
    let open = |name: &Name| open_whole(store, action, params, name);
    let base = params.base.as_ref().map(&open).transpose()?;
    let parents: Vec<Whole> = params.parents.iter().map(open).collect::<Result<_, _>>()?;
    let adapted_base = base.as_ref().map(Whole::adapted).transpose()?.flatten();
    let adapted: Vec<_> = parents.iter().map(Whole::adapted).collect::<Result<_, _>>()?;
    let named = params.parents.iter().zip(&parents).zip(&adapted);
    let job = Job {
        operator,
        parameters: &params.operator.parameters,
        rules: &params.operator.rules,
        seed: &params.seed,
        candidate: params.candidate.as_str(),
        base: params.base.as_ref().zip(base.as_ref()).map(|(name, base)| base.parent(name, &adapted_base)),
        parents: named.map(|((name, whole), adapted)| whole.parent(name, adapted)).collect(),
    };
    let like = base
        .as_ref()
        .or(parents.first())
        .ok_or_else(|| StageError::Refused(format!("the candidate `{}` has no parents", params.candidate)))?;
    let like_is = &like.model.checkpoint;
    let needed = operator::output_bytes(&like_is.config, &like_is.tokenizer, params.output)?;
    crate::disk::space::check(store.root(), needed)?;
    let made = operator::apply_slm1(&job, &like.model.checkpoint, params.output, sink, cancelled);
    let application = made.map_err(|error| match error {
        OperatorError::Cancelled => StageError::Cancelled,
        other => other.into(),
    })?;
    match base.iter().chain(&parents).find_map(Whole::edited) {
        Some(path) => Err(StageError::Refused(format!("{} changed while it was being read", path.display()))),
        None => Ok(application),
    }
}

/// A parent, with the model it is added to if it is an adapter.
fn open_whole(store: &Store, action: &Action, params: &Params, name: &Name) -> Result<Whole, StageError> {
    let model = |name| Ok::<_, StageError>(crate::model::open(&input_path(store, action, name)?)?);
    match params.adapters.get(name) {
        None => Ok(Whole { model: model(name)?, adapter: None }),
        Some(base) => {
            let path = input_path(store, action, name)?;
            let opened = adapter::open(&path).map_err(|error| StageError::Refused(error.to_string()))?;
            Ok(Whole { model: model(base)?, adapter: Some(opened) })
        }
    }
}

fn input_path(store: &Store, action: &Action, name: &Name) -> Result<PathBuf, StageError> {
    let input = of("model", name);
    let digest: &Digest = action
        .inputs
        .get(&input)
        .ok_or_else(|| StageError::Refused(format!("the input `{input}` is missing")))?;
    store.locate(digest).map_err(|error| match error {
        StoreError::Missing(_) => StageError::Refused(format!(
            "no file with the digest {digest} of the parent `{name}` is known any more"
        )),
        other => other.into(),
    })
}
