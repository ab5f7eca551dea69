//! Publishing: signed metadata over the registry, and an entry in the ledger that says so.
//!
//! The entry binds, with the ledger itself, every byte of the metadata. So two publications of one version
//! are one and the same, and whoever shows an older one is told so by the ledger.

use std::path::Path;

use super::Params;
use crate::base::digest::Sha256;
use crate::base::name::Name;
use crate::disk::small::read_small;
use crate::ledger::{EntryKind, Leaf, Ledger, NewEntry};
use crate::pedigree::taint::Revoked;
use crate::record::registry::RegistryRelease;
use crate::record::{self, Record};
use crate::registry::tuf::{self, Keys, Release};
use crate::registry::{self, Built, site, snapshot};
use crate::stage::{Context, StageError};
use crate::trust::{PublicKey, Role};

/// A registry about to be published.
pub(super) struct Signing {
    keys: Keys,
    expires: String,
    roots: Vec<Vec<u8>>,
    cycle: Name,
    /// The publication before, and its entry.
    last: Option<(u64, RegistryRelease)>,
}

/// The entry of a cycle's last publication.
pub(super) fn last_of<'l>(params: &Params, leaves: &'l [Leaf]) -> Option<&'l Leaf> {
    registry::tuf::last_release(&params.cycle, leaves)
}

/// The keys of which one must have signed the ledger's checkpoint, as the page is told. A log that is signed
/// although nobody demands it is told by its own key.
pub(super) fn log_keys(context: &Context<'_>) -> Vec<PublicKey> {
    let custody = context.store.custody();
    let mut keys = custody.log_keys();
    if keys.is_empty() && custody.trust().is_none() {
        keys.extend(custody.signer(Role::Log).ok().flatten().map(|key| key.public()));
    }
    keys
}

/// What is needed to publish; none if there is no registry key or no date, which is fine as long as the
/// registry was never published. Everything that can be refused is refused here, before anything is written.
pub(super) fn signing(
    context: &Context<'_>,
    params: &Params,
    leaves: &[Leaf],
) -> Result<Option<Signing>, StageError> {
    let refused = |why: String| Err(StageError::Refused(why));
    let last = last_of(params, leaves);
    let keys = Keys::of(context.store.custody()).map_err(registry::RegistryError::from)?;
    let lacks = match (&keys, &params.expires) {
        (None, _) => "a registry key (`studbook keys new registry`)",
        (_, None) => "`expires` under [registry] in the plan",
        (Some(_), Some(_)) => "",
    };
    let (Some(keys), Some(expires)) = (keys, &params.expires) else {
        return match last {
            None => Ok(None),
            Some(leaf) => refused(format!(
                "ledger entry {} published this registry with signed metadata, and without it every browser \
                 that saw it would refuse it: it needs {lacks}",
                leaf.index
            )),
        };
    };
    let revoked = Revoked::of(&context.store.ledger()?).map_err(super::super::revoked::stage_error)?;
    if let Some(key) = keys.publics().find(|key| revoked.subjects.contains_key(&key.id())) {
        return refused(format!("the registry key {} was revoked; make another", key.id().short()));
    }
    let last =
        last.map(|leaf| Ok::<_, StageError>((leaf.index, kept(context, params, leaf)?))).transpose()?;
    let known = last.iter().flat_map(|(_, release)| &release.roots);
    let known = known.map(|root| Ok(context.store.release_root(&params.cycle, *root)?));
    let known = known.collect::<Result<Vec<_>, StageError>>()?;
    let roots = tuf::publish::roots(known, &keys, params.root_expires.as_ref().unwrap_or(expires))?;
    Ok(Some(Signing { keys, expires: expires.clone(), roots, cycle: params.cycle.clone(), last }))
}

/// The record of a publication.
fn kept(context: &Context<'_>, params: &Params, leaf: &Leaf) -> Result<RegistryRelease, StageError> {
    let bytes = context.store.release(&params.cycle, leaf.record)?;
    if Sha256::of(&bytes) != leaf.record {
        let why = format!("the record of ledger entry {} is not the one that was entered", leaf.index);
        return Err(StageError::Refused(why));
    }
    record::from_bytes(&bytes).map_err(|source| StageError::Record { input: "release".to_owned(), source })
}

impl Signing {
    pub(super) fn expires(&self) -> &str {
        &self.expires
    }

    /// Enters the publication in the ledger unless it is there, shows the ledger and signs everything. The
    /// version is the answer.
    pub(super) fn publish(
        &self,
        context: &Context<'_>,
        folder: &Path,
        built: &Built,
    ) -> Result<u64, StageError> {
        let cycle = self.cycle.clone();
        let custody = context.store.custody();
        let signer = custody.signer(Role::Log).map_err(registry::RegistryError::from)?;
        let mut release = RegistryRelease {
            cycle: cycle.clone(),
            follows: self.last.as_ref().and_then(|(_, last)| last.follows),
            selector: built.selector_sha256,
            page: site::digest(),
            log_keys: log_keys(context).iter().map(PublicKey::id).collect(),
            log_signer: signer.map(|key| key.public().id()),
            expires: self.expires.clone(),
            roots: self.roots.iter().map(|root| Sha256::of(root)).collect(),
        };
        let log = context.store.ledger()?;
        if self.last.as_ref().is_none_or(|(_, last)| *last != release) {
            release.follows = self.last.as_ref().map(|(index, _)| *index);
            let bytes = record::to_bytes(&release)
                .map_err(|source| StageError::Record { input: "release".to_owned(), source })?;
            context.store.keep_release(&cycle, &bytes, &self.roots)?;
            let entry = NewEntry {
                kind: EntryKind::Registry,
                cycle,
                candidate: None,
                subject: Some(built.selector_sha256),
                record: Sha256::of(&bytes),
                predicate_type: RegistryRelease::TYPE.to_owned(),
                registration: None,
            };
            context.store.settle()?;
            log.append(vec![entry], context.now)?;
        }
        let version = snapshot::write(folder, &log, &log_keys(context), &built.selector)?;
        tuf::publish(folder, &Release { version, expires: &self.expires, roots: &self.roots }, &self.keys)?;
        Ok(version)
    }
}

/// Whether there is no signed metadata, and never was: there may be keys for it by now.
pub(super) fn never_was(params: &Params, folder: &Path, log: &Ledger) -> Result<bool, StageError> {
    let published = tuf::check::read(folder)?;
    Ok(published.is_none() && last_of(params, &log.leaves()?).is_none())
}

/// Whether the folder is signed as it should be: the metadata is of as many entries as are shown, holds until
/// the date in the plan, and names the keys that are at hand.
pub(super) fn still_holds(
    context: &Context<'_>,
    params: &Params,
    folder: &Path,
    log: &Ledger,
    entries: u64,
) -> Result<bool, StageError> {
    let leaves = log.leaves()?;
    let keys = Keys::of(context.store.custody()).map_err(registry::RegistryError::from)?;
    let last = last_of(params, &leaves);
    let Ok(published) = tuf::check::read(folder) else { return Ok(false) };
    let (Some(published), Some(last)) = (published, last) else {
        // Never published, and nothing to publish with.
        return Ok(last.is_none() && (keys.is_none() || params.expires.is_none()));
    };
    let release = kept(context, params, last)?;
    let roots = published.roots == release.roots;
    if published.version != entries || params.expires.as_ref() != Some(&release.expires) || !roots {
        return Ok(false);
    }
    let wanted = params.root_expires.as_ref().unwrap_or(&release.expires);
    let same_keys = keys.is_none_or(|keys| keys.are_in(&published.root));
    let whole = published.targets.iter().all(|(name, file)| {
        // Those named by their content alone are compared by their stamps.
        let small = registry::is_fixed(name);
        !small
            || read_small("read", &folder.join(name), file.length)
                .is_ok_and(|bytes| Sha256::of(&bytes) == file.hashes.sha256)
    });
    Ok(same_keys && whole && published.root.expires >= *wanted && release.page == site::digest())
}
