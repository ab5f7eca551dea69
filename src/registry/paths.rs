//! Where files lie, and what they are called by those who ask by name.
//!
//! Whatever belongs to an entry is named by its content and its entry, `models/<sha256>.average.slm`. Without
//! the digest, `models/average.slm`, it is a name to ask for: what The Update Framework calls a target, and
//! finds under the first name when snapshots are consistent. Files with one name for ever (the selector, the
//! page) have a copy that is named by its content where there is signed metadata.

use super::selector::{Evidence, EvidenceKind};
use crate::base::digest::Sha256;
use crate::base::name::Name;

/// The folders whose every file the selector names.
pub const FOLDERS: [&str; 3] = ["models", "manifests", "records"];

/// Where the model of an entry lies.
pub fn model_path(sha256: Sha256, id: &Name) -> String {
    format!("models/{sha256}.{id}.slm")
}

/// Where the manifest of an entry lies.
pub fn manifest_path(sha256: Sha256, id: &Name) -> String {
    format!("manifests/{sha256}.{id}.json")
}

/// Where the admission record of an entry lies.
pub fn admission_path(sha256: Sha256, id: &Name) -> String {
    format!("records/{sha256}.{id}.admission.json")
}

/// Where a record that is shown with an entry lies.
pub fn evidence_path(evidence: &Evidence, id: &Name) -> String {
    let Evidence { kind, suite, sha256 } = evidence;
    match suite {
        Some(suite) => format!("records/{sha256}.{id}.{}.{suite}.json", kind.word()),
        None => format!("records/{sha256}.{id}.{}.json", kind.word()),
    }
}

impl EvidenceKind {
    /// Its word in paths, as in the selector.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Promotion => "promotion",
            Self::Lineage => "lineage",
            Self::Smoke => "smoke",
            Self::Evaluation => "evaluation",
        }
    }
}

/// A path with the digest of what is there put before the file's name: `app/<sha256>.main.js`.
pub fn by_content(path: &str, sha256: Sha256) -> String {
    match path.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/{sha256}.{name}"),
        None => format!("{sha256}.{path}"),
    }
}

/// The digest and the path without it, of a path that [`by_content`] made.
pub fn name_and_content(path: &str) -> Option<(String, Sha256)> {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let (digest, name) = name.split_once('.')?;
    let slash = if folder.is_empty() { "" } else { "/" };
    Some((format!("{folder}{slash}{name}"), digest.parse().ok()?))
}

/// Whether a path cannot leave the registry, however a server reads it: lower-case names of letters, digits,
/// `.`, `_` and `-`, none beginning with a dot, no two dots together.
pub fn is_plain(path: &str) -> bool {
    let plain = |name: &str| {
        name.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
    };
    path.len() <= 300 && !path.contains("..") && path.split('/').all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_content_make_a_path_and_back() {
        let sha256 = Sha256::of(b"x");
        for path in ["selector.json", "app/main.js", "records/a.b.evaluation.add.json"] {
            let made = by_content(path, sha256);
            assert!(is_plain(&made) && is_plain(path));
            assert_eq!(name_and_content(&made), Some((path.to_owned(), sha256)));
        }
        let id: Name = "average".parse().unwrap();
        assert_eq!(model_path(sha256, &id), by_content("models/average.slm", sha256));
        assert_eq!(name_and_content("app/main.js"), None);
        for bad in
            ["", "/a", "a/", "../a", "a/../b", "a//b", "%2e%2e/a", "a\\b", "A", ".a", "a/.b", "x:y", "a..b"]
        {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
