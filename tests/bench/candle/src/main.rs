//! Studbook's runtime and candle on the same checkpoint, in one run.
//!
//! ```text
//! cargo run --release --manifest-path tests/bench/candle/Cargo.toml -- [15m] [160m] [1.1b] [--rounds N]
//! ```
//!
//! A checkpoint of each size is made in a temporary folder (drawn weights cost what trained ones cost), both
//! programs open it, and take turns, after a first turn that does not count: a prompt of 256 tokens, of which
//! only the last one's logits are wanted, then 32 tokens one by one, on two threads. Wall time of the fastest
//! round counts, and CPU time is shown beside it, because other programs disturb the one less than the other.
//! 15m and 160m are f32 everywhere. 1.1b is bf16 on disk and in Studbook, which widens as it goes; candle does
//! not multiply bf16 on a CPU, so it is asked to widen to f32 when it loads, and to turn to f16.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama;
use studbook::model::config::{ModelConfig, tensor_table};
use studbook::model::naming::Naming;
use studbook::model::variant::Variant;
use studbook::model::{Tokenizer, open_package};
use studbook::runtime::{Model, Session};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PROMPT: usize = 256;
const NEW: usize = 32;

/// Name, hidden, layers, heads, heads for keys, feed-forward, vocabulary, whether bf16.
const SIZES: [(&str, [u32; 6], bool); 3] = [
    ("15m", [288, 6, 6, 6, 768, 32_000], false),
    ("160m", [768, 12, 12, 12, 3072, 32_000], false),
    ("1.1b", [2048, 22, 32, 4, 5632, 32_000], true),
];

fn main() -> Outcome<()> {
    rayon::ThreadPoolBuilder::new().num_threads(2).build_global()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = arguments.iter().position(|a| a == "--rounds").and_then(|at| arguments.get(at + 1));
    let rounds: usize = rounds.map_or(Ok(5), |text| text.parse())?;
    let asked: Vec<_> = SIZES.iter().filter(|(name, ..)| arguments.iter().any(|a| a == name)).collect();
    let asked = if asked.is_empty() { SIZES.iter().collect() } else { asked };
    println!("prompt of {PROMPT} tokens, {NEW} more, 2 threads, best of {rounds}: tokens/s (CPU seconds)");
    for (name, sizes, bf16) in asked {
        let folder = std::env::temp_dir().join(format!("studbook-candle-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let done = write(&folder, *sizes, *bf16).and_then(|()| compare(name, &folder, *bf16, rounds));
        std::fs::remove_dir_all(&folder)?;
        done?;
    }
    Ok(())
}

/// Wall and CPU seconds of the best prefill and the best decoding, and the last logits.
struct Best {
    name: &'static str,
    times: [(f64, f64); 2],
    logits: Vec<f32>,
}

impl Best {
    fn new(name: &'static str) -> Self {
        Self { name, times: [(f64::INFINITY, f64::INFINITY); 2], logits: Vec::new() }
    }

    fn note(&mut self, counts: bool, (times, logits): Run) {
        self.logits = logits;
        for (best, (wall, cpu)) in self.times.iter_mut().zip(times).filter(|_| counts) {
            *best = (best.0.min(wall), best.1.min(cpu));
        }
    }
}

fn compare(name: &str, folder: &Path, bf16: bool, rounds: usize) -> Outcome<()> {
    let mut package = open_package(folder)?.package;
    package.tokenizer = Ok(Tokenizer::Btok);
    let ours = Model::new(Arc::new(package.checkpoint()?))?;
    let mut best = Best::new("studbook");
    best.note(false, run_ours(&ours)?);
    let mapped = std::fs::metadata(folder.join("model.safetensors"))?.len() / 1_000_000;
    println!("{name:5} studbook: {mapped} MB of weights mapped, {} MB of memory besides", anonymous_megabytes());
    let widened: &[_] = match bf16 {
        true => &[("candle f32", DType::F32), ("candle f16", DType::F16)],
        false => &[("candle", DType::F32)],
    };
    let mut theirs = Vec::new();
    for (name, dtype) in widened {
        let model = Candle::open(folder, *dtype)?;
        let mut best = Best::new(name);
        best.note(false, model.run()?);
        theirs.push((model, best));
    }
    for _ in 0..rounds {
        best.note(true, run_ours(&ours)?);
        for (model, best) in &mut theirs {
            best.note(true, model.run()?);
        }
    }
    for (at, (phase, tokens)) in [("prefill", PROMPT), ("decode", NEW)].into_iter().enumerate() {
        let show = |best: &Best| {
            let (wall, cpu) = best.times[at];
            format!("{} {:8.1} ({cpu:.2})", best.name, tokens as f64 / wall)
        };
        print!("{name:5} {phase:7} {}", show(&best));
        for (_, other) in &theirs {
            print!("   {}   {:.2} x", show(other), other.times[at].0 / best.times[at].0);
        }
        println!();
    }
    for (_, other) in &theirs {
        let worst =
            best.logits.iter().zip(&other.logits).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
        println!("{name:5} last logits of studbook and {} differ by at most {worst:.1e}", other.name);
    }
    Ok(())
}

/// Memory of this process that no file stands behind.
fn anonymous_megabytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1000
}

fn tokens() -> Vec<u32> {
    (0..PROMPT as u32).map(|i| i * 37 % 251).collect()
}

/// Wall and CPU seconds of some work.
fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, (f64, f64))> {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let done = work()?;
    Ok((done, (wall.elapsed().as_secs_f64(), cpu_seconds() - cpu)))
}

/// CPU seconds of this process so far, from the kernel's own account.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| after.split_whitespace().nth(at).and_then(|text| text.parse::<f64>().ok());
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

type Run = ([(f64, f64); 2], Vec<f32>);

fn run_ours(model: &Model) -> Outcome<Run> {
    let mut session = Session::new(model, PROMPT + NEW)?;
    let (_, prefill) = timed(|| Ok(session.feed(&tokens())?.len()))?;
    let (_, decode) = timed(|| {
        for token in 0..NEW as u32 {
            session.step(token)?;
        }
        Ok(())
    })?;
    Ok(([prefill, decode], session.logits().to_vec()))
}

struct Candle {
    model: llama::Llama,
    config: llama::Config,
    dtype: DType,
}

impl Candle {
    fn open(folder: &Path, dtype: DType) -> Outcome<Self> {
        let config: llama::LlamaConfig = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
        let config = config.into_config(false);
        let device = Device::Cpu;
        // Mapping the file would need `unsafe` here; candle copies the weights either way.
        let bytes = std::fs::read(folder.join("model.safetensors"))?;
        let weights = VarBuilder::from_buffered_safetensors(bytes, dtype, &device)?;
        Ok(Self { model: llama::Llama::load(weights, &config)?, config, dtype })
    }

    fn run(&self) -> Outcome<Run> {
        let mut cache = llama::Cache::new(true, self.dtype, &self.config, &Device::Cpu)?;
        let mut forward = |ids: &[u32], at: usize| -> Outcome<Vec<f32>> {
            let input = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
            Ok(self.model.forward(&input, at, &mut cache)?.squeeze(0)?.to_dtype(DType::F32)?.to_vec1()?)
        };
        let (_, prefill) = timed(|| forward(&tokens(), 0))?;
        let (last, decode) = timed(|| {
            let mut last = Vec::new();
            for token in 0..NEW as u32 {
                last = forward(&[token], PROMPT + token as usize)?;
            }
            Ok(last)
        })?;
        Ok(([prefill, decode], last))
    }
}

/// A folder with drawn weights.
fn write(folder: &Path, [hidden, layers, heads, kv, ffn, vocab]: [u32; 6], bf16: bool) -> Outcome<()> {
    let config = ModelConfig {
        vocab_size: vocab,
        special_token_count: 4,
        hidden_size: hidden,
        layer_count: layers,
        head_count: heads,
        kv_head_count: kv,
        head_dim: hidden / heads,
        ffn_size: ffn,
        max_context: 1024,
        rope_theta: 10_000.0,
        rms_norm_epsilon: 1e-5,
        tied_output: false,
        variant: Variant::PLAIN,
    };
    let stored = if bf16 { studbook::tensor::dtype::DType::BF16 } else { studbook::tensor::dtype::DType::F32 };
    let settings = studbook::model::huggingface::settings::write(&config, stored, None);
    std::fs::write(folder.join("config.json"), settings)?;
    let (width, code) = if bf16 { (2, "BF16") } else { (4, "F32") };
    let mut header = serde_json::Map::new();
    let mut plan = Vec::new();
    let mut at = 0;
    for spec in tensor_table(&config)? {
        let name = Naming::HuggingFace.from_slm1(&spec.name).ok_or("a tensor without a name")?;
        let end = at + spec.shape.elements() * width;
        let entry = serde_json::json!({ "dtype": code, "shape": spec.shape.dims(), "data_offsets": [at, end] });
        header.insert(name.clone(), entry);
        plan.push((spec.shape.elements(), name.contains("norm")));
        at = end;
    }
    let mut text = serde_json::to_vec(&header)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join("model.safetensors"))?);
    file.write_all(&(text.len() as u64).to_le_bytes())?;
    file.write_all(&text)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let spread = (3.0 / f64::from(hidden)).sqrt() as f32;
    for (elements, norm) in plan {
        for _ in 0..elements {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let drawn = ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * spread;
            let value = if norm { 1.0 + drawn } else { drawn };
            match width {
                2 => file.write_all(&value.to_bits().to_le_bytes()[2..])?,
                _ => file.write_all(&value.to_le_bytes())?,
            }
        }
    }
    file.flush()?;
    Ok(())
}
