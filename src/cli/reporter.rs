//! Listens to a run and tells a person: a bar where there is a terminal, a line a stage everywhere.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::context::Terminal;
use crate::base::wording::count;
use crate::engine::execute::Progress;
use crate::engine::failure::Failure;
use crate::engine::graph::{StageGraph, StageIndex};
use crate::engine::schedule::End;

/// Tells a run as it happens.
pub(super) struct Reporter<'a> {
    graph: &'a StageGraph,
    terminal: &'a Terminal,
    bar: ProgressBar,
    /// Where lines go, above the bar.
    lines: Box<dyn Write + 'a>,
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
        Self::on(graph, terminal, target, Box::new(terminal.err()))
    }

    fn on(
        graph: &'a StageGraph,
        terminal: &'a Terminal,
        target: ProgressDrawTarget,
        lines: Box<dyn Write + 'a>,
    ) -> Self {
        let bar = ProgressBar::with_draw_target(Some(graph.len() as u64), target);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}");
        bar.set_style(style.expect("the template is well-formed"));
        let width = graph.order.iter().map(|index| graph.node(*index).id.len()).max().unwrap_or(0).min(40);
        Self { graph, terminal, bar, lines, width, spoke: Instant::now() }
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
        let Self { bar, lines, .. } = self;
        bar.suspend(|| {
            let _ = writeln!(lines, "{line}");
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
    format!("{mark} {:>7}  {id:<width$}  {done} of {}", "", count(of as usize, "case"))
}

/// The beginning of a text, on one line.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if flat.chars().count() <= most { flat } else { flat.chars().take(most - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;
    use crate::cli::args::Color;
    use crate::engine::graph::Node;
    use crate::stage::Kind;
    use crate::store::{ActionResult, Verdict};

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

    /// What stands on a screen that takes what a terminal takes.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<(Vec<String>, usize)>>);

    impl Screen {
        fn with<T>(&self, change: impl FnOnce(&mut String, &mut usize) -> T) -> T {
            let mut held = self.0.lock().unwrap();
            let (rows, row) = &mut *held;
            if rows.len() <= *row {
                rows.resize(*row + 1, String::new());
            }
            change(&mut rows[*row], row)
        }

        /// Its rows that are not empty.
        fn rows(&self) -> Vec<String> {
            let rows = self.0.lock().unwrap().0.clone();
            let plain = |row: &String| anstream::adapter::strip_str(row).to_string().trim_end().to_owned();
            rows.iter().map(plain).filter(|row| !row.is_empty()).collect()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, rows: usize) -> io::Result<()> {
            self.with(|_, row| *row -= rows);
            Ok(())
        }

        fn move_cursor_down(&self, rows: usize) -> io::Result<()> {
            self.with(|_, row| *row += rows);
            Ok(())
        }

        // A bar is drawn from the left, over a row that was cleared.
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            self.move_cursor_down(1)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.with(|held, _| held.push_str(text));
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.with(|held, _| held.clear());
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            for piece in std::str::from_utf8(bytes).unwrap().split_inclusive('\n') {
                match piece.strip_suffix('\n') {
                    Some(line) => self.write_line(line)?,
                    None => self.write_str(piece)?,
                }
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn graph() -> StageGraph {
        let mut graph = petgraph::graph::DiGraph::default();
        for id in ["eval:a", "eval:b"] {
            graph.add_node(Node {
                id: id.to_owned(),
                kind: Kind::Eval,
                label: id.to_owned(),
                candidate: None,
                params: serde_json::Value::Null,
                inputs: vec![],
            });
        }
        StageGraph::new("c".parse().unwrap(), graph)
    }

    /// What a run of two stages leaves on a screen, at each step of it.
    fn screens(quiet: bool) -> Vec<Vec<String>> {
        let (graph, screen) = (graph(), Screen::default());
        let terminal = Terminal::new(Color::Never, quiet);
        // Without a rate every change is drawn.
        let target = match quiet {
            false => ProgressDrawTarget::term_like(Box::new(screen.clone())),
            true => ProgressDrawTarget::hidden(),
        };
        let mut reporter = Reporter::on(&graph, &terminal, target, Box::new(screen.clone()));
        let stage = graph.find("eval:a").unwrap();
        let made = ActionResult {
            outputs: std::collections::BTreeMap::new(),
            verdict: Verdict::Pass,
            summary: "6 of 8 right".to_owned(),
        };
        let failure = Failure {
            stage: "eval:b".to_owned(),
            message: "the disk is full".to_owned(),
            hint: Some("make room".to_owned()),
            fault: crate::engine::failure::Fault::Environment,
        };
        let end = |stage, end, result, failure| {
            let took = Some(Duration::from_millis(1250));
            Progress::Ended { stage, end, result, took, failure }
        };
        let other = graph.find("eval:b").unwrap();
        let mut found = Vec::new();
        for progress in [
            Progress::Started(stage),
            Progress::Step { stage, done: 3, of: 8 },
            end(stage, End::Passed, Some(&made), None),
            end(other, End::Failed, None, Some(&failure)),
        ] {
            reporter.hear(&progress);
            found.push(screen.rows());
        }
        reporter.finish();
        found.push(screen.rows());
        found
    }

    #[test]
    fn a_bar_moves_under_the_lines_of_stages_that_ended() {
        let screens = screens(false);
        let bar = |screen: usize, what: &str| {
            let last = screens[screen].last().unwrap();
            assert!(last.ends_with(what) && last.contains('/'), "{last:?} ends with {what:?}");
        };
        bar(0, "0/2 eval:a");
        bar(1, "0/2 eval:a 3/8");
        assert_eq!(screens[1].len(), 1, "a bar is one row: {:?}", screens[1]);
        assert_eq!(screens[2][0], "  done   1.25s  eval:a  6 of 8 right");
        bar(2, "1/2 eval:a 3/8");
        let failed = ["  fail           eval:b: the disk is full", "                 hint: make room"];
        assert_eq!(screens[3][1..3], failed);
        // Nothing of the bar is left behind.
        assert_eq!(screens[4][..], screens[3][..3]);
    }

    #[test]
    fn who_wants_quiet_hears_of_failures_only() {
        let screens = screens(true);
        let last = &screens[4];
        assert_eq!((last.len(), last[0].contains("eval:b: the disk is full")), (2, true), "{last:?}");
    }

    #[test]
    fn cuts_by_characters() {
        assert_eq!(one_line("a\nb", 5), "a b");
        assert_eq!(one_line("ééééé", 4), "ééé…");
    }
}
