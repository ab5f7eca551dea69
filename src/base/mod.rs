//! The ground floor: words that every other room uses and that use none of them.
//!
//! * [`digest`]: what identifies bytes (BLAKE3 in the store, SHA-256 in evidence).
//! * [`base64`]: bytes in text, with one spelling each.
//! * [`canonical`]: the one JSON writer (RFC 8785) and the one strict reader.
//! * [`key`]: one walk over an action that is both hashed and explained.
//! * [`rng`]: Philox, a counter-based generator: a draw depends on what it is for, not on when.
//! * [`name`]: what people call things, safe as a file name everywhere.
//! * `diagnostic`, [`located`], `nearest`, `number`, `wording`: telling a person where and what to do.
//! * [`sink`]: a place that takes bytes in order and allows one late patch.
//! * `difference`: where two records first differ.
//! * `shell`: commands that a person pastes.
//! * `wide`: the same bits with wider vectors, where the processor has them.
//!
//! Nothing here opens a file, reads a clock or prints.

pub mod base64;
pub mod canonical;
#[cfg(feature = "engine")]
pub mod diagnostic;
#[cfg(feature = "engine")]
pub(crate) mod difference;
pub mod digest;
pub mod key;
pub mod located;
pub mod name;
#[cfg(feature = "operators")]
pub mod nearest;
#[cfg(feature = "operators")]
pub(crate) mod number;
pub mod rng;
#[cfg(feature = "engine")]
pub(crate) mod shell;
pub mod sink;
pub(crate) mod wide;
#[cfg(feature = "engine")]
pub(crate) mod wording;
