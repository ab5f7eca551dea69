//! A whole file to [`Weights`]: structure only, in time that depends on the header and not on the
//! payloads. What the values are is [`validate_values`](crate::model::values).

use super::header::{Entry, Header, Kind};
use super::{Metadata, NAME, SafetensorsError};
use crate::model::buffer::Buffer;
use crate::model::weights::{SharedBytes, TensorInfo, Weights};

/// What a file holds; weights and buffers in the order of their bytes.
#[derive(Debug)]
pub struct Contents {
    /// Its weights.
    pub tensors: Vec<TensorInfo>,
    /// What else it holds.
    pub buffers: Vec<Buffer>,
    /// What it says about itself.
    pub metadata: Metadata,
}

/// Reads and checks a file; tensors come in the order of their bytes.
///
/// # Errors
///
/// As [`Header::parse`].
pub fn read(bytes: SharedBytes) -> Result<(Weights, Metadata), SafetensorsError> {
    let Contents { tensors, buffers, metadata } = contents(&bytes, 0)?;
    Ok((Weights::new(NAME, tensors, vec![bytes]).with_buffers(buffers), metadata))
}

/// The same of a file that must hold weights and nothing else.
///
/// # Errors
///
/// As [`read`], and [`SafetensorsError::NoWeights`] of the first tensor that is of another type than F64, F32,
/// F16 or BF16.
pub fn read_weights(bytes: SharedBytes) -> Result<Weights, SafetensorsError> {
    let (weights, _) = read(bytes)?;
    match weights.buffers().first() {
        None => Ok(weights),
        Some(Buffer { name, kind, .. }) => {
            Err(SafetensorsError::NoWeights { tensor: super::error::shown(name), dtype: kind })
        }
    }
}

/// What a file holds that is part number `part` of a model.
///
/// # Errors
///
/// As [`Header::parse`].
pub fn contents(file: &SharedBytes, part: usize) -> Result<Contents, SafetensorsError> {
    let Header { tensors: entries, metadata } = Header::parse((**file).as_ref())?;
    let (mut tensors, mut buffers) = (Vec::with_capacity(entries.len()), Vec::new());
    for Entry { name, kind, shape, data } in entries {
        // Every range was checked against a length that is a usize.
        let data = data.start as usize..data.end as usize;
        match kind {
            Kind::Weights(dtype) => {
                let scales = data.end..data.end;
                tensors.push(TensorInfo { name, dtype, shape, part, data, scales, block_size: 0 });
            }
            Kind::Buffer(word, _) => buffers.push(Buffer::new(name, word, shape, file.clone(), data)),
        }
    }
    Ok(Contents { tensors, buffers, metadata })
}
