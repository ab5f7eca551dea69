//! Which folders may be replaced by a new model: those that hold a model and nothing else.
//!
//! Such a folder can be made again, or fetched again; a folder with anything of a person's own in it is not
//! ours to remove, whatever was asked for.

use std::collections::BTreeSet;
use std::path::Path;

use super::adapter::peft;
use super::{huggingface, trained};
use crate::disk::{DiskError, strangers};

/// The receipt of a merge in its folder.
pub const RECEIPT: &str = "studbook-receipt.json";

/// How the files of tensors are called, and what says which tensor is in which.
const WEIGHTS: &str = ".safetensors";
const INDEX: &str = ".safetensors.index.json";

/// What else lies in the folders that other programs write and people share.
const BESIDE: [&str; 11] = [
    RECEIPT,
    "mergekit_config.yml",
    "README.md",
    "LICENSE",
    "LICENSE.md",
    "LICENSE.txt",
    "LICENCE",
    "NOTICE",
    "NOTICE.txt",
    "USE_POLICY.md",
    ".gitattributes",
];

/// Why a folder may not be replaced by a model's folder: what is in it, as the rest of a sentence that
/// begins with "it"; nothing if it may.
///
/// # Errors
///
/// If the folder cannot be listed. What is in it is no error.
pub fn why_not(folder: &Path) -> Result<Option<String>, DiskError> {
    let of_training = || trained::read::names(folder).unwrap_or_default().into_iter().collect();
    let listed: BTreeSet<String> =
        if folder.join(trained::MANIFEST).exists() { of_training() } else { BTreeSet::new() };
    let belongs = |path: &str| {
        let is_ours = || match path.contains('/') {
            true => huggingface::template::template_name(path).is_some(),
            false => is_of_a_model(path),
        };
        listed.contains(path) || (listed.is_empty() && is_ours())
    };
    if let Some(stranger) = strangers::first(folder, &belongs)? {
        return Ok(Some(format!("holds {stranger:?}, which is no file of a model's folder")));
    }
    // A page and a licence, say, are whatever a person wrote them for.
    let is_weights = |path: &str| path.ends_with(WEIGHTS) || path == trained::MANIFEST;
    let has_weights = strangers::first(folder, &|path| !is_weights(path))?.is_some();
    let first = strangers::first(folder, &|_| false)?.filter(|_| !has_weights);
    Ok(first.map(|first| format!("holds {first:?} and no weights, so it is no model's folder")))
}

fn is_of_a_model(name: &str) -> bool {
    huggingface::folder::COMPANIONS.contains(&name)
        || peft::FILES.contains(&name)
        || BESIDE.contains(&name)
        || name.ends_with(WEIGHTS)
        || name.ends_with(INDEX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[&str]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        why_not(folder.path()).unwrap()
    }

    #[test]
    fn models_may_go_and_nothing_else() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["config.json", "model.safetensors", RECEIPT, "tokenizer.json", "README.md"]), None);
        assert_eq!(of(&["model-00001-of-00002.safetensors", "model.safetensors.index.json"]), None);
        assert_eq!(of(&peft::FILES), None);
        assert_eq!(of(&["model.safetensors", "additional_chat_templates/tool_use.jinja"]), None);
        for (files, stranger) in [
            (&["model.safetensors", "notes.txt"][..], "\"notes.txt\""),
            (&["model.safetensors", ".git/config"], "\".git/config\""),
            (&["model.safetensors", "additional_chat_templates/x"], "\"additional_chat_templates/x\""),
            (&["model.safetensors", "kept/model.safetensors"], "\"kept/model.safetensors\""),
            (&["README.md", "config.json"], "\"README.md\" and no weights"),
            (&["source.manifest", "tokenizer.bin"], "\"source.manifest\""),
        ] {
            let why = of(files).unwrap();
            assert!(why.contains(stranger), "{why}");
        }
    }
}
