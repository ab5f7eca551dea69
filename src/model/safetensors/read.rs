//! A whole file to [`Weights`]: structure only, in time that depends on the header and not on the
//! payloads. What the values are is [`validate_values`](crate::model::values).

use super::header::{Entry, Header};
use super::{Metadata, NAME, SafetensorsError};
use crate::model::weights::{SharedBytes, TensorInfo, Weights};

/// Reads and checks a file; tensors come in the order of their bytes.
pub fn read(bytes: SharedBytes) -> Result<(Weights, Metadata), SafetensorsError> {
    let (tensors, metadata) = infos((*bytes).as_ref(), 0)?;
    Ok((Weights::new(NAME, tensors, vec![bytes]), metadata))
}

/// The tensors of a file that is part number `part` of a model, in the order of their bytes.
pub fn infos(file: &[u8], part: usize) -> Result<(Vec<TensorInfo>, Metadata), SafetensorsError> {
    let Header { tensors, metadata } = Header::parse(file)?;
    // Every range was checked against a length that is a usize.
    let info = |Entry { name, dtype, shape, data }: Entry| {
        let data = data.start as usize..data.end as usize;
        let scales = data.end..data.end;
        TensorInfo { name, dtype, shape, part, data, scales, block_size: 0 }
    };
    Ok((tensors.into_iter().map(info).collect(), metadata))
}
