//! Files of the format's own library are read and written byte for byte; what is damaged is refused
//! or harmless, never a panic.

use std::sync::Arc;

use proptest::prelude::*;

use super::header::PREFIX;
use super::{
    Contents, DTYPES, Layout, MAX_HEADER, Metadata, SafetensorsError, Writer, contents, read, sniff,
};
use crate::model::Weights;
use crate::model::weights::{SharedBytes, TensorInfo};
use crate::model::writer::{ModelWriter, Planned, WriteError};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;
use crate::tensor::shape::Shape;

/// Made by `tests/fixtures/safetensors_files.py` with the Python package `safetensors`.
const PYTHON: &[u8] = include_bytes!("../../../tests/fixtures/safetensors_python.safetensors");
/// Made by `the_files_python_reads` under `STUDBOOK_BLESS=1`; the same script reads it with `--check`.
const WRITTEN: &[u8] = include_bytes!("../../../tests/fixtures/safetensors_written.safetensors");

/// The script's tensors.
fn tensors() -> Vec<Planned> {
    let table: [(&str, DType, &[usize]); 5] = [
        ("model.layers.0.wide", DType::F64, &[3]),
        ("lm_head.weight", DType::F32, &[2, 5]),
        ("a \"quoted\" name \u{2014} \\ \t \u{e9}\u{1f600}", DType::F32, &[]),
        ("deep", DType::F16, &[2, 1, 3, 1, 2]),
        ("model.embed_tokens.weight", DType::BF16, &[5, 3]),
    ];
    table.iter().map(|(name, dtype, dims)| planned(name, *dtype, dims)).collect()
}

fn planned(name: &str, dtype: DType, dims: &[usize]) -> Planned {
    Planned { name: name.to_owned(), shape: Shape::new(dims.to_vec()).unwrap(), dtype, block_size: 0 }
}

/// The script's values: multiples of 1/8 that every encoding holds exactly.
fn values(index: usize, elements: usize) -> Vec<f32> {
    (0..elements).map(|i| ((i * 37 + index * 11) % 101) as f32 / 8.0 - 50.0 / 8.0).collect()
}

fn encoded(plan: &Planned, values: &[f32]) -> Vec<u8> {
    let (mut payload, mut none) = (Vec::new(), Vec::new());
    quantize::encode_into(plan.dtype, 0, plan.shape.columns(), values, &mut payload, &mut none).unwrap();
    payload
}

/// A file of these tensors, each with the values of its index in the script's table.
fn write(tensors: &[(usize, Planned)], metadata: &Metadata, piece: usize) -> Vec<u8> {
    let plans = tensors.iter().map(|(_, plan)| plan.clone()).collect();
    let layout = Layout::new(plans, metadata).unwrap();
    let mut file = Vec::new();
    let mut writer = Writer::new(&layout, &mut file).unwrap();
    for (index, plan) in tensors {
        let payload = encoded(plan, &values(*index, plan.shape.elements()));
        payload.chunks(piece).for_each(|bytes| writer.payload(bytes).unwrap());
        writer.finish_tensor(&[]).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(file.len() as u64, layout.total_bytes());
    file
}

fn metadata(entries: &[(&str, &str)]) -> Metadata {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn open(file: &[u8]) -> (Weights, Metadata) {
    read(Arc::new(file.to_vec())).unwrap()
}

/// A file with this header and so many zeros behind it.
fn file(header: &str, payload: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.resize(file.len() + payload, 0);
    file
}

fn infos(file: &[u8], part: usize) -> Result<(Vec<TensorInfo>, Metadata), SafetensorsError> {
    let file: SharedBytes = Arc::new(file.to_vec());
    contents(&file, part).map(|Contents { tensors, metadata, .. }| (tensors, metadata))
}

fn refused(file: &[u8]) -> String {
    infos(file, 0).unwrap_err().to_string()
}

#[test]
fn a_file_from_python_is_read() {
    assert!(sniff(PYTHON));
    let (weights, words) = open(PYTHON);
    assert_eq!(words, metadata(&[("format", "pt")]));
    assert_eq!(weights.infos().len(), 5);
    for (index, plan) in tensors().iter().enumerate() {
        let view = weights.tensor(&plan.name).unwrap();
        assert_eq!((view.dtype, view.shape), (plan.dtype, &plan.shape), "{}", plan.name);
        assert_eq!(view.to_f32(), values(index, plan.shape.elements()), "{}", plan.name);
    }
    assert_eq!(weights.parameters(), 3 + 10 + 1 + 12 + 15);
}

/// In the order in which the library stores the same tensors, nothing is left to taste.
#[test]
fn the_same_content_in_the_same_order_is_the_same_file() {
    let (weights, words) = open(PYTHON);
    let position = |name: &str| tensors().iter().position(|plan| plan.name == name).unwrap();
    let order: Vec<_> = weights
        .infos()
        .iter()
        .map(|info| (position(&info.name), tensors()[position(&info.name)].clone()))
        .collect();
    assert_eq!(order.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2, 1, 4, 3]);
    assert!(write(&order, &words, usize::MAX) == PYTHON);
}

/// Writes the file that the script checks, if it is asked for.
#[cfg(feature = "engine")]
fn bless(file: &[u8]) {
    if std::env::var_os("STUDBOOK_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/safetensors_written.safetensors");
        std::fs::write(path, file).unwrap();
    }
}

#[test]
fn the_files_python_reads() {
    let order: Vec<_> = tensors().into_iter().enumerate().collect();
    let words = metadata(&[("z", ""), ("format", "pt"), ("a", "\u{e9}\n\"")]);
    #[cfg(feature = "engine")]
    bless(&write(&order, &words, usize::MAX));
    for piece in [usize::MAX, 3] {
        assert!(write(&order, &words, piece) == WRITTEN);
    }
    let payloads = PREFIX as u64 + u64::from_le_bytes(*WRITTEN.first_chunk().unwrap());
    assert!(payloads.is_multiple_of(8));
    let (weights, found) = open(WRITTEN);
    assert_eq!(found, words);
    assert!(weights.infos().iter().map(|info| &info.name).eq(tensors().iter().map(|plan| &plan.name)));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for file in [PYTHON, WRITTEN] {
        for length in 0..file.len() {
            assert!(infos(&file[..length], 0).is_err(), "cut at {length}");
        }
        let mut longer = file.to_vec();
        longer.push(0);
        assert!(refused(&longer).contains("the file's end, belong to no tensor"));
    }
}

/// Every byte of the header with several patterns: refused, or tensors that still share out the file.
#[test]
fn a_flipped_byte_is_refused_or_harmless() {
    for file in [PYTHON, WRITTEN] {
        let payloads = PREFIX + u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
        for at in 0..payloads {
            for flip in [0x01, 0x02, 0x04, 0x10, 0x20, 0x80, 0xff] {
                let mut damaged = file.to_vec();
                damaged[at] ^= flip;
                let Ok((infos, _)) = infos(&damaged, 0) else { continue };
                let mut end = payloads;
                for info in &infos {
                    assert_eq!(info.data.start, end, "byte {at} ^ {flip:#x}");
                    end = info.data.end;
                }
                assert_eq!(end, file.len());
            }
        }
    }
}

#[test]
fn refusals_say_what_where_and_what_was_expected() {
    let a = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let one = |entry: &str| file(&format!("{{\"a\":{entry}}}"), 8);
    let with = |more: &str| file(&format!("{{{a}{more}}}"), 16);
    let b = |begin: u64, end: u64| {
        format!(r#","b":{{"dtype":"F16","shape":[{}],"data_offsets":[{begin},{end}]}}"#, (end - begin) / 2)
    };
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (vec![1, 2, 3], &["has 3 bytes", "8 bytes of its header's length"]),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(),
            &["pointer of Git LFS", "git lfs pull"],
        ),
        (u64::MAX.to_le_bytes().to_vec(), &["(byte 0) is 18446744073709551615", "at most 100000000"]),
        ((MAX_HEADER + 1).to_le_bytes().to_vec(), &["is 100000001"]),
        (
            MAX_HEADER.to_le_bytes().to_vec(),
            &["the header is 100000000 bytes at byte 8", "has 8", "cut short"],
        ),
        (0_u64.to_le_bytes().to_vec(), &["begins with \"\"", "opening brace"]),
        (file(" {}", 0), &["begins with \" {}\" (byte 8)"]),
        (file("[]", 0), &["begins with \"[]\""]),
        (file("{\u{1}}", 0), &["cannot be read at byte 9", "key must be a string"]),
        (file("{", 0), &["at byte 8", "EOF"]),
        (file("{}x", 0), &["at byte 10", "trailing characters"]),
        (file("{\"a\":3}", 0), &["invalid type: integer `3`", "for tensor \"a\""]),
        (file("{\"__metadata__\":{\"a\":1}}", 0), &["at byte 29", "expected a string"]),
        (file("{\"__metadata__\":null}", 0), &["__metadata__ with text for each key"]),
        (
            file(r#"{"__metadata__":{"k":"","k":""}}"#, 0),
            &["__metadata__ has the key \"k\" twice", "byte 35"],
        ),
        (file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), &["__metadata__ comes twice"]),
        (with(&format!(",{a}")), &["tensor \"a\" has two entries in the header, 0 and 1"]),
        (one(r#"{"dtype":"F32","dtype":"F32"}"#), &["tensor \"a\" has the field dtype twice"]),
        (one(r#"{"shape":[],"shape":[]}"#), &["the field shape twice"]),
        (one(r#"{"strides":[1]}"#), &["the field \"strides\"; there are only dtype, shape and data_offsets"]),
        (one(r#"{"dtype":"F32","shape":[2]}"#), &["tensor \"a\" has no data_offsets"]),
        (one("{}"), &["tensor \"a\" has no dtype"]),
        (one(r#"{"dtype":"F33"}"#), &["tensor \"a\" has the dtype \"F33\", which the format does not know"]),
        (one(r#"{"dtype":"f32"}"#), &["\"f32\", which the format does not know"]),
        (one(r#"{"dtype":"F8_E4M3"}"#), &["tensor \"a\" is F8_E4M3; only F64, F32, F16 and BF16"]),
        (one(r#"{"shape":[3,0]}"#), &["tensor \"a\" has a dimension of zero: [3, 0]"]),
        (one(r#"{"shape":[1,1,1,1,1,1,1,1,1]}"#), &["tensor \"a\" has 9 dimensions; at most 8"]),
        (one(r#"{"shape":[4294967296,4294967296]}"#), &["tensor \"a\" has too many elements"]),
        (one(r#"{"shape":[18446744073709551616]}"#), &["invalid type: floating point", "expected u64"]),
        (one(r#"{"shape":[-1]}"#), &["invalid value: integer `-1`"]),
        (one(r#"{"shape":[[2]]}"#), &["invalid type: sequence"]),
        (one(r#"{"data_offsets":[0]}"#), &["invalid length 1"]),
        (one(r#"{"data_offsets":[0,8,8]}"#), &["trailing characters"]),
        (
            one(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#),
            &["tensor \"a\"", "begin at 8 and end at 0"],
        ),
        (
            one(r#"{"dtype":"BF16","shape":[2],"data_offsets":[0,8]}"#),
            &["tensor \"a\", BF16 of shape 2, needs 4 bytes; its data_offsets give it 8"],
        ),
        (with(&b(4, 12)), &["tensor \"b\" begins at byte 120, inside tensor \"a\""]),
        (with(&b(10, 16)), &["bytes 125 to 127 belong to no tensor; tensor \"b\""]),
        (with(&b(8, 18)), &["tensor \"b\" ends at byte 134, but the file has 132: it was cut short"]),
        (with(&b(8, 14)), &["bytes 130 to 132, the file's end, belong to no tensor"]),
        (
            one(r#"{"dtype":"F16","shape":[1],"data_offsets":[18446744073709551613,18446744073709551615]}"#),
            &["tensor \"a\" ends at byte 18446744073709551615"],
        ),
    ];
    for (file, parts) in cases {
        let error = refused(&file);
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} are not all in: {error}");
    }
    let mut not_text = file("{\"aaaa\":{}}", 0);
    not_text[12] = 0xff;
    assert_eq!(refused(&not_text), "the header is not UTF-8 (byte 12)");
}

#[test]
fn order_and_spaces_of_the_header_do_not_matter() {
    let header = r#"{ "b" : {"data_offsets":[8,10], "shape":[], "dtype":"F16"},
        "a":{"dtype":"F\u00332","shape":[ 2 ],"data_offsets":[0,8]} }   "#;
    let (found, words) = infos(&file(header, 10), 3).unwrap();
    let names: Vec<_> = found.iter().map(|info| (info.name.as_str(), info.part, info.dtype)).collect();
    assert_eq!(names, [("a", 3, DType::F32), ("b", 3, DType::F16)]);
    assert_eq!(found[1].shape.dims(), [0_usize; 0]);
    assert!(words.is_empty());
    assert!(infos(&file("{}", 0), 0).unwrap().0.is_empty());
}

/// Megabytes of header that would become much more if they were believed.
#[test]
fn a_bomb_is_refused() {
    let dims = format!("{{\"a\":{{\"shape\":[{}1]}}}}", "1,".repeat(1 << 20));
    assert!(refused(&file(&dims, 0)).contains("has 1048577 dimensions"));
    let deep = format!("{{\"a\":{}", "[".repeat(1 << 20));
    assert!(refused(&file(&deep, 0)).contains("invalid type: sequence"));
    let deep = format!("{{\"a\":{{\"x\":{}", "[".repeat(1 << 20));
    assert!(refused(&file(&deep, 0)).contains("the field \"x\""));
    let deep = format!("{{\"a\":{{\"shape\":[1,1,1,1,1,1,1,1,{}", "[".repeat(1 << 20));
    assert!(refused(&file(&deep, 0)).contains("invalid type: sequence"));
    let name = format!("{{\"{}\":{{}}}}", "n".repeat(1 << 20));
    let error = refused(&file(&name, 0));
    assert!(error.contains("nnn\"... has no dtype") && error.len() < 300, "{}", error.len());
    // All of them the same bytes: a small file that claims to be a large model.
    let entry = |i: usize| format!("\"{i}\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
    let shared = format!("{{{}}}", (0..50_000).map(entry).collect::<Vec<_>>().join(","));
    assert!(refused(&file(&shared, 4)).contains("inside tensor"));
}

#[test]
fn very_many_tensors_are_read() {
    let count = 200_000;
    let plans: Vec<_> = (0..count).map(|i| planned(&format!("layers.{i}.w"), DType::F16, &[1])).collect();
    let layout = Layout::new(plans.clone(), &Metadata::new()).unwrap();
    let mut file = Vec::new();
    let mut writer = Writer::new(&layout, &mut file).unwrap();
    for _ in 0..count {
        writer.payload(&[0, 0x3c]).unwrap();
        writer.finish_tensor(&[]).unwrap();
    }
    writer.finish().unwrap();
    let (weights, _) = open(&file);
    assert!(weights.infos().iter().map(|info| &info.name).eq(plans.iter().map(|plan| &plan.name)));
    assert_eq!(weights.tensor("layers.199999.w").unwrap().to_f32(), [1.0]);
}

#[test]
fn more_tensors_than_anybody_stores_are_refused_before_they_take_memory() {
    use std::fmt::Write;
    let mut header = String::from("{");
    for i in 0..=super::MAX_TENSORS {
        let comma = if i == 0 { "" } else { "," };
        let (begin, end) = (4 * i, 4 * i + 4);
        write!(header, "{comma}\"{i}\":{{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[{begin},{end}]}}")
            .unwrap();
    }
    header.push('}');
    assert!(refused(&file(&header, 0)).contains("there are more than 524288 tensors"));
}

#[test]
fn layouts_refuse_what_a_file_cannot_hold() {
    let error = |plans: Vec<Planned>| Layout::new(plans, &Metadata::new()).unwrap_err().to_string();
    let twice =
        vec![planned("a", DType::F32, &[1]), planned("b", DType::F32, &[1]), planned("a", DType::F16, &[])];
    assert_eq!(error(twice), "tensor \"a\" cannot be written: the name comes twice");
    assert!(error(vec![planned("__metadata__", DType::F32, &[1])]).contains("the header's own name"));
    for dtype in DType::ALL {
        let layout = Layout::new(vec![planned("a", dtype, &[32])], &Metadata::new());
        assert_eq!(layout.is_ok(), DTYPES.contains(&dtype), "{dtype}");
    }
    assert_eq!(
        error(vec![planned("a", DType::Q8_0, &[1])]),
        "tensor a: safetensors files cannot hold q8_0; possible are f32, f16, bf16, f64"
    );
    let large = |i: usize| planned(&i.to_string(), DType::F64, &[1 << 58]);
    assert!(matches!(Layout::new((0..8).map(large).collect(), &Metadata::new()), Err(WriteError::TooLarge)));
    let words = metadata(&[("long", &"x".repeat(MAX_HEADER as usize))]);
    assert!(matches!(Layout::new(Vec::new(), &words), Err(WriteError::Header { .. })));
}

#[test]
fn the_writer_holds_to_its_layout() {
    let plans = vec![planned("a", DType::BF16, &[4]), planned("b", DType::F32, &[1])];
    let layout = Layout::new(plans, &Metadata::new()).unwrap();
    assert_eq!(layout.places()[1].end, layout.total_bytes());
    let mut file = Vec::new();
    let mut writer = Writer::new(&layout, &mut file).unwrap();
    assert!(matches!(writer.payload(&[0; 9]), Err(WriteError::Length { expected: 8, found: 9, .. })));
    writer.payload(&[0; 7]).unwrap();
    assert!(matches!(writer.finish_tensor(&[]), Err(WriteError::Length { found: 7, .. })));
    writer.payload(&[0]).unwrap();
    assert!(matches!(writer.finish_tensor(&[0; 4]), Err(WriteError::Length { part: "scales", .. })));
    writer.finish_tensor(&[]).unwrap();
    assert!(matches!(writer.finish(), Err(WriteError::Count { written: 1, planned: 2, .. })));
    writer.payload(&[0; 4]).unwrap();
    writer.finish_tensor(&[]).unwrap();
    writer.finish().unwrap();
    assert!(matches!(writer.payload(&[0]), Err(WriteError::Count { .. })));
    assert!(infos(&file, 0).is_ok());
}

fn plans() -> impl Strategy<Value = Vec<Planned>> {
    let dims = prop::collection::vec(1_usize..5, 0..5);
    let dtype = prop::sample::select(DTYPES.to_vec());
    prop::collection::btree_map(".{0,12}", (dtype, dims), 0..12).prop_map(|tensors| {
        tensors.into_iter().map(|(name, (dtype, dims))| planned(&name, dtype, &dims)).collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        plans in plans().prop_shuffle(),
        words in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
        piece in 1_usize..9,
    ) {
        let tensors: Vec<_> = plans.iter().cloned().enumerate().collect();
        let file = write(&tensors, &words, piece);
        prop_assert_eq!(&write(&tensors, &words, usize::MAX), &file);
        let (weights, found) = open(&file);
        prop_assert_eq!(found, words);
        prop_assert_eq!(weights.infos().len(), plans.len());
        for ((index, plan), view) in tensors.iter().zip(weights.tensors()) {
            prop_assert_eq!((view.name, view.dtype, view.shape), (plan.name.as_str(), plan.dtype, &plan.shape));
            prop_assert_eq!(view.to_f32(), values(*index, plan.shape.elements()));
        }
    }

    #[test]
    fn many_damaged_bytes_are_refused_or_harmless(
        damage in prop::collection::vec((0_usize..430, any::<u8>()), 1..5),
    ) {
        let mut file = PYTHON.to_vec();
        for (at, byte) in damage {
            file[at] = byte;
        }
        if let Ok((infos, _)) = infos(&file, 0) {
            prop_assert!(infos.iter().all(|info| info.data.end <= file.len()));
        }
    }
}

/// Integers are no weights: they are read, kept apart, and written behind the weights as they were.
#[test]
fn buffers_are_kept_apart_and_come_back() {
    let header = r#"{"a.position_ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]},
        "a.weight":{"dtype":"BF16","shape":[2],"data_offsets":[16,20]},
        "a.mask":{"dtype":"BOOL","shape":[3],"data_offsets":[20,23]},
        "model.layers.0.self_attn.rotary_emb.inv_freq":{"dtype":"F32","shape":[1],"data_offsets":[23,27]}}"#;
    let (weights, _) = read(Arc::new(file(header, 27))).unwrap();
    assert!(weights.infos().iter().map(|info| info.name.as_str()).eq(["a.weight"]));
    let kinds: Vec<_> = weights.buffers().iter().map(|buffer| (buffer.kind, buffer.data().len())).collect();
    assert_eq!(kinds, [("I64", 16), ("BOOL", 3), ("F32", 4)]);
    let plan = |view: crate::tensor::view::TensorView<'_>| Planned {
        name: view.name.to_owned(),
        shape: view.shape.clone(),
        dtype: view.dtype,
        block_size: 0,
    };
    let planned = weights.tensors().map(plan).collect();
    let layout = Layout::with_buffers(planned, weights.buffers().to_vec(), &Metadata::new()).unwrap();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&layout, &mut bytes).unwrap();
    for view in weights.tensors() {
        writer.payload(view.data).unwrap();
        writer.finish_tensor(&[]).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(bytes.len() as u64, layout.total_bytes());
    let (again, _) = read(Arc::new(bytes)).unwrap();
    for (ours, theirs) in weights.buffers().iter().zip(again.buffers()) {
        let all = |buffer: &crate::model::buffer::Buffer| {
            (buffer.name.clone(), buffer.kind, buffer.data().to_vec())
        };
        assert_eq!(all(ours), all(theirs));
    }
    assert_eq!(again.buffers().len(), 3);
    // Where an integer tensor is called a weight, it is a packed one.
    let refused = |name: &str| {
        let header = format!(r#"{{"{name}":{{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}}}"#);
        read(Arc::new(file(&header, 4))).unwrap_err().to_string()
    };
    assert!(refused("a.qweight").contains("tensor \"a.qweight\" is I32; only F64, F32, F16 and BF16"));
    let only = super::read_weights(Arc::new(file(header, 27))).unwrap_err().to_string();
    assert!(only.starts_with("tensor \"a.position_ids\" is I64; only"), "{only}");
}
