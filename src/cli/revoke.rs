//! `studbook revoke` and `retire`: takes things back, and says whom that reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::{Args, Format};
use super::context::{Terminal, existing_store, now};
use super::exit::{Exit, UsageError};
use super::lineage::the_candidate;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::disk::small::read_small;
use crate::ledger::{EntryKind, Leaf, NewEntry, taken_back};
use crate::pedigree::signers::Reached;
use crate::pedigree::{Pedigree, PedigreeError, Revoked, Signers, Tracer};
use crate::record::candidate::CandidateManifest;
use crate::record::revocation::{Retirement, Revocation};
use crate::record::{self, Record};
use crate::registry::Selector;
use crate::registry::selector::MAX_SELECTOR;
use crate::store::Store;
use crate::trust::Trust;

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// What: a candidate as in `lineage`, or the SHA-256 of a source record, model, suite or key
    #[arg(required_unless_present = "dataset", conflicts_with = "dataset")]
    pub(super) digest: Option<String>,
    /// A plan whose store it concerns; `.studbook` here by default
    #[arg(long, value_name = "PLAN")]
    pub(super) plan: Option<PathBuf>,
    /// A data set, by the name that sources declare
    #[arg(long, value_name = "NAME")]
    pub(super) dataset: Option<String>,
    /// Why
    #[arg(long)]
    pub(super) reason: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Retire {
    /// The candidate, as in `lineage`
    pub(super) candidate: String,
    /// A plan whose store it is in; `.studbook` here by default
    #[arg(long, value_name = "PLAN")]
    pub(super) plan: Option<PathBuf>,
    /// Why
    #[arg(long)]
    pub(super) reason: String,
}

/// The cycle of an entry that is about no cycle's candidate.
const NO_CYCLE: &str = "store";

/// A candidate that a revocation reaches.
#[derive(Serialize)]
struct Tainted {
    candidate: String,
    manifest: Sha256,
    verdict: &'static str,
    why: String,
    /// Whether nobody can tell.
    #[serde(skip)]
    unknown: bool,
    /// Registries that offer it until they are built again.
    releases: Vec<String>,
}

pub(super) fn revoke(args: &Args, command: &Revoke, terminal: &Terminal) -> anyhow::Result<Exit> {
    let store = existing_store(args, command.plan.as_deref())?;
    let pedigree = Pedigree::load(&store)?;
    let (what, subject) = match (&command.dataset, &command.digest) {
        (Some(name), _) => ("dataset", Sha256::of(name.as_bytes())),
        (None, Some(digest)) => what_is(&store, &pedigree, digest, command.plan.as_deref())?,
        (None, None) => return Err(UsageError::new("nothing to revoke was named").into()),
    };
    let signers = Signers::of(&store, &pedigree)?;
    let what = if what == "unknown" && signers.knows(subject) { "key" } else { what };
    let signed = if what == "key" { signers.reached_by(subject) } else { BTreeMap::new() };
    let reason = reason(&command.reason)?;
    let dataset = command.dataset.clone();
    let candidate = pedigree.manifests.get(&subject);
    let mut all = vec![Revocation { what: what.to_owned(), subject, dataset, reason: reason.clone() }];
    // Whose bytes a manifest is of, only its record tells, and that can be lost.
    let bytes = candidate.map(|body| body.artifact.sha256);
    let more = |what: &str, subject| Revocation {
        what: what.to_owned(),
        subject,
        dataset: None,
        reason: reason.clone(),
    };
    all.extend(bytes.map(|subject| more("artifact", subject)));
    // The same cases in another order are another file.
    let asked = pedigree.asked_by(&store, subject).filter(|_| what == "suite");
    if let Some(asked) = asked {
        let others = pedigree.suites_asking(&store, asked).into_iter().filter(|suite| *suite != subject);
        all.extend(others.map(|suite| more("suite", suite)));
        all.push(more("cases", asked));
    }
    let entries = all.iter().map(|one| entry(&store, candidate, EntryKind::Revocation, one.subject, one));
    let entered = append(&store, entries.collect::<anyhow::Result<_>>()?)?;
    let index = entered[0];
    // Whoever has a candidate's bytes is found by the candidate itself.
    let reaching = if candidate.is_some() { 1 } else { all.len() };
    let subjects = all.iter().map(|one| one.subject).zip(entered).take(reaching).collect();
    let tainted = tainted(&store, &pedigree, subjects, &signed, index)?;
    close(&store, &pedigree, index, &tainted)?;
    if command.format == Format::Json {
        terminal.json(&serde_json::json!({
            "entry": index, "what": what, "subject": subject, "tainted": tainted,
        }))?;
        return Ok(Exit::Complete);
    }
    let mut out = terminal.out();
    let known = pedigree.known_as(&store, subject).map_or_else(String::new, |known| format!(" ({known})"));
    writeln!(out, "{what} {}{known} is revoked by ledger entry {index}", subject.short())?;
    for found in &tainted {
        writeln!(
            out,
            "tainted: {} {} ({}): {}",
            found.candidate,
            found.manifest.short(),
            found.verdict,
            found.why
        )?;
        for release in &found.releases {
            writeln!(out, "  released in {release}: dropped when it is built again")?;
        }
    }
    if tainted.iter().any(|found| found.unknown && found.verdict == "admitted") {
        terminal.warn(
            "whoever cannot be looked at is closed for good, and a record or an attestation that is put back opens \
             nobody again (put lost ones back before you revoke): run the plan to have the record back, then edit it \
             (another limit of its budget is enough) and run it once more, to have the candidate decided anew",
        )?;
    }
    if tainted.is_empty() {
        writeln!(out, "nothing in this store descends from it")?;
    }
    if what == "suite" && asked.is_none() {
        terminal.warn(
            "its cases are not at hand as they were, so the same ones in another file or order are not known by this",
        )?;
    }
    if what == "unknown" {
        terminal.warn(
            "no model, suite, key or record of this store has that digest; it counts for what may come",
        )?;
    }
    Ok(Exit::Complete)
}

pub(super) fn retire(args: &Args, command: &Retire, terminal: &Terminal) -> anyhow::Result<Exit> {
    let store = existing_store(args, command.plan.as_deref())?;
    let pedigree = Pedigree::load(&store)?;
    let subject = the_candidate(&pedigree, &command.candidate, command.plan.as_deref())?;
    if pedigree.verdict(subject) != "admitted" {
        let error =
            UsageError::new(format!("`{}` is not admitted: there is nothing to retire", command.candidate));
        return Err(error.into());
    }
    let mut out = terminal.out();
    if let Some(entry) = retired_by(subject, &store.ledger()?.leaves()?) {
        writeln!(
            out,
            "{} is retired already, by ledger entry {entry}: nothing is entered",
            command.candidate
        )?;
        return Ok(Exit::Complete);
    }
    let retirement = Retirement { subject, reason: reason(&command.reason)? };
    let index = enter(&store, &pedigree, EntryKind::Retirement, subject, &retirement)?;
    writeln!(out, "{} is retired by ledger entry {index}", command.candidate)?;
    Ok(Exit::Complete)
}

/// The entry by which a candidate is retired, unless it was admitted once more since. Another reason changes nothing:
/// who is retired is not blamed.
fn retired_by(subject: Sha256, leaves: &[Leaf]) -> Option<u64> {
    let about = |kind| move |leaf: &&Leaf| leaf.kind == kind && leaf.subject == Some(subject);
    let admitted = leaves.iter().filter(about(EntryKind::Admission)).map(|leaf| leaf.index).max();
    let retired = leaves.iter().filter(about(EntryKind::Retirement)).map(|leaf| leaf.index);
    retired.filter(|entry| admitted.is_none_or(|admitted| admitted < *entry)).min()
}

pub(super) fn reason(text: &str) -> anyhow::Result<String> {
    if text.trim().is_empty() {
        return Err(UsageError::new("a reason is needed").hint("give one with --reason TEXT").into());
    }
    Ok(text.to_owned())
}

/// What a digest is of, as far as this store knows. One that it does not know can be taken back, too: it
/// may come.
fn what_is(
    store: &Store,
    pedigree: &Pedigree,
    wanted: &str,
    plan: Option<&Path>,
) -> anyhow::Result<(&'static str, Sha256)> {
    let Some(digest) = wanted.parse().ok().or_else(|| source_begins(pedigree, wanted)) else {
        return Ok(("candidate", the_candidate(pedigree, wanted, plan)?));
    };
    let mut suites = pedigree.lineages.values().flat_map(|lineage| &lineage.suites);
    let mut artifacts = pedigree.manifests.values().map(|body| body.artifact.sha256);
    let mut models = pedigree.sources.values().map(|body| body.artifact.sha256);
    let keys = store.custody().trust().into_iter().flat_map(Trust::keys);
    let what = if pedigree.manifests.contains_key(&digest) {
        "candidate"
    } else if pedigree.sources.contains_key(&digest) {
        "source"
    } else if artifacts.any(|artifact| artifact == digest) || models.any(|model| model == digest) {
        "artifact"
    } else if suites.any(|suite| suite.sha256 == Some(digest)) {
        "suite"
    } else if keys.into_iter().any(|key| key.public.id() == digest) {
        "key"
    } else {
        "unknown"
    };
    Ok((what, digest))
}

/// The one source record, or the one model of a source, whose digest begins so, where no candidate is meant.
fn source_begins(pedigree: &Pedigree, wanted: &str) -> Option<Sha256> {
    if wanted.len() < 8 || !pedigree.find(wanted).is_empty() {
        return None;
    }
    let all = pedigree.sources.iter().flat_map(|(record, body)| [*record, body.artifact.sha256]);
    let found: BTreeSet<Sha256> = all.filter(|digest| digest.to_hex().starts_with(wanted)).collect();
    found.first().copied().filter(|_| found.len() == 1)
}

/// Stores the record and enters it; the same one again is the entry that is there.
pub(super) fn enter<T: Record>(
    store: &Store,
    pedigree: &Pedigree,
    kind: EntryKind,
    subject: Sha256,
    body: &T,
) -> anyhow::Result<u64> {
    Ok(append(store, vec![entry(store, pedigree.manifests.get(&subject), kind, subject, body)?])?[0])
}

/// Stores the record; its entry is about a candidate's name if it is about one.
fn entry<T: Record>(
    store: &Store,
    candidate: Option<&CandidateManifest>,
    kind: EntryKind,
    subject: Sha256,
    body: &T,
) -> anyhow::Result<NewEntry> {
    let bytes = record::to_bytes(body)?;
    store.put(&bytes)?;
    let no_cycle = || NO_CYCLE.parse::<Name>().expect("a proper name");
    Ok(NewEntry {
        kind,
        cycle: candidate.map_or_else(no_cycle, |body| body.cycle.clone()),
        candidate: candidate.map(|body| body.candidate.clone()),
        subject: Some(subject),
        record: Sha256::of(&bytes),
        predicate_type: T::TYPE.to_owned(),
        registration: None,
    })
}

/// Enters all at once; says where each is.
fn append(store: &Store, entries: Vec<NewEntry>) -> anyhow::Result<Vec<u64>> {
    store.settle()?;
    Ok(store.ledger()?.append(entries, &now)?.iter().map(|leaf| leaf.index).collect())
}

const UNREADABLE: &str = "cannot be read in this store, so nobody can tell whether this reaches it";

/// Every candidate that this revocation reaches; `signed` are those whose admissions rest on signatures by a key
/// that the attestations of now do not tell of.
fn tainted(
    store: &Store,
    pedigree: &Pedigree,
    subjects: BTreeMap<Sha256, u64>,
    signed: &BTreeMap<Sha256, Reached>,
    index: u64,
) -> anyhow::Result<Vec<Tainted>> {
    let admitted = Revoked::of(&store.ledger()?)?.admitted.clone();
    let revoked = Revoked { subjects, admitted, ..Revoked::default() };
    // Whoever descends from these is reached by their admissions, which are taken back next.
    let mut after = revoked.clone();
    let admissions = signed.keys().filter_map(|manifest| revoked.admitted.get(manifest)).flatten();
    after.subjects.extend(admissions.map(|record| (*record, index)));
    let mut tracer = Tracer::new(pedigree, &revoked, store);
    let mut heirs = Tracer::new(pedigree, &after, store);
    let mut all = Vec::new();
    for (manifest, body) in &pedigree.manifests {
        let mut found = tracer.candidate(*manifest, body);
        let told = signed.get(manifest).filter(|_| matches!(found, Ok(None)));
        if matches!(found, Ok(None)) && told.is_none() && !signed.is_empty() {
            found = heirs.candidate(*manifest, body);
        }
        let (why, unknown) = match (found, told) {
            (_, Some(told)) => (told.how.clone(), told.unknown),
            (Ok(None), None) => continue,
            (Ok(Some(taint)), None) => (tracer.told(&taint), false),
            // It is entered already, and closed is what this one is.
            (Err(PedigreeError::Unreadable { what, record, whose }), None) => {
                (format!("the {what} {} of the {whose} {UNREADABLE}", record.short()), true)
            }
            (Err(error), None) => return Err(error.into()),
        };
        all.push(Tainted {
            candidate: format!("{}/{}", body.cycle, body.candidate),
            manifest: *manifest,
            verdict: pedigree.verdict(*manifest),
            why,
            unknown,
            releases: releases(store, *manifest),
        });
    }
    all.extend(lost(store, pedigree)?);
    all.sort_by(|a, b| a.candidate.cmp(&b.candidate));
    Ok(all)
}

/// Those whose admission stands and whose manifest is gone: nobody can tell, so they are closed.
fn lost(store: &Store, pedigree: &Pedigree) -> anyhow::Result<Vec<Tainted>> {
    let leaves = store.ledger()?.leaves()?;
    let stands = |leaf: &&Leaf| leaf.kind == EntryKind::Admission && taken_back(leaf, &leaves).is_none();
    let mut found = BTreeMap::new();
    for leaf in leaves.iter().filter(stands) {
        let Some(manifest) = leaf.subject.filter(|it| !pedigree.manifests.contains_key(it)) else { continue };
        let name = leaf.candidate.as_ref().map_or("?", Name::as_str);
        found.insert(
            manifest,
            Tainted {
                candidate: format!("{}/{name}", leaf.cycle),
                manifest,
                verdict: pedigree.verdict(manifest),
                why: format!("its manifest {UNREADABLE}"),
                unknown: true,
                releases: releases(store, manifest),
            },
        );
    }
    Ok(found.into_values().collect())
}

/// Takes back the admission of everybody who is reached, too. Who descends from whom and who signed what is told
/// by files that can be lost, and by a store that readers of a dossier do not have; the ledger is neither.
fn close(store: &Store, pedigree: &Pedigree, index: u64, tainted: &[Tainted]) -> anyhow::Result<()> {
    let admitted = Revoked::of(&store.ledger()?)?.admitted.clone();
    for found in tainted {
        for subject in admitted.get(&found.manifest).into_iter().flatten() {
            let reason = format!("{} rests on what ledger entry {index} revokes", found.candidate);
            let revocation =
                Revocation { what: "admission".to_owned(), subject: *subject, dataset: None, reason };
            enter(store, pedigree, EntryKind::Revocation, *subject, &revocation)?;
        }
    }
    Ok(())
}

/// The registries of this store that offer a candidate.
fn releases(store: &Store, manifest: Sha256) -> Vec<String> {
    let root = store.root().join("registry");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let selector = read_small("read", &entry.path().join("selector.json"), MAX_SELECTOR).ok();
        let selector = selector.and_then(|bytes| Selector::from_bytes(&bytes).ok());
        let offers = selector
            .is_some_and(|selector| selector.entries.iter().any(|offered| offered.manifest == manifest));
        if offers {
            found.push(format!("registry/{}", entry.file_name().to_string_lossy()));
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::decision::tests::log;

    #[test]
    fn who_is_retired_is_so_until_the_next_admission() {
        use EntryKind::{Admission, Retirement};
        let by = |told: &[(EntryKind, &str)]| retired_by(Sha256::of(b"a"), &log(told));
        assert_eq!(by(&[(Admission, "a"), (Retirement, "b")]), None);
        assert_eq!(by(&[(Admission, "a"), (Retirement, "a"), (Retirement, "a")]), Some(1));
        assert_eq!(by(&[(Admission, "a"), (Retirement, "a"), (Admission, "b")]), Some(1));
        assert_eq!(by(&[(Admission, "a"), (Retirement, "a"), (Admission, "a")]), None);
        assert_eq!(by(&[(Admission, "a"), (Retirement, "a"), (Admission, "a"), (Retirement, "a")]), Some(3));
    }
}
