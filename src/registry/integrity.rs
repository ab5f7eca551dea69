//! How browsers spell a digest in an integrity string.

use crate::base::base64::encode;
use crate::base::digest::Sha256;

/// The integrity string (W3C Subresource Integrity) of a file with this digest.
pub fn integrity(sha256: Sha256) -> String {
    format!("sha256-{}", encode(sha256.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integrity_of_nothing() {
        // `printf '' | openssl dgst -sha256 -binary | base64`
        assert_eq!(integrity(Sha256::of(b"")), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
