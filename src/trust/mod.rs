//! Keys: who may say what, and how it is checked that they said it.
//!
//! Every signature is Ed25519 (RFC 8032), checked strictly: one message, one key, one signature; only model
//! signatures, which other people's tools check, are ECDSA P-256. A key
//! has a *role*, and a role may sign only its own kinds of record, so that whoever measures cannot
//! admit, and whoever admits cannot rewrite the log. Which key has which role is written by a person in
//! a trust file; nothing inside an envelope is ever a reason to trust it.
//!
//! ```text
//! keys/producer.pem        PKCS#8, mode 0600: signs           never leaves the machine
//! keys/producer.pub.pem    SPKI: names and checks             goes into the trust file
//! trust.toml               [keys.producer] role = "producer", public = "MCowBQYDK2VwAyEA..."
//! ```
//!
//! * [`role`]: who there is, and what each signs.
//! * [`key`]: one key: generated, read, written, used. Secret bytes are wiped when they are dropped.
//! * `pem`: the two files of a key.
//! * [`keyring`]: a folder of keys.
//! * [`mod@file`]: the trust file. `custody`: what lies beside a plan of both.

mod custody;
mod error;
pub mod file;
pub mod key;
pub mod keyring;
mod pem;
pub mod role;

pub use custody::{Custody, KEYS_FOLDER};
pub use error::TrustError;
pub use file::{TRUST_FILE, Trust, TrustedKey};
pub use key::{Algorithm, PublicKey, SIGNATURE_BYTES, SecretKey};
pub use keyring::{KeyFile, Keyring};
pub use role::{Claim, Role};
