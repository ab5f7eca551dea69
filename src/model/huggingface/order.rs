//! The order of tensors that have no order of their own.
//!
//! An index is a JSON object and its files are cut by size, so neither says what comes first. Sorted
//! by name, layer 10 would come before layer 2; here the parts of a name that are numbers are
//! compared as numbers.

use std::cmp::Ordering;

/// Compares names part by part, parts being what dots separate: numbers by value and before words.
///
/// A total order: names that only differ in leading zeros are told apart by their text.
pub fn by_layer(a: &str, b: &str) -> Ordering {
    let parts = a.split('.').map(Part::of);
    parts.cmp(b.split('.').map(Part::of)).then_with(|| a.cmp(b))
}

/// A part of a name; a number is compared by how many digits it has, then digit by digit.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Number(usize, &'a str),
    Word(&'a str),
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Self {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Word(text);
        }
        let digits = text.trim_start_matches('0');
        Self::Number(digits.len(), digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_come_by_number() {
        let sorted = [
            "lm_head.weight",
            "model.embed_tokens.weight",
            "model.layers",
            "model.layers.0.mlp.down_proj.weight",
            "model.layers.0.self_attn.q_proj.weight",
            "model.layers.02.x",
            "model.layers.2.x",
            "model.layers.10.a",
            "model.layers.99999999999999999999999.a",
            "model.layers.a",
            "model.norm.weight",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(by_layer(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
    }
}
