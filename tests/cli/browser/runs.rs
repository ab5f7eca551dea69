//! The runtime in a browser computes what the native one does.

use std::sync::Arc;

use studbook::base::digest::Digest;
use studbook::model::ModelConfig;
use studbook::registry::drive::{Job, drive};
use studbook::runtime::{Answer, GenerateOptions, Model};
use studbook::tensor::dtype::DType;

use super::browser;
use crate::space::{config, model};

#[test]
fn every_logit_has_the_native_bits() {
    let Some(browser) = browser() else { return };
    let wide = ModelConfig {
        hidden_size: 64,
        head_count: 4,
        kv_head_count: 2,
        head_dim: 16,
        ffn_size: 96,
        ..config()
    };
    let prompts =
        ["ab", "1+1=", "a longer prompt, with more than one line\nof text in it"].map(str::to_owned);
    for dtype in [DType::F32, DType::Q8_0, DType::Q4_0] {
        let bytes = model(&wide, "bits", dtype);
        let driven = drive(&browser, Job { model: &bytes, prompts: &prompts, max_tokens: 9 }).unwrap();
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
            assert!(!digests.is_empty(), "{dtype}: nothing to compare");
            assert_eq!((&run.tokens[..], &run.logits), (answer.tokens(), &digests), "{dtype}, {prompt:?}");
        }
    }
}
