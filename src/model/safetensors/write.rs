//! Writing: every offset is known before the first byte, then tensors arrive in pieces.
//!
//! The same tensors, metadata and values make the same bytes: metadata is sorted, entries come in
//! storage order, and there is one way to write each. The header is padded with spaces so that
//! payloads begin at a multiple of 8; they follow each other without gaps, as the format demands, so
//! a file whose tensors differ in width keeps them aligned only if the wider ones come first.
//!
//! ```text
//! let layout = Layout::new(planned, &metadata)?;
//! let mut writer = Writer::new(&layout, sink)?;
//! for plan in layout.planned() {
//!     writer.payload(rows)?; writer.payload(more_rows)?;      // whole payload, in order
//!     writer.finish_tensor(&[])?;
//! }
//! writer.finish()?;
//! ```

use std::io::{self, Write};
use std::ops::Range;

use super::header::PREFIX;
use super::{DTYPES, MAX_HEADER, METADATA, Metadata, NAME, dtype_word};
use crate::base::sink::ArtifactSink;
use crate::model::buffer::Buffer;
use crate::model::writer::{ModelWriter, Planned, WriteError};
use crate::tensor::quantize;
use crate::tensor::shape::Shape;

/// Payloads begin at a multiple of this.
const ALIGNMENT: usize = 8;

/// Where everything of a file will lie.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The header's length and the header.
    head: Vec<u8>,
    planned: Vec<Planned>,
    /// The bytes of each tensor in the file.
    places: Vec<Range<u64>>,
    /// What lies behind them as it is.
    buffers: Vec<Buffer>,
    end: u64,
}

impl Layout {
    /// A file of these tensors, stored in this order.
    ///
    /// # Errors
    ///
    /// [`WriteError::Encoding`] of one that the format does not have; [`WriteError::Name`] of a name that comes
    /// twice or is the format's own; [`WriteError::Header`] of a header that nobody would read;
    /// [`WriteError::TooLarge`] if an offset would be more than a u64.
    pub fn new(planned: Vec<Planned>, metadata: &Metadata) -> Result<Self, WriteError> {
        Self::with_buffers(planned, Vec::new(), metadata)
    }

    /// The same with buffers behind the tensors, which nobody needs to bring.
    ///
    /// # Errors
    ///
    /// As [`Self::new`], of the buffers, too.
    pub fn with_buffers(
        planned: Vec<Planned>,
        buffers: Vec<Buffer>,
        metadata: &Metadata,
    ) -> Result<Self, WriteError> {
        check_names(planned.iter().map(|plan| &plan.name).chain(buffers.iter().map(|buffer| &buffer.name)))?;
        let mut places = Vec::with_capacity(planned.len());
        let mut end = 0_u64;
        for plan in &planned {
            let start = end;
            end = start.checked_add(bytes(plan)?).ok_or(WriteError::TooLarge)?;
            places.push(start..end);
        }
        let mut behind = Vec::with_capacity(buffers.len());
        for buffer in &buffers {
            let start = end;
            end = start.checked_add(buffer.data().len() as u64).ok_or(WriteError::TooLarge)?;
            behind.push(start..end);
        }
        let weights = planned.iter().map(|plan| Entry {
            name: &plan.name,
            word: dtype_word(plan.dtype).unwrap_or_default(),
            shape: &plan.shape,
        });
        let others = buffers.iter().map(|buffer| Entry {
            name: &buffer.name,
            word: buffer.kind,
            shape: &buffer.shape,
        });
        let head = head(weights.chain(others).zip(places.iter().chain(&behind)), metadata)?;
        let start = head.len() as u64;
        let end = end.checked_add(start).ok_or(WriteError::TooLarge)?;
        for place in &mut places {
            *place = place.start + start..place.end + start;
        }
        Ok(Self { head, planned, places, buffers, end })
    }

    /// The file's exact length.
    pub fn total_bytes(&self) -> u64 {
        self.end
    }

    /// Everything before the first payload.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Every tensor in the order in which it must be written.
    pub fn planned(&self) -> &[Planned] {
        &self.planned
    }

    /// What comes behind the last tensor, in this order.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The bytes of each tensor in the file, in the same order.
    pub fn places(&self) -> &[Range<u64>] {
        &self.places
    }
}

fn check_names<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), WriteError> {
    let error = |name: &str, reason| Err(WriteError::Name { tensor: name.to_owned(), reason });
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => error(pair[0], "comes twice"),
        None if names.contains(&METADATA) => error(METADATA, "is the header's own name"),
        None => Ok(()),
    }
}

/// Bytes of a tensor.
fn bytes(plan: &Planned) -> Result<u64, WriteError> {
    let tensor = || plan.name.clone();
    if !DTYPES.contains(&plan.dtype) {
        return Err(WriteError::Encoding {
            tensor: tensor(),
            dtype: plan.dtype,
            format: NAME,
            possible: &DTYPES,
        });
    }
    match quantize::lengths(plan.dtype, &plan.shape, 0) {
        Ok(lengths) => Ok(lengths.payload as u64),
        Err(source) => Err(WriteError::Tensor { tensor: tensor(), source }),
    }
}

/// What the header says of a tensor besides its place.
struct Entry<'a> {
    name: &'a str,
    word: &'static str,
    shape: &'a Shape,
}

/// The header's length and the header; places are counted from its end.
fn head<'a>(
    entries: impl Iterator<Item = (Entry<'a>, &'a Range<u64>)>,
    metadata: &Metadata,
) -> Result<Vec<u8>, WriteError> {
    let mut head = vec![0; PREFIX];
    head.push(b'{');
    let mut separator = "";
    if !metadata.is_empty() {
        put_key(&mut head, separator, METADATA)?;
        serde_json::to_writer(&mut head, metadata).map_err(io::Error::from)?;
        separator = ",";
    }
    for (entry, place) in entries {
        put_key(&mut head, separator, entry.name)?;
        put_entry(&mut head, entry.word, entry.shape.dims(), place)?;
        separator = ",";
    }
    head.push(b'}');
    head.resize(head.len().next_multiple_of(ALIGNMENT), b' ');
    let length = (head.len() - PREFIX) as u64;
    if length > MAX_HEADER {
        return Err(WriteError::Header { needed: length, most: MAX_HEADER });
    }
    head[..PREFIX].copy_from_slice(&length.to_le_bytes());
    Ok(head)
}

fn put_key(head: &mut Vec<u8>, separator: &str, key: &str) -> io::Result<()> {
    head.extend_from_slice(separator.as_bytes());
    serde_json::to_writer(&mut *head, key)?;
    head.push(b':');
    Ok(())
}

fn put_entry(head: &mut Vec<u8>, word: &str, dims: &[usize], place: &Range<u64>) -> io::Result<()> {
    write!(head, "{{\"dtype\":\"{word}\",\"shape\":")?;
    serde_json::to_writer(&mut *head, dims)?;
    write!(head, ",\"data_offsets\":[{},{}]}}", place.start, place.end)
}

/// A file being written.
pub struct Writer<'a> {
    layout: &'a Layout,
    sink: &'a mut dyn ArtifactSink,
    position: u64,
    /// Tensors finished.
    done: usize,
}

impl<'a> Writer<'a> {
    /// Writes the header.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`] if the sink has no room for the file, or fails.
    pub fn new(layout: &'a Layout, sink: &'a mut dyn ArtifactSink) -> Result<Self, WriteError> {
        sink.announce(layout.total_bytes())?;
        sink.write(&layout.head)?;
        Ok(Self { layout, sink, position: layout.head.len() as u64, done: 0 })
    }

    /// The tensor whose bytes come next, and their place.
    fn current(&self, doing: &'static str) -> Result<(&'a Planned, &'a Range<u64>), WriteError> {
        let Layout { planned, places, .. } = self.layout;
        planned.get(self.done).zip(places.get(self.done)).ok_or_else(|| self.count_error(doing))
    }

    fn count_error(&self, doing: &'static str) -> WriteError {
        WriteError::Count { written: self.done, planned: self.layout.planned.len(), doing }
    }
}

impl ModelWriter for Writer<'_> {
    fn payload(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let (plan, place) = self.current("more payload came")?;
        let found = self.position - place.start + bytes.len() as u64;
        let expected = place.end - place.start;
        if found > expected {
            return Err(length_error(plan, "payload", expected, found));
        }
        self.sink.write(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn finish_tensor(&mut self, scales: &[u8]) -> Result<(), WriteError> {
        let (plan, place) = self.current("a tensor was finished")?;
        if self.position != place.end {
            let (expected, found) = (place.end - place.start, self.position - place.start);
            return Err(length_error(plan, "payload", expected, found));
        }
        if !scales.is_empty() {
            return Err(length_error(plan, "scales", 0, scales.len() as u64));
        }
        self.done += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        if self.done != self.layout.planned.len() {
            return Err(self.count_error("the file was finished"));
        }
        for buffer in &self.layout.buffers {
            self.sink.write(buffer.data())?;
        }
        Ok(())
    }
}

fn length_error(plan: &Planned, part: &'static str, expected: u64, found: u64) -> WriteError {
    WriteError::Length { tensor: plan.name.clone(), part, expected, found }
}
