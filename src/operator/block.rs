//! One block: some elements of one tensor read, computed, checked, encoded and measured, piece by piece.
//!
//! ```text
//! piece   inputs widened -> all finite? -> kernel -> all finite? -> encoded -> measured -> conflicts
//! ```
//!
//! A piece, or a run of it where the kernel allows, lies in a core's first cache while all of that is done
//! to it. Only where rows share scales a block is encoded and measured as a whole.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::wide::wide;
use crate::model::{Planned, WriteError};
use crate::tensor::dtype::DType;
use crate::tensor::quantize::{self, QuantizeError};
use crate::tensor::view::TensorView;

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::parameter::Parameters;
use super::pieces::pieces;
use super::rooms::Rooms;
use super::source::{PIECE, RUN, Source};
use super::statistics::{Differences, Measured};

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
    /// The scales' bytes.
    pub(super) scales: Vec<u8>,
    /// All elements, unless a piece is encoded as soon as it is made. May be longer than the block.
    values: Vec<f32>,
    /// The payload's bytes, unless the elements are. May be longer than they are.
    encoded: Vec<u8>,
    /// How long they are.
    bytes: usize,
    stored: Stored,
    /// For a piece each: what is made, what is stored, its bytes, the base, the parents.
    scratch: Rooms,
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
    fn begin(&mut self, tensor: usize, block: &Block<'_>) {
        let Block { inputs, range, child: Planned { dtype: output, .. }, .. } = block;
        self.tensor = tensor;
        self.elements = range.len();
        self.last = range.end == inputs.shape.elements();
        self.measured.clear();
        self.scales.clear();
        self.scratch.make(inputs.parents.len() + 4);
        self.stored = Stored::of(*output);
        self.bytes = 0;
        match self.stored {
            Stored::ByPiece => {
                self.bytes = quantize::byte_of(*output, range.len());
                grow(&mut self.encoded, self.bytes);
            }
            Stored::InPlace | Stored::ByBlock => grow(&mut self.values, range.len()),
        }
    }

    /// The payload's bytes.
    pub(super) fn payload(&self) -> &[u8] {
        // On little-endian machines the elements already lie as f32 is stored.
        if self.stored == Stored::InPlace {
            bytemuck::cast_slice(&self.values[..self.elements])
        } else {
            &self.encoded[..self.bytes]
        }
    }
}

/// Makes a buffer long enough. What lay in it is not cleared: all of it will be written over.
fn grow<T: bytemuck::Zeroable + Copy>(buffer: &mut Vec<T>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, T::zeroed());
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

/// A block that is being made.
struct Block<'a> {
    inputs: &'a TensorInputs<'a>,
    /// How it is stored.
    child: &'a Planned,
    kernel: &'a dyn Kernel,
    /// Its elements, in whole pieces.
    range: Range<usize>,
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
        let block = Block { inputs: &self.tensors[tensor], child: &self.child[tensor], kernel, range };
        made.begin(tensor, &block);
        let mut rooms = std::mem::take(&mut made.scratch);
        let mut scratch = rooms.all();
        for piece in block.pieces() {
            self.make_piece(&block, &piece, &mut scratch, &mut made)?;
        }
        if made.stored == Stored::ByBlock {
            block.encode(&mut made).map_err(|error| self.not_encoded(&block, error, block.range.start))?;
            block.measure(&mut scratch, &mut made);
        }
        made.scratch = rooms;
        Ok(made)
    }

    fn make_piece(
        &self,
        block: &Block<'_>,
        piece: &Range<usize>,
        scratch: &mut [&mut [f32]],
        made: &mut Made,
    ) -> Result<(), OperatorError> {
        let step = if block.kernel.stands_alone() { RUN } else { PIECE };
        let mut differences = Differences::default();
        for first in piece.clone().step_by(step) {
            let run = first..piece.end.min(first + step);
            self.make_run(block, &run, scratch, made, &mut differences)?;
        }
        made.measured.push(differences.finish());
        Ok(())
    }

    fn make_run(
        &self,
        block: &Block<'_>,
        run: &Range<usize>,
        scratch: &mut [&mut [f32]],
        made: &mut Made,
        differences: &mut Differences,
    ) -> Result<(), OperatorError> {
        let inputs = block.inputs;
        let [child, after, bytes, base_scratch, scratch @ ..] = scratch else {
            unreachable!("all were made")
        };
        let base = match &inputs.base {
            Some(base) => read(&**base, inputs.base_name, inputs, run, base_scratch)?,
            None => &[],
        };
        // Most often they are few, and runs are many: memory is asked for where it takes more.
        let (mut few, mut many) = ([&[][..]; 8], Vec::new());
        let parents = few.get_mut(..inputs.parents.len()).unwrap_or_else(|| {
            many.resize(inputs.parents.len(), &[][..]);
            &mut many
        });
        // Buffers go round between tensors, and another one may have had more parents.
        let sources = inputs.parents.iter().zip(&inputs.parent_names);
        for ((parent, (source, name)), scratch) in parents.iter_mut().zip(sources).zip(scratch) {
            *parent = read(&**source, name, inputs, run, scratch)?;
        }
        let elements = run.start - block.range.start..run.end - block.range.start;
        let Made { values, encoded, stored, .. } = made;
        let out = match stored {
            // What is encoded at once never leaves the first cache.
            Stored::ByPiece => &mut child[..run.len()],
            Stored::InPlace | Stored::ByBlock => &mut values[elements.clone()],
        };
        block.kernel.piece(&Piece { first: run.start, base, parents }, out);
        let (reference, others) = match (inputs.base.is_some(), &*parents) {
            (false, [first, others @ ..]) => (*first, others),
            _ => (base, &*parents),
        };
        match stored {
            Stored::InPlace => {
                if let Some(i) = not_finite(out) {
                    return Err(self.made_not_finite(inputs, run.start + i, out[i]));
                }
                differences.add(out, reference);
            }
            Stored::ByPiece => {
                let dtype = block.child.dtype;
                let place = quantize::byte_of(dtype, elements.start)..quantize::byte_of(dtype, elements.end);
                let after = &mut after[..run.len()];
                let bytes = bytemuck::cast_slice_mut(bytes);
                round(dtype, out, (bytes, &mut encoded[place]), after)
                    .map_err(|error| self.not_encoded(block, error, run.start))?;
                differences.add(after, reference);
            }
            Stored::ByBlock => {}
        }
        differences.compare(reference, others);
        Ok(())
    }

    /// Why elements from `first` cannot be stored. Whether they are finite is asked only there: it is seen while
    /// they are encoded.
    fn not_encoded(&self, block: &Block<'_>, error: QuantizeError, first: usize) -> OperatorError {
        match error.at(first) {
            QuantizeError::NotFinite { index, value } => self.made_not_finite(block.inputs, index, value),
            source => OperatorError::Write(WriteError::Tensor { tensor: block.child.name.clone(), source }),
        }
    }

    fn made_not_finite(&self, inputs: &TensorInputs<'_>, index: usize, value: f32) -> OperatorError {
        let tensor = inputs.name.to_owned();
        OperatorError::OutputNotFinite { operator: self.operator.name(), tensor, index, value }
    }
}

impl Block<'_> {
    fn pieces(&self) -> impl Iterator<Item = Range<usize>> {
        pieces(self.inputs.shape.columns(), self.range.clone())
    }

    /// Encodes the whole block. Shapes were checked against the encoding when the layout was made; but not
    /// every encoding reaches as far as f32 does.
    fn encode(&self, made: &mut Made) -> Result<(), QuantizeError> {
        let Planned { shape, dtype, block_size, .. } = self.child;
        made.encoded.clear();
        let values = &made.values[..self.range.len()];
        let (payload, scales) = (&mut made.encoded, &mut made.scales);
        quantize::encode_into(*dtype, *block_size, shape.columns(), values, payload, scales)?;
        made.bytes = made.encoded.len();
        Ok(())
    }

    /// What was encoded, as a reader of the child will see it.
    fn stored<'a>(&'a self, data: &'a [u8], scales: &'a [u8]) -> TensorView<'a> {
        let (name, shape) = (self.inputs.name, self.inputs.shape);
        let Planned { dtype, block_size, .. } = *self.child;
        TensorView { name, dtype, shape, data, scales, block_size }
    }

    /// Measures what a reader of the child will see: the elements after rounding.
    fn measure(&self, scratch: &mut [&mut [f32]], made: &mut Made) {
        let inputs = self.inputs;
        let reference = inputs.base.as_deref().or_else(|| inputs.parents.first().map(|parent| &**parent));
        let [before, after, ..] = scratch else { unreachable!("all were made") };
        let Some(reference) = reference else { return };
        for piece in self.pieces() {
            let before = reference.read(piece.start, &mut before[..piece.len()]);
            let after = &mut after[..piece.len()];
            self.stored(made.payload(), &made.scales).read_f32(piece.start - self.range.start, after);
            let mut differences = Differences::default();
            differences.add(after, before);
            made.measured.push(differences.finish());
        }
    }
}

/// Encodes what stands alone and says what a reader will see. The payload lies far away: bytes are put there
/// by the line, from a room nearby. Written as they come, a quarter of a line at a time, they filled up what
/// a core keeps of unfinished writes, which at times took four times as long as the rounding.
fn round(
    dtype: DType,
    values: &[f32],
    (room, payload): (&mut [u8], &mut [u8]),
    rounded: &mut [f32],
) -> Result<(), QuantizeError> {
    let runs = values.chunks(RUN).zip(rounded.chunks_mut(RUN));
    let payloads = payload.chunks_mut(quantize::byte_of(dtype, RUN));
    for (i, ((values, rounded), payload)) in runs.zip(payloads).enumerate() {
        let room = &mut room[..payload.len()];
        quantize::round(dtype, values, room, rounded).map_err(|error| error.at(i * RUN))?;
        payload.copy_from_slice(room);
    }
    Ok(())
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
