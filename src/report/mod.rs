//! Turning what is known into what is read.

pub mod drawing;
pub mod table;
