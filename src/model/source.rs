//! Where a model comes from: `NAME.source.toml` beside `NAME.slm`.
//!
//! A model file says what it computes, not how it came to be. The manifest says the rest: licence,
//! how and on what it was trained, from which parent; and it names the exact file by two digests and
//! a length, so that it cannot drift to another one. It is text written by people and trusted for
//! nothing but what it declares.
//!
//! ```toml
//! source_kind = "converted-trained"
//! licence = "MIT"
//! trained_quality_claim = "not-claimed"
//! summary = "a small arithmetic model"
//!
//! [artifact]
//! bytes = 68194944
//! sha256 = "..."
//! blake3 = "..."
//!
//! [training]
//! generator = "name and version of what trained it"
//! steps = 2000
//! seed = "7"
//! data = ["generated-sums-v1"]
//! parent = "base-f32"
//! ```
//!
//! The quality words are those of the format's authors. A source may claim that it runs; it cannot
//! claim quality, because only an evaluation sidecar bound to its digest can.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::base::digest::{Digest, Sha256};
use crate::base::located::line_column;
use crate::disk::DiskError;
use crate::disk::small::read_small;

/// The longest manifest that is read.
pub const MAX_BYTES: u64 = 64 << 10;

/// What takes the place of a model's extension in the name of its manifest.
pub const EXTENSION: &str = "source.toml";

/// A trained-source manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceManifest {
    /// Trained, or made to exercise the machinery.
    pub source_kind: SourceKind,
    /// Licence of the weights, an SPDX expression where there is one.
    #[serde(deserialize_with = "text")]
    pub licence: String,
    /// Whether it is claimed to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality_claim: Option<QualityClaim>,
    /// Always that no quality is claimed.
    pub trained_quality_claim: TrainedQualityClaim,
    /// What it is, in a sentence.
    #[serde(deserialize_with = "text")]
    pub summary: String,
    /// The file this is about.
    pub artifact: ArtifactClaim,
    /// How it was made.
    pub training: Training,
}

/// Origin of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// Converted from a model that was trained.
    ConvertedTrained,
    /// Made from a seed to exercise the machinery; never trained.
    DeterministicSmoke,
}

/// What may be said about a model that was only run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QualityClaim {
    /// It loads and runs, nothing more.
    RuntimeExecutionSmokeOnly,
}

/// What may be said about trained quality by a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainedQualityClaim {
    /// Nothing.
    NotClaimed,
}

/// The exact file a manifest is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactClaim {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: Sha256,
    /// Its BLAKE3.
    pub blake3: Digest,
}

/// How weights were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Name and version of the program.
    #[serde(deserialize_with = "text")]
    pub generator: String,
    /// Optimiser steps; 0 for a model that was not trained.
    pub steps: u64,
    /// The seed; text, since a 64-bit number does not survive JSON.
    #[serde(deserialize_with = "text")]
    pub seed: String,
    /// Declared data sets, by name.
    #[serde(deserialize_with = "texts")]
    pub data: Vec<String>,
    /// The model it was fine-tuned from, by name.
    #[serde(default, deserialize_with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The texts it was trained on, where they are at hand: evaluation cases are looked for in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<TrainingText>,
}

/// A file of training text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingText {
    /// Where it lies, relative to the manifest.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: Sha256,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file itself.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes that are no text.
    #[error("{}:{line}:{column}: the source manifest is not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// Not TOML, or not this TOML.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A manifest that contradicts itself.
    #[error("{}: {message}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What does not go together.
        message: &'static str,
    },
}

/// A manifest that is about another file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the source manifest is about another file: artifact.{field} is {declared} there, the model's is {found}; \
     if the model was replaced on purpose, write its manifest anew"
)]
pub struct SourceMismatch {
    /// The field that disagrees.
    pub field: &'static str,
    /// What the manifest says.
    pub declared: String,
    /// What the model has.
    pub found: String,
}

impl SourceManifest {
    /// Where the manifest of a model lies: `dir/name.slm` has `dir/name.source.toml`.
    pub fn path_for(model: &Path) -> PathBuf {
        model.with_extension(EXTENSION)
    }

    /// Reads a manifest file.
    ///
    /// # Errors
    ///
    /// [`SourceError::Disk`] if there is no such file, it cannot be read, or it has more than 64 KiB; else as
    /// [`Self::parse`].
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        Self::parse(&read_small("read the source manifest", path, MAX_BYTES)?, path)
    }

    /// Parses a manifest; `path` is only for messages.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotUtf8`] or [`SourceError::Syntax`] with line and column; [`SourceError::Contradiction`]
    /// if what it says of the training does not go with its kind.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, SourceError> {
        let path = path.to_owned();
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let (line, column) = line_column(&good, good.len());
                return Err(SourceError::NotUtf8 { path, line, column });
            }
        };
        let manifest: Self = match toml::from_str(text) {
            Ok(manifest) => manifest,
            Err(error) => {
                let (line, column) = line_column(text, error.span().map_or(0, |span| span.start));
                let message = error.message().to_owned();
                return Err(SourceError::Syntax { path, line, column, message });
            }
        };
        match manifest.contradiction() {
            Some(message) => Err(SourceError::Contradiction { path, message }),
            None => Ok(manifest),
        }
    }

    /// The manifest as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("text and numbers in tables are always TOML")
    }

    fn contradiction(&self) -> Option<&'static str> {
        let training = &self.training;
        match self.source_kind {
            SourceKind::ConvertedTrained if training.steps == 0 => Some(
                "source_kind is converted-trained but training.steps is 0; a model that was not trained is deterministic-smoke",
            ),
            SourceKind::ConvertedTrained if training.data.is_empty() => {
                Some("source_kind is converted-trained but training.data names no data set")
            }
            SourceKind::DeterministicSmoke if training.steps != 0 => Some(
                "source_kind is deterministic-smoke but training.steps is not 0; a trained model is converted-trained",
            ),
            _ if i64::try_from(self.artifact.bytes).is_err() || i64::try_from(training.steps).is_err() => {
                Some("a number is larger than TOML can hold")
            }
            _ => None,
        }
    }

    /// Refuses a model that is not the one this is about.
    ///
    /// # Errors
    ///
    /// [`SourceMismatch`] of the first of these that disagrees.
    pub fn check(&self, bytes: u64, sha256: &Sha256, blake3: &Digest) -> Result<(), SourceMismatch> {
        let claim = &self.artifact;
        same("bytes", &claim.bytes, &bytes)?;
        same("sha256", &claim.sha256, sha256)?;
        same("blake3", &claim.blake3, blake3)
    }
}

fn same<T: PartialEq + fmt::Display>(
    field: &'static str,
    declared: &T,
    found: &T,
) -> Result<(), SourceMismatch> {
    if declared == found {
        return Ok(());
    }
    Err(SourceMismatch { field, declared: declared.to_string(), found: found.to_string() })
}

/// Text that says something.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() {
        return Err(serde::de::Error::custom("must not be empty"));
    }
    Ok(text)
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer).map(Some)
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.iter().any(|text| text.trim().is_empty()) {
        return Err(serde::de::Error::custom("an entry is empty"));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> SourceManifest {
        SourceManifest {
            source_kind: SourceKind::ConvertedTrained,
            licence: "MIT".to_owned(),
            quality_claim: Some(QualityClaim::RuntimeExecutionSmokeOnly),
            trained_quality_claim: TrainedQualityClaim::NotClaimed,
            summary: "adds small numbers".to_owned(),
            artifact: ArtifactClaim { bytes: 3, sha256: Sha256::of(b"abc"), blake3: Digest::of(b"abc") },
            training: Training {
                generator: "trainer 1".to_owned(),
                steps: 100,
                seed: "18446744073709551615".to_owned(),
                data: vec!["sums".to_owned()],
                parent: None,
                texts: Vec::new(),
            },
        }
    }

    fn refused(from: &str, to: &str) -> String {
        let text = manifest().to_toml();
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        let text = text.replacen(from, to, 1);
        SourceManifest::parse(text.as_bytes(), Path::new("m.source.toml")).unwrap_err().to_string()
    }

    #[test]
    fn written_and_read() {
        let text = manifest().to_toml();
        assert_eq!(SourceManifest::parse(text.as_bytes(), Path::new("m")).unwrap(), manifest());
        assert_eq!(SourceManifest::path_for(Path::new("a/b.slm")), Path::new("a/b.source.toml"));
    }

    #[test]
    fn errors_have_a_place() {
        let error = refused("licence", "license");
        assert!(error.starts_with("m.source.toml:2:1: ") && error.contains("`licence`"), "{error}");
        let error = refused("licence = \"MIT\"", "licence = \" \"");
        assert!(error.starts_with("m.source.toml:2:11: ") && error.contains("empty"), "{error}");
        let error = refused("\"not-claimed\"", "\"excellent\"");
        assert!(error.starts_with("m.source.toml:4:25: ") && error.contains("not-claimed"), "{error}");
        let error = refused("steps = 100", "steps = -1");
        assert!(error.starts_with("m.source.toml:14:9: "), "{error}");
        let error = refused("sha256 = \"", "sha256 = \"X");
        assert!(error.starts_with("m.source.toml:9:10: ") && error.contains("64 lower-case"), "{error}");
        let error = refused("[artifact]", "[artifact");
        assert!(error.starts_with("m.source.toml:7:"), "{error}");
        let error = SourceManifest::parse(b"a\n\xff", Path::new("m")).unwrap_err().to_string();
        assert_eq!(error, "m:2:1: the source manifest is not UTF-8");
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(refused("steps = 100", "steps = 0").contains("deterministic-smoke"));
        assert!(refused("data = [\"sums\"]", "data = []").contains("names no data set"));
        assert!(refused("converted-trained", "deterministic-smoke").contains("converted-trained"));
    }

    #[test]
    fn another_file_is_refused() {
        let manifest = manifest();
        let check = |bytes: &[u8]| manifest.check(bytes.len() as u64, &Sha256::of(bytes), &Digest::of(bytes));
        assert_eq!(check(b"abc"), Ok(()));
        assert_eq!(check(b"abd").unwrap_err().field, "sha256");
        assert_eq!(check(b"abcd").unwrap_err().field, "bytes");
        let other = Digest::of(b"abd");
        assert_eq!(manifest.check(3, &Sha256::of(b"abc"), &other).unwrap_err().field, "blake3");
    }

    #[test]
    fn a_long_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.source.toml");
        std::fs::write(&path, manifest().to_toml()).unwrap();
        assert_eq!(SourceManifest::open(&path).unwrap(), manifest());
        std::fs::write(&path, " ".repeat(MAX_BYTES as usize + 1)).unwrap();
        let error = SourceManifest::open(&path).unwrap_err().to_string();
        assert!(error.contains("read the source manifest") && error.contains("has more than"), "{error}");
        let missing = SourceManifest::open(&folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none"), "{missing}");
    }
}
