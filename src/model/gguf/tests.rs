//! Files written and read, and files that lie.

use std::sync::Arc;

use proptest::prelude::*;

use super::facts::{Fact, Facts};
use super::write::{Layout, Writer, general};
use super::*;
use crate::model::config::tests::tiny;
use crate::model::config::{ModelConfig, tensor_table};
use crate::model::norms::Norms;
use crate::model::tokenizer::Tokenizer;
use crate::model::variant::{RopeScale, Variant};
use crate::model::windows::Windows;
use crate::model::writer::{ModelWriter, Planned, WriteError};
use crate::tensor::shape::Shape;

fn planned(name: &str, dims: &[usize], dtype: DType) -> Planned {
    let shape = Shape::new(dims.to_vec()).unwrap();
    Planned { name: name.to_owned(), shape, dtype, block_size: 0 }
}

fn tensors() -> Vec<Planned> {
    vec![
        planned("a", &[2, 32], DType::F32),
        planned("b", &[7], DType::F16),
        planned("c", &[3, 64], DType::GgmlQ8_0),
        planned("d", &[5], DType::BF16),
    ]
}

fn facts() -> Facts {
    let mut facts = general("llama");
    facts.push("x.signed", Fact::Signed(-3));
    facts.push("x.large", Fact::Unsigned(1 << 40));
    facts.push("x.real", Fact::F32(0.5));
    facts.push("x.double", Fact::F64(0.1));
    facts.push("x.truth", Fact::Bool(true));
    facts.push("x.texts", Fact::List(vec![Fact::Text("é".to_owned()), Fact::Text(String::new())]));
    facts.push("x.bytes", Fact::Bytes(vec![1, 2, 3]));
    facts.push("x.numbers", Fact::List(vec![Fact::Unsigned(1), Fact::Unsigned(1 << 33)]));
    facts
}

/// Payloads are any bytes that repeat with a period of 251.
fn write(facts: &Facts, planned: &[Planned]) -> Result<Vec<u8>, WriteError> {
    let layout = Layout::new(facts, &[], planned)?;
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&layout, &mut bytes)?;
    for (i, tensor) in planned.iter().enumerate() {
        let length = crate::tensor::quantize::lengths(tensor.dtype, &tensor.shape, 0).unwrap().payload;
        let payload: Vec<u8> = (0..length).map(|at| ((at + i * 7) % 251) as u8).collect();
        let (first, second) = payload.split_at(length / 3);
        writer.payload(first)?;
        writer.payload(second)?;
        writer.finish_tensor(&[])?;
    }
    writer.finish()?;
    assert_eq!(bytes.len() as u64, layout.total_bytes());
    Ok(bytes)
}

fn read_bytes(bytes: Vec<u8>) -> Result<Gguf, GgufError> {
    read(Arc::new(bytes))
}

#[test]
fn what_is_written_is_read() {
    let bytes = write(&facts(), &tensors()).unwrap();
    let gguf = read_bytes(bytes).unwrap();
    assert_eq!(gguf.facts, facts());
    for (i, (view, planned)) in gguf.weights.tensors().zip(tensors()).enumerate() {
        assert_eq!((view.name, view.shape, view.dtype), (&*planned.name, &planned.shape, planned.dtype));
        assert_eq!(view.data[..5], std::array::from_fn::<u8, 5, _>(|at| (at + i * 7) as u8));
    }
}

/// The network that the facts of `config` say, with its own tensors.
fn back(architecture: Architecture, config: &ModelConfig) -> Result<ModelConfig, String> {
    let facts = meaning::facts(architecture, config, Some(&Tokenizer::Btok));
    assert_eq!(meaning::tokenizer(&facts).unwrap(), Some(Tokenizer::Btok));
    let names: Vec<String> = tensor_table(config)
        .unwrap()
        .iter()
        .filter_map(|spec| architecture.naming().from_slm1(&spec.name))
        .collect();
    meaning::config(&facts, |name| names.iter().any(|known| known == name)).map_err(|error| error.to_string())
}

#[test]
fn a_configuration_comes_back() {
    let variants = [
        Variant::PLAIN,
        Variant { qkv_bias: true, rope: RopeScale::Linear { factor: 1.1 }, ..Variant::PLAIN },
        Variant { qkv_bias: true, output_bias: true, ffn_bias: true, ..Variant::PLAIN },
        Variant { rope: architecture::usual_yarn(4.0, 1024.0), ..Variant::PLAIN },
        Variant { norms: Norms::QWEN3, ..Variant::PLAIN },
        Variant { norms: Norms::OLMO2, ..Variant::PLAIN },
        Variant::GEMMA3,
        Variant { windows: Some(Windows { size: 3, rope_theta: 2e4, full: vec![] }), ..Variant::GEMMA3 },
    ];
    for variant in variants {
        let has_norms = |architecture: &Architecture| architecture.variant().family() == variant.family();
        for architecture in Architecture::ALL.into_iter().filter(has_norms) {
            for (head_dim, tied_output) in [(4, false), (6, true)] {
                let config = ModelConfig { variant: variant.clone(), head_dim, tied_output, ..tiny() };
                assert_eq!(back(architecture, &config).as_ref(), Ok(&config), "{architecture:?}");
            }
        }
    }
}

#[test]
fn windows_of_gemma3_are_said_in_several_ways() {
    let windows = Windows { size: 4, rope_theta: 1e4, full: vec![5, 11] };
    let variant = Variant { windows: Some(windows.clone()), ..Variant::GEMMA3 };
    let config = ModelConfig { variant, layer_count: 13, ..tiny() };
    // Without the facts that begin so, with another one.
    let said = |without: &[&str], name: &str, fact: Fact| {
        let mut facts = Facts::default();
        let written = meaning::facts(Architecture::Gemma3, &config, None);
        let kept = |(name, _): &(&str, &Fact)| !without.iter().any(|part| name.ends_with(part));
        written.iter().filter(kept).for_each(|(name, fact)| facts.push(name, fact.clone()));
        facts.push(format!("gemma3.{name}"), fact);
        meaning::config(&facts, |_| false).map_err(|error| error.to_string())
    };
    let read = |without: &[&str], name: &str, fact: Fact| said(without, name, fact).unwrap().variant.windows;
    let pattern = "attention.sliding_window_pattern";
    assert_eq!(read(&[], "x", Fact::Bool(true)), Some(windows.clone()));
    let full = |found: Option<Windows>| found.map(|windows| windows.full);
    assert_eq!(full(read(&[], pattern, Fact::Unsigned(4))), Some(vec![3, 7, 11]));
    assert_eq!(read(&[], pattern, Fact::Unsigned(1)), None);
    let ways = Fact::List((0..13).map(|layer| Fact::Bool(layer != 2)).collect());
    assert_eq!(full(read(&[], pattern, ways)), Some(vec![2]));
    assert_eq!(read(&["attention.sliding_window"], "x", Fact::Bool(true)), None);
    let swa = &["freq_base_swa"];
    assert_eq!(read(swa, "x", Fact::Bool(true)), Some(windows.clone()));
    let local = read(swa, "rope.local.freq_base", Fact::F32(2e4)).unwrap();
    assert_eq!(local, Windows { rope_theta: 2e4, ..windows });
    let base = &["rope.freq_base"];
    assert_eq!(said(base, "rope.global.freq_base", Fact::F32(1e6)).unwrap().rope_theta, 1e6);
    for (without, name, fact, named) in [
        (&base[..], "x", Fact::Bool(true), "`gemma3.rope.freq_base` is missing"),
        (&[], pattern, Fact::List(vec![Fact::Bool(true)]), "sliding_window_pattern`, which is not computed"),
        (&[], pattern, Fact::Unsigned(0), "sliding_window_pattern` is missing or is no number"),
        (&[], "final_logit_softcapping", Fact::F32(30.0), "final_logit_softcapping`, which is not computed"),
        (&[], "attn_logit_softcapping", Fact::F32(50.0), "attn_logit_softcapping`, which is not computed"),
        (
            &[],
            "rope.scaling.type",
            Fact::Text("yarn".to_owned()),
            "rope.scaling.type`, which is not computed",
        ),
        (&["block_count"], "block_count", Fact::Unsigned(1 << 20), "`gemma3.block_count`"),
    ] {
        let error = said(without, name, fact).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
    // The one whose scores are of another width is known by its depth.
    let deep = |heads: u64| {
        let without = ["block_count", "embedding_length", "attention.head_count"];
        let mut facts = Facts::default();
        let written = meaning::facts(Architecture::Gemma3, &config, None);
        let kept = |(name, _): &(&str, &Fact)| !without.iter().any(|part| name.ends_with(part));
        written.iter().filter(kept).for_each(|(name, fact)| facts.push(name, fact.clone()));
        let sizes = [62, 32, heads];
        without.into_iter().zip(sizes).for_each(|(name, size)| {
            facts.push(format!("gemma3.{name}"), Fact::Unsigned(size));
        });
        facts.push("gemma3.attention.key_length", Fact::Unsigned(4));
        meaning::config(&facts, |_| false).unwrap().variant.score_width
    };
    assert_eq!((deep(2), deep(8)), (Some(16), None));
}

#[test]
fn what_has_no_meaning_is_named() {
    let none = |_: &str| false;
    let mut other = general("gemma");
    other.push("gemma.block_count", Fact::Unsigned(3));
    assert_eq!(
        meaning::config(&other, none).unwrap_err().to_string(),
        "the architecture is `gemma`; `llama`, `qwen2`, `qwen3`, `olmo2` and `gemma3` are known here"
    );
    assert_eq!(
        meaning::config(&general("qwen2"), none).unwrap_err().to_string(),
        "the fact `qwen2.embedding_length` is missing or is no number that fits"
    );
    let with = |name: &str, fact: Fact| {
        let mut facts = meaning::facts(Architecture::Qwen2, &tiny(), None);
        facts.push(format!("qwen2.{name}"), fact);
        meaning::config(&facts, none).map(|config| config.variant.rope).map_err(|error| error.to_string())
    };
    let text = |text: &str| Fact::Text(text.to_owned());
    assert!(with("rope.scaling.type", text("longrope")).unwrap_err().contains("`qwen2.rope.scaling.type`"));
    assert!(with("rope.scaling.type", text("linear")).unwrap_err().contains("`qwen2.rope.scaling.factor`"));
    assert!(with("rope.scaling.attn_factor", Fact::F32(0.5)).unwrap_err().contains("attn_factor"));
    assert!(with("rope.scaling.yarn_beta_fast", Fact::F32(16.0)).unwrap_err().contains("yarn_beta_fast"));
    assert!(with("rope.scaling.factor", Fact::Unsigned(4)).unwrap_err().contains("is no number that fits"));
    assert!(with("expert_count", Fact::Unsigned(8)).unwrap_err().contains("`qwen2.expert_count`"));
    assert!(with("attention.key_length", Fact::Unsigned(6)).unwrap_err().contains("rope.dimension_count"));
    let variant = Variant { norms: Norms::OLMO2, ..Variant::PLAIN };
    let mut olmo3 = meaning::facts(Architecture::Olmo2, &ModelConfig { variant, ..tiny() }, None);
    assert!(meaning::config(&olmo3, none).is_ok());
    olmo3.push("olmo2.attention.sliding_window", Fact::Unsigned(4096));
    let error = meaning::config(&olmo3, none).unwrap_err().to_string();
    assert!(error.contains("`olmo2.attention.sliding_window`"), "{error}");
    // A factor without a type is linear, as it is to llama.cpp.
    let linear = Ok(RopeScale::Linear { factor: 4.0 });
    assert_eq!(with("rope.scaling.factor", Fact::F32(4.0)), linear);
    assert_eq!(with("rope.scale_linear", Fact::F32(4.0)), linear);
    assert_eq!(with("rope.scaling.factor", Fact::F32(1.0)), Ok(RopeScale::Plain));
}

#[test]
fn facts_of_an_architecture_without_a_meaning_are_carried_under_its_name() {
    let mut other = general("gemma");
    other.push("gemma.block_count", Fact::Unsigned(3));
    other.push("general.file_type", Fact::Unsigned(7));
    let carried = meaning::carried(&other);
    assert_eq!(carried.text("general.architecture"), Some("gemma"));
    assert_eq!((carried.unsigned("gemma.block_count"), carried.get("general.file_type")), (Some(3), None));
}

#[test]
fn given_tensors_come_first() {
    let given = write::Given { name: "given".to_owned(), numbers: vec![1.0, 2.5, -3.0] };
    let layout = Layout::new(&facts(), &[given], &[planned("a", &[2], DType::F32)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&layout, &mut bytes).unwrap();
    writer.payload(&[0; 8]).unwrap();
    writer.finish_tensor(&[]).unwrap();
    writer.finish().unwrap();
    assert_eq!(bytes.len() as u64, layout.total_bytes());
    let gguf = read_bytes(bytes).unwrap();
    assert_eq!(gguf.weights.tensor("given").unwrap().to_f32(), [1.0, 2.5, -3.0]);
    assert_eq!(gguf.weights.tensor("a").unwrap().to_f32(), [0.0, 0.0]);
}

/// Where `needle` begins.
fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap()
}

#[test]
fn lies_are_named() {
    let good = write(&facts(), &tensors()).unwrap();
    let refused = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        edit(&mut bytes);
        read_bytes(bytes).unwrap_err().to_string()
    };
    assert!(refused(&|b| b[0] = b'H').contains("does not begin"));
    assert!(refused(&|b| b[4] = 9).contains("version 9"));
    assert!(
        refused(&|b| b[8..16].copy_from_slice(&u64::MAX.to_le_bytes())).contains("the number of tensors is")
    );
    assert!(
        refused(&|b| b[16..24].copy_from_slice(&(1_u64 << 50).to_le_bytes())).contains("the number of facts")
    );
    // The entry of `a` is: length 1, "a", 2 dimensions, 32, 2, code, offset.
    let entry = find(&good, &[1, 0, 0, 0, 0, 0, 0, 0, b'a', 2, 0, 0, 0, 32, 0]);
    let (dim, code, offset) = (entry + 13, entry + 29, entry + 33);
    assert!(refused(&|b| b[code] = 12).contains("tensor `a`") && refused(&|b| b[code] = 12).contains("Q4_K"));
    assert!(refused(&|b| b[offset] = 32).contains("its payload begins at"));
    assert!(refused(&|b| b[dim..dim + 8].copy_from_slice(&u64::MAX.to_le_bytes())).contains("too many"));
    assert!(refused(&|b| b[dim..dim + 8].copy_from_slice(&0_u64.to_le_bytes())).contains("zero"));
    assert!(
        refused(&|b| b[dim + 3] = 1).contains("begins at")
            || refused(&|b| b[dim + 3] = 1).contains("ends at")
    );
    assert!(refused(&|b| b.extend([0; 64])).contains("follow the last tensor"));
    let c = find(&good, &[1, 0, 0, 0, 0, 0, 0, 0, b'c']);
    assert!(refused(&|b| b[c + 8] = b'b').contains("`b` comes twice"));
    let align = find(&good, b"general.alignment") + 17 + 4;
    assert!(refused(&|b| b[align] = 33).contains("power of two"));
    let truth = find(&good, b"x.truth") + 7 + 4;
    assert!(refused(&|b| b[truth] = 2).contains("0 or 1"));
    let name = find(&good, b"x.double");
    assert!(refused(&|b| b[name..name + 8].copy_from_slice(b"x.signed")).contains("comes twice"));
}

#[test]
fn cut_anywhere_it_is_refused() {
    let good = write(&facts(), &tensors()).unwrap();
    // The padding behind the last payload may be missing.
    let padding = 32 - 10;
    for length in 0..good.len() - padding {
        assert!(read_bytes(good[..length].to_vec()).is_err(), "{length} of {}", good.len());
    }
    assert!(read_bytes(good[..good.len() - padding].to_vec()).is_ok());
}

#[test]
fn encodings_and_lengths_are_checked_when_writing() {
    let error = Layout::new(&facts(), &[], &[planned("a", &[4], DType::Q4_0)]).map(|_| ());
    assert!(error.is_err());
    let layout = Layout::new(&facts(), &[], &tensors()).unwrap();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&layout, &mut bytes).unwrap();
    assert!(matches!(writer.finish(), Err(WriteError::Count { .. })));
    assert!(matches!(writer.finish_tensor(&[]), Err(WriteError::Length { .. })));
    assert!(matches!(writer.payload(&[0; 257]), Err(WriteError::Length { .. })));
}

proptest! {
    #[test]
    fn flipped_bytes_never_panic(at in 0_usize..4096, to in any::<u8>()) {
        let mut bytes = write(&facts(), &tensors()).unwrap();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(gguf) = read_bytes(bytes) {
            for view in gguf.weights.tensors() {
                prop_assert!(view.to_f32().len() == view.shape.elements());
            }
        }
    }
}
