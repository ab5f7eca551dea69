//! The engine room: blocks are made on every core and leave in order.
//!
//! ```text
//! rayon            kernel(t+1)   block k+3   block k+2   block k+1     in any order
//!                        \            \          |          /
//! this thread             take whichever is next -> write, hash, digest     in order
//! ```
//!
//! At most [`window`] blocks are under way, whatever the size of the model; their buffers go round.
//! Kernels of the next few tensors are prepared while blocks of this one are made, so that a cut by
//! magnitude does not stop the writing.
//!
//! An error is reported when its block's turn comes: the same error on every run.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::base::wide::wide;
use crate::model::{Planned, WriteError};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;
use crate::tensor::view::TensorView;

use super::contract::{Kernel, Operator, Piece, TensorInputs};
use super::error::OperatorError;
use super::parameter::Parameters;
use super::pieces::{blocks, pieces};
use super::source::{PIECE, Source};
use super::statistics::{self, Measured};

/// Tensors whose kernels may be ready before their turn.
const AHEAD: usize = 4;

/// How long to wait for a block before asking again whether to stop.
const PATIENCE: Duration = Duration::from_millis(50);

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
    /// One for each piece and kind of measurement, in order.
    pub(super) measured: Vec<Measured>,
    /// The scales' bytes.
    pub(super) scales: Vec<u8>,
    values: Vec<f32>,
    payload: Vec<u8>,
    in_place: bool,
    scratch: Vec<Vec<f32>>,
}

impl Made {
    /// The payload's bytes.
    pub(super) fn payload(&self) -> &[u8] {
        // On little-endian machines the elements already lie as f32 is stored.
        if self.in_place { bytemuck::cast_slice(&self.values) } else { &self.payload }
    }
}

/// Buffers that go round.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Made>>);

impl Buffers {
    fn take(&self) -> Made {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives a block's buffers back.
    pub(super) fn put(&self, made: Made) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(made);
    }
}

/// How many blocks may be under way.
fn window() -> usize {
    2 * rayon::current_num_threads() + 2
}

/// What a task reports.
enum Event {
    /// The kernel of this tensor is there, or why not.
    Prepared(usize, Result<(), OperatorError>),
    /// The block of this number is made, or why not.
    Made(usize, Result<Made, OperatorError>),
    /// A task panicked; rayon carries the panic on when the scope ends.
    Lost,
}

/// Sends a task's report, whatever becomes of the task.
struct Report {
    events: Sender<Event>,
    event: Event,
}

impl Report {
    fn new(events: &Sender<Event>) -> Self {
        Self { events: events.clone(), event: Event::Lost }
    }

    fn send(mut self, event: Event) {
        self.event = event;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // Nobody listens any more once an error ended the work.
        let _ = self.events.send(std::mem::replace(&mut self.event, Event::Lost));
    }
}

/// Makes all tensors and gives their blocks to `consume`, in order.
pub(super) fn run<'a>(
    work: &'a Work<'a>,
    buffers: &Buffers,
    kernels: &[OnceLock<Box<dyn Kernel + 'a>>],
    cancelled: &dyn Fn() -> bool,
    mut consume: impl FnMut(Made) -> Result<(), OperatorError>,
) -> Result<(), OperatorError> {
    let (events, reports) = channel();
    let stop = AtomicBool::new(false);
    let stop = &stop;
    rayon::in_place_scope(|scope| {
        let mut progress = Progress::new(work);
        let result = loop {
            while let Some(tensor) = progress.next_kernel() {
                let report = Report::new(&events);
                scope.spawn(move |_| {
                    let prepared = if stop.load(Ordering::Relaxed) {
                        Err(OperatorError::Cancelled)
                    } else {
                        work.operator.kernel(&work.tensors[tensor], work.survey).map(|kernel| {
                            kernels[tensor].get_or_init(|| kernel);
                        })
                    };
                    report.send(Event::Prepared(tensor, prepared));
                });
            }
            while let Some((number, tensor, range)) = progress.next_block() {
                let report = Report::new(&events);
                scope.spawn(move |_| {
                    let made = match kernels[tensor].get() {
                        Some(kernel) if !stop.load(Ordering::Relaxed) => {
                            work.make(tensor, range, &**kernel, buffers.take())
                        }
                        _ => Err(OperatorError::Cancelled),
                    };
                    report.send(Event::Made(number, made));
                });
            }
            if cancelled() {
                break Err(OperatorError::Cancelled);
            }
            match progress.turn() {
                Turn::Done => break Ok(()),
                Turn::Failed(error) => break Err(error),
                Turn::Ready(made) => {
                    if let Err(error) = consume(made) {
                        break Err(error);
                    }
                    continue;
                }
                Turn::Waiting => {}
            }
            match wait(&reports) {
                Some(Event::Lost) => break Err(OperatorError::Cancelled),
                Some(event) => progress.hear(event),
                None => {}
            }
        };
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// The next report. A rayon worker works while it waits: it may be the only one there is.
fn wait(reports: &Receiver<Event>) -> Option<Event> {
    loop {
        if let Ok(event) = reports.try_recv() {
            return Some(event);
        }
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            return reports.recv_timeout(PATIENCE).ok();
        }
    }
}

/// Whose turn it is.
enum Turn {
    Ready(Made),
    Failed(OperatorError),
    Waiting,
    Done,
}

/// What has been started, what has been heard of, what is next: no threads in here.
struct Progress<'a> {
    work: &'a Work<'a>,
    /// Tensors whose kernels were started.
    kernels: usize,
    prepared: Vec<Option<Result<(), OperatorError>>>,
    /// The tensor whose blocks are being started, and those that remain of it.
    tensor: usize,
    remaining: Option<Box<dyn Iterator<Item = Range<usize>> + 'a>>,
    /// Blocks started, blocks handed over.
    started: usize,
    taken: usize,
    window: usize,
    made: BTreeMap<usize, Result<Made, OperatorError>>,
}

impl<'a> Progress<'a> {
    fn new(work: &'a Work<'a>) -> Self {
        Self {
            work,
            kernels: 0,
            prepared: work.tensors.iter().map(|_| None).collect(),
            tensor: 0,
            remaining: None,
            started: 0,
            taken: 0,
            window: window(),
            made: BTreeMap::new(),
        }
    }

    fn next_kernel(&mut self) -> Option<usize> {
        let next = self.kernels;
        (next < self.work.tensors.len() && next < self.tensor + AHEAD).then(|| {
            self.kernels += 1;
            next
        })
    }

    fn next_block(&mut self) -> Option<(usize, usize, Range<usize>)> {
        while self.started < self.taken + self.window {
            let Some(Some(Ok(()))) = self.prepared.get(self.tensor) else { return None };
            let work = self.work;
            let (shape, dtype) = (work.tensors[self.tensor].shape, work.child[self.tensor].dtype);
            let remaining = self.remaining.get_or_insert_with(|| Box::new(blocks(shape, dtype, work.block)));
            if let Some(range) = remaining.next() {
                self.started += 1;
                return Some((self.started - 1, self.tensor, range));
            }
            self.remaining = None;
            self.tensor += 1;
        }
        None
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Prepared(tensor, prepared) => self.prepared[tensor] = Some(prepared),
            Event::Made(number, made) => {
                self.made.insert(number, made);
            }
            Event::Lost => {}
        }
    }

    fn turn(&mut self) -> Turn {
        match self.made.remove(&self.taken) {
            Some(Ok(made)) => {
                self.taken += 1;
                return Turn::Ready(made);
            }
            Some(Err(error)) => return Turn::Failed(error),
            None => {}
        }
        if self.taken < self.started {
            return Turn::Waiting;
        }
        if self.tensor == self.work.tensors.len() {
            return Turn::Done;
        }
        match self.prepared[self.tensor].take() {
            Some(Err(error)) => Turn::Failed(error),
            other => {
                self.prepared[self.tensor] = other;
                Turn::Waiting
            }
        }
    }
}

impl Work<'_> {
    fn make(
        &self,
        tensor: usize,
        range: Range<usize>,
        kernel: &dyn Kernel,
        mut made: Made,
    ) -> Result<Made, OperatorError> {
        let inputs = &self.tensors[tensor];
        let columns = inputs.shape.columns();
        made.tensor = tensor;
        made.elements = range.len();
        made.last = range.end == inputs.shape.elements();
        made.measured.clear();
        made.payload.clear();
        made.scales.clear();
        made.values.resize(range.len(), 0.0);
        made.scratch.resize(inputs.parents.len() + 1, vec![0.0; PIECE]);
        let output = self.child[tensor].dtype;
        made.in_place = output == DType::F32 && cfg!(target_endian = "little");

        for piece in pieces(columns, range.clone()) {
            let [base_scratch, scratch @ ..] = &mut made.scratch[..] else { continue };
            let base = match &inputs.base {
                Some(base) => read(&**base, inputs.base_name, inputs, &piece, base_scratch)?,
                None => &[],
            };
            let mut parents = Vec::with_capacity(inputs.parents.len());
            for ((parent, name), scratch) in inputs.parents.iter().zip(&inputs.parent_names).zip(scratch) {
                parents.push(read(&**parent, name, inputs, &piece, scratch)?);
            }
            let out = &mut made.values[piece.start - range.start..piece.end - range.start];
            kernel.piece(&Piece { first: piece.start, base, parents: &parents }, out);
            if let Some(i) = not_finite(out) {
                return Err(OperatorError::OutputNotFinite {
                    operator: self.operator.name(),
                    tensor: inputs.name.to_owned(),
                    index: piece.start + i,
                    value: out[i],
                });
            }
            let (reference, others) = match (inputs.base.is_some(), &parents[..]) {
                (false, [first, others @ ..]) => (*first, others),
                _ => (base, &parents[..]),
            };
            made.measured.push(statistics::conflicts(reference, others));
            if output == DType::F32 {
                made.measured.push(statistics::difference(out, reference));
            }
        }
        if !made.in_place {
            self.encode(inputs, tensor, range.start, &mut made)?;
        }
        if output != DType::F32 {
            self.measure_stored(inputs, tensor, &range, &mut made);
        }
        Ok(made)
    }

    /// Encodes what was made. Shapes were checked against the encoding when the layout was made, and
    /// values are finite; but not every encoding reaches as far as f32 does.
    fn encode(
        &self,
        inputs: &TensorInputs<'_>,
        tensor: usize,
        start: usize,
        made: &mut Made,
    ) -> Result<(), OperatorError> {
        let Made { values, payload, scales, .. } = made;
        let Planned { dtype, block_size, .. } = &self.child[tensor];
        let columns = inputs.shape.columns();
        quantize::encode_into(*dtype, *block_size, columns, values, payload, scales).map_err(|error| {
            let tensor = inputs.name.to_owned();
            OperatorError::Write(WriteError::Tensor { tensor, source: error.at(start) })
        })
    }

    /// Measures what a reader of the child will see: the elements after rounding.
    fn measure_stored(
        &self,
        inputs: &TensorInputs<'_>,
        tensor: usize,
        range: &Range<usize>,
        made: &mut Made,
    ) {
        let stored = TensorView {
            name: inputs.name,
            dtype: self.child[tensor].dtype,
            shape: inputs.shape,
            data: &made.payload,
            scales: &made.scales,
            block_size: self.child[tensor].block_size,
        };
        let reference = inputs.base.as_deref().or_else(|| inputs.parents.first().map(|parent| &**parent));
        let [before, after, ..] = &mut made.scratch[..] else { return };
        for piece in pieces(inputs.shape.columns(), range.clone()) {
            let Some(reference) = reference else { return };
            let before = reference.read(piece.start, &mut before[..piece.len()]);
            let after = stored.read(piece.start - range.start, &mut after[..piece.len()]);
            made.measured.push(statistics::difference(after, before));
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
