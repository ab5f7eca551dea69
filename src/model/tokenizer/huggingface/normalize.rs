//! What is done to a text before it is cut.

use std::borrow::Cow;

use fancy_regex::Regex;
use unicode_normalization::UnicodeNormalization;

use crate::model::tokenizer::TokenizerError;

/// Steps, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Normalizer(pub Vec<Step>);

/// One step.
#[derive(Debug, Clone)]
pub enum Step {
    /// Unicode normalisation form C.
    Nfc,
    /// Form D.
    Nfd,
    /// Form KC.
    Nfkc,
    /// Form KD.
    Nfkd,
    /// Every character in lower case, by itself.
    Lowercase,
    /// A text put in front of any that is not empty.
    Prepend(String),
    /// Every match replaced.
    Replace(Box<Regex>, String),
    /// White space taken away on the left, on the right.
    Strip(bool, bool),
}

impl Normalizer {
    /// The text after all steps.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Search`] if a pattern that is replaced took too long to be searched for.
    pub fn apply<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, TokenizerError> {
        self.0.iter().try_fold(Cow::Borrowed(text), |text, step| step.apply(&text).map(Cow::Owned))
    }

    /// The characters that it takes out of a text or puts there, where those are a space and what stands for it;
    /// nothing where they may be any.
    pub fn moved(&self) -> Option<Vec<char>> {
        let mut moved = Vec::new();
        for step in &self.0 {
            match step {
                Step::Prepend(front) => moved.extend(front.chars()),
                Step::Replace(pattern, with) if pattern.as_str() == " " => {
                    moved.push(' ');
                    moved.extend(with.chars());
                }
                _ => return None,
            }
        }
        Some(moved)
    }
}

impl Step {
    fn apply(&self, text: &str) -> Result<String, TokenizerError> {
        Ok(match self {
            Self::Nfc => text.nfc().collect(),
            Self::Nfd => text.nfd().collect(),
            Self::Nfkc => text.nfkc().collect(),
            Self::Nfkd => text.nfkd().collect(),
            Self::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
            Self::Prepend(_) if text.is_empty() => String::new(),
            Self::Prepend(front) => format!("{front}{text}"),
            Self::Replace(pattern, with) => {
                let mut out = String::with_capacity(text.len());
                let mut done = 0;
                for found in super::split::matches(pattern, text)? {
                    out.push_str(&text[done..found.start]);
                    out.push_str(with);
                    done = found.end;
                }
                out + &text[done..]
            }
            Self::Strip(left, right) => {
                let text = if *left { text.trim_start() } else { text };
                (if *right { text.trim_end() } else { text }).to_owned()
            }
        })
    }
}
