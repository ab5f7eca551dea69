//! The plan of the house: a room uses only rooms above it.
//!
//! Rooms are the folders under `src/`; an edge is any mention of `crate::room`. The table is the
//! whole rule. If something is hard to place, the house is wrong: mend the house, not the table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the ground floor up. A room may use those before it.
const ROOMS: [&str; 24] = [
    "base",
    "disk",
    "trust",
    "tensor",
    "model",
    "operator",
    "difference",
    "convert",
    "mergekit",
    "runtime",
    "browser",
    "evaluate",
    "ledger",
    "store",
    "review",
    "registry",
    "record",
    "pedigree",
    "plan",
    "stage",
    "engine",
    "report",
    "dossier",
    "cli",
];

/// The rooms that also run in a browser: they may touch files only behind the feature `engine`.
const BROWSER_FACE: [&str; 5] = ["base", "tensor", "model", "runtime", "browser"];

/// The files with `unsafe` in them: a question to the processor, functions named for a page, a promise
/// about other processes.
const UNSAFE: [&str; 3] = ["src/base/wide.rs", "src/browser/abi.rs", "src/disk/mmap.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file: its path from the root, its room, its text.
fn files() -> Vec<(String, String, String)> {
    let mut paths = Vec::new();
    sources(&root().join("src"), &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            let room = name.split('/').nth(1).unwrap().to_owned();
            (name, room, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The rooms a text mentions, comments apart.
fn mentions(text: &str) -> Vec<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| {
        line.split("crate::").skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            &rest[..end]
        })
    })
    .collect()
}

#[test]
fn rooms_use_only_rooms_above_them() {
    let floor: BTreeMap<&str, usize> = ROOMS.iter().enumerate().map(|(floor, room)| (*room, floor)).collect();
    let mut wrong = Vec::new();
    for (name, room, text) in files() {
        if !name[4..].contains('/') {
            continue; // lib.rs and main.rs see everything.
        }
        let own = *floor
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{name}: the room `{room}` is not in the table"));
        for used in mentions(&text) {
            if floor.get(used).is_some_and(|used| *used > own) {
                wrong.push(format!("{name} uses `{used}`, which is below `{room}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_of_the_table_is_there() {
    for room in ROOMS {
        assert!(root().join("src").join(room).join("mod.rs").is_file(), "{room}");
    }
}

#[test]
fn unsafe_is_in_two_files() {
    let has_unsafe = |text: &str| {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe("];
        code.into_iter().any(|line| words.iter().any(|word| line.contains(word)))
    };
    let found: Vec<_> =
        files().into_iter().filter(|(_, _, text)| has_unsafe(text)).map(|(name, ..)| name).collect();
    assert_eq!(found, UNSAFE);
}

#[test]
fn the_browser_face_opens_no_files() {
    for (name, room, text) in files() {
        if !BROWSER_FACE.contains(&room.as_str()) || !name[4..].contains('/') {
            continue;
        }
        let product = text.split("#[cfg(test)]").next().unwrap();
        if product.contains("std::fs") || product.contains("crate::disk") {
            assert!(text.contains("#[cfg(feature = \"engine\")]") || is_gated(&name), "{name}");
        }
    }
}

/// Whether a file's own `mod` line is behind the feature, or that of a folder it is in.
fn is_gated(name: &str) -> bool {
    let path = Path::new(name);
    let module = path.file_stem().unwrap().to_string_lossy().into_owned();
    let folder = path.parent().unwrap();
    let lobby = std::fs::read_to_string(root().join(folder).join("mod.rs")).unwrap();
    let own = |word: &str| lobby.contains(&format!("#[cfg(feature = \"engine\")]\n{word} {module};"));
    own("mod") || own("pub mod") || folder.components().count() > 2 && is_gated(&folder.to_string_lossy())
}
