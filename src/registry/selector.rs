//! The entries of `selector.json`, and what each must satisfy before any of its files is read.
//!
//! An entry can be right in every checksum and still wrong in meaning: a budget above the limit,
//! a path that is not the digest's, words that promise quality. All of that is checked here, from
//! the entry alone. The words are the few this registry may say: running is all that was claimed.

use serde::{Deserialize, Serialize};

use super::RegistryError;
use super::integrity::integrity;
use super::paths::model_path;
use crate::base::canonical;
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;

/// The selector format written here; no other is read.
pub const SELECTOR_VERSION: u32 = 3;
/// Most bytes of a model a selector may offer.
pub const SELECTOR_BUDGET: u64 = 33_554_432;
/// Largest selector that is read.
pub const MAX_SELECTOR: u64 = 4 << 20;
/// Bytes of a model that are checked together while it streams; the last piece may be shorter.
pub const PIECE: usize = 262_144;
/// Most records an entry may show.
pub const MAX_EVIDENCE: usize = 64;
/// Longest licence expression.
pub const MAX_LICENCE: usize = 1024;
/// What models in the registry are.
pub const FORMAT: &str = "slm1";

/// All of `selector.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// [`SELECTOR_VERSION`].
    pub version: u32,
    /// The entry that is meant where none is named; see [`default_of`](super::default_of). None if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Name>,
    /// By id, in byte order, each once.
    pub entries: Vec<SelectorEntry>,
}

/// One admitted candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectorEntry {
    /// Unique in the selector.
    pub id: Name,
    /// The cycle that made it.
    pub cycle: Name,
    /// Its file.
    pub model: ModelFile,
    /// SHA-256 of its manifest, which is its identity.
    pub manifest: Sha256,
    /// SHA-256 of its admission record.
    pub admission: Sha256,
    /// Where the ledger says so.
    pub ledger_index: u64,
    /// The records to show with it, by kind and digest, each once.
    pub evidence: Vec<Evidence>,
    /// [`FORMAT`].
    pub format: String,
    /// Longest context in tokens, as in the model.
    pub context: u32,
    /// Vocabulary, as in the model.
    pub vocab: u32,
    /// What is claimed about it.
    pub claims: Claims,
    /// SPDX licence expression.
    pub licence: String,
    /// What the browser asks for it by: the id, so that no route leads to two models.
    pub route: Name,
    /// Most bytes its model may have; at most [`SELECTOR_BUDGET`].
    pub budget_bytes: u64,
}

/// A model file and how to recognise it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// `models/<sha256>.<id>.slm`.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256,
    /// BLAKE3 of the file.
    pub blake3: Digest,
    /// The SHA-256 again, as a browser wants it.
    pub integrity: String,
    /// [`PIECE`].
    pub piece_bytes: u64,
    /// SHA-256 of every piece, so that a wrong one is noticed before the next is fetched.
    pub pieces: Vec<Sha256>,
}

/// A record that a page shows, at [`evidence_path`](super::paths::evidence_path).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What it is.
    pub kind: EvidenceKind,
    /// What an evaluation measured on; of no other kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<Name>,
    /// SHA-256 of the record.
    pub sha256: Sha256,
}

/// The records a page can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// The gates and what each found.
    Promotion,
    /// What made it, from whom.
    Lineage,
    /// The native smoke run.
    Smoke,
    /// A measurement.
    Evaluation,
}

/// What may be said about a model here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Where its weights come from.
    pub source_kind: SourceKind,
    /// How good it is said to be: not at all, it runs.
    pub quality_claim: QualityClaim,
    /// Whether trained quality is claimed.
    pub trained_quality_claim: TrainedQualityClaim,
}

impl Claims {
    /// The only claims there are for weights of this kind.
    pub const fn smoke_only(source_kind: SourceKind) -> Self {
        Self {
            source_kind,
            quality_claim: QualityClaim::RuntimeExecutionSmokeOnly,
            trained_quality_claim: TrainedQualityClaim::NotClaimed,
        }
    }
}

/// Where weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// Made by a rule, for running only.
    DeterministicSmoke,
    /// Converted, or bred, from trained weights.
    ConvertedTrained,
    /// Nobody said.
    Undeclared,
}

/// The one quality claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QualityClaim {
    /// It was loaded and run, nothing more.
    RuntimeExecutionSmokeOnly,
}

/// The one answer to whether trained quality is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainedQualityClaim {
    /// No.
    NotClaimed,
}

impl ModelFile {
    /// The description of an entry's file with these bytes.
    pub fn of(bytes: &[u8], id: &Name) -> Self {
        let sha256 = Sha256::of(bytes);
        Self {
            path: model_path(sha256, id),
            bytes: bytes.len() as u64,
            sha256,
            blake3: Digest::of(bytes),
            integrity: integrity(sha256),
            piece_bytes: PIECE as u64,
            pieces: bytes.chunks(PIECE).map(Sha256::of).collect(),
        }
    }
}

impl Selector {
    /// The bytes of `selector.json`.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Selector`] of a number beyond 2^53 - 1.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RegistryError> {
        canonical::to_vec(self).map_err(|error| RegistryError::Selector(error.to_string()))
    }

    /// Reads `selector.json` and checks every entry in itself. No file is looked at.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Selector`] of more than [`MAX_SELECTOR`] bytes, of bytes that are no selector of this
    /// version or not as we would write them, of entries out of order and of a default that is no entry;
    /// [`RegistryError::DuplicateId`]; else as [`SelectorEntry::validate`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RegistryError> {
        if bytes.len() as u64 > MAX_SELECTOR {
            return Err(RegistryError::Selector(format!("has more than {MAX_SELECTOR} bytes")));
        }
        let selector: Self =
            canonical::from_slice(bytes).map_err(|error| RegistryError::Selector(error.to_string()))?;
        selector.validate()?;
        if selector.to_bytes()? != bytes {
            return Err(RegistryError::Selector("is not written canonically".to_owned()));
        }
        Ok(selector)
    }

    pub(super) fn validate(&self) -> Result<(), RegistryError> {
        if self.version != SELECTOR_VERSION {
            let why = format!("has version {}, expected {SELECTOR_VERSION}", self.version);
            return Err(RegistryError::Selector(why));
        }
        for pair in self.entries.windows(2) {
            if pair[0].id == pair[1].id {
                return Err(RegistryError::DuplicateId(pair[0].id.to_string()));
            }
            if pair[0].id > pair[1].id {
                let why = format!("lists {} before {}, expected byte order", pair[0].id, pair[1].id);
                return Err(RegistryError::Selector(why));
            }
        }
        if let Some(default) =
            self.default.as_ref().filter(|id| !self.entries.iter().any(|one| one.id == **id))
        {
            return Err(RegistryError::Selector(format!("has the default {default}, which is no entry")));
        }
        self.entries.iter().try_for_each(SelectorEntry::validate)
    }
}

impl SelectorEntry {
    /// Everything that can be told from the entry alone.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Traversal`] of a path that leaves the registry; [`RegistryError::OverBudget`] of a
    /// model larger than its budget; [`RegistryError::NotAdmitted`] without an admission;
    /// [`RegistryError::Drift`] of any other field: a path, format, route or integrity that does not follow
    /// from the others, more than [`MAX_EVIDENCE`] evidence, a budget over [`SELECTOR_BUDGET`], a licence that
    /// is no expression.
    pub fn validate(&self) -> Result<(), RegistryError> {
        let id = || self.id.to_string();
        let ModelFile { path, bytes, sha256, .. } = &self.model;
        if path.starts_with('/') || path.contains("..") || path.contains(['\\', '%', ':', '?', '#', '\0']) {
            return Err(RegistryError::Traversal { id: id(), path: path.chars().take(200).collect() });
        }
        self.expect("the model path", path, &model_path(*sha256, &self.id))?;
        self.expect("the integrity", &self.model.integrity, &integrity(*sha256))?;
        self.expect("the format", &self.format, FORMAT)?;
        self.expect("the route", &self.route, &self.id)?;
        self.expect("the amount of evidence over the limit", self.evidence.len() > MAX_EVIDENCE, false)?;
        self.expect("the budget over the limit", self.budget_bytes > SELECTOR_BUDGET, false)?;
        if *bytes > self.budget_bytes {
            return Err(RegistryError::OverBudget { id: id(), bytes: *bytes, budget: self.budget_bytes });
        }
        self.expect("the piece length", self.model.piece_bytes, PIECE as u64)?;
        self.expect("the number of pieces", self.model.pieces.len() as u64, bytes.div_ceil(PIECE as u64))?;
        for evidence in &self.evidence {
            let measured = evidence.kind == EvidenceKind::Evaluation;
            self.expect("whether evidence names a suite", evidence.suite.is_some(), measured)?;
        }
        if *self.admission.as_bytes() == [0; 32] {
            let why = "its admission digest is all zeros".to_owned();
            return Err(RegistryError::NotAdmitted { id: id(), why });
        }
        if !is_licence(&self.licence) {
            let found = format!("{:?}", self.licence.chars().take(80).collect::<String>());
            let expected = "an SPDX licence expression".to_owned();
            return Err(RegistryError::Drift { id: id(), what: "the licence", found, expected });
        }
        Ok(())
    }

    /// Refuses a field that is not what it must be.
    #[expect(clippy::needless_pass_by_value, reason = "numbers, digests and borrowed texts")]
    pub(super) fn expect<T: PartialEq<U> + ToString, U: ToString>(
        &self,
        what: &'static str,
        found: T,
        expected: U,
    ) -> Result<(), RegistryError> {
        if found == expected {
            return Ok(());
        }
        let short = |text: String| text.chars().take(200).collect();
        Err(RegistryError::Drift {
            id: self.id.to_string(),
            what,
            found: short(found.to_string()),
            expected: short(expected.to_string()),
        })
    }
}

/// The characters of SPDX licence expressions: nothing that a page could take for markup.
fn is_licence(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" .+-():".contains(&byte);
    (1..=MAX_LICENCE).contains(&text.len()) && text.trim() == text && text.bytes().all(plain)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::registry) fn entry(id: &str) -> SelectorEntry {
        let sha256 = Sha256::of(id.as_bytes());
        SelectorEntry {
            id: id.parse().unwrap(),
            cycle: "cycle".parse().unwrap(),
            model: ModelFile {
                path: model_path(sha256, &id.parse().unwrap()),
                bytes: 1000,
                sha256,
                blake3: Digest::of(id.as_bytes()),
                integrity: integrity(sha256),
                piece_bytes: PIECE as u64,
                pieces: vec![sha256],
            },
            manifest: Sha256::of(b"manifest"),
            admission: Sha256::of(b"admission"),
            ledger_index: 3,
            evidence: vec![Evidence {
                kind: EvidenceKind::Promotion,
                suite: None,
                sha256: Sha256::of(b"promotion"),
            }],
            format: FORMAT.to_owned(),
            context: 64,
            vocab: 260,
            claims: Claims::smoke_only(SourceKind::ConvertedTrained),
            licence: "Apache-2.0 AND (MIT OR BSD-3-Clause)".to_owned(),
            route: id.parse().unwrap(),
            budget_bytes: SELECTOR_BUDGET,
        }
    }

    #[test]
    fn a_selector_has_one_spelling() {
        let selector = Selector {
            version: SELECTOR_VERSION,
            default: Some("a".parse().unwrap()),
            entries: vec![entry("a"), entry("b")],
        };
        let bytes = selector.to_bytes().unwrap();
        assert_eq!(Selector::from_bytes(&bytes).unwrap(), selector);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(
            r#""claims":{"quality_claim":"runtime-execution-smoke-only","source_kind":"converted-trained","trained_quality_claim":"not-claimed"}"#
        ));
        for (from, to, why) in [
            ("\"version\":3", "\"version\":2", "version 2"),
            ("\"version\":3", "\"version\":3,\"extra\":1", "unknown field"),
            ("\"default\":\"a\"", "\"default\":\"d\"", "the default d, which is no entry"),
            ("\"kind\":\"promotion\"", "\"kind\":\"evaluation\"", "whether evidence names a suite"),
            ("{", " {", "canonically"),
            ("not-claimed", "claimed", "unknown variant"),
            ("runtime-execution-smoke-only", "assistant-quality", "unknown variant"),
            ("\"id\":\"a\"", "\"id\":\"b\"", "b is in the registry twice"),
            ("\"id\":\"a\"", "\"id\":\"c\"", "byte order"),
            ("\"id\":\"a\"", "\"id\":\"A\"", "lower-case"),
            ("\"format\":\"slm1\"", "\"format\":\"gguf\"", "the format is gguf"),
            ("\"admission\":", "\"admissions\":", "unknown field"),
            ("Apache-2.0", "<b>2.0", "licence"),
            ("\"integrity\":\"sha256-", "\"integrity\":\"sha512-", "the integrity is sha512-"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            let error = Selector::from_bytes(changed.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{to}: {error}");
        }
    }

    #[test]
    fn an_entry_wrong_in_meaning_is_refused_before_its_files_are_read() {
        let broken = |change: &dyn Fn(&mut SelectorEntry)| {
            let mut entry = entry("a");
            change(&mut entry);
            entry.validate().unwrap_err()
        };
        for path in ["/etc/passwd", "../x.slm", "models/%2e%2e/x.slm", "models\\x.slm", "https://x/y.slm"] {
            let error = broken(&|entry| path.clone_into(&mut entry.model.path));
            assert!(matches!(error, RegistryError::Traversal { .. }), "{path}: {error}");
        }
        let error = broken(&|entry| entry.model.path = model_path(Sha256::of(b"other"), &entry.id));
        assert!(matches!(error, RegistryError::Drift { what: "the model path", .. }), "{error}");
        let error = broken(&|entry| entry.model.bytes = SELECTOR_BUDGET + 1);
        assert!(matches!(error, RegistryError::OverBudget { .. }), "{error}");
        let error = broken(&|entry| entry.budget_bytes = 999);
        assert!(matches!(error, RegistryError::OverBudget { bytes: 1000, budget: 999, .. }), "{error}");
        let error = broken(&|entry| entry.budget_bytes += 1);
        assert!(error.to_string().contains("budget over the limit"), "{error}");
        let error = broken(&|entry| entry.admission = Sha256::from_bytes([0; 32]));
        assert!(matches!(error, RegistryError::NotAdmitted { .. }), "{error}");
        let error = broken(&|entry| entry.route = "elsewhere".parse().unwrap());
        assert!(matches!(error, RegistryError::Drift { what: "the route", .. }), "{error}");
        let error = broken(&|entry| entry.model.pieces.push(Sha256::of(b"more")));
        assert!(matches!(error, RegistryError::Drift { what: "the number of pieces", .. }), "{error}");
        let error = broken(&|entry| entry.licence.clear());
        assert!(matches!(error, RegistryError::Drift { what: "the licence", .. }), "{error}");
    }
}
