//! Logits of other people's networks against the library that defines them.

#![expect(clippy::print_stdout, reason = "how far off is worth seeing")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::config::ModelConfig;
use crate::model::norms::HeadNorms;
use crate::model::variant::Activation;
use crate::model::weights::{TensorInfo, Weights};
use crate::model::{Checkpoint, Package, Tokenizer, open_package};
use crate::runtime::{Model, Session};

#[derive(serde::Deserialize)]
struct Reference {
    tokens: Vec<u32>,
    rows: Vec<usize>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    logits: Vec<Vec<f32>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/transformers")
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../../tests/fixtures/transformers/logits.json")).unwrap()
}

/// The fixtures have no tokenizer: ids are given.
fn package(name: &str) -> Package {
    let mut package = open_package(&folder().join(name)).unwrap().package;
    package.tokenizer = Ok(Tokenizer::Btok);
    package
}

/// Both sides compute in f32: transformers its own way, in its own order.
#[test]
fn logits_agree_with_transformers() {
    let Reference { tokens, rows, cases } = reference();
    assert_eq!(cases.len(), 16);
    for case in cases {
        let model = Model::new(Arc::new(package(&case.name).checkpoint().unwrap())).unwrap();
        let mut session = Session::new(&model, 48).unwrap();
        let logits = session.feed_all(&tokens).unwrap();
        let mut worst = 0.0_f32;
        for (row, theirs) in rows.iter().zip(&case.logits) {
            let ours = &logits[row * 260..(row + 1) * 260];
            worst = ours.iter().zip(theirs).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        }
        println!("{:20} off by at most {worst:.1e}", case.name);
        assert!(worst < 1e-4, "{}: off by {worst:e}", case.name);
    }
}

/// The logits behind these tokens.
fn logits(checkpoint: Checkpoint, tokens: &[u32]) -> Vec<f32> {
    let model = Model::new(Arc::new(checkpoint)).unwrap();
    Session::new(&model, 48).unwrap().feed_all(tokens).unwrap().to_vec()
}

/// Norms of one of the families left out or in another place, taken for one another, or with the gains of another
/// layer: each is another model, by far more than what rounding differs in.
#[test]
fn every_norm_counts() {
    let Reference { tokens, .. } = reference();
    let logits = |checkpoint: Checkpoint| logits(checkpoint, &tokens);
    for name in ["qwen3", "olmo2", "gemma3-listed"] {
        let right = package(name).checkpoint().unwrap();
        let expected = logits(right.clone());
        let off = |wrong: Checkpoint| {
            logits(wrong).iter().zip(&expected).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()))
        };
        let mut without = right.clone();
        without.config.variant.norms.heads = HeadNorms::None;
        assert!(off(without) > 1e-2, "{name}");
        // Two norms of one width, of a block or of both blocks.
        let norms: Vec<_> = right.infos().iter().filter(|info| info.name.contains("norm")).collect();
        let mut pairs = 0;
        for (place, one) in norms.iter().enumerate() {
            for other in norms[..place].iter().filter(|other| other.shape == one.shape) {
                let mut wrong = right.clone();
                wrong.weights = exchanged(&right.weights, &one.name, &other.name);
                assert!(off(wrong) > 1e-2, "{name}: {} and {}", one.name, other.name);
                pairs += 1;
            }
        }
        // Five are as wide as the residual stream, in qwen3 four as a head. In olmo2 queries are as wide as the
        // stream, too, and keys half of that. gemma3 has thirteen, and six as wide as a head.
        let expected = match name {
            "qwen3" => 10 + 6,
            "olmo2" => 21 + 1,
            _ => 78 + 15,
        };
        assert_eq!(pairs, expected);
    }
}

/// Everything that gemma3 does otherwise, left out or a little off.
#[test]
fn everything_that_gemma3_does_counts() {
    let Reference { tokens, .. } = reference();
    let logits = |checkpoint: Checkpoint| logits(checkpoint, &tokens);
    let right = package("gemma3-listed").checkpoint().unwrap();
    let expected = logits(right.clone());
    let windows = right.config.variant.windows.clone().unwrap();
    assert_eq!((windows.size, windows.full.as_slice()), (9, &[0][..]));
    type Damage = fn(&mut ModelConfig);
    let damages: [(&str, Damage); 9] = [
        ("activation", |config| config.variant.activation = Activation::Silu),
        ("embeddings", |config| config.variant.scaled_embeddings = false),
        ("scores", |config| config.variant.score_width = None),
        ("gains", |config| config.variant.norms.centred = false),
        ("frequencies", |config| config.rope_theta = 100.0),
        ("other frequencies", |config| config.variant.windows.as_mut().unwrap().rope_theta = 5000.0),
        ("a wider window", |config| config.variant.windows.as_mut().unwrap().size = 10),
        ("a narrower window", |config| config.variant.windows.as_mut().unwrap().size = 8),
        ("another layer", |config| config.variant.windows.as_mut().unwrap().full = vec![2]),
    ];
    for (name, damage) in damages {
        let mut wrong = right.clone();
        damage(&mut wrong.config);
        let off = logits(wrong).iter().zip(&expected).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(off > 1e-3, "{name}: off by {off:e}");
    }
}

/// The weights with the names of two tensors exchanged.
fn exchanged(weights: &Weights, one: &str, other: &str) -> Weights {
    let renamed = |info: &TensorInfo| {
        let name = match info.name.as_str() {
            name if name == one => other,
            name if name == other => one,
            name => name,
        };
        (0, TensorInfo { name: name.to_owned(), ..info.clone() })
    };
    Weights::gathered(weights.format(), &[weights], weights.infos().iter().map(renamed).collect())
}

/// As llama.cpp stores them: rotary pairs side by side, and the scaling of their frequencies as a tensor.
#[test]
fn a_gguf_file_with_scaled_frequencies_gives_the_same_logits() {
    let Reference { tokens, .. } = reference();
    let logits = |package: &Package| {
        let model = Model::new(Arc::new(package.checkpoint().unwrap())).unwrap();
        Session::new(&model, 48).unwrap().feed_all(&tokens).unwrap().to_vec()
    };
    let theirs = logits(&package("llama-llama3"));
    let off = |ours: &[f32]| ours.iter().zip(&theirs).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    let mut gguf = package("../gguf/llama-llama3.gguf");
    let worst = off(&logits(&gguf));
    assert!(worst < 1e-5, "off by {worst:e}");
    gguf.config.as_mut().unwrap().variant.rope = crate::model::variant::RopeScale::Plain;
    let worst = off(&logits(&gguf));
    assert!(worst > 1e-3, "without the scaling they differ, by {worst:e}");
}

#[test]
fn a_network_that_differs_from_its_tensors_is_refused() {
    let refused = |package: &Package| package.checkpoint().unwrap_err().to_string();
    let mut biased = package("qwen2");
    biased.config.as_mut().unwrap().variant.qkv_bias = false;
    let error = refused(&biased);
    assert!(error.contains("q_proj.bias` has no place") || error.contains("k_proj.bias"), "{error}");
    let mut deeper = package("mistral");
    deeper.config.as_mut().unwrap().layer_count = u32::MAX;
    assert!(refused(&deeper).starts_with("the configuration asks for 3865470"), "{}", refused(&deeper));
    let mut untied = package("mistral");
    untied.config.as_mut().unwrap().tied_output = false;
    assert!(refused(&untied).contains("lm_head.weight") || refused(&untied).contains("asks for"));
    let mut wordless = package("mistral");
    wordless.tokenizer = Err("there is no tokenizer.json".to_owned());
    assert!(refused(&wordless).contains("there is no tokenizer.json"));
    let mut small = package("mistral");
    small.config.as_mut().unwrap().vocab_size = 200;
    assert!(refused(&small).contains("260 ids and the network 200"));
}
