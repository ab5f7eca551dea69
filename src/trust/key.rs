//! One key: made, read, written, used.

use std::fmt;
use std::io::Read;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::{TrustError, pem};
use crate::base::base64;
use crate::base::digest::Sha256;
use crate::disk::{DiskError, IoContext};

/// Length of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The half that checks.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key with these 32 bytes; the reason is a phrase.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, String> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| "is no point of the curve".to_owned())?;
        // Under such a key one signature fits many messages.
        if key.is_weak() { Err("is a weak key".to_owned()) } else { Ok(Self(key)) }
    }

    /// Reads the SPKI PEM of a `.pub.pem` file.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        Self::from_bytes(&pem::read_public(text)?)
    }

    /// Reads base64 of SPKI DER: the middle line of the PEM file.
    pub fn from_base64(text: &str) -> Result<Self, String> {
        let der = base64::decode(text).ok_or_else(|| "is not base64".to_owned())?;
        Self::from_bytes(&pem::from_spki(&der)?)
    }

    /// The 32 bytes of RFC 8032.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The SPKI PEM.
    pub fn to_pem(&self) -> String {
        pem::write_public(&self.to_bytes())
    }

    /// Base64 of the SPKI DER.
    pub fn to_base64(&self) -> String {
        base64::encode(&pem::spki(&self.to_bytes()))
    }

    /// Its id: SHA-256 of its SPKI DER. It names a key and is never a reason to trust it.
    pub fn id(&self) -> Sha256 {
        Sha256::of(&pem::spki(&self.to_bytes()))
    }

    /// Checks a signature strictly: no malleable, mixed-order or small-order ones.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), TrustError> {
        let bad = || TrustError::BadSignature(self.id());
        let signature = Signature::from_slice(signature).map_err(|_| bad())?;
        self.0.verify_strict(message, &signature).map_err(|_| bad())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id().short())
    }
}

/// The half that signs. Wiped from memory when dropped; nothing prints it.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new key from the operating system's randomness.
    pub fn generate() -> Result<Self, DiskError> {
        let mut seed = Zeroizing::new([0; 32]);
        let source = "/dev/urandom";
        std::fs::File::open(source)
            .and_then(|mut file| file.read_exact(&mut *seed))
            .at("read random bytes from", source)?;
        Ok(Self::from_seed(&seed))
    }

    /// The key with this seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads the PKCS#8 PEM of a `.pem` file.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        Ok(Self::from_seed(&*pem::read_secret(text)?))
    }

    /// The PKCS#8 PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem::write_secret(self.0.as_bytes())
    }

    /// The half that checks.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs; the same key and message always give the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
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
            assert_eq!(key.sign(message), hex::<64>(signature));
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
}
