//! That what is written takes the place of nothing it is made from, nor of the folder somebody is in.
//!
//! Paths are compared with links followed, so that no name for a place leads around this. What is not there
//! yet replaces nothing.

use std::path::{Path, PathBuf};

use super::adapter::package::FAMILIES;
use super::format::FORMATS;
use super::opened::names_in;

/// Why something is not written where it was to go.
#[derive(Debug, thiserror::Error)]
pub enum OverwriteError {
    /// The working directory.
    #[error("{} is the folder that you are in, which is not replaced; name a new folder in it", .0.display())]
    Here(PathBuf),
    /// A folder with something in it that is needed.
    #[error("{} holds {}, {what}, and is not replaced; choose another place", out.display(), inside.display())]
    Holds {
        /// Where it was to go.
        out: PathBuf,
        /// What is in it.
        inside: PathBuf,
        /// What that is.
        what: &'static str,
    },
    /// An input, or a file of one.
    #[error("{} is {what} {}, and is not replaced; choose another place", out.display(), input.display())]
    Input {
        /// Where it was to go.
        out: PathBuf,
        /// The input.
        input: PathBuf,
        /// Whether it is all of it.
        what: &'static str,
    },
}

/// Refuses a place that is the working directory or an input, holds one of them, or is a file in an
/// input's folder.
///
/// # Errors
///
/// [`OverwriteError::Here`] of the working directory, [`OverwriteError::Holds`] of a folder that it or an input
/// lies in, [`OverwriteError::Input`] of an input or a file of one. A place where nothing is, and an input that
/// is not there, are fine.
pub fn check<'a>(out: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), OverwriteError> {
    let Ok(place) = out.canonicalize() else { return Ok(()) };
    if let Ok(here) = std::env::current_dir().and_then(|here| here.canonicalize()) {
        if here == place {
            return Err(OverwriteError::Here(out.to_owned()));
        }
        refuse_around(out, &place, &here, &here, "the folder that you are in")?;
    }
    inputs.into_iter().try_for_each(|input| spare(out, &place, input))
}

fn refuse_around(
    out: &Path,
    place: &Path,
    inside: &Path,
    found: &Path,
    what: &'static str,
) -> Result<(), OverwriteError> {
    if !found.starts_with(place) {
        return Ok(());
    }
    Err(OverwriteError::Holds { out: out.to_owned(), inside: inside.to_owned(), what })
}

fn spare(out: &Path, place: &Path, input: &Path) -> Result<(), OverwriteError> {
    let Ok(found) = input.canonicalize() else { return Ok(()) };
    let refused = |what| Err(OverwriteError::Input { out: out.to_owned(), input: input.to_owned(), what });
    if found == place {
        return refused("the input");
    }
    if found.is_dir() && is_file_of(place, &found) {
        return refused("a file of the input");
    }
    refuse_around(out, place, input, &found, "which is an input")?;
    // A file of a download cache lies outside of the model's folder.
    let files = if found.is_dir() { names_in(&found).unwrap_or_default() } else { Vec::new() };
    for file in files.iter().filter_map(|name| found.join(name).canonicalize().ok()) {
        if file == place {
            return refused("a file of the input");
        }
        refuse_around(out, place, input, &file, "a file of which is in there")?;
    }
    Ok(())
}

/// Whether a file in an input's folder is the input's by its kind. A model in one file may have been written
/// there by an earlier command; if it is one of the input's own all the same, `names_in` says so.
fn is_file_of(place: &Path, folder: &Path) -> bool {
    let ending = place.extension().and_then(|ending| ending.to_str());
    let known = FORMATS.iter().flat_map(|format| format.extensions().iter().copied());
    let mut known = known.chain(FAMILIES.iter().map(|family| family.extension));
    place.is_file() && place.starts_with(folder) && !known.any(|known| ending == Some(known))
}
