//! Part 4: `operator`: makes the artifact and says how to make it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::of;
use super::{Action, Context, Kind, Made, Stage, StageError, Weight};
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::model::Opened;
use crate::operator::{self, Application, Job, OperatorError, Parent};
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
        let used = |name: &Name| Ok(Used { name: name.clone(), blake3: context.input(&of("model", name))? });
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
    let open = |name: &Name| open_input(store, action, name);
    let base = params.base.as_ref().map(&open).transpose()?;
    let parents: Vec<Opened> = params.parents.iter().map(open).collect::<Result<_, _>>()?;
    let job = Job {
        operator,
        parameters: &params.operator.parameters,
        rules: &params.operator.rules,
        seed: &params.seed,
        candidate: params.candidate.as_str(),
        base: params.base.as_ref().zip(base.as_ref()).map(|(name, opened)| parent(name, opened)),
        parents: params.parents.iter().zip(&parents).map(|(name, opened)| parent(name, opened)).collect(),
    };
    let like = base
        .as_ref()
        .or(parents.first())
        .ok_or_else(|| StageError::Refused(format!("the candidate `{}` has no parents", params.candidate)))?;
    let made = operator::apply_slm1(&job, &like.checkpoint, params.output, sink, cancelled);
    let application = made.map_err(|error| match error {
        OperatorError::Cancelled => StageError::Cancelled,
        other => other.into(),
    })?;
    match base.iter().chain(&parents).find(|opened| !opened.mapped.unchanged()) {
        Some(edited) => {
            let path = edited.mapped.path().display();
            Err(StageError::Refused(format!("{path} changed while it was being read")))
        }
        None => Ok(application),
    }
}

fn parent<'a>(name: &'a Name, opened: &'a Opened) -> Parent<'a> {
    Parent::new(name.as_str(), &opened.checkpoint)
}

fn open_input(store: &Store, action: &Action, name: &Name) -> Result<Opened, StageError> {
    let input = of("model", name);
    let digest: &Digest = action
        .inputs
        .get(&input)
        .ok_or_else(|| StageError::Refused(format!("the input `{input}` is missing")))?;
    let path = store.locate(digest).map_err(|error| match error {
        StoreError::Missing(_) => StageError::Refused(format!(
            "no file with the digest {digest} of the parent `{name}` is known any more"
        )),
        other => other.into(),
    })?;
    Ok(crate::model::open(&path)?)
}
