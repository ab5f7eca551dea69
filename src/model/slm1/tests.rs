//! What is written is read back; what is damaged is refused or harmless, never a panic.

use std::sync::Arc;

use proptest::prelude::*;

use super::directory::ENTRY;
use super::header::{HEADER_LENGTH, Header};
use super::read::read;
use super::write::write_values;
use super::{ChecksumVerdict, Encoding, Layout, Slm1Error, Writer, checksum_verdict};
use crate::model::checkpoint::Checkpoint;
use crate::model::config::ModelConfig;
use crate::model::config::tests::{tiny, tiny_lm_16m};
use crate::model::tokenizer::{Bpe1, Merge, Tokenizer};
use crate::model::values::{ValueError, all_zero_tensors, validate_values};
use crate::model::variant::Variant;
use crate::model::{ModelWriter, WriteError};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;

fn the() -> Tokenizer {
    let tokens = vec![(260, b"th".to_vec()), (261, b"the".to_vec())];
    let merges = vec![
        Merge { left: 116, right: 104, output: 260, rank: 0 },
        Merge { left: 260, right: 101, output: 261, rank: 1 },
    ];
    Tokenizer::Bpe1(Bpe1::new(262, tokens, merges).unwrap().into())
}

/// A value that depends on where it is.
fn value(name: &str, element: usize) -> f32 {
    let word =
        super::directory::name_hash(name).wrapping_add(element as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word >> 40) as f32 / (1 << 22) as f32 - 2.0
}

fn write(config: &ModelConfig, tokenizer: &Tokenizer, encoding: Encoding) -> Vec<u8> {
    let layout = Layout::new(config, tokenizer, encoding).unwrap();
    let mut file = Vec::new();
    write_values::<WriteError>(&layout, &mut file, |plan, start, out| {
        for (i, out) in out.iter_mut().enumerate() {
            *out = value(&plan.name, start + i);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(file.len() as u64, layout.total_bytes());
    file
}

fn tiny_file(encoding: Encoding) -> Vec<u8> {
    write(&tiny(), &Tokenizer::Btok, encoding)
}

fn open(file: &[u8]) -> Result<Checkpoint, Slm1Error> {
    read(Arc::new(file.to_vec()))
}

#[test]
fn nothing_may_lie_behind_the_last_section() {
    for encoding in [Encoding::new(DType::F32), Encoding::new(DType::Q8_0)] {
        let mut file = tiny_file(encoding);
        let end = file.len();
        file.push(0);
        assert_eq!(open(&file).unwrap_err(), Slm1Error::Trailing { start: end as u64, file: end as u64 + 1 });
        file.extend([1; 99]);
        assert!(refused(&file).contains(&format!("bytes {end} to {}, the file's end", end + 100)));
    }
}

fn refused(file: &[u8]) -> String {
    open(file).unwrap_err().to_string()
}

fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = tiny_file(Encoding::q4(8));
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// Where field `field` of entry `index` lies in the tiny file.
fn entry(index: usize, field: usize) -> usize {
    192 + index * ENTRY + field
}

/// The sizes its authors publish, to the byte; the f32 one follows from the same arithmetic.
#[test]
fn published_sizes() {
    let size = |dtype| {
        let layout = Layout::new(&tiny_lm_16m(), &Tokenizer::Btok, Encoding::new(dtype)).unwrap();
        assert_eq!(layout.tensor_data_offset(), 2_688);
        layout.total_bytes()
    };
    assert_eq!(size(DType::Q8_0), 17_160_000);
    assert_eq!(size(DType::Q4_0), 10_657_728);
    assert_eq!(size(DType::F32), 68_194_944);
}

#[test]
fn header_fields_lie_where_they_are_documented() {
    let file = tiny_file(Encoding::new(DType::Q8_0));
    assert_eq!(&file[..4], b"SLM1");
    let words: Vec<u32> =
        (4..64).step_by(4).map(|at| u32::from_le_bytes(file[at..at + 4].try_into().unwrap())).collect();
    let (theta, epsilon) = (10_000_f32.to_bits(), 1e-5_f32.to_bits());
    assert_eq!(words, [1, 108, 1, 0, 260, 4, 8, 1, 2, 2, 4, 16, 16, theta, epsilon]);
    let long = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    assert_eq!([long(64), long(72), long(80), long(92)], [108, 28, 192, 192 + 12 * 64]);
    assert_eq!(file[88..92], 12_u32.to_le_bytes());
    // FNV-1a-64 of the first name, computed apart from this code.
    assert_eq!(long(192), fnv("tok_embeddings.weight"));
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!([200, 204, 208, 212, 216, 220, 248, 252].map(word), [2, 2, 260, 8, 0, 0, 8, 0]);
    assert_eq!([long(224), long(232), long(240)], [960, 2080, 3072]);
}

/// The test vectors of the FNV authors: "", "a", "foobar".
#[test]
fn name_hash_known_answers() {
    let hashes = ["", "a", "foobar"].map(super::directory::name_hash);
    assert_eq!(hashes, [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8]);
}

fn fnv(name: &str) -> u64 {
    let mut hash = 14_695_981_039_346_656_037_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211);
    }
    hash
}

#[test]
fn the_checksum_written_is_the_one_verified() {
    let mut file = tiny_file(Encoding::new(DType::F32));
    assert!(matches!(checksum_verdict(&file), ChecksumVerdict::Matches { .. }));
    // A checksum of another scheme is a remark, not an error.
    file[100] ^= 1;
    assert!(matches!(checksum_verdict(&file), ChecksumVerdict::NotVerified { .. }));
    assert!(open(&file).is_ok());
}

#[test]
fn a_large_file_is_checksummed_beside_the_writing() {
    let config = ModelConfig { vocab_size: 260, ffn_size: 65_536, ..tiny() };
    let file = write(&config, &Tokenizer::Btok, Encoding::new(DType::F32));
    assert!(file.len() > 4 << 20);
    assert!(matches!(checksum_verdict(&file), ChecksumVerdict::Matches { .. }));
    validate_values(&open(&file).unwrap()).unwrap();
}

/// Every length of every encoding: an error that says so, or, in the last padding, the model.
#[test]
fn a_file_cut_anywhere_is_refused() {
    for encoding in [Encoding::new(DType::F32), Encoding::new(DType::Q8_0), Encoding::q4(8)] {
        let file = tiny_file(encoding);
        let infos = open(&file).unwrap().infos().to_vec();
        let last = infos.iter().map(|info| info.data.end.max(info.scales.end)).max().unwrap();
        for length in 0..file.len() {
            let result = open(&file[..length]);
            assert_eq!(result.is_ok(), length >= last, "{encoding:?} cut at {length}: {result:?}");
        }
    }
}

/// Every byte of everything before the payloads, with several patterns.
#[test]
fn a_flipped_byte_is_refused_or_harmless() {
    let files = [
        tiny_file(Encoding::new(DType::F32)),
        tiny_file(Encoding::new(DType::Q8_0)),
        tiny_file(Encoding::q4(8)),
        write(&ModelConfig { vocab_size: 262, ..tiny() }, &the(), Encoding::new(DType::F32)),
    ];
    for file in files {
        let head = Layout::new(&tiny(), &Tokenizer::Btok, Encoding::q4(8)).unwrap().tensor_data_offset();
        for at in 0..head as usize + 128 {
            for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[at] ^= flip;
                if let Ok(checkpoint) = open(&damaged) {
                    let sum: f32 = checkpoint.tensors().map(|view| view.to_f32().len() as f32).sum();
                    assert_eq!(sum, checkpoint.parameters() as f32);
                    let _ = validate_values(&checkpoint);
                }
            }
        }
    }
}

/// Fields set to the values that overflow sums and products.
#[test]
fn extreme_fields_are_refused() {
    for at in (0..HEADER_LENGTH - 8).step_by(4).chain((192..192 + 12 * ENTRY - 8).step_by(4)) {
        for extreme in [0_u64, 1, u64::MAX, u64::MAX - 63, 1 << 63, 0x7fff_ffff_ffff_ffc0, 0xffff_ffc0] {
            let _ = open(&patched(at, &extreme.to_le_bytes()));
            let _ = open(&patched(at, &extreme.to_le_bytes()[..4]));
        }
    }
}

#[test]
fn a_claim_of_billions_allocates_nothing() {
    // layer_count: the tensors it asks for could not even have entries in a file this small.
    let error = refused(&patched(32, &u32::MAX.to_le_bytes()));
    assert!(error.contains("tensor_count") && error.contains("cannot hold"), "{error}");
    let error = refused(&patched(88, &u32::MAX.to_le_bytes()));
    assert!(error.contains("the tensor directory") && error.contains("cut short"), "{error}");
}

#[test]
fn refusals_say_what_where_and_what_was_expected() {
    let cases: [(Vec<u8>, &[&str]); 16] = [
        (patched(0, b"GGUF"), &["begins with \"GGUF\"", "SLM1"]),
        (patched(4, &[2]), &["version (byte 4) is 2", "expected 1"]),
        (patched(8, &[107]), &["header_length (byte 8) is 107", "108"]),
        (patched(16, &[2]), &["flags (byte 16) is 0x2"]),
        (patched(24, &[3]), &["special_token_count (byte 24) is 3", "at least 4"]),
        (patched(44, &[5]), &["head_dim (byte 44) is 5", "an even number"]),
        (patched(80, &[193]), &["tensor_directory_offset (byte 80) is 193", "a multiple of 64"]),
        (patched(100, &[0; 8]), &["checksum (byte 100) is 0"]),
        (patched(108, b"BTOX"), &["tokenizer section (byte 108)", "BTOX"]),
        (patched(entry(0, 8), &[9]), &["tok_embeddings.weight", "dtype (byte 200) is 9", "3 (q4_0)"]),
        (patched(entry(2, 16), &[9]), &["layers.0.wq.weight", "shape 9x8", "8x8"]),
        (patched(entry(2, 32), &[1]), &["layers.0.wq.weight", "byte_offset", "a multiple of 64"]),
        (patched(entry(2, 40), &[1]), &["byte_length", "expected 32, for q4_0 of shape 8x8"]),
        (patched(entry(2, 56), &[3]), &["layers.0.wq.weight", "block_size", "is 3", "even block size"]),
        (patched(entry(2, 60), &[1]), &["reserved"]),
        (
            patched(entry(2, 0), &[0; 8]),
            &["0000000000000000", "first tensor without an entry is layers.0.wq"],
        ),
    ];
    for (file, parts) in cases {
        let error = refused(&file);
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} are not all in: {error}");
    }
}

#[test]
fn duplicates_missing_tensors_and_overlaps_are_named() {
    let file = tiny_file(Encoding::q4(8));
    let mut twice = file.clone();
    twice.copy_within(entry(2, 0)..entry(2, ENTRY), entry(3, 0));
    assert!(refused(&twice).contains("layers.0.wq.weight has two directory entries, 2 and 3"));

    let mut fewer = file.clone();
    fewer[88] = 11;
    assert!(
        refused(&fewer).contains("output.weight has no directory entry (11 entries"),
        "{}",
        refused(&fewer)
    );

    // wk takes wq's payload for its own.
    let mut shared = file;
    shared.copy_within(entry(2, 32)..entry(2, 40), entry(3, 32));
    let error = refused(&shared);
    assert!(error.contains("the payload of tensor layers.0.w") && error.contains("inside"), "{error}");
}

/// What is not published is accepted in any form.
#[test]
fn tolerant_where_the_facts_are_unknown() {
    let file = tiny_file(Encoding::q4(8));
    let names =
        |checkpoint: &Checkpoint| checkpoint.infos().iter().map(|info| info.name.clone()).collect::<Vec<_>>();
    let plain = open(&file).unwrap();

    let mut other = file.clone();
    other[entry(2, 24)] = 1;
    other[136..192].fill(0xaa);
    assert_eq!(open(&other).unwrap().infos(), plain.infos());

    // Entries in another order: the same tensors, in the file's order.
    let mut swapped = file.clone();
    swapped.copy_within(entry(2, 0)..entry(3, 0), entry(5, 0));
    swapped[entry(2, 0)..entry(3, 0)].copy_from_slice(&file[entry(5, 0)..entry(6, 0)]);
    let swapped = open(&swapped).unwrap();
    let mut expected = names(&plain);
    expected.swap(2, 5);
    assert_eq!(names(&swapped), expected);
    for view in plain.tensors() {
        assert_eq!(swapped.tensor(view.name).unwrap().to_f32(), view.to_f32());
    }
}

/// A header of 128 bytes with everything behind it moved.
#[test]
fn a_longer_header_is_read_by_its_stored_offsets() {
    let file = tiny_file(Encoding::new(DType::F32));
    let mut moved = file[..HEADER_LENGTH].to_vec();
    moved.extend_from_slice(&[0xcc; 64 - 44]);
    moved.extend_from_slice(&file[HEADER_LENGTH..136]);
    moved.resize(192, 0);
    moved.extend_from_slice(&file[192..]);
    moved[8] = 128;
    moved[64] = 128;
    let checkpoint = open(&moved).unwrap();
    assert_eq!(Header::parse(&moved).unwrap().length, 128);
    assert_eq!(checkpoint.tokenizer, Tokenizer::Btok);
    // The same header with the tokenizer where it was: they overlap.
    moved[64] = 108;
    moved[HEADER_LENGTH..136].copy_from_slice(&file[HEADER_LENGTH..136]);
    assert!(refused(&moved).contains("tokenizer section begins at byte 108, inside the header"));
}

#[test]
fn a_vocabulary_that_disagrees_is_refused() {
    let error = refused(&patched(20, &[0x05]));
    assert!(error.contains("vocab_size (byte 20) is 261") && error.contains("260"), "{error}");
    let layout = Layout::new(&tiny(), &the(), Encoding::new(DType::F32));
    assert!(matches!(layout, Err(WriteError::Vocabulary { config: 260, tokenizer: 262 })));
}

#[test]
fn values_that_are_not_numbers_are_named() {
    let file = tiny_file(Encoding::new(DType::F32));
    let info = open(&file).unwrap().infos()[4].clone();
    let at = info.data.start + 4 * 9;
    let mut damaged = file;
    damaged[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = validate_values(&open(&damaged).unwrap()).unwrap_err();
    assert!(
        matches!(&error, ValueError::Weight { tensor, element: 9, at: found, value }
            if *tensor == info.name && *found == at && value.is_nan()),
        "{error}"
    );

    for scale in [0.0, -1.0, f32::INFINITY, f32::NAN] {
        let mut damaged = tiny_file(Encoding::new(DType::Q8_0));
        let info = open(&damaged).unwrap().infos()[0].clone();
        let at = info.scales.start + 4 * 200;
        damaged[at..at + 4].copy_from_slice(&scale.to_le_bytes());
        let error = validate_values(&open(&damaged).unwrap()).unwrap_err();
        assert!(
            matches!(&error, ValueError::Scale { tensor, scale: 200, at: found, .. }
                if *tensor == info.name && *found == at),
            "{scale}: {error}"
        );
    }
}

#[test]
fn products_that_overflow_are_named() {
    let mut damaged = tiny_file(Encoding::q4(8));
    let info = open(&damaged).unwrap().infos()[0].clone();
    damaged[info.scales.start + 4..info.scales.start + 8].copy_from_slice(&f32::MAX.to_le_bytes());
    let error = validate_values(&open(&damaged).unwrap()).unwrap_err();
    assert!(
        matches!(&error, ValueError::Weight { element: 8..16, value, .. } if value.is_infinite()),
        "{error}"
    );
}

#[test]
fn tensors_of_nothing_but_zeros_are_listed() {
    let layout = Layout::new(&tiny(), &Tokenizer::Btok, Encoding::new(DType::F32)).unwrap();
    let mut file = Vec::new();
    write_values::<WriteError>(&layout, &mut file, |plan, start, out| {
        out.fill(if plan.name.contains("wq") { -0.0 } else { 0.0 });
        if plan.name == "norm.weight" && start == 0 {
            out[7] = 1.0;
        }
        Ok(())
    })
    .unwrap();
    let checkpoint = open(&file).unwrap();
    let zero = all_zero_tensors(&checkpoint);
    assert_eq!(zero.len(), 11);
    assert!(!zero.contains(&"norm.weight"));
}

#[test]
fn the_writer_holds_to_its_layout() {
    let layout = Layout::new(&tiny(), &Tokenizer::Btok, Encoding::new(DType::Q8_0)).unwrap();
    let mut file = Vec::new();
    let mut writer = Writer::new(&layout, &mut file).unwrap();
    assert!(matches!(writer.payload(&[0; 2081]), Err(WriteError::Length { found: 2081, .. })));
    writer.payload(&[0; 2000]).unwrap();
    assert!(matches!(writer.finish_tensor(&[0; 1040]), Err(WriteError::Length { found: 2000, .. })));
    writer.payload(&[0; 80]).unwrap();
    assert!(matches!(writer.finish_tensor(&[]), Err(WriteError::Length { part: "scales", .. })));
    writer.finish_tensor(&[0; 1040]).unwrap();
    assert!(matches!(writer.finish(), Err(WriteError::Count { written: 1, planned: 12, .. })));
}

#[test]
fn layouts_refuse_encodings_that_slm1_does_not_have() {
    for dtype in DType::ALL {
        let layout = Layout::new(&tiny(), &Tokenizer::Btok, Encoding { dtype, q4_block: 4 });
        assert_eq!(layout.is_ok(), super::DTYPES.contains(&dtype), "{dtype}");
    }
    let error = Layout::new(&tiny(), &Tokenizer::Btok, Encoding::new(DType::BF16)).unwrap_err().to_string();
    assert_eq!(
        error,
        "tensor tok_embeddings.weight: slm1 files cannot hold bf16; possible are f32, q8_0, q4_0"
    );
}

#[test]
fn layouts_refuse_blocks_that_do_not_fit_and_values_that_are_not_numbers() {
    let error = Layout::new(&tiny(), &Tokenizer::Btok, Encoding::new(DType::Q4_0)).unwrap_err().to_string();
    assert!(error.contains("tok_embeddings.weight") && error.contains("row width 8"), "{error}");
    let layout = Layout::new(&tiny(), &Tokenizer::Btok, Encoding::new(DType::F32)).unwrap();
    let result = write_values::<WriteError>(&layout, &mut Vec::new(), |plan, _, out| {
        out.fill(1.0);
        if plan.name == "layers.0.w1.weight" {
            out[5] = f32::INFINITY;
        }
        Ok(())
    });
    let error = result.unwrap_err().to_string();
    assert!(error.contains("layers.0.w1.weight") && error.contains("element 5"), "{error}");
}

fn configs() -> impl Strategy<Value = ModelConfig> {
    let heads = prop::sample::select(vec![(1_u32, 1_u32), (2, 1), (2, 2), (4, 1), (4, 2), (6, 3)]);
    (heads, 1_u32..4, 1_u32..4, 1_u32..5, any::<bool>(), any::<bool>()).prop_map(
        |((head_count, kv_head_count), half, layer_count, ffn, tied_output, bpe)| ModelConfig {
            vocab_size: if bpe { 262 } else { 260 },
            hidden_size: head_count * half * 4,
            head_dim: half * 4,
            head_count,
            kv_head_count,
            layer_count,
            ffn_size: ffn * 4,
            tied_output,
            variant: Variant::PLAIN,
            ..tiny()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read(config in configs(), per_tensor in prop::collection::vec(0_usize..3, 1..9)) {
        let tokenizer = if config.vocab_size == 260 { Tokenizer::Btok } else { the() };
        let encodings = [Encoding::new(DType::F32), Encoding::new(DType::Q8_0), Encoding::q4(4)];
        let pick = |name: &str| encodings[per_tensor[name.len() % per_tensor.len()]];
        let layout = Layout::mixed(&config, &tokenizer, |spec| pick(&spec.name)).unwrap();
        let mut file = Vec::new();
        write_values::<WriteError>(&layout, &mut file, |plan, start, out| {
            out.iter_mut().enumerate().for_each(|(i, out)| *out = value(&plan.name, start + i));
            Ok(())
        }).unwrap();
        prop_assert_eq!(file.len() as u64, layout.total_bytes());

        let checkpoint = open(&file).unwrap();
        prop_assert_eq!(&checkpoint.config, &config);
        prop_assert_eq!(&checkpoint.tokenizer, &tokenizer);
        prop_assert_eq!(checkpoint.infos().len() as u64, config.tensor_count());
        validate_values(&checkpoint).unwrap();
        for view in checkpoint.tensors() {
            let encoding = pick(view.name);
            prop_assert_eq!(view.dtype, encoding.dtype);
            let values: Vec<f32> = (0..view.shape.elements()).map(|i| value(view.name, i)).collect();
            let (mut payload, mut scales) = (Vec::new(), Vec::new());
            quantize::encode_into(view.dtype, 4, view.shape.columns(), &values, &mut payload, &mut scales).unwrap();
            prop_assert_eq!(view.data, &payload[..]);
            prop_assert_eq!(view.scales, &scales[..]);
            if view.dtype == DType::F32 {
                prop_assert_eq!(view.to_f32(), values);
            }
        }

        // The pieces do not matter: whole tensors, then odd pieces, give the same bytes.
        for piece in [usize::MAX, 7] {
            let mut again = Vec::new();
            let mut writer = Writer::new(&layout, &mut again).unwrap();
            for view in checkpoint.tensors() {
                view.data.chunks(piece).for_each(|bytes| writer.payload(bytes).unwrap());
                writer.finish_tensor(view.scales).unwrap();
            }
            writer.finish().unwrap();
            prop_assert_eq!(&again, &file);
        }
    }

    #[test]
    fn many_damaged_bytes_are_refused_or_harmless(
        damage in prop::collection::vec((0_usize..1200, any::<u8>()), 1..6),
    ) {
        let mut file = tiny_file(Encoding::q4(8));
        for (at, byte) in damage {
            file[at] = byte;
        }
        if let Ok(checkpoint) = open(&file) {
            let _ = validate_values(&checkpoint);
        }
    }
}
