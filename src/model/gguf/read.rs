//! A whole file to tensors and facts: structure only, in time that depends on the tables' length.

use std::collections::HashSet;

use super::facts::{Cursor, Facts};
use super::{DEFAULT_ALIGNMENT, MAGIC, NAME, encoding, name_of};
use crate::model::weights::{SharedBytes, TensorInfo, Weights};
use crate::tensor::dtype::DType;
use crate::tensor::shape::{Shape, ShapeError};

/// Why a GGUF file cannot be used; places are byte offsets.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GgufError {
    /// Not one at all.
    #[error("the file does not begin with \"GGUF\"")]
    Magic,
    /// A version that is not known here.
    #[error("byte 4: GGUF version {0}; versions 2 and 3 are known here, little-endian")]
    Version(u32),
    /// The file ends too early.
    #[error("byte {at}: the file is cut short within {what}")]
    Cut {
        /// Where.
        at: usize,
        /// What should be there.
        what: &'static str,
    },
    /// A count that cannot be true.
    #[error("byte {at}: {what} is {found}, but only {most} fit into the rest of the file")]
    Count {
        /// Where.
        at: usize,
        /// Of what.
        what: &'static str,
        /// The count.
        found: u64,
        /// How many could follow.
        most: usize,
    },
    /// Text that is none.
    #[error("byte {at}: {what} is not UTF-8")]
    Text {
        /// Where.
        at: usize,
        /// Which text.
        what: &'static str,
    },
    /// A truth value that is neither.
    #[error("byte {at}: a truth value must be 0 or 1")]
    Bool {
        /// Where.
        at: usize,
    },
    /// A value of an unknown kind.
    #[error("byte {at}: no value has the kind {code} here")]
    Kind {
        /// Where.
        at: usize,
        /// Its code.
        code: u32,
    },
    /// Something with the same name twice.
    #[error("byte {at}: the {what} `{name}` comes twice")]
    Twice {
        /// Where the second one is.
        at: usize,
        /// Fact or tensor.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// An alignment that is none.
    #[error("general.alignment is {0}; it must be a power of two from 8 to 65536")]
    Alignment(u64),
    /// A tensor of an encoding that is not read here.
    #[error(
        "tensor `{tensor}` (byte {at}) is stored as {name} (code {code}); F32, F16, BF16, F64 and Q8_0 are read here"
    )]
    Encoding {
        /// The tensor.
        tensor: String,
        /// Where its entry is.
        at: usize,
        /// The encoding's name.
        name: &'static str,
        /// The encoding's code.
        code: u32,
    },
    /// Dimensions that cannot be.
    #[error("tensor `{tensor}` (byte {at}): {source}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Where its entry is.
        at: usize,
        /// What is wrong.
        source: ShapeError,
    },
    /// A row that blocks of 32 do not fill.
    #[error("tensor `{tensor}` (byte {at}) has rows of {columns}; Q8_0 needs a multiple of 32")]
    Blocks {
        /// The tensor.
        tensor: String,
        /// Where its entry is.
        at: usize,
        /// Its row width.
        columns: usize,
    },
    /// A payload that is not where it should be.
    #[error("tensor `{tensor}`: its payload begins at byte {found}, expected {expected}")]
    Place {
        /// The tensor.
        tensor: String,
        /// Where it begins.
        found: u64,
        /// Where the one before it ends, aligned.
        expected: u64,
    },
    /// A payload beyond the file's end.
    #[error("tensor `{tensor}`: its payload ends at byte {end}, the file has {bytes}")]
    Beyond {
        /// The tensor.
        tensor: String,
        /// Its end.
        end: u64,
        /// The file's length.
        bytes: u64,
    },
    /// Bytes after the last tensor.
    #[error("byte {at}: {extra} bytes follow the last tensor")]
    Trailing {
        /// Where they begin.
        at: u64,
        /// How many.
        extra: u64,
    },
}

/// A file's tensors and facts.
#[derive(Debug, Clone)]
pub struct Gguf {
    /// The tensors, in storage order.
    pub weights: Weights,
    /// The facts.
    pub facts: Facts,
}

/// A name's 8 bytes of length, a count of dimensions, a code, an offset: no entry is shorter.
const LEAST_ENTRY: usize = 8 + 4 + 4 + 8;
/// A name's length, a kind, one byte of value.
const LEAST_FACT: usize = 8 + 4 + 1;

/// Reads and checks a file.
///
/// # Errors
///
/// [`GgufError`] with the byte: another magic, a version that is not 2 or 3, a file cut short, a count that
/// does not fit into it, text that is no UTF-8, a name that comes twice, an encoding that is not read here, or
/// tensors that share bytes, leave holes or reach beyond the end. Elements are not looked at.
pub fn read(bytes: SharedBytes) -> Result<Gguf, GgufError> {
    let file: &[u8] = (*bytes).as_ref();
    if !file.starts_with(&MAGIC) {
        return Err(GgufError::Magic);
    }
    let mut cursor = Cursor::new(file, MAGIC.len());
    let version = cursor.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version(version));
    }
    let tensor_count = cursor.count(LEAST_ENTRY, "the number of tensors")?;
    let fact_count = cursor.count(LEAST_FACT, "the number of facts")?;
    let facts = cursor.facts(fact_count)?;
    let alignment = alignment(&facts)?;
    let entries: Vec<Entry> = (0..tensor_count).map(|_| entry(&mut cursor)).collect::<Result<_, _>>()?;
    let start = (cursor.at as u64).next_multiple_of(alignment);
    let tensors = place(entries, start, alignment, file.len() as u64)?;
    Ok(Gguf { weights: Weights::new(NAME, tensors, vec![bytes]), facts })
}

fn alignment(facts: &Facts) -> Result<u64, GgufError> {
    let Some(_) = facts.get("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
    let found = facts.unsigned("general.alignment").unwrap_or(0);
    if found.is_power_of_two() && (8..=65_536).contains(&found) {
        Ok(found)
    } else {
        Err(GgufError::Alignment(found))
    }
}

struct Entry {
    name: String,
    at: usize,
    shape: Shape,
    dtype: DType,
    bytes: usize,
    offset: u64,
}

fn entry(cursor: &mut Cursor<'_>) -> Result<Entry, GgufError> {
    let at = cursor.at;
    let name = cursor.text("the name of a tensor")?;
    let rank = cursor.u32("the number of dimensions")?;
    let shaped = |source| GgufError::Shape { tensor: name.clone(), at, source };
    if !(1..=4).contains(&rank) {
        return Err(shaped(ShapeError::Rank(rank as usize)));
    }
    let mut dims = Vec::with_capacity(rank as usize);
    for _ in 0..rank {
        let dim = cursor.u64("a dimension")?;
        // What does not fit a usize overflows the product below.
        dims.push(usize::try_from(dim).unwrap_or(usize::MAX));
    }
    // Here rows come first, there the dimension that varies fastest.
    dims.reverse();
    let shape = Shape::new(dims).map_err(shaped)?;
    let code = cursor.u32("an encoding")?;
    let dtype = encoding(code).ok_or_else(|| GgufError::Encoding {
        tensor: name.clone(),
        at,
        name: name_of(code),
        code,
    })?;
    let lengths = crate::tensor::quantize::lengths(dtype, &shape, 0);
    let bytes = lengths
        .map_err(|_| GgufError::Blocks { tensor: name.clone(), at, columns: shape.columns() })?
        .payload;
    let offset = cursor.u64("an offset")?;
    Ok(Entry { name, at, shape, dtype, bytes, offset })
}

/// Payloads lie one after another, each at the next aligned byte: no holes, no overlaps, no rest.
fn place(entries: Vec<Entry>, start: u64, alignment: u64, file: u64) -> Result<Vec<TensorInfo>, GgufError> {
    let mut names = HashSet::with_capacity(entries.len());
    for entry in &entries {
        if !names.insert(entry.name.as_str()) {
            return Err(GgufError::Twice { at: entry.at, what: "tensor", name: entry.name.clone() });
        }
    }
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|index| entries[*index].offset);
    let mut end = start;
    for index in &order {
        let entry = &entries[*index];
        let expected = end.next_multiple_of(alignment);
        let found = start.saturating_add(entry.offset);
        if found != expected {
            return Err(GgufError::Place { tensor: entry.name.clone(), found, expected });
        }
        end = found.saturating_add(entry.bytes as u64);
        if end > file {
            return Err(GgufError::Beyond { tensor: entry.name.clone(), end, bytes: file });
        }
    }
    // The last payload may be padded, too.
    if file > end.next_multiple_of(alignment) {
        return Err(GgufError::Trailing { at: end, extra: file - end });
    }
    let info = |entry: Entry| {
        let first = (start + entry.offset) as usize;
        TensorInfo {
            name: entry.name,
            dtype: entry.dtype,
            shape: entry.shape,
            part: 0,
            data: first..first + entry.bytes,
            scales: 0..0,
            block_size: 0,
        }
    };
    Ok(entries.into_iter().map(info).collect())
}
