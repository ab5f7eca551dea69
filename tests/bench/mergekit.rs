//! The whole program against mergekit, on the same folders and configurations.
//!
//! Both compute in f32 (`dtype: float32`) and store what the inputs have, so that they do the same
//! arithmetic. For bf16 files mergekit is timed once more with no `dtype`, where it computes in bf16.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use studbook::tensor::dtype::DType;

use crate::Setting;
use crate::checkpoints::{self, Size, weights};
use crate::process::{Watched, watch};
use crate::yard::{median, yardstick};

/// A method, its models besides the base, what every model is given, what the merge is given.
type Method = (&'static str, usize, &'static str, &'static str);

const METHODS: &[Method] = &[
    ("linear", 3, "", ""),
    ("task_arithmetic", 3, "", ""),
    ("slerp", 2, "", "t: 0.4"),
    ("ties", 3, ", density: 0.5", ""),
    ("breadcrumbs", 3, ", density: 0.5, gamma: 0.01", ""),
    ("dare_linear", 3, ", density: 0.5", ""),
    ("dare_ties", 3, ", density: 0.5", ""),
    ("della", 3, ", density: 0.5, epsilon: 0.1", ""),
];

/// Prints the table.
pub(crate) fn table(setting: &Setting, sizes: &[Size], place: &Path, temporary: &Path) {
    let other = std::env::var_os("STUDBOOK_BENCH_MERGEKIT").map(PathBuf::from);
    println!(
        "| files | method | cat + cp, s | studbook, s | ratio | CPU, s | again, s | memory, MB \
         | mergekit, s | CPU, s | memory, MB | times faster | again | mergekit in bf16, s |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for size in sizes {
        for dtype in [DType::F32, DType::BF16] {
            for method in METHODS {
                let files = format!("{} {dtype}", size.label);
                if setting.wants(&format!("{files} {}", method.0)) {
                    let folders: Vec<_> =
                        (0..4).map(|model| checkpoints::folder(place, size, dtype, model)).collect();
                    row(setting, &files, method, dtype, &folders, temporary, other.as_deref());
                }
            }
        }
    }
}

fn row(
    setting: &Setting,
    files: &str,
    method: &Method,
    dtype: DType,
    folders: &[PathBuf],
    temporary: &Path,
    other: Option<&Path>,
) {
    let inputs = inputs(method, folders);
    let paths: Vec<PathBuf> = inputs.iter().map(|folder| weights(folder)).collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let config = temporary.join("merge.yml");
    let stored = if dtype == DType::BF16 { "bfloat16" } else { "float32" };
    let equal = format!("dtype: float32\nout_dtype: {stored}\n");
    std::fs::write(&config, yaml(method, folders, &equal)).expect("a configuration");
    let (mut least, mut full, mut again, mut ratios) = (vec![], vec![], vec![], vec![]);
    for _ in 0..setting.rounds {
        let yard = yardstick(&paths, temporary);
        let one = run(studbook(&config, temporary).arg("--rehash"), temporary);
        again.push(run(&mut studbook(&config, temporary), temporary));
        ratios.push(one.wall.as_secs_f64() / yard.as_secs_f64());
        least.push(yard);
        full.push(one);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let middle = |runs: &[Watched]| median(runs.iter().map(|run| run.wall).collect()).as_secs_f64();
    let (ours, ours_again) = (middle(&full), middle(&again));
    let memory = |runs: &[Watched]| runs.iter().map(|run| run.anonymous).max().unwrap_or(0) / 1024;
    print!(
        "| {files} | `{}` | {:.2} | {ours:.2} | {:.2} | {:.2} | {ours_again:.2} | {} |",
        method.0,
        median(least).as_secs_f64(),
        ratios[ratios.len() / 2],
        median(full.iter().map(|run| run.cpu).collect()).as_secs_f64(),
        memory(&full),
    );
    let Some(other) = other else {
        println!(" | | | | | |");
        return;
    };
    let theirs = run(&mut mergekit(other, &config, temporary), temporary);
    let wall = theirs.wall.as_secs_f64();
    print!(
        " {wall:.1} | {:.1} | {} | {:.1} | {:.1} |",
        theirs.cpu.as_secs_f64(),
        memory(std::slice::from_ref(&theirs)),
        wall / ours,
        wall / ours_again,
    );
    if dtype == DType::BF16 {
        std::fs::write(&config, yaml(method, folders, "")).expect("a configuration");
        let theirs = run(&mut mergekit(other, &config, temporary), temporary);
        println!(" {:.1} |", theirs.wall.as_secs_f64());
    } else {
        println!(" |");
    }
}

/// The folders a method reads: the base first, if it has one.
fn inputs<'a>((method, models, ..): &Method, folders: &'a [PathBuf]) -> &'a [PathBuf] {
    let base = usize::from(!matches!(*method, "linear" | "slerp"));
    &folders[1 - base..=*models]
}

fn yaml(method: &Method, folders: &[PathBuf], dtypes: &str) -> String {
    let (name, models, each, all) = method;
    let base = match *name {
        "linear" => None,
        "slerp" => folders.get(1),
        _ => folders.first(),
    };
    let mut text = format!("merge_method: {name}\n{dtypes}");
    if let Some(base) = base {
        writeln!(text, "base_model: {}", base.display()).expect("text takes any text");
    }
    text.push_str("models:\n");
    for (folder, weight) in folders[1..=*models].iter().zip([0.3, 0.3, 0.4]) {
        let folder = folder.display();
        writeln!(text, "  - model: {folder}").expect("text takes any text");
        // Where between the two is one number for both.
        if *name != "slerp" {
            writeln!(text, "    parameters: {{weight: {weight}{each}}}").expect("text takes any text");
        }
    }
    if !all.is_empty() {
        writeln!(text, "parameters: {{{all}}}").expect("text takes any text");
    }
    text
}

fn studbook(config: &Path, temporary: &Path) -> Command {
    let binary = std::env::var_os("STUDBOOK_BENCH_BINARY");
    let mut program = Command::new(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_studbook").into()));
    program.arg("merge").arg(config).arg(temporary.join("child"));
    // A merge again finds here what the one before remembered of the inputs.
    program.env("XDG_CACHE_HOME", temporary.join("caches"));
    program
}

fn mergekit(program: &Path, config: &Path, temporary: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(config).arg(temporary.join("child"));
    command.args(["--no-copy-tokenizer", "--no-write-model-card", "--quiet"]);
    command
}

/// Runs a program whose child is thrown away.
fn run(command: &mut Command, temporary: &Path) -> Watched {
    let child = temporary.join("child");
    let watched = watch(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
    std::fs::remove_dir_all(child).expect("the program made a folder");
    watched
}
