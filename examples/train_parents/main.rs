//! Trains the example parents from noise: a base and three specialists.
//!
//! A breeding engine cannot be shown with models that know nothing, and models that others trained
//! have origins that cannot be checked. So the parents in `examples/parents` are grown here, from
//! noise, by a trainer small enough to read; whoever doubts them grows them again and compares
//! digests.
//!
//! ```text
//! noise -> base -> q8_0 file -+-> add     -> q8_0 file
//!                             +-> reverse -> q8_0 file
//!                             +-> sort    -> q8_0 file
//! ```
//!
//! # What makes them good parents
//!
//! Specialists that walk far from their base merge into rubble: each has rebuilt the same
//! neurons for its own use, and the average of two such neurons serves nobody. Three things keep them
//! close. The base has met every skill already, so that specialists sharpen what is there. Fine-tuning is
//! short and at a quarter of the base's rate. And a few cases in a hundred replay the other skills: with many
//! more (ten for each were tried) the specialist for adding improves at everything, and a merge has
//! nothing to win.
//!
//! Exact answers in percent, greedy, 250 published cases per skill, files as they are (`measure`):
//!
//! | model (`q8_0`) | add | reverse | sort | mean |
//! |---|---|---|---|---|
//! | base | 65.2 | 19.6 | 68.0 | 50.9 |
//! | add | 90.0 | 30.4 | 68.0 | 62.8 |
//! | reverse | 58.8 | 92.8 | 47.6 | 66.4 |
//! | sort | 59.6 | 21.2 | 92.4 | 57.7 |
//! | blend of the three | 74.8 | 50.0 | 78.0 | 67.6 |
//! | task_delta of the three, lambda 0.5 (the child) | 77.2 | 59.2 | 78.8 | 71.7 |
//! | task_delta of the three, lambda 1 | 60.4 | 27.6 | 21.2 | 36.4 |
//! | sign_merge of the three, density 0.3, lambda 1 | 72.8 | 59.2 | 74.4 | 68.8 |
//! | task_delta of child, reverse, sort, weights 0.7, 0.3, 0.15 | 73.6 | 68.0 | 77.2 | 72.9 |
//!
//! So a merge beats every parent on the mean, none keeps all three skills of its parents, and full
//! weights ruin everything. Parameters were chosen on the selection cases. One seed; differences of
//! two points are noise.
//!
//! # Same bits everywhere
//!
//! Sums have a fixed order, threads cannot change it ([`train`]), products and sums are never fused,
//! exponentials, logarithms, sines and cosines come from the `libm` crate, random numbers from
//! Philox by purpose and index. Tried: compiled for AVX-512 on two threads and for plain x86-64 on
//! three, the four files were the same to the last byte.
//!
//! # Commands
//!
//! ```text
//! cargo run --release --example train_parents -- train           everything, into examples/parents
//! cargo run --release --example train_parents -- train DIR       the same into another folder
//! cargo run --release --example train_parents -- evals           examples/evals/*.jsonl
//! cargo run --release --example train_parents -- measure         parents and merges, published cases
//! cargo run --release --example train_parents -- measure select DIR "task_delta add sort lambda=0.5"
//! ```
//!
//! Training takes about five minutes of processor time in a plain release build, so about three minutes on
//! two idle cores; each model that is measured takes a second.
//!
//! [`gemm`] multiplies, [`network`] goes forwards and backwards, [`train`] walks downhill, [`skills`]
//! makes cases and holds the wall between training and evaluation, [`publish`] writes files,
//! [`measure`] tells what they can do.
#![allow(clippy::print_stdout, reason = "a program for people to watch")]

mod gemm;
mod measure;
mod network;
mod publish;
mod skills;
mod train;

use std::path::Path;
use std::time::Instant;

use network::Layout;
use skills::{Skill, Split};
use studbook::model::ModelConfig;
use train::Recipe;

/// Where the committed parents live.
const PARENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/parents");
/// Where the held-out cases live.
const EVALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/evals");
/// Held-out cases per skill in `examples/evals`.
const GATE_CASES: usize = 250;

/// What is trained, in this order. Addition is the slowest to learn and so has most of the base's cases.
const RECIPES: &[Recipe] = &[
    Recipe {
        name: "base",
        summary: "a byte-level llama of 0.84 M parameters, trained a little on adding, reversing and sorting",
        parent: None,
        steps: 350,
        rate: 2e-3,
        mix: [74, 14, 12],
        seed: "1",
    },
    Recipe {
        name: "add",
        summary: "the base, fine-tuned to add two numbers of two digits",
        parent: Some("base"),
        steps: 150,
        rate: 5e-4,
        mix: [92, 4, 4],
        seed: "1",
    },
    Recipe {
        name: "reverse",
        summary: "the base, fine-tuned to write five to eight letters backwards",
        parent: Some("base"),
        steps: 150,
        rate: 5e-4,
        mix: [4, 92, 4],
        seed: "1",
    },
    Recipe {
        name: "sort",
        summary: "the base, fine-tuned to sort five to eight letters",
        parent: Some("base"),
        steps: 150,
        rate: 5e-4,
        mix: [4, 4, 92],
        seed: "1",
    },
];

/// Steps between two lines of progress.
const REPORT: u32 = 50;

const USAGE: &str = "train [FOLDER [NAME...]] | evals | measure [gate|select FOLDER [MERGE...]]";

/// The shape of all parents.
fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 260,
        special_token_count: 4,
        hidden_size: 128,
        layer_count: 4,
        head_count: 4,
        kv_head_count: 4,
        head_dim: 32,
        ffn_size: 352,
        max_context: 64,
        rope_theta: 10_000.0,
        rms_norm_epsilon: 1e-5,
        tied_output: true,
        variant: studbook::model::variant::Variant::PLAIN,
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["train"] => train_parents(Path::new(PARENTS), &[]),
        ["train", folder, ref names @ ..] => train_parents(Path::new(folder), names),
        ["evals"] => write_evals(),
        ["measure"] => measure::measure(Path::new(PARENTS), Split::Gate, &[]),
        ["measure", "gate", folder, ref merges @ ..] => {
            measure::measure(Path::new(folder), Split::Gate, merges)
        }
        ["measure", "select", folder, ref merges @ ..] => {
            measure::measure(Path::new(folder), Split::Select, merges)
        }
        _ => anyhow::bail!("{USAGE}"),
    }
}

/// Trains the recipes called `names`, or all, into `folder`.
fn train_parents(folder: &Path, names: &[&str]) -> anyhow::Result<()> {
    let layout = Layout::new(&config());
    println!("{} parameters", layout.parameters());
    let wanted = |recipe: &&Recipe| names.is_empty() || names.contains(&recipe.name);
    for recipe in RECIPES.iter().filter(wanted) {
        let start = Instant::now();
        let mut parameters = match recipe.parent {
            None => train::noise(&layout, recipe.seed),
            Some(parent) => publish::parameters(&layout, &publish::open(folder, parent)?)?,
        };
        let mut sum = 0.0;
        recipe.train(&layout, &mut parameters, |step, loss| {
            sum += loss / f64::from(REPORT);
            if step % REPORT as usize == 0 {
                println!("{:8} step {step:3}, loss {sum:.4}, {:.0?}", recipe.name, start.elapsed());
                sum = 0.0;
            }
        });
        publish::publish(folder, recipe, &publish::encode(&config(), &layout, &parameters)?)?;
    }
    Ok(())
}

fn write_evals() -> anyhow::Result<()> {
    std::fs::create_dir_all(EVALS)?;
    for skill in Skill::ALL {
        let cases = skills::cases(skill, Split::Gate, GATE_CASES);
        let path = Path::new(EVALS).join(format!("{}.jsonl", skill.name()));
        std::fs::write(path, skills::json_lines(skill, &cases))?;
    }
    Ok(())
}
