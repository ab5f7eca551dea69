//! Parents: where each comes from, and how large its children are.
//!
//! Models are opened here, so that a plan with a damaged or missing model is refused at once and not
//! by a stage an hour later. What is kept says how large children are: what the engine runs on it opens
//! itself. An adapter is opened, too; its children are like those of the model it is added to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Resolver;
use super::children::{ChildFacts, NoChild};
use super::unfit::Unfit;
use crate::base::diagnostic::Diagnostic;
use crate::base::digest::Digest;
use crate::base::located::Located;
use crate::base::name::Name;
use crate::convert::Form;
use crate::model::{OpenedPackage, Package, adapter, open_package};
use crate::pedigree::bred::{History, histories};
use crate::plan::file::ParentSection;
use crate::plan::pool::{MAX_POOL, ParentPool};
use crate::plan::resolved::{Origin, Parent, Role};
use crate::store::StoreError;

/// What is known of each parent's model; none for parents that cannot be opened.
pub(super) type Models = BTreeMap<Name, Facts>;

/// What a plan must know of a model.
#[derive(Clone)]
pub(super) struct Facts {
    /// How children like it are stored.
    pub(super) form: Form,
    /// What is known of them.
    pub(super) child: Result<ChildFacts, NoChild>,
    /// The model, for adapters that are read beside it and cases that must fit it.
    pub(super) package: Arc<Package>,
}

impl Resolver<'_> {
    pub(super) fn parents(&mut self) -> (Vec<Parent>, Models) {
        if self.file.parents.is_empty() && !self.file.nameless.contains(&"parents") {
            self.section_missing(
                "`[parents.NAME]`",
                "add one for each model to start from, with its `source`",
            );
        }
        let (mut parents, mut models) = (Vec::new(), Models::new());
        let mut adapters = Vec::new();
        for section in &self.file.parents {
            let role = self.role(section);
            let Some((origin, model)) = self.origin(section) else { continue };
            let name = &section.name.value;
            let adapts = section.adapts.as_ref().map(|adapts| adapts.value.clone());
            let needs_model = adapts.is_some() && model.path.is_dir();
            match &section.adapts {
                Some(adapts) => adapters.push((section, adapts, model)),
                None => models.extend(self.facts(&model).map(|facts| (name.clone(), facts))),
            }
            let licence = section.licence.as_ref().map(|licence| licence.value.clone());
            let form = self.form("");
            parents.push(Parent { name: name.clone(), origin, adapts, role, licence, needs_model, form });
        }
        // A base may stand behind its adapters.
        for (section, adapts, file) in adapters {
            let Some(base) = self.adapter(section, adapts, &file, &models) else { continue };
            models.extend(models.get(base).cloned().map(|facts| (section.name.value.clone(), facts)));
        }
        for parent in &mut parents {
            parent.form = models.get(&parent.name).map_or(parent.form, |facts| facts.form);
        }
        self.histories(&mut parents);
        (parents, models)
    }

    /// A child that was copied has the history of the child, whoever names the copy.
    fn histories(&mut self, parents: &mut [Parent]) {
        let mut files = Vec::new();
        for parent in parents {
            if let Origin::File { model, history, .. } = &mut parent.origin {
                files.push((model.as_path(), history));
            }
        }
        let mut cycles = BTreeSet::new();
        let paths: Vec<&Path> = files.iter().map(|(path, _)| *path).collect();
        match histories(self.store, &paths) {
            Ok(found) => {
                for ((_, history), found) in files.into_iter().zip(found) {
                    cycles.extend(found.cycles.iter().cloned());
                    *history = found;
                }
            }
            Err(error) => self.cannot_look_up(&error, error.is_damage()),
        }
        match self.pools_of(&cycles) {
            Ok(pools) => self.chosen_by.extend(pools.into_iter().flat_map(|pool| pool.chosen_by)),
            Err(error) => self.cannot_look_up(&error, false),
        }
    }

    fn cannot_look_up(&mut self, error: &dyn std::fmt::Display, damage: bool) {
        let message = format!("nobody can tell which parents were bred in this store: {error}");
        let refused = Diagnostic::error(message, 0..0).damage(damage);
        self.mistake(refused.expected("expected a store that can be read"));
    }

    /// Every pool that these cycles wrote here.
    fn pools_of(&self, cycles: &BTreeSet<Name>) -> Result<Vec<ParentPool>, StoreError> {
        let mut pools = Vec::new();
        if cycles.is_empty() {
            return Ok(pools);
        }
        for result in self.store.every_result()? {
            let Some(blob) = result.outputs.get("pool").filter(|blob| blob.bytes <= MAX_POOL) else {
                continue;
            };
            let text = self.store.read(&blob.digest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pool = text.and_then(|text| ParentPool::from_toml(&text).ok());
            pools.extend(pool.filter(|pool| cycles.contains(&pool.cycle)));
        }
        Ok(pools)
    }

    fn role(&mut self, section: &ParentSection) -> Role {
        match section.role.as_ref().map(|role| (role.value.as_str(), role)) {
            None | Some(("parent", _)) => Role::Parent,
            Some(("base", _)) => Role::Base,
            Some((_, role)) => {
                self.unknown("role", role, |_| vec!["base", "parent"]);
                Role::Parent
            }
        }
    }

    /// Where a parent comes from, with the file that is its model now.
    fn origin<'s>(&mut self, section: &'s ParentSection) -> Option<(Origin, Model<'s>)> {
        self.nothing_idle(section);
        match (&section.from_recipe, &section.source) {
            (Some(recipe), _) => self.pool_origin(section, recipe),
            (None, Some(source)) => Some(self.file_origin(section, source)),
            (None, None) => None,
        }
    }

    /// A key that would be read and ignored is a misunderstanding.
    fn nothing_idle(&mut self, section: &ParentSection) {
        let place = section.place.as_ref().map(|place| &place.span);
        let manifest = section.manifest.as_ref().map(|manifest| &manifest.span);
        let (key, other, span) = match (&section.source, &section.from_recipe, place, manifest) {
            (Some(_), None, Some(place), _) => ("place", "from_recipe", place),
            (None, Some(_), _, Some(manifest)) => ("manifest", "source", manifest),
            _ => return,
        };
        self.mistake(
            Diagnostic::error(format!("`{key}` without `{other}` means nothing"), span.clone())
                .expected(format!("expected `{other}` beside it"))
                .help(format!("remove `{key}`")),
        );
    }

    fn file_origin<'s>(
        &mut self,
        section: &ParentSection,
        source: &'s Located<String>,
    ) -> (Origin, Model<'s>) {
        let model = self.folder.join(&source.value);
        let manifest = match &section.manifest {
            Some(manifest) => {
                let path = self.folder.join(&manifest.value);
                self.file_exists(&path, manifest);
                Some(path)
            }
            // What is there and is no file says something about the model, too; nobody knows what.
            None => Some(model.with_extension("source.toml"))
                .filter(|path| path.symlink_metadata().is_ok() && self.file_exists(path, source)),
        };
        (
            Origin::File { model: model.clone(), manifest, history: History::default() },
            Model { path: model, artifact: None, named: source, of: section.name.value.clone() },
        )
    }

    fn pool_origin<'s>(
        &mut self,
        section: &ParentSection,
        recipe: &'s Located<String>,
    ) -> Option<(Origin, Model<'s>)> {
        let pool = self.pool(recipe)?;
        let parent = self.place(section.place.as_ref(), recipe, &pool)?;
        let cycle = pool.cycle.clone();
        if let Err(Unfit { why, lost }) = self.vouched(&parent, &pool) {
            let message = format!("the pool of `{cycle}` cannot offer `{}`: {why}", parent.name);
            let refused = Diagnostic::error(message, recipe.span.clone()).damage(lost);
            self.mistake(if lost {
                refused.expected(
                    "expected a store with the records and the ledger entries of whom the pool offers",
                )
            } else {
                refused.expected("expected a pool as its cycle wrote it").help(format!(
                    "take the pool.toml of `{cycle}` again, unedited, with the store it ran in"
                ))
            });
            return None;
        }
        self.chosen_by.extend(pool.chosen_by);
        match self.store.has_model(&parent.artifact) {
            Ok(path) => {
                let artifact = Some(parent.artifact);
                let of = section.name.value.clone();
                Some((Origin::Pool { cycle, parent }, Model { path, artifact, named: recipe, of }))
            }
            Err(error) => {
                let message = format!("the model of `{}` is not in this store: {error}", parent.name);
                self.mistake(
                    Diagnostic::error(message, recipe.span.clone())
                        .damage(true)
                        .expected(format!("expected the pool of a cycle that ran here; this is of `{cycle}`"))
                        .help(format!("run the plan of the cycle `{cycle}` with this store")),
                );
                None
            }
        }
    }

    /// Opens an adapter to see that it is one; the model it is added to must be a parent with a model of
    /// its own. Whether the two fit is for the compatibility report to say.
    fn adapter<'s>(
        &mut self,
        section: &ParentSection,
        adapts: &'s Located<Name>,
        file: &Model<'_>,
        models: &Models,
    ) -> Option<&'s Name> {
        if section.from_recipe.is_some() {
            self.mistake(
                Diagnostic::error("a parent from a pool is a whole model, no adapter", adapts.span.clone())
                    .expected("expected no `adapts` beside `from_recipe`")
                    .help("remove `adapts`"),
            );
            return None;
        }
        if !self.parent_known(adapts) {
            return None;
        }
        let base = self.known.parents.get(adapts.value.as_str());
        if base.is_some_and(|base| base.adapts.is_some()) {
            let message = format!("`{}` is an adapter itself", adapts.value);
            self.mistake(
                Diagnostic::error(message, adapts.span.clone())
                    .expected("expected a parent with a model of its own")
                    .help("an adapter is added to a model, not to another adapter"),
            );
            return None;
        }
        if !self.model_exists(file) {
            return None;
        }
        let refused = match (file.path.is_dir(), models.get(&adapts.value)) {
            (false, _) => adapter::open(&file.path).err().map(|error| error.to_string()),
            // Without its model a LoRA folder cannot be looked into; why there is none was told.
            (true, None) => None,
            (true, Some(base)) => match adapter::open_for(&file.path, &base.package) {
                Ok(Some(adapter)) => {
                    self.doubted(&adapter, file);
                    None
                }
                Ok(None) => Some(format!("{} is no PEFT adapter", file.path.display())),
                Err(error) => Some(error.to_string()),
            },
        };
        if let Some(why) = refused {
            self.mistake(
                Diagnostic::error(why, file.named.span.clone())
                    .read_by(file.source())
                    .expected("expected an adapter: .sbd, .sbs, .sbl or a PEFT LoRA folder")
                    .help("remove `adapts` if it is a model"),
            );
        }
        Some(&adapts.value)
    }

    /// An adapter that says another base than the one it is added to is mostly a slip.
    fn doubted(&mut self, adapter: &adapter::Adapter, file: &Model<'_>) {
        let Some(doubt) = adapter.doubt() else { return };
        self.mistake(
            Diagnostic::warning(doubt.to_owned(), file.named.span.clone())
                .expected("expected an adapter for this parent's model")
                .help("it is added as it is: the evaluations say what becomes of it"),
        );
    }

    /// Opens a model to see that it is one, and how large its children are.
    fn facts(&mut self, model: &Model<'_>) -> Option<Facts> {
        if !self.model_exists(model) {
            return None;
        }
        let opened = match model.artifact {
            Some(artifact) => self.store.open_model(&artifact).map_err(|error| error.to_string()),
            None => open_package(&model.path).map_err(|error| error.to_string()),
        };
        match opened {
            Ok(OpenedPackage { package, .. }) => {
                self.can_be_run(&package, model);
                let form = self.form(package.weights.format());
                let child = Self::child(&package, &form);
                Some(Facts { form, child, package: Arc::new(package) })
            }
            Err(error) => {
                // What a cycle offered was a model then.
                let damaged = |artifact| self.store.rehash_known(artifact).is_err();
                let found = Diagnostic::error(error, model.named.span.clone())
                    .damage(model.artifact.as_ref().is_some_and(damaged))
                    .expected("expected a model: a file, or a folder");
                let adapter = adapter::peft::is_one(&model.path) || adapter::open(&model.path).is_ok();
                self.mistake(if adapter {
                    found.help("it is an adapter: add `adapts = \"NAME\"`, the parent it is added to")
                } else {
                    found.read_by(model.source())
                });
                None
            }
        }
    }

    /// What cannot be run can be bred; but nobody should wait an hour to learn that its children are
    /// refused.
    fn can_be_run(&mut self, package: &Package, model: &Model<'_>) {
        let Err(why) = package.checkpoint() else { return };
        let path = model.path.display();
        self.mistake(
            Diagnostic::warning(format!("{path} cannot be run here: {why}"), model.named.span.clone())
                .expected("expected a model with a configuration and a tokenizer that are known here")
                .help("children of such a model are made, with receipts, and refused by the gate `runtime-smoke`"),
        );
    }

    /// Whether a model the plan names is there, a file or a folder.
    fn model_exists(&mut self, model: &Model<'_>) -> bool {
        model.path.is_dir() || self.is_there(&model.path, model.named, Some(model.source()))
    }

    /// Whether a file the plan names is there. What a device or a pipe gives is not the same twice.
    pub(super) fn file_exists(&mut self, path: &Path, named: &Located<String>) -> bool {
        self.is_there(path, named, None)
    }

    /// The same of a file that a stage reads.
    fn is_there(&mut self, path: &Path, named: &Located<String>, read_by: Option<Box<str>>) -> bool {
        let there = path.is_file();
        if !there {
            let what = match path.metadata() {
                Ok(found) if found.is_dir() => "is a folder",
                Ok(_) => "is no regular file",
                Err(_) => "does not exist",
            };
            let missing = Diagnostic::error(format!("{} {what}", path.display()), named.span.clone())
                .expected("expected a file")
                .help("paths are relative to the plan");
            self.mistake(Diagnostic { read_by, ..missing });
        }
        there
    }
}

/// A model, and the text that named it.
struct Model<'s> {
    path: PathBuf,
    /// Its digest, if it is one of an earlier cycle.
    artifact: Option<Digest>,
    named: &'s Located<String>,
    /// The parent whose model it is.
    of: Name,
}

impl Model<'_> {
    /// The stage that reads it.
    fn source(&self) -> Box<str> {
        format!("source:{}", self.of).into()
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::resolve::testing::{Folder, GOOD};

    #[test]
    fn files_are_looked_at() {
        let folder = Folder::new();
        folder.write("two.slm", b"not a model");
        let plan = GOOD.replace("source = \"one.slm\"", "source = \"gone.slm\"");
        let found = folder.mistakes(&plan);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].message.ends_with("gone.slm does not exist"), "{}", found[0].message);
        assert!(found[1].message.contains("an SLM1 file begins with"), "{}", found[1].message);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_no_file() {
        let plan = GOOD
            .replace("source = \"one.slm\"", "source = \"/dev/zero\"")
            .replace("cases = \"suite.jsonl\"", "cases = \"/dev/zero\"");
        let found = Folder::new().mistakes(&plan);
        let messages: Vec<&str> = found.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(messages, ["/dev/zero is no regular file"; 2]);
    }

    #[test]
    fn a_pool_must_be_one_and_have_the_place() {
        let folder = Folder::new();
        let with = |text: &str| {
            let from = format!("from_recipe = \"pool.toml\"\n{text}");
            folder.mistakes(&GOOD.replace("source = \"one.slm\"", &from))
        };
        assert!(with("")[0].message.ends_with("pool.toml does not exist"));
        folder.write("pool.toml", b"cycle = 3");
        assert!(with("")[0].message.contains("is not a parent pool"));
        folder.write("pool.toml", format!("cycle = \"first\"\nreview = \"{}\"\n", "sha256:x").as_bytes());
        assert!(with("")[0].message.contains("is not a parent pool"));
        let review = crate::base::digest::Sha256::of(b"r");
        folder.write("pool.toml", format!("cycle = \"first\"\nreview = \"{review}\"\n").as_bytes());
        assert_eq!(with("place = 2")[0].message, "the pool of `first` has no place 2");
        assert_eq!(with("place = 0")[0].label, "expected a pool with parents; this one is empty");
    }

    #[test]
    fn keys_that_mean_nothing_are_told() {
        let folder = Folder::new();
        let plan = GOOD.replace("source = \"one.slm\"", "source = \"one.slm\"\nplace = 1");
        let found = folder.mistakes(&plan);
        assert_eq!(found[0].message, "`place` without `from_recipe` means nothing");
    }
}
