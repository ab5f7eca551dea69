//! The two drawings of the page: whom the model comes from, and how it measures up to them.

use super::evidence::{Evidence, ancestors};
use super::markup::{html, number};
use super::page::table;
use crate::base::name::Name;
use crate::evaluate::Metric;

const ROW: usize = 64;
const BOX: usize = 44;

/// Parents on the left, the operator between, the child on the right.
pub(super) fn pedigree(evidence: &Evidence) -> String {
    let lineage = &evidence.lineage().body;
    let parents = ancestors(lineage);
    let height = (parents.len().max(1) * ROW) + 10;
    let middle = height / 2;
    let mut svg =
        format!("<svg viewBox=\"0 0 860 {height}\" width=\"860\" role=\"img\" aria-label=\"pedigree\">\n");
    for (at, name) in parents.iter().enumerate() {
        let top = at * ROW + 10;
        let centre = top + BOX / 2;
        svg += &format!("<path d=\"M250 {centre} C 340 {centre}, 340 {middle}, 390 {middle}\"/>\n");
        let base = lineage.base.as_ref().is_some_and(|base| base.name == **name);
        let source = evidence.sources.get(*name);
        let kind = source.map_or("", |source| source.body.origin.source_kind.as_str());
        let note = format!("{}{kind}", if base { "base, " } else { "" });
        svg += &node("parent", 10, top, 240, name.as_str(), &note);
    }
    let top = middle - BOX / 2;
    svg += &format!("<path d=\"M530 {middle} L 610 {middle}\"/>\n");
    svg += &node("operator", 390, top, 140, &lineage.operator.name, "operator");
    svg += &node("child", 610, top, 240, evidence.index.candidate.as_str(), "this model");
    svg + "</svg>\n"
}

fn node(class: &str, left: usize, top: usize, width: usize, name: &str, note: &str) -> String {
    // A name is at most 64 characters; a box holds about as many as fit.
    let fits = width / 8;
    let shown: String = match name.chars().count() <= fits {
        true => name.to_owned(),
        false => name.chars().take(fits - 1).chain(['…']).collect(),
    };
    format!(
        "<g class=\"{class}\"><title>{}</title><rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{BOX}\" rx=\"7\"/>\
         <text x=\"{x}\" y=\"{}\">{}</text><text class=\"small\" x=\"{x}\" y=\"{}\">{}</text></g>\n",
        html(name),
        top + 19,
        html(&shown),
        top + 35,
        html(note),
        x = left + 12,
    )
}

/// Every suite and metric: the candidate, then everybody else who was measured there.
pub(super) fn measurements(evidence: &Evidence) -> String {
    let ours = &evidence.index.candidate;
    let mut out = String::new();
    for suite in &evidence.lineage().body.suites {
        let Some(own) = evidence.measured.get(&(ours.clone(), suite.name.clone())) else { continue };
        for name in own.sidecar.body.metrics.keys() {
            let mut rows = Vec::new();
            let models = std::iter::once(ours).chain(evidence.sources.keys());
            for model in models {
                let measured = evidence.measured.get(&(model.clone(), suite.name.clone()));
                let metric = measured.and_then(|measured| measured.sidecar.body.metrics.get(name));
                rows.extend(metric.map(|metric| row(model, metric, model == ours)));
            }
            let heading = format!("{} on {}", html(name), html(suite.name.as_str()));
            out += &table(&[&heading, "", "value", "± standard error", "n"], &rows);
        }
        let seen = &own.sidecar.body.contamination;
        out += &format!(
            "<p>Cases in declared training texts: {} ({} found; ancestors without declared texts: {}).</p>\n",
            html(&seen.status),
            seen.overlapping,
            seen.undeclared.len()
        );
    }
    if out.is_empty() { "<p>It was not measured.</p>\n".to_owned() } else { out }
}

fn row(model: &Name, metric: &Metric, own: bool) -> String {
    let class = if own { " class=\"own\"" } else { "" };
    let error = metric.stderr.map(|error| format!("{error:.4}")).unwrap_or_default();
    format!(
        "<tr{class}><td><code>{}</code></td><td>{}</td><td class=\"number\">{:.4}</td><td class=\"number\">{error}</td><td class=\"number\">{}</td></tr>\n",
        html(model.as_str()),
        bar(metric),
        metric.value,
        metric.n
    )
}

/// A bar for shares; other numbers have no whole to be a part of.
fn bar(metric: &Metric) -> String {
    if !(0.0..=1.0).contains(&metric.value) {
        return String::new();
    }
    let percent = |share: f64| number((share.clamp(0.0, 1.0) * 1000.0).round() / 10.0);
    let spread = metric.stderr.map_or(String::new(), |error| {
        let (low, high) = ((metric.value - error).max(0.0), (metric.value + error).min(1.0));
        format!("<b style=\"left:{}%;width:{}%\"></b>", percent(low), percent(high - low))
    });
    format!("<div class=\"track\"><i style=\"width:{}%\"></i>{spread}</div>", percent(metric.value))
}
