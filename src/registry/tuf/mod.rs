//! Signed metadata over a registry: The Update Framework, version 1.0.
//!
//! Digests say that a file is the one that was meant. They do not say that what was meant is still meant: a
//! server can show an old registry as it was (rollback), keep showing it (freeze), or put old and new parts
//! together (mix and match). Four small signed documents say that:
//!
//! ```text
//! metadata/1.root.json        which keys sign what; the next one is signed by this one's keys, too
//! metadata/N.targets.json     every file of the registry: length and SHA-256
//! metadata/N.snapshot.json    which targets.json
//! metadata/timestamp.json     which snapshot.json; the one name that is replaced, and last
//! ```
//!
//! Snapshots are consistent: metadata but the timestamp is named by its version, and every target is found
//! at its name with its digest before it, so whoever began to read one registry never gets a file of the
//! next. Superseded files are removed: a reader who comes in between finds nothing and asks again.
//!
//! *Versions only rise.* N is the number of entries of the ledger that the registry shows: the one thing in a
//! store that cannot get smaller. A publication is an entry itself, so what changes without an admission (an
//! expiry, a key, the page) raises N as well, and putting an earlier state back is a publication of its own.
//!
//! *No clock.* Metadata must expire, and nothing that is made here knows the time. So the date is an input: a
//! person writes `expires` in the plan, and the same plan, ledger and keys give the same bytes. A clock is
//! read by whoever *checks*, and a check is not a record. Renewing is writing a later date.
//!
//! Signed is the canonical JSON of securesystemslib. For what is written here, plain ASCII and whole numbers,
//! it is the canonical JSON of every record (RFC 8785). One registry key signs all four, or each its own:
//! `registry.root`, `registry.targets`, `registry.snapshot`, `registry.timestamp`. The secret half of the
//! first is needed only for a new root, and can be kept elsewhere.
//!
//! * [`document`]: the documents and how they are spelled. [`keys`]: who signs which.
//! * [`mod@publish`]: making and writing them. [`mod@check`]: a reader's whole way through them.

pub mod check;
pub mod document;
pub mod keys;
pub mod publish;

pub use check::{Published, check, check_release, last_release, read};
pub use keys::{Duty, Keys};
pub use publish::{Release, publish};

#[cfg(test)]
mod tests;
