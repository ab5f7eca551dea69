//! Records as other people's tools read them: signed statements.
//!
//! A record is canonical JSON for us. Whoever does not know us is told the same thing in three layers they
//! do know, and checks them with a public key and nothing else of ours:
//!
//! ```text
//! Sigstore bundle v0.3    which key signed (a hint, never a reason to trust)
//!   DSSE envelope         the payload in base64, and one Ed25519 signature over
//!                         "DSSEv1" SP len(type) SP type SP len(payload) SP payload
//!     in-toto Statement   subjects by SHA-256, a predicate type, the predicate
//! ```
//!
//! | record | predicate |
//! |---|---|
//! | compatibility report | SCAI v0.3: what fits, positives only |
//! | operator receipt | SLSA Provenance v1: the whole recipe, program and processor; claims no build level |
//! | runtime smoke | in-toto test-result v0.1 |
//! | promotion template | SVR v0.2: the gates that passed, once decided |
//! | admission record | SLSA VSA v1, with our own level `STUDBOOK_ADMITTED` |
//! | selector registry | in-toto release v0.1 |
//! | source, candidate, evaluation, comparisons, review, pool, approval | our own: the record's body under the record's type |
//!
//! A statement follows from its records (and, for decisions, from the time in the ledger), and Ed25519
//! signs without randomness: the same records and key give the same bundle. So whoever verifies derives
//! the statement again and compares; the envelope alone is never believed.
//!
//! * [`statement`]: the inner layer. [`bundle`]: the outer two, written and checked.
//! * [`predicate`]: from records to statements. [`build`]: what provenance tells beyond its record.

pub mod build;
pub mod bundle;
mod error;
pub mod predicate;
pub mod statement;

pub use build::{BuildFacts, Machine, agree};
pub use bundle::Bundle;
pub use error::AttestError;
pub use statement::{Descriptor, Statement};
