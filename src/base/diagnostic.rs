//! What a person is told when something is wrong: what, where, what was expected, what to do.
//!
//! A diagnostic is a value; rooms make them, the command line renders them. Rendering is the one
//! rustc made familiar: `file:line:column`, the line itself, a caret, and help below.

use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::base::located::line_column;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The plan cannot be used.
    Error,
    /// It can, but probably says something else than was meant.
    Warning,
}

/// One thing to tell, at a place in a source text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Byte range in the source; none for the whole file.
    pub span: Option<Range<usize>>,
    /// Said at the caret: what was expected.
    pub label: String,
    /// What to do about it, one line each.
    pub help: Vec<String>,
    /// Whether what a place names was damaged since: no mistake of whoever wrote it.
    pub damage: bool,
    /// The stage that reads what a place names, where that cannot be read: if it ever was, this is damage, too.
    pub read_by: Option<Box<str>>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(message: impl Into<String>, span: Range<usize>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: Some(span),
            label: String::new(),
            help: Vec::new(),
            damage: false,
            read_by: None,
        }
    }

    /// A warning at a place.
    pub fn warning(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message, span) }
    }

    /// What was expected, said at the caret.
    #[must_use]
    pub fn expected(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// What is named is not any more what it was.
    #[must_use]
    pub fn damage(mut self, is_it: bool) -> Self {
        self.damage = is_it;
        self
    }

    /// The stage that reads what is named.
    #[must_use]
    pub fn read_by(mut self, stage: impl Into<Box<str>>) -> Self {
        self.read_by = Some(stage.into());
        self
    }

    /// One more line of help.
    #[must_use]
    pub fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }
}

/// Renders diagnostics in source order for a terminal; `colour` as the reader's terminal allows.
pub fn render(diagnostics: &[Diagnostic], file: &str, source: &str, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut sorted: Vec<_> = diagnostics.iter().collect();
    sorted.sort_by_key(|d| (d.span.as_ref().map_or(0, |span| span.start), d.severity));
    sorted
        .into_iter()
        .map(|diagnostic| {
            let level = match diagnostic.severity {
                Severity::Error => Level::ERROR,
                Severity::Warning => Level::WARNING,
            };
            let mut snippet = Snippet::source(source).path(file).fold(true);
            if let Some(span) = &diagnostic.span {
                let end = span.end.min(source.len());
                let span = span.start.min(end)..end;
                let mut caret = AnnotationKind::Primary.span(span);
                if !diagnostic.label.is_empty() {
                    caret = caret.label(diagnostic.label.as_str());
                }
                snippet = snippet.annotation(caret);
            }
            let group = level.primary_title(diagnostic.message.as_str()).element(snippet);
            let group: Group<'_> = diagnostic
                .help
                .iter()
                .fold(group, |group, line| group.element(Level::HELP.message(line.as_str())));
            renderer.render(&[group]) + "\n"
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Nobody reads more; the rest is counted.
const MOST_SHOWN: usize = 100;

/// What there is to say about a text that a person wrote.
#[derive(Debug)]
pub struct Findings {
    /// The text's path as the person gave it.
    pub path: PathBuf,
    /// Its text.
    pub source: String,
    /// Everything wrong with it, or worth a warning.
    pub diagnostics: Vec<Diagnostic>,
}

impl Findings {
    /// All of it in source order, as a person reads it; empty if there is nothing to say.
    pub fn render(&self, colour: bool) -> String {
        let mut shown = self.diagnostics.clone();
        shown.sort_by_key(|found| (found.span.as_ref().map_or(0, |span| span.start), found.severity));
        shown.truncate(MOST_SHOWN);
        let mut text = render(&shown, &self.path.display().to_string(), &self.source, colour);
        if self.diagnostics.len() > MOST_SHOWN {
            text += &format!("\n... and {} more\n", self.diagnostics.len() - MOST_SHOWN);
        }
        text
    }

    /// How many are errors.
    pub fn errors(&self) -> usize {
        self.mistakes().count()
    }

    /// What was damaged or lost, where nothing else is wrong.
    pub fn damage(&self) -> Option<Vec<&Diagnostic>> {
        self.nothing_but(|found| found.damage)
    }

    /// All mistakes, if there are any and each is one of these.
    pub fn nothing_but(&self, is_one: impl Fn(&Diagnostic) -> bool) -> Option<Vec<&Diagnostic>> {
        let all: Vec<_> = self.mistakes().collect();
        (!all.is_empty() && all.iter().all(|found| is_one(found))).then_some(all)
    }

    fn mistakes(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|found| found.severity == Severity::Error)
    }
}

/// `line:column: message` for machine-readable output.
pub fn position(diagnostic: &Diagnostic, source: &str) -> (usize, usize) {
    line_column(source, diagnostic.span.as_ref().map_or(0, |span| span.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_place_caret_expectation_and_help() {
        let source = "[cycle]\nname = \"x\"\nsed = 1\n";
        let at = source.find("sed").unwrap();
        let diagnostic = Diagnostic::error("unknown key `sed` in [cycle]", at..at + 3)
            .expected("expected one of: name, seed")
            .help("did you mean `seed`?");
        let text = render(&[diagnostic], "plan.toml", source, false);
        for part in ["plan.toml:3:1", "sed = 1", "^^^ expected one of", "did you mean `seed`?"] {
            assert!(text.contains(part), "{part:?} is missing from\n{text}");
        }
    }
}
