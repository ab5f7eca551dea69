//! The exports. The one liberty taken here is to name functions for the linker; there is no raw pointer to
//! follow, because both pieces of memory a page sees are owned by [`Host`] and only their addresses leave.
//!
//! What a page must keep to: between [`slm_input`] and the call that takes the input, it writes only inside
//! the bytes it asked for; addresses are good until the next call, which may also move the whole memory's
//! view on the page's side. Every function is called by one worker, one call at a time.

#![expect(unsafe_code, reason = "an export needs a name that the compiler leaves alone")]

use std::cell::RefCell;

use super::host::{ABI, Host, HostError};
use crate::runtime::Sampling;

thread_local! {
    static HOST: RefCell<Host> = const { RefCell::new(Host::new()) };
}

fn with<T>(work: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(work)
}

/// The number of a success, or -1 with the reason in the output.
fn attempt(work: impl FnOnce(&mut Host) -> Result<i32, HostError>) -> i32 {
    with(|host| {
        work(host).unwrap_or_else(|error| {
            host.explain(&error);
            -1
        })
    })
}

/// Handles stay far below 2^31: each costs a call.
fn handle(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(-1)
}

/// The version of this interface.
#[unsafe(no_mangle)]
pub extern "C" fn slm_abi() -> u32 {
    ABI
}

/// Sets the most bytes a model may have.
#[unsafe(no_mangle)]
pub extern "C" fn slm_budget(bytes: u32) {
    with(|host| host.set_budget(bytes as usize));
}

/// Reserves the input and returns its address, or 0 with the reason in the output.
#[unsafe(no_mangle)]
pub extern "C" fn slm_input(bytes: u32) -> *mut u8 {
    with(|host| match host.input(bytes as usize) {
        Ok(input) => input.as_mut_ptr(),
        Err(error) => {
            host.explain(&error);
            std::ptr::null_mut()
        }
    })
}

/// The address of the output.
#[unsafe(no_mangle)]
pub extern "C" fn slm_output() -> *const u8 {
    with(|host| host.output().as_ptr())
}

/// The length of the output.
#[unsafe(no_mangle)]
pub extern "C" fn slm_output_len() -> u32 {
    with(|host| host.output().len() as u32)
}

/// BLAKE3 of the input, in hexadecimal, into the output.
#[unsafe(no_mangle)]
pub extern "C" fn slm_digest_input() {
    with(Host::digest_input);
}

/// Opens the input as a model: its handle, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn slm_open() -> i32 {
    attempt(|host| host.open().map(handle))
}

/// Closes a model: 0, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn slm_close_model(model: u32) -> i32 {
    attempt(|host| host.close_model(model).map(|()| 0))
}

/// Begins an answer to the prompt in the input: its handle, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn slm_start(
    model: u32,
    max_tokens: u32,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    seed: u64,
) -> i32 {
    let sampling = Sampling { temperature, top_k, top_p, seed };
    attempt(|host| host.start(model, max_tokens as usize, sampling).map(handle))
}

/// One step of an answer: 0 the prompt is being read, 1 a token, 2 and more the end, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn slm_step(answer: u32) -> i32 {
    attempt(|host| host.step(answer).map(super::host::Step::code))
}

/// The id of the last token, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn slm_token(answer: u32) -> i32 {
    with(|host| host.token(answer).map_or(-1, handle))
}

/// BLAKE3 of the logits the last token was chosen from, in hexadecimal, into the output: 0, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn slm_digest_logits(answer: u32) -> i32 {
    attempt(|host| host.digest_logits(answer).map(|()| 0))
}

/// Closes an answer: 0, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn slm_close_answer(answer: u32) -> i32 {
    attempt(|host| host.close_answer(answer).map(|()| 0))
}
