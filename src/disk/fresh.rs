//! New files and folders for people: whole or not there at all.
//!
//! They are made under a temporary name beside their place and renamed at the end. What is there
//! already is refused unless its replacement was asked for; that is found out before the work, and
//! again when the name is given. A folder is replaced only if whoever writes the new one knows
//! everything in the old one ([`Judge`]), and never by a file, nor a file by a folder.
//!
//! A name is given at once in every case: whoever looks sees the whole or nothing. What a power cut in
//! the next half minute may take is the caller's choice, [`Durability`].

use std::io::{Error, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use super::hashed::{HashedFile, Unpublished};
use super::{DiskError, IoContext, atomic, leftovers, swap};

/// When bytes reach the disk itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before the name is given: who has the name has the bytes, whatever happens.
    Synced,
    /// When the system sees fit, as with `cp`: after a power cut the name may stand for less than was
    /// written. For what can be made again and is recorded with its digest.
    LeftToSystem,
}

/// Says why a folder may not be replaced, as the rest of a sentence that begins with "it"; nothing if it may.
pub type Judge = fn(&Path) -> Result<Option<String>, DiskError>;

/// The folder that a path is in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a file; gives back what `write` does, and the file's digest and length.
///
/// # Errors
///
/// If something is in the place and is not to be replaced, or is a folder; else what `write` gives back, or if
/// the disk does not take the file. Nothing half written stays, and what was there is replaced only at the end.
pub fn file<T, E: From<DiskError>>(
    out: &Path,
    replace: bool,
    durability: Durability,
    write: impl FnOnce(&mut HashedFile) -> Result<T, E>,
) -> Result<(T, crate::base::digest::Digest, u64), E> {
    refuse_file(out, replace)?;
    let mut file = HashedFile::create_with_exact_mode(folder_of(out), 0o644)?;
    let done = write(&mut file)?;
    let finished: Unpublished = file.finish_as(durability)?;
    let (digest, bytes) = (finished.digest, finished.bytes);
    finished.persist(out, replace)?;
    Ok((done, digest, bytes))
}

/// Makes a folder; `write` fills it under its temporary name. One that is there already is replaced if there
/// is a judge and it may be.
///
/// # Errors
///
/// If something is in the place and there is no judge, or it is a file, or the judge tells why not; else what
/// `write` gives back, or if the disk does not take the folder or its name. What was there is replaced only at
/// the end.
pub fn folder<T, E: From<DiskError>>(
    out: &Path,
    replace: Option<Judge>,
    durability: Durability,
    write: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let out = &ending_in_a_name(out)?;
    refuse_folder(out, replace)?;
    let beside = folder_of(out);
    let (folder, _held) = leftovers::begin(out)?;
    let done = write(folder.path())?;
    open_to_others(folder.path())?;
    refuse_folder(out, replace)?;
    if is_there(out) {
        swap::replace(folder, out, durability)?;
        leftovers::remove(out);
        return Ok(done);
    }
    std::fs::rename(folder.path(), out).at("write", out)?;
    // It has another name now, so there is nothing left to remove.
    drop(folder.keep());
    if durability == Durability::Synced {
        atomic::sync_folder(beside)?;
    }
    leftovers::remove(out);
    Ok(done)
}

/// Makes the folder that a file of a folder lies in, if it is not there.
///
/// # Errors
///
/// If it cannot be made: a part of its path is a file, say, or nothing may be written there.
pub fn folder_for(file: &Path) -> Result<(), DiskError> {
    let folder = folder_of(file);
    std::fs::create_dir_all(folder).at("create the folder", folder)
}

/// The same path with a name at its end, which `x/` and `x/..` have not.
fn ending_in_a_name(out: &Path) -> Result<PathBuf, DiskError> {
    match out.components().next_back() {
        Some(Component::Normal(_)) => Ok(out.components().collect()),
        _ => out.canonicalize().at("find", out),
    }
}

fn open_to_others(folder: &Path) -> Result<(), DiskError> {
    for entry in std::fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        let path = entry.path();
        if entry.file_type().at("examine", &path)?.is_dir() {
            open_to_others(&path)?;
        } else if path.is_file() {
            let readable = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(&path, readable).at("open to others", &path)?;
        }
    }
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, open).at("open to others", folder)
}

fn is_there(out: &Path) -> bool {
    std::fs::symlink_metadata(out).is_ok()
}

/// Refuses what cannot be replaced, file or folder: for who does not know yet which of them the new one is.
///
/// # Errors
///
/// [`DiskError::is_taken`] if something is in the place and there is no judge, or it is a folder and the judge
/// tells why not; else what the judge could not read.
pub fn refuse_taken(out: &Path, replace: Option<Judge>) -> Result<(), DiskError> {
    match replace {
        Some(_) if !out.is_dir() => Ok(()),
        _ => refuse_folder(out, replace),
    }
}

/// Refuses what a file cannot replace.
///
/// # Errors
///
/// [`DiskError::is_taken`] if something is in the place and is not to be replaced, or is a folder.
pub fn refuse_file(out: &Path, replace: bool) -> Result<(), DiskError> {
    match (is_there(out), replace) {
        (false, _) => Ok(()),
        (true, false) => taken(out, "it is there already; --force replaces it"),
        (true, true) if out.is_dir() => {
            taken(out, "it is a folder, and a file is to be written; choose another name")
        }
        (true, true) => Ok(()),
    }
}

fn refuse_folder(out: &Path, replace: Option<Judge>) -> Result<(), DiskError> {
    // Of a link to a folder only the link is replaced.
    let Ok(found) = std::fs::symlink_metadata(out) else { return Ok(()) };
    let Some(judge) = replace else { return taken(out, "it is there already; --force replaces it") };
    if found.is_file() {
        return taken(out, "it is a file, and a folder is to be written; choose another name");
    }
    let why = if found.is_dir() { judge(out)? } else { None };
    why.map_or(Ok(()), |why| {
        taken(out, &format!("it {why}; choose another name, or remove the folder by hand"))
    })
}

fn taken(out: &Path, why: &str) -> Result<(), DiskError> {
    Err(Error::new(ErrorKind::AlreadyExists, why)).at("write", out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sink::ArtifactSink;

    fn write(out: &Path, replace: bool, text: &str) -> Result<(), DiskError> {
        let write = |file: &mut HashedFile| file.write(text.as_bytes()).at("write", out);
        file(out, replace, Durability::LeftToSystem, write).map(|((), ..)| ())
    }

    #[test]
    fn files_are_whole_and_not_replaced_by_accident() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("a");
        write(&out, false, "one").unwrap();
        assert!(write(&out, false, "two").unwrap_err().to_string().contains("--force"));
        write(&out, true, "two").unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    const ANY: Option<Judge> = Some(|_| Ok(None));

    #[test]
    fn a_folder_that_fails_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("a");
        let fill = |folder: &Path| std::fs::write(folder.join("x"), "1").at("write", folder);
        let fail = |inner: &Path| {
            fill(inner)?;
            std::fs::read(inner.join("none")).map(drop).at("read", inner)
        };
        assert!(folder(&out, None, Durability::Synced, fail).is_err());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        folder(&out, None, Durability::LeftToSystem, fill).unwrap();
        assert!(folder(&out, None, Durability::Synced, fill).is_err());
        assert!(folder(&out, ANY, Durability::Synced, fail).is_err());
        assert!(out.join("x").exists(), "what failed replaces nothing");
        for same in ["a", "a/", "a/../a/."] {
            folder(&place.path().join(same), ANY, Durability::Synced, fill).unwrap();
        }
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_judged_or_of_another_kind_stays_and_nothing_is_made() {
        let place = tempfile::tempdir().unwrap();
        let (kept, single) = (place.path().join("kept"), place.path().join("single"));
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(&single, "").unwrap();
        let refused = |out: &Path, judge: Judge| {
            let never = |_: &Path| -> Result<(), DiskError> { panic!("work for nothing") };
            folder(out, Some(judge), Durability::Synced, never).unwrap_err().to_string()
        };
        assert!(refused(&kept, |_| Ok(Some("is dear".to_owned()))).contains("it is dear; "));
        assert!(refused(&single, |_| Ok(None)).contains("it is a file"));
        assert!(write(&kept, true, "x").unwrap_err().to_string().contains("it is a folder"));
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
    }
}
