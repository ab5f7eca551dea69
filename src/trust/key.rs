//! One key: made, read, written, used.
//!
//! Ed25519 everywhere but for one role: the OpenSSF model signature, which other people's tools check, knows
//! ECDSA on the NIST curves only. That role's keys are P-256, and both kinds sign without randomness.

use std::fmt;
use std::io::Read;

use ed25519_dalek::Signer;
use zeroize::Zeroizing;

use super::{TrustError, pem};
use crate::base::base64;
use crate::base::digest::Sha256;
use crate::disk::{DiskError, IoContext};

/// Length of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5), nonces as in RFC 6979, signatures in DER with the lower S.
    P256,
}

impl Algorithm {
    /// What people call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::P256 => "ECDSA P-256",
        }
    }
}

/// The half that checks.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Public);

#[derive(Clone, PartialEq, Eq)]
enum Public {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
}

impl PublicKey {
    /// The Ed25519 key with these 32 bytes; the reason is a phrase.
    ///
    /// # Errors
    ///
    /// If they are no point of the curve, or a weak one.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, String> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes);
        let key = key.map_err(|_| "is no point of the curve".to_owned())?;
        // Under such a key one signature fits many messages.
        if key.is_weak() { Err("is a weak key".to_owned()) } else { Ok(Self(Public::Ed25519(key))) }
    }

    /// Reads the SPKI PEM of a `.pub.pem` file.
    ///
    /// # Errors
    ///
    /// If it is no PEM of a public key, or no key of a kind that is used here.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        Self::from_spki(&pem::read_public(text)?)
    }

    /// Reads base64 of SPKI DER: what stands between the lines of the PEM file.
    ///
    /// # Errors
    ///
    /// If it is not base64, or no key of a kind that is used here.
    pub fn from_base64(text: &str) -> Result<Self, String> {
        Self::from_spki(&base64::decode(text).ok_or_else(|| "is not base64".to_owned())?)
    }

    fn from_spki(der: &[u8]) -> Result<Self, String> {
        match pem::from_spki(der)? {
            pem::Point::Ed25519(bytes) => Self::from_bytes(&bytes),
            pem::Point::P256(bytes) => p256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes)
                .map(|key| Self(Public::P256(key)))
                .map_err(|_| "is no point of the curve".to_owned()),
        }
    }

    fn spki(&self) -> Vec<u8> {
        match &self.0 {
            Public::Ed25519(key) => pem::spki(&pem::Point::Ed25519(key.to_bytes())),
            Public::P256(key) => pem::spki(&pem::Point::P256(uncompressed(key))),
        }
    }

    /// How it checks.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Public::Ed25519(_) => Algorithm::Ed25519,
            Public::P256(_) => Algorithm::P256,
        }
    }

    /// The 32 bytes of RFC 8032; of a P-256 key the abscissa of its point.
    pub fn to_bytes(&self) -> [u8; 32] {
        match &self.0 {
            Public::Ed25519(key) => key.to_bytes(),
            Public::P256(key) => std::array::from_fn(|at| uncompressed(key)[1 + at]),
        }
    }

    /// The SPKI PEM.
    pub fn to_pem(&self) -> String {
        pem::write_public(&self.spki())
    }

    /// Base64 of the SPKI DER.
    pub fn to_base64(&self) -> String {
        base64::encode(&self.spki())
    }

    /// Its id: SHA-256 of its SPKI DER. It names a key and is never a reason to trust it.
    pub fn id(&self) -> Sha256 {
        Sha256::of(&self.spki())
    }

    /// Checks a signature strictly: no malleable, mixed-order or small-order ones.
    ///
    /// # Errors
    ///
    /// [`TrustError::BadSignature`] if it is not this key's over these bytes.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), TrustError> {
        let holds = match &self.0 {
            Public::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Public::P256(key) => {
                use p256::ecdsa::signature::Verifier as _;
                // (r, n - s) holds as well as (r, s): only the lower one is anybody's signature here.
                p256::ecdsa::Signature::from_der(signature).is_ok_and(|signature| {
                    signature.normalize_s() == signature && key.verify(message, &signature).is_ok()
                })
            }
        };
        if holds { Ok(()) } else { Err(TrustError::BadSignature(self.id())) }
    }
}

fn uncompressed(key: &p256::ecdsa::VerifyingKey) -> [u8; 65] {
    let point = key.to_sec1_point(false);
    std::array::from_fn(|at| point.as_bytes()[at])
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id().short())
    }
}

/// The half that signs. Wiped from memory when dropped; nothing prints it.
pub struct SecretKey(Secret);

enum Secret {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl SecretKey {
    /// A new Ed25519 key from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes.
    pub fn generate() -> Result<Self, DiskError> {
        Self::generate_for(Algorithm::Ed25519)
    }

    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes.
    pub fn generate_for(algorithm: Algorithm) -> Result<Self, DiskError> {
        let source = "/dev/urandom";
        loop {
            let mut seed = Zeroizing::new([0; 32]);
            std::fs::File::open(source)
                .and_then(|mut file| file.read_exact(&mut *seed))
                .at("read random bytes from", source)?;
            // One number in four thousand million is no P-256 key.
            if let Some(key) = Self::of(algorithm, &seed) {
                return Ok(key);
            }
        }
    }

    /// The Ed25519 key with this seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Secret::Ed25519(ed25519_dalek::SigningKey::from_bytes(seed)))
    }

    /// The key with this seed, or with this number as its scalar.
    pub fn of(algorithm: Algorithm, seed: &[u8; 32]) -> Option<Self> {
        match algorithm {
            Algorithm::Ed25519 => Some(Self::from_seed(seed)),
            Algorithm::P256 => {
                p256::ecdsa::SigningKey::from_slice(seed).ok().map(|key| Self(Secret::P256(key)))
            }
        }
    }

    /// Reads the PKCS#8 PEM of a `.pem` file.
    ///
    /// # Errors
    ///
    /// If it is no PEM of a secret key, or its public half is not its own.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        match pem::read_secret(text)? {
            pem::Scalar::Ed25519(seed) => Ok(Self::from_seed(&seed)),
            pem::Scalar::P256 { scalar, point } => {
                let key = Self::of(Algorithm::P256, &scalar).ok_or_else(|| "is no P-256 key".to_owned())?;
                match &key.0 {
                    Secret::P256(secret) if uncompressed(secret.verifying_key()) == point => Ok(key),
                    _ => Err("holds a public half that is not its own".to_owned()),
                }
            }
        }
    }

    /// The PKCS#8 PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        match &self.0 {
            Secret::Ed25519(key) => pem::write_secret(&pem::Scalar::Ed25519(Zeroizing::new(key.to_bytes()))),
            Secret::P256(key) => pem::write_secret(&pem::Scalar::P256 {
                scalar: Zeroizing::new(key.to_bytes().into()),
                point: uncompressed(key.verifying_key()),
            }),
        }
    }

    /// The half that checks.
    pub fn public(&self) -> PublicKey {
        match &self.0 {
            Secret::Ed25519(key) => PublicKey(Public::Ed25519(key.verifying_key())),
            Secret::P256(key) => PublicKey(Public::P256(*key.verifying_key())),
        }
    }

    /// Signs; the same key and message always give the same signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Secret::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().to_der().as_bytes().to_vec()
            }
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public().id().short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        std::array::from_fn(|i| digit(2 * i))
    }

    /// RFC 8032, section 7.1, tests 1 and 2.
    #[test]
    fn rfc_8032_vectors() {
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                &b""[..],
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                &[0x72][..],
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ] {
            let key = SecretKey::from_seed(&hex(seed));
            assert_eq!(key.public().to_bytes(), hex::<32>(public));
            assert_eq!(key.sign(message)[..], hex::<64>(signature));
            key.public().verify(message, &hex::<64>(signature)).unwrap();
            assert!(key.public().verify(b"other", &hex::<64>(signature)).is_err());
            assert!(key.public().verify(message, &hex::<63>(signature)).is_err());
        }
    }

    #[test]
    fn a_signature_has_one_form() {
        // S + L is the same signature to a lenient verifier.
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let key = SecretKey::from_seed(&[3; 32]);
        let mut signature = key.sign(b"m");
        let mut carry = 0_u16;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            carry += u16::from(*byte) + u16::from(order);
            (*byte, carry) = (carry as u8, carry >> 8);
        }
        assert!(key.public().verify(b"m", &signature).is_err());
        // The point of order one.
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(PublicKey::from_bytes(&identity).unwrap_err().contains("weak"));
    }

    #[test]
    fn nothing_printed_holds_the_secret() {
        let key = SecretKey::generate().unwrap();
        let again = SecretKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.public(), key.public());
        let body = key.to_pem().lines().nth(1).unwrap().to_owned();
        let shown = format!("{key:?} {:?} {}", key.public(), key.public().to_pem());
        assert!(!shown.contains(&body[24..]), "the seed begins at the 22nd character");
        assert_ne!(SecretKey::generate().unwrap().public(), key.public());
    }

    /// RFC 6979, appendix A.2.5: the key of the examples and the signature of "sample" with SHA-256.
    #[test]
    fn rfc_6979_example() {
        let scalar = hex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
        let key = SecretKey::of(Algorithm::P256, &scalar).unwrap();
        let x: [u8; 32] = hex("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6");
        assert_eq!(key.public().to_bytes(), x);
        let r: [u8; 32] = hex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716");
        // The example's S is the higher one of the pair.
        let signature = key.sign(b"sample");
        assert!(signature.windows(32).any(|window| window == r));
        key.public().verify(b"sample", &signature).unwrap();
        assert!(key.public().verify(b"samplf", &signature).is_err());
        assert_eq!(key.sign(b"sample"), signature);
        let again = SecretKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(PublicKey::from_pem(&key.public().to_pem()).unwrap(), key.public());
        assert_eq!(PublicKey::from_base64(&key.public().to_base64()).unwrap(), key.public());
        assert!(SecretKey::of(Algorithm::P256, &[0; 32]).is_none(), "zero is no key");
        let both = (key.public().algorithm(), SecretKey::from_seed(&[1; 32]).public().algorithm());
        assert_eq!(both, (Algorithm::P256, Algorithm::Ed25519));
    }

    /// The higher S of the same pair holds in the arithmetic and is refused.
    #[test]
    fn the_higher_s_is_nobodys_signature() {
        let key = SecretKey::of(Algorithm::P256, &[7; 32]).unwrap();
        let good = p256::ecdsa::Signature::from_der(&key.sign(b"m")).unwrap();
        let high = p256::ecdsa::Signature::from_scalars(good.r(), -good.s()).unwrap();
        key.public().verify(b"m", good.to_der().as_bytes()).unwrap();
        assert!(key.public().verify(b"m", high.to_der().as_bytes()).is_err());
    }
}
