//! Writing a package: every offset is known before the first byte, then values arrive in pieces.
//!
//! ```text
//! let layout = Layout::new(family, &identity, &deltas)?;
//! let mut writer = Writer::new(&layout, sink)?;
//! writer.put(bytes)?; writer.put(more_bytes)?;     // all parts in order, in any pieces
//! writer.finish()?;                                // the digest
//! ```
//!
//! The parts are those of the deltas in the order given: values, or pairs ([`encode_pair`]), or A and
//! then B. Padding between them is the writer's business.

use std::ops::Range;

use super::package::{ALIGNMENT, DIGEST_AT, ENTRY, Family, HEADER, Kind, VERSION};
use super::{AdapterIdentity, dense, low_rank, sparse};
use crate::base::sink::ArtifactSink;
use crate::model::writer::WriteError;
use crate::tensor::shape::Shape;

pub use super::sparse::{encode as encode_pair, needs_wide};

/// How a delta will be stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlannedStored {
    /// A number for every element.
    Dense,
    /// So many pairs.
    Sparse {
        /// How many.
        pairs: u64,
        /// Whether an index has eight bytes and not four.
        wide: bool,
    },
    /// Two factors.
    LowRank {
        /// Rows of A, columns of B; at least 1.
        rank: usize,
        /// Factor on their product; finite.
        scale: f32,
    },
}

/// One delta of a package to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedDelta {
    /// The tensor it is for.
    pub name: String,
    /// That tensor's dimensions.
    pub shape: Shape,
    /// How it is stored.
    pub stored: PlannedStored,
}

impl PlannedDelta {
    fn kind(&self) -> Kind {
        match self.stored {
            PlannedStored::Dense => Kind::Dense,
            PlannedStored::Sparse { .. } => Kind::Sparse,
            PlannedStored::LowRank { .. } => Kind::LowRank,
        }
    }

    /// Count, bytes of an index, scale; then the lengths of the parts.
    fn fields(&self) -> Result<(u64, u32, f32, Vec<u64>), WriteError> {
        Ok(match self.stored {
            PlannedStored::Dense => (self.shape.elements() as u64, 0, 0.0, vec![dense::length(&self.shape)]),
            PlannedStored::Sparse { pairs, wide } => {
                let length = sparse::length(pairs, wide).ok_or(WriteError::TooLarge)?;
                (pairs, if wide { 8 } else { 4 }, 0.0, vec![length])
            }
            PlannedStored::LowRank { rank, scale } => {
                let factors = low_rank::shapes(&self.shape, rank as u64).ok_or(WriteError::TooLarge)?;
                (rank as u64, 0, scale, factors.iter().map(dense::length).collect())
            }
        })
    }
}

/// Where everything of a package will lie.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Header, directory, names and their padding; the digest still zero.
    head: Vec<u8>,
    /// The parts of the data, with the tensor each belongs to.
    parts: Vec<(Range<u64>, String)>,
    total: u64,
}

impl Layout {
    /// Places the deltas of a package.
    ///
    /// # Errors
    ///
    /// [`WriteError::TooLarge`] if there are more than 2^32 - 1 deltas, or an offset would be more than a u64.
    ///
    /// # Panics
    /// If a delta is of a kind that the family does not have.
    pub fn new(
        family: &Family,
        identity: &AdapterIdentity,
        deltas: &[PlannedDelta],
    ) -> Result<Self, WriteError> {
        let entries = u32::try_from(deltas.len()).map_err(|_| WriteError::TooLarge)?;
        let names_start = HEADER as u64 + u64::from(entries) * ENTRY as u64;
        let mut name_at = names_start;
        let names: Vec<u8> = deltas.iter().flat_map(|delta| delta.name.bytes()).collect();
        let data = aligned(names_start + names.len() as u64)?;

        let mut directory = Vec::new();
        let mut parts = Vec::new();
        let mut end = data;
        for delta in deltas {
            assert!(family.kinds.contains(&delta.kind()), "{} holds no {:?}", family.name, delta.kind());
            let (count, index_bytes, scale, lengths) = delta.fields()?;
            let mut places = [0; 2];
            for (place, length) in places.iter_mut().zip(lengths) {
                *place = end;
                let stop = end.checked_add(length).ok_or(WriteError::TooLarge)?;
                parts.push((end..stop, delta.name.clone()));
                end = aligned(stop)?;
            }
            let mut entry = [0; ENTRY];
            let mut put = |at: usize, field: &[u8]| entry[at..at + field.len()].copy_from_slice(field);
            put(0, &name_at.to_le_bytes());
            put(8, &(delta.name.len() as u32).to_le_bytes());
            put(12, &(delta.kind() as u32).to_le_bytes());
            put(16, &(delta.shape.dims().len() as u32).to_le_bytes());
            put(20, &index_bytes.to_le_bytes());
            put(24, &count.to_le_bytes());
            put(32, &places[0].to_le_bytes());
            put(40, &places[1].to_le_bytes());
            put(48, &scale.to_le_bytes());
            for (at, dim) in (64..).step_by(8).zip(delta.shape.dims()) {
                put(at, &(*dim as u64).to_le_bytes());
            }
            directory.extend_from_slice(&entry);
            name_at += delta.name.len() as u64;
        }

        let mut head = vec![0; HEADER];
        let mut put = |at: usize, field: &[u8]| head[at..at + field.len()].copy_from_slice(field);
        put(0, &family.magic);
        for (at, word) in [(4, VERSION), (8, HEADER as u32), (12, identity.flags), (56, entries)] {
            put(at, &word.to_le_bytes());
        }
        let longs = [
            (16, identity.tensor_count),
            (24, identity.parameter_count),
            (32, identity.tensor_layout_checksum.0),
            (40, identity.tokenizer_checksum.0),
            (48, HEADER as u64),
            (64, names_start),
            (72, names.len() as u64),
            (80, data),
            (88, end),
        ];
        for (at, long) in longs {
            put(at, &long.to_le_bytes());
        }
        head.extend_from_slice(&directory);
        head.extend_from_slice(&names);
        // The names are in memory already; the offset behind them is a usize too.
        head.resize(data as usize, 0);
        Ok(Self { head, parts, total: end })
    }

    /// The package's exact length.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }
}

fn aligned(offset: u64) -> Result<u64, WriteError> {
    offset.checked_next_multiple_of(ALIGNMENT).ok_or(WriteError::TooLarge)
}

/// A package being written.
pub struct Writer<'a> {
    layout: &'a Layout,
    sink: &'a mut dyn ArtifactSink,
    digest: blake3::Hasher,
    position: u64,
    /// Parts finished.
    done: usize,
}

impl<'a> Writer<'a> {
    /// Writes everything before the first part.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`] if the sink has no room for it, or fails.
    pub fn new(layout: &'a Layout, sink: &'a mut dyn ArtifactSink) -> Result<Self, WriteError> {
        sink.announce(layout.total_bytes())?;
        let mut writer = Self { layout, sink, digest: blake3::Hasher::new(), position: 0, done: 0 };
        writer.write(&layout.head)?;
        writer.skip_finished()?;
        Ok(writer)
    }

    /// Writes the next bytes of the data: the rest of the current part, then the next parts.
    ///
    /// # Errors
    ///
    /// [`WriteError::Count`] of more bytes than there are parts for; [`WriteError::Io`] if the sink fails.
    pub fn put(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let Some((part, _)) = self.layout.parts.get(self.done) else {
                return Err(self.count_error("more came"));
            };
            let room = usize::try_from(part.end - self.position).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.write(now)?;
            self.skip_finished()?;
            bytes = later;
        }
        Ok(())
    }

    /// Writes numbers as they are stored.
    ///
    /// # Errors
    ///
    /// As [`Self::put`].
    pub fn put_f32(&mut self, values: &[f32]) -> Result<(), WriteError> {
        let mut bytes = Vec::with_capacity(values.len().min(1 << 16) * 4);
        for run in values.chunks(1 << 16) {
            bytes.clear();
            bytes.extend(run.iter().flat_map(|value| value.to_le_bytes()));
            self.put(&bytes)?;
        }
        Ok(())
    }

    /// Stores the digest: the sink then holds the whole package.
    ///
    /// # Errors
    ///
    /// [`WriteError::Length`] of the first part that is not whole; [`WriteError::Io`] if the sink fails.
    pub fn finish(self) -> Result<(), WriteError> {
        if let Some((part, tensor)) = self.layout.parts.get(self.done) {
            let (expected, found) = (part.end - part.start, self.position - part.start);
            return Err(WriteError::Length { tensor: tensor.clone(), part: "a delta", expected, found });
        }
        debug_assert_eq!(self.position, self.layout.total);
        self.sink.patch(DIGEST_AT.start, self.digest.finalize().as_bytes())?;
        Ok(())
    }

    fn count_error(&self, doing: &'static str) -> WriteError {
        WriteError::Count { written: self.done, planned: self.layout.parts.len(), doing }
    }

    /// Goes on to the next part that is not full, over the padding.
    fn skip_finished(&mut self) -> Result<(), WriteError> {
        while let Some((part, _)) = self.layout.parts.get(self.done) {
            if self.position < part.end {
                return Ok(());
            }
            self.done += 1;
            let next = self.layout.parts.get(self.done).map_or(self.layout.total, |(next, _)| next.start);
            let zeros = [0; ALIGNMENT as usize];
            // Less than one alignment, by the layout.
            self.write(&zeros[..(next - self.position) as usize])?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.sink.write(bytes)?;
        self.digest.update(bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }
}
