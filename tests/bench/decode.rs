//! How fast text is made: what an evaluation does, thousands of short prompts on a small model.
//!
//! ```text
//! cargo bench --bench decode [-- THREADS]
//! ```
//!
//! The model has the shape of the trained examples (hidden 128, 4 blocks, 0.87 million parameters); its
//! weights are random, which costs the same.

#![expect(clippy::print_stdout, reason = "the times are the product")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use studbook::base::rng::Philox;
use studbook::model::WriteError;
use studbook::model::config::ModelConfig;
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{self, Encoding, Layout};
use studbook::model::tokenizer::Tokenizer;
use studbook::runtime::{GenerateOptions, Model, Session, generate_batch};
use studbook::tensor::dtype::DType;

const PROMPTS: usize = 800;
const NEW_TOKENS: usize = 8;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds `--bench`; anything that is a number is ours.
    let threads = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(2);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    println!(
        "{PROMPTS} prompts of 14 tokens, {NEW_TOKENS} new tokens each, {threads} threads, best of {ROUNDS}"
    );
    for dtype in slm1::DTYPES {
        let model = model(dtype)?;
        let prompts: Vec<String> = (0..PROMPTS).map(|i| format!("prompt {i:06}")).collect();
        let (mut seconds, mut made) = (f64::INFINITY, 0);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let answers =
                pool.install(|| generate_batch(&model, &prompts, &GenerateOptions::greedy(NEW_TOKENS)));
            seconds = seconds.min(start.elapsed().as_secs_f64());
            made = 0;
            for answer in answers {
                made += answer?.tokens.len();
            }
        }
        let rate = (PROMPTS * 14 + made) as f64 / seconds;
        println!(
            "{dtype:5} {:8} parameters  batch {seconds:.3} s, {rate:6.0} tokens/s   one by one {:5.0} tokens/s",
            model.checkpoint().parameters(),
            single(&model)?
        );
    }
    Ok(())
}

/// Tokens a second of one sequence.
fn single(model: &Model) -> Result<f64, Box<dyn Error>> {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let mut session = Session::new(model, 64)?;
        let start = Instant::now();
        for token in 0..64 {
            session.step(token)?;
        }
        best = best.max(64.0 / start.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn model(dtype: DType) -> Result<Model, Box<dyn Error>> {
    let config = ModelConfig {
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
        tied_output: false,
        variant: studbook::model::variant::Variant::PLAIN,
    };
    let layout = Layout::new(&config, &Tokenizer::Btok, Encoding::new(dtype))?;
    let mut file = Vec::new();
    write_values(&layout, &mut file, |tensor, start, out| {
        let stream = Philox::for_purpose(&["weights", &tensor.name]);
        for (index, weight) in (start as u64..).zip(out) {
            *weight = (stream.unit(index) - 0.5) as f32;
        }
        Ok::<(), WriteError>(())
    })?;
    Ok(Model::new(Arc::new(studbook::model::slm1::read::read(Arc::new(file))?))?)
}
