//! Prints digests of what the runtime computes: dot products, logits and generated text, for every encoding.
//!
//! The models are made here from a counter-based generator, so the digests depend on nothing but this
//! crate. Two machines, or two builds for different processors, must print the same lines:
//!
//! ```text
//! cargo run --no-default-features --example logits_digest
//! ```
//!
//! `tests/levels.rs` builds it for several x86-64 levels and compares.

#![expect(clippy::print_stdout, reason = "the digests are the product")]

use std::error::Error;
use std::sync::Arc;

use studbook::base::digest::Digest;
use studbook::base::rng::Philox;
use studbook::model::WriteError;
use studbook::model::config::ModelConfig;
use studbook::model::slm1::write::write_values;
use studbook::model::slm1::{Encoding, Layout};
use studbook::model::tokenizer::Tokenizer;
use studbook::model::variant::{Activation, Variant};
use studbook::model::windows::Windows;
use studbook::runtime::{GenerateOptions, Model, Sampling, Session, generate_batch};
use studbook::tensor::dtype::DType;
use studbook::tensor::kernel::dot;

fn main() -> Result<(), Box<dyn Error>> {
    println!("dot {}", dots());
    for encoding in [Encoding::new(DType::F32), Encoding::new(DType::Q8_0), Encoding::q4(10)] {
        let model = model(encoding, Variant::PLAIN)?;
        println!("{} logits {}", encoding.dtype, logits(&model)?);
        println!("{} text {}", encoding.dtype, text(&model)?);
    }
    // What other networks compute on the same weights: another function, and windows.
    let windows = Some(Windows { size: 7, rope_theta: 100.0, full: vec![1] });
    let other =
        Variant { activation: Activation::GeluTanh, scaled_embeddings: true, windows, ..Variant::PLAIN };
    println!("gelu logits {}", logits(&model(Encoding::new(DType::F32), other)?)?);
    Ok(())
}

/// Dot products of every length up to a few hundred.
fn dots() -> Digest {
    let values = |name| {
        let stream = Philox::for_purpose(&["dot", name]);
        (0..300).map(|i| (stream.unit(i) * 2.0 - 1.0) as f32).collect::<Vec<_>>()
    };
    let (left, right) = (values("left"), values("right"));
    let sums = (0..=300).map(|length| dot(&left[..length], &right[..length]));
    Digest::of(&sums.flat_map(f32::to_le_bytes).collect::<Vec<_>>())
}

/// A small model whose widths are no multiples of any vector's.
fn model(encoding: Encoding, variant: Variant) -> Result<Model, Box<dyn Error>> {
    let config = ModelConfig {
        vocab_size: 260,
        special_token_count: 4,
        hidden_size: 60,
        layer_count: 3,
        head_count: 6,
        kv_head_count: 2,
        head_dim: 10,
        ffn_size: 110,
        max_context: 96,
        rope_theta: 10_000.0,
        rms_norm_epsilon: 1e-5,
        tied_output: false,
        variant: Variant::PLAIN,
    };
    let layout = Layout::new(&config, &Tokenizer::Btok, encoding)?;
    let mut file = Vec::new();
    write_values(&layout, &mut file, |tensor, start, out| {
        let stream = Philox::for_purpose(&["weights", &tensor.name]);
        let centre = if tensor.shape.dims().len() == 1 { 1.0 } else { 0.0 };
        for (index, weight) in (start as u64..).zip(out) {
            *weight = (centre + (stream.unit(index) - 0.5) * 0.6) as f32;
        }
        Ok::<(), WriteError>(())
    })?;
    let mut checkpoint = studbook::model::slm1::read::read(Arc::new(file))?;
    checkpoint.config.variant = variant;
    Ok(Model::new(Arc::new(checkpoint))?)
}

/// Logits after every token of a text.
fn logits(model: &Model) -> Result<Digest, Box<dyn Error>> {
    let tokens =
        model.checkpoint().tokenizer.encode_prompt("The same inputs, the same bytes: everywhere.")?;
    let mut session = Session::new(model, tokens.len())?;
    let logits = session.feed_all(&tokens)?;
    Ok(Digest::of(&logits.iter().flat_map(|logit| logit.to_le_bytes()).collect::<Vec<_>>()))
}

/// Greedy and sampled continuations of several prompts.
fn text(model: &Model) -> Result<Digest, Box<dyn Error>> {
    let prompts: Vec<String> = (0..9).map(|i| format!("prompt {}", "x".repeat(i))).collect();
    let sampling = Sampling { temperature: 0.8, top_k: 50, top_p: 0.95, seed: 42 };
    let mut bytes = Vec::new();
    for options in [GenerateOptions::greedy(40), GenerateOptions { sampling, ..GenerateOptions::greedy(40) }]
    {
        for answer in generate_batch(model, &prompts, &options) {
            bytes.extend(answer?.tokens.into_iter().flat_map(u32::to_le_bytes));
        }
    }
    Ok(Digest::of(&bytes))
}
