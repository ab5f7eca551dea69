//! What the three packages have in common: header, names, directory.

use std::collections::HashMap;
use std::ops::Range;

use super::deltas::{Adapter, DeltaInfo, Stored};
use super::error::AdapterError;
use super::identity::{AdapterIdentity, Checksum};
use super::{dense, low_rank, sparse};
use crate::base::digest::Digest;
use crate::model::weights::SharedBytes;
use crate::tensor::shape::{MAX_RANK, Shape};

/// The header's length, no more and no less.
pub const HEADER: usize = 128;
/// Bytes of a directory entry.
pub const ENTRY: usize = 128;
/// Parts of the data begin at multiples of this.
pub const ALIGNMENT: u64 = 64;
/// Where the digest lies; these bytes count as zero in it.
pub const DIGEST_AT: Range<usize> = 96..128;

pub(super) const VERSION: u32 = 1;

/// How deltas can be stored, with the directory's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dense = 1,
    Sparse = 2,
    LowRank = 3,
}

/// One of the three packages.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// What records call it.
    pub name: &'static str,
    /// How its files begin.
    pub magic: [u8; 4],
    /// The usual file name extension, without the dot.
    pub extension: &'static str,
    /// What it may hold.
    pub(super) kinds: &'static [Kind],
}

/// `SBD1`
pub static DENSE: &Family = &dense::FAMILY;
/// `SBS1`
pub static SPARSE: &Family = &sparse::FAMILY;
/// `SBL1`
pub static LOW_RANK: &Family = &low_rank::FAMILY;

/// Every family.
pub static FAMILIES: [&Family; 3] = [&dense::FAMILY, &sparse::FAMILY, &low_rank::FAMILY];

/// Reads an adapter of any family: structure only, in time that depends on the number of its deltas
/// and not on their size.
///
/// # Errors
///
/// [`AdapterError::Magic`] of what begins otherwise; [`AdapterError::Short`], [`AdapterError::Field`] or
/// [`AdapterError::Outside`] of a header, [`AdapterError::Entry`], [`AdapterError::Dimensions`] or
/// [`AdapterError::DuplicateTensor`] of a directory that cannot be; [`AdapterError::Overlap`] of parts that
/// share bytes. No number and no digest is looked at: [`Adapter::validate`] does.
pub fn open_bytes(bytes: SharedBytes) -> Result<Adapter, AdapterError> {
    let file = (*bytes).as_ref();
    let Some(family) = FAMILIES.into_iter().find(|family| file.starts_with(&family.magic)) else {
        let found = file[..file.len().min(4)].escape_ascii().to_string();
        return Err(AdapterError::Magic { found });
    };
    let header = Header::parse(file)?;
    let deltas = deltas(file, &header, family)?;
    check_disjoint(&header, &deltas)?;
    let digest = Some((header.digest, DIGEST_AT));
    Ok(Adapter::new(family.name, Some(header.identity), deltas, bytes, digest))
}

/// A header whose every field was checked against the file's length.
struct Header {
    identity: AdapterIdentity,
    directory: Range<u64>,
    names: Range<u64>,
    data: u64,
    file: u64,
    digest: Digest,
}

impl Header {
    fn parse(file: &[u8]) -> Result<Self, AdapterError> {
        let Some(header) = file.first_chunk::<HEADER>() else {
            return Err(AdapterError::Short { found: file.len() as u64 });
        };
        let length = file.len() as u64;
        let (word, long) = (|at: usize| u32_at(header, at), |at: usize| u64_at(header, at));
        expect(word(4) == VERSION, "version", 4, word(4), VERSION)?;
        expect(word(8) as usize == HEADER, "header length", 8, word(8), HEADER)?;
        expect(
            long(88) == length,
            "file length",
            88,
            long(88),
            format_args!("{length}, which it is: it was cut short, or something was added"),
        )?;
        expect(word(60) == 0, "reserved", 60, word(60), 0)?;
        let identity = AdapterIdentity {
            tensor_count: long(16),
            flags: word(12),
            parameter_count: long(24),
            tensor_layout_checksum: Checksum(long(32)),
            tokenizer_checksum: Checksum(long(40)),
        };
        let entries = word(56);
        let most = format_args!("at most the model's {} tensors", identity.tensor_count);
        expect(u64::from(entries) <= identity.tensor_count, "entries", 56, entries, most)?;
        let aligned = |field, at| {
            expect(long(at).is_multiple_of(ALIGNMENT), field, at, long(at), "a multiple of 64")?;
            Ok::<u64, AdapterError>(long(at))
        };
        let data = aligned("data from", 80)?;
        expect(data <= length, "data from", 80, data, format_args!("at most the file's length {length}"))?;
        let directory = u64::from(entries) * ENTRY as u64;
        let directory = inside("the directory", aligned("directory at", 48)?, directory, length)?;
        Ok(Self {
            identity,
            directory,
            names: inside("the list of names", long(64), long(72), length)?,
            data,
            file: length,
            digest: Digest::from_bytes(header[DIGEST_AT].try_into().unwrap_or([0; 32])),
        })
    }
}

fn deltas(file: &[u8], header: &Header, family: &Family) -> Result<Vec<DeltaInfo>, AdapterError> {
    // Both ends were checked against the file's length.
    let directory = &file[header.directory.start as usize..header.directory.end as usize];
    let mut entry_of: HashMap<String, usize> = HashMap::new();
    let mut deltas = Vec::new();
    for (index, bytes) in directory.as_chunks::<ENTRY>().0.iter().enumerate() {
        let entry = RawEntry { bytes, index, header };
        let info = entry.delta(file, family)?;
        if let Some(first) = entry_of.insert(info.name.clone(), index) {
            return Err(AdapterError::DuplicateTensor { tensor: info.name, first, second: index });
        }
        deltas.push(info);
    }
    Ok(deltas)
}

/// The bytes of an entry and where they are.
pub(super) struct RawEntry<'a> {
    bytes: &'a [u8; ENTRY],
    index: usize,
    header: &'a Header,
}

impl RawEntry<'_> {
    fn delta(&self, file: &[u8], family: &Family) -> Result<DeltaInfo, AdapterError> {
        let name = self.name(file)?;
        let shape = self.shape(&name)?;
        let kind = self.word(12);
        let known = family.kinds.iter().find(|known| **known as u32 == kind);
        let reserved = self.bytes[52..64].iter().all(|byte| *byte == 0);
        self.expect(reserved, "reserved", 52, "not 0", "0")?;
        let stored = match known {
            Some(Kind::Dense) => dense::stored(self, &shape)?,
            Some(Kind::Sparse) => sparse::stored(self, &shape)?,
            Some(Kind::LowRank) => low_rank::stored(self, &shape)?,
            None => {
                let codes: Vec<String> = family.kinds.iter().map(|kind| (*kind as u32).to_string()).collect();
                let expected = format!("{}, in a package of the family {}", codes.join(" or "), family.name);
                return Err(self.error("kind", 12, kind, &expected));
            }
        };
        Ok(DeltaInfo { name, shape, stored })
    }

    fn name(&self, file: &[u8]) -> Result<String, AdapterError> {
        let (start, length) = (self.long(0), u64::from(self.word(8)));
        let names = &self.header.names;
        let end = start.checked_add(length);
        let Some(end) = end.filter(|end| length > 0 && start >= names.start && *end <= names.end) else {
            let expected = format_args!("a name inside the list at bytes {} to {}", names.start, names.end);
            return Err(self.error("name", 0, format_args!("{length} bytes at byte {start}"), expected));
        };
        let bytes = &file[start as usize..end as usize];
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control));
        text.map(str::to_owned).ok_or_else(|| {
            let found = bytes[..bytes.len().min(60)].escape_ascii().to_string();
            self.error("name", 0, format_args!("\"{found}\""), "UTF-8 without control characters")
        })
    }

    fn shape(&self, name: &str) -> Result<Shape, AdapterError> {
        let count = self.word(16) as usize;
        self.expect(count <= MAX_RANK, "dimensions", 16, count, format_args!("at most {MAX_RANK}"))?;
        let mut dims = Vec::with_capacity(count);
        for place in 0..MAX_RANK {
            let (at, dim) = (64 + 8 * place, self.long(64 + 8 * place));
            if place < count {
                // What does not fit is beyond every product that does.
                dims.push(usize::try_from(dim).unwrap_or(usize::MAX));
            } else {
                self.expect(dim == 0, "an unused dimension", at, dim, 0)?;
            }
        }
        let tensor = || name.to_owned();
        Shape::new(dims).map_err(|source| AdapterError::Dimensions {
            index: self.index,
            tensor: tensor(),
            source,
        })
    }

    pub(super) fn word(&self, at: usize) -> u32 {
        u32_at(self.bytes, at)
    }

    pub(super) fn long(&self, at: usize) -> u64 {
        u64_at(self.bytes, at)
    }

    /// The part of the data whose offset is at `at`: as long as it must be, inside the file.
    pub(super) fn part(
        &self,
        field: &'static str,
        at: usize,
        length: Option<u64>,
    ) -> Result<Range<usize>, AdapterError> {
        let (start, low) = (self.long(at), self.header.data);
        let good = start.is_multiple_of(ALIGNMENT) && start >= low;
        self.expect(good, field, at, start, format_args!("a multiple of 64 from byte {low} on"))?;
        let what = format_args!("the part of directory entry {} called {field}", self.index);
        let range = inside(what, start, length.unwrap_or(u64::MAX), self.header.file)?;
        // The file's length is a usize.
        Ok(range.start as usize..range.end as usize)
    }

    pub(super) fn expect(
        &self,
        holds: bool,
        field: &'static str,
        at: usize,
        found: impl ToString + Copy,
        expected: impl ToString + Copy,
    ) -> Result<(), AdapterError> {
        if holds { Ok(()) } else { Err(self.error(field, at, found, expected)) }
    }

    pub(super) fn error(
        &self,
        field: &'static str,
        at: usize,
        found: impl ToString + Copy,
        expected: impl ToString + Copy,
    ) -> AdapterError {
        AdapterError::Entry {
            index: self.index,
            field,
            at: self.header.directory.start + (self.index * ENTRY + at) as u64,
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }
}

/// No two parts of the file share a byte.
fn check_disjoint(header: &Header, deltas: &[DeltaInfo]) -> Result<(), AdapterError> {
    let wide = |range: &Range<usize>| range.start as u64..range.end as u64;
    let mut parts = vec![
        (0..HEADER as u64, "the header", ""),
        (header.directory.clone(), "the directory", ""),
        (header.names.clone(), "the list of names", ""),
    ];
    for delta in deltas {
        match &delta.stored {
            Stored::Dense { values } => parts.push((wide(values), "the values of ", &delta.name)),
            Stored::Sparse { pairs, .. } => parts.push((wide(pairs), "the pairs of ", &delta.name)),
            Stored::LowRank { a, b, .. } => {
                parts.push((wide(&a.data), "A of ", &delta.name));
                parts.push((wide(&b.data), "B of ", &delta.name));
            }
        }
    }
    parts.retain(|(range, ..)| !range.is_empty());
    parts.sort_by_key(|(range, ..)| (range.start, range.end));
    for pair in parts.windows(2) {
        let [(first, what, name), (second, other_what, other_name)] = pair else { continue };
        if second.start < first.end {
            let (first, at) = (format!("{what}{name}"), second.start);
            return Err(AdapterError::Overlap { first, second: format!("{other_what}{other_name}"), at });
        }
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// A range that lies within the file.
fn inside(
    what: impl ToString + Copy,
    start: u64,
    length: u64,
    file: u64,
) -> Result<Range<u64>, AdapterError> {
    match start.checked_add(length) {
        Some(end) if end <= file => Ok(start..end),
        _ => Err(AdapterError::Outside { what: what.to_string(), start, length, file }),
    }
}

fn expect(
    holds: bool,
    field: &'static str,
    at: usize,
    found: impl ToString + Copy,
    expected: impl ToString + Copy,
) -> Result<(), AdapterError> {
    if holds {
        return Ok(());
    }
    Err(AdapterError::Field { field, at, found: found.to_string(), expected: expected.to_string() })
}
