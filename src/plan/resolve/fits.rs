//! That what a suite or a smoke run asks has room in the context of the models that are asked.
//!
//! Children have the context and the tokens of the model they are like, so the parents say for all. What is
//! too long would stop an evaluation after everything before it was computed; it is a mistake. An expected
//! answer that takes more tokens than an answer may have is only never given; that is worth a warning, and so is
//! what a run refuses of its candidates.

use std::collections::BTreeMap;

use super::Resolver;
use super::parents::Models;
use crate::base::diagnostic::Diagnostic;
use crate::base::digest::Digest;
use crate::base::name::Name;
use crate::evaluate::perplexity::Perplexity;
use crate::evaluate::quantization_delta::QuantizationDelta;
use crate::evaluate::{self, Evaluator, Measure, Room};
use crate::model::context::bounded_by;
use crate::model::tokenizer::TokenizerError;
use crate::model::{Checkpoint, Package};
use crate::plan::file::EvalSection;
use crate::plan::resolved::{Smoke, Suite};
use crate::plan::wording::count;

/// Tokens that stand around a text at most: no tokenizer makes more tokens of one than it has bytes, and
/// these.
const AROUND: usize = 16;

/// The evaluators that read whole texts.
const READ: [&str; 2] = [Perplexity::NAME, QuantizationDelta::NAME];

/// A model that is asked.
struct Reader<'m> {
    name: &'m Name,
    context: u64,
    /// Which word of its files says so.
    bounded_by: String,
    checkpoint: Checkpoint,
}

impl std::fmt::Display for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the context of `{}` has {} ({})", self.name, self.context, self.bounded_by)
    }
}

impl Reader<'_> {
    /// Tokens that are fed for a case, or a number below that if it is surely small enough.
    fn needed(&self, room: &Room) -> Result<u64, TokenizerError> {
        let mut longest = 0;
        for text in &room.texts {
            let short = (text.len() + AROUND) as i64 + room.more <= self.context as i64;
            let tokens = if short { 0 } else { self.checkpoint.tokenizer.encode_prompt(text)?.len() };
            longest = longest.max(tokens as i64);
        }
        Ok((longest + room.more).max(0) as u64)
    }

    fn is_longer(&self, text: &str, most: usize) -> bool {
        let tokens = || self.checkpoint.tokenizer.encode_text(text);
        text.len() > most && tokens().is_ok_and(|tokens| tokens.len() > most)
    }
}

/// For each tokenizer the model of the smallest context.
fn readers(models: &Models) -> Vec<Reader<'_>> {
    let mut found: BTreeMap<Digest, Reader<'_>> = BTreeMap::new();
    for (name, facts) in models {
        // What cannot be run was told, and is asked nothing.
        let Ok(checkpoint) = facts.package.checkpoint() else { continue };
        let context = u64::from(checkpoint.config.max_context);
        let known = found.get(&checkpoint.tokenizer.digest());
        if known.is_none_or(|known| context < known.context) {
            let bounded_by = bounded_by(&facts.package).unwrap_or_default();
            found.insert(checkpoint.tokenizer.digest(), Reader { name, context, bounded_by, checkpoint });
        }
    }
    found.into_values().collect()
}

impl Resolver<'_> {
    pub(super) fn suites_fit(&mut self, suites: &[Suite], models: &Models) {
        let readers = readers(models);
        for suite in suites {
            let sections = &self.file.evals;
            let named =
                |section: &&EvalSection| section.name.as_ref().is_some_and(|name| name.value == suite.name);
            let Some(section) = sections.iter().find(named) else { continue };
            let Some(evaluator) = evaluate::find(suite.kind) else { continue };
            if self.nothing_before_texts(section, suite, models) {
                continue;
            }
            // One mistake of a suite is enough.
            let told = readers.iter().any(|reader| {
                self.window_fits(section, suite, reader) || self.cases_fit(section, suite, evaluator, reader)
            });
            if !told {
                self.answers_fit(section, suite, evaluator, &readers);
            }
        }
    }

    /// A prompt that leaves no room for an answer is one that no candidate answers.
    pub(super) fn prompts_fit(&mut self, smoke: &Smoke, models: &Models) {
        let named = self.file.smoke.as_ref().and_then(|section| section.prompts.as_ref());
        let Some(named) = named else { return };
        for reader in readers(models) {
            let long = smoke.prompts.iter().zip(&named.value).find_map(|(prompt, named)| {
                let room = Room { texts: vec![prompt.clone()], more: 1, answer: None };
                let needed = reader.needed(&room).ok()?;
                (needed > reader.context).then_some((needed, named))
            });
            let Some((needed, named)) = long else { continue };
            let message = format!("a prompt and a token of an answer take {needed} tokens, {reader}");
            self.mistake(
                Diagnostic::warning(message, named.span.clone())
                    .expected("expected prompts that every model has room for")
                    .help(
                        "candidates like it are made, with receipts, and refused by the gate `runtime-smoke`",
                    ),
            );
            return;
        }
    }

    /// Whether a mistake was told: a text that is read needs something from which its first token follows.
    fn nothing_before_texts(&mut self, section: &EvalSection, suite: &Suite, models: &Models) -> bool {
        let Some(kind) = section.kind.as_ref().filter(|_| READ.contains(&suite.kind)) else { return false };
        let nothing = |package: &Package| {
            let checkpoint = package.checkpoint();
            checkpoint.is_ok_and(|checkpoint| checkpoint.tokenizer.encode_whole("") == Ok(None))
        };
        let Some((name, _)) = models.iter().find(|(_, facts)| nothing(&facts.package)) else { return false };
        let message = format!(
            "`{name}` cannot be measured by `{}`: nothing stands before the first token of a text",
            suite.kind
        );
        self.mistake(
            Diagnostic::error(message, kind.span.clone())
                .expected("expected models that say with which id a text begins or ends")
                .help("add `bos_token_id` or `eos_token_id` to its config.json, as its makers have it"),
        );
        true
    }

    /// Whether a mistake was told.
    fn window_fits(&mut self, section: &EvalSection, suite: &Suite, reader: &Reader<'_>) -> bool {
        let given = [("window", &section.options.window), ("stride", &section.options.stride)];
        let long = given.into_iter().find_map(|(key, given)| {
            given.as_ref().filter(|given| given.value > reader.context).map(|given| (key, given))
        });
        let Some((key, long)) = long else { return false };
        let message = format!("a `{key}` of {} tokens on `{}`: {reader}", long.value, suite.name);
        self.mistake(
            Diagnostic::error(message, long.span.clone())
                .expected(format!("expected 1 to {}", reader.context)),
        );
        true
    }

    /// Whether a mistake was told.
    fn cases_fit(
        &mut self,
        section: &EvalSection,
        suite: &Suite,
        evaluator: &dyn Evaluator,
        reader: &Reader<'_>,
    ) -> bool {
        let Some(read) = self.read.get(&suite.name) else { return false };
        let needed = read.cases.iter().enumerate().filter_map(|(at, case)| {
            let needed = reader.needed(&evaluator.room(case, &suite.options).ok()?);
            (!needed.as_ref().is_ok_and(|needed| *needed <= reader.context)).then_some((at + 1, needed))
        });
        let long: Vec<(usize, Result<u64, TokenizerError>)> = needed.collect();
        let (Some((line, needed)), Some(named)) = (long.first(), &section.cases) else { return false };
        let (file, name) = (self.folder.join(&named.value), reader.name);
        let message = match needed {
            Ok(needed) => format!("{}:{line}: the case takes {needed} tokens, {reader}", file.display()),
            Err(error) => format!("{}:{line}: `{name}` cannot read the case: {error}", file.display()),
        };
        let others = long.len() - 1;
        let mut mistake = Diagnostic::error(message, named.span.clone())
            .expected("expected cases that every model has room for, and for a token of an answer");
        if others > 0 {
            let are = if others == 1 { "case is" } else { "cases are" };
            mistake = mistake.help(format!("{others} more {are} too long"));
        }
        self.mistake(mistake);
        true
    }

    fn answers_fit(
        &mut self,
        section: &EvalSection,
        suite: &Suite,
        evaluator: &dyn Evaluator,
        readers: &[Reader<'_>],
    ) {
        let (Some(read), Some(named)) = (self.read.get(&suite.name), &section.cases) else { return };
        let most = suite.options.max_tokens();
        if most == 0 {
            // A mistake that was told.
            return;
        }
        let long: Vec<usize> = (1..)
            .zip(&read.cases)
            .filter(|(_, case)| {
                let answer = evaluator.room(case, &suite.options).ok().and_then(|room| room.answer);
                answer.is_some_and(|answer| readers.iter().any(|reader| reader.is_longer(&answer, most)))
            })
            .map(|(line, _)| line)
            .collect();
        let Some(line) = long.first() else { return };
        let span = section.options.max_tokens.as_ref().map_or(&named.span, |given| &given.span);
        let message = format!(
            "{}:{line}: the expected answer has more tokens than an answer may have, {most}",
            self.folder.join(&named.value).display()
        );
        self.mistake(
            Diagnostic::warning(message, span.clone())
                .expected("expected a `max_tokens` that every right answer fits into")
                .help(format!(
                    "no model can be right on {} of {}",
                    long.len(),
                    count(read.cases.len(), "case")
                )),
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD};

    const DIGITS: &str = "cases = \"suite.jsonl\"";

    /// What is said of a suite of this kind with these cases; models have a context of 64 bytes.
    fn said(kind: &str, cases: &str, options: &str) -> Vec<String> {
        let folder = Folder::new();
        folder.write("more.jsonl", cases.as_bytes());
        let more = format!(
            "[[eval]]\nname = \"more\"\nkind = \"{kind}\"\ncases = \"more.jsonl\"\n{options}\n\n[review]\n\
             objectives = [\"digits\", \"more\"]"
        );
        assert!(GOOD.contains(DIGITS));
        let (_, found) = folder.check(&GOOD.replace("[review]", &more));
        let short = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        found.iter().map(|found| short(&found.message)).collect()
    }

    #[test]
    fn prompts_leave_room_for_an_answer() {
        let case =
            |n: usize| format!("{{\"id\":\"a\",\"prompt\":\"{}\",\"expected\":\"b\"}}\n", "x".repeat(n));
        // A token that begins the sequence, the prompt, and one of the answer.
        assert!(said("exact_match", &case(62), "").is_empty());
        assert_eq!(
            said("exact_match", &case(63), ""),
            [
                "more.jsonl:1: the case takes 65 tokens, the context of `base` has 64 (`max_context` of its header)"
            ]
        );
    }

    #[test]
    fn choices_fit_with_their_questions() {
        let case = |n: usize| {
            format!(
                "{{\"id\":\"a\",\"prompt\":\"p\",\"choices\":[\"y\",\"{}\"],\"answer\":0}}\n",
                "x".repeat(n)
            )
        };
        assert!(said("multiple_choice", &case(62), "delimiter = \" \"").is_empty());
        assert_eq!(
            said("multiple_choice", &case(63), "delimiter = \" \""),
            [
                "more.jsonl:1: the case takes 65 tokens, the context of `base` has 64 (`max_context` of its header)"
            ]
        );
    }

    #[test]
    fn windows_and_workloads_fit() {
        let text = "{\"id\":\"a\",\"text\":\"any length will do\"}\n";
        assert!(said("perplexity", text, "window = 64").is_empty());
        assert_eq!(
            said("perplexity", text, "window = 4096"),
            [
                "a `window` of 4096 tokens on `more`: the context of `base` has 64 (`max_context` of its header)"
            ]
        );
        assert_eq!(
            said("perplexity", text, "stride = 65"),
            ["a `stride` of 65 tokens on `more`: the context of `base` has 64 (`max_context` of its header)"]
        );
        let load = |n: u64| format!("{{\"id\":\"a\",\"prompt_tokens\":60,\"new_tokens\":{n}}}\n");
        assert!(said("resource", &load(4), "").is_empty());
        assert_eq!(
            said("resource", &load(5), ""),
            [
                "more.jsonl:1: the case takes 65 tokens, the context of `base` has 64 (`max_context` of its header)"
            ]
        );
    }

    #[test]
    fn answers_that_cannot_be_given_are_warned_of() {
        let cases = "{\"id\":\"a\",\"prompt\":\"p\",\"expected\":\"four\"}\n\
                     {\"id\":\"b\",\"prompt\":\"q\",\"expected\":\"seven\"}\n";
        assert!(said("exact_match", cases, "max_tokens = 5").is_empty());
        assert_eq!(
            said("exact_match", cases, "max_tokens = 4"),
            ["more.jsonl:2: the expected answer has more tokens than an answer may have, 4"]
        );
    }
}
