//! A candidate's pedigree to the roots.
//!
//! Kin are crossed with kin, so one ancestor is met on many paths: twice as many in each generation. It is
//! spelled out where it is met first, and named everywhere else.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::{Decided, Pedigree, PedigreeError, Revoked, Tracer};
use crate::base::digest::Sha256;
use crate::store::Store;

/// Somebody in a pedigree, and whom they come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ancestry {
    /// What its cycle, or its child's plan, calls it.
    pub name: String,
    /// `candidate`, `source`, or `unknown` where its record is not in this store.
    pub kind: &'static str,
    /// The cycle it was bred in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycle: Option<String>,
    /// Its manifest or source record.
    pub record: Sha256,
    /// Its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Sha256>,
    /// What made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// With which values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// `admitted`, `refused` or `undecided`; of a source, its declared kind.
    pub verdict: String,
    /// The ledger entry that retired it, or its bytes in its cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired: Option<u64>,
    /// What was taken back that reaches it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// Why nobody can tell whether anything that was taken back reaches it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untraced: Option<String>,
    /// Why nobody can tell whom it comes from: it is no root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    /// Licences it carries.
    pub licences: Vec<String>,
    /// Data its ancestors declared.
    pub data: Vec<String>,
    /// Whether it was spelled out before, under the same `record`: its parents are there and not here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// Whom it comes from, base first.
    pub parents: Vec<Ancestry>,
}

/// A pedigree on its way to the roots.
#[derive(Default)]
struct Walk {
    /// Those between the candidate and whoever is looked at.
    path: Vec<Sha256>,
    /// Candidates whose parents were spelled out.
    spelled: BTreeSet<Sha256>,
}

impl Walk {
    /// A step towards the roots; nobody descends from himself.
    fn enter(&mut self, record: Sha256) -> Result<(), PedigreeError> {
        if self.path.contains(&record) || self.path.len() == MAX_GENERATIONS {
            return Err(PedigreeError::Circle(record));
        }
        self.path.push(record);
        Ok(())
    }
}

/// A pedigree deeper than this was not bred by anybody.
const MAX_GENERATIONS: usize = 1000;

impl Pedigree {
    /// The pedigree of a candidate, by its manifest.
    ///
    /// # Errors
    ///
    /// [`PedigreeError::Circle`] if somebody is among his own ancestors, or these are too many to have been bred.
    pub fn ancestry(&self, manifest: Sha256) -> Result<Ancestry, PedigreeError> {
        self.of_candidate(manifest, None, &mut Walk::default())
    }

    fn of_candidate(
        &self,
        sha256: Sha256,
        called: Option<&str>,
        walk: &mut Walk,
    ) -> Result<Ancestry, PedigreeError> {
        walk.enter(sha256)?;
        let Some(body) = self.manifests.get(&sha256) else {
            walk.path.pop();
            return Ok(unknown(called.unwrap_or("?"), sha256));
        };
        let again = !walk.spelled.insert(sha256);
        let mut parents = Vec::new();
        for (name, source) in self.parents(body).into_iter().filter(|_| !again) {
            parents.push(self.of_source(source, name.as_str(), walk)?);
        }
        walk.path.pop();
        let lineage = self.lineages.get(&body.lineage);
        let operator = lineage.map(|lineage| &lineage.operator);
        let cut = lineage
            .is_none()
            .then(|| format!("its lineage template {} cannot be read in this store", body.lineage.short()));
        Ok(Ancestry {
            name: body.candidate.to_string(),
            kind: "candidate",
            cycle: Some(body.cycle.to_string()),
            record: sha256,
            artifact: Some(body.artifact.sha256),
            operator: operator.map(|operator| operator.name.clone()),
            parameters: operator.and_then(|operator| serde_json::to_value(&operator.parameters).ok()),
            verdict: self.verdict(sha256).to_owned(),
            retired: None,
            revoked: None,
            untraced: None,
            cut,
            licences: body.licences.clone(),
            data: body.data.clone(),
            again,
            parents,
        })
    }

    fn of_source(&self, sha256: Sha256, called: &str, walk: &mut Walk) -> Result<Ancestry, PedigreeError> {
        let Some(body) = self.sources.get(&sha256) else { return Ok(unknown(called, sha256)) };
        // A pool offers a candidate, or passes a parent on; whatever it was, it is shown as what it is.
        match body.origin.manifest {
            Some(bred) if self.manifests.contains_key(&bred) => {
                return self.of_candidate(bred, Some(called), walk);
            }
            Some(passed_on) if self.sources.contains_key(&passed_on) => {
                walk.enter(sha256)?;
                let found = self.of_source(passed_on, called, walk);
                walk.path.pop();
                return found;
            }
            _ => {}
        }
        // What a pool offered is no root, even where its own record is gone.
        let offered = body.origin.manifest.filter(|_| body.origin.cycle.is_some());
        Ok(Ancestry {
            name: called.to_owned(),
            kind: "source",
            cycle: body.origin.cycle.as_ref().map(ToString::to_string),
            record: sha256,
            artifact: Some(body.artifact.sha256),
            operator: None,
            parameters: None,
            verdict: body.origin.source_kind.clone(),
            retired: None,
            revoked: None,
            untraced: None,
            cut: None,
            licences: body.origin.licences.clone(),
            data: body.origin.data.clone(),
            again: false,
            parents: offered.map(|gone| unknown(called, gone)).into_iter().collect(),
        })
    }
}

fn unknown(name: &str, record: Sha256) -> Ancestry {
    Ancestry {
        name: name.to_owned(),
        kind: "unknown",
        cycle: None,
        record,
        artifact: None,
        operator: None,
        parameters: None,
        verdict: "not in this store".to_owned(),
        retired: None,
        revoked: None,
        untraced: None,
        cut: Some("its record cannot be read in this store".to_owned()),
        licences: Vec::new(),
        data: Vec::new(),
        again: false,
        parents: Vec::new(),
    }
}

impl Ancestry {
    /// Finds out whom of these what was taken back reaches, and who was retired; `store` is asked who signed their
    /// records.
    pub fn mark(&mut self, pedigree: &Pedigree, revoked: &Revoked, store: &Store) {
        if !revoked.is_empty() {
            self.mark_each(pedigree, revoked, &mut Tracer::new(pedigree, revoked, store));
        }
        if !revoked.retired.is_empty() {
            // What cannot be read of others takes nothing from what this manifest's own entry says.
            self.mark_retired(pedigree, revoked, Decided::of(store).ok().as_deref());
        }
    }

    fn mark_retired(&mut self, pedigree: &Pedigree, revoked: &Revoked, decided: Option<&Decided>) {
        let of_bytes = || {
            let body = pedigree.manifests.get(&self.record)?;
            decided?.retired(&body.cycle, body.artifact.sha256).ok()?
        };
        self.retired = revoked.retired.get(&self.record).copied().or_else(of_bytes);
        for parent in &mut self.parents {
            parent.mark_retired(pedigree, revoked, decided);
        }
    }

    fn mark_each(&mut self, pedigree: &Pedigree, revoked: &Revoked, tracer: &mut Tracer<'_>) {
        let taint = match (pedigree.manifests.get(&self.record), pedigree.sources.get(&self.record)) {
            (Some(body), _) => tracer.candidate(self.record, body),
            (None, Some(body)) => tracer.source(self.record, body),
            (None, None) => Ok(revoked.hit(self.record, "it is")),
        };
        // Whoever looks for what is wrong with a store gets its pedigree all the same.
        match taint {
            Ok(taint) => self.revoked = taint.map(|taint| tracer.told(&taint)),
            Err(error) => self.untraced = Some(error.to_string()),
        }
        for parent in &mut self.parents {
            parent.mark_each(pedigree, revoked, tracer);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::digest::Digest;
    use crate::model::ModelConfig;
    use crate::model::identity::{Identity, Quantisation, TokenizerIdentity};
    use crate::model::variant::Variant;
    use crate::operator::Parameters;
    use crate::record::Subject;
    use crate::record::candidate::{CandidateManifest, Claims};
    use crate::record::lineage::{Ancestor, BoundBudget, BoundOperator, Expected, LineageTemplate};
    use crate::record::source::{Origin, SourceArtifact};

    pub(in crate::pedigree) fn digest(text: &str) -> Sha256 {
        Sha256::of(text.as_bytes())
    }

    pub(in crate::pedigree) fn manifest(lineage: Sha256) -> CandidateManifest {
        let identity = Identity {
            architecture: Some(ModelConfig {
                variant: Variant::PLAIN,
                vocab_size: 260,
                special_token_count: 4,
                hidden_size: 8,
                layer_count: 1,
                head_count: 2,
                kv_head_count: 1,
                head_dim: 4,
                ffn_size: 16,
                max_context: 64,
                rope_theta: 10_000.0,
                rms_norm_epsilon: 1e-5,
                tied_output: true,
            }),
            parameters: 1,
            tensors: 1,
            tokenizer: Some(TokenizerIdentity { kind: "btok".to_owned(), digest: Digest::of(b"t") }),
            layout: Digest::of(b"l"),
            quantisation: Quantisation { name: "f32".to_owned(), encodings: Vec::new() },
        };
        CandidateManifest {
            cycle: "c".parse().unwrap(),
            candidate: "ouroboros".parse().unwrap(),
            artifact: Subject::of(b"a"),
            format: "slm1".to_owned(),
            identity,
            lineage,
            receipt: digest("receipt"),
            licences: Vec::new(),
            data: Vec::new(),
            claims: Claims::unevaluated(false),
        }
    }

    pub(in crate::pedigree) fn lineage(source: Sha256) -> LineageTemplate {
        let tail = Ancestor {
            name: "tail".parse().unwrap(),
            source,
            sha256: digest("a"),
            blake3: Digest::of(b"a"),
            adapts: None,
        };
        LineageTemplate {
            cycle: "c".parse().unwrap(),
            candidate: "ouroboros".parse().unwrap(),
            base: None,
            parents: vec![tail],
            operator: BoundOperator {
                name: "passthrough".to_owned(),
                version: 1,
                parameters: Parameters::default(),
                rules: Vec::new(),
                slices: Vec::new(),
            },
            vocabulary: None,
            seed: "s".to_owned(),
            budget: BoundBudget { candidates: 1, artifact: 1, disk: 1, seconds: 1 },
            expected: Expected {
                format: "slm1".to_owned(),
                dtype: "f32".to_owned(),
                bytes: 1,
                tensors: 1,
                parameters: 1,
                layout: Digest::of(b"l"),
            },
            gates: Value::Null,
            suites: Vec::new(),
            smoke: Value::Null,
            champion: None,
            compatibility: digest("compat"),
        }
    }

    pub(in crate::pedigree) fn source(bred: Sha256) -> SourceArtifact {
        SourceArtifact {
            name: "tail".parse().unwrap(),
            role: "parent".to_owned(),
            artifact: Subject::of(b"a"),
            files: Vec::new(),
            format: "slm1".to_owned(),
            identity: None,
            adapter: None,
            checksum: String::new(),
            origin: Origin {
                source_kind: "admitted-candidate".to_owned(),
                licences: Vec::new(),
                data: Vec::new(),
                manifest: Some(bred),
                cycle: Some("c".parse().unwrap()),
            },
        }
    }

    /// As a forger might put it together: a source bred from the very candidate it is a parent of. Under
    /// their true digests no such records exist, for each would have to contain its own.
    #[test]
    fn a_forged_circle_of_ancestors_is_refused() {
        let (m, l, s) = (digest("manifest"), digest("lineage"), digest("source"));
        let pedigree = Pedigree {
            manifests: [(m, manifest(l))].into(),
            lineages: [(l, lineage(s))].into(),
            sources: [(s, source(m))].into(),
            ..Pedigree::default()
        };
        assert!(matches!(pedigree.ancestry(m), Err(PedigreeError::Circle(circle)) if circle == m));
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let revoked = Revoked { subjects: [(digest("x"), 0)].into(), ..Revoked::default() };
        let mut tracer = Tracer::new(&pedigree, &revoked, &store);
        let error = tracer.candidate(m, &pedigree.manifests[&m]).unwrap_err();
        assert!(matches!(error, PedigreeError::Circle(_)), "{error}");
    }

    /// Two parents in each generation, both bred from the one before: thousands of paths to the root.
    #[test]
    fn kin_of_kin_is_spelled_out_once() {
        let mut pedigree = Pedigree::default();
        let mut take = |bytes: Vec<u8>| {
            pedigree.take(&bytes);
            Sha256::of(&bytes)
        };
        let mut last = digest("root");
        for _ in 0..12 {
            let [one, two] = ["one", "two"].map(|name| {
                let body = SourceArtifact { name: name.parse().unwrap(), ..source(last) };
                take(crate::record::to_bytes(&body).unwrap())
            });
            let mut body = lineage(one);
            body.parents.push(Ancestor {
                name: "two".parse().unwrap(),
                source: two,
                ..body.parents[0].clone()
            });
            let bred = take(crate::record::to_bytes(&body).unwrap());
            last = take(crate::record::to_bytes(&manifest(bred)).unwrap());
        }
        let ancestry = pedigree.ancestry(last).unwrap();
        let text = ancestry.text();
        // Each but the last is named twice, the root's two sources and what they offered besides.
        assert_eq!(text.lines().count(), 1 + 11 * 2 + 4, "{text}");
        assert_eq!(text.matches("(parents: above)").count(), 11, "{text}");
        assert_eq!(ancestry.mermaid().lines().filter(|line| line.contains("[\"c/ouroboros")).count(), 12);
        let json = serde_json::to_value(&ancestry).unwrap();
        let [one, two] = [0, 1].map(|at| &json["parents"][at]);
        assert_eq!(one["record"], two["record"]);
        assert_eq!((one.get("again"), &two["again"]), (None, &Value::Bool(true)));
        assert_eq!(
            (one["parents"].as_array().unwrap().len(), two["parents"].as_array().unwrap().len()),
            (2, 0)
        );
    }

    #[test]
    fn records_under_their_true_digests_make_no_circle() {
        let mut pedigree = Pedigree::default();
        let bytes = crate::record::to_bytes(&source(digest("manifest"))).unwrap();
        pedigree.take(&bytes);
        let bytes = crate::record::to_bytes(&lineage(Sha256::of(&bytes))).unwrap();
        pedigree.take(&bytes);
        let bytes = crate::record::to_bytes(&manifest(Sha256::of(&bytes))).unwrap();
        pedigree.take(&bytes);
        let mut ancestry = pedigree.ancestry(Sha256::of(&bytes)).unwrap();
        assert_eq!(ancestry.parents.len(), 1);
        assert_eq!((ancestry.parents[0].kind, ancestry.parents[0].name.as_str()), ("source", "tail"));
        assert_eq!(ancestry.parents[0].parents[0].kind, "unknown", "what its pool offered is not here");
        assert_eq!(pedigree.find("c/ouroboros"), [Sha256::of(&bytes)]);
        // Something was taken back, and what its pool offered might be that.
        let revoked = Revoked { subjects: [(digest("x"), 0)].into(), ..Revoked::default() };
        let folder = tempfile::tempdir().unwrap();
        ancestry.mark(&pedigree, &revoked, &Store::create(folder.path()).unwrap());
        assert_eq!(ancestry.revoked, None);
        assert!(
            ancestry.untraced.as_ref().is_some_and(|why| why.contains("nobody can tell")),
            "{ancestry:?}"
        );
        assert!(ancestry.line().contains("  not known whether revoked: "), "{}", ancestry.line());
        assert!(ancestry.mermaid().contains("<br>not known whether revoked"), "{}", ancestry.mermaid());
    }
}
