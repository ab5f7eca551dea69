//! Whether `runs/CYCLE/`, which people read, shows what the store has.

use super::Checked;
use crate::base::wording::count;
use crate::engine::attest;
use crate::engine::graph::StageGraph;
use crate::engine::resolve::Results;
use crate::engine::view::view;
use crate::store::{Store, ViewFindings};

pub(super) fn check(graph: &StageGraph, store: &Store, results: &Results) -> Checked {
    let what = "view".to_owned();
    let mut entries = view(graph, results);
    let found = attest::kept(graph, store, results).map_err(|error| error.to_string()).and_then(|bundles| {
        entries.extend(bundles);
        store.check_view(&graph.cycle, &entries).map_err(|error| error.to_string())
    });
    let (ok, finding) = match found {
        Ok(found) => told(&found),
        Err(why) => (false, why),
    };
    Checked { what, ok, finding }
}

fn told(found: &ViewFindings) -> (bool, String) {
    let ViewFindings { shown, earlier, wrong } = found;
    match (wrong.as_slice(), *shown, *earlier) {
        ([first, rest @ ..], ..) => {
            let more = if rest.is_empty() { String::new() } else { format!("; and {} more", rest.len()) };
            (false, format!("{first}{more}; the next run shows it as it was"))
        }
        ([], 0, 0) => (true, "nothing is shown yet".to_owned()),
        ([], shown, 0) => (true, format!("{}, as the store has them", count(shown, "file"))),
        ([], shown, earlier) => {
            (true, format!("{}, as the store has them; {earlier} of an earlier run", count(shown, "file")))
        }
    }
}
