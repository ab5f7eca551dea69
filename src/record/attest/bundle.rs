//! The signed layers: a DSSE envelope in a Sigstore bundle.

use serde::{Deserialize, Serialize};

use super::statement::STATEMENT_TYPE;
use super::{AttestError, Statement};
use crate::base::base64;
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::trust::{Claim, SecretKey, Trust, TrustedKey};

/// What the payload of every envelope is.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// What every bundle is.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The longest bundle: the largest record is far smaller.
pub const MAX_BUNDLE: u64 = 24 << 20;

/// A bundle. Its members are those of the standards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    #[serde(rename = "mediaType")]
    media_type: String,
    #[serde(rename = "verificationMaterial")]
    material: Material,
    #[serde(rename = "dsseEnvelope")]
    envelope: Envelope,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Material {
    #[serde(rename = "publicKey")]
    public_key: Hint,
    /// Entries of Sigstore's own log: none. Some readers miss the member where it is left out.
    #[serde(rename = "tlogEntries")]
    entries: [(); 0],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    hint: Sha256,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: Sha256,
    sig: String,
}

/// What is signed (DSSE v1, pre-authentication encoding): with the lengths, no two pairs of type and
/// payload give the same bytes.
pub fn encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

impl Bundle {
    /// Signs a statement.
    ///
    /// # Errors
    ///
    /// [`AttestError::Json`] if the statement cannot be written as canonical JSON.
    pub fn sign(statement: &Statement, key: &SecretKey) -> Result<Self, AttestError> {
        let payload =
            canonical::to_vec(statement).map_err(|source| AttestError::Json { what: "statement", source })?;
        let signature = key.sign(&encoding(PAYLOAD_TYPE, &payload));
        let keyid = key.public().id();
        Ok(Self {
            media_type: MEDIA_TYPE.to_owned(),
            material: Material { public_key: Hint { hint: keyid }, entries: [] },
            envelope: Envelope {
                payload: base64::encode(&payload),
                payload_type: PAYLOAD_TYPE.to_owned(),
                signatures: vec![Signature { keyid, sig: base64::encode(&signature) }],
            },
        })
    }

    /// The bytes of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_vec(self).expect("a bundle is made of texts")
    }

    /// Reads a bundle. Nothing is checked yet but its form.
    ///
    /// # Errors
    ///
    /// [`AttestError::TooLong`] of more than [`MAX_BUNDLE`] bytes; [`AttestError::Json`] if they are no bundle;
    /// [`AttestError::NotCanonical`] if we would have written it in other bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, AttestError> {
        if bytes.len() as u64 > MAX_BUNDLE {
            return Err(AttestError::TooLong(bytes.len() as u64));
        }
        let bundle: Self =
            canonical::from_slice(bytes).map_err(|source| AttestError::Json { what: "bundle", source })?;
        if bundle.to_bytes() == bytes { Ok(bundle) } else { Err(AttestError::NotCanonical("bundle")) }
    }

    /// The key it says it was signed with. Not a reason to trust it.
    pub fn keyid(&self) -> Sha256 {
        self.material.public_key.hint
    }

    /// The statement, and the key that signed it, after all checks.
    ///
    /// # Errors
    ///
    /// [`AttestError::Type`], [`AttestError::Signatures`], [`AttestError::Hint`] or [`AttestError::Base64`] of
    /// another envelope; [`AttestError::Trust`] of a key that is not trusted or may not sign this claim, or
    /// whose signature it is not; [`AttestError::Json`], [`AttestError::NotCanonical`] or [`AttestError::Type`]
    /// of the statement, or if its predicate is not of the expected type.
    pub fn verify<'t>(
        &self,
        trust: &'t Trust,
        claim: Claim,
        predicate_type: &str,
    ) -> Result<(Statement, &'t TrustedKey), AttestError> {
        expect("bundle's media type", MEDIA_TYPE, &self.media_type)?;
        expect("envelope's payload type", PAYLOAD_TYPE, &self.envelope.payload_type)?;
        let [signature] = &self.envelope.signatures[..] else {
            return Err(AttestError::Signatures(self.envelope.signatures.len()));
        };
        if signature.keyid != self.keyid() {
            return Err(AttestError::Hint);
        }
        let key = trust.allowed(signature.keyid, claim)?;
        let decode = |what, text: &str| base64::decode(text).ok_or(AttestError::Base64(what));
        let payload = decode("payload", &self.envelope.payload)?;
        let bytes = decode("signature", &signature.sig)?;
        key.public.verify(&encoding(PAYLOAD_TYPE, &payload), &bytes)?;
        let json = |source| AttestError::Json { what: "statement", source };
        let statement: Statement = canonical::from_slice(&payload).map_err(json)?;
        if canonical::to_vec(&statement).map_err(json)? != payload {
            return Err(AttestError::NotCanonical("statement"));
        }
        expect("statement's type", STATEMENT_TYPE, &statement.kind)?;
        expect("predicate", predicate_type, &statement.predicate_type)?;
        Ok((statement, key))
    }
}

fn expect(what: &'static str, expected: &str, found: &str) -> Result<(), AttestError> {
    if expected == found {
        return Ok(());
    }
    let found = found.chars().take(200).collect();
    Err(AttestError::Type { what, expected: expected.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::Descriptor;
    use super::*;
    use crate::trust::Role;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn trust() -> Trust {
        let text = Trust::entry("maker", Role::Producer, &key(1).public())
            + &Trust::entry("judge", Role::Promoter, &key(2).public());
        Trust::parse(&text, Path::new("trust.toml")).unwrap()
    }

    const TYPE: &str = "https://slsa.dev/provenance/v1";

    fn statement() -> Statement {
        let subject = vec![Descriptor::new("child.slm", Sha256::of(b"child"))];
        Statement::new(subject, TYPE, json!({ "buildDefinition": { "n": 1 } }))
    }

    fn refusal(bundle: &Bundle) -> String {
        bundle.verify(&trust(), Claim::Receipt, TYPE).unwrap_err().to_string()
    }

    /// The example of the DSSE protocol document.
    #[test]
    fn the_encoding_of_the_dsse_document() {
        let encoded = encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn a_good_bundle_gives_its_statement_and_the_key() {
        let bundle = Bundle::sign(&statement(), &key(1)).unwrap();
        assert_eq!(Bundle::sign(&statement(), &key(1)).unwrap(), bundle, "signing needs no randomness");
        let read = Bundle::parse(&bundle.to_bytes()).unwrap();
        let trust = trust();
        let (found, by) = read.verify(&trust, Claim::Receipt, TYPE).unwrap();
        assert_eq!((found, by.name.as_str()), (statement(), "maker"));
    }

    #[test]
    fn the_wrong_roles_key_is_refused() {
        let bundle = Bundle::sign(&statement(), &key(2)).unwrap();
        assert_eq!(refusal(&bundle), "the promoter key `judge` may not sign receipt records");
    }

    #[test]
    fn a_strangers_key_is_refused() {
        let bundle = Bundle::sign(&statement(), &key(3)).unwrap();
        assert!(refusal(&bundle).contains("is not in the trust file"));
    }

    #[test]
    fn one_key_counted_twice_is_refused() {
        let mut bundle = Bundle::sign(&statement(), &key(1)).unwrap();
        bundle.envelope.signatures.push(bundle.envelope.signatures[0].clone());
        assert_eq!(refusal(&bundle), "the envelope has 2 signatures, expected one");
        bundle.envelope.signatures.clear();
        assert_eq!(refusal(&bundle), "the envelope has 0 signatures, expected one");
    }

    #[test]
    fn a_predicate_of_one_type_is_not_taken_for_another() {
        let bundle = Bundle::sign(&statement(), &key(1)).unwrap();
        let trust = trust();
        let error = bundle.verify(&trust, Claim::Receipt, "https://slsa.dev/verification_summary/v1");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("the predicate is") && error.contains("provenance/v1"), "{error}");
    }

    #[test]
    fn a_key_id_that_was_swapped_is_refused() {
        let mut bundle = Bundle::sign(&statement(), &key(3)).unwrap();
        bundle.envelope.signatures[0].keyid = key(1).public().id();
        assert_eq!(refusal(&bundle), "the envelope's key id is not the bundle's hint");
        bundle.material.public_key.hint = key(1).public().id();
        assert!(refusal(&bundle).contains("the signature does not match"));
    }

    #[test]
    fn no_changed_byte_is_accepted() {
        let good = Bundle::sign(&statement(), &key(1)).unwrap().to_bytes();
        for at in 0..good.len() {
            for mask in [1, 0x20] {
                let mut bytes = good.clone();
                bytes[at] ^= mask;
                let read = Bundle::parse(&bytes);
                assert!(
                    read.is_err() || read.unwrap().verify(&trust(), Claim::Receipt, TYPE).is_err(),
                    "{at}"
                );
            }
        }
    }
}
