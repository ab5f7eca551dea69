//! `studbook attest --suite`: brings what lm-evaluation-harness found of a model.
//!
//! Everything the stage will check is checked here first: who brings the wrong file hears it now.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::Context;

use super::args::Args;
use super::attest::Attest;
use super::context::{Terminal, load_to_work};
use super::exit::{Exit, UsageError};
use crate::base::digest::Sha256;
use crate::engine::preview::preview;
use crate::evaluate::Measure;
use crate::evaluate::harness::{self, External, evidence_name};
use crate::record;
use crate::record::candidate::CandidateManifest;
use crate::record::external::ExternalEvidence;
use crate::record::source::SourceArtifact;
use crate::stage::Kind;

pub(super) fn run(args: &Args, command: &Attest, suite: &str, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = load_to_work(args, &command.plan)?;
    let external = loaded.plan.suites.iter().filter(|suite| suite.kind == External::NAME);
    let found = external.clone().find(|known| known.name.as_str() == suite);
    let Some(suite) = found else {
        let names: Vec<&str> = external.map(|suite| suite.name.as_str()).collect();
        let error = UsageError::new(format!("the plan has no external suite `{suite}`"));
        let hint =
            if names.is_empty() { "it has none".to_owned() } else { format!("it has: {}", names.join(", ")) };
        return Err(error.hint(hint).into());
    };
    let name = &command.candidate;
    let preview = preview(&loaded.graph, &loaded.store)?;
    let made = [Kind::Candidate, Kind::Source].into_iter().find_map(|kind| {
        let index = loaded.graph.find(&format!("{}:{name}", kind.name()))?;
        Some((kind, *preview.results[index.index()].as_ref()?.record()?))
    });
    let Some((kind, blob)) = made else {
        return Err(UsageError::new(format!("`{name}` is no model of this plan, or was not made yet"))
            .hint(format!("run it first: studbook run {}", loaded.typed))
            .into());
    };
    super::attest::not_refused(&loaded, &preview.results, &name.parse()?, "no other results change")?;
    let bytes = loaded.store.read(&blob.digest)?;
    let artifact = match kind {
        Kind::Source => record::from_bytes::<SourceArtifact>(&bytes)?.artifact,
        _ => record::from_bytes::<CandidateManifest>(&bytes)?.artifact,
    };
    let results = text(command.results.as_deref())?;
    let samples = text(command.samples.as_deref())?;
    let outcomes = harness::read(results.as_bytes(), samples.as_bytes(), &suite.options, &artifact.sha256)
        .map_err(|error| UsageError::new(format!("these results are not taken: {error}")))?;
    let evidence = ExternalEvidence {
        suite: suite.name.clone(),
        manifest: Sha256::of(&bytes),
        results,
        samples,
        by: command.by.clone(),
    };
    loaded.store.bring(&blob.digest, &evidence_name(&suite.name), &record::to_bytes(&evidence)?)?;
    writeln!(
        terminal.out(),
        "{name}: {} samples of {} brought by {}\nGo on with: studbook run {}",
        outcomes.len(),
        suite.name,
        command.by,
        loaded.typed
    )?;
    Ok(Exit::Complete)
}

/// A whole file of bounded length.
fn text(path: Option<&Path>) -> anyhow::Result<String> {
    let path = path.ok_or_else(|| UsageError::new("results and samples come together"))?;
    let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut text = String::new();
    file.take(harness::MAX_FILE as u64 + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("read {}", path.display()))?;
    Ok(text)
}
