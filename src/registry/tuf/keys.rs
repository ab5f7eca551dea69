//! Who signs which document: keys of the role `registry`, one for all or one for each.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::document::{Key, RoleKeys, Root, SPEC_VERSION};
use crate::base::digest::Sha256;
use crate::trust::{Claim, Custody, PublicKey, Role, SecretKey, TrustError};

/// What a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duty {
    /// Says which keys sign what.
    Root,
    /// Says which targets hold now.
    Snapshot,
    /// Lists every file.
    Targets,
    /// Says which snapshot is the newest.
    Timestamp,
}

impl Duty {
    /// Every duty, in the order of their words.
    pub const ALL: [Self; 4] = [Self::Root, Self::Snapshot, Self::Targets, Self::Timestamp];

    /// Its word in documents and key names.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
            Self::Timestamp => "timestamp",
        }
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The keys of one publisher.
#[derive(Debug)]
pub struct Keys {
    /// Whose signature each document needs.
    publics: BTreeMap<Duty, PublicKey>,
    /// All secret halves that are at hand, by the framework's id.
    secrets: BTreeMap<Sha256, SecretKey>,
}

impl Keys {
    /// The keys of the role `registry`: `registry.DUTY` where there is one, `registry` otherwise. None if a
    /// duty has neither.
    ///
    /// # Errors
    ///
    /// [`TrustError::UnknownKey`] or [`TrustError::WrongRole`] of a key that the trust file does not know, or
    /// not for releases; else as [`Custody::keys_of`].
    pub fn of(custody: &Custody) -> Result<Option<Self>, TrustError> {
        let (mut named, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for (stem, public, secret) in custody.keys_of(Role::Registry)? {
            if let Some(secret) = secret {
                secrets.insert(Key::of(&secret.public()).id(), secret);
            }
            named.insert(stem.to_string(), public);
        }
        let mut publics = BTreeMap::new();
        for duty in Duty::ALL {
            let own = named.get(&format!("{}.{duty}", Role::Registry));
            let Some(public) = own.or_else(|| named.get(Role::Registry.word())) else { return Ok(None) };
            if let Some(trust) = custody.trust() {
                trust.allowed(public.id(), Claim::Release)?;
            }
            publics.insert(duty, public.clone());
        }
        Ok(Some(Self { publics, secrets }))
    }

    /// The public key of every duty.
    pub fn publics(&self) -> impl Iterator<Item = &PublicKey> {
        self.publics.values()
    }

    /// Whether a root names these keys and no others.
    pub fn are_in(&self, root: &Root) -> bool {
        let own = self.root(root.version, &root.expires);
        (&own.keys, &own.roles) == (&root.keys, &root.roles)
    }

    /// The secret key of a duty, if it is at hand.
    pub(super) fn secret(&self, duty: Duty) -> Option<&SecretKey> {
        self.secrets.get(&Key::of(&self.publics[&duty]).id())
    }

    /// The secret key with this id of the framework's, if it is at hand.
    pub(super) fn secret_with_id(&self, id: Sha256) -> Option<&SecretKey> {
        self.secrets.get(&id)
    }

    /// A root that names these keys.
    pub(super) fn root(&self, version: u64, expires: &str) -> Root {
        let mut keys = BTreeMap::new();
        let mut roles = BTreeMap::new();
        for (duty, public) in &self.publics {
            let key = Key::of(public);
            let id = key.id();
            keys.insert(id, key);
            roles.insert(*duty, RoleKeys { keyids: vec![id], threshold: 1 });
        }
        Root {
            kind: Duty::Root.word().to_owned(),
            consistent_snapshot: true,
            expires: expires.to_owned(),
            keys,
            roles,
            spec_version: SPEC_VERSION.to_owned(),
            version,
        }
    }
}
