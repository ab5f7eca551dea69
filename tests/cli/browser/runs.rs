//! The runtime in a browser computes what the native one does.

use std::sync::Arc;

use studbook::base::digest::Digest;
use studbook::browser::chromium::Chromium;
use studbook::model::ModelConfig;
use studbook::registry::drive::{Job, drive};
use studbook::runtime::{Answer, GenerateOptions, Model};
use studbook::tensor::dtype::DType;

use super::browser;
use crate::space::{config, model, model_of};

/// Wide enough that every loop of the runtime goes round.
fn wide() -> ModelConfig {
    ModelConfig { hidden_size: 64, head_count: 4, kv_head_count: 2, head_dim: 16, ffn_size: 96, ..config() }
}

#[test]
fn every_logit_has_the_native_bits() {
    let Some(browser) = browser() else { return };
    for dtype in [DType::F32, DType::Q8_0, DType::Q4_0] {
        same_bits(&browser, model(&wide(), "bits", dtype), dtype.name());
    }
}

/// Pages make the inputs of q8_0 matrices 2^24 times smaller. Here those of the last of a block are below 2^-102,
/// where that would cost digits, and its weights so large that the digits would be missed.
#[test]
fn numbers_that_cannot_be_made_smaller_have_the_native_bits_too() {
    let Some(browser) = browser() else { return };
    let factor = |name: &str| match name {
        name if name.contains("w3") => 2.0_f32.powi(-110),
        name if name.contains("w2") => 2.0_f32.powi(104),
        _ => 1.0,
    };
    same_bits(&browser, model_of(&wide(), "small", DType::Q8_0, factor), "q8_0 of small numbers");
}

/// The tokens and the digests of all logits of some answers, in the browser and natively.
fn same_bits(browser: &Chromium, bytes: Vec<u8>, what: &str) {
    let prompts =
        ["ab", "1+1=", "a longer prompt, with more than one line\nof text in it"].map(str::to_owned);
    let driven = drive(browser, Job { model: &bytes, prompts: &prompts, max_tokens: 9 }).unwrap();
    let native = Model::new(Arc::new(studbook::model::open_bytes(Arc::new(bytes)).unwrap())).unwrap();
    for (run, prompt) in driven.runs.iter().zip(&prompts) {
        let mut answer = Answer::new(&native, prompt, GenerateOptions::greedy(9)).unwrap();
        let mut digests = Vec::new();
        while answer.stop_reason().is_none() {
            answer.feed(usize::MAX).unwrap();
            let logits: Vec<u8> = answer.logits().iter().flat_map(|logit| logit.to_le_bytes()).collect();
            if answer.choose().unwrap().is_some() {
                digests.push(Digest::of(&logits));
            }
        }
        assert!(!digests.is_empty(), "{what}: nothing to compare");
        assert_eq!((&run.tokens[..], &run.logits), (answer.tokens(), &digests), "{what}, {prompt:?}");
    }
}
