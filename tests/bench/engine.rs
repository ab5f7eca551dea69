//! What the engine itself costs: cycles of many stages over models so small that they do not count.
//!
//! `cargo bench --bench engine` makes, in a temporary folder (`TMPDIR` says where), three models of a
//! few KiB and plans whose sweeps have about 8, 80 and 800 candidates, and drives the program as a
//! person would. A cycle should cost what its stages compute; what is seen here is everything else.
//! `settled` is the second run after the first: it believes no file it has not hashed while it was
//! still, so the run before it pays for that once.
//!
//! `STUDBOOK_BENCH_CANDIDATES=8,80` chooses sizes, `STUDBOOK_BENCH_ROUNDS` how often the cheap
//! commands are repeated, `STUDBOOK_BENCH_BINARY` measures another build.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use studbook::base::rng::Philox;
use studbook::model::ModelConfig;
use studbook::model::WriteError;
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{Encoding, Layout};
use studbook::model::tokenizer::Tokenizer;
use studbook::tensor::dtype::DType;

const CONFIG: ModelConfig = ModelConfig {
    vocab_size: 260,
    special_token_count: 4,
    hidden_size: 8,
    layer_count: 1,
    head_count: 2,
    kv_head_count: 1,
    head_dim: 4,
    ffn_size: 16,
    max_context: 64,
    rope_theta: 10_000.0,
    rms_norm_epsilon: 1e-5,
    tied_output: true,
    variant: studbook::model::variant::Variant::PLAIN,
};

fn main() {
    if cfg!(debug_assertions) {
        eprintln!("this measures nothing without optimisation: cargo bench --bench engine");
        return;
    }
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let rounds = setting("STUDBOOK_BENCH_ROUNDS", "5").parse().expect("a number of rounds");
    println!("| candidates | stages | command | ms | us per stage |");
    println!("|-----------:|-------:|---------|---:|-------------:|");
    for size in setting("STUDBOOK_BENCH_CANDIDATES", "8,80,800").split(',') {
        measure(size.trim().parse().expect("a number of candidates"), rounds);
    }
}

fn measure(candidates: usize, rounds: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    for name in ["base", "one", "two"] {
        std::fs::write(folder.join(format!("{name}.slm")), model(name)).expect("a model");
    }
    std::fs::write(folder.join("suite.jsonl"), SUITE).expect("a suite");
    std::fs::write(folder.join("plan.toml"), plan(candidates)).expect("a plan");

    let stages = stages(folder);
    let tell = |what: &str, time: Duration| {
        let micros = time.as_secs_f64() * 1e6;
        println!(
            "| {candidates} | {stages} | {what} | {:.1} | {:.1} |",
            micros / 1000.0,
            micros / stages as f64
        );
    };
    let often = |command: &str| median((0..rounds).map(|_| studbook(folder, command)).collect());
    tell("plan, nothing cached", often("plan"));
    tell("first run", studbook(folder, "run"));
    tell("second run", studbook(folder, "run"));
    tell("settled run", often("run"));
    tell("plan, everything cached", often("plan"));
}

/// Runs a command to its end and says how long it took.
fn studbook(folder: &Path, command: &str) -> Duration {
    let start = Instant::now();
    let output = program(folder, command).output().expect("the program");
    let took = start.elapsed();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    took
}

fn program(folder: &Path, command: &str) -> Command {
    let binary = std::env::var_os("STUDBOOK_BENCH_BINARY");
    let mut program = Command::new(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_studbook").into()));
    program
        .args(["--quiet", command, "plan.toml"])
        .current_dir(folder)
        .env_remove("STUDBOOK_STORE")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    program
}

/// How many stages the plan has, as the program counts them.
fn stages(folder: &Path) -> usize {
    let output = program(folder, "plan").args(["--format", "json"]).output().expect("the program");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    said["stages"].as_array().expect("stages").len()
}

fn model(seed: &str) -> Vec<u8> {
    let layout = Layout::new(&CONFIG, &Tokenizer::Btok, Encoding::new(DType::Q8_0)).expect("a layout");
    let mut bytes = Vec::new();
    write_values::<WriteError>(&layout, &mut bytes, |tensor, start, out| {
        let random = Philox::for_purpose(&[seed, &tensor.name]);
        for (i, value) in out.iter_mut().enumerate() {
            *value = (random.unit((start + i) as u64) - 0.5) as f32;
        }
        Ok(())
    })
    .expect("a model");
    bytes
}

const SUITE: &str = "{\"id\":\"a\",\"prompt\":\"1=\",\"expected\":\"1\"}\n";

/// One section with a sweep over `lambda`; everything else as small as a plan can be.
fn plan(candidates: usize) -> String {
    let mut values = String::new();
    for i in 1..=candidates {
        write!(values, "{}, ", i as f64 / 1024.0).expect("text takes any text");
    }
    format!(
        r#"
[cycle]
name = "many"
seed = "1"
output = "q8_0"

[budget]
candidates = {candidates}
artifact = "1 MiB"
disk = "64 MiB"
seconds = 3600

[parents.base]
source = "base.slm"
role = "base"

[parents.one]
source = "one.slm"

[parents.two]
source = "two.slm"

[candidates.task]
operator = "task_delta"
parents = ["one", "two"]
weight = 1.0

[candidates.task.sweep]
lambda = [{values}]

[smoke]
prompts = ["1="]
max_tokens = 1

[[eval]]
name = "digits"
kind = "exact_match"
cases = "suite.jsonl"
max_tokens = 1

[[gate]]
name = "size"
kind = "metric"
metric = "artifact_bytes"
max = 100000

[review]
no_op = "base"

[recipe]
parents = 2
"#
    )
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
