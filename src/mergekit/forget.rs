//! Letting go of inputs: what was merged is hardly read again, so its pages need not stay in this process.
//!
//! Without it a merge would end with all of its inputs in its resident memory. That costs the machine
//! nothing, since the pages are the system's cache, but it looks like gigabytes to whoever limits or
//! measures a process.

use std::ops::Range;

use crate::disk::along::UNIT;
use crate::disk::mmap::Mapped;
use crate::model::{ModelWriter, WriteError};

/// Bytes of the child that are written before what they were made from is let go of.
const STRETCH: u64 = 8 << 20;

/// What one tensor of the child is made from.
pub(super) struct Reading<'a> {
    /// Bytes of the tensor's payload.
    pub(super) bytes: u64,
    /// The files that are read for it, and where in them.
    pub(super) places: Vec<(&'a Mapped, Range<usize>)>,
}

impl Reading<'_> {
    /// Lets go of what these bytes of the payload were made from: the same share of every input.
    fn forget(&self, written: Range<u64>) {
        for (mapped, place) in &self.places {
            let share = |bytes: u64| {
                let length = place.len() as u128 * u128::from(bytes) / u128::from(self.bytes.max(1));
                place.start + length as usize
            };
            // A unit that ends here was hashed from its beginning on, which lies before.
            mapped.forget(share(written.start).saturating_sub(UNIT)..share(written.end));
        }
    }
}

/// A writer that lets go of inputs on the way.
pub(super) struct Forgetting<'a> {
    writer: &'a mut dyn ModelWriter,
    readings: Vec<Reading<'a>>,
    /// The tensor that is being written, its bytes so far, and those whose inputs are gone.
    tensor: usize,
    written: u64,
    forgotten: u64,
}

impl<'a> Forgetting<'a> {
    /// Goes on to `writer`; one reading for each tensor.
    pub(super) fn new(writer: &'a mut dyn ModelWriter, readings: Vec<Reading<'a>>) -> Self {
        Self { writer, readings, tensor: 0, written: 0, forgotten: 0 }
    }

    fn forget(&mut self) {
        if let Some(reading) = self.readings.get(self.tensor) {
            reading.forget(self.forgotten..self.written);
        }
        self.forgotten = self.written;
    }
}

impl ModelWriter for Forgetting<'_> {
    fn payload(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.writer.payload(bytes)?;
        self.written += bytes.len() as u64;
        if self.written - self.forgotten >= STRETCH {
            self.forget();
        }
        Ok(())
    }

    fn finish_tensor(&mut self, scales: &[u8]) -> Result<(), WriteError> {
        self.writer.finish_tensor(scales)?;
        self.forget();
        (self.tensor, self.written, self.forgotten) = (self.tensor + 1, 0, 0);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        self.writer.finish()
    }
}
