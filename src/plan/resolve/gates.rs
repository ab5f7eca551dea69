//! Gates: what stands between a candidate and its admission.

use std::collections::BTreeSet;

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::located::Located;
use crate::base::name::Name;
use crate::base::nearest::nearest;
use crate::evaluate::Measure;
use crate::evaluate::harness::{External, evidence_name};
use crate::plan::file::GateSection;
use crate::plan::resolved::{Approval, ApprovalKey, Gate, GateRule, RESERVED_GATES, Suite};
use crate::plan::wording::count;
use crate::trust::Claim;

impl Resolver<'_> {
    pub(super) fn gates(&mut self, suites: &[Suite]) -> Vec<Gate> {
        if self.file.gates.is_empty() {
            self.section_missing("`[[gate]]`", "add at least one: nothing is admitted without a gate");
        }
        let mut gates = Vec::new();
        let mut taken = BTreeSet::from(RESERVED_GATES);
        for section in &self.file.gates {
            let rule = self.gate_rule(section, suites);
            let families = self.gate_families(section);
            let Some(name) = &section.name else { continue };
            if !taken.insert(name.value.as_str()) {
                let [first, second, revoked, refused] = RESERVED_GATES;
                let taken = if [revoked, refused].contains(&name.value.as_str()) {
                    format!("`{revoked}` and `{refused}` are for what the ledger says of a candidate")
                } else {
                    format!("every candidate has the gates `{first}` and `{second}` already")
                };
                self.mistake(
                    Diagnostic::error(format!("the gate name `{}` is taken", name.value), name.span.clone())
                        .expected("expected a name that no other gate has")
                        .help(taken),
                );
                continue;
            }
            self.keeps_evidence_apart(name, suites);
            gates.extend(rule.map(|rule| Gate { name: name.value.clone(), families, rule }));
        }
        if gates.len() == self.file.gates.len() {
            self.all_have_gates(&gates);
        }
        gates
    }

    /// What is brought for a gate and what is brought for a suite lie side by side, by name.
    fn keeps_evidence_apart(&mut self, name: &Located<Name>, suites: &[Suite]) {
        let mut brought = suites.iter().filter(|suite| suite.kind == External::NAME);
        if let Some(suite) = brought.find(|suite| evidence_name(&suite.name) == name.value) {
            let suite = &suite.name;
            self.mistake(
                Diagnostic::error(format!("the gate name `{}` is taken", name.value), name.span.clone())
                    .expected(format!(
                        "expected another name: the results of the suite `{suite}` are kept under it"
                    ))
                    .help("rename the gate or the suite"),
            );
        }
    }

    /// Those that no gate is for would be admitted for running at all.
    fn all_have_gates(&mut self, gates: &[Gate]) {
        let covers = |gate: &Gate, name: &Name| gate.families.is_empty() || gate.families.contains(name);
        for section in &self.file.candidates {
            let name = &section.name;
            if !gates.is_empty() && !gates.iter().any(|gate| covers(gate, &name.value)) {
                self.mistake(
                    Diagnostic::error(format!("`{}` has no gate", name.value), name.span.clone())
                        .expected("expected a gate for every candidate: nothing is admitted without one")
                        .help("add it to the `candidates` of one, or a gate without `candidates` for all"),
                );
            }
        }
    }

    fn gate_families(&mut self, section: &GateSection) -> Vec<Name> {
        let Some(list) = &section.candidates else { return Vec::new() };
        for name in &list.value {
            if !self.known.families.contains(name.value.as_str()) {
                self.unknown("candidate section", name, |known| known.families.iter().copied().collect());
            }
        }
        self.each_once("candidate", &list.value);
        if list.value.is_empty() && !self.told(&list.span) {
            self.mistake(
                Diagnostic::error("this gate is for no candidate", list.span.clone())
                    .expected("expected at least one name")
                    .help("a gate without `candidates` is for all of them"),
            );
        }
        list.value.iter().map(|name| name.value.clone()).collect()
    }

    fn gate_rule(&mut self, section: &GateSection, suites: &[Suite]) -> Option<GateRule> {
        let kind = section.kind.as_ref()?;
        match kind.value.as_str() {
            "metric" => self.metric_gate(section, suites).map(GateRule::Metric),
            "approval" => self.approval_gate(section).map(GateRule::Approval),
            "browser_smoke" => {
                self.no_metric_keys(section, "a browser smoke gate", "no key of its own");
                self.no_approval_keys(section);
                Some(GateRule::BrowserSmoke)
            }
            _ => {
                self.unknown("kind of gate", kind, |_| vec!["metric", "approval", "browser_smoke"]);
                None
            }
        }
    }

    /// What belongs to approval gates only.
    fn no_approval_keys(&mut self, section: &GateSection) {
        let approval_keys = [
            ("statement", section.statement.as_ref().map(|l| &l.span)),
            ("keys", section.keys.as_ref().map(|l| &l.span)),
            ("threshold", section.threshold.as_ref().map(|l| &l.span)),
        ];
        for (key, span) in approval_keys.into_iter().filter_map(|(key, span)| Some((key, span?))) {
            self.mistake(
                Diagnostic::error(format!("a browser smoke gate has no `{key}`"), span.clone())
                    .expected("expected no key of its own")
                    .help("remove it, or make this a gate of the kind `approval`"),
            );
        }
    }

    /// What belongs to metric gates only.
    fn no_metric_keys(&mut self, section: &GateSection, who: &str, expected: &str) {
        let metric_keys = [
            ("metric", section.metric.as_ref().map(|l| &l.span)),
            ("suites", section.suites.as_ref().map(|l| &l.span)),
            ("min", section.min.as_ref().map(|l| &l.span)),
            ("max", section.max.as_ref().map(|l| &l.span)),
            ("versus", section.versus.as_ref().map(|l| &l.span)),
            ("margin", section.margin.as_ref().map(|l| &l.span)),
            ("confidence", section.confidence.as_ref().map(|l| &l.span)),
        ];
        for (key, span) in metric_keys.into_iter().filter_map(|(key, span)| Some((key, span?))) {
            self.mistake(
                Diagnostic::error(format!("{who} has no `{key}`"), span.clone())
                    .expected(format!("expected {expected}"))
                    .help("remove it, or make this a gate of the kind `metric`"),
            );
        }
    }

    fn approval_gate(&mut self, section: &GateSection) -> Option<Approval> {
        self.no_metric_keys(section, "an approval gate", "only `statement`, `keys` and `threshold`");
        if section.statement.is_none() && !section.faulty {
            self.mistake(
                Diagnostic::error("an approval gate needs a `statement`", section.span.clone())
                    .expected("expected `statement`, a text")
                    .help("it says what the approver agrees to"),
            );
        }
        let keys = self.approval_keys(section);
        let threshold = self.threshold(section, keys.len() as u64);
        let statement = section.statement.as_ref()?.value.clone();
        Some(Approval { statement, keys, threshold })
    }

    /// The keys of `keys`, each an approver of the trust file.
    fn approval_keys(&mut self, section: &GateSection) -> Vec<ApprovalKey> {
        let Some(list) = &section.keys else { return Vec::new() };
        self.each_once("key", &list.value);
        let trust = self.store.custody().trust().cloned().unwrap_or_default();
        let mut keys = Vec::new();
        for name in &list.value {
            let approvers: Vec<&str> =
                trust.for_claim(Claim::Approval).map(|key| key.name.as_str()).collect();
            if approvers.contains(&name.value.as_str()) {
                let key = trust.named(name.value.as_str()).expect("it is one of them");
                keys.push(ApprovalKey { name: name.value.clone(), public: key.public.to_base64() });
                continue;
            }
            let message = format!("the trust file has no approver `{}`", name.value);
            let mistake = Diagnostic::error(message, name.span.clone());
            let known = if approvers.is_empty() { "it has none".to_owned() } else { approvers.join(", ") };
            let whole = format!("approver.{}", name.value);
            let near = approvers.iter().find(|known| **known == whole).copied();
            let near = near.or_else(|| nearest(name.value.as_str(), approvers.iter().copied()));
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "make a key and name it there: studbook keys new approver --name NAME --trust trust.toml"
                        .to_owned()
                }
            };
            self.mistake(mistake.expected(format!("expected an approver: {known}")).help(help));
        }
        keys
    }

    fn threshold(&mut self, section: &GateSection, keys: u64) -> u64 {
        let Some(given) = &section.threshold else { return u64::from(keys > 0) };
        let listed = section.keys.as_ref().map_or(0, |list| list.value.len() as u64);
        if given.value == 0 || given.value > listed {
            let [approvals, keys] = [(given.value, "approval"), (listed, "key")]
                .map(|(number, noun)| count(number as usize, noun));
            let message = format!("{approvals} of {keys} cannot be had");
            self.mistake(
                Diagnostic::error(message, given.span.clone())
                    .expected(format!("expected 1 to the number of `keys`, {listed}")),
            );
        }
        given.value
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD, mistakes};

    fn release(gate: &str) -> Vec<String> {
        let plan = GOOD.replace("statement = \"fit to be released\"\ncandidates = [\"ties\"]", gate);
        mistakes(&plan).into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn an_approval_is_a_statement_and_nothing_else() {
        assert_eq!(release(""), ["an approval gate needs a `statement`"]);
        assert_eq!(
            release("statement = \"x\"\nmin = 1\nmargin = 2"),
            ["an approval gate has no `min`", "an approval gate has no `margin`"]
        );
    }

    #[test]
    fn keys_are_approvers_of_the_trust_file() {
        assert_eq!(
            release("statement = \"x\"\nkeys = [\"ada\", \"ada\"]"),
            [
                "the key `ada` is listed twice",
                "the trust file has no approver `ada`",
                "the trust file has no approver `ada`"
            ]
        );
        let plan = GOOD.replace("statement = \"fit to be released\"", "statement = \"x\"\nkeys = [\"ada\"]");
        let help = |found: Vec<crate::base::diagnostic::Diagnostic>| found[0].help.clone();
        assert!(help(mistakes(&plan))[0].starts_with("make a key"));
        assert_eq!(release("statement = \"x\"\nthreshold = 1"), ["1 approval of 0 keys cannot be had"]);
    }

    #[test]
    fn a_browser_smoke_asks_for_nothing_more() {
        let with = |keys: &str| {
            mistakes(&GOOD.replace(
                "kind = \"approval\"\nstatement = \"fit to be released\"",
                &format!("kind = \"browser_smoke\"\n{keys}"),
            ))
            .into_iter()
            .map(|found| found.message)
            .collect::<Vec<_>>()
        };
        let plain = "kind = \"browser_smoke\"";
        Folder::new().plan(&GOOD.replace("kind = \"approval\"\nstatement = \"fit to be released\"", plain));
        assert_eq!(with("threshold = 1"), ["a browser smoke gate has no `threshold`"]);
        assert_eq!(with("min = 1"), ["a browser smoke gate has no `min`"]);
        assert_eq!(with("statement = \"x\""), ["a browser smoke gate has no `statement`"]);
    }

    #[test]
    fn one_slip_is_one_mistake() {
        assert_eq!(release("statment = \"x\""), ["unknown key `statment` in [[gate]]"]);
        assert_eq!(release("statement = 3"), ["`statement` in [[gate]] cannot be the number 3"]);
    }

    #[test]
    fn gates_are_for_sections_that_exist() {
        let with = |list: &str| release(&format!("statement = \"x\"\ncandidates = {list}"));
        assert_eq!(with("[\"tie\"]"), ["unknown candidate section `tie`"]);
        assert_eq!(with("[]"), ["this gate is for no candidate"]);
        assert_eq!(with("[\"ties\", \"ties\"]"), ["the candidate `ties` is listed twice"]);
    }

    #[test]
    fn gate_names_are_taken_once() {
        for name in super::RESERVED_GATES {
            let found = mistakes(&GOOD.replace("name = \"release\"", &format!("name = \"{name}\"")));
            assert_eq!(found[0].message, format!("the gate name `{name}` is taken"));
        }
        let found = mistakes(&GOOD.replace("name = \"release\"", "name = \"size\""));
        assert_eq!(found[0].message, "the gate name `size` is taken");
    }
}
