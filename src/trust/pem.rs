//! The two files of a key: PKCS#8 (RFC 8410, section 7) and SPKI (section 4), as PEM (RFC 7468).
//!
//! An Ed25519 key is 32 bytes, so either structure is one fixed prefix before them; anything else,
//! encrypted or of another algorithm, is refused rather than parsed.

use zeroize::Zeroizing;

use crate::base::base64;

/// SEQUENCE { version 0, SEQUENCE { 1.3.101.112 }, OCTET STRING { OCTET STRING { 32 bytes } } }
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// SEQUENCE { SEQUENCE { 1.3.101.112 }, BIT STRING { 32 bytes } }
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const SECRET: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

/// The SPKI DER of a public key: what is hashed to its id.
pub(super) fn spki(public: &[u8; 32]) -> Vec<u8> {
    [&SPKI[..], &public[..]].concat()
}

/// The public key in SPKI DER.
pub(super) fn from_spki(der: &[u8]) -> Result<[u8; 32], String> {
    take(der, &SPKI).ok_or_else(|| "is not the SPKI of an Ed25519 public key".to_owned())
}

pub(super) fn write_public(public: &[u8; 32]) -> String {
    armour(PUBLIC, &spki(public))
}

pub(super) fn write_secret(secret: &[u8; 32]) -> Zeroizing<String> {
    let der = Zeroizing::new([&PKCS8[..], &secret[..]].concat());
    Zeroizing::new(armour(SECRET, &der))
}

pub(super) fn read_public(text: &str) -> Result<[u8; 32], String> {
    from_spki(&unarmour(PUBLIC, text)?)
}

pub(super) fn read_secret(text: &str) -> Result<Zeroizing<[u8; 32]>, String> {
    let der = unarmour(SECRET, text)?;
    take(&der, &PKCS8)
        .map(Zeroizing::new)
        .ok_or_else(|| "is not an unencrypted Ed25519 key in PKCS#8 without attributes".to_owned())
}

fn take(der: &[u8], prefix: &[u8]) -> Option<[u8; 32]> {
    der.strip_prefix(prefix)?.try_into().ok()
}

/// Both structures fit on one line of 64 characters.
fn armour(label: &str, der: &[u8]) -> String {
    // One allocation, so that no half-written secret stays behind in a freed one.
    let mut text = String::with_capacity(256);
    let body = Zeroizing::new(base64::encode(der));
    for part in ["-----BEGIN ", label, "-----\n", &body, "\n-----END ", label, "-----\n"] {
        text.push_str(part);
    }
    text
}

fn unarmour(label: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let wrong = || format!("is not one PEM block \"{label}\"");
    let body = text
        .trim_end()
        .strip_prefix(&format!("-----BEGIN {label}-----"))
        .and_then(|rest| rest.strip_suffix(&format!("-----END {label}-----")))
        .ok_or_else(wrong)?;
    base64::decode(body.trim()).map(Zeroizing::new).ok_or_else(|| "is not base64".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example keys of RFC 8410, sections 10.3 and 10.1.
    #[test]
    fn rfc_8410_examples() {
        let secret = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        let seed = read_secret(secret).unwrap();
        assert_eq!(*write_secret(&seed), secret);
        let key = read_public(public).unwrap();
        assert_eq!(write_public(&key), public);
        assert_eq!(ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes(), key);
    }

    #[test]
    fn other_structures_are_refused() {
        let good = write_public(&[7; 32]);
        for bad in [
            String::new(),
            good.replace("PUBLIC", "PRIVATE"),
            good.replace("MCow", "MCox"),
            good.replace("=\n", "\n"),
            format!("{good}{good}"),
            armour(PUBLIC, &[&spki(&[7; 32])[..], &[0][..]].concat()),
        ] {
            assert!(read_public(&bad).is_err(), "{bad}");
        }
        assert!(read_secret(&good).is_err());
    }
}
