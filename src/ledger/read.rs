//! Reading leaves in order, and proving that they are in the log.

use std::path::Path;

use rayon::prelude::*;

use super::bundle::{self, Found};
use super::checkpoint::Head;
use super::proof::{Consistency, Proof};
use super::tiles::{Row, TILE, TileFile, TileReader, files_of};
use super::tree::{leaf_hash, prove_consistency, prove_inclusion, root};
use super::{Ledger, LedgerError, check};
use crate::base::digest::Sha256;

/// Leaves `from..size`, each where it says it is and chained to the one before; `last` is the digest
/// of leaf `from - 1`.
pub(super) fn leaves(folder: &Path, size: u64, from: u64, last: Sha256) -> Result<Vec<Found>, LedgerError> {
    let files: Vec<TileFile> = files_of(Row::Entries, from, size).collect();
    let bundles: Vec<Vec<Found>> =
        files.par_iter().map(|file| bundle::read(folder, file)).collect::<Result<_, _>>()?;
    let mut leaves = Vec::with_capacity((size - from) as usize);
    let (mut index, mut prev) = (from, last);
    for (file, bundle) in files.iter().zip(bundles) {
        let start = from.saturating_sub(file.number * TILE) as usize;
        let wanted = bundle.into_iter().take(file.width as usize).skip(start);
        for found in wanted {
            if found.leaf.index != index || found.leaf.prev != prev {
                return Err(LedgerError::Malformed { index, why: "is not the one that follows".to_owned() });
            }
            (index, prev) = (index + 1, found.hash);
            leaves.push(found);
        }
    }
    if index == size { Ok(leaves) } else { Err(LedgerError::Truncated { size, found: index }) }
}

impl Ledger {
    /// The proof that entry `index` is in the log that the checkpoint is over. It is made from a few
    /// tiles, without reading the log, and checked before it is given out.
    ///
    /// # Errors
    ///
    /// [`LedgerError::BeyondEnd`] if there is no such entry, as [`Self::refuse_led_back`], and if a tile cannot be
    /// read or does not hold.
    pub fn prove(&self, index: u64) -> Result<Proof, LedgerError> {
        self.refuse_led_back()?;
        let (head, checkpoint) = self.checkpoint()?;
        if index >= head.size {
            return Err(LedgerError::BeyondEnd { index, size: head.size });
        }
        let file = files_of(Row::Entries, index, head.size).next();
        let file = file.ok_or(LedgerError::BeyondEnd { index, size: head.size })?;
        let mut bundle = bundle::read_bytes(&self.folder, &file)?;
        let entry = bundle.swap_remove((index % TILE) as usize);
        let tiles = TileReader::new(&self.folder, head.size);
        let path = prove_inclusion(&tiles, index, head.size)?;
        let proof = Proof { entry, index, path, checkpoint };
        proof.holds_for(&head, leaf_hash(&proof.entry))?;
        Ok(proof)
    }

    /// Refuses a log that is older or other than the one remembered, without reading it: sizes and a few tiles
    /// tell.
    ///
    /// # Errors
    ///
    /// [`LedgerError::RolledBack`] or [`LedgerError::Replaced`] if it is; else if log or memory cannot be read.
    pub fn refuse_led_back(&self) -> Result<(), LedgerError> {
        match self.remembered()? {
            Some(remembered) if remembered != self.head()? => self.prove_extends(&remembered).map(drop),
            _ => Ok(()),
        }
    }

    /// The proof that the log of now extends an earlier head.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Origin`], [`LedgerError::RolledBack`] or [`LedgerError::Replaced`] if it does not extend it;
    /// else if a tile cannot be read.
    pub fn prove_extends(&self, old: &Head) -> Result<Consistency, LedgerError> {
        let (head, checkpoint) = self.checkpoint()?;
        if old.origin != head.origin {
            return Err(LedgerError::Origin { expected: old.origin.clone(), found: head.origin });
        }
        if old.size > head.size {
            return Err(LedgerError::RolledBack { remembered: old.size, found: head.size });
        }
        let tiles = TileReader::new(&self.folder, head.size);
        let path = prove_consistency(&tiles, old.size, head.size)?;
        let proof = Consistency { path, checkpoint };
        if proof.holds_between(old, &head) {
            return Ok(proof);
        }
        Err(LedgerError::Replaced { size: old.size, expected: old.root, found: root(&tiles, old.size)? })
    }

    /// Whether a proof that holds in itself is of this log, and by a key that still counted then: two logs may
    /// have one name and one key.
    ///
    /// # Errors
    ///
    /// [`LedgerError::BadProof`] if it is of another log; if its key was revoked before it, and as
    /// [`Self::prove_extends`].
    pub fn confirm(&self, proof: &Proof) -> Result<(), LedgerError> {
        let bad = |why: String| LedgerError::BadProof { why };
        let head = Head::from_text(&proof.checkpoint.text)
            .map_err(|why| bad(format!("has a checkpoint that {why}")))?;
        let here = self.folder.display();
        self.prove_extends(&head).map_err(|error| match error {
            LedgerError::RolledBack { remembered, found } => bad(format!(
                "is of a log of {remembered} entries, the ledger {here} has {found}: it is of another log, or this copy is an older one"
            )),
            LedgerError::Replaced { size, expected, found } => bad(format!(
                "is of another log than the ledger {here}: its {size} entries have the root {expected}, the first {size} here have {found}"
            )),
            other => other,
        })?;
        self.demand_standing_key(&head, &proof.checkpoint, &check::revoked(&self.leaves()?))
    }
}
