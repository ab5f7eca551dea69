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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::block::{Buffers, Made, Work};
use super::contract::Kernel;
use super::error::OperatorError;
use super::pieces::blocks;

/// Tensors whose kernels may be ready before their turn.
const AHEAD: usize = 4;

/// How long to wait for a block before asking again whether to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many blocks may be under way.
fn window() -> usize {
    2 * rayon::current_num_threads() + 2
}

/// The kernels of tensors that are being made: what they know of a tensor may be large.
pub(super) struct Kernels<'a>(Vec<Mutex<Option<Arc<dyn Kernel + 'a>>>>);

impl<'a> Kernels<'a> {
    /// Places for so many.
    pub(super) fn new(tensors: usize) -> Self {
        Self((0..tensors).map(|_| Mutex::default()).collect())
    }

    /// Takes the kernel of a tensor away; its blocks that are being made still have it.
    pub(super) fn take(&self, tensor: usize) -> Option<Arc<dyn Kernel + 'a>> {
        self.place(tensor).take()
    }

    fn put(&self, tensor: usize, kernel: Box<dyn Kernel + 'a>) {
        *self.place(tensor) = Some(Arc::from(kernel));
    }

    fn get(&self, tensor: usize) -> Option<Arc<dyn Kernel + 'a>> {
        self.place(tensor).clone()
    }

    fn place(&self, tensor: usize) -> MutexGuard<'_, Option<Arc<dyn Kernel + 'a>>> {
        self.0[tensor].lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    kernels: &Kernels<'a>,
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
                        let kernel = work.operator.kernel(&work.tensors[tensor], work.survey);
                        kernel.map(|kernel| kernels.put(tensor, kernel))
                    };
                    report.send(Event::Prepared(tensor, prepared));
                });
            }
            while let Some((number, tensor, range)) = progress.next_block() {
                let report = Report::new(&events);
                scope.spawn(move |_| {
                    let made = match kernels.get(tensor) {
                        Some(kernel) if !stop.load(Ordering::Relaxed) => {
                            work.make(tensor, range, &*kernel, buffers.take())
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
