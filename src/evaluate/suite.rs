//! A suite: the cases a model is asked, one JSON object a line.
//!
//! `{"id": "add-0001", "prompt": "12+30=", "expected": "42"}`. A suite is identified by its bytes,
//! so that nobody can swap the questions after the answers are known; a case that is there twice
//! would count twice, so it is refused. Every error names its line.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::EvaluateError;
use crate::base::canonical;
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::disk::mmap::Mapped;

/// The largest suite file that is read.
pub const MAX_SUITE: usize = 64 << 20;
/// The most cases.
pub const MAX_CASES: usize = 1_000_000;
/// The longest prompt and the longest expected answer.
pub const MAX_TEXT: usize = 65_536;

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Unique in the suite.
    pub id: Name,
    /// What the model is asked.
    pub prompt: String,
    /// What it should answer.
    pub expected: String,
}

impl Case {
    /// SHA-256 of the case's canonical bytes.
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(&canonical::to_vec(self).expect("a case is three texts"))
    }
}

/// The cases of one file, and the file's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// In the order of the file.
    pub cases: Vec<Case>,
    /// SHA-256 of the file.
    pub sha256: Sha256,
    /// BLAKE3 of the file.
    pub blake3: Digest,
    /// Length of the file.
    pub bytes: u64,
}

impl Suite {
    /// Reads a suite file.
    pub fn read(path: &Path) -> Result<Self, EvaluateError> {
        let mapped = Mapped::open(path)?;
        too_large("bytes", mapped.as_ref().len(), MAX_SUITE)?;
        // Digested and parsed from one private copy: an edit in between cannot split them.
        let bytes = mapped.as_ref().to_vec();
        Self::parse(&bytes)
    }

    /// Reads the bytes of a suite file.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvaluateError> {
        too_large("bytes", bytes.len(), MAX_SUITE)?;
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if text.is_empty() {
            return Err(EvaluateError::EmptySuite);
        }
        let mut cases = Vec::new();
        let mut ids = HashMap::new();
        let mut prompts = HashMap::new();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            too_large("cases", number, MAX_CASES)?;
            let bad = |why: String| EvaluateError::Suite { line: number, why };
            let case = read_case(line).map_err(bad)?;
            if let Some(first) = ids.insert(case.id.clone(), number) {
                return Err(bad(format!("has the id {:?} of line {first} again", case.id.as_str())));
            }
            if let Some(first) = prompts.insert(Digest::of(case.prompt.as_bytes()), number) {
                return Err(bad(format!("has the prompt of line {first} again")));
            }
            cases.push(case);
        }
        Ok(Self { cases, sha256: Sha256::of(bytes), blake3: Digest::of(bytes), bytes: bytes.len() as u64 })
    }
}

fn too_large(what: &'static str, found: usize, most: usize) -> Result<(), EvaluateError> {
    if found > most { Err(EvaluateError::SuiteTooLarge { what, found, most }) } else { Ok(()) }
}

/// The reason of a refusal is a phrase that follows "line N of the suite ".
fn read_case(line: &[u8]) -> Result<Case, String> {
    if line.trim_ascii().is_empty() {
        return Err("is empty, expected one JSON object".to_owned());
    }
    let case: Case = canonical::from_slice(line).map_err(|error| error.to_string())?;
    for (what, text) in [("prompt", &case.prompt), ("expected answer", &case.expected)] {
        if text.is_empty() {
            return Err(format!("has an empty {what}"));
        }
        if text.len() > MAX_TEXT {
            return Err(format!("has a {what} of {} bytes, at most {MAX_TEXT} are allowed", text.len()));
        }
    }
    if case.expected.contains(char::REPLACEMENT_CHARACTER) {
        // Output that is not UTF-8 is shown with this character; it must never count as right.
        return Err("expects the replacement character U+FFFD, which stands for broken output".to_owned());
    }
    Ok(case)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = concat!(
        r#"{"id":"add-1","prompt":"1+1=","expected":"2"}"#,
        "\n",
        r#"{"expected":"4","id":"add-2","prompt":"2+2="}"#,
        "\n"
    );

    #[test]
    fn a_suite_is_its_cases_and_its_bytes() {
        let suite = Suite::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(suite.cases.len(), 2);
        assert_eq!(suite.cases[1].expected, "4");
        assert_eq!((suite.sha256, suite.bytes), (Sha256::of(GOOD.as_bytes()), GOOD.len() as u64));
        assert_eq!(suite.blake3, Digest::of(GOOD.as_bytes()));
        let unterminated = Suite::parse(GOOD.trim_end().as_bytes()).unwrap();
        assert_eq!(unterminated.cases, suite.cases);
        assert_ne!(unterminated.sha256, suite.sha256, "other bytes are another suite");
        assert_eq!(suite.cases[1].sha256(), Sha256::of(br#"{"expected":"4","id":"add-2","prompt":"2+2="}"#));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suite.jsonl");
        std::fs::write(&path, GOOD).unwrap();
        assert_eq!(Suite::read(&path).unwrap(), suite);
        assert!(matches!(Suite::read(folder.path()), Err(EvaluateError::Disk(_))));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let long = "x".repeat(MAX_TEXT + 1);
        for (second, why) in [
            (r#"{"id":"add-1","prompt":"p","expected":"e"}"#, "id \"add-1\" of line 1 again"),
            (r#"{"id":"b","prompt":"1+1=","expected":"e"}"#, "the prompt of line 1 again"),
            (r#"{"id":"b","prompt":"","expected":"e"}"#, "an empty prompt"),
            (r#"{"id":"b","prompt":"p","expected":""}"#, "an empty expected answer"),
            (r#"{"id":"b","prompt":"p"}"#, "missing field `expected`"),
            (r#"{"id":"b","prompt":"p","expected":"e","extra":1}"#, "unknown field `extra`"),
            (r#"{"id":"b","id":"c","prompt":"p","expected":"e"}"#, "duplicate key"),
            (r#"{"id":"B","prompt":"p","expected":"e"}"#, "lower-case"),
            (r#"{"id":"b","prompt":"p","expected":"�"}"#, "U+FFFD"),
            (r#"{"id":"b","prompt":"p","expected":"e""#, "EOF"),
            ("not json", "expected ident"),
            ("", "is empty"),
            (&format!(r#"{{"id":"b","prompt":"{long}","expected":"e"}}"#), "65537 bytes"),
        ] {
            let text = format!("{}\n{second}\n", GOOD.lines().next().unwrap());
            let error = Suite::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("line 2 of the suite") && error.contains(why), "{second:.60}: {error}");
        }
        for empty in ["", "\n"] {
            assert!(matches!(Suite::parse(empty.as_bytes()), Err(EvaluateError::EmptySuite)));
        }
        assert!(Suite::parse(b"\xef\xbb\xbf{}").is_err(), "no byte order mark");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Suite::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(prompts in proptest::collection::btree_set("[^\u{fffd}]{1,20}", 1..20)) {
            let cases: Vec<Case> = prompts.iter().enumerate().map(|(i, prompt)| Case {
                id: format!("c{i}").parse().unwrap(),
                prompt: prompt.clone(),
                expected: prompt.clone(),
            }).collect();
            let text: String = cases.iter().map(|case| canonical::to_string(case).unwrap() + "\n").collect();
            prop_assert_eq!(Suite::parse(text.as_bytes()).unwrap().cases, cases);
        }
    }
}
