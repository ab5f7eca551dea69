//! Part 2: `compat`: names every way in which a candidate's parents do not fit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::of;
use super::{Context, Kind, Made, Stage, StageError};
use crate::base::name::Name;
use crate::base::wording::count;
use crate::convert::child::names_fit;
use crate::convert::{Child, Form, laid_out, one_layer};
use crate::model::Package;
use crate::model::adapter::{AdapterIdentity, Mismatch};
use crate::model::arithmetic::{Bearing, Unlike, unlike};
use crate::model::buffer;
use crate::model::identity::{Difference, DifferenceKind, Identity, disagreements};
use crate::model::licence::Policy;
use crate::model::naming::Naming;
use crate::model::tokenizer::vocabulary::Vocabulary;
use crate::model::weights::TensorInfo;
use crate::operator::Slice;
use crate::record::compat::{Check, CompatibilityReport};
use crate::record::source::SourceArtifact;
use crate::store::Verdict;

/// Whose parents, for which operator, within which limits.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    pub(crate) candidate: Name,
    pub(crate) operator: String,
    /// Base first if there is one.
    pub(crate) parents: Vec<Name>,
    /// Whom the child is like.
    pub(crate) like: Name,
    /// The layers the child is stacked of, by the models they are of; none if it has its parents' own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stack: Vec<Slice>,
    /// Whether the child has that model's tokens, where its parents' differ.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tokens_of_base: bool,
    pub(crate) output: Form,
    /// Largest artifact the plan's budget allows.
    pub(crate) artifact_budget: u64,
    /// Which licences may meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) licences: Option<Policy>,
}

pub(super) struct CompatStage;

impl Stage for CompatStage {
    fn kind(&self) -> Kind {
        Kind::Compat
    }

    fn version(&self) -> u32 {
        8
    }

    fn run(&self, context: &Context<'_>) -> Result<Made, StageError> {
        let params: Params = context.params()?;
        let mut sources = Vec::new();
        for name in &params.parents {
            sources.push(context.record::<SourceArtifact>(&of("source", name))?);
        }
        let records: Vec<&SourceArtifact> = sources.iter().map(|(source, _)| source).collect();
        let mut models = records
            .iter()
            .filter_map(|source| {
                let identity = source.identity.as_ref()?;
                let opened = context.store.open_model(&source.artifact.blake3);
                let identity = Cow::Borrowed(identity);
                Some(opened.map(|opened| Model { source, identity, package: opened.package }))
            })
            .collect::<Result<Vec<_>, _>>()?;
        // Everybody is compared with the model that the child is like.
        models.sort_by_key(|model| model.source.name != params.like);
        if models.first().is_none_or(|model| model.source.name != params.like) {
            let why = format!("`{}`, whom `{}` is like, is no model", params.like, params.candidate);
            return Err(StageError::Refused(why));
        }
        let mut checks = match params.stack.is_empty() {
            true => identity_checks(&models, params.tokens_of_base),
            false => identity_checks(&by_one_layer(&models, &params.stack)?, params.tokens_of_base),
        };
        checks.extend(adapter_check(&records, &models));
        checks.push(format_check(&models, &params));
        checks.extend(buffer_check(&models));
        checks.push(envelope(&params, &models)?);
        checks.extend(params.licences.as_ref().map(|policy| licence_check(policy, &records)));
        let compatible = checks.iter().all(|check| check.passed);
        let reasons: Vec<String> =
            checks.iter().filter(|check| !check.passed).flat_map(|check| check.findings.clone()).collect();
        let report = CompatibilityReport {
            candidate: params.candidate,
            operator: params.operator,
            parents: params
                .parents
                .into_iter()
                .zip(sources.iter().map(|(_, subject)| subject.sha256))
                .collect(),
            checks,
            compatible,
        };
        if compatible {
            let fit = if report.parents.len() == 1 { "fits" } else { "fit" };
            let summary = format!("{} {fit}", count(report.parents.len(), "model"));
            context.made(&report, Verdict::Pass, summary)
        } else {
            let summary = reasons.join("; ");
            context.made(&report, Verdict::Reject(reasons), summary)
        }
    }
}

/// A source that is a model.
struct Model<'a> {
    source: &'a SourceArtifact,
    identity: Cow<'a, Identity>,
    package: Package,
}

/// The models by one of the layers that each gives: of stacked layers, it is those that must be alike, and
/// not how many a model has.
fn by_one_layer<'a>(models: &[Model<'a>], stack: &[Slice]) -> Result<Vec<Model<'a>>, StageError> {
    let given = models.iter().filter_map(|model| {
        let slice = stack.iter().find(|slice| slice.parent == model.source.name)?;
        Some((model, slice.layers[0]))
    });
    let cut = given.map(|(model, layer)| {
        let package = one_layer(&model.package, &model.source.name, layer)?;
        let identity = Cow::Owned(Identity::of_package(&package));
        Ok(Model { source: model.source, identity, package })
    });
    cut.collect()
}

/// One check for each aspect, comparing every model with the first.
fn identity_checks(models: &[Model<'_>], tokens_of_base: bool) -> Vec<Check> {
    let first = &models[0];
    let mut found: Vec<(&'static str, String)> = Vec::new();
    let mut note = |aspect, finding| found.push((aspect, finding));
    for other in &models[1..] {
        let (here, there) = (&first.source.name, &other.source.name);
        let tied = |model: &Model<'_>| model.package.config.as_ref().is_ok_and(|config| config.tied_output);
        // Where the child has an output matrix of its own, a tied model gives its embedding matrix.
        let untied = (!tied(first) && tied(other)).then(|| other.package.untied());
        let identity = untied.as_ref().map(Identity::of_package);
        let identity = identity.as_ref().unwrap_or(&other.identity);
        let differences = disagreements((&first.identity, &first.package), (identity, &other.package));
        let told: Vec<String> = differences.iter().map(|found| found.field.clone()).collect();
        for Difference { kind, field, ours, theirs } in differences {
            let finding = format!("{field}: `{here}` has {ours}, `{there}` has {theirs}");
            let aspect = aspect(kind, &field, tokens_of_base);
            note(aspect, finding);
            match field.as_str() {
                "tokenizer.digest" if tokens_of_base => note("vocabulary", tokens(first, other)),
                "tokenizer.digest" => note("tokenizer", tokens(first, other) + &by_token(first, other)),
                "layout" => {
                    let package = untied.as_ref().unwrap_or(&other.package);
                    misfits((here, &first.package), (there, package)).for_each(|why| note(aspect, why));
                    unconfigured(first, other).into_iter().for_each(|why| note(aspect, why));
                }
                _ => {}
            }
        }
        for Unlike { field, ours, theirs, bearing } in unlike(&first.package, &other.package) {
            let aspect = match bearing {
                Bearing::Extent => continue,
                Bearing::Network => "shape",
                Bearing::Constant | Bearing::Unsaid => "constants",
            };
            if !told.contains(&field) {
                note(aspect, format!("{field}: `{here}` has {ours}, `{there}` has {theirs}"));
            }
        }
    }
    // Every encoding is widened exactly, so mixed encodings are worth naming, not refusing. Other tokens
    // are refused unless the plan says whose the child has. Constants that the network's own facts do not
    // have are those of the model that the child is like.
    let named = ["quantisation", "constants", "vocabulary"];
    ["tokenizer", "layout", "shape", "quantisation", "constants", "vocabulary"]
        .into_iter()
        .map(|aspect| {
            let findings: Vec<_> =
                found.iter().filter(|(of, _)| *of == aspect).map(|(_, finding)| finding.clone()).collect();
            let passed = findings.is_empty() || named.contains(&aspect);
            Check { check: aspect.to_owned(), passed, findings }
        })
        .filter(|check| check.check != "vocabulary" || tokens_of_base)
        .filter(|check| check.check != "constants" || !check.findings.is_empty())
        .collect()
}

/// Tensors that a report names before it counts the rest.
const NAMED: usize = 5;

/// The tensors that one of two models alone has, or that have other shapes in the two, by the names that both
/// are compared in.
fn misfits(
    (here, ours): (&Name, &Package),
    (there, theirs): (&Name, &Package),
) -> impl Iterator<Item = String> {
    let [own, other] = [ours, theirs].map(shapes);
    let only = |of: &BTreeMap<String, String>, not: &BTreeMap<String, String>| -> Vec<String> {
        of.keys().filter(|name| !not.contains_key(*name)).map(|name| format!("`{name}`")).collect()
    };
    let [without_here, without_there] = [only(&other, &own), only(&own, &other)];
    let reshaped = own.iter().filter_map(|(name, shape)| {
        let found = other.get(name).filter(|found| *found != shape)?;
        Some(format!("`{name}` ({shape} here, {found} there)"))
    });
    let reshaped: Vec<String> = reshaped.collect();
    let lacks = |who: &Name, whose: &Name, names: &[String]| {
        format!("tensors: `{who}` has no {}, as `{whose}` has", in_short(names))
    };
    let findings = [
        (!without_here.is_empty()).then(|| lacks(here, there, &without_here)),
        (!without_there.is_empty()).then(|| lacks(there, here, &without_there)),
        (!reshaped.is_empty()).then(|| {
            format!(
                "tensors of other shapes in `{here}` (here) and `{there}` (there): {}",
                in_short(&reshaped)
            )
        }),
    ];
    findings.into_iter().flatten()
}

fn in_short(names: &[String]) -> String {
    let named = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The shape of every tensor, by SLM1's name for it where the network is known.
fn shapes(package: &Package) -> BTreeMap<String, String> {
    let naming = package.naming_of_known_network();
    let named = |info: &TensorInfo| {
        let slm1 = naming.and_then(|naming| Naming::Slm1.translate(naming, &info.name));
        (slm1.unwrap_or_else(|| info.name.clone()), info.shape.to_string())
    };
    package.own_tensors().map(named).collect()
}

/// Why the tensors of two models are not known to be the same ones: of one nothing says which network they
/// are of.
fn unconfigured(first: &Model<'_>, other: &Model<'_>) -> Option<String> {
    let (without, why, with) = match (&first.package.config, &other.package.config) {
        (Err(why), Ok(_)) => (first, why, other),
        (Ok(_), Err(why)) => (other, why, first),
        _ => return None,
    };
    let (without, with) = (&without.source.name, &with.source.name);
    Some(format!(
        "nothing says of which network the tensors of `{without}` are ({why}), as `{with}` does of its"
    ))
}

/// Which tokens differ, and how many.
fn tokens(first: &Model<'_>, other: &Model<'_>) -> String {
    let (here, there) = (&first.source.name, &other.source.name);
    let vocabulary = |model: &Model<'_>| Vocabulary::of_package(&model.package);
    match (vocabulary(first), vocabulary(other)) {
        (Some(ours), Some(theirs)) => match ours.difference(&theirs) {
            Some(difference) => format!("tokens of `{here}` (here) and `{there}` (there): {difference}"),
            None => format!("`{here}` and `{there}` have the same tokens; what they do with text differs"),
        },
        _ => format!("the tokens of `{here}` and `{there}` cannot be compared"),
    }
}

/// What to do about other tokens, where a plan can say it: of tokens that are known.
fn by_token(first: &Model<'_>, other: &Model<'_>) -> String {
    let known = |model: &Model<'_>| Vocabulary::of_package(&model.package).is_some();
    let like = &first.source.name;
    match known(first) && known(other) {
        true => format!(
            "; `vocabulary = \"base\"` in the candidate's section gives the child the tokens of `{like}`, and \
             matches rows by token"
        ),
        false => String::new(),
    }
}

/// Whether the parents' licences may meet, by the plan's policy.
fn licence_check(policy: &Policy, sources: &[&SourceArtifact]) -> Check {
    let declared: Vec<(&str, &[String])> =
        sources.iter().map(|source| (source.name.as_str(), &source.origin.licences[..])).collect();
    let offences = policy.offences(&declared);
    let passed = offences.is_empty();
    let all: std::collections::BTreeSet<&str> =
        declared.iter().flat_map(|(_, licences)| licences.iter().map(String::as_str)).collect();
    let fit = || vec![format!("these may meet: {}", all.into_iter().collect::<Vec<_>>().join(", "))];
    Check { check: "licences".to_owned(), passed, findings: if passed { fit() } else { offences } }
}

/// Whether every model can be read in the names of the child's format; the first is the one it is like.
fn format_check(models: &[Model<'_>], params: &Params) -> Check {
    let refusal = |model: &Model<'_>| {
        let fits = names_fit(&model.package, &models[0].package, &params.output);
        fits.err().map(|error| format!("`{}`: {error}", model.source.name))
    };
    let findings: Vec<String> = models.iter().filter_map(refusal).collect();
    Check { check: "format".to_owned(), passed: findings.is_empty(), findings }
}

/// Whether what lies beside the weights can go to a child; nothing where there is nothing.
fn buffer_check(models: &[Model<'_>]) -> Option<Check> {
    let named = |model: &'_ Model<'_>| (model.source.name.as_str().to_owned(), model.package.clone());
    let (like, first) = models.first().map(named)?;
    let refusal = |model: &Model<'_>| {
        buffer::agree((&like, &first), (model.source.name.as_str(), &model.package)).err()
    };
    let refusals: Vec<String> = models.iter().filter_map(refusal).map(|error| error.to_string()).collect();
    let passed = refusals.is_empty();
    let carried = first.carried_buffers().unwrap_or_default();
    let said = |receipt: buffer::BufferReceipt| {
        let fate = if receipt.carried { "carried as it is" } else { "left out" };
        format!("`{}`, {}: {fate}", receipt.name, receipt.dtype)
    };
    let fates: Vec<String> =
        buffer::receipts(&carried, models.iter().map(|model| &model.package)).into_iter().map(said).collect();
    let findings = if passed { fates } else { refusals };
    (!findings.is_empty()).then(|| Check { check: "buffers".to_owned(), passed, findings })
}

/// Every adapter against the model it is added to, field by field; nothing without adapters.
fn adapter_check(sources: &[&SourceArtifact], models: &[Model<'_>]) -> Option<Check> {
    let mut found = Vec::new();
    let mut adapters = 0;
    for source in sources {
        let Some(adapter) = &source.adapter else { continue };
        adapters += 1;
        let Some(base) = models.iter().find(|model| model.source.name == adapter.adapts) else {
            found.push(format!("`{}` is added to `{}`, which is no model", source.name, adapter.adapts));
            continue;
        };
        let identity = AdapterIdentity::of_package(&base.package);
        let mismatches = adapter.identity.mismatches(&identity);
        let advice = AdapterIdentity::advice(&mismatches);
        for Mismatch { field, adapter, model } in mismatches {
            let (base, more) =
                (&base.source.name, advice.map_or_else(String::new, |advice| format!("; {advice}")));
            found.push(format!("{field}: `{}` is for {adapter}, `{base}` has {model}{more}", source.name));
        }
    }
    let passed = found.is_empty();
    (adapters > 0).then(|| Check { check: "adapter".to_owned(), passed, findings: found })
}

/// The check a difference fails. Where the child has the tokens of the model it is like, whatever follows
/// from other tokens is expected; shapes are compared once more, with the child's rows, before it is made.
fn aspect(kind: DifferenceKind, field: &str, tokens_of_base: bool) -> &'static str {
    let follows = matches!(kind, DifferenceKind::Tokenizer)
        || ["architecture.vocab_size", "parameters", "layout"].contains(&field);
    match kind {
        _ if tokens_of_base && follows => "vocabulary",
        DifferenceKind::Tokenizer => "tokenizer",
        DifferenceKind::Layout => "layout",
        DifferenceKind::Architecture => "shape",
        DifferenceKind::Quantisation => "quantisation",
    }
}

fn envelope(params: &Params, models: &[Model<'_>]) -> Result<Check, StageError> {
    let package =
        |name: &Name| models.iter().find(|model| model.source.name == *name).map(|model| &model.package);
    let like = laid_out(&models[0].package, &params.stack, params.tokens_of_base, &package)?;
    let bytes = Child::like(&like, &params.output, None)?.total_bytes();
    let passed = bytes <= params.artifact_budget;
    let verb = if passed { "fits" } else { "exceeds" };
    let finding = format!("the child's {bytes} bytes: {verb} the budget of {}", params.artifact_budget);
    Ok(Check { check: "resource-envelope".to_owned(), passed, findings: vec![finding] })
}
