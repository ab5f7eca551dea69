//! Studbook: a declarative workflow engine for breeding small language models offline.
//!
//! One way through the house, each arrow a function with one input and one output type:
//!
//! ```text
//! plan.toml -> PlanFile -> StageGraph -> ready stage -> action key -> hit | miss
//!                                                                 miss -> run -> record
//! records -> ledger -> report
//! ```
//!
//! Rooms, each using only rooms above it (`tests/house.rs` holds the table):
//! [`base`], `disk`, `trust`, [`tensor`], [`model`], `operator`, `difference`, `convert`, `mergekit`, [`runtime`],
//! [`browser`], `evaluate`, `ledger`, `store`, `review`, `registry`, `record`, `pedigree`, `plan`, `stage`, `engine`, `report`, `dossier`, `cli`.
//!
//! Without the default feature `engine` the crate is its browser face: the rooms that need
//! neither files nor threads.

pub mod base;
pub mod browser;
#[cfg(feature = "engine")]
pub mod cli;
#[cfg(feature = "engine")]
pub mod convert;
#[cfg(feature = "engine")]
pub mod difference;
#[cfg(feature = "engine")]
pub mod disk;
#[cfg(feature = "engine")]
pub mod dossier;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "engine")]
pub mod evaluate;
#[cfg(feature = "engine")]
pub mod ledger;
#[cfg(feature = "engine")]
pub mod mergekit;
pub mod model;
#[cfg(feature = "operators")]
pub mod operator;
#[cfg(feature = "engine")]
pub mod pedigree;
#[cfg(feature = "engine")]
pub mod plan;
#[cfg(feature = "engine")]
pub mod record;
#[cfg(feature = "engine")]
pub mod registry;
#[cfg(feature = "engine")]
pub mod report;
#[cfg(feature = "engine")]
pub mod review;
pub mod runtime;
#[cfg(feature = "engine")]
pub mod stage;
#[cfg(feature = "engine")]
pub mod store;
pub mod tensor;
#[cfg(feature = "engine")]
pub mod trust;
