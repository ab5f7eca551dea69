//! Models and answers behind handles, one page at a time.

use std::sync::Arc;

use super::handles::Handles;
pub use super::handles::MAX_HANDLES;
use crate::base::digest::Digest;
use crate::model::slm1::{self, Slm1Error};
use crate::model::values::{ValueError, validate_values};
use crate::runtime::{Answer, GenerateOptions, Model, RuntimeError, Sampling, StopReason};

/// Raised with every change a page could notice.
pub const ABI: u32 = 1;

/// Most bytes of a model unless the page says otherwise: what a selector offers at most.
pub const DEFAULT_BUDGET: usize = 33_554_432;

/// Longest prompt in bytes.
pub const MAX_PROMPT: usize = 1 << 20;

/// Tokens of a prompt that are read in one step: a page gets a word in after each.
pub const PROMPT_STEP: usize = 64;

/// Why a page's request is refused.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A model over the budget.
    #[error("the model has {bytes} bytes, over the budget of {budget}")]
    OverBudget {
        /// Its length.
        bytes: usize,
        /// The most that is accepted.
        budget: usize,
    },
    /// A handle that stands for nothing.
    #[error("there is no {kind} {handle}; it was closed, or never opened")]
    Unknown {
        /// `model` or `answer`.
        kind: &'static str,
        /// The number given.
        handle: u32,
    },
    /// Too many at once.
    #[error("{MAX_HANDLES} {kind}s are open; close one first")]
    Full {
        /// `model` or `answer`.
        kind: &'static str,
    },
    /// A prompt that is no text, or too much of it.
    #[error("the prompt {0}")]
    Prompt(String),
    /// The bytes are no model. Other formats are not looked for: their readers would double the module.
    #[error("not a usable SLM1 file: {0}")]
    Model(#[from] Slm1Error),
    /// The model's numbers are not numbers.
    #[error(transparent)]
    Values(#[from] ValueError),
    /// The model does not run, or not on this prompt.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// What a step of an answer brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A part of the prompt was read; there is more of it.
    Reading,
    /// A token was chosen; its text, if any is whole, is in the output.
    Token,
    /// The answer ended; what was left of its text is in the output.
    Ended(StopReason),
}

impl Step {
    /// Its number at the border.
    pub const fn code(self) -> i32 {
        match self {
            Self::Reading => 0,
            Self::Token => 1,
            Self::Ended(reason) => match reason {
                StopReason::EndOfSequence => 2,
                StopReason::MaxTokens => 3,
                StopReason::ContextEnd => 4,
                StopReason::StopText => 5,
                StopReason::OutputLimit => 6,
                StopReason::Cancelled => 7,
            },
        }
    }
}

/// Everything a page has open.
#[derive(Debug)]
pub struct Host {
    budget: usize,
    input: Words,
    output: Vec<u8>,
    models: Handles<Model>,
    answers: Handles<Option<Answer>>,
    next: u32,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Nothing open, the default budget.
    pub const fn new() -> Self {
        Self {
            budget: DEFAULT_BUDGET,
            input: Words { words: Vec::new(), bytes: 0 },
            output: Vec::new(),
            models: Handles::new("model"),
            answers: Handles::new("answer"),
            next: 1,
        }
    }

    /// Sets the most bytes a model may have from now on.
    pub fn set_budget(&mut self, bytes: usize) {
        self.budget = bytes;
    }

    /// Makes the input this long, zeros all over, and lends it. What was in it is gone.
    ///
    /// # Errors
    ///
    /// [`HostError::OverBudget`] if that is more than the budget and more than [`MAX_PROMPT`]. The input stays
    /// then.
    pub fn input(&mut self, bytes: usize) -> Result<&mut [u8], HostError> {
        // A prompt may be longer than a tiny budget.
        if bytes > self.budget.max(MAX_PROMPT) {
            return Err(HostError::OverBudget { bytes, budget: self.budget });
        }
        self.input = Words { words: vec![0; bytes.div_ceil(8)], bytes };
        Ok(self.input.as_mut())
    }

    /// What the last call had to say.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Puts an error's words into the output.
    pub fn explain(&mut self, error: &HostError) {
        self.output = error.to_string().into_bytes();
    }

    /// BLAKE3 of the input, in hexadecimal, into the output. The input stays.
    pub fn digest_input(&mut self) {
        self.output = Digest::of(self.input.as_ref()).to_hex().into_bytes();
    }

    /// Reads the input as a model and keeps it.
    ///
    /// # Errors
    ///
    /// [`HostError::OverBudget`], [`HostError::Full`] if [`MAX_HANDLES`] models are open, [`HostError::Model`]
    /// if it is no SLM1 file, [`HostError::Values`] if a number of it is none, [`HostError::Runtime`] if it
    /// cannot run. The input is gone then, too.
    pub fn open(&mut self) -> Result<u32, HostError> {
        let input = std::mem::take(&mut self.input);
        self.output.clear();
        if input.bytes > self.budget {
            return Err(HostError::OverBudget { bytes: input.bytes, budget: self.budget });
        }
        self.models.room()?;
        let checkpoint = slm1::read::read(Arc::new(input))?;
        validate_values(&checkpoint)?;
        let model = Model::new(Arc::new(checkpoint))?;
        let handle = self.handle();
        self.models.insert(handle, model);
        Ok(handle)
    }

    /// Forgets a model; answers that it is giving go on.
    ///
    /// # Errors
    ///
    /// [`HostError::Unknown`] if no such model is open.
    pub fn close_model(&mut self, model: u32) -> Result<(), HostError> {
        self.output.clear();
        self.models.close(model)
    }

    /// Begins an answer to the prompt in the input. Nothing is computed yet.
    ///
    /// # Errors
    ///
    /// [`HostError::Unknown`] if no such model is open, [`HostError::Full`] if [`MAX_HANDLES`] answers are,
    /// [`HostError::Prompt`] of more than [`MAX_PROMPT`] bytes or bytes that are no UTF-8,
    /// [`HostError::Runtime`] of a prompt or sampling that the model does not take. The input is gone then,
    /// too.
    pub fn start(&mut self, model: u32, max_tokens: usize, sampling: Sampling) -> Result<u32, HostError> {
        let input = std::mem::take(&mut self.input);
        self.output.clear();
        let model = self.models.get(model)?;
        self.answers.room()?;
        if input.bytes > MAX_PROMPT {
            return Err(HostError::Prompt(format!(
                "has {} bytes, at most {MAX_PROMPT} are read",
                input.bytes
            )));
        }
        let prompt = std::str::from_utf8(input.as_ref())
            .map_err(|error| HostError::Prompt(format!("is not UTF-8 at byte {}", error.valid_up_to())))?;
        let answer = Answer::new(model, prompt, GenerateOptions { max_tokens, sampling, stop: None })?;
        let handle = self.handle();
        self.answers.insert(handle, Some(answer));
        Ok(handle)
    }

    /// The next bit of work of an answer: a slice of the prompt, or a token.
    ///
    /// # Errors
    ///
    /// [`HostError::Unknown`] if there is no such answer, or if it has ended; [`HostError::Runtime`] if a logit
    /// is no number.
    pub fn step(&mut self, answer: u32) -> Result<Step, HostError> {
        self.output.clear();
        let place = self.answers.get_mut(answer)?;
        let Some(running) = place else {
            return Err(HostError::Unknown { kind: "running answer", handle: answer });
        };
        if running.stop_reason().is_none() {
            if running.feed(PROMPT_STEP)? > 0 {
                return Ok(Step::Reading);
            }
            if let Some((_, text)) = running.choose()? {
                self.output = text.into_bytes();
                return Ok(Step::Token);
            }
        }
        let before = running.text_len();
        let generation = place.take().map(Answer::finish);
        let Some(generation) = generation else { return Ok(Step::Ended(StopReason::Cancelled)) };
        self.output = generation.text.as_bytes().get(before..).unwrap_or_default().to_vec();
        Ok(Step::Ended(generation.stop_reason))
    }

    /// The id of the last token of an answer that runs; none before the first.
    pub fn token(&self, answer: u32) -> Option<u32> {
        self.running(answer).ok()?.tokens().last().copied()
    }

    /// BLAKE3 of the logits the last token was chosen from, as f32 in little-endian order, in hexadecimal,
    /// into the output: the evidence that a page computes what everybody computes.
    ///
    /// # Errors
    ///
    /// [`HostError::Unknown`] if there is no such answer, or if it has ended.
    pub fn digest_logits(&mut self, answer: u32) -> Result<(), HostError> {
        let bytes: Vec<u8> =
            self.running(answer)?.logits().iter().flat_map(|logit| logit.to_le_bytes()).collect();
        self.output = Digest::of(&bytes).to_hex().into_bytes();
        Ok(())
    }

    /// Forgets an answer.
    ///
    /// # Errors
    ///
    /// [`HostError::Unknown`] if there is no such answer.
    pub fn close_answer(&mut self, answer: u32) -> Result<(), HostError> {
        self.output.clear();
        self.answers.close(answer)
    }

    fn running(&self, answer: u32) -> Result<&Answer, HostError> {
        let unknown = HostError::Unknown { kind: "running answer", handle: answer };
        self.answers.get(answer)?.as_ref().ok_or(unknown)
    }

    /// A page would need years to use them up.
    fn handle(&mut self) -> u32 {
        let handle = self.next;
        self.next += 1;
        handle
    }
}

/// Bytes that begin at a multiple of eight, so that f32 payloads are used where they lie.
#[derive(Debug, Default)]
struct Words {
    words: Vec<u64>,
    bytes: usize,
}

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }
}

impl AsMut<[u8]> for Words {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::model::open_bytes;
    use crate::runtime::generate;

    const ADD: &[u8] = include_bytes!("../../examples/parents/add.slm");
    const SORT: &[u8] = include_bytes!("../../examples/parents/sort.slm");

    fn give(host: &mut Host, bytes: &[u8]) {
        host.input(bytes.len()).unwrap().copy_from_slice(bytes);
    }

    fn opened(host: &mut Host, bytes: &[u8]) -> u32 {
        give(host, bytes);
        host.open().unwrap()
    }

    fn started(host: &mut Host, model: u32, prompt: &str, sampling: Sampling) -> u32 {
        give(host, prompt.as_bytes());
        host.start(model, 12, sampling).unwrap()
    }

    /// Steps an answer to its end: its tokens, its text.
    fn all(host: &mut Host, answer: u32) -> (Vec<u32>, String, StopReason) {
        let (mut tokens, mut text) = (Vec::new(), Vec::new());
        loop {
            let step = host.step(answer).unwrap();
            text.extend_from_slice(host.output());
            match step {
                Step::Reading => {}
                Step::Token => tokens.push(host.token(answer).unwrap()),
                Step::Ended(reason) => return (tokens, String::from_utf8(text).unwrap(), reason),
            }
        }
    }

    #[test]
    fn two_models_answer_step_by_step_as_they_do_at_once() {
        let mut host = Host::new();
        let models = [opened(&mut host, ADD), opened(&mut host, SORT)];
        assert_ne!(models[0], models[1]);
        let wild = Sampling { temperature: 1.5, top_k: 50, top_p: 0.95, seed: 7 };
        let long = "r:abcdefgh -> ".repeat(3);
        for (handle, bytes) in models.into_iter().zip([ADD, SORT]) {
            let model = Model::new(Arc::new(open_bytes(Arc::new(bytes.to_vec())).unwrap())).unwrap();
            for (prompt, sampling) in [("12+34=", Sampling::GREEDY), ("s:dcba=", wild), (&long, wild)] {
                let options = GenerateOptions { max_tokens: 12, sampling, stop: None };
                let expected =
                    generate(&model, prompt, &options, &mut |_, _| ControlFlow::Continue(())).unwrap();
                let answer = started(&mut host, handle, prompt, sampling);
                let (tokens, text, reason) = all(&mut host, answer);
                assert_eq!((tokens, text, reason), (expected.tokens, expected.text, expected.stop_reason));
                assert!(host.step(answer).is_err(), "an ended answer has no next step");
                host.close_answer(answer).unwrap();
            }
        }
    }

    #[test]
    fn answers_run_side_by_side_and_outlive_their_model() {
        let mut host = Host::new();
        let model = opened(&mut host, ADD);
        let alone = started(&mut host, model, "12+34=", Sampling::GREEDY);
        let alone = all(&mut host, alone);
        let [a, b] = [(); 2].map(|()| started(&mut host, model, "12+34=", Sampling::GREEDY));
        host.close_model(model).unwrap();
        assert_eq!(host.step(a).unwrap(), Step::Token);
        host.digest_logits(a).unwrap();
        assert_eq!(host.output().len(), 64);
        let b = all(&mut host, b);
        assert_eq!(b, alone);
        host.close_answer(a).unwrap();
        for error in [host.step(a).unwrap_err(), host.close_model(model).unwrap_err()] {
            assert!(matches!(error, HostError::Unknown { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_over_the_budget_is_refused_before_and_after_it_is_given() {
        let mut host = Host::new();
        let error = host.input(DEFAULT_BUDGET + 1).unwrap_err().to_string();
        assert_eq!(error, "the model has 33554433 bytes, over the budget of 33554432");
        give(&mut host, ADD);
        host.set_budget(ADD.len() - 1);
        assert!(matches!(host.open(), Err(HostError::OverBudget { .. })));
        host.set_budget(ADD.len());
        opened(&mut host, ADD);
    }

    #[test]
    fn what_is_no_model_or_no_prompt_is_refused_in_words() {
        let mut host = Host::new();
        give(&mut host, &ADD[..1000]);
        let error = host.open().unwrap_err();
        host.explain(&error);
        assert!(std::str::from_utf8(host.output()).unwrap().contains("SLM1"), "{error}");
        let model = opened(&mut host, ADD);
        for (prompt, part) in
            [(&b""[..], "empty"), (&[b'a', 0xff], "not UTF-8 at byte 1"), (&[b'x'; 500], "500")]
        {
            give(&mut host, prompt);
            let error = host.start(model, 5, Sampling::GREEDY).unwrap_err().to_string();
            assert!(error.contains(part) || error.contains("at most"), "{error}");
        }
        give(&mut host, b"abc");
        let bad = Sampling { top_k: 0, ..Sampling::GREEDY };
        assert!(host.start(model, 5, bad).unwrap_err().to_string().starts_with("top_k"));
        give(&mut host, b"abc");
        host.digest_input();
        assert_eq!(host.output(), Digest::of(b"abc").to_hex().as_bytes());
    }

    #[test]
    fn handles_run_out_without_harm() {
        let mut host = Host::new();
        let model = opened(&mut host, ADD);
        for _ in 0..MAX_HANDLES {
            started(&mut host, model, "1", Sampling::GREEDY);
        }
        give(&mut host, b"1");
        assert!(matches!(host.start(model, 1, Sampling::GREEDY), Err(HostError::Full { kind: "answer" })));
    }
}
