//! How cases are asked and judged, as far as a plan may say.
//!
//! One set for all evaluators; each says which of them it takes, and a plan that gives another is
//! refused. What is not given is absent from the records that bind a plan, so a new option changes no old
//! key; a sidecar says what was really done, see [`Options::effective`].

use serde::{Deserialize, Serialize};

/// What a plan says of one suite beyond its cases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Most tokens of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// The answer ends before the first of these texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// What is evened out on both sides before texts are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
    /// What stands between a question and each of its choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// Tokens a text is read in at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
    /// From the start of one window to that of the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<u64>,
    /// The task of another harness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Which of its metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_metric: Option<String>,
    /// Its version there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_version: Option<String>,
    /// The harness's own version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness_version: Option<String>,
    /// Examples before each question there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_fewshot: Option<u64>,
}

/// The names of all options, as plans write them.
pub const OPTION_NAMES: [&str; 11] = [
    "max_tokens",
    "stop",
    "normalise",
    "delimiter",
    "window",
    "stride",
    "task",
    "task_metric",
    "task_version",
    "harness_version",
    "num_fewshot",
];

/// How texts are evened out before they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalise {
    /// Not at all: byte for byte.
    None,
    /// Without white space at the ends, and one space for each run of it inside.
    Whitespace,
    /// The same, in lower case.
    Lowercase,
}

impl Normalise {
    /// Every way with its word.
    pub const ALL: [(&'static str, Self); 3] =
        [("none", Self::None), ("whitespace", Self::Whitespace), ("lowercase", Self::Lowercase)];

    /// A text evened out.
    pub fn apply(self, text: &str) -> String {
        let words = || text.split_whitespace().collect::<Vec<_>>().join(" ");
        match self {
            Self::None => text.to_owned(),
            Self::Whitespace => words(),
            Self::Lowercase => words().to_lowercase(),
        }
    }
}

/// Tokens an answer has at most if a plan does not say.
pub const DEFAULT_MAX_TOKENS: u64 = 32;
/// The metric of another harness that is meant if a plan does not say.
pub const DEFAULT_TASK_METRIC: &str = "acc";

impl Options {
    /// Most tokens of an answer.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS) as usize
    }

    /// What is evened out.
    pub fn normalise(&self) -> Normalise {
        self.normalise.unwrap_or(Normalise::None)
    }

    /// An answer up to the first stop text.
    pub fn cut<'a>(&self, answer: &'a str) -> &'a str {
        let first = self.stop.iter().flatten().filter_map(|stop| answer.find(stop.as_str())).min();
        &answer[..first.unwrap_or(answer.len())]
    }

    /// The same with what follows from silence written out, for an evaluator that takes the options of these
    /// names. `context` is that of the model: the window if none is given.
    ///
    /// # Errors
    ///
    /// Those of `context`.
    pub fn effective<E>(&self, takes: &[&str], context: impl FnOnce() -> Result<u64, E>) -> Result<Self, E> {
        let takes = |name: &str| takes.contains(&name);
        let mut all = self.clone();
        if takes("max_tokens") {
            all.max_tokens.get_or_insert(DEFAULT_MAX_TOKENS);
        }
        if takes("stop") {
            all.stop.get_or_insert_default();
        }
        if takes("normalise") {
            all.normalise.get_or_insert(Normalise::None);
        }
        if takes("delimiter") {
            all.delimiter.get_or_insert_default();
        }
        if takes("window") {
            let window = all.window.map_or_else(context, Ok)?;
            all.window = Some(window);
            all.stride.get_or_insert(window.div_ceil(2));
        }
        if takes("task_metric") {
            all.task_metric.get_or_insert(DEFAULT_TASK_METRIC.to_owned());
        }
        Ok(all)
    }

    /// The names of those that are given.
    pub fn given(&self) -> Vec<&'static str> {
        let there = [
            self.max_tokens.is_some(),
            self.stop.is_some(),
            self.normalise.is_some(),
            self.delimiter.is_some(),
            self.window.is_some(),
            self.stride.is_some(),
            self.task.is_some(),
            self.task_metric.is_some(),
            self.task_version.is_some(),
            self.harness_version.is_some(),
            self.num_fewshot.is_some(),
        ];
        OPTION_NAMES.into_iter().zip(there).filter_map(|(name, there)| there.then_some(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_written() {
        assert_eq!(serde_json::to_string(&Options::default()).unwrap(), "{}");
        let some = Options { stride: Some(3), stop: Some(vec!["\n".to_owned()]), ..Options::default() };
        assert_eq!(serde_json::to_string(&some).unwrap(), r#"{"stop":["\n"],"stride":3}"#);
        assert_eq!(some.given(), ["stop", "stride"]);
    }

    #[test]
    fn what_follows_from_silence_is_written_out() {
        let none = Options::default();
        let effective = |options: &Options, takes: &[&str]| {
            serde_json::to_string(&options.effective(takes, || Ok::<_, ()>(65)).unwrap()).unwrap()
        };
        assert_eq!(
            effective(&none, &["max_tokens", "stop", "normalise"]),
            r#"{"max_tokens":32,"stop":[],"normalise":"none"}"#
        );
        assert_eq!(effective(&none, &["delimiter"]), r#"{"delimiter":""}"#);
        assert_eq!(effective(&none, &["window", "stride"]), r#"{"window":65,"stride":33}"#);
        let some = Options { window: Some(10), ..Options::default() };
        assert_eq!(effective(&some, &["window", "stride"]), r#"{"window":10,"stride":5}"#);
        assert_eq!(effective(&none, &["task_metric"]), r#"{"task_metric":"acc"}"#);
        assert_eq!(effective(&none, &[]), "{}");
        assert!(none.effective(&["window"], || Err(())).is_err());
    }

    #[test]
    fn texts_are_evened_out_as_said() {
        assert_eq!(Normalise::None.apply(" A  b\n"), " A  b\n");
        assert_eq!(Normalise::Whitespace.apply(" A  b\n"), "A b");
        assert_eq!(Normalise::Lowercase.apply(" A  b\n"), "a b");
    }

    #[test]
    fn an_answer_ends_before_the_first_stop_text() {
        let stops = |stop: &[&str]| Options {
            stop: Some(stop.iter().map(|text| (*text).to_owned()).collect()),
            ..Options::default()
        };
        assert_eq!(stops(&["\n", "Q:"]).cut("yes Q: no\n"), "yes ");
        assert_eq!(stops(&["\n"]).cut("yes"), "yes");
        assert_eq!(stops(&[]).cut("yes\n"), "yes\n");
    }
}
