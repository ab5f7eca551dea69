//! Tensors as they lie in files: a shape, an encoding, bytes.
//!
//! * [`dtype`], [`shape`]: what is stored, checked products only.
//! * [`view`]: borrowed bytes of one tensor, widened exactly to f32 on request.
//! * [`quantize`]: the SLM1 block quantisations.
//! * [`kernel`]: dot products with fixed lanes: the same bits on every CPU.
//! * [`blocks`]: the same work on many cores or on one, in fixed pieces.

pub mod blocks;
pub mod dtype;
pub mod kernel;
pub mod quantize;
pub mod shape;
pub mod view;
