//! `studbook diff`: how far two models are apart.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::args::Format;
use super::context::Terminal;
use super::exit::Exit;
use super::model::Given;
use crate::base::digest::Digest;
use crate::convert::{ConvertError, View};
use crate::difference::{Comparison, Measures, compare, compare_as};
use crate::model::Package;
use crate::model::arithmetic::unlike;
use crate::model::buffer;
use crate::model::identity::{Difference, DifferenceKind, Identity, disagreements};
use crate::model::naming::Naming;
use crate::model::tokenizer::files;
use crate::operator::Tensors;
use crate::report::table::{Table, plain};
use crate::tensor::dtype::DType;

#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// The model that differences are taken from: a file, a folder, or MODEL+ADAPTER
    pub(super) first: PathBuf,
    /// The other model
    pub(super) second: PathBuf,
    /// Exit with 1 if they differ; how they are stored does not matter
    #[arg(long)]
    pub(super) exit_code: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Serialize)]
struct Output {
    first: String,
    second: String,
    same: bool,
    /// Where the networks or the tokenizers differ, as far as both models tell.
    meaning: Vec<Difference>,
    /// Why the second model's tensors could not be called as the first one's are.
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<String>,
    /// What differs beside the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    buffers: Option<String>,
    #[serde(flatten)]
    comparison: Comparison,
}

pub(super) fn run(command: &Diff, terminal: &Terminal) -> anyhow::Result<Exit> {
    let given = [Given::open(&command.first)?, Given::open(&command.second)?];
    given.iter().filter_map(Given::doubt).try_for_each(|doubt| terminal.warn(&doubt))?;
    let [first, second] = [&given[0].opened, &given[1].opened];
    let (comparison, names) = compared(&given)?;
    let meaning = meaning(&first.package, &second.package);
    let [one, other] = [&command.first, &command.second].map(|path| path.display().to_string());
    let buffers = buffer::same((&one, &first.package), (&other, &second.package)).err();
    let buffers = buffers.map(|error| error.to_string());
    let output = Output {
        first: command.first.display().to_string(),
        second: command.second.display().to_string(),
        same: comparison.same() && meaning.is_empty() && buffers.is_none(),
        meaning,
        names,
        buffers,
        comparison,
    };
    match command.format {
        Format::Json => terminal.json(&output)?,
        Format::Text => print(&output, terminal)?,
    }
    Ok(if command.exit_code && !output.same { Exit::Different } else { Exit::Complete })
}

/// The comparison, and why the second model's tensors are not called as the first one's are, if that is so.
fn compared([first, second]: &[Given; 2]) -> anyhow::Result<(Comparison, Option<String>)> {
    let (one, other) = (&first.opened.package, &second.opened.package);
    let adapted = [first.adapted()?, second.adapted()?];
    let [ours, theirs] = [(one, &adapted[0]), (other, &adapted[1])].map(|(package, adapted)| {
        adapted.as_ref().map_or(&package.weights as &dyn Tensors, |adapted| adapted)
    });
    let as_they_lie = || compare(&one.weights, &other.weights);
    let naming = compared_naming(one, other);
    if naming.is_none() && adapted.iter().all(Option::is_none) {
        return Ok((as_they_lie()?, None));
    }
    let format = one.weights.format();
    let views = View::new(other, theirs, naming, format)
        .and_then(|theirs| Ok((View::new(one, ours, naming, other.weights.format())?, theirs)));
    // What follows from the rest is in one family a tensor, in another none.
    let (ours, theirs) = match views {
        Ok(views) => views,
        Err(why) if adapted.iter().all(Option::is_none) => {
            return Ok((as_they_lie()?, Some(why.to_string())));
        }
        Err(why) => return Err(why.into()),
    };
    let stored = |package: &Package, name: Option<&str>| {
        name.and_then(|name| package.weights.info(name)).map_or(DType::F32, |info| info.dtype)
    };
    let stored = |name: &str| [stored(one, ours.name_there(name)), stored(other, theirs.name_there(name))];
    Ok((compare_as(&ours, &theirs, &stored)?, None))
}

/// The names in which two models are compared: the first one's, unless its gains lie there less one, and in the
/// second one's as they are computed with.
fn compared_naming(first: &Package, second: &Package) -> Option<Naming> {
    let common = common_naming(first, second)?;
    let less_one = first.config.as_ref().is_ok_and(|config| common.gains_less_one(config));
    if less_one { second.naming } else { Some(common) }
}

/// The first model's names, if both belong to families and those differ.
fn common_naming(first: &Package, second: &Package) -> Option<Naming> {
    let (ours, theirs) = (first.naming?, second.naming?);
    (ours != theirs).then_some(ours)
}

/// The second model with the names and the order of rows that the first one has, where both belong to
/// families that differ in it; or why it cannot be read so.
pub(super) fn in_names_of<'m>(
    first: &Package,
    second: &'m Package,
) -> Option<Result<View<'m>, ConvertError>> {
    let naming = common_naming(first, second)?;
    Some(View::new(second, &second.weights, Some(naming), first.weights.format()))
}

/// What the tensors do not show: other arithmetic, other ids. Names, shapes and encodings are shown with the
/// tensors.
fn meaning(first: &Package, second: &Package) -> Vec<Difference> {
    let networks = unlike(first, second).into_iter().map(Difference::from);
    networks.chain(tokenizers(first, second)).collect()
}

/// How the tokenizers differ: where both are known, or a file of both that is not read here is another one.
fn tokenizers(first: &Package, second: &Package) -> Vec<Difference> {
    if first.tokenizer.is_err() || second.tokenizer.is_err() {
        let Some(files::Unlike::Bytes(name)) = files::unlike(first, second) else { return Vec::new() };
        let digest = |package: &Package| {
            package.companion(name).map_or_else(String::new, |file| Digest::of(&file.bytes).to_string())
        };
        let (ours, theirs) = (digest(first), digest(second));
        return vec![Difference { kind: DifferenceKind::Tokenizer, field: name.to_owned(), ours, theirs }];
    }
    let [ours, theirs] = [first, second].map(Identity::of_package);
    let mut found = disagreements((&ours, first), (&theirs, second));
    found.retain(|found| found.kind == DifferenceKind::Tokenizer);
    found
}

fn print(output: &Output, terminal: &Terminal) -> std::io::Result<()> {
    let comparison = &output.comparison;
    let mut out = terminal.out();
    let headings = ["tensor", "shape", "encoding", "L2", "relative", "largest", "cosine", "changed"];
    let mut table = Table::new(&headings);
    let mut row = |name: &str, shape: &str, encoding: &str, measures: &Measures| {
        let [l2, relative, largest, cosine, changed] = words(measures);
        table.row(&[name, shape, encoding, &l2, &relative, &largest, &cosine, &changed]);
    };
    for tensor in &comparison.tensors {
        row(&tensor.name, &tensor.shape.to_string(), &encodings(tensor.dtypes), &tensor.measures);
    }
    row("all", &comparison.total.elements.to_string(), "", &comparison.total);
    write!(out, "{}", table.render())?;
    for tensor in &comparison.reshaped {
        let [first, second] = &tensor.shapes;
        let name = plain(&tensor.name);
        writeln!(out, "{name} is {first} in {} and {second} in {}", output.first, output.second)?;
    }
    for (names, model) in [(&comparison.only_first, &output.first), (&comparison.only_second, &output.second)]
    {
        for name in names {
            writeln!(out, "only in {model}: {}", plain(name))?;
        }
    }
    for Difference { field, ours, theirs, .. } in &output.meaning {
        writeln!(out, "{field} is {ours} in {} and {theirs} in {}", output.first, output.second)?;
    }
    if let Some(why) = &output.names {
        let Output { first, second, .. } = output;
        writeln!(out, "the tensors of {second} cannot be called as those of {first} are: {why}")?;
    }
    if let Some(buffers) = &output.buffers {
        writeln!(out, "{buffers}")?;
    }
    if output.same {
        writeln!(out, "the same tensors with the same values")?;
    }
    Ok(())
}

fn encodings([first, second]: [DType; 2]) -> String {
    if first == second { first.to_string() } else { format!("{first}, {second}") }
}

fn words(measures: &Measures) -> [String; 5] {
    let short = |value: f64| if value == 0.0 { "0".to_owned() } else { format!("{value:.3e}") };
    [
        short(measures.l2),
        measures.relative_l2.map_or("-".to_owned(), short),
        short(measures.max_abs),
        measures.cosine.map_or("-".to_owned(), |cosine| format!("{cosine:.6}")),
        format!("{:.1}%", measures.changed * 100.0),
    ]
}
