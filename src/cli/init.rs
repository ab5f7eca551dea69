//! `studbook init`: a commented plan that runs as it is.

mod asked;
mod named;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use self::named::{Named, Names, full, stem};
use super::args::Args;
use super::context::{Terminal, store_path};
use super::exit::{Exit, UsageError};
use crate::base::name::Name;
use crate::base::shell;
use crate::base::wording::count;
use crate::convert::Target;
use crate::disk::{IoContext, atomic};
use crate::evaluate::exact_match::ExactMatch;
use crate::evaluate::{Evaluator, Measure};
use crate::model::Package;
use crate::model::networks::networks_differ;
use crate::plan::{self, Findings, parse};
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The plan to write
    #[arg(default_value = "cycle.toml")]
    pub(super) plan: PathBuf,
    /// Models to combine, of any format; every .slm file beside the plan by default
    #[arg(long = "parent", value_name = "MODEL")]
    pub(super) parents: Vec<PathBuf>,
    /// The model the parents were fine-tuned from
    #[arg(long, value_name = "MODEL")]
    pub(super) base: Option<PathBuf>,
    /// Cases to measure on, as JSON Lines: of exact match, multiple choice, or texts for bits per byte
    #[arg(long = "suite", value_name = "CASES")]
    pub(super) suites: Vec<PathBuf>,
}

/// What the plan makes; no parent may be called so.
const CANDIDATES: [&str; 3] = ["average", "tasks", "ties"];

pub(super) fn run(args: &Args, command: &Init, terminal: &Terminal) -> anyhow::Result<Exit> {
    if command.plan.exists() {
        let error = UsageError::new(format!("{} is already there", command.plan.display()));
        return Err(error.hint("choose another name; init never overwrites").into());
    }
    let folder = command.plan.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parents = parents(command, folder)?;
    let like = alike(command.base.iter().chain(&parents))?;
    let evaluators: Vec<&dyn Evaluator> =
        command.suites.iter().map(|suite| asked::evaluator(suite)).collect::<anyhow::Result<_>>()?;
    // Parents and candidates share one set of names.
    let (mut models, mut suites) = (Names::new(folder, &CANDIDATES), Names::new(folder, &[]));
    let skeleton = Skeleton {
        children: Children::like(&like),
        name: stem(&command.plan),
        base: command.base.as_deref().map(|base| models.name(base)).transpose()?,
        parents: parents.iter().map(|parent| models.name(parent)).collect::<Result<_, _>>()?,
        suites: command
            .suites
            .iter()
            .zip(evaluators)
            .map(|(suite, evaluator)| Ok((suites.name(suite)?, evaluator)))
            .collect::<anyhow::Result<_>>()?,
    };
    let text = skeleton.text();
    if let Some(findings) = unreadable(&command.plan, &text) {
        writeln!(terminal.err(), "{}\nthis is a bug in studbook", findings.render(terminal.colour()))?;
        return Ok(Exit::Bug);
    }
    if let Some(findings) = mistakes(args, &command.plan, folder, text.clone())? {
        let (path, errors) = (command.plan.display(), findings.errors());
        writeln!(terminal.err(), "{}", findings.render(terminal.colour()))?;
        writeln!(terminal.err(), "{path} is not written: it would have {}", count(errors, "error"))?;
        return Ok(Exit::Usage);
    }
    atomic::replace(&command.plan, text.as_bytes())?;
    writeln!(
        terminal.out(),
        "Wrote {path}. Look at it, then:\n    studbook plan {path}\n    studbook run {path}",
        path = shell::path(&command.plan)
    )?;
    Ok(Exit::Complete)
}

/// What is written is a plan that `check` takes, or is not written: models and cases may not go together.
fn mistakes(args: &Args, path: &Path, folder: &Path, source: String) -> anyhow::Result<Option<Findings>> {
    let store = Store::open(&store_path(args, Some(path)))?;
    let (plan, diagnostics) = plan::check(&source, folder, &store);
    Ok(plan.is_none().then(|| Findings { path: path.to_owned(), source, diagnostics }))
}

/// What is written is a plan, or is not written.
fn unreadable(path: &Path, text: &str) -> Option<Findings> {
    let mut diagnostics = Vec::new();
    parse::parse(text, &mut diagnostics);
    let findings = Findings { path: path.to_owned(), source: text.to_owned(), diagnostics };
    (!findings.diagnostics.is_empty()).then_some(findings)
}

/// The models that are named, or those beside the plan; the base is none of them.
fn parents(command: &Init, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let named = !command.parents.is_empty();
    let mut parents = if named { command.parents.clone() } else { models_in(folder)? };
    if named {
        each_once(&parents)?;
    }
    if let Some(base) = &command.base {
        parents.retain(|parent| full(parent) != full(base));
    }
    if !parents.is_empty() {
        return Ok(parents);
    }
    let why = match &command.base {
        Some(base) if named => format!("{} is the base and the only parent", base.display()),
        Some(_) => format!("there are no .slm files in {} but the base", folder.display()),
        None => format!("there are no .slm files in {}", folder.display()),
    };
    let hint = match named {
        true => "name the models that were fine-tuned from the base with --parent MODEL",
        false => "name the models to combine with --parent MODEL",
    };
    Err(UsageError::new(why).hint(hint).into())
}

fn each_once(parents: &[PathBuf]) -> Result<(), UsageError> {
    let mut seen = BTreeSet::new();
    match parents.iter().find(|parent| !seen.insert(full(parent))) {
        Some(twice) => {
            let error = UsageError::new(format!("--parent names {} twice", twice.display()));
            Err(error.hint("name each model once; the plan says how much each of them counts"))
        }
        None => Ok(()),
    }
}

/// The model that children are like, the base or the first parent, once all can be run and children of them
/// be made: of models of other networks there are none.
fn alike<'m>(models: impl Iterator<Item = &'m PathBuf>) -> anyhow::Result<Package> {
    let mut like: Option<(&PathBuf, Package)> = None;
    for path in models {
        let package = opened(path)?;
        let Some((first, like)) = &like else {
            like = Some((path, package));
            continue;
        };
        let named = |path: &PathBuf| path.display().to_string();
        let differ = networks_differ((&named(first), like), (&named(path), &package), false);
        if !differ.is_empty() {
            let why = differ.join("; ");
            let hint = "name models of one network and one context; `studbook merge` makes a model of those that \
                        differ in constants only, with the constants of its base";
            return Err(UsageError::new(format!("a plan of these makes no children: {why}"))
                .hint(hint)
                .into());
        }
    }
    Ok(like.expect("there is a parent").1)
}

/// A model that the plan can run and measure.
fn opened(model: &Path) -> anyhow::Result<Package> {
    let package = super::model::open_model(model)?.package;
    match package.checkpoint() {
        Ok(_) => Ok(package),
        Err(why) => {
            let error = UsageError::new(format!("{} cannot be run: {why}", model.display()));
            Err(error
                .hint("a plan of models that are only merged is written by hand: plans/README.md")
                .into())
        }
    }
}

fn models_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "slm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// How children are stored, and how large they may be.
struct Children {
    /// What `[cycle]` says of it.
    output: &'static str,
    /// The largest of them, in MiB.
    most: u64,
}

impl Children {
    fn like(package: &Package) -> Self {
        let slm = Target::of_children(package.weights.format()) == Target::Slm1;
        let beside: usize = package.companions.iter().map(|companion| companion.bytes.len()).sum();
        let bytes = package.weights.bytes() + beside as u64;
        Self {
            output: match slm {
                true => "output = \"q8_0\"           # children are stored as f32, q8_0 or q4_0\n",
                false => {
                    "# Children are stored as the base or the first parent is; `format` and `output` change it.\n"
                }
            },
            most: (bytes.div_ceil(1 << 20) + 1).max(32),
        }
    }
}

/// Everything the skeleton is filled with.
struct Skeleton {
    children: Children,
    name: Name,
    base: Option<Named>,
    parents: Vec<Named>,
    suites: Vec<(Named, &'static dyn Evaluator)>,
}

impl Skeleton {
    fn text(&self) -> String {
        let names: Vec<String> = self.parents.iter().map(|parent| format!("\"{}\"", parent.name)).collect();
        let names = names.join(", ");
        let Children { output, most } = self.children;
        let mut text = format!(
            "# A breeding cycle. `studbook plan` shows what would run, `studbook run` runs it.\n\n\
             [cycle]\n\
             name = \"{}\"\n\
             seed = \"1\"                # all randomness derives from it\n\
             {output}\n\
             # A plan that can exceed its budget does not compile.\n\
             [budget]\n\
             candidates = 16\n\
             artifact = \"{most} MiB\"       # largest child\n\
             disk = \"{} MiB\"          # all children\n\
             seconds = 3600\n\n",
            self.name,
            most * 16
        );
        if let Some(base) = &self.base {
            text += &format!(
                "[parents.{}]\nsource = {}\nrole = \"base\"          # deltas are taken from it\n\n",
                base.name, base.path
            );
        }
        for parent in &self.parents {
            text += &format!("[parents.{}]\nsource = {}\n\n", parent.name, parent.path);
        }
        text += &format!(
            "# The plain average.\n[candidates.average]\noperator = \"blend\"\nparents = [{names}]\nweight = 1.0\n\n"
        );
        if self.base.is_some() {
            text += &format!(
                "# The base plus a share of what each parent learned; one candidate for each lambda.\n\
                 [candidates.tasks]\noperator = \"task_delta\"\nparents = [{names}]\nweight = 1.0\n\
                 sweep = {{ lambda = [0.3, 0.5] }}\n\n\
                 # TIES: keep the largest changes, let the parents agree on a sign.\n\
                 [candidates.ties]\noperator = \"sign_merge\"\nparents = [{names}]\nweight = 1.0\ndensity = 0.5\n\n"
            );
        }
        text += "# Every candidate must load and run before it is measured.\n\
                 [smoke]\nprompts = [\"hello\"]\nmax_tokens = 8\n\n";
        for (suite, evaluator) in &self.suites {
            let kind = evaluator.name();
            let answers = if kind == ExactMatch::NAME { "max_tokens = 16\n" } else { "" };
            text += &format!(
                "[[eval]]\nname = \"{}\"\nkind = \"{kind}\"\ncases = {}\n{answers}\
                 use = \"both\"             # gates and ranks candidates; better: other cases for each\n\n",
                suite.name, suite.path
            );
        }
        text += &format!(
            "# Gates decide; nothing is admitted without passing all of its gates.\n\
             [[gate]]\nname = \"size\"\nkind = \"metric\"\nmetric = \"artifact_bytes\"\nmax = {}\n\n",
            most << 20
        );
        text += &self.better_than_parents();
        text += "# A person's word; bring it with `studbook attest`.\n\
                 # [[gate]]\n# name = \"release\"\n# kind = \"approval\"\n# statement = \"fit to be released\"\n\n\
                 # How many parents the next cycle may start from.\n[recipe]\nparents = 2\n";
        text
    }
    /// A gate for each kind of suite: what different evaluators measure has no mean.
    fn better_than_parents(&self) -> String {
        let kinds: BTreeSet<&str> = self.suites.iter().map(|(_, evaluator)| evaluator.name()).collect();
        let mut text = String::new();
        for kind in &kinds {
            let of_kind = self.suites.iter().filter(|(_, evaluator)| evaluator.name() == *kind);
            let names: Vec<String> =
                of_kind.clone().map(|(suite, _)| format!("\"{}\"", suite.name)).collect();
            let Some(metric) = of_kind.clone().find_map(|(_, evaluator)| evaluator.metrics().first()) else {
                continue;
            };
            let by = if kinds.len() > 1 { format!("-by-{}", metric.name) } else { String::new() };
            text += &format!(
                "[[gate]]\nname = \"better-than-parents{by}\"\nkind = \"metric\"\nmetric = \"{}\"\n\
                 suites = [{}]           # their mean\nversus = \"best-parent\"\nmargin = 0.0\n\n",
                metric.name,
                names.join(", ")
            );
        }
        text
    }
}
