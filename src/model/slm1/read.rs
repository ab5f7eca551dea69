//! A whole file to a [`Checkpoint`]: structure only, in time that depends on the number of tensors
//! and not on their size. What the values are is [`validate_values`](crate::model::values).

use super::{NAME, Slm1Error, align, directory, header::Header};
use crate::model::checkpoint::Checkpoint;
use crate::model::naming::Naming;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::{SharedBytes, TensorInfo, Weights};

/// Reads and checks a file. Offsets are taken as stored, never computed again.
///
/// # Errors
///
/// As [`Header::parse`] and [`directory::parse`]; [`Slm1Error::Tokenizer`] of a section that is none;
/// [`Slm1Error::Trailing`] of bytes behind the last one. Elements and the checksum are not looked at.
pub fn read(bytes: SharedBytes) -> Result<Checkpoint, Slm1Error> {
    let file = (*bytes).as_ref();
    let header = Header::parse(file)?;
    let tokenizer = read_tokenizer(file, &header)?;
    let entries = directory::parse(file, &header)?;
    check_end(file, &header, &entries)?;
    // Every range was checked against a length that is a usize.
    let tensors = entries
        .into_iter()
        .map(|entry| TensorInfo {
            name: entry.name,
            dtype: entry.dtype,
            shape: entry.shape,
            part: 0,
            data: entry.payload.start as usize..entry.payload.end as usize,
            scales: entry.scales.start as usize..entry.scales.end as usize,
            block_size: entry.block_size,
        })
        .collect();
    let weights = Weights::new(NAME, tensors, vec![bytes]);
    Ok(Checkpoint { config: header.config, tokenizer, naming: Naming::Slm1, weights })
}

/// Nothing lies behind the last section: sections end at multiples of the alignment, and so does the file.
fn check_end(file: &[u8], header: &Header, entries: &[directory::Entry]) -> Result<(), Slm1Error> {
    let ends = entries.iter().flat_map(|entry| [entry.payload.end, entry.scales.end]);
    let end = ends.chain([header.tokenizer.end]).max().unwrap_or(0);
    let (start, file) = (align(end).unwrap_or(end), file.len() as u64);
    if start < file { Err(Slm1Error::Trailing { start, file }) } else { Ok(()) }
}

fn read_tokenizer(file: &[u8], header: &Header) -> Result<Tokenizer, Slm1Error> {
    let at = header.tokenizer.start;
    let section = &file[at as usize..header.tokenizer.end as usize];
    let tokenizer = Tokenizer::from_section(section).map_err(|source| Slm1Error::Tokenizer { at, source })?;
    if tokenizer.vocab_size() != header.config.vocab_size {
        return Err(Slm1Error::Field {
            field: "vocab_size",
            at: 20,
            found: header.config.vocab_size.to_string(),
            expected: format!("{}, as in the tokenizer section", tokenizer.vocab_size()),
        });
    }
    Ok(tokenizer)
}
