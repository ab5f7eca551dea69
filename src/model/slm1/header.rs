//! The first 108 bytes.

use std::ops::Range;

use super::{ALIGNMENT, Slm1Error, directory};
use crate::model::config::{ConfigError, ModelConfig};
use crate::model::tokenizer::FIRST_PIECE;
use crate::model::variant::Variant;

/// How a file begins.
pub const MAGIC: [u8; 4] = *b"SLM1";
/// The header's length. A file may claim a longer one; the rest is ignored.
pub const HEADER_LENGTH: usize = 108;

const VERSION: u32 = 1;
const MODEL_TYPE: u32 = 1;
const FLAG_TIED: u32 = 1;
const MIN_SPECIALS: u32 = 4;

/// Where each field that a configuration can get wrong lies.
const CONFIG_FIELDS: [(&str, usize); 10] = [
    ("vocab_size", 20),
    ("hidden_size", 28),
    ("layer_count", 32),
    ("head_count", 36),
    ("kv_head_count", 40),
    ("head_dim", 44),
    ("ffn_size", 48),
    ("max_context", 52),
    ("rope_theta", 56),
    ("rms_norm_epsilon", 60),
];

/// A header whose every field was checked against the file's length.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Dimensions and constants.
    pub config: ModelConfig,
    /// The header's own length.
    pub length: u32,
    /// The tokenizer section.
    pub tokenizer: Range<u64>,
    /// The tensor directory.
    pub directory: Range<u64>,
    /// Entries in it.
    pub tensor_count: u32,
    /// Where payloads may begin.
    pub tensor_data: u64,
    /// The checksum as stored.
    pub checksum: u64,
}

impl Header {
    /// Reads the header of a whole file.
    ///
    /// # Errors
    ///
    /// [`Slm1Error::Magic`] of another file; [`Slm1Error::Short`] of fewer than 108 bytes; [`Slm1Error::Field`]
    /// of a field that cannot have its value; [`Slm1Error::Outside`] of a section that reaches beyond the file.
    pub fn parse(file: &[u8]) -> Result<Self, Slm1Error> {
        if !file.starts_with(&MAGIC) {
            let found = file[..file.len().min(4)].escape_ascii().to_string();
            return Err(Slm1Error::Magic { found });
        }
        let Some(header) = file.first_chunk::<HEADER_LENGTH>() else {
            return Err(Slm1Error::Short { found: file.len() as u64 });
        };
        let file = file.len() as u64;
        let word = |at: usize| u32_at(header, at);
        expect(word(4) == VERSION, "version", 4, word(4), VERSION)?;
        let length = word(8);
        expect(
            length >= HEADER_LENGTH as u32 && u64::from(length) <= file,
            "header_length",
            8,
            length,
            format_args!("108 to the file's length {file}"),
        )?;
        expect(word(12) == MODEL_TYPE, "model_type", 12, word(12), MODEL_TYPE)?;
        expect(
            word(16) & !FLAG_TIED == 0,
            "flags",
            16,
            format_args!("{:#x}", word(16)),
            "0, or 1 for a tied output",
        )?;
        let config = parse_config(header)?;
        let tensor_count = word(88);
        let directory_start = aligned(header, "tensor_directory_offset", 80)?;
        let directory_length = u64::from(tensor_count) * directory::ENTRY as u64;
        let checksum = u64_at(header, 100);
        expect(checksum != 0, "checksum", 100, 0, "any value but zero")?;
        let tensor_data = aligned(header, "tensor_data_offset", 92)?;
        expect(
            tensor_data <= file,
            "tensor_data_offset",
            92,
            tensor_data,
            format_args!(
                "at most the file's length {file}; the file was cut short, or the header is damaged"
            ),
        )?;
        Ok(Self {
            config,
            length,
            tokenizer: inside("the tokenizer section", u64_at(header, 64), u64_at(header, 72), file)?,
            directory: inside("the tensor directory", directory_start, directory_length, file)?,
            tensor_count,
            tensor_data,
            checksum,
        })
    }

    /// The header's bytes, as many as it needs and no more.
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let config = &self.config;
        let mut bytes = [0; HEADER_LENGTH];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        let words = [
            (4, VERSION),
            (8, self.length),
            (12, MODEL_TYPE),
            (16, if config.tied_output { FLAG_TIED } else { 0 }),
            (20, config.vocab_size),
            (24, config.special_token_count),
            (28, config.hidden_size),
            (32, config.layer_count),
            (36, config.head_count),
            (40, config.kv_head_count),
            (44, config.head_dim),
            (48, config.ffn_size),
            (52, config.max_context),
            (56, config.rope_theta.to_bits()),
            (60, config.rms_norm_epsilon.to_bits()),
            (88, self.tensor_count),
        ];
        for (at, word) in words {
            put(at, &word.to_le_bytes());
        }
        let longs = [
            (64, self.tokenizer.start),
            (72, self.tokenizer.end - self.tokenizer.start),
            (80, self.directory.start),
            (92, self.tensor_data),
            (100, self.checksum),
        ];
        for (at, long) in longs {
            put(at, &long.to_le_bytes());
        }
        bytes
    }
}

/// What SLM1 asks of a configuration beyond what every network needs.
pub(super) fn check_config(config: &ModelConfig) -> Result<(), Slm1Error> {
    let specials = config.special_token_count;
    expect(specials >= MIN_SPECIALS, "special_token_count", 24, specials, "at least 4")?;
    let vocab = config.vocab_size;
    expect(vocab >= FIRST_PIECE, "vocab_size", 20, vocab, "at least 260")?;
    config.validate_header().map_err(at_its_place)
}

/// And of one that is to be written: no header says anything of another variant.
pub(super) fn check_written(config: &ModelConfig) -> Result<(), Slm1Error> {
    check_config(config)?;
    config.validate_plain().map_err(at_its_place)
}

fn at_its_place(ConfigError { field, found, expected }: ConfigError) -> Slm1Error {
    let at = CONFIG_FIELDS.iter().find(|(name, _)| *name == field).map_or(0, |(_, at)| *at);
    Slm1Error::Field { field, at, found, expected }
}

fn parse_config(header: &[u8; HEADER_LENGTH]) -> Result<ModelConfig, Slm1Error> {
    let word = |at: usize| u32_at(header, at);
    let config = ModelConfig {
        vocab_size: word(20),
        special_token_count: word(24),
        hidden_size: word(28),
        layer_count: word(32),
        head_count: word(36),
        kv_head_count: word(40),
        head_dim: word(44),
        ffn_size: word(48),
        max_context: word(52),
        rope_theta: f32::from_bits(word(56)),
        rms_norm_epsilon: f32::from_bits(word(60)),
        tied_output: word(16) & FLAG_TIED != 0,
        variant: Variant::PLAIN,
    };
    check_config(&config)?;
    Ok(config)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// A range that lies within the file.
pub(super) fn inside(
    what: impl ToString + Copy,
    start: u64,
    length: u64,
    file: u64,
) -> Result<Range<u64>, Slm1Error> {
    match start.checked_add(length) {
        Some(end) if end <= file => Ok(start..end),
        _ => Err(Slm1Error::Outside { what: what.to_string(), start, length, file }),
    }
}

fn aligned(header: &[u8; HEADER_LENGTH], field: &'static str, at: usize) -> Result<u64, Slm1Error> {
    let offset = u64_at(header, at);
    expect(offset.is_multiple_of(ALIGNMENT), field, at, offset, "a multiple of 64")?;
    Ok(offset)
}

fn expect(
    holds: bool,
    field: &'static str,
    at: usize,
    found: impl ToString + Copy,
    expected: impl ToString + Copy,
) -> Result<(), Slm1Error> {
    if holds {
        return Ok(());
    }
    Err(Slm1Error::Field { field, at, found: found.to_string(), expected: expected.to_string() })
}
