//! A suite: the cases a model is asked, one JSON object a line.
//!
//! `{"id": "add-0001", "prompt": "12+30=", "expected": "42"}`: an `id`, and what the suite's evaluator
//! asks. A suite is identified by its bytes, so that nobody can swap the questions after the answers
//! are known; a case that is there twice would count twice, so it is refused. Every error names its
//! line.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::EvaluateError;
use super::evaluator::Evaluator;
use crate::base::canonical;
use crate::base::digest::{Digest, Sha256};
use crate::base::name::Name;
use crate::disk::mmap::Mapped;

/// The largest suite file that is read.
pub const MAX_SUITE: usize = 64 << 20;
/// The most cases.
pub const MAX_CASES: usize = 1_000_000;
/// What some editors put before a text. It is no part of one, and other readers of JSON stumble over it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The longest prompt, answer or text of a case.
pub const MAX_TEXT: usize = 65_536;

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Unique in the suite.
    pub id: Name,
    /// Everything but the id, as the evaluator reads it: an object.
    pub body: Value,
}

impl Case {
    /// Digest of what is asked and expected, whatever the case is called: the same question in another
    /// suite under another name is the same case.
    pub fn digest(&self) -> Digest {
        Digest::of(&canonical::to_vec(&self.body).expect("what was read from JSON can be written as JSON"))
    }

    /// Every text in it, in the order of its keys.
    pub fn texts(&self) -> Vec<&str> {
        let mut found = Vec::new();
        collect(&self.body, &mut found);
        found
    }
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => members.values().for_each(|member| collect(member, found)),
        _ => {}
    }
}

/// The cases of one file, and the file's identity.
#[derive(Debug, Clone, PartialEq)]
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
    /// SHA-256 of what is asked, in whatever order and under whatever ids: suites of the same cases have the
    /// same.
    pub fn asked(&self) -> Sha256 {
        let mut all: Vec<String> = self.cases.iter().map(|case| case.digest().to_hex()).collect();
        all.sort();
        Sha256::of(all.join("\n").as_bytes())
    }

    /// Reads a suite file as the cases of an evaluator.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::Disk`] if there is no such file, or it cannot be read; else as [`Self::parse`].
    pub fn read(evaluator: &dyn Evaluator, path: &Path) -> Result<Self, EvaluateError> {
        let mapped = Mapped::open(path)?;
        too_large("bytes", mapped.as_ref().len(), MAX_SUITE)?;
        // Digested and parsed from one private copy: an edit in between cannot split them.
        let bytes = mapped.as_ref().to_vec();
        Self::parse(evaluator, &bytes)
    }

    /// Reads the bytes of a suite file.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::EmptySuite`]; [`EvaluateError::SuiteTooLarge`] of more than [`MAX_SUITE`] bytes or
    /// [`MAX_CASES`] cases; [`EvaluateError::Suite`] of the first line that is no case of the evaluator, or has
    /// the id of an earlier one, or asks the same.
    pub fn parse(evaluator: &dyn Evaluator, bytes: &[u8]) -> Result<Self, EvaluateError> {
        too_large("bytes", bytes.len(), MAX_SUITE)?;
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if text.is_empty() {
            return Err(EvaluateError::EmptySuite);
        }
        if text.starts_with(BYTE_ORDER_MARK) {
            let why =
                "begins with a byte order mark (the bytes EF BB BF): save the file as UTF-8 without one";
            return Err(EvaluateError::Suite { line: 1, why: why.to_owned() });
        }
        let mut cases = Vec::new();
        let (mut ids, mut asked) = (HashMap::new(), HashMap::new());
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            too_large("cases", number, MAX_CASES)?;
            let bad = |why: String| EvaluateError::Suite { line: number, why };
            let case = read_case(line).map_err(bad)?;
            let asks = evaluator.check(&case.body).map_err(bad)?;
            if let Some(first) = ids.insert(case.id.clone(), number) {
                return Err(bad(format!("has the id {:?} of line {first} again", case.id.as_str())));
            }
            if let Some(first) = asked.insert(Digest::of(asks.as_bytes()), number) {
                return Err(bad(format!("asks what line {first} asks again")));
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
    let mut body = canonical::value_from_slice(line).map_err(|error| error.to_string())?;
    let members = body.as_object_mut().ok_or("is no JSON object")?;
    let id = members.remove("id").ok_or("has no `id`")?;
    let id = id.as_str().ok_or("has an `id` that is no text")?;
    Ok(Case { id: id.parse().map_err(|error| format!("has a bad `id`: {error}"))?, body })
}

/// Refuses a text of a case that is empty or too long.
pub(super) fn sound_text(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("has an empty {what}"));
    }
    if text.len() > MAX_TEXT {
        return Err(format!("has a {what} of {} bytes, at most {MAX_TEXT} are allowed", text.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::exact_match::ExactMatch;
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = concat!(
        r#"{"id":"add-1","prompt":"1+1=","expected":"2"}"#,
        "\n",
        r#"{"expected":"4","id":"add-2","prompt":"2+2="}"#,
        "\n"
    );

    fn parse(bytes: &[u8]) -> Result<Suite, EvaluateError> {
        Suite::parse(&ExactMatch, bytes)
    }

    #[test]
    fn a_suite_is_its_cases_and_its_bytes() {
        let suite = parse(GOOD.as_bytes()).unwrap();
        assert_eq!(suite.cases.len(), 2);
        assert_eq!(suite.cases[1].texts(), ["4", "2+2="]);
        assert_eq!((suite.sha256, suite.bytes), (Sha256::of(GOOD.as_bytes()), GOOD.len() as u64));
        assert_eq!(suite.blake3, Digest::of(GOOD.as_bytes()));
        let unterminated = parse(GOOD.trim_end().as_bytes()).unwrap();
        assert_eq!(unterminated.cases, suite.cases);
        assert_ne!(unterminated.sha256, suite.sha256, "other bytes are another suite");
        assert_eq!(suite.cases[1].digest(), Digest::of(br#"{"expected":"4","prompt":"2+2="}"#));
        let renamed = GOOD.replace("add-1", "sum-7");
        let turned: Vec<&str> = renamed.lines().rev().collect();
        assert_eq!(parse(turned.join("\n").as_bytes()).unwrap().asked(), suite.asked(), "the same is asked");
        assert_ne!(parse(GOOD.replace("2+2=", "2+3=").as_bytes()).unwrap().asked(), suite.asked());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suite.jsonl");
        std::fs::write(&path, GOOD).unwrap();
        assert_eq!(Suite::read(&ExactMatch, &path).unwrap(), suite);
        assert!(matches!(Suite::read(&ExactMatch, folder.path()), Err(EvaluateError::Disk(_))));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let long = "x".repeat(MAX_TEXT + 1);
        for (second, why) in [
            (r#"{"id":"add-1","prompt":"p","expected":"e"}"#, "id \"add-1\" of line 1 again"),
            (r#"{"id":"b","prompt":"1+1=","expected":"e"}"#, "asks what line 1 asks again"),
            (r#"{"id":"b","prompt":"","expected":"e"}"#, "an empty prompt"),
            (r#"{"id":"b","prompt":"p","expected":""}"#, "an empty expected answer"),
            (r#"{"id":"b","prompt":"p"}"#, "missing field `expected`"),
            (r#"{"id":"b","prompt":"p","expected":"e","extra":1}"#, "unknown field `extra`"),
            (r#"{"id":"b","id":"c","prompt":"p","expected":"e"}"#, "duplicate key"),
            (r#"{"id":"B","prompt":"p","expected":"e"}"#, "lower-case"),
            (r#"{"id":3,"prompt":"p","expected":"e"}"#, "no text"),
            (r#"{"prompt":"p","expected":"e"}"#, "no `id`"),
            (r#"{"id":"b","prompt":"p","expected":"�"}"#, "U+FFFD"),
            (r#"{"id":"b","prompt":"p","expected":"e""#, "EOF"),
            ("[1]", "no JSON object"),
            ("not json", "expected ident"),
            ("", "is empty"),
            (&format!(r#"{{"id":"b","prompt":"{long}","expected":"e"}}"#), "65537 bytes"),
        ] {
            let text = format!("{}\n{second}\n", GOOD.lines().next().unwrap());
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("line 2 of the suite") && error.contains(why), "{second:.60}: {error}");
        }
        for empty in ["", "\n"] {
            assert!(matches!(parse(empty.as_bytes()), Err(EvaluateError::EmptySuite)));
        }
        let marked = [BYTE_ORDER_MARK, GOOD.as_bytes()].concat();
        let error = parse(&marked).unwrap_err().to_string();
        assert!(error.starts_with("line 1 of the suite begins with a byte order mark"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for evaluator in super::super::EVALUATORS {
                let _ = Suite::parse(*evaluator, &bytes);
            }
        }
    }
}
