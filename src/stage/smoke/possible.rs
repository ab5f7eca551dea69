//! Whether a smoke run can have been as its record says, as far as tokens, lengths and words tell without running it.

use super::{NATIVE, PROGRAM};
use crate::model::Checkpoint;
use crate::record::smoke::{PromptRun, RuntimeSmoke};
use crate::runtime::{RuntimeError, text_of};

/// What is impossible about a record; nothing if it may be as it says. A model that is not run has no prompts.
pub(super) fn impossible(
    smoke: &RuntimeSmoke,
    checkpoint: Option<&Checkpoint>,
    max_tokens: u64,
) -> Option<String> {
    if !is_runtime(&smoke.runtime) {
        return Some(format!("no runtime of this program is called {:?}", smoke.runtime));
    }
    let checkpoint = checkpoint?;
    smoke.prompts.iter().find_map(|run| {
        let why = answer(run, checkpoint, max_tokens)?;
        Some(format!("the prompt {:?} cannot have come to what the record says: {why}", run.prompt))
    })
}

/// Whether some version of this program calls itself so.
fn is_runtime(text: &str) -> bool {
    let version = text.strip_prefix(PROGRAM).and_then(|rest| rest.strip_suffix(NATIVE));
    let is_of_version = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    version.is_some_and(|version| {
        version.starts_with(|first: char| first.is_ascii_digit()) && version.bytes().all(is_of_version)
    })
}

fn answer(run: &PromptRun, checkpoint: &Checkpoint, max_tokens: u64) -> Option<String> {
    let refused = refused(&run.prompt, checkpoint).map(|error| error.to_string());
    if let Some(error) = &run.error {
        let nothing = !run.finite && !run.deterministic && run.logits.is_none();
        return if !(nothing && run.tokens.is_empty() && run.text.is_empty()) {
            Some("a run that fails has no answer".to_owned())
        } else if refused.as_ref().is_some_and(|refused| refused != error)
            || refused.is_none() && !arises(error, checkpoint)
        {
            Some(format!("it does not fail with {error:?}"))
        } else {
            None
        };
    }
    if let Some(refused) = refused {
        return Some(refused);
    }
    if run.finite != run.logits.is_some() {
        return Some("logits have a digest if all of them are finite".to_owned());
    }
    // Nothing is chosen from others.
    if !run.finite && max_tokens > 0 {
        return Some("it fails where logits are not finite".to_owned());
    }
    let room = checkpoint.config.max_context as usize
        - checkpoint.tokenizer.encode_prompt(&run.prompt).map_or(0, |prompt| prompt.len());
    let most = usize::try_from(max_tokens).unwrap_or(usize::MAX).min(room);
    if run.tokens.len() > most {
        return Some(format!("at most {most} tokens follow, not {}", run.tokens.len()));
    }
    match text_of(&checkpoint.tokenizer, &run.tokens) {
        Some(text) if text == run.text => None,
        Some(text) => Some(format!("its tokens are {text:?}, not {:?}", run.text)),
        None => Some("its tokens are none of an answer".to_owned()),
    }
}

/// Why nothing is computed for a prompt at all, in the order in which it is found out.
fn refused(prompt: &str, checkpoint: &Checkpoint) -> Option<RuntimeError> {
    let tokens = match checkpoint.tokenizer.encode_prompt(prompt) {
        Ok(tokens) => tokens,
        Err(error) => return Some(RuntimeError::Text(error)),
    };
    let (max_context, vocab) =
        (checkpoint.config.max_context as usize, checkpoint.config.vocab_size as usize);
    if tokens.is_empty() || tokens.len() > max_context {
        return Some(RuntimeError::Context { context: tokens.len(), max_context });
    }
    if let Some(token) = tokens.iter().copied().find(|token| *token as usize >= vocab) {
        return Some(RuntimeError::Token { token, vocab });
    }
    if prompt.is_empty() {
        return Some(RuntimeError::EmptyPrompt);
    }
    (tokens.len() >= max_context)
        .then(|| RuntimeError::LongPrompt { tokens: tokens.len(), most: max_context - 1 })
}

/// Whether a run fails with these words when something is computed: of logits, or of a token without a text.
fn arises(error: &str, checkpoint: &Checkpoint) -> bool {
    let is = |found: RuntimeError| found.to_string() == error;
    let of_logit = |token| {
        let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        values.into_iter().any(|value| is(RuntimeError::NotFinite { token, value }))
    };
    let mut ids = 0..checkpoint.config.vocab_size;
    ids.any(|id| of_logit(id) || checkpoint.tokenizer.bytes(id).is_err_and(|error| is(error.into())))
}
