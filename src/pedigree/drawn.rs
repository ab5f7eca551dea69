//! A pedigree as people look at it: as lines, or drawn.

use serde_json::Value;

use super::Ancestry;
use crate::base::digest::Sha256;

impl Ancestry {
    /// One line: who, how, and what became of it.
    pub fn line(&self) -> String {
        let mut text = match &self.cycle {
            Some(cycle) => format!("{cycle}/{}", self.name),
            None => self.name.clone(),
        };
        text += &format!("  {}", self.record.short());
        if let Some(operator) = &self.operator {
            text += &format!("  {operator}");
        }
        if let Some(Value::Object(parameters)) = &self.parameters {
            let shown = parameters.iter().map(|(name, value)| format!("{name}={value}"));
            text += &format!(" {}", shown.collect::<Vec<_>>().join(" "));
        }
        text += &format!("  [{}]", self.verdict);
        if let Some(entry) = self.retired {
            text += &format!("  retired by ledger entry {entry}");
        }
        if let Some(revoked) = &self.revoked {
            text += &format!("  revoked: {revoked}");
        }
        if let Some(why) = &self.untraced {
            text += &format!("  not known whether revoked: {why}");
        }
        if let Some(why) = &self.cut {
            text += &format!("  whom it comes from is not known: {why}");
        }
        if self.again {
            text += "  (parents: above)";
        }
        text
    }

    /// The pedigree as an indented tree.
    pub fn text(&self) -> String {
        let mut text = self.line() + "\n";
        self.branches("", &mut text);
        text
    }

    fn branches(&self, indent: &str, text: &mut String) {
        for (at, parent) in self.parents.iter().enumerate() {
            let last = at + 1 == self.parents.len();
            let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            *text += &format!("{indent}{branch}{}\n", parent.line());
            parent.branches(&format!("{indent}{below}"), text);
        }
    }

    /// The pedigree as a Mermaid flowchart; somebody who appears twice is drawn once.
    pub fn mermaid(&self) -> String {
        let mut nodes: Vec<(Sha256, String)> = Vec::new();
        let mut edges: Vec<(Sha256, Sha256)> = Vec::new();
        self.draw(&mut nodes, &mut edges);
        let mut text = "flowchart BT\n".to_owned();
        for (record, label) in &nodes {
            text += &format!("    r{}[\"{label}\"]\n", record.short());
        }
        for (parent, child) in &edges {
            text += &format!("    r{} --> r{}\n", parent.short(), child.short());
        }
        text
    }

    fn draw(&self, nodes: &mut Vec<(Sha256, String)>, edges: &mut Vec<(Sha256, Sha256)>) {
        if nodes.iter().any(|(record, _)| *record == self.record) {
            return;
        }
        let operator = self.operator.as_ref().map_or(String::new(), |operator| format!("<br>{operator}"));
        let cycle = self.cycle.as_ref().map_or(String::new(), |cycle| format!("{cycle}/"));
        let revoked = match (&self.revoked, &self.untraced) {
            (Some(_), _) => "<br>revoked",
            (None, Some(_)) => "<br>not known whether revoked",
            (None, None) => "",
        };
        let cut = if self.cut.is_some() { "<br>whom it comes from is not known" } else { "" };
        let retired = if self.retired.is_some() { "<br>retired" } else { "" };
        let label = format!("{cycle}{}{operator}<br>{}{retired}{revoked}{cut}", self.name, self.verdict);
        nodes.push((self.record, label));
        for parent in &self.parents {
            edges.push((parent.record, self.record));
            parent.draw(nodes, edges);
        }
    }
}
