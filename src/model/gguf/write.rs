//! Writing: the head is made first, so every offset is known; then tensors arrive in pieces.

use super::facts::{self, Fact, Facts};
use super::{DEFAULT_ALIGNMENT, MAGIC, code};
use crate::base::sink::ArtifactSink;
use crate::model::writer::{ModelWriter, Planned, WriteError};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;

/// The version that is written.
const VERSION: u32 = 3;

/// Where everything of a file will lie.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Everything before the first tensor that comes in pieces: given tensors, too.
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

/// A tensor of one dimension whose numbers are known beforehand.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// What it is called.
    pub name: String,
    /// Its numbers.
    pub numbers: Vec<f32>,
}

impl Layout {
    /// A file with these facts and tensors, in this order; those that are `given` come first.
    ///
    /// # Errors
    ///
    /// [`WriteError::Encoding`] of an encoding that the format does not have, [`WriteError::Tensor`] of rows
    /// that its blocks do not fill, [`WriteError::TooLarge`] if an offset would be more than a u64.
    pub fn new(facts: &Facts, given: &[Given], planned: &[Planned]) -> Result<Self, WriteError> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&((given.len() + planned.len()) as u64).to_le_bytes());
        head.extend_from_slice(&(facts.len() as u64).to_le_bytes());
        facts::encode(facts, &mut head);
        let mut offset = 0_u64;
        for Given { name, numbers } in given {
            entry(&mut head, name, &[numbers.len()], code(DType::F32).unwrap_or(0), offset);
            offset = after(offset, numbers.len() as u64 * 4)?;
        }
        // Where the first tensor that comes in pieces begins.
        let first = offset;
        let mut tensors = Vec::with_capacity(planned.len());
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
            entry(&mut head, &tensor.name, tensor.shape.dims(), code, offset);
            let bytes = lengths.payload as u64;
            tensors.push(Place { name: tensor.name.clone(), offset: offset - first, bytes });
            offset = after(offset, bytes)?;
        }
        pad(&mut head);
        for Given { numbers, .. } in given {
            numbers.iter().for_each(|number| head.extend_from_slice(&number.to_le_bytes()));
            pad(&mut head);
        }
        let total = (head.len() as u64).checked_add(offset - first).ok_or(WriteError::TooLarge)?;
        Ok(Self { head, tensors, total })
    }

    /// The file's exact length.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }
}

/// A line of the table of tensors.
fn entry(head: &mut Vec<u8>, name: &str, dims: &[usize], code: u32, offset: u64) {
    facts::put_text(name, head);
    head.extend_from_slice(&(dims.len() as u32).to_le_bytes());
    dims.iter().rev().for_each(|dim| head.extend_from_slice(&(*dim as u64).to_le_bytes()));
    head.extend_from_slice(&code.to_le_bytes());
    head.extend_from_slice(&offset.to_le_bytes());
}

/// Where the next payload begins.
fn after(offset: u64, bytes: u64) -> Result<u64, WriteError> {
    let end = offset.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(DEFAULT_ALIGNMENT));
    end.ok_or(WriteError::TooLarge)
}

fn pad(head: &mut Vec<u8>) {
    head.resize((head.len() as u64).next_multiple_of(DEFAULT_ALIGNMENT) as usize, 0);
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
    /// Writes everything before the first tensor that comes in pieces.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`] if the sink has no room for the file, or fails.
    pub fn new(layout: &'a Layout, sink: &'a mut dyn ArtifactSink) -> Result<Self, WriteError> {
        sink.announce(layout.total_bytes())?;
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
