//! Nothing is signed with a key that was taken back.

use super::{PedigreeError, Revoked};
use crate::base::digest::Sha256;
use crate::store::Store;
use crate::trust::Role;

/// Whose keys a run signs with. A registry's own stage asks for its keys itself.
const SIGNERS: [Role; 4] = [Role::Producer, Role::Evaluator, Role::Promoter, Role::Log];

/// Refuses a folder of keys in which a key that a run would sign with was revoked: what it signed would be
/// worth nothing, and would look as if it were.
///
/// # Errors
///
/// If there is one, or keys or ledger cannot be read.
pub fn refuse_revoked_keys(store: &Store) -> Result<(), PedigreeError> {
    SIGNERS.into_iter().try_for_each(|role| refuse_revoked_key(store, role))
}

/// The same of one role.
///
/// # Errors
///
/// As [`refuse_revoked_keys`].
pub fn refuse_revoked_key(store: &Store, role: Role) -> Result<(), PedigreeError> {
    let Some(key) = store.custody().signer(role)? else { return Ok(()) };
    refuse_revoked(store, role, key.public().id())
}

/// The same of a key that is at hand.
///
/// # Errors
///
/// As [`refuse_revoked_keys`].
pub fn refuse_revoked(store: &Store, role: Role, key: Sha256) -> Result<(), PedigreeError> {
    match Revoked::of(&store.ledger()?)?.subjects.get(&key) {
        Some(entry) => Err(PedigreeError::RevokedKey { role, key, entry: *entry }),
        None => Ok(()),
    }
}

/// Whether somebody can sign for a role with a key that still counts.
pub(super) fn is_replaced(store: &Store, revoked: &Revoked, role: Role) -> bool {
    let signer = store.custody().signer(role).ok().flatten();
    signer.is_some_and(|key| !revoked.subjects.contains_key(&key.public().id()))
}
