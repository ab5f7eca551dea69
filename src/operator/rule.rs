//! Rules: other parameters for some tensors, chosen by name. The first rule that matches wins.
//!
//! In a pattern `*` stands for any run of characters, `?` for one. Names are flat
//! (`layers.3.wq.weight`), so `*` crosses the dots.

use serde::{Deserialize, Serialize};

use super::parameter::{Parameters, Value};

/// Parameters that replace the job's own for tensors whose name matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Pattern over tensor names.
    pub tensors: String,
    /// The replacements; parameters not named here stay as they are.
    pub parameters: Parameters,
}

/// The parameters for one tensor.
pub fn parameters_for(tensor: &str, general: &Parameters, rules: &[Rule]) -> Parameters {
    let mut parameters = general.clone();
    if let Some(rule) = rules.iter().find(|rule| matches(&rule.tensors, tensor)) {
        let replacements = rule.parameters.iter();
        parameters.extend(replacements.map(|(name, value): (&String, &Value)| (name.clone(), value.clone())));
    }
    parameters
}

/// Whether `pattern` describes the whole of `name`.
///
/// Only the last `*` is ever tried again, so the work is at most the product of the lengths.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut i) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while i < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, i));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[i] => {
                at += 1;
                i += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    (at, i) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_match_wins_and_the_rest_stays() {
        let number = |value: f64| Value::Number(value);
        let general = Parameters::from([("a".to_owned(), number(1.0)), ("b".to_owned(), number(2.0))]);
        let rule = |tensors: &str, a: f64| Rule {
            tensors: tensors.to_owned(),
            parameters: Parameters::from([("a".to_owned(), number(a))]),
        };
        let rules = [rule("*.wq.*", 5.0), rule("layers.*", 6.0)];
        let a_and_b = |tensor: &str| {
            let parameters = parameters_for(tensor, &general, &rules);
            (parameters["a"].clone(), parameters["b"].clone())
        };
        assert_eq!(a_and_b("layers.0.wq.weight"), (number(5.0), number(2.0)));
        assert_eq!(a_and_b("layers.0.wk.weight"), (number(6.0), number(2.0)));
        assert_eq!(a_and_b("norm.weight"), (number(1.0), number(2.0)));
    }

    #[test]
    fn stars_and_question_marks() {
        let name = "layers.3.wq.weight";
        for pattern in ["*", name, "layers.*", "*.wq.*", "layers.?.w?.weight", "l*s.*.w*t", "**t"] {
            assert!(matches(pattern, name), "{pattern}");
        }
        for pattern in ["", "layers", "*.wk.*", "layers.??.wq.weight", "*x", "layers.3.wq.weight?"] {
            assert!(!matches(pattern, name), "{pattern}");
        }
        assert!(matches("", ""));
    }

    #[test]
    fn many_stars_end_soon() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(150)));
    }
}
