//! Every operator on checkpoints as people have them, against the least anybody could do.
//!
//! `cargo bench --bench merge` makes a base and three parents of a llama-like network in bare
//! safetensors files, in f32 and bf16, and times each operator against `cat` of its inputs and `cp` of
//! one of them, taking turns; medians, and the median of the rounds' own ratios. The sizes are about
//! 160 million parameters and, if `STUDBOOK_BENCH_LARGE` is set, 1.1 billion (18 GB of files in f32, 9
//! in bf16). `STUDBOOK_BENCH_ROUNDS` sets the rounds, `STUDBOOK_BENCH_ONLY` keeps the rows whose label
//! contains it, `STUDBOOK_BENCH_FILES` a folder where the files are kept for other programs to merge.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use studbook::disk::hashed::HashedFile;
use studbook::model::safetensors::{Layout, Metadata, Writer};
use studbook::model::{ModelWriter, Planned, open_package};
use studbook::operator::{Job, Operator, Parameters, Parent, Value, apply, find};
use studbook::tensor::dtype::DType;
use studbook::tensor::quantize;
use studbook::tensor::shape::Shape;

mod yard;

use yard::{bell, median, watching_memory, yardstick};

/// Dimensions of a network.
struct Size {
    label: &'static str,
    hidden: usize,
    layers: usize,
    kv: usize,
    ffn: usize,
    vocab: usize,
}

const SIZES: [Size; 2] = [
    Size { label: "160M", hidden: 768, layers: 12, kv: 768, ffn: 3072, vocab: 32_000 },
    Size { label: "1.1B", hidden: 2048, layers: 22, kv: 256, ffn: 5632, vocab: 32_000 },
];

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
    let rounds = std::env::var("STUDBOOK_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let only = std::env::var("STUDBOOK_BENCH_ONLY").unwrap_or_default();
    let large = std::env::var_os("STUDBOOK_BENCH_LARGE").is_some();
    let kept = std::env::var_os("STUDBOOK_BENCH_FILES").map(PathBuf::from);
    println!("{rounds} rounds, {} threads, warm cache", rayon::current_num_threads());
    println!("| files | operator | parents | cat + cp, s | made, s | ratio | memory besides maps, MB |");
    println!("|-------|----------|--------:|------------:|--------:|------:|------------------------:|");
    for size in if large { &SIZES[..] } else { &SIZES[..1] } {
        for dtype in [DType::F32, DType::BF16] {
            let temporary = tempfile::tempdir().expect("a temporary folder");
            let folder = kept.clone().unwrap_or_else(|| temporary.path().to_owned());
            let files: Vec<PathBuf> = (0..4).map(|model| file(&folder, size, dtype, model)).collect();
            for row in ROWS {
                let label = format!("{} {dtype} {}", size.label, describe(row));
                if label.contains(&only) {
                    measure(row, &label, &files, temporary.path(), dtype, rounds);
                }
            }
        }
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

fn planned(name: String, shape: Shape, dtype: DType) -> Planned {
    let block_size = quantize::block_size(dtype, shape.columns(), quantize::DEFAULT_BLOCK);
    Planned { name, shape, dtype, block_size }
}

/// A model's file, made unless it is there; number 0 is the base, the others lie near it.
fn file(folder: &Path, size: &Size, dtype: DType, model: u64) -> PathBuf {
    let path = folder.join(format!("{}-{dtype}-{model}.safetensors", size.label));
    if path.exists() {
        return path;
    }
    let planned = tensors(size, dtype);
    let layout = Layout::new(planned.clone(), &Metadata::from([("format".into(), "pt".into())]));
    let layout = layout.expect("a layout");
    let mut file = HashedFile::create(folder).expect("a file");
    let mut writer = Writer::new(&layout, &mut file).expect("a file");
    let (mut values, mut payload, mut scales) = (Vec::new(), Vec::new(), Vec::new());
    for (tensor, plan) in planned.iter().enumerate() {
        let stream = (tensor as u64) << 40;
        for start in (0..plan.shape.elements()).step_by(1 << 20) {
            let end = plan.shape.elements().min(start + (1 << 20));
            let near =
                |i| bell(stream, i) + if model == 0 { 0.0 } else { bell(stream + (model << 60), i) / 16.0 };
            values.clear();
            values.extend((start..end).map(near));
            payload.clear();
            quantize::encode_into(dtype, 0, values.len(), &values, &mut payload, &mut scales)
                .expect("values");
            writer.payload(&payload).expect("a payload");
        }
        writer.finish_tensor(&[]).expect("a tensor");
    }
    writer.finish().expect("a model");
    file.finish().expect("a file").persist(&path, false).expect("a name");
    path
}

fn tensors(size: &Size, dtype: DType) -> Vec<Planned> {
    let mut all = Vec::new();
    let mut add = |name: String, dims: &[usize]| {
        all.push(planned(name, Shape::new(dims.to_vec()).expect("a shape"), dtype));
    };
    add("model.embed_tokens.weight".to_owned(), &[size.vocab, size.hidden]);
    for layer in 0..size.layers {
        let mut part = |name: &str, dims: &[usize]| add(format!("model.layers.{layer}.{name}.weight"), dims);
        part("input_layernorm", &[size.hidden]);
        part("self_attn.q_proj", &[size.hidden, size.hidden]);
        part("self_attn.k_proj", &[size.kv, size.hidden]);
        part("self_attn.v_proj", &[size.kv, size.hidden]);
        part("self_attn.o_proj", &[size.hidden, size.hidden]);
        part("post_attention_layernorm", &[size.hidden]);
        part("mlp.gate_proj", &[size.ffn, size.hidden]);
        part("mlp.up_proj", &[size.ffn, size.hidden]);
        part("mlp.down_proj", &[size.hidden, size.ffn]);
    }
    add("model.norm.weight".to_owned(), &[size.hidden]);
    add("lm_head.weight".to_owned(), &[size.vocab, size.hidden]);
    all
}
