//! `studbook smoke --browser`: runs candidates in a browser and brings what it answered to their gates.

use std::io::Write;
use std::path::PathBuf;

use super::args::Args;
use super::attest::find_candidate;
use super::context::{Loaded, Terminal, load_to_work};
use super::exit::{Exit, UsageError};
use crate::base::digest::Sha256;
use crate::browser::chromium::{BrowserError, Chromium};
use crate::engine::gates::promotion_of;
use crate::engine::preview::preview;
use crate::engine::resolve::Results;
use crate::plan::{Candidate, Gate, GateRule};
use crate::record;
use crate::record::browser_smoke::{BrowserPrompt, BrowserSmoke};
use crate::record::promotion::Decision;
use crate::record::smoke::RuntimeSmoke;
use crate::registry::drive::{Driven, Job, drive};
use crate::stage::Kind;
use crate::store::Blob;

#[derive(Debug, clap::Args)]
pub(super) struct Smoke {
    /// The plan file
    pub(super) plan: PathBuf,
    /// In a headless Chromium (a native smoke is part of every run)
    #[arg(long, required = true)]
    pub(super) browser: bool,
    /// Only this candidate; by default all that such a gate is for
    #[arg(long, value_name = "NAME")]
    pub(super) candidate: Option<String>,
}

pub(super) fn run(args: &Args, command: &Smoke, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = load_to_work(args, &command.plan)?;
    let only = command.candidate.as_deref().map(|name| find_candidate(&loaded, name)).transpose()?;
    let asked: Vec<(&Candidate, &Gate)> = loaded
        .plan
        .candidates
        .iter()
        .filter(|candidate| only.is_none_or(|only| only.name == candidate.name))
        .flat_map(|candidate| gates_of(&loaded, candidate).map(move |gate| (candidate, gate)))
        .collect();
    if asked.is_empty() {
        return Err(UsageError::new("the plan has no gate of the kind `browser_smoke` here")
            .hint("add one: [[gate]] name = \"browser\" kind = \"browser_smoke\"")
            .into());
    }
    let preview = preview(&loaded.graph, &loaded.store)?;
    let (mut browser, mut exit) = (None, Exit::Complete);
    for (candidate, gate) in asked {
        let Some(case) = Case::of(&loaded, &preview.results, candidate)? else {
            let plan = &loaded.typed;
            let name = &candidate.name;
            writeln!(
                terminal.err(),
                "{name}: not made, not smoked, or refused; run it first: studbook run {plan}"
            )?;
            exit = Exit::Pending;
            continue;
        };
        let browser = match &mut browser {
            Some(browser) => browser,
            none => match Chromium::start() {
                Ok(started) => none.insert(started),
                // The gate stays pending, as it would without this command.
                Err(error @ BrowserError::Missing(_)) => {
                    writeln!(
                        terminal.err(),
                        "{error}\nthe gate {} of {} stays pending",
                        gate.name,
                        candidate.name
                    )?;
                    return Ok(Exit::Pending);
                }
                Err(error) => return Err(error.into()),
            },
        };
        let driven = case.drive(&loaded, browser, loaded.plan.smoke.max_tokens)?;
        let text =
            driven.runs.first().map(|run| format!("{} -> {}", run.prompt, run.text)).unwrap_or_default();
        let evidence = case.evidence(gate, driven);
        loaded.store.bring(&case.manifest.digest, &gate.name, &record::to_bytes(&evidence)?)?;
        writeln!(terminal.out(), "{}: ran in {}: {text}", candidate.name, evidence.browser)?;
    }
    if browser.is_some() {
        writeln!(terminal.out(), "Go on with: studbook run {}", loaded.typed)?;
    }
    Ok(exit)
}

fn gates_of<'a>(loaded: &'a Loaded, candidate: &Candidate) -> impl Iterator<Item = &'a Gate> {
    let family = candidate.clone();
    loaded
        .plan
        .gates
        .iter()
        .filter(move |gate| gate.is_for(&family) && matches!(gate.rule, GateRule::BrowserSmoke))
}

/// A candidate that has been made and run.
struct Case {
    manifest: Blob,
    artifact: Blob,
    native: RuntimeSmoke,
    lineage: Sha256,
}

impl Case {
    fn of(loaded: &Loaded, results: &Results, candidate: &Candidate) -> anyhow::Result<Option<Self>> {
        let name = &candidate.name;
        let output = |kind: Kind, output: &str| {
            let index = loaded.graph.find(&format!("{}:{name}", kind.name()))?;
            results[index.index()].as_ref()?.outputs.get(output).copied()
        };
        let promotion = promotion_of(&loaded.graph, &loaded.store, results, name)?;
        let Some(promotion) = promotion.filter(|promotion| promotion.decision != Decision::Refuse) else {
            return Ok(None);
        };
        let (Some(lineage), Some(manifest), Some(artifact), Some(smoke)) = (
            promotion.lineage,
            output(Kind::Candidate, "record"),
            output(Kind::Operator, "artifact"),
            output(Kind::Smoke, "record"),
        ) else {
            return Ok(None);
        };
        let native: RuntimeSmoke = record::from_bytes(&loaded.store.read(&smoke.digest)?)?;
        Ok(Some(Self { manifest, artifact, native, lineage }))
    }

    fn drive(&self, loaded: &Loaded, browser: &Chromium, max_tokens: u64) -> anyhow::Result<Driven> {
        let model = loaded.store.read(&self.artifact.digest)?;
        let prompts: Vec<String> = self.native.prompts.iter().map(|run| run.prompt.clone()).collect();
        Ok(drive(browser, Job { model: &model, prompts: &prompts, max_tokens })?)
    }

    fn evidence(&self, gate: &Gate, driven: Driven) -> BrowserSmoke {
        let prompts = driven.runs.into_iter().map(|run| BrowserPrompt {
            prompt: run.prompt,
            tokens: run.tokens,
            text: run.text,
            logits: run.logits.first().copied(),
        });
        BrowserSmoke {
            gate: gate.name.clone(),
            subject: self.native.subject.clone(),
            lineage: self.lineage,
            browser: driven.browser,
            runtime: driven.runtime,
            prompts: prompts.collect(),
        }
    }
}
