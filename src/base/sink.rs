//! Where an artifact is written to: bytes in order, one late patch near the start.
//!
//! Model writers know some header fields (a checksum, say) only after the last byte. They write
//! front to back all the same and patch those few bytes at the end; [`PATCHABLE`] bounds how far
//! in a patch may reach, so that a sink can hash everything behind it while it streams.

use std::io;

/// Only the first this many bytes can be patched.
pub const PATCHABLE: usize = 1 << 20;

/// A place that takes an artifact's bytes.
pub trait ArtifactSink {
    /// Says how long the artifact will be, before its first byte.
    ///
    /// # Errors
    ///
    /// If the disk has no room for so many bytes, or cannot keep it free. A place in memory takes any length.
    fn announce(&mut self, bytes: u64) -> io::Result<()> {
        let _ = bytes;
        Ok(())
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// If the disk does not take them. Places in memory, and those that only count, take all.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Replaces bytes already written that lie wholly within the first [`PATCHABLE`] bytes.
    ///
    /// # Errors
    ///
    /// If they reach beyond what was written, or beyond [`PATCHABLE`].
    fn patch(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()>;
}

impl ArtifactSink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn patch(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        patch_slice(self, offset, bytes)
    }
}

/// Copies `bytes` over `written[offset..]` if that lies within what was written and may be patched.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] if it does not; nothing is changed then.
pub fn patch_slice(written: &mut [u8], offset: usize, bytes: &[u8]) -> io::Result<()> {
    let end = offset.checked_add(bytes.len()).filter(|end| *end <= PATCHABLE);
    match end.and_then(|end| written.get_mut(offset..end)) {
        Some(target) => {
            target.copy_from_slice(bytes);
            Ok(())
        }
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a patch reaches beyond the bytes that can still be patched",
        )),
    }
}
