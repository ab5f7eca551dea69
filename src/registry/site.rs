//! The page: its files, compiled in, and what is filled into its HTML.
//!
//! Everything the page consists of is named in `index.html` with its digest (Subresource Integrity), and the
//! page may load nothing else (Content Security Policy), so a server that changes a part breaks the page
//! instead of changing what it checks. The digests come from the parts themselves, when this is first asked.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use super::RegistryError;
use super::integrity::integrity;
use crate::base::digest::Sha256;
use crate::disk::small::holds;
use crate::disk::{atomic, plain};

macro_rules! parts {
    ($($path:literal),* $(,)?) => { &[$(($path, include_bytes!(concat!("site/", $path)))),*] };
}

/// Everything but the HTML, as it is written.
const SOURCES: &[(&str, &[u8])] = parts![
    "app/compare.js",
    "app/engine.js",
    "app/files.js",
    "app/ledger.js",
    "app/main.js",
    "app/merkle.js",
    "app/selector.js",
    "app/smoke.js",
    "app/tuf.js",
    "app/view.js",
    "app/worker.js",
    "style.css",
    "studbook.wasm",
];

/// Everything but the HTML, at the paths it is served from: scripts and styles without comments and indentation,
/// which are for those who read them here.
static PARTS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let served = |(path, bytes): &(&'static str, &[u8])| {
        let text = [".js", ".css"].iter().any(|end| path.ends_with(end));
        (*path, if text { lean(bytes) } else { bytes.to_vec() })
    };
    SOURCES.iter().map(served).collect()
});

/// A script without what only people need. No text of ours goes over a line's end, so lines can be looked at
/// one by one; a test holds that.
fn lean(script: &[u8]) -> Vec<u8> {
    let script = std::str::from_utf8(script).expect("scripts are text");
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !is_comment(line));
    lines.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
}

fn is_comment(line: &str) -> bool {
    line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"))
}

/// What a page may do: run its own scripts and the runtime, fetch from where it came, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' '{map}'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; \
    require-trusted-types-for 'script'; trusted-types studbook-worker";

/// The page that runs one job for a driver instead of showing a registry.
pub const SMOKE: &str = "smoke.html";
/// Its script, which no registry has.
const DRIVEN: &str = "app/smoke.js";

static PAGES: LazyLock<[(&str, Vec<u8>); 2]> = LazyLock::new(|| {
    [("index.html", include_str!("site/index.html")), (SMOKE, include_str!("site/smoke.html"))]
        .map(|(path, template)| (path, fill(template, path == SMOKE).into_bytes()))
});

/// The files of the page as they are served.
pub fn files() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let pages =
        PAGES.iter().filter(|(path, _)| *path != SMOKE).map(|(path, bytes)| (*path, bytes.as_slice()));
    let own = PARTS.iter().filter(|(path, _)| *path != DRIVEN);
    own.map(|(path, bytes)| (*path, bytes.as_slice())).chain(pages)
}

/// The page that a driver of a browser opens, with all its parts.
pub fn smoke_files() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    PARTS.iter().chain(&*PAGES).map(|(path, bytes)| (*path, bytes.as_slice()))
}

/// The digest of the runtime a page runs.
pub fn runtime_sha256() -> Sha256 {
    let (_, bytes) = PARTS.iter().find(|(path, _)| *path == "studbook.wasm").expect("it is in the table");
    Sha256::of(bytes)
}

/// The import map: the integrity of every module, wherever it is imported.
fn import_map(smoke: bool) -> String {
    let mut map = String::from("{\"integrity\":{");
    let scripts = PARTS.iter().filter(|(path, _)| path.ends_with(".js") && (smoke || *path != DRIVEN));
    for (path, bytes) in scripts {
        let comma = if map.ends_with('{') { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(map, "{comma}\"./{path}\":\"{}\"", integrity(Sha256::of(bytes)));
    }
    map + "}}"
}

/// Replaces `{policy}`, `{map}` and `{integrity of PATH}`.
fn fill(template: &str, smoke: bool) -> String {
    let map = import_map(smoke);
    let policy = POLICY.replace("{map}", &integrity(Sha256::of(map.as_bytes())));
    let mut text = template.replace("{policy}", &policy).replace("{map}", &map);
    for (path, bytes) in &*PARTS {
        text = text.replace(&format!("{{integrity of {path}}}"), &integrity(Sha256::of(bytes)));
    }
    text
}

/// Writes the page.
pub(super) fn write(folder: &Path) -> Result<(), RegistryError> {
    let app = folder.join("app");
    plain::make(&app)?;
    atomic::replace_contents(folder, files().collect::<Vec<_>>())?;
    atomic::sync_folder(&app)?;
    Ok(atomic::sync_folder(folder)?)
}

/// The digest of the whole page: of the names and digests of its files.
pub fn digest() -> Sha256 {
    let lines: String = files().map(|(path, bytes)| format!("{} {path}\n", Sha256::of(bytes))).collect();
    Sha256::of(lines.as_bytes())
}

/// Whether the folder has the page of this version.
pub fn is_current(folder: &Path) -> bool {
    files().all(|(path, bytes)| holds(&folder.join(path), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> String {
        let (_, bytes) = smoke_files().find(|(name, _)| *name == path).unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn pages_are_filled_in_and_name_every_part_they_use() {
        for page in ["index.html", SMOKE] {
            let html = text(page);
            assert!(!html.contains("{integrity") && !html.contains("{map}") && !html.contains("{policy}"));
            assert!(html.contains(&integrity(runtime_sha256())), "{page}");
            assert!(!html.contains("unsafe-inline") && !html.contains("'unsafe-eval'"), "{page}");
        }
    }

    #[test]
    fn scripts_are_small_and_never_write_markup() {
        let mut bytes = 0;
        for (path, script) in files().filter(|(path, _)| path.ends_with(".js")) {
            let script = std::str::from_utf8(script).unwrap();
            bytes += script.len();
            for bad in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!script.contains(bad), "{path} uses {bad}");
            }
            assert!(!script.contains("://"), "{path} names another place");
        }
        assert!(bytes < 60_000, "{bytes} bytes of scripts");
    }

    #[test]
    fn what_is_left_out_of_scripts_is_for_people() {
        assert_eq!(lean(b"// a\n/** b */\nlet x = 1; // c\n\n    x();\n"), b"let x = 1; // c\nx();\n");
        for (path, source) in SOURCES.iter().filter(|(path, _)| path.ends_with(".js")) {
            for line in std::str::from_utf8(source).unwrap().lines().map(str::trim) {
                let quotes = line.matches('`').count();
                assert!(quotes % 2 == 0, "{path}: a text goes on after {line:?}");
                assert!(!line.contains("/*") || is_comment(line), "{path}: a comment goes on after {line:?}");
            }
        }
    }

    #[test]
    fn the_runtime_is_small() {
        let (_, wasm) = PARTS.iter().find(|(path, _)| *path == "studbook.wasm").unwrap();
        assert!(wasm.starts_with(b"\0asm") && wasm.len() < 250_000, "{} bytes", wasm.len());
    }
}
