//! The sections of a plan as declared, each value with its place.

use std::ops::Range;

use crate::base::located::Located;
use crate::base::name::Name;
use crate::convert::Target;
use crate::plan::syntax::Bytes;
use crate::tensor::dtype::DType;

/// A plan file: nothing checked yet but the kinds of its values.
#[derive(Debug, Default)]
pub struct PlanFile {
    /// `[cycle]`
    pub cycle: Option<CycleSection>,
    /// `[budget]`
    pub budget: Option<BudgetSection>,
    /// `[parents.NAME]`
    pub parents: Vec<ParentSection>,
    /// `[candidates.NAME]`
    pub candidates: Vec<CandidateSection>,
    /// `[smoke]`
    pub smoke: Option<SmokeSection>,
    /// `[[eval]]`
    pub evals: Vec<EvalSection>,
    /// `[[gate]]`
    pub gates: Vec<GateSection>,
    /// `[licences]`
    pub licences: Option<LicencesSection>,
    /// `[champion]`
    pub champion: Option<ChampionSection>,
    /// `[review]`
    pub review: Option<ReviewSection>,
    /// `[recipe]`
    pub recipe: Option<RecipeSection>,
    /// `[registry]`
    pub registry: Option<RegistrySection>,
    /// The words before names, such as `candidates`, of sections that are there and whose names are none.
    pub nameless: Vec<&'static str>,
}

/// `[cycle]`
#[derive(Debug)]
pub struct CycleSection {
    /// Its name.
    pub name: Option<Located<Name>>,
    /// What all randomness derives from.
    pub seed: Option<Located<String>>,
    /// How children's numbers are stored.
    pub output: Option<Located<DType>>,
    /// In which format children are stored.
    pub format: Option<Located<Target>>,
    /// Most bytes of tensors in one file of a folder.
    pub shard: Option<Located<Bytes>>,
    /// Whether one of the last three could not be read: then it is missing here and was not left out.
    pub unclear: bool,
}

/// `[budget]`
#[derive(Debug)]
pub struct BudgetSection {
    /// Where it is.
    pub span: Range<usize>,
    /// Most candidates.
    pub candidates: Option<Located<u64>>,
    /// Largest artifact.
    pub artifact: Option<Located<Bytes>>,
    /// All artifacts together.
    pub disk: Option<Located<Bytes>>,
    /// Longest run.
    pub seconds: Option<Located<u64>>,
}

/// `[parents.NAME]`
#[derive(Debug)]
pub struct ParentSection {
    /// Its name.
    pub name: Located<Name>,
    /// A model file.
    pub source: Option<Located<String>>,
    /// Its trained-source manifest, if not beside it.
    pub manifest: Option<Located<String>>,
    /// A recipe of an earlier cycle instead of a file.
    pub from_recipe: Option<Located<String>>,
    /// Which place of the recipe, from 1.
    pub place: Option<Located<u64>>,
    /// The parent whose model it is added to, if it is an adapter.
    pub adapts: Option<Located<Name>>,
    /// `base` or `parent`.
    pub role: Option<Located<String>>,
    /// The licence it must have.
    pub licence: Option<Located<String>>,
}

/// A parameter's value as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// `true`, `false`.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A word.
    Text(String),
    /// A number that changes with depth.
    Ramp(Vec<f64>),
    /// One amount for each parent, in order.
    List(Vec<Amount>),
    /// One amount for each parent, by name.
    ByParent(Vec<(String, Amount)>),
}

/// A number, or one that changes with depth.
#[derive(Debug, Clone, PartialEq)]
pub enum Amount {
    /// The same everywhere.
    Number(f64),
    /// From the first layer to the last.
    Ramp(Vec<f64>),
}

/// A parameter and what a plan says of it.
pub type Given = (Located<String>, Located<Written>);

/// One of a candidate's `rules`.
#[derive(Debug)]
pub struct RuleSection {
    /// Which tensors.
    pub tensors: Option<Located<String>>,
    /// What is different for them.
    pub parameters: Vec<Given>,
}

/// One of a candidate's `slices`.
#[derive(Debug)]
pub struct SliceSection {
    /// Whose layers.
    pub parent: Option<Located<Name>>,
    /// Which.
    pub layers: Option<Located<Layers>>,
}

/// Layers that follow one another: the first, and the one after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers(pub usize, pub usize);

/// `[candidates.NAME]`
#[derive(Debug)]
pub struct CandidateSection {
    /// Its name.
    pub name: Located<Name>,
    /// Where it is.
    pub span: Range<usize>,
    /// Which operator makes it.
    pub operator: Option<Located<String>>,
    /// What deltas are taken from.
    pub base: Option<Located<Name>>,
    /// From whom.
    pub parents: Option<Located<Vec<Located<Name>>>>,
    /// Whose tokens the child has, where those of its parents differ.
    pub vocabulary: Option<Located<String>>,
    /// The layers it is stacked of.
    pub slices: Option<Located<Vec<SliceSection>>>,
    /// Everything else: parameters.
    pub parameters: Vec<Given>,
    /// Other parameters for some tensors.
    pub rules: Vec<RuleSection>,
    /// Parameters with several values each: every combination is a candidate.
    pub sweep: Vec<(Located<String>, Vec<Located<Written>>)>,
}

/// `[smoke]`
#[derive(Debug)]
pub struct SmokeSection {
    /// What is generated from.
    pub prompts: Option<Located<Vec<Located<String>>>>,
    /// How far.
    pub max_tokens: Option<Located<u64>>,
}

/// `[[eval]]`
#[derive(Debug)]
pub struct EvalSection {
    /// Where it is.
    pub span: Range<usize>,
    /// The suite's name.
    pub name: Option<Located<Name>>,
    /// The evaluator.
    pub kind: Option<Located<String>>,
    /// The cases, a JSON Lines file.
    pub cases: Option<Located<String>>,
    /// What the plan may do with the results: `selection`, `gate`, `final` or `both`.
    pub r#use: Option<Located<String>>,
    /// How cases are asked, as far as it is said.
    pub options: OptionsSection,
}

/// The options of `[[eval]]`.
#[derive(Debug, Default)]
pub struct OptionsSection {
    /// How far to generate.
    pub max_tokens: Option<Located<u64>>,
    /// Where answers end.
    pub stop: Option<Located<Vec<Located<String>>>>,
    /// What is evened out.
    pub normalise: Option<Located<String>>,
    /// What stands before a choice.
    pub delimiter: Option<Located<String>>,
    /// Tokens read at once.
    pub window: Option<Located<u64>>,
    /// From window to window.
    pub stride: Option<Located<u64>>,
    /// The task of another harness.
    pub task: Option<Located<String>>,
    /// Which of its metrics.
    pub task_metric: Option<Located<String>>,
    /// Its version there.
    pub task_version: Option<Located<String>>,
    /// That harness's own version.
    pub harness_version: Option<Located<String>>,
    /// Examples before each question there.
    pub num_fewshot: Option<Located<u64>>,
}

/// `[[gate]]`
#[derive(Debug)]
pub struct GateSection {
    /// Where it is.
    pub span: Range<usize>,
    /// Its name.
    pub name: Option<Located<Name>>,
    /// `metric`, `approval` or `browser_smoke`.
    pub kind: Option<Located<String>>,
    /// Which candidates it is for; all if absent.
    pub candidates: Option<Located<Vec<Located<Name>>>>,
    /// The metric.
    pub metric: Option<Located<String>>,
    /// Suites whose mean is taken.
    pub suites: Option<Located<Vec<Located<Name>>>>,
    /// At least.
    pub min: Option<Located<f64>>,
    /// At most.
    pub max: Option<Located<f64>>,
    /// Compared with whom.
    pub versus: Option<Located<String>>,
    /// By how much better.
    pub margin: Option<Located<f64>>,
    /// How sure it must be.
    pub confidence: Option<Located<f64>>,
    /// What an approver states.
    pub statement: Option<Located<String>>,
    /// Whose signed approvals count, by their names in the trust file.
    pub keys: Option<Located<Vec<Located<Name>>>>,
    /// How many of them it takes.
    pub threshold: Option<Located<u64>>,
    /// Whether something in it could not be read. What seems to be missing may be just that.
    pub faulty: bool,
}

/// `[licences]`
#[derive(Debug)]
pub struct LicencesSection {
    /// The only ones that parents may be under.
    pub allow: Option<Located<Vec<Located<String>>>>,
    /// Those that may not meet.
    pub forbid: Option<Located<Vec<Located<Together>>>>,
    /// `allow` or `refuse`: what becomes of parents that declare none.
    pub undeclared: Option<Located<String>>,
}

/// Licences that may not all meet in one child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together(pub Vec<String>);

/// `[champion]`
#[derive(Debug)]
pub struct ChampionSection {
    /// Where it is.
    pub span: Range<usize>,
    /// SHA-256 of its manifest; the last admitted if absent.
    pub manifest: Option<Located<String>>,
    /// A recipe of an earlier cycle it is in instead.
    pub from_recipe: Option<Located<String>>,
    /// Which place of the recipe, from 1.
    pub place: Option<Located<u64>>,
    /// Whom to compare with if there is none.
    pub otherwise: Option<Located<String>>,
}

/// `[review]`
#[derive(Debug)]
pub struct ReviewSection {
    /// Suites, and `artifact_bytes`.
    pub objectives: Option<Located<Vec<Located<String>>>>,
    /// The parent that stays if nothing is done.
    pub no_op: Option<Located<Name>>,
}

/// `[recipe]`
#[derive(Debug)]
pub struct RecipeSection {
    /// How many parents the next cycle gets.
    pub parents: Option<Located<u64>>,
}

/// `[registry]`
#[derive(Debug)]
pub struct RegistrySection {
    /// Largest model a browser is asked to load.
    pub budget: Option<Located<Bytes>>,
    /// Until when its signed metadata holds.
    pub expires: Option<Located<String>>,
    /// Until when the root of that holds.
    pub root_expires: Option<Located<String>>,
}
