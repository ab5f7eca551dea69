//! Which file had which digest when it was last hashed.
//!
//! A file whose stamp (device, inode, length, times) is unchanged is not read again. Git's rule for
//! racy timestamps holds: a stamp is believed only if the file was already still for a while when
//! it was hashed, because a change within the clock's granularity would leave the stamp as it was.
//!
//! The index is a memo in one file, read whole at the start: a cycle of a thousand candidates has some
//! thirty thousand entries, so paths are compared as the bytes they are, not part by part.
//!
//! It may be stale, cut or deleted: what is missing is hashed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::mmap::Stamp;
use super::small::read_small_text;
use super::{DiskError, atomic};
use crate::base::digest::Digest;

/// A line for each file that was hashed.
const MAX_STAMPS: u64 = 256 << 20;

/// How long a file must have been still: well above the granularity of timestamps that have parts of seconds.
const STILL: i128 = 20_000_000;
/// And of those that have none, which on some file systems are even.
const STILL_IN_SECONDS: i128 = 2_100_000_000;
const SECOND: i128 = 1_000_000_000;
const HEADER: &str = "studbook-stamps 1\n";

#[derive(Debug, Clone, Copy)]
struct Entry {
    stamp: Stamp,
    digest: Digest,
    /// When hashing it began, nanoseconds since 1970.
    hashed: i128,
}

impl Entry {
    fn is_settled(&self) -> bool {
        let Stamp { modified, changed, .. } = self.stamp;
        let in_seconds = modified % SECOND == 0 && changed % SECOND == 0;
        let still = if in_seconds { STILL_IN_SECONDS } else { STILL };
        modified.max(changed) + still < self.hashed
    }
}

type Entries = HashMap<OsString, Entry>;

/// What is remembered.
#[derive(Debug, Default)]
pub struct Stamps {
    entries: Mutex<Entries>,
    changed: AtomicBool,
}

impl Stamps {
    /// Those saved at `path`, none where there are none.
    pub fn load(path: &Path) -> Self {
        let text = read_small_text("read", path, MAX_STAMPS).unwrap_or_default();
        let entries = parse(&text).unwrap_or_default();
        Self { entries: Mutex::new(entries), changed: AtomicBool::new(false) }
    }

    /// The digest of a file, if it is as it was when that was remembered.
    pub fn recall(&self, path: &Path, stamp: &Stamp) -> Option<Digest> {
        let entries = self.entries.lock().expect("no code panics while holding this");
        let entry = entries.get(path.as_os_str())?;
        (entry.stamp == *stamp && entry.is_settled()).then_some(entry.digest)
    }

    /// Takes note of a digest, and of when ([`now`]) hashing began.
    pub fn remember(&self, path: &Path, stamp: Stamp, digest: Digest, hashed: i128) {
        let entry = Entry { stamp, digest, hashed };
        self.entries.lock().expect("no code panics while holding this").insert(path.into(), entry);
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Files outside the store that had this digest when last hashed.
    pub(crate) fn paths_of(&self, digest: &Digest) -> Vec<PathBuf> {
        let entries = self.entries.lock().expect("no code panics while holding this");
        let mut paths: Vec<PathBuf> = entries
            .iter()
            .filter(|(_, entry)| entry.digest == *digest)
            .map(|(path, _)| PathBuf::from(path))
            .collect();
        // A map has no order; which copy is read should have one.
        paths.sort();
        paths
    }

    /// Saves what is new to `path`, beside what others saved there.
    ///
    /// # Errors
    ///
    /// If the file cannot be replaced. What others saved there and cannot be read is no error: it is learnt
    /// again.
    pub fn save(&self, path: &Path) -> Result<(), DiskError> {
        if !self.changed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut entries = self.entries.lock().expect("no code panics while holding this").clone();
        // Another process may have saved meanwhile: keep what it learned, too.
        for (path, theirs) in
            parse(&read_small_text("read", path, MAX_STAMPS).unwrap_or_default()).unwrap_or_default()
        {
            entries.entry(path).or_insert(theirs);
        }
        let mut sorted: Vec<_> = entries.iter().collect();
        sorted.sort_unstable_by_key(|(path, _)| *path);
        let mut text = HEADER.to_owned();
        for (path, entry) in sorted {
            let Some(path) = path.to_str().filter(|path| !path.contains('\n')) else { continue };
            let Stamp { device, inode, bytes, modified, changed } = entry.stamp;
            let (digest, hashed) = (entry.digest, entry.hashed);
            writeln!(text, "{digest} {device} {inode} {bytes} {modified} {changed} {hashed} {path}")
                .expect("text takes any text");
        }
        atomic::replace_view(path, text.as_bytes())
    }
}

fn parse(text: &str) -> Option<Entries> {
    let text = text.strip_prefix(HEADER)?;
    // No line is shorter than a digest and seven numbers.
    let mut entries = Entries::with_capacity(text.len() / 100);
    for line in text.lines() {
        let mut fields = line.splitn(8, ' ');
        let mut next = || fields.next();
        let digest = next()?.parse().ok()?;
        let stamp = Stamp {
            device: next()?.parse().ok()?,
            inode: next()?.parse().ok()?,
            bytes: next()?.parse().ok()?,
            modified: next()?.parse().ok()?,
            changed: next()?.parse().ok()?,
        };
        let hashed = next()?.parse().ok()?;
        entries.insert(next()?.into(), Entry { stamp, digest, hashed });
    }
    Some(entries)
}

/// Nanoseconds since 1970.
pub fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(modified: i128) -> Stamp {
        Stamp { device: 1, inode: 2, bytes: 3, modified, changed: modified }
    }

    #[test]
    fn a_fresh_file_is_not_believed_and_an_old_one_is() {
        let stamps = Stamps::load(Path::new("/nonexistent"));
        let (fresh, old) = (stamp(now()), stamp(now() - 10 * STILL));
        stamps.remember(Path::new("a"), fresh, Digest::of(b"a"), now());
        assert_eq!(stamps.recall(Path::new("a"), &fresh), None);
        stamps.remember(Path::new("a"), old, Digest::of(b"a"), now());
        assert_eq!(stamps.recall(Path::new("a"), &old), Some(Digest::of(b"a")));
        assert_eq!(stamps.recall(Path::new("a"), &stamp(5)), None);
        // Whole seconds: a change a second later may not show.
        let second = now() / SECOND * SECOND - 10 * SECOND;
        for (later, believed) in [(STILL * 10, false), (2 * SECOND, false), (3 * SECOND, true)] {
            stamps.remember(Path::new("a"), stamp(second), Digest::of(b"a"), second + later);
            assert_eq!(stamps.recall(Path::new("a"), &stamp(second)).is_some(), believed);
        }
    }

    #[test]
    fn survives_saving_and_nonsense() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stamps");
        let stamps = Stamps::load(&path);
        let old = stamp(now() - 10 * STILL);
        stamps.remember(Path::new("/a b/c"), old, Digest::of(b"a"), now());
        stamps.save(&path).unwrap();
        assert_eq!(Stamps::load(&path).recall(Path::new("/a b/c"), &old), Some(Digest::of(b"a")));
        std::fs::write(&path, "studbook-stamps 1\nnonsense\n").unwrap();
        assert_eq!(Stamps::load(&path).recall(Path::new("/a b/c"), &old), None);
    }
}
