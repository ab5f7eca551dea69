//! From a prompt to text, one prompt or thousands.
//!
//! A prompt is encoded without its closing EOS and must leave room for an answer. Then tokens are chosen one
//! by one until the model says EOS (which is not part of the answer), or something runs out: the tokens
//! asked for, the context, the bytes an answer may have. None of these is an error.
//!
//! Many prompts run in batches side by side. Which prompts share a batch, how large batches are and how many
//! threads there are never changes an answer, since no row of a pass looks at another
//! sequence ([`super::forward`]) and every prompt has a sampler of its own.

use std::ops::ControlFlow;

use super::error::RuntimeError;
use super::forward::{Model, Session, Wanted};
use super::sample::{Sampler, Sampling};
use crate::model::tokenizer::{TextStream, Tokenizer};
use crate::tensor::blocks;

/// Longest answer, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 65_536;

/// Prompts that go through the weights together.
const BATCH: usize = 32;

/// How an answer is made.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens of the answer.
    pub max_tokens: usize,
    /// How each is chosen.
    pub sampling: Sampling,
    /// Ends the answer where this text appears; the answer stops before it.
    pub stop: Option<String>,
}

impl GenerateOptions {
    /// Always the likeliest token, at most `max_tokens` of them.
    pub fn greedy(max_tokens: usize) -> Self {
        Self { max_tokens, sampling: Sampling::GREEDY, stop: None }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model said so.
    EndOfSequence,
    /// As many tokens as were asked for.
    MaxTokens,
    /// The context is full.
    ContextEnd,
    /// The stop text appeared.
    StopText,
    /// The next token would have made it longer than [`MAX_OUTPUT_BYTES`].
    OutputLimit,
    /// The caller had enough.
    Cancelled,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The ids chosen, without EOS.
    pub tokens: Vec<u32>,
    /// Their text. Bytes that are no UTF-8 became U+FFFD; `tokens` still has them.
    pub text: String,
    /// Why it ended.
    pub stop_reason: StopReason,
}

/// Continues one prompt. `on_token` sees every id as it is chosen, with the text that became whole by it (a
/// character may need several ids), and can end the answer.
///
/// # Errors
///
/// As [`Answer::new`], before any token; as [`Answer::choose`] of a later one, and the answer so far is lost.
pub fn generate(
    model: &Model,
    prompt: &str,
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(u32, &str) -> ControlFlow<()>,
) -> Result<Generation, RuntimeError> {
    let mut answer = Answer::new(model, prompt, options.clone())?;
    while answer.stop_reason.is_none() {
        answer.feed(usize::MAX)?;
        let Some((token, text)) = answer.choose()? else { break };
        if on_token(token, &text).is_break() {
            answer.stop_reason = Some(StopReason::Cancelled);
        }
    }
    Ok(answer.finish())
}

/// Continues many prompts, each as [`generate`] would; the answers in the order of the prompts.
pub fn generate_batch<S: AsRef<str> + Sync>(
    model: &Model,
    prompts: &[S],
    options: &GenerateOptions,
) -> Vec<Result<Generation, RuntimeError>> {
    // Few prompts on many cores: smaller batches, so that nobody is idle.
    let size = prompts.len().div_ceil(blocks::workers()).clamp(1, BATCH);
    in_batches(model, prompts, options, size)
}

fn in_batches<S: AsRef<str> + Sync>(
    model: &Model,
    prompts: &[S],
    options: &GenerateOptions,
    size: usize,
) -> Vec<Result<Generation, RuntimeError>> {
    let batches: Vec<_> = prompts.chunks(size).collect();
    let spread = batches.len() == 1;
    let answers = blocks::map(&batches, |_, prompts| one_batch(model, prompts, options, spread));
    answers.into_iter().flatten().collect()
}

fn one_batch<S: AsRef<str>>(
    model: &Model,
    prompts: &[S],
    options: &GenerateOptions,
    spread: bool,
) -> Vec<Result<Generation, RuntimeError>> {
    let mut answers: Vec<_> =
        prompts.iter().map(|prompt| Answer::new(model, prompt.as_ref(), options.clone())).collect();
    loop {
        let mut running: Vec<_> =
            answers.iter_mut().flatten().filter(|answer| answer.stop_reason.is_none()).collect();
        if running.is_empty() {
            break;
        }
        let tokens: Vec<_> = running.iter_mut().map(|answer| std::mem::take(&mut answer.pending)).collect();
        let tokens: Vec<_> = tokens.iter().map(Vec::as_slice).collect();
        let mut sessions: Vec<_> = running.iter_mut().map(|answer| &mut answer.session).collect();
        let fed = model.feed(&mut sessions, &tokens, Wanted::Last, spread);
        for answer in &mut answers {
            advance(answer, &fed);
        }
    }
    answers.into_iter().map(|answer| Ok(answer?.finish())).collect()
}

/// One token on, or the error that prevents it: the batch's or this sequence's own.
fn advance(answer: &mut Result<Answer, RuntimeError>, fed: &Result<(), RuntimeError>) {
    let Ok(running) = answer else { return };
    if running.stop_reason.is_some() {
        return;
    }
    if let Err(error) = fed.clone().and_then(|()| running.choose()) {
        *answer = Err(error);
    }
}

/// One answer in the making, for callers that must get a word in between tokens: a page that streams text,
/// and stops.
#[derive(Debug)]
pub struct Answer {
    tokenizer: Tokenizer,
    options: GenerateOptions,
    session: Session,
    sampler: Sampler,
    /// What the session is to be fed next.
    pending: Vec<u32>,
    /// Tokens the context has room for.
    room: usize,
    stream: TextStream,
    tokens: Vec<u32>,
    text: String,
    stop_reason: Option<StopReason>,
}

impl Answer {
    /// Encodes the prompt; nothing is computed yet.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::EmptyPrompt`], or [`RuntimeError::LongPrompt`] if it leaves no room for a token;
    /// [`RuntimeError::Text`] if it cannot be cut into tokens; [`RuntimeError::Sampling`] of a parameter out of
    /// range.
    pub fn new(model: &Model, prompt: &str, options: GenerateOptions) -> Result<Self, RuntimeError> {
        let tokenizer = model.checkpoint().tokenizer.clone();
        let sampler = Sampler::new(options.sampling)?;
        let pending = tokenizer.encode_prompt(prompt).map_err(RuntimeError::Text)?;
        let context = model.dimensions().context;
        if prompt.is_empty() || pending.is_empty() {
            return Err(RuntimeError::EmptyPrompt);
        }
        if pending.len() >= context {
            return Err(RuntimeError::LongPrompt { tokens: pending.len(), most: context - 1 });
        }
        Ok(Self {
            session: Session::new(model, context)?,
            room: context - pending.len(),
            stop_reason: (options.max_tokens == 0).then_some(StopReason::MaxTokens),
            stream: TextStream::new(),
            tokens: Vec::new(),
            text: String::new(),
            tokenizer,
            options,
            sampler,
            pending,
        })
    }

    /// Feeds at most `most` of the tokens that are due: the prompt's, then the last one chosen. How many are
    /// due still; once there are none, [`Self::choose`] may follow. How a prompt is cut changes no bit.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Token`] if the tokenizer has ids that the model has not.
    pub fn feed(&mut self, most: usize) -> Result<usize, RuntimeError> {
        let now = self.pending.len().min(most);
        if now > 0 {
            self.session.feed(&self.pending[..now])?;
            self.pending.drain(..now);
        }
        Ok(self.pending.len())
    }

    /// Chooses the next token from the logits. Returns it with the text that is now whole, and nothing if
    /// the answer ended instead; [`Self::stop_reason`] says whether another may follow.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::NotFinite`] of a logit that is infinite or no number; [`RuntimeError::Tokenizer`] if the
    /// token stands for no text.
    pub fn choose(&mut self) -> Result<Option<(u32, String)>, RuntimeError> {
        let token = self.sampler.choose(self.session.logits())?;
        if self.tokenizer.is_end(token) {
            self.stop_reason = Some(StopReason::EndOfSequence);
            return Ok(None);
        }
        let before = self.stream.clone();
        let text = self.stream.push(&self.tokenizer, token)?;
        if self.text.len() + text.len() > MAX_OUTPUT_BYTES {
            self.stream = before;
            self.stop_reason = Some(StopReason::OutputLimit);
            return Ok(None);
        }
        self.tokens.push(token);
        self.text.push_str(&text);
        self.stop_reason = if self.stopped(text.len()) {
            Some(StopReason::StopText)
        } else if self.tokens.len() == self.options.max_tokens {
            Some(StopReason::MaxTokens)
        } else if self.tokens.len() == self.room {
            Some(StopReason::ContextEnd)
        } else {
            self.pending.push(token);
            None
        };
        Ok(Some((token, text)))
    }

    /// Why it ended, once it has.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.stop_reason
    }

    /// The logits after the last token fed.
    pub fn logits(&self) -> &[f32] {
        self.session.logits()
    }

    /// The ids chosen so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Cuts the text where the stop text begins, if the last `new` bytes completed it.
    fn stopped(&mut self, new: usize) -> bool {
        let Some(stop) = self.options.stop.as_deref().filter(|stop| !stop.is_empty()) else { return false };
        let mut from = self.text.len().saturating_sub(new + stop.len());
        while !self.text.is_char_boundary(from) {
            from -= 1;
        }
        let at = self.text[from..].find(stop).map(|at| from + at);
        if let Some(at) = at {
            self.text.truncate(at);
        }
        at.is_some()
    }

    /// Bytes of its text so far.
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// The answer as far as it came.
    pub fn finish(mut self) -> Generation {
        let stop_reason = self.stop_reason.unwrap_or(StopReason::MaxTokens);
        if stop_reason != StopReason::StopText {
            end(&mut self.text, self.stream, &self.tokenizer, &self.tokens);
        }
        Generation { tokens: self.tokens, text: self.text, stop_reason }
    }
}

/// Ends the text of an answer that no stop text ended.
#[cfg_attr(not(feature = "engine"), expect(unused_variables, reason = "the other tokenizers have no runs"))]
fn end(text: &mut String, stream: TextStream, tokenizer: &Tokenizer, tokens: &[u32]) {
    let rest = stream.finish();
    // A character cut short at the very limit is left out rather than over it.
    if text.len() + rest.len() <= MAX_OUTPUT_BYTES {
        text.push_str(&rest);
    }
    // Bytes that came late may be no text with those before them.
    #[cfg(feature = "engine")]
    if let Ok(Some(whole)) = tokenizer.text_of_runs(tokens)
        && whole.len() <= MAX_OUTPUT_BYTES
    {
        *text = whole;
    }
}

/// The text of an answer of these tokens that no stop text ended; nothing if no answer has them: one of them has no
/// text or ends an answer, or the text is too long.
#[cfg(feature = "engine")]
pub fn text_of(tokenizer: &Tokenizer, tokens: &[u32]) -> Option<String> {
    let (mut stream, mut text) = (TextStream::new(), String::new());
    for token in tokens {
        if tokenizer.is_end(*token) {
            return None;
        }
        text += &stream.push(tokenizer, *token).ok()?;
    }
    if text.len() > MAX_OUTPUT_BYTES {
        return None;
    }
    end(&mut text, stream, tokenizer, tokens);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tokenizer::EOS;
    use crate::runtime::fixture;
    use crate::tensor::dtype::DType;

    fn model() -> Model {
        fixture::model(&fixture::config(), DType::Q8_0)
    }

    /// A byte that is text by itself and none with the one behind it: the whole run is none.
    #[cfg(feature = "engine")]
    #[test]
    fn the_text_of_tokens_is_that_of_the_answer() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers/gemma.json");
        let tokenizer =
            crate::model::tokenizer::HfTokenizer::from_json(&std::fs::read(file).unwrap()).unwrap();
        let id = |byte: u8| {
            (0..tokenizer.vocab_size())
                .find(|id| tokenizer.is_single(*id) && tokenizer.bytes(*id) == Some(&[byte][..]))
        };
        let tokens = [b'A', 0xff].map(|byte| id(byte).unwrap());
        let tokenizer = Tokenizer::HuggingFace(std::sync::Arc::new(tokenizer));
        assert_eq!(text_of(&tokenizer, &tokens).unwrap(), "\u{fffd}\u{fffd}");
        assert_eq!(text_of(&tokenizer, &tokens[..1]).unwrap(), "A");
        assert_eq!(text_of(&tokenizer, &[u32::MAX]), None);
        let model = model();
        for prompt in prompts() {
            let answer = quiet(&model, &prompt, &wild(3, 20));
            if answer.stop_reason != StopReason::StopText {
                assert_eq!(text_of(&model.checkpoint().tokenizer, &answer.tokens).unwrap(), answer.text);
            }
        }
    }

    fn wild(seed: u64, max_tokens: usize) -> GenerateOptions {
        let sampling = Sampling { temperature: 20.0, top_k: 1024, top_p: 1.0, seed };
        GenerateOptions { max_tokens, sampling, stop: None }
    }

    fn quiet(model: &Model, prompt: &str, options: &GenerateOptions) -> Generation {
        generate(model, prompt, options, &mut |_, _| ControlFlow::Continue(())).unwrap()
    }

    fn prompts() -> Vec<String> {
        (0..75_usize).map(|i| "any text will do, really"[i % 9..=i % 9 + i % 14].to_owned()).collect()
    }

    #[test]
    fn an_answer_is_the_greedy_continuation_fed_back_by_hand() {
        let model = model();
        let answer = quiet(&model, "abc", &GenerateOptions::greedy(5));
        let mut session = Session::new(&model, 32).unwrap();
        let mut logits = session.feed(&[256, 97, 98, 99]).unwrap();
        for token in &answer.tokens {
            assert_eq!(crate::runtime::sample::greedy(logits), Ok(*token));
            logits = session.step(*token).unwrap();
        }
        assert_eq!((answer.tokens.len(), answer.stop_reason), (5, StopReason::MaxTokens));
        assert_eq!(answer.text, model.checkpoint().tokenizer.decode_lossy(&answer.tokens).unwrap());
    }

    #[test]
    fn batches_of_any_size_answer_like_single_prompts() {
        let model = model();
        let prompts = prompts();
        for options in [GenerateOptions::greedy(6), wild(9, 40)] {
            let single: Vec<_> = prompts
                .iter()
                .map(|prompt| generate(&model, prompt, &options, &mut |_, _| ControlFlow::Continue(())))
                .collect();
            for size in [1, 2, 7, 32, 75] {
                assert_eq!(in_batches(&model, &prompts, &options, size), single, "batches of {size}");
            }
        }
    }

    #[cfg(feature = "engine")]
    #[test]
    fn any_number_of_threads_gives_the_same_answers() {
        let model = model();
        let prompts = prompts();
        let answers = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| generate_batch(&model, &prompts, &GenerateOptions::greedy(6)))
        };
        let one = answers(1);
        assert!(one.iter().all(Result::is_ok));
        assert_eq!(answers(2), one);
        assert_eq!(answers(7), one);
    }

    #[test]
    fn the_context_end_is_a_stop_and_not_an_error() {
        let answer = quiet(&model(), "abc", &GenerateOptions::greedy(1000));
        assert_eq!((answer.tokens.len(), answer.stop_reason), (28, StopReason::ContextEnd));
    }

    #[test]
    fn the_end_token_ends_and_is_not_part_of_the_answer() {
        let model = model();
        let ended: Vec<_> = (0..200)
            .map(|seed| quiet(&model, "abc", &wild(seed, 25)))
            .filter(|answer| answer.stop_reason == StopReason::EndOfSequence)
            .collect();
        assert!(!ended.is_empty());
        assert!(ended.iter().all(|answer| answer.tokens.len() < 25 && !answer.tokens.contains(&EOS)));
    }

    #[test]
    fn the_stop_text_is_cut_off() {
        let model = model();
        let whole = (0..200).map(|seed| (seed, quiet(&model, "abc", &wild(seed, 20))));
        let (seed, whole) = whole
            .into_iter()
            .find(|(_, answer)| answer.text.chars().filter(char::is_ascii_alphabetic).count() > 5)
            .unwrap();
        let at = whole.text.rfind(|c: char| c.is_ascii_alphabetic()).unwrap();
        let stop = &whole.text[at..=at];
        let answer = quiet(&model, "abc", &GenerateOptions { stop: Some(stop.to_owned()), ..wild(seed, 20) });
        assert_eq!(answer.stop_reason, StopReason::StopText);
        assert_eq!(answer.text, whole.text[..whole.text.find(stop).unwrap()]);
        assert!(whole.tokens.starts_with(&answer.tokens));
    }

    #[test]
    fn the_caller_sees_every_token_and_can_stop() {
        let mut seen = Vec::new();
        let answer = generate(&model(), "abc", &GenerateOptions::greedy(20), &mut |token, _| {
            seen.push(token);
            if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!((answer.tokens, answer.stop_reason), (seen, StopReason::Cancelled));
    }

    #[test]
    fn an_answer_has_a_longest_length() {
        let model = model();
        let options = GenerateOptions::greedy(10);
        let mut answer = Answer::new(&model, "abc", options).unwrap();
        answer.text = "x".repeat(MAX_OUTPUT_BYTES);
        while answer.stop_reason.is_none() {
            answer.feed(usize::MAX).unwrap();
            answer.choose().unwrap();
        }
        let answer = answer.finish();
        assert_eq!(answer.text.len(), MAX_OUTPUT_BYTES);
        assert_eq!(answer.stop_reason, StopReason::OutputLimit);
    }

    #[test]
    fn prompts_without_room_or_content_are_refused_alone() {
        let model = model();
        let long = "x".repeat(31);
        let answers = generate_batch(&model, &["", "abc", &long, &long[1..]], &GenerateOptions::greedy(2));
        assert_eq!(answers[0], Err(RuntimeError::EmptyPrompt));
        assert_eq!(answers[1].as_ref().unwrap().tokens.len(), 2);
        assert_eq!(answers[2], Err(RuntimeError::LongPrompt { tokens: 32, most: 31 }));
        assert_eq!(answers[3].as_ref().unwrap().stop_reason, StopReason::ContextEnd);
        let none = quiet(&model, "abc", &GenerateOptions::greedy(0));
        assert_eq!((none.tokens, none.stop_reason), (vec![], StopReason::MaxTokens));
    }

    /// A byte that is no text makes none of those before it, which were shown as they came: the answer has neither.
    #[cfg(feature = "engine")]
    #[test]
    fn the_text_of_an_answer_is_that_of_all_its_ids() {
        let file = include_bytes!("../../tests/fixtures/tokenizers/gemma3.json");
        let tokenizer = crate::model::tokenizer::HfTokenizer::from_json(file).unwrap();
        let config = crate::model::ModelConfig { vocab_size: 420, max_context: 64, ..fixture::config() };
        let mut checkpoint = fixture::model(&config, DType::F32).checkpoint().clone();
        checkpoint.tokenizer = Tokenizer::HuggingFace(tokenizer.into());
        let model = Model::new(checkpoint.into()).unwrap();
        let mut late = 0;
        for seed in 0..20 {
            let sampling = Sampling { temperature: 50.0, top_k: 420, top_p: 1.0, seed };
            let options = GenerateOptions { sampling, ..GenerateOptions::greedy(40) };
            let mut shown = String::new();
            let answer = generate(&model, "the", &options, &mut |_, text| {
                shown += text;
                ControlFlow::Continue(())
            });
            let answer = answer.unwrap();
            let tokenizer = &model.checkpoint().tokenizer;
            assert_eq!(tokenizer.text_of_runs(&answer.tokens).unwrap().unwrap(), answer.text);
            late += usize::from(!answer.text.starts_with(&shown));
        }
        assert!(late > 0);
    }
}
