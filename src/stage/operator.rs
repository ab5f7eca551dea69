//! Part 4: `operator`: makes the artifact and says how to make it again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::adapter::Whole;
use super::child::Done;
use super::context::of;
use super::greedy::{self, Decision, Greedy};
use super::{Action, Context, Kind, Made, Stage, StageError, Weight};
use crate::base::difference;
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::convert::{Child, ConvertError, Form, Tokens, View, laid_out};
use crate::model::buffer::{self, BufferReceipt};
use crate::model::tokenizer::vocabulary::Vocabulary;
use crate::model::{OpenedPackage, Package, Planned};
use crate::operator::{
    self, Job, Operator, OperatorError, Parameters, Parent, Slice, Stack, TensorInputs, Tensors, Value,
};
use crate::record;
use crate::record::lineage::BoundOperator;
use crate::record::receipt::{OperatorReceipt, Used};
use crate::store::{ActionResult, Blob, Store, StoreError, Verdict};

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
    /// Whom the child is like.
    pub(crate) like: Name,
    /// The layers the child is stacked of, by the models they are of; none if it has its parents' own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stack: Vec<Slice>,
    /// Whether the child has that model's tokens, where its parents' differ.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tokens_of_base: bool,
    pub(crate) output: Form,
    /// What decides which parents are in a greedy soup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) greedy: Option<Greedy>,
}

pub(super) struct OperatorStage;

impl Stage for OperatorStage {
    fn kind(&self) -> Kind {
        Kind::Operator
    }

    fn version(&self) -> u32 {
        7
    }

    fn weight(&self) -> Weight {
        Weight::Heavy
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let written = write_child(context.store, context.action, &params, true, context.cancelled)?;
        let mut outputs = written.done.outputs();
        let receipt = receipt(context.action, params, written)?;
        let summary = summary(&receipt);
        outputs.insert("record".to_owned(), context.put_record(&receipt)?);
        Ok(Made { outputs, verdict: Verdict::Pass, summary })
    }

    /// What a receipt says of who asked for what follows from the action; the rest only from doing it again.
    fn recheck(&self, context: &Context<'_>, result: &ActionResult) -> Result<(), StageError> {
        let made = (context.record_of::<OperatorReceipt>(result)?, result.outputs.get("artifact"));
        let (Some((found, _)), Some(artifact)) = made else {
            return Err(StageError::Refused("it made no receipt, or nothing beside it".to_owned()));
        };
        let asked = asked(context.action, context.params()?, *artifact)?;
        let expected = OperatorReceipt {
            files: found.files.clone(),
            realised: found.realised.clone(),
            selection: found.selection.clone(),
            buffers: found.buffers.clone(),
            tensors: found.tensors.clone(),
            ..asked
        };
        match difference::first(&found, &expected) {
            None => Ok(()),
            Some(where_it_is) => {
                Err(StageError::Refused(format!("the receipt is not of what was asked for: {where_it_is}")))
            }
        }
    }
}

/// A child that was made again.
pub struct Again {
    /// What the stage would hand back.
    pub made: Made,
    /// The record among it.
    pub receipt: OperatorReceipt,
}

/// Makes an operator action's artifact and receipt again, apart from the cache, and says what they hash to.
/// The bytes go to temporary files that are not kept.
///
/// # Errors
///
/// As the stage itself: [`StageError::Refused`] of parameters, or of an operator that this program does not
/// have in this version; [`StageError::Store`] of an input that the store does not have whole;
/// [`StageError::Convert`], [`StageError::Operator`] or [`StageError::Write`] if the child cannot be made, or
/// the disk has no room for it.
pub fn recompute(store: &Store, action: &Action) -> Result<Again, StageError> {
    let params = Params::deserialize(&action.params)
        .map_err(|error| StageError::Refused(format!("the parameters of an operator stage: {error}")))?;
    let written = write_child(store, action, &params, false, &|| false)?;
    let mut outputs = written.done.outputs();
    let receipt = receipt(action, params, written)?;
    let bytes = record::to_bytes(&receipt)
        .map_err(|source| StageError::Record { input: "record".to_owned(), source })?;
    outputs.insert("record".to_owned(), Blob { digest: Digest::of(&bytes), bytes: bytes.len() as u64 });
    Ok(Again { made: Made { outputs, verdict: Verdict::Pass, summary: summary(&receipt) }, receipt })
}

fn summary(receipt: &OperatorReceipt) -> String {
    format!("{} tensors, {} bytes", receipt.tensors.len(), receipt.bytes())
}

/// A receipt as far as it follows from the action, of this child.
fn asked(action: &Action, params: Params, output: Blob) -> Result<OperatorReceipt, StageError> {
    let plain = |name: &Name| {
        Ok::<_, StageError>(Used { name: name.clone(), blake3: input(action, name)?, adapts: None })
    };
    let used = |name: &Name| {
        let adapts = params.adapters.get(name).map(plain).transpose()?.map(Box::new);
        Ok(Used { adapts, ..plain(name)? })
    };
    Ok(OperatorReceipt {
        base: params.base.as_ref().map(used).transpose()?,
        parents: params.parents.iter().map(used).collect::<Result<_, StageError>>()?,
        format: params.output.format.name().to_owned(),
        dtype: params.output.encoding().to_owned(),
        output,
        files: Vec::new(),
        realised: Parameters::new(),
        selection: None,
        buffers: Vec::new(),
        tensors: Vec::new(),
        recompute: format!("studbook verify PLAN --recompute --candidate {}", params.candidate),
        candidate: params.candidate,
        operator: params.operator,
        seed: params.seed,
    })
}

fn receipt(action: &Action, params: Params, written: Written) -> Result<OperatorReceipt, StageError> {
    let Written { done, decision, buffers } = written;
    let realised = match &decision {
        Some(decision) => weights(&params.parents, &decision.ingredients),
        None => done.application.realised,
    };
    Ok(OperatorReceipt {
        files: done.files,
        realised,
        selection: decision.map(|decision| decision.selection),
        buffers,
        tensors: done.application.tensors,
        ..asked(action, params, done.artifact)?
    })
}

/// The weight of every parent in the average of some of them.
fn weights(parents: &[Name], ingredients: &[Name]) -> Parameters {
    let share = 1.0 / ingredients.len() as f64;
    let weight = |parent: &Name| if ingredients.contains(parent) { share } else { 0.0 };
    Parameters::from([("weights".to_owned(), Value::PerParent(parents.iter().map(weight).collect()))])
}

/// Whom an operator combines, and how: as the plan says, or, of a greedy soup, the average of those that
/// are in it.
fn combination<'p>(
    params: &'p Params,
    decision: Option<&Decision>,
) -> (&'p str, u32, Cow<'p, Parameters>, Vec<Name>) {
    let BoundOperator { name, version, parameters, .. } = &params.operator;
    let Some(decision) = decision else {
        return (name, *version, Cow::Borrowed(parameters), params.parents.clone());
    };
    let ingredients = decision.ingredients.clone();
    if ingredients.len() == 1 {
        let passthrough = operator::passthrough::Passthrough;
        return (passthrough.name(), passthrough.version(), Cow::Owned(Parameters::new()), ingredients);
    }
    let uniform = Value::Choice("uniform".to_owned());
    let parameters = Parameters::from([("weighting".to_owned(), uniform)]);
    (name, *version, Cow::Owned(parameters), ingredients)
}

/// A child that was written, and how it came to be.
struct Written {
    done: Done,
    decision: Option<Decision>,
    buffers: Vec<BufferReceipt>,
}

fn write_child(
    store: &Store,
    action: &Action,
    params: &Params,
    kept: bool,
    cancelled: &dyn Fn() -> bool,
) -> Result<Written, StageError> {
    let decide = |greedy: &Greedy| greedy::decide(store, action, greedy, &params.parents);
    let decision = params.greedy.as_ref().map(decide).transpose()?;
    let (name, version, parameters, parent_names) = combination(params, decision.as_ref());
    let operator =
        operator::find(name).filter(|operator| operator.version() == version).ok_or_else(|| {
            StageError::Refused(format!("this program has no operator `{name}` of version {version}"))
        })?;
    let like = open_model(store, action, &params.like)?;
    let base = params.base.as_ref().map(|name| open_whole(store, action, params, name)).transpose()?;
    let parents: Vec<Whole> =
        parent_names.iter().map(|name| open_whole(store, action, params, name)).collect::<Result<_, _>>()?;
    let model = |name: &Name| {
        let mut all = params.parents.iter().zip(&parents);
        let is_it = |parent: &Name| params.adapters.get(parent).unwrap_or(parent) == name;
        all.find(|(parent, _)| is_it(parent)).map(|(_, whole)| &whole.model.package)
    };
    let laid_out = laid_out(&like.package, &params.stack, params.tokens_of_base, &model)?;
    let child = Child::like(&laid_out, &params.output, None)?;
    let everybody: Vec<(&Name, &Whole)> =
        params.base.iter().zip(&base).chain(parent_names.iter().zip(&parents)).collect();
    for (name, whole) in &everybody {
        let like = (params.like.as_str(), &like.package);
        buffer::agree(like, (name.as_str(), &whole.model.package)).map_err(ConvertError::from)?;
    }
    let adapted: Vec<_> =
        everybody.iter().map(|(_, whole)| whole.adapted()).collect::<Result<_, StageError>>()?;
    let reading = Reading { params, like: &like, child: &child };
    let of_like = reading.view(&like.package, &like.package.weights)?;
    let views: Vec<View<'_>> = everybody
        .iter()
        .zip(&adapted)
        .map(|((_, whole), adapted)| {
            let package = &whole.model.package;
            let tensors = adapted.as_ref().map_or(&package.weights as &dyn Tensors, |adapted| adapted);
            reading.with_tokens(package, reading.view(package, tensors)?, &of_like)
        })
        .collect::<Result<_, StageError>>()?;
    let mut read = everybody.iter().zip(&views).map(|((name, whole), view)| Parent {
        name: name.as_str(),
        tensors: view,
        config: whole.model.package.config.as_ref().ok(),
    });
    let stack =
        stacked(&params.operator, everybody.iter().zip(&views).map(|((name, _), view)| (*name, view)))?;
    let stack_parent = stack.as_ref().map(|stack| Parent { name: "the stack", tensors: stack, config: None });
    let job = Job {
        operator,
        parameters: &parameters,
        rules: &params.operator.rules,
        seed: &params.seed,
        candidate: params.candidate.as_str(),
        base: if base.is_some() { read.next() } else { None },
        parents: stack_parent.map_or_else(|| read.collect(), |stack| vec![stack]),
    };
    let inputs = inputs_of(&job, child.planned(), stack.as_ref())?;
    let done = super::child::write(store, &child, kept, &|writer| {
        operator::apply(operator, &inputs, child.planned(), writer, cancelled)
    });
    let done = done.map_err(|error| match error {
        StageError::Operator(error) => stopped(error),
        other => other,
    })?;
    match base.iter().chain(&parents).find_map(Whole::edited) {
        Some(path) => Err(StageError::Refused(format!("{} changed while it was being read", path.display()))),
        None => {
            let models = everybody.iter().map(|(_, whole)| &whole.model.package);
            let buffers = buffer::receipts(child.buffers(), models);
            Ok(Written { done, decision, buffers })
        }
    }
}

/// The stack of an operator that works on one.
fn stacked<'v>(
    operator: &BoundOperator,
    parents: impl Iterator<Item = (&'v Name, &'v View<'v>)>,
) -> Result<Option<Stack<'v>>, StageError> {
    if operator.slices.is_empty() {
        return Ok(None);
    }
    let parents = parents.map(|(name, view)| (name, view as &dyn Tensors));
    Ok(Some(Stack::new(&operator.slices, parents)?))
}

/// The inputs of every tensor; those of a stack are called by the parent that each comes from.
fn inputs_of<'a>(
    job: &Job<'a>,
    child: &'a [Planned],
    stack: Option<&'a Stack<'a>>,
) -> Result<Vec<TensorInputs<'a>>, StageError> {
    let mut inputs = job.inputs(child).map_err(stopped)?;
    for tensor in &mut inputs {
        if let Some(origin) = stack.and_then(|stack| stack.origin(tensor.name)) {
            tensor.parent_names = vec![origin];
        }
    }
    Ok(inputs)
}

fn stopped(error: OperatorError) -> StageError {
    match error {
        OperatorError::Cancelled => StageError::Cancelled,
        other => other.into(),
    }
}

/// How parents are read: in the names of the child, with the rows of its tokens.
struct Reading<'a> {
    params: &'a Params,
    like: &'a OpenedPackage,
    child: &'a Child<'a>,
}

impl<'a> Reading<'a> {
    fn view(&self, package: &'a Package, tensors: &'a dyn Tensors) -> Result<View<'a>, StageError> {
        let format = self.params.output.format;
        let naming = format.naming_like(&self.like.package);
        let view = View::new(package, tensors, naming, format.name())?;
        let [_, output] = &self.child.token_matrices(&self.params.output)[..] else { return Ok(view) };
        if self.child.planned().iter().all(|planned| planned.name != *output) {
            return Ok(view);
        }
        Ok(view.with_output(self.child.naming(&self.params.output)))
    }

    fn with_tokens<'v>(
        &self,
        package: &Package,
        view: View<'v>,
        like: &'v View<'v>,
    ) -> Result<View<'v>, StageError> {
        if !self.params.tokens_of_base {
            return Ok(view);
        }
        let unknown =
            || StageError::Refused("`vocabulary` needs parents that say which tokens they have".to_owned());
        let own = Vocabulary::of_package(package).ok_or_else(unknown)?;
        let childs = Vocabulary::of_package(&self.like.package).ok_or_else(unknown)?;
        let matrices = self.child.token_matrices(&self.params.output);
        let rows = |tensors: &dyn Tensors| {
            let shape = matrices.iter().find_map(|matrix| tensors.shape(matrix));
            shape.map(|shape| shape.dims()[0])
        };
        let heights = (rows(like), rows(&view));
        // The same tokens may have rows to spare behind them, in one model more than in another.
        if own == childs && heights.0 == heights.1 {
            return Ok(view);
        }
        let rows = childs.rows_in(heights.0.ok_or_else(unknown)?, &own, heights.1.ok_or_else(unknown)?);
        Ok(view.with_tokens(Tokens::or_like(rows, matrices, like)))
    }
}

/// A parent, with the model it is added to if it is an adapter.
fn open_whole(store: &Store, action: &Action, params: &Params, name: &Name) -> Result<Whole, StageError> {
    match params.adapters.get(name) {
        None => Ok(Whole { model: open_model(store, action, name)?, adapter: None }),
        Some(base) => {
            let model = open_model(store, action, base)?;
            let adapter = store.open_adapter(&input(action, name)?, &model.package)?;
            Ok(Whole { model, adapter: Some(adapter) })
        }
    }
}

fn open_model(store: &Store, action: &Action, name: &Name) -> Result<OpenedPackage, StageError> {
    let digest = input(action, name)?;
    store.open_model(&digest).map_err(|error| match error {
        StoreError::Missing(missing) => StageError::Refused(format!(
            "no file with the digest {missing} of the parent `{name}` is known any more"
        )),
        // Whose file it was is said already; it is the parent's fault, not the disk's.
        changed @ StoreError::Changed { .. } => {
            StageError::Refused(format!("the parent `{name}`: {changed}"))
        }
        other => other.into(),
    })
}

fn input(action: &Action, name: &Name) -> Result<Digest, StageError> {
    let input = of("model", name);
    let digest = action.inputs.get(&input).copied();
    digest.ok_or_else(|| StageError::Refused(format!("the input `{input}` is missing")))
}
