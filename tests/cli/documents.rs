//! What the documents promise is there: files, headings and commands by the names they give.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::space::Space;

const DOCUMENTS: [&str; 8] = [
    "README.md",
    "docs/browser.md",
    "docs/evidence.md",
    "docs/merging.md",
    "docs/models.md",
    "docs/performance.md",
    "plans/README.md",
    "tests/fuzz/README.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(document: &Path) -> String {
    std::fs::read_to_string(document).unwrap_or_else(|error| panic!("{}: {error}", document.display()))
}

/// What stands between `](` and `)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The names by which a page's headings are linked to: lower case, words joined, most punctuation gone.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let is_kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        let kept: String = line.to_lowercase().chars().filter(is_kept).collect();
        kept.replace(' ', "-")
    };
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| heading(line.trim_start_matches('#').trim_start())).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut followed = 0;
    for document in DOCUMENTS.map(|name| root().join(name)) {
        let page = text(&document);
        for link in links(&page).filter(|link| !link.starts_with("https://")) {
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target: PathBuf =
                if file.is_empty() { document.clone() } else { document.with_file_name(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", document.display());
            if let Some(anchor) = anchor {
                let there = anchors(&text(&target));
                assert!(there.contains(anchor), "{}: no heading {link}: {there:?}", document.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 10, "only {followed} links were found");
}

#[test]
fn commands_are_there() {
    let space = Space::empty();
    let mut asked = BTreeSet::new();
    for document in DOCUMENTS.map(|name| root().join(name)) {
        let page = text(&document);
        let shown = page.lines().filter_map(|line| line.trim_start().strip_prefix("$ studbook "));
        asked.extend(shown.map(|rest| rest.split(' ').next().unwrap().to_owned()));
        let tabled = page.lines().filter_map(|line| line.strip_prefix("| `studbook "));
        asked.extend(tabled.map(|rest| rest.split([' ', '`']).next().unwrap().to_owned()));
    }
    assert!(asked.len() > 15, "only {asked:?} were found");
    for command in asked {
        assert_eq!(space.studbook(&["help", &command]).code, Some(0), "{command}");
    }
}
