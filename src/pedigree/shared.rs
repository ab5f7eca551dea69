//! The pedigree of an open store, read once for all stages of a run that ask for it.
//!
//! Reading every record at every stage would make a run quadratic in its candidates. What this process writes
//! and uses comes to it as it is met; what others write meanwhile is read when the ledger says something new.

use std::sync::{Mutex, PoisonError};

use super::{Pedigree, PedigreeError};
use crate::base::digest::{Digest, Sha256};
use crate::store::Store;

struct Shared {
    /// Of which opening, and how many of its records were taken in.
    opening: u64,
    met: usize,
    /// Those of them that could not be read: a run makes them again.
    missed: Vec<Digest>,
    /// What the ledger was then.
    root: Sha256,
    pedigree: Pedigree,
}

static SHARED: Mutex<Option<Shared>> = Mutex::new(None);

/// What `ask` says of the store's pedigree.
///
/// # Errors
///
/// If the store or its ledger cannot be read.
pub fn shared<T>(store: &Store, ask: impl FnOnce(&Pedigree) -> T) -> Result<T, PedigreeError> {
    let (opening, root) = (store.opening(), store.ledger()?.head()?.root);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = shared.take().filter(|known| (known.opening, known.root) == (opening, root));
    let mut known = match known {
        Some(known) => known,
        // Those met before are read twice rather than one of them not at all.
        None => Shared { opening, met: 0, missed: Vec::new(), root, pedigree: Pedigree::load(store)? },
    };
    let met = store.met_since(known.met);
    known.met += met.len();
    for record in std::mem::take(&mut known.missed).into_iter().chain(met) {
        match store.read(&record) {
            Ok(bytes) => known.pedigree.take(&bytes),
            Err(_) => known.missed.push(record),
        }
    }
    let answer = ask(&known.pedigree);
    *shared = Some(known);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::ActionKey;
    use crate::record;
    use crate::record::admission::AdmissionRecord;
    use crate::store::{ActionResult, Verdict};

    fn key(name: &str) -> ActionKey {
        ActionKey::from_bytes(*Sha256::of(name.as_bytes()).as_bytes())
    }

    /// Records that somebody was admitted.
    fn admit(store: &Store, name: &str) {
        let admission = AdmissionRecord {
            cycle: "spring".parse().unwrap(),
            candidate: name.parse().unwrap(),
            manifest: Some(Sha256::of(name.as_bytes())),
            promotion: Sha256::of(b"promotion"),
            admitted: true,
            reasons: Vec::new(),
            claims: None,
        };
        let blob = store.put(&record::to_bytes(&admission).unwrap()).unwrap();
        let outputs = [("record".to_owned(), blob)].into();
        let result = ActionResult { outputs, verdict: Verdict::Pass, summary: String::new() };
        store.record_action(&key(name), &result).unwrap();
    }

    #[test]
    fn what_is_made_again_is_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        admit(&store, "a");
        let record = *store.met_since(0).first().unwrap();
        let (path, known) =
            (store.object_path(&record), || shared(&store, |all| all.admissions.len()).unwrap());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(known(), 0);
        assert_eq!(store.put(&bytes).unwrap().digest, record);
        assert_eq!(known(), 1);
    }

    #[test]
    fn what_is_written_is_known_and_another_opening_knows_nothing_less() {
        let folder = tempfile::tempdir().unwrap();
        let known = |store: &Store| shared(store, |pedigree| pedigree.admissions.len()).unwrap();
        let store = Store::create(folder.path()).unwrap();
        assert_eq!(known(&store), 0);
        admit(&store, "a");
        admit(&store, "b");
        assert_eq!(known(&store), 2);
        let other = Store::open(folder.path()).unwrap();
        assert_eq!(known(&other), 2);
        // What another process writes is met when it is used.
        admit(&store, "c");
        assert!(other.lookup(&key("c")).unwrap().is_some());
        assert_eq!(known(&other), 3);
    }
}
