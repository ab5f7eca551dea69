//! Tables to sections: the kinds of values, and nothing that depends on another section.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{
    Amount, BudgetSection, CandidateSection, ChampionSection, CycleSection, EvalSection, GateSection, Given,
    Layers, LicencesSection, OptionsSection, ParentSection, PlanFile, RecipeSection, RegistrySection,
    ReviewSection, RuleSection, SliceSection, SmokeSection, Together, Written,
};
use super::syntax::{FromToml, Table, describe};
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::base::name::Name;
use crate::convert::Target;
use crate::tensor::dtype::DType;

impl FromToml for Name {
    const EXPECTED: &'static str = "a name such as `ties-0.5`";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        let text = value.as_str().ok_or(None)?;
        text.parse().map_err(|error: crate::base::name::NameError| Some(error.to_string()))
    }
}

impl FromToml for DType {
    const EXPECTED: &'static str = "\"f32\", \"f16\", \"bf16\", \"q8_0\" or \"q4_0\"";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        let text = value.as_str().ok_or(None)?;
        match Self::from_name(text) {
            Some(dtype) if Target::OF_CHILDREN.iter().any(|target| target.encodings().contains(&dtype)) => {
                Ok(dtype)
            }
            Some(dtype) => Err(Some(format!("a child cannot be stored as {dtype}"))),
            None => Err(Some(format!("unknown encoding {text:?}"))),
        }
    }
}

impl FromToml for Target {
    const EXPECTED: &'static str = "\"slm\", \"hugging-face\", \"safetensors\" or \"gguf\"";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        let text = value.as_str().ok_or(None)?;
        Self::from_word(text).ok_or_else(|| Some(format!("a child cannot be stored as {text:?}")))
    }
}

impl FromToml for Amount {
    const EXPECTED: &'static str = "a number, or a ramp over depth such as `{ ramp = [0, 1] }`";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        match value {
            DeValue::Table(table) => match ramp(table) {
                Some(numbers) => Ok(Self::Ramp(numbers?)),
                None => Err(None),
            },
            number => f64::from_toml(number).map(Self::Number),
        }
    }
}

/// The numbers of `{ ramp = [...] }`; none if the table is something else. A parent may be called
/// `ramp`, but no parent's amount is a list.
fn ramp(table: &DeTable<'_>) -> Option<Result<Vec<f64>, Option<String>>> {
    match table.iter().next().map(|(key, value)| (key.get_ref().as_ref(), value.get_ref())) {
        Some(("ramp", DeValue::Array(numbers))) if table.len() == 1 => {
            Some(numbers.iter().map(|number| f64::from_toml(number.get_ref())).collect())
        }
        _ => None,
    }
}

impl FromToml for Written {
    const EXPECTED: &'static str = "a number, `true`, `false`, a word, a list of numbers, a table parent = number or a ramp \
         over depth such as `{ ramp = [0, 1] }`";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        Ok(match value {
            DeValue::Boolean(flag) => Self::Flag(*flag),
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Array(items) => {
                let amounts: Result<_, _> =
                    items.iter().map(|item| Amount::from_toml(item.get_ref())).collect();
                Self::List(amounts?)
            }
            DeValue::Table(table) => {
                if let Some(numbers) = ramp(table) {
                    return numbers.map(Self::Ramp);
                }
                let entry = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                    Ok((ToString::to_string(name.get_ref()), Amount::from_toml(value.get_ref())?))
                };
                let entries: Result<_, Option<String>> = table.iter().map(entry).collect();
                Self::ByParent(entries?)
            }
            DeValue::Datetime(_) => return Err(None),
            DeValue::Integer(_) | DeValue::Float(_) => Self::Number(f64::from_toml(value)?),
        })
    }
}

/// Reads a plan's text; mistakes go to `diagnostics`. Of a text that is no TOML nothing but that is
/// told: sections behind an open quote are not missing.
pub fn parse(source: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<PlanFile> {
    let (document, errors) = DeTable::parse_recoverable(source);
    if !errors.is_empty() {
        diagnostics.extend(errors.iter().map(no_toml));
        return None;
    }
    let report = RefCell::new(std::mem::take(diagnostics));
    let file = plan_file(Table::new("the plan", 0..0, document.get_ref(), &report));
    *diagnostics = report.into_inner();
    Some(file)
}

fn no_toml(error: &toml::de::Error) -> Diagnostic {
    Diagnostic::error(format!("not valid TOML: {}", error.message()), error.span().unwrap_or(0..0))
        .expected("expected valid TOML")
        .help("what the plan says is checked once it can be read")
}

fn plan_file(mut top: Table<'_, '_>) -> PlanFile {
    let mut nameless = Vec::new();
    let file = PlanFile {
        cycle: top.table("cycle").map(cycle),
        budget: top.table("budget").map(budget),
        parents: named(&mut top, "parents", &mut nameless, parent),
        candidates: named(&mut top, "candidates", &mut nameless, candidate),
        smoke: top.table("smoke").map(smoke),
        evals: top.array_of_tables("eval").into_iter().map(eval).collect(),
        gates: top.array_of_tables("gate").into_iter().map(gate).collect(),
        licences: top.table("licences").map(licences),
        champion: top.table("champion").map(champion),
        review: top.table("review").map(review),
        recipe: top.table("recipe").map(recipe),
        registry: top.table("registry").map(registry),
        nameless,
    };
    top.finish();
    file
}

fn named<T>(
    top: &mut Table<'_, '_>,
    key: &'static str,
    nameless: &mut Vec<&'static str>,
    read: fn(Located<Name>, Table<'_, '_>) -> T,
) -> Vec<T> {
    let tables = top.named_tables(key);
    let mut found = Vec::with_capacity(tables.len());
    for (name, table) in tables {
        match name.value.parse::<Name>() {
            Ok(parsed) => found.push(read(Located::new(parsed, name.span), table)),
            Err(error) => {
                nameless.push(key);
                top.mistake(
                    Diagnostic::error(error.to_string(), name.span)
                        .expected(format!("expected {}", Name::EXPECTED)),
                );
            }
        }
    }
    found
}

fn cycle(mut table: Table<'_, '_>) -> CycleSection {
    let (name, seed, before) = (table.required("name"), table.required("seed"), table.mistakes());
    let (output, format, shard) =
        (table.optional("output"), table.optional("format"), table.optional("shard"));
    let unclear = table.mistakes() > before;
    let section = CycleSection { name, seed, output, format, shard, unclear };
    table.finish();
    section
}

fn budget(mut table: Table<'_, '_>) -> BudgetSection {
    let section = BudgetSection {
        span: table.span.clone(),
        candidates: table.required("candidates"),
        artifact: table.required("artifact"),
        disk: table.required("disk"),
        seconds: table.required("seconds"),
    };
    table.finish();
    section
}

fn parent(name: Located<Name>, mut table: Table<'_, '_>) -> ParentSection {
    let (title, before) = (table.title.clone(), table.mistakes());
    let section = ParentSection {
        source: table.optional("source"),
        manifest: table.optional("manifest"),
        from_recipe: table.optional("from_recipe"),
        place: table.optional("place"),
        adapts: table.optional("adapts"),
        role: table.optional("role"),
        licence: table.optional("licence"),
        name,
    };
    if let (Some(_), Some(recipe)) = (&section.source, &section.from_recipe) {
        table.mistake(
            Diagnostic::error(format!("{title} has `source` and `from_recipe`"), recipe.span.clone())
                .expected("expected only one of them")
                .help("remove one: a parent comes from a file or from an earlier cycle"),
        );
    }
    let report = table.report();
    let faulty = table.finish() > before;
    if section.source.is_none() && section.from_recipe.is_none() && !faulty {
        report.borrow_mut().push(
            Diagnostic::error(format!("{title} names no model"), section.name.span.clone())
                .expected("expected `source` or `from_recipe`")
                .help("add `source = \"model.slm\"`, or `from_recipe = \"pool.toml\"` of an earlier cycle"),
        );
    }
    section
}

fn candidate(name: Located<Name>, mut table: Table<'_, '_>) -> CandidateSection {
    let mut section = CandidateSection {
        span: name.span.clone(),
        operator: table.required("operator"),
        base: table.optional("base"),
        parents: table.required_list("parents"),
        vocabulary: table.optional("vocabulary"),
        slices: table
            .tables("slices")
            .map(|slices| Located::new(slices.value.into_iter().map(slice).collect(), slices.span)),
        parameters: Vec::new(),
        rules: table.array_of_tables("rules").into_iter().map(rule).collect(),
        sweep: Vec::new(),
        name,
    };
    if let Some(mut sweep) = table.table("sweep") {
        section.sweep = sweep_values(&mut sweep);
    }
    section.parameters = parameters(&mut table);
    section
}

fn rule(mut table: Table<'_, '_>) -> RuleSection {
    RuleSection { tensors: table.required("tensors"), parameters: parameters(&mut table) }
}

fn slice(mut table: Table<'_, '_>) -> SliceSection {
    let section = SliceSection { parent: table.required("parent"), layers: table.required("layers") };
    table.finish();
    section
}

impl FromToml for Layers {
    const EXPECTED: &'static str = "two whole numbers: the first layer, from 0, and the one after the last";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        let items = value.as_array().ok_or(None)?;
        let numbers: Vec<u64> =
            items.iter().map(|item| u64::from_toml(item.get_ref())).collect::<Result<_, _>>()?;
        let [first, end] = numbers[..] else {
            return Err(Some(format!("these are {} numbers", numbers.len())));
        };
        let number = |number: u64| usize::try_from(number).map_err(|_| None);
        if first < end {
            Ok(Self(number(first)?, number(end)?))
        } else {
            Err(Some(format!("from {first} to before {end} there is no layer")))
        }
    }
}

/// Everything nobody asked for: which parameters there are, the operator knows.
fn parameters(table: &mut Table<'_, '_>) -> Vec<Given> {
    let rest = table.rest().into_iter();
    rest.filter_map(|(key, value)| Some((table.read(&key.value, value)?, key)))
        .map(|(written, key)| (key, written))
        .collect()
}

fn sweep_values(sweep: &mut Table<'_, '_>) -> Vec<(Located<String>, Vec<Located<Written>>)> {
    let mut found = Vec::new();
    for (key, value) in sweep.rest() {
        let DeValue::Array(items) = value.get_ref() else {
            let message =
                format!("the sweep over `{}` is {}, not a list", key.value, describe(value.get_ref()));
            sweep.mistake(
                Diagnostic::error(message, value.span()).expected("expected a list of values to try"),
            );
            continue;
        };
        let values: Vec<_> = items.iter().filter_map(|item| sweep.read(&key.value, item)).collect();
        if items.is_empty() {
            let message = format!("the sweep over `{}` has no values", key.value);
            sweep.mistake(Diagnostic::error(message, value.span()).expected("expected at least one value"));
        }
        found.push((key, values));
    }
    found
}

fn smoke(mut table: Table<'_, '_>) -> SmokeSection {
    let section =
        SmokeSection { prompts: table.required_list("prompts"), max_tokens: table.optional("max_tokens") };
    table.finish();
    section
}

fn eval(mut table: Table<'_, '_>) -> EvalSection {
    let section = EvalSection {
        span: table.span.clone(),
        name: table.required("name"),
        kind: table.required("kind"),
        cases: table.optional("cases"),
        r#use: table.optional("use"),
        options: OptionsSection {
            max_tokens: table.optional("max_tokens"),
            stop: table.list("stop"),
            normalise: table.optional("normalise"),
            delimiter: table.optional("delimiter"),
            window: table.optional("window"),
            stride: table.optional("stride"),
            task: table.optional("task"),
            task_metric: table.optional("task_metric"),
            task_version: table.optional("task_version"),
            harness_version: table.optional("harness_version"),
            num_fewshot: table.optional("num_fewshot"),
        },
    };
    table.finish();
    section
}

fn gate(mut table: Table<'_, '_>) -> GateSection {
    let before = table.mistakes();
    let mut section = GateSection {
        faulty: false,
        span: table.span.clone(),
        name: table.required("name"),
        kind: table.required("kind"),
        candidates: table.list("candidates"),
        metric: table.optional("metric"),
        suites: table.list("suites"),
        min: table.optional("min"),
        max: table.optional("max"),
        versus: table.optional("versus"),
        margin: table.optional("margin"),
        confidence: table.optional("confidence"),
        statement: table.optional("statement"),
        keys: table.list("keys"),
        threshold: table.optional("threshold"),
    };
    section.faulty = table.finish() > before;
    section
}

fn licences(mut table: Table<'_, '_>) -> LicencesSection {
    let section = LicencesSection {
        allow: table.list("allow"),
        forbid: table.list("forbid"),
        undeclared: table.optional("undeclared"),
    };
    table.finish();
    section
}

fn champion(mut table: Table<'_, '_>) -> ChampionSection {
    let section = ChampionSection {
        span: table.span.clone(),
        manifest: table.optional("manifest"),
        from_recipe: table.optional("from_recipe"),
        place: table.optional("place"),
        otherwise: table.optional("otherwise"),
    };
    table.finish();
    section
}

impl FromToml for Together {
    const EXPECTED: &'static str = "a list of licences that may not meet";
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Option<String>> {
        let items = value.as_array().ok_or(None)?;
        let text = |item: &toml::Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned).ok_or(None);
        Ok(Self(items.iter().map(text).collect::<Result<_, _>>()?))
    }
}

fn review(mut table: Table<'_, '_>) -> ReviewSection {
    let section = ReviewSection { objectives: table.list("objectives"), no_op: table.optional("no_op") };
    table.finish();
    section
}

fn recipe(mut table: Table<'_, '_>) -> RecipeSection {
    let section = RecipeSection { parents: table.optional("parents") };
    table.finish();
    section
}

fn registry(mut table: Table<'_, '_>) -> RegistrySection {
    let section = RegistrySection {
        budget: table.optional("budget"),
        expires: table.optional("expires"),
        root_expires: table.optional("root_expires"),
    };
    table.finish();
    section
}
