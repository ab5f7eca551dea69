//! Whether two models' tokenizers are one, though their files say it in other words.
//!
//! A record has the digest of what a file says: it must come out the same whenever it is derived again, so it
//! does not depend on what is known of tokenizers. What a file means is taken of two models at hand, when they
//! are compared, and is written nowhere.

use super::vocabulary;
use crate::base::digest::Digest;
use crate::model::package::Package;

/// Whether both give every text the same ids, as far as that can be told; no if one says nothing.
pub fn give_same_ids(ours: &Package, theirs: &Package) -> bool {
    match (&ours.tokenizer, &theirs.tokenizer) {
        (Ok(ours), Ok(theirs)) => ours.digest() == theirs.digest() || ours.meaning() == theirs.meaning(),
        (Err(_), Err(_)) => of_file(ours).is_some_and(|meaning| of_file(theirs) == Some(meaning)),
        _ => false,
    }
}

/// What a `tokenizer.json` means that is not read here.
fn of_file(package: &Package) -> Option<Digest> {
    vocabulary::meaning(&package.companion("tokenizer.json")?.bytes)
}
