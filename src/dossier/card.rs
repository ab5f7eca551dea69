//! The model card: a README with the front matter that Hugging Face reads.
//!
//! `base_model` and `base_model_relation: merge` are what their tools make a family tree of; `model-index`
//! holds the measurements. Nothing is marked as verified: that word is theirs.

use super::evidence::{Evidence, Measured, ancestors};
use super::layout;
use super::markup::{bytes, markdown, number, yaml};
use crate::base::name::Name;

/// Licences that the hub knows under a word of its own, by their SPDX identifiers.
const KNOWN: [(&str, &str); 12] = [
    ("Apache-2.0", "apache-2.0"),
    ("MIT", "mit"),
    ("BSD-2-Clause", "bsd-2-clause"),
    ("BSD-3-Clause", "bsd-3-clause"),
    ("CC0-1.0", "cc0-1.0"),
    ("CC-BY-4.0", "cc-by-4.0"),
    ("CC-BY-SA-4.0", "cc-by-sa-4.0"),
    ("CC-BY-NC-4.0", "cc-by-nc-4.0"),
    ("GPL-3.0-only", "gpl-3.0"),
    ("LGPL-3.0-only", "lgpl-3.0"),
    ("MPL-2.0", "mpl-2.0"),
    ("Unlicense", "unlicense"),
];

/// Writes the card.
pub(super) fn write(evidence: &Evidence) -> String {
    let mut card = String::from("---\n");
    front_matter(evidence, &mut card);
    card += "---\n\n";
    body(evidence, &mut card);
    card
}

/// The candidate's own evaluations.
pub(super) fn own(evidence: &Evidence) -> impl Iterator<Item = (&Name, &Measured)> {
    let ours = evidence.measured.iter().filter(|((model, _), _)| *model == evidence.index.candidate);
    ours.map(|((_, suite), measured)| (suite, measured))
}

fn front_matter(evidence: &Evidence, card: &mut String) {
    match evidence.manifest().body.licences.as_slice() {
        [] => {}
        [one] if KNOWN.iter().any(|(spdx, _)| spdx == one) => {
            let word = KNOWN.iter().find(|(spdx, _)| spdx == one).map_or("other", |(_, word)| word);
            *card += &format!("license: {word}\n");
        }
        several => {
            *card += &format!("license: other\nlicense_name: {}\n", yaml(&several.join(" AND ")));
        }
    }
    let lineage = &evidence.lineage().body;
    *card += "base_model:\n";
    for parent in ancestors(lineage) {
        *card += &format!("- {}\n", yaml(parent.as_str()));
    }
    *card += "base_model_relation: merge\npipeline_tag: text-generation\ntags:\n- merge\n- studbook\n";
    *card += &format!("- {}\n", yaml(&lineage.operator.name));
    if own(evidence).next().is_none() {
        return;
    }
    *card += &format!("model-index:\n- name: {}\n  results:\n", yaml(evidence.index.candidate.as_str()));
    for (suite, measured) in own(evidence) {
        let suite = yaml(suite.as_str());
        *card += "  - task:\n      type: text-generation\n";
        *card += &format!("    dataset:\n      name: {suite}\n      type: {suite}\n    metrics:\n");
        for (name, metric) in &measured.sidecar.body.metrics {
            let value = number(metric.value);
            *card += &format!("    - type: {}\n      value: {value}\n", yaml(name));
        }
    }
}

fn body(evidence: &Evidence, card: &mut String) {
    let (manifest, lineage, admission) =
        (&evidence.manifest().body, &evidence.lineage().body, &evidence.admission.body);
    let name = &evidence.index.candidate;
    let outcome = if admission.admitted { "admitted: every gate passed" } else { "refused" };
    *card += &format!("# {name}\n\nBred in the cycle `{}` and {outcome}. ", evidence.index.cycle);
    *card += &format!(
        "{} of {}, by the operator `{}`.\n\n",
        bytes(manifest.artifact.bytes),
        manifest.format,
        lineage.operator.name
    );
    *card += "| parent | licence | SHA-256 |\n|---|---|---|\n";
    for parent in ancestors(lineage) {
        let Some(source) = evidence.sources.get(parent) else { continue };
        let licences = markdown(&source.body.origin.licences.join(", "));
        *card += &format!("| `{parent}` | {licences} | `{}` |\n", source.body.artifact.sha256);
    }
    *card += "\n| suite | metric | value | n |\n|---|---|---|---|\n";
    for (suite, measured) in own(evidence) {
        for (name, metric) in &measured.sidecar.body.metrics {
            let spread = metric.stderr.map(|error| format!(" ± {error:.4}")).unwrap_or_default();
            *card += &format!("| `{suite}` | `{name}` | {:.4}{spread} | {} |\n", metric.value, metric.n);
        }
    }
    *card += "\n| gate | state | finding |\n|---|---|---|\n";
    for gate in &evidence.promotion.body.gates {
        *card += &format!("| `{}` | {} | {} |\n", gate.gate, word(gate.state), markdown(&gate.finding));
    }
    let claims = admission.claims.as_ref().unwrap_or(&manifest.claims);
    *card += &format!(
        "\nWhat may be said of it: source `{}`, quality `{}`, trained quality `{}`.\n\n",
        markdown(&claims.source_kind),
        markdown(&claims.quality_claim),
        markdown(&claims.trained_quality_claim)
    );
    *card += &format!("The evidence is in this folder: [{0}]({0}) to read, and to check:\n\n", layout::PAGE);
    *card += "```sh\nsha256sum --check SHA256SUMS\nstudbook verify . --trust trust.toml\n```\n";
}

/// A gate's state.
pub(super) fn word(state: crate::record::promotion::GateState) -> &'static str {
    use crate::record::promotion::GateState;
    match state {
        GateState::Passed => "passed",
        GateState::Failed => "failed",
        GateState::Inconclusive => "inconclusive",
        GateState::Pending => "pending",
    }
}
