//! A candidate's whole dossier in one folder, and its check on a machine that has nothing else.
//!
//! ```text
//! index.html README.md bom.cdx.json ro-crate-metadata.json   for readers: derived from the rest
//! dossier.json SHA256SUMS                                    whose it is; every file's SHA-256
//! model/                                                     the artifact
//! records/ suites/ evidence/                                 what was promised, done, measured, decided
//! bundles/ keys/ ledger/                                     who says so, and since when
//! model.sig                                                  OpenSSF model signature over all of it
//! ```
//!
//! Checking is deriving again. The names of all files follow from the records; the candidate manifest, the
//! comparisons, the promotion template and the admission are made again by the stages that made them, from
//! what the lineage bound; metrics come from the outcomes; statements, page, card, bill of materials and
//! crate are written again; all must come out as the same bytes. Nothing that a dossier says of itself is
//! believed because it says so: an action, a gate or a parameter is taken from the record that bound it.
//!
//! What no folder can show: that its keys are anybody's (the reader brings a trust file), that nothing was
//! taken back since (the reader brings the ledger), and what the parents' bytes were (they are elsewhere;
//! only their digests are here, so operators are not run again).
//!
//! * [`layout`]: names. [`folder`]: files, read without following links. [`evidence`]: records, typed.
//! * [`collect`], [`write`](mod@write): from a store to a folder. [`check`]: from a folder to findings.
//! * `bindings`, `measured`, `rederive`, `history`, `signatures`, `approvers`: one kind of check each.
//! * `model_signature`: over the folder as a whole. `derived`: the documents for readers, one file each: `card`, `bom`, `crate_metadata`, `page`.

mod approvers;
mod bindings;
mod bom;
mod card;
pub mod check;
pub mod collect;
mod crate_metadata;
mod derived;
mod error;
pub mod evidence;
pub mod folder;
mod history;
mod keys;
pub mod layout;
mod markup;
mod measured;
mod model_signature;
mod page;
mod page_parts;
mod rederive;
mod signatures;
pub mod write;

pub use check::{Options, verify};
pub use derived::documents;
pub use error::DossierError;
pub use evidence::Evidence;
pub use write::export;
