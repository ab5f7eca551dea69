//! The promotion ledger: what was planned, admitted, refused and taken back, in order, for good.
//!
//! Every other record can be made again from its inputs; the order of decisions cannot. So it is
//! written down once: each entry (a *leaf*) is a small canonical JSON object of digests that also
//! carries the SHA-256 of the leaf before it. Nothing can be edited, swapped, dropped or inserted
//! without breaking that chain, and the `head` names its end:
//!
//! ```text
//! entries/000   leaf 0 \n leaf 1 \n ... leaf 255 \n      prev of leaf i = sha256(leaf i - 1)
//! entries/001   leaf 256 \n ...
//! head          {"head": sha256(last leaf), "origin": ..., "size": leaves, "version": 1}
//! lock          held by the one writer
//! ```
//!
//! A chain alone does not stop somebody from writing the whole log anew, or from putting back an
//! old copy of it. For that a reader remembers the last head it accepted, outside the ledger
//! ([`Memory`]): the log may only grow from there. A first look has nothing to compare with, and
//! says so ([`Trust::FirstUse`]).
//!
//! The head is the commit. Entries are written and synced first, the head is renamed into place
//! after them, so a crash leaves bytes that no head vouches for; the next writer cuts them off.
//! Bundles of 256 leaves and their numbering follow C2SP tlog-tiles, so that a Merkle tree over the
//! same leaves can be added without moving them.
//!
//! * [`leaf`]: one entry and its bytes.
//! * [`head`]: how long the log is and what it ends with.
//! * [`bundle`]: where leaves lie on the disk.
//! * [`log`]: opening, appending, reading.
//! * [`check`]: re-reading everything, and telling what was done to it.
//! * [`memory`]: the heads this reader has accepted.

pub mod bundle;
pub mod check;
mod error;
pub mod head;
pub mod leaf;
pub mod log;
pub mod memory;

pub use check::{CheckReport, Trust};
pub use error::LedgerError;
pub use head::{DEFAULT_ORIGIN, Head};
pub use leaf::{EntryKind, Leaf, NewEntry};
pub use log::{Leaves, Ledger};
pub use memory::Memory;
