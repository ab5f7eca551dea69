//! `studbook operators`: what candidates can be made by, as the operators declare themselves.

use std::io::Write;

use serde::Serialize;

use super::args::Format;
use super::context::Terminal;
use super::exit::{Exit, UsageError};
use crate::base::nearest::nearest;
use crate::base::number::number;
use crate::mergekit::method;
use crate::operator::parameter::Kind;
use crate::operator::{OPERATORS, Operator, Parameter, Value, find};
use crate::report::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Operators {
    /// One of them, with its parameters
    pub(super) operator: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

pub(super) fn run(command: &Operators, terminal: &Terminal) -> anyhow::Result<Exit> {
    let chosen = match &command.operator {
        Some(name) => vec![known(name)?],
        None => OPERATORS.to_vec(),
    };
    if command.format == Format::Json {
        terminal.json(&chosen.iter().map(|operator| Declared::of(*operator)).collect::<Vec<_>>())?;
        return Ok(Exit::Complete);
    }
    let mut out = terminal.out();
    match &command.operator {
        Some(_) => write!(out, "{}", page(chosen[0]))?,
        None => write!(out, "{}", list(&chosen))?,
    }
    Ok(Exit::Complete)
}

fn known(name: &str) -> Result<&'static dyn Operator, UsageError> {
    find(name).ok_or_else(|| {
        let error = UsageError::new(format!("no operator is called `{name}`"));
        if let Some(hint) = method::as_here(name) {
            return error.hint(hint);
        }
        match nearest(name, OPERATORS.iter().map(|operator| operator.name())) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`studbook operators` lists them"),
        }
    })
}

fn list(operators: &[&dyn Operator]) -> String {
    let mut table = Table::new(&["operator", "parents", "base", "what it makes"]);
    for operator in operators {
        table.row(&[operator.name(), &parents(*operator), base(*operator), operator.summary()]);
    }
    table.render()
}

fn page(operator: &dyn Operator) -> String {
    let mut table = Table::new(&["parameter", "default", "values", "what it is"]);
    for parameter in operator.parameters() {
        table.row(&[parameter.name, &default(parameter), &values(&parameter.kind), parameter.doc]);
    }
    let head = format!("{}: {}", operator.name(), operator.summary());
    let head = format!("{head}\nparents: {}; base: {}", parents(operator), base(operator));
    match operator.parameters() {
        [] => format!("{head}; no parameters\n"),
        _ => format!("{head}\n\n{}", table.render()),
    }
}

fn parents(operator: &dyn Operator) -> String {
    let [least, most] = [*operator.parents().start(), *operator.parents().end()];
    match most {
        usize::MAX => format!("{least} or more"),
        most if most == least => most.to_string(),
        most => format!("{least} to {most}"),
    }
}

fn base(operator: &dyn Operator) -> &'static str {
    match (operator.needs_base(), operator.takes_base()) {
        (true, _) => "needed",
        (false, true) => "if named",
        (false, false) => "none",
    }
}

/// What a plan that says nothing means.
fn default(parameter: &Parameter) -> String {
    match parameter.default(1) {
        Some(Value::Flag(flag)) => flag.to_string(),
        Some(Value::Number(value)) => number(value),
        Some(Value::PerParent(each)) => each.first().copied().map_or_else(String::new, number),
        Some(Value::Choice(word)) => format!("\"{word}\""),
        _ if parameter.is_required() => "required".to_owned(),
        _ => "not given".to_owned(),
    }
}

/// Bounds as large as this are there to keep sums finite, and tell nobody anything.
const ANY: f64 = 1e9;

fn values(kind: &Kind) -> String {
    let Some([min, max]) = kind.bounds() else { return kind.describe() };
    let range = match (min <= -ANY, max >= ANY) {
        (true, true) => String::new(),
        (false, true) => format!(" from {}", number(min)),
        (true, false) => format!(" to {}", number(max)),
        (false, false) => format!(" from {} to {}", number(min), number(max)),
    };
    let each = if matches!(kind, Kind::Number { .. }) { "" } else { " for each parent" };
    format!("a number{range}{each}")
}

/// An operator for programs.
#[derive(Serialize)]
struct Declared {
    name: &'static str,
    version: u32,
    summary: &'static str,
    /// The least and the largest number of parents; no largest one if there may be any number.
    parents: (usize, Option<usize>),
    base: &'static str,
    parameters: Vec<DeclaredParameter>,
}

#[derive(Serialize)]
struct DeclaredParameter {
    name: &'static str,
    doc: &'static str,
    values: String,
    /// The least and the largest number.
    bounds: Option<[f64; 2]>,
    per_parent: bool,
    required: bool,
    default: Option<Value>,
}

impl Declared {
    fn of(operator: &dyn Operator) -> Self {
        let [least, most] = [*operator.parents().start(), *operator.parents().end()];
        Self {
            name: operator.name(),
            version: operator.version(),
            summary: operator.summary(),
            parents: (least, (most != usize::MAX).then_some(most)),
            base: base(operator),
            parameters: operator.parameters().iter().map(DeclaredParameter::of).collect(),
        }
    }
}

impl DeclaredParameter {
    fn of(parameter: &Parameter) -> Self {
        let per_parent = matches!(parameter.kind, Kind::PerParent { .. } | Kind::OptionalPerParent { .. });
        let default = match parameter.default(1) {
            Some(Value::PerParent(each)) => each.first().copied().map(Value::Number),
            other => other,
        };
        Self {
            name: parameter.name,
            doc: parameter.doc,
            values: values(&parameter.kind),
            bounds: parameter.kind.bounds(),
            per_parent,
            required: parameter.is_required(),
            default,
        }
    }
}
