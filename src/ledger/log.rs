//! Opening, appending, reading.
//!
//! One writer at a time holds the lock; readers need none, because a checkpoint only ever counts
//! leaves that were on the disk before it. Before a writer adds to a log it has read and checked all
//! of it once: nobody puts a good entry on top of a broken one.

use std::collections::{BTreeMap, HashMap};
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
    ///
    /// # Errors
    ///
    /// If its checkpoint cannot be read, or is none.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        Self::open_with(folder.into(), None)
    }

    /// The ledger in `folder`, which must be, or becomes, the one called `origin`.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and if `origin` cannot name a log or the folder has another one.
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

    /// From now on a log older or other than `memory` knows it is neither read nor extended, and every
    /// append is remembered there.
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
    ///
    /// # Errors
    ///
    /// As [`Self::checkpoint`].
    pub fn head(&self) -> Result<Head, LedgerError> {
        self.checkpoint().map(|(head, _)| head)
    }

    /// The checkpoint on the disk now, its signature checked if one is demanded.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is none, lacks a signature that is demanded, or is gone while the log is not.
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

    /// Refuses a checkpoint that only keys signed which entries under it take back. An earlier one was signed
    /// when they still counted.
    pub(super) fn demand_standing_key(
        &self,
        head: &Head,
        note: &Note,
        revoked: &BTreeMap<Sha256, u64>,
    ) -> Result<(), LedgerError> {
        let mut worthless = None;
        for key in &self.trusted {
            let entry = revoked.get(&key.id()).copied().filter(|entry| *entry < head.size);
            match (log_key(head, key).signed(note)?, entry) {
                (true, None) => return Ok(()),
                (true, Some(entry)) => worthless = Some((key.id(), entry)),
                (false, _) => {}
            }
        }
        match worthless {
            Some((key, entry)) => Err(LedgerError::RevokedSigner { size: head.size, key, entry }),
            None => Ok(()),
        }
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
    ///
    /// # Errors
    ///
    /// If anything in the log does not hold: a leaf, a tile, its checkpoint, its signature, or that it extends
    /// `remembered`.
    pub fn check(&self, remembered: Option<&Head>) -> Result<CheckReport, LedgerError> {
        let (head, note) = self.checkpoint()?;
        let mut report = match check::check(&self.folder, &head, remembered) {
            // A writer takes away partial files once there are full ones: look again at what is now.
            Err(LedgerError::TileMissing { .. }) if self.head()? != head => return self.check(remembered),
            other => other?,
        };
        self.demand_standing_key(&head, &note, &report.revoked)?;
        report.signed = !self.trusted.is_empty();
        report.signatures = note.signatures.into_iter().map(|line| line.name).collect();
        Ok(report)
    }

    /// Every leaf the checkpoint counts now, in order.
    ///
    /// # Errors
    ///
    /// If the log cannot be read, does not hold, or is older or other than what is remembered of it.
    pub fn leaves(&self) -> Result<Vec<Leaf>, LedgerError> {
        let mut known = self.known();
        self.accept(&mut known)?;
        Ok(known.leaves.clone())
    }

    /// The leaves that bind the record with this digest: none, one, or one of each kind.
    ///
    /// # Errors
    ///
    /// As [`Self::leaves`].
    pub fn find_record(&self, record: Sha256) -> Result<Vec<Leaf>, LedgerError> {
        Ok(self.find_records(&[record])?.remove(0))
    }

    /// Like [`Ledger::find_record`] for each of these, in the same order and in one state of the log.
    ///
    /// # Errors
    ///
    /// As [`Self::leaves`].
    pub fn find_records(&self, records: &[Sha256]) -> Result<Vec<Vec<Leaf>>, LedgerError> {
        let mut known = self.known();
        self.accept(&mut known)?;
        Ok(records.iter().map(|record| known.with_record(*record).cloned().collect()).collect())
    }

    /// Appends what is not there yet and returns the leaf of every entry, old or new, in the order
    /// given. An entry is there if its kind, cycle, candidate and record are: running a cycle again
    /// adds nothing.
    ///
    /// All new entries of one call are committed together, under one time.
    ///
    /// # Errors
    ///
    /// As [`Self::leaves`]; if an entry is no leaf, if a signed log would go on unsigned, or if it cannot be written.
    pub fn append(&self, entries: Vec<NewEntry>, now: &dyn Fn() -> String) -> Result<Vec<Leaf>, LedgerError> {
        let mut known = self.known();
        let _held = self.lock()?;
        let (head, note) = self.accept(&mut known)?;
        let (answer, new) = prepare(&known, entries, now)?;
        if new.is_empty() {
            return Ok(answer);
        }
        self.refuse_to_leave_off_signing(&head, &note)?;
        let next = self.extend(&mut known, (&head, &note), new).inspect_err(|_| {
            known.tree.truncate(head.size);
        })?;
        if let Some(memory) = &self.memory {
            memory.remember(&next)?;
        }
        Ok(answer)
    }

    /// A log that its own key signs is read by people who demand that signature: without it the next entry
    /// would be the last that they accept.
    fn refuse_to_leave_off_signing(&self, head: &Head, note: &Note) -> Result<(), LedgerError> {
        let signed = note.signatures.iter().any(|line| line.name == head.origin);
        if signed && self.signer.is_none() {
            return Err(LedgerError::NoSigner { size: head.size });
        }
        Ok(())
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
    ///
    /// # Errors
    ///
    /// As [`Self::check`], and if the log grew meanwhile or the checkpoint cannot be written.
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

    /// What is remembered of this log. A writer remembers what it has committed: whoever reads the memory
    /// first and then the checkpoint never finds that one older for a good reason.
    pub(super) fn remembered(&self) -> Result<Option<Head>, LedgerError> {
        let Some(memory) = &self.memory else { return Ok(None) };
        match &self.origin {
            Some(origin) => memory.recall(origin),
            None => memory.recall(&self.head()?.origin),
        }
    }

    /// Reads and checks what the checkpoint of now counts, of a log that is no older and no other than the one
    /// remembered: in an older one the last decisions are missing, and a writer would cut them off for good.
    fn accept(&self, known: &mut Known) -> Result<(Head, Note), LedgerError> {
        let remembered = self.remembered()?;
        let (head, note) = self.checkpoint()?;
        if let Some(remembered) = remembered.as_ref().filter(|remembered| head.size < remembered.size) {
            return Err(LedgerError::RolledBack { remembered: remembered.size, found: head.size });
        }
        self.catch_up(known, &head)?;
        match remembered.map(|remembered| (known.tree.root_at(remembered.size), remembered)) {
            Some((found, Head { size, root: expected, .. })) if found != expected => {
                Err(LedgerError::Replaced { size, expected, found })
            }
            _ => Ok((head, note)),
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
mod tests;
