//! The tensor directory: which bytes are which tensor.
//!
//! Names are not stored. The configuration says which there must be; an entry names one of them by
//! its hash, in any order. An entry's shape, lengths and alignment follow from the configuration
//! too, so each is a check and nothing is believed.

use std::collections::HashMap;
use std::ops::Range;

use super::header::{Header, inside, u32_at, u64_at};
use super::{ALIGNMENT, DTYPES, Slm1Error};
use crate::model::config::{TensorSpec, tensor_table};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;
use crate::tensor::shape::Shape;

/// Bytes of an entry.
pub const ENTRY: usize = 64;

/// Most dimensions an entry has room for.
const MAX_RANK: usize = 4;

/// The directory's number for an encoding, if it has one.
pub const fn dtype_code(dtype: DType) -> Option<u32> {
    match dtype {
        DType::F32 => Some(1),
        DType::Q8_0 => Some(2),
        DType::Q4_0 => Some(3),
        DType::F16 | DType::BF16 | DType::F64 | DType::GgmlQ8_0 => None,
    }
}

/// FNV-1a, 64 bits, of a name's UTF-8 bytes.
pub fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// One checked entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The tensor.
    pub name: String,
    /// Its dimensions.
    pub shape: Shape,
    /// Its encoding.
    pub dtype: DType,
    /// Its payload in the file.
    pub payload: Range<u64>,
    /// Its scales in the file; empty for f32.
    pub scales: Range<u64>,
    /// Elements per scale; 0 for f32.
    pub block_size: usize,
}

impl Entry {
    /// The entry's bytes.
    pub fn encode(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &name_hash(&self.name).to_le_bytes());
        // A layout has refused encodings without a number; 0 is none, so no reader takes it for one.
        put(8, &dtype_code(self.dtype).unwrap_or(0).to_le_bytes());
        put(12, &(self.shape.dims().len() as u32).to_le_bytes());
        for (i, dim) in self.shape.dims().iter().enumerate() {
            // Every dimension comes from a u32 of the configuration.
            put(16 + 4 * i, &(*dim as u32).to_le_bytes());
        }
        put(32, &self.payload.start.to_le_bytes());
        put(40, &(self.payload.end - self.payload.start).to_le_bytes());
        put(48, &(if self.dtype == DType::F32 { 0 } else { self.scales.start }).to_le_bytes());
        put(56, &(self.block_size as u32).to_le_bytes());
        bytes
    }
}

/// Reads and checks the whole directory; the entries come in the file's order.
///
/// # Errors
///
/// [`Slm1Error::Field`] or [`Slm1Error::Dimensions`] of a header that asks for more tensors, or larger ones,
/// than there can be; [`Slm1Error::MissingTensor`], [`Slm1Error::UnknownTensor`] or
/// [`Slm1Error::DuplicateTensor`] unless there is one entry for each; [`Slm1Error::Shape`] or
/// [`Slm1Error::Entry`] of one that cannot be; [`Slm1Error::Outside`] or [`Slm1Error::Overlap`] of a part that
/// reaches beyond the file, or into another.
pub fn parse(file: &[u8], header: &Header) -> Result<Vec<Entry>, Slm1Error> {
    let table = expected_tensors(file.len() as u64, header)?;
    // Both ends were checked against the file's length.
    let directory = &file[header.directory.start as usize..header.directory.end as usize];
    let raw: Vec<_> = directory
        .as_chunks::<ENTRY>()
        .0
        .iter()
        .enumerate()
        .map(|(index, bytes)| RawEntry { bytes, index, at: header.directory.start + (index * ENTRY) as u64 })
        .collect();
    let specs = identify(&raw, &table)?;
    let entries: Vec<_> = raw
        .iter()
        .zip(specs)
        .map(|(raw, spec)| raw.check(spec, header, file.len() as u64))
        .collect::<Result<_, _>>()?;
    check_disjoint(header, &entries)?;
    Ok(entries)
}

/// The tensors this configuration needs. Refused before they are listed if the file could not even
/// hold their entries.
fn expected_tensors(file: u64, header: &Header) -> Result<Vec<TensorSpec>, Slm1Error> {
    let expected = header.config.tensor_count();
    if expected > file / ENTRY as u64 {
        return Err(Slm1Error::Field {
            field: "tensor_count",
            at: 88,
            found: header.tensor_count.to_string(),
            expected: format!(
                "{expected}, as layer_count and flags say; a file of {file} bytes cannot hold them"
            ),
        });
    }
    Ok(tensor_table(&header.config)?)
}

/// Finds each entry's tensor by hash: all known, none twice, none missing.
fn identify<'t>(raw: &[RawEntry<'_>], table: &'t [TensorSpec]) -> Result<Vec<&'t TensorSpec>, Slm1Error> {
    let by_hash: HashMap<u64, usize> =
        table.iter().enumerate().map(|(i, spec)| (name_hash(&spec.name), i)).collect();
    let mut entry_of: Vec<Option<usize>> = vec![None; table.len()];
    let mut unknown = None;
    let mut specs = Vec::with_capacity(raw.len());
    for entry in raw {
        let Some(&tensor) = by_hash.get(&entry.hash()) else {
            unknown.get_or_insert(entry);
            continue;
        };
        if let Some(first) = entry_of[tensor].replace(entry.index) {
            let name = table[tensor].name.clone();
            return Err(Slm1Error::DuplicateTensor { name, first, second: entry.index });
        }
        specs.push(&table[tensor]);
    }
    let missing = entry_of.iter().position(Option::is_none).map(|i| table[i].name.clone());
    match (unknown, missing) {
        (None, None) => Ok(specs),
        (Some(entry), missing) => Err(Slm1Error::UnknownTensor {
            index: entry.index,
            at: entry.at,
            hash: entry.hash(),
            first_missing: missing.unwrap_or_else(|| "none".to_owned()),
        }),
        (None, Some(name)) => {
            let (found, expected) = (raw.len() as u64, table.len() as u64);
            Err(Slm1Error::MissingTensor { name, found, expected })
        }
    }
}

/// The 64 bytes of an entry and where they are.
struct RawEntry<'a> {
    bytes: &'a [u8; ENTRY],
    index: usize,
    at: u64,
}

impl RawEntry<'_> {
    fn hash(&self) -> u64 {
        u64_at(self.bytes, 0)
    }

    fn word(&self, at: usize) -> u32 {
        u32_at(self.bytes, at)
    }

    fn long(&self, at: usize) -> u64 {
        u64_at(self.bytes, at)
    }

    fn check(&self, spec: &TensorSpec, header: &Header, file: u64) -> Result<Entry, Slm1Error> {
        let name = &spec.name;
        let dtype = self.dtype(name)?;
        self.check_shape(spec)?;
        let columns = spec.shape.columns();
        let block_size = self.block_size(name, dtype, columns)?;
        let lengths = quantize::lengths(dtype, &spec.shape, block_size)
            .map_err(|error| self.error(name, "block_size", 56, self.word(56), &error))?;
        self.expect(
            self.long(40) == lengths.payload as u64,
            name,
            "byte_length",
            40,
            self.long(40),
            format_args!("{}, for {} of shape {}", lengths.payload, dtype, spec.shape),
        )?;
        self.expect(self.word(60) == 0, name, "reserved", 60, self.word(60), 0)?;
        let payload = self.place(name, "byte_offset", 32, lengths.payload, header, file)?;
        let scales = if dtype == DType::F32 {
            self.expect(self.long(48) == 0, name, "scale_offset", 48, self.long(48), "0, for f32")?;
            payload.end..payload.end
        } else {
            self.place(name, "scale_offset", 48, lengths.scales, header, file)?
        };
        Ok(Entry { name: name.clone(), shape: spec.shape.clone(), dtype, payload, scales, block_size })
    }

    fn dtype(&self, name: &str) -> Result<DType, Slm1Error> {
        let code = self.word(8);
        DTYPES
            .into_iter()
            .find(|dtype| dtype_code(*dtype) == Some(code))
            .ok_or_else(|| self.error(name, "dtype", 8, code, "1 (f32), 2 (q8_0) or 3 (q4_0)"))
    }

    fn check_shape(&self, spec: &TensorSpec) -> Result<(), Slm1Error> {
        let rank = self.word(12);
        let name = &spec.name;
        self.expect((1..=MAX_RANK as u32).contains(&rank), name, "rank", 12, rank, "1 to 4")?;
        let dims: [u32; MAX_RANK] = std::array::from_fn(|i| self.word(16 + 4 * i));
        let (used, unused) = dims.split_at(rank as usize);
        // What an unused dimension holds is not published: nothing, or one.
        for (i, dim) in unused.iter().enumerate() {
            let at = 16 + 4 * (used.len() + i);
            self.expect(*dim <= 1, name, "an unused dimension", at, dim, "0 or 1")?;
        }
        let found = Shape::new(used.iter().map(|dim| *dim as usize).collect())
            .map_err(|error| self.error(name, "dims", 16, &error, &spec.shape))?;
        if found != spec.shape {
            return Err(Slm1Error::Shape {
                name: name.clone(),
                index: self.index,
                found,
                expected: spec.shape.clone(),
            });
        }
        Ok(())
    }

    /// Elements per scale; what f32 stores there is not published and not looked at.
    fn block_size(&self, name: &str, dtype: DType, columns: usize) -> Result<usize, Slm1Error> {
        let stored = self.word(56) as usize;
        if dtype == DType::Q8_0 {
            let expected = format_args!("the row width {columns}, for q8_0");
            self.expect(stored == columns, name, "block_size", 56, stored, expected)?;
        }
        Ok(quantize::block_size(dtype, columns, stored))
    }

    fn place(
        &self,
        name: &str,
        field: &'static str,
        at: usize,
        length: usize,
        header: &Header,
        file: u64,
    ) -> Result<Range<u64>, Slm1Error> {
        let start = self.long(at);
        let low = header.tensor_data;
        let good = start.is_multiple_of(ALIGNMENT) && start >= low;
        let expected = format_args!("a multiple of 64 from tensor_data_offset {low} on");
        self.expect(good, name, field, at, start, expected)?;
        let what = if field == "byte_offset" { "payload" } else { "scales" };
        inside(format_args!("the {what} of tensor {name}"), start, length as u64, file)
    }

    fn expect(
        &self,
        holds: bool,
        name: &str,
        field: &'static str,
        at: usize,
        found: impl ToString + Copy,
        expected: impl ToString + Copy,
    ) -> Result<(), Slm1Error> {
        if holds { Ok(()) } else { Err(self.error(name, field, at, found, expected)) }
    }

    fn error(
        &self,
        name: &str,
        field: &'static str,
        at: usize,
        found: impl ToString + Copy,
        expected: impl ToString + Copy,
    ) -> Slm1Error {
        Slm1Error::Entry {
            name: name.to_owned(),
            index: self.index,
            field,
            at: self.at + at as u64,
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }
}

/// No two parts of the file share a byte.
fn check_disjoint(header: &Header, entries: &[Entry]) -> Result<(), Slm1Error> {
    let mut parts = vec![
        (0..u64::from(header.length), "the header", None),
        (header.tokenizer.clone(), "the tokenizer section", None),
        (header.directory.clone(), "the tensor directory", None),
    ];
    for entry in entries {
        parts.push((entry.payload.clone(), "the payload of tensor ", Some(&entry.name)));
        parts.push((entry.scales.clone(), "the scales of tensor ", Some(&entry.name)));
    }
    parts.retain(|(range, ..)| !range.is_empty());
    parts.sort_unstable_by_key(|(range, what, name)| (range.start, range.end, *what, *name));
    let label = |what: &str, name: Option<&String>| format!("{what}{}", name.map_or("", String::as_str));
    for pair in parts.windows(2) {
        let [(first, a, a_name), (second, b, b_name)] = pair else { continue };
        if second.start < first.end {
            let (first, second, at) = (label(a, *a_name), label(b, *b_name), second.start);
            return Err(Slm1Error::Overlap { first, second, at });
        }
    }
    Ok(())
}
