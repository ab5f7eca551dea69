//! Tensors as they lie in files: a shape, an encoding, bytes.
//!
//! * [`dtype`], [`shape`]: what is stored, checked products only.
//! * [`view`]: borrowed bytes of one tensor, widened to f32 on request.
//! * [`quantize`]: f32 to any encoding, and the block quantisations of SLM1.
//! * `cast`: f16, bf16 and f64.
//! * [`step`]: what an encoding rounds to, and the number next to it.
//! * `ggml`: the blocks of GGUF files.
//! * [`kernel`]: dot products with fixed lanes: the same bits on every CPU.
//! * [`blocks`]: the same work on many cores or on one, in fixed pieces.

pub mod blocks;
mod cast;
pub mod dtype;
mod ggml;
pub mod kernel;
pub mod quantize;
pub mod shape;
pub mod step;
pub mod view;
