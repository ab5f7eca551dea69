//! What a configuration says of the child's chat template.

use std::ops::Range;

use super::{Entries, Reader, get};

/// The chat template that a configuration asks for.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    /// Where.
    pub place: Range<usize>,
    /// The template; absent if it is to be the one that most of the models have.
    pub text: Option<String>,
}

/// What is shorter is a name.
const SHORTEST: usize = 20;

impl Reader {
    /// The template, if the configuration asks for one. mergekit knows some by name, which are files of its own.
    pub(super) fn chat_template(&mut self, entries: Entries<'_>) -> Option<ChatTemplate> {
        let node = get(entries, "chat_template").filter(|node| !node.is_nothing())?;
        let text = self.text(node, "chat_template")?;
        if text.value == "auto" {
            return Some(ChatTemplate { place: text.span, text: None });
        }
        if text.value.len() < SHORTEST || !text.value.contains('{') {
            let message = format!("`{}` is no chat template", text.value);
            self.mistake(message, &text.span, "expected `auto`, or the template itself, a text in Jinja");
            return None;
        }
        Some(ChatTemplate { place: text.span, text: Some(text.value) })
    }
}
