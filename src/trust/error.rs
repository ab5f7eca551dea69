//! What can be wrong with keys and with what they signed. No variant holds anything of a secret key.

use std::path::PathBuf;

use super::role::{Claim, Role};
use crate::base::digest::Sha256;
use crate::disk::DiskError;

/// Why a key cannot be used, or a signature does not count.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A key file that is none, or not of the one kind used here.
    #[error("the key file {} {why}", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Others can read a secret key.
    #[error(
        "the secret key {} can be read by others (mode {mode:04o}); make a new one, or `chmod 600` it if nobody did", path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is a key of that name.
    #[error("{} is there already; a key is never replaced, name another folder or another --name", .0.display())]
    Exists(PathBuf),
    /// A mistake in the trust file.
    #[error("{}:{line}:{column}: {why}", path.display())]
    File {
        /// The trust file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// A key that nobody vouched for.
    #[error("the key {0} is not in the trust file")]
    UnknownKey(Sha256),
    /// A known key that may not sign this.
    #[error("the {role} key `{name}` may not sign {} records", claim.word())]
    WrongRole {
        /// What the trust file calls it.
        name: String,
        /// What it is for.
        role: Role,
        /// What it signed.
        claim: Claim,
    },
    /// The bytes are not those that were signed, or another key signed them.
    #[error("the signature does not match: other bytes or another key than {0}")]
    BadSignature(Sha256),
    /// The key was taken back.
    #[error("the key {0} was revoked")]
    Revoked(Sha256),
}

impl TrustError {
    /// Whether this is evidence of tampering, as opposed to trouble with the machine or a mistake.
    pub fn is_tampering(&self) -> bool {
        matches!(
            self,
            Self::UnknownKey(_) | Self::WrongRole { .. } | Self::BadSignature(_) | Self::Revoked(_)
        )
    }
}
