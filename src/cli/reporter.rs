//! Listens to a run and tells a person: a bar where there is a terminal, a line a stage everywhere.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::context::Terminal;
use crate::engine::execute::{Failure, Progress};
use crate::engine::graph::{StageGraph, StageIndex};
use crate::engine::schedule::End;

/// Tells a run as it happens.
pub(super) struct Reporter<'a> {
    graph: &'a StageGraph,
    terminal: &'a Terminal,
    bar: ProgressBar,
    width: usize,
    /// When the last line was told.
    spoke: Instant,
}

/// After so long without a line people wonder whether anything still happens.
const SILENCE: Duration = Duration::from_secs(10);

impl<'a> Reporter<'a> {
    pub(super) fn new(graph: &'a StageGraph, terminal: &'a Terminal) -> Self {
        let target = if terminal.is_live() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(graph.len() as u64), target);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}");
        bar.set_style(style.expect("the template is well-formed"));
        let width = graph.order.iter().map(|index| graph.node(*index).id.len()).max().unwrap_or(0).min(40);
        Self { graph, terminal, bar, width, spoke: Instant::now() }
    }

    pub(super) fn hear(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Started(stage) => self.bar.set_message(self.graph.node(*stage).id.clone()),
            Progress::Step { stage, done, of } => self.step(*stage, *done, *of),
            Progress::Ended { stage, end, result, took, failure } => {
                self.bar.inc(1);
                let id = self.graph.node(*stage).id.as_str();
                if let Some(failure) = failure {
                    self.failed(failure);
                } else if let (Some(result), Some(took)) = (result, took) {
                    self.line(id, *end, &result.summary, took.as_secs_f64());
                }
            }
        }
    }

    /// How far a long stage is: in the bar, or where there is none as a line now and then.
    fn step(&mut self, stage: StageIndex, done: u64, of: u64) {
        let id = &self.graph.node(stage).id;
        if !self.bar.is_hidden() {
            self.bar.set_message(format!("{id} {done}/{of}"));
        } else if is_due(self.terminal.is_quiet(), self.spoke.elapsed()) {
            let line = how_far(self.terminal, self.width, id, done, of);
            self.tell(&line);
        }
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn line(&mut self, id: &str, end: End, summary: &str, seconds: f64) {
        if self.terminal.is_quiet() {
            return;
        }
        let (mark, colour) = match end {
            End::Rejected => ("refuse", Terminal::YELLOW),
            End::Waits => ("wait", Terminal::CYAN),
            _ => ("done", Terminal::GREEN),
        };
        let mark = self.terminal.paint(&format!("{mark:>6}"), colour);
        let took = self.terminal.paint(&format!("{seconds:>6.2}s"), Terminal::DIM);
        let width = self.width;
        let summary = one_line(summary, 90);
        self.tell(&format!("{mark} {took}  {id:<width$}  {summary}"));
    }

    fn failed(&mut self, failure: &Failure) {
        let mark = self.terminal.paint("  fail", Terminal::RED);
        self.tell(&format!("{mark}           {}: {}", failure.stage, failure.message));
        if let Some(hint) = &failure.hint {
            self.tell(&format!("                 {} {hint}", self.terminal.paint("hint:", Terminal::CYAN)));
        }
    }

    fn tell(&mut self, line: &str) {
        self.spoke = Instant::now();
        // Lost talk must not end a run.
        self.bar.suspend(|| {
            let _ = writeln!(self.terminal.err(), "{line}");
        });
    }
}

/// Whether it is time for a line about a stage that goes on.
fn is_due(quiet: bool, silent: Duration) -> bool {
    !quiet && silent >= SILENCE
}

/// How far a stage is, as a line under those of stages that ended.
fn how_far(terminal: &Terminal, width: usize, id: &str, done: u64, of: u64) -> String {
    let mark = terminal.paint(&format!("{:>6}", "at"), Terminal::DIM);
    format!("{mark} {:>7}  {id:<width$}  {done} of {of} cases", "")
}

/// The beginning of a text, on one line.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if flat.chars().count() <= most { flat } else { flat.chars().take(most - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Color;

    #[test]
    fn a_long_evaluation_says_how_far_it_is_where_there_is_no_bar() {
        let terminal = Terminal::new(Color::Never, false);
        let line = how_far(&terminal, 16, "eval:child.sums", 128, 1000);
        let line = anstream::adapter::strip_str(&line).to_string();
        assert_eq!(line, "    at          eval:child.sums   128 of 1000 cases");
        let ended = format!("{:>6} {:>6.2}s  {:<16}  done", "done", 1.25, "eval:child.sums");
        assert_eq!(line.find("eval"), ended.find("eval"), "under the others");
        assert!(is_due(false, SILENCE) && !is_due(false, SILENCE / 2) && !is_due(true, SILENCE * 2));
    }

    #[test]
    fn cuts_by_characters() {
        assert_eq!(one_line("a\nb", 5), "a b");
        assert_eq!(one_line("ééééé", 4), "ééé…");
    }
}
