//! The words all mistakes share: see [`crate::base::wording`].

pub(super) use crate::base::number::number;
pub(super) use crate::base::wording::{count, one_of, suggest};
