//! mergekit configurations, carried out without a plan.
//!
//! TODO-DOC

pub mod yaml;
