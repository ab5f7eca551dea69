//! Small files that people write: read whole, and only if they are files and small.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

use super::{DiskError, IoContext};

/// The bytes of a regular file of at most `most`. `doing` is what errors call it.
///
/// # Errors
///
/// If there is no such file, it may not be read, or it has more than `most` bytes. Pipes, devices and folders
/// are refused before anything is opened: a pipe would wait for a writer, a device may never end.
pub fn read_small(doing: &'static str, path: &Path, most: u64) -> Result<Vec<u8>, DiskError> {
    let kind = fs::metadata(path).at(doing, path)?.file_type();
    if !kind.is_file() {
        let (kind, message) = if kind.is_dir() {
            (ErrorKind::IsADirectory, "is a folder, a file was expected")
        } else {
            (ErrorKind::InvalidInput, "is not a regular file")
        };
        return Err(Error::new(kind, message)).at(doing, path);
    }
    let mut bytes = Vec::new();
    // Bounded by what is read, not by a length that may have changed since.
    File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).at(doing, path)?;
    if bytes.len() as u64 > most {
        return Err(Error::new(ErrorKind::InvalidData, format!("has more than {most} bytes")))
            .at(doing, path);
    }
    Ok(bytes)
}

/// As [`read_small`], as text.
///
/// # Errors
///
/// As [`read_small`], and if the bytes are no UTF-8.
pub fn read_small_text(doing: &'static str, path: &Path, most: u64) -> Result<String, DiskError> {
    String::from_utf8(read_small(doing, path, most)?)
        .map_err(|error| Error::new(ErrorKind::InvalidData, error.utf8_error()))
        .at(doing, path)
}

/// Whether a regular file has exactly these bytes. No more than that is read.
pub fn holds(path: &Path, bytes: &[u8]) -> bool {
    read_small("compare", path, bytes.len() as u64).is_ok_and(|found| found == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"1234").unwrap();
        assert_eq!(read_small("read", &path, 4).unwrap(), b"1234");
        let error = read_small("read", &path, 3).unwrap_err().to_string();
        assert!(error.starts_with("cannot read ") && error.ends_with("has more than 3 bytes"), "{error}");
        assert!(read_small("read", folder.path(), 3).unwrap_err().to_string().contains("is a folder"));
        let error = read_small("read", Path::new("/dev/zero"), 3).unwrap_err().to_string();
        assert_eq!(error, "cannot read /dev/zero: is not a regular file");
        fs::write(&path, b"\xff").unwrap();
        assert!(read_small_text("read", &path, 3).is_err());
        assert!(read_small("read", &folder.path().join("none"), 3).unwrap_err().is_not_found());
        assert!(holds(&path, b"\xff") && !holds(&path, b"") && !holds(&path, b"\xff\xff"));
        assert!(!holds(Path::new("/dev/zero"), b"\0") && !holds(folder.path(), b""));
    }
}
