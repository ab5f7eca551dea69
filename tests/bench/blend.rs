//! How long an operator takes, against the least anybody could do: read the inputs, write the child.
//!
//! `cargo bench --bench blend` makes half-gigabyte models in a temporary folder (`TMPDIR` says
//! where, 3 GB are needed), then takes turns between an operator and its yardstick: `cat` of the
//! inputs into nothing, `cp` of one of them. Medians are printed, the ratio as the median of the
//! rounds' own ratios, because a machine with other work is slow for both sides of a round. Nobody waits for the disk but where it says so: `cp` does not either.
//!
//! `STUDBOOK_BENCH_ROUNDS` sets the number of rounds, `STUDBOOK_BENCH_ONLY` keeps the rows whose
//! name contains it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use studbook::base::sink::ArtifactSink;
use studbook::disk::hashed::HashedFile;
use studbook::model::WriteError;
use studbook::model::config::ModelConfig;
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{Encoding, Layout, checksum_verdict};
use studbook::model::{Tokenizer, open};
use studbook::operator::{Job, Parameters, Parent, Value, apply_slm1, find};
use studbook::tensor::dtype::DType;

mod yard;

use yard::{bell, median, watching_memory, yardstick};

const CONFIG: ModelConfig = ModelConfig {
    vocab_size: 260,
    special_token_count: 4,
    hidden_size: 1024,
    layer_count: 10,
    head_count: 16,
    kv_head_count: 16,
    head_dim: 64,
    ffn_size: 2816,
    max_context: 512,
    rope_theta: 10_000.0,
    rms_norm_epsilon: 1e-5,
    tied_output: false,
    variant: studbook::model::variant::Variant::PLAIN,
};

fn main() {
    if cfg!(debug_assertions) {
        eprintln!("this measures nothing without optimisation: cargo bench --bench blend");
        return;
    }
    let rounds = std::env::var("STUDBOOK_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    let only = std::env::var("STUDBOOK_BENCH_ONLY").unwrap_or_default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let paths = ["base.slm", "one.slm", "two.slm"].map(|name| folder.path().join(name));
    for (salt, path) in paths.iter().enumerate() {
        write_model(path, salt as u64);
    }
    let bytes = std::fs::metadata(&paths[0]).expect("a model").len();
    println!(
        "three models of {:.1} MB f32, {rounds} rounds, {} threads",
        bytes as f64 / 1e6,
        rayon::current_num_threads()
    );
    println!("SLM1's checksum alone, on one core: {:.3} s\n", checksum(&paths[0]).as_secs_f64());
    println!("| operator | cat + cp, s | made, s | on disk, s | made / (cat + cp) | peak RssAnon, MB |");
    println!("|----------|------------:|--------:|-----------:|------------------:|-----------------:|");
    let [base, one, two] = &paths;
    let density = Parameters::from([("density".to_owned(), Value::Number(0.3))]);
    let none = Parameters::new();
    for (operator, parameters, output) in [
        ("blend", &none, DType::F32),
        ("blend", &none, DType::Q8_0),
        ("blend", &none, DType::Q4_0),
        ("task_delta", &none, DType::F32),
        ("sign_merge", &none, DType::F32),
        ("sign_merge", &density, DType::F32),
    ] {
        let label = format!("{operator} {output}{}", if parameters.is_empty() { "" } else { " d=0.3" });
        if !label.contains(&only) {
            continue;
        }
        let with_base = find(operator).expect("an operator").needs_base();
        let inputs: Vec<&Path> = if with_base { vec![base, one, two] } else { vec![one, two] };
        let mut least = Vec::new();
        let mut made = Vec::new();
        let mut durable = Vec::new();
        let mut anonymous = 0;
        for _ in 0..rounds {
            least.push(yardstick(&inputs, folder.path()));
            let (to_sink, to_disk, memory) = round(operator, parameters, output, &inputs, folder.path());
            made.push(to_sink);
            durable.push(to_disk);
            anonymous = anonymous.max(memory);
        }
        let mut ratios: Vec<f64> =
            made.iter().zip(&least).map(|(made, least)| made.as_secs_f64() / least.as_secs_f64()).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        println!(
            "| {label} | {:.3} | {:.3} | {:.3} | {:.2} ({:.2} to {:.2}) | {} |",
            median(least).as_secs_f64(),
            median(made).as_secs_f64(),
            median(durable).as_secs_f64(),
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1],
            anonymous / 1024,
        );
    }
}

/// Small numbers around zero, different for each model.
fn write_model(path: &Path, salt: u64) {
    struct Plain(File);
    impl ArtifactSink for Plain {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
            std::io::Write::write_all(&mut self.0, bytes)
        }
        fn patch(&mut self, offset: usize, bytes: &[u8]) -> std::io::Result<()> {
            std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset as u64)
        }
    }
    let layout = Layout::new(&CONFIG, &Tokenizer::Btok, Encoding::new(DType::F32)).expect("a layout");
    let mut sink = Plain(File::create(path).expect("a file"));
    let mut tensor = 0;
    write_values::<WriteError>(&layout, &mut sink, |_, start, out| {
        tensor += u64::from(start == 0);
        let stream = (tensor << 40) + (salt << 60);
        for (i, value) in out.iter_mut().enumerate() {
            *value = bell(stream, start + i);
        }
        Ok(())
    })
    .expect("a model");
}

/// The checksum over a whole file, which one thread has to go through from end to end.
fn checksum(path: &Path) -> Duration {
    let opened = open(path).expect("a model");
    let bytes: &[u8] = (*opened.mapped).as_ref();
    median(
        (0..3)
            .map(|_| {
                time(|| {
                    std::hint::black_box(checksum_verdict(bytes));
                })
            })
            .collect(),
    )
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Time until the child is in the file, until it is on the disk, and the most anonymous memory.
fn round(
    operator: &str,
    parameters: &Parameters,
    output: DType,
    inputs: &[&Path],
    folder: &Path,
) -> (Duration, Duration, u64) {
    let ((made, durable), memory) = watching_memory(|| {
        let start = Instant::now();
        let opened: Vec<_> = inputs.iter().map(|path| open(path).expect("a model")).collect();
        let operator = find(operator).expect("an operator");
        let mut parents: Vec<_> =
            opened.iter().map(|opened| Parent::new("parent", &opened.checkpoint)).collect();
        let base = operator.needs_base().then(|| parents.remove(0));
        let mut file = HashedFile::create(folder).expect("a file");
        let job = Job { operator, parameters, rules: &[], seed: "1", candidate: "child", base, parents };
        apply_slm1(&job, &opened[0].checkpoint, output, &mut file, &|| false).expect("a child");
        let made = start.elapsed();
        drop(file.finish().expect("a digest"));
        let durable = start.elapsed();
        (made, durable)
    });
    (made, durable, memory)
}
