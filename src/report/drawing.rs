//! A plan's stages as Mermaid or Graphviz text.

use petgraph::visit::EdgeRef;

use crate::engine::graph::{Need, StageGraph};

/// For Markdown pages.
pub fn mermaid(graph: &StageGraph) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for index in &graph.order {
        text.push_str(&format!("    s{}[\"{}\"]\n", index.index(), graph.node(*index).id));
    }
    for index in &graph.order {
        for edge in graph.graph.edges(*index) {
            let arrow = match edge.weight() {
                Need::Pass => "-->",
                Need::Verdict => "-.->",
                Need::End => "-..->",
            };
            text.push_str(&format!("    s{} {arrow} s{}\n", edge.source().index(), edge.target().index()));
        }
    }
    text
}

/// For Graphviz.
pub fn dot(graph: &StageGraph) -> String {
    let mut text =
        "digraph studbook {\n    rankdir=LR;\n    node [shape=box, fontname=\"monospace\"];\n".to_owned();
    for index in &graph.order {
        text.push_str(&format!("    s{} [label=\"{}\"];\n", index.index(), graph.node(*index).id));
    }
    for index in &graph.order {
        for edge in graph.graph.edges(*index) {
            let style = match edge.weight() {
                Need::Pass => "solid",
                Need::Verdict => "dashed",
                Need::End => "dotted",
            };
            let (from, to) = (edge.source().index(), edge.target().index());
            text.push_str(&format!("    s{from} -> s{to} [style={style}];\n"));
        }
    }
    text.push_str("}\n");
    text
}
