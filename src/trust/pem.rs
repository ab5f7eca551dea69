//! The two files of a key: PKCS#8 (RFC 8410, section 7; RFC 5915) and SPKI (RFC 8410, section 4; RFC 5480), as
//! PEM (RFC 7468).
//!
//! A key of either kind has a fixed length, so each structure is a fixed prefix before its bytes; anything
//! else, encrypted or of another algorithm, is refused rather than parsed.

use zeroize::Zeroizing;

use crate::base::base64;

/// SEQUENCE { version 0, SEQUENCE { 1.3.101.112 }, OCTET STRING { OCTET STRING { 32 bytes } } }
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// SEQUENCE { SEQUENCE { 1.3.101.112 }, BIT STRING { 32 bytes } }
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// SEQUENCE { ecPublicKey, prime256v1 }
const P256: [u8; 21] = [
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];
/// SEQUENCE { .., BIT STRING { 65 bytes } } around it.
const P256_SPKI: ([u8; 2], [u8; 3]) = ([0x30, 0x59], [0x03, 0x42, 0x00]);
/// SEQUENCE { version 0, .., OCTET STRING { SEQUENCE { version 1, OCTET STRING { 32 bytes }, [1] BIT STRING { 65
/// bytes } } } } around it.
const P256_PKCS8: ([u8; 6], [u8; 9], [u8; 5]) = (
    [0x30, 0x81, 0x87, 0x02, 0x01, 0x00],
    [0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20],
    [0xa1, 0x44, 0x03, 0x42, 0x00],
);

const SECRET: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";
/// Characters in a line.
const LINE: usize = 64;

/// A public key.
pub(super) enum Point {
    /// As in RFC 8032.
    Ed25519([u8; 32]),
    /// Uncompressed, as in SEC 1.
    P256([u8; 65]),
}

/// A secret key.
pub(super) enum Scalar {
    /// The seed.
    Ed25519(Zeroizing<[u8; 32]>),
    /// The number, and the point that goes with it.
    P256 { scalar: Zeroizing<[u8; 32]>, point: [u8; 65] },
}

/// The SPKI DER of a public key: what is hashed to its id.
pub(super) fn spki(public: &Point) -> Vec<u8> {
    match public {
        Point::Ed25519(bytes) => [&SPKI[..], &bytes[..]].concat(),
        Point::P256(bytes) => [&P256_SPKI.0[..], &P256, &P256_SPKI.1, &bytes[..]].concat(),
    }
}

/// The public key in SPKI DER.
pub(super) fn from_spki(der: &[u8]) -> Result<Point, String> {
    let p256 = || {
        let rest = der.strip_prefix(&P256_SPKI.0)?.strip_prefix(&P256)?.strip_prefix(&P256_SPKI.1)?;
        rest.try_into().ok().map(Point::P256)
    };
    let ed25519 = take(der, &SPKI).map(Point::Ed25519);
    ed25519.or_else(p256).ok_or_else(|| "is not the SPKI of an Ed25519 or P-256 public key".to_owned())
}

pub(super) fn write_public(spki: &[u8]) -> String {
    armour(PUBLIC, spki)
}

pub(super) fn write_secret(secret: &Scalar) -> Zeroizing<String> {
    let der = Zeroizing::new(match secret {
        Scalar::Ed25519(seed) => [&PKCS8[..], &seed[..]].concat(),
        Scalar::P256 { scalar, point } => {
            let (head, middle, tail) = &P256_PKCS8;
            [&head[..], &P256, middle, &scalar[..], tail, point].concat()
        }
    });
    Zeroizing::new(armour(SECRET, &der))
}

/// The DER of a public key's PEM.
pub(super) fn read_public(text: &str) -> Result<Vec<u8>, String> {
    Ok(unarmour(PUBLIC, text)?.to_vec())
}

pub(super) fn read_secret(text: &str) -> Result<Scalar, String> {
    let der = unarmour(SECRET, text)?;
    if let Some(seed) = take(&der, &PKCS8) {
        return Ok(Scalar::Ed25519(Zeroizing::new(seed)));
    }
    let p256 = || {
        let (head, middle, tail) = &P256_PKCS8;
        let rest = der.strip_prefix(head)?.strip_prefix(&P256)?.strip_prefix(middle)?;
        let (scalar, rest) = rest.split_first_chunk::<32>()?;
        let point = rest.strip_prefix(tail)?.try_into().ok()?;
        Some(Scalar::P256 { scalar: Zeroizing::new(*scalar), point })
    };
    p256().ok_or_else(|| "is not an unencrypted Ed25519 or P-256 key in PKCS#8 without attributes".to_owned())
}

fn take(der: &[u8], prefix: &[u8]) -> Option<[u8; 32]> {
    der.strip_prefix(prefix)?.try_into().ok()
}

/// In lines of 64 characters.
fn armour(label: &str, der: &[u8]) -> String {
    // One allocation, so that no half-written secret stays behind in a freed one.
    let mut text = String::with_capacity(512);
    let body = Zeroizing::new(base64::encode(der));
    for part in ["-----BEGIN ", label, "-----\n"] {
        text.push_str(part);
    }
    for start in (0..body.len()).step_by(LINE) {
        text.push_str(&body[start..body.len().min(start + LINE)]);
        text.push('\n');
    }
    for part in ["-----END ", label, "-----\n"] {
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
    let mut whole = Zeroizing::new(String::with_capacity(body.len()));
    body.trim().lines().for_each(|line| whole.push_str(line.trim_end()));
    base64::decode(&whole).map(Zeroizing::new).ok_or_else(|| "is not base64".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example keys of RFC 8410, sections 10.3 and 10.1.
    #[test]
    fn rfc_8410_examples() {
        let secret = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        let read = read_secret(secret).unwrap();
        assert_eq!(*write_secret(&read), secret);
        let der = read_public(public).unwrap();
        assert_eq!(write_public(&der), public);
        let (Scalar::Ed25519(seed), Point::Ed25519(key)) = (read, from_spki(&der).unwrap()) else {
            panic!("they are Ed25519 keys")
        };
        assert_eq!(ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes(), key);
    }

    #[test]
    fn other_structures_are_refused() {
        let good = write_public(&spki(&Point::Ed25519([7; 32])));
        for bad in [
            String::new(),
            good.replace("PUBLIC", "PRIVATE"),
            good.replace("MCow", "MCox"),
            good.replace("=\n", "\n"),
            format!("{good}{good}"),
            armour(PUBLIC, &[&spki(&Point::Ed25519([7; 32]))[..], &[0][..]].concat()),
        ] {
            assert!(read_public(&bad).and_then(|der| from_spki(&der).map(drop)).is_err(), "{bad}");
        }
        assert!(read_secret(&good).is_err());
    }

    /// The example key of RFC 6979, appendix A.2.5, as OpenSSL writes it (by way of Python's cryptography).
    #[test]
    fn openssl_files_are_read_and_written_alike() {
        let secret = include_str!("../../tests/fixtures/p256.pem");
        let public = include_str!("../../tests/fixtures/p256.pub.pem");
        assert_eq!(*write_secret(&read_secret(secret).unwrap()), secret);
        assert_eq!(write_public(&read_public(public).unwrap()), public);
        assert!(matches!(from_spki(&read_public(public).unwrap()), Ok(Point::P256(_))));
        assert!(read_secret(&secret.replace("MIGH", "MIGI")).is_err());
    }
}
