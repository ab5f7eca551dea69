//! Adapters: what is added to a model's weights, kept apart from the model.
//!
//! An adapter is a list of deltas, each for one tensor of a base model. A delta is dense, sparse or
//! of low rank; [`Delta::add_to`] adds the part of it that belongs to a run of elements, so a model
//! with its adapter is never in memory as a whole.
//!
//! The original runtime has three families of adapter packages, known by their names and checks and
//! not by their bytes. Studbook writes its own layouts under its own magics, which can never be
//! mistaken for those: `SBD1` (dense), `SBS1` (sparse) and `SBL1` (low rank). A genuine layout, once
//! one is known, is one more file here that makes an [`Adapter`], and one more line in [`open_bytes`].
//!
//! # The three packages
//!
//! Little-endian; header, directory, names and data follow each other, each part of the data at a
//! multiple of 64.
//!
//! ```text
//! header, 128 bytes
//!     0  magic           4  version 1, u32     8  header length 128, u32   12  flags, u32
//!    16  tensor count, u64                    24  parameter count, u64
//!    32  tensor layout checksum, u64          40  tokenizer checksum, u64
//!    48  directory at, u64                    56  entries, u32             60  0, u32
//!    64  names at, u64                        72  names length, u64
//!    80  data from, u64                       88  file length, u64
//!    96  BLAKE3 of the file with these 32 bytes zero
//!
//! directory entry, 128 bytes, one per changed tensor
//!     0  name at, u64    8  name length, u32  12  kind, u32: 1 dense, 2 sparse, 3 low rank
//!    16  dimensions, u32                      20  bytes of an index, u32: 4 or 8; 0 unless sparse
//!    24  count, u64: elements, pairs or rank  32  values, pairs or A at, u64
//!    40  B at, u64: 0 unless low rank         48  scale, f32: 0 unless low rank
//!    52  0, 12 bytes                          64  up to eight dimensions, u64, then 0
//!
//! dense      delta[i]      f32 for every element, row by row
//! sparse     (index, f32)  pairs, indices strictly increasing; every other delta is 0
//! low rank   A, B          delta = scale * B A, with A rank x columns and B rows x rank, f32
//! ```
//!
//! A vector has no useful factors: an `SBL1` package holds dense entries beside those of low rank.
//!
//! # When an adapter may touch a model
//!
//! All of it is checked before anything is changed: the package's own structure ([`open_bytes`]), its
//! digest and values ([`Adapter::validate`]), the model's identity in five fields and every tensor's
//! name and shape ([`Adapter::check_fits`]). That the sums are finite is seen as they are made.
//!
//! * [`identity`]: the five fields.
//! * [`delta`]: what is added, and the adding.
//! * [`package`]: header and directory; `dense`, `sparse`, `low_rank`: one family each.
//! * `peft`: LoRA folders of Hugging Face's library.
//! * [`mod@write`]: every offset known before the first byte; then values in pieces.

pub mod delta;
mod deltas;
mod dense;
mod error;
pub mod identity;
mod low_rank;
pub mod package;
#[cfg(feature = "engine")]
pub mod peft;
mod sparse;
#[cfg(test)]
mod tests;
pub mod write;

pub use delta::{Delta, Factors, Pairs};
pub use deltas::{Adapter, DeltaInfo, Factor, Stored};
pub use error::AdapterError;
pub use identity::{AdapterIdentity, Checksum, Mismatch};
pub use package::{Family, open_bytes};
pub use write::{Layout, PlannedDelta, PlannedStored, Writer};

/// An adapter and the map it lies in.
#[cfg(feature = "engine")]
#[derive(Debug)]
pub struct OpenedAdapter {
    /// The adapter; its structure is checked, its values are not.
    pub adapter: Adapter,
    /// The file's bytes and stamp.
    pub mapped: std::sync::Arc<crate::disk::mmap::Mapped>,
}

/// Opens whatever adapter is at a path for a model: one of the packages, or a PEFT folder. Nothing if what is
/// there is no adapter.
///
/// # Errors
///
/// If there is an adapter and it cannot be read: as [`open`], or [`AdapterError::Peft`] as [`peft::open`]. It
/// names the path.
#[cfg(feature = "engine")]
pub fn open_for(
    path: &std::path::Path,
    base: &crate::model::Package,
) -> Result<Option<Adapter>, AdapterError> {
    if peft::is_one(path) {
        let named = |error: peft::PeftError| AdapterError::InFile {
            path: path.to_owned(),
            source: Box::new(error.into()),
        };
        return peft::open(path, base).map(Some).map_err(named);
    }
    if !path.is_file() {
        return Ok(None);
    }
    match open(path) {
        Ok(opened) => Ok(Some(opened.adapter)),
        Err(AdapterError::InFile { source, .. }) if matches!(*source, AdapterError::Magic { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Maps and reads an adapter.
///
/// # Errors
///
/// [`AdapterError::Disk`] if there is no such file, or it cannot be read; else as [`open_bytes`], with the
/// path.
#[cfg(feature = "engine")]
pub fn open(path: &std::path::Path) -> Result<OpenedAdapter, AdapterError> {
    let mapped = std::sync::Arc::new(crate::disk::mmap::Mapped::open(path)?);
    match open_bytes(mapped.clone()) {
        Ok(adapter) => Ok(OpenedAdapter { adapter, mapped }),
        Err(error) => Err(AdapterError::InFile { path: path.to_owned(), source: Box::new(error) }),
    }
}
