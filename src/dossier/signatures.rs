//! Who says so: the statement of every record, derived again and compared with what was signed.

use super::evidence::{Evidence, Kept};
use crate::record::attest::{Bundle, Descriptor, Statement, agree, predicate};
use crate::record::{RecordError, source::SourceArtifact};
use crate::trust::{Claim, Trust};

/// What is claimed by a record.
pub(super) struct Claimed {
    /// The record's path.
    pub(super) path: String,
    /// What kind of claim.
    pub(super) claim: Claim,
    /// What is stated.
    pub(super) statement: Statement,
}

impl Evidence {
    /// The paths of the records that may claim something.
    pub(super) fn claiming(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.sources.values().map(|kept| kept.path.clone()).collect();
        paths.extend(self.manifests.values().map(|kept| kept.path.clone()));
        paths.extend(self.measured.values().map(|measured| measured.sidecar.path.clone()));
        paths.extend(self.comparisons.iter().map(|kept| kept.path.clone()));
        let own = [
            &self.compat.path,
            &self.receipt.path,
            &self.smoke.path,
            &self.promotion.path,
            &self.admission.path,
        ];
        paths.extend(own.into_iter().cloned());
        paths
    }

    /// The bytes of every record and document that stages read.
    pub(super) fn records(&self) -> Vec<&[u8]> {
        let mut all: Vec<&[u8]> = vec![
            &self.compat.bytes,
            &self.receipt.bytes,
            &self.smoke.bytes,
            &self.promotion.bytes,
            &self.registration.bytes,
        ];
        all.extend(self.sources.values().map(|kept| &kept.bytes[..]));
        all.extend(self.lineages.values().map(|kept| &kept.bytes[..]));
        all.extend(self.manifests.values().map(|kept| &kept.bytes[..]));
        all.extend(self.comparisons.iter().map(|kept| &kept.bytes[..]));
        for measured in self.measured.values() {
            all.extend([&measured.sidecar.bytes[..], &measured.outcomes[..]]);
        }
        all
    }

    /// What every record claims. `time` is when it was decided, by the ledger.
    pub(super) fn claims(&self, time: &str) -> Result<Vec<Claimed>, RecordError> {
        let mut all = Vec::new();
        let mut claim = |path: &str, claim, statement| {
            all.push(Claimed { path: path.to_owned(), claim, statement });
        };
        for kept in self.sources.values() {
            claim(&kept.path, Claim::Source, source(&kept.body)?);
        }
        for kept in self.manifests.values() {
            claim(&kept.path, Claim::Candidate, predicate::candidate(&kept.body, kept.subject.sha256)?);
        }
        for measured in self.measured.values() {
            let Kept { path, body, .. } = &measured.sidecar;
            let subject = vec![Descriptor::new(body.subject.name.as_str(), body.subject.artifact)];
            claim(path, Claim::Evaluation, predicate::own(subject, body)?);
        }
        if let Some(Kept { path, subject, body, .. }) = &self.comparisons {
            claim(path, Claim::Evaluation, predicate::comparisons(body, subject.sha256)?);
        }
        if let Some(statement) = predicate::compatibility(&self.compat.body, self.compat.subject.sha256) {
            claim(&self.compat.path, Claim::Compatibility, statement);
        }
        let (manifest, lineage) = (&self.manifest().body, &self.lineage().body);
        let made = predicate::provenance(&self.receipt.body, self.receipt.subject.sha256, lineage, manifest)?;
        claim(&self.receipt.path, Claim::Receipt, made);
        claim(&self.smoke.path, Claim::Smoke, predicate::smoke(&self.smoke.body, self.smoke.subject.sha256));
        let gates = predicate::gates(&self.promotion.body, self.promotion.subject.sha256, manifest, time);
        if let Some(statement) = gates {
            claim(&self.promotion.path, Claim::Promotion, statement);
        }
        let admitted =
            predicate::admission(&self.admission.body, self.admission.subject.sha256, manifest, time);
        claim(&self.admission.path, Claim::Admission, admitted);
        Ok(all)
    }
}

fn source(body: &SourceArtifact) -> Result<Statement, RecordError> {
    predicate::own(vec![Descriptor::new(body.name.as_str(), body.artifact.sha256)], body)
}

/// Checks the statement about one record by these keys. Without a key for such a claim the record stands
/// for itself. The reason is a sentence.
pub(super) fn check(evidence: &Evidence, claimed: &Claimed, trust: &Trust) -> Result<Option<String>, String> {
    let demanded = trust.for_claim(claimed.claim).next().is_some();
    let Some(bytes) = evidence.bundles.get(&claimed.path) else {
        let why =
            format!("a key for {} records is trusted, but nobody signed this one", claimed.claim.word());
        return if demanded { Err(why) } else { Ok(None) };
    };
    let bundle = Bundle::parse(bytes).map_err(|error| error.to_string())?;
    let verified = bundle.verify(trust, claimed.claim, &claimed.statement.predicate_type);
    let (found, key) = verified.map_err(|error| error.to_string())?;
    let facts = agree(&claimed.statement, &found).map_err(|error| error.to_string())?;
    Ok(Some(key.signed(facts.as_ref().map(|facts| facts as _))))
}

/// What a check of a record is called.
pub(super) fn name_of(path: &str) -> String {
    let inner = path.strip_prefix("records/").unwrap_or(path);
    let inner = inner.strip_suffix(".json").unwrap_or(inner);
    format!("attestation of {}", inner.split_once('-').map_or(inner, |(_, rest)| rest).replacen('/', ":", 1))
}

/// Whether a bundle lies beside a record that claims nothing.
pub(super) fn unclaimed(evidence: &Evidence, claims: &[Claimed]) -> Option<String> {
    let claims_something = |path: &String| claims.iter().any(|claimed| claimed.path == *path);
    evidence.bundles.keys().find(|path| !claims_something(path)).cloned()
}
