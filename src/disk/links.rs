//! Links in a model's folder, followed where they stay among the model's own files.
//!
//! A folder comes from somebody else and must not point at what is not part of it. Besides the folder
//! itself a link may lead to the place where two tools keep such files, and which lies in the same tree as
//! the folder, so that whoever gave the folder gave the file, too:
//!
//! | the folder | its files |
//! |---|---|
//! | `MODEL/snapshots/REVISION`, a download cache of Hugging Face | `MODEL/blobs/` |
//! | `STORE/runs/...`, where a cycle's children are shown | `STORE/objects/` |

use std::path::{Path, PathBuf};

use super::{DiskError, IoContext};

/// Where a file in a folder is.
pub enum Followed {
    /// It is there.
    Inside(PathBuf),
    /// It leads out of the folder, to this place.
    Outside(PathBuf),
}

/// Follows `path`, something in the folder `root`, which is free of links itself.
///
/// # Errors
///
/// If it leads nowhere, or in a circle, or through what may not be read.
pub fn follow(root: &Path, path: &Path) -> Result<Followed, DiskError> {
    let target = path.canonicalize().at("follow the link", path)?;
    Ok(if belongs(root, &target) { Followed::Inside(target) } else { Followed::Outside(target) })
}

fn belongs(root: &Path, target: &Path) -> bool {
    if target.starts_with(root) {
        return true;
    }
    let snapshots = root.parent().filter(|folder| folder.ends_with("snapshots"));
    let cache = snapshots.and_then(Path::parent).map(|model| model.join("blobs"));
    let shown = root.ancestors().filter(|folder| folder.ends_with("runs"));
    let stores = shown.filter_map(Path::parent).map(|store| store.join("objects"));
    cache.into_iter().chain(stores).any(|place| target.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_places_of_the_same_tree() {
        let belongs = |root: &str, target: &str| belongs(Path::new(root), Path::new(target));
        assert!(belongs("/m", "/m/x"));
        assert!(belongs("/hub/m/snapshots/1", "/hub/m/blobs/ab"));
        assert!(belongs("/s/runs/c/04-operator/a", "/s/objects/ab/cd"));
        for (root, target) in [
            ("/m", "/n/x"),
            ("/m", "/mm/x"),
            ("/hub/m/snapshots/1", "/hub/n/blobs/ab"),
            ("/hub/m/snapshots/1", "/hub/m/snapshots/2/x"),
            ("/hub/m/other/1", "/hub/m/blobs/ab"),
            ("/hub/snapshots", "/hub/blobs/x"),
            ("/s/runs/c/a", "/t/objects/ab"),
            ("/s/runs/c/a", "/s/ledger/x"),
        ] {
            assert!(!belongs(root, target), "{root} {target}");
        }
    }
}
