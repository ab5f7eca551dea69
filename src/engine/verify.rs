//! Checks what a cycle left behind, trusting nothing but the digests.
//!
//! Every blob is hashed again, every source file, too. Every stage that is cheap and pure is run
//! again from its inputs, and must give the same bytes: a record edited together with its digest,
//! or a cache entry pointing elsewhere, shows up here. Metrics are recomputed from outcomes. With
//! recomputation the operators, smokes and evaluations are run again as well.
//!
//! * `again`: doing it again and comparing.  `lost`: why what was made once is not there, or never was.
//! * `standing`: which decisions the ledger has of the cycle.
//! * `read`: which models sources read, for whoever cannot tell what a plan makes.
//! * `shown`: whether `runs/CYCLE/` shows what the store has.

pub(super) mod again;
mod lost;
mod read;
mod shown;
mod standing;

use std::sync::Arc;

use self::again::Wrong;
use self::lost::History;
pub use self::read::models_read;
use super::attest;
use super::graph::{From, StageGraph, StageIndex};
use super::preview::{StageOutlook, preview};
use super::resolve::Resolver;
use super::retired::{self, retired};
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::base::wording::count;
use crate::ledger::{EntryKind, Leaf, LedgerError, Trust};
use crate::record::{self, registry::RegistryRelease};
use crate::registry::tuf::{Published, publish::METADATA};
use crate::registry::{self, RegistryError};
use crate::stage::{Action, Context, Kind, registry_folder, stage};
use crate::store::{ActionResult, Store, StoreError, Verdict};

/// What to check.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Run operators and ask models again, and compare bytes.
    pub recompute: bool,
    /// Only this candidate's operator.
    pub candidate: Option<Name>,
    /// RFC 3339 now: signed metadata expires.
    pub now: String,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Checked {
    /// The stage, or `ledger`, `registry`.
    pub what: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was found.
    pub finding: String,
}

/// Checks a cycle; `told` hears every finding as it is made.
///
/// # Errors
///
/// If the store cannot be listed or its log not be read; what is wrong in it is a finding.
pub fn verify(
    graph: &StageGraph,
    store: &Arc<Store>,
    options: &Options,
    told: &mut dyn FnMut(&Checked),
) -> Result<Vec<Checked>, StoreError> {
    let preview = preview(graph, store)?;
    let resolver = Resolver::new(graph, store);
    let mut history = History::load(graph, store, &preview.results)?;
    if history.is_empty() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    let mut tell = |checked: Checked| {
        told(&checked);
        all.push(checked);
    };
    let action_of = |index: &StageIndex| resolver.action(*index, &preview.results);
    for (index, StageOutlook { outlook, .. }) in graph.order.iter().zip(&preview.stages) {
        let node = graph.node(*index);
        let outcome = match &preview.results[index.index()] {
            Some(result) => {
                let action = resolver.action(*index, &preview.results)?;
                let candidate = node
                    .candidate
                    .as_ref()
                    .filter(|_| node.kind == Kind::Admission && result.verdict == Verdict::Pass);
                let retired = || retired(graph, store, &preview.results, candidate?).map(retired::told);
                match check_stage(graph, store, options, *index, &action, result) {
                    Ok(finding) => {
                        Ok(retired().map_or_else(|| finding.clone(), |told| format!("{finding}; {told}")))
                    }
                    Err(Wrong::Differs(why)) => Err(why),
                    Err(Wrong::NoPlace(error)) => return Err(error),
                }
            }
            None => history.told(*index, outlook, action_of(index)),
        };
        let (ok, finding) = match outcome {
            Ok(finding) => (true, finding),
            Err(why) => (false, why),
        };
        tell(Checked { what: node.id.clone(), ok, finding });
    }
    attest::check(graph, store, &preview.results, &mut tell);
    tell(shown::check(graph, store, &preview.results));
    tell(check_ledger(store));
    tell(check_registry(store, &graph.cycle, &options.now));
    Ok(all)
}

fn check_stage(
    graph: &StageGraph,
    store: &Arc<Store>,
    options: &Options,
    index: StageIndex,
    action: &Action,
    result: &ActionResult,
) -> Result<String, Wrong> {
    let node = graph.node(index);
    for input in &node.inputs {
        match &input.from {
            From::File(path) => {
                let found = store.rehash_model(path).map_err(|error| error.to_string())?;
                let bound = action.inputs.get(&input.name);
                if bound != Some(&found) {
                    return Err(mismatch(&format!("{}", path.display()), bound, found).into());
                }
            }
            From::Blob(digest) => {
                store.rehash_known(digest).map_err(|error| format!("{}: {error}", input.name))?;
            }
            From::Stage(..) | From::Brought(..) => {}
        }
    }
    for (name, blob) in &result.outputs {
        store.rehash(blob).map_err(|error| format!("{name}: {error}"))?;
    }
    let wanted =
        options.candidate.as_ref().is_none_or(|candidate| node.candidate.as_ref() == Some(candidate));
    match node.kind {
        Kind::Operator if options.recompute && wanted => again::recomputed(store, action, result),
        Kind::Eval if options.recompute && wanted => again::asked(store, action, result),
        Kind::Source | Kind::Operator | Kind::Smoke | Kind::Ledger | Kind::Registry
            if !(options.recompute && matches!(node.kind, Kind::Source | Kind::Smoke)) =>
        {
            let context = Context::looking(store, action);
            stage(node.kind).recheck(&context, result).map_err(|error| error.to_string())?;
            Ok("bytes match their digests".to_owned())
        }
        _ => again::rederived(store, action, result),
    }
}

fn mismatch(what: &str, bound: Option<&Digest>, found: Digest) -> String {
    let bound = bound.map_or("nothing".to_owned(), Digest::to_hex);
    format!("{what}: the record binds {bound}, found {found}")
}

fn check_ledger(store: &Store) -> Checked {
    let what = "ledger".to_owned();
    let checked = || -> Result<String, LedgerError> {
        let ledger = store.ledger()?;
        let remembered = store.ledger_memory().recall(&ledger.head()?.origin)?;
        let report = ledger.check(remembered.as_ref())?;
        let trust = match report.trust {
            Trust::Extends { .. } => "as remembered",
            Trust::FirstUse => "nothing was remembered to compare with: trust on first use",
        };
        let dates = report.told_backdated().map_or_else(String::new, |told| format!("; {told}"));
        Ok(format!("{}, one tree, {trust}{dates}", count(report.head.size as usize, "entry")))
    };
    match checked() {
        Ok(finding) => Checked { what, ok: true, finding },
        Err(error) => Checked { what, ok: false, finding: error.to_string() },
    }
}

/// Every publication that the ledger has is kept with its roots as it was. The roots of now are those of the last: a
/// chain of them that ends early is one from before a key was changed, and holds in itself.
fn check_releases(
    store: &Store,
    cycle: &Name,
    published: Option<&Published>,
    leaves: &[Leaf],
) -> Result<(), RegistryError> {
    let last = registry::tuf::last_release(cycle, leaves);
    for leaf in leaves.iter().filter(|leaf| leaf.kind == EntryKind::Registry && leaf.cycle == *cycle) {
        let bad = |why: &str| {
            let why = format!("{why} that ledger entry {} published", leaf.index);
            RegistryError::Metadata { path: METADATA.to_owned(), why }
        };
        let lost = |error: StoreError| bad(&format!("cannot be held against what is kept ({error}) of what"));
        let kept = store.release(cycle, leaf.record).map_err(lost)?;
        if Sha256::of(&kept) != leaf.record {
            return Err(bad("has another record kept than the one"));
        }
        let release: RegistryRelease = record::from_bytes(&kept).map_err(|error| bad(&error.to_string()))?;
        for root in &release.roots {
            if Sha256::of(&store.release_root(cycle, *root).map_err(lost)?) != *root {
                return Err(bad("has another root kept than the one"));
            }
        }
        let is_last = last.is_some_and(|last| last.index == leaf.index);
        if is_last && published.is_some_and(|published| published.roots != release.roots) {
            return Err(bad("does not have the roots"));
        }
    }
    Ok(())
}

fn check_registry(store: &Store, cycle: &Name, now: &str) -> Checked {
    let what = "registry".to_owned();
    let folder = registry_folder(store, cycle);
    if !folder.exists() {
        return Checked { what, ok: true, finding: "not built".to_owned() };
    }
    let checked = || -> Result<String, RegistryError> {
        let found = registry::check(&folder)?;
        let log = store.ledger()?;
        registry::check_admissions(&found.selector, &log)?;
        let size = registry::snapshot::check(&folder, &found.selector)?;
        let published = registry::tuf::check(&folder, store.custody().trust(), size, now)?;
        let leaves = log.leaves()?;
        registry::tuf::check_release(published.as_ref(), cycle, &leaves)?;
        check_releases(store, cycle, published.as_ref(), &leaves)?;
        registry::nothing_else(&folder, &found.selector, published.as_ref())?;
        let entries = count(found.selector.entries.len(), "entry");
        let signed = match published {
            Some(published) => format!("metadata version {} until {}", published.version, published.expires),
            None => "no signed metadata".to_owned(),
        };
        Ok(format!("{entries}, every file as bound, every admission in the ledger; {signed}"))
    };
    match checked() {
        Ok(finding) => Checked { what, ok: true, finding },
        Err(error) => Checked { what, ok: false, finding: error.to_string() },
    }
}
