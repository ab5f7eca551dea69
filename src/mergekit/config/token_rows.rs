//! What a configuration says of single tokens: whose row each of them gets.

use super::{Content, Entries, Node, Reader, get};
use crate::base::located::Located;

/// A token that the child has, and where its row comes from.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// The token.
    pub token: Located<String>,
    /// What stands in where a model lacks the token.
    pub source: Option<Located<RowSource>>,
    /// Whether it stands in where a model has the token, too.
    pub force: bool,
}

/// Where a row comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowSource {
    /// Zeros.
    Zero,
    /// A model's row of the same token.
    Same {
        /// The model.
        model: String,
    },
    /// A model's row of another token.
    Token {
        /// The model.
        model: String,
        /// The token.
        token: String,
    },
    /// A model's row with this number.
    Id {
        /// The model.
        model: String,
        /// The number.
        id: usize,
    },
}

const EXPECTED: &str = "expected a model, `{kind: zero}`, or `{kind: model_token, model: MODEL, token: TOKEN}`, or with \
                        `token_id`";

impl Reader {
    /// The tokens under `tokens`, in written order.
    pub(super) fn token_rows(&mut self, tokenizer: Entries<'_>) -> Vec<TokenRow> {
        let Some(node) = get(tokenizer, "tokens").filter(|node| !node.is_nothing()) else {
            return Vec::new();
        };
        let Content::Map(tokens) = &node.content else {
            let message = format!("`tokens` is {}", node.describe());
            self.mistake(message, &node.span, "expected a mapping of tokens to where their rows come from");
            return Vec::new();
        };
        tokens.iter().filter_map(|(token, node)| self.token_row(token, node)).collect()
    }

    fn token_row(&mut self, token: &Located<String>, node: &Node) -> Option<TokenRow> {
        if token.value.is_empty() {
            self.mistake("a token is empty", &token.span, "expected the token's text");
            return None;
        }
        let entries = self.map(node, "a token", &["source", "force"])?;
        let force = match get(entries, "force") {
            None => false,
            Some(node) => match node.flag() {
                Some(force) => force,
                None => {
                    let message = format!("`force` is {}", node.describe());
                    self.mistake(message, &node.span, "expected true or false");
                    return None;
                }
            },
        };
        let source = get(entries, "source").filter(|node| !node.is_nothing());
        let source = match source {
            None => None,
            Some(node) => Some(Located::new(self.row_source(node)?, node.span.clone())),
        };
        if force && source.is_none() {
            self.mistake("`force` has no row to force", &node.span, "expected a `source`");
        }
        Some(TokenRow { token: token.clone(), source, force })
    }

    fn row_source(&mut self, node: &Node) -> Option<RowSource> {
        let kind = match &node.content {
            Content::Map(entries) => get(entries, "kind"),
            Content::Scalar { .. } | Content::List(_) => None,
        };
        let Some(kind) = kind else {
            return Some(RowSource::Same { model: self.model(node)?.value });
        };
        match kind.text() {
            Some("zero") => {
                self.map(node, "a row of zeros", &["kind"])?;
                Some(RowSource::Zero)
            }
            Some("model_token") => {
                let entries = self.map(node, "a model's row", &["kind", "model", "token", "token_id"])?;
                let model = get(entries, "model").map(|node| self.model(node));
                match (model, get(entries, "token"), get(entries, "token_id")) {
                    (Some(model), Some(token), None) => {
                        let token = self.text(token, "token")?.value;
                        Some(RowSource::Token { model: model?.value, token })
                    }
                    (Some(model), None, Some(id)) => {
                        let Some(row) = id.whole() else {
                            let message = format!("`token_id` is {}", id.describe());
                            self.mistake(message, &id.span, "expected the number of a row, from 0 on");
                            return None;
                        };
                        Some(RowSource::Id { model: model?.value, id: row })
                    }
                    (Some(_), Some(_), Some(id)) => {
                        self.mistake("there are `token` and `token_id`", &id.span, "expected one of them");
                        None
                    }
                    _ => {
                        self.mistake("this names no row of a model", &node.span, EXPECTED);
                        None
                    }
                }
            }
            _ => {
                self.mistake("this is no source of a row", &kind.span, EXPECTED);
                None
            }
        }
    }
}
