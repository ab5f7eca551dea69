//! The OpenSSF model signature (version 1.0): an in-toto statement that lists every file of the folder by its
//! SHA-256, in a DSSE envelope in a Sigstore bundle, signed with ECDSA P-256.
//!
//! `model_signing verify key FOLDER --signature FOLDER/model.sig --public-key KEY` checks it without knowing
//! us. Two details are theirs: the bundle's hint is the SHA-256 of the key's PEM file, and the envelope's key id
//! is empty. The list is not believed: it is made again from the folder and must be the same bytes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::derived::{self, Listed};
use super::evidence::Evidence;
use super::folder::Files;
use super::layout;
use crate::base::base64;
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::record::attest::bundle::{MEDIA_TYPE, PAYLOAD_TYPE, encoding};
use crate::record::attest::{Descriptor, Statement};
use crate::trust::{Claim, PublicKey, SecretKey, Trust};

const PREDICATE: &str = "https://model_signing/signature/v1.0";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bundle {
    #[serde(rename = "mediaType")]
    media_type: String,
    #[serde(rename = "verificationMaterial")]
    material: Material,
    #[serde(rename = "dsseEnvelope")]
    envelope: Envelope,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Material {
    #[serde(rename = "publicKey")]
    public_key: Hint,
    #[serde(rename = "tlogEntries")]
    entries: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    hint: Sha256,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

/// What is signed: every file but the signature itself.
fn payload(evidence: &Evidence, files: &Files) -> Result<Vec<u8>, String> {
    let all = every_file(files);
    let digests: Vec<u8> = all.iter().flat_map(|file| *file.sha256.as_bytes()).collect();
    let resource = |file: &Listed| json!({ "name": file.path, "algorithm": "sha256", "digest": file.sha256 });
    let predicate = json!({
        "serialization": {
            "method": "files",
            "hash_type": "sha256",
            "allow_symlinks": false,
            "ignore_paths": [layout::SIGNATURE],
        },
        "resources": all.iter().map(resource).collect::<Vec<_>>(),
    });
    let subject = vec![Descriptor::new(evidence.index.candidate.as_str(), Sha256::of(&digests))];
    canonical::to_vec(&Statement::new(subject, PREDICATE, predicate))
        .map_err(|error| format!("the list {error}"))
}

fn every_file(files: &Files) -> Vec<Listed> {
    let mut all = derived::listed(files);
    all.extend(derived::PATHS.iter().filter_map(|path| {
        let bytes = files.documents.get(*path)?;
        Some(Listed { path: (*path).to_owned(), bytes: bytes.len() as u64, sha256: Sha256::of(bytes) })
    }));
    all.sort();
    all
}

fn hint(key: &PublicKey) -> Sha256 {
    Sha256::of(key.to_pem().as_bytes())
}

/// Signs a folder that is complete but for this.
pub(super) fn sign(evidence: &Evidence, files: &Files, key: &SecretKey) -> Result<Vec<u8>, String> {
    let payload = payload(evidence, files)?;
    let signature = key.sign(&encoding(PAYLOAD_TYPE, &payload));
    let bundle = Bundle {
        media_type: MEDIA_TYPE.to_owned(),
        material: Material { public_key: Hint { hint: hint(&key.public()) }, entries: Vec::new() },
        envelope: Envelope {
            payload: base64::encode(&payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![Signature { keyid: String::new(), sig: base64::encode(&signature) }],
        },
    };
    canonical::to_vec(&bundle).map_err(|error| format!("the model signature {error}"))
}

/// Checks the signature by these keys; nothing if there is none and none is demanded. The reason is a
/// sentence.
pub(super) fn check(evidence: &Evidence, files: &Files, trust: &Trust) -> Result<Option<String>, String> {
    let mut known = trust.for_claim(Claim::Model).peekable();
    let Some(bytes) = files.documents.get(layout::SIGNATURE) else {
        let why = format!("a key for model signatures is trusted, but {:?} is missing", layout::SIGNATURE);
        return if known.peek().is_some() { Err(why) } else { Ok(None) };
    };
    let bundle: Bundle = canonical::from_slice(bytes).map_err(|error| format!("the bundle {error}"))?;
    let again = canonical::to_vec(&bundle).map_err(|error| format!("the bundle {error}"))?;
    let [signature] = bundle.envelope.signatures.as_slice() else {
        return Err(format!(
            "the envelope has {} signatures, expected one",
            bundle.envelope.signatures.len()
        ));
    };
    let formal = bundle.media_type == MEDIA_TYPE
        && bundle.envelope.payload_type == PAYLOAD_TYPE
        && bundle.material.entries.is_empty()
        && signature.keyid.is_empty();
    if again != *bytes || !formal {
        return Err("the bundle is not of the one form that is written here".to_owned());
    }
    let named = bundle.material.public_key.hint;
    let key = known.find(|key| hint(&key.public) == named);
    let key =
        key.ok_or_else(|| format!("the key with the hint {} is no trusted model key", named.short()))?;
    let decode = |what: &str, text: &str| base64::decode(text).ok_or(format!("the {what} is not base64"));
    let payload = decode("payload", &bundle.envelope.payload)?;
    let signature = decode("signature", &signature.sig)?;
    key.public.verify(&encoding(PAYLOAD_TYPE, &payload), &signature).map_err(|error| error.to_string())?;
    if payload != self::payload(evidence, files)? {
        return Err("the files that were signed are not those of this folder".to_owned());
    }
    let count = every_file(files).len();
    Ok(Some(format!("{count} files signed by {} `{}`", key.role, key.name)))
}
