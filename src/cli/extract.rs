//! `studbook extract`: what a model has and its base has not, as an adapter.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use super::args::Format;
use super::context::{Terminal, interruption};
use super::diff::in_names_of;
use super::exit::{Exit, UsageError};
use super::model::{doubt, open_model};
use crate::base::digest::Digest;
use crate::base::wording::count;
use crate::difference::{Changed, DifferenceError, Extracted, Form, LeftOut, Made, Selection, extract, keep};
use crate::disk::fresh;
use crate::disk::hashed::HashedFile;
use crate::model::{Package, adapter, overwrite};
use crate::operator::Tensors;
use crate::report::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Extract {
    /// The model that the adapter will be for: a file, or a folder
    pub(super) base: PathBuf,
    /// What differs from it: a model, or an adapter for it
    pub(super) model: PathBuf,
    /// The adapter to write
    pub(super) out: PathBuf,
    /// How the difference is kept; an adapter's own way by default
    #[arg(long = "as", value_enum, value_name = "FORM")]
    pub(super) form: Option<AdapterForm>,
    /// Sparse: the share of each tensor's elements, largest first; all that differ by default
    #[arg(long, value_name = "D")]
    pub(super) density: Option<f64>,
    /// Low rank: the rank of each matrix's factors
    #[arg(long, value_name = "R")]
    pub(super) rank: Option<NonZeroUsize>,
    /// Tensors of the base that the adapter is for, by a pattern with `*` and `?`; repeat for more. All by default
    #[arg(long, value_name = "PATTERN")]
    pub(super) only: Vec<String>,
    /// Tensors that are left out, by such a pattern; what they differ by is shown. Repeat for more
    #[arg(long, value_name = "PATTERN")]
    pub(super) skip: Vec<String>,
    /// Matrices of linear modules only, as a PEFT LoRA needs it: no norms, biases, embeddings
    #[arg(long)]
    pub(super) linear_only: bool,
    /// Replace the file that is there
    #[arg(long)]
    pub(super) force: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

/// How an adapter keeps a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AdapterForm {
    /// Every element
    Dense,
    /// Some elements, as pairs of index and number
    Sparse,
    /// Two narrow matrices for each matrix
    LowRank,
}

#[derive(Serialize)]
struct Output {
    adapter: String,
    bytes: u64,
    blake3: Digest,
    #[serde(flatten)]
    made: Made,
}

pub(super) fn run(command: &Extract, terminal: &Terminal) -> anyhow::Result<Exit> {
    let form = form(command)?;
    overwrite::check(&command.out, [command.base.as_path(), command.model.as_path()])?;
    fresh::refuse_file(&command.out, command.force)?;
    let base = open_model(&command.base)?.package;
    let adapter = adapter::open_for(&command.model, &base)?;
    if let Some(doubt) = adapter.as_ref().and_then(|adapter| doubt(&command.model, adapter)) {
        terminal.warn(&doubt)?;
    }
    let selection = selection(command, &base)?;
    let cancelled = interruption()?;
    let folder = command.out.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Anybody may read it, as with any file a person makes.
    let mut file = HashedFile::create_with_mode(folder.unwrap_or(Path::new(".")), 0o666)?;
    let made = match (&adapter, form) {
        (Some(adapter), Some(form)) => {
            extract(&base, Changed::Adapter(adapter), form, selection, &mut file, &*cancelled)
        }
        (Some(adapter), None) => keep(&base, adapter, selection, &mut file),
        (None, Some(form)) => {
            let model = open_model(&command.model)?.package;
            let view = in_names_of(&base, &model).transpose()?.map(|view| view.beside(&base.weights));
            let tensors = view.as_ref().map_or(&model.weights as &dyn Tensors, |view| view);
            extract(&base, Changed::Model(&model, tensors), form, selection, &mut file, &*cancelled)
        }
        (None, None) => {
            return Err(UsageError::new("how is the difference to be kept?")
                .hint("add `--as dense`, `--as sparse` or `--as low-rank --rank R`")
                .into());
        }
    };
    let made = match made {
        Err(DifferenceError::Cancelled) => return Ok(Exit::Interrupted),
        other => other?,
    };
    let done = file.finish()?;
    let output =
        Output { adapter: command.out.display().to_string(), bytes: done.bytes, blake3: done.digest, made };
    done.persist(&command.out, command.force)?;
    match command.format {
        Format::Json => terminal.json(&output)?,
        Format::Text => print(&output, terminal)?,
    }
    Ok(Exit::Complete)
}

/// The tensors that are meant; a pattern must mean one.
fn selection<'a>(command: &'a Extract, base: &Package) -> Result<Selection<'a>, UsageError> {
    let Extract { only, skip, linear_only, .. } = command;
    let selection = Selection { only, skip, linear: *linear_only };
    let Some(pattern) = selection.unmet(base) else { return Ok(selection) };
    let message = format!("no tensor of {} is called `{pattern}`", command.base.display());
    let hint = "a pattern is of whole names, with `*` for any characters; `studbook inspect` lists the names";
    Err(UsageError::new(message).hint(hint))
}

fn form(command: &Extract) -> Result<Option<Form>, UsageError> {
    let only = |option: &str, form: &str| UsageError::new(format!("`{option}` goes with `--as {form}` only"));
    if command.density.is_some() && command.form != Some(AdapterForm::Sparse) {
        return Err(only("--density", "sparse"));
    }
    if command.rank.is_some() && command.form != Some(AdapterForm::LowRank) {
        return Err(only("--rank", "low-rank"));
    }
    Ok(Some(match command.form {
        None => return Ok(None),
        Some(AdapterForm::Dense) => Form::Dense,
        Some(AdapterForm::Sparse) => match command.density {
            Some(density) if !(density > 0.0 && density <= 1.0) => {
                return Err(UsageError::new(format!("a density is above 0 and at most 1, not {density}")));
            }
            density => Form::Sparse { density },
        },
        Some(AdapterForm::LowRank) => match command.rank {
            Some(rank) => Form::LowRank { rank: rank.get() },
            None => {
                return Err(UsageError::new("`--as low-rank` needs `--rank R`")
                    .hint("8 is a usual rank; the report says how much each one captures"));
            }
        },
    }))
}

fn print(output: &Output, terminal: &Terminal) -> std::io::Result<()> {
    let mut out = terminal.out();
    let Output { adapter, bytes, made: Made { deltas, left_out }, .. } = output;
    let mut table = Table::new(&["tensor", "shape", "stored", "numbers", "L2", "captured"]);
    for delta in deltas {
        table.row(&[
            &delta.tensor,
            &delta.shape.to_string(),
            delta.stored,
            &delta.numbers.to_string(),
            &format!("{:.3e}", delta.l2),
            &format!("{:.2}%", delta.captured * 100.0),
        ]);
    }
    write!(out, "{}", table.render())?;
    if !left_out.is_empty() {
        write!(out, "\n{}\n", left_out_table(left_out).render())?;
    }
    write!(out, "{adapter}: {}, {bytes} bytes", count(deltas.len(), "delta"))?;
    if !left_out.is_empty() {
        let share =
            format!("{:.2}% of the whole difference (squared L2)", share(made_energy(deltas), left_out));
        let tensors = count(left_out.len(), "tensor");
        write!(out, "; {tensors} that differ left out, {share}")?;
    }
    writeln!(out)
}

fn left_out_table(left_out: &[LeftOut]) -> Table {
    let mut table = Table::new(&["left out", "shape", "L2", "relative", "largest"]);
    for LeftOut { tensor, shape, measures } in left_out {
        table.row(&[
            tensor,
            &shape.to_string(),
            &format!("{:.3e}", measures.l2),
            &measures.relative_l2.map_or("-".to_owned(), |relative| format!("{relative:.3e}")),
            &format!("{:.3e}", measures.max_abs),
        ]);
    }
    table
}

/// The squared L2 norm of what the deltas are of.
fn made_energy(deltas: &[Extracted]) -> f64 {
    deltas.iter().map(|delta| delta.l2 * delta.l2).sum()
}

/// What part of the whole is left out, in hundredths.
fn share(kept: f64, left_out: &[LeftOut]) -> f64 {
    let missing: f64 = left_out.iter().map(|one| one.measures.l2 * one.measures.l2).sum();
    100.0 * missing / (kept + missing)
}
