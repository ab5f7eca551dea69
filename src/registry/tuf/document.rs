//! The four documents, field by field, and the one way to spell and to sign them.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Duty;
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::trust::{PublicKey, SecretKey};

/// The version of the framework.
pub const SPEC_VERSION: &str = "1.0.31";
/// Longest document that is read.
pub const MAX_METADATA: u64 = 4 << 20;
/// The one kind of key, and of signature.
const ED25519: &str = "ed25519";

/// A document and who signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope<T> {
    /// Over the canonical bytes of `signed`.
    pub signatures: Vec<Signature>,
    /// The document.
    pub signed: T,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Which key.
    pub keyid: Sha256,
    /// 64 bytes in lower-case hexadecimal digits.
    pub sig: String,
}

/// What every document says of itself.
pub trait Document: Serialize + DeserializeOwned {
    /// What it is for.
    const DUTY: Duty;
    /// Its `_type`.
    fn kind(&self) -> &str;
    /// The framework's version.
    fn spec_version(&self) -> &str;
    /// From 1.
    fn version(&self) -> u64;
    /// Until when it holds.
    fn expires(&self) -> &str;
}

macro_rules! document {
    ($name:ident, $duty:ident) => {
        impl Document for $name {
            const DUTY: Duty = Duty::$duty;
            fn kind(&self) -> &str {
                &self.kind
            }
            fn spec_version(&self) -> &str {
                &self.spec_version
            }
            fn version(&self) -> u64 {
                self.version
            }
            fn expires(&self) -> &str {
                &self.expires
            }
        }
    };
}

/// Which keys sign what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// `root`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Always.
    pub consistent_snapshot: bool,
    /// Until when it holds: `2027-06-30T00:00:00Z`.
    pub expires: String,
    /// By id.
    pub keys: BTreeMap<Sha256, Key>,
    /// By duty.
    pub roles: BTreeMap<Duty, RoleKeys>,
    /// [`SPEC_VERSION`].
    pub spec_version: String,
    /// From 1, one by one.
    pub version: u64,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// `ed25519`.
    pub keytype: String,
    /// The key.
    pub keyval: KeyValue,
    /// `ed25519`.
    pub scheme: String,
}

/// The bytes of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyValue {
    /// 32 bytes in lower-case hexadecimal digits.
    pub public: String,
}

/// Whose signatures a document needs, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleKeys {
    /// Which keys.
    pub keyids: Vec<Sha256>,
    /// At least 1.
    pub threshold: u64,
}

/// Every file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// `targets`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Until when it holds.
    pub expires: String,
    /// [`SPEC_VERSION`].
    pub spec_version: String,
    /// By the name to ask for.
    pub targets: BTreeMap<String, TargetFile>,
    /// The ledger's size.
    pub version: u64,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetFile {
    /// Its digest.
    pub hashes: Hashes,
    /// Bytes.
    pub length: u64,
}

/// The digest of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashes {
    /// SHA-256.
    pub sha256: Sha256,
}

/// Which document of the next duty: of a snapshot the targets, of a timestamp the snapshot. `D` is which of the
/// two it is, and nothing is written of it but the word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct Naming<D> {
    /// `snapshot` or `timestamp`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Until when it holds.
    pub expires: String,
    /// By file name.
    pub meta: BTreeMap<String, MetaFile>,
    /// [`SPEC_VERSION`].
    pub spec_version: String,
    /// The ledger's size.
    pub version: u64,
    #[serde(skip)]
    duty: PhantomData<D>,
}

/// What a snapshot names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfTargets {}

/// What a timestamp names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfSnapshot {}

/// Which targets.
pub type Snapshot = Naming<OfTargets>;

/// Which snapshot; the one document that is replaced.
pub type Timestamp = Naming<OfSnapshot>;

impl<D> Naming<D>
where
    Self: Document,
{
    /// The document that names these bytes, of one version, until a date.
    pub fn of(name: &str, bytes: &[u8], version: u64, expires: &str) -> Self {
        Self {
            kind: Self::DUTY.word().to_owned(),
            expires: expires.to_owned(),
            meta: [(name.to_owned(), MetaFile::of(bytes, version))].into(),
            spec_version: SPEC_VERSION.to_owned(),
            version,
            duty: PhantomData,
        }
    }
}

/// One document as another names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaFile {
    /// Its digest.
    pub hashes: Hashes,
    /// Bytes.
    pub length: u64,
    /// Its version.
    pub version: u64,
}

document!(Root, Root);
document!(Targets, Targets);
document!(Snapshot, Snapshot);
document!(Timestamp, Timestamp);

impl TargetFile {
    /// The description of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { hashes: Hashes { sha256: Sha256::of(bytes) }, length: bytes.len() as u64 }
    }
}

impl MetaFile {
    /// The description of a document with these bytes.
    pub fn of(bytes: &[u8], version: u64) -> Self {
        let TargetFile { hashes, length } = TargetFile::of(bytes);
        Self { hashes, length, version }
    }
}

impl Key {
    /// A public key as the framework writes it.
    pub fn of(key: &PublicKey) -> Self {
        let public = Sha256::from_bytes(key.to_bytes()).to_hex();
        Self { keytype: ED25519.to_owned(), keyval: KeyValue { public }, scheme: ED25519.to_owned() }
    }

    /// Its id: the SHA-256 of how it is written.
    pub fn id(&self) -> Sha256 {
        Sha256::of(&canonical::to_vec(self).expect("a key has only texts"))
    }

    /// The key, if it is one.
    ///
    /// # Errors
    ///
    /// If it is of another kind, is not 32 bytes in hexadecimal digits, or as [`PublicKey::from_bytes`]; the
    /// reason is a phrase.
    pub fn public(&self) -> Result<PublicKey, String> {
        if self.keytype != ED25519 || self.scheme != ED25519 {
            return Err("is not an Ed25519 key".to_owned());
        }
        // 32 bytes in hexadecimal digits are spelled like a digest.
        let bytes: Sha256 = self.keyval.public.parse().map_err(|_| "is not 32 bytes".to_owned())?;
        PublicKey::from_bytes(bytes.as_bytes())
    }
}

/// The canonical bytes of a document signed by these keys, each once.
pub(super) fn signed<T: Document>(document: T, keys: &[&SecretKey]) -> Vec<u8> {
    let message = canonical::to_vec(&document).expect("a document has only texts and counts");
    let mut signatures: BTreeMap<Sha256, String> = BTreeMap::new();
    for key in keys {
        signatures.insert(Key::of(&key.public()).id(), hex(&key.sign(&message)));
    }
    let signatures = signatures.into_iter().map(|(keyid, sig)| Signature { keyid, sig }).collect();
    canonical::to_vec(&Envelope { signatures, signed: document }).expect("as above")
}

/// Reads a document, one spelling only, and checks that enough of `root`'s keys signed it; none as the root
/// takes the document's own word, which only a root has. The reason is a phrase that follows its path.
pub(super) fn opened<T: Document>(bytes: &[u8], root: &Root) -> Result<T, String> {
    let envelope = parsed::<T>(bytes)?;
    let duty = T::DUTY;
    let rule =
        root.roles.get(&duty).ok_or_else(|| format!("is signed by nobody: the root names no {duty}"))?;
    let message = canonical::to_vec(&envelope.signed).map_err(|error| error.to_string())?;
    let mut good = BTreeSet::new();
    for Signature { keyid, sig } in &envelope.signatures {
        let key = root.keys.get(keyid).filter(|_| rule.keyids.contains(keyid));
        let Some(key) = key.and_then(|key| key.public().ok()) else { continue };
        if unhex(sig).is_some_and(|sig| key.verify(&message, &sig).is_ok()) {
            good.insert(key.to_bytes());
        }
    }
    if rule.threshold == 0 || (good.len() as u64) < rule.threshold {
        return Err(format!("has {} of the {} signatures it needs", good.len(), rule.threshold));
    }
    Ok(envelope.signed)
}

/// Reads a document without asking who signed it.
pub(super) fn parsed<T: Document>(bytes: &[u8]) -> Result<Envelope<T>, String> {
    let envelope: Envelope<T> = canonical::from_slice(bytes).map_err(|error| error.to_string())?;
    if canonical::to_vec(&envelope).map_err(|error| error.to_string())? != bytes {
        return Err("is not written canonically".to_owned());
    }
    let (kind, document) = (T::DUTY.word(), &envelope.signed);
    if document.kind() != kind {
        return Err(format!("is a {}, expected a {kind}", document.kind()));
    }
    if document.spec_version() != SPEC_VERSION {
        return Err(format!("is of version {} of the framework", document.spec_version()));
    }
    if document.version() == 0 {
        return Err("has the version 0".to_owned());
    }
    Ok(envelope)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
    if rest.is_empty() { bytes } else { None }
}
