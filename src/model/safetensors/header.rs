//! The JSON at the start: read in one go, every entry checked as it comes.
//!
//! Nobody knows who wrote a file, so nothing is kept that is not about to be used: no tree of JSON
//! values, no list longer than a tensor may have dimensions, no string that the file does not hold.
//! What a header of n bytes makes is a small multiple of n, and n is at most the file's length.
//! Nesting needs no limit, because nothing that nests is ever accepted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::{Problem, SafetensorsError, shown};
use super::{DTYPES, MAX_HEADER, MAX_TENSORS, METADATA, Metadata, dtype_word};
use crate::model::buffer::{is_frequencies, is_packed};
use crate::tensor::dtype::DType;
use crate::tensor::shape::{MAX_RANK, Shape, ShapeError};

/// Bytes of the header's length.
pub(super) const PREFIX: usize = 8;

/// Types of the format that weights may have elsewhere.
const UNUSABLE: [&str; 7] = ["F4", "F6_E2M3", "F6_E3M2", "F8_E5M2", "F8_E4M3", "F8_E8M0", "C64"];

/// Types of the format that hold no weights, with the bytes of an element.
const WHOLE: [(&str, usize); 9] = [
    ("BOOL", 1),
    ("U8", 1),
    ("I8", 1),
    ("I16", 2),
    ("U16", 2),
    ("I32", 4),
    ("U32", 4),
    ("I64", 8),
    ("U64", 8),
];

/// What an entry's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Weights.
    Weights(DType),
    /// Something else, by the format's word, with the bytes of an element.
    Buffer(&'static str, usize),
}

impl Kind {
    /// The kind of a tensor, by its name and the format's word for its type.
    fn of(name: &str, word: &str) -> Option<Self> {
        if let Some(dtype) = DTYPES.into_iter().find(|dtype| dtype_word(*dtype) == Some(word)) {
            let buffer = || Some(Self::Buffer(dtype_word(dtype)?, dtype.element_bytes()?));
            return if is_frequencies(name) { buffer() } else { Some(Self::Weights(dtype)) };
        }
        let (word, bytes) = WHOLE.into_iter().find(|(known, _)| *known == word)?;
        (!is_packed(name)).then_some(Self::Buffer(word, bytes))
    }

    fn word(self) -> &'static str {
        match self {
            Self::Weights(dtype) => dtype_word(dtype).unwrap_or_default(),
            Self::Buffer(word, _) => word,
        }
    }

    fn element_bytes(self) -> usize {
        match self {
            Self::Weights(dtype) => dtype.element_bytes().unwrap_or(0),
            Self::Buffer(_, bytes) => bytes,
        }
    }
}

/// One checked entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The tensor.
    pub name: String,
    /// What its elements are.
    pub kind: Kind,
    /// Its dimensions; none for a scalar.
    pub shape: Shape,
    /// Its bytes in the file.
    pub data: Range<u64>,
}

/// A header whose every entry was checked against the file's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What the file says about itself.
    pub metadata: Metadata,
    /// Every tensor, in the order of their bytes.
    pub tensors: Vec<Entry>,
}

impl Header {
    /// Reads the header of a whole file.
    ///
    /// # Errors
    ///
    /// [`SafetensorsError`], with the byte where there is one: a header that does not fit into the file, has
    /// more than [`MAX_HEADER`] bytes or is no such JSON; an entry that is there twice or cannot be; or tensors
    /// that share bytes, leave holes, or end before or behind the file's end. Elements are not looked at.
    pub fn parse(file: &[u8]) -> Result<Self, SafetensorsError> {
        let text = text(file)?;
        let data_start = (PREFIX + text.len()) as u64;
        let (mut tensors, metadata) = parse_json(text)?;
        check_names(&tensors)?;
        for tensor in &mut tensors {
            // Saturated, an offset is beyond every file's end.
            tensor.data.start = tensor.data.start.saturating_add(data_start);
            tensor.data.end = tensor.data.end.saturating_add(data_start);
        }
        tensors.sort_by_key(|tensor| (tensor.data.start, tensor.data.end));
        check_cover(&tensors, data_start, file.len() as u64)?;
        Ok(Self { metadata, tensors })
    }
}

/// The header's text: its length believed only as far as the file goes.
fn text(file: &[u8]) -> Result<&str, SafetensorsError> {
    let found = file.len() as u64;
    let Some((length, rest)) = file.split_first_chunk::<PREFIX>() else {
        return Err(SafetensorsError::Short { found });
    };
    let length = u64::from_le_bytes(*length);
    if length == u64::from_le_bytes(*b"version ") {
        return Err(SafetensorsError::Pointer);
    }
    if length > MAX_HEADER {
        return Err(SafetensorsError::HeaderLength { found: length });
    }
    let Some(bytes) = rest.get(..length as usize) else {
        return Err(SafetensorsError::HeaderOutside { length, file: found });
    };
    if !bytes.starts_with(b"{") {
        let found = bytes[..bytes.len().min(8)].escape_ascii().to_string();
        return Err(SafetensorsError::NotAnObject { found });
    }
    std::str::from_utf8(bytes)
        .map_err(|error| SafetensorsError::NotUtf8 { at: (PREFIX + error.valid_up_to()) as u64 })
}

/// No name twice. Sorted rather than hashed, so that a header's author cannot choose the time it takes.
fn check_names(tensors: &[Entry]) -> Result<(), SafetensorsError> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|a, b| tensors[*a].name.cmp(&tensors[*b].name));
    for pair in order.windows(2) {
        let &[first, second] = pair else { continue };
        if tensors[first].name == tensors[second].name {
            let tensor = shown(&tensors[first].name);
            return Err(SafetensorsError::DuplicateTensor { tensor, first, second });
        }
    }
    Ok(())
}

/// Every byte from the first payload to the file's end is one tensor's.
fn check_cover(tensors: &[Entry], data_start: u64, file: u64) -> Result<(), SafetensorsError> {
    let mut end = data_start;
    let mut last = "";
    for Entry { name, data, .. } in tensors {
        if data.end > file {
            return Err(SafetensorsError::Outside { tensor: shown(name), end: data.end, file });
        }
        if data.start < end {
            return Err(SafetensorsError::Overlap {
                first: shown(last),
                second: shown(name),
                at: data.start,
            });
        }
        if data.start > end {
            return Err(SafetensorsError::Hole { start: end, end: data.start, next: shown(name) });
        }
        (end, last) = (data.end, name);
    }
    if end < file { Err(SafetensorsError::Trailing { start: end, file }) } else { Ok(()) }
}

/// Entries in the header's order; their bytes are counted from the first payload.
fn parse_json(text: &str) -> Result<(Vec<Entry>, Metadata), SafetensorsError> {
    let problem = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let parsed = Object(&problem).deserialize(&mut reader).and_then(|parsed| {
        reader.end()?;
        Ok(parsed)
    });
    parsed.map_err(|error| {
        let at = place(text, &error);
        match problem.take() {
            Some(problem) => SafetensorsError::Header { at, problem },
            None => SafetensorsError::Json { at: at - 1, message: without_place(&error) },
        }
    })
}

/// The byte of the file before which a JSON error was noticed.
fn place(text: &str, error: &serde_json::Error) -> u64 {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let line_start: usize = lines.map(str::len).sum();
    (PREFIX + line_start + error.column()) as u64
}

/// The message alone: lines and columns mean little in a file that is mostly no text.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

/// Where a visitor leaves what it noticed: serde can carry no more than a message.
type Noticed<'p> = &'p RefCell<Option<Problem>>;

fn refuse<E: de::Error>(noticed: Noticed<'_>, problem: Problem) -> E {
    let error = E::custom(&problem);
    *noticed.borrow_mut() = Some(problem);
    error
}

/// The whole header.
struct Object<'p>(Noticed<'p>);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = (Vec<Entry>, Metadata);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = (Vec<Entry>, Metadata);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut tensors = Vec::new();
        let mut metadata = None;
        while let Some(name) = entries.next_key::<String>()? {
            if name != METADATA {
                if tensors.len() == MAX_TENSORS {
                    return Err(refuse(self.0, Problem::Many));
                }
                tensors.push(entries.next_value_seed(Tensor { name, noticed: self.0 })?);
            } else if metadata.is_some() {
                return Err(refuse(self.0, Problem::MetadataTwice));
            } else {
                metadata = Some(entries.next_value_seed(Words(self.0))?);
            }
        }
        Ok((tensors, metadata.unwrap_or_default()))
    }
}

/// `__metadata__`: text to text.
struct Words<'p>(Noticed<'p>);

impl<'de> DeserializeSeed<'de> for Words<'_> {
    type Value = Metadata;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Metadata, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Words<'_> {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("__metadata__ with text for each key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Metadata, A::Error> {
        let mut words = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            if words.contains_key(&key) {
                return Err(refuse(self.0, Problem::DuplicateKey { key: shown(&key) }));
            }
            words.insert(key, entries.next_value()?);
        }
        Ok(words)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Dtype,
    Shape,
    DataOffsets,
    Other(String),
}

/// One tensor's entry.
struct Tensor<'p> {
    name: String,
    noticed: Noticed<'p>,
}

impl Tensor<'_> {
    fn refuse<E: de::Error>(&self, problem: impl FnOnce(String) -> Problem) -> E {
        refuse(self.noticed, problem(shown(&self.name)))
    }

    /// Puts a field's value where no other was yet.
    fn set<T, E: de::Error>(&self, slot: &mut Option<T>, field: &'static str, value: T) -> Result<(), E> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.refuse(|tensor| Problem::DuplicateField { tensor, field })),
        }
    }

    fn need<T, E: de::Error>(&self, slot: Option<T>, field: &'static str) -> Result<T, E> {
        slot.ok_or_else(|| self.refuse(|tensor| Problem::MissingField { tensor, field }))
    }

    fn kind<E: de::Error>(&self, word: &str) -> Result<Kind, E> {
        Kind::of(&self.name, word).ok_or_else(|| {
            self.refuse(|tensor| {
                let dtype = shown(word);
                let packed = WHOLE.iter().any(|(whole, _)| *whole == word);
                if packed || UNUSABLE.contains(&word) {
                    Problem::UnusableDtype { tensor, dtype: word.to_owned() }
                } else {
                    Problem::UnknownDtype { tensor, dtype }
                }
            })
        })
    }

    fn shape<E: de::Error>(&self, dims: Dims) -> Result<Shape, E> {
        let shape = match dims.count {
            ..=MAX_RANK => Shape::new(dims.first),
            count => Err(ShapeError::Rank(count)),
        };
        shape.map_err(|source| self.refuse(|tensor| Problem::Shape { tensor, source }))
    }

    /// The bytes of an entry, as many as its shape needs.
    fn range<E: de::Error>(
        &self,
        kind: Kind,
        shape: &Shape,
        [begin, end]: [u64; 2],
    ) -> Result<Range<u64>, E> {
        if begin > end {
            return Err(self.refuse(|tensor| Problem::Backwards { tensor, begin, end }));
        }
        // A shape leaves room for 16 bytes an element.
        let expected = shape.elements() as u64 * kind.element_bytes() as u64;
        let found = end - begin;
        if found != expected {
            let (shape, dtype) = (shape.clone(), kind.word());
            return Err(self.refuse(|tensor| Problem::Length { tensor, dtype, shape, expected, found }));
        }
        Ok(begin..end)
    }
}

impl<'de> DeserializeSeed<'de> for Tensor<'_> {
    type Value = Entry;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tensor<'_> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with dtype, shape and data_offsets for tensor {}", shown(&self.name))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Entry, A::Error> {
        let (mut kind, mut shape, mut offsets) = (None, None, None);
        while let Some(field) = fields.next_key()? {
            match field {
                Field::Dtype => {
                    let word = self.kind(&fields.next_value::<String>()?)?;
                    self.set(&mut kind, "dtype", word)?;
                }
                Field::Shape => {
                    let dims = self.shape(fields.next_value_seed(ReadDims)?)?;
                    self.set(&mut shape, "shape", dims)?;
                }
                Field::DataOffsets => self.set(&mut offsets, "data_offsets", fields.next_value()?)?,
                Field::Other(field) => {
                    let field = shown(&field);
                    return Err(self.refuse(|tensor| Problem::UnknownField { tensor, field }));
                }
            }
        }
        let kind = self.need(kind, "dtype")?;
        let shape = self.need(shape, "shape")?;
        let data = self.range(kind, &shape, self.need(offsets, "data_offsets")?)?;
        Ok(Entry { name: self.name, kind, shape, data })
    }
}

/// Dimensions as they are written: how many there are, and those that a shape could have.
struct Dims {
    count: usize,
    first: Vec<usize>,
}

struct ReadDims;

impl<'de> DeserializeSeed<'de> for ReadDims {
    type Value = Dims;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Dims, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ReadDims {
    type Value = Dims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Dims, A::Error> {
        let mut dims = Dims { count: 0, first: Vec::new() };
        while dims.count < MAX_RANK {
            let Some(dim) = items.next_element::<u64>()? else { return Ok(dims) };
            // What does not fit is beyond every product that does.
            dims.first.push(usize::try_from(dim).unwrap_or(usize::MAX));
            dims.count += 1;
        }
        while items.next_element::<u64>()?.is_some() {
            dims.count += 1;
        }
        Ok(dims)
    }
}
