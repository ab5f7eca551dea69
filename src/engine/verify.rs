//! Checks what a cycle left behind, trusting nothing but the digests.
//!
//! Every blob is hashed again, every source file, too. Every stage that is cheap and pure is run
//! again from its inputs, and must give the same bytes: a record edited together with its digest,
//! or a cache entry pointing elsewhere, shows up here. Metrics are recomputed from outcomes. With
//! recomputation the operators, smokes and evaluations are run again as well.

use std::sync::Arc;

use super::attest;
use super::graph::{From, StageGraph, StageIndex};
use super::preview::{Outlook, StageOutlook, preview};
use super::resolve::Resolver;
use crate::base::canonical;
use crate::base::digest::{Digest, Sha256};
use crate::base::key::WriteKey;
use crate::base::name::Name;
use crate::ledger::{Leaf, LedgerError};
use crate::record::{self, registry::RegistryRelease};
use crate::registry::tuf::{Published, publish::METADATA};
use crate::registry::{self, RegistryError};
use crate::stage::{Action, Context, Kind, StageError, ask_again, recompute, registry_folder, stage};
use crate::store::{ActionResult, Event, Happened, Store, StoreError};

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
pub fn verify(
    graph: &StageGraph,
    store: &Arc<Store>,
    options: &Options,
    told: &mut dyn FnMut(&Checked),
) -> Result<Vec<Checked>, StoreError> {
    let preview = preview(graph, store)?;
    let resolver = Resolver::new(graph, store);
    let last = store.last_events(&graph.cycle)?;
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
                check_stage(graph, store, options, *index, &action, result)
            }
            None => {
                match last.get(&node.id).and_then(|event| lost(store, event, outlook, action_of(index))) {
                    Some(why) => Err(why),
                    None => continue,
                }
            }
        };
        let (ok, finding) = match outcome {
            Ok(finding) => (true, finding),
            Err(why) => (false, why),
        };
        tell(Checked { what: node.id.clone(), ok, finding });
    }
    if preview.results.iter().flatten().count() > 0 {
        attest::check(graph, store, &preview.results, &mut tell);
        tell(check_ledger(store));
        tell(check_registry(store, &graph.cycle, &options.now));
    }
    Ok(all)
}

fn check_stage(
    graph: &StageGraph,
    store: &Arc<Store>,
    options: &Options,
    index: StageIndex,
    action: &Action,
    result: &ActionResult,
) -> Result<String, String> {
    let node = graph.node(index);
    for input in &node.inputs {
        match &input.from {
            From::File(path) => {
                let found = store.rehash_model(path).map_err(|error| error.to_string())?;
                let bound = action.inputs.get(&input.name);
                if bound != Some(&found) {
                    return Err(mismatch(&format!("{}", path.display()), bound, found));
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
        Kind::Operator if options.recompute && wanted => {
            let found = recompute(store, action).map_err(|error| error.to_string())?;
            match result.outputs.get("artifact") {
                Some(bound) if *bound == found => Ok(format!("recomputed: MATCH {}", found.digest.short())),
                bound => {
                    Err(mismatch("recomputed: MISMATCH", bound.map(|bound| &bound.digest), found.digest))
                }
            }
        }
        Kind::Eval if options.recompute && wanted => {
            rederive(store, action, result).and_then(|finding| asked_again(store, action, result, finding))
        }
        Kind::Source | Kind::Operator | Kind::Smoke | Kind::Ledger | Kind::Registry
            if !(options.recompute && matches!(node.kind, Kind::Source | Kind::Smoke)) =>
        {
            Ok("bytes match their digests".to_owned())
        }
        _ => rederive(store, action, result),
    }
}

/// Why a stage that has run once has no result any more, unless the plan alone explains it.
///
/// To a run, a damaged blob is merely one to make again; to whoever verifies, it is the finding.
fn lost(
    store: &Store,
    last: &Event,
    outlook: &Outlook,
    action: Result<Action, StoreError>,
) -> Option<String> {
    if matches!(last.happened, Happened::Failed(_)) || !matches!(outlook, Outlook::WouldRun { .. }) {
        return None;
    }
    let action = match action {
        Ok(action) => action,
        Err(error) => return Some(error.to_string()),
    };
    if last.key != action.action_key() {
        let before: Action = canonical::from_slice(&store.read(&last.action).ok()?).ok()?;
        // Another parameter, or an input more or less, is a changed plan. An input of the same name
        // with other bytes is not.
        let moved = |(name, bound): (&String, &Digest)| {
            let found = action.inputs.get(name).filter(|found| *found != bound)?;
            Some(mismatch(&format!("the input `{name}` changed"), Some(bound), *found))
        };
        return before.inputs.iter().find_map(moved);
    }
    let result = match store.recorded(&last.key) {
        Ok(Some(result)) => result,
        Ok(None) => return Some("what it made is no longer recorded, or cannot be read".to_owned()),
        Err(error) => return Some(error.to_string()),
    };
    let damaged = |(name, blob)| store.rehash(blob).err().map(|error| format!("{name}: {error}"));
    let found = result.outputs.iter().find_map(damaged);
    Some(found.unwrap_or_else(|| "what it left outside its record is no longer there as it was".to_owned()))
}

/// Runs a stage again and compares everything it made.
fn rederive(store: &Arc<Store>, action: &Action, result: &ActionResult) -> Result<String, String> {
    let kind = Kind::from_name(&action.kind).expect("graphs hold known kinds");
    let context = Context { store, action, now: &String::new, cancelled: &|| false, progress: &|_, _| () };
    let again = stage(kind).run(&context).map_err(|error: StageError| error.to_string())?;
    for (name, blob) in &result.outputs {
        match again.outputs.get(name) {
            Some(found) if found == blob => {}
            found => {
                let digest = found.map_or(Digest::of(b""), |found| found.digest);
                return Err(mismatch(
                    &format!("derived again, `{name}` differs"),
                    Some(&blob.digest),
                    digest,
                ));
            }
        }
    }
    if again.verdict != result.verdict {
        return Err(format!(
            "derived again, the verdict is {:?}, recorded is {:?}",
            again.verdict, result.verdict
        ));
    }
    if again.summary != result.summary {
        return Err(format!("derived again, it says {:?}, recorded is {:?}", again.summary, result.summary));
    }
    Ok("derived again: same bytes, same verdict".to_owned())
}

/// Asks the model again and compares what it says with the outcomes that are kept.
fn asked_again(
    store: &Arc<Store>,
    action: &Action,
    result: &ActionResult,
    derived: String,
) -> Result<String, String> {
    let context = Context { store, action, now: &String::new, cancelled: &|| false, progress: &|_, _| () };
    let Some(found) = ask_again(&context).map_err(|error| error.to_string())? else { return Ok(derived) };
    match result.outputs.get("outcomes") {
        Some(bound) if bound.digest == found => Ok(format!("asked again: MATCH {}", found.short())),
        bound => Err(mismatch("asked again: MISMATCH", bound.map(|bound| &bound.digest), found)),
    }
}

fn mismatch(what: &str, bound: Option<&Digest>, found: Digest) -> String {
    let bound = bound.map_or("nothing".to_owned(), Digest::to_hex);
    format!("{what}: the record binds {bound}, found {found}")
}

fn check_ledger(store: &Store) -> Checked {
    let what = "ledger".to_owned();
    let checked = || -> Result<u64, LedgerError> {
        let ledger = store.ledger()?;
        let remembered = store.ledger_memory().recall(&ledger.head()?.origin)?;
        Ok(ledger.check(remembered.as_ref())?.head.size)
    };
    match checked() {
        Ok(size) => Checked { what, ok: true, finding: format!("{size} entries, one tree, as remembered") },
        Err(error) => Checked { what, ok: false, finding: error.to_string() },
    }
}

/// The roots are those that the ledger's last publication binds. A chain of them that ends early is one from
/// before a key was changed, and holds in itself.
fn check_roots(
    store: &Store,
    published: Option<&Published>,
    last: Option<&Leaf>,
) -> Result<(), RegistryError> {
    let (Some(published), Some(last)) = (published, last) else { return Ok(()) };
    let bad = |why: String| RegistryError::Metadata { path: METADATA.to_owned(), why };
    let kept = store.release(&last.cycle, last.record).map_err(|error| bad(error.to_string()))?;
    let release: RegistryRelease = record::from_bytes(&kept).map_err(|error| bad(error.to_string()))?;
    if Sha256::of(&kept) == last.record && release.roots == published.roots {
        return Ok(());
    }
    Err(bad(format!("does not have the roots that ledger entry {} published", last.index)))
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
        check_roots(store, published.as_ref(), registry::tuf::last_release(cycle, &leaves))?;
        let entries = found.selector.entries.len();
        let signed = match published {
            Some(published) => format!("metadata version {} until {}", published.version, published.expires),
            None => "no signed metadata".to_owned(),
        };
        Ok(format!("{entries} entries, every file as bound, every admission in the ledger; {signed}"))
    };
    match checked() {
        Ok(finding) => Checked { what, ok: true, finding },
        Err(error) => Checked { what, ok: false, finding: error.to_string() },
    }
}
