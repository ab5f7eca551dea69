//! Training texts that parents declare in their manifests: evaluation cases are looked for in them.

use std::collections::BTreeMap;

use super::Resolver;
use crate::base::diagnostic::Diagnostic;
use crate::base::name::Name;
use crate::model::source::SourceManifest;
use crate::plan::resolved::{DeclaredText, Origin, Parent};

impl Resolver<'_> {
    /// A manifest that cannot be read is told by the stage that checks it against its model.
    pub(super) fn texts(&mut self, parents: &[Parent]) -> BTreeMap<Name, Vec<DeclaredText>> {
        let mut found = BTreeMap::new();
        for parent in parents {
            let Origin::File { manifest: Some(manifest), .. } = &parent.origin else { continue };
            let Ok(declared) = SourceManifest::open(manifest) else { continue };
            let folder = manifest.parent().unwrap_or(self.folder);
            let mut texts = Vec::new();
            for text in declared.training.texts {
                let path = folder.join(&text.path);
                if !path.is_file() {
                    self.text_missing(parent, &path);
                }
                texts.push(DeclaredText { path, sha256: text.sha256 });
            }
            found.insert(parent.name.clone(), texts);
        }
        found
    }

    fn text_missing(&mut self, parent: &Parent, path: &std::path::Path) {
        let section = self.known.parents.get(parent.name.as_str());
        let span = section.map_or(0..0, |section| section.name.span.clone());
        let what = if path.exists() { "is not a file" } else { "does not exist" };
        let message = format!("{}, which `{}` was trained on, {what}", path.display(), parent.name);
        self.mistake(
            Diagnostic::error(message, span)
                .expected("expected the training texts that its source manifest names")
                .help("bring the file, or take it out of the manifest"),
        );
    }
}
