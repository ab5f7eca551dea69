//! From a folder to findings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::evidence::Evidence;
use super::folder::{self, Files, Unreadable};
use super::rederive::{Workshop, listing};
use super::{
    DossierError, approvers, bindings, derived, history, layout, measured, model_signature, signatures,
};
use crate::base::digest::{Digest, Sha256};
use crate::engine::verify::Checked;
use crate::evaluate::Measure;
use crate::evaluate::quantization_delta::QuantizationDelta;
use crate::trust::Trust;

/// How to check.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whose signatures count; without it only the keys that came along, which prove nothing but that the
    /// folder agrees with itself.
    pub trust: Option<Trust>,
    /// The reader's own copy of the ledger: it must extend the one of the proofs.
    pub ledger: Option<PathBuf>,
    /// Run the model again: smoke prompts, and every case of every suite.
    pub recompute: bool,
}

/// Checks a dossier; `told` hears every finding as it is made. A folder that cannot be made sense of gives
/// one finding; else everything that is wrong is told.
///
/// # Errors
///
/// If the disk fails while the folder is read or its records are derived again; what is wrong with the dossier is a
/// finding.
pub fn verify(
    folder: &Path,
    options: &Options,
    told: &mut dyn FnMut(&Checked),
) -> Result<Vec<Checked>, DossierError> {
    let mut findings = Findings { all: Vec::new(), told };
    let files = match folder::read(folder) {
        Ok(files) => files,
        Err(Unreadable::Disk(error)) => return Err(error.into()),
        Err(Unreadable::Refused(why)) => {
            findings.tell("files", Err(why));
            return Ok(findings.all);
        }
    };
    let (evidence, taken) = match Evidence::read(&files.documents) {
        Ok(read) => read,
        Err(why) => {
            findings.tell("records", Err(why));
            return Ok(findings.all);
        }
    };
    findings.tell("files", exactly(&files, taken));
    findings.tell("bindings", bindings::check(&evidence));
    findings.tell("artifact", artifact(&evidence, &files));
    for ((model, suite), measured) in &evidence.measured {
        let found = measured::check(&evidence, (model, suite), measured);
        findings.tell(&format!("eval:{model}.{suite}"), found);
    }
    // From records that do not fit together nothing follows.
    if findings.all.iter().all(|checked| checked.ok) {
        rederived(&mut findings, &evidence, &files, options)?;
    }
    let trust = options.trust.as_ref().unwrap_or(&evidence.keys);
    findings.tell("ledger", history::check(&evidence, &history::log_keys(trust)));
    attested(&mut findings, &evidence, trust);
    for (what, found) in approvers::check(&evidence, options.trust.as_ref()) {
        findings.tell(&what, found);
    }
    match model_signature::check(&evidence, &files, trust) {
        Ok(None) => {}
        Ok(Some(finding)) => findings.tell("model signature", Ok(finding)),
        Err(why) => findings.tell("model signature", Err(why)),
    }
    if let Some(ledger) = &options.ledger {
        let found = history::since(&evidence, ledger, history::log_keys(trust));
        findings.tell("ledger since", found.map_err(|error| error.to_string()));
    }
    readable(&mut findings, &evidence, &files);
    findings.tell("trust", Ok(believed(&evidence, options)));
    Ok(findings.all)
}

/// Makes again what follows from other records, and on request what the model does.
fn rederived(
    findings: &mut Findings<'_>,
    evidence: &Evidence,
    files: &Files,
    options: &Options,
) -> Result<(), DossierError> {
    let workshop = Workshop::of(evidence, &files.model)?;
    findings.tell(&format!("candidate:{}", evidence.index.candidate), workshop.manifest(evidence));
    if let Some(found) = workshop.comparisons(evidence) {
        findings.tell("eval:comparisons", found);
    }
    findings.tell(&format!("promotion:{}", evidence.index.candidate), workshop.promotion(evidence));
    findings.tell(&format!("admission:{}", evidence.index.candidate), workshop.admission(evidence));
    let smoke = format!("smoke:{}", evidence.index.candidate);
    findings.tell(&smoke, workshop.smoke_held(evidence));
    if options.recompute {
        findings.tell(&format!("{smoke} run again"), workshop.smoke(evidence));
        for suite in &evidence.lineage().body.suites {
            if suite.kind == QuantizationDelta::NAME {
                continue; // It needs the parents' bytes.
            }
            if let Some(found) = workshop.outcomes(evidence, suite) {
                findings
                    .tell(&format!("eval:{}.{} asked again", evidence.index.candidate, suite.name), found);
            }
        }
    }
    Ok(())
}

struct Findings<'a> {
    all: Vec<Checked>,
    told: &'a mut dyn FnMut(&Checked),
}

impl Findings<'_> {
    fn tell(&mut self, what: &str, found: Result<String, String>) {
        let (ok, finding) = match found {
            Ok(finding) => (true, finding),
            Err(why) => (false, why),
        };
        let checked = Checked { what: what.to_owned(), ok, finding };
        (self.told)(&checked);
        self.all.push(checked);
    }
}

/// No document more than the records call for.
fn exactly(files: &Files, mut taken: BTreeSet<String>) -> Result<String, String> {
    taken.extend(derived::PATHS.iter().map(|path| (*path).to_owned()));
    taken.insert(layout::SIGNATURE.to_owned());
    if let Some(extra) = files.documents.keys().find(|path| !taken.contains(*path)) {
        return Err(format!("{extra:?} does not belong to the dossier"));
    }
    if let Some(lost) = derived::PATHS.iter().find(|path| !files.documents.contains_key(**path)) {
        return Err(format!("{lost:?} is missing"));
    }
    Ok(format!(
        "{} documents and {} of the model, none missing, none more",
        files.documents.len(),
        files.model.len()
    ))
}

/// The model's bytes are those of the manifest, under the names it gives them.
fn artifact(evidence: &Evidence, files: &Files) -> Result<String, String> {
    let manifest = &evidence.manifest().body;
    let bound = &manifest.artifact;
    let differ = |what: &str, found: String| {
        Err(format!("the {what} of the model is {found}, the manifest binds {}", bound.sha256))
    };
    match (files.model.as_slice(), evidence.receipt.body.files.as_slice()) {
        ([], _) => Err("the model is missing".to_owned()),
        ([one], []) => {
            let expected = derived::model_name(manifest);
            if one.name != expected {
                return Err(format!("the model is called {:?}, expected {expected:?}", one.name));
            }
            if one.sha256 != bound.sha256 {
                return differ("SHA-256", one.sha256.to_hex());
            }
            if one.blake3 != bound.blake3 || one.bytes != bound.bytes {
                return Err("the BLAKE3 or the length of the model is not the manifest's".to_owned());
            }
            Ok(format!("{} bytes with the manifest's SHA-256", one.bytes))
        }
        (all, listed) => {
            let listing = listing(all)?;
            let bytes = listing.to_bytes();
            if Sha256::of(&bytes) != bound.sha256 || Digest::of(&bytes) != bound.blake3 {
                let known = |name: &str| listed.iter().find(|file| file.name == name);
                let wrong =
                    all.iter().find(|file| known(&file.name).is_none_or(|it| it.blake3 != file.blake3));
                let which = wrong
                    .map_or("a file is missing".to_owned(), |file| format!("{:?} is another", file.name));
                return Err(format!("the files of the model are not those of the manifest: {which}"));
            }
            Ok(format!("{} files, the list has the manifest's SHA-256", all.len()))
        }
    }
}

fn attested(findings: &mut Findings<'_>, evidence: &Evidence, trust: &Trust) {
    let claims = match decided_at(evidence)
        .and_then(|time| evidence.claims(&time).map_err(|error| error.to_string()))
    {
        Ok(claims) => claims,
        Err(why) => return findings.tell("attestations", Err(why)),
    };
    for claimed in &claims {
        match signatures::check(evidence, claimed, trust) {
            Ok(None) => {}
            Ok(Some(finding)) => findings.tell(&signatures::name_of(&claimed.path), Ok(finding)),
            Err(why) => findings.tell(&signatures::name_of(&claimed.path), Err(why)),
        }
    }
    if let Some(path) = signatures::unclaimed(evidence, &claims) {
        findings
            .tell("attestations", Err(format!("{path:?} claims nothing, but something was signed for it")));
    }
}

/// When it was decided, by the log's entry.
pub(super) fn decided_at(evidence: &Evidence) -> Result<String, String> {
    Ok(crate::ledger::Leaf::from_bytes(&evidence.decision.entry)?.time)
}

/// Page, card, bill of materials, crate, sums: written again, byte for byte.
fn readable(findings: &mut Findings<'_>, evidence: &Evidence, files: &Files) {
    let again = match derived::documents(evidence, files) {
        Ok(again) => again,
        Err(why) => return findings.tell("documents", Err(why)),
    };
    let mut same = 0;
    for (path, bytes) in &again {
        match files.documents.get(*path) {
            Some(found) if found == bytes => same += 1,
            Some(found) => {
                let at = found.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                findings.tell(path, Err(format!("written again from the records it differs at byte {at}")));
            }
            None => {} // Told as a file that is missing.
        }
    }
    if same == again.len() {
        findings.tell(
            "documents",
            Ok(format!("{} written again from the records: same bytes", derived::PATHS.join(", "))),
        );
    }
}

fn believed(evidence: &Evidence, options: &Options) -> String {
    let taken_back = match options.ledger {
        Some(_) => "",
        None => "; whether anything was taken back since, only the ledger can tell (--ledger)",
    };
    let who = match (&options.trust, evidence.bundles.is_empty()) {
        (Some(_), false) => "signatures were checked by the trust file that was given",
        (Some(_), true) | (None, true) => {
            "nothing is signed: the folder agrees with itself, and anybody could have made it"
        }
        (None, false) => {
            "signatures fit the keys that came with them, which shows that the folder agrees with itself and not whose keys they are (--trust)"
        }
    };
    format!("{who}{taken_back}")
}
