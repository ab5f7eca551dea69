//! Where leaves lie: files of 256 leaves, one leaf a line.
//!
//! A hundred thousand entries would be too many files and one too large a file to sync and search;
//! 256 to a bundle is what tlog-tiles uses, and so is the numbering: three digits a level, every
//! level but the last marked by `x` (`entries/x001/234` is bundle 1234). Canonical JSON has no
//! line break in it, so a bundle is lines that any tool can show.

use std::path::{Path, PathBuf};

use super::LedgerError;
use super::head::read_bounded;
use super::leaf::MAX_LEAF;

/// Leaves in a full bundle.
pub const BUNDLE: u64 = 256;
/// The longest bundle: every leaf as long as allowed.
const MAX_BUNDLE: u64 = BUNDLE * (MAX_LEAF as u64 + 1);

/// The file of bundle `number`.
pub fn path(folder: &Path, number: u64) -> PathBuf {
    let mut levels = vec![format!("{:03}", number % 1000)];
    let mut rest = number / 1000;
    while rest > 0 {
        levels.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    let mut path = folder.join("entries");
    path.extend(levels.iter().rev());
    path
}

/// The bytes of one bundle file.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    pub(super) bytes: Vec<u8>,
}

impl Bundle {
    /// Reads bundle `number`; none if there is no such file.
    pub(super) fn read(folder: &Path, number: u64) -> Result<Option<Self>, LedgerError> {
        let path = path(folder, number);
        let Some(bytes) = read_bounded(&path, MAX_BUNDLE)? else { return Ok(None) };
        match bytes {
            Ok(bytes) => Ok(Some(Self { bytes })),
            Err(why) => Err(LedgerError::BadBundle { path, why }),
        }
    }

    /// The whole lines, without their line breaks.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
    }

    /// Where the first `count` lines end; none if there are fewer.
    pub(super) fn end_of(&self, count: u64) -> Option<usize> {
        let mut end = 0;
        let mut lines = self.lines();
        for _ in 0..count {
            end += lines.next()?.len() + 1;
        }
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_as_in_tlog_tiles() {
        let folder = Path::new("l");
        for (number, expected) in [
            (0, "l/entries/000"),
            (67, "l/entries/067"),
            (1000, "l/entries/x001/000"),
            (1_234_067, "l/entries/x001/x234/067"),
        ] {
            assert_eq!(path(folder, number), Path::new(expected));
        }
    }

    #[test]
    fn an_unfinished_line_is_no_line() {
        let bundle = Bundle { bytes: b"ab\nc\nde".to_vec() };
        assert_eq!(bundle.lines().collect::<Vec<_>>(), [&b"ab"[..], b"c"]);
        assert_eq!([bundle.end_of(0), bundle.end_of(1), bundle.end_of(2)], [Some(0), Some(3), Some(5)]);
        assert_eq!(bundle.end_of(3), None);
    }
}
