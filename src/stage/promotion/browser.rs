//! The browser gate: what a browser answered beside what was answered natively.
//!
//! The arithmetic is defined to the last bit, so anything but equality is a failure: another runtime, another
//! model, or a browser that computes wrongly.

use super::{Case, Found};
use crate::base::name::Name;
use crate::record::browser_smoke::{BrowserPrompt, BrowserSmoke};
use crate::record::promotion::GateState;
use crate::record::smoke::{PromptRun, RuntimeSmoke};
use crate::stage::StageError;
use crate::stage::context::of;

impl Case<'_> {
    /// A browser's answers are evidence only beside the native ones.
    pub(super) fn browser_smoke(&self, gate: &Name) -> Result<Found, StageError> {
        let wait = |why: &str| Ok((GateState::Pending, why.to_owned(), vec![]));
        let Some(digest) = self.context.optional(&of("browser", gate)) else {
            return wait("waits for the smoke prompts to be run in a browser");
        };
        let (Some((_, manifest)), Some((_, lineage)), Some((native, native_subject))) =
            (&self.candidate, &self.lineage, self.context.optional_record::<RuntimeSmoke>("smoke")?)
        else {
            return wait("waits for an artifact and its native smoke");
        };
        let Some((brought, sha256)) = self.read_brought::<BrowserSmoke>(gate, &digest)? else {
            return wait("the browser run that was brought cannot be read");
        };
        let about = (&brought.gate, brought.subject.manifest, brought.lineage);
        if about != (gate, manifest.sha256, lineage.sha256) || brought.subject != native.subject {
            return wait("the browser run that was brought is of another candidate, gate or lineage");
        }
        // A page that is published now carries the runtime of now.
        if Some(brought.runtime) != self.browser_runtime {
            return wait(
                "the browser run that was brought is of another runtime than pages get now; run it again",
            );
        }
        let (state, finding) = compare(&brought, &native);
        Ok((state, finding, vec![sha256, native_subject.sha256]))
    }
}

/// The state of the gate, and why.
fn compare(page: &BrowserSmoke, native: &RuntimeSmoke) -> (GateState, String) {
    let failed = |why: String| (GateState::Failed, format!("{why}, in {}", page.browser));
    if page.prompts.len() != native.prompts.len() || native.prompts.is_empty() {
        return failed(format!("{} of {} prompts were run", page.prompts.len(), native.prompts.len()));
    }
    if let Some(why) =
        page.prompts.iter().zip(&native.prompts).find_map(|(page, native)| differs(page, native))
    {
        return failed(why);
    }
    let compared = page.prompts.iter().filter(|prompt| prompt.logits.is_some()).count();
    if compared == 0 {
        return failed("no prompt was answered, so no logits could be compared".to_owned());
    }
    let count = page.prompts.len();
    let finding = format!(
        "{count} prompts with the native tokens, {compared} with the native logits, in {}",
        page.browser
    );
    (GateState::Passed, finding)
}

fn differs(page: &BrowserPrompt, native: &PromptRun) -> Option<String> {
    let prompt = &native.prompt;
    if page.prompt != *prompt {
        Some(format!("{:?} was run instead of {prompt:?}", page.prompt))
    } else if page.tokens != native.tokens || page.text != native.text {
        Some(format!("{prompt:?} was answered {:?}, natively {:?}", page.text, native.text))
    } else if (page.logits.is_some() || !native.tokens.is_empty()) && page.logits != native.logits {
        Some(format!("{prompt:?} gave other logits than natively"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::{Digest, Sha256};
    use crate::record::smoke::Evaluated;

    fn pair() -> (BrowserSmoke, RuntimeSmoke) {
        let subject = Evaluated {
            name: "ties".parse().unwrap(),
            manifest: Sha256::of(b"manifest"),
            artifact: Sha256::of(b"artifact"),
        };
        let logits = Some(Digest::of(b"logits"));
        let native = RuntimeSmoke {
            subject: subject.clone(),
            runtime: "native".to_owned(),
            prompts: vec![PromptRun {
                prompt: "1+1=".to_owned(),
                finite: true,
                deterministic: true,
                tokens: vec![50],
                text: "2".to_owned(),
                logits,
                error: None,
            }],
            artifact_bytes: 1,
            cache_bytes: 1,
            quality_claim: "runtime-execution-smoke-only".to_owned(),
            cannot_run: None,
            passed: true,
        };
        let page = BrowserSmoke {
            gate: "page".parse().unwrap(),
            subject,
            lineage: Sha256::of(b"lineage"),
            browser: "a browser".to_owned(),
            runtime: Sha256::of(b"runtime"),
            prompts: vec![BrowserPrompt {
                prompt: "1+1=".to_owned(),
                tokens: vec![50],
                text: "2".to_owned(),
                logits,
            }],
        };
        (page, native)
    }

    #[test]
    fn only_the_same_answers_pass() {
        let (page, native) = pair();
        assert_eq!(compare(&page, &native).0, GateState::Passed);
        let refused = |change: &dyn Fn(&mut BrowserSmoke)| {
            let mut page = page.clone();
            change(&mut page);
            let (state, finding) = compare(&page, &native);
            assert_eq!(state, GateState::Failed, "{finding}");
            finding
        };
        assert!(refused(&|page| page.prompts.clear()).contains("0 of 1"));
        assert!(refused(&|page| page.prompts[0].tokens = vec![51]).contains("answered"));
        assert!(refused(&|page| page.prompts[0].text = "3".to_owned()).contains("answered \"3\""));
        assert!(refused(&|page| page.prompts[0].prompt = "1+2=".to_owned()).contains("instead of"));
        assert!(refused(&|page| page.prompts[0].logits = Some(Digest::of(b"x"))).contains("other logits"));
        assert!(refused(&|page| page.prompts[0].logits = None).contains("other logits"));
    }

    #[test]
    fn silence_proves_nothing() {
        let (mut page, mut native) = pair();
        native.prompts[0].tokens.clear();
        page.prompts[0].tokens.clear();
        page.prompts[0].logits = None;
        assert_eq!(compare(&page, &native).0, GateState::Failed);
    }
}
