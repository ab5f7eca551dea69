//! What a new plan calls the files it names, and how it writes their paths.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::name::Name;
use crate::cli::exit::UsageError;

/// A file under the name the plan gives it.
pub(super) struct Named {
    pub(super) name: Name,
    /// Where it is, as TOML writes text.
    pub(super) path: String,
}

/// Gives files names, and no two of them the same.
pub(super) struct Names<'p> {
    /// Where the plan lies.
    folder: &'p Path,
    taken: BTreeSet<Name>,
}

impl<'p> Names<'p> {
    /// For files that a plan in `folder` names; what the plan makes itself has the names `taken`.
    pub(super) fn new(folder: &'p Path, taken: &[&str]) -> Self {
        Self { folder, taken: taken.iter().map(|name| checked(name)).collect() }
    }

    pub(super) fn name(&mut self, path: &Path) -> Result<Named, UsageError> {
        let relative = relative(path, self.folder);
        let Some(text) = relative.to_str() else {
            let error = UsageError::new(format!("the path {} is not UTF-8, as a plan is", path.display()));
            return Err(error.hint("rename the file or its folder"));
        };
        Ok(Named { name: self.free(&stem(path)), path: quoted(text) })
    }

    /// The name itself, or the first of `name-2`, `name-3` and so on that nothing has.
    fn free(&mut self, name: &Name) -> Name {
        let mut free = name.clone();
        let mut next = 2_usize;
        while !self.taken.insert(free.clone()) {
            free = checked(&format!("{name}-{next}"));
            next += 1;
        }
        free
    }
}

/// A usable name out of a file's name.
pub(super) fn stem(path: &Path) -> Name {
    // What follows the last dot of a folder's name is no extension: `llama-3.1` and `llama-3.2`.
    let stem = if path.is_dir() { path.file_name() } else { path.file_stem() };
    let stem = stem.map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let safe: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '-' }).collect();
    let safe = safe.trim_start_matches(['-', '_']);
    safe.chars().take(40).collect::<String>().parse().unwrap_or_else(|_| checked("model"))
}

/// A name that is one as it stands.
fn checked(name: &str) -> Name {
    name.parse().expect("a proper name")
}

/// Text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A path that can be compared with others, if it leads anywhere.
pub(super) fn full(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// A path as the plan, which lies in `folder`, must write it.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    let (path, folder) = (full(path), full(folder));
    let shared = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| PathBuf::from(".."));
    up.chain(path.components().skip(shared).map(|c| PathBuf::from(c.as_os_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe() {
        assert_eq!(stem(Path::new("/x/My Model v1.slm")).as_str(), "my-model-v1");
        assert_eq!(stem(Path::new("--.slm")).as_str(), "model");
    }

    #[test]
    fn names_are_given_once() {
        let mut names = Names::new(Path::new("/"), &["average"]);
        let mut name = |path: &str| names.name(Path::new(path)).unwrap().name.to_string();
        assert_eq!(name("/a/x.slm"), "x");
        assert_eq!(name("/b/x.slm"), "x-2");
        assert_eq!(name("/c/x-2.slm"), "x-2-2");
        assert_eq!(name("/d/x.slm"), "x-3");
        assert_eq!(name("/average.slm"), "average-2");
        assert_eq!(name("/äö.slm"), "model");
        assert_eq!(name("/ü.slm"), "model-2");
    }

    #[test]
    fn paths_are_text_of_toml() {
        let mut names = Names::new(Path::new("/no/such"), &[]);
        for path in ["/no/such/a\"b.slm", "/no/such/a\\b'\"c.slm", "/no/such/a\nb.slm", "/no/such/\u{7f}.slm"]
        {
            let written = format!("path = {}", names.name(Path::new(path)).unwrap().path);
            let read: toml::Table = written.parse().unwrap();
            assert_eq!(Path::new("/no/such").join(read["path"].as_str().unwrap()), Path::new(path));
        }
    }
}
