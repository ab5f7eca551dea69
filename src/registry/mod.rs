//! The selector registry: admitted artifacts in a folder that any static server can offer.
//!
//! A browser that wants a local model reads `selector.json`, picks an entry, fetches one file and
//! refuses it unless its length and digests are the entry's. So the selector must never name what
//! was not admitted, never promise what the bytes do not hold, and never be seen half written:
//!
//! ```text
//! models/<sha256>.average.slm                 the artifact, named by its content
//! manifests/<sha256>.average.json             the candidate manifest; its digest is the candidate's identity
//! records/<sha256>.average.admission.json     its admission, its gates, its lineage, its measurements
//! checkpoint, ledger.jsonl, proofs/           the ledger that admitted it, whole
//! index.html, app/, ...                       the page, the same for every registry
//! selector.json                               who is who: canonical JSON, sorted by id, replaced last and whole
//! metadata/                                   with registry keys: signed, and until when
//! ```
//!
//! Files are copied, not linked: a link would let a later edit of the source reach the browser, and
//! a symlink would not survive being served from elsewhere. New files come first, the selector
//! after them, what it no longer names is removed last; an interrupted build leaves the old
//! registry or the new one, and building again finishes the work.
//!
//! * [`selector`]: the entries and what each must satisfy in itself. [`default`]: which one is meant.
//! * [`mod@build`]: writing the folder. [`paths`], `content`: what lies where.
//! * [`mod@check`]: re-hashing everything, and asking the ledger.
//! * [`site`]: the page that people see. [`snapshot`]: the ledger, as the page checks it.
//! * [`tuf`]: signed metadata over all of it, against old and mixed registries.
//! * [`serve`]: both on this machine, for those without a server.
//! * [`drive`]: a model run in a real browser, by the page's own parts.
//! * [`integrity`]: how browsers spell a digest.

pub mod build;
pub mod check;
mod content;
pub mod default;
pub mod drive;
mod error;
pub mod integrity;
pub mod paths;
pub mod selector;
pub mod serve;
pub mod site;
pub mod snapshot;
pub mod tuf;

pub use build::{Built, BuiltFile, NewEvidence, NewRegistryEntry, build};
pub use check::{CheckedRegistry, check, check_admissions, record_paths};
pub use content::{files, is_fixed, nothing_else};
pub use default::{default_of, line_of};
pub use error::RegistryError;
pub use selector::{
    Claims, Evidence, EvidenceKind, ModelFile, PIECE, SELECTOR_BUDGET, Selector, SelectorEntry, SourceKind,
};
