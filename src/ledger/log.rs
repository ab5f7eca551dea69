//! Opening, appending, reading.
//!
//! One writer at a time holds the lock; readers need none, because a checkpoint only ever counts
//! leaves that were on the disk before it. Before a writer adds to a log it has read and checked all
//! of it once: nobody puts a good entry on top of a broken one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::bundle::Found;
use super::check::{self, CheckReport};
use super::checkpoint::{CHECKPOINT_FILE, DEFAULT_ORIGIN, Head, validate_origin};
use super::leaf::{Leaf, NO_LEAF, NewEntry};
use super::note::{Note, NoteKey, NoteKind};
use super::tree::{Tree, leaf_hash};
use super::{LedgerError, Memory, read, write};
use crate::base::digest::Sha256;
use crate::disk::lock::Lock;
use crate::disk::{IoContext, atomic};
use crate::trust::{PublicKey, SecretKey};

/// A ledger in a folder.
#[derive(Debug)]
pub struct Ledger {
    pub(super) folder: PathBuf,
    /// The origin demanded of the checkpoint; none accepts what is there.
    origin: Option<String>,
    memory: Option<Memory>,
    signer: Option<SecretKey>,
    /// Keys of which one must have signed the checkpoint; none at all accepts an unsigned one.
    trusted: Vec<PublicKey>,
    known: Mutex<Known>,
}

/// What has been read and checked so far.
#[derive(Debug, Default)]
struct Known {
    leaves: Vec<Leaf>,
    tree: Tree,
    /// SHA-256 of the last leaf; none at the beginning.
    last: Option<Sha256>,
    by_record: HashMap<Sha256, Vec<usize>>,
}

impl Known {
    /// Knows a leaf that is in the tree.
    fn note(&mut self, found: Found) {
        self.by_record.entry(found.leaf.record).or_default().push(self.leaves.len());
        self.leaves.push(found.leaf);
        self.last = Some(found.hash);
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
            return Err(LedgerError::BadHead { path: folder.join(CHECKPOINT_FILE), why });
        }
        Self::open_with(folder, Some(origin.to_owned()))
    }

    fn open_with(folder: PathBuf, origin: Option<String>) -> Result<Self, LedgerError> {
        let known = Mutex::default();
        let ledger = Self { folder, origin, memory: None, signer: None, trusted: Vec::new(), known };
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

    /// From now on every checkpoint written is signed with this key.
    #[must_use]
    pub fn signing(mut self, key: SecretKey) -> Self {
        self.signer = Some(key);
        self
    }

    /// From now on every checkpoint read must be signed by one of these keys; none at all demands
    /// nothing.
    #[must_use]
    pub fn trusting(mut self, keys: Vec<PublicKey>) -> Self {
        self.trusted = keys;
        self
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The text of the checkpoint on the disk now.
    pub fn head(&self) -> Result<Head, LedgerError> {
        self.checkpoint().map(|(head, _)| head)
    }

    /// The checkpoint on the disk now, its signature checked if one is demanded.
    pub fn checkpoint(&self) -> Result<(Head, Note), LedgerError> {
        let Some((head, note)) = self.read_checkpoint()? else {
            let head = Head::empty(self.origin.as_deref().unwrap_or(DEFAULT_ORIGIN));
            let note = Note::unsigned(head.to_text());
            return Ok((head, note));
        };
        match &self.origin {
            Some(expected) if *expected != head.origin => {
                return Err(LedgerError::Origin { expected: expected.clone(), found: head.origin });
            }
            _ => {}
        }
        self.demand_signature(&head, &note)?;
        Ok((head, note))
    }

    fn demand_signature(&self, head: &Head, note: &Note) -> Result<(), LedgerError> {
        let mut signed = self.trusted.is_empty();
        for key in &self.trusted {
            signed |= log_key(head, key).signed(note)?;
        }
        if signed { Ok(()) } else { Err(LedgerError::Unsigned { size: head.size }) }
    }

    /// A checkpoint is written before the first entry, so entries without one have lost theirs.
    fn read_checkpoint(&self) -> Result<Option<(Head, Note)>, LedgerError> {
        let path = self.folder.join(CHECKPOINT_FILE);
        let read = Head::read(&path)?;
        if read.is_none() && self.folder.join("tile").exists() {
            // Unless it was renamed into place just between the two looks.
            return match Head::read(&path)? {
                None => Err(LedgerError::HeadMissing { path: self.folder.clone() }),
                some => Ok(some),
            };
        }
        Ok(read)
    }

    /// Re-reads everything. `remembered` is the last head accepted, if any; [`Memory::check`] keeps
    /// one and passes it here.
    pub fn check(&self, remembered: Option<&Head>) -> Result<CheckReport, LedgerError> {
        let (head, note) = self.checkpoint()?;
        let mut report = match check::check(&self.folder, &head, remembered) {
            // A writer takes away partial files once there are full ones: look again at what is now.
            Err(LedgerError::TileMissing { .. }) if self.head()? != head => return self.check(remembered),
            other => other?,
        };
        report.signed = !self.trusted.is_empty();
        report.signatures = note.signatures.into_iter().map(|line| line.name).collect();
        Ok(report)
    }

    /// Every leaf the checkpoint counts now, in order.
    pub fn leaves(&self) -> Result<Vec<Leaf>, LedgerError> {
        let mut known = self.known();
        self.catch_up(&mut known, &self.head()?)?;
        Ok(known.leaves.clone())
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
        let _held = self.lock()?;
        let (head, note) = self.checkpoint()?;
        if let Some(memory) = &self.memory {
            self.refuse_older_than(memory, &mut known, &head)?;
        }
        self.catch_up(&mut known, &head)?;
        let (answer, new) = prepare(&known, entries, now)?;
        if new.is_empty() {
            return Ok(answer);
        }
        let next = self.extend(&mut known, (&head, &note), new).inspect_err(|_| {
            known.tree.truncate(head.size);
        })?;
        if let Some(memory) = &self.memory {
            memory.remember(&next)?;
        }
        Ok(answer)
    }

    /// Writes new leaves behind those the checkpoint counts, and counts them. The tree in memory is
    /// longer by them even if that fails.
    fn extend(
        &self,
        known: &mut Known,
        (head, note): (&Head, &Note),
        new: Vec<(Leaf, Vec<u8>)>,
    ) -> Result<Head, LedgerError> {
        let (mut found, mut bytes) = (Vec::with_capacity(new.len()), Vec::with_capacity(new.len()));
        for (leaf, leaf_bytes) in new {
            let tree_hash = leaf_hash(&leaf_bytes);
            known.tree.push(tree_hash);
            found.push(Found { leaf, hash: Sha256::of(&leaf_bytes), tree_hash });
            bytes.push(leaf_bytes);
        }
        let next = Head { origin: head.origin.clone(), size: known.tree.size(), root: known.tree.root() };
        if head.size == 0 {
            // The checkpoint comes first once: from then on entries without one are an error.
            self.commit(head)?;
        }
        write::entries_and_tiles(&self.folder, head.size, &bytes, &known.tree)?;
        let (found_head, found_note) = self.checkpoint()?;
        if found_head != *head || (head.size > 0 && found_note != *note) {
            return Err(LedgerError::HeadMoved { expected: head.size, found: found_head.size });
        }
        self.commit(&next)?;
        write::remove_superseded(&self.folder, head.size, next.size)?;
        found.into_iter().for_each(|found| known.note(found));
        Ok(next)
    }

    /// Makes `head` the checkpoint, signed if there is a key.
    fn commit(&self, head: &Head) -> Result<(), LedgerError> {
        let mut note = Note::unsigned(head.to_text());
        if let Some(key) = &self.signer {
            note.sign(&head.origin, key);
        }
        write::checkpoint(&self.folder, &note)
    }

    /// Adds signatures to the checkpoint that is there now, after checking everything it counts:
    /// `change` gets the note.
    pub fn endorse(
        &self,
        remembered: Option<&Head>,
        change: &dyn Fn(&Head, &mut Note),
    ) -> Result<(CheckReport, Note), LedgerError> {
        let _held = self.lock()?;
        let report = self.check(remembered)?;
        let (head, mut note) = self.checkpoint()?;
        if head != report.head {
            return Err(LedgerError::HeadMoved { expected: report.head.size, found: head.size });
        }
        change(&head, &mut note);
        write::checkpoint(&self.folder, &note)?;
        Ok((report, note))
    }

    fn lock(&self) -> Result<Lock, LedgerError> {
        std::fs::create_dir_all(&self.folder).at("create the folder", &self.folder)?;
        let held = Lock::exclusive(&self.folder.join("lock"))?;
        atomic::remove_leftovers(&self.folder)?;
        Ok(held)
    }

    /// A head older than the one remembered would make the writer cut off good entries.
    fn refuse_older_than(&self, memory: &Memory, known: &mut Known, head: &Head) -> Result<(), LedgerError> {
        let Some(remembered) = memory.recall(&head.origin)? else { return Ok(()) };
        if head.size < remembered.size {
            return Err(LedgerError::RolledBack { remembered: remembered.size, found: head.size });
        }
        self.catch_up(known, head)?;
        let found = known.tree.root_at(remembered.size);
        if found == remembered.root {
            Ok(())
        } else {
            Err(LedgerError::Replaced { size: remembered.size, expected: remembered.root, found })
        }
    }

    /// Reads and checks what was added since the last look.
    fn catch_up(&self, known: &mut Known, head: &Head) -> Result<(), LedgerError> {
        let size = known.leaves.len() as u64;
        if head.size < size {
            return Err(LedgerError::RolledBack { remembered: size, found: head.size });
        }
        if head.size == size && known.tree.root() == head.root {
            return Ok(());
        }
        let new = read::leaves(&self.folder, head.size, size, known.last.unwrap_or(NO_LEAF));
        let seen = Head { origin: head.origin.clone(), size, root: known.tree.root() };
        if let Ok(new) = &new {
            // The root is over all of it: what was read before must still be what the log begins with.
            new.iter().for_each(|found| known.tree.push(found.tree_hash));
            if known.tree.root() == head.root {
                new.iter().for_each(|found| known.note(found.clone()));
                return Ok(());
            }
        }
        let found = known.tree.root();
        known.tree.truncate(size);
        // Something was done to it; a full look says what.
        check::check(&self.folder, head, (size > 0).then_some(&seen))?;
        Err(new.err().unwrap_or(LedgerError::RootDisagrees { size: head.size, expected: head.root, found }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is known grows by whole leaves only; a panic elsewhere leaves it valid.
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// How a log's key signs its checkpoints: under the log's own origin.
pub(super) fn log_key(head: &Head, public: &PublicKey) -> NoteKey {
    NoteKey { name: head.origin.clone(), kind: NoteKind::Signature, public: public.clone() }
}

type Prepared = (Vec<Leaf>, Vec<(Leaf, Vec<u8>)>);

/// The leaf of every entry, and those that are new with their bytes.
fn prepare(known: &Known, entries: Vec<NewEntry>, now: &dyn Fn() -> String) -> Result<Prepared, LedgerError> {
    let mut time = None;
    let mut new: Vec<(Leaf, Vec<u8>)> = Vec::new();
    let mut new_by_record: HashMap<Sha256, Vec<usize>> = HashMap::new();
    let mut last = known.last.unwrap_or(NO_LEAF);
    let mut answer = Vec::with_capacity(entries.len());
    for entry in entries {
        let here = new_by_record.get(&entry.record).into_iter().flatten().map(|at| &new[*at].0);
        let same = |leaf: &&Leaf| leaf.is_same_as(&entry);
        if let Some(leaf) = known.with_record(entry.record).chain(here).find(same) {
            if leaf.subject != entry.subject || leaf.predicate_type != entry.predicate_type {
                return Err(LedgerError::Conflict { index: leaf.index });
            }
            answer.push(leaf.clone());
            continue;
        }
        let index = (known.leaves.len() + new.len()) as u64;
        let time = time.get_or_insert_with(now).clone();
        let malformed = |why| LedgerError::Malformed { index, why };
        let leaf = Leaf::new(entry, index, last, time).map_err(malformed)?;
        let plan = leaf.registration.and_then(|at| {
            let at = at as usize;
            known.leaves.get(at).or_else(|| Some(&new.get(at.checked_sub(known.leaves.len())?)?.0))
        });
        check::registered(&leaf, plan.map(|plan| (plan.kind, &plan.cycle)))?;
        let bytes = leaf.to_bytes().map_err(malformed)?;
        last = Sha256::of(&bytes);
        answer.push(leaf.clone());
        new_by_record.entry(leaf.record).or_default().push(new.len());
        new.push((leaf, bytes));
    }
    Ok((answer, new))
}

#[cfg(test)]
mod tests {
    use super::super::EntryKind;
    use super::super::check::tests::{entry, ledger, noon};
    use super::*;
    use std::collections::BTreeMap;

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
        let revoked = NewEntry { kind: EntryKind::Rollback, ..entry(0) };
        let later = NewEntry { cycle: "autumn".parse().unwrap(), ..entry(0) };
        let leaves = fresh.append(vec![other.clone(), revoked, later, other], &noon).unwrap();
        assert_eq!(leaves.iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [3, 4, 5, 3]);
        assert_eq!(log.find_record(entry(0).record).unwrap().len(), 4);
        assert_eq!(log.find_record(Sha256::of(b"none")).unwrap(), []);
        assert_eq!(
            log.leaves().unwrap().iter().map(|leaf| leaf.index).collect::<Vec<_>>(),
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
        assert_eq!(log.leaves().unwrap(), []);
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

    /// The states after a crash between the first entry byte and the checkpoint: some of the new files,
    /// the last of them cut.
    #[test]
    fn what_an_interrupted_append_left_is_taken_away_by_the_next() {
        for before in [0, 3, 255, 256] {
            let undisturbed = tempfile::tempdir().unwrap();
            let log = ledger(undisturbed.path(), before);
            let old = snapshot(undisturbed.path());
            let old_head = log.head().unwrap();
            log.append((before..before + 300).map(entry).collect(), &noon).unwrap();
            let new = snapshot(undisturbed.path());
            let is_new = |path: &PathBuf| !old.contains_key(path) && !path.ends_with(CHECKPOINT_FILE);
            let added: Vec<_> = new.iter().filter(|(path, _)| is_new(path)).collect();
            for keep in 1..=added.len() {
                for cut in [0, 1, 500, usize::MAX] {
                    let folder = tempfile::tempdir().unwrap();
                    put(folder.path(), &old);
                    if before == 0 {
                        let note = Note::unsigned(old_head.to_text()).to_text();
                        std::fs::write(folder.path().join(CHECKPOINT_FILE), note).unwrap();
                    }
                    for (at, (path, bytes)) in added.iter().take(keep).enumerate() {
                        let end = if at + 1 == keep { cut.min(bytes.len()) } else { bytes.len() };
                        put(folder.path(), &BTreeMap::from([((*path).clone(), bytes[..end].to_vec())]));
                    }
                    let hurt = Ledger::open(folder.path()).unwrap();
                    let report = hurt.check(None).unwrap();
                    assert_eq!((report.head, report.unfinished_files), (old_head.clone(), keep as u64));
                    hurt.append((before..before + 300).map(entry).collect(), &noon).unwrap();
                    assert_eq!(hurt.check(None).unwrap().unfinished_files, 0);
                    assert!(snapshot(folder.path()) == new, "same bytes as an undisturbed run");
                }
            }
        }
    }

    /// Every file of a ledger but the lock.
    fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(at) = folders.pop() {
            for entry in std::fs::read_dir(at).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("lock") {
                    let name = path.strip_prefix(folder).unwrap().to_owned();
                    files.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
        files
    }

    fn put(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
        for (path, bytes) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    #[test]
    fn a_shorter_append_removes_the_files_of_a_longer_interrupted_one() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 2);
        let old = snapshot(folder.path());
        log.append((2..700).map(entry).collect(), &noon).unwrap();
        put(folder.path(), &old);
        let fresh = Ledger::open(folder.path()).unwrap();
        assert!(fresh.check(None).unwrap().unfinished_files >= 6);
        fresh.append(vec![entry(2)], &noon).unwrap();
        assert_eq!(fresh.check(None).unwrap().unfinished_files, 0);
        assert!(!folder.path().join("tile/entries/000").exists());
        // The one that saw the longer log does not take the shorter one for its own.
        let error = log.append(vec![entry(900)], &noon).unwrap_err();
        assert!(matches!(error, LedgerError::RolledBack { remembered: 700, found: 3 }), "{error}");
    }

    #[test]
    fn a_checkpoint_is_signed_where_there_is_a_key_and_must_be_where_one_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let key = || SecretKey::from_seed(&[1; 32]);
        ledger(folder.path(), 2);
        let strict = || Ledger::open(folder.path()).unwrap().trusting(vec![key().public()]);
        for error in [
            strict().check(None).unwrap_err(),
            strict().leaves().unwrap_err(),
            strict().signing(key()).append(vec![entry(5)], &noon).unwrap_err(),
        ] {
            assert!(matches!(error, LedgerError::Unsigned { size: 2 }), "{error}");
        }
        // Somebody looks, and signs what they found.
        let sign = |head: &Head, note: &mut Note| note.sign(&head.origin, &key());
        Ledger::open(folder.path()).unwrap().endorse(None, &sign).unwrap();
        let report = strict().check(None).unwrap();
        assert!(report.signed);
        assert_eq!(report.signatures, [DEFAULT_ORIGIN]);
        strict().signing(key()).append(vec![entry(5)], &noon).unwrap();
        assert!(strict().check(None).unwrap().signed);
        // Another key's signature is none, and a changed one is worse.
        let stranger =
            Ledger::open(folder.path()).unwrap().trusting(vec![SecretKey::from_seed(&[2; 32]).public()]);
        assert!(matches!(stranger.check(None), Err(LedgerError::Unsigned { .. })));
        ledger(&folder.path().join("other"), 3);
        let path = folder.path().join(CHECKPOINT_FILE);
        let signed = std::fs::read_to_string(&path).unwrap();
        let text = std::fs::read_to_string(folder.path().join("other").join(CHECKPOINT_FILE)).unwrap();
        std::fs::remove_dir_all(folder.path().join("other")).unwrap();
        let forged = format!(
            "{}{}",
            text.trim_end_matches('\n').to_owned() + "\n\n",
            signed.split_once("\n\n").unwrap().1
        );
        std::fs::write(&path, forged).unwrap();
        assert!(matches!(strict().check(None), Err(LedgerError::BadSignature { .. })));
    }

    #[test]
    fn a_lost_head_stops_everything() {
        let folder = tempfile::tempdir().unwrap();
        let log = ledger(folder.path(), 2);
        std::fs::remove_file(folder.path().join(CHECKPOINT_FILE)).unwrap();
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
        let old = std::fs::read(place.join(CHECKPOINT_FILE)).unwrap();
        log.append((5..9).map(entry).collect(), &noon).unwrap();
        std::fs::write(place.join(CHECKPOINT_FILE), old).unwrap();
        let fresh = Ledger::open(&place).unwrap().remembering(memory());
        let error = fresh.append(vec![entry(20)], &noon).unwrap_err();
        assert!(matches!(error, LedgerError::RolledBack { remembered: 9, found: 5 }), "{error}");
        // The entries are still there, for whoever puts the head back.
        assert!(place.join("tile/entries/000.p/9").exists());

        std::fs::remove_dir_all(&place).unwrap();
        ledger(&place, 0).append((1..30).map(entry).collect(), &noon).unwrap();
        let fresh = Ledger::open(&place).unwrap().remembering(memory());
        let error = fresh.append(vec![entry(50)], &noon).unwrap_err();
        assert!(matches!(error, LedgerError::Replaced { size: 9, .. }), "{error}");
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
        for point in [
            "ledger-entry-written",
            "ledger-tile-written",
            "ledger-head-written",
            "file-written",
            "file-renamed",
        ] {
            for (time, how) in [(1, "kill"), (4, "kill"), (1, "full"), (4, "full")] {
                let folder = tempfile::tempdir().unwrap();
                let fault = format!("{point}:{time}:{how}");
                assert!(!child(folder.path(), 0, Some(&fault)).wait().unwrap().success(), "{fault}");
                Ledger::open(folder.path()).unwrap().check(None).unwrap();
                assert!(child(folder.path(), 0, None).wait().unwrap().success());
                assert!(snapshot(folder.path()) == snapshot(undisturbed.path()), "{fault}");
            }
        }
    }
}
