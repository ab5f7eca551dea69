//! The runtime as a page sees it: numbers in, numbers out, bytes in between.
//!
//! A page cannot hand over a Rust value, and a framework that could would be larger than the runtime. So the
//! module has a small C interface of its own, without a single import: it can compute, and nothing else.
//! Everything that needs more than a number goes through two pieces of memory, each owned here:
//!
//! ```text
//! page                                        module
//! slm_input(n)  -> address                    reserves n bytes
//! writes n bytes at the address
//! slm_open()    -> model, or -1               takes them, reads an SLM1 file
//! slm_input(m), prompt, slm_start(model, ..)  -> answer, or -1
//! slm_step(answer) -> 0 more to read, 1 a token, 2.. the end, -1      text in the output
//! slm_output(), slm_output_len()              what the last call had to say: text, a digest, an error
//! ```
//!
//! A page stops an answer by not asking for its next step. Models and answers are handles; none is ever
//! given twice, so a stale one is an error and never another model.
//!
//! * [`host`]: all of it, in safe Rust; tested natively. `handles`: what is open.
//! * `abi`: the exports, for wasm32 only. A page is trusted to write inside the input it asked for, and the
//!   module's memory is its own: a page that does not can only spoil its own answers.
//!
//! * `chromium`: a real browser to try it in.
//!
//! `.ci/wasm` builds it; the registry carries a copy.

#[cfg(target_arch = "wasm32")]
pub mod abi;
#[cfg(feature = "engine")]
pub mod chromium;
mod handles;
pub mod host;
