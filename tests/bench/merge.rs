//! Every operator on checkpoints as people have them, against the least anybody could do, and
//! `studbook merge` against mergekit.
//!
//! `cargo bench --bench merge` makes a base and three parents of a llama-like network, in f32 and in
//! bf16, and prints two tables in Markdown:
//!
//! * each operator on the files, against `cat` of its inputs and `cp` of one of them, taking turns;
//! * the whole program `studbook merge`, hashing its inputs and again when they are remembered, against
//!   the same, and against mergekit on the same folders, if `STUDBOOK_BENCH_MERGEKIT` names a `mergekit-yaml`.
//!
//! Medians, and the median of the rounds' own ratios. Memory is the most anonymous memory a process
//! had: pages of mapped files belong to the system, and mergekit maps its inputs as well.
//!
//! The sizes are about 160 million parameters and, if `STUDBOOK_BENCH_LARGE` is set, 1.1 billion (22
//! GB of files in f32, 11 in bf16). `STUDBOOK_BENCH_ROUNDS` sets the rounds (mergekit runs once),
//! `STUDBOOK_BENCH_ONLY` keeps the rows whose label contains it, `STUDBOOK_BENCH_FILES` names a folder
//! where the files are kept for the next time.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use studbook::disk::hashed::HashedFile;
use studbook::model::safetensors::{Layout, Metadata, Writer};
use studbook::model::{Planned, open_package};
use studbook::operator::{Job, Operator, Parameters, Parent, Value, apply, find};
use studbook::tensor::dtype::DType;

mod checkpoints;
mod mergekit;
mod process;
mod yard;

use checkpoints::{SIZES, planned, weights};
use yard::{median, watching_memory, yardstick};

/// Operator, parents, parameters.
type Row = (&'static str, usize, &'static [(&'static str, Given)]);

enum Given {
    Number(f64),
    Word(&'static str),
}

use Given::{Number, Word};

const ROWS: &[Row] = &[
    ("blend", 3, &[]),
    ("task_delta", 3, &[("lambda", Number(0.5))]),
    ("slerp", 2, &[("t", Number(0.4))]),
    ("dare", 3, &[("drop", Number(0.7)), ("lambda", Number(0.5))]),
    ("dare", 3, &[("drop", Number(0.7)), ("elect", Word("sum"))]),
    ("della", 3, &[("density", Number(0.5)), ("epsilon", Number(0.1))]),
    ("sign_merge", 3, &[("density", Number(0.5))]),
    ("sparse_task_delta", 3, &[("density", Number(0.5))]),
    ("sparse_task_delta", 3, &[("density", Number(0.5)), ("gamma", Number(0.01))]),
    ("nuslerp", 2, &[]),
    ("multislerp", 3, &[]),
    ("nearswap", 2, &[("t", Number(0.01))]),
    ("sce", 3, &[("select_topk", Number(0.3))]),
    ("arcee_fusion", 1, &[]),
    ("ram", 3, &[("epsilon", Number(0.01))]),
    ("model_stock", 3, &[]),
    ("crossover", 3, &[]),
    ("mutate", 1, &[]),
    ("prune", 1, &[("density", Number(0.5))]),
    ("prune", 1, &[("density", Number(0.5)), ("scope", Word("global"))]),
    ("federated", 3, &[("samples", Number(100.0)), ("clip_norm", Number(10.0))]),
    ("soup", 3, &[]),
];

fn main() {
    if cfg!(debug_assertions) {
        eprintln!("this measures nothing without optimisation: cargo bench --bench merge");
        return;
    }
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    let setting = Setting {
        rounds: number("STUDBOOK_BENCH_ROUNDS").unwrap_or(5),
        only: std::env::var("STUDBOOK_BENCH_ONLY").unwrap_or_default(),
    };
    let sizes = if std::env::var_os("STUDBOOK_BENCH_LARGE").is_some() { &SIZES[..] } else { &SIZES[..1] };
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let kept = std::env::var_os("STUDBOOK_BENCH_FILES").map(PathBuf::from);
    let place = kept.as_deref().unwrap_or(temporary.path());
    println!("{} rounds, {} threads, warm cache\n", setting.rounds, rayon::current_num_threads());
    println!("| files | operator | parents | cat + cp, s | made, s | ratio | memory besides maps, MB |");
    println!("|-------|----------|--------:|------------:|--------:|------:|------------------------:|");
    for size in sizes {
        for dtype in [DType::F32, DType::BF16] {
            for row in ROWS {
                let label = format!("{} {dtype} {}", size.label, describe(row));
                if setting.wants(&label) {
                    let files: Vec<PathBuf> = (0..4)
                        .map(|model| weights(&checkpoints::folder(place, size, dtype, model)))
                        .collect();
                    measure(row, &label, &files, temporary.path(), dtype, setting.rounds);
                }
            }
        }
    }
    println!();
    mergekit::table(&setting, sizes, place, temporary.path());
}

/// What was asked for.
struct Setting {
    rounds: usize,
    only: String,
}

impl Setting {
    fn wants(&self, label: &str) -> bool {
        label.contains(&self.only)
    }
}

fn describe((operator, _, given): &Row) -> String {
    let value = |given: &Given| match given {
        Number(number) => number.to_string(),
        Word(word) => (*word).to_owned(),
    };
    given.iter().fold((*operator).to_owned(), |text, (name, given)| format!("{text} {name}={}", value(given)))
}

fn measure(row: &Row, label: &str, files: &[PathBuf], folder: &Path, dtype: DType, rounds: usize) {
    let (name, parents, given) = row;
    let operator = find(name).expect("an operator");
    let parameters: Parameters = given
        .iter()
        .map(|(name, given)| {
            let value = match given {
                Number(number) => Value::Number(*number),
                Word(word) => Value::Choice((*word).to_owned()),
            };
            ((*name).to_owned(), value)
        })
        .collect();
    let base = usize::from(operator.needs_base());
    let inputs: Vec<&Path> = files[1 - base..=*parents].iter().map(PathBuf::as_path).collect();
    let (mut least, mut made, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        least.push(yardstick(&inputs, folder));
        let (time, most) = watching_memory(|| merge(operator, &parameters, &inputs, folder, dtype));
        made.push(time);
        memory = memory.max(most);
    }
    let mut ratios: Vec<f64> =
        made.iter().zip(&least).map(|(made, least)| made.as_secs_f64() / least.as_secs_f64()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let (files, what) = label.split_at(label.find(name).unwrap_or(0));
    println!(
        "| {files} | {what} | {parents} | {:.2} | {:.2} | {:.2} | {} |",
        median(least).as_secs_f64(),
        median(made).as_secs_f64(),
        ratios[ratios.len() / 2],
        memory / 1024,
    );
}

fn merge(
    operator: &'static dyn Operator,
    parameters: &Parameters,
    inputs: &[&Path],
    folder: &Path,
    dtype: DType,
) -> Duration {
    let start = Instant::now();
    let opened: Vec<_> = inputs.iter().map(|path| open_package(path).expect("a model")).collect();
    let mut parents: Vec<_> =
        opened.iter().map(|opened| Parent::of_weights("parent", &opened.package.weights)).collect();
    let base = operator.needs_base().then(|| parents.remove(0));
    let planned: Vec<Planned> = opened[0]
        .package
        .weights
        .infos()
        .iter()
        .map(|info| planned(info.name.clone(), info.shape.clone(), dtype))
        .collect();
    let job = Job { operator, parameters, rules: &[], seed: "1", candidate: "child", base, parents };
    let tensors = job.inputs(&planned).expect("models that fit");
    let layout = Layout::new(planned.clone(), &Metadata::new()).expect("a layout");
    let mut file = HashedFile::create(folder).expect("a file");
    let mut writer = Writer::new(&layout, &mut file).expect("a file");
    apply(operator, &tensors, &planned, &mut writer, &|| false).expect("a child");
    let made = start.elapsed();
    drop(file);
    made
}
