//! One block: some elements of one tensor read, computed, checked, encoded and measured, piece by piece.
//!
//! ```text
//! piece   inputs widened -> all finite? -> kernel -> all finite? -> conflicts -> encoded -> measured
//! ```
//!
//! A piece, or a run of it where the kernel allows, lies in a core's first cache while all of that is done
//! to it. Only where rows share scales a block is encoded and measured as a whole.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::wide::wide;
use crate::model::{Planned, WriteError};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;
use crate::tensor::view::TensorView;

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::parameter::Parameters;
use super::pieces::pieces;
use super::source::{PIECE, Source};
use super::statistics::{Differences, Measured};

/// Elements made together where each stands alone: a run of four inputs, of the child and of what is stored
/// lies in the first cache, a piece of them does not.
const RUN: usize = 1024;

/// Everything needed to make the child's tensors.
pub(super) struct Work<'a> {
    pub(super) operator: &'static dyn Operator,
    pub(super) survey: &'a Parameters,
    pub(super) tensors: &'a [TensorInputs<'a>],
    /// How each of them is stored.
    pub(super) child: &'a [Planned],
    /// About how many elements a block has.
    pub(super) block: usize,
}

/// A finished block: some elements of one tensor, encoded and measured.
#[derive(Default)]
pub(super) struct Made {
    /// Index of the tensor.
    pub(super) tensor: usize,
    /// Number of elements.
    pub(super) elements: usize,
    /// Whether the tensor ends here.
    pub(super) last: bool,
    /// One or two for each piece, in order.
    pub(super) measured: Vec<Measured>,
    /// Of the piece that is being made.
    differences: Differences,
    /// The scales' bytes.
    pub(super) scales: Vec<u8>,
    values: Vec<f32>,
    payload: Vec<u8>,
    stored: Stored,
    /// One piece each: what is stored, the base, the parents.
    scratch: Vec<Vec<f32>>,
}

/// How elements become bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stored {
    /// They are the bytes already.
    #[default]
    InPlace,
    /// Each stands alone, so a piece can be encoded as soon as it is made.
    ByPiece,
    /// Rows share scales.
    ByBlock,
}

impl Stored {
    fn of(dtype: DType) -> Self {
        match dtype {
            DType::F32 if cfg!(target_endian = "little") => Self::InPlace,
            DType::F32 | DType::F16 | DType::BF16 | DType::F64 => Self::ByPiece,
            DType::Q8_0 | DType::Q4_0 | DType::GgmlQ8_0 => Self::ByBlock,
        }
    }
}

impl Made {
    /// Makes room for some elements of a tensor.
    fn begin(&mut self, tensor: usize, range: &Range<usize>, inputs: &TensorInputs<'_>, output: DType) {
        self.tensor = tensor;
        self.elements = range.len();
        self.last = range.end == inputs.shape.elements();
        self.measured.clear();
        self.differences = Differences::default();
        self.scales.clear();
        self.values.resize(range.len(), 0.0);
        self.scratch.resize_with(inputs.parents.len() + 2, || vec![0.0; PIECE]);
        self.stored = Stored::of(output);
        match self.stored {
            // Pieces are put at their places; what lay there is not cleared.
            Stored::ByPiece => self.payload.resize(quantize::byte_of(output, range.len()), 0),
            Stored::InPlace | Stored::ByBlock => self.payload.clear(),
        }
    }

    /// The payload's bytes.
    pub(super) fn payload(&self) -> &[u8] {
        // On little-endian machines the elements already lie as f32 is stored.
        if self.stored == Stored::InPlace { bytemuck::cast_slice(&self.values) } else { &self.payload }
    }
}

/// Buffers that go round.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Made>>);

impl Buffers {
    /// Buffers to make a block in: used before, or new.
    pub(super) fn take(&self) -> Made {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives a block's buffers back, if nobody else has it any more.
    pub(super) fn give_back(&self, made: Arc<Made>) {
        if let Some(made) = Arc::into_inner(made) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(made);
        }
    }
}

impl Work<'_> {
    /// Makes the elements of `range`, in whole pieces, of a tensor.
    pub(super) fn make(
        &self,
        tensor: usize,
        range: Range<usize>,
        kernel: &dyn Kernel,
        mut made: Made,
    ) -> Result<Made, OperatorError> {
        let inputs = &self.tensors[tensor];
        let output = self.child[tensor].dtype;
        made.begin(tensor, &range, inputs, output);
        let mut scratch = std::mem::take(&mut made.scratch);
        for piece in pieces(inputs.shape.columns(), range.clone()) {
            self.make_piece(inputs, kernel, &piece, range.start, &mut scratch, &mut made)?;
        }
        if made.stored == Stored::ByBlock {
            self.encode(tensor, range.start, 0..range.len(), &mut made)?;
            self.measure_stored(inputs, tensor, &range, &mut scratch, &mut made);
        }
        made.scratch = scratch;
        Ok(made)
    }

    fn make_piece(
        &self,
        inputs: &TensorInputs<'_>,
        kernel: &dyn Kernel,
        piece: &Range<usize>,
        start: usize,
        scratch: &mut [Vec<f32>],
        made: &mut Made,
    ) -> Result<(), OperatorError> {
        let step = if kernel.stands_alone() { RUN } else { PIECE };
        for first in piece.clone().step_by(step) {
            let run = first..piece.end.min(first + step);
            self.make_run(inputs, kernel, &run, start, scratch, made)?;
        }
        made.measured.push(std::mem::take(&mut made.differences).finish());
        Ok(())
    }

    fn make_run(
        &self,
        inputs: &TensorInputs<'_>,
        kernel: &dyn Kernel,
        run: &Range<usize>,
        start: usize,
        scratch: &mut [Vec<f32>],
        made: &mut Made,
    ) -> Result<(), OperatorError> {
        let [after, base_scratch, scratch @ ..] = scratch else { return Ok(()) };
        let base = match &inputs.base {
            Some(base) => read(&**base, inputs.base_name, inputs, run, base_scratch)?,
            None => &[],
        };
        let mut parents = Vec::with_capacity(inputs.parents.len());
        for ((parent, name), scratch) in inputs.parents.iter().zip(&inputs.parent_names).zip(scratch) {
            parents.push(read(&**parent, name, inputs, run, scratch)?);
        }
        let elements = run.start - start..run.end - start;
        let out = &mut made.values[elements.clone()];
        kernel.piece(&Piece { first: run.start, base, parents: &parents }, out);
        if let Some(i) = not_finite(out) {
            return Err(OperatorError::OutputNotFinite {
                operator: self.operator.name(),
                tensor: inputs.name.to_owned(),
                index: run.start + i,
                value: out[i],
            });
        }
        let (reference, others) = match (inputs.base.is_some(), &parents[..]) {
            (false, [first, others @ ..]) => (*first, others),
            _ => (base, &parents[..]),
        };
        match made.stored {
            Stored::InPlace => made.differences.add(&made.values[elements], reference),
            Stored::ByPiece => {
                // While the reference lies in the first cache.
                let tensor = made.tensor;
                self.encode(tensor, start, elements.clone(), made)?;
                let after = &mut after[..run.len()];
                self.stored(inputs, tensor, made).read_f32(elements.start, after);
                made.differences.add(after, reference);
            }
            Stored::ByBlock => {}
        }
        made.differences.compare(reference, others);
        Ok(())
    }

    /// Encodes what was made. Shapes were checked against the encoding when the layout was made, and
    /// values are finite; but not every encoding reaches as far as f32 does.
    fn encode(
        &self,
        tensor: usize,
        start: usize,
        elements: Range<usize>,
        made: &mut Made,
    ) -> Result<(), OperatorError> {
        let Made { values, payload, scales, stored, .. } = made;
        let Planned { name, shape, dtype, block_size } = &self.child[tensor];
        let first = start + elements.start;
        let encoded = if *stored == Stored::ByPiece {
            // Elements that stand alone are one row, wherever they begin.
            let place = quantize::byte_of(*dtype, elements.start)..quantize::byte_of(*dtype, elements.end);
            let columns = elements.len();
            quantize::encode(*dtype, 0, columns, &values[elements], &mut payload[place], &mut [])
        } else {
            let columns = shape.columns();
            quantize::encode_into(*dtype, *block_size, columns, &values[elements], payload, scales)
        };
        encoded.map_err(|error| {
            OperatorError::Write(WriteError::Tensor { tensor: name.clone(), source: error.at(first) })
        })
    }

    /// What was encoded so far, as a reader of the child will see it.
    fn stored<'a>(&'a self, inputs: &'a TensorInputs<'_>, tensor: usize, made: &'a Made) -> TensorView<'a> {
        TensorView {
            name: inputs.name,
            dtype: self.child[tensor].dtype,
            shape: inputs.shape,
            data: &made.payload,
            scales: &made.scales,
            block_size: self.child[tensor].block_size,
        }
    }

    /// Measures what a reader of the child will see: the elements after rounding.
    fn measure_stored(
        &self,
        inputs: &TensorInputs<'_>,
        tensor: usize,
        range: &Range<usize>,
        scratch: &mut [Vec<f32>],
        made: &mut Made,
    ) {
        let reference = inputs.base.as_deref().or_else(|| inputs.parents.first().map(|parent| &**parent));
        let ([before, after, ..], Some(reference)) = (scratch, reference) else { return };
        for piece in pieces(inputs.shape.columns(), range.clone()) {
            let before = reference.read(piece.start, &mut before[..piece.len()]);
            let after = &mut after[..piece.len()];
            self.stored(inputs, tensor, made).read_f32(piece.start - range.start, after);
            let mut differences = Differences::default();
            differences.add(after, before);
            made.measured.push(differences.finish());
        }
    }
}

/// A piece of one input, all of it finite.
fn read<'s>(
    source: &'s dyn Source,
    name: &str,
    inputs: &TensorInputs<'_>,
    piece: &Range<usize>,
    scratch: &'s mut [f32],
) -> Result<&'s [f32], OperatorError> {
    let values = source.read(piece.start, &mut scratch[..piece.len()]);
    match not_finite(values) {
        None => Ok(values),
        Some(i) => Err(OperatorError::InputNotFinite {
            parent: name.to_owned(),
            tensor: inputs.name.to_owned(),
            index: piece.start + i,
            value: values[i],
        }),
    }
}

/// Index of the first infinity or not-a-number.
fn not_finite(values: &[f32]) -> Option<usize> {
    const INFINITY: i32 = f32::INFINITY.to_bits().cast_signed();
    if largest_magnitude(values) < INFINITY {
        None
    } else {
        values.iter().position(|value| !value.is_finite())
    }
}

wide! {
    /// The largest magnitude as bits, which order like the numbers.
    fn largest_magnitude<'a>(values: &'a [f32]) -> i32 {
        values.iter().map(|value| (value.to_bits() & 0x7FFF_FFFF).cast_signed()).fold(0, i32::max)
    }
}
