//! Whom a gate asks a browser to run: models that a page can load.

use super::Resolver;
use super::children::Children;
use crate::base::diagnostic::Diagnostic;
use crate::convert::Target;
use crate::plan::resolved::{Candidate, Gate, GateRule};
use crate::registry::SELECTOR_BUDGET;

impl Resolver<'_> {
    /// A gate that nothing could ever pass is a mistake; each gate is told once.
    pub(super) fn browsers_can_run(
        &mut self,
        gates: &[Gate],
        candidates: &[Candidate],
        children: &Children<'_>,
    ) {
        for gate in gates.iter().filter(|gate| matches!(gate.rule, GateRule::BrowserSmoke)) {
            let mut asked = candidates.iter().filter(|candidate| gate.is_for(candidate));
            let why = asked.find_map(|candidate| {
                let child = children.of(candidate)?.as_ref().ok()?;
                let name = &candidate.name;
                if child.format != Target::Slm1 {
                    Some(format!("a browser loads .slm files, and `{name}` will be {}", child.format.word()))
                } else if child.bytes > SELECTOR_BUDGET {
                    Some(format!(
                        "a browser loads {SELECTOR_BUDGET} bytes at most, and `{name}` will have {}",
                        child.bytes
                    ))
                } else {
                    None
                }
            });
            let section = self
                .file
                .gates
                .iter()
                .find(|section| section.name.as_ref().is_some_and(|name| name.value == gate.name));
            let Some((why, kind)) = why.zip(section.and_then(|section| section.kind.as_ref())) else {
                continue;
            };
            self.mistake(
                Diagnostic::error(format!("`{}` can never pass: {why}", gate.name), kind.span.clone())
                    .expected("expected candidates that the runtime for browsers can run")
                    .help("set `format = \"slm\"` and a smaller `output` in `[cycle]`, or name other `candidates` here"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{GOOD, mistakes};

    #[test]
    fn a_browser_is_asked_to_run_what_it_can() {
        let plan = GOOD
            .replace("kind = \"approval\"\nstatement = \"fit to be released\"", "kind = \"browser_smoke\"")
            .replace("output = \"q8_0\"", "output = \"f32\"\nformat = \"hugging-face\"");
        let found = mistakes(&plan);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            found[0].message,
            "`release` can never pass: a browser loads .slm files, and `ties` will be hugging-face"
        );
    }
}
