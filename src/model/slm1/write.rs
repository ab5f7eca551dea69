//! Writing: every offset is known before the first byte, then tensors arrive in pieces.
//!
//! [`Layout`] places everything and so tells a plan the exact size of a file that does not exist
//! yet. [`Writer`] follows it: payload bytes in any pieces, then the tensor's scales, tensor after
//! tensor. Nothing is kept but the checksum's state, so a file of any size needs no memory.
//!
//! ```text
//! let layout = Layout::new(&config, &tokenizer, Encoding::new(DType::Q8_0))?;
//! let mut writer = Writer::new(&layout, sink)?;
//! for plan in layout.tensors() {
//!     writer.payload(rows)?; writer.payload(more_rows)?;      // whole payload, in order
//!     writer.finish_tensor(scales)?;                          // empty for f32
//! }
//! writer.finish()?;
//! ```
//!
//! What is not published and chosen here: padding is zero, every part including the last is padded
//! to 64 bytes (the known `q8_0` size has room for exactly that), tensors come in the order of a
//! forward pass, f32 entries have block size 0.

use std::ops::Range;

use super::checksum::{CHECKSUM_AT, Running};
use super::directory::{ENTRY, Entry};
use super::header::{HEADER_LENGTH, Header, check_written};
use super::{DTYPES, NAME, Slm1Error, align};
use crate::base::sink::ArtifactSink;
use crate::model::config::{ModelConfig, TensorSpec, tensor_table};
use crate::model::tokenizer::Tokenizer;
use crate::model::writer::{ModelWriter, Planned, WriteError};
use crate::tensor::dtype::DType;
use crate::tensor::quantize;

/// One tensor's place in a file to be written.
pub type TensorPlan = Entry;

/// How tensors are to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The encoding.
    pub dtype: DType,
    /// Elements per scale, for `q4_0` only.
    pub q4_block: usize,
}

impl Encoding {
    /// An encoding with the block size of the files that are known.
    pub const fn new(dtype: DType) -> Self {
        Self { dtype, q4_block: quantize::DEFAULT_BLOCK }
    }

    /// `q4_0` with another block size.
    pub const fn q4(block: usize) -> Self {
        Self { dtype: DType::Q4_0, q4_block: block }
    }
}

/// Where everything of a file will lie.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Header, tokenizer, directory and their padding; the checksum still zero.
    head: Vec<u8>,
    tensors: Vec<TensorPlan>,
    total: u64,
}

impl Layout {
    /// A file with one encoding for every tensor.
    ///
    /// # Errors
    ///
    /// As [`Self::mixed`].
    pub fn new(config: &ModelConfig, tokenizer: &Tokenizer, encoding: Encoding) -> Result<Self, WriteError> {
        Self::mixed(config, tokenizer, |_| encoding)
    }

    /// A file whose tensors are encoded one by one as `encoding` says.
    ///
    /// # Errors
    ///
    /// [`WriteError::Config`] of a network that SLM1 has no words for; [`WriteError::Vocabulary`] or
    /// [`WriteError::Tokenizer`] of a tokenizer that does not fit, or that it has no section for;
    /// [`WriteError::Encoding`] or [`WriteError::Tensor`] of a tensor that cannot be stored so;
    /// [`WriteError::TooLarge`] of more tensors or bytes than its header can say.
    pub fn mixed(
        config: &ModelConfig,
        tokenizer: &Tokenizer,
        encoding: impl Fn(&TensorSpec) -> Encoding,
    ) -> Result<Self, WriteError> {
        check_written(config)?;
        if config.vocab_size != tokenizer.vocab_size() {
            let (config, tokenizer) = (config.vocab_size, tokenizer.vocab_size());
            return Err(WriteError::Vocabulary { config, tokenizer });
        }
        if !tokenizer.is_slm1() {
            return Err(WriteError::Tokenizer(tokenizer.kind()));
        }
        let section = tokenizer.to_section();
        let tensor_count = u32::try_from(config.tensor_count()).map_err(|_| WriteError::TooLarge)?;
        let table = tensor_table(config).map_err(Slm1Error::from)?;

        let tokenizer_start = HEADER_LENGTH as u64;
        let tokenizer_end = tokenizer_start + section.len() as u64;
        let directory_start = aligned(tokenizer_end)?;
        let directory_end = directory_start + u64::from(tensor_count) * ENTRY as u64;
        let tensor_data = aligned(directory_end)?;
        let mut end = tensor_data;
        let tensors = table
            .into_iter()
            .map(|spec| place(&mut end, encoding(&spec), spec))
            .collect::<Result<Vec<_>, _>>()?;

        let header = Header {
            config: config.clone(),
            length: HEADER_LENGTH as u32,
            tokenizer: tokenizer_start..tokenizer_end,
            directory: directory_start..directory_end,
            tensor_count,
            tensor_data,
            checksum: 0,
        };
        let mut head = header.encode().to_vec();
        head.extend_from_slice(&section);
        // The directory is in memory already; its offsets are too.
        head.resize(directory_start as usize, 0);
        head.extend(tensors.iter().flat_map(Entry::encode));
        head.resize(tensor_data as usize, 0);
        Ok(Self { head, tensors, total: end })
    }

    /// The file's exact length.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }

    /// Where the first payload begins.
    pub fn tensor_data_offset(&self) -> u64 {
        self.head.len() as u64
    }

    /// Every tensor in the order in which it must be written.
    pub fn tensors(&self) -> &[TensorPlan] {
        &self.tensors
    }

    /// The same without their places.
    pub fn planned(&self) -> Vec<Planned> {
        let planned = |plan: &TensorPlan| Planned {
            name: plan.name.clone(),
            shape: plan.shape.clone(),
            dtype: plan.dtype,
            block_size: plan.block_size,
        };
        self.tensors.iter().map(planned).collect()
    }
}

/// Places a tensor at `end` and moves `end` behind it.
fn place(end: &mut u64, encoding: Encoding, spec: TensorSpec) -> Result<TensorPlan, WriteError> {
    let TensorSpec { name, shape } = spec;
    if !DTYPES.contains(&encoding.dtype) {
        return Err(WriteError::Encoding {
            tensor: name,
            dtype: encoding.dtype,
            format: NAME,
            possible: &DTYPES,
        });
    }
    let block_size = quantize::block_size(encoding.dtype, shape.columns(), encoding.q4_block);
    let lengths = match quantize::lengths(encoding.dtype, &shape, block_size) {
        Ok(lengths) => lengths,
        Err(source) => return Err(WriteError::Tensor { tensor: name, source }),
    };
    let mut take = |length: usize| {
        let start = *end;
        let stop = start.checked_add(length as u64).ok_or(WriteError::TooLarge)?;
        *end = aligned(stop)?;
        Ok::<Range<u64>, WriteError>(start..stop)
    };
    let payload = take(lengths.payload)?;
    let scales = take(lengths.scales)?;
    Ok(TensorPlan { name, shape, dtype: encoding.dtype, payload, scales, block_size })
}

fn aligned(offset: u64) -> Result<u64, WriteError> {
    align(offset).ok_or(WriteError::TooLarge)
}

/// A file being written.
pub struct Writer<'a> {
    layout: &'a Layout,
    sink: &'a mut dyn ArtifactSink,
    /// None once the file is finished.
    checksum: Option<Running>,
    position: u64,
    /// Tensors finished.
    done: usize,
}

impl<'a> Writer<'a> {
    /// Writes everything before the first tensor.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`] if the sink has no room for the file, or fails.
    pub fn new(layout: &'a Layout, sink: &'a mut dyn ArtifactSink) -> Result<Self, WriteError> {
        sink.announce(layout.total_bytes())?;
        let checksum = Some(Running::for_file(layout.total));
        let mut writer = Self { layout, sink, checksum, position: 0, done: 0 };
        writer.put(&layout.head)?;
        Ok(writer)
    }

    /// The tensor whose bytes come next.
    pub fn next_tensor(&self) -> Option<&'a TensorPlan> {
        self.layout.tensors.get(self.done)
    }

    /// Writes a whole tensor.
    ///
    /// # Errors
    ///
    /// As [`ModelWriter::payload`] and [`ModelWriter::finish_tensor`].
    pub fn tensor(&mut self, payload: &[u8], scales: &[u8]) -> Result<(), WriteError> {
        self.payload(payload)?;
        self.finish_tensor(scales)
    }

    fn current(&self, doing: &'static str) -> Result<&'a TensorPlan, WriteError> {
        self.next_tensor().ok_or_else(|| self.count_error(doing))
    }

    fn count_error(&self, doing: &'static str) -> WriteError {
        WriteError::Count { written: self.done, planned: self.layout.tensors.len(), doing }
    }

    fn pad_to(&mut self, end: u64) -> Result<(), WriteError> {
        let zeros = [0; super::ALIGNMENT as usize];
        // Less than one alignment, by the layout.
        self.put(&zeros[..(end - self.position) as usize])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.sink.write(bytes)?;
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
        self.position += bytes.len() as u64;
        Ok(())
    }
}

impl ModelWriter for Writer<'_> {
    fn payload(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let plan = self.current("more payload came")?;
        let found = self.position - plan.payload.start + bytes.len() as u64;
        if found > plan.payload.end - plan.payload.start {
            return Err(length_error(plan, "payload", &plan.payload, found));
        }
        self.put(bytes)
    }

    fn finish_tensor(&mut self, scales: &[u8]) -> Result<(), WriteError> {
        let plan = self.current("a tensor was finished")?;
        if self.position != plan.payload.end {
            let found = self.position - plan.payload.start;
            return Err(length_error(plan, "payload", &plan.payload, found));
        }
        if scales.len() as u64 != plan.scales.end - plan.scales.start {
            return Err(length_error(plan, "scales", &plan.scales, scales.len() as u64));
        }
        self.pad_to(plan.scales.start)?;
        self.put(scales)?;
        self.done += 1;
        self.pad_to(self.next_tensor().map_or(self.layout.total, |next| next.payload.start))
    }

    /// Stores the checksum: the sink then holds the whole file.
    fn finish(&mut self) -> Result<(), WriteError> {
        if self.done != self.layout.tensors.len() {
            return Err(self.count_error("the file was finished"));
        }
        debug_assert_eq!(self.position, self.layout.total);
        let checksum = self.checksum.take().ok_or_else(|| self.count_error("the file was finished again"))?;
        self.sink.patch(CHECKSUM_AT.start, &checksum.finish().to_le_bytes())?;
        Ok(())
    }
}

fn length_error(plan: &TensorPlan, part: &'static str, planned: &Range<u64>, found: u64) -> WriteError {
    let expected = planned.end - planned.start;
    WriteError::Length { tensor: plan.name.clone(), part, expected, found }
}

/// About how many elements [`write_values`] asks for at a time; always whole rows.
pub const BLOCK_ELEMENTS: usize = 1 << 18;

/// Writes a file whose values `fill` gives: elements `[start, start + out.len())` of a tensor, whole
/// rows, in order.
///
/// # Errors
///
/// That of `fill`; [`WriteError::Tensor`] of a value that the encoding cannot hold, with its index;
/// [`WriteError::Io`] if the sink fails.
pub fn write_values<E: From<WriteError>>(
    layout: &Layout,
    sink: &mut dyn ArtifactSink,
    mut fill: impl FnMut(&TensorPlan, usize, &mut [f32]) -> Result<(), E>,
) -> Result<(), E> {
    let mut writer = Writer::new(layout, sink)?;
    let (mut values, mut payload, mut scales) = (Vec::new(), Vec::new(), Vec::new());
    for plan in layout.tensors() {
        let columns = plan.shape.columns();
        let block = (BLOCK_ELEMENTS / columns).max(1) * columns;
        scales.clear();
        for start in (0..plan.shape.elements()).step_by(block) {
            values.resize(block.min(plan.shape.elements() - start), 0.0);
            payload.clear();
            fill(plan, start, &mut values)?;
            quantize::encode_into(plan.dtype, plan.block_size, columns, &values, &mut payload, &mut scales)
                .map_err(|source| WriteError::Tensor { tensor: plan.name.clone(), source: source.at(start) })?;
            writer.payload(&payload)?;
        }
        writer.finish_tensor(&scales)?;
    }
    Ok(writer.finish()?)
}
