//! Writing: the head is made first, so every offset is known; then tensors arrive in pieces.

use super::facts::{self, Fact, Facts};
use super::{DEFAULT_ALIGNMENT, MAGIC, code};
use crate::base::sink::ArtifactSink;
use crate::model::writer::{ModelWriter, Planned, WriteError};
use crate::tensor::quantize;

/// The version that is written.
const VERSION: u32 = 3;

/// Where everything of a file will lie.
#[derive(Debug, Clone)]
pub struct Layout {
    head: Vec<u8>,
    tensors: Vec<Place>,
    total: u64,
}

#[derive(Debug, Clone)]
struct Place {
    name: String,
    offset: u64,
    bytes: u64,
}

impl Layout {
    /// A file with these facts and tensors, in this order.
    pub fn new(facts: &Facts, planned: &[Planned]) -> Result<Self, WriteError> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&(planned.len() as u64).to_le_bytes());
        head.extend_from_slice(&(facts.len() as u64).to_le_bytes());
        facts::encode(facts, &mut head);
        let mut tensors = Vec::with_capacity(planned.len());
        let mut offset = 0_u64;
        for tensor in planned {
            let refuse = |source| WriteError::Tensor { tensor: tensor.name.clone(), source };
            let lengths =
                quantize::lengths(tensor.dtype, &tensor.shape, tensor.block_size).map_err(refuse)?;
            let code = code(tensor.dtype).ok_or_else(|| WriteError::Encoding {
                tensor: tensor.name.clone(),
                dtype: tensor.dtype,
                format: super::NAME,
                possible: &super::WRITTEN,
            })?;
            facts::put_text(&tensor.name, &mut head);
            let dims = tensor.shape.dims();
            head.extend_from_slice(&(dims.len() as u32).to_le_bytes());
            dims.iter().rev().for_each(|dim| head.extend_from_slice(&(*dim as u64).to_le_bytes()));
            head.extend_from_slice(&code.to_le_bytes());
            head.extend_from_slice(&offset.to_le_bytes());
            let bytes = lengths.payload as u64;
            tensors.push(Place { name: tensor.name.clone(), offset, bytes });
            offset = offset
                .checked_add(bytes)
                .and_then(|end| end.checked_next_multiple_of(DEFAULT_ALIGNMENT))
                .ok_or(WriteError::TooLarge)?;
        }
        head.resize((head.len() as u64).next_multiple_of(DEFAULT_ALIGNMENT) as usize, 0);
        let total = (head.len() as u64).checked_add(offset).ok_or(WriteError::TooLarge)?;
        Ok(Self { head, tensors, total })
    }

    /// The file's exact length.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }
}

/// A file being written.
pub struct Writer<'a> {
    layout: &'a Layout,
    sink: &'a mut dyn ArtifactSink,
    /// Bytes of payload and padding written.
    position: u64,
    done: usize,
}

impl<'a> Writer<'a> {
    /// Writes everything before the first tensor.
    pub fn new(layout: &'a Layout, sink: &'a mut dyn ArtifactSink) -> Result<Self, WriteError> {
        sink.write(&layout.head)?;
        Ok(Self { layout, sink, position: 0, done: 0 })
    }

    fn current(&self, doing: &'static str) -> Result<&'a Place, WriteError> {
        self.layout.tensors.get(self.done).ok_or_else(|| self.count(doing))
    }

    fn count(&self, doing: &'static str) -> WriteError {
        WriteError::Count { written: self.done, planned: self.layout.tensors.len(), doing }
    }

    fn length(place: &Place, part: &'static str, expected: u64, found: u64) -> WriteError {
        WriteError::Length { tensor: place.name.clone(), part, expected, found }
    }
}

impl ModelWriter for Writer<'_> {
    fn payload(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let place = self.current("more payload came")?;
        let found = self.position - place.offset + bytes.len() as u64;
        if found > place.bytes {
            return Err(Self::length(place, "payload", place.bytes, found));
        }
        self.sink.write(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn finish_tensor(&mut self, scales: &[u8]) -> Result<(), WriteError> {
        let place = self.current("a tensor was finished")?;
        let found = self.position - place.offset;
        if found != place.bytes {
            return Err(Self::length(place, "payload", place.bytes, found));
        }
        if !scales.is_empty() {
            return Err(Self::length(place, "separate scales", 0, scales.len() as u64));
        }
        let end = self.position.next_multiple_of(DEFAULT_ALIGNMENT);
        self.sink.write(&[0; DEFAULT_ALIGNMENT as usize][..(end - self.position) as usize])?;
        self.position = end;
        self.done += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        if self.done == self.layout.tensors.len() { Ok(()) } else { Err(self.count("the file was finished")) }
    }
}

/// The facts that every file of ours has, before those of its meaning.
pub fn general(architecture: &str) -> Facts {
    let mut facts = Facts::default();
    facts.push("general.architecture", Fact::Text(architecture.to_owned()));
    facts.push("general.alignment", Fact::Unsigned(DEFAULT_ALIGNMENT));
    facts
}
