//! What every reader promises about any bytes at all, as functions that panic when a promise is broken.
//!
//! A reader never crashes, and what it accepts it has understood: written again it is the same, and
//! nothing of it leads outside the bytes it came from. The fuzz targets beside this folder and
//! `tests/readers.rs`, the quick version that runs everywhere, both call these functions.
//!
//! Readers of folders take one input for all files: [`PARTS`] stands between two of them.

mod evidence;
mod folders;
mod models;
mod texts;

/// A reader's name, which is that of its fuzz target and of its folder of seeds, and its promises.
pub type Reader = (&'static str, fn(&[u8]));

/// Every reader.
pub static READERS: [Reader; 17] = [
    ("slm1", models::slm1),
    ("safetensors", models::safetensors),
    ("gguf", models::gguf),
    ("adapter", models::adapter),
    ("tokenizer", models::tokenizer),
    ("huggingface", folders::huggingface),
    ("peft", folders::peft),
    ("trained", folders::trained),
    ("listing", folders::listing),
    ("mergekit", texts::mergekit),
    ("plan", texts::plan),
    ("source", texts::source),
    ("json", evidence::json),
    ("selector", evidence::selector),
    ("leaf", evidence::leaf),
    ("ledger", evidence::ledger),
    ("evaluation", evidence::evaluation),
];

/// What stands between the files of one input.
pub const PARTS: &[u8] = b"\n--8<--\n";

/// The promises of the reader called `name`.
pub fn check(name: &str, bytes: &[u8]) {
    let (_, check) = READERS.iter().find(|(reader, _)| *reader == name).expect("there is such a reader");
    check(bytes);
}

/// The files of an input.
fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(PARTS.len()).position(|window| window == PARTS) {
        parts.push(&rest[..at]);
        rest = &rest[at + PARTS.len()..];
    }
    parts.push(rest);
    parts
}
