//! The options of a suite: each evaluator takes some of them.

use super::Resolver;
use super::suites::MAX_TOKENS;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::evaluate::harness::External;
use crate::evaluate::{Evaluator, Measure, Normalise, Options};
use crate::plan::file::{EvalSection, OptionsSection};
use crate::plan::wording::one_of;

/// Longest stop text, delimiter or name of a task, in bytes.
const MAX_TEXT: usize = 256;
/// Most stop texts.
const MAX_STOPS: usize = 16;
/// Most examples before a question.
const MAX_SHOTS: u64 = 1 << 10;
/// Most tokens of a window.
const MAX_WINDOW: u64 = 1 << 20;

impl Resolver<'_> {
    pub(super) fn options(
        &mut self,
        section: &EvalSection,
        evaluator: Option<&'static dyn Evaluator>,
    ) -> Options {
        let given = &section.options;
        if let Some(evaluator) = evaluator {
            self.only_its_own(given, evaluator);
        }
        let stop = given.stop.as_ref().map(|list| list.value.iter().map(|stop| stop.value.clone()).collect());
        self.stops(given);
        if let (Some(window), Some(stride)) = (&given.window, &given.stride)
            && stride.value > window.value
        {
            let message = format!("windows of {} tokens, {} apart, leave gaps", window.value, stride.value);
            self.mistake(
                Diagnostic::error(message, stride.span.clone())
                    .expected(format!("expected 1 to {}, the window", window.value)),
            );
        }
        if evaluator.is_some_and(|evaluator| evaluator.name() == External::NAME) && given.task.is_none() {
            self.mistake(
                Diagnostic::error("an external evaluation needs a `task`", section.span.clone())
                    .expected("expected `task`, as lm-evaluation-harness calls it"),
            );
        }
        Options {
            max_tokens: self.within("max_tokens", given.max_tokens.as_ref(), 1, MAX_TOKENS),
            stop,
            normalise: given.normalise.as_ref().and_then(|word| self.normalise(word)),
            delimiter: self.short("delimiter", given.delimiter.as_ref()),
            window: self.within("window", given.window.as_ref(), 1, MAX_WINDOW),
            stride: self.within("stride", given.stride.as_ref(), 1, MAX_WINDOW),
            task: self.short("task", given.task.as_ref()),
            task_metric: self.short("task_metric", given.task_metric.as_ref()),
            task_version: self.short("task_version", given.task_version.as_ref()),
            harness_version: self.short("harness_version", given.harness_version.as_ref()),
            num_fewshot: self.within("num_fewshot", given.num_fewshot.as_ref(), 0, MAX_SHOTS),
        }
    }

    fn only_its_own(&mut self, given: &OptionsSection, evaluator: &dyn Evaluator) {
        let takes = evaluator.options();
        for (key, span) in spans(given) {
            if !takes.contains(&key) {
                let message = format!("`{}` has no option `{key}`", evaluator.name());
                let expected =
                    if takes.is_empty() { "expected no options".to_owned() } else { one_of(takes) };
                self.mistake(Diagnostic::error(message, span).expected(expected).help("remove it"));
            }
        }
    }

    fn within(&mut self, key: &str, given: Option<&Located<u64>>, least: u64, most: u64) -> Option<u64> {
        let given = given?;
        if !(least..=most).contains(&given.value) {
            self.mistake(
                Diagnostic::error(format!("`{key}` cannot be {}", given.value), given.span.clone())
                    .expected(format!("expected {least} to {most}")),
            );
        }
        Some(given.value)
    }

    fn short(&mut self, key: &str, given: Option<&Located<String>>) -> Option<String> {
        let given = given?;
        if given.value.len() > MAX_TEXT {
            self.mistake(
                Diagnostic::error(format!("`{key}` has {} bytes", given.value.len()), given.span.clone())
                    .expected(format!("expected at most {MAX_TEXT}")),
            );
        }
        Some(given.value.clone())
    }

    fn stops(&mut self, given: &OptionsSection) {
        let Some(list) = &given.stop else { return };
        if list.value.len() > MAX_STOPS {
            let message = format!("{} stop texts are too many", list.value.len());
            self.mistake(
                Diagnostic::error(message, list.span.clone())
                    .expected(format!("expected at most {MAX_STOPS}")),
            );
        }
        for stop in &list.value {
            if stop.value.is_empty() || stop.value.len() > MAX_TEXT {
                let message = format!("a stop text of {} bytes", stop.value.len());
                self.mistake(
                    Diagnostic::error(message, stop.span.clone())
                        .expected(format!("expected 1 to {MAX_TEXT} bytes"))
                        .help("an empty text would end every answer before it begins"),
                );
            }
        }
    }

    fn normalise(&mut self, word: &Located<String>) -> Option<Normalise> {
        let found = Normalise::ALL.iter().find(|(name, _)| *name == word.value).map(|(_, way)| *way);
        if found.is_none() {
            self.unknown("way to normalise", word, |_| {
                Normalise::ALL.iter().map(|(name, _)| *name).collect()
            });
        }
        found
    }
}

/// The options that are given, and where.
fn spans(given: &OptionsSection) -> Vec<(&'static str, std::ops::Range<usize>)> {
    fn at<T>(option: &Option<Located<T>>) -> Option<std::ops::Range<usize>> {
        option.as_ref().map(|located| located.span.clone())
    }
    let all = [
        ("max_tokens", at(&given.max_tokens)),
        ("stop", at(&given.stop)),
        ("normalise", at(&given.normalise)),
        ("delimiter", at(&given.delimiter)),
        ("window", at(&given.window)),
        ("stride", at(&given.stride)),
        ("task", at(&given.task)),
        ("task_metric", at(&given.task_metric)),
        ("task_version", at(&given.task_version)),
        ("harness_version", at(&given.harness_version)),
        ("num_fewshot", at(&given.num_fewshot)),
    ];
    all.into_iter().filter_map(|(key, span)| Some((key, span?))).collect()
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    fn with(options: &str) -> Vec<String> {
        let plan = GOOD.replace("use = \"both\"\nmax_tokens = 4", &format!("use = \"both\"\n{options}"));
        mistakes(&plan).into_iter().map(|found| format!("{}; {}", found.message, found.label)).collect()
    }

    #[test]
    fn an_option_belongs_to_its_evaluator() {
        assert_eq!(
            with("window = 3"),
            ["`exact_match` has no option `window`; expected one of `max_tokens`, `stop`, `normalise`"]
        );
        assert_eq!(with("normalise = \"upper\"").len(), 1);
        assert_eq!(with("stop = [\"\"]"), ["a stop text of 0 bytes; expected 1 to 256 bytes"]);
        assert_eq!(with("max_tokens = 0"), ["`max_tokens` cannot be 0; expected 1 to 4096"]);
        let plan = GOOD
            .replace("max_tokens = 4\n\n[[gate]]", "stop = [\"\\n\"]\nnormalise = \"lowercase\"\n\n[[gate]]");
        let plan = Folder::new().plan(&plan);
        assert_eq!(plan.suites[0].options.given(), ["stop", "normalise"]);
    }

    #[test]
    fn windows_leave_no_gaps() {
        let folder = Folder::new();
        folder.write("text.jsonl", b"{\"id\":\"a\",\"text\":\"words\"}\n");
        let suite = "[[eval]]\nname = \"text\"\nkind = \"perplexity\"\ncases = \"text.jsonl\"\n\
                     window = 4\nstride = 5\n\n[review]\nobjectives = [\"digits\", \"text\"]";
        let found = folder.mistakes(&GOOD.replace("[review]", suite));
        assert_eq!(found[0].message, "windows of 4 tokens, 5 apart, leave gaps");
    }
}
