//! What was taken back, as people know it.
//!
//! Records and the ledger name things by SHA-256. Pools and the store name models by BLAKE3, and people call them by
//! name; so whoever is told that something was taken back is told both besides.

use std::collections::BTreeSet;

use super::Pedigree;
use crate::base::digest::Sha256;
use crate::store::Store;

impl Pedigree {
    /// What people call that which has this digest: everything in this store that has it.
    pub fn known_as(&self, store: &Store, subject: Sha256) -> Option<String> {
        let found: BTreeSet<String> =
            [self.as_record(subject), self.as_model(subject), self.as_said(store, subject)]
                .into_iter()
                .flatten()
                .collect();
        (!found.is_empty()).then(|| found.into_iter().collect::<Vec<_>>().join("; "))
    }

    /// A candidate, a source, or the admission of a candidate.
    fn as_record(&self, subject: Sha256) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(body) = self.manifests.get(&subject) {
            let model = body.artifact.blake3.short();
            found.push(format!("{}/{}, its model is BLAKE3 {model}", body.cycle, body.candidate));
        }
        if let Some(body) = self.sources.get(&subject) {
            let model = body.artifact.blake3.short();
            found.push(format!("the source `{}`, its model is BLAKE3 {model}", body.name));
        }
        let mut admissions = self.admissions.values();
        if let Some((_, body)) = admissions.find(|(record, _)| *record == subject) {
            found.push(format!("the admission of {}/{}", body.cycle, body.candidate));
        }
        found
    }

    /// The model of candidates, or of sources where no candidate has these bytes.
    fn as_model(&self, subject: Sha256) -> Vec<String> {
        let bred = self.manifests.values().filter(|body| body.artifact.sha256 == subject);
        let bred = bred.map(|body| (format!("{}/{}", body.cycle, body.candidate), body.artifact.blake3));
        let brought = self.sources.values().filter(|body| body.artifact.sha256 == subject);
        let brought = brought.map(|body| (format!("the source `{}`", body.name), body.artifact.blake3));
        let mut found: BTreeSet<_> = bred.collect();
        if found.is_empty() {
            found = brought.collect();
        }
        found
            .into_iter()
            .map(|(whose, model)| format!("the model of {whose}, BLAKE3 {}", model.short()))
            .collect()
    }

    /// A suite or what it asks, or a data set that somebody declared.
    fn as_said(&self, store: &Store, subject: Sha256) -> Vec<String> {
        let asking = self.suites_asking(store, subject);
        let suites = self.lineages.values().flat_map(|body| &body.suites);
        let mut found: Vec<String> = suites
            .filter_map(|suite| match suite.sha256? {
                file if file == subject => Some(format!("the suite `{}`", suite.name)),
                file if asking.contains(&file) => Some(format!("what the suite `{}` asks", suite.name)),
                _ => None,
            })
            .collect();
        let bred = self.manifests.values().flat_map(|body| &body.data);
        let mut data = bred.chain(self.sources.values().flat_map(|body| &body.origin.data));
        found
            .extend(data.find(|name| Sha256::of(name.as_bytes()) == subject).map(|name| format!("{name:?}")));
        found
    }
}
