//! The trust file: which key may sign what. A person writes it; it lies beside the plan.
//!
//! ```toml
//! [keys.producer]
//! role = "producer"
//! public = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
//!
//! [keys.ada]
//! role = "approver"
//! public = "MCowBQYDK2VwAyEA11qYAYKxCrfVS_..."
//!
//! [keys.lab]
//! role = "evaluator"
//! public = "..."
//! records = ["evaluation"]     # fewer than its role may
//! ```

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::{Claim, PublicKey, Role, TrustError};
use crate::base::digest::Sha256;
use crate::base::located::line_column;
use crate::base::name::Name;
use crate::disk::IoContext;

/// What it is called.
pub const TRUST_FILE: &str = "trust.toml";
/// Thousands of keys.
const MAX_TRUST_FILE: u64 = 1 << 20;

/// Whose signatures count, and for what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    keys: Vec<TrustedKey>,
}

/// A key that somebody vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// What the trust file calls it.
    pub name: Name,
    /// What it is for.
    pub role: Role,
    /// The key.
    pub public: PublicKey,
    /// What it may sign.
    pub claims: Vec<Claim>,
}

impl TrustedKey {
    /// That it signed, and what its owner says besides, in words.
    pub fn signed(&self, besides: Option<&dyn std::fmt::Display>) -> String {
        let who = format!("signed by {} `{}`", self.role, self.name);
        besides.map_or(who.clone(), |besides| format!("{who}, who says: {besides}"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: BTreeMap<Spanned<String>, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    role: Role,
    public: Spanned<String>,
    records: Option<Spanned<Vec<Claim>>>,
}

impl Trust {
    /// Reads a trust file.
    ///
    /// # Errors
    ///
    /// As [`Self::text`] and [`Self::parse`].
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        Self::parse(&Self::text(path)?, path)
    }

    /// The text of a trust file.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, is no text, or is too long.
    pub fn text(path: &Path) -> Result<String, TrustError> {
        let mut text = String::new();
        let file = std::fs::File::open(path).at("open the trust file", path)?;
        let read = file.take(MAX_TRUST_FILE + 1).read_to_string(&mut text).at("read the trust file", path)?;
        if read as u64 > MAX_TRUST_FILE {
            let why = format!("a trust file has at most {MAX_TRUST_FILE} bytes");
            return Err(TrustError::File { path: path.to_owned(), line: 1, column: 1, why });
        }
        Ok(text)
    }

    /// Reads the text of a trust file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`TrustError::File`] with the place of the first mistake.
    pub fn parse(text: &str, path: &Path) -> Result<Self, TrustError> {
        let wrong = |at: usize, why: String| {
            let (line, column) = line_column(text, at);
            TrustError::File { path: path.to_owned(), line, column, why }
        };
        let file: File = toml::from_str(text)
            .map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        let mut keys: Vec<TrustedKey> = Vec::new();
        for (name, entry) in file.keys {
            let at = name.span().start;
            let name: Name = name.get_ref().parse().map_err(|error| wrong(at, format!("{error}")))?;
            let at = entry.public.span().start;
            let public = PublicKey::from_base64(entry.public.get_ref())
                .map_err(|why| wrong(at, format!("the public key of `{name}` {why}")))?;
            if public.algorithm() != entry.role.algorithm() {
                let (found, expected) = (public.algorithm().word(), entry.role.algorithm().word());
                return Err(wrong(
                    at,
                    format!("`{name}` is an {found} key, a {} key is {expected}", entry.role),
                ));
            }
            if let Some(other) = keys.iter().find(|other| other.public == public) {
                // One person with two names could approve twice.
                return Err(wrong(at, format!("`{name}` has the same key as `{}`", other.name)));
            }
            let claims = match entry.records {
                None => entry.role.claims().to_vec(),
                Some(records) => {
                    let allowed = entry.role.claims();
                    let over = records.get_ref().iter().find(|claim| !allowed.contains(claim));
                    if let Some(over) = over {
                        let at = records.span().start;
                        let why = format!(
                            "the {} `{name}` cannot sign {} records: those are for the {}",
                            entry.role,
                            over.word(),
                            over.role()
                        );
                        return Err(wrong(at, why));
                    }
                    records.into_inner()
                }
            };
            keys.push(TrustedKey { name, role: entry.role, public, claims });
        }
        Ok(Self { keys })
    }

    /// Trust in these approvers and nobody else: what a gate names. The reason is a phrase.
    ///
    /// # Errors
    ///
    /// If a key cannot be read, is of another kind, or is there twice.
    pub fn in_approvers(keys: impl IntoIterator<Item = (Name, String)>) -> Result<Self, String> {
        let mut trusted: Vec<TrustedKey> = Vec::new();
        for (name, public) in keys {
            let public = PublicKey::from_base64(&public).map_err(|why| format!("the key `{name}` {why}"))?;
            if trusted.iter().any(|other| other.public == public) {
                return Err(format!("the key `{name}` is there twice"));
            }
            let role = Role::Approver;
            if public.algorithm() != role.algorithm() {
                return Err(format!("the key `{name}` is no {} key", role.algorithm().word()));
            }
            trusted.push(TrustedKey { name, role, public, claims: role.claims().to_vec() });
        }
        Ok(Self { keys: trusted })
    }

    /// Trust in these keys, in this order.
    pub fn of(keys: impl IntoIterator<Item = TrustedKey>) -> Self {
        Self { keys: keys.into_iter().collect() }
    }

    /// The lines that add a key to a trust file.
    pub fn entry(name: &str, role: Role, public: &PublicKey) -> String {
        // A dot in a bare key would be a table within a table.
        format!("[keys.{name:?}]\nrole = \"{role}\"\npublic = \"{}\"\n", public.to_base64())
    }

    /// Every key, by name.
    pub fn keys(&self) -> &[TrustedKey] {
        &self.keys
    }

    /// The key with this name.
    pub fn named(&self, name: &str) -> Option<&TrustedKey> {
        self.keys.iter().find(|key| key.name.as_str() == name)
    }

    /// The keys that may sign a claim.
    pub fn for_claim(&self, claim: Claim) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter().filter(move |key| key.claims.contains(&claim))
    }

    /// The key with this id, if it may sign this.
    ///
    /// # Errors
    ///
    /// [`TrustError::UnknownKey`], or [`TrustError::WrongRole`] if it signs other things.
    pub fn allowed(&self, id: Sha256, claim: Claim) -> Result<&TrustedKey, TrustError> {
        let key = self.keys.iter().find(|key| key.public.id() == id).ok_or(TrustError::UnknownKey(id))?;
        if key.claims.contains(&claim) {
            return Ok(key);
        }
        Err(TrustError::WrongRole { name: key.name.to_string(), role: key.role, claim })
    }

    /// The same keys, but for those with these ids.
    #[must_use]
    pub fn without(mut self, revoked: &[Sha256]) -> Self {
        self.keys.retain(|key| !revoked.contains(&key.public.id()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::SecretKey;
    use super::*;

    fn public(seed: u8) -> PublicKey {
        SecretKey::from_seed(&[seed; 32]).public()
    }

    fn parse(text: &str) -> Result<Trust, TrustError> {
        Trust::parse(text, Path::new("trust.toml"))
    }

    #[test]
    fn a_role_may_sign_its_own_records_only() {
        let text = Trust::entry("maker", Role::Producer, &public(1))
            + &Trust::entry("approver.ada", Role::Approver, &public(2));
        let trust = parse(&text).unwrap();
        let id = public(1).id();
        assert_eq!(trust.allowed(id, Claim::Receipt).unwrap().name.as_str(), "maker");
        let error = trust.allowed(id, Claim::Admission).unwrap_err();
        assert_eq!(error.to_string(), "the producer key `maker` may not sign admission records");
        let error = trust.allowed(public(3).id(), Claim::Receipt).unwrap_err();
        assert!(matches!(error, TrustError::UnknownKey(_)), "{error}");
        assert_eq!(trust.for_claim(Claim::Approval).count(), 1);
        assert_eq!(trust.named("approver.ada").unwrap().public, public(2));
        let rest = trust.without(&[id]);
        assert!(matches!(rest.allowed(id, Claim::Receipt), Err(TrustError::UnknownKey(_))));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let good = Trust::entry("a", Role::Evaluator, &public(1));
        for (text, place, why) in [
            (good.replace("evaluator", "judge"), "trust.toml:2:8", "unknown variant `judge`"),
            (good.replace("MCow", "MCox"), "trust.toml:3:10", "is not the SPKI"),
            (good.clone() + "records = [\"admission\"]\n", "trust.toml:4:11", "those are for the promoter"),
            (good.clone() + &good.replace("\"a\"", "\"b\""), "trust.toml:6:10", "same key as `a`"),
            (good.clone() + "note = 1\n", "trust.toml:4:1", "unknown field `note`"),
            (good.replace("\"a\"", "\"A\""), "trust.toml:1:7", "lower-case"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(why), "{error}\n{text}");
        }
        let fewer = parse(&(good + "records = [\"evaluation\"]\n")).unwrap();
        assert!(fewer.allowed(public(1).id(), Claim::Smoke).is_err());
    }
}
