//! What people write: every mistake has a place in the text, and nothing is half accepted.

use std::path::Path;

use studbook::base::diagnostic::{Diagnostic, Severity, position, render};
use studbook::mergekit::config;
use studbook::model::source::SourceManifest;
use studbook::plan::pool::ParentPool;
use studbook::store::Store;

use super::folders::laid_out;

pub(super) fn mergekit(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(mistakes) = config::parse(text) {
        assert!(mistakes.iter().any(|mistake| mistake.severity == Severity::Error));
        placed(&mistakes, text);
    }
}

pub(super) fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    laid_out(&[], b"", |folder| {
        let folder = folder.join("plan");
        let store = Store::open(&folder.join("store")).expect("a store that is not there can be opened");
        let (plan, said) = studbook::plan::check(text, &folder, &store);
        let wrong = said.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        assert_eq!(plan.is_none(), wrong, "there is a plan if, and only if, there is no error");
        placed(&said, text);
    });
}

pub(super) fn source(bytes: &[u8]) {
    let path = Path::new("m.source.toml");
    if let Ok(read) = SourceManifest::parse(bytes, path) {
        let again = SourceManifest::parse(read.to_toml().as_bytes(), path).expect("it can be read again");
        assert_eq!(again, read);
    }
    if let Ok(Ok(read)) = std::str::from_utf8(bytes).map(ParentPool::from_toml) {
        assert_eq!(ParentPool::from_toml(&read.to_toml()).as_ref(), Ok(&read));
    }
}

/// Every mistake lies inside the text, between characters, and can be shown.
fn placed(said: &[Diagnostic], text: &str) {
    for diagnostic in said {
        if let Some(span) = &diagnostic.span {
            assert!(text.get(span.clone()).is_some(), "{span:?} of {}: {}", text.len(), diagnostic.message);
        }
        let (line, column) = position(diagnostic, text);
        assert!(line > 0 && column > 0);
    }
    let few = &said[..said.len().min(8)];
    assert!(few.is_empty() || !render(few, "a.toml", text, false).is_empty());
}
