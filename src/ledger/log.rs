//! Opening, appending, reading.
//!
//! One writer at a time holds the lock; readers need none, because a head only ever names leaves
//! that were on the disk before it. Before a writer adds to a log it has read and checked all of
//! it once: nobody puts a good entry on top of a broken chain.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::bundle::{self, BUNDLE, Bundle};
use super::check::{self, CheckReport};
use super::head::{DEFAULT_ORIGIN, Head, validate_origin};
use super::leaf::{Leaf, NO_LEAF, NewEntry};
use super::{LedgerError, Memory};
use crate::base::digest::Sha256;
use crate::disk::lock::Lock;
use crate::disk::{IoContext, atomic, fault};

/// A ledger in a folder.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    /// The origin demanded of the head; none accepts what is there.
    origin: Option<String>,
    memory: Option<Memory>,
    known: Mutex<Known>,
}

/// What has been read and checked so far.
#[derive(Debug)]
struct Known {
    leaves: Vec<Leaf>,
    /// SHA-256 of the last leaf.
    last: Sha256,
    by_record: HashMap<Sha256, Vec<usize>>,
}

impl Known {
    fn push(&mut self, leaf: Leaf, hash: Sha256) {
        self.by_record.entry(leaf.record).or_default().push(self.leaves.len());
        self.leaves.push(leaf);
        self.last = hash;
    }

    fn with_record(&self, record: Sha256) -> impl Iterator<Item = &Leaf> {
        self.by_record.get(&record).into_iter().flatten().map(|at| &self.leaves[*at])
    }
}

impl Ledger {
    /// The ledger in `folder`; a folder that is not there yet is an empty ledger, made by the
    /// first append under [`DEFAULT_ORIGIN`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        Self::open_with(folder.into(), None)
    }

    /// The ledger in `folder`, which must be, or becomes, the one called `origin`.
    pub fn open_as(folder: impl Into<PathBuf>, origin: &str) -> Result<Self, LedgerError> {
        let folder = folder.into();
        if let Err(why) = validate_origin(origin) {
            return Err(LedgerError::BadHead { path: folder.join("head"), why });
        }
        Self::open_with(folder, Some(origin.to_owned()))
    }

    fn open_with(folder: PathBuf, origin: Option<String>) -> Result<Self, LedgerError> {
        let known = Known { leaves: Vec::new(), last: NO_LEAF, by_record: HashMap::new() };
        let ledger = Self { folder, origin, memory: None, known: Mutex::new(known) };
        ledger.head()?;
        Ok(ledger)
    }

    /// From now on no append extends a log older or other than `memory` knows it, and every append
    /// is remembered there.
    #[must_use]
    pub fn remembering(mut self, memory: Memory) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The head as it is on the disk now.
    pub fn head(&self) -> Result<Head, LedgerError> {
        let head = match self.read_head()? {
            Some(head) => head,
            None => Head::empty(self.origin.as_deref().unwrap_or(DEFAULT_ORIGIN)),
        };
        match &self.origin {
            Some(expected) if *expected != head.origin => {
                Err(LedgerError::Origin { expected: expected.clone(), found: head.origin })
            }
            _ => Ok(head),
        }
    }

    /// A head is written before the first entry, so entries without one have lost theirs.
    fn read_head(&self) -> Result<Option<Head>, LedgerError> {
        let path = self.folder.join("head");
        let head = Head::read(&path)?;
        if head.is_none() && Bundle::read(&self.folder, 0)?.is_some() {
            // Unless it was renamed into place just between the two looks.
            return match Head::read(&path)? {
                None => Err(LedgerError::HeadMissing { path: self.folder.clone() }),
                some => Ok(some),
            };
        }
        Ok(head)
    }

    /// Re-reads everything. `remembered` is the last head accepted, if any; [`Memory::check`] keeps
    /// one and passes it here.
    pub fn check(&self, remembered: Option<&Head>) -> Result<CheckReport, LedgerError> {
        check::check(&self.folder, &self.head()?, remembered)
    }

    /// Every leaf the head counts now, in order, each checked against the chain.
    pub fn iter(&self) -> Result<Leaves, LedgerError> {
        Ok(Leaves::from(&self.folder, self.head()?, 0, NO_LEAF))
    }

    /// The leaves that bind the record with this digest: none, one, or one of each kind.
    pub fn find_record(&self, record: Sha256) -> Result<Vec<Leaf>, LedgerError> {
        Ok(self.find_records(&[record])?.remove(0))
    }

    /// Like [`Ledger::find_record`] for each of these, in the same order and in one state of the log.
    pub fn find_records(&self, records: &[Sha256]) -> Result<Vec<Vec<Leaf>>, LedgerError> {
        let mut known = self.known();
        self.catch_up(&mut known, &self.head()?)?;
        Ok(records.iter().map(|record| known.with_record(*record).cloned().collect()).collect())
    }

    /// Appends what is not there yet and returns the leaf of every entry, old or new, in the order
    /// given. An entry is there if its kind, cycle, candidate and record are: running a cycle again
    /// adds nothing.
    ///
    /// All new entries of one call are committed together, under one time.
    pub fn append(&self, entries: Vec<NewEntry>, now: &dyn Fn() -> String) -> Result<Vec<Leaf>, LedgerError> {
        let mut known = self.known();
        std::fs::create_dir_all(&self.folder).at("create the folder", &self.folder)?;
        let _held = Lock::exclusive(&self.folder.join("lock"))?;
        atomic::remove_leftovers(&self.folder)?;
        let head = self.head()?;
        if let Some(memory) = &self.memory {
            self.refuse_older_than(memory, &mut known, &head)?;
        }
        self.catch_up(&mut known, &head)?;

        let mut time = None;
        let mut new: Vec<(Leaf, Vec<u8>)> = Vec::new();
        let mut new_by_record: HashMap<Sha256, Vec<usize>> = HashMap::new();
        let mut last = known.last;
        let mut answer = Vec::with_capacity(entries.len());
        for entry in entries {
            let here = new_by_record.get(&entry.record).into_iter().flatten().map(|at| &new[*at].0);
            if let Some(leaf) =
                known.with_record(entry.record).chain(here).find(|leaf| leaf.is_same_as(&entry))
            {
                if leaf.subject != entry.subject || leaf.predicate_type != entry.predicate_type {
                    return Err(LedgerError::Conflict { index: leaf.index });
                }
                answer.push(leaf.clone());
                continue;
            }
            let index = head.size + new.len() as u64;
            let time = time.get_or_insert_with(now).clone();
            let malformed = |why| LedgerError::Malformed { index, why };
            let leaf = Leaf::new(entry, index, last, time).map_err(malformed)?;
            let bytes = leaf.to_bytes().map_err(malformed)?;
            last = Sha256::of(&bytes);
            answer.push(leaf.clone());
            new_by_record.entry(leaf.record).or_default().push(new.len());
            new.push((leaf, bytes));
        }
        if !new.is_empty() {
            let next = Head { size: head.size + new.len() as u64, head: last, ..head.clone() };
            self.write(&head, &next, &new)?;
            for (leaf, bytes) in new {
                known.push(leaf, Sha256::of(&bytes));
            }
            if let Some(memory) = &self.memory {
                memory.remember(&next)?;
            }
        }
        Ok(answer)
    }

    /// Entries, sync, head by rename. Whatever lies beyond `head` when this begins is cut off.
    fn write(&self, head: &Head, next: &Head, new: &[(Leaf, Vec<u8>)]) -> Result<(), LedgerError> {
        let head_path = self.folder.join("head");
        if head.size == 0 {
            // The head comes first once: from then on entries without a head are an error.
            atomic::replace(&head_path, &head.to_bytes())?;
        }
        let mut rest = new;
        let mut number = head.size / BUNDLE;
        let mut filled = head.size % BUNDLE;
        while !rest.is_empty() {
            let room = ((BUNDLE - filled) as usize).min(rest.len());
            let (now, later) = rest.split_at(room);
            self.write_bundle(number, filled, now)?;
            (rest, number, filled) = (later, number + 1, 0);
        }
        self.remove_bundles_from(number)?;
        fault::point("ledger-entry-written").at("write", &self.folder)?;

        let found = self.head()?;
        if found != *head {
            return Err(LedgerError::HeadMoved { expected: head.size, found: found.size });
        }
        atomic::replace(&head_path, &next.to_bytes())?;
        fault::point("ledger-head-written").at("write", &head_path)?;
        Ok(())
    }

    /// Leaves the first `keep` lines of a bundle, then `leaves`.
    fn write_bundle(&self, number: u64, keep: u64, leaves: &[(Leaf, Vec<u8>)]) -> Result<(), LedgerError> {
        let path = bundle::path(&self.folder, number);
        let folder = path.parent().expect("a bundle lies in a folder");
        std::fs::create_dir_all(folder).at("create the folder", folder)?;
        let existing = Bundle::read(&self.folder, number)?;
        let is_new = existing.is_none();
        let Some(end) = existing.unwrap_or_default().end_of(keep) else {
            let found = number * BUNDLE;
            return Err(LedgerError::Truncated { size: found + keep, found });
        };
        let mut text = Vec::new();
        for (_, bytes) in leaves {
            text.extend_from_slice(bytes);
            text.push(b'\n');
        }
        let mut file =
            File::options().create(true).truncate(false).write(true).open(&path).at("open", &path)?;
        file.set_len(end as u64)
            .and_then(|()| file.seek(SeekFrom::Start(end as u64)))
            .and_then(|_| file.write_all(&text))
            .and_then(|()| file.sync_data())
            .at("write", &path)?;
        if is_new {
            // The name must survive a power cut as well as the bytes do.
            for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.folder)) {
                atomic::sync_folder(folder)?;
            }
        }
        Ok(())
    }

    /// Removes what an interrupted, longer append left. Backwards, so that being interrupted again
    /// leaves no gap.
    fn remove_bundles_from(&self, first: u64) -> Result<(), LedgerError> {
        let mut end = first;
        while bundle::path(&self.folder, end).exists() {
            end += 1;
        }
        for number in (first..end).rev() {
            let path = bundle::path(&self.folder, number);
            std::fs::remove_file(&path).at("remove", &path)?;
        }
        Ok(())
    }

    /// A head older than the one remembered would make the writer cut off good entries.
    fn refuse_older_than(&self, memory: &Memory, known: &mut Known, head: &Head) -> Result<(), LedgerError> {
        let Some(remembered) = memory.recall(&head.origin)? else { return Ok(()) };
        if head.size < remembered.size {
            return Err(LedgerError::RolledBack { remembered: remembered.size, found: head.size });
        }
        if *head == remembered || remembered.size == 0 {
            return Ok(());
        }
        self.catch_up(known, head)?;
        let index = remembered.size - 1;
        // The digest of a leaf is the `prev` of the next one, or the end of the chain.
        let found = known.leaves.get(remembered.size as usize).map_or(known.last, |next| next.prev);
        if found == remembered.head {
            Ok(())
        } else {
            Err(LedgerError::Replaced { index, expected: remembered.head, found })
        }
    }

    /// Reads and checks what was added since the last look.
    fn catch_up(&self, known: &mut Known, head: &Head) -> Result<(), LedgerError> {
        let size = known.leaves.len() as u64;
        if head.size < size {
            return Err(LedgerError::RolledBack { remembered: size, found: head.size });
        }
        if let Some(index) = size.checked_sub(1) {
            // The last leaf seen must still be there: what is on the disk extends what was read.
            let found = Bundle::read(&self.folder, index / BUNDLE)?
                .and_then(|bundle| bundle.lines().nth((index % BUNDLE) as usize).map(Sha256::of));
            if found != Some(known.last) {
                let seen = Head { size, head: known.last, ..head.clone() };
                check::check(&self.folder, head, Some(&seen))?;
                return Err(changed(index));
            }
        }
        let mut leaves = Leaves::from(&self.folder, head.clone(), size, known.last);
        let mut new = Vec::new();
        while let Some(next) = leaves.advance() {
            new.push(next?);
        }
        for (leaf, hash) in new {
            known.push(leaf, hash);
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is known grows by whole leaves only; a panic elsewhere leaves it valid.
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Leaves read one bundle at a time.
#[derive(Debug)]
pub struct Leaves {
    folder: PathBuf,
    head: Head,
    position: u64,
    last: Sha256,
    bundle: std::vec::IntoIter<Vec<u8>>,
}

impl Leaves {
    /// Leaves `position..head.size`; `last` is the digest of the one before.
    fn from(folder: &Path, head: Head, position: u64, last: Sha256) -> Self {
        Self { folder: folder.to_owned(), head, position, last, bundle: Vec::new().into_iter() }
    }

    fn advance(&mut self) -> Option<Result<(Leaf, Sha256), LedgerError>> {
        if self.position >= self.head.size {
            return None;
        }
        let next = self.read_next();
        if next.is_err() {
            // One error ends it.
            self.position = self.head.size;
        }
        Some(next)
    }

    fn read_next(&mut self) -> Result<(Leaf, Sha256), LedgerError> {
        if self.bundle.len() == 0 {
            let bundle = Bundle::read(&self.folder, self.position / BUNDLE)?.unwrap_or_default();
            let lines = bundle.lines().skip((self.position % BUNDLE) as usize);
            self.bundle = lines.map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter();
        }
        let line = self.bundle.next();
        let read = line.and_then(|line| Some((Leaf::from_bytes(&line).ok()?, Sha256::of(&line))));
        let is_last = self.position + 1 == self.head.size;
        match read {
            Some((leaf, hash))
                if leaf.index == self.position
                    && leaf.prev == self.last
                    && (!is_last || hash == self.head.head) =>
            {
                self.position += 1;
                self.last = hash;
                Ok((leaf, hash))
            }
            // Something was done to it; a full look says what.
            _ => Err(check::check(&self.folder, &self.head, None).err().unwrap_or(changed(self.position))),
        }
    }
}

impl Iterator for Leaves {
    type Item = Result<Leaf, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|next| next.map(|(leaf, _)| leaf))
    }
}

/// A full look found nothing wrong with what was wrong a moment ago.
fn changed(index: u64) -> LedgerError {
    LedgerError::Malformed { index, why: "changed while it was read; run again".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::EntryKind;
    use super::super::check::tests::{entry, ledger};
    use super::*;

    fn noon() -> String {
        "2026-01-31T12:00:00Z".to_owned()
    }

    #[test]
    fn appending_again_adds_nothing_and_returns_the_first_leaf() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 3);
        let head = log.head().unwrap();
        let never = || -> String { unreachable!("no time is needed for what is there") };
        let again = log.append(vec![entry(2), entry(0)], &never).unwrap();
        assert_eq!([again[0].index, again[1].index], [2, 0]);
        let fresh = Ledger::open(folder.path()).unwrap();
        assert_eq!(fresh.append(vec![entry(1)], &never).unwrap()[0].index, 1);
        assert_eq!(fresh.head().unwrap(), head);
        // Twice in one call is once; another kind, cycle or candidate is another entry.
        let other = NewEntry { candidate: None, ..entry(0) };
        let revoked = NewEntry { kind: EntryKind::Revocation, ..entry(0) };
        let later = NewEntry { cycle: "autumn".parse().unwrap(), ..entry(0) };
        let leaves = fresh.append(vec![other.clone(), revoked, later, other], &noon).unwrap();
        assert_eq!(leaves.iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [3, 4, 5, 3]);
        assert_eq!(log.find_record(entry(0).record).unwrap().len(), 4);
        assert_eq!(log.find_record(Sha256::of(b"none")).unwrap(), []);
        assert_eq!(
            log.iter().unwrap().map(|leaf| leaf.unwrap().index).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5]
        );
    }

    #[test]
    fn one_record_cannot_mean_two_things() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 3);
        let changed = NewEntry { subject: None, ..entry(1) };
        let error = log.append(vec![changed], &noon).unwrap_err();
        assert!(matches!(error, LedgerError::Conflict { index: 1 }), "{error}");
        assert_eq!(log.check(None).unwrap().head.size, 3);
    }

    #[test]
    fn a_bad_entry_stops_the_whole_batch() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 1);
        let bad = NewEntry { predicate_type: "x".repeat(513), ..entry(2) };
        let error = log.append(vec![entry(1), bad], &noon).unwrap_err();
        assert!(matches!(error, LedgerError::Malformed { index: 2, .. }), "{error}");
        let error = log.append(vec![entry(1)], &|| "yesterday".to_owned()).unwrap_err();
        assert!(error.to_string().contains("RFC 3339"), "{error}");
        assert_eq!(log.check(None).unwrap().head.size, 1);
    }

    #[test]
    fn an_empty_ledger_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let log = Ledger::open(folder.path().join("none")).unwrap();
        assert_eq!(log.head().unwrap(), Head::empty(DEFAULT_ORIGIN));
        assert_eq!(log.iter().unwrap().count(), 0);
        assert_eq!(log.check(None).unwrap().head.size, 0);
        assert_eq!(log.append(Vec::new(), &noon).unwrap(), []);
        assert!(Ledger::open_as(folder.path(), "two words").is_err());
    }

    #[test]
    fn the_origin_asked_for_is_the_origin_found() {
        let folder = tempfile::tempdir().unwrap();
        let log = Ledger::open_as(folder.path(), "example.org/a").unwrap();
        log.append(vec![entry(0)], &noon).unwrap();
        assert_eq!(Ledger::open(folder.path()).unwrap().head().unwrap().origin, "example.org/a");
        let error = Ledger::open_as(folder.path(), "example.org/b").unwrap_err();
        assert!(matches!(error, LedgerError::Origin { .. }), "{error}");
    }

    /// The state after a crash anywhere between the first entry byte and the head.
    #[test]
    fn what_an_interrupted_append_left_is_cut_off_by_the_next() {
        for before in [0, 3, 255, 256] {
            let undisturbed = tempfile::tempdir().unwrap();
            let log = ledger(undisturbed.path(), before);
            let old_head = log.head().unwrap();
            log.append((before..before + 300).map(entry).collect(), &noon).unwrap();
            let bundles =
                || (0..).map(|n| bundle::path(undisturbed.path(), n)).take_while(|path| path.exists());
            for keep_bundles in 1..=bundles().count() {
                for cut in [0, 1, 500, usize::MAX] {
                    let folder = tempfile::tempdir().unwrap();
                    std::fs::create_dir(folder.path().join("entries")).unwrap();
                    std::fs::write(folder.path().join("head"), old_head.to_bytes()).unwrap();
                    for (number, from) in bundles().take(keep_bundles).enumerate() {
                        let mut bytes = std::fs::read(from).unwrap();
                        let least = Bundle { bytes: bytes.clone() }
                            .end_of((before as u64).saturating_sub(number as u64 * BUNDLE).min(BUNDLE))
                            .unwrap();
                        if number + 1 == keep_bundles {
                            bytes.truncate(cut.saturating_add(least));
                        }
                        std::fs::write(bundle::path(folder.path(), number as u64), bytes).unwrap();
                    }
                    let hurt = Ledger::open(folder.path()).unwrap();
                    if keep_bundles as u64 > old_head.size / BUNDLE {
                        assert_eq!(hurt.check(None).unwrap().head, old_head);
                    } else {
                        continue;
                    }
                    hurt.append((before..before + 300).map(entry).collect(), &noon).unwrap();
                    assert_eq!(hurt.check(None).unwrap().unfinished_bytes, 0);
                    assert_eq!(hurt.head().unwrap(), log.head().unwrap());
                    for (number, path) in bundles().enumerate() {
                        let again = std::fs::read(bundle::path(folder.path(), number as u64)).unwrap();
                        assert!(again == std::fs::read(path).unwrap(), "same bytes as an undisturbed run");
                    }
                }
            }
        }
    }

    #[test]
    fn a_shorter_append_removes_the_bundles_of_a_longer_interrupted_one() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 2);
        let head = log.head().unwrap();
        log.append((2..700).map(entry).collect(), &noon).unwrap();
        std::fs::write(folder.path().join("head"), head.to_bytes()).unwrap();
        let fresh = Ledger::open(folder.path()).unwrap();
        assert!(fresh.check(None).unwrap().unfinished_bytes > 100_000);
        fresh.append(vec![entry(2)], &noon).unwrap();
        assert_eq!(fresh.check(None).unwrap().unfinished_bytes, 0);
        assert!(!bundle::path(folder.path(), 1).exists() && !bundle::path(folder.path(), 2).exists());
        // The one that saw the longer log does not take the shorter one for its own.
        let error = log.append(vec![entry(900)], &noon).unwrap_err();
        assert!(matches!(error, LedgerError::RolledBack { remembered: 700, found: 3 }), "{error}");
    }

    #[test]
    fn a_lost_head_stops_everything() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 2);
        std::fs::remove_file(folder.path().join("head")).unwrap();
        assert!(matches!(log.check(None), Err(LedgerError::HeadMissing { .. })));
        assert!(matches!(Ledger::open(folder.path()), Err(LedgerError::HeadMissing { .. })));
        assert!(matches!(log.append(vec![entry(5)], &noon), Err(LedgerError::HeadMissing { .. })));
    }

    #[test]
    fn a_writer_with_a_memory_does_not_extend_an_older_log() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("log");
        let memory = || Memory::at(folder.path().join("heads"));
        let log = Ledger::open(&place).unwrap().remembering(memory());
        log.append((0..5).map(entry).collect(), &noon).unwrap();
        let old = std::fs::read(place.join("head")).unwrap();
        log.append((5..9).map(entry).collect(), &noon).unwrap();
        std::fs::write(place.join("head"), old).unwrap();
        let fresh = Ledger::open(&place).unwrap().remembering(memory());
        let error = fresh.append(vec![entry(20)], &noon).unwrap_err();
        assert!(matches!(error, LedgerError::RolledBack { remembered: 9, found: 5 }), "{error}");
        // The entries are still there, for whoever puts the head back.
        let bundle = Bundle::read(&place, 0).unwrap().unwrap();
        assert_eq!(bundle.lines().count(), 9);

        std::fs::remove_dir_all(&place).unwrap();
        ledger(&place, 0).append((1..30).map(entry).collect(), &noon).unwrap();
        let fresh = Ledger::open(&place).unwrap().remembering(memory());
        let error = fresh.append(vec![entry(50)], &noon).unwrap_err();
        assert!(matches!(error, LedgerError::Replaced { index: 8, .. }), "{error}");
    }

    #[test]
    fn threads_with_their_own_handles_share_one_log() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let place = folder.path();
                scope.spawn(move || {
                    let log = Ledger::open(place).unwrap();
                    for number in 0..10 {
                        // Half of what each appends is appended by every other, too.
                        let own = entry(1000 * (thread + 1) + number);
                        let leaves = log.append(vec![entry(number), own], &noon).unwrap();
                        assert_eq!(leaves.len(), 2);
                    }
                });
            }
        });
        assert_eq!(Ledger::open(folder.path()).unwrap().check(None).unwrap().head.size, 50);
    }

    const CHILD: &str = "STUDBOOK_TEST_LEDGER";

    /// Not a test of its own: what the processes started by the tests below do.
    #[test]
    #[ignore = "run by other tests in a process of its own"]
    fn child_process() {
        let Ok(value) = std::env::var(CHILD) else { return };
        let (first, place) = value.split_once(':').unwrap();
        let first: usize = first.parse().unwrap();
        let log = Ledger::open(place).unwrap();
        for number in first..first + 10 {
            log.append(vec![entry(number)], &noon).unwrap();
        }
    }

    fn child(place: &Path, first: usize, fault: Option<&str>) -> std::process::Child {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "ledger::log::tests::child_process", "--ignored", "--quiet"]);
        command.env(CHILD, format!("{first}:{}", place.display()));
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        match fault {
            Some(fault) => command.env("STUDBOOK_FAULT", fault),
            None => command.env_remove("STUDBOOK_FAULT"),
        };
        command.spawn().unwrap()
    }

    #[test]
    fn processes_share_one_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = [0, 5, 100].map(|first| child(folder.path(), first, None));
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        // 0..10 and 5..15 overlap by five.
        assert_eq!(Ledger::open(folder.path()).unwrap().check(None).unwrap().head.size, 25);
    }

    #[test]
    fn killed_at_any_fault_point_it_ends_with_the_same_bytes() {
        let undisturbed = tempfile::tempdir().unwrap();
        assert!(child(undisturbed.path(), 0, None).wait().unwrap().success());
        let files = |place: &Path| {
            [bundle::path(place, 0), place.join("head")].map(|path| std::fs::read(path).unwrap())
        };
        for point in ["ledger-entry-written", "ledger-head-written", "file-written", "file-renamed"] {
            for (time, how) in [(1, "kill"), (4, "kill"), (1, "full"), (4, "full")] {
                let folder = tempfile::tempdir().unwrap();
                let fault = format!("{point}:{time}:{how}");
                assert!(!child(folder.path(), 0, Some(&fault)).wait().unwrap().success(), "{fault}");
                Ledger::open(folder.path()).unwrap().check(None).unwrap();
                assert!(child(folder.path(), 0, None).wait().unwrap().success());
                assert!(files(folder.path()) == files(undisturbed.path()), "{fault}");
            }
        }
    }
}
