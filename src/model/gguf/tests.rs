//! Files written and read, and files that lie.

use std::sync::Arc;

use proptest::prelude::*;

use super::facts::{Fact, Facts};
use super::write::{Layout, Writer, general};
use super::*;
use crate::model::config::tests::tiny;
use crate::model::tokenizer::Tokenizer;
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
    let layout = Layout::new(facts, planned)?;
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

#[test]
fn a_configuration_comes_back() {
    let facts = meaning::facts(&tiny(), Some(&Tokenizer::Btok));
    assert_eq!(meaning::config(&facts, false).unwrap(), tiny());
    assert_eq!(meaning::tokenizer(&facts).unwrap(), Some(Tokenizer::Btok));
    let mut other = general("gemma");
    other.push("gemma.block_count", Fact::Unsigned(3));
    assert_eq!(
        meaning::config(&other, false).unwrap_err().to_string(),
        "the architecture is `gemma`; `llama` is known here"
    );
    assert!(meaning::config(&general("llama"), false).unwrap_err().to_string().contains("is missing"));
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
    let error = Layout::new(&facts(), &[planned("a", &[4], DType::Q4_0)]).map(|_| ());
    assert!(error.is_err());
    let layout = Layout::new(&facts(), &tensors()).unwrap();
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
