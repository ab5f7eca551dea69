//! Fuzzing every reader of Studbook: see README.md beside this.

pub mod readers;

/// A fuzz target that holds a reader to its promises.
#[macro_export]
macro_rules! reader {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::readers::check($name, bytes));
    };
}
