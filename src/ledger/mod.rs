//! The promotion ledger: what was planned, admitted, refused and taken back, in order, for good.
//!
//! Every other record can be made again from its inputs; the order of decisions cannot. So it is
//! written down once: each entry (a *leaf*) is a small canonical JSON object of digests that also
//! carries the SHA-256 of the leaf before it, and a Merkle tree (RFC 6962) stands over all leaves.
//! Nothing can be edited, swapped, dropped or inserted without changing the tree's root, and a few
//! hashes prove to anybody that an entry is in the log, or that one log extends another.
//!
//! The files are those of a C2SP tiled log, so other people's tools read them, from a disk or from any
//! static server:
//!
//! ```text
//! checkpoint               origin \n size \n base64(root) \n \n signatures      (tlog-checkpoint, signed-note)
//! tile/entries/000.p/5     5 leaves, each after its length in two bytes, most significant first
//! tile/0/000.p/5           their hashes, SHA-256(0x00 || leaf), 32 bytes each
//! tile/1/000.p/1           one hash over each 256 full ones below, SHA-256(0x01 || left || right)
//! lock                     held by the one writer
//! ```
//!
//! A signature line is `— NAME base64(id || signature)`. The log signs the text above the blank line under
//! its origin (Ed25519, `id` = first 4 bytes of SHA-256(NAME \n 0x01 key)); a witness signs
//! `cosignature/v1 \n time SECONDS \n` and the same text, with the time in 8 bytes before the signature
//! (tlog-cosignature, 0x04 in the id). Without a log key the checkpoint is unsigned, and says so by having
//! no signature line.
//!
//! A tree does not stop somebody from writing the whole log anew, or from putting back an old copy of
//! it. For that a reader remembers the last head it accepted, outside the ledger ([`Memory`]): the log
//! may only grow from there. A first look has nothing to compare with, and says so
//! ([`Trust::FirstUse`]). A witness is such a reader with a key.
//!
//! The checkpoint is the commit. Entries are written first, then tiles; all are synced; then the
//! checkpoint is renamed into place, under the lock, if the one on the disk is still the one extended. A
//! crash leaves files that no checkpoint counts; the next writer takes them away.
//!
//! Plans are entered before they run, with gates and suites, and an admission or refusal names the
//! entry of its plan (`registration`): gates cannot be chosen to fit the result.
//!
//! * [`decision`]: what was decided of a candidate, and whether it stands.
//! * [`leaf`]: one entry and its bytes. `bundle`: how leaves lie in a file.
//! * [`tree`]: hashes, proofs and how they are checked. [`tiles`]: which files a tree has.
//! * [`note`]: signed texts. [`checkpoint`]: the text that says where the log ends.
//! * [`log`]: opening and appending; `write` and `read`: its files; `files`: what else must not be there.
//! * [`check`]: re-reading everything, and telling what was done to it.
//! * [`proof`]: proofs as files (tlog-proof).
//! * [`memory`]: the heads this reader has accepted.

mod bundle;
pub mod check;
pub mod checkpoint;
pub mod decision;
mod error;
mod files;
pub mod leaf;
pub mod log;
pub mod memory;
pub mod note;
pub mod proof;
mod read;
pub mod tiles;
pub mod tree;
mod write;

pub use check::{CheckReport, Trust};
pub use checkpoint::{DEFAULT_ORIGIN, Head};
pub use decision::{refusal_of, taken_back};
pub use error::LedgerError;
pub use leaf::{EntryKind, Leaf, NewEntry};
pub use log::Ledger;
pub use memory::Memory;
pub use note::{Note, NoteKey, NoteKind};
pub use proof::{Consistency, Proof};
